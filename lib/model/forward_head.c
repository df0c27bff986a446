/* The output head of a pass: log-probabilities and logits of the wanted rows. */
#include <assert.h>

#include "model/forward_internal.h"

/* The rows of stream `stream` and those behind it. */
static struct zf_rows head_input(const struct zf_forward *forward, int64_t stream,
                                 enum zf_compute compute) {
  enum zf_reg reg = forward->model->plan.width[ZF_REG_G] ? ZF_REG_G : ZF_REG_F;
  int64_t ld = forward->ld[reg];
  return zf_rows_of(forward->reg[reg] + stream * forward->R * ld, ld,
                    forward->model->config.embed_dim, compute, forward->cells);
}

static void cap_logits(const struct zf_forward *forward, float *y, int64_t count, int64_t rows) {
  float cap = (float)forward->model->config.logit_cap;
  if (cap > 0) zf_softcap(y, count, rows, count, 1 / cap, cap);
}

/* --- adapters of the head, and directions beside it --- */

/* 1 where logits change behind the product with the head. */
static int has_changes(const struct zf_forward *forward) {
  const struct zf_plan *plan = &forward->model->plan;
  return plan->head_outer >= 0 || plan->head_rows >= 0 || zf_forward_is_beside(forward, plan->head);
}

/* The rows of U of stream `stream` and those behind it. */
static struct zf_rows thin_input(const struct zf_forward *forward, int64_t stream, int64_t rank) {
  int64_t ld = forward->ld[ZF_REG_U];
  return zf_rows_of(forward->reg[ZF_REG_U] + stream * forward->R * ld, ld, rank, ZF_COMPUTE_F32,
                    NULL);
}

/* y += U B^T for columns first..first + count. */
static void add_outer(struct zf_forward *forward, float *y, int64_t ldy, int64_t first,
                      int64_t count) {
  struct zf_forward_keys keys;
  struct zf_weight outer = zf_forward_table_noise(forward, forward->model->plan.head_outer, &keys);
  struct zf_weight part = zf_weight_part(&outer, first, count);
  struct zf_rows thin = thin_input(forward, 0, outer.in);
  zf_gemm(y, ldy, &thin, forward->R, &part, &forward->perturb.streams, NULL, 0, 1);
}

/* Computes the columns of replaced rows anew. */
static void replace_columns(struct zf_forward *forward, float *y, int64_t ldy, int64_t first,
                            int64_t count) {
  const struct zf_plan *plan = &forward->model->plan;
  struct zf_forward_keys keys;
  struct zf_weight rows = zf_forward_table_noise(forward, plan->head_rows, &keys);
  const float *bias = zf_forward_perturbed(forward, plan->head_bias, forward->vec_b);
  int64_t outputs = forward->model->config.outputs;
  for (int64_t i = 0; i < plan->head_row_count; i++) {
    int32_t id = plan->head_ids[i];
    if (id < first || id >= first + count) continue;
    struct zf_weight row = zf_weight_part(&rows, i, 1);
    struct zf_rows x = head_input(forward, 0, ZF_COMPUTE_F32);
    zf_gemm(y + (id - first), ldy, &x, forward->R, &row, &forward->perturb.streams,
            bias ? bias + id : NULL, outputs, 0);
  }
}

/* A zf_head_change. */
static void change_logits(void *ctx, float *y, int64_t ldy, int64_t first, int64_t count) {
  struct zf_forward *forward = ctx;
  int32_t head = forward->model->plan.head;
  if (zf_forward_is_beside(forward, head)) {
    struct zf_rows x = head_input(forward, 0, ZF_COMPUTE_F32);
    zf_forward_add_beside(forward, head, x.x, x.ld, forward->R, y, ldy, first, count);
  }
  if (forward->model->plan.head_outer >= 0) add_outer(forward, y, ldy, first, count);
  if (forward->model->plan.head_rows >= 0) replace_columns(forward, y, ldy, first, count);
}

/* The pass as if its wanted rows were `rows` rows from `first_row` on alone. */
static struct zf_forward part_of(const struct zf_forward *forward, int64_t first_row,
                                 int64_t rows) {
  struct zf_forward part = *forward;
  enum zf_reg reg = forward->model->plan.width[ZF_REG_G] ? ZF_REG_G : ZF_REG_F;
  part.R = rows;
  part.reg[reg] += first_row * part.ld[reg];
  if (forward->model->plan.head_outer >= 0) part.reg[ZF_REG_U] += first_row * part.ld[ZF_REG_U];
  return part;
}

void zf_forward_adapt_logits(struct zf_forward *forward, float *logits, int64_t first_row,
                             int64_t rows) {
  int64_t outputs = forward->model->config.outputs;
  if (!has_changes(forward)) return;
  struct zf_forward part = part_of(forward, first_row, rows);
  change_logits(&part, logits, outputs, 0, outputs);
}

/* --- logits --- */

