/* The forward pass: walks the plan.  forward_layout.c lays out its memory. */
#include "model/forward_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"

static void bind_arena(struct zf_forward *forward) {
  memcpy(forward->reg, forward->arena_reg, sizeof forward->reg);
  memcpy(forward->ld, forward->model->plan.width, sizeof forward->ld);
  forward->ld[ZF_REG_Z] = zf_forward_z_width(forward->model, &forward->limits);
}

int zf_forward_new(struct zf_forward **out, const struct zf_model *model,
                   const struct zf_limits *limits) {
  *out = NULL;
  struct zf_limits inner = zf_forward_inner_limits(model, limits);
  if (inner.length > model->config.context)
    return zf_error(ZF_EUSAGE,
                    "a sequence of %lld tokens is longer than the model's context of %lld",
                    (long long)inner.length, (long long)model->config.context);
  struct zf_forward *forward = zf_calloc(1, sizeof *forward);
  if (!forward) return ZF_ENOMEM;
  forward->model = model;
  forward->limits = inner;
  forward->rot = zf_config_rot(&model->config);
  forward->threads = zf_kern_nthreads();
  int rc = zf_arena_init(&forward->arena, (size_t)zf_forward_bytes(model, limits));
  if (!rc) rc = zf_forward_place(forward);
  if (rc) {
    zf_forward_free(forward);
    return rc;
  }
  zf_forward_fill_ropes(forward);
  *out = forward;
  return 0;
}

void zf_forward_free(struct zf_forward *forward) {
  if (!forward) return;
  zf_arena_free(&forward->arena);
  free(forward);
}

const struct zf_limits *zf_forward_limits(const struct zf_forward *forward) {
  return &forward->limits;
}

const struct zf_model *zf_forward_model(const struct zf_forward *forward) {
  return forward->model;
}

/* --- the walk --- */

int zf_forward_is_noisy(const struct zf_forward *forward, const struct zf_param *param) {
  int block = forward->perturb.block;
  return forward->perturb.noisy && param->trained && (!block || block == param->block);
}

/* Fills the keys of the parameter's noise; NULL where the pass does not perturb its elements. */
static const struct zf_noise *noise_of(const struct zf_forward *forward,
                                       const struct zf_param *param, struct zf_forward_keys *keys) {
  const struct zf_perturb *perturb = &forward->perturb;
  if (!zf_forward_is_noisy(forward, param) || param->factors.rank) return NULL;
  int terms = perturb->term ? perturb->streams.terms : 1;
  for (int i = 0; i < terms; i++) {
    keys->key[i] = perturb->term ? perturb->term[i] : perturb->direction;
    keys->key[i].param = param->id;
  }
  return keys->key;
}

struct zf_weight zf_forward_matrix_noise(const struct zf_forward *forward, int32_t number,
                                         struct zf_forward_keys *keys) {
  const struct zf_params *params = &forward->model->params;
  const struct zf_param *param = &params->param[number], *moved = param;
  int transposed = param->transposed;
  if (param->scales) moved = &params->param[param->scales];
  struct zf_weight matrix = {.data = param->data,
                             .type = param->type,
                             .scale_change = param->scales ? moved->data : NULL,
                             .shape = moved->shape_of_noise,
                             .compute = param->origin == ZF_ORIGIN_BASE ? forward->limits.compute
                                                                        : ZF_COMPUTE_F32};
  matrix.out = transposed ? param->shape[1] : param->shape[0];
  matrix.in = transposed ? param->shape[0] : param->shape[1];
  matrix.output_stride = transposed ? 1 : matrix.in;
  matrix.input_stride = transposed ? matrix.out : 1;
  matrix.noise = noise_of(forward, moved, keys);
  return matrix;
}

/* Tables (embeddings, positions, the head) are [rows, C] in every family. */
struct zf_weight zf_forward_table_noise(const struct zf_forward *forward, int32_t number,
                                        struct zf_forward_keys *keys) {
  const struct zf_param *param = &forward->model->params.param[number];
  struct zf_weight matrix = zf_forward_matrix_noise(forward, number, keys);
  matrix.out = param->shape[0];
  matrix.in = matrix.output_stride = param->shape[1];
  matrix.input_stride = 1;
  return matrix;
}

