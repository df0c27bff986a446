/* A cursor over bytes from outside.  Every length read from a file passes here:
 * reads beyond the end fail, sizes are multiplied with overflow checked. */
#ifndef ZF_BASE_BYTES_H
#define ZF_BASE_BYTES_H

#include <stddef.h>
#include <stdint.h>

struct zf_bytes {
  const unsigned char *data;
  size_t len;
  size_t pos; /* <= len */
};

/* 0, or ZF_EINVALID with the offset in the error slot; the cursor then stays
 * where it was.  Little endian. */
int zf_bytes_u8(struct zf_bytes *bytes, uint8_t *out);
int zf_bytes_u32(struct zf_bytes *bytes, uint32_t *out);
int zf_bytes_u64(struct zf_bytes *bytes, uint64_t *out);
int zf_bytes_f32(struct zf_bytes *bytes, float *out);
int zf_bytes_f64(struct zf_bytes *bytes, double *out);

/* The next n bytes, borrowed from the buffer. */
int zf_bytes_take(struct zf_bytes *bytes, uint64_t count, const unsigned char **out);

/* out = a * b or a + b; returns nonzero on overflow (of 63 bits). */
int zf_mul(int64_t a, int64_t b, int64_t *out);
int zf_add(int64_t a, int64_t b, int64_t *out);

#endif
