/* Backpropagation over the plan of a model: the same operations and kernels as the forward pass of
 * zeroth-order training, with what their derivatives need kept in memory.
 *
 *   zf_back_forward     runs the plan and keeps values (or, checkpointing, the inputs of layers)
 *   zf_back_lse, _at    losses of the wanted rows, as zf_forward_lse and _logits_at: the same bits
 *   zf_back_rows, _slope_at   gradient of the head from what a row's log-probability weighs
 *   zf_back_run         the plan in reverse; gradients of trained parameters are added up
 *   zf_optim_update     (optim.h) the rule, and gradients back to zero
 *
 * Products run in the arithmetic of the forward pass' limits (f32 or bf16), sums of gradients are
 * f32 in a fixed order: the same bits for any number of threads.  Nothing is allocated after
 * zf_back_new.  Nothing in lib/zo, nor what its steps run, includes this folder. */
#ifndef ZF_BACK_BACK_H
#define ZF_BACK_BACK_H

#include "model/forward.h"

struct zf_back;

/* Bytes by kind, for forecasts. */
struct zf_back_bytes {
  int64_t values;    /* kept by the forward pass */
  int64_t gradients; /* of trained parameters */
  int64_t scratch;   /* of the backward pass: transposed pieces, logits, attention */
  int64_t spare;     /* of the forward pass' registers, untouched unless zf_back_lse or a pass of
                        its own is run */
};
int zf_back_bytes(struct zf_back_bytes *out, const struct zf_model *model,
                  const struct zf_limits *lim, int checkpoint);

/* Sets lim->work so that products of the backward pass fit the workspace of a forward pass made
 * with these limits. */
void zf_back_limits(struct zf_limits *lim, const struct zf_model *model);

/* `f` was made with limits from zf_back_limits, of one stream; its own registers are used for
 * gradients, so a pass of its own may run between steps but not inside one.  Trained parameters are
 * held in f32 (else ZF_EUSAGE).  With checkpoint the input of each layer alone is kept and a layer
 * is run again before its derivatives (Chen et al., "Training deep nets with sublinear memory
 * cost", 2016).  Gradients begin as zero. */
int zf_back_new(struct zf_back **out, const struct zf_model *model, struct zf_forward *forward,
                int checkpoint);
void zf_back_free(struct zf_back *back); /* takes NULL */

/* The batch outlives zf_back_run.  Errors as zf_forward_run. */
int zf_back_forward(struct zf_back *back, const struct zf_batch *batch);

/* Of each wanted row r: log-normaliser and target's logit, as zf_forward_lse. */
void zf_back_lse(struct zf_back *back, const int32_t *target, double *lse, double *logit);
/* Logits of `n` ids alone, out[r][n], as zf_forward_logits_at. */
void zf_back_at(struct zf_back *back, const int32_t *ids, int64_t count, float *out);

/* Rows r with target[r] >= 0: coef[r] is the derivative of the loss by log p(target[r]).  lse and
 * logit are filled on the way, as zf_back_lse does: a loss whose coefficients are known beforehand
 * needs this call alone. */
void zf_back_rows(struct zf_back *back, const int32_t *target, const float *coef, double *lse,
                  double *logit);
/* Derivatives by the logits of zf_back_at: slope[r][n]. */
void zf_back_gradient_at(struct zf_back *back, const int32_t *ids, int64_t count,
                         const float *slope);

/* The rest of the plan, in reverse. */
void zf_back_run(struct zf_back *back);

/* The gradient of parameter `number` of the model, in the layout of its data; NULL when it is not
 * trained.  All gradients lie one after another, *n floats in all, from zf_back_all on; the padding
 * between them is zero. */
float *zf_back_gradient(struct zf_back *back, int64_t number);
float *zf_back_all(struct zf_back *back, int64_t *count);
/* Root of the sum of squares of all gradients, in double, in a fixed order. */
double zf_back_norm(struct zf_back *back);

#endif
