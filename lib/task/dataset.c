/* Examples end to end in growing arrays, and what can be asked of them. */
#include "task/dataset.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "task/encode_internal.h"

int zf_dataset_chooses(const struct zf_dataset *d) {
  return zf_task_chooses(d->type) && !(d->type == ZF_TASK_LABELS && d->problem);
}

int zf_task_chooses(enum zf_task_type type) {
  return type == ZF_TASK_CLASSIFICATION || type == ZF_TASK_MASKED || type == ZF_TASK_LABELS;
}

int zf_dataset_new(struct zf_dataset **out, enum zf_task_type type) {
  *out = zf_calloc(1, sizeof **out);
  if (!*out) return ZF_ENOMEM;
  (*out)->type = type;
  return 0;
}

void zf_dataset_free(struct zf_dataset *d) {
  if (!d) return;
  for (int32_t i = 0; i < d->nfile; i++) free(d->path[i]);
  free(d->path);
  zf_ids_free(&d->pool);
  free(d->mask);
  free(d->seq);
  free(d->ex);
  free(d);
}

static void *grown(void *p, int64_t n, int64_t *cap, size_t size) {
  if (n < *cap) return p;
  int64_t more = *cap ? *cap * 2 : 256;
  void *q = realloc(p, (size_t)more * size);
  if (!q) {
    zf_error(ZF_ENOMEM, "out of memory for %lld examples", (long long)more);
    return NULL;
  }
  *cap = more;
  return q;
}

int zf_dataset_pool(struct zf_dataset *d, const int32_t *id, int64_t n) {
  struct zf_ids *pool = &d->pool;
  while (pool->count + n > pool->cap) {
    int64_t cap = pool->cap ? pool->cap * 2 : 4096;
    int32_t *p = realloc(pool->id, (size_t)cap * sizeof *p);
    if (!p) return zf_error(ZF_ENOMEM, "out of memory for %lld tokens", (long long)cap);
    pool->id = p;
    pool->cap = cap;
  }
  if (n) memcpy(pool->id + pool->count, id, (size_t)n * sizeof *id);
  pool->count += n;
  return 0;
}

int zf_dataset_slice(struct zf_dataset *d, struct zf_seq s) {
  struct zf_seq *all = grown(d->seq, d->nseq, &d->seqcap, sizeof *all);
  if (!all) return ZF_ENOMEM;
  d->seq = all;
  all[d->nseq++] = s;
  return 0;
}

int zf_dataset_seq(struct zf_dataset *d, const int32_t *id, int64_t n, int64_t target) {
  int rc = zf_dataset_slice(d, (struct zf_seq){d->pool.count, (int32_t)n, (int32_t)target});
  return rc ? rc : zf_dataset_pool(d, id, n);
}

/* How many leading tokens all sequences have in common, no target predicted inside twice:
 * at least the last token of each stays out, as nothing needs its output. */
void zf_dataset_shared(const struct zf_dataset *d, struct zf_example *x) {
  const struct zf_seq *s = d->seq + x->seq;
  int32_t shared = s[0].len - 1;
  for (int32_t o = 1; o < x->nseq; o++) {
    const int32_t *a = d->pool.id + s[0].at, *b = d->pool.id + s[o].at;
    int32_t m = s[o].len - 1 < shared ? s[o].len - 1 : shared, i = 0;
    while (i < m && a[i] == b[i]) i++;
    shared = i;
  }
  x->shared = shared;
  x->ask = x->ask < 0 ? 0 : shared - 1 - x->ask; /* until here the mask's place */
  x->single = x->nseq > 1 || d->type == ZF_TASK_LABELS;
  for (int32_t o = 0; o < x->nseq; o++)
    if (s[o].len - s[o].target != 1 || s[o].len - 1 != shared) x->single = 0;
}

int zf_dataset_keep(struct zf_dataset *d, const struct zf_example *x) {
  struct zf_example *all = grown(d->ex, d->count, &d->cap, sizeof *all);
  if (!all) return ZF_ENOMEM;
  d->ex = all;
  all[d->count++] = *x;
  d->counts.examples++;
  if (x->nseq > d->options) d->options = x->nseq;
  for (int32_t o = 0; o < x->nseq; o++) {
    d->counts.tokens += d->seq[x->seq + o].len;
    d->counts.targets += zf_seq_targets(d, &d->seq[x->seq + o]);
  }
  d->counts.run += zf_example_tokens(d, d->count - 1);
  return 0;
}

int zf_dataset_mask(struct zf_dataset *d, int64_t n) {
  if (n <= d->maskcap) return 0;
  unsigned char *p = realloc(d->mask, (size_t)n * 2);
  if (!p) return zf_error(ZF_ENOMEM, "out of memory for %lld tokens", (long long)n);
  d->mask = p;
  d->maskcap = n * 2;
  return 0;
}

