#include "train/row_source.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/err.h"

static int open_file(struct zf_row_source *p, int64_t i, const struct zf_tok *tok,
                     struct zf_hash *hash) {
  const struct zf_data_file *f = &p->file[i];
  char hex[33];
  int rc = zf_records_open(&p->rec[i], f->path);
  if (!rc) rc = zf_hash_file(hex, f->path);
  if (!rc) rc = zf_encoder_new(&p->enc[i], &f->spec, tok);
  if (rc) return rc;
  zf_hash_add(hash, hex, 32);
  p->rows += p->rec[i]->count;
  p->first[i + 1] = p->rows;
  return 0;
}

int zf_row_source_open(struct zf_row_source *p, const struct zf_data_file *file, int64_t n,
                       const struct zf_tok *tok, struct zf_hash *hash) {
  *p = (struct zf_row_source){.file = file, .nfile = n};
  p->rec = zf_calloc(n, sizeof(*p->rec));
  p->enc = zf_calloc(n, sizeof(*p->enc));
  p->first = zf_calloc(n + 1, sizeof *p->first);
  int rc = p->rec && p->enc && p->first ? 0 : ZF_ENOMEM;
  for (int64_t i = 0; !rc && i < n; i++) rc = open_file(p, i, tok, hash);
  if (!rc && n && p->rows == 0)
    return zf_error(ZF_EINVALID, "%s: the data set is empty: it has no row", file[0].path);
  return rc;
}

void zf_row_source_close(struct zf_row_source *p) {
  for (int64_t i = 0; i < p->nfile; i++) {
    if (p->rec) zf_records_free(p->rec[i]);
    if (p->enc) zf_encoder_free(p->enc[i]);
  }
  free(p->rec);
  free(p->enc);
  free(p->first);
  *p = (struct zf_row_source){0};
}

int64_t zf_row_source_file(const struct zf_row_source *p, int64_t row, int64_t *local) {
  int64_t f = 0;
  while (row >= p->first[f + 1]) f++;
  *local = row - p->first[f];
  return f;
}

int zf_row_source_name(const struct zf_row_source *p, struct zf_dataset *d) {
  int rc = 0;
  for (int64_t i = 0; !rc && i < p->nfile; i++) rc = zf_dataset_file(d, p->file[i].path);
  return rc;
}

int zf_row_source_encode(const struct zf_row_source *p, struct zf_dataset *d, int64_t row) {
  int64_t local, f = zf_row_source_file(p, row, &local);
  return zf_encoder_add(p->enc[f], d, (int32_t)f, p->rec[f], local);
}