void zf_forward_perturb_values(const struct zf_forward *forward, const struct zf_param *param,
                               float *out, int64_t ldo, int64_t first, int64_t count) {
  struct zf_forward_keys keys;
  zf_perturb_vec(out, ldo, (const char *)param->data + zf_dtype_bytes(param->type, first),
                 param->type, first, count, noise_of(forward, param, &keys), param->shape_of_noise,
                 &forward->perturb.streams);
}

/* Writes a vector parameter, perturbed for each stream, to `out` and returns that; NULL when there
 * is none. */
const float *zf_forward_perturbed(const struct zf_forward *forward, int32_t number, float *out) {
  if (number < 0) return NULL;
  const struct zf_param *param = &forward->model->params.param[number];
  zf_forward_perturb_values(forward, param, out, param->count, 0, param->count);
  float plus = param->plus;
  if (plus != 0)
    for (int64_t i = 0; i < forward->perturb.streams.count * param->count; i++) out[i] += plus;
  return out;
}

static void run_norm(struct zf_forward *forward, const struct zf_op *op, int64_t T) {
  const float *weight = zf_forward_perturbed(forward, op->weight, forward->vec_w),
              *bias = zf_forward_perturbed(forward, op->bias, forward->vec_b);
  const float *x = forward->reg[op->src];
  float *y = forward->reg[op->dst], eps = (float)forward->model->config.norm_eps;
  if (op->norm == ZF_NORM_RMS)
    zf_rmsnorm(y, forward->ld[op->dst], x, forward->ld[op->src], T, op->width, eps, weight,
               op->width, &forward->perturb.streams);
  else
    zf_layernorm(y, forward->ld[op->dst], x, forward->ld[op->src], T, op->width, eps, weight, bias,
                 op->width, &forward->perturb.streams);
}

/* The operand of a linear operation: its converted rows are those of the operation before where
 * that has the same input. */
static void set_input(struct zf_forward *forward, const struct zf_op *op, int64_t T) {
  if (forward->watch && !op->first_output)
    forward->watch(forward->watch_ctx, op, forward->reg[op->src] + op->src_col,
                   forward->ld[op->src], T * forward->perturb.streams.count);
  if (op->reuse_input) return;
  forward->input = zf_rows_of(forward->reg[op->src] + op->src_col, forward->ld[op->src], op->inputs,
                              forward->limits.compute, forward->cells);
}

/* The matrix of a linear operation, or the part of a larger one that it reads. */
static struct zf_weight linear_weight(const struct zf_forward *forward, const struct zf_op *op,
                                      struct zf_forward_keys *keys) {
  struct zf_weight matrix = zf_forward_matrix_noise(forward, op->weight, keys);
  matrix.compute = op->adapter ? ZF_COMPUTE_F32 : forward->limits.compute;
  matrix.in = op->inputs;
  return zf_weight_part(&matrix, op->first_output, op->width);
}

static struct zf_rows thin_input(const struct zf_forward *forward, const struct zf_op *op) {
  return zf_rows_of(forward->reg[op->src] + op->src_col, forward->ld[op->src], op->inputs,
                    ZF_COMPUTE_F32, NULL);
}

static void run_linear(struct zf_forward *forward, const struct zf_op *op, int64_t T) {
  struct zf_forward_keys keys;
  struct zf_weight matrix = linear_weight(forward, op, &keys);
  const float *bias = zf_forward_perturbed(forward, op->bias, forward->vec_b);
  int64_t ldb = op->bias < 0 ? 0 : forward->model->params.param[op->bias].count;
  struct zf_rows thin = thin_input(forward, op);
  if (!op->adapter) set_input(forward, op, T);
  zf_gemm(forward->reg[op->dst] + op->dst_col, forward->ld[op->dst],
          op->adapter ? &thin : &forward->input, T, &matrix, &forward->perturb.streams,
          bias ? bias + op->first_output : NULL, ldb, op->accumulate);
  if (zf_forward_is_beside(forward, op->weight))
    zf_forward_add_beside(forward, op->weight, forward->reg[op->src] + op->src_col,
                          forward->ld[op->src], T, forward->reg[op->dst] + op->dst_col,
                          forward->ld[op->dst], op->first_output, op->width);
}