int zf_dataset_file(struct zf_dataset *d, const char *path) {
  char **p = realloc(d->path, sizeof *p * (size_t)(d->nfile + 1));
  if (!p) return zf_error(ZF_ENOMEM, "out of memory for a path");
  d->path = p;
  if (!(p[d->nfile] = zf_strdup(path))) return ZF_ENOMEM;
  d->nfile++;
  return 0;
}

int zf_dataset_add(struct zf_dataset *d, struct zf_records *r, const int64_t *index, int64_t n,
                   const struct zf_data_spec *spec, const struct zf_tok *tok) {
  struct zf_encoder *e = NULL;
  int rc = zf_encoder_new(&e, spec, tok);
  if (!rc) rc = zf_dataset_file(d, r->path);
  int64_t rows = index ? n : r->count;
  for (int64_t i = 0; !rc && i < rows; i++)
    rc = zf_encoder_add(e, d, d->nfile - 1, r, index ? index[i] : i);
  zf_encoder_free(e);
  return rc;
}

int64_t zf_dataset_size(const struct zf_dataset *d) {
  return d->stream ? d->stream->count : d->count;
}

void zf_dataset_clear(struct zf_dataset *d) {
  d->count = d->nseq = d->pool.count = 0;
}

int zf_row_reader_load(struct zf_row_reader *s, const int64_t *row, int64_t n, int64_t *at) {
  int rc = 0;
  zf_dataset_clear(s->dataset);
  for (int64_t k = 0; !rc && k < n; k++) {
    int64_t before = s->dataset->count;
    rc = s->encode(s->ctx, s->dataset, row[k]);
    if (at) at[k] = s->dataset->count > before ? before : -1;
  }
  return rc;
}

void zf_dataset_remove(struct zf_dataset *d, const char *out) {
  int64_t n = 0;
  for (int64_t i = 0; i < d->count; i++) {
    if (!out[i]) {
      d->ex[n++] = d->ex[i];
      continue;
    }
    d->counts.examples--;
    d->counts.targets -= zf_example_targets(d, i);
    d->counts.run -= zf_example_tokens(d, i);
    for (int32_t o = 0; o < d->ex[i].nseq; o++) d->counts.tokens -= d->seq[d->ex[i].seq + o].len;
  }
  d->count = n;
}

int zf_dataset_check(const struct zf_dataset *d, const char *what) {
  const char *path = d->nfile ? d->path[0] : what;
  if (zf_dataset_size(d) > 0) return 0;
  if (d->counts.rows == 0) return zf_error(ZF_EINVALID, "%s: the %s set has no row", path, what);
  if (d->counts.masked)
    return zf_error(ZF_EINVALID,
                    "%s: the %s set has no target: all %lld examples are empty or masked", path,
                    what, (long long)d->counts.rows);
  return zf_error(ZF_EINVALID,
                  "%s: the %s set is empty: all %lld examples are longer than "
                  "sequence_len and were dropped",
                  path, what, (long long)d->counts.rows);
}

int64_t zf_example_tokens(const struct zf_dataset *d, int64_t i) {
  const struct zf_example *x = &d->ex[i];
  int64_t n = x->shared;
  for (int32_t o = 0; o < x->nseq; o++) n += d->seq[x->seq + o].len - 1 - x->shared;
  return n;
}

int64_t zf_seq_next_target(const struct zf_dataset *d, const struct zf_seq *s, int64_t t) {
  if (t < s->target) t = s->target;
  if (!d->mask) return t;
  while (t < s->len && !d->mask[s->at + t]) t++;
  return t;
}

int zf_seq_is_target(const struct zf_dataset *d, const struct zf_seq *s, int64_t t) {
  return zf_seq_next_target(d, s, t) == t;
}

int64_t zf_seq_targets(const struct zf_dataset *d, const struct zf_seq *s) {
  int64_t n = 0;
  if (!d->mask) return s->len - s->target;
  for (int64_t t = zf_seq_next_target(d, s, 0); t < s->len; t = zf_seq_next_target(d, s, t + 1))
    n++;
  return n;
}

int64_t zf_example_targets(const struct zf_dataset *d, int64_t i) {
  const struct zf_example *x = &d->ex[i];
  int64_t n = 0;
  for (int32_t o = 0; o < x->nseq; o++) n += zf_seq_targets(d, &d->seq[x->seq + o]);
  return n;
}

int64_t zf_example_rows(const struct zf_dataset *d, int64_t i) {
  return d->ex[i].single ? 1 : zf_example_targets(d, i);
}
