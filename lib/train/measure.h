/* Takes some steps of a run and measures their cost. */
#ifndef ZF_TRAIN_MEASURE_H
#define ZF_TRAIN_MEASURE_H

#include "base/cplusplus.h"
#include "base/proc.h"
#include "train/run.h"

ZF_BEGIN_DECLS

/* Mean and standard deviation over steps. */
struct zf_spread {
  double mean, deviation;
};

struct zf_measure {
  struct zf_spread seconds, joules; /* of a step; joules.mean < 0: not measurable, see `why` */
  char why[160];
  double tokens; /* of a batch, mean over steps */
  double loss;   /* of the last step */
  int64_t steps; /* measured steps; one step before them warms up */
};

/* Takes a step with the run's method: inference is a plain forward pass with its loss. */
int zf_measure_step(struct zf_run *run, int64_t step, double *loss);

/* Takes 1 + `steps` steps.  `stopped` (may be NULL) is called after each; where it returns nonzero,
 * the result is ZF_ESTOPPED. */
int zf_measure_run(struct zf_measure *measure, struct zf_run *run, int64_t steps,
                   int (*stopped)(void *ctx), void *ctx);

/* Tokens of the batch of step 1, 2, ..., on one stream. */
int64_t zf_measure_tokens(struct zf_run *run, int64_t step);

ZF_END_DECLS

#endif