/* The product with an adapter's matrix that has a direction for each example. */
static void run_linear_by_example(struct zf_forward *forward, const struct zf_op *op,
                                  const struct zf_batch *batch, int64_t T, int in_body) {
  struct zf_forward_keys keys;
  struct zf_weight matrix = linear_weight(forward, op, &keys);
  struct zf_rows thin = thin_input(forward, op);
  if (!op->adapter) set_input(forward, op, T); /* for the products behind it */
  matrix.compute = ZF_COMPUTE_F32;
  for (int64_t i = 0; i < batch->group_count; i++) {
    const struct zf_group *group = &batch->group[i];
    forward->range[i] = in_body ? (struct zf_row_range){group->start, group->len}
                                : (struct zf_row_range){group->row_start, group->row_len};
  }
  zf_gemm_by_example(forward->reg[op->dst] + op->dst_col, forward->ld[op->dst], &thin, T, &matrix,
                     &forward->perturb.streams, forward->range, batch->group_count,
                     forward->perturb.first_example, op->accumulate);
}

static void run_headnorm(struct zf_forward *forward, const struct zf_op *op, int64_t T) {
  float *x = forward->reg[op->src] + op->src_col, eps = (float)forward->model->config.norm_eps;
  const float *w = zf_forward_perturbed(forward, op->weight, forward->vec_w);
  int64_t ld = forward->ld[op->src];
  if (op->norm == ZF_NORM_RMS) {
    zf_headnorm(x, ld, T, op->heads, op->width, eps, w, op->width, &forward->perturb.streams);
    return;
  }
  for (int64_t i = 0; i < op->heads; i++, x += op->width)
    zf_layernorm(x, ld, x, ld, T, op->width, eps, w, NULL, op->width, &forward->perturb.streams);
}

/* Adds each position's row of the table, or the same row for every token. */
static void run_table(struct zf_forward *forward, const struct zf_op *op,
                      const struct zf_batch *batch) {
  struct zf_forward_keys keys;
  struct zf_weight weight = zf_forward_table_noise(forward, op->weight, &keys);
  int by_position = op->kind == ZF_OP_POSITION;
  for (int64_t i = 0; i < batch->T; i++)
    forward->table_rows[i] = (by_position ? batch->pos[i] : 0) + (int32_t)op->offset;
  zf_gather(forward->reg[op->dst], forward->ld[op->dst], forward->table_rows, batch->T, &weight,
            &forward->perturb.streams, 1);
}

/* `first`: number of the first token. */
static void run_tokens(struct zf_forward *forward, const struct zf_op *op,
                       const struct zf_batch *batch, int64_t first, int64_t T) {
  struct zf_forward_keys keys;
  struct zf_weight rows = zf_forward_table_noise(forward, op->weight, &keys);
  struct zf_streams streams = forward->perturb.streams;
  if (!streams.stride) streams.stride = T;
  for (int64_t t = 0; t < T; t++)
    for (int32_t i = 0; i < op->inputs; i++)
      if (op->ids[i] == batch->id[first + t])
        zf_gather(forward->reg[op->dst] + t * forward->ld[op->dst], forward->ld[op->dst], &i, 1,
                  &rows, &streams, 0);
}

static void run_embed(struct zf_forward *forward, const struct zf_op *op,
                      const struct zf_batch *batch, int64_t first, int64_t T) {
  struct zf_forward_keys keys;
  const int32_t *ids = batch->id + first;
  float *y = forward->reg[op->dst] + op->dst_col;
  int64_t ld = forward->ld[op->dst];
  if (forward->model->params.param[op->weight].transposed) {
    struct zf_weight weight = zf_forward_matrix_noise(forward, op->weight, &keys);
    zf_gather_columns(y, ld, ids, T, &weight, &forward->perturb.streams, 0);
    return;
  }
  struct zf_weight weight = zf_forward_table_noise(forward, op->weight, &keys);
  zf_gather(y, ld, ids, T, &weight, &forward->perturb.streams, 0);
  if (zf_forward_is_beside(forward, op->weight))
    zf_forward_gather_beside(forward, op->weight, ids, T, y, ld);
}

