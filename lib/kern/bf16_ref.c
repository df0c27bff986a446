/* The product in bf16, in plain C.
 *
 * The arithmetic is that of vdpbf16ps: the two inputs of a cell are multiplied and added one
 * after the other, the odd one first; each sum is rounded to nearest even; subnormal inputs and sums
 * become zero of their sign.  A product of two bf16 is exact in f32, so the chain differs from that
 * of f32 only in its inputs and their order. */
#include <math.h>
#include <string.h>

#include "kern/kern_internal.h"

static uint32_t bits(float x) {
  uint32_t word;
  memcpy(&word, &x, sizeof word);
  return word;
}

static float value(uint32_t word) {
  float x;
  memcpy(&x, &word, sizeof x);
  return x;
}

static float flush(float x) {
  return fpclassify(x) == FP_SUBNORMAL ? copysignf(0.0f, x) : x;
}

/* Rounds to nearest even.  A NaN stays a NaN, a subnormal value becomes zero. */
static uint32_t bf16(float x) {
  uint32_t word = bits(flush(x));
  if (isnan(x)) return word >> 16 | 0x40;
  return (word + 0x7fff + (word >> 16 & 1)) >> 16;
}

static void rows_bf16_ref(void *to, const float *x, int64_t count) {
  uint32_t *cells = to;
  for (int64_t i = 0; i < count; i += 2)
    cells[i / 2] = bf16(x[i]) | (i + 1 < count ? bf16(x[i + 1]) << 16 : 0);
}

static void pack_bf16_ref(void *panel, int64_t width, const float *rows, int64_t ld, const float *z,
                          float eps, int64_t count, int64_t k) {
  uint32_t *cells = panel;
  for (int64_t i = 0; i < k; i += 2)
    for (int64_t j = 0; j < ZF_LANES; j++) {
      float pair[2] = {0, 0};
      for (int64_t e = 0; j < count && e < 2 && i + e < k; e++) {
        pair[e] = rows[j * ld + i + e];
        if (z) pair[e] = fmaf(eps, z[j * ZF_KC + i + e], pair[e]);
      }
      cells[i / 2 * width + j] = bf16(pair[0]) | bf16(pair[1]) << 16;
    }
}

static void pack_f32_bf16_ref(void *panel, int64_t width, const float *rows, int64_t ld,
                              int64_t count, int64_t k) {
  uint32_t *cells = panel;
  for (int64_t i = 0; i < k; i += 2)
    for (int64_t j = 0; j < count; j++)
      cells[i / 2 * width + j] =
          bf16(rows[i * ld + j]) | (i + 1 < k ? bf16(rows[(i + 1) * ld + j]) << 16 : 0);
}

static float half(uint32_t u) {
  return flush(value(u));
}

static float dot2(float sum, uint32_t a, uint32_t b) {
  float odd = flush(fmaf(half(a & 0xffff0000), half(b & 0xffff0000), sum));
  return flush(fmaf(half(a << 16), half(b << 16), odd));
}

static void mul_bf16_ref(float *out, int64_t ldout, const void *x_cells, int64_t ldx, int64_t rows,
                         const void *panel_cells, int64_t ldp, int64_t width, int64_t k,
                         enum zf_mul_mode mode) {
  const uint32_t *x = x_cells, *panel = panel_cells;
  for (int64_t row = 0; row < rows; row++)
    for (int64_t j = 0; j < width; j++) {
      float chain = 0.0f;
      for (int64_t i = 0; i < (k + 1) / 2; i++)
        chain = dot2(chain, x[row * ldx + i], panel[i * ldp + j]);
      out[row * ldout + j] = mode == ZF_MUL_ADD ? out[row * ldout + j] + chain : chain;
    }
}

void zf_kern_init_bf16_ref(struct zf_kern_table *table) {
  table->product[ZF_COMPUTE_BF16] = (struct zf_product){.name = "ref",
                                                        .max_columns = 64,
                                                        .inputs_per_cell = 2,
                                                        .chunk_inputs = ZF_KC_BF16,
                                                        .convert_rows = rows_bf16_ref,
                                                        .pack = pack_bf16_ref,
                                                        .pack_f32 = pack_f32_bf16_ref,
                                                        .mul = mul_bf16_ref};
}
