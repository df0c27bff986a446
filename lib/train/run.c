#include "train/run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "base/err.h"
#include "model/gguf_result.h"
#include "peft/adapter.h"
#include "train/backprop.h"
#include "train/probe.h"
#include "train/run_internal.h"

/* The source of a run's data: files, or a function. */
struct run_source {
  unsigned want;
  zf_run_maker make; /* NULL: files */
  void *ctx;
  int shapes;                             /* no weights, no memory for passes */
  const struct zf_run_progress *progress; /* NULL: none */
};

static int open_data(struct zf_run *run, const char *dir, const struct zf_config *config,
                     const struct run_source *from) {
  if (from->make) return from->make(from->ctx, &run->data, &run->settings, config);
  int rc = zf_tok_open(&run->tok, dir);
  if (!rc && run->settings.train[0].spec.type == ZF_TASK_CHAT)
    rc = zf_chat_open(&run->settings.chat, dir, zf_tok_special_texts(run->tok),
                      run->settings.chat_template);
  run->settings.vocab = config->vocab;
  if (!rc) rc = zf_run_data_open(&run->data, &run->settings, run->tok, config->context, from->want);
  return rc;
}

/* The problem of a head of labels: the run's setting, else the model's. */
static enum zf_problem problem_of(const struct zf_data_spec *spec, const struct zf_config *config) {
  if (spec->problem_given) return spec->problem;
  return config->classify ? config->problem : ZF_PROBLEM_SINGLE;
}

/* Resolves the problem and the number of labels of type labels. */
static int resolve_labels(struct zf_run *run, const struct zf_config *config) {
  struct zf_settings *settings = &run->settings;
  struct zf_data_file *set[] = {settings->train, settings->val, settings->test};
  int64_t count[] = {settings->ntrain, settings->nval, settings->ntest};
  if (!settings->ntrain || settings->train[0].spec.type != ZF_TASK_LABELS) return 0;
  const struct zf_data_spec *first = &settings->train[0].spec;
  enum zf_problem problem = problem_of(first, config);
  int64_t options = first->options ? first->noptions : 0;
  if (!options) options = config->classify ? config->outputs : problem == ZF_PROBLEM_REGRESSION;
  if (!options)
    return zf_error(ZF_EUSAGE, "%s: a new head of labels needs 'options': a name for each label",
                    settings->base_model);
  int suits[ZF_PROBLEMS] = {1, settings->best != ZF_BEST_ACCURACY, settings->best <= ZF_BEST_LOSS};
  if (!suits[problem])
    return zf_error(ZF_EUSAGE, "metric_for_best_model: %s has %s", zf_problem_names[problem],
                    problem == ZF_PROBLEM_MULTI ? "only f1 and loss" : "only loss");
  for (int i = 0; i < 3; i++)
    for (int64_t j = 0; j < count[i]; j++) {
      set[i][j].spec.problem = problem;
      if (!set[i][j].spec.options) set[i][j].spec.noptions = options;
    }
  return 0;
}

static struct zf_model_opts model_opts(const struct zf_run *run, const struct run_source *from,
                                       int train) {
  const struct zf_settings *settings = &run->settings;
  struct zf_model_opts opts = {.dtype = settings->dtype,
                               .trained = (enum zf_dtype)settings->trained_dtype,
                               .trainable = train ? settings->trainable : NULL,
                               .ntrainable = train ? settings->ntrainable : 0,
                               .blocks = settings->method == ZF_METHOD_MEZO ? settings->blocks
                                                                            : ZF_BLOCKS_FROZEN,
                               .shapes = from->shapes};
  if (settings->ntrain && settings->train[0].spec.type == ZF_TASK_LABELS && run->data.train) {
    opts.labels = settings->train[0].spec.noptions;
    opts.problem = settings->train[0].spec.problem;
    opts.head_seed = settings->zo.seed;
  }
  return opts;
}

