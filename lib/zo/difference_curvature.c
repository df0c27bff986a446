/* Three points: L(w), then L(w + eps z), L(w - eps z) of each probe.
 *
 *   g = (L+ - L-) / (2 eps),   c = |L+ - 2 L0 + L-| / eps^2
 *   coefficient = g / max(floor, c)^alpha     ("1.5-SPSA": a step along z is scaled by the curvature
 *                                              along z; alpha = 0 gives SPSA)
 *
 * c is the second derivative along z, of the size of tr H: it scales all steps alike unless probes differ
 * in it.  The floor, 1, keeps flat directions from blowing up. */
#include <math.h>

#include "zo/difference.h"

#define FLOOR 1.0

static int64_t losses(const struct zf_zo *zo) {
  return 1 + 2 * zo->probes;
}

static int64_t terms(const struct zf_zo *zo) {
  return zo->probes;
}

static int plan(struct zf_zo_optimizer *optimizer, int round) {
  double eps = optimizer->zo.eps;
  if (round) return 0;
  zf_zo_point(optimizer);
  for (int i = 0; i < optimizer->zo.probes; i++)
    for (int side = 0; side < 2; side++) {
      zf_zo_point(optimizer);
      zf_zo_along(optimizer, i, side ? -eps : eps);
    }
  return 1;
}

static double curvature(const struct zf_zo *zo, const double *loss, int probe) {
  const double *side = loss + 1 + 2 * probe;
  double eps = zf_zo_eps(zo);
  return fabs(side[0] - 2 * loss[0] + side[1]) / (eps * eps);
}

/* base^exponent for an exponent of 0, 1/8, ..., 15/8, by square roots, whose bits every machine has
 * alike. */
static double root_power(double base, double exponent) {
  double result = 1, root = base;
  for (double part = 1; part >= 0.125; part /= 2, root = sqrt(root))
    if (exponent >= part) {
      result *= root;
      exponent -= part;
    }
  return result;
}

static void combine(struct zf_zo_optimizer *optimizer) {
  const struct zf_zo *zo = &optimizer->zo;
  for (int i = 0; i < zo->probes; i++) {
    const double *side = optimizer->loss + 1 + 2 * i;
    double bend = curvature(zo, optimizer->loss, i);
    double scale =
        zo->form == ZF_FORM_SCALED ? 1 : root_power(bend > FLOOR ? bend : FLOOR, zo->alpha);
    zf_zo_term(optimizer, i, -1, (side[0] - side[1]) / (2 * zf_zo_eps(zo)) / scale);
  }
}

static double centre(const struct zf_zo *zo, const double *loss) {
  (void)zo;
  return loss[0];
}

const struct zf_difference zf_difference_curvature = {.name = "curvature",
                                                      .losses = losses,
                                                      .terms = terms,
                                                      .smooth = 1,
                                                      .plan = plan,
                                                      .combine = combine,
                                                      .centre = centre,
                                                      .curvature = curvature};
