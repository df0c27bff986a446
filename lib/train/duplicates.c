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
  const struct zf_run_data *data;
  const struct zf_dataset *set;
  const struct zf_streamed_set *src; /* of a stream */
  XXH3_state_t *state;
  struct key *key; /* by hash, then index */
  int64_t count;
};

static int by_hash(const void *a, const void *b) {
  const struct key *key = a, *y = b;
  if (key->hash != y->hash) return key->hash < y->hash ? -1 : 1;
  return (key->index > y->index) - (key->index < y->index);
}

/* By file and row. */
static int64_t rank_of(const struct keys *keys, int64_t index) {
  if (keys->rec) return index;
  if (keys->src) return keys->src->pick[index];
  return (int64_t)keys->set->ex[index].file << 40 | keys->set->ex[index].line;
}

/* --- hashes --- */

static void hash_example(XXH3_state_t *h, const struct zf_dataset *dataset, int64_t i) {
  const struct zf_example *example = &dataset->ex[i];
  XXH3_128bits_update(h, &example->label, sizeof example->label);
  for (int32_t o = 0; o < example->nseq; o++) {
    const struct zf_seq *seq = &dataset->seq[example->seq + o];
    const int32_t head[2] = {seq->len, seq->target};
    XXH3_128bits_update(h, head, sizeof head);
    if (dataset->type == ZF_TASK_LABELS) XXH3_128bits_update(h, &seq->gold, sizeof seq->gold);
    XXH3_128bits_update(h, dataset->pool.id + seq->at, (size_t)seq->len * sizeof *dataset->pool.id);
    if (dataset->mask) XXH3_128bits_update(h, dataset->mask + seq->at, (size_t)seq->len);
  }
}

static void hash_text(XXH3_state_t *h, const char *s) {
  XXH3_128bits_update(h, s ? s : "", s ? strlen(s) + 1 : 1);
}

static void hash_row(XXH3_state_t *h, struct zf_records *records, int64_t row) {
  size_t len;
  const char *text = zf_records_text(records, row, &len);
  XXH3_128bits_update(h, text, len);
}

/* A row's text, and the templates that make an example of it. */
static void hash_source(XXH3_state_t *h, const struct zf_row_source *source, int64_t row) {
  int64_t local, f = zf_row_source_file(source, row, &local);
  const struct zf_data_spec *spec = &source->file[f].spec;
  hash_text(h, spec->prompt);
  hash_text(h, spec->completion);
  hash_text(h, spec->text);
  hash_row(h, source->rec[f], local);
}

static XXH128_hash_t hash_of(const struct keys *keys, int64_t index) {
  XXH3_128bits_reset(keys->state);
  if (keys->rec)
    hash_row(keys->state, keys->rec, index);
  else if (keys->src)
    hash_source(keys->state, keys->src->pool, keys->src->pick[index]);
  else
    hash_example(keys->state, keys->set, index);
  return XXH3_128bits_digest(keys->state);
}

/* Rows of a stream are read in the order of the files, whatever the order of the set: so they are
 * sorted by that first. */
static int fill(struct keys *keys) {
  keys->state = XXH3_createState();
  keys->key = zf_calloc(keys->count, sizeof *keys->key);
  if (!keys->state || !keys->key) return zf_error(ZF_ENOMEM, "out of memory to look for copies");
  for (int64_t i = 0; i < keys->count; i++)
    keys->key[i] = (struct key){(uint64_t)rank_of(keys, i), i};
  if (keys->src) qsort(keys->key, (size_t)keys->count, sizeof *keys->key, by_hash);
  for (int64_t i = 0; i < keys->count; i++)
    keys->key[i].hash = hash_of(keys, keys->key[i].index).low64;
  qsort(keys->key, (size_t)keys->count, sizeof *keys->key, by_hash);
  return 0;
}

static int fill_set(struct keys *keys, const struct zf_run_data *data, const struct zf_dataset *set,
                    enum zf_data_part part) {
  *keys = (struct keys){.data = data, .set = set, .count = zf_dataset_size(set)};
  if (set->stream) keys->src = &data->source[part];
  return fill(keys);
}

static void release(struct keys *keys) {
  XXH3_freeState(keys->state);
  free(keys->key);
}

/* --- pairs --- */

/* "PATH:LINE" of an example. */
static char *place_of(const struct keys *keys, int64_t index) {
  const struct zf_example *example = keys->rec || keys->src ? NULL : &keys->set->ex[index];
  if (example)
    return zf_asprintf("%s:%lld", keys->set->path[example->file], (long long)example->line);
  int64_t row = index,
          f = keys->rec ? 0 : zf_row_source_file(keys->src->pool, keys->src->pick[index], &row);
  struct zf_records *records = keys->rec ? keys->rec : keys->src->pool->rec[f];
  return zf_asprintf("%s:%lld", records->path, (long long)zf_records_line(records, row));
}

