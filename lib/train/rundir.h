/* The run directory: run.json, config.yaml, metrics.jsonl, steps.log, keyframes/, checkpoints/, and
 * the model. */
#ifndef ZF_TRAIN_RUNDIR_H
#define ZF_TRAIN_RUNDIR_H

#include <stdio.h>

#include "train/replay.h"
#include "train/run.h"

struct zf_rundir {
  char *path;
  int metrics; /* metrics.jsonl; -1: not open */
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

/* Makes the directory if there is none, and locks it until unlock: one run at a time writes there.
 * ZF_EIO: another does.  To be had before anything in it is replaced. */
int zf_rundir_lock(int *fd, const char *path);
void zf_rundir_unlock(int *fd); /* takes -1 */

/* ZF_EUSAGE where the base model's files lie in output_dir, links resolved. */
int zf_rundir_apart(const struct zf_run *run);

/* Takes the directory (also one that holds an earlier run when `over` is set) and writes run.json,
 * config.yaml and the files beside the model.  ZF_EUSAGE when it is not empty, ZF_EIO when it cannot be written. */
int zf_rundir_open(struct zf_rundir *dir, const struct zf_run *run,
                   const struct zf_outcome *outcome, int over);

/* Opens the directory of a run to go on with: metrics.jsonl is replaced by `lines`, config.yaml by
 * the run's settings, and what a killed process left half-written is removed. */
int zf_rundir_reopen(struct zf_rundir *dir, const struct zf_run *run, const char *lines,
                     size_t len);

/* Does `path` hold a run with steps to go on from?  Did a run begin there? */
int zf_rundir_has_log(const char *path);
int zf_rundir_begun(const char *path);
void zf_rundir_close(struct zf_rundir *dir);

/* A path inside, which the caller frees; NULL when out of memory. */
char *zf_rundir_path(const struct zf_rundir *dir, const char *name);

/* One line of metrics.jsonl, a complete JSON object. */
int zf_rundir_metrics(struct zf_rundir *dir, const char *line);

/* Replaces run.json. */
int zf_rundir_status(const struct zf_rundir *dir, const struct zf_run *run,
                     const struct zf_outcome *outcome);

/* Saves the model as it stands to checkpoints/NAME, a model directory that appears whole. */
int zf_rundir_checkpoint(const struct zf_rundir *dir, const struct zf_run *run, const char *name,
                         const struct zf_provenance *stamp);

/* Saves the trained weights alone to keyframes/step-N.safetensors. */
int zf_rundir_keyframe(const struct zf_rundir *dir, const struct zf_run *run,
                       const struct zf_provenance *stamp);

/* Removes the oldest checkpoints/step-N and keyframes beyond `keep` of each. */
int zf_rundir_prune(const struct zf_rundir *dir, int64_t keep);

/* 1 when the file OUT/name exists; it is removed: `touch OUT/save`, `touch OUT/stop`. */
int zf_rundir_asked(const struct zf_rundir *dir, const char *name);

#endif
