/* The forward pass that keeps values, and the backward pass. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "back/back_internal.h"
#include "base/cpu.h"
#include "base/err.h"
#include "kern/tile.h"

/* --- memory --- */

static int64_t logits_rows(const struct zf_model *model, int64_t rows) {
  int64_t count = ZF_BACK_LOGITS / model->config.outputs;
  count = count < 16 ? 16 : count;
  return zf_min64(count, rows);
}

/* The largest number of inputs or outputs of a product. */
static int64_t widest(const struct zf_model *model) {
  int64_t width = model->config.outputs;
  for (int64_t i = 0; i < model->plan.nop; i++)
    if (model->plan.op[i].kind == ZF_OP_LINEAR)
      width = zf_max64(width, zf_max64(model->plan.op[i].width, model->plan.op[i].inputs));
  return width;
}

/* Rows of the largest chunk that the gradient of a matrix transposes; all of them, or of the body's and
 * tail's products in the arithmetic of the pass alone. */
static int64_t transposed_rows(const struct zf_model *model, int all) {
  const struct zf_param *param = model->params.param;
  int64_t count = 0;
  for (int64_t i = 0; i < model->plan.nop; i++) {
    const struct zf_op *op = &model->plan.op[i];
    if (op->kind != ZF_OP_LINEAR || !param[op->weight].trained) continue;
    if (all || param[op->weight].origin == ZF_ORIGIN_BASE)
      count = zf_max64(count, param[op->weight].transposed ? op->inputs : op->width);
  }
  const int32_t heads[] = {model->plan.head, model->plan.head_outer};
  for (int i = 0; i < 2; i++)
    if (heads[i] >= 0 && param[heads[i]].trained &&
        (all || param[heads[i]].origin == ZF_ORIGIN_BASE))
      count = zf_max64(count, model->config.outputs);
  return zf_min64(count, ZF_BACK_CHUNK);
}

void zf_back_limits(struct zf_limits *limits, const struct zf_model *model) {
  int64_t rows = zf_max64(zf_forward_inner_limits(model, limits).tokens, limits->rows), width = 0;
  for (int64_t i = 0; i < model->plan.nop; i++)
    if (model->plan.op[i].kind == ZF_OP_LINEAR)
      width = zf_max64(width, zf_max64(model->plan.op[i].width, model->plan.op[i].inputs));
  size_t bytes = zf_rows_bytes(limits->compute, rows, width);
  size_t head_bytes =
      zf_rows_bytes(limits->compute, logits_rows(model, limits->rows), widest(model));
  size_t transposed_bytes = zf_rows_bytes(limits->compute, transposed_rows(model, 0), rows);
  if (head_bytes > bytes) bytes = head_bytes;
  limits->keeps_values = 1;
  limits->cell_bytes = transposed_bytes > bytes ? transposed_bytes : bytes;
}

/* Floats of the parts of the arena. */
struct back_memory {
  int64_t kept, region, gradients, transposed, logits, cap_derivative, stats, lse, attention;
};

static int64_t padded(int64_t count) {
  return (count + 15) / 16 * 16;
}

static int64_t gradients(const struct zf_model *model) {
  int64_t count = 0;
  for (int64_t i = 0; i < model->params.count; i++)
    if (model->params.param[i].trained) count += padded(model->params.param[i].count);
  return count;
}

static struct back_memory memory_of(const struct zf_tape *tape, const struct zf_model *model,
                                    const struct zf_limits *limits) {
  int64_t rows = zf_max64(limits->tokens, limits->rows),
          logit_rows = logits_rows(model, limits->rows);
  struct back_memory parts = {
      .kept = tape->kept, .region = tape->region, .gradients = gradients(model)};
  parts.transposed = zf_max64(transposed_rows(model, 1) * rows, model->config.embed_dim);
  int64_t permuted = 3 * model->config.heads * model->config.head_dim * zf_kern_nthreads();
  if (model->config.family->qkv == ZF_QKV_HEADS)
    parts.transposed = zf_max64(parts.transposed, permuted);
  parts.logits = logit_rows * model->config.outputs;
  if (parts.logits <= zf_forward_head_floats(model, limits))
    parts.logits = 0; /* registers X and H, unused at that time, hold them */
  parts.cap_derivative = model->config.logit_cap > 0 ? logit_rows * model->config.outputs : 0;
  parts.stats = 2 * zf_max64(rows * model->config.heads, rows);
  parts.lse = logit_rows;
  parts.attention =
      zf_kern_nthreads() * zf_back_attention_scratch(limits->length, model->config.head_dim);
  return parts;
}

