#include "base/bytes.h"

#include <string.h>

#include "base/err.h"

int zf_bytes_take(struct zf_bytes *b, uint64_t n, const unsigned char **out) {
  if (n > b->len - b->pos)
    return zf_error(ZF_EINVALID, "ends at byte %zu where %llu more were expected at byte %zu",
                    b->len, (unsigned long long)n, b->pos);
  *out = b->data + b->pos;
  b->pos += (size_t)n;
  return 0;
}

static int little(struct zf_bytes *b, int n, uint64_t *out) {
  const unsigned char *p = NULL;
  int rc = zf_bytes_take(b, (uint64_t)n, &p);
  if (rc) return rc;
  uint64_t v = 0;
  for (int i = n - 1; i >= 0; i--) v = v << 8 | p[i];
  *out = v;
  return 0;
}

int zf_bytes_u8(struct zf_bytes *b, uint8_t *out) {
  uint64_t v;
  int rc = little(b, 1, &v);
  if (!rc) *out = (uint8_t)v;
  return rc;
}

int zf_bytes_u32(struct zf_bytes *b, uint32_t *out) {
  uint64_t v;
  int rc = little(b, 4, &v);
  if (!rc) *out = (uint32_t)v;
  return rc;
}

int zf_bytes_u64(struct zf_bytes *b, uint64_t *out) {
  return little(b, 8, out);
}

int zf_bytes_f32(struct zf_bytes *b, float *out) {
  uint32_t v;
  int rc = zf_bytes_u32(b, &v);
  if (!rc) memcpy(out, &v, sizeof v);
  return rc;
}

int zf_bytes_f64(struct zf_bytes *b, double *out) {
  uint64_t v;
  int rc = zf_bytes_u64(b, &v);
  if (!rc) memcpy(out, &v, sizeof v);
  return rc;
}

int zf_mul(int64_t a, int64_t b, int64_t *out) {
  return __builtin_mul_overflow(a, b, out);
}

int zf_add(int64_t a, int64_t b, int64_t *out) {
  return __builtin_add_overflow(a, b, out);
}
