/* Directions of low rank, beside their matrix (direction.h).  Bases are of the first step of their period and the
 * seed of the step: they change at steps 1, 1 + refresh, ..., and where a branch takes another seed;
 * a momentum in their coordinates moves into the new ones,  N <- N (V_old^T V_new) / in  (LOZO-M), or
 * begins again (SUBSPACE, whose bases are independent). */
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "zo/direction.h"

/* `probe` of a basis: no probe of a step has it. */
enum { RIGHT = 0xffff, LEFT = 0xfffe };

static int check_rank(const struct zf_zo *zo) {
  if (zo->rank < 1 || zo->rank > 1024)
    return zf_error(ZF_EUSAGE, "zo_rank: expected 1 to 1024, found %lld", (long long)zo->rank);
  if (zo->refresh < 1)
    return zf_error(ZF_EUSAGE, "zo_refresh: expected at least 1 step, found %lld",
                    (long long)zo->refresh);
  return 0;
}

/* The rank by which a parameter moves; 0: by noise of every element. */
static int64_t rank_of(const struct zf_param *param, int64_t rank) {
  if (!param->trained || param->ndim != 2 || !param->is_operand) return 0;
  return param->shape[0] >= 2 * rank && param->shape[1] >= 2 * rank ? rank : 0;
}

static void prepare_factors(struct zf_params *params, const struct zf_zo *zo, int subspace) {
  for (int64_t i = 0; i < params->count; i++) {
    struct zf_param *param = &params->param[i];
    int64_t rank = rank_of(param, zo->rank);
    int64_t out = param->shape[param->transposed ? 1 : 0],
            in = param->shape[param->transposed ? 0 : 1];
    param->factors = (struct zf_param_factors){
        .rank = rank, .out = out, .in = in, .rows = subspace ? rank : out, .scale = 1};
    if (!rank) param->factors = (struct zf_param_factors){0};
  }
}

static void prepare_low_rank(struct zf_params *params, const struct zf_zo *zo) {
  prepare_factors(params, zo, 0);
}

static void prepare_subspace(struct zf_params *params, const struct zf_zo *zo) {
  prepare_factors(params, zo, 1);
}

static int64_t basis_floats(const struct zf_params *params, int subspace) {
  int64_t count = 0;
  for (int64_t i = 0; i < params->count; i++) {
    const struct zf_param_factors *factors = &params->param[i].factors;
    count += factors->rank * (factors->in + (subspace ? factors->out : 0));
  }
  return count;
}

static int64_t bytes_low_rank(const struct zf_params *params, const struct zf_zo *zo) {
  (void)zo;
  return 4 * basis_floats(params, 0);
}

static int64_t bytes_subspace(const struct zf_params *params, const struct zf_zo *zo) {
  (void)zo;
  return 4 * basis_floats(params, 1);
}

static int open_bases(struct zf_zo_optimizer *optimizer, struct zf_params *params, int subspace) {
  optimizer->basis = zf_calloc(basis_floats(params, subspace) + 1, sizeof *optimizer->basis);
  if (!optimizer->basis) return ZF_ENOMEM;
  float *next = optimizer->basis;
  for (int64_t i = 0; i < params->count; i++) {
    struct zf_param_factors *factors = &params->param[i].factors;
    if (!factors->rank) continue;
    factors->right = next;
    next += factors->rank * factors->in;
    if (!subspace) continue;
    factors->left = next;
    factors->scale =
        (float)(sqrt((double)factors->out * (double)factors->in) / (double)factors->rank);
    next += factors->rank * factors->out;
  }
  return 0;
}

static int open_low_rank(struct zf_zo_optimizer *optimizer, struct zf_params *params) {
  return open_bases(optimizer, params, 0);
}

static int open_subspace(struct zf_zo_optimizer *optimizer, struct zf_params *params) {
  return open_bases(optimizer, params, 1);
}

static uint32_t period_start(const struct zf_zo *zo, uint32_t step) {
  return step - (step - 1) % (uint32_t)zo->refresh;
}

static void fill(const struct zf_zo *zo, const struct zf_param *param, float *basis, int64_t count,
                 uint64_t seed, uint32_t start, uint16_t which) {
  struct zf_noise noise = zf_perturb_along(seed, start, which, zo->direction, 0).direction;
  noise.param = param->id;
  zf_noise_fill(basis, &noise, 0, count);
}

/* Makes `rank` vectors of n elements orthonormal, element k of vector i at basis[i*next + k*stride].  Sums in
 * double, in order.  Twice, because once leaves errors where vectors are nearly parallel. */
static void make_orthonormal(float *basis, int64_t rank, int64_t n, int64_t next, int64_t stride) {
  for (int64_t i = 0; i < rank; i++) {
    float *x = basis + i * next;
    for (int64_t pass = 0; pass < 2 * i; pass++) {
      const float *y = basis + pass % i * next;
      double dot = 0;
      for (int64_t k = 0; k < n; k++) dot += (double)x[k * stride] * (double)y[k * stride];
      for (int64_t k = 0; k < n; k++)
        x[k * stride] = (float)((double)x[k * stride] - dot * (double)y[k * stride]);
    }
    double square = 0;
    for (int64_t k = 0; k < n; k++) square += (double)x[k * stride] * (double)x[k * stride];
    double scale = square > 0 ? 1 / sqrt(square) : 0;
    for (int64_t k = 0; k < n; k++) x[k * stride] = (float)((double)x[k * stride] * scale);
  }
}

