/* The files of a data set, opened together: their rows numbered through. */
#ifndef ZF_TRAIN_ROW_SOURCE_H
#define ZF_TRAIN_ROW_SOURCE_H

#include "base/hash.h"
#include "train/settings.h"

struct zf_row_source {
  const struct zf_data_file *file;
  struct zf_records **rec;
  struct zf_encoder **enc;
  int64_t *first; /* [nfile + 1] number of each file's first row */
  int64_t nfile, rows;
};

/* Opens the files and adds their contents' hashes to `hash`.  ZF_EINVALID when there is no row. */
int zf_row_source_open(struct zf_row_source *source, const struct zf_data_file *file, int64_t count,
                       const struct zf_tok *tok, struct zf_hash *hash);
void zf_row_source_close(struct zf_row_source *source); /* takes a zeroed one */

/* The file that row `row` of all is in, and its number there. */
int64_t zf_row_source_file(const struct zf_row_source *source, int64_t row, int64_t *local);

/* Names the pool's files in an empty set; adds what a row becomes, as of the file it is in. */
int zf_row_source_name(const struct zf_row_source *source, struct zf_dataset *dataset);
int zf_row_source_encode(const struct zf_row_source *source, struct zf_dataset *dataset,
                         int64_t row);

#endif
