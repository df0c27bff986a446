/* The output head in reverse: pieces of rows, so that [rows, vocabulary] is never whole. */
#include <math.h>
#include <string.h>

#include "back/back_internal.h"
#include "kern/tile.h"

static enum zf_reg out_reg(const struct zf_back *k) {
  return k->model->plan.width[ZF_REG_G] ? ZF_REG_G : ZF_REG_F;
}

/* What the tail left, for every wanted row. */
static const float *output(const struct zf_back *k, int64_t *ld) {
  const struct zf_plan *p = &k->model->plan;
  int32_t v = p->nop > p->body ? k->tape.node[p->nop - 1].dst : k->tape.gathered;
  *ld = k->tape.value[v].ld;
  return zf_back_value(k, v);
}

static void bind_output(struct zf_back *k) {
  int64_t ld;
  const float *x = output(k, &ld);
  zf_forward_bind(k->forward, out_reg(k), (float *)x, ld);
}

void zf_back_lse(struct zf_back *k, const int32_t *target, double *lse, double *logit) {
  bind_output(k);
  zf_forward_lse(k->forward, target, lse, logit);
}

void zf_back_at(struct zf_back *k, const int32_t *ids, int64_t n, float *out) {
  bind_output(k);
  zf_forward_logits_at(k->forward, ids, n, out);
}

/* Logits of rows r0..r0+n become their gradients. */
static void differentiate(struct zf_back *k, int64_t r0, int64_t n, const int32_t *target,
                          const float *coef, const double *lse) {
  int64_t V = k->model->config.outputs;
  int team = zf_tile_team(n * V * 4);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t i = 0; i < n; i++) {
    float *y = k->logits + i * V, c = target[r0 + i] >= 0 ? coef[r0 + i] : 0;
    k->rows->logits(y, (float)lse[r0 + i], c, V);
    if (target[r0 + i] >= 0) y[target[r0 + i]] += c;
  }
}

/* Logits before the soft cap in k->logits: capped ones, and in k->steep the derivative by them. */
static void cap(struct zf_back *k, int64_t n) {
  int64_t V = k->model->config.outputs;
  float c = (float)k->model->config.logit_cap;
  if (c <= 0) return;
  zf_softcap(k->logits, V, n, V, 1 / c, c);
  for (int64_t i = 0; i < n * V; i++) {
    float t = k->logits[i] / c;
    k->cap_derivative[i] = 1 - t * t;
  }
}

static void uncap(struct zf_back *k, int64_t n) {
  int64_t V = k->model->config.outputs;
  if (k->model->config.logit_cap <= 0) return;
  for (int64_t i = 0; i < n * V; i++) k->logits[i] *= k->cap_derivative[i];
}

void zf_back_rows(struct zf_back *k, const int32_t *target, const float *coef, double *lse,
                  double *logit) {
  const struct zf_model *m = k->model;
  struct zf_weight w = zf_forward_table(k->forward, m->plan.head);
  struct zf_streams one = {.count = 1};
  enum zf_reg out = out_reg(k);
  float *g = zf_back_gradient(k, m->plan.head), *db = zf_back_gradient(k, m->plan.head_bias);
  int64_t ld, V = w.out;
  const float *x = output(k, &ld), *bias = zf_forward_vector(k->forward, m->plan.head_bias, 1);
  for (int64_t r = 0; r < k->batch->R; r += k->piece) {
    int64_t n = zf_back_min(k->batch->R - r, k->piece);
    zf_gemm(k->logits, V, x + r * ld, ld, n, &w, &one, bias, V, 0);
    cap(k, n);
    zf_head_lse_logits(lse + r, logit + r, k->logits, V, n, V, target + r);
    differentiate(k, r, n, target, coef, lse);
    uncap(k, n);
    for (int64_t i = 0; db && i < n; i++) k->rows->add(db, k->logits + i * V, V);
    if (g) zf_back_product(k, g, k->logits, V, V, x + r * ld, ld, w.in, n);
    zf_back_input(k, k->gradient[out] + r * k->ld[out], k->ld[out], k->logits, V, n, w, 1);
  }
}

/* Derivative of cap tanh(y / cap) at the logit of one row and id. */
static float steepness(const float *x, const float *row, int64_t n, float bias, float by) {
  double y = (double)bias;
  for (int64_t i = 0; i < n; i++) y += (double)x[i] * (double)row[i];
  double t = tanh(y / (double)by);
  return (float)(1 - t * t);
}

void zf_back_gradient_at(struct zf_back *k, const int32_t *ids, int64_t n, const float *slope) {
  struct zf_weight w = zf_forward_table(k->forward, k->model->plan.head);
  struct zf_streams one = {.count = 1};
  enum zf_reg out = out_reg(k);
  float *g = zf_back_gradient(k, k->model->plan.head), *row = k->rotated;
  float *db = zf_back_gradient(k, k->model->plan.head_bias), by = (float)k->model->config.logit_cap;
  const float *bias = zf_forward_vector(k->forward, k->model->plan.head_bias, 1);
  int64_t ld;
  const float *x = output(k, &ld);
  for (int64_t i = 0; i < n; i++) { /* few ids: row by row */
    zf_gather(row, w.in, ids + i, 1, &w, &one, 0);
    for (int64_t r = 0; r < k->batch->R; r++) {
      float c = slope[r * n + i];
      if (c == 0) continue;
      if (by > 0) c *= steepness(x + r * ld, row, w.in, bias ? bias[ids[i]] : 0, by);
      if (db) db[ids[i]] += c;
      k->rows->axpy(k->gradient[out] + r * k->ld[out], c, row, w.in);
      if (g) k->rows->axpy(g + ids[i] * w.in, c, x + r * ld, w.in);
    }
  }
}
