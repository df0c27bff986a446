#include "train/run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "base/err.h"
#include "train/backprop.h"

/* Where a run's data come from: files, or a maker. */
struct source {
  unsigned want;
  zf_run_maker make;
  void *ctx;
  int shapes; /* no weights, no memory for passes */
};

static int open_data(struct zf_run *run, const char *dir, const struct zf_config *config,
                     const struct source *from) {
  if (from->make) return from->make(from->ctx, &run->data, &run->set, config);
  int rc = zf_tok_open(&run->tok, dir);
  if (!rc && run->set.train[0].spec.type == ZF_TASK_CHAT)
    rc = zf_chat_open(&run->set.chat, dir, zf_tok_named(run->tok), run->set.chat_template);
  run->set.vocab = config->vocab;
  if (!rc) rc = zf_run_data_open(&run->data, &run->set, run->tok, config->context, from->want);
  return rc;
}

/* labels: what they mean and how many there are, by the config of the run or else of the model. */
static int decide_labels(struct zf_run *run, const struct zf_config *config) {
  struct zf_settings *settings = &run->set;
  struct zf_data_file *set[] = {settings->train, settings->val, settings->test};
  int64_t n[] = {settings->ntrain, settings->nval, settings->ntest};
  if (!settings->ntrain || settings->train[0].spec.type != ZF_TASK_LABELS) return 0;
  const struct zf_data_spec *first = &settings->train[0].spec;
  enum zf_problem problem = first->problem_given ? first->problem
                            : config->classify   ? config->problem
                                                 : ZF_PROBLEM_SINGLE;
  int64_t options = first->options ? first->noptions : 0;
  if (!options) options = config->classify ? config->outputs : problem == ZF_PROBLEM_REGRESSION;
  if (!options)
    return zf_error(ZF_EUSAGE, "%s: a new head of labels needs 'options': a name for each label",
                    settings->base_model);
  int known[ZF_PROBLEMS] = {1, settings->best != ZF_BEST_ACCURACY, settings->best <= ZF_BEST_LOSS};
  if (!known[problem])
    return zf_error(ZF_EUSAGE, "metric_for_best_model: %s has %s", zf_problem_names[problem],
                    problem == ZF_PROBLEM_MULTI ? "f1 and loss" : "loss alone");
  for (int k = 0; k < 3; k++)
    for (int64_t i = 0; i < n[k]; i++) {
      set[k][i].spec.problem = problem;
      if (!set[k][i].spec.options) set[k][i].spec.noptions = options;
    }
  return 0;
}

static int open_model(struct zf_run *run, const struct source *from) {
  char *dir = NULL;
  int rc = zf_model_find(&dir, run->set.base_model);
  struct zf_config config;
  int train = (from->want & ZF_WANT_TRAIN) && zf_method_info(run->set.method)->trains;
  if (!rc && train) rc = zf_model_trainable(dir);
  if (!rc) rc = zf_config_load(&config, dir);
  if (!rc) rc = decide_labels(run, &config);
  if (!rc) rc = open_data(run, dir, &config, from);
  zf_trim(); /* the files' rows are gone: nor shall they count */
  run->forecast.before = zf_rss();
  struct zf_model_opts opts = {.dtype = run->set.dtype,
                               .trained = (enum zf_dtype)run->set.trained_dtype,
                               .trainable = train ? run->set.trainable : NULL,
                               .ntrainable = train ? run->set.ntrainable : 0,
                               .shapes = from->shapes};
  if (run->set.ntrain && run->set.train[0].spec.type == ZF_TASK_LABELS && run->data.train) {
    opts.labels = run->set.train[0].spec.noptions;
    opts.problem = run->set.train[0].spec.problem;
    opts.head_seed = run->set.zo.seed;
  }
  if (!rc && !from->make) rc = zf_sidecars_hash(run->files_hash, dir);
  if (!rc) rc = zf_model_open(&run->model, dir, &opts);
  /* The template trained on is the result's, whatever the base has. */
  if (!rc && run->set.chat && run->set.chat_template && !from->shapes)
    rc = zf_sidecars_set(&run->model->sidecars, "chat_template.jinja", zf_chat_text(run->set.chat));
  free(dir);
  return rc;
}

/* --- what the run's batches need --- */

enum { PLACES = 1 << 22 }; /* examples that are looked at; a longer run is forecast by its bound */

static struct zf_batch_load load_of(struct zf_run *run, int64_t place) {
  struct zf_batch_load sum = {0};
  for (int64_t i = 0; i < run->set.micro_batch; i++)
    zf_batch_load_add(&sum, run->data.train, zf_order_at(&run->data.order, place + i));
  return sum;
}

