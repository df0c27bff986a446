/* First-order optimizers as a table.  Each makes one fused pass over weights, gradients and state.
 *
 *   sgd            w -= lr (g + decay w)                               Robbins, Monro 1951
 *   sgd_momentum   m = beta1 m + g + decay w;  w -= lr m               Polyak 1964, as PyTorch's
 *   adamw          m, v: means of g, g^2;  w -= lr decay w;
 *                  w -= lr m' / (sqrt(v') + eps)                       Loshchilov, Hutter 2019
 *
 * with m' = m / (1 - beta1^t), v' = v / (1 - beta2^t).  Moments are f32. */
#ifndef ZF_BACK_OPTIM_H
#define ZF_BACK_OPTIM_H

#include "base/cplusplus.h"
#include "back/back.h"
#include "back/rows.h"

ZF_BEGIN_DECLS

struct zf_optim_conf {
  double lr, decay, beta1, beta2, eps;
  double clip; /* gradients with a larger norm are scaled down to it; 0: no clipping */
};

struct zf_optim_kind {
  const char *name;
  int slots; /* floats of state for each trained element */
};
const struct zf_optim_kind *zf_optim_kind(enum zf_optim_rule rule);

struct zf_optim;
int64_t zf_optim_bytes(const struct zf_model *model, enum zf_optim_rule rule);
/* Allocates zeroed state for the gradients of `back`, which outlives the optimizer. */
int zf_optim_new(struct zf_optim **out, struct zf_back *back, enum zf_optim_rule rule);
void zf_optim_free(struct zf_optim *optim); /* takes NULL */

/* Applies step 1, 2, ... to the weights and sets gradients to zero.  `norm`: zf_back_norm. */
void zf_optim_update(struct zf_optim *optim, int64_t step, double norm,
                     const struct zf_optim_conf *conf);

ZF_END_DECLS

#endif
