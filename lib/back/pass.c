/* The forward pass that keeps values, and the walk back. */
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
  int64_t n = ZF_BACK_LOGITS / model->config.outputs;
  n = n < 16 ? 16 : n;
  return zf_back_min(n, rows);
}

/* Widest and longest of products. */
static int64_t widest(const struct zf_model *model) {
  int64_t n = model->config.outputs;
  for (int64_t i = 0; i < model->plan.nop; i++)
    if (model->plan.op[i].kind == ZF_OP_LINEAR)
      n = zf_back_max(n, zf_back_max(model->plan.op[i].width, model->plan.op[i].inputs));
  return n;
}

void zf_back_limits(struct zf_limits *lim, const struct zf_model *model) {
  int threads = zf_kern_nthreads();
  int64_t rows = zf_back_max(lim->tokens, lim->rows), wide = 0;
  for (int64_t i = 0; i < model->plan.nop; i++)
    if (model->plan.op[i].kind == ZF_OP_LINEAR)
      wide = zf_back_max(wide, zf_back_max(model->plan.op[i].width, model->plan.op[i].inputs));
  size_t n = zf_kern_workspace_size(threads, lim->compute, rows, wide);
  size_t head =
      zf_kern_workspace_size(threads, lim->compute, logits_rows(model, lim->rows), widest(model));
  size_t turned = zf_kern_workspace_size(threads, lim->compute, ZF_BACK_TURN, rows);
  if (head > n) n = head;
  lim->work = turned > n ? turned : n;
}

/* Floats of the parts of the arena. */
struct parts {
  int64_t kept, region, grad, turned, logits, curvature, stats, lse, attention;
};

static int64_t padded(int64_t n) {
  return (n + 15) / 16 * 16;
}

static int64_t gradients(const struct zf_model *model) {
  int64_t n = 0;
  for (int64_t i = 0; i < model->params.count; i++)
    if (model->params.param[i].trained) n += padded(model->params.param[i].count);
  return n;
}

static struct parts parts_of(const struct zf_tape *tape, const struct zf_model *model,
                             const struct zf_limits *lim) {
  int64_t rows = zf_back_max(lim->tokens, lim->rows), piece = logits_rows(model, lim->rows);
  struct parts parts = {.kept = tape->kept, .region = tape->region, .grad = gradients(model)};
  parts.turned = ZF_BACK_TURN * zf_back_max(lim->tokens, lim->rows);
  int64_t deal = 3 * model->config.heads * model->config.head_dim * zf_kern_nthreads();
  if (model->config.family->qkv == ZF_QKV_HEADS) parts.turned = zf_back_max(parts.turned, deal);
  parts.logits = piece * model->config.outputs;
  if (parts.logits <= zf_forward_head_floats(model, lim))
    parts.logits = 0; /* they lie in X and H, free then */
  parts.curvature = model->config.logit_cap > 0 ? piece * model->config.outputs : 0;
  parts.stats = 2 * zf_back_max(rows * model->config.heads, rows);
  parts.lse = piece;
  parts.attention =
      zf_kern_nthreads() * zf_back_attention_scratch(lim->length, model->config.head_dim);
  return parts;
}

static int64_t cost(int64_t floats) {
  return (int64_t)zf_arena_cost((size_t)floats * sizeof(float));
}

static int64_t scratch_bytes(const struct parts *parts, const struct zf_limits *lim) {
  return cost(parts->turned) + cost(parts->logits) + cost(parts->curvature) + cost(parts->stats) +
         cost(parts->lse) + cost(parts->attention) + cost(lim->segments);
}

int zf_back_bytes(struct zf_back_bytes *out, const struct zf_model *model,
                  const struct zf_limits *lim, int checkpoint) {
  struct zf_tape tape;
  int rc = zf_tape_new(&tape, model, lim->tokens, lim->rows, checkpoint);
  if (rc) return rc;
  struct parts parts = parts_of(&tape, model, lim);
  out->values = cost(parts.kept) + cost(parts.region);
  out->gradients = cost(parts.grad);
  out->scratch = scratch_bytes(&parts, lim);
  const int64_t *width = model->plan.width, all = zf_forward_head_floats(model, lim);
  int64_t used = lim->tokens * (width[ZF_REG_X] + width[ZF_REG_H]);
  if (!parts.logits) used = zf_back_max(used, logits_rows(model, lim->rows) * model->config.vocab);
  out->spare = used < all ? 4 * (all - used) : 0;
  zf_tape_free(&tape);
  return 0;
}

