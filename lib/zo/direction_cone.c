/* Directions in a cone about the momentum of the last steps.  The momentum is a sum over the noises of the
 * last records: m = sum_j (1 - b) b^j e_{t-1-j}, so that nothing of the model's size is kept. */
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "zo/direction.h"

enum { WINDOW = 40 };

static int check_cone(const struct zf_zo *zo) {
  if (zo->probes != 1)
    return zf_error(ZF_EUSAGE, "zo_form: cone: expected zo_probes 1, found %d", zo->probes);
  if (zo->cone >= 0 && zo->cone < 1) return 0;
  return zf_error(ZF_EUSAGE, "zo_cone: expected a cosine from 0 to below 1, found %g", zo->cone);
}

/* weight[j] = the coefficient in m of the noise of step t-1-j; returns their sum of squares. */
static double momentum(const struct zf_zo_optimizer *optimizer, double weight[WINDOW]) {
  double decay = 1 - optimizer->zo.beta1, square = 0;
  memset(weight, 0, WINDOW * sizeof *weight);
  for (int j = 0; j < WINDOW; j++, decay *= optimizer->zo.beta1) {
    const struct zf_zo_record *record = zf_zo_recall(optimizer, (int64_t)optimizer->step - 1 - j);
    for (int64_t i = 0; record && i < optimizer->terms; i++) {
      const struct zf_zo_term *term = &record->term[i];
      int64_t back = (int64_t)optimizer->step - 1 - term->step;
      if (term->coefficient != 0 && back < WINDOW) weight[back] += decay * term->coefficient;
    }
  }
  for (int j = 0; j < WINDOW; j++) square += weight[j] * weight[j];
  return square;
}

/* A momentum of 0 leaves the noise of the step. */
static int expand_cone(const struct zf_zo_optimizer *optimizer, int probe,
                       struct zf_zo_term *term) {
  double weight[WINDOW], square = momentum(optimizer, weight), cone = optimizer->zo.cone;
  int count = 1;
  term[0] = (struct zf_zo_term){square > 0 ? sqrt(1 - cone * cone) : 1, optimizer->step,
                                (uint16_t)probe, 0};
  for (int j = 0; square > 0 && j < WINDOW; j++)
    if (weight[j] != 0)
      term[count++] = (struct zf_zo_term){cone * weight[j] / sqrt(square),
                                          optimizer->step - 1 - (uint32_t)j, 0, 0};
  return count;
}

static int64_t memory(const struct zf_zo *zo) {
  (void)zo;
  return WINDOW;
}

static int64_t noises(const struct zf_zo *zo) {
  (void)zo;
  return 1 + WINDOW;
}

const struct zf_direction zf_direction_cone = {.name = "cone",
                                               .kind = -1,
                                               .check = check_cone,
                                               .expand = expand_cone,
                                               .memory = memory,
                                               .noises = noises,
                                               .explicit_terms = 1};
