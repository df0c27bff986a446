/* The data sets of a run, and the examples of each step.
 *
 * Sets are in memory as token sequences, or, with `streaming`, only as the numbers of their rows: the
 * examples of a step are then encoded when it needs them, from files that stay mapped.  Both draw the
 * same rows at the same places. */
#ifndef ZF_TRAIN_RUN_DATA_H
#define ZF_TRAIN_RUN_DATA_H

#include "base/cplusplus.h"
#include "train/order.h"
#include "train/row_source.h"
#include "train/settings.h"

ZF_BEGIN_DECLS

enum zf_data_part { ZF_TRAIN_SET, ZF_DEV_SET, ZF_TEST_SET, ZF_DATA_PARTS };

/* The source of a streamed set's examples. */
struct zf_streamed_set {
  const struct zf_row_source *row_source;
  int64_t *pick; /* rows of the source, in the order of the set */
  struct zf_row_reader stream;
};

/* Training examples that duplicate earlier ones, dev examples, or test examples. */
struct zf_duplicates {
  int64_t count;
  char *duplicate; /* "PATH:LINE" of the first duplicate; NULL: none */
  char *original;  /* "PATH:LINE" of its original; NULL: none */
};

struct zf_run_data {
  struct zf_dataset *train, *dev, *test; /* dev and test may be NULL */
  char hash[33];         /* of all files read, in order, and of the examples left out */
  struct zf_order order; /* of the training examples */
  struct zf_duplicates duplicates[ZF_DATA_PARTS];
  int64_t left_out; /* training examples that dataset_exact_deduplication removed */
  /* streaming: */
  struct zf_row_source
      row_source[ZF_DATA_PARTS]; /* files of datasets, val_datasets, test_datasets */
  struct zf_streamed_set source[ZF_DATA_PARTS];
  int64_t batch;             /* examples of a step, which are loaded together */
  int64_t window, nwindow;   /* first loaded place, number of loaded places */
  int64_t *row, *example_at; /* [nwindow] for each place: its row; its example or -1 */
  int64_t empty;             /* batches so far without any example */
};

/* The sets to open. */
enum zf_data_want {
  ZF_WANT_TRAIN = 1,
  ZF_WANT_DEV = 2,
  ZF_WANT_TEST = 4,
  ZF_WANT_UNLABELLED = 8, /* with ZF_WANT_TEST: no label of a test row is read */
  ZF_WANT_RESUMED =
      16, /* with ZF_WANT_TRAIN: the adapter and the teacher's predictions with which a
                             run in output_dir began */
  ZF_WANT_UNTAUGHT = 32 /* with ZF_WANT_TRAIN: a teacher is checked, and reads no data */
};

/* Reads the files and draws num_train training examples and the dev examples by a permutation of the
 * seed (METHODS 4: one permutation of all rows; training rows first, dev rows last), and num_eval
 * test examples likewise.  Encodes the drawn rows, unless they are streamed.  ZF_EUSAGE: sequence_len
 * exceeds the model's context. */
int zf_run_data_open(struct zf_run_data *data, struct zf_settings *settings,
                     const struct zf_tok *tok, int64_t context, unsigned want);
void zf_run_data_free(struct zf_run_data *data);

/* Sets the members of the files' specs that depend on model and tokenizer: sequence_len, chat
 * template, EOS. */
int zf_run_data_resolve(struct zf_settings *settings, const struct zf_tok *tok, int64_t context);

/* index[0..*loaded): the training examples at places from .. from + count - 1 of the endless sequence
 * of shuffled epochs, a function of (seed, place).  *loaded is count, or less where rows of a stream
 * gave no example.  Earlier examples of a stream may be gone from data->train. */
int zf_run_data_batch(struct zf_run_data *data, int64_t from, int64_t count, int64_t *index,
                      int64_t *loaded);

ZF_END_DECLS

#endif
