/* The states that a run keeps on its way:
 *
 *   keyframes/step-N.safetensors   the trained weights alone
 *   checkpoints/step-N/            a model directory
 *
 * N is written as the program writes it: decimal, without leading zeros.  An entry with another name
 * or of another kind (a file where a directory is expected, a link, a directory without weights) is
 * not the run's: it is not listed and never removed. */
#ifndef ZF_TRAIN_STATES_H
#define ZF_TRAIN_STATES_H

#include <stdint.h>

enum zf_state_kind { ZF_STATE_KEYFRAME, ZF_STATE_CHECKPOINT, ZF_STATE_KINDS };

/* The folder in the run directory. */
const char *zf_state_folder(enum zf_state_kind kind);

/* The step that an entry's name says, or -1: it is not a state's name. */
int64_t zf_state_step(enum zf_state_kind kind, const char *name);

/* The path of a state below the run directory `run`; the caller frees, NULL: out of memory. */
char *zf_state_path(const char *run, enum zf_state_kind kind, int64_t step);

/* The steps of all states of a kind, ascending, *n of them; the caller frees.  None where there is
 * no such folder.  ZF_ENOMEM, ZF_EIO. */
int zf_states_list(int64_t **step, int64_t *n, const char *run, enum zf_state_kind kind);

/* Removes the oldest states of a kind beyond `keep`. */
int zf_states_prune(const char *run, enum zf_state_kind kind, int64_t keep);

/* Removes what a model directory that this program wrote holds, then the directory; files of other
 * names stay, and then it does too.  Nothing there is no error. */
int zf_state_remove_dir(const char *path);

/* Puts the model directory `tmp` in the place of `path`, at once where nothing of another is there. */
int zf_state_replace_dir(const char *tmp, const char *path);

#endif
