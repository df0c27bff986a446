#include "train/step_bench.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "base/err.h"
#include "kern/peak.h"

enum { DEFAULT_LEN = 64, OPTIONS = 2, PIECE = 4096, MAXKEYS = 64 };

#define PEAK_SECONDS 0.03

const char *zf_objective_name(enum zf_objective objective) {
  return objective == ZF_OBJECTIVE_LM ? "lm" : "options";
}

/* --- settings --- */

static const struct zf_conf_key own_keys[] = {
    {"objective", ZF_CONF_ENUM, "lm", "lm: loss on all tokens; options: two options of one token",
     .choices = "lm|options"},
};

/* Keys of a run that a measurement reads; the rest may be there and have no effect. */
static const char *const used[] = {"base_model",
                                   "dtype",
                                   "trained_dtype",
                                   "compute",
                                   "trainable",
                                   "threads",
                                   "memory_limit",
                                   "sequence_len",
                                   "micro_batch_size",
                                   "objective",
                                   "gradient_accumulation_steps",
                                   "seed",
                                   "learning_rate",
                                   "weight_decay",
                                   "zo_eps",
                                   "zo_probes",
                                   "zo_direction"};

int zf_bench_uses(const char *key) {
  for (size_t i = 0; i < sizeof used / sizeof *used; i++)
    if (!strcmp(used[i], key)) return 1;
  return 0;
}

const struct zf_conf_key *zf_bench_keys(void) {
  static struct zf_conf_key keys[MAXKEYS];
  int n = 0;
  for (const struct zf_conf_key *key = zf_train_keys; key->name; key++) {
    assert(n < MAXKEYS - 2);
    keys[n] = *key;
    keys[n].required = !strcmp(key->name, "base_model");
    if (!strcmp(key->name, "learning_rate")) keys[n].def = "1e-9"; /* as dear as any other */
    if (!strcmp(key->name, "method")) keys[n].choices = ZF_METHOD_WORDS "|inference";
    n++;
  }
  keys[n] = own_keys[0];
  keys[n + 1] = (struct zf_conf_key){0};
  return keys;
}

/* --- random tokens --- */

static int make_arrays(struct zf_dataset *dataset, int64_t count, int64_t nseq, int64_t tokens) {
  dataset->ex = zf_calloc(count, sizeof *dataset->ex);
  dataset->seq = zf_calloc(nseq, sizeof *dataset->seq);
  dataset->pool.id = zf_calloc(tokens, sizeof *dataset->pool.id);
  if (!dataset->ex || !dataset->seq || !dataset->pool.id) return ZF_ENOMEM;
  dataset->count = dataset->cap = count;
  dataset->nseq = dataset->seqcap = nseq;
  dataset->pool.count = dataset->pool.cap = tokens;
  return 0;
}

/* Each example has `len` tokens that are run.  Texts are one token longer, which is predicted; a
 * prompt has two sequences, the options' ids being the same for all. */
static int random_set(struct zf_dataset **out, enum zf_objective objective, int64_t n, int64_t len,
                      int64_t vocab, uint64_t seed) {
  int options = objective == ZF_OBJECTIVE_OPTIONS;
  int64_t each = options ? OPTIONS : 1, size = len + 1;
  int rc = zf_dataset_new(out, options ? ZF_TASK_CLASSIFICATION : ZF_TASK_TEXT);
  if (!rc) rc = make_arrays(*out, n, n * each, n * each * size);
  if (rc) return rc;
  struct zf_dataset *dataset = *out;
  struct zf_noise key = {.seed = seed, .use = ZF_USE_SAMPLE};
  zf_noise_words((uint32_t *)dataset->pool.id, &key, 0, dataset->pool.count);
  for (int64_t i = 0; i < dataset->pool.count; i++)
    dataset->pool.id[i] = (int32_t)((uint32_t)dataset->pool.id[i] % (uint64_t)vocab);
  for (int64_t i = 0; i < dataset->nseq; i++)
    dataset->seq[i] = (struct zf_seq){i * size, (int32_t)size, options ? (int32_t)len : 1};
  for (int64_t i = 0; i < n; i++) {
    int32_t *id = dataset->pool.id + i * each * size;
    dataset->ex[i] = (struct zf_example){.seq = i * each, .nseq = (int32_t)each, .label = -1};
    if (!options) continue;
    dataset->ex[i].label = (int32_t)(i % OPTIONS);
    dataset->ex[i].shared = (int32_t)len;
    dataset->ex[i].single = 1;
    memcpy(id + size, id, (size_t)len * sizeof *id);
    for (int64_t k = 0; k < OPTIONS; k++) id[k * size + len] = (int32_t)(k % vocab);
  }
  return 0;
}

