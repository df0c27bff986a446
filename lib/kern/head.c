/* The driver of log-softmax at targets.  It computes ZF_VC columns of logits at a time and keeps
 * their log-sum-exp, and the target's logit from the chunk that holds it. */
#include <math.h>
#include <omp.h>

#include "kern/kern_internal.h"
#include "rng/sleef.h"

/* log(exp(a) + exp(b)), by SLEEF because libm's bits differ between systems. */
static double join(double x, double y) {
  double hi = x > y ? x : y, lo = x > y ? y : x;
  return hi + Sleef_finz_log1pd1_u10purecfma(Sleef_finz_expd1_u10purecfma(lo - hi));
}

/* Adds the logits of columns first..first+count of one row. */
static void add_chunk(double *lse, double *target_logit, const float *logits, int64_t first,
                      int64_t count, int32_t target) {
  float max;
  double sum;
  zf_kern.sumexp(&max, &sum, logits, count);
  double chunk_lse = (double)max + Sleef_finz_logd1_u10purecfma(sum);
  *lse = first ? join(*lse, chunk_lse) : chunk_lse;
  if (!first) *target_logit = 0.0;
  if (target >= first && target < first + count) *target_logit = (double)logits[target - first];
}

void zf_head_lse(double *lse, double *logit, struct zf_rows *x, int64_t R, const int32_t *targets,
                 const struct zf_weight *weight, const struct zf_streams *streams,
                 const float *bias, int64_t ldb, float cap, float *scratch,
                 const struct zf_head_hooks *hooks) {
  for (int64_t first = 0; first < weight->out; first += ZF_VC) {
    int64_t count = weight->out - first < ZF_VC ? weight->out - first : ZF_VC;
    struct zf_weight part = zf_weight_part(weight, first, count);
    zf_gemm(scratch, ZF_VC, x, R, &part, streams, bias ? bias + first : NULL, ldb, 0);
    if (hooks->change) hooks->change(hooks->change_ctx, scratch, ZF_VC, first, count);
    if (cap > 0) zf_softcap(scratch, ZF_VC, streams->count * R, count, 1 / cap, cap);
    if (hooks->watch) hooks->watch(hooks->watch_ctx, scratch, ZF_VC, first, count);
    int team = zf_kern_team(streams->count * R * count);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
    for (int64_t row = 0; row < streams->count * R; row++)
      add_chunk(lse + row, logit + row, scratch + row * ZF_VC, first, count, targets[row % R]);
  }
}

void zf_head_lse_logits(double *lse, double *target_logit, const float *logits, int64_t ldlogits,
                        int64_t R, int64_t V, const int32_t *targets) {
  int team = zf_kern_team(R * V);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t row = 0; row < R; row++)
    for (int64_t first = 0; first < V; first += ZF_VC)
      add_chunk(lse + row, target_logit + row, logits + row * ldlogits + first, first,
                zf_min64(V - first, ZF_VC), targets[row]);
}

/* Copies logits from..to, multiplied by `inverse`, and returns their number. */
static int64_t copy_scaled(float *to, const float *logits, int64_t from, int64_t end,
                           float inverse) {
  for (int64_t i = from; i < end; i++) to[i - from] = logits[i] * inverse;
  return end - from;
}

void zf_coarse_add(struct zf_coarse_row *row, float *value, const int32_t *id, int64_t k,
                   float inverse, const float *logits, int64_t first, int64_t count) {
  float others[ZF_VC], max;
  int64_t copied = 0, at = 0;
  double sum;
  for (; row->listed < k && id[row->listed] < first + count; row->listed++) {
    int64_t column = id[row->listed] - first;
    value[row->listed] = logits[column];
    copied += copy_scaled(others + copied, logits, at, column, inverse);
    at = column + 1;
  }
  copied += copy_scaled(others + copied, logits, at, count, inverse);
  if (!copied) return;
  zf_kern.sumexp(&max, &sum, others, copied);
  double chunk = (double)max + Sleef_finz_logd1_u10purecfma(sum);
  row->rest = row->rest > -INFINITY ? join(row->rest, chunk) : chunk;
}
