/* The output head in reverse.  It handles some rows at a time, so that [rows, vocabulary] is never
 * held as a whole. */
#include <math.h>
#include <string.h>

#include "back/back_internal.h"
#include "kern/tile.h"

static enum zf_reg out_reg(const struct zf_back *back) {
  return back->model->plan.width[ZF_REG_G] ? ZF_REG_G : ZF_REG_F;
}

/* What the head reads of a register, for every wanted row. */
static const float *input(const struct zf_back *back, enum zf_reg reg, int64_t *stride) {
  int32_t number = back->tape.last[reg];
  *stride = back->tape.value[number].stride;
  return zf_back_value(back, number);
}

static void bind(struct zf_back *back, enum zf_reg reg) {
  int64_t stride;
  const float *x = input(back, reg, &stride);
  zf_forward_bind(back->forward, reg, (float *)x, stride);
}

static void bind_inputs(struct zf_back *back) {
  bind(back, out_reg(back));
  if (back->model->plan.head_outer >= 0) bind(back, ZF_REG_U);
}

void zf_back_lse(struct zf_back *back, const int32_t *targets, double *lse, double *logit) {
  bind_inputs(back);
  zf_forward_lse(back->forward, targets, lse, logit);
}

void zf_back_at(struct zf_back *back, const int32_t *ids, int64_t count, float *out) {
  bind_inputs(back);
  zf_forward_logits_at(back->forward, ids, count, out);
}

/* Replaces logits first..first + count of a row by coefficient * exp(logit - lse). */
static void softmax_gradient(struct zf_back *back, float *logits, double lse, float coefficient,
                             int64_t count) {
  if (coefficient == 0)
    memset(logits, 0, (size_t)count * sizeof *logits);
  else
    back->rows->logits(logits, (float)lse, -coefficient, count);
}

/* Replaces the logits of a row by the gradients of both parts of the loss. */
static void differentiate_both(struct zf_back *back, float *logits, int64_t row, float coefficient,
                               double lse, const struct zf_back_part *part) {
  int64_t V = back->model->config.outputs;
  float gradient[ZF_VC];
  double part_coefficient, part_lse;
  part->softmax(part->ctx, row, logits, &part_coefficient, &part_lse);
  for (int64_t first = 0; first < V; first += ZF_VC) {
    int64_t count = zf_min64(V - first, ZF_VC);
    for (int64_t i = 0; i < count; i++) gradient[i] = logits[first + i] * part->inverse;
    softmax_gradient(back, gradient, part_lse, (float)part_coefficient, count);
    part->listed(part->ctx, row, gradient, first, count);
    softmax_gradient(back, logits + first, lse, -coefficient, count);
    back->rows->add(logits + first, gradient, count);
  }
}

