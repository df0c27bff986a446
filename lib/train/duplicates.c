#include "train/duplicates.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/arena.h"
#include "base/err.h"

/* 16 bytes an example, for there may be many: 64 bits of its hash, and where it is.  What they say is
 * the same is compared by all 128. */
struct key {
  uint64_t hash;
  int64_t index; /* in the set; of one file: its row */
};

struct keys {
  struct zf_records *rec; /* one file alone; NULL: a set */
  const struct zf_run_data *d;
  const struct zf_dataset *set;
  const struct zf_streamed_set *src; /* of a stream */
  XXH3_state_t *state;
  struct key *k; /* by hash, then index */
  int64_t n;
};

static int by_hash(const void *a, const void *b) {
  const struct key *x = a, *y = b;
  if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
  return (x->index > y->index) - (x->index < y->index);
}

/* By file and row. */
static int64_t rank_of(const struct keys *s, int64_t index) {
  if (s->rec) return index;
  if (s->src) return s->src->pick[index];
  return (int64_t)s->set->ex[index].file << 40 | s->set->ex[index].line;
}

/* --- hashes --- */

static void hash_example(XXH3_state_t *h, const struct zf_dataset *d, int64_t i) {
  const struct zf_example *x = &d->ex[i];
  XXH3_128bits_update(h, &x->label, sizeof x->label);
  for (int32_t o = 0; o < x->nseq; o++) {
    const struct zf_seq *s = &d->seq[x->seq + o];
    const int32_t head[2] = {s->len, s->target};
    XXH3_128bits_update(h, head, sizeof head);
    if (d->type == ZF_TASK_LABELS) XXH3_128bits_update(h, &s->gold, sizeof s->gold);
    XXH3_128bits_update(h, d->pool.id + s->at, (size_t)s->len * sizeof *d->pool.id);
    if (d->mask) XXH3_128bits_update(h, d->mask + s->at, (size_t)s->len);
  }
}

static void hash_text(XXH3_state_t *h, const char *s) {
  XXH3_128bits_update(h, s ? s : "", s ? strlen(s) + 1 : 1);
}

static void hash_row(XXH3_state_t *h, struct zf_records *r, int64_t row) {
  size_t len;
  const char *text = zf_records_text(r, row, &len);
  XXH3_128bits_update(h, text, len);
}

/* A row's text, and the templates that make an example of it. */
static void hash_source(XXH3_state_t *h, const struct zf_row_source *p, int64_t row) {
  int64_t local, f = zf_row_source_file(p, row, &local);
  const struct zf_data_spec *s = &p->file[f].spec;
  hash_text(h, s->prompt);
  hash_text(h, s->completion);
  hash_text(h, s->text);
  hash_row(h, p->rec[f], local);
}

static XXH128_hash_t hash_of(const struct keys *s, int64_t index) {
  XXH3_128bits_reset(s->state);
  if (s->rec)
    hash_row(s->state, s->rec, index);
  else if (s->src)
    hash_source(s->state, s->src->pool, s->src->pick[index]);
  else
    hash_example(s->state, s->set, index);
  return XXH3_128bits_digest(s->state);
}

/* Rows of a stream are read in the order of the files, whatever the order of the set: so they are
 * sorted by that first. */
static int fill(struct keys *s) {
  s->state = XXH3_createState();
  s->k = zf_calloc(s->n, sizeof *s->k);
  if (!s->state || !s->k) return zf_error(ZF_ENOMEM, "out of memory to look for copies");
  for (int64_t i = 0; i < s->n; i++) s->k[i] = (struct key){(uint64_t)rank_of(s, i), i};
  if (s->src) qsort(s->k, (size_t)s->n, sizeof *s->k, by_hash);
  for (int64_t i = 0; i < s->n; i++) s->k[i].hash = hash_of(s, s->k[i].index).low64;
  qsort(s->k, (size_t)s->n, sizeof *s->k, by_hash);
  return 0;
}

static int fill_set(struct keys *s, const struct zf_run_data *d, const struct zf_dataset *set,
                    enum zf_data_part part) {
  *s = (struct keys){.d = d, .set = set, .n = zf_dataset_size(set)};
  if (set->stream) s->src = &d->source[part];
  return fill(s);
}

static void release(struct keys *s) {
  XXH3_freeState(s->state);
  free(s->k);
}

/* --- pairs --- */

/* "PATH:LINE" of an example. */
static char *place_of(const struct keys *s, int64_t index) {
  const struct zf_example *x = s->rec || s->src ? NULL : &s->set->ex[index];
  if (x) return zf_asprintf("%s:%lld", s->set->path[x->file], (long long)x->line);
  int64_t row = index, f = s->rec ? 0 : zf_row_source_file(s->src->pool, s->src->pick[index], &row);
  struct zf_records *r = s->rec ? s->rec : s->src->pool->rec[f];
  return zf_asprintf("%s:%lld", r->path, (long long)zf_records_line(r, row));
}