static int64_t cost(int64_t floats) {
  return (int64_t)zf_arena_cost((size_t)floats * sizeof(float));
}

static int64_t scratch_bytes(const struct back_memory *parts, const struct zf_limits *limits) {
  return cost(parts->transposed) + cost(parts->logits) + cost(parts->cap_derivative) +
         cost(parts->stats) + cost(parts->lse) + cost(parts->attention) + cost(limits->segments);
}

int zf_back_bytes(struct zf_back_bytes *out, const struct zf_model *model,
                  const struct zf_limits *asked, int checkpoint) {
  struct zf_limits inner = zf_forward_inner_limits(model, asked), *limits = &inner;
  struct zf_tape tape;
  int rc = zf_tape_new(&tape, model, limits->tokens, limits->rows, checkpoint);
  if (rc) return rc;
  struct back_memory parts = memory_of(&tape, model, limits);
  out->values = cost(parts.kept) + cost(parts.region);
  out->gradients = cost(parts.gradients);
  out->scratch = scratch_bytes(&parts, limits);
  const int64_t *width = model->plan.width, all = zf_forward_head_floats(model, limits);
  int64_t used = limits->tokens * (width[ZF_REG_X] + width[ZF_REG_H]);
  if (!parts.logits) used = zf_max64(used, logits_rows(model, limits->rows) * model->config.vocab);
  out->untouched = used < all ? 4 * (all - used) : 0;
  zf_tape_free(&tape);
  return 0;
}

static int check_types(const struct zf_model *model, const struct zf_limits *limits) {
  if (limits->compute == ZF_COMPUTE_INT8)
    return zf_error(ZF_EUSAGE,
                    "backpropagation computes in f32 or bf16: int8 is too coarse for gradients");
  for (int64_t i = 0; i < model->params.count; i++)
    if (model->params.param[i].trained && model->params.param[i].type != ZF_F32)
      return zf_error(ZF_EUSAGE,
                      "backpropagation trains weights in f32, and '%s' is held as %s: leave dtype "
                      "at auto",
                      model->params.param[i].name,
                      zf_dtype_info(model->params.param[i].type)->name);
  return 0;
}

static int place(struct zf_back *back) {
  struct back_memory parts = memory_of(&back->tape, back->model, &back->limits);
  size_t total = (size_t)(cost(parts.kept) + cost(parts.region) + cost(parts.gradients)) +
                 (size_t)scratch_bytes(&parts, &back->limits);
  int rc = zf_arena_init(&back->arena, total);
  if (rc) return rc;
  back->kept = zf_arena_array(&back->arena, parts.kept, 4);
  back->region = zf_arena_array(&back->arena, parts.region, 4);
  back->gradients = zf_arena_array(&back->arena, parts.gradients, 4);
  back->transposed = zf_arena_array(&back->arena, parts.transposed, 4);
  back->logits = parts.logits ? zf_arena_array(&back->arena, parts.logits, 4)
                              : zf_forward_register(back->forward, ZF_REG_X);
  back->cap_derivative = zf_arena_array(&back->arena, parts.cap_derivative, 4);
  back->stats = zf_arena_array(&back->arena, parts.stats, 4);
  back->lse = zf_arena_array(&back->arena, parts.lse, 4);
  back->attention = zf_arena_array(&back->arena, parts.attention, 4);
  back->unit_start = zf_arena_array(&back->arena, back->limits.segments, 4);
  back->gradient_floats = parts.gradients;
  back->logit_rows = logits_rows(back->model, back->limits.rows);
  if (!back->kept || !back->region || !back->gradients || !back->transposed || !back->logits ||
      !back->cap_derivative || !back->stats || !back->lse || !back->attention || !back->unit_start)
    return ZF_ENOMEM;
  int64_t start = 0;
  for (int64_t i = 0; i < back->model->params.count; i++) {
    const struct zf_param *param = &back->model->params.param[i];
    back->gradient_start[i] = param->trained ? start : -1;
    if (param->trained) start += padded(param->count);
  }
  for (int reg = 0; reg < ZF_REGS; reg++) {
    back->register_gradient[reg] = zf_forward_register(back->forward, (enum zf_reg)reg);
    back->register_stride[reg] = back->model->plan.width[reg];
  }
  return 0;
}

