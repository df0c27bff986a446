/* The matrix product in plain C: packing, tile product and the last additions. */
#include "kern/kern_internal.h"

#include <math.h>

static void pack_ref(void *to, int64_t width, const float *rows, int64_t ld, const float *z,
                     float eps, int64_t count, int64_t k) {
  float *panel = to;
  for (int64_t i = 0; i < k; i++)
    for (int64_t j = 0; j < ZF_LANES; j++) {
      float value = j < count ? rows[j * ld + i] : 0.0f;
      if (z && j < count) value = fmaf(eps, z[j * ZF_KC + i], value);
      panel[i * width + j] = value;
    }
}

static void mul_ref(float *out, int64_t ldout, const void *x_cells, int64_t ldx, int64_t rows,
                    const void *panel_cells, int64_t ldp, int64_t width, int64_t k,
                    enum zf_mul_mode mode) {
  const float *x = x_cells, *panel = panel_cells;
  for (int64_t row = 0; row < rows; row++)
    for (int64_t j = 0; j < width; j++) {
      float chain = mode >= ZF_MUL_CONTINUE ? out[row * ldout + j] : 0.0f;
      int64_t last = mode == ZF_MUL_STAIR ? k + row : k;
      for (int64_t i = 0; i < last; i++) chain = fmaf(x[row * ldx + i], panel[i * ldp + j], chain);
      out[row * ldout + j] = mode == ZF_MUL_ADD ? out[row * ldout + j] + chain : chain;
    }
}

static void mul_unpacked_ref(float *out, int64_t ldout, const float *x, int64_t ldx, int64_t rows,
                             const float *w, int64_t ld, int64_t count, int64_t k, int add) {
  for (int64_t row = 0; row < rows; row++)
    for (int64_t j = 0; j < count; j++) {
      float chain = 0.0f;
      for (int64_t i = 0; i < k; i++) chain = fmaf(x[row * ldx + i], w[j * ld + i], chain);
      out[row * ldout + j] = add ? out[row * ldout + j] + chain : chain;
    }
}

static void finish_ref(float *y, int64_t ldy, const float *sums, const float *bias, int64_t rows,
                       int64_t count, int accumulate) {
  for (int64_t row = 0; row < rows; row++)
    for (int64_t j = 0; j < count; j++) {
      float value = sums[row * ZF_NC + j];
      if (bias) value = value + bias[j];
      y[row * ldy + j] = accumulate ? y[row * ldy + j] + value : value;
    }
}

void zf_kern_init_gemm_ref(struct zf_kern_table *table) {
  table->product[ZF_COMPUTE_F32] = (struct zf_product){.name = "ref",
                                                       .native = 1,
                                                       .max_columns = 64,
                                                       .inputs_per_cell = 1,
                                                       .chunk_inputs = ZF_KC,
                                                       .pack = pack_ref,
                                                       .mul = mul_ref,
                                                       .mul_unpacked = mul_unpacked_ref};
  table->finish = finish_ref;
}
