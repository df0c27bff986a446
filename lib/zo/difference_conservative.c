/* Best of three (Zhang et al. 2024, ZO-Bench, arXiv 2402.11592, "conservative"): the central estimate e, then
 * the losses at w, w - lr e and w + lr e; the step goes to the best of the three.  It demands SGD.
 *
 * Losses: those of the central difference, then these three. */
#include "zo/difference.h"

static int64_t losses(const struct zf_zo *zo) {
  return 2 * zo->probes + 3;
}

static int64_t terms(const struct zf_zo *zo) {
  return zo->probes;
}

static double gradient(const struct zf_zo_optimizer *optimizer, int probe) {
  const double *loss = optimizer->loss + 2 * probe;
  return (loss[0] - loss[1]) / (2 * zf_zo_eps(&optimizer->zo));
}

static int plan(struct zf_zo_optimizer *optimizer, int round) {
  const struct zf_zo *zo = &optimizer->zo;
  if (!round) return zf_difference_central.plan(optimizer, 0);
  if (round > 1) return 0;
  for (int sign = 0; sign < 3; sign++) {
    zf_zo_point(optimizer);
    for (int i = 0; i < zo->probes && sign; i++)
      zf_zo_along(optimizer, i,
                  (sign == 1 ? -1 : 1) * optimizer->lr * gradient(optimizer, i) / zo->probes);
  }
  return 1;
}

static void combine(struct zf_zo_optimizer *optimizer) {
  const double *trial = optimizer->loss + 2 * optimizer->zo.probes;
  double sign = 0, best = trial[0];
  if (trial[1] < best) {
    best = trial[1];
    sign = 1;
  }
  if (trial[2] < best) sign = -1;
  for (int i = 0; i < optimizer->zo.probes; i++)
    zf_zo_term(optimizer, i, -1, sign * gradient(optimizer, i));
}

static double centre(const struct zf_zo *zo, const double *loss) {
  return loss[2 * zo->probes];
}

const struct zf_difference zf_difference_conservative = {.name = "conservative",
                                                         .losses = losses,
                                                         .terms = terms,
                                                         .smooth = 1,
                                                         .plan = plan,
                                                         .combine = combine,
                                                         .centre = centre};