static int check_types(const struct zf_model *model, const struct zf_limits *lim) {
  if (lim->compute == ZF_COMPUTE_INT8)
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
  struct parts parts = parts_of(&back->tape, back->model, &back->lim);
  size_t all = (size_t)(cost(parts.kept) + cost(parts.region) + cost(parts.grad)) +
               (size_t)scratch_bytes(&parts, &back->lim);
  int rc = zf_arena_init(&back->arena, all);
  if (rc) return rc;
  back->kept = zf_arena_array(&back->arena, parts.kept, 4);
  back->region = zf_arena_array(&back->arena, parts.region, 4);
  back->grad = zf_arena_array(&back->arena, parts.grad, 4);
  back->rotated = zf_arena_array(&back->arena, parts.turned, 4);
  back->logits = parts.logits ? zf_arena_array(&back->arena, parts.logits, 4)
                              : zf_forward_own(back->forward, ZF_REG_X);
  back->cap_derivative = zf_arena_array(&back->arena, parts.curvature, 4);
  back->stats = zf_arena_array(&back->arena, parts.stats, 4);
  back->lse = zf_arena_array(&back->arena, parts.lse, 4);
  back->attention = zf_arena_array(&back->arena, parts.attention, 4);
  back->unit = zf_arena_array(&back->arena, back->lim.segments, 4);
  back->ngrad = parts.grad;
  back->piece = logits_rows(back->model, back->lim.rows);
  if (!back->kept || !back->region || !back->grad || !back->rotated || !back->logits ||
      !back->cap_derivative || !back->stats || !back->lse || !back->attention || !back->unit)
    return ZF_ENOMEM;
  int64_t at = 0;
  for (int64_t i = 0; i < back->model->params.count; i++) {
    const struct zf_param *param = &back->model->params.param[i];
    back->at[i] = param->trained ? at : -1;
    if (param->trained) at += padded(param->count);
  }
  for (int r = 0; r < ZF_REGS; r++) {
    back->gradient[r] = zf_forward_own(back->forward, (enum zf_reg)r);
    back->ld[r] = back->model->plan.width[r];
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
  back->lim = *zf_forward_limits(forward);
  back->rows = zf_back_rows_for(zf_cpu_flags());
  assert(back->lim.work > 0);
  back->at = zf_calloc(model->params.count, sizeof *back->at);
  rc = back->at ? zf_tape_new(&back->tape, model, back->lim.tokens, back->lim.rows, checkpoint)
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
  free(back->at);
  free(back);
}

float *zf_back_value(const struct zf_back *back, int32_t v) {
  const struct zf_value *value = &back->tape.value[v];
  return (value->kept ? back->kept : back->region) + value->at;
}

float *zf_back_gradient(struct zf_back *back, int64_t number) {
  return number >= 0 && back->at[number] >= 0 ? back->grad + back->at[number] : NULL;
}

float *zf_back_all(struct zf_back *back, int64_t *count) {
  *count = back->ngrad;
  return back->grad;
}

double zf_back_norm(struct zf_back *back) {
  enum { PIECE = 1 << 14, MOST = 256 };
  double part[MOST], sum = 0;
  for (int64_t at = 0; at < back->ngrad; at += (int64_t)PIECE * MOST) {
    int64_t n = (zf_back_min(back->ngrad - at, (int64_t)PIECE * MOST) + PIECE - 1) / PIECE;
    int team = zf_tile_team(n * PIECE);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
    for (int64_t i = 0; i < n; i++)
      part[i] = back->rows->square(back->grad + at + i * PIECE,
                                   zf_back_min(PIECE, back->ngrad - at - i * PIECE));
    for (int64_t i = 0; i < n; i++) sum += part[i];
  }
  return sqrt(sum);
}

/* --- forward --- */

static void copy_rows(float *to, int64_t ldto, const float *from, int64_t ld, int64_t T,
                      int64_t n) {
  int team = zf_tile_team(T * n);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t t = 0; t < T; t++) memcpy(to + t * ldto, from + t * ld, sizeof *to * (size_t)n);
}