void zf_forward_lse(struct zf_forward *forward, const int32_t *target, double *lse, double *logit) {
  struct zf_forward_keys keys;
  struct zf_weight weight = zf_forward_table_noise(forward, forward->model->plan.head, &keys);
  struct zf_rows x = head_input(forward, 0, weight.compute);
  const float *bias = zf_forward_perturbed(forward, forward->model->plan.head_bias, forward->vec_b);
  struct zf_head_hooks hooks = {has_changes(forward) ? change_logits : NULL, forward,
                                forward->watch_logits, forward->watch_logits_ctx};
  zf_head_lse(lse, logit, &x, forward->R, target, &weight, &forward->perturb.streams, bias,
              weight.out, (float)forward->model->config.logit_cap, forward->head, &hooks);
}

/* rows [S][count][C] = the head's rows of these ids. */
static void gather_head(struct zf_forward *forward, const struct zf_weight *weight,
                        const int32_t *ids, int64_t count) {
  const struct zf_plan *plan = &forward->model->plan;
  struct zf_streams streams = forward->perturb.streams;
  struct zf_forward_keys keys;
  zf_gather(forward->head, weight->in, ids, count, weight, &streams, 0);
  if (zf_forward_is_beside(forward, plan->head))
    zf_forward_gather_beside(forward, plan->head, ids, count, forward->head, weight->in);
  if (plan->head_rows < 0) return;
  struct zf_weight rows = zf_forward_table_noise(forward, plan->head_rows, &keys);
  streams.stride = count;
  for (int64_t i = 0; i < count; i++)
    for (int32_t j = 0; j < plan->head_row_count; j++)
      if (plan->head_ids[j] == ids[i])
        zf_gather(forward->head + i * weight->in, weight->in, &j, 1, &rows, &streams, 0);
}

/* out [R][count] of stream `stream` = or += x W^T, W the rows gathered in forward->head. */
static void multiply_gathered(struct zf_forward *forward, int64_t stream, struct zf_rows *x,
                              int64_t count, enum zf_compute compute, float *out, int accumulate) {
  struct zf_streams one = {.count = 1};
  struct zf_weight rows = {.data = forward->head + stream * count * x->in,
                           .type = ZF_F32,
                           .out = count,
                           .in = x->in,
                           .output_stride = x->in,
                           .input_stride = 1,
                           .compute = compute};
  zf_gemm(out, count, x, forward->R, &rows, &one, NULL, 0, accumulate);
}

static void add_outer_at(struct zf_forward *forward, const int32_t *ids, int64_t count,
                         float *out) {
  struct zf_forward_keys keys;
  struct zf_weight outer = zf_forward_table_noise(forward, forward->model->plan.head_outer, &keys);
  zf_gather(forward->head, outer.in, ids, count, &outer, &forward->perturb.streams, 0);
  for (int64_t i = 0; i < forward->perturb.streams.count; i++) {
    struct zf_rows thin = thin_input(forward, i, outer.in);
    multiply_gathered(forward, i, &thin, count, ZF_COMPUTE_F32, out + i * forward->R * count, 1);
  }
}

void zf_forward_logits_at(struct zf_forward *forward, const int32_t *ids, int64_t count,
                          float *out) {
  struct zf_forward_keys keys;
  struct zf_weight weight = zf_forward_table_noise(forward, forward->model->plan.head, &keys);
  int64_t S = forward->perturb.streams.count;
  const float *bias = zf_forward_perturbed(forward, forward->model->plan.head_bias, forward->vec_b);
  assert(count <= forward->limits.ids);
  gather_head(forward, &weight, ids, count);
  for (int64_t i = 0; i < S; i++) {
    float *stream_out = out + i * forward->R * count;
    struct zf_rows x = head_input(forward, i, weight.compute);
    multiply_gathered(forward, i, &x, count, weight.compute, stream_out, 0);
    if (!bias) continue;
    for (int64_t j = 0; j < forward->R * count; j++)
      stream_out[j] += bias[i * weight.out + ids[j % count]];
  }
  if (forward->model->plan.head_outer >= 0) add_outer_at(forward, ids, count, out);
  cap_logits(forward, out, count, S * forward->R);
}

void zf_forward_logits(struct zf_forward *forward, float *out) {
  struct zf_forward_keys keys;
  struct zf_weight weight = zf_forward_table_noise(forward, forward->model->plan.head, &keys);
  struct zf_rows x = head_input(forward, 0, weight.compute);
  const float *bias = zf_forward_perturbed(forward, forward->model->plan.head_bias, forward->vec_b);
  zf_gemm(out, weight.out, &x, forward->R, &weight, &forward->perturb.streams, bias, weight.out, 0);
  if (has_changes(forward)) change_logits(forward, out, weight.out, 0, weight.out);
  cap_logits(forward, out, weight.out, forward->perturb.streams.count * forward->R);
}

void zf_forward_logits_part(struct zf_forward *forward, int64_t first, int64_t rows, float *out) {
  assert(forward->perturb.streams.count == 1 && first + rows <= forward->R);
  struct zf_forward part = part_of(forward, first, rows);
  zf_forward_logits(&part, out);
}
