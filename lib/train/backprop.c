#include "train/backprop.h"

#include <stdlib.h>

#include "back/optim.h"
#include "base/err.h"
#include "train/run_internal.h"

struct zf_backprop {
  struct zf_back *back;
  struct zf_optim *optim;
  struct zf_arena arena;
  float *coef, *slope; /* [rows], [rows][ids]: see zf_score_gradients */
  double norm;         /* of the current gradient */
};

int64_t zf_backprop_bytes(const struct zf_limits *limits) {
  return (int64_t)(zf_arena_cost((size_t)limits->rows * 4) +
                   zf_arena_cost((size_t)(limits->rows * limits->ids) * 4));
}

static int alloc_gradients(struct zf_backprop *backprop, const struct zf_limits *limits) {
  int rc = zf_arena_init(&backprop->arena, (size_t)zf_backprop_bytes(limits));
  if (rc) return rc;
  backprop->coef = zf_arena_array(&backprop->arena, limits->rows, 4);
  backprop->slope = zf_arena_array(&backprop->arena, limits->rows * limits->ids, 4);
  return backprop->coef && backprop->slope ? 0 : ZF_ENOMEM;
}

int zf_backprop_new(struct zf_backprop **out, struct zf_run *run) {
  *out = NULL;
  struct zf_backprop *backprop = zf_calloc(1, sizeof *backprop);
  if (!backprop) return ZF_ENOMEM;
  enum zf_optim_rule rule = (enum zf_optim_rule)zf_method_info(run->settings.method)->rule;
  int rc = zf_back_new(&backprop->back, run->model, run->forward, run->settings.first.checkpoint);
  if (!rc) rc = zf_optim_new(&backprop->optim, backprop->back, rule);
  if (!rc) rc = alloc_gradients(backprop, &run->limits);
  if (rc) {
    zf_backprop_free(backprop);
    return rc;
  }
  *out = backprop;
  return 0;
}

void zf_backprop_free(struct zf_backprop *backprop) {
  if (!backprop) return;
  zf_optim_free(backprop->optim);
  zf_back_free(backprop->back);
  zf_arena_free(&backprop->arena);
  free(backprop);
}

/* The weight of an example in the mean loss of a batch. */
static double weight_of(const struct zf_dataset *dataset, int64_t index) {
  if (dataset->example[index].label >= 0 || dataset->type == ZF_TASK_LABELS) return 1;
  return (double)zf_example_targets(dataset, index);
}

/* The weight of the batch, and its examples. */
static int batch_weight(double *sum, int64_t *examples, struct zf_run *run, int64_t place) {
  *sum = 0;
  *examples = 0;
  for (int64_t i = 0; i < run->batch; i++) {
    int64_t index, count;
    int rc = zf_run_data_batch(&run->data, place + i, 1, &index, &count);
    if (rc) return rc;
    if (count) *sum += weight_of(run->data.train, index);
    *examples += count;
  }
  return 0;
}

/* The gradient of the divergence from a teacher by the logits. */
static struct zf_back_part teacher_part(const struct zf_run *run) {
  struct zf_distill *distill = zf_objective_distill(run->objective);
  return (struct zf_back_part){.ctx = distill,
                               .inverse = zf_distill_inverse(distill),
                               .softmax = zf_distill_softmax,
                               .listed = zf_distill_listed};
}

/* Runs the packed examples from .. to - 1: forward, losses, backward.  Where options are compared,
 * the derivative of a row depends on the log-probabilities of all options, which are computed first;
 * else they are computed together with the gradient. */
