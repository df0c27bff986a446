/* The data sets of a run, and which examples a step sees.
 *
 * Sets are held in memory as token sequences, or, with `streaming`, as the numbers of their rows
 * alone: a step's examples are then encoded when it needs them, from files that stay mapped.  Both
 * ways draw the same rows at the same places. */
#ifndef ZF_TRAIN_RUN_DATA_H
#define ZF_TRAIN_RUN_DATA_H

#include "train/order.h"
#include "train/row_source.h"
#include "train/settings.h"

enum zf_data_part { ZF_TRAIN_SET, ZF_DEV_SET, ZF_TEST_SET, ZF_DATA_PARTS };

/* Where a streamed set's examples come from. */
struct zf_streamed_set {
  const struct zf_row_source *pool;
  int64_t *pick; /* rows of the pool, in the order of the set */
  struct zf_row_reader stream;
};

/* Training examples that are copies: of earlier ones, of dev examples, of test examples. */
struct zf_duplicates {
  int64_t count;
  char *copy, *of; /* "PATH:LINE" of the first; NULL when there is none */
};

struct zf_run_data {
  struct zf_dataset *train, *dev, *test; /* dev and test may be NULL */
  char hash[33];                         /* of all files read, in order, and what was left out */
  struct zf_order order;                 /* of the training examples */
  struct zf_duplicates duplicates[ZF_DATA_PARTS];
  int64_t left_out; /* training examples that dataset_exact_deduplication took out */
  /* streaming: */
  struct zf_row_source pool[ZF_DATA_PARTS]; /* files of datasets, val_datasets, test_datasets */
  struct zf_streamed_set source[ZF_DATA_PARTS];
  int64_t batch;           /* examples of a step, which are loaded together */
  int64_t window, nwindow; /* places that are loaded */
  int64_t *row, *at;       /* [nwindow] of each place: its row, its example or -1 */
  int64_t empty;           /* batches so far none of whose rows gave an example */
};

/* Which of the sets are wanted. */
enum zf_data_want {
  ZF_WANT_TRAIN = 1,
  ZF_WANT_DEV = 2,
  ZF_WANT_TEST = 4,
  ZF_WANT_UNLABELLED = 8 /* with ZF_WANT_TEST: no label of a test row is read */
};

/* Reads the files, draws num_train training examples and the dev examples from them by a
 * permutation of the seed (METHODS 4: one permutation of all rows; training rows first, dev rows
 * last), num_eval test examples likewise, and encodes what was drawn, unless it is streamed.
 * `sequence_len` is resolved against the model's context: beyond it is ZF_EUSAGE. */
int zf_run_data_open(struct zf_run_data *out, struct zf_settings *settings,
                     const struct zf_tok *tok, int64_t context, unsigned want);
void zf_run_data_free(struct zf_run_data *data);

/* What of the files' specs model and tokenizer decide: sequence_len, chat template, EOS. */
int zf_run_data_resolve(struct zf_settings *settings, const struct zf_tok *tok, int64_t context);

/* index[0..*m) = the training examples at places from .. from+n of an endless sequence of shuffled
 * epochs: a function of (seed, place).  *m is n, or less where rows of a stream gave no example.
 * What `train` held of a stream before may be gone. */
int zf_run_data_batch(struct zf_run_data *data, int64_t from, int64_t n, int64_t *index,
                      int64_t *m);

#endif
