/* A Bayesian estimate of the gradient in the subspace of the k = probes directions of a step (Feng, Huang
 * 2026, BSZO, arXiv 2601.01452):
 *
 *   prior        g ~ N(0, P I)
 *   observation  y = (L(w + eps sum_i d_i z_i) - L(w)) / eps = d . g + noise of variance R |d|^2
 *   update       K = P d / (d . P d + R);  g <- g + K (y - d . g);  P <- P - K d^T P        (Kalman)
 *
 * The first k observations are along the directions themselves, the last along the unit vector of the
 * posterior mean, where the step will go.  P is the mean square of the first observations, and R the
 * share NOISE of it.  Losses: L(w), k along the directions, one along the mean. */
#include <math.h>

#include "zo/difference.h"

#define NOISE 0.1

static int64_t losses(const struct zf_zo *zo) {
  return 2 + zo->probes;
}

static int64_t terms(const struct zf_zo *zo) {
  return zo->probes;
}

struct posterior {
  double mean[ZF_ZO_MAXBAYES], cov[ZF_ZO_MAXBAYES][ZF_ZO_MAXBAYES], noise;
};

static void observe(struct posterior *posterior, const double *d, int k, double y) {
  double image[ZF_ZO_MAXBAYES], spread = posterior->noise, error = y;
  for (int i = 0; i < k; i++) {
    image[i] = 0;
    for (int j = 0; j < k; j++) image[i] += posterior->cov[i][j] * d[j];
  }
  for (int i = 0; i < k; i++) {
    spread += d[i] * image[i];
    error -= d[i] * posterior->mean[i];
  }
  if (spread <= 0) return;
  for (int i = 0; i < k; i++) posterior->mean[i] += image[i] / spread * error;
  for (int i = 0; i < k; i++)
    for (int j = 0; j < k; j++) posterior->cov[i][j] -= image[i] * image[j] / spread;
}

/* The posterior after the observations along the directions. */
static void observe_directions(struct posterior *posterior, const struct zf_zo *zo,
                               const double *loss) {
  double eps = zf_zo_eps(zo), square = 0, d[ZF_ZO_MAXBAYES];
  int k = zo->probes;
  for (int i = 0; i < k; i++) {
    double y = (loss[1 + i] - loss[0]) / eps;
    square += y * y / k;
  }
  posterior->noise = NOISE * square;
  for (int i = 0; i < k; i++) {
    posterior->mean[i] = 0;
    for (int j = 0; j < k; j++) posterior->cov[i][j] = i == j ? square : 0;
  }
  for (int i = 0; i < k; i++) {
    for (int j = 0; j < k; j++) d[j] = i == j;
    observe(posterior, d, k, (loss[1 + i] - loss[0]) / eps);
  }
}

/* The unit vector of the mean; 0 where that is 0. */
static int unit_mean(const struct posterior *posterior, int k, double *d) {
  double square = 0;
  for (int i = 0; i < k; i++) square += posterior->mean[i] * posterior->mean[i];
  for (int i = 0; i < k; i++) d[i] = square > 0 ? posterior->mean[i] / sqrt(square) : 0;
  return square > 0;
}

static int plan(struct zf_zo_optimizer *optimizer, int round) {
  const struct zf_zo *zo = &optimizer->zo;
  struct posterior posterior;
  double d[ZF_ZO_MAXBAYES];
  if (round > 1) return 0;
  zf_zo_point(optimizer);
  if (round) {
    observe_directions(&posterior, zo, optimizer->loss);
    unit_mean(&posterior, zo->probes, d);
    for (int i = 0; i < zo->probes; i++) zf_zo_along(optimizer, i, zo->eps * d[i]);
    return 1;
  }
  for (int i = 0; i < zo->probes; i++) {
    zf_zo_point(optimizer);
    zf_zo_along(optimizer, i, zo->eps);
  }
  return 1;
}

/* The coefficients are times k, because estimates are means over the probes. */
static void combine(struct zf_zo_optimizer *optimizer) {
  const struct zf_zo *zo = &optimizer->zo;
  struct posterior posterior;
  double d[ZF_ZO_MAXBAYES];
  int k = zo->probes;
  observe_directions(&posterior, zo, optimizer->loss);
  if (unit_mean(&posterior, k, d))
    observe(&posterior, d, k, (optimizer->loss[1 + k] - optimizer->loss[0]) / zf_zo_eps(zo));
  for (int i = 0; i < k; i++) zf_zo_term(optimizer, i, -1, k * posterior.mean[i]);
}

static double centre(const struct zf_zo *zo, const double *loss) {
  (void)zo;
  return loss[0];
}

const struct zf_difference zf_difference_bayes = {.name = "bayes",
                                                  .losses = losses,
                                                  .terms = terms,
                                                  .smooth = 1,
                                                  .plan = plan,
                                                  .combine = combine,
                                                  .centre = centre};
