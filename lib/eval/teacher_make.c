/* Writes the file of a teacher's predictions, from one pass over the examples. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/util.h"
#include "eval/score.h"
#include "eval/teacher_internal.h"

enum { LOGITS = 1 << 21 }; /* logits that exist at a time, where a row has fewer */

/* A token that may be among the k likeliest. */
struct likely_token {
  float logit;
  int32_t id;
};

struct teacher_maker {
  const struct zf_teacher_plan *plan;
  struct zf_teacher_head head;
  struct zf_forward *forward;
  struct zf_scorer *scorer;
  struct zf_score *score;
  int64_t chunk;               /* rows whose logits exist at a time */
  float *logits;               /* [chunk][vocabulary] */
  struct likely_token *likely; /* [chunk][k] */
  unsigned char *rows;         /* [chunk] rows of the file */
  struct zf_out out;
  uint32_t crc;
  int not_finite;
  int64_t done, total; /* examples */
};

static void put(struct teacher_maker *maker, const void *data, size_t len) {
  maker->crc = zf_crc32c(maker->crc, data, len);
  fwrite(data, 1, len, maker->out.file);
}

/* --- the likeliest tokens of a row --- */

/* 1 where `left` gives way to `right`: its logit is lower, or, of equals, its id is higher. */
static int is_less(struct likely_token left, struct likely_token right) {
  return left.logit < right.logit || (left.logit == right.logit && left.id > right.id);
}

/* Lets the token at the root of a heap, whose least token is the root, sink to its place. */
static void sink(struct likely_token *heap, int64_t count) {
  struct likely_token token = heap[0];
  int64_t at = 0;
  for (int64_t child; (child = 2 * at + 1) < count; at = child) {
    if (child + 1 < count && is_less(heap[child + 1], heap[child])) child++;
    if (!is_less(heap[child], token)) break;
    heap[at] = heap[child];
  }
  heap[at] = token;
}

static int by_id(const void *left, const void *right) {
  int32_t x = ((const struct likely_token *)left)->id, y = ((const struct likely_token *)right)->id;
  return (x > y) - (x < y);
}

static int is_heap_order(const void *left, const void *right) {
  return is_less(*(const struct likely_token *)right, *(const struct likely_token *)left) -
         is_less(*(const struct likely_token *)left, *(const struct likely_token *)right);
}

/* The k tokens with the highest logits, by ascending id. */
static void find_likely(struct likely_token *likely, int64_t k, const float *logits, int64_t V) {
  for (int64_t i = 0; i < k; i++) likely[i] = (struct likely_token){logits[i], (int32_t)i};
  qsort(likely, (size_t)k, sizeof *likely, is_heap_order); /* a sorted array is a heap */
  for (int64_t i = k; i < V; i++) {
    struct likely_token token = {logits[i], (int32_t)i};
    if (!is_less(likely[0], token)) continue;
    likely[0] = token;
    sink(likely, k);
  }
  qsort(likely, (size_t)k, sizeof *likely, by_id);
}

/* --- rows of the file --- */

/* log p of k logits and the rest, whose log-sum-exp is given; the logits are not divided yet. */
static void normalise(float *log_p, int64_t k, double rest, double temperature) {
  double max = rest, sum = 0;
  for (int64_t i = 0; i < k; i++) max = fmax(max, (double)log_p[i] / temperature);
  for (int64_t i = 0; i < k; i++) sum += exp((double)log_p[i] / temperature - max);
  double normaliser = max + log(sum + exp(rest - max));
  for (int64_t i = 0; i < k; i++)
    log_p[i] = (float)fmin(0, (double)log_p[i] / temperature - normaliser);
  log_p[k] = (float)fmin(0, rest - normaliser);
}

static int is_finite(const float *value, int64_t count) {
  float sum = 0;
  for (int64_t i = 0; i < count; i++) sum += value[i] * 0;
  return sum == 0;
}

/* Row i of the chunk. */
static void reduce_row(struct teacher_maker *maker, int64_t i) {
  const struct zf_teacher_head *head = &maker->head;
  int64_t V = head->vocab, k = head->k;
  const float *logits = maker->logits + i * V;
  struct likely_token *likely = maker->likely + i * k;
  int32_t *id = (int32_t *)(void *)(maker->rows + i * zf_teacher_row_bytes(head->k));
  float *log_p = (float *)(void *)(id + k);
  struct zf_coarse_row row = {-INFINITY, 0};
  find_likely(likely, k, logits, V);
  for (int64_t j = 0; j < k; j++) id[j] = likely[j].id;
  for (int64_t first = 0; first < V; first += ZF_VC)
    zf_coarse_add(&row, log_p, id, k, (float)(1 / head->temperature), logits + first, first,
                  zf_min64(V - first, ZF_VC));
  normalise(log_p, k, row.rest, head->temperature);
}

