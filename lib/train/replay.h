/* Weights of any step of a run, from the base model and the log alone.
 *
 * A replay starts from the base model or from the nearest state below that was saved on the way
 * (a keyframe or a checkpoint), and applies all steps to one tile of a tensor before the next. */
#ifndef ZF_TRAIN_REPLAY_H
#define ZF_TRAIN_REPLAY_H

#include "train/history.h"

/* --- saved states: safetensors whose metadata names log, step and the hash of all weights --- */

struct zf_provenance {
  uint32_t log; /* zf_history.id */
  int64_t step;
  char hash[33];
};

enum { ZF_PROVENANCE_PAIRS = 3 };

/* Metadata for the writers of model.h: pairs that point into `text`. */
struct zf_provenance_text {
  char log[16], step[24], hash[33];
  const char *pair[2 * ZF_PROVENANCE_PAIRS];
};
void zf_provenance_pairs(struct zf_provenance_text *text, const struct zf_provenance *provenance);

/* Reads the trained weights of a saved state of this log and step (a file, or a directory with
 * model.safetensors) and checks their hash; the log's mark of that step must agree.  ZF_EINVALID:
 * the weights are then undefined. */
int zf_provenance_load(struct zf_model *model, const char *path, const struct zf_history *history,
                       int64_t step);

/* --- replay --- */

/* What is done otherwise than the run did; all zero: nothing. */
struct zf_replay_opts {
  double scale;                     /* every learning rate times this; 0: as it was */
  int64_t drop_from, drop_to;       /* these steps are left out; 0: none */
  int64_t average_from, average_to; /* mean of the weights after these steps; average_to 0: none */
  double ema; /* exponential mean with this decay a step, begun with the first weights; 0: none */
};

/* Takes `m` from the weights after step `from` to those after step `to`. */
int zf_replay_steps(struct zf_model *model, const struct zf_history *history, int64_t from,
                    int64_t to, const struct zf_replay_opts *opts);

/* Told of a saved state that is passed over. */
typedef void (*zf_replay_say)(void *ctx, const char *text);

/* Takes `m`, freshly opened or of any step, to the weights after step `to`: by the nearest intact
 * state in `dir` (a run directory, or NULL) or else from the base.  The log's mark of the step, if
 * there is one, must agree: ZF_EINVALID.  *from (may be NULL): where the replay started. */
int zf_replay_to(struct zf_model *model, const struct zf_history *history, const char *dir,
                 int64_t to, int64_t *from, zf_replay_say say, void *ctx);

/* ZF_EINVALID when `m`, freshly opened, is not the base model of the log. */
int zf_replay_check_base(const struct zf_model *model, const struct zf_history *history);

/* Opens the base model of a log from the directory `dir`, with the parameters trained and held as
 * the log says, and checks it. */
int zf_replay_open(struct zf_model **out, const char *dir, const struct zf_history *history);

#endif