int zf_back_new(struct zf_back **out, const struct zf_model *model, struct zf_forward *forward,
                int checkpoint) {
  *out = NULL;
  int rc = check_types(model, zf_forward_limits(forward));
  if (rc) return rc;
  struct zf_back *back = zf_calloc(1, sizeof *back);
  if (!back) return ZF_ENOMEM;
  back->model = model;
  back->forward = forward;
  back->limits = *zf_forward_limits(forward);
  back->rows = zf_back_rows_for(zf_cpu_flags());
  assert(back->limits.keeps_values);
  back->gradient_start = zf_calloc(model->params.count, sizeof *back->gradient_start);
  rc = back->gradient_start
           ? zf_tape_new(&back->tape, model, back->limits.tokens, back->limits.rows, checkpoint)
           : ZF_ENOMEM;
  if (!rc) rc = place(back);
  if (rc) {
    zf_back_free(back);
    return rc;
  }
  *out = back;
  return 0;
}

void zf_back_free(struct zf_back *back) {
  if (!back) return;
  zf_arena_free(&back->arena);
  zf_tape_free(&back->tape);
  free(back->gradient_start);
  free(back);
}

float *zf_back_value(const struct zf_back *back, int32_t number) {
  const struct zf_value *value = &back->tape.value[number];
  return (value->kept ? back->kept : back->region) + value->offset;
}

float *zf_back_gradient(struct zf_back *back, int64_t number) {
  return number >= 0 && back->gradient_start[number] >= 0
             ? back->gradients + back->gradient_start[number]
             : NULL;
}

float *zf_back_all(struct zf_back *back, int64_t *count) {
  *count = back->gradient_floats;
  return back->gradients;
}

double zf_back_norm(struct zf_back *back) {
  enum { CHUNK = 1 << 14, MAX_CHUNKS = 256 };
  double partial[MAX_CHUNKS], sum = 0;
  for (int64_t start = 0; start < back->gradient_floats; start += (int64_t)CHUNK * MAX_CHUNKS) {
    int64_t chunks =
        (zf_min64(back->gradient_floats - start, (int64_t)CHUNK * MAX_CHUNKS) + CHUNK - 1) / CHUNK;
    int team = zf_tile_team(chunks * CHUNK);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
    for (int64_t i = 0; i < chunks; i++)
      partial[i] = back->rows->square(back->gradients + start + i * CHUNK,
                                      zf_min64(CHUNK, back->gradient_floats - start - i * CHUNK));
    for (int64_t i = 0; i < chunks; i++) sum += partial[i];
  }
  return sqrt(sum);
}

/* --- forward --- */

static void copy_rows(float *to, int64_t ldto, const float *from, int64_t ldfrom, int64_t T,
                      int64_t columns) {
  int team = zf_tile_team(T * columns);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t t = 0; t < T; t++)
    memcpy(to + t * ldto, from + t * ldfrom, sizeof *to * (size_t)columns);
}

/* Runs an activation that keeps its input. */
static void run_act(struct zf_back *back, const struct zf_op *op, const struct zf_node *node,
                    int64_t T) {
  const struct zf_value *from = &back->tape.value[node->src], *to = &back->tape.value[node->dst];
  float *src = zf_back_value(back, node->src), *dst = zf_back_value(back, node->dst);
  copy_rows(dst, to->stride, src, from->stride, T, op->width);
  zf_act(dst, to->stride, op->gated ? src + op->width : NULL, from->stride, T, op->width,
         (enum zf_act)op->act);
}

