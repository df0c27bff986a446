/* Examples, sequences and token ids in growing arrays, and their counts. */
#include "task/dataset.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "task/encode_internal.h"

int zf_dataset_has_options(const struct zf_dataset *dataset) {
  return zf_task_has_options(dataset->type) &&
         !(dataset->type == ZF_TASK_LABELS && dataset->problem);
}

int zf_task_has_options(enum zf_task_type type) {
  return type == ZF_TASK_CLASSIFICATION || type == ZF_TASK_MASKED || type == ZF_TASK_LABELS ||
         type == ZF_TASK_PREFERENCE;
}

int zf_dataset_new(struct zf_dataset **out, enum zf_task_type type) {
  *out = zf_calloc(1, sizeof **out);
  if (!*out) return ZF_ENOMEM;
  (*out)->type = type;
  return 0;
}

void zf_dataset_free(struct zf_dataset *dataset) {
  if (!dataset) return;
  for (int32_t i = 0; i < dataset->nfile; i++) free(dataset->path[i]);
  free(dataset->path);
  zf_ids_free(&dataset->pool);
  zf_buf_free(&dataset->answers);
  free(dataset->mask);
  free(dataset->seq);
  free(dataset->example);
  free(dataset);
}

int zf_dataset_pool(struct zf_dataset *dataset, const int32_t *id, int64_t count) {
  struct zf_ids *pool = &dataset->pool;
  while (pool->count + count > pool->cap) {
    int64_t cap = pool->cap ? pool->cap * 2 : 4096;
    int32_t *larger = realloc(pool->id, (size_t)cap * sizeof *larger);
    if (!larger) return zf_error(ZF_ENOMEM, "out of memory for %lld tokens", (long long)cap);
    pool->id = larger;
    pool->cap = cap;
  }
  if (count) memcpy(pool->id + pool->count, id, (size_t)count * sizeof *id);
  pool->count += count;
  return 0;
}

int zf_dataset_slice(struct zf_dataset *dataset, struct zf_seq seq) {
  struct zf_seq *all = zf_grow(dataset->seq, dataset->nseq, &dataset->seqcap, sizeof *all);
  if (!all) return ZF_ENOMEM;
  dataset->seq = all;
  all[dataset->nseq++] = seq;
  return 0;
}

int zf_dataset_seq(struct zf_dataset *dataset, const int32_t *id, int64_t count, int64_t target) {
  int rc = zf_dataset_slice(dataset,
                            (struct zf_seq){dataset->pool.count, (int32_t)count, (int32_t)target});
  return rc ? rc : zf_dataset_pool(dataset, id, count);
}

/* How many leading tokens all sequences have in common.  At least the last token of each stays outside,
 * as nothing needs its output: so a target inside is predicted once. */
void zf_dataset_shared(const struct zf_dataset *dataset, struct zf_example *example) {
  const struct zf_seq *seq = dataset->seq + example->seq;
  int32_t shared = seq[0].len - 1;
  for (int32_t option = 1; option < example->nseq; option++) {
    const int32_t *first = dataset->pool.id + seq[0].at, *other = dataset->pool.id + seq[option].at;
    int32_t max = seq[option].len - 1 < shared ? seq[option].len - 1 : shared, i = 0;
    while (i < max && first[i] == other[i]) i++;
    shared = i;
  }
  example->shared = shared;
  example->mask_distance =
      example->mask_distance < 0
          ? 0
          : shared - 1 - example->mask_distance; /* .ask was the index of the mask */
  example->single =
      (example->nseq > 1 && dataset->type != ZF_TASK_PREFERENCE) || dataset->type == ZF_TASK_LABELS;
  for (int32_t option = 0; option < example->nseq; option++)
    if (seq[option].len - seq[option].target != 1 || seq[option].len - 1 != shared)
      example->single = 0;
}

int zf_dataset_keep(struct zf_dataset *dataset, const struct zf_example *example) {
  struct zf_example *all = zf_grow(dataset->example, dataset->count, &dataset->cap, sizeof *all);
  if (!all) return ZF_ENOMEM;
  dataset->example = all;
  all[dataset->count++] = *example;
  dataset->counts.examples++;
  if (example->nseq > dataset->options) dataset->options = example->nseq;
  for (int32_t option = 0; option < example->nseq; option++) {
    dataset->counts.tokens += dataset->seq[example->seq + option].len;
    dataset->counts.targets += zf_seq_targets(dataset, &dataset->seq[example->seq + option]);
  }
  dataset->counts.pass_tokens += zf_example_tokens(dataset, dataset->count - 1);
  return 0;
}

int zf_dataset_mask(struct zf_dataset *dataset, int64_t count) {
  if (count <= dataset->maskcap) return 0;
  unsigned char *larger = realloc(dataset->mask, (size_t)count * 2);
  if (!larger) return zf_error(ZF_ENOMEM, "out of memory for %lld tokens", (long long)count);
  dataset->mask = larger;
  dataset->maskcap = count * 2;
  return 0;
}

