/* Examples that are there twice: copies within the training set, and training examples that a dev or
 * test set has too.
 *
 * Two examples are the same when their token ids, targets and labels are; of a stream, when the text
 * of their rows is, and the templates of their files.  Compared by 128-bit hashes. */
#ifndef ZF_TRAIN_DUPLICATES_H
#define ZF_TRAIN_DUPLICATES_H

#include "train/run_data.h"

/* Fills d->twins, and with `leave_out` takes later copies, and copies of dev and test examples, out of
 * the training set; "later" by file and row.  Dev and test sets stay as they are.  Without a training
 * set nothing is done. */
int zf_duplicates_find(struct zf_run_data *data, int leave_out);
/* Rows of one file whose text was there before; the caller frees t->copy and t->of. */
int zf_duplicates_file(struct zf_duplicates *duplicates, struct zf_records *records);
void zf_duplicates_free(struct zf_run_data *data);

#endif
