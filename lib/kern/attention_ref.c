/* Kernels of attention and of the head's log-softmax in plain C. */
#include <math.h>

#include "kern/kern_internal.h"
#include "rng/sleef.h"

/* The head of dimension D is padded with zeros to whole lanes, which only matters to the
 * sign of a zero. */
static float dot_lanes(const float *a, const float *b, int64_t n) {
  float s[ZF_LANES] = {0};
  for (int64_t i = 0; i < (n + ZF_LANES - 1) / ZF_LANES * ZF_LANES; i++)
    s[i % ZF_LANES] = i < n ? fmaf(a[i], b[i], s[i % ZF_LANES]) : s[i % ZF_LANES] + 0.0f;
  for (int half = ZF_LANES / 2; half; half /= 2)
    for (int l = 0; l < half; l++) s[l] += s[l + half];
  return s[0];
}

static void scores_ref(float *s, const float *q, const float *k, int64_t ldk, int64_t n, int64_t D,
                       float scale) {
  for (int64_t j = 0; j < n; j++) s[j] = dot_lanes(q, k + j * ldk, D) * scale;
}

static float max_of(const float *p, int64_t n) {
  float m = p[0];
  for (int64_t j = 1; j < n; j++)
    if (p[j] > m) m = p[j];
  return m;
}

static float softmax_ref(float *p, int64_t n) {
  float m = max_of(p, n), s[ZF_LANES] = {0};
  for (int64_t j = 0; j < n; j++) {
    p[j] = Sleef_finz_expf1_u10purecfma(p[j] - m);
    s[j % ZF_LANES] += p[j];
  }
  for (int half = ZF_LANES / 2; half; half /= 2)
    for (int l = 0; l < half; l++) s[l] += s[l + half];
  return s[0];
}

static void blend_ref(float *o, const float *p, const float *v, int64_t ldv, int64_t n, int64_t D,
                      int add) {
  for (int64_t d = 0; d < D; d++) {
    float chain = add ? o[d] : 0.0f;
    for (int64_t j = 0; j < n; j++) chain = fmaf(p[j], v[j * ldv + d], chain);
    o[d] = chain;
  }
}

static void divide_ref(float *o, float by, int64_t n) {
  for (int64_t i = 0; i < n; i++) o[i] /= by;
}

static void sumexp_ref(float *max, double *sum, const float *y, int64_t n) {
  float m = max_of(y, n);
  double s[ZF_LANES] = {0};
  for (int64_t j = 0; j < n; j++) s[j % ZF_LANES] += (double)Sleef_finz_expf1_u10purecfma(y[j] - m);
  for (int half = ZF_LANES / 2; half; half /= 2)
    for (int l = 0; l < half; l++) s[l] += s[l + half];
  *max = m;
  *sum = s[0];
}

void zf_kern_init_attention_ref(struct zf_kern_table *t) {
  t->scores = scores_ref;
  t->softmax = softmax_ref;
  t->blend = blend_ref;
  t->divide = divide_ref;
  t->sumexp = sumexp_ref;
}