/* Replaces the logits of rows first..first+count by the gradients of the loss by them. */
static void differentiate(struct zf_back *back, int64_t first, int64_t count,
                          const int32_t *targets, const float *coefficients,
                          const struct zf_back_part *part, const double *lse) {
  int64_t V = back->model->config.outputs;
  int team = zf_tile_team(count * V * 4);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t i = 0; i < count; i++) {
    float *logits = back->logits + i * V,
          coefficient = targets[first + i] >= 0 ? coefficients[first + i] : 0;
    if (part)
      differentiate_both(back, logits, first + i, coefficient, lse[first + i], part);
    else
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

/* --- adapters of the head --- */

/* Rows that replace those of some ids: their gradients, and the input's.  The head's own rows have none
 * then. */
static void replaced_rows(struct zf_back *back, int64_t first, int64_t count) {
  const struct zf_plan *plan = &back->model->plan;
  int64_t stride, V = back->model->config.outputs, C = back->model->config.embed_dim;
  enum zf_reg reg = out_reg(back);
  const float *x = input(back, reg, &stride);
  for (int64_t i = 0; i < plan->head_row_count; i++) {
    float *gradient = zf_back_gradient(back, plan->head_rows);
    const float *row = (const float *)back->model->params.param[plan->head_rows].data + i * C;
    for (int64_t j = 0; j < count; j++) {
      float *logit = back->logits + j * V + plan->head_ids[i];
      if (gradient) back->rows->axpy(gradient + i * C, *logit, x + (first + j) * stride, C);
      back->rows->axpy(back->register_gradient[reg] + (first + j) * back->register_stride[reg],
                       *logit, row, C);
      *logit = 0;
    }
  }
}

/* logits += U B^T: the gradients of B and U. */
static void outer_product(struct zf_back *back, int64_t first, int64_t count) {
  struct zf_weight outer = zf_forward_table(back->forward, back->model->plan.head_outer);
  int64_t stride, V = back->model->config.outputs;
  const float *thin = input(back, ZF_REG_U, &stride);
  float *gradient = zf_back_gradient(back, back->model->plan.head_outer);
  if (gradient)
    zf_back_product(back, gradient, outer.in, back->logits, V, V, thin + first * stride, stride,
                    outer.in, count, outer.compute);
  zf_back_input(back, back->register_gradient[ZF_REG_U] + first * back->register_stride[ZF_REG_U],
                back->register_stride[ZF_REG_U], back->logits, V, count, outer, 1);
}

/* --- all logits --- */

/* From the gradients of `count` rows of logits those of the head and of its input. */
static void multiply_logits(struct zf_back *back, const struct zf_weight *weight, int64_t first,
                            int64_t count) {
  const struct zf_plan *plan = &back->model->plan;
  enum zf_reg reg = out_reg(back);
  int64_t stride, V = weight->out;
  const float *x = input(back, reg, &stride);
  float *gradient = zf_back_gradient(back, plan->head),
        *bias_gradient = zf_back_gradient(back, plan->head_bias);
  if (bias_gradient)
    for (int64_t i = 0; i < count; i++) back->rows->add(bias_gradient, back->logits + i * V, V);
  if (plan->head_rows >= 0) replaced_rows(back, first, count);
  if (gradient)
    zf_back_product(back, gradient, weight->in, back->logits, V, V, x + first * stride, stride,
                    weight->in, count, weight->compute);
  zf_back_input(back, back->register_gradient[reg] + first * back->register_stride[reg],
                back->register_stride[reg], back->logits, V, count, *weight, 1);
}

void zf_back_rows(struct zf_back *back, const int32_t *targets, const float *coefficients,
                  const struct zf_back_part *part, double *lse, double *logit) {
  const struct zf_plan *plan = &back->model->plan;
  struct zf_weight weight = zf_forward_table(back->forward, plan->head);
  struct zf_streams stream = {.count = 1};
  int64_t stride, V = weight.out;
  const float *x = input(back, out_reg(back), &stride);
  bind_inputs(back);
  for (int64_t row = 0; row < back->batch->R; row += back->logit_rows) {
    int64_t count = zf_min64(back->batch->R - row, back->logit_rows);
    const float *bias = zf_forward_vector(back->forward, plan->head_bias, 1);
    struct zf_rows rows = zf_rows_of(x + row * stride, stride, weight.in, weight.compute,
                                     zf_forward_cells(back->forward));
    zf_gemm(back->logits, V, &rows, count, &weight, &stream, bias, V, 0);
    zf_forward_adapt_logits(back->forward, back->logits, row, count);
    cap(back, count);
    zf_head_lse_logits(lse + row, logit + row, back->logits, V, count, V, targets + row);
    differentiate(back, row, count, targets, coefficients, part, lse);
    uncap(back, count);
    if (plan->head_outer >= 0) outer_product(back, row, count);
    multiply_logits(back, &weight, row, count);
  }
}

/* --- logits of single ids --- */

/* A row of the head, and of an adapter's B. */
struct head_row {
  const float *weights, *outer;
  float *gradient, *outer_gradient, *bias_gradient; /* NULL: not trained */
  float bias;
};

/* Derivative of cap tanh(y / cap) at the logit y of one row and id. */
static float cap_derivative(const float *x, const struct head_row *head, int64_t count,
                            const float *thin, int64_t rank, float cap) {
  double logit = (double)head->bias;
  for (int64_t i = 0; i < count; i++) logit += (double)x[i] * (double)head->weights[i];
  for (int64_t i = 0; i < rank; i++) logit += (double)thin[i] * (double)head->outer[i];
  double capped = tanh(logit / (double)cap);
  return (float)(1 - capped * capped);
}

/* `memory`: for the values of a row that is not f32. */
static struct head_row row_of_id(struct zf_back *back, const int32_t *id, float *memory) {
  const struct zf_plan *plan = &back->model->plan;
  const struct zf_param *param = back->model->params.param;
  struct zf_weight weight = zf_forward_table(back->forward, plan->head);
  struct zf_streams stream = {.count = 1};
  int64_t C = weight.in;
  const float *bias = zf_forward_vector(back->forward, plan->head_bias, 1);
  float *gradient = zf_back_gradient(back, plan->head),
        *bias_gradient = zf_back_gradient(back, plan->head_bias);
  struct head_row head = {.weights = memory, .bias = bias ? bias[*id] : 0};
  zf_gather(memory, C, id, 1, &weight, &stream, 0);
  if (gradient) head.gradient = gradient + *id * C;
  if (bias_gradient) head.bias_gradient = bias_gradient + *id;
  for (int64_t i = 0; i < plan->head_row_count && plan->head_rows >= 0; i++) {
    if (plan->head_ids[i] != *id) continue;
    gradient = zf_back_gradient(back, plan->head_rows);
    head.weights = (const float *)param[plan->head_rows].data + i * C;
    head.gradient = gradient ? gradient + i * C : NULL;
  }
  if (plan->head_outer < 0) return head;
  int64_t rank = param[plan->head_outer].shape[1];
  gradient = zf_back_gradient(back, plan->head_outer);
  head.outer = (const float *)param[plan->head_outer].data + *id * rank;
  head.outer_gradient = gradient ? gradient + *id * rank : NULL;
  return head;
}

/* Adds the gradients that one row's logit of this id causes. */
static void add_logit(struct zf_back *back, const struct head_row *head, int64_t row,
                      float coefficient) {
  enum zf_reg reg = out_reg(back);
  int64_t stride,
      thin_stride = 0, C = back->model->config.embed_dim,
      rank = head->outer ? back->model->params.param[back->model->plan.head_outer].shape[1] : 0;
  const float *x = input(back, reg, &stride) + row * stride, *thin = NULL;
  float cap = (float)back->model->config.logit_cap,
        *dx = back->register_gradient[reg] + row * back->register_stride[reg];
  if (rank) thin = input(back, ZF_REG_U, &thin_stride);
  if (rank) thin += row * thin_stride;
  if (cap > 0) coefficient *= cap_derivative(x, head, C, thin, rank, cap);
  if (head->bias_gradient) *head->bias_gradient += coefficient;
  back->rows->axpy(dx, coefficient, head->weights, C);
  if (head->gradient) back->rows->axpy(head->gradient, coefficient, x, C);
  if (rank)
    back->rows->axpy(back->register_gradient[ZF_REG_U] + row * back->register_stride[ZF_REG_U],
                     coefficient, head->outer, rank);
  if (head->outer_gradient) back->rows->axpy(head->outer_gradient, coefficient, thin, rank);
}

void zf_back_gradient_at(struct zf_back *back, const int32_t *ids, int64_t count,
                         const float *gradients) {
  for (int64_t i = 0; i < count; i++) { /* there are few ids: handle them one by one */
    struct head_row head = row_of_id(back, ids + i, back->transposed);
    for (int64_t row = 0; row < back->batch->R; row++)
      if (gradients[row * count + i] != 0) add_logit(back, &head, row, gradients[row * count + i]);
  }
}
