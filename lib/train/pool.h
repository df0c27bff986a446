/* The files of a data set, opened together: their rows numbered through. */
#ifndef ZF_TRAIN_POOL_H
#define ZF_TRAIN_POOL_H

#include "base/hash.h"
#include "train/settings.h"

struct zf_pool {
  const struct zf_data_file *file;
  struct zf_records **rec;
  struct zf_encoder **enc;
  int64_t *first; /* [nfile + 1] number of each file's first row */
  int64_t nfile, rows;
};

/* Opens the files and adds their contents' hashes to `hash`.  ZF_EINVALID when there is no row. */
int zf_pool_open(struct zf_pool *p, const struct zf_data_file *file, int64_t n,
                 const struct zf_tok *tok, struct zf_hash *hash);
void zf_pool_close(struct zf_pool *p); /* takes a zeroed one */

/* The file that row `row` of all is in, and its number there. */
int64_t zf_pool_file(const struct zf_pool *p, int64_t row, int64_t *local);

/* Names the pool's files in an empty set; adds what a row becomes, as of the file it is in. */
int zf_pool_name(const struct zf_pool *p, struct zf_dataset *d);
int zf_pool_encode(const struct zf_pool *p, struct zf_dataset *d, int64_t row);

#endif
