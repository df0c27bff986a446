/* The run directory: run.json, config.yaml, metrics.jsonl, steps.log, keyframes/, checkpoints/, and
 * the model. */
#ifndef ZF_TRAIN_RUNDIR_H
#define ZF_TRAIN_RUNDIR_H

#include <stdio.h>

#include "base/cplusplus.h"
#include "train/probe.h"
#include "train/replay.h"
#include "train/run.h"

ZF_BEGIN_DECLS

struct zf_rundir {
  char *path;
  int metrics; /* metrics.jsonl; -1: not open */
};

/* State of a run, and its outcome. */
struct zf_outcome {
  const char *status; /* "running", "finished", "stopped early", "interrupted", "diverged",
                       * "failed" */
  int64_t step;       /* last step taken */
  int64_t best_step;  /* -1: none */
  double seconds;
  struct zf_metrics start, best, end; /* dev; examples = 0: not scored */
  struct zf_metrics test_start, test_end;
  struct zf_probe_report probe; /* examples = 0: none */
};

/* Creates the directory where it does not exist, and locks it until zf_rundir_unlock.  Take the lock
 * before anything in the directory is replaced.  ZF_EIO: another run has it. */
int zf_rundir_lock(int *fd, const char *path);
void zf_rundir_unlock(int *fd); /* takes -1 */

/* ZF_EUSAGE where files of the base model lie in output_dir, links resolved. */
int zf_rundir_check_base(const struct zf_run *run);

/* Opens the directory of a new run: writes run.json, config.yaml, config.json and the sidecar files.
 * overwrite: replaces an earlier run in it.  ZF_EUSAGE: it is not empty; ZF_EIO: it cannot be
 * written. */
int zf_rundir_open(struct zf_rundir *dir, struct zf_run *run, const struct zf_outcome *outcome,
                   int overwrite);

/* Opens the directory of a resumed run: replaces metrics.jsonl by `lines` and config.yaml by the run's
 * settings, and removes the half-written files of a killed process. */
int zf_rundir_reopen(struct zf_rundir *dir, struct zf_run *run, const char *lines, size_t len);

/* 1 where `path` has a steps.log, from which a run can be resumed. */
int zf_rundir_has_log(const char *path);
/* 1 where `path` has a run.json: a run began there. */
int zf_rundir_begun(const char *path);
void zf_rundir_close(struct zf_rundir *dir);

/* The path of a file in the directory, which the caller frees; NULL: out of memory. */
char *zf_rundir_path(const struct zf_rundir *dir, const char *name);

/* Appends a line to metrics.jsonl: a complete JSON object. */
int zf_rundir_metrics(struct zf_rundir *dir, const char *line);

/* Appends the members of a probe's report, as run.json and metrics.jsonl have them. */
void zf_rundir_probe_json(struct zf_buf *buf, const struct zf_probe_report *probe);

/* Replaces run.json. */
int zf_rundir_status(const struct zf_rundir *dir, const struct zf_run *run,
                     const struct zf_outcome *outcome);

/* Saves the current model to checkpoints/NAME, a model directory that is complete or absent. */
int zf_rundir_checkpoint(const struct zf_rundir *dir, const struct zf_run *run, const char *name,
                         const struct zf_provenance *provenance);

/* Saves only the trained weights to keyframes/step-N.safetensors. */
int zf_rundir_keyframe(const struct zf_rundir *dir, const struct zf_run *run,
                       const struct zf_provenance *provenance);

/* Removes the oldest checkpoints/step-N and keyframes beyond `keep` of each. */
int zf_rundir_prune(const struct zf_rundir *dir, int64_t keep);

/* 1 where the file OUT/name existed, which this removes: a request by `touch OUT/save` or
 * `touch OUT/stop`. */
int zf_rundir_requested(const struct zf_rundir *dir, const char *name);

ZF_END_DECLS

#endif