static void run_op(struct zf_back *back, int64_t i) {
  const struct zf_op *op = &back->model->plan.op[i];
  const struct zf_node *node = &back->tape.node[i];
  const struct zf_value *value = back->tape.value;
  int64_t T = i < back->model->plan.body ? back->batch->T : back->batch->R;
  if (op->kind == ZF_OP_ACT) {
    run_act(back, op, node, T);
    return;
  }
  if (node->src >= 0)
    zf_forward_bind(back->forward, op->src, zf_back_value(back, node->src),
                    value[node->src].stride);
  if (node->columns_before >= 0)
    copy_rows(zf_back_value(back, node->columns_before), value[node->columns_before].stride,
              zf_back_value(back, node->src) + op->src_col, value[node->src].stride, T,
              value[node->columns_before].stride);
  if (node->copied >= 0)
    copy_rows(zf_back_value(back, node->dst), value[node->dst].stride,
              zf_back_value(back, node->copied), value[node->copied].stride, T,
              value[node->dst].stride);
  float *keep = zf_back_value(back, node->dst);
  if (op->src != op->dst || node->src != node->dst) {
    if (op->src == op->dst && node->src >= 0) /* a norm from one value of a register to the next */
      copy_rows(keep, value[node->dst].stride, zf_back_value(back, node->src),
                value[node->src].stride, T, op->width);
    zf_forward_bind(back->forward, op->dst, keep, value[node->dst].stride);
  }
  zf_forward_op(back->forward, op, back->batch);
}

static void run_segment(struct zf_back *back, int segment) {
  for (int64_t i = back->tape.first[segment]; i < back->tape.first[segment + 1]; i++)
    run_op(back, i);
}

static void gather(struct zf_back *back) {
  int64_t C = back->model->config.hidden;
  const float *x = zf_back_value(back, back->tape.last_x);
  float *out = zf_back_value(back, back->tape.gathered);
  for (int64_t row = 0; row < back->batch->R; row++)
    memcpy(out + row * C, x + back->batch->row[row] * back->tape.value[back->tape.last_x].stride,
           sizeof *out * (size_t)C);
}

/* The loss has no gradient by this register yet. */
static void clear_gradient(struct zf_back *back, enum zf_reg reg) {
  memset(back->register_gradient[reg], 0,
         sizeof(float) * (size_t)(back->batch->R * back->register_stride[reg]));
  back->register_live[reg] = 1;
}

int zf_back_forward(struct zf_back *back, const struct zf_batch *batch) {
  int rc = zf_forward_begin(back->forward, batch, &back->batch);
  if (rc) return rc;
  const struct zf_plan *plan = &back->model->plan;
  for (int segment = 0; segment < back->tape.segments; segment++) run_segment(back, segment);
  gather(back);
  zf_forward_bind(back->forward, ZF_REG_F, zf_back_value(back, back->tape.gathered),
                  back->model->config.hidden);
  for (int64_t i = plan->body; i < plan->nop; i++) run_op(back, i);
  memset(back->register_live, 0, sizeof back->register_live);
  clear_gradient(back, plan->width[ZF_REG_G] ? ZF_REG_G : ZF_REG_F);
  if (plan->head_outer >= 0) clear_gradient(back, ZF_REG_U);
  return 0;
}

/* --- backward --- */

/* Adds the gradient of F to that of X; a row of X may be gathered more than once. */
static void scatter(struct zf_back *back) {
  int64_t C = back->model->config.hidden;
  memset(back->register_gradient[ZF_REG_X], 0,
         sizeof(float) * (size_t)(back->batch->T * back->register_stride[ZF_REG_X]));
  for (int64_t row = 0; row < back->batch->R; row++)
    back->rows->add(back->register_gradient[ZF_REG_X] +
                        back->batch->row[row] * back->register_stride[ZF_REG_X],
                    back->register_gradient[ZF_REG_F] + row * back->register_stride[ZF_REG_F], C);
  back->register_live[ZF_REG_X] = 1;
}

void zf_back_run(struct zf_back *back) {
  const struct zf_plan *plan = &back->model->plan;
  const struct zf_tape *tape = &back->tape;
  for (int64_t i = plan->nop - 1; i >= plan->body && i >= tape->stop; i--) zf_back_op(back, i);
  if (tape->stop >= plan->body) return;
  scatter(back);
  for (int segment = tape->segments - 1; segment >= 0; segment--) {
    if (segment < tape->segments - 1 && tape->first[segment + 1] > tape->stop)
      run_segment(back, segment);
    for (int64_t i = tape->first[segment + 1] - 1; i >= tape->first[segment] && i >= tape->stop;
         i--)
      zf_back_op(back, i);
  }
}
