/* One-sided differences: L(w), then L(w + eps z) of each probe.
 *
 *   one_sided  g = (L(w + eps z) - L(w)) / eps
 *   batched    (L(w + eps z_i) - L(w)) / s, s the standard deviation of the N losses L(w + eps z_j): the
 *              spread takes the place of eps, so that steps shorten where the loss is steep
 *              (Dang et al. 2025, FZOO, arXiv 2506.09034, eq. 3 to 5) */
#include <math.h>

#include "zo/difference.h"

static int64_t losses(const struct zf_zo *zo) {
  return 1 + zo->probes;
}

static int64_t terms(const struct zf_zo *zo) {
  return zo->probes;
}

static int plan(struct zf_zo_optimizer *optimizer, int round) {
  if (round) return 0;
  zf_zo_point(optimizer);
  for (int i = 0; i < optimizer->zo.probes; i++) {
    zf_zo_point(optimizer);
    zf_zo_along(optimizer, i, optimizer->zo.eps);
  }
  return 1;
}

static void combine(struct zf_zo_optimizer *optimizer) {
  double eps = zf_zo_eps(&optimizer->zo);
  int64_t examples = optimizer->zo.examples;
  for (int i = 0; i < optimizer->zo.probes; i++) {
    const double *there = optimizer->example + (1 + i) * examples, *here = optimizer->example;
    if (!examples)
      zf_zo_term(optimizer, i, -1, (optimizer->loss[1 + i] - optimizer->loss[0]) / eps);
    for (int64_t j = 0; j < examples; j++)
      zf_zo_term(optimizer, i, j, (double)(float)((there[j] - here[j]) / eps));
  }
}

/* Losses that all are equal tell nothing. */
static void combine_batched(struct zf_zo_optimizer *optimizer) {
  const double *loss = optimizer->loss;
  int probes = optimizer->zo.probes;
  double mean = 0, square = 0;
  for (int i = 1; i <= probes; i++) mean += loss[i] / probes;
  for (int i = 1; i <= probes; i++) square += (loss[i] - mean) * (loss[i] - mean) / probes;
  double spread = sqrt(square);
  for (int i = 1; i <= probes; i++)
    zf_zo_term(optimizer, i - 1, -1, spread == 0 ? 0 : (loss[i] - loss[0]) / spread);
}

static double centre(const struct zf_zo *zo, const double *loss) {
  (void)zo;
  return loss[0];
}

const struct zf_difference zf_difference_one_sided = {.name = "one_sided",
                                                      .losses = losses,
                                                      .terms = terms,
                                                      .by_example = 1,
                                                      .smooth = 1,
                                                      .plan = plan,
                                                      .combine = combine,
                                                      .centre = centre};

const struct zf_difference zf_difference_batched = {.name = "batched",
                                                    .losses = losses,
                                                    .terms = terms,
                                                    .plan = plan,
                                                    .combine = combine_batched,
                                                    .centre = centre};