static void run_columns(struct zf_forward *forward, const struct zf_op *op, int64_t T) {
  const float *factor = zf_forward_perturbed(forward, op->weight, forward->vec_w),
              *shift = zf_forward_perturbed(forward, op->bias, forward->vec_b);
  zf_columns(forward->reg[op->src] + op->src_col, forward->ld[op->src], T, op->width, factor, shift,
             op->width, &forward->perturb.streams);
}

static void run_copy(struct zf_forward *forward, const struct zf_op *op, int64_t rows) {
  const float *from = forward->reg[op->src] + op->src_col;
  float *to = forward->reg[op->dst] + op->dst_col;
  for (int64_t i = 0; i < rows; i++)
    memcpy(to + i * forward->ld[op->dst], from + i * forward->ld[op->src],
           sizeof(float) * (size_t)op->width);
}

/* Runs an operation on T rows of every stream, from row `first` on. */
static void run_rows(struct zf_forward *forward, const struct zf_op *op,
                     const struct zf_batch *batch, int64_t first, int64_t T) {
  const struct zf_streams *streams = &forward->perturb.streams;
  float *src = forward->reg[op->src] + op->src_col;
  int64_t ld = forward->ld[op->src];
  switch (op->kind) {
    case ZF_OP_EMBED:
      run_embed(forward, op, batch, first, T);
      break;
    case ZF_OP_POSITION:
    case ZF_OP_TYPE:
      run_table(forward, op, batch);
      break;
    case ZF_OP_NORM:
      run_norm(forward, op, T);
      break;
    case ZF_OP_LINEAR:
      run_linear(forward, op, T);
      break;
    case ZF_OP_HEADNORM:
      run_headnorm(forward, op, T);
      break;
    case ZF_OP_ROPE:
      zf_rope(src, ld, T, op->heads, op->width, forward->rot, zf_forward_rope(forward, op),
              forward->rope_rows, streams);
      break;
    case ZF_OP_ATTENTION:
      zf_forward_run_attention(forward, op, batch);
      break;
    case ZF_OP_ACT:
      zf_act(src, ld, op->gated ? src + op->width : NULL, ld, T * streams->count, op->width,
             (enum zf_act)op->act);
      break;
    case ZF_OP_PERMUTE_HEADS:
      zf_permute_heads(src, ld, T * streams->count, op->heads, 3, op->width, forward->head_rows);
      break;
    case ZF_OP_SCALE:
      zf_scale_rows(src, ld, T * streams->count, op->width, op->scale);
      break;
    case ZF_OP_ADD:
      zf_add_rows(forward->reg[op->dst] + op->dst_col, forward->ld[op->dst], src, ld,
                  T * streams->count, op->width);
      break;
    case ZF_OP_TOKENS:
      run_tokens(forward, op, batch, first, T);
      break;
    case ZF_OP_DORA:
      zf_forward_run_dora(forward, op, T);
      break;
    case ZF_OP_VIRTUAL:
      zf_forward_run_virtual(forward, op, first, T);
      break;
    case ZF_OP_COPY:
      run_copy(forward, op, T * streams->count);
      break;
    case ZF_OP_COLUMNS:
      run_columns(forward, op, T);
      break;
  }
}

static int is_trained(const struct zf_forward *forward, int32_t number) {
  return number >= 0 && forward->model->params.param[number].trained;
}

/* Runs an operation whose parameters have a direction for each example, on the rows of one example
 * after another. */
