/* Update rules: how the estimate e moves the weights.  kern.h (zf_update) gives the order of
 * operations.
 *
 *   SGD       w <- w - lr e
 *   MOMENTUM  m <- b1 m + (1 - b1) e;  w <- w - lr m
 *   ADAM      Kingma, Ba 2015, algorithm 1; the decay as Loshchilov, Hutter 2019, at step t = 1, 2, ...
 *   ADAMM     ADAM with the largest second moment so far and no correction (Chen et al. 2019, ZO-AdaMM)
 *   SIGN      w <- w - lr sign(e)                              (Liu et al. 2019, signSGD via ZO oracle)
 *   MUON      m as MOMENTUM; w <- w - lr sqrt(max(1, rows/columns)) m (m^T m)^(-1/2), by five Newton and
 *             Schulz iterations; of matrices with a side up to 256, others as MOMENTUM (Jordan 2024)
 *   TRUST     m as MOMENTUM; its change of a parameter is at most trust |w| long
 *
 * All: w <- w - lr decay w first.  A window of steps replaces states by sums over the records of the last
 * `window` steps: weights (1 - b) b^j for the step j before, over their sum. */
#ifndef ZF_ZO_RULE_H
#define ZF_ZO_RULE_H

#include "zo/zo_internal.h"

struct zf_rule_kind {
  const char *name;
  enum zf_update_rule update; /* with states */
  enum zf_update_rule window; /* without */
  unsigned states;            /* mask of enum zf_param_state */
  int windowed;               /* may have a window */
  int corrects;               /* divides by 1 - b^t */
  int normalizes; /* a step is about lr long in every element, whatever the estimate's size */
  /* Turns the momentum of a whole parameter [rows][columns] into the change of the weights, in place;
   * NULL: none.  space: as many floats as zf_rule_space. */
  void (*whole)(const struct zf_zo *zo, const struct zf_param *param, float *change, int64_t rows,
                int64_t columns, double lr, float *space);
};

extern const struct zf_rule_kind *const zf_rules[ZF_RULES];
extern const struct zf_rule_kind zf_rule_sgd, zf_rule_momentum, zf_rule_adam, zf_rule_adamm,
    zf_rule_sign, zf_rule_muon, zf_rule_trust;

/* base^exponent by squaring.  Its products are exactly rounded, so that every machine has the same
 * bits, which a library's pow does not promise. */
double zf_zo_power(double base, uint32_t exponent);

enum { ZF_MUON_SIDE = 256 };

#endif
