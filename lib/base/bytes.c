#include "base/bytes.h"

#include <string.h>

#include "base/err.h"

int zf_bytes_take(struct zf_bytes *bytes, uint64_t n, const unsigned char **out) {
  if (n > bytes->len - bytes->pos)
    return zf_error(ZF_EINVALID, "ends at byte %zu where %llu more were expected at byte %zu",
                    bytes->len, (unsigned long long)n, bytes->pos);
  *out = bytes->data + bytes->pos;
  bytes->pos += (size_t)n;
  return 0;
}

static int little(struct zf_bytes *bytes, int count, uint64_t *out) {
  const unsigned char *p = NULL;
  int rc = zf_bytes_take(bytes, (uint64_t)count, &p);
  if (rc) return rc;
  uint64_t v = 0;
  for (int i = count - 1; i >= 0; i--) v = v << 8 | p[i];
  *out = v;
  return 0;
}

int zf_bytes_u8(struct zf_bytes *bytes, uint8_t *out) {
  uint64_t v;
  int rc = little(bytes, 1, &v);
  if (!rc) *out = (uint8_t)v;
  return rc;
}

int zf_bytes_u32(struct zf_bytes *bytes, uint32_t *out) {
  uint64_t v;
  int rc = little(bytes, 4, &v);
  if (!rc) *out = (uint32_t)v;
  return rc;
}

int zf_bytes_u64(struct zf_bytes *bytes, uint64_t *out) {
  return little(bytes, 8, out);
}

int zf_bytes_f32(struct zf_bytes *bytes, float *out) {
  uint32_t v;
  int rc = zf_bytes_u32(bytes, &v);
  if (!rc) memcpy(out, &v, sizeof v);
  return rc;
}

int zf_bytes_f64(struct zf_bytes *bytes, double *out) {
  uint64_t v;
  int rc = zf_bytes_u64(bytes, &v);
  if (!rc) memcpy(out, &v, sizeof v);
  return rc;
}

int zf_mul(int64_t a, int64_t b, int64_t *out) {
  return __builtin_mul_overflow(a, b, out);
}

int zf_add(int64_t a, int64_t b, int64_t *out) {
  return __builtin_add_overflow(a, b, out);
}
