#include "train/step_bench.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "base/err.h"
#include "kern/peak.h"

enum { DEFAULT_LEN = 64, OPTIONS = 2, CHUNK = 4096, MAXKEYS = 128 };

#define PEAK_SECONDS 0.03

const char *zf_bench_objective_name(enum zf_bench_objective objective) {
  return objective == ZF_BENCH_LM ? "lm" : "options";
}

/* --- settings --- */

/* Keys that a measurement reads; other keys of a run are accepted and have no effect. */
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
                                   "zo_direction",
                                   "adapter",
                                   "lora_r",
                                   "lora_alpha",
                                   "use_rslora",
                                   "lora_target_modules",
                                   "layers_to_transform",
                                   "rank_pattern",
                                   "alpha_pattern",
                                   "init_lora_weights",
                                   "eva_batches",
                                   "lora_train",
                                   "zo_directions",
                                   "zo_optimizer",
                                   "zo_method",
                                   "zo_form",
                                   "zo_difference",
                                   "zo_rank",
                                   "zo_refresh",
                                   "zo_keep",
                                   "zo_curvature",
                                   "zo_cone",
                                   "zo_trust",
                                   "zo_window",
                                   "zo_clip",
                                   "zo_anchor_batches",
                                   "zo_streams"};

int zf_bench_uses(const char *key) {
  for (size_t i = 0; i < sizeof used / sizeof *used; i++)
    if (!strcmp(used[i], key)) return 1;
  return 0;
}

const struct zf_conf_key *zf_bench_keys(void) {
  static struct zf_conf_key keys[MAXKEYS];
  int count = 0;
  for (const struct zf_conf_key *key = zf_train_keys; key->name; key++) {
    assert(count < MAXKEYS - 2);
    struct zf_conf_key *copy = &keys[count++];
    *copy = *key;
    copy->required = !strcmp(key->name, "base_model");
    if (!strcmp(key->name, "learning_rate"))
      copy->default_text = "1e-9"; /* it does not affect the time */
    if (!strcmp(key->name, "objective")) {
      copy->default_text = "lm";
      copy->help =
          "random data: lm: loss on all tokens; options: two options of one token; data of a "
          "config: its objective";
      copy->choices = "lm|options|" ZF_OBJECTIVE_WORDS;
    }
    if (!strcmp(key->name, "method")) copy->choices = ZF_METHOD_WORDS "|inference";
  }
  keys[count] = (struct zf_conf_key){0};
  return keys;
}

/* --- random tokens --- */

static int make_arrays(struct zf_dataset *dataset, int64_t count, int64_t nseq, int64_t tokens) {
  dataset->example = zf_calloc(count, sizeof *dataset->example);
  dataset->seq = zf_calloc(nseq, sizeof *dataset->seq);
  dataset->pool.id = zf_calloc(tokens, sizeof *dataset->pool.id);
  if (!dataset->example || !dataset->seq || !dataset->pool.id) return ZF_ENOMEM;
  dataset->count = dataset->cap = count;
  dataset->nseq = dataset->seqcap = nseq;
  dataset->pool.count = dataset->pool.cap = tokens;
  return 0;
}

/* Each example runs `len` tokens.  A text has one more token, which is predicted.  A prompt has two
 * sequences, whose options have the same ids in all examples. */
static int random_set(struct zf_dataset **out, enum zf_bench_objective objective, int64_t count,
                      int64_t len, int64_t vocab, uint64_t seed) {
  int options = objective == ZF_BENCH_OPTIONS;
  int64_t nseq = options ? OPTIONS : 1, seq_len = len + 1;
  int rc = zf_dataset_new(out, options ? ZF_TASK_CLASSIFICATION : ZF_TASK_TEXT);
  if (!rc) rc = make_arrays(*out, count, count * nseq, count * nseq * seq_len);
  if (rc) return rc;
  struct zf_dataset *dataset = *out;
  struct zf_noise key = {.seed = seed, .use = ZF_USE_SAMPLE};
  zf_noise_words((uint32_t *)dataset->pool.id, &key, 0, dataset->pool.count);
  for (int64_t i = 0; i < dataset->pool.count; i++)
    dataset->pool.id[i] = (int32_t)((uint32_t)dataset->pool.id[i] % (uint64_t)vocab);
  for (int64_t i = 0; i < dataset->nseq; i++)
    dataset->seq[i] = (struct zf_seq){i * seq_len, (int32_t)seq_len, options ? (int32_t)len : 1};
  for (int64_t i = 0; i < count; i++) {
    int32_t *id = dataset->pool.id + i * nseq * seq_len;
    struct zf_example *example = &dataset->example[i];
    *example = (struct zf_example){.seq = i * nseq, .nseq = (int32_t)nseq, .label = -1};
    if (!options) continue;
    example->label = (int32_t)(i % OPTIONS);
    example->shared = (int32_t)len;
    example->single = 1;
    memcpy(id + seq_len, id, (size_t)len * sizeof *id);
    for (int64_t j = 0; j < OPTIONS; j++) id[j * seq_len + len] = (int32_t)(j % vocab);
  }
  return 0;
}