/* Lengths and order are known before the first step, but of a stream. */
static void find_load(struct zf_run *run) {
  struct zf_batch_load most = {0};
  int64_t n = run->set.micro_batch;
  if (!run->data.train || run->data.train->stream || run->steps > PLACES / run->batch) return;
  for (int64_t place = 0; place < run->steps * run->batch; place += n) {
    struct zf_batch_load load = load_of(run, place);
    if (load.tokens > most.tokens) run->heaviest[0] = place / run->batch + 1;
    if (load.rows > most.rows) run->heaviest[1] = place / run->batch + 1;
    most = zf_batch_load_max(most, load);
  }
  run->load = most;
}

/* What passes of a method may get: its own batches (`known`, or NULL: any examples together), and
 * single examples of the other sets. */
static struct zf_limits limits_of(const struct zf_run *run, enum zf_method method,
                                  const struct zf_batch_load *known) {
  const struct zf_dataset *set[] = {run->data.train, run->data.dev, run->data.test};
  int streams = zf_method_info(method)->streams;
  if (!run->data
           .train) { /* evaluation alone: micro_batch examples of the largest set, one stream */
    set[0] = run->data.test ? run->data.test : run->data.dev;
    set[2] = run->data.dev;
    set[1] = NULL;
    streams = 1;
  }
  struct zf_limits lim = known && known->tokens
                             ? zf_score_limits_known(set, 3, known, streams)
                             : zf_score_limits(set, 3, run->set.micro_batch, streams);
  lim.compute = run->set.compute;
  if (zf_method_info(method)->rule >= 0 && method != run->set.method &&
      lim.compute == ZF_COMPUTE_INT8)
    lim.compute = ZF_COMPUTE_BF16; /* what it would compute in */
  if (run->data.train) zf_forecast_limits(&lim, run->model, method);
  return lim;
}

static int forecast(struct zf_forecast *out, const struct zf_run *run, enum zf_method method,
                    int checkpoint, const struct zf_batch_load *known) {
  struct zf_limits lim = limits_of(run, method, known);
  int scores =
      !run->data.train || run->data.dev || run->data.test || zf_task_chooses(run->data.train->type);
  return zf_forecast_make(out, run->model, &lim, method, checkpoint, scores, run->forecast.before);
}

int zf_run_forecast(struct zf_forecast *out, const struct zf_run *run, enum zf_method method,
                    int checkpoint) {
  struct zf_forecast most;
  int rc = forecast(&most, run, method, checkpoint, NULL);
  if (!rc) rc = forecast(out, run, method, checkpoint, &run->load);
  if (!rc) out->bound = most.total;
  return rc;
}

static int make_forecast(struct zf_run *run) {
  enum zf_method method = run->data.train ? run->set.method : ZF_METHOD_INFERENCE;
  int rc = zf_run_forecast(&run->forecast, run, method, run->set.first.checkpoint);
  if (run->forecast.total < zf_peak_rss())
    run->forecast.total = zf_peak_rss(); /* reading the data took more */
  if (run->forecast.bound < run->forecast.total) run->forecast.bound = run->forecast.total;
  return rc;
}

static int check_memory(const struct zf_run *run) {
  char want[32], have[32];
  if (!run->set.memory_limit || run->forecast.total <= run->set.memory_limit) return 0;
  return zf_error(ZF_EMEMLIMIT,
                  "memory_limit is %s and the run is forecast to need %s: a smaller "
                  "micro_batch_size or sequence_len needs less",
                  zf_human_bytes(have, (double)run->set.memory_limit),
                  zf_human_bytes(want, (double)run->forecast.total));
}

static void count_steps(struct zf_run *run) {
  const struct zf_settings *settings = &run->set;
  run->batch = settings->micro_batch * settings->accumulation;
  run->steps = settings->max_steps;
  if (run->steps || !run->data.train) return;
  run->steps = (int64_t)ceil(settings->epochs * (double)zf_dataset_size(run->data.train) /
                             (double)run->batch);
  if (run->steps < 1) run->steps = 1;
}

