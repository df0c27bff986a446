/* Kernels of attention and of the head's log-softmax in plain C. */
#include <math.h>

#include "kern/kern_internal.h"
#include "rng/sleef.h"

static float max_of(const float *p, int64_t count) {
  float m = p[0];
  for (int64_t j = 1; j < count; j++)
    if (p[j] > m) m = p[j];
  return m;
}

static float softmax_ref(float *p, float scale, int64_t n) {
  float m, s[ZF_LANES] = {0};
  for (int64_t j = 0; j < n; j++) p[j] *= scale;
  m = max_of(p, n);
  for (int64_t j = 0; j < n; j++) {
    p[j] = Sleef_finz_expf1_u10purecfma(p[j] - m);
    s[j % ZF_LANES] += p[j];
  }
  for (int half = ZF_LANES / 2; half; half /= 2)
    for (int l = 0; l < half; l++) s[l] += s[l + half];
  return s[0];
}

static void blend_ref(float *o, const float *p, const float *v, int64_t ldv, int64_t n, int64_t D) {
  for (int64_t d = 0; d < D; d++) {
    float chain = o[d];
    for (int64_t j = 0; j < n; j++) chain = fmaf(p[j], v[j * ldv + d], chain);
    o[d] = chain;
  }
}

static void softcap_ref(float *x, float in, float out, int64_t n) {
  for (int64_t i = 0; i < n; i++) x[i] = Sleef_finz_tanhf1_u35purecfma(x[i] * in) * out;
}

static void scale_ref(float *x, float by, int64_t n) {
  for (int64_t i = 0; i < n; i++) x[i] *= by;
}

static void divide_ref(float *o, float by, int64_t n) {
  for (int64_t i = 0; i < n; i++) o[i] /= by;
}

static void sumexp_ref(float *max, double *sum, const float *y, int64_t count) {
  float m = max_of(y, count);
  double s[ZF_LANES] = {0};
  for (int64_t j = 0; j < count; j++)
    s[j % ZF_LANES] += (double)Sleef_finz_expf1_u10purecfma(y[j] - m);
  for (int half = ZF_LANES / 2; half; half /= 2)
    for (int l = 0; l < half; l++) s[l] += s[l + half];
  *max = m;
  *sum = s[0];
}

void zf_kern_init_attention_ref(struct zf_kern_table *table) {
  table->softmax = softmax_ref;
  table->softcap = softcap_ref;
  table->scale = scale_ref;
  table->add_weighted_rows = blend_ref;
  table->divide = divide_ref;
  table->sumexp = sumexp_ref;
}