/* The mutable memory behind a parameter's bases. */
static float *right_of(struct zf_zo_optimizer *optimizer, const struct zf_param *param) {
  return optimizer->basis + (param->factors.right - optimizer->basis);
}

static float *left_of(struct zf_zo_optimizer *optimizer, const struct zf_param *param) {
  return optimizer->basis + (param->factors.left - optimizer->basis);
}

/* Moves the momentum of a parameter from the basis `old` [rank][in] into the current one. */
static void move_momentum(const struct zf_param *param, const float *old) {
  const struct zf_param_factors *factors = &param->factors;
  int64_t rank = factors->rank;
  float *mean = param->state[ZF_STATE_MEAN], row[1024];
  for (int64_t o = 0; o < factors->rows; o++) {
    memset(row, 0, (size_t)rank * sizeof *row);
    zf_add_outer(row, rank, 1, rank, mean + o * rank, old, rank);
    memcpy(mean + o * rank, row, (size_t)rank * sizeof *row);
  }
}

/* overlap [rank][rank] = V_old^T V_new / in; `old` is in optimizer->delta. */
static void make_overlap(const struct zf_param_factors *factors, const float *old, float *overlap) {
  for (int64_t i = 0; i < factors->rank; i++)
    for (int64_t j = 0; j < factors->rank; j++) {
      double dot = 0;
      for (int64_t k = 0; k < factors->in; k++)
        dot += (double)old[i * factors->in + k] * (double)factors->right[j * factors->in + k];
      overlap[i * factors->rank + j] = (float)(dot / (double)factors->in);
    }
}

/* What a basis is made from. */
struct source {
  uint32_t start;
  uint64_t seed;
};

static int same_source(struct source a, struct source b) {
  return a.start == b.start && a.seed == b.seed;
}

/* The basis of the step before `step`, whose own is `now`. */
static struct source source_before(const struct zf_zo_optimizer *optimizer, uint32_t step,
                                   struct source now) {
  if (step == 1) return now;
  const struct zf_zo_record *record = zf_zo_recall(optimizer, step - 1);
  return (struct source){period_start(&optimizer->zo, step - 1), record ? record->seed : now.seed};
}

/* 1 where memory has other bases than `now`; it has these from now on. */
static int hold(struct zf_zo_optimizer *optimizer, struct source now) {
  struct source held = {optimizer->basis_start, optimizer->basis_seed};
  optimizer->basis_start = now.start;
  optimizer->basis_seed = now.seed;
  return !same_source(held, now);
}

static void change_basis(struct zf_zo_optimizer *optimizer, const struct zf_param *param,
                         struct source before) {
  const struct zf_param_factors *factors = &param->factors;
  float *old = optimizer->delta, *overlap = old + factors->rank * factors->in;
  fill(&optimizer->zo, param, old, factors->rank * factors->in, before.seed, before.start, RIGHT);
  make_overlap(factors, old, overlap);
  move_momentum(param, overlap);
}

static void begin_momentum(struct zf_zo_optimizer *optimizer, const struct zf_param *param,
                           struct source before) {
  if (!param->state[ZF_STATE_MEAN]) return;
  if (param->factors.left)
    memset(param->state[ZF_STATE_MEAN], 0, (size_t)zf_param_coordinates(param) * sizeof(float));
  else
    change_basis(optimizer, param, before);
}

static void fill_bases(struct zf_zo_optimizer *optimizer, const struct zf_param *param,
                       struct source now) {
  const struct zf_param_factors *factors = &param->factors;
  float *right = right_of(optimizer, param);
  fill(&optimizer->zo, param, right, factors->rank * factors->in, now.seed, now.start, RIGHT);
  if (!factors->left) return;
  float *left = left_of(optimizer, param);
  fill(&optimizer->zo, param, left, factors->rank * factors->out, now.seed, now.start, LEFT);
  make_orthonormal(right, factors->rank, factors->in, factors->in, 1);
  make_orthonormal(left, factors->rank, factors->out, 1, factors->rank);
}

static void begin(struct zf_zo_optimizer *optimizer, uint32_t step, uint64_t seed) {
  struct source now = {period_start(&optimizer->zo, step), seed},
                before = source_before(optimizer, step, now);
  int other = hold(optimizer, now), moves = !same_source(before, now);
  for (int64_t i = 0; i < optimizer->params->count; i++) {
    const struct zf_param *param = &optimizer->params->param[i];
    if (!param->factors.rank) continue;
    if (other) fill_bases(optimizer, param, now);
    if (moves) begin_momentum(optimizer, param, before);
  }
}

static int64_t memory(const struct zf_zo *zo) {
  (void)zo;
  return 1;
}

const struct zf_direction zf_direction_low_rank = {.name = "low_rank",
                                                   .kind = -1,
                                                   .base_only = 1,
                                                   .check = check_rank,
                                                   .prepare = prepare_low_rank,
                                                   .bytes = bytes_low_rank,
                                                   .open = open_low_rank,
                                                   .begin = begin,
                                                   .memory = memory};

const struct zf_direction zf_direction_subspace = {.name = "subspace",
                                                   .kind = -1,
                                                   .base_only = 1,
                                                   .check = check_rank,
                                                   .prepare = prepare_subspace,
                                                   .bytes = bytes_subspace,
                                                   .open = open_subspace,
                                                   .begin = begin,
                                                   .memory = memory};
