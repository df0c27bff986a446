/* Memory forecast of a run, by kind, for its own method or any other. */
#ifndef ZF_TRAIN_FORECAST_H
#define ZF_TRAIN_FORECAST_H

#include "base/cplusplus.h"
#include "model/forward.h"
#include "train/settings.h"

ZF_BEGIN_DECLS

/* Bytes by kind.  `total` is the expected peak of resident memory. */
struct zf_forecast {
  int64_t resident_before; /* resident before the model was opened: program, tokenizer, data */
  int64_t weights;         /* held or mapped, of the base and adapters */
  int64_t adapters;        /* of these, of adapters */
  int64_t trained;         /* of these, trained */
  int64_t gradients;       /* of backpropagation, f32 */
  int64_t optimizer;       /* its state, f32 */
  int64_t activations; /* registers of the pass, values kept for derivatives, packing, scratch */
  int64_t total;
  int64_t bound; /* total if the longest examples met in one batch; equal to total where
                        * batches are not known */
};

/* The forecast of `method` under limits for that method's streams.  scores: log-normalisers are
 * needed besides gradients, for options of several tokens or for dev and test sets.  The model has
 * its plan, and parameters with the dtype and `trained` of the run; no weight is read.  ZF_ENOMEM. */
int zf_forecast_make(struct zf_forecast *forecast, const struct zf_model *model,
                     const struct zf_limits *limits, enum zf_method method, int checkpoint,
                     int scores, int64_t before);

/* Sets the limit that depends on the method: the workspace. */
void zf_forecast_limits(struct zf_limits *limits, const struct zf_model *model,
                        enum zf_method method);

/* Bytes of the parameters as `method` holds them. */
int64_t zf_forecast_weights(const struct zf_model *model, enum zf_method method);

ZF_END_DECLS

#endif