/* Only zeroth-order steps train a GGUF file itself. */
static int check_file(const struct zf_run *run, const char *dir) {
  const struct zf_settings *settings = &run->settings;
  int gguf = zf_is_gguf_path(dir) && !zf_is_dir(dir), adapts = settings->adapter.word != NULL;
  if (settings->blocks_given && (!gguf || adapts))
    return zf_conf_error(run->conf, "train_blocks", "'train_blocks' has no effect: %s",
                         adapts ? "an adapter is trained" : "base_model is no GGUF file");
  if (adapts || !gguf) return 0;
  if (settings->method != ZF_METHOD_MEZO) return zf_model_trainable(dir);
  const char *saved = zf_conf_str(run->conf, "save_dtype");
  if (saved && strcmp(saved, "auto") != 0)
    return zf_conf_error(run->conf, "save_dtype",
                         "'save_dtype' has no effect: the tensors of a GGUF file keep their types");
  return 0;
}

/* Scores do without the teacher; forecasts only check it. */
static int open_teacher(struct zf_run *run, const struct run_source *from,
                        const struct zf_config *config, const char *dir) {
  const struct zf_objective_kind *kind = run->settings.objective.kind;
  if (!kind || !(kind->needs & ZF_NEEDS_TEACHER) || !(from->want & ZF_WANT_TRAIN)) return 0;
  if (from->shapes || (from->want & ZF_WANT_UNTAUGHT))
    return zf_run_check_teacher(run, config, dir);
  return zf_run_open_teacher(run, config, dir, (from->want & ZF_WANT_RESUMED) != 0, from->progress);
}

/* Opens data and model of the directory `dir`. */
static int open_parts(struct zf_run *run, const char *dir, const struct run_source *from) {
  struct zf_config config;
  int rc, train = (from->want & ZF_WANT_TRAIN) && zf_method_info(run->settings.method)->trains;
  int adapts = run->settings.adapter.word != NULL;
  if (train && (rc = check_file(run, dir))) return rc;
  if ((rc = zf_config_load(&config, dir))) return rc;
  if ((rc = resolve_labels(run, &config))) return rc;
  if ((rc = open_data(run, dir, &config, from))) return rc;
  if ((rc = open_teacher(run, from, &config, dir))) return rc;
  zf_trim_heap(); /* the forecast does not count the files' rows, which are freed */
  run->forecast.resident_before = zf_rss();
  struct zf_model_opts opts = model_opts(run, from, train && !adapts);
  if (!opts.labels && run->over && (rc = zf_adapter_labels(&opts.labels, run->over))) return rc;
  if (!from->make && (rc = zf_sidecars_hash(run->files_hash, dir))) return rc;
  if ((rc = zf_model_open(&run->model, dir, &opts))) return rc;
  if (run->over && (rc = zf_adapter_use(run->model, run->over, &run->adapter))) return rc;
  /* The result has the template of the training data, also where the base model has another. */
  if (!run->settings.chat || !run->settings.chat_template || from->shapes) return 0;
  return zf_sidecars_set(&run->model->sidecars, "chat_template.jinja",
                         zf_chat_text(run->settings.chat));
}

/* base_model may be an adapter, which names its own base. */
static int open_model(struct zf_run *run, const struct run_source *from) {
  char *dir = NULL;
  const char *name = run->settings.base_model;
  if (zf_adapter_probe(name)) run->over = name;
  int rc = run->over ? zf_adapter_base(&dir, name) : zf_model_find(&dir, name);
  if (!rc) rc = open_parts(run, dir, from);
  free(dir);
  return rc;
}

/* --- sizes of the run's batches --- */

enum { MAX_EXAMPLES = 1 << 22 }; /* the forecast of a run with more examples is its bound */

static struct zf_batch_load load_of(struct zf_run *run, int64_t place) {
  struct zf_batch_load sum = {0};
  for (int64_t i = 0; i < run->settings.micro_batch; i++)
    zf_batch_load_add(&sum, run->data.train, zf_order_at(&run->data.order, place + i));
  return sum;
}

/* Finds the largest micro-batch.  Lengths and order are known before the first step, except those of
 * a stream. */
static void find_load(struct zf_run *run) {
  struct zf_batch_load max = {0};
  int64_t places = run->steps * run->batch;
  if (!run->data.train || run->data.train->stream || run->steps > MAX_EXAMPLES / run->batch) return;
  for (int64_t place = 0; place < places; place += run->settings.micro_batch) {
    struct zf_batch_load load = load_of(run, place);
    if (load.tokens > max.tokens) run->largest_steps[0] = place / run->batch + 1;
    if (load.rows > max.rows) run->largest_steps[1] = place / run->batch + 1;
    max = zf_batch_load_max(max, load);
  }
  run->load = max;
}

