/* The training loop. */
#ifndef ZF_TRAIN_LOOP_H
#define ZF_TRAIN_LOOP_H

#include "train/rundir.h"

struct zf_step_report {
  int64_t step, steps;
  double loss;               /* mean of both sides, mean over probes */
  double projected_gradient; /* root mean square over probes; backpropagation: gradient norm */
  double lr;
  double seconds;           /* since the start, evaluation included */
  double remaining_seconds; /* estimated seconds of the remaining steps and scores */
  double tokens_per_s;      /* over the last steps, tokens of all streams */
};

struct zf_eval_report {
  int64_t step, steps;
  const char *what; /* "dev" or "test" */
  struct zf_metrics metrics;
  int best; /* dev: the best so far */
};

/* Functions that the loop calls.  Any may be NULL. */
struct zf_train_events {
  void *ctx;
  void (*step)(void *ctx, const struct zf_step_report *report);
  void (*eval)(void *ctx, const struct zf_eval_report *report);
  void (*message)(void *ctx, const char *text);
  int (*stopped)(void *ctx); /* nonzero: a signal arrived; checkpoint and return ZF_ESTOPPED */
};

/* The beginning of a run. */
struct zf_train_start {
  int resume;        /* resume the run in output_dir */
  const char *fork;  /* NULL, or a log from which a branch copies its first steps */
  int64_t fork_step; /* number of these steps */
};

/* Trains and writes the run directory, which records the outcome in every case.  0, ZF_EDIVERGED (the
 * last good weights are the best checkpoint), ZF_ESTOPPED, or a failure. */
int zf_train(struct zf_run *run, const struct zf_train_start *start,
             const struct zf_train_events *events, struct zf_outcome *outcome);

#endif
