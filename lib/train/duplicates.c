#include "train/duplicates.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/arena.h"
#include "base/err.h"

/* Only 64 bits of an example's hash, since there may be many examples.  Where these are equal, all
 * 128 bits are compared. */
struct example_key {
  uint64_t hash;
  int64_t index; /* in the set; of one file: its row */
};

struct example_keys {
  struct zf_records *rec; /* one file; NULL: a set */
  const struct zf_run_data *data;
  const struct zf_dataset *set;
  const struct zf_streamed_set *src; /* the set is a stream; else NULL */
  XXH3_state_t *state;
  struct example_key *key; /* [count], sorted by hash, then index */
  int64_t count;
};

static int by_hash(const void *left, const void *right) {
  const struct example_key *x = left, *y = right;
  if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
  return (x->index > y->index) - (x->index < y->index);
}

/* Orders examples by file and row. */
static int64_t rank_of(const struct example_keys *keys, int64_t index) {
  if (keys->rec) return index;
  if (keys->src) return keys->src->pick[index];
  return (int64_t)keys->set->example[index].file << 40 | keys->set->example[index].line;
}

/* --- hashes --- */

static void hash_example(XXH3_state_t *hash, const struct zf_dataset *dataset, int64_t index) {
  const struct zf_example *example = &dataset->example[index];
  XXH3_128bits_update(hash, &example->label, sizeof example->label);
  for (int32_t i = 0; i < example->nseq; i++) {
    const struct zf_seq *seq = &dataset->seq[example->seq + i];
    const int32_t head[2] = {seq->len, seq->target};
    XXH3_128bits_update(hash, head, sizeof head);
    if (dataset->type == ZF_TASK_LABELS) XXH3_128bits_update(hash, &seq->gold, sizeof seq->gold);
    XXH3_128bits_update(hash, dataset->pool.id + seq->at,
                        (size_t)seq->len * sizeof *dataset->pool.id);
    if (dataset->mask) XXH3_128bits_update(hash, dataset->mask + seq->at, (size_t)seq->len);
  }
}

static void hash_text(XXH3_state_t *hash, const char *text) {
  XXH3_128bits_update(hash, text ? text : "", text ? strlen(text) + 1 : 1);
}

static void hash_row(XXH3_state_t *hash, struct zf_records *records, int64_t row) {
  size_t len;
  const char *text = zf_records_text(records, row, &len);
  XXH3_128bits_update(hash, text, len);
}

/* A row's text, and the templates that turn it into an example. */
static void hash_source(XXH3_state_t *hash, const struct zf_row_source *source, int64_t row) {
  int64_t local, file = zf_row_source_file(source, row, &local);
  const struct zf_data_spec *spec = &source->file[file].spec;
  hash_text(hash, spec->prompt);
  hash_text(hash, spec->completion);
  hash_text(hash, spec->text);
  hash_row(hash, source->rec[file], local);
}

static XXH128_hash_t hash_of(const struct example_keys *keys, int64_t index) {
  XXH3_128bits_reset(keys->state);
  if (keys->rec)
    hash_row(keys->state, keys->rec, index);
  else if (keys->src)
    hash_source(keys->state, keys->src->row_source, keys->src->pick[index]);
  else
    hash_example(keys->state, keys->set, index);
  return XXH3_128bits_digest(keys->state);
}

/* Rows of a stream are read fastest in the order of the files: the keys are sorted by that before
 * their hashes are computed. */
static int fill_keys(struct example_keys *keys) {
  keys->state = XXH3_createState();
  keys->key = zf_calloc(keys->count, sizeof *keys->key);
  if (!keys->state || !keys->key)
    return zf_error(ZF_ENOMEM, "out of memory to look for duplicates");
  for (int64_t i = 0; i < keys->count; i++)
    keys->key[i] = (struct example_key){(uint64_t)rank_of(keys, i), i};
  if (keys->src) qsort(keys->key, (size_t)keys->count, sizeof *keys->key, by_hash);
  for (int64_t i = 0; i < keys->count; i++)
    keys->key[i].hash = hash_of(keys, keys->key[i].index).low64;
  qsort(keys->key, (size_t)keys->count, sizeof *keys->key, by_hash);
  return 0;
}

static int fill_set(struct example_keys *keys, const struct zf_run_data *data,
                    const struct zf_dataset *set, enum zf_data_part part) {
  *keys = (struct example_keys){.data = data, .set = set, .count = zf_dataset_size(set)};
  if (set->stream) keys->src = &data->source[part];
  return fill_keys(keys);
}

static void free_keys(struct example_keys *keys) {
  XXH3_freeState(keys->state);
  free(keys->key);
}

/* --- pairs --- */

/* "PATH:LINE" of an example. */
static char *place_of(const struct example_keys *keys, int64_t index) {
  if (!keys->rec && !keys->src) {
    const struct zf_example *example = &keys->set->example[index];
    return zf_asprintf("%s:%lld", keys->set->path[example->file], (long long)example->line);
  }
  int64_t row = index;
  struct zf_records *records = keys->rec;
  if (!records) {
    const struct zf_row_source *source = keys->src->row_source;
    records = source->rec[zf_row_source_file(source, keys->src->pick[index], &row)];
  }
  return zf_asprintf("%s:%lld", records->path, (long long)zf_records_line(records, row));
}

/* Number of duplicates; the first of them, and its original. */
struct duplicate_pair {
  int64_t count, duplicate, original;
};

