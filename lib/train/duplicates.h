/* Duplicate examples: within the training set, and training examples that are also in the dev or test
 * set.
 *
 * Two examples are duplicates when their token ids, targets and labels are equal; those of a stream,
 * when the text of their rows and the templates of their files are equal.  128-bit hashes are
 * compared. */
#ifndef ZF_TRAIN_DUPLICATES_H
#define ZF_TRAIN_DUPLICATES_H

#include "base/cplusplus.h"
#include "train/run_data.h"

ZF_BEGIN_DECLS

/* Fills data->duplicates.  leave_out: removes from the training set the later duplicates, by file and
 * row, and the duplicates of dev and test examples.  Dev and test sets are unchanged.  Does nothing
 * without a training set. */
int zf_duplicates_find(struct zf_run_data *data, int leave_out);
/* The rows of one file that repeat the text of an earlier row; the caller frees duplicates->copy and
 * duplicates->of. */
int zf_duplicates_file(struct zf_duplicates *duplicates, struct zf_records *records);
void zf_duplicates_free(struct zf_run_data *data);

ZF_END_DECLS

#endif
