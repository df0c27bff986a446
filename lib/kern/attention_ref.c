/* Kernels of attention and of the head's log-softmax in plain C. */
#include <math.h>

#include "kern/kern_internal.h"
#include "rng/sleef.h"

static float max_of(const float *values, int64_t count) {
  float max = values[0];
  for (int64_t j = 1; j < count; j++)
    if (values[j] > max) max = values[j];
  return max;
}

static float softmax_ref(float *scores, float scale, int64_t count) {
  float max, lanes[ZF_LANES] = {0};
  for (int64_t j = 0; j < count; j++) scores[j] *= scale;
  max = max_of(scores, count);
  for (int64_t j = 0; j < count; j++) {
    scores[j] = Sleef_finz_expf1_u10purecfma(scores[j] - max);
    lanes[j % ZF_LANES] += scores[j];
  }
  for (int half = ZF_LANES / 2; half; half /= 2)
    for (int lane = 0; lane < half; lane++) lanes[lane] += lanes[lane + half];
  return lanes[0];
}

static void add_weighted_rows_ref(float *out, const float *weights, const float *values,
                                  int64_t ldvalues, int64_t count, int64_t D) {
  for (int64_t d = 0; d < D; d++) {
    float chain = out[d];
    for (int64_t j = 0; j < count; j++) chain = fmaf(weights[j], values[j * ldvalues + d], chain);
    out[d] = chain;
  }
}

static void softcap_ref(float *x, float scale_in, float scale_out, int64_t count) {
  for (int64_t i = 0; i < count; i++)
    x[i] = Sleef_finz_tanhf1_u35purecfma(x[i] * scale_in) * scale_out;
}

static void scale_ref(float *x, float factor, int64_t count) {
  for (int64_t i = 0; i < count; i++) x[i] *= factor;
}

static void divide_ref(float *out, float divisor, int64_t count) {
  for (int64_t i = 0; i < count; i++) out[i] /= divisor;
}

static void sumexp_ref(float *max_out, double *sum, const float *values, int64_t count) {
  float max = max_of(values, count);
  double lanes[ZF_LANES] = {0};
  for (int64_t j = 0; j < count; j++)
    lanes[j % ZF_LANES] += (double)Sleef_finz_expf1_u10purecfma(values[j] - max);
  for (int half = ZF_LANES / 2; half; half /= 2)
    for (int lane = 0; lane < half; lane++) lanes[lane] += lanes[lane + half];
  *max_out = max;
  *sum = lanes[0];
}

void zf_kern_init_attention_ref(struct zf_kern_table *table) {
  table->softmax = softmax_ref;
  table->softcap = softcap_ref;
  table->scale = scale_ref;
  table->add_weighted_rows = add_weighted_rows_ref;
  table->divide = divide_ref;
  table->sumexp = sumexp_ref;
}
