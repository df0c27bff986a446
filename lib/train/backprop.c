#include "train/backprop.h"

#include <stdlib.h>

#include "back/optim.h"
#include "base/err.h"

struct zf_backprop {
  struct zf_back *k;
  struct zf_optim *o;
  struct zf_arena arena;
  float *coef, *slope; /* [rows], [rows][ids] */
  double norm;         /* of the gradient at hand */
};

int64_t zf_backprop_bytes(const struct zf_limits *lim) {
  return (int64_t)(zf_arena_cost((size_t)lim->rows * 4) +
                   zf_arena_cost((size_t)(lim->rows * lim->ids) * 4));
}

int zf_backprop_new(struct zf_backprop **out, struct zf_run *r) {
  *out = NULL;
  struct zf_backprop *b = zf_calloc(1, sizeof *b);
  if (!b) return ZF_ENOMEM;
  enum zf_optim_rule rule = (enum zf_optim_rule)zf_method_info(r->set.method)->rule;
  int rc = zf_back_new(&b->k, r->model, r->fwd, r->set.first.checkpoint);
  if (!rc) rc = zf_optim_new(&b->o, b->k, rule);
  if (!rc) rc = zf_arena_init(&b->arena, (size_t)zf_backprop_bytes(&r->lim));
  if (!rc) {
    b->coef = zf_arena_array(&b->arena, r->lim.rows, 4);
    b->slope = zf_arena_array(&b->arena, r->lim.rows * r->lim.ids, 4);
    if (!b->coef || !b->slope) rc = ZF_ENOMEM;
  }
  if (rc) {
    zf_backprop_free(b);
    return rc;
  }
  *out = b;
  return 0;
}

void zf_backprop_free(struct zf_backprop *b) {
  if (!b) return;
  zf_optim_free(b->o);
  zf_back_free(b->k);
  zf_arena_free(&b->arena);
  free(b);
}

/* What the batch's losses are divided by. */
static int weight_of(double *sum, struct zf_run *r, int64_t place) {
  const struct zf_dataset *d = r->data.train;
  int rc = 0;
  *sum = 0;
  for (int64_t i = 0; !rc && i < r->batch; i++) {
    int64_t index, n;
    rc = zf_run_data_batch(&r->data, place + i, 1, &index, &n);
    if (!rc && n)
      *sum += d->ex[index].label >= 0 || d->type == ZF_TASK_LABELS
                  ? 1
                  : (double)zf_example_targets(d, index);
  }
  return rc;
}

/* Examples from..to, packed: forward, losses, backward.  Where options are compared the derivative
 * of a row depends on all of them: then log-probabilities come first, else with the gradient. */
static int run_packed(struct zf_run *r, int64_t from, int64_t to, double scale) {
  struct zf_backprop *b = r->backprop;
  const struct zf_dataset *d = r->data.train;
  struct zf_packed *p = zf_score_packed(r->scorer);
  int rc = zf_back_forward(b->k, &p->batch);
  if (rc) return rc;
  if (p->nid) zf_back_at(b->k, p->ids, p->nid, p->at);
  if (p->whole && zf_task_chooses(d->type)) zf_back_lse(b->k, p->target, p->lse, p->logit);
  zf_score_gradients(r->scorer, d, r->index, from, to, scale, b->coef, b->slope);
  if (p->whole) zf_back_rows(b->k, p->target, b->coef, p->lse, p->logit);
  if (p->nid) zf_back_gradient_at(b->k, p->ids, p->nid, b->slope);
  zf_score_reduce(r->scorer, d, r->index, from, to, r->set.micro_batch, 1, r->score);
  zf_back_run(b->k);
  return 0;
}

int zf_backprop_gradient(struct zf_run *r, int64_t step, double *loss, double *norm) {
  int64_t place = (step - 1) * r->batch, n = r->set.micro_batch;
  double sum = 0, weight;
  int rc = weight_of(&weight, r, place);
  for (int64_t m = 0; !rc && m < r->set.accumulation; m++) {
    int64_t k;
    rc = zf_run_data_batch(&r->data, place + m * n, n, r->index, &k);
    for (int64_t from = 0, to; !rc && from < k; from = to) {
      to = zf_score_pack(r->scorer, r->data.train, r->index, from, k, 0, 1);
      rc = run_packed(r, from, to, 1 / weight);
    }
    for (int64_t i = 0; !rc && i < k; i++) sum += r->score[i].loss;
  }
  if (rc) return rc;
  *loss = weight > 0 ? sum / weight : 0;
  *norm = r->backprop->norm = zf_back_norm(r->backprop->k);
  return 0;
}

void zf_backprop_update(struct zf_run *r, int64_t step, double lr) {
  struct zf_backprop *b = r->backprop;
  const struct zf_first_order *f = &r->set.first;
  int momentum = r->set.method == ZF_METHOD_MOMENTUM;
  struct zf_optim_conf conf = {.lr = lr,
                               .decay = r->set.weight_decay,
                               .beta1 = momentum ? f->momentum : f->beta1,
                               .beta2 = f->beta2,
                               .eps = f->eps,
                               .clip = f->clip};
  zf_optim_update(b->o, step, b->norm, &conf);
}