/* Writes the rows of the pass. */
static int write_rows(struct teacher_maker *maker, int64_t rows) {
  int64_t V = maker->head.vocab, size = zf_teacher_row_bytes(maker->head.k);
  for (int64_t first = 0; first < rows; first += maker->chunk) {
    int64_t count = zf_min64(maker->chunk, rows - first);
    int finite = 1;
    zf_forward_logits_part(maker->forward, first, count, maker->logits);
#pragma omp parallel for schedule(static) reduction(&& : finite)
    for (int64_t i = 0; i < count; i++) {
      finite = finite && is_finite(maker->logits + i * V, V);
      if (finite) reduce_row(maker, i);
    }
    if (!finite)
      return zf_error(ZF_EINVALID, "%s: the teacher gives a logit that is not a finite number",
                      maker->plan->model->dir);
    put(maker, maker->rows, (size_t)(count * size));
  }
  return 0;
}

/* A zf_score_watch: writes the log-softmax of an example's scores over the temperature. */
static void write_options(void *ctx, const double *score, const double *gold, int64_t count) {
  struct teacher_maker *maker = ctx;
  double max = -INFINITY, sum = 0;
  (void)gold;
  for (int64_t i = 0; i < count; i++) {
    if (!isfinite(score[i])) maker->not_finite = 1;
    max = fmax(max, score[i] / maker->head.temperature);
  }
  for (int64_t i = 0; i < count; i++) sum += exp(score[i] / maker->head.temperature - max);
  for (int64_t i = 0; i < count; i++) {
    float log_p = (float)fmin(0, score[i] / maker->head.temperature - max - log(sum));
    put(maker, &log_p, sizeof log_p);
  }
}

/* --- sets --- */

static int tick(struct teacher_maker *maker, int64_t examples) {
  const struct zf_teacher_plan *plan = maker->plan;
  maker->done += examples;
  if (!plan->tick || !plan->tick(plan->ctx, maker->done, maker->total)) return 0;
  return zf_error(ZF_ESTOPPED, "interrupted while the teacher read the data");
}

static int run_tokens(struct teacher_maker *maker, const struct zf_dataset *dataset) {
  struct zf_perturb none = zf_perturb_none();
  for (int64_t from = 0, to; from < dataset->count; from = to) {
    to = zf_score_pack(maker->scorer, dataset, NULL, from, dataset->count, maker->plan->micro_batch,
                       1);
    const struct zf_batch *batch = &zf_score_packed(maker->scorer)->batch;
    int rc = zf_forward_run(maker->forward, batch, &none);
    if (!rc) rc = write_rows(maker, batch->R);
    if (!rc) rc = tick(maker, to - from);
    if (rc) return rc;
  }
  return 0;
}

static int run_options(struct teacher_maker *maker, const struct zf_dataset *dataset) {
  struct zf_perturb none = zf_perturb_none();
  zf_scorer_watch(maker->scorer, write_options, maker);
  for (int64_t i = 0; i < dataset->count; i++) {
    int rc = zf_score_examples(maker->scorer, dataset, &i, 1, 0, &none, maker->score);
    if (!rc && maker->not_finite)
      rc = zf_error(ZF_EINVALID, "%s: the teacher gives a score that is not a finite number",
                    maker->plan->model->dir);
    if (!rc) rc = tick(maker, 1);
    if (rc) return rc;
  }
  return 0;
}

static int count_rows(int64_t *rows, const struct zf_dataset *dataset) {
  int64_t *first = zf_calloc(dataset->count + 1, sizeof *first);
  if (!first) return ZF_ENOMEM;
  zf_teacher_rows(first, dataset);
  *rows = first[dataset->count];
  free(first);
  return 0;
}

static int describe_sets(struct teacher_maker *maker) {
  const struct zf_teacher_plan *plan = maker->plan;
  int rc = ZF_EUSAGE, found = 0;
  for (int i = 0; i < ZF_TEACHER_SETS; i++) {
    struct zf_teacher_set *set = &maker->head.set[i];
    const struct zf_dataset *dataset = plan->set[i];
    memset(set->hash, '0', 32);
    if (!dataset) continue;
    if (dataset->stream)
      return zf_error(ZF_EUSAGE, "a teacher needs all examples in memory: streaming=false");
    if ((rc = zf_score_check(plan->model, dataset))) return rc;
    if ((rc = zf_teacher_kind_of(&maker->head.kind, dataset->type))) return rc;
    if ((rc = zf_teacher_hash(set->hash, dataset))) return rc;
    if ((rc = count_rows(&set->rows, dataset))) return rc;
    maker->total += dataset->count;
    found = 1;
  }
  return found ? 0 : zf_error(rc, "a teacher needs examples");
}

