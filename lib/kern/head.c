/* The driver of log-softmax at targets: logits of ZF_VC columns at a time, of which the sum of
 * exponentials is kept, and the target's logit where the piece holds it. */
#include <omp.h>

#include "kern/kern_internal.h"
#include "rng/sleef.h"

/* log(exp(a) + exp(b)), by SLEEF and not libm, whose bits differ between systems. */
static double join(double a, double b) {
  double hi = a > b ? a : b, lo = a > b ? b : a;
  return hi + Sleef_finz_log1pd1_u10purecfma(Sleef_finz_expd1_u10purecfma(lo - hi));
}

/* Takes logits y of columns o..o+n of one row into account. */
static void take(double *lse, double *logit, const float *y, int64_t o, int64_t n, int32_t target) {
  float max;
  double sum;
  zf_kern.sumexp(&max, &sum, y, n);
  double piece = (double)max + Sleef_finz_logd1_u10purecfma(sum);
  *lse = o ? join(*lse, piece) : piece;
  if (!o) *logit = 0.0;
  if (target >= o && target < o + n) *logit = (double)y[target - o];
}

void zf_head_lse(double *lse, double *logit, const float *x, int64_t ldx, int64_t R,
                 const int32_t *target, const struct zf_weight *weight, const struct zf_streams *st,
                 const float *bias, int64_t ldb, float cap, float *scratch) {
  for (int64_t o = 0; o < weight->out; o += ZF_VC) {
    int64_t n = weight->out - o < ZF_VC ? weight->out - o : ZF_VC;
    struct zf_weight part = zf_weight_part(weight, o, n);
    (o ? zf_gemm_reuse : zf_gemm)(scratch, ZF_VC, x, ldx, R, &part, st, bias ? bias + o : NULL, ldb,
                                  0);
    if (cap > 0) zf_softcap(scratch, ZF_VC, st->count * R, n, 1 / cap, cap);
    int team = zf_kern_team(st->count * R * n);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
    for (int64_t r = 0; r < st->count * R; r++)
      take(lse + r, logit + r, scratch + r * ZF_VC, o, n, target[r % R]);
  }
}

void zf_head_lse_logits(double *lse, double *logit, const float *y, int64_t ldy, int64_t R,
                        int64_t V, const int32_t *target) {
  int team = zf_kern_team(R * V);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t r = 0; r < R; r++)
    for (int64_t o = 0; o < V; o += ZF_VC)
      take(lse + r, logit + r, y + r * ldy + o, o, zf_kern_min(V - o, ZF_VC), target[r]);
}
