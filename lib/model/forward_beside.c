/* Directions beside a matrix (zo/direction.h):  z = L R^T, with R^T [rank][in] kept and L [out][rank] noise,
 * or a product of a kept matrix with noise.  z is never formed:
 *
 *   y_s += (x_s R) (eps_s L)^T        a thin product behind the one with W
 *   row id of a table += eps_s L[id] R^T
 *
 * so a direction costs the noise of L, rank values for each output. */
#include "base/util.h"
#include "model/forward_internal.h"

enum { CHUNK = 1024 /* outputs whose L exists at once */ };

static int64_t max_rank(const struct zf_model *model) {
  int64_t rank = 0;
  for (int64_t i = 0; i < model->params.count; i++)
    rank = zf_max64(rank, model->params.param[i].factors.rank);
  return rank;
}

int64_t zf_forward_beside_floats(const struct zf_model *model, const struct zf_limits *limits) {
  int64_t rank = max_rank(model), rows = zf_max64(limits->tokens, limits->rows);
  return rank ? rank * (rows + 2 * CHUNK + rank) : 0;
}

int zf_forward_is_beside(const struct zf_forward *forward, int32_t number) {
  const struct zf_param *param = number < 0 ? NULL : &forward->model->params.param[number];
  return param && param->factors.rank && zf_forward_is_noisy(forward, param);
}

/* left [count][rank] += factor times L of one term, of outputs from `first` on.  space: [count][rank]
 * and [rank][rank]. */
static void add_left(const struct zf_param *param, const struct zf_noise *term, float factor,
                     int64_t first, int64_t count, float *left, float *space) {
  const struct zf_param_factors *factors = &param->factors;
  int64_t rank = factors->rank, all = count * rank;
  struct zf_noise noise = *term;
  noise.param = param->id;
  if (!factors->left) {
    zf_noise_fill(space, &noise, first * rank, all);
    zf_add_outer(left, all, 1, all, &factor, space, 1);
    return;
  }
  float *core = space + all;
  zf_noise_fill(core, &noise, 0, rank * rank);
  for (int64_t i = 0; i < all; i++) space[i] = factor * factors->left[first * rank + i];
  zf_add_outer(left, rank, count, rank, space, core, rank);
}

/* left = the sum over the terms of stream `stream` of eps L. */
static void sum_left(const struct zf_forward *forward, const struct zf_param *param, int stream,
                     int64_t first, int64_t count, float *left, float *space) {
  const struct zf_perturb *perturb = &forward->perturb;
  int terms = perturb->term ? perturb->streams.terms : 1;
  for (int64_t i = 0; i < count * param->factors.rank; i++) left[i] = 0;
  for (int i = 0; i < terms; i++) {
    float eps =
        perturb->term ? perturb->streams.mix[stream * terms + i] : perturb->streams.eps[stream];
    if (eps != 0.0f)
      add_left(param, perturb->term ? perturb->term + i : &perturb->direction,
               eps * param->factors.scale, first, count, left, space);
  }
}

void zf_forward_add_beside(const struct zf_forward *forward, int32_t number, const float *x,
                           int64_t ldx, int64_t T, float *y, int64_t ldy, int64_t first,
                           int64_t count) {
  const struct zf_param *param = &forward->model->params.param[number];
  const struct zf_param_factors *factors = &param->factors;
  int64_t rank = factors->rank, rows = T * forward->perturb.streams.count;
  float *inner = forward->beside, *left = inner + rows * rank, *space = left + CHUNK * rank;
  struct zf_streams one = {.count = 1};
  struct zf_weight right = {.data = factors->right,
                            .type = ZF_F32,
                            .out = rank,
                            .in = factors->in,
                            .output_stride = factors->in,
                            .input_stride = 1};
  struct zf_rows operand = zf_rows_of(x, ldx, factors->in, ZF_COMPUTE_F32, NULL);
  zf_gemm(inner, rank, &operand, rows, &right, &one, NULL, 0, 0);
  for (int64_t at = 0; at < count; at += CHUNK) {
    int64_t part = count - at < CHUNK ? count - at : CHUNK;
    for (int stream = 0; stream < forward->perturb.streams.count; stream++) {
      sum_left(forward, param, stream, first + at, part, left, space);
      struct zf_weight outer = {.data = left,
                                .type = ZF_F32,
                                .out = part,
                                .in = rank,
                                .output_stride = rank,
                                .input_stride = 1};
      struct zf_rows thin = zf_rows_of(inner + stream * T * rank, rank, rank, ZF_COMPUTE_F32, NULL);
      zf_gemm(y + stream * T * ldy + at, ldy, &thin, T, &outer, &one, NULL, 0, 1);
    }
  }
}

void zf_forward_gather_beside(const struct zf_forward *forward, int32_t number, const int32_t *ids,
                              int64_t count, float *y, int64_t ldy) {
  const struct zf_param *param = &forward->model->params.param[number];
  int64_t rank = param->factors.rank;
  float *left = forward->beside, *space = left + rank;
  for (int stream = 0; stream < forward->perturb.streams.count; stream++)
    for (int64_t i = 0; i < count; i++) {
      sum_left(forward, param, stream, ids[i], 1, left, space);
      zf_add_outer(y + (stream * count + i) * ldy, ldy, 1, param->factors.in, left,
                   param->factors.right, rank);
    }
}