/* The hash of the weights, and of an adapter over them. */
static int hash_model(char out[33], const struct zf_model *model) {
  char adapter[33];
  struct zf_hash *hash;
  int rc = zf_model_base_hash(model, out);
  if (rc || !zf_model_has_adapter(model)) return rc;
  if ((rc = zf_model_hash(model, adapter)) || (rc = zf_hash_new(&hash))) return rc;
  zf_hash_add(hash, out, 32);
  zf_hash_add(hash, adapter, 32);
  zf_hash_hex(hash, out);
  zf_hash_free(hash);
  return 0;
}

static int describe(struct teacher_maker *maker) {
  const struct zf_teacher_plan *plan = maker->plan;
  struct zf_teacher_head *head = &maker->head;
  head->temperature = plan->temperature;
  head->vocab = plan->model->config.outputs;
  int rc = describe_sets(maker);
  if (!rc) rc = hash_model(head->model, plan->model);
  if (head->kind == ZF_TEACHER_TOKENS) head->k = zf_min64(plan->k, head->vocab);
  return rc;
}

/* --- memory --- */

static int open_rows(struct teacher_maker *maker, int64_t rows) {
  const struct zf_teacher_head *head = &maker->head;
  if (head->kind == ZF_TEACHER_OPTIONS) return 0;
  maker->chunk = zf_min64(rows, zf_max64(1, LOGITS / head->vocab));
  maker->logits = zf_calloc(maker->chunk * head->vocab, sizeof *maker->logits);
  maker->likely = zf_calloc(maker->chunk * head->k, sizeof *maker->likely);
  maker->rows = zf_calloc(maker->chunk, zf_teacher_row_bytes(head->k));
  return maker->logits && maker->likely && maker->rows ? 0 : ZF_ENOMEM;
}

static int open_passes(struct teacher_maker *maker) {
  const struct zf_teacher_plan *plan = maker->plan;
  const struct zf_dataset *set[ZF_TEACHER_SETS] = {NULL};
  int sets = 0;
  struct zf_limits limits = {.tokens = 0};
  for (int i = 0; i < ZF_TEACHER_SETS; i++)
    if (plan->set[i]) set[sets++] = plan->set[i];
  limits = zf_score_limits(set, sets, plan->micro_batch, 1);
  limits.compute = plan->compute;
  int rc = zf_forward_new(&maker->forward, plan->model, &limits);
  if (!rc) rc = zf_scorer_new(&maker->scorer, maker->forward, &limits);
  if (!rc && !(maker->score = zf_calloc(1, sizeof *maker->score))) rc = ZF_ENOMEM;
  return rc ? rc : open_rows(maker, limits.rows);
}

static void close_maker(struct teacher_maker *maker) {
  zf_out_abort(&maker->out);
  zf_scorer_free(maker->scorer);
  zf_forward_free(maker->forward);
  free(maker->score);
  free(maker->logits);
  free(maker->likely);
  free(maker->rows);
}

static void write_head(struct teacher_maker *maker) {
  const struct zf_teacher_head *head = &maker->head;
  uint32_t numbers[] = {(uint32_t)head->kind, (uint32_t)head->k};
  put(maker, zf_teacher_magic, ZF_TEACHER_MAGIC);
  put(maker, numbers, sizeof numbers);
  put(maker, &head->temperature, 8);
  put(maker, &head->vocab, 8);
  put(maker, head->model, 32);
  for (int i = 0; i < ZF_TEACHER_SETS; i++) {
    put(maker, &head->set[i].rows, 8);
    put(maker, head->set[i].hash, 32);
  }
}

static int write_all(struct teacher_maker *maker) {
  int rc = 0;
  write_head(maker);
  for (int i = 0; i < ZF_TEACHER_SETS; i++) {
    const struct zf_dataset *dataset = maker->plan->set[i];
    if (!dataset || rc) continue;
    rc = (maker->head.kind == ZF_TEACHER_TOKENS ? run_tokens : run_options)(maker, dataset);
  }
  fwrite(&maker->crc, 1, 4, maker->out.file);
  return rc ? rc : zf_out_commit(&maker->out);
}

int zf_teacher_make(const char *path, const struct zf_teacher_plan *plan) {
  struct teacher_maker maker = {.plan = plan};
  int rc = describe(&maker);
  if (!rc) rc = open_passes(&maker);
  if (!rc) rc = zf_out_open(&maker.out, path);
  if (!rc) rc = write_all(&maker);
  close_maker(&maker);
  return rc;
}
