/* Rebuilds the weights of any step of a run from the base model and the log.
 *
 * A replay starts from the base model, or from the nearest earlier state that the run saved (a
 * keyframe or a checkpoint), and applies all steps to one tile of a tensor before the next tile. */
#ifndef ZF_TRAIN_REPLAY_H
#define ZF_TRAIN_REPLAY_H

#include "base/cplusplus.h"
#include "peft/adapter.h"
#include "train/history.h"

ZF_BEGIN_DECLS

/* --- saved states: safetensors whose metadata holds their provenance --- */

/* Provenance of saved weights: log, step, and hash of all weights. */
struct zf_provenance {
  uint32_t log; /* zf_history.id */
  int64_t step;
  char hash[33];
};

enum { ZF_PROVENANCE_PAIRS = 3 };

/* The provenance as metadata for zf_model_save: pairs that point into `text`. */
struct zf_provenance_text {
  char log[16], step[24], hash[33];
  const char *pair[2 * ZF_PROVENANCE_PAIRS];
};
void zf_provenance_pairs(struct zf_provenance_text *text, const struct zf_provenance *provenance);

/* Reads the trained weights, and the rule's state where the model has one, of the saved state at
 * `path` (a file, or a directory with model.safetensors).  ZF_EINVALID: the state is not of this log and step, its weights do not have
 * the saved hash, or not the hash in the log's mark of the step; the weights are then undefined. */
int zf_provenance_load(struct zf_model *model, const char *path, const struct zf_history *history,
                       int64_t step);

/* --- replay --- */

/* Changes to the run; all zero: none. */
struct zf_replay_opts {
  double scale;                     /* factor of every learning rate; 0: 1 */
  int64_t drop_from, drop_to;       /* these steps have the learning rate 0; Adam's m and v still
                                     * change; 0: none */
  int64_t average_from, average_to; /* mean of the weights after these steps; average_to 0: none */
  double ema; /* exponential mean with this decay a step, begun with the first weights; 0: none */
};

/* Takes the model from the weights after step `from` to the weights after step `to`, and the rule's
 * state with it.  opts: may be NULL. */
int zf_replay_steps(struct zf_model *model, const struct zf_history *history, int64_t from,
                    int64_t to, const struct zf_replay_opts *opts);

/* Called with the reason why a saved state is not used. */
typedef void (*zf_replay_say)(void *ctx, const char *text);

/* Takes the model, just opened or at any step, to the weights after step `to`.  The replay starts
 * from the nearest intact state in `dir` (a run directory, or NULL), else from the base model.
 * *from (may be NULL): the step where it started.  ZF_EINVALID: the log's mark of step `to` has
 * another hash. */
int zf_replay_to(struct zf_model *model, const struct zf_history *history, const char *dir,
                 int64_t to, int64_t *from, zf_replay_say say, void *ctx);

/* ZF_EINVALID where the model, just opened, is not the base model of the log. */
int zf_replay_check_base(const struct zf_model *model, const struct zf_history *history);

/* Opens the base model of a log from the directory `dir`, with the log's trained parameters and
 * dtypes and its rule's state, and checks it.  Where the run trained an adapter, attaches the one with
 * which it began, at `start`; *adapter, which the model owns, is NULL otherwise.  ZF_EUSAGE: there is
 * none. */
int zf_replay_open(struct zf_model **out, const char *dir, const struct zf_history *history,
                   const char *start, struct zf_adapter_file **adapter);

ZF_END_DECLS

#endif