/* Limits of a method's passes: its batches (`known`; NULL: any examples together), and single
 * examples of the other sets. */
static struct zf_limits limits_of(const struct zf_run *run, enum zf_method method,
                                  const struct zf_batch_load *known) {
  const struct zf_dataset *set[] = {run->data.train, run->data.dev, run->data.test};
  int streams =
      method == ZF_METHOD_MEZO ? zf_zo_streams(&run->settings.zo) : zf_method_info(method)->streams;
  if (!run->data.train) { /* only evaluation: micro_batch examples of one set, one stream */
    set[0] = run->data.test ? run->data.test : run->data.dev;
    set[2] = run->data.dev;
    set[1] = NULL;
    streams = 1;
  }
  struct zf_limits limits = known && known->tokens
                                ? zf_score_limits_known(set, 3, known, streams)
                                : zf_score_limits(set, 3, run->settings.micro_batch, streams);
  limits.compute = run->settings.compute;
  if (zf_method_info(method)->rule >= 0 && method != run->settings.method &&
      limits.compute == ZF_COMPUTE_INT8)
    limits.compute = ZF_COMPUTE_BF16; /* backpropagation has no int8 */
  if (run->data.train) zf_forecast_limits(&limits, run->model, method);
  return limits;
}

static int forecast_for(struct zf_forecast *forecast, const struct zf_run *run,
                        enum zf_method method, int checkpoint, const struct zf_batch_load *known) {
  struct zf_limits limits = limits_of(run, method, known);
  int scores = !run->data.train || run->data.dev || run->data.test ||
               zf_task_has_options(run->data.train->type);
  int rc = zf_forecast_make(forecast, run->model, &limits, method, checkpoint, scores,
                            run->forecast.resident_before);
  if (!rc && method == ZF_METHOD_PROBE) {
    forecast->activations += zf_probe_bytes(run);
    forecast->total += zf_probe_bytes(run);
  }
  const struct zf_objective_kind *kind = run->settings.objective.kind;
  if (!rc && (method == ZF_METHOD_MEZO || !run->data.train || (kind && kind->slope))) {
    forecast->activations += zf_run_objective_bytes(run);
    forecast->total += zf_run_objective_bytes(run);
  }
  if (rc || method != ZF_METHOD_MEZO) return rc;
  forecast->optimizer = zf_zo_bytes(&run->model->params, &run->settings.zo);
  forecast->total += forecast->optimizer;
  return 0;
}

int zf_run_forecast(struct zf_forecast *forecast, const struct zf_run *run, enum zf_method method,
                    int checkpoint) {
  struct zf_forecast bound;
  if (zf_method_info(method)->rule >= 0 && zf_gguf_is_trained(run->model))
    return zf_model_trainable(run->model->dir);
  int rc = forecast_for(&bound, run, method, checkpoint, NULL);
  if (rc) return rc;
  if ((rc = forecast_for(forecast, run, method, checkpoint, &run->load))) return rc;
  forecast->bound = bound.total;
  return 0;
}

static int make_forecast(struct zf_run *run) {
  enum zf_method method = run->data.train ? run->settings.method : ZF_METHOD_INFERENCE;
  int rc = zf_run_forecast(&run->forecast, run, method, run->settings.first.checkpoint);
  /* Reading the data may have taken more memory than the run will. */
  if (run->forecast.total < zf_peak_rss()) run->forecast.total = zf_peak_rss();
  if (run->forecast.bound < run->forecast.total) run->forecast.bound = run->forecast.total;
  return rc;
}

static int check_memory(const struct zf_run *run) {
  char limit[32], total[32];
  if (!run->settings.memory_limit || run->forecast.total <= run->settings.memory_limit) return 0;
  return zf_error(ZF_EMEMLIMIT,
                  "memory_limit is %s and the run is forecast to need %s: a smaller "
                  "micro_batch_size or sequence_len needs less",
                  zf_human_bytes(limit, (double)run->settings.memory_limit),
                  zf_human_bytes(total, (double)run->forecast.total));
}

