/* The files of a data set, opened together, with one numbering of all rows. */
#ifndef ZF_TRAIN_ROW_SOURCE_H
#define ZF_TRAIN_ROW_SOURCE_H

#include "base/cplusplus.h"
#include "base/hash.h"
#include "train/settings.h"

ZF_BEGIN_DECLS

struct zf_row_source {
  const struct zf_data_file *file;
  struct zf_records **rec;
  struct zf_encoder **enc;
  int64_t *first; /* [nfile + 1] number of each file's first row */
  int64_t nfile, rows;
};

/* Opens the files, which stay the caller's, and adds the hashes of their contents to `hash`.
 * ZF_EINVALID: there is no row. */
int zf_row_source_open(struct zf_row_source *source, const struct zf_data_file *file, int64_t count,
                       const struct zf_tok *tok, struct zf_hash *hash);
void zf_row_source_close(struct zf_row_source *source); /* takes a zeroed one */

/* The file of row `row` of all; *local: the row's number in the file. */
int64_t zf_row_source_file(const struct zf_row_source *source, int64_t row, int64_t *local);

/* Names the source's files in an empty set. */
int zf_row_source_name(const struct zf_row_source *source, struct zf_dataset *dataset);
/* Adds the examples of a row, encoded by the settings of its file. */
int zf_row_source_encode(const struct zf_row_source *source, struct zf_dataset *dataset,
                         int64_t row);

ZF_END_DECLS

#endif
