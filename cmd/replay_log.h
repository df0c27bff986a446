/* What `zoft replay` and `zoft apply` share: rebuilding weights from a log. */
#ifndef ZF_CMD_REPLAY_LOG_H
#define ZF_CMD_REPLAY_LOG_H

#include "opt.h"
#include "train/replay.h"

/* Options.  An option that is not given is NULL, or has *_given = 0 and the value 0. */
struct zc_replay_options {
  const char *out, *dtype, *average, *drop;
  const char *start; /* the adapter with which the run began */
  int64_t to_step;
  double ema, scale;
  int to_step_given, ema_given, scale_given, verify;
};

/* Replays the log `path` on the base model `base` (a directory or ORG/NAME), from a saved state of the run
 * directory `dir` where there is one (NULL: none), and prints the result. */
int zc_replay_log(const struct zc_replay_options *options, const char *path, const char *base,
                  const char *dir);

#endif