int64_t zf_run_steps(const struct zf_run *run, enum zf_method method) {
  const struct zf_settings *settings = &run->settings;
  int probe = method == ZF_METHOD_PROBE;
  if ((settings->max_steps && !probe) || !run->data.train) return settings->max_steps;
  double epochs = probe ? 1 : settings->epochs;
  int64_t steps =
      (int64_t)ceil(epochs * (double)zf_dataset_size(run->data.train) / (double)run->batch);
  return steps < 1 ? 1 : steps;
}

static void count_steps(struct zf_run *run) {
  run->batch = run->settings.micro_batch * run->settings.accumulation;
  run->steps = zf_run_steps(run, run->settings.method);
}

/* What a zeroth-order method needs to know before passes are laid out. */
static int prepare_zo(struct zf_run *run) {
  struct zf_zo *zo = &run->settings.zo;
  if (run->settings.adapter.by_example) zo->examples = run->batch;
  int rc = zf_zo_check(zo);
  if (rc) return rc;
  if (zo->examples && zo->examples != run->batch)
    return zf_error(ZF_EUSAGE, "directions by example: %lld are set for batches of %lld examples",
                    (long long)zo->examples, (long long)run->batch);
  return zf_zo_prepare(&run->model->params, zo);
}

/* Everything that a forecast needs. */
static int open_shapes(struct zf_run *run, const struct run_source *from) {
  int rc = from->make ? zf_settings_fill_step(&run->settings, run->conf)
                      : zf_settings_fill(&run->settings, run->conf);
  if (rc) return rc;
  if (from->want & ZF_WANT_UNLABELLED)
    for (int64_t i = 0; i < run->settings.ntest; i++) run->settings.test[i].spec.unlabelled = 1;
  zf_kern_threads(run->settings.threads ? run->settings.threads : zf_cpu_cores());
  if ((rc = open_model(run, from))) return rc;
  if (run->settings.objective.kind &&
      (rc = zf_objective_check(&run->settings.objective, &run->settings.train[0].spec)))
    return rc;
  count_steps(run);
  int train = (from->want & ZF_WANT_TRAIN) && zf_method_info(run->settings.method)->trains;
  if ((rc = zf_run_open_adapter(run, train, (from->want & ZF_WANT_RESUMED) != 0, from->shapes)))
    return rc;
  if (train && run->settings.method == ZF_METHOD_MEZO && (rc = prepare_zo(run))) return rc;
  const struct zf_dataset *set[] = {run->data.train, run->data.dev, run->data.test};
  for (int i = 0; i < 3; i++)
    if (set[i] && (rc = zf_score_check(run->model, set[i]))) return rc;
  if (train && run->settings.method == ZF_METHOD_PROBE && (rc = zf_probe_check(run))) return rc;
  find_load(run);
  run->limits = limits_of(run, run->settings.method, &run->load);
  return make_forecast(run);
}

/* The memory of zeroth-order steps. */
static int open_zo(struct zf_run *run) {
  const struct zf_zo *zo = &run->settings.zo;
  if (run->settings.method != ZF_METHOD_MEZO) return 0;
  run->estimate.loss = zf_calloc(zf_zo_losses(zo), sizeof *run->estimate.loss);
  run->estimate.term = zf_calloc(zf_zo_terms(zo), sizeof *run->estimate.term);
  run->example = zf_calloc(zo->examples ? ZF_MAXSTREAM * run->batch : 1, sizeof *run->example);
  if (!run->estimate.loss || !run->estimate.term || !run->example) return ZF_ENOMEM;
  return zf_zo_open(&run->model->params, zo);
}

/* The memory of passes. */
static int open_passes(struct zf_run *run, const struct run_source *from) {
  int rc;
  if ((rc = check_memory(run))) return rc;
  if ((rc = zf_forward_new(&run->forward, run->model, &run->limits))) return rc;
  if ((rc = zf_scorer_new(&run->scorer, run->forward, &run->limits))) return rc;
  if (!from->make && (rc = zf_model_base_hash(run->model, run->base_hash))) return rc;
  if (!from->make && (rc = zf_model_hash(run->model, run->start_hash))) return rc;
  run->index = zf_calloc(run->settings.micro_batch, sizeof *run->index);
  run->score = zf_calloc(ZF_MAXSTREAM * run->settings.micro_batch, sizeof *run->score);
  if (!run->index || !run->score) return ZF_ENOMEM;
  if ((rc = zf_run_open_objective(run))) return rc;
  if (!run->data.train) return 0;
  if (zf_method_info(run->settings.method)->rule < 0) return open_zo(run);
  return zf_backprop_new(&run->backprop, run);
}

