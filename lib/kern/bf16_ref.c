/* The product in bf16, in plain C.
 *
 * The arithmetic is that of vdpbf16ps: the two inputs of a cell are multiplied and added one
 * after the other, the odd one first, each sum rounded to nearest even, what is subnormal
 * (inputs, sums) taken as zero of its sign.  A product of two bf16 is exact in f32, so the
 * chain differs from that of f32 in the inputs and in the order alone. */
#include <math.h>
#include <string.h>

#include "kern/kern_internal.h"

static uint32_t bits(float x) {
  uint32_t u;
  memcpy(&u, &x, sizeof u);
  return u;
}

static float value(uint32_t u) {
  float x;
  memcpy(&x, &u, sizeof x);
  return x;
}

static float flush(float x) {
  return fpclassify(x) == FP_SUBNORMAL ? copysignf(0.0f, x) : x;
}

/* To nearest even; a NaN stays one, what is subnormal becomes zero. */
static uint32_t bf16(float x) {
  uint32_t u = bits(flush(x));
  if (isnan(x)) return u >> 16 | 0x40;
  return (u + 0x7fff + (u >> 16 & 1)) >> 16;
}

static void rows_bf16_ref(void *cell, const float *x, int64_t count) {
  uint32_t *c = cell;
  for (int64_t i = 0; i < count; i += 2)
    c[i / 2] = bf16(x[i]) | (i + 1 < count ? bf16(x[i + 1]) << 16 : 0);
}

static void pack_bf16_ref(void *panel, int64_t w, const float *src, int64_t ld, const float *z,
                          float eps, int64_t n, int64_t k) {
  uint32_t *p = panel;
  for (int64_t i = 0; i < k; i += 2)
    for (int64_t j = 0; j < ZF_LANES; j++) {
      float v[2] = {0, 0};
      for (int64_t e = 0; j < n && e < 2 && i + e < k; e++) {
        v[e] = src[j * ld + i + e];
        if (z) v[e] = fmaf(eps, z[j * ZF_KC + i + e], v[e]);
      }
      p[i / 2 * w + j] = bf16(v[0]) | bf16(v[1]) << 16;
    }
}

static void fold_bf16_ref(void *panel, int64_t w, const float *from, int64_t ld, int64_t n,
                          int64_t k) {
  uint32_t *p = panel;
  for (int64_t i = 0; i < k; i += 2)
    for (int64_t j = 0; j < n; j++)
      p[i / 2 * w + j] =
          bf16(from[i * ld + j]) | (i + 1 < k ? bf16(from[(i + 1) * ld + j]) << 16 : 0);
}

static float half(uint32_t u) {
  return flush(value(u));
}

static float dot2(float c, uint32_t a, uint32_t b) {
  float odd = flush(fmaf(half(a & 0xffff0000), half(b & 0xffff0000), c));
  return flush(fmaf(half(a << 16), half(b << 16), odd));
}

static void mul_bf16_ref(float *c, int64_t ldc, const void *xs, int64_t ldx, int64_t rows,
                         const void *ps, int64_t ldp, int64_t w, int64_t k, enum zf_mul_mode mode) {
  const uint32_t *x = xs, *p = ps;
  for (int64_t r = 0; r < rows; r++)
    for (int64_t j = 0; j < w; j++) {
      float chain = 0.0f;
      for (int64_t i = 0; i < (k + 1) / 2; i++) chain = dot2(chain, x[r * ldx + i], p[i * ldp + j]);
      c[r * ldc + j] = mode == ZF_MUL_ADD ? c[r * ldc + j] + chain : chain;
    }
}

void zf_kern_init_bf16_ref(struct zf_kern_table *table) {
  table->product[ZF_COMPUTE_BF16] = (struct zf_product){.name = "ref",
                                                        .max_columns = 64,
                                                        .inputs_per_cell = 2,
                                                        .chunk_inputs = ZF_KC_BF16,
                                                        .convert_rows = rows_bf16_ref,
                                                        .pack = pack_bf16_ref,
                                                        .pack_f32 = fold_bf16_ref,
                                                        .mul = mul_bf16_ref};
}