/* A zf_run_maker. */
static int make_data(void *ctx, struct zf_run_data *data, const struct zf_settings *settings,
                     const struct zf_config *config) {
  const enum zf_bench_objective *objective = ctx;
  int64_t len = settings->sequence_len;
  if (!len) len = config->context < DEFAULT_LEN ? config->context : DEFAULT_LEN;
  if (len > config->context)
    return zf_error(ZF_EUSAGE, "sequence_len %lld is longer than the model's context of %lld",
                    (long long)len, (long long)config->context);
  int64_t count = settings->micro_batch * settings->accumulation;
  int rc = random_set(&data->train, *objective, count, len, config->vocab, settings->seed);
  if (rc) return rc;
  return zf_order_new(&data->order, count, settings->seed);
}

/* The objective of random data. */
static int objective_of(enum zf_bench_objective *objective, const struct zf_conf *conf) {
  const char *word = zf_conf_str(conf, "objective");
  *objective = strcmp(word, "options") ? ZF_BENCH_LM : ZF_BENCH_OPTIONS;
  if (!zf_objective_find(word)) return 0;
  return zf_conf_error(conf, "objective",
                       "objective %s needs data: random tokens have lm or options", word);
}

int zf_bench_open_shapes(struct zf_run **out, const struct zf_conf *conf) {
  enum zf_bench_objective objective = ZF_BENCH_LM;
  int made = !zf_conf_maps(conf, "datasets");
  int rc = made ? objective_of(&objective, conf) : 0;
  *out = NULL;
  return rc ? rc : zf_run_open_shapes(out, conf, made ? make_data : NULL, &objective);
}

int zf_bench_open(struct zf_run **out, const struct zf_conf *conf) {
  enum zf_bench_objective objective;
  int rc = objective_of(&objective, conf);
  *out = NULL;
  return rc ? rc : zf_run_open_made(out, conf, make_data, &objective);
}

/* --- parts --- */

enum bench_part { STEP, UPDATE, NOISE, FORWARD, BODY, RATIO, PARTS };

struct step_bench {
  struct zf_run *run;
  struct zf_batch batch; /* the first micro-batch, without output rows */
  int64_t step;
  double *seconds[PARTS]; /* [turns] of each part */
  int (*stopped)(void *ctx);
  void *ctx;
};

static int make_batch(struct zf_batch *batch, const struct zf_run *run) {
  const struct zf_dataset *dataset = run->data.train;
  int64_t count = run->settings.micro_batch, len = zf_example_tokens(dataset, 0);
  batch->T = count * len;
  batch->segment_count = count;
  batch->id = zf_calloc(batch->T, sizeof *batch->id);
  batch->pos = zf_calloc(batch->T, sizeof *batch->pos);
  batch->segment = zf_calloc(count, sizeof *batch->segment);
  if (!batch->id || !batch->pos || !batch->segment) return ZF_ENOMEM;
  for (int64_t i = 0; i < count; i++) {
    batch->segment[i] = (struct zf_segment){.start = i * len, .len = len};
    memcpy(batch->id + i * len, dataset->pool.id + dataset->seq[dataset->example[i].seq].at,
           (size_t)len * sizeof *batch->id);
    for (int64_t j = 0; j < len; j++) batch->pos[i * len + j] = (int32_t)j;
  }
  return 0;
}

static int run_step(struct step_bench *bench, int64_t turn) {
  double start = zf_now();
  int rc = zf_run_estimate(bench->run, ++bench->step, bench->run->settings.lr);
  double middle = zf_now();
  if (rc) return rc;
  zf_run_update(bench->run, bench->step, bench->run->settings.lr);
  double end = zf_now();
  bench->seconds[STEP][turn] = end - start;
  bench->seconds[UPDATE][turn] = end - middle;
  return 0;
}

static int run_forward(struct step_bench *bench, double *seconds) {
  struct zf_perturb none = zf_perturb_none();
  double loss, start = zf_now();
  int rc = zf_run_batch_loss(bench->run, bench->step * bench->run->batch, &none, &loss);
  *seconds = zf_now() - start;
  return rc;
}

static int run_body(struct step_bench *bench, int64_t turn) {
  struct zf_perturb none = zf_perturb_none();
  double start = zf_now();
  for (int64_t i = 0; i < bench->run->settings.accumulation; i++) {
    int rc = zf_forward_run(bench->run->forward, &bench->batch, &none);
    if (rc) return rc;
  }
  bench->seconds[BODY][turn] = zf_now() - start;
  return 0;
}