static int open_run(struct zf_run **out, const struct zf_conf *conf,
                    const struct run_source *from) {
  *out = NULL;
  struct zf_run *run = zf_calloc(1, sizeof *run);
  if (!run) return ZF_ENOMEM;
  run->conf = conf;
  int rc = open_shapes(run, from);
  if (!rc && !from->shapes) rc = open_passes(run, from);
  if (rc)
    zf_run_free(run);
  else
    *out = run;
  return rc;
}

int zf_run_open(struct zf_run **out, const struct zf_conf *conf, unsigned want) {
  return zf_run_open_watched(out, conf, want, NULL);
}

int zf_run_open_watched(struct zf_run **out, const struct zf_conf *conf, unsigned want,
                        const struct zf_run_progress *progress) {
  return open_run(out, conf, &(struct run_source){.want = want, .progress = progress});
}

int zf_run_open_made(struct zf_run **out, const struct zf_conf *conf, zf_run_maker make,
                     void *ctx) {
  return open_run(out, conf, &(struct run_source){.want = ZF_WANT_TRAIN, .make = make, .ctx = ctx});
}

int zf_run_open_shapes(struct zf_run **out, const struct zf_conf *conf, zf_run_maker make,
                       void *ctx) {
  unsigned want = make ? ZF_WANT_TRAIN : ZF_WANT_TRAIN | ZF_WANT_DEV | ZF_WANT_TEST;
  return open_run(out, conf,
                  &(struct run_source){.want = want, .make = make, .ctx = ctx, .shapes = 1});
}

void zf_run_free(struct zf_run *run) {
  if (!run) return;
  zf_backprop_free(run->backprop);
  zf_run_close_objective(run);
  zf_run_close_teacher(run);
  free(run->estimate.loss);
  free(run->estimate.term);
  free(run->example);
  free(run->score);
  free(run->index);
  zf_scorer_free(run->scorer);
  zf_forward_free(run->forward);
  if (run->model) zf_zo_close(&run->model->params);
  zf_model_free(run->model);
  zf_run_data_free(&run->data);
  zf_tok_free(run->tok);
  zf_settings_free(&run->settings);
  free(run);
}

double zf_lr_at(const struct zf_settings *settings, int64_t step, int64_t steps) {
  const double pi = 3.14159265358979323846;
  int64_t warmup =
      settings->warmup ? settings->warmup : (int64_t)(settings->warmup_ratio * (double)steps);
  if (step <= warmup) return settings->lr * (double)step / (double)(warmup + 1);
  double done = steps > warmup ? (double)(step - 1 - warmup) / (double)(steps - warmup) : 0;
  if (settings->schedule == ZF_LR_LINEAR) return settings->lr * (1 - done);
  if (settings->schedule == ZF_LR_COSINE) return settings->lr * 0.5 * (1 + cos(pi * done));
  return settings->lr;
}

/* Sums over the micro-batches of a batch. */
struct batch_sums {
  double loss[ZF_MAXSTREAM], weight;
  double value[ZF_MAXSTREAM]; /* of the objective, whose weights are 1 */
  int64_t examples;
};

/* Adds the values of the objective, in the same order. */
static int add_values(struct batch_sums *sums, struct zf_run *run, int64_t count,
                      const struct zf_perturb *perturb) {
  int rc = run->objective ? zf_run_objective_values(run, count, perturb) : 0;
  for (int i = 0; i < (run->objective && !rc ? perturb->streams.count : 0); i++)
    for (int64_t j = 0; j < count; j++) {
      double value = run->value[i * count + j];
      sums->value[i] += value;
      if (perturb->by_example) run->example_value[i * run->batch + sums->examples + j] = value;
    }
  return rc;
}

