/* The text that models are calibrated or compared on, as windows of tokens. */
#ifndef ZF_CMD_TEXT_WINDOWS_H
#define ZF_CMD_TEXT_WINDOWS_H

#include "eval/divergence.h"

/* A short text on which models are compared where no other is given. */
extern const char zc_sample_text[];

/* Windows of the file `path`, `length` tokens long, `limit` at most (0: all). */
int zc_windows_open(struct zf_windows *windows, const struct zf_tok *tok, const char *path,
                    int64_t length, int64_t limit);

/* ZF_EINVALID where the two tokenizers give other ids for the file: their models' predictions cannot be
 * compared. */
int zc_windows_check(const struct zf_windows *windows, const struct zf_tok *tok, const char *path,
                     const char *model);

/* A zf_divergence tick for a struct zc_progress: draws the progress bar, and stops at a signal. */
struct zc_progress {
  const char *label;
  int64_t total;
  double start; /* seconds */
};
int zc_progress_tick(void *ctx, int64_t done);

#endif
