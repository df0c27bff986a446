/* What a run will need in memory, by kind, before it starts: for its own method and any other. */
#ifndef ZF_TRAIN_FORECAST_H
#define ZF_TRAIN_FORECAST_H

#include "model/forward.h"
#include "train/settings.h"

/* Bytes by kind.  `total` is what peak resident memory is expected to be. */
struct zf_forecast {
  int64_t before;      /* resident before the model was opened: program, tokenizer, data */
  int64_t weights;     /* held or mapped */
  int64_t trained;     /* of these, trained */
  int64_t gradients;   /* of backpropagation, f32 */
  int64_t optimizer;   /* its state, f32 */
  int64_t activations; /* registers of the pass, values kept for derivatives, packing, scratch */
  int64_t total;
  int64_t
      bound; /* total if the longest examples met in one batch; equal where batches are not known */
};

/* Of `method` under limits for that method's streams; `scores`: log-normalisers are asked for
 * beside gradients, by options of several tokens or dev and test sets.  `m` needs its plan, and
 * parameters with dtype and `trained` as they will be; no weight is read.  ZF_ENOMEM. */
int zf_forecast_make(struct zf_forecast *out, const struct zf_model *model,
                     const struct zf_limits *lim, enum zf_method method, int checkpoint, int scores,
                     int64_t before);

/* Sets what `lim` leaves open for the method: workspace. */
void zf_forecast_limits(struct zf_limits *lim, const struct zf_model *model, enum zf_method method);

/* Bytes that parameters of `m` are held in by `method`. */
int64_t zf_forecast_weights(const struct zf_model *model, enum zf_method method);

#endif
