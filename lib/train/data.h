/* The data sets of a run, and which examples a step sees. */
#ifndef ZF_TRAIN_DATA_H
#define ZF_TRAIN_DATA_H

#include "train/settings.h"

struct zf_run_data {
  struct zf_dataset *train, *dev, *test; /* dev and test may be NULL */
  char hash[33];                         /* of all files read, in order */
  int64_t *order;                        /* of the epoch at hand */
  int64_t epoch;                         /* -1: none yet */
  uint64_t seed;
};

/* Which of the sets are wanted. */
enum zf_data_want { ZF_WANT_TRAIN = 1, ZF_WANT_DEV = 2, ZF_WANT_TEST = 4 };

/* Reads the files, draws num_train training examples and the dev examples from them by a
 * permutation of the seed (METHODS 4: one permutation of all rows; training rows first, dev rows
 * last), num_eval test examples likewise, and encodes what was drawn.  `sequence_len` is resolved
 * against the model's context: beyond it is ZF_EUSAGE. */
int zf_run_data_open(struct zf_run_data *out, struct zf_settings *s, const struct zf_tok *tok,
                     int64_t context, unsigned want);
void zf_run_data_free(struct zf_run_data *d);

/* index[0..n) = the training examples at places from .. from+n of an endless sequence of shuffled
 * epochs: a function of (seed, place). */
void zf_run_data_batch(struct zf_run_data *d, int64_t from, int64_t n, int64_t *index);

#endif