/* The copy that comes first, and what it is one of. */
struct pair {
  int64_t n, copy, of;
};

static void take_pair(struct pair *p, const struct keys *s, int64_t copy, int64_t of, char *out) {
  if (out) out[copy] = 1;
  if (p->n++ && rank_of(s, p->copy) < rank_of(s, copy)) return;
  p->copy = copy;
  p->of = of;
}

static int name_pair(struct zf_duplicates *t, const struct pair *p, const struct keys *a,
                     const struct keys *b) {
  t->count = p->n;
  if (!t->count) return 0;
  t->copy = place_of(a, p->copy);
  t->of = place_of(b, p->of);
  return t->copy && t->of ? 0 : ZF_ENOMEM;
}

static int same(const struct keys *a, int64_t x, const struct keys *b, int64_t y) {
  return XXH128_isEqual(hash_of(a, x), hash_of(b, y));
}

/* Later copies within a set. */
static int find_copies(struct zf_duplicates *t, const struct keys *s, char *out) {
  struct pair p = {0};
  for (int64_t i = 0, end; i < s->n; i = end) {
    int64_t head = s->k[i].index;
    for (end = i + 1; end < s->n && s->k[end].hash == s->k[i].hash; end++)
      if (rank_of(s, s->k[end].index) < rank_of(s, head)) head = s->k[end].index;
    for (int64_t k = i; end - i > 1 && k < end; k++)
      if (s->k[k].index != head && same(s, s->k[k].index, s, head))
        take_pair(&p, s, s->k[k].index, head, out);
  }
  return name_pair(t, &p, s, s);
}

/* Training examples that the other set has too; both lists ascend. */
static int find_leaks(struct zf_duplicates *t, const struct keys *s, const struct keys *other,
                      char *out) {
  struct pair p = {0};
  for (int64_t i = 0, j = 0; i < s->n && j < other->n;) {
    const struct key *x = &s->k[i], *y = &other->k[j];
    if (x->hash == y->hash) {
      if (same(s, x->index, other, y->index)) take_pair(&p, s, x->index, y->index, out);
      i++;
    } else if (x->hash < y->hash) {
      i++;
    } else {
      j++;
    }
  }
  return name_pair(t, &p, s, other);
}

static int look(struct zf_run_data *d, const struct keys *s, char *out) {
  const struct zf_dataset *other[] = {[ZF_DEV_SET] = d->dev, [ZF_TEST_SET] = d->test};
  int rc = find_copies(&d->duplicates[ZF_TRAIN_SET], s, out);
  for (int part = ZF_DEV_SET; !rc && part <= ZF_TEST_SET; part++) {
    struct keys o;
    if (!other[part]) continue;
    rc = fill_set(&o, d, other[part], (enum zf_data_part)part);
    if (!rc) rc = find_leaks(&d->duplicates[part], s, &o, out);
    release(&o);
  }
  return rc;
}

static void leave_out_rows(struct zf_run_data *d, const char *out) {
  struct zf_streamed_set *src = &d->source[ZF_TRAIN_SET];
  int64_t n = 0, size = zf_dataset_size(d->train);
  for (int64_t i = 0; i < size; i++) d->left_out += out[i];
  if (!d->train->stream) {
    zf_dataset_remove(d->train, out);
    return;
  }
  for (int64_t i = 0; i < size; i++)
    if (!out[i]) src->pick[n++] = src->pick[i];
  src->stream.count = n;
}

int zf_duplicates_find(struct zf_run_data *d, int leave_out) {
  struct keys s = {0};
  if (!d->train) return 0;
  char *out = zf_calloc(zf_dataset_size(d->train) + 1, 1);
  int rc = out ? fill_set(&s, d, d->train, ZF_TRAIN_SET) : ZF_ENOMEM;
  if (!rc) rc = look(d, &s, out);
  if (!rc && leave_out) leave_out_rows(d, out);
  release(&s);
  free(out);
  return rc;
}

int zf_duplicates_file(struct zf_duplicates *t, struct zf_records *r) {
  struct keys s = {.rec = r, .n = r->count};
  *t = (struct zf_duplicates){0};
  int rc = fill(&s);
  if (!rc) rc = find_copies(t, &s, NULL);
  release(&s);
  return rc;
}

void zf_duplicates_free(struct zf_run_data *d) {
  for (int k = 0; k < ZF_DATA_PARTS; k++) {
    free(d->duplicates[k].copy);
    free(d->duplicates[k].of);
  }
}
