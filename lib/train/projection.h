/* Predicted time and size of a run: forecasts of memory (forecast.h), and seconds from a short
 * calibration of this machine with the products of the model's plan. */
#ifndef ZF_TRAIN_PROJECTION_H
#define ZF_TRAIN_PROJECTION_H

#include "base/cplusplus.h"
#include "train/run.h"

ZF_BEGIN_DECLS

struct zf_calibration {
  double product;   /* operations a second in products of the model's shapes */
  double attention; /* operations a second in attention's small products */
  double noise;     /* values a second */
  double bytes;     /* bytes a second, read and written */
};

/* Takes some tenths of a second; ZF_ENOMEM. */
int zf_calibrate(struct zf_calibration *calibration, const struct zf_run *run);

/* Predicted seconds of one step, and of scoring a data set once. */
double zf_projection_step(const struct zf_calibration *calibration, const struct zf_run *run,
                          enum zf_method method, int checkpoint);
double zf_projection_score(const struct zf_calibration *calibration, const struct zf_run *run,
                           const struct zf_dataset *dataset);

/* Memory of a run with batches of `batch` sequences of `length` tokens and trained weights in `dtype`
 * (backpropagation: f32).  Sets the dtype of the run's trained parameters. */
int zf_projection_shape(struct zf_forecast *forecast, struct zf_run *run, enum zf_method method,
                        int checkpoint, int64_t batch, int64_t length, enum zf_dtype dtype);

/* The largest batch of sequences of `length` tokens, and the longest sequence in batches of `batch`,
 * whose forecast is at most `bytes`; 0: none. */
int64_t zf_projection_batch(struct zf_run *run, enum zf_method method, int checkpoint,
                            int64_t length, enum zf_dtype dtype, int64_t bytes);
int64_t zf_projection_length(struct zf_run *run, enum zf_method method, int checkpoint,
                             int64_t batch, enum zf_dtype dtype, int64_t bytes);

ZF_END_DECLS

#endif