static int make_data(void *ctx, struct zf_run_data *out, const struct zf_settings *settings,
                     const struct zf_config *config) {
  const enum zf_objective *objective = ctx;
  int64_t len = settings->sequence_len;
  if (!len) len = config->context < DEFAULT_LEN ? config->context : DEFAULT_LEN;
  if (len > config->context)
    return zf_error(ZF_EUSAGE, "sequence_len %lld is longer than the model's context of %lld",
                    (long long)len, (long long)config->context);
  int64_t n = settings->micro_batch * settings->accumulation;
  int rc = random_set(&out->train, *objective, n, len, config->vocab, settings->seed);
  if (rc) return rc;
  return zf_order_new(&out->order, n, settings->seed);
}

static enum zf_objective objective_of(const struct zf_conf *conf) {
  return strcmp(zf_conf_str(conf, "objective"), "options") ? ZF_OBJECTIVE_LM : ZF_OBJECTIVE_OPTIONS;
}

int zf_bench_open_shapes(struct zf_run **out, const struct zf_conf *conf) {
  enum zf_objective objective = objective_of(conf);
  return zf_run_open_shapes(out, conf, zf_conf_maps(conf, "datasets") ? NULL : make_data,
                            &objective);
}

int zf_bench_open(struct zf_run **out, const struct zf_conf *conf) {
  enum zf_objective objective = objective_of(conf);
  return zf_run_open_made(out, conf, make_data, &objective);
}

/* --- parts --- */

enum part { STEP, UPDATE, NOISE, FORWARD, BODY, RATIO, PARTS };

struct parts {
  struct zf_run *run;
  struct zf_batch batch; /* the first micro-batch, without output rows */
  int64_t step;
  double *t[PARTS]; /* [turns] of each */
  int (*stopped)(void *ctx);
  void *ctx;
};

static int make_batch(struct zf_batch *batch, const struct zf_run *run) {
  const struct zf_dataset *dataset = run->data.train;
  int64_t n = run->set.micro_batch, len = zf_example_tokens(dataset, 0);
  batch->T = n * len;
  batch->nseg = n;
  batch->id = zf_calloc(batch->T, sizeof *batch->id);
  batch->pos = zf_calloc(batch->T, sizeof *batch->pos);
  batch->seg = zf_calloc(n, sizeof *batch->seg);
  if (!batch->id || !batch->pos || !batch->seg) return ZF_ENOMEM;
  for (int64_t i = 0; i < n; i++) {
    batch->seg[i] = (struct zf_segment){.start = i * len, .len = len};
    memcpy(batch->id + i * len, dataset->pool.id + dataset->seq[dataset->ex[i].seq].at,
           (size_t)len * sizeof *batch->id);
    for (int64_t t = 0; t < len; t++) batch->pos[i * len + t] = (int32_t)t;
  }
  return 0;
}

static int run_step(struct parts *parts, int64_t turn) {
  struct zf_zo_probe probe[ZF_ZO_MAXPROBES];
  double start = zf_now();
  int rc = zf_run_estimate(parts->run, ++parts->step, probe);
  double middle = zf_now();
  if (rc) return rc;
  zf_run_update(parts->run, parts->step, probe, parts->run->set.lr);
  double end = zf_now();
  parts->t[STEP][turn] = end - start;
  parts->t[UPDATE][turn] = end - middle;
  return 0;
}

static int run_forward(struct parts *parts, double *took) {
  struct zf_perturb none = zf_perturb_none();
  double loss, start = zf_now();
  int rc = zf_run_batch_loss(parts->run, parts->step * parts->run->batch, &none, &loss);
  *took = zf_now() - start;
  return rc;
}

static int run_body(struct parts *parts, int64_t turn) {
  struct zf_perturb none = zf_perturb_none();
  double start = zf_now();
  int rc = 0;
  for (int64_t m = 0; !rc && m < parts->run->set.accumulation; m++)
    rc = zf_forward_run(parts->run->fwd, &parts->batch, &none);
  parts->t[BODY][turn] = zf_now() - start;
  return rc;
}