/* act leaves its input as it was. */
static void run_act(struct zf_back *back, const struct zf_op *op, const struct zf_node *node,
                    int64_t T) {
  const struct zf_value *from = &back->tape.value[node->src], *to = &back->tape.value[node->dst];
  float *src = zf_back_value(back, node->src), *dst = zf_back_value(back, node->dst);
  copy_rows(dst, to->ld, src, from->ld, T, op->width);
  zf_act(dst, to->ld, op->gated ? src + op->width : NULL, from->ld, T, op->width,
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
    zf_forward_bind(back->forward, op->src, zf_back_value(back, node->src), value[node->src].ld);
  if (node->side >= 0)
    copy_rows(zf_back_value(back, node->side), value[node->side].ld,
              zf_back_value(back, node->src) + op->src_col, value[node->src].ld, T,
              value[node->side].ld);
  if (node->old >= 0)
    copy_rows(zf_back_value(back, node->dst), value[node->dst].ld, zf_back_value(back, node->old),
              value[node->old].ld, T, value[node->dst].ld);
  float *keep = zf_back_value(back, node->dst);
  if (op->src != op->dst || node->src != node->dst) {
    if (op->src == op->dst && node->src >= 0) /* norm from one value of a register to the next */
      copy_rows(keep, value[node->dst].ld, zf_back_value(back, node->src), value[node->src].ld, T,
                op->width);
    zf_forward_bind(back->forward, op->dst, keep, value[node->dst].ld);
  }
  zf_forward_op(back->forward, op, back->batch);
}

static void run_segment(struct zf_back *back, int s) {
  for (int64_t i = back->tape.first[s]; i < back->tape.first[s + 1]; i++) run_op(back, i);
}

static void gather(struct zf_back *back) {
  int64_t C = back->model->config.hidden;
  const float *x = zf_back_value(back, back->tape.last_x);
  float *f = zf_back_value(back, back->tape.gathered);
  for (int64_t r = 0; r < back->batch->R; r++)
    memcpy(f + r * C, x + back->batch->row[r] * back->tape.value[back->tape.last_x].ld,
           sizeof *f * (size_t)C);
}

static enum zf_reg out_reg(const struct zf_back *back) {
  return back->model->plan.width[ZF_REG_G] ? ZF_REG_G : ZF_REG_F;
}

int zf_back_forward(struct zf_back *back, const struct zf_batch *batch) {
  int rc = zf_forward_begin(back->forward, batch);
  if (rc) return rc;
  const struct zf_plan *plan = &back->model->plan;
  back->batch = batch;
  for (int s = 0; s < back->tape.segments; s++) run_segment(back, s);
  gather(back);
  zf_forward_bind(back->forward, ZF_REG_F, zf_back_value(back, back->tape.gathered),
                  back->model->config.hidden);
  for (int64_t i = plan->body; i < plan->nop; i++) run_op(back, i);
  enum zf_reg reg = out_reg(back);
  memset(back->gradient[reg], 0, sizeof *back->gradient[reg] * (size_t)(batch->R * back->ld[reg]));
  memset(back->live, 0, sizeof back->live);
  back->live[reg] = 1;
  return 0;
}

/* --- backward --- */

/* dX from dF: rows may be asked for more than once. */
static void scatter(struct zf_back *back) {
  int64_t C = back->model->config.hidden;
  memset(back->gradient[ZF_REG_X], 0,
         sizeof(float) * (size_t)(back->batch->T * back->ld[ZF_REG_X]));
  for (int64_t r = 0; r < back->batch->R; r++)
    back->rows->add(back->gradient[ZF_REG_X] + back->batch->row[r] * back->ld[ZF_REG_X],
                    back->gradient[ZF_REG_F] + r * back->ld[ZF_REG_F], C);
  back->live[ZF_REG_X] = 1;
}

void zf_back_run(struct zf_back *back) {
  const struct zf_plan *plan = &back->model->plan;
  const struct zf_tape *tape = &back->tape;
  for (int64_t i = plan->nop - 1; i >= plan->body && i >= tape->stop; i--) zf_back_op(back, i);
  if (tape->stop >= plan->body) return;
  scatter(back);
  for (int s = tape->segments - 1; s >= 0; s--) {
    if (s < tape->segments - 1 && tape->first[s + 1] > tape->stop) run_segment(back, s);
    for (int64_t i = tape->first[s + 1] - 1; i >= tape->first[s] && i >= tape->stop; i--)
      zf_back_op(back, i);
  }
}
