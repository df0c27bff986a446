#include "train/twins.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/arena.h"
#include "base/err.h"

struct key {
  uint64_t hash[2];
  int64_t rank;  /* by file and row */
  int64_t index; /* in the set */
};

struct keys {
  struct zf_records *rec; /* one file alone: rank is the row; NULL: a set */
  const struct zf_run_data *d;
  const struct zf_dataset *set;
  enum zf_data_part part;
  struct key *k; /* by hash, then rank */
  int64_t n;
};

static int by_rank(const void *a, const void *b) {
  const struct key *x = a, *y = b;
  if (x->rank != y->rank) return x->rank < y->rank ? -1 : 1;
  return (x->index > y->index) - (x->index < y->index);
}

static int compare_hash(const struct key *x, const struct key *y) {
  int k = x->hash[0] == y->hash[0];
  return (x->hash[k] > y->hash[k]) - (x->hash[k] < y->hash[k]);
}

static int by_hash(const void *a, const void *b) {
  int c = compare_hash(a, b);
  return c ? c : by_rank(a, b);
}

/* --- hashes --- */

static void hash_example(XXH3_state_t *h, const struct zf_dataset *d, int64_t i) {
  const struct zf_example *x = &d->ex[i];
  XXH3_128bits_update(h, &x->label, sizeof x->label);
  for (int32_t o = 0; o < x->nseq; o++) {
    const struct zf_seq *s = &d->seq[x->seq + o];
    const int32_t head[2] = {s->n, s->target};
    XXH3_128bits_update(h, head, sizeof head);
    XXH3_128bits_update(h, d->pool.id + s->at, (size_t)s->n * sizeof *d->pool.id);
    if (d->mask) XXH3_128bits_update(h, d->mask + s->at, (size_t)s->n);
  }
}

static void hash_text(XXH3_state_t *h, const char *s) {
  XXH3_128bits_update(h, s ? s : "", s ? strlen(s) + 1 : 1);
}

static void hash_row(XXH3_state_t *h, const struct zf_pool *p, int64_t row) {
  int64_t local, f = zf_pool_file(p, row, &local);
  const struct zf_data_spec *s = &p->file[f].spec;
  size_t len;
  const char *text = zf_records_text(p->rec[f], local, &len);
  hash_text(h, s->prompt);
  hash_text(h, s->completion);
  hash_text(h, s->text);
  XXH3_128bits_update(h, text, len);
}

/* Rows of a stream are read in the order of the files, whatever the order of the set. */
static int make_keys(struct keys *out, const struct zf_run_data *d, const struct zf_dataset *set,
                     enum zf_data_part part) {
  const struct zf_data_source *src = set->stream ? &d->source[part] : NULL;
  XXH3_state_t *h = XXH3_createState();
  *out = (struct keys){.d = d, .set = set, .part = part, .n = zf_dataset_size(set)};
  out->k = zf_calloc(out->n, sizeof *out->k);
  if (!h || !out->k) {
    XXH3_freeState(h);
    return zf_error(ZF_ENOMEM, "out of memory to look for copies");
  }
  for (int64_t i = 0; i < out->n; i++) {
    const struct zf_example *x = src ? NULL : &set->ex[i];
    out->k[i].index = i;
    out->k[i].rank = src ? src->pick[i] : (int64_t)x->file << 40 | x->line;
  }
  if (src) qsort(out->k, (size_t)out->n, sizeof *out->k, by_rank);
  for (int64_t i = 0; i < out->n; i++) {
    XXH3_128bits_reset(h);
    if (src)
      hash_row(h, src->pool, out->k[i].rank);
    else
      hash_example(h, set, i);
    XXH128_hash_t v = XXH3_128bits_digest(h);
    memcpy(out->k[i].hash, &v, sizeof out->k[i].hash);
  }
  XXH3_freeState(h);
  qsort(out->k, (size_t)out->n, sizeof *out->k, by_hash);
  return 0;
}

/* --- pairs --- */

/* "PATH:LINE" of an example. */
static char *place_of(const struct keys *s, const struct key *k) {
  if (s->rec)
    return zf_asprintf("%s:%lld", s->rec->path, (long long)zf_records_line(s->rec, k->rank));
  if (!s->set->stream) {
    const struct zf_example *x = &s->set->ex[k->index];
    return zf_asprintf("%s:%lld", s->set->path[x->file], (long long)x->line);
  }
  const struct zf_pool *p = s->d->source[s->part].pool;
  int64_t local, f = zf_pool_file(p, k->rank, &local);
  return zf_asprintf("%s:%lld", p->file[f].path, (long long)zf_records_line(p->rec[f], local));
}

