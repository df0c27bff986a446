/* The output head of a pass: log-probabilities and logits of the wanted rows. */
#include <assert.h>

#include "model/forward_internal.h"

/* The rows of stream `stream` and those behind it. */
static struct zf_rows head_input(const struct zf_forward *forward, int64_t stream) {
  enum zf_reg reg = forward->model->plan.width[ZF_REG_G] ? ZF_REG_G : ZF_REG_F;
  int64_t ld = forward->ld[reg];
  return zf_rows_of(forward->reg[reg] + stream * forward->R * ld, ld,
                    forward->model->config.embed_dim, forward->limits.compute, forward->cells);
}

static void cap_logits(const struct zf_forward *forward, float *y, int64_t count, int64_t rows) {
  float cap = (float)forward->model->config.logit_cap;
  if (cap > 0) zf_softcap(y, count, rows, count, 1 / cap, cap);
}

void zf_forward_lse(struct zf_forward *forward, const int32_t *target, double *lse, double *logit) {
  struct zf_noise noise;
  struct zf_weight weight = zf_forward_table_noise(forward, forward->model->plan.head, &noise);
  struct zf_rows x = head_input(forward, 0);
  const float *bias = zf_forward_perturbed(forward, forward->model->plan.head_bias, forward->vec_b);
  zf_head_lse(lse, logit, &x, forward->R, target, &weight, &forward->perturb.streams, bias,
              weight.out, (float)forward->model->config.logit_cap, forward->head);
}

void zf_forward_logits_at(struct zf_forward *forward, const int32_t *ids, int64_t count,
                          float *out) {
  struct zf_noise noise;
  struct zf_weight weight = zf_forward_table_noise(forward, forward->model->plan.head, &noise);
  struct zf_streams one = {.count = 1};
  int64_t S = forward->perturb.streams.count;
  const float *bias = zf_forward_perturbed(forward, forward->model->plan.head_bias, forward->vec_b);
  assert(count <= forward->limits.ids);
  zf_gather(forward->head, weight.in, ids, count, &weight, &forward->perturb.streams, 0);
  for (int64_t i = 0; i < S; i++) {
    struct zf_weight rows = {.data = forward->head + i * count * weight.in,
                             .type = ZF_F32,
                             .out = count,
                             .in = weight.in,
                             .output_stride = weight.in,
                             .input_stride = 1,
                             .compute = weight.compute};
    float *stream_out = out + i * forward->R * count;
    struct zf_rows x = head_input(forward, i);
    zf_gemm(stream_out, count, &x, forward->R, &rows, &one, NULL, 0, 0);
    if (!bias) continue;
    for (int64_t j = 0; j < forward->R * count; j++)
      stream_out[j] += bias[i * weight.out + ids[j % count]];
  }
  cap_logits(forward, out, count, S * forward->R);
}

void zf_forward_logits(struct zf_forward *forward, float *out) {
  struct zf_noise noise;
  struct zf_weight weight = zf_forward_table_noise(forward, forward->model->plan.head, &noise);
  struct zf_rows x = head_input(forward, 0);
  const float *bias = zf_forward_perturbed(forward, forward->model->plan.head_bias, forward->vec_b);
  zf_gemm(out, weight.out, &x, forward->R, &weight, &forward->perturb.streams, bias, weight.out, 0);
  cap_logits(forward, out, weight.out, forward->perturb.streams.count * forward->R);
}
