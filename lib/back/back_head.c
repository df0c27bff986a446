/* The output head in reverse: pieces of rows, so that [rows, vocabulary] is never whole. */
#include <math.h>
#include <string.h>

#include "back/back_internal.h"
#include "kern/tile.h"

static enum zf_reg out_reg(const struct zf_back *back) {
  return back->model->plan.width[ZF_REG_G] ? ZF_REG_G : ZF_REG_F;
}

/* What the tail left, for every wanted row. */
static const float *output(const struct zf_back *back, int64_t *ld) {
  const struct zf_plan *plan = &back->model->plan;
  int32_t v = plan->nop > plan->body ? back->tape.node[plan->nop - 1].dst : back->tape.gathered;
  *ld = back->tape.value[v].ld;
  return zf_back_value(back, v);
}

static void bind_output(struct zf_back *back) {
  int64_t ld;
  const float *x = output(back, &ld);
  zf_forward_bind(back->forward, out_reg(back), (float *)x, ld);
}

void zf_back_lse(struct zf_back *back, const int32_t *target, double *lse, double *logit) {
  bind_output(back);
  zf_forward_lse(back->forward, target, lse, logit);
}

void zf_back_at(struct zf_back *back, const int32_t *ids, int64_t count, float *out) {
  bind_output(back);
  zf_forward_logits_at(back->forward, ids, count, out);
}

/* Logits of rows r0..r0+n become their gradients. */
static void differentiate(struct zf_back *back, int64_t r0, int64_t n, const int32_t *target,
                          const float *coef, const double *lse) {
  int64_t V = back->model->config.outputs;
  int team = zf_tile_team(n * V * 4);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t i = 0; i < n; i++) {
    float *y = back->logits + i * V, c = target[r0 + i] >= 0 ? coef[r0 + i] : 0;
    back->rows->logits(y, (float)lse[r0 + i], c, V);
    if (target[r0 + i] >= 0) y[target[r0 + i]] += c;
  }
}

/* Logits before the soft cap in k->logits: capped ones, and in k->steep the derivative by them. */
static void cap(struct zf_back *back, int64_t count) {
  int64_t V = back->model->config.outputs;
  float c = (float)back->model->config.logit_cap;
  if (c <= 0) return;
  zf_softcap(back->logits, V, count, V, 1 / c, c);
  for (int64_t i = 0; i < count * V; i++) {
    float t = back->logits[i] / c;
    back->cap_derivative[i] = 1 - t * t;
  }
}

static void uncap(struct zf_back *back, int64_t count) {
  int64_t V = back->model->config.outputs;
  if (back->model->config.logit_cap <= 0) return;
  for (int64_t i = 0; i < count * V; i++) back->logits[i] *= back->cap_derivative[i];
}

void zf_back_rows(struct zf_back *back, const int32_t *target, const float *coef, double *lse,
                  double *logit) {
  const struct zf_model *model = back->model;
  struct zf_weight weight = zf_forward_table(back->forward, model->plan.head);
  struct zf_streams one = {.count = 1};
  enum zf_reg out = out_reg(back);
  float *g = zf_back_gradient(back, model->plan.head),
        *db = zf_back_gradient(back, model->plan.head_bias);
  int64_t ld, V = weight.out;
  const float *x = output(back, &ld),
              *bias = zf_forward_vector(back->forward, model->plan.head_bias, 1);
  for (int64_t r = 0; r < back->batch->R; r += back->piece) {
    int64_t n = zf_back_min(back->batch->R - r, back->piece);
    zf_gemm(back->logits, V, x + r * ld, ld, n, &weight, &one, bias, V, 0);
    cap(back, n);
    zf_head_lse_logits(lse + r, logit + r, back->logits, V, n, V, target + r);
    differentiate(back, r, n, target, coef, lse);
    uncap(back, n);
    for (int64_t i = 0; db && i < n; i++) back->rows->add(db, back->logits + i * V, V);
    if (g) zf_back_product(back, g, back->logits, V, V, x + r * ld, ld, weight.in, n);
    zf_back_input(back, back->gradient[out] + r * back->ld[out], back->ld[out], back->logits, V, n,
                  weight, 1);
  }
}

/* Derivative of cap tanh(y / cap) at the logit of one row and id. */
static float steepness(const float *x, const float *row, int64_t count, float bias, float by) {
  double y = (double)bias;
  for (int64_t i = 0; i < count; i++) y += (double)x[i] * (double)row[i];
  double t = tanh(y / (double)by);
  return (float)(1 - t * t);
}

void zf_back_gradient_at(struct zf_back *back, const int32_t *ids, int64_t count,
                         const float *slope) {
  struct zf_weight weight = zf_forward_table(back->forward, back->model->plan.head);
  struct zf_streams one = {.count = 1};
  enum zf_reg out = out_reg(back);
  float *g = zf_back_gradient(back, back->model->plan.head), *row = back->rotated;
  float *db = zf_back_gradient(back, back->model->plan.head_bias),
        by = (float)back->model->config.logit_cap;
  const float *bias = zf_forward_vector(back->forward, back->model->plan.head_bias, 1);
  int64_t ld;
  const float *x = output(back, &ld);
  for (int64_t i = 0; i < count; i++) { /* few ids: row by row */
    zf_gather(row, weight.in, ids + i, 1, &weight, &one, 0);
    for (int64_t r = 0; r < back->batch->R; r++) {
      float c = slope[r * count + i];
      if (c == 0) continue;
      if (by > 0) c *= steepness(x + r * ld, row, weight.in, bias ? bias[ids[i]] : 0, by);
      if (db) db[ids[i]] += c;
      back->rows->axpy(back->gradient[out] + r * back->ld[out], c, row, weight.in);
      if (g) back->rows->axpy(g + ids[i] * weight.in, c, x + r * ld, weight.in);
    }
  }
}