static void run_by_example(struct zf_forward *forward, const struct zf_op *op,
                           const struct zf_batch *batch, int64_t T, int in_body) {
  float *reg[ZF_REGS];
  struct zf_perturb *perturb = &forward->perturb;
  assert(op->kind != ZF_OP_POSITION && op->kind != ZF_OP_TYPE);
  memcpy(reg, forward->reg, sizeof reg);
  struct zf_noise shared = perturb->direction;
  perturb->streams.stride = T;
  for (int64_t i = 0; i < batch->group_count; i++) {
    const struct zf_group *group = &batch->group[i];
    int64_t start = in_body ? group->start : group->row_start,
            len = in_body ? group->len : group->row_len;
    if (!len) continue;
    zf_noise_example(&perturb->direction, perturb->first_example + i);
    for (int j = 0; j < ZF_REGS; j++) forward->reg[j] = reg[j] + start * forward->ld[j];
    run_rows(forward, op, batch, start, len);
    perturb->direction = shared;
  }
  perturb->streams.stride = 0;
  memcpy(forward->reg, reg, sizeof reg);
}

static void run_op(struct zf_forward *forward, const struct zf_op *op, const struct zf_batch *batch,
                   int in_body) {
  int64_t T = in_body ? batch->T : batch->R;
  int trained = is_trained(forward, op->weight) || is_trained(forward, op->bias);
  if (op->kind == ZF_OP_DORA)
    trained = trained || is_trained(forward, op->norm_inner) || is_trained(forward, op->norm_outer);
  if (forward->perturb.by_example && trained && op->kind == ZF_OP_LINEAR)
    run_linear_by_example(forward, op, batch, T, in_body);
  else if (forward->perturb.by_example && trained)
    run_by_example(forward, op, batch, T, in_body);
  else
    run_rows(forward, op, batch, 0, T);
}

/* A product, an adapter's additions to it, and the gated activation that is their only reader, chunk of
 * columns by chunk.  Returns the number of operations after the first. */
static int64_t run_up(struct zf_forward *forward, const struct zf_op *op,
                      const struct zf_batch *batch) {
  int64_t last = 1, T = batch->T, ld = forward->ld[op->dst];
  while (op[last].kind != ZF_OP_ACT) last++;
  float *gate = forward->reg[op->dst] + op[last].src_col, *up = forward->reg[op->dst] + op->dst_col;
  for (int64_t first = 0; first < op->width; first += ZF_UP_CHUNK) {
    int64_t count = op->width - first < ZF_UP_CHUNK ? op->width - first : ZF_UP_CHUNK;
    for (int64_t i = 0; i < last; i++) {
      struct zf_op part = op[i];
      part.first_output = first;
      part.width = count;
      part.reuse_input = i == 0 && (first || op->reuse_input);
      run_op(forward, &part, batch, 1);
    }
    zf_act(gate + first, ld, up, ld, T * forward->perturb.streams.count, count,
           (enum zf_act)op[last].act);
  }
  return last;
}

/* F = the rows of X that the batch asks for. */
static void gather_rows(struct zf_forward *forward, const struct zf_batch *batch) {
  int64_t C = forward->model->config.hidden;
  for (int i = 0; i < forward->perturb.streams.count; i++)
    for (int64_t j = 0; j < batch->R; j++)
      memcpy(forward->reg[ZF_REG_F] + (i * batch->R + j) * forward->ld[ZF_REG_F],
             forward->reg[ZF_REG_X] + (i * batch->T + batch->row[j]) * forward->ld[ZF_REG_X],
             sizeof(float) * (size_t)C);
}

static int check_batch(const struct zf_forward *forward, const struct zf_batch *batch,
                       int streams) {
  assert(streams <= forward->limits.streams && batch->T * streams <= forward->limits.tokens);
  assert(batch->R * streams <= forward->limits.rows &&
         batch->segment_count <= forward->limits.segments);
  assert(zf_kern_nthreads() <= forward->threads);
  int64_t length = forward->limits.length - forward->model->plan.virtual_tokens;
  for (int64_t i = 0; i < batch->T; i++) {
    if (batch->id[i] < 0 || batch->id[i] >= forward->model->config.vocab)
      return zf_error(ZF_EUSAGE, "token id %d is outside the model's vocabulary of %lld",
                      batch->id[i], (long long)forward->model->config.vocab);
    if (batch->pos[i] < 0 || batch->pos[i] >= length)
      return zf_error(ZF_EUSAGE, "position %d: expected 0 to %lld, the length limit of the pass",
                      batch->pos[i], (long long)length - 1);
  }
  return 0;
}

