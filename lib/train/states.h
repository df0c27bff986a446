/* The states that a run saves:
 *
 *   keyframes/step-N.safetensors   the trained weights alone
 *   checkpoints/step-N/            a model directory
 *
 * N is decimal without leading zeros.  An entry with another name or of another kind (a file where a
 * directory is expected, a link, a directory without weights) does not belong to the run: it is
 * neither listed nor removed. */
#ifndef ZF_TRAIN_STATES_H
#define ZF_TRAIN_STATES_H

#include <stdint.h>

#include "base/cplusplus.h"

ZF_BEGIN_DECLS

enum zf_state_kind { ZF_STATE_KEYFRAME, ZF_STATE_CHECKPOINT, ZF_STATE_KINDS };

/* The folder in the run directory. */
const char *zf_state_folder(enum zf_state_kind kind);

/* The step in an entry's name; -1: it is not the name of a state. */
int64_t zf_state_step(enum zf_state_kind kind, const char *name);

/* The path of a state in the run directory `run`; the caller frees it.  NULL: out of memory. */
char *zf_state_path(const char *run, enum zf_state_kind kind, int64_t step);

/* (*step)[0..*count): the steps of all states of a kind, ascending; the caller frees *step.  None
 * where there is no such folder.  ZF_ENOMEM, ZF_EIO. */
int zf_states_list(int64_t **step, int64_t *count, const char *run, enum zf_state_kind kind);

/* Removes the oldest states of a kind beyond `keep`. */
int zf_states_prune(const char *run, enum zf_state_kind kind, int64_t keep);

/* Removes the files that a save writes into a model directory, then the directory.  It stays where it
 * has other files.  It is no error where there is no such directory. */
int zf_state_remove_dir(const char *path);

/* Replaces the model directory `path` by `tmp`, with one rename where `path` has no other files. */
int zf_state_replace_dir(const char *tmp, const char *path);

ZF_END_DECLS

#endif
