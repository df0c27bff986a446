#include "train/row_source.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/err.h"

static int open_file(struct zf_row_source *source, int64_t index, const struct zf_tok *tok,
                     struct zf_hash *hash) {
  const struct zf_data_file *file = &source->file[index];
  char hex[33];
  int rc = zf_records_open_as(&source->rec[index], file->path, file->sample_by);
  if (!rc) rc = zf_hash_file(hex, file->path);
  if (!rc) rc = zf_encoder_new(&source->enc[index], &file->spec, tok);
  if (rc) return rc;
  zf_hash_add(hash, hex, 32);
  /* Rows of lines are what logs of earlier versions name by the hash of the file alone. */
  if (source->rec[index]->sample_by) zf_hash_add(hash, &source->rec[index]->sample_by, sizeof(int));
  source->rows += source->rec[index]->count;
  source->first[index + 1] = source->rows;
  return 0;
}

int zf_row_source_open(struct zf_row_source *source, const struct zf_data_file *file, int64_t count,
                       const struct zf_tok *tok, struct zf_hash *hash) {
  *source = (struct zf_row_source){.file = file, .nfile = count};
  source->rec = zf_calloc(count, sizeof(*source->rec));
  source->enc = zf_calloc(count, sizeof(*source->enc));
  source->first = zf_calloc(count + 1, sizeof *source->first);
  if (!source->rec || !source->enc || !source->first) return ZF_ENOMEM;
  for (int64_t i = 0; i < count; i++) {
    int rc = open_file(source, i, tok, hash);
    if (rc) return rc;
  }
  if (count && source->rows == 0)
    return zf_error(ZF_EINVALID, "%s: the data set is empty: it has no row", file[0].path);
  return 0;
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
  int64_t file = 0;
  while (row >= source->first[file + 1]) file++;
  *local = row - source->first[file];
  return file;
}

int zf_row_source_name(const struct zf_row_source *source, struct zf_dataset *dataset) {
  for (int64_t i = 0; i < source->nfile; i++) {
    int rc = zf_dataset_file(dataset, source->file[i].path);
    if (rc) return rc;
  }
  return 0;
}

int zf_row_source_encode(const struct zf_row_source *source, struct zf_dataset *dataset,
                         int64_t row) {
  int64_t local, file = zf_row_source_file(source, row, &local);
  return zf_encoder_add(source->enc[file], dataset, (int32_t)file, source->rec[file], local);
}
