/* What tests of the optimizer share: memory of estimates, and steps with given coefficients. */
#ifndef ZF_TESTS_ZO_STEPS_H
#define ZF_TESTS_ZO_STEPS_H

#include <stdlib.h>

#include "unit/unit.h"
#include "zo/zo.h"

/* An estimate of zeros. */
static inline struct zf_zo_estimate new_estimate(const struct zf_zo *zo) {
  struct zf_zo_estimate estimate = {calloc((size_t)zf_zo_losses(zo) + 1, sizeof *estimate.loss),
                                    calloc((size_t)zf_zo_terms(zo) + 1, sizeof *estimate.term)};
  ck_assert(estimate.loss && estimate.term);
  return estimate;
}

static inline void free_estimate(struct zf_zo_estimate *estimate) {
  free(estimate->loss);
  free(estimate->term);
}

/* Makes term i that of the step's direction i (by example: of probe i / n and example i % n). */
static inline void set_term(const struct zf_zo_estimate *estimate, const struct zf_zo *zo,
                            uint32_t step, int64_t i, double coefficient) {
  int64_t n = zo->examples;
  estimate->term[i] = (struct zf_zo_term){coefficient, step, (uint16_t)(n ? i / n : i),
                                          (uint16_t)(n ? 1 + i % n : 0)};
}

/* The update of `step` with the seed of the optimizer's settings. */
static inline void update_step(const struct zf_params *params, const struct zf_zo *zo,
                               uint32_t step, const struct zf_zo_estimate *estimate, double lr,
                               double decay) {
  zf_zo_update(params,
               &(struct zf_zo_step){
                   .step = step, .seed = zo->seed, .lr = lr, .estimate = *estimate, .keep = 1},
               decay);
}

#endif
