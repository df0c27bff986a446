/* Differences: the points at which a step evaluates the loss, and the estimate that follows. */
#ifndef ZF_ZO_DIFFERENCE_H
#define ZF_ZO_DIFFERENCE_H

#include "zo/zo_internal.h"

struct zf_difference {
  const char *name;
  int64_t (*losses)(const struct zf_zo *zo); /* of a step */
  int64_t (*terms)(const struct zf_zo *zo);  /* directions that it weighs, at most */
  int by_example;                            /* knows directions by example */
  int smooth;                                /* its terms are projected gradients: 1 / length */
  /* Adds the points of round 0, 1, ... of the step; later rounds know the losses of earlier ones.
   * Returns 0 where there is no such round. */
  int (*plan)(struct zf_zo_optimizer *optimizer, int round);
  /* Adds the terms that the losses give. */
  void (*combine)(struct zf_zo_optimizer *optimizer);
  /* Loss of the step about the weights. */
  double (*centre)(const struct zf_zo *zo, const double *loss);
  /* |second derivative| along a probe, from the losses of a step; NULL: it does not tell. */
  double (*curvature)(const struct zf_zo *zo, const double *loss, int probe);
  int64_t (*memory)(const struct zf_zo *zo); /* earlier steps that it looks at; NULL: none */
  int explicit_terms;                        /* terms of other steps */
};

extern const struct zf_difference *const zf_differences[ZF_DIFFERENCES];
extern const struct zf_difference zf_difference_central, zf_difference_one_sided,
    zf_difference_batched, zf_difference_curvature, zf_difference_bayes, zf_difference_anchor,
    zf_difference_population, zf_difference_conservative;

#endif
