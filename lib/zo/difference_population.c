/* Evolution strategies with antithetic pairs: the fitness of a point is its loss less the mean of all
 * 2 n losses, over their standard deviation (Salimans et al. 2017, arXiv 1703.03864; Sarkar et al. 2025,
 * EGGROLL, arXiv 2511.16652, which draws low-rank directions).
 *
 *   coefficient = (f(w + eps z) - f(w - eps z)) / 2      with f the fitness
 *
 * So the learning rate is the length of a step in units of the directions, whatever the loss is. */
#include <math.h>

#include "zo/difference.h"

static void combine(struct zf_zo_optimizer *optimizer) {
  const double *loss = optimizer->loss;
  int count = 2 * optimizer->zo.probes;
  double mean = 0, square = 0;
  for (int i = 0; i < count; i++) mean += loss[i] / count;
  for (int i = 0; i < count; i++) square += (loss[i] - mean) * (loss[i] - mean) / count;
  double spread = sqrt(square);
  for (int i = 0; i < count; i += 2)
    zf_zo_term(optimizer, i / 2, -1, spread == 0 ? 0 : (loss[i] - loss[i + 1]) / (2 * spread));
}

static int64_t losses(const struct zf_zo *zo) {
  return zf_difference_central.losses(zo);
}

static int64_t terms(const struct zf_zo *zo) {
  return zo->probes;
}

static int plan(struct zf_zo_optimizer *optimizer, int round) {
  return zf_difference_central.plan(optimizer, round);
}

static double centre(const struct zf_zo *zo, const double *loss) {
  return zf_difference_central.centre(zo, loss);
}

const struct zf_difference zf_difference_population = {.name = "population",
                                                       .losses = losses,
                                                       .terms = terms,
                                                       .plan = plan,
                                                       .combine = combine,
                                                       .centre = centre};
