/* Training steps by backpropagation: the same batches, packing and losses as zeroth-order steps. */
#ifndef ZF_TRAIN_BACKPROP_H
#define ZF_TRAIN_BACKPROP_H

#include "train/run.h"

/* Memory of the backward pass and the optimizer; r->fwd and r->scorer are made, with limits from
 * zf_back_limits. */
int zf_backprop_new(struct zf_backprop **out, struct zf_run *run);
void zf_backprop_free(struct zf_backprop *backprop); /* takes NULL */

int64_t zf_backprop_bytes(const struct zf_limits *lim); /* for forecasts, the passes aside */

/* Loss of step 1, 2, ... on its batch (the bits of a plain forward pass), and the norm of its
 * gradient, which is kept until the update. */
int zf_backprop_gradient(struct zf_run *run, int64_t step, double *loss, double *norm);
void zf_backprop_update(struct zf_run *run, int64_t step, double lr);

#endif
