/* What `zoft replay` and `zoft apply` share: weights out of a log. */
#ifndef ZF_CMD_REPLAY_LOG_H
#define ZF_CMD_REPLAY_LOG_H

#include "opt.h"
#include "train/replay.h"

/* Options; NULL, or *_given = 0: not given, and then a number is 0. */
struct zc_replay_options {
  const char *out, *dtype, *average, *drop;
  int64_t to_step;
  double ema, scale;
  int to_step_given, ema_given, scale_given, verify;
};

/* Replays the log `path` over the base model in `base` (a directory or ORG/NAME), with saved states
 * of the run directory `dir` (NULL: none), and prints what was done. */
int zc_replay_log(const struct zc_replay_options *options, const char *path, const char *base,
                  const char *dir);

#endif