static int begin(struct zf_forward *forward, const struct zf_batch *batch,
                 const struct zf_perturb *perturb) {
  int rc = check_batch(forward, batch, perturb->streams.count);
  if (rc) return rc;
  forward->perturb = *perturb;
  forward->R = batch->R;
  zf_kern_workspace(forward->work);
  return 0;
}

void zf_forward_watch_inputs(struct zf_forward *forward, zf_forward_watch watch, void *ctx) {
  forward->watch = watch;
  forward->watch_ctx = ctx;
}

void zf_forward_watch_logits(struct zf_forward *forward, zf_head_watch watch, void *ctx) {
  forward->watch_logits = watch;
  forward->watch_logits_ctx = ctx;
}

int zf_forward_run(struct zf_forward *forward, const struct zf_batch *text,
                   const struct zf_perturb *perturb) {
  int rc = begin(forward, text, perturb);
  if (rc) return rc;
  const struct zf_batch *batch = zf_forward_expand(forward, text);
  zf_forward_place_ropes(forward, batch);
  bind_arena(forward);
  const struct zf_plan *plan = &forward->model->plan;
  for (int64_t i = 0; i < plan->body; i++)
    if (zf_forward_fuses_up(plan, i, &forward->limits))
      i += run_up(forward, &plan->op[i], batch);
    else
      run_op(forward, &plan->op[i], batch, 1);
  if (batch->cache)
    for (int64_t i = 0; i < batch->segment_count; i++) batch->cache[i]->len += text->segment[i].len;
  if (batch->R == 0) return 0;
  gather_rows(forward, batch);
  for (int64_t i = plan->body; i < plan->nop; i++) run_op(forward, &plan->op[i], batch, 0);
  return 0;
}

/* --- operation by operation --- */

int zf_forward_begin(struct zf_forward *forward, const struct zf_batch *batch,
                     const struct zf_batch **inner) {
  struct zf_perturb none = zf_perturb_none();
  assert(!batch->cache);
  int rc = begin(forward, batch, &none);
  if (rc) return rc;
  *inner = zf_forward_expand(forward, batch);
  zf_forward_place_ropes(forward, *inner);
  return 0;
}

void zf_forward_op(struct zf_forward *forward, const struct zf_op *op,
                   const struct zf_batch *batch) {
  run_op(forward, op, batch, op - forward->model->plan.op < forward->model->plan.body);
}

void zf_forward_bind(struct zf_forward *forward, enum zf_reg reg, float *data, int64_t ld) {
  forward->reg[reg] = data;
  forward->ld[reg] = ld;
}

float *zf_forward_register(const struct zf_forward *forward, enum zf_reg reg) {
  return forward->arena_reg[reg];
}

struct zf_weight zf_forward_matrix(const struct zf_forward *forward, int32_t number) {
  struct zf_forward_keys keys;
  struct zf_weight matrix = zf_forward_matrix_noise(forward, number, &keys);
  matrix.noise = NULL;
  return matrix;
}

struct zf_weight zf_forward_table(const struct zf_forward *forward, int32_t number) {
  struct zf_forward_keys keys;
  struct zf_weight weight = zf_forward_table_noise(forward, number, &keys);
  weight.noise = NULL;
  return weight;
}

const float *zf_forward_vector(struct zf_forward *forward, int32_t number, int which) {
  return zf_forward_perturbed(forward, number, which ? forward->vec_b : forward->vec_w);
}

const float *zf_forward_rope(const struct zf_forward *forward, const struct zf_op *op) {
  return forward->rope +
         op->rope * zf_forward_rope_length(forward->model, &forward->limits) * forward->rot;
}

const int32_t *zf_forward_virtual_numbers(const struct zf_forward *forward) {
  return forward->virtual_number;
}

const int32_t *zf_forward_rope_rows(const struct zf_forward *forward) {
  return forward->rope_rows;
}

void *zf_forward_cells(const struct zf_forward *forward) {
  return forward->cells;
}