int zf_dataset_file(struct zf_dataset *dataset, const char *path) {
  char **paths = realloc(dataset->path, sizeof *paths * (size_t)(dataset->nfile + 1));
  if (!paths) return zf_error(ZF_ENOMEM, "out of memory for a path");
  dataset->path = paths;
  if (!(paths[dataset->nfile] = zf_strdup(path))) return ZF_ENOMEM;
  dataset->nfile++;
  return 0;
}

int zf_dataset_add(struct zf_dataset *dataset, struct zf_records *records, const int64_t *index,
                   int64_t count, const struct zf_data_spec *spec, const struct zf_tok *tok) {
  struct zf_encoder *encoder = NULL;
  int rc = zf_encoder_new(&encoder, spec, tok);
  if (!rc) rc = zf_dataset_file(dataset, records->path);
  int64_t rows = index ? count : records->count;
  for (int64_t i = 0; i < rows; i++) {
    if (rc) break;
    rc = zf_encoder_add(encoder, dataset, dataset->nfile - 1, records, index ? index[i] : i);
  }
  zf_encoder_free(encoder);
  return rc;
}

int64_t zf_dataset_size(const struct zf_dataset *dataset) {
  return dataset->stream ? dataset->stream->count : dataset->count;
}

void zf_dataset_clear(struct zf_dataset *dataset) {
  dataset->count = dataset->nseq = dataset->pool.count = 0;
  zf_buf_clear(&dataset->answers);
}

int zf_row_reader_load(struct zf_row_reader *rows, const int64_t *row, int64_t count,
                       int64_t *example) {
  zf_dataset_clear(rows->dataset);
  for (int64_t i = 0; i < count; i++) {
    int64_t before = rows->dataset->count;
    int rc = rows->encode(rows->ctx, rows->dataset, row[i]);
    if (example) example[i] = rows->dataset->count > before ? before : -1;
    if (rc) return rc;
  }
  return 0;
}

void zf_dataset_remove(struct zf_dataset *dataset, const char *remove) {
  int64_t kept = 0;
  for (int64_t i = 0; i < dataset->count; i++) {
    if (!remove[i]) {
      dataset->example[kept++] = dataset->example[i];
      continue;
    }
    dataset->counts.examples--;
    dataset->counts.targets -= zf_example_targets(dataset, i);
    dataset->counts.pass_tokens -= zf_example_tokens(dataset, i);
    for (int32_t option = 0; option < dataset->example[i].nseq; option++)
      dataset->counts.tokens -= dataset->seq[dataset->example[i].seq + option].len;
  }
  dataset->count = kept;
}

int zf_dataset_check(const struct zf_dataset *dataset, const char *what) {
  const char *path = dataset->nfile ? dataset->path[0] : what;
  if (zf_dataset_size(dataset) > 0) return 0;
  if (dataset->counts.rows == 0)
    return zf_error(ZF_EINVALID, "%s: the %s set has no row", path, what);
  if (dataset->counts.masked && dataset->last_role[0])
    return zf_error(ZF_EINVALID,
                    "%s: the %s set has no target: no message has the role 'assistant', and the "
                    "first conversation ends with '%s': name the role that answers, as in roles: "
                    "[%s=assistant]",
                    path, what, dataset->last_role, dataset->last_role);
  if (dataset->counts.masked)
    return zf_error(ZF_EINVALID,
                    "%s: the %s set has no target: all %lld examples are empty or masked", path,
                    what, (long long)dataset->counts.rows);
  return zf_error(ZF_EINVALID,
                  "%s: the %s set is empty: all %lld examples are longer than "
                  "sequence_len and were dropped",
                  path, what, (long long)dataset->counts.rows);
}

int64_t zf_example_tokens(const struct zf_dataset *dataset, int64_t index) {
  const struct zf_example *example = &dataset->example[index];
  int64_t tokens = example->shared;
  for (int32_t option = 0; option < example->nseq; option++)
    tokens += dataset->seq[example->seq + option].len - 1 - example->shared;
  return tokens;
}

int64_t zf_seq_next_target(const struct zf_dataset *dataset, const struct zf_seq *seq,
                           int64_t token) {
  if (token < seq->target) token = seq->target;
  if (!dataset->mask) return token;
  while (token < seq->len && !dataset->mask[seq->at + token]) token++;
  return token;
}

int zf_seq_is_target(const struct zf_dataset *dataset, const struct zf_seq *seq, int64_t token) {
  return zf_seq_next_target(dataset, seq, token) == token;
}

int64_t zf_seq_targets(const struct zf_dataset *dataset, const struct zf_seq *seq) {
  int64_t count = 0;
  if (!dataset->mask) return seq->len - seq->target;
  for (int64_t token = zf_seq_next_target(dataset, seq, 0); token < seq->len;
       token = zf_seq_next_target(dataset, seq, token + 1))
    count++;
  return count;
}

int64_t zf_example_targets(const struct zf_dataset *dataset, int64_t index) {
  const struct zf_example *example = &dataset->example[index];
  int64_t targets = 0;
  for (int32_t option = 0; option < example->nseq; option++)
    targets += zf_seq_targets(dataset, &dataset->seq[example->seq + option]);
  return targets;
}

int64_t zf_example_rows(const struct zf_dataset *dataset, int64_t index) {
  return dataset->example[index].single ? 1 : zf_example_targets(dataset, index);
}
