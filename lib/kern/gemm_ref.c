/* The matrix product in plain C: packing, tile product and the last additions. */
#include "kern/kern_internal.h"

#include <math.h>

static void pack_ref(void *to, int64_t w, const float *src, int64_t ld, const float *z, float eps,
                     int64_t n, int64_t k) {
  float *panel = to;
  for (int64_t i = 0; i < k; i++)
    for (int64_t j = 0; j < ZF_LANES; j++) {
      float v = j < n ? src[j * ld + i] : 0.0f;
      if (z && j < n) v = fmaf(eps, z[j * ZF_KC + i], v);
      panel[i * w + j] = v;
    }
}

static void mul_ref(float *c, int64_t ldc, const void *xs, int64_t ldx, int64_t rows,
                    const void *ps, int64_t ldp, int64_t w, int64_t k, enum zf_mul_mode mode) {
  const float *x = xs, *panel = ps;
  for (int64_t r = 0; r < rows; r++)
    for (int64_t j = 0; j < w; j++) {
      float chain = mode >= ZF_MUL_CONTINUE ? c[r * ldc + j] : 0.0f;
      int64_t last = mode == ZF_MUL_STAIR ? k + r : k;
      for (int64_t i = 0; i < last; i++) chain = fmaf(x[r * ldx + i], panel[i * ldp + j], chain);
      c[r * ldc + j] = mode == ZF_MUL_ADD ? c[r * ldc + j] + chain : chain;
    }
}

static void thin_ref(float *c, int64_t ldc, const float *x, int64_t ldx, int64_t rows,
                     const float *src, int64_t ld, int64_t n, int64_t k, int add) {
  for (int64_t r = 0; r < rows; r++)
    for (int64_t j = 0; j < n; j++) {
      float chain = 0.0f;
      for (int64_t i = 0; i < k; i++) chain = fmaf(x[r * ldx + i], src[j * ld + i], chain);
      c[r * ldc + j] = add ? c[r * ldc + j] + chain : chain;
    }
}

static void finish_ref(float *y, int64_t ldy, const float *c, const float *bias, int64_t rows,
                       int64_t n, int accumulate) {
  for (int64_t r = 0; r < rows; r++)
    for (int64_t j = 0; j < n; j++) {
      float v = c[r * ZF_NC + j];
      if (bias) v = v + bias[j];
      y[r * ldy + j] = accumulate ? y[r * ldy + j] + v : v;
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
                                                       .mul_unpacked = thin_ref};
  table->finish = finish_ref;
}