/* remove (may be NULL): receives a 1 for each duplicate. */
static void add_pair(struct duplicate_pair *pair, const struct example_keys *keys,
                     int64_t duplicate, int64_t original, char *remove) {
  if (remove) remove[duplicate] = 1;
  if (pair->count++ && rank_of(keys, pair->duplicate) < rank_of(keys, duplicate)) return;
  pair->duplicate = duplicate;
  pair->original = original;
}

static int name_pair(struct zf_duplicates *duplicates, const struct duplicate_pair *pair,
                     const struct example_keys *keys, const struct example_keys *originals) {
  duplicates->count = pair->count;
  if (!duplicates->count) return 0;
  duplicates->duplicate = place_of(keys, pair->duplicate);
  duplicates->original = place_of(originals, pair->original);
  return duplicates->duplicate && duplicates->original ? 0 : ZF_ENOMEM;
}

static int is_same(const struct example_keys *left, int64_t left_index,
                   const struct example_keys *right, int64_t right_index) {
  return XXH128_isEqual(hash_of(left, left_index), hash_of(right, right_index));
}

/* End of the run of equal hashes that begins at key `first`; *original: its first example by file and
 * row. */
static int64_t hash_run(const struct example_keys *keys, int64_t first, int64_t *original) {
  int64_t end = first + 1;
  *original = keys->key[first].index;
  for (; end < keys->count; end++) {
    int64_t index = keys->key[end].index;
    if (keys->key[end].hash != keys->key[first].hash) break;
    if (rank_of(keys, index) < rank_of(keys, *original)) *original = index;
  }
  return end;
}

/* Later duplicates within a set. */
static int find_within(struct zf_duplicates *duplicates, const struct example_keys *keys,
                       char *remove) {
  struct duplicate_pair pair = {0};
  for (int64_t first = 0, end; first < keys->count; first = end) {
    int64_t original;
    end = hash_run(keys, first, &original);
    for (int64_t i = first; i < end; i++) {
      int64_t index = keys->key[i].index;
      if (index != original && is_same(keys, index, keys, original))
        add_pair(&pair, keys, index, original, remove);
    }
  }
  return name_pair(duplicates, &pair, keys, keys);
}

/* Training examples that are also in the other set; both lists of keys ascend. */
static int find_leaks(struct zf_duplicates *duplicates, const struct example_keys *train,
                      const struct example_keys *other, char *remove) {
  struct duplicate_pair pair = {0};
  int64_t i = 0, j = 0;
  while (i < train->count && j < other->count) {
    const struct example_key *x = &train->key[i], *y = &other->key[j];
    if (x->hash == y->hash) {
      if (is_same(train, x->index, other, y->index))
        add_pair(&pair, train, x->index, y->index, remove);
      i++;
    } else if (x->hash < y->hash) {
      i++;
    } else {
      j++;
    }
  }
  return name_pair(duplicates, &pair, train, other);
}

static int find_all(struct zf_run_data *data, const struct example_keys *train, char *remove) {
  const struct zf_dataset *other[] = {[ZF_DEV_SET] = data->dev, [ZF_TEST_SET] = data->test};
  int rc = find_within(&data->duplicates[ZF_TRAIN_SET], train, remove);
  if (rc) return rc;
  for (int part = ZF_DEV_SET; part <= ZF_TEST_SET; part++) {
    struct example_keys other_keys;
    if (!other[part]) continue;
    rc = fill_set(&other_keys, data, other[part], (enum zf_data_part)part);
    if (!rc) rc = find_leaks(&data->duplicates[part], train, &other_keys, remove);
    free_keys(&other_keys);
    if (rc) return rc;
  }
  return 0;
}

static void remove_examples(struct zf_run_data *data, const char *remove) {
  struct zf_streamed_set *src = &data->source[ZF_TRAIN_SET];
  int64_t kept = 0, size = zf_dataset_size(data->train);
  for (int64_t i = 0; i < size; i++) data->left_out += remove[i];
  if (!data->train->stream) {
    zf_dataset_remove(data->train, remove);
    return;
  }
  for (int64_t i = 0; i < size; i++)
    if (!remove[i]) src->pick[kept++] = src->pick[i];
  src->stream.count = kept;
}

int zf_duplicates_find(struct zf_run_data *data, int leave_out) {
  struct example_keys keys = {0};
  if (!data->train) return 0;
  char *remove = zf_calloc(zf_dataset_size(data->train) + 1, 1);
  int rc = remove ? fill_set(&keys, data, data->train, ZF_TRAIN_SET) : ZF_ENOMEM;
  if (!rc) rc = find_all(data, &keys, remove);
  if (!rc && leave_out) remove_examples(data, remove);
  free_keys(&keys);
  free(remove);
  return rc;
}

int zf_duplicates_file(struct zf_duplicates *duplicates, struct zf_records *records) {
  struct example_keys keys = {.rec = records, .count = records->count};
  *duplicates = (struct zf_duplicates){0};
  int rc = fill_keys(&keys);
  if (!rc) rc = find_within(duplicates, &keys, NULL);
  free_keys(&keys);
  return rc;
}

void zf_duplicates_free(struct zf_run_data *data) {
  for (int i = 0; i < ZF_DATA_PARTS; i++) {
    free(data->duplicates[i].duplicate);
    free(data->duplicates[i].original);
  }
}
