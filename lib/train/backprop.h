/* Training steps by backpropagation, with the batches, packing and losses of zeroth-order steps. */
#ifndef ZF_TRAIN_BACKPROP_H
#define ZF_TRAIN_BACKPROP_H

#include "base/cplusplus.h"
#include "train/run.h"

ZF_BEGIN_DECLS

/* Reserves memory for the backward pass and the optimizer.  run->forward and run->scorer exist, with
 * limits from zf_back_limits. */
int zf_backprop_new(struct zf_backprop **out, struct zf_run *run);
void zf_backprop_free(struct zf_backprop *backprop); /* takes NULL */

/* Bytes for forecasts, without the passes and the optimizer. */
int64_t zf_backprop_bytes(const struct zf_limits *limits);

/* Loss of step 1, 2, ... on its batch (with the bits of a plain forward pass), and the norm of its
 * gradient.  The gradient is kept until the update. */
int zf_backprop_gradient(struct zf_run *run, int64_t step, double *loss, double *norm);
void zf_backprop_update(struct zf_run *run, int64_t step, double lr);

ZF_END_DECLS

#endif