static int name_pair(struct zf_twins *t, const struct keys *a, const struct key *x,
                     const struct keys *b, const struct key *y) {
  if (!t->n) return 0;
  t->copy = place_of(a, x);
  t->of = place_of(b, y);
  return t->copy && t->of ? 0 : ZF_ENOMEM;
}

/* Later copies within the training set. */
static int find_copies(struct zf_twins *t, const struct keys *s, char *out) {
  const struct key *copy = NULL, *of = NULL, *head = s->k;
  for (int64_t i = 1; i < s->n; i++) {
    const struct key *k = &s->k[i];
    if (compare_hash(head, k) != 0) {
      head = k;
      continue;
    }
    t->n++;
    if (out) out[k->index] = 1;
    if (copy && by_rank(copy, k) < 0) continue;
    copy = k;
    of = head;
  }
  return name_pair(t, s, copy, s, of);
}

/* Training examples that the other set has too; both lists ascend. */
static int find_leaks(struct zf_twins *t, const struct keys *s, const struct keys *other, char *out) {
  const struct key *copy = NULL, *of = NULL;
  for (int64_t i = 0, j = 0; i < s->n && j < other->n;) {
    int c = compare_hash(&s->k[i], &other->k[j]);
    if (c) {
      i += c < 0;
      j += c > 0;
      continue;
    }
    t->n++;
    out[s->k[i].index] = 1;
    if (!copy || by_rank(&s->k[i], copy) < 0) {
      copy = &s->k[i];
      of = &other->k[j];
    }
    i++;
  }
  return name_pair(t, s, copy, other, of);
}

static int look(struct zf_run_data *d, const struct keys *s, char *out) {
  const struct zf_dataset *other[] = {[ZF_DEV_SET] = d->dev, [ZF_TEST_SET] = d->test};
  int rc = find_copies(&d->twins[ZF_TRAIN_SET], s, out);
  for (int part = ZF_DEV_SET; !rc && part <= ZF_TEST_SET; part++) {
    struct keys o;
    if (!other[part]) continue;
    rc = make_keys(&o, d, other[part], (enum zf_data_part)part);
    if (!rc) rc = find_leaks(&d->twins[part], s, &o, out);
    free(o.k);
  }
  return rc;
}

static void leave_out_rows(struct zf_run_data *d, const char *out) {
  struct zf_data_source *src = &d->source[ZF_TRAIN_SET];
  int64_t n = 0, size = zf_dataset_size(d->train);
  for (int64_t i = 0; i < size; i++) d->left_out += out[i];
  if (!d->train->stream) {
    zf_dataset_remove(d->train, out);
    return;
  }
  for (int64_t i = 0; i < size; i++)
    if (!out[i]) src->pick[n++] = src->pick[i];
  src->stream.n = n;
}

int zf_twins_find(struct zf_run_data *d, int leave_out) {
  struct keys s = {0};
  if (!d->train) return 0;
  char *out = zf_calloc(zf_dataset_size(d->train) + 1, 1);
  int rc = out ? make_keys(&s, d, d->train, ZF_TRAIN_SET) : ZF_ENOMEM;
  if (!rc) rc = look(d, &s, out);
  if (!rc && leave_out) leave_out_rows(d, out);
  free(s.k);
  free(out);
  return rc;
}

int zf_twins_file(struct zf_twins *t, struct zf_records *r) {
  struct keys s = {.rec = r, .n = r->n, .k = zf_calloc(r->n, sizeof *s.k)};
  *t = (struct zf_twins){0};
  if (!s.k) return ZF_ENOMEM;
  for (int64_t i = 0; i < r->n; i++) {
    size_t len;
    const char *text = zf_records_text(r, i, &len);
    XXH128_hash_t v = XXH3_128bits(text, len);
    s.k[i] = (struct key){.rank = i, .index = i};
    memcpy(s.k[i].hash, &v, sizeof s.k[i].hash);
  }
  qsort(s.k, (size_t)s.n, sizeof *s.k, by_hash);
  int rc = find_copies(t, &s, NULL);
  free(s.k);
  return rc;
}

void zf_twins_free(struct zf_run_data *d) {
  for (int k = 0; k < ZF_DATA_PARTS; k++) {
    free(d->twins[k].copy);
    free(d->twins[k].of);
  }
}
