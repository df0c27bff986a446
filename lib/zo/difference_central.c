/* Central difference: L(w + eps z), L(w - eps z) of each probe in turn. */
#include "zo/difference.h"

static int64_t losses(const struct zf_zo *zo) {
  return 2 * zo->probes;
}

static int64_t terms(const struct zf_zo *zo) {
  return zo->probes;
}

static int plan(struct zf_zo_optimizer *optimizer, int round) {
  double eps = optimizer->zo.eps;
  if (round) return 0;
  for (int i = 0; i < optimizer->zo.probes; i++)
    for (int side = 0; side < 2; side++) {
      zf_zo_point(optimizer);
      zf_zo_along(optimizer, i, side ? -eps : eps);
    }
  return 1;
}

static void combine(struct zf_zo_optimizer *optimizer) {
  double width = 2 * zf_zo_eps(&optimizer->zo);
  int64_t examples = optimizer->zo.examples;
  for (int i = 0; i < optimizer->zo.probes; i++) {
    const double *loss = optimizer->loss + 2 * i, *plus = optimizer->example + 2 * i * examples,
                 *minus = plus + examples;
    if (!examples) zf_zo_term(optimizer, i, -1, (loss[0] - loss[1]) / width);
    for (int64_t j = 0; j < examples; j++)
      zf_zo_term(optimizer, i, j, (double)(float)((plus[j] - minus[j]) / width));
  }
}

static double centre(const struct zf_zo *zo, const double *loss) {
  double sum = 0;
  for (int i = 0; i < zo->probes; i++) sum += 0.5 * (loss[2 * i] + loss[2 * i + 1]) / zo->probes;
  return sum;
}

const struct zf_difference zf_difference_central = {.name = "central",
                                                    .losses = losses,
                                                    .terms = terms,
                                                    .by_example = 1,
                                                    .smooth = 1,
                                                    .plan = plan,
                                                    .combine = combine,
                                                    .centre = centre};
