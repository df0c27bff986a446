#include "train/row_source.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/err.h"

static int open_file(struct zf_row_source *source, int64_t i, const struct zf_tok *tok,
                     struct zf_hash *hash) {
  const struct zf_data_file *file = &source->file[i];
  char hex[33];
  int rc = zf_records_open(&source->rec[i], file->path);
  if (!rc) rc = zf_hash_file(hex, file->path);
  if (!rc) rc = zf_encoder_new(&source->enc[i], &file->spec, tok);
  if (rc) return rc;
  zf_hash_add(hash, hex, 32);
  source->rows += source->rec[i]->count;
  source->first[i + 1] = source->rows;
  return 0;
}

int zf_row_source_open(struct zf_row_source *source, const struct zf_data_file *file, int64_t count,
                       const struct zf_tok *tok, struct zf_hash *hash) {
  *source = (struct zf_row_source){.file = file, .nfile = count};
  source->rec = zf_calloc(count, sizeof(*source->rec));
  source->enc = zf_calloc(count, sizeof(*source->enc));
  source->first = zf_calloc(count + 1, sizeof *source->first);
  int rc = source->rec && source->enc && source->first ? 0 : ZF_ENOMEM;
  for (int64_t i = 0; !rc && i < count; i++) rc = open_file(source, i, tok, hash);
  if (!rc && count && source->rows == 0)
    return zf_error(ZF_EINVALID, "%s: the data set is empty: it has no row", file[0].path);
  return rc;
}

void zf_row_source_close(struct zf_row_source *source) {
  for (int64_t i = 0; i < source->nfile; i++) {
    if (source->rec) zf_records_free(source->rec[i]);
    if (source->enc) zf_encoder_free(source->enc[i]);
  }
  free(source->rec);
  free(source->enc);
  free(source->first);
  *source = (struct zf_row_source){0};
}

int64_t zf_row_source_file(const struct zf_row_source *source, int64_t row, int64_t *local) {
  int64_t f = 0;
  while (row >= source->first[f + 1]) f++;
  *local = row - source->first[f];
  return f;
}

int zf_row_source_name(const struct zf_row_source *source, struct zf_dataset *dataset) {
  int rc = 0;
  for (int64_t i = 0; !rc && i < source->nfile; i++)
    rc = zf_dataset_file(dataset, source->file[i].path);
  return rc;
}

int zf_row_source_encode(const struct zf_row_source *source, struct zf_dataset *dataset,
                         int64_t row) {
  int64_t local, f = zf_row_source_file(source, row, &local);
  return zf_encoder_add(source->enc[f], dataset, (int32_t)f, source->rec[f], local);
}