static void run_noise(struct parts *parts, int64_t turn) {
  const struct zf_zo *zo = &parts->run->set.zo;
  int64_t n =
      zf_params_count(&parts->run->model->params, 1) * parts->run->set.accumulation * zo->probes;
  struct zf_noise key = zf_perturb_spsa(zo->seed, 1, 0, zo->direction, 0).dir;
  int team = zf_kern_nthreads();
  double start = zf_now();
#pragma omp parallel for schedule(static) num_threads(team)
  for (int64_t i = 0; i < n; i += PIECE) {
    float z[PIECE];
    zf_noise_fill(z, &key, i, n - i < PIECE ? n - i : PIECE);
  }
  parts->t[NOISE][turn] = zf_now() - start;
}

static int go_on(const struct parts *parts) {
  if (!parts->stopped || !parts->stopped(parts->ctx)) return 0;
  return zf_error(ZF_ESTOPPED, "interrupted");
}

/* A step between two forwards, so that a machine that grows slower or faster does so to both. */
static int one_turn(struct parts *parts, int64_t turn, struct zf_bench *out) {
  double before, after, peak = zf_peak(parts->run->set.compute, PEAK_SECONDS);
  if (peak > out->peak) out->peak = peak;
  int rc = go_on(parts);
  if (!rc) rc = run_forward(parts, &before);
  if (!rc) rc = go_on(parts);
  if (!rc) rc = run_step(parts, turn);
  if (!rc) rc = go_on(parts);
  if (!rc) rc = run_forward(parts, &after);
  if (!rc) rc = run_body(parts, turn);
  if (rc) return rc;
  run_noise(parts, turn);
  parts->t[FORWARD][turn] = 0.5 * (before + after);
  parts->t[RATIO][turn] = parts->t[STEP][turn] / (parts->run->set.zo.probes * (before + after));
  return 0;
}

/* --- sums --- */

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *v, int64_t count) {
  qsort(v, (size_t)count, sizeof *v, by_size);
  return count % 2 ? v[count / 2] : 0.5 * (v[count / 2 - 1] + v[count / 2]);
}

/* Two operations a multiply-add; of the head the rows and columns that the loss asks for. */
static void count_work(struct zf_bench *out, const struct zf_run *run) {
  const struct zf_dataset *dataset = run->data.train;
  const struct zf_plan *plan = &run->model->plan;
  int64_t rows = 0, columns = run->model->config.vocab;
  out->objective = dataset->type == ZF_TASK_TEXT ? ZF_OBJECTIVE_LM : ZF_OBJECTIVE_OPTIONS;
  if (out->objective == ZF_OBJECTIVE_OPTIONS) columns = OPTIONS;
  out->tokens = 0;
  for (int64_t i = 0; i < dataset->count; i++) {
    out->tokens += zf_example_tokens(dataset, i);
    rows += zf_example_rows(dataset, i);
  }
  out->passes = 2 * run->set.zo.probes;
  out->forward_ops = 2 * zf_plan_macs(plan, out->tokens, rows, columns);
  out->body_ops = 2 * zf_plan_macs(plan, out->tokens, 0, columns);
  out->step_ops = (double)out->passes * out->forward_ops;
}

static void reduce(struct zf_bench *out, struct parts *parts, int64_t turns) {
  out->step = median(parts->t[STEP], turns);
  out->update = median(parts->t[UPDATE], turns);
  out->noise = median(parts->t[NOISE], turns);
  out->forward = median(parts->t[FORWARD], turns);
  out->body = median(parts->t[BODY], turns);
  out->ratio = median(parts->t[RATIO], turns);
  out->other = out->step - (double)out->passes * out->forward - out->noise - out->update;
}

int zf_bench_step(struct zf_bench *out, struct zf_run *run, int64_t turns,
                  int (*stopped)(void *ctx), void *ctx) {
  struct parts parts = {.run = run, .stopped = stopped, .ctx = ctx};
  double *times = zf_calloc(PARTS * turns, sizeof *times);
  memset(out, 0, sizeof *out);
  int rc = times ? make_batch(&parts.batch, run) : ZF_ENOMEM;
  for (int k = 0; times && k < PARTS; k++) parts.t[k] = times + k * turns;
  if (!rc) rc = one_turn(&parts, 0, out); /* pages, caches, threads */
  for (int64_t i = 0; !rc && i < turns; i++) rc = one_turn(&parts, i, out);
  if (!rc) {
    count_work(out, run);
    reduce(out, &parts, turns);
  }
  free(parts.batch.id);
  free(parts.batch.pos);
  free(parts.batch.seg);
  free(times);
  return rc;
}
