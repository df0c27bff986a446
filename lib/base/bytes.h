/* A cursor over untrusted bytes.  Readers take every length of a file through it: a read beyond the
 * end fails, and products and sums of sizes are checked for overflow. */
#ifndef ZF_BASE_BYTES_H
#define ZF_BASE_BYTES_H

#include <stddef.h>
#include <stdint.h>

#include "base/cplusplus.h"

ZF_BEGIN_DECLS

struct zf_bytes {
  const unsigned char *data;
  size_t len;
  size_t pos; /* <= len */
};

/* Reads a little-endian value.  0, or ZF_EINVALID with the offset in the error slot; the cursor
 * then stays where it was. */
int zf_bytes_u8(struct zf_bytes *bytes, uint8_t *out);
int zf_bytes_u32(struct zf_bytes *bytes, uint32_t *out);
int zf_bytes_u64(struct zf_bytes *bytes, uint64_t *out);
int zf_bytes_f32(struct zf_bytes *bytes, float *out);
int zf_bytes_f64(struct zf_bytes *bytes, double *out);

/* The next `count` bytes, borrowed from the buffer.  Errors as above. */
int zf_bytes_take(struct zf_bytes *bytes, uint64_t count, const unsigned char **out);

/* *out = a * b or a + b; nonzero if that overflows int64_t. */
int zf_mul_checked(int64_t a, int64_t b, int64_t *out);
int zf_add_checked(int64_t a, int64_t b, int64_t *out);

ZF_END_DECLS

#endif
