/* The output head in reverse.  It handles some rows at a time, so that [rows, vocabulary] is never
 * held as a whole. */
#include <math.h>
#include <string.h>

#include "back/back_internal.h"
#include "kern/tile.h"

static enum zf_reg out_reg(const struct zf_back *back) {
  return back->model->plan.width[ZF_REG_G] ? ZF_REG_G : ZF_REG_F;
}

/* The input of the head, for every wanted row. */
static const float *output(const struct zf_back *back, int64_t *stride) {
  const struct zf_plan *plan = &back->model->plan;
  int32_t number =
      plan->nop > plan->body ? back->tape.node[plan->nop - 1].dst : back->tape.gathered;
  *stride = back->tape.value[number].stride;
  return zf_back_value(back, number);
}

static void bind_output(struct zf_back *back) {
  int64_t stride;
  const float *x = output(back, &stride);
  zf_forward_bind(back->forward, out_reg(back), (float *)x, stride);
}

void zf_back_lse(struct zf_back *back, const int32_t *targets, double *lse, double *logit) {
  bind_output(back);
  zf_forward_lse(back->forward, targets, lse, logit);
}

void zf_back_at(struct zf_back *back, const int32_t *ids, int64_t count, float *out) {
  bind_output(back);
  zf_forward_logits_at(back->forward, ids, count, out);
}

/* Replaces the logits of rows first..first+count by the gradients of the loss by them. */
static void differentiate(struct zf_back *back, int64_t first, int64_t count,
                          const int32_t *targets, const float *coefficients, const double *lse) {
  int64_t V = back->model->config.outputs;
  int team = zf_tile_team(count * V * 4);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t i = 0; i < count; i++) {
    float *logits = back->logits + i * V,
          coefficient = targets[first + i] >= 0 ? coefficients[first + i] : 0;
    back->rows->logits(logits, (float)lse[first + i], coefficient, V);
    if (targets[first + i] >= 0) logits[targets[first + i]] += coefficient;
  }
}

/* Applies the soft cap to back->logits, and stores its derivative in back->cap_derivative. */
static void cap(struct zf_back *back, int64_t count) {
  int64_t V = back->model->config.outputs;
  float cap = (float)back->model->config.logit_cap;
  if (cap <= 0) return;
  zf_softcap(back->logits, V, count, V, 1 / cap, cap);
  for (int64_t i = 0; i < count * V; i++) {
    float ratio = back->logits[i] / cap;
    back->cap_derivative[i] = 1 - ratio * ratio;
  }
}

static void uncap(struct zf_back *back, int64_t count) {
  int64_t V = back->model->config.outputs;
  if (back->model->config.logit_cap <= 0) return;
  for (int64_t i = 0; i < count * V; i++) back->logits[i] *= back->cap_derivative[i];
}

void zf_back_rows(struct zf_back *back, const int32_t *targets, const float *coefficients,
                  double *lse, double *logit) {
  const struct zf_model *model = back->model;
  struct zf_weight weight = zf_forward_table(back->forward, model->plan.head);
  struct zf_streams stream = {.count = 1};
  enum zf_reg reg = out_reg(back);
  float *gradient = zf_back_gradient(back, model->plan.head),
        *bias_gradient = zf_back_gradient(back, model->plan.head_bias);
  int64_t stride, V = weight.out;
  const float *x = output(back, &stride),
              *bias = zf_forward_vector(back->forward, model->plan.head_bias, 1);
  for (int64_t row = 0; row < back->batch->R; row += back->logit_rows) {
    int64_t count = zf_min64(back->batch->R - row, back->logit_rows);
    struct zf_rows rows = zf_rows_of(x + row * stride, stride, weight.in, weight.compute,
                                     zf_forward_cells(back->forward));
    zf_gemm(back->logits, V, &rows, count, &weight, &stream, bias, V, 0);
    cap(back, count);
    zf_head_lse_logits(lse + row, logit + row, back->logits, V, count, V, targets + row);
    differentiate(back, row, count, targets, coefficients, lse);
    uncap(back, count);
    if (bias_gradient)
      for (int64_t i = 0; i < count; i++) back->rows->add(bias_gradient, back->logits + i * V, V);
    if (gradient)
      zf_back_product(back, gradient, back->logits, V, V, x + row * stride, stride, weight.in,
                      count);
    zf_back_input(back, back->register_gradient[reg] + row * back->register_stride[reg],
                  back->register_stride[reg], back->logits, V, count, weight, 1);
  }
}

/* Derivative of cap tanh(y / cap) at the logit y of one row and id. */
static float cap_derivative(const float *x, const float *row, int64_t count, float bias,
                            float cap) {
  double logit = (double)bias;
  for (int64_t i = 0; i < count; i++) logit += (double)x[i] * (double)row[i];
  double capped = tanh(logit / (double)cap);
  return (float)(1 - capped * capped);
}

void zf_back_gradient_at(struct zf_back *back, const int32_t *ids, int64_t count,
                         const float *gradients) {
  struct zf_weight weight = zf_forward_table(back->forward, back->model->plan.head);
  struct zf_streams stream = {.count = 1};
  enum zf_reg reg = out_reg(back);
  float *gradient = zf_back_gradient(back, back->model->plan.head), *weights = back->transposed;
  float *bias_gradient = zf_back_gradient(back, back->model->plan.head_bias),
        cap = (float)back->model->config.logit_cap;
  const float *bias = zf_forward_vector(back->forward, back->model->plan.head_bias, 1);
  int64_t stride;
  const float *x = output(back, &stride);
  for (int64_t i = 0; i < count; i++) { /* there are few ids: handle them one by one */
    zf_gather(weights, weight.in, ids + i, 1, &weight, &stream, 0);
    for (int64_t row = 0; row < back->batch->R; row++) {
      float coefficient = gradients[row * count + i];
      if (coefficient == 0) continue;
      if (cap > 0)
        coefficient *=
            cap_derivative(x + row * stride, weights, weight.in, bias ? bias[ids[i]] : 0, cap);
      if (bias_gradient) bias_gradient[ids[i]] += coefficient;
      back->rows->axpy(back->register_gradient[reg] + row * back->register_stride[reg], coefficient,
                       weights, weight.in);
      if (gradient)
        back->rows->axpy(gradient + ids[i] * weight.in, coefficient, x + row * stride, weight.in);
    }
  }
}
