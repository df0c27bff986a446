/* The run directory: run.json, config.yaml, metrics.jsonl, steps.log, checkpoints/, and the model.
 */
#ifndef ZF_TRAIN_RUNDIR_H
#define ZF_TRAIN_RUNDIR_H

#include <stdio.h>

#include "train/run.h"

struct zf_rundir {
  char *path;
  FILE *metrics;
};

/* How a run ended, or "running". */
struct zf_outcome {
  const char *status; /* "running", "finished", "stopped early", "interrupted", "diverged" */
  int64_t step;       /* last step taken */
  int64_t best_step;  /* -1: none */
  double seconds;
  struct zf_metrics start, best, end; /* dev; examples = 0: not scored */
  struct zf_metrics test_start, test_end;
};

/* Makes the directory (or takes over one that holds an earlier run when overwrite_output_dir is
 * set) and writes config.yaml.  ZF_EUSAGE when it is not empty, ZF_EIO when it cannot be written.
 */
int zf_rundir_open(struct zf_rundir *d, const struct zf_run *r);
void zf_rundir_close(struct zf_rundir *d);

/* A path inside, which the caller frees; NULL when out of memory. */
char *zf_rundir_path(const struct zf_rundir *d, const char *name);

/* One line of metrics.jsonl, a complete JSON object. */
int zf_rundir_metrics(struct zf_rundir *d, const char *line);

/* Replaces run.json. */
int zf_rundir_status(const struct zf_rundir *d, const struct zf_run *r, const struct zf_outcome *o);

/* Saves the model as it stands to checkpoints/NAME, a model directory that appears whole. */
int zf_rundir_checkpoint(const struct zf_rundir *d, const struct zf_run *r, const char *name);

/* Removes the oldest checkpoints/step-N beyond `keep`. */
int zf_rundir_prune(const struct zf_rundir *d, int64_t keep);

/* 1 when the file OUT/name exists; it is removed: `touch OUT/save`, `touch OUT/stop`. */
int zf_rundir_asked(const struct zf_rundir *d, const char *name);

#endif