static void add_losses(struct batch_sums *sums, struct zf_run *run, int64_t count,
                       const struct zf_perturb *perturb) {
  const struct zf_score *score = run->score;
  for (int i = 0; i < perturb->streams.count; i++)
    for (int64_t j = 0; j < count; j++) {
      sums->loss[i] += score[i * count + j].loss;
      if (perturb->by_example)
        run->example[i * run->batch + sums->examples + j] = score[i * count + j].loss;
    }
  for (int64_t i = 0; i < count; i++) {
    sums->weight += (double)score[i].weight;
    run->tokens += perturb->streams.count * zf_example_tokens(run->data.train, run->index[i]);
  }
}

/* Adds the losses of a micro-batch example after example, so that the sum does not depend on the
 * split into micro-batches. */
static int add_micro_batch(struct batch_sums *sums, struct zf_run *run, int64_t place,
                           const struct zf_perturb *perturb) {
  struct zf_perturb placed = *perturb;
  int64_t count;
  int rc = zf_run_data_batch(&run->data, place, run->settings.micro_batch, run->index, &count);
  if (rc || !count) return rc;
  placed.first_example = sums->examples;
  if (zf_run_needs_scores(run)) {
    rc = zf_score_examples(run->scorer, run->data.train, run->index, count, 0, &placed, run->score);
    if (rc) return rc;
    add_losses(sums, run, count, perturb);
  }
  if ((rc = add_values(sums, run, count, &placed))) return rc;
  sums->examples += count;
  return 0;
}

/* The objective of a batch's sums: numbers per weight. */
static double reduce(const struct zf_run *run, double loss, double weight, double value,
                     int64_t examples) {
  double own = weight > 0 ? loss / weight : 0;
  if (!run->objective) return own;
  return zf_run_mix(run, examples ? value / (double)examples : 0, own);
}

/* Divides the losses of the examples by the batch's weight; examples that the batch lacks have 0. */
static void divide_examples(struct zf_run *run, const struct batch_sums *sums, int streams) {
  for (int i = 0; i < streams; i++)
    for (int64_t j = 0; j < run->batch; j++) {
      double *loss = &run->example[i * run->batch + j];
      double value = run->objective ? run->example_value[i * run->batch + j] : 0;
      *loss = j < sums->examples ? reduce(run, *loss, sums->weight, value, sums->examples) : 0;
    }
}

/* Mean loss over `micro_batches` of them. */
static int mean_loss(struct zf_run *run, int64_t place, int64_t micro_batches,
                     const struct zf_perturb *perturb, double *loss) {
  struct batch_sums sums = {{0}, 0, {0}, 0};
  int refused = zf_run_refer(run);
  if (refused) return refused;
  for (int64_t i = 0; i < micro_batches; i++) {
    int rc = add_micro_batch(&sums, run, place + i * run->settings.micro_batch, perturb);
    if (rc) return rc;
  }
  for (int i = 0; i < perturb->streams.count; i++)
    loss[i] = reduce(run, sums.loss[i], sums.weight, sums.value[i], sums.examples);
  if (perturb->by_example) divide_examples(run, &sums, perturb->streams.count);
  return 0;
}

int zf_run_batch_loss(struct zf_run *run, int64_t place, const struct zf_perturb *perturb,
                      double *loss) {
  return mean_loss(run, place, run->settings.accumulation, perturb, loss);
}

struct batch_place {
  struct zf_run *run;
  int64_t place;
};

/* A zf_zo_loss. */
static int batch_loss(void *ctx, const struct zf_perturb *perturb, int wide,
                      struct zf_zo_losses *losses) {
  const struct batch_place *batch = ctx;
  struct zf_run *run = batch->run;
  int64_t batches = wide ? run->settings.anchor_batches : 1;
  losses->example = run->example;
  run->passes += batches * perturb->streams.count;
  return mean_loss(run, batch->place, batches * run->settings.accumulation, perturb, losses->batch);
}

int zf_run_estimate(struct zf_run *run, int64_t step, double lr) {
  struct batch_place batch = {run, (step - 1) * run->batch};
  return zf_zo_estimate(&run->model->params, (uint32_t)step, lr, batch_loss, &batch,
                        &run->estimate);
}

void zf_run_update(struct zf_run *run, int64_t step, double lr) {
  struct zf_zo_step taken = {.step = (uint32_t)step,
                             .seed = run->settings.zo.seed,
                             .lr = lr,
                             .estimate = run->estimate,
                             .keep = 1};
  zf_zo_update(&run->model->params, &taken, run->settings.weight_decay);
}
