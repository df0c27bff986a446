/* Backpropagation over the plan of a model: the same operations and kernels as the forward pass of
 * zeroth-order training, and in memory the values that their derivatives need.
 *
 *   zf_back_forward           runs the plan and keeps values (with checkpointing: inputs of layers)
 *   zf_back_lse, _at          losses of the wanted rows: the bits of zf_forward_lse and _logits_at
 *   zf_back_rows, _gradient_at   gradient of the head from the weight of each row's log-probability
 *   zf_back_run               runs the plan in reverse; adds up the gradients of trained parameters
 *   zf_optim_update           (optim.h) applies the update rule and sets gradients to zero
 *
 * Products run in the arithmetic of the forward pass' limits (f32 or bf16), those of adapters in f32.
 * The frozen base may have any storage, GGUF's blocks included.  Gradients are summed in f32 in a fixed
 * order: the same bits for any number of threads.  Nothing is allocated after
 * zf_back_new.  Neither lib/zo nor anything that its steps run includes this folder. */
#ifndef ZF_BACK_BACK_H
#define ZF_BACK_BACK_H

#include "base/cplusplus.h"
#include "model/forward.h"

ZF_BEGIN_DECLS

struct zf_back;

/* Bytes by kind, for forecasts. */
struct zf_back_bytes {
  int64_t values;    /* kept by the forward pass */
  int64_t gradients; /* of trained parameters */
  int64_t scratch;   /* of the backward pass: transposed chunks, logits, attention */
  int64_t untouched; /* part of the forward pass' registers that is used only by zf_back_lse and by
                        forward passes between steps */
};
int zf_back_bytes(struct zf_back_bytes *out, const struct zf_model *model,
                  const struct zf_limits *limits, int checkpoint);

/* Sets lim->work so that products of the backward pass fit the workspace of a forward pass made
 * with these limits. */
void zf_back_limits(struct zf_limits *limits, const struct zf_model *model);

/* `forward` was made with limits from zf_back_limits, for one stream.  Its registers hold gradients,
 * so it may run passes between steps but not inside one.  Trained parameters are held in f32 (else
 * ZF_EUSAGE).  With `checkpoint` only the input of each layer is kept, and a layer is rerun before
 * its derivatives (Chen et al., "Training deep nets with sublinear memory cost", 2016).  Gradients
 * begin as zero. */
int zf_back_new(struct zf_back **out, const struct zf_model *model, struct zf_forward *forward,
                int checkpoint);
void zf_back_free(struct zf_back *back); /* takes NULL */

/* The batch outlives zf_back_run.  Errors as zf_forward_run. */
int zf_back_forward(struct zf_back *back, const struct zf_batch *batch);

/* lse[r], logit[r]: log-normaliser and target's logit of each wanted row r, as zf_forward_lse. */
void zf_back_lse(struct zf_back *back, const int32_t *targets, double *lse, double *logit);
/* Logits of `count` ids only, out[r][count], as zf_forward_logits_at. */
void zf_back_at(struct zf_back *back, const int32_t *ids, int64_t count, float *out);

/* A part of the loss beside log p of targets, as its gradient by the logits of a row:
 * coefficient * exp(inverse * logit - lse) of every token, except those that `listed` sets. */
struct zf_back_part {
  void *ctx;
  float inverse; /* of a temperature */
  /* Reads the logits [V] of a row and sets its coefficient and lse. */
  void (*softmax)(void *ctx, int64_t row, const float *logits, double *coefficient, double *lse);
  /* Sets gradients of single tokens among columns first..first + count of the row, gradient [count]. */
  void (*listed)(void *ctx, int64_t row, float *gradient, int64_t first, int64_t count);
};

/* For rows r with targets[r] >= 0, coefficients[r] is the derivative of the loss by
 * log p(targets[r]).  part: NULL, or a part of the loss that is added; its functions are called from several
 * threads, for different rows.  Fills lse and logit as zf_back_lse does, so a loss whose coefficients are
 * known beforehand needs only this call. */
void zf_back_rows(struct zf_back *back, const int32_t *targets, const float *coefficients,
                  const struct zf_back_part *part, double *lse, double *logit);
/* gradients[r][count]: derivatives of the loss by the logits of zf_back_at. */
void zf_back_gradient_at(struct zf_back *back, const int32_t *ids, int64_t count,
                         const float *gradients);

/* Runs the rest of the plan in reverse. */
void zf_back_run(struct zf_back *back);

/* The gradient of parameter `number` of the model, in the layout of its data; NULL when it is not
 * trained.  zf_back_all returns all gradients one after another, *count floats; the padding between
 * them is zero. */
float *zf_back_gradient(struct zf_back *back, int64_t number);
float *zf_back_all(struct zf_back *back, int64_t *count);
/* Root of the sum of squares of all gradients, in double, in a fixed order. */
double zf_back_norm(struct zf_back *back);

ZF_END_DECLS

#endif
