/* The training loop. */
#ifndef ZF_TRAIN_LOOP_H
#define ZF_TRAIN_LOOP_H

#include "train/rundir.h"

struct zf_step_report {
  int64_t step, steps;
  double loss; /* mean of the two sides, mean over probes */
  double projected_gradient,
      lr;              /* g: root mean square over probes; backpropagation: norm of the gradient */
  double seconds;      /* since the start, evaluation included */
  double left;         /* estimate of the seconds to the end: steps and scores still to come */
  double tokens_per_s; /* tokens run, both streams, over the last steps */
};

struct zf_eval_report {
  int64_t step, steps;
  const char *what; /* "dev" or "test" */
  struct zf_metrics metrics;
  int best; /* dev: the best so far */
};

/* What the caller is told, and asked.  Any may be NULL. */
struct zf_train_events {
  void *ctx;
  void (*step)(void *ctx, const struct zf_step_report *s);
  void (*eval)(void *ctx, const struct zf_eval_report *e);
  void (*message)(void *ctx, const char *text);
  int (*stopped)(void *ctx); /* nonzero: a signal has come; checkpoint and return ZF_ESTOPPED */
};

/* How a run begins. */
struct zf_train_start {
  int resume;       /* go on with the run in output_dir, where there is one */
  const char *fork; /* a log whose first `fork_step` steps come before this run's own, or NULL */
  int64_t fork_step;
};

/* Trains and writes the run directory.  0, ZF_EDIVERGED (the last good weights are the best
 * checkpoint), ZF_ESTOPPED, or a failure; the run directory says what happened in each case. */
int zf_train(struct zf_run *run, const struct zf_train_start *start,
             const struct zf_train_events *ev, struct zf_outcome *out);

#endif