/* The copy that comes first, and what it is one of. */
struct pair {
  int64_t count, copy, of;
};

static void take_pair(struct pair *pair, const struct keys *keys, int64_t copy, int64_t of,
                      char *out) {
  if (out) out[copy] = 1;
  if (pair->count++ && rank_of(keys, pair->copy) < rank_of(keys, copy)) return;
  pair->copy = copy;
  pair->of = of;
}

static int name_pair(struct zf_duplicates *duplicates, const struct pair *pair,
                     const struct keys *keys, const struct keys *b) {
  duplicates->count = pair->count;
  if (!duplicates->count) return 0;
  duplicates->copy = place_of(keys, pair->copy);
  duplicates->of = place_of(b, pair->of);
  return duplicates->copy && duplicates->of ? 0 : ZF_ENOMEM;
}

static int same(const struct keys *keys, int64_t x, const struct keys *b, int64_t y) {
  return XXH128_isEqual(hash_of(keys, x), hash_of(b, y));
}

/* Later copies within a set. */
static int find_copies(struct zf_duplicates *duplicates, const struct keys *keys, char *out) {
  struct pair pair = {0};
  for (int64_t i = 0, end; i < keys->count; i = end) {
    int64_t head = keys->key[i].index;
    for (end = i + 1; end < keys->count && keys->key[end].hash == keys->key[i].hash; end++)
      if (rank_of(keys, keys->key[end].index) < rank_of(keys, head)) head = keys->key[end].index;
    for (int64_t k = i; end - i > 1 && k < end; k++)
      if (keys->key[k].index != head && same(keys, keys->key[k].index, keys, head))
        take_pair(&pair, keys, keys->key[k].index, head, out);
  }
  return name_pair(duplicates, &pair, keys, keys);
}

/* Training examples that the other set has too; both lists ascend. */
static int find_leaks(struct zf_duplicates *duplicates, const struct keys *keys,
                      const struct keys *other, char *out) {
  struct pair pair = {0};
  for (int64_t i = 0, j = 0; i < keys->count && j < other->count;) {
    const struct key *key = &keys->key[i], *y = &other->key[j];
    if (key->hash == y->hash) {
      if (same(keys, key->index, other, y->index))
        take_pair(&pair, keys, key->index, y->index, out);
      i++;
    } else if (key->hash < y->hash) {
      i++;
    } else {
      j++;
    }
  }
  return name_pair(duplicates, &pair, keys, other);
}

static int look(struct zf_run_data *data, const struct keys *keys, char *out) {
  const struct zf_dataset *other[] = {[ZF_DEV_SET] = data->dev, [ZF_TEST_SET] = data->test};
  int rc = find_copies(&data->duplicates[ZF_TRAIN_SET], keys, out);
  for (int part = ZF_DEV_SET; !rc && part <= ZF_TEST_SET; part++) {
    struct keys o;
    if (!other[part]) continue;
    rc = fill_set(&o, data, other[part], (enum zf_data_part)part);
    if (!rc) rc = find_leaks(&data->duplicates[part], keys, &o, out);
    release(&o);
  }
  return rc;
}

static void leave_out_rows(struct zf_run_data *data, const char *out) {
  struct zf_streamed_set *src = &data->source[ZF_TRAIN_SET];
  int64_t n = 0, size = zf_dataset_size(data->train);
  for (int64_t i = 0; i < size; i++) data->left_out += out[i];
  if (!data->train->stream) {
    zf_dataset_remove(data->train, out);
    return;
  }
  for (int64_t i = 0; i < size; i++)
    if (!out[i]) src->pick[n++] = src->pick[i];
  src->stream.count = n;
}

int zf_duplicates_find(struct zf_run_data *data, int leave_out) {
  struct keys keys = {0};
  if (!data->train) return 0;
  char *out = zf_calloc(zf_dataset_size(data->train) + 1, 1);
  int rc = out ? fill_set(&keys, data, data->train, ZF_TRAIN_SET) : ZF_ENOMEM;
  if (!rc) rc = look(data, &keys, out);
  if (!rc && leave_out) leave_out_rows(data, out);
  release(&keys);
  free(out);
  return rc;
}

int zf_duplicates_file(struct zf_duplicates *duplicates, struct zf_records *records) {
  struct keys keys = {.rec = records, .count = records->count};
  *duplicates = (struct zf_duplicates){0};
  int rc = fill(&keys);
  if (!rc) rc = find_copies(duplicates, &keys, NULL);
  release(&keys);
  return rc;
}

void zf_duplicates_free(struct zf_run_data *data) {
  for (int k = 0; k < ZF_DATA_PARTS; k++) {
    free(data->duplicates[k].copy);
    free(data->duplicates[k].of);
  }
}
