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

static int open_data(struct zf_run *r, const char *dir, const struct zf_config *config,
                     const struct source *from) {
  if (from->make) return from->make(from->ctx, &r->data, &r->set, config);
  int rc = zf_tok_open(&r->tok, dir);
  if (!rc && r->set.train[0].spec.type == ZF_TASK_CHAT)
    rc = zf_chat_open(&r->set.chat, dir, zf_tok_named(r->tok), r->set.chat_template);
  r->set.vocab = config->vocab;
  if (!rc) rc = zf_run_data_open(&r->data, &r->set, r->tok, config->context, from->want);
  return rc;
}

/* labels: what they mean and how many there are, by the config of the run or else of the model. */
static int decide_labels(struct zf_run *r, const struct zf_config *config) {
  struct zf_settings *s = &r->set;
  struct zf_data_file *set[] = {s->train, s->val, s->test};
  int64_t n[] = {s->ntrain, s->nval, s->ntest};
  if (!s->ntrain || s->train[0].spec.type != ZF_TASK_LABELS) return 0;
  const struct zf_data_spec *first = &s->train[0].spec;
  enum zf_problem problem = first->problem_given ? first->problem
                            : config->classify   ? config->problem
                                                 : ZF_PROBLEM_SINGLE;
  int64_t options = first->options ? first->noptions : 0;
  if (!options) options = config->classify ? config->outputs : problem == ZF_PROBLEM_REGRESSION;
  if (!options)
    return zf_error(ZF_EUSAGE, "%s: a new head of labels needs 'options': a name for each label",
                    s->base_model);
  int known[ZF_PROBLEMS] = {1, s->best != ZF_BEST_ACCURACY, s->best <= ZF_BEST_LOSS};
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

static int open_model(struct zf_run *r, const struct source *from) {
  char *dir = NULL;
  int rc = zf_model_find(&dir, r->set.base_model);
  struct zf_config config;
  int train = (from->want & ZF_WANT_TRAIN) && zf_method_info(r->set.method)->trains;
  if (!rc && train) rc = zf_model_trainable(dir);
  if (!rc) rc = zf_config_load(&config, dir);
  if (!rc) rc = decide_labels(r, &config);
  if (!rc) rc = open_data(r, dir, &config, from);
  zf_trim(); /* the files' rows are gone: nor shall they count */
  r->forecast.before = zf_rss();
  struct zf_model_opts opts = {.dtype = r->set.dtype,
                               .trained = (enum zf_dtype)r->set.trained_dtype,
                               .trainable = train ? r->set.trainable : NULL,
                               .ntrainable = train ? r->set.ntrainable : 0,
                               .shapes = from->shapes};
  if (r->set.ntrain && r->set.train[0].spec.type == ZF_TASK_LABELS && r->data.train) {
    opts.labels = r->set.train[0].spec.noptions;
    opts.problem = r->set.train[0].spec.problem;
    opts.head_seed = r->set.zo.seed;
  }
  if (!rc && !from->make) rc = zf_sidecars_hash(r->files_hash, dir);
  if (!rc) rc = zf_model_open(&r->model, dir, &opts);
  /* The template trained on is the result's, whatever the base has. */
  if (!rc && r->set.chat && r->set.chat_template && !from->shapes)
    rc = zf_sidecars_set(&r->model->beside, "chat_template.jinja", zf_chat_text(r->set.chat));
  free(dir);
  return rc;
}

/* --- what the run's batches need --- */

enum { PLACES = 1 << 22 }; /* examples that are looked at; a longer run is forecast by its bound */

static struct zf_batch_load load_of(struct zf_run *r, int64_t place) {
  struct zf_batch_load sum = {0};
  for (int64_t i = 0; i < r->set.micro_batch; i++)
    zf_batch_load_add(&sum, r->data.train, zf_order_at(&r->data.order, place + i));
  return sum;
}

/* Lengths and order are known before the first step, but of a stream. */
static void find_load(struct zf_run *r) {
  struct zf_batch_load most = {0};
  int64_t n = r->set.micro_batch;
  if (!r->data.train || r->data.train->stream || r->steps > PLACES / r->batch) return;
  for (int64_t place = 0; place < r->steps * r->batch; place += n) {
    struct zf_batch_load c = load_of(r, place);
    if (c.tokens > most.tokens) r->heaviest[0] = place / r->batch + 1;
    if (c.rows > most.rows) r->heaviest[1] = place / r->batch + 1;
    most = zf_batch_load_max(most, c);
  }
  r->load = most;
}

/* What passes of a method may get: its own batches (`known`, or NULL: any examples together), and
 * single examples of the other sets. */
static struct zf_limits limits_of(const struct zf_run *r, enum zf_method method,
                                  const struct zf_batch_load *known) {
  const struct zf_dataset *set[] = {r->data.train, r->data.dev, r->data.test};
  int streams = zf_method_info(method)->streams;
  if (!r->data.train) { /* evaluation alone: micro_batch examples of the largest set, one stream */
    set[0] = r->data.test ? r->data.test : r->data.dev;
    set[2] = r->data.dev;
    set[1] = NULL;
    streams = 1;
  }
  struct zf_limits lim = known && known->tokens
                             ? zf_score_limits_known(set, 3, known, streams)
                             : zf_score_limits(set, 3, r->set.micro_batch, streams);
  lim.compute = r->set.compute;
  if (zf_method_info(method)->rule >= 0 && method != r->set.method &&
      lim.compute == ZF_COMPUTE_INT8)
    lim.compute = ZF_COMPUTE_BF16; /* what it would compute in */
  if (r->data.train) zf_forecast_limits(&lim, r->model, method);
  return lim;
}

static int forecast(struct zf_forecast *out, const struct zf_run *r, enum zf_method method,
                    int checkpoint, const struct zf_batch_load *known) {
  struct zf_limits lim = limits_of(r, method, known);
  int scores =
      !r->data.train || r->data.dev || r->data.test || zf_task_chooses(r->data.train->type);
  return zf_forecast_make(out, r->model, &lim, method, checkpoint, scores, r->forecast.before);
}

int zf_run_forecast(struct zf_forecast *out, const struct zf_run *r, enum zf_method method,
                    int checkpoint) {
  struct zf_forecast most;
  int rc = forecast(&most, r, method, checkpoint, NULL);
  if (!rc) rc = forecast(out, r, method, checkpoint, &r->load);
  if (!rc) out->bound = most.total;
  return rc;
}

static int make_forecast(struct zf_run *r) {
  enum zf_method method = r->data.train ? r->set.method : ZF_METHOD_INFERENCE;
  int rc = zf_run_forecast(&r->forecast, r, method, r->set.first.checkpoint);
  if (r->forecast.total < zf_peak_rss())
    r->forecast.total = zf_peak_rss(); /* reading the data took more */
  if (r->forecast.bound < r->forecast.total) r->forecast.bound = r->forecast.total;
  return rc;
}

static int check_memory(const struct zf_run *r) {
  char want[32], have[32];
  if (!r->set.memory_limit || r->forecast.total <= r->set.memory_limit) return 0;
  return zf_error(ZF_EMEMLIMIT,
                  "memory_limit is %s and the run is forecast to need %s: a smaller "
                  "micro_batch_size or sequence_len needs less",
                  zf_human_bytes(have, (double)r->set.memory_limit),
                  zf_human_bytes(want, (double)r->forecast.total));
}

static void count_steps(struct zf_run *r) {
  const struct zf_settings *s = &r->set;
  r->batch = s->micro_batch * s->accumulation;
  r->steps = s->max_steps;
  if (r->steps || !r->data.train) return;
  r->steps = (int64_t)ceil(s->epochs * (double)zf_dataset_size(r->data.train) / (double)r->batch);
  if (r->steps < 1) r->steps = 1;
}

static int open_run(struct zf_run **out, const struct zf_conf *conf, const struct source *from) {
  *out = NULL;
  struct zf_run *r = zf_calloc(1, sizeof *r);
  if (!r) return ZF_ENOMEM;
  r->conf = conf;
  int rc = from->make ? zf_settings_fill_step(&r->set, conf) : zf_settings_fill(&r->set, conf);
  if (rc) goto fail;
  zf_kern_threads(r->set.threads ? r->set.threads : zf_cpu_cores());
  if ((rc = open_model(r, from))) goto fail;
  const struct zf_dataset *set[] = {r->data.train, r->data.dev, r->data.test};
  for (int i = 0; i < 3; i++)
    if (set[i] && (rc = zf_score_check(r->model, set[i]))) goto fail;
  count_steps(r);
  find_load(r);
  r->lim = limits_of(r, r->set.method, &r->load);
  if ((rc = make_forecast(r))) goto fail;
  if (from->shapes) {
    *out = r;
    return 0;
  }
  if ((rc = check_memory(r))) goto fail;
  if ((rc = zf_forward_new(&r->fwd, r->model, &r->lim))) goto fail;
  if ((rc = zf_scorer_new(&r->scorer, r->fwd, &r->lim))) goto fail;
  if (!from->make && (rc = zf_model_hash(r->model, r->base_hash))) goto fail;
  r->index = zf_calloc(r->set.micro_batch, sizeof *r->index);
  r->score = zf_calloc(ZF_MAXSTREAM * r->set.micro_batch, sizeof *r->score);
  rc = ZF_ENOMEM;
  if (!r->index || !r->score) goto fail;
  int back = r->data.train && zf_method_info(r->set.method)->rule >= 0;
  rc = back ? zf_backprop_new(&r->backprop, r) : 0;
  if (rc) goto fail;
  *out = r;
  return 0;
fail:
  zf_run_free(r);
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

void zf_run_free(struct zf_run *r) {
  if (!r) return;
  zf_backprop_free(r->backprop);
  free(r->score);
  free(r->index);
  zf_scorer_free(r->scorer);
  zf_forward_free(r->fwd);
  zf_model_free(r->model);
  zf_run_data_free(&r->data);
  zf_tok_free(r->tok);
  zf_settings_free(&r->set);
  free(r);
}

double zf_lr_at(const struct zf_settings *s, int64_t step, int64_t steps) {
  const double pi = 3.14159265358979323846;
  int64_t warm = s->warmup ? s->warmup : (int64_t)(s->warmup_ratio * (double)steps);
  if (step <= warm) return s->lr * (double)step / (double)(warm + 1);
  double done = steps > warm ? (double)(step - 1 - warm) / (double)(steps - warm) : 0;
  if (s->schedule == ZF_LR_LINEAR) return s->lr * (1 - done);
  if (s->schedule == ZF_LR_COSINE) return s->lr * 0.5 * (1 + cos(pi * done));
  return s->lr;
}

int zf_run_batch_loss(struct zf_run *r, int64_t place, const struct zf_perturb *pt, double *loss) {
  int64_t n = r->set.micro_batch, *index = r->index;
  struct zf_score *score = r->score;
  double sum[ZF_MAXSTREAM] = {0}, weight = 0;
  for (int64_t m = 0; m < r->set.accumulation; m++) {
    int64_t k;
    int rc = zf_run_data_batch(&r->data, place + m * n, n, index, &k);
    if (!rc && k) rc = zf_score_examples(r->scorer, r->data.train, index, k, 0, pt, score);
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
  struct zf_run *r;
  int64_t first;
};

static int loss_at(void *ctx, const struct zf_perturb *pt, double *loss) {
  const struct place *p = ctx;
  return zf_run_batch_loss(p->r, p->first, pt, loss);
}

int zf_run_estimate(struct zf_run *r, int64_t step, struct zf_zo_probe *probe) {
  struct place p = {r, (step - 1) * r->batch};
  return zf_zo_estimate(probe, &r->set.zo, (uint32_t)step, loss_at, &p);
}

void zf_run_update(struct zf_run *r, int64_t step, const struct zf_zo_probe *probe, double lr) {
  zf_zo_update(&r->model->params, &r->set.zo, (uint32_t)step, probe, lr, r->set.weight_decay);
}
