#include "base/bytes.h"

#include <string.h>

#include "base/err.h"

int zf_bytes_take(struct zf_bytes *bytes, uint64_t count, const unsigned char **out) {
  if (count > bytes->len - bytes->pos)
    return zf_error(ZF_EINVALID, "ends at byte %zu where %llu more were expected at byte %zu",
                    bytes->len, (unsigned long long)count, bytes->pos);
  *out = bytes->data + bytes->pos;
  bytes->pos += (size_t)count;
  return 0;
}

static int take_little_endian(struct zf_bytes *bytes, int count, uint64_t *out) {
  const unsigned char *data = NULL;
  int rc = zf_bytes_take(bytes, (uint64_t)count, &data);
  if (rc) return rc;
  uint64_t value = 0;
  for (int i = count - 1; i >= 0; i--) value = value << 8 | data[i];
  *out = value;
  return 0;
}

int zf_bytes_u8(struct zf_bytes *bytes, uint8_t *out) {
  uint64_t value;
  int rc = take_little_endian(bytes, 1, &value);
  if (!rc) *out = (uint8_t)value;
  return rc;
}

int zf_bytes_u32(struct zf_bytes *bytes, uint32_t *out) {
  uint64_t value;
  int rc = take_little_endian(bytes, 4, &value);
  if (!rc) *out = (uint32_t)value;
  return rc;
}

int zf_bytes_u64(struct zf_bytes *bytes, uint64_t *out) {
  return take_little_endian(bytes, 8, out);
}

int zf_bytes_f32(struct zf_bytes *bytes, float *out) {
  uint32_t bits;
  int rc = zf_bytes_u32(bytes, &bits);
  if (!rc) memcpy(out, &bits, sizeof bits);
  return rc;
}

int zf_bytes_f64(struct zf_bytes *bytes, double *out) {
  uint64_t bits;
  int rc = zf_bytes_u64(bytes, &bits);
  if (!rc) memcpy(out, &bits, sizeof bits);
  return rc;
}

int zf_mul_checked(int64_t a, int64_t b, int64_t *out) {
  return __builtin_mul_overflow(a, b, out);
}

int zf_add_checked(int64_t a, int64_t b, int64_t *out) {
  return __builtin_add_overflow(a, b, out);
}