static int open_run(struct zf_run **out, const struct zf_conf *conf, const struct source *from) {
  *out = NULL;
  struct zf_run *run = zf_calloc(1, sizeof *run);
  if (!run) return ZF_ENOMEM;
  run->conf = conf;
  int rc = from->make ? zf_settings_fill_step(&run->set, conf) : zf_settings_fill(&run->set, conf);
  if (rc) goto fail;
  zf_kern_threads(run->set.threads ? run->set.threads : zf_cpu_cores());
  if ((rc = open_model(run, from))) goto fail;
  const struct zf_dataset *set[] = {run->data.train, run->data.dev, run->data.test};
  for (int i = 0; i < 3; i++)
    if (set[i] && (rc = zf_score_check(run->model, set[i]))) goto fail;
  count_steps(run);
  find_load(run);
  run->lim = limits_of(run, run->set.method, &run->load);
  if ((rc = make_forecast(run))) goto fail;
  if (from->shapes) {
    *out = run;
    return 0;
  }
  if ((rc = check_memory(run))) goto fail;
  if ((rc = zf_forward_new(&run->fwd, run->model, &run->lim))) goto fail;
  if ((rc = zf_scorer_new(&run->scorer, run->fwd, &run->lim))) goto fail;
  if (!from->make && (rc = zf_model_hash(run->model, run->base_hash))) goto fail;
  run->index = zf_calloc(run->set.micro_batch, sizeof *run->index);
  run->score = zf_calloc(ZF_MAXSTREAM * run->set.micro_batch, sizeof *run->score);
  rc = ZF_ENOMEM;
  if (!run->index || !run->score) goto fail;
  int back = run->data.train && zf_method_info(run->set.method)->rule >= 0;
  rc = back ? zf_backprop_new(&run->backprop, run) : 0;
  if (rc) goto fail;
  *out = run;
  return 0;
fail:
  zf_run_free(run);
  return rc;
}

int zf_run_open(struct zf_run **out, const struct zf_conf *conf, unsigned want) {
  return open_run(out, conf, &(struct source){.want = want});
}

int zf_run_open_made(struct zf_run **out, const struct zf_conf *conf, zf_run_maker make,
                     void *ctx) {
  return open_run(out, conf, &(struct source){ZF_WANT_TRAIN, make, ctx, 0});
}

int zf_run_open_shapes(struct zf_run **out, const struct zf_conf *conf, zf_run_maker make,
                       void *ctx) {
  unsigned want = make ? ZF_WANT_TRAIN : ZF_WANT_TRAIN | ZF_WANT_DEV | ZF_WANT_TEST;
  return open_run(out, conf, &(struct source){want, make, ctx, 1});
}

void zf_run_free(struct zf_run *run) {
  if (!run) return;
  zf_backprop_free(run->backprop);
  free(run->score);
  free(run->index);
  zf_scorer_free(run->scorer);
  zf_forward_free(run->fwd);
  zf_model_free(run->model);
  zf_run_data_free(&run->data);
  zf_tok_free(run->tok);
  zf_settings_free(&run->set);
  free(run);
}

double zf_lr_at(const struct zf_settings *settings, int64_t step, int64_t steps) {
  const double pi = 3.14159265358979323846;
  int64_t warm =
      settings->warmup ? settings->warmup : (int64_t)(settings->warmup_ratio * (double)steps);
  if (step <= warm) return settings->lr * (double)step / (double)(warm + 1);
  double done = steps > warm ? (double)(step - 1 - warm) / (double)(steps - warm) : 0;
  if (settings->schedule == ZF_LR_LINEAR) return settings->lr * (1 - done);
  if (settings->schedule == ZF_LR_COSINE) return settings->lr * 0.5 * (1 + cos(pi * done));
  return settings->lr;
}

int zf_run_batch_loss(struct zf_run *run, int64_t place, const struct zf_perturb *pt,
                      double *loss) {
  int64_t n = run->set.micro_batch, *index = run->index;
  struct zf_score *score = run->score;
  double sum[ZF_MAXSTREAM] = {0}, weight = 0;
  for (int64_t m = 0; m < run->set.accumulation; m++) {
    int64_t k;
    int rc = zf_run_data_batch(&run->data, place + m * n, n, index, &k);
    if (!rc && k) rc = zf_score_examples(run->scorer, run->data.train, index, k, 0, pt, score);
    if (rc) return rc;
    /* Example after example, so that the cut into micro-batches leaves no trace in the sum. */
    for (int s = 0; s < pt->st.count; s++)
      for (int64_t i = 0; i < k; i++) sum[s] += score[s * k + i].loss;
    for (int64_t i = 0; i < k; i++) weight += (double)score[i].weight;
  }
  for (int s = 0; s < pt->st.count; s++) loss[s] = weight > 0 ? sum[s] / weight : 0;
  return 0;
}

struct place {
  struct zf_run *run;
  int64_t first;
};

static int loss_at(void *ctx, const struct zf_perturb *pt, double *loss) {
  const struct place *place = ctx;
  return zf_run_batch_loss(place->run, place->first, pt, loss);
}

int zf_run_estimate(struct zf_run *run, int64_t step, struct zf_zo_probe *probe) {
  struct place place = {run, (step - 1) * run->batch};
  return zf_zo_estimate(probe, &run->set.zo, (uint32_t)step, loss_at, &place);
}

void zf_run_update(struct zf_run *run, int64_t step, const struct zf_zo_probe *probe, double lr) {
  zf_zo_update(&run->model->params, &run->set.zo, (uint32_t)step, probe, lr, run->set.weight_decay);
}