static int run_packed(struct zf_run *run, int64_t from, int64_t to, struct zf_score_scale scale) {
  struct zf_back_part part;
  struct zf_backprop *backprop = run->backprop;
  const struct zf_dataset *dataset = run->data.train;
  struct zf_packed *packed = zf_score_packed(run->scorer);
  int rc = zf_back_forward(backprop->back, &packed->batch);
  if (rc) return rc;
  if (packed->nid) zf_back_at(backprop->back, packed->ids, packed->nid, packed->logits_at);
  if (packed->has_targets && zf_task_has_options(dataset->type))
    zf_back_lse(backprop->back, packed->target, packed->lse, packed->logit);
  int taught = zf_score_begin_teacher(run->scorer, dataset, run->index, from, to, 1);
  int by_rows = taught && !zf_task_has_options(dataset->type);
  if (by_rows) part = teacher_part(run);
  zf_score_gradients(run->scorer, dataset, run->index, from, to, scale, backprop->coef,
                     backprop->slope);
  if (packed->has_targets)
    zf_back_rows(backprop->back, packed->target, backprop->coef, by_rows ? &part : NULL,
                 packed->lse, packed->logit);
  if (packed->nid) zf_back_gradient_at(backprop->back, packed->ids, packed->nid, backprop->slope);
  zf_score_reduce(run->scorer, dataset, run->index, from, to, run->settings.micro_batch, 1,
                  run->score);
  zf_back_run(backprop->back);
  return 0;
}

/* Adds the losses of the micro-batch that begins at `place`, and the values of the objective, and
 * accumulates the gradient. */
static int run_micro_batch(double sum[2], struct zf_run *run, int64_t place,
                           struct zf_score_scale scale) {
  struct zf_perturb none = zf_perturb_none();
  int64_t count;
  int rc = zf_run_data_batch(&run->data, place, run->settings.micro_batch, run->index, &count);
  if (rc) return rc;
  for (int64_t from = 0, to; from < count; from = to) {
    to = zf_score_pack(run->scorer, run->data.train, run->index, from, count, 0, 1);
    if ((rc = run_packed(run, from, to, scale))) return rc;
  }
  for (int64_t i = 0; i < count; i++) sum[0] += run->score[i].loss;
  if (!run->objective || !count) return 0;
  if ((rc = zf_run_objective_values(run, count, &none))) return rc;
  for (int64_t i = 0; i < count; i++) sum[1] += run->value[i];
  return 0;
}

/* What the sums of losses and of an objective's values count: the objective is a divergence, since no other
 * one has a derivative. */
static struct zf_score_scale scale_of(const struct zf_run *run, double weight, int64_t examples) {
  double share = run->objective ? run->settings.objective.weight : 0;
  return (struct zf_score_scale){.loss = (1 - share) / weight,
                                 .divergence = examples ? share / (double)examples : 0};
}

int zf_backprop_gradient(struct zf_run *run, int64_t step, double *loss, double *norm) {
  int64_t place = (step - 1) * run->batch, examples;
  double sum[2] = {0}, weight;
  int rc = batch_weight(&weight, &examples, run, place);
  if (rc) return rc;
  struct zf_score_scale scale = scale_of(run, weight, examples);
  for (int64_t i = 0; i < run->settings.accumulation; i++) {
    rc = run_micro_batch(sum, run, place + i * run->settings.micro_batch, scale);
    if (rc) return rc;
  }
  *loss = weight > 0 ? sum[0] / weight : 0;
  if (run->objective) *loss = zf_run_mix(run, examples ? sum[1] / (double)examples : 0, *loss);
  *norm = run->backprop->norm = zf_back_norm(run->backprop->back);
  return 0;
}

void zf_backprop_update(struct zf_run *run, int64_t step, double lr) {
  struct zf_backprop *backprop = run->backprop;
  const struct zf_first_order *first_order = &run->settings.first;
  int momentum = run->settings.method == ZF_METHOD_MOMENTUM;
  struct zf_optim_conf conf = {.lr = lr,
                               .decay = run->settings.weight_decay,
                               .beta1 = momentum ? first_order->momentum : first_order->beta1,
                               .beta2 = first_order->beta2,
                               .eps = first_order->eps,
                               .clip = first_order->clip};
  zf_optim_update(backprop->optim, step, backprop->norm, &conf);
}