static void run_noise(struct step_bench *bench, int64_t turn) {
  const struct zf_zo *zo = &bench->run->settings.zo;
  int64_t total = zf_params_count(&bench->run->model->params, 1) *
                  bench->run->settings.accumulation * zo->probes;
  struct zf_noise key = zf_perturb_spsa(zo->seed, 1, 0, zo->direction, 0).direction;
  int threads = zf_kern_nthreads();
  double start = zf_now();
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t i = 0; i < total; i += CHUNK) {
    float z[CHUNK];
    zf_noise_fill(z, &key, i, total - i < CHUNK ? total - i : CHUNK);
  }
  bench->seconds[NOISE][turn] = zf_now() - start;
}

static int check_stopped(const struct step_bench *bench) {
  if (!bench->stopped || !bench->stopped(bench->ctx)) return 0;
  return zf_error(ZF_ESTOPPED, "interrupted");
}

/* A step between two forwards, so that a machine that becomes slower or faster affects both. */
static int one_turn(struct step_bench *bench, int64_t turn, struct zf_bench *out) {
  double before, after, peak = zf_peak(bench->run->settings.compute, PEAK_SECONDS);
  int rc;
  if (peak > out->peak) out->peak = peak;
  if ((rc = check_stopped(bench))) return rc;
  if ((rc = run_forward(bench, &before))) return rc;
  if ((rc = check_stopped(bench))) return rc;
  if ((rc = run_step(bench, turn))) return rc;
  if ((rc = check_stopped(bench))) return rc;
  if ((rc = run_forward(bench, &after))) return rc;
  if ((rc = run_body(bench, turn))) return rc;
  run_noise(bench, turn);
  bench->seconds[FORWARD][turn] = 0.5 * (before + after);
  bench->seconds[RATIO][turn] =
      bench->seconds[STEP][turn] /
      (0.5 * (double)zf_zo_losses(&bench->run->settings.zo) * (before + after));
  return 0;
}

static int take_turns(struct step_bench *bench, int64_t turns, struct zf_bench *out) {
  int rc = one_turn(bench, 0, out); /* warms up pages, caches and threads */
  if (rc) return rc;
  for (int64_t i = 0; i < turns; i++)
    if ((rc = one_turn(bench, i, out))) return rc;
  return 0;
}

/* --- sums --- */

static int by_size(const void *left, const void *right) {
  double x = *(const double *)left, y = *(const double *)right;
  return (x > y) - (x < y);
}

static double median(double *value, int64_t count) {
  qsort(value, (size_t)count, sizeof *value, by_size);
  return count % 2 ? value[count / 2] : 0.5 * (value[count / 2 - 1] + value[count / 2]);
}

/* Counts two operations a multiply-add; in the head only the rows and columns that the loss reads. */
static void count_work(struct zf_bench *out, const struct zf_run *run) {
  const struct zf_dataset *dataset = run->data.train;
  const struct zf_plan *plan = &run->model->plan;
  int64_t rows = 0, columns = run->model->config.vocab;
  out->objective = dataset->type == ZF_TASK_TEXT ? ZF_BENCH_LM : ZF_BENCH_OPTIONS;
  if (out->objective == ZF_BENCH_OPTIONS) columns = OPTIONS;
  out->tokens = 0;
  for (int64_t i = 0; i < dataset->count; i++) {
    out->tokens += zf_example_tokens(dataset, i);
    rows += zf_example_rows(dataset, i);
  }
  out->passes = zf_zo_losses(&run->settings.zo);
  out->forward_ops = 2 * zf_plan_macs(plan, out->tokens, rows, columns);
  out->body_ops = 2 * zf_plan_macs(plan, out->tokens, 0, columns);
  out->step_ops = (double)out->passes * out->forward_ops;
}

static void reduce(struct zf_bench *out, struct step_bench *bench, int64_t turns) {
  out->step = median(bench->seconds[STEP], turns);
  out->update = median(bench->seconds[UPDATE], turns);
  out->noise = median(bench->seconds[NOISE], turns);
  out->forward = median(bench->seconds[FORWARD], turns);
  out->body = median(bench->seconds[BODY], turns);
  out->ratio = median(bench->seconds[RATIO], turns);
  out->other = out->step - (double)out->passes * out->forward - out->noise - out->update;
}

int zf_bench_step(struct zf_bench *out, struct zf_run *run, int64_t turns,
                  int (*stopped)(void *ctx), void *ctx) {
  struct step_bench bench = {.run = run, .stopped = stopped, .ctx = ctx};
  double *seconds = zf_calloc(PARTS * turns, sizeof *seconds);
  memset(out, 0, sizeof *out);
  if (!seconds) return ZF_ENOMEM;
  for (int i = 0; i < PARTS; i++) bench.seconds[i] = seconds + i * turns;
  int rc = make_batch(&bench.batch, run);
  if (!rc) rc = take_turns(&bench, turns, out);
  if (!rc) {
    count_work(out, run);
    reduce(out, &bench, turns);
  }
  free(bench.batch.id);
  free(bench.batch.pos);
  free(bench.batch.segment);
  free(seconds);
  return rc;
}
