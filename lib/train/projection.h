/* Time and size of a run before it starts: forecasts of memory (forecast.h), and of seconds from a
 * short calibration of this machine on the products that the model's plan names. */
#ifndef ZF_TRAIN_PROJECTION_H
#define ZF_TRAIN_PROJECTION_H

#include "train/run.h"

struct zf_calibration {
  double product;   /* operations a second of products, the model's own shapes */
  double attention; /* of attention's small ones */
  double noise;     /* values a second */
  double bytes;     /* bytes a second, read and written */
};

/* Takes some tenths of a second; ZF_ENOMEM. */
int zf_calibrate(struct zf_calibration *out, const struct zf_run *run);

/* Predicted seconds of one step, and of scoring `d` once. */
double zf_projection_step(const struct zf_calibration *calibration, const struct zf_run *run,
                          enum zf_method method, int checkpoint);
double zf_projection_score(const struct zf_calibration *calibration, const struct zf_run *run,
                           const struct zf_dataset *dataset);

/* Memory of a run whose batches are `batch` sequences of `length` tokens, weights trained in
 * `dtype` (enum zf_dtype; backpropagation: f32). */
int zf_projection_shape(struct zf_forecast *out, struct zf_run *run, enum zf_method method,
                        int checkpoint, int64_t batch, int64_t length, enum zf_dtype dtype);

/* The largest batch at `length`, and the longest sequence at `batch`, within `bytes`; 0: none. */
int64_t zf_projection_batch(struct zf_run *run, enum zf_method method, int checkpoint,
                            int64_t length, enum zf_dtype dtype, int64_t bytes);
int64_t zf_projection_length(struct zf_run *run, enum zf_method method, int checkpoint,
                             int64_t batch, enum zf_dtype dtype, int64_t bytes);

#endif
