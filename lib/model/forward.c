/* Memory of a pass, one arena laid out once:
 *
 *   X | H | P     residual stream, normed inputs        [rows, wx] [rows, wh] [rows, wp]
 *   Z             q|k|v, and gate|a piece of up         [rows, wz]
 *   vectors       norms and biases of the operation at hand, a copy for each stream
 *   attention     scores, for each thread
 *   kern          workspace of the drivers (packed tiles)
 *   rope          [ropes][length, or length + tokens][rot] cosines and sines
 *   deal          a row of q|k|v, for each thread
 *
 * After the body Z is free: F and G (the wanted rows) lie there.  After the tail X and H are
 * free: pieces of logits lie there. */
#include "model/forward.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"

struct zf_forward {
  const struct zf_model *model;
  struct zf_limits lim;
  struct zf_arena arena;
  float *own[ZF_REGS]; /* registers in the arena */
  float *reg[ZF_REGS]; /* those in use: own, or bound by the caller */
  int64_t ld[ZF_REGS];
  float *head; /* scratch of the head: X and H again */
  float *vec_w, *vec_b, *scores, *rope, *deal;
  double *freq; /* [rot / 2] of the rope at hand */
  void *work;
  int32_t *at;   /* position rows */
  int32_t *turn; /* rows of a rope table */
  struct zf_segment *seg;
  int64_t rot;
  int threads;          /* that scratch and workspace were made for */
  struct zf_perturb pt; /* of the last run */
  int64_t R;
};

static int64_t max64(int64_t a, int64_t b) {
  return a > b ? a : b;
}

/* Columns of `up` that are there at once: they meet their columns of the gate and are gone.  A pass
 * that keeps its values for a backward one has them all. */
enum { PIECE = 512 };

/* Is op `i`, a product, used up by the gated activation after it alone? */
static int is_up(const struct zf_plan *plan, int64_t i) {
  const struct zf_op *op = plan->op + i, *act = op + 1;
  return i + 1 < plan->nop && op->kind == ZF_OP_LINEAR && act->kind == ZF_OP_ACT && act->gated &&
         op->dst == act->src && op->dst_col == act->src_col + act->width && op->width == act->width;
}

static int in_pieces(const struct zf_limits *lim) {
  return !lim->work;
}

/* Width of register Z. */
static int64_t z_width(const struct zf_model *model, const struct zf_limits *lim) {
  const struct zf_plan *plan = &model->plan;
  int64_t most = model->config.hidden;
  if (!in_pieces(lim)) return plan->width[ZF_REG_Z];
  for (int64_t i = 0; i < plan->nop; i++) {
    const struct zf_op *op = plan->op + i;
    int64_t n = is_up(plan, i) && op->width > PIECE ? PIECE : op->width;
    if (op->kind == ZF_OP_LINEAR && op->dst == ZF_REG_Z) most = max64(most, op->dst_col + n);
  }
  return most;
}

/* Sizes in floats of the parts of the arena; of the drivers' workspace in bytes. */
struct layout {
  int64_t xh, z, vec, scores, rope, deal;
  size_t work;
};

/* Most inputs of a product. */
static int64_t widest(const struct zf_model *model) {
  int64_t k = model->config.embed_dim;
  for (int64_t i = 0; i < model->plan.nop; i++) k = max64(k, model->plan.op[i].inputs);
  return k;
}

/* A table of cosines and sines for each of the configuration's rotary embeddings: a row for each
 * position and, where frequencies depend on a sequence's length, for each token of a pass; a
 * sequence may be a token longer than what is run of it. */
static int64_t rope_rows(const struct zf_model *model, const struct zf_limits *lim) {
  int far =
      zf_rope_by_length(&model->config) && (double)lim->length + 1 > model->config.rope[0].original;
  return lim->length + (far ? lim->tokens : 0);
}

static int64_t rope_floats(const struct zf_model *model, const struct zf_limits *lim) {
  return model->config.ropes * rope_rows(model, lim) * zf_config_rot(&model->config);
}

static struct layout lay_out(const struct zf_model *model, const struct zf_limits *lim) {
  const struct zf_plan *plan = &model->plan;
  const int64_t *w = plan->width;
  int64_t ew = model->config.embed_dim;
  struct layout layout;
  layout.xh = lim->tokens * (w[ZF_REG_X] + w[ZF_REG_H] + w[ZF_REG_P]);
  layout.xh = max64(layout.xh, lim->rows * ZF_VC);
  layout.xh = max64(layout.xh, lim->ids * (lim->streams * ew + lim->rows));
  layout.z = max64(lim->tokens * z_width(model, lim), lim->rows * (w[ZF_REG_F] + w[ZF_REG_G]));
  layout.vec = lim->streams * plan->vec;
  layout.scores = zf_attention_scratch(lim->length, model->config.head_dim) * zf_kern_nthreads();
  layout.rope = rope_floats(model, lim);
  layout.deal = model->config.family->qkv == ZF_QKV_HEADS
                    ? 3 * model->config.heads * model->config.head_dim * zf_kern_nthreads()
                    : 0;
  layout.work = zf_kern_workspace_size(zf_kern_nthreads(), lim->compute,
                                       max64(lim->tokens, lim->rows), widest(model));
  if (layout.work < lim->work) layout.work = lim->work;
  return layout;
}

int64_t zf_forward_bytes(const struct zf_model *model, const struct zf_limits *lim) {
  struct layout layout = lay_out(model, lim);
  size_t n = zf_arena_cost((size_t)layout.xh * 4) + zf_arena_cost((size_t)layout.z * 4) +
             2 * zf_arena_cost((size_t)layout.vec * 4) + zf_arena_cost((size_t)layout.scores * 4) +
             zf_arena_cost((size_t)layout.rope * 4) + zf_arena_cost((size_t)layout.deal * 4) +
             zf_arena_cost((size_t)zf_config_rot(&model->config) / 2 * sizeof(double)) +
             2 * zf_arena_cost((size_t)lim->tokens * 4) +
             zf_arena_cost((size_t)lim->segments * sizeof(struct zf_segment)) +
             zf_arena_cost(layout.work);
  return (int64_t)n;
}

/* Does some product of a pass keep sums outside its output? */
static int keeps_sums(const struct zf_model *model, const struct zf_limits *lim) {
  static const int64_t inputs[ZF_COMPUTES] = {
      [ZF_COMPUTE_F32] = ZF_KC, [ZF_COMPUTE_BF16] = ZF_KC_BF16, [ZF_COMPUTE_INT8] = ZF_KC_INT8};
  int64_t chunk = inputs[lim->compute];
  for (int64_t i = 0; i < model->plan.nop; i++) {
    const struct zf_op *op = &model->plan.op[i];
    if (op->kind == ZF_OP_LINEAR && op->inputs > chunk) return 1;
  }
  return model->config.embed_dim > chunk;
}

int64_t zf_forward_untouched(const struct zf_model *model, const struct zf_limits *lim) {
  int64_t rows = max64(lim->tokens, lim->rows), in = widest(model);
  if (lim->work) in = rows = max64(rows, in); /* products of a backward pass run over tokens */
  int sums = keeps_sums(model, lim) || lim->work;
  return (int64_t)zf_kern_workspace_untouched(zf_kern_nthreads(), lim->compute, lim->streams, rows,
                                              in, sums);
}

int64_t zf_forward_head_floats(const struct zf_model *model, const struct zf_limits *lim) {
  return lay_out(model, lim).xh;
}

/* n rows from `to` on: positions from, from + 1, ... of a sequence of `length` tokens. */
static void fill_rows(const struct zf_forward *forward, int which, int64_t to, int64_t from,
                      int64_t n, int64_t length) {
  const struct zf_rope_conf *rope = &forward->model->config.rope[which];
  int64_t half = forward->rot / 2;
  float *row =
      forward->rope + (which * rope_rows(forward->model, &forward->lim) + to) * forward->rot;
  zf_rope_freqs(forward->freq, forward->rot, rope, length);
  for (int64_t t = from; t < from + n; t++, row += forward->rot)
    for (int64_t i = 0; i < half; i++) {
      row[i] = (float)(cos((double)t * forward->freq[i]) * rope->attention);
      row[half + i] = (float)(sin((double)t * forward->freq[i]) * rope->attention);
    }
}

static int place_parts(struct zf_forward *forward) {
  struct layout layout = lay_out(forward->model, &forward->lim);
  const int64_t *w = forward->model->plan.width;
  float *xh = zf_arena_array(&forward->arena, layout.xh, 4);
  float *z = zf_arena_array(&forward->arena, layout.z, 4);
  forward->vec_w = zf_arena_array(&forward->arena, layout.vec, 4);
  forward->vec_b = zf_arena_array(&forward->arena, layout.vec, 4);
  forward->scores = zf_arena_array(&forward->arena, layout.scores, 4);
  forward->rope = zf_arena_array(&forward->arena, layout.rope, 4);
  forward->deal = zf_arena_array(&forward->arena, layout.deal, 4);
  forward->freq = zf_arena_array(&forward->arena, forward->rot / 2, sizeof *forward->freq);
  forward->at = zf_arena_array(&forward->arena, forward->lim.tokens, 4);
  forward->turn = zf_arena_array(&forward->arena, forward->lim.tokens, 4);
  forward->seg = zf_arena_array(&forward->arena, forward->lim.segments, sizeof *forward->seg);
  forward->work = zf_arena_alloc(&forward->arena, layout.work);
  if (!xh || !z || !forward->vec_w || !forward->vec_b || !forward->scores || !forward->rope ||
      !forward->deal || !forward->freq || !forward->at || !forward->turn || !forward->seg ||
      !forward->work)
    return ZF_ENOMEM;
  forward->head = forward->own[ZF_REG_X] = xh;
  forward->own[ZF_REG_H] = xh + forward->lim.tokens * w[ZF_REG_X];
  forward->own[ZF_REG_P] = forward->own[ZF_REG_H] + forward->lim.tokens * w[ZF_REG_H];
  forward->own[ZF_REG_Z] = forward->own[ZF_REG_F] = z;
  forward->own[ZF_REG_G] = z + forward->lim.rows * w[ZF_REG_F];
  return 0;
}

static void bind_own(struct zf_forward *forward) {
  memcpy(forward->reg, forward->own, sizeof forward->reg);
  memcpy(forward->ld, forward->model->plan.width, sizeof forward->ld);
  forward->ld[ZF_REG_Z] = z_width(forward->model, &forward->lim);
}

int zf_forward_new(struct zf_forward **out, const struct zf_model *model,
                   const struct zf_limits *lim) {
  *out = NULL;
  if (lim->length > model->config.context)
    return zf_error(ZF_EUSAGE,
                    "a sequence of %lld tokens is longer than the model's context of %lld",
                    (long long)lim->length, (long long)model->config.context);
  struct zf_forward *forward = zf_calloc(1, sizeof *forward);
  if (!forward) return ZF_ENOMEM;
  forward->model = model;
  forward->lim = *lim;
  forward->rot = zf_config_rot(&model->config);
  forward->threads = zf_kern_nthreads();
  int rc = zf_arena_init(&forward->arena, (size_t)zf_forward_bytes(model, lim));
  if (!rc) rc = place_parts(forward);
  for (int r = 0; !rc && forward->rot && r < model->config.ropes; r++)
    fill_rows(forward, r, 0, 0, lim->length, 0);
  if (rc) {
    zf_forward_free(forward);
    return rc;
  }
  *out = forward;
  return 0;
}

void zf_forward_free(struct zf_forward *forward) {
  if (!forward) return;
  zf_arena_free(&forward->arena);
  free(forward);
}

const struct zf_limits *zf_forward_limits(const struct zf_forward *forward) {
  return &forward->lim;
}

const struct zf_model *zf_forward_model(const struct zf_forward *forward) {
  return forward->model;
}

/* --- the walk --- */

/* A weight as the kernels see it; `noise` must outlive the call. */
static struct zf_weight weight(const struct zf_forward *forward, int32_t number,
                               struct zf_noise *noise) {
  const struct zf_param *param = &forward->model->params.param[number];
  int t = forward->model->config.family->transposed;
  struct zf_weight matrix = {
      .data = param->data, .type = param->type, .compute = forward->lim.compute};
  matrix.out = t ? param->shape[1] : param->shape[0];
  matrix.in = t ? param->shape[0] : param->shape[1];
  matrix.so = t ? 1 : matrix.in;
  matrix.si = t ? matrix.out : 1;
  *noise = forward->pt.dir;
  noise->param = param->id;
  if (param->trained && forward->pt.st.count > 1) matrix.noise = noise;
  return matrix;
}

/* Tables (embeddings, positions, the head) are [rows, C] in every family. */
static struct zf_weight table(const struct zf_forward *forward, int32_t number,
                              struct zf_noise *noise) {
  const struct zf_param *param = &forward->model->params.param[number];
  struct zf_weight matrix = weight(forward, number, noise);
  matrix.out = param->shape[0];
  matrix.in = matrix.so = param->shape[1];
  matrix.si = 1;
  return matrix;
}

/* A vector parameter perturbed for each stream, into `out`; NULL when there is none. */
static const float *vector(const struct zf_forward *forward, int32_t number, float *out) {
  if (number < 0) return NULL;
  const struct zf_param *param = &forward->model->params.param[number];
  struct zf_noise noise = forward->pt.dir;
  noise.param = param->id;
  int noisy = param->trained && forward->pt.st.count > 1;
  zf_perturb_vec(out, param->count, param->data, param->type, 0, param->count,
                 noisy ? &noise : NULL, &forward->pt.st);
  float plus = forward->model->plan.want[number].plus;
  for (int64_t i = 0; plus != 0 && i < forward->pt.st.count * param->count; i++) out[i] += plus;
  return out;
}

static void run_attention(struct zf_forward *forward, const struct zf_op *op,
                          const struct zf_batch *batch) {
  const struct zf_config *config = &forward->model->config;
  int64_t kw = config->kv_heads * config->head_dim, qw = config->heads * config->head_dim,
          ld = forward->ld[op->src];
  const float *q = forward->reg[op->src], *k = q + qw, *v = k + kw;
  memcpy(forward->seg, batch->seg, sizeof *batch->seg * (size_t)batch->nseg);
  for (int64_t g = 0; batch->cache && g < batch->nseg; g++) {
    const struct zf_cache *cache = batch->cache[g];
    forward->seg[g].prefix_keys = cache->keys + op->layer * cache->cap * kw;
    forward->seg[g].prefix_values = cache->values + op->layer * cache->cap * kw;
    forward->seg[g].prefix_len = cache->len;
    forward->seg[g].prefix_stride = 0;
  }
  struct zf_attention_params attention = {op->scale, op->cap, forward->model->plan.causal,
                                          op->window};
  zf_attention(forward->reg[op->dst], forward->ld[op->dst], q, ld, k, v, ld, batch->T,
               config->heads, config->kv_heads, config->head_dim, &attention, forward->seg,
               batch->nseg, &forward->pt.st, forward->scores);
  for (int64_t g = 0; batch->cache && g < batch->nseg; g++) {
    const struct zf_cache *cache = batch->cache[g];
    for (int64_t i = 0; i < batch->seg[g].len; i++) {
      int64_t to = (op->layer * cache->cap + cache->len + i) * kw,
              from = (batch->seg[g].start + i) * ld;
      memcpy(cache->keys + to, k + from, sizeof(float) * (size_t)kw);
      memcpy(cache->values + to, v + from, sizeof(float) * (size_t)kw);
    }
  }
}

static void run_norm(struct zf_forward *forward, const struct zf_op *op, int64_t T) {
  const float *w = vector(forward, op->weight, forward->vec_w),
              *b = vector(forward, op->bias, forward->vec_b);
  const float *x = forward->reg[op->src];
  float *y = forward->reg[op->dst], eps = (float)forward->model->config.norm_eps;
  if (op->norm == ZF_NORM_RMS)
    zf_rmsnorm(y, forward->ld[op->dst], x, forward->ld[op->src], T, op->width, eps, w, op->width,
               &forward->pt.st);
  else
    zf_layernorm(y, forward->ld[op->dst], x, forward->ld[op->src], T, op->width, eps, w, b,
                 op->width, &forward->pt.st);
}

static void run_linear(struct zf_forward *forward, const struct zf_op *op, int64_t T) {
  struct zf_noise noise;
  struct zf_weight matrix = weight(forward, op->weight, &noise);
  const float *bias = vector(forward, op->bias, forward->vec_b);
  (op->reuse_input ? zf_gemm_reuse
                   : zf_gemm)(forward->reg[op->dst] + op->dst_col, forward->ld[op->dst],
                              forward->reg[op->src] + op->src_col, forward->ld[op->src], T, &matrix,
                              &forward->pt.st, bias, op->width, op->accumulate);
}

/* A product and the activation that uses it up, piece by piece. */
static void run_up(struct zf_forward *forward, const struct zf_op *op, int64_t T) {
  struct zf_noise noise;
  struct zf_weight matrix = weight(forward, op->weight, &noise);
  const float *bias = vector(forward, op->bias, forward->vec_b);
  int64_t ld = forward->ld[op->dst], ldx = forward->ld[op->src];
  float *gate = forward->reg[op->dst] + op[1].src_col, *up = forward->reg[op->dst] + op->dst_col;
  for (int64_t o = 0; o < op->width; o += PIECE) {
    int64_t n = op->width - o < PIECE ? op->width - o : PIECE;
    struct zf_weight part = zf_weight_part(&matrix, o, n);
    (o || op->reuse_input ? zf_gemm_reuse : zf_gemm)(up, ld, forward->reg[op->src] + op->src_col,
                                                     ldx, T, &part, &forward->pt.st,
                                                     bias ? bias + o : NULL, op->width, 0);
    zf_act(gate + o, ld, up, ld, T * forward->pt.st.count, n, (enum zf_act)op[1].act);
  }
}

static void run_headnorm(struct zf_forward *forward, const struct zf_op *op, int64_t T) {
  float *x = forward->reg[op->src] + op->src_col, eps = (float)forward->model->config.norm_eps;
  const float *w = vector(forward, op->weight, forward->vec_w);
  int64_t ld = forward->ld[op->src];
  if (op->norm == ZF_NORM_RMS)
    zf_headnorm(x, ld, T, op->heads, op->width, eps, w, op->width, &forward->pt.st);
  for (int64_t h = 0; op->norm == ZF_NORM_LAYER && h < op->heads; h++, x += op->width)
    zf_layernorm(x, ld, x, ld, T, op->width, eps, w, NULL, op->width, &forward->pt.st);
}

/* A position's row of the table, or the same row for every token. */
static void run_table(struct zf_forward *forward, const struct zf_op *op,
                      const struct zf_batch *batch) {
  struct zf_noise noise;
  struct zf_weight weight = table(forward, op->weight, &noise);
  int32_t by = op->kind == ZF_OP_POSITION;
  for (int64_t t = 0; t < batch->T; t++) forward->at[t] = by * batch->pos[t] + (int32_t)op->offset;
  zf_gather(forward->reg[op->dst], forward->ld[op->dst], forward->at, batch->T, &weight,
            &forward->pt.st, 1);
}

static void run_op(struct zf_forward *forward, const struct zf_op *op, const struct zf_batch *batch,
                   int64_t T) {
  struct zf_noise noise;
  const struct zf_streams *st = &forward->pt.st;
  float *src = forward->reg[op->src] + op->src_col;
  int64_t ld = forward->ld[op->src];
  switch (op->kind) {
    case ZF_OP_EMBED: {
      struct zf_weight weight = table(forward, op->weight, &noise);
      zf_gather(forward->reg[op->dst], forward->ld[op->dst], batch->id, T, &weight, st, 0);
      break;
    }
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
              forward->turn, st);
      break;
    case ZF_OP_ATTENTION:
      run_attention(forward, op, batch);
      break;
    case ZF_OP_ACT:
      zf_act(src, ld, op->gated ? src + op->width : NULL, ld, T * st->count, op->width,
             (enum zf_act)op->act);
      break;
    case ZF_OP_PERMUTE_HEADS:
      zf_permute_heads(src, ld, T * st->count, op->heads, 3, op->width, forward->deal);
      break;
    case ZF_OP_SCALE:
      zf_scale_rows(src, ld, T * st->count, op->width, op->scale);
      break;
    case ZF_OP_ADD:
      zf_add_rows(forward->reg[op->dst] + op->dst_col, forward->ld[op->dst], src, ld, T * st->count,
                  op->width);
      break;
  }
}

/* F = the wanted rows of X. */
static void gather_rows(struct zf_forward *forward, const struct zf_batch *batch) {
  int64_t C = forward->model->config.hidden;
  for (int s = 0; s < forward->pt.st.count; s++)
    for (int64_t r = 0; r < batch->R; r++)
      memcpy(forward->reg[ZF_REG_F] + (s * batch->R + r) * forward->ld[ZF_REG_F],
             forward->reg[ZF_REG_X] + (s * batch->T + batch->row[r]) * forward->ld[ZF_REG_X],
             sizeof(float) * (size_t)C);
}

static int check_batch(const struct zf_forward *forward, const struct zf_batch *batch,
                       int streams) {
  assert(streams <= forward->lim.streams && batch->T * streams <= forward->lim.tokens);
  assert(batch->R * streams <= forward->lim.rows && batch->nseg <= forward->lim.segments);
  assert(zf_kern_nthreads() <= forward->threads);
  for (int64_t t = 0; t < batch->T; t++) {
    if (batch->id[t] < 0 || batch->id[t] >= forward->model->config.vocab)
      return zf_error(ZF_EUSAGE, "token id %d is outside the model's vocabulary of %lld",
                      batch->id[t], (long long)forward->model->config.vocab);
    if (batch->pos[t] < 0 || batch->pos[t] >= forward->lim.length)
      return zf_error(ZF_EUSAGE, "position %d is beyond the %lld that were made ready",
                      batch->pos[t], (long long)forward->lim.length);
  }
  return 0;
}

int64_t zf_batch_length(const struct zf_batch *batch, int64_t g) {
  const struct zf_segment *segment = &batch->seg[g];
  if (batch->cache) return max64(batch->cache[g]->len + segment->len, batch->cache[g]->full_len);
  int64_t longest = segment->prefix_len + segment->len,
          root = segment->prefix_len ? segment->prefix_start : segment->start;
  for (int64_t o = 0; o < batch->nseg; o++) {
    int64_t whole = batch->seg[o].prefix_len + batch->seg[o].len;
    if (batch->seg[o].prefix_len && batch->seg[o].prefix_start == root && whole > longest)
      longest = whole;
  }
  return longest + batch->unread;
}

/* Rows of a rope table: positions; tokens of sequences beyond the original length have rows of their
 * own behind those, made for this pass. */
static void place_turns(struct zf_forward *forward, const struct zf_batch *batch) {
  const struct zf_config *config = &forward->model->config;
  memcpy(forward->turn, batch->pos, sizeof *forward->turn * (size_t)batch->T);
  if (!forward->rot || rope_rows(forward->model, &forward->lim) == forward->lim.length) return;
  for (int64_t g = 0; g < batch->nseg; g++) {
    const struct zf_segment *segment = &batch->seg[g];
    int64_t length = zf_batch_length(batch, g), to = forward->lim.length + segment->start;
    if (segment->len == 0 || (double)length <= config->rope[0].original) continue;
    for (int r = 0; r < config->ropes; r++)
      fill_rows(forward, r, to, batch->pos[segment->start], segment->len, length);
    for (int64_t i = 0; i < segment->len; i++)
      forward->turn[segment->start + i] = (int32_t)(to + i);
  }
}

static int begin(struct zf_forward *forward, const struct zf_batch *batch,
                 const struct zf_perturb *pt) {
  int rc = check_batch(forward, batch, pt->st.count);
  if (rc) return rc;
  forward->pt = *pt;
  forward->R = batch->R;
  place_turns(forward, batch);
  zf_kern_workspace(forward->work, forward->threads);
  return 0;
}

int zf_forward_run(struct zf_forward *forward, const struct zf_batch *batch,
                   const struct zf_perturb *pt) {
  int rc = begin(forward, batch, pt);
  if (rc) return rc;
  bind_own(forward);
  const struct zf_plan *plan = &forward->model->plan;
  for (int64_t i = 0; i < plan->body; i++)
    if (in_pieces(&forward->lim) && is_up(plan, i))
      run_up(forward, &plan->op[i++], batch->T);
    else
      run_op(forward, &plan->op[i], batch, batch->T);
  for (int64_t g = 0; batch->cache && g < batch->nseg; g++)
    batch->cache[g]->len += batch->seg[g].len;
  if (batch->R == 0) return 0;
  gather_rows(forward, batch);
  for (int64_t i = plan->body; i < plan->nop; i++) run_op(forward, &plan->op[i], batch, batch->R);
  return 0;
}

/* --- operation by operation --- */

int zf_forward_begin(struct zf_forward *forward, const struct zf_batch *batch) {
  struct zf_perturb none = zf_perturb_none();
  assert(!batch->cache);
  return begin(forward, batch, &none);
}

void zf_forward_op(struct zf_forward *forward, const struct zf_op *op,
                   const struct zf_batch *batch) {
  run_op(forward, op, batch,
         op - forward->model->plan.op < forward->model->plan.body ? batch->T : batch->R);
}

void zf_forward_bind(struct zf_forward *forward, enum zf_reg reg, float *p, int64_t ld) {
  forward->reg[reg] = p;
  forward->ld[reg] = ld;
}

float *zf_forward_own(const struct zf_forward *forward, enum zf_reg reg) {
  return forward->own[reg];
}

struct zf_weight zf_forward_matrix(const struct zf_forward *forward, int32_t number) {
  struct zf_noise noise;
  struct zf_weight matrix = weight(forward, number, &noise);
  matrix.noise = NULL;
  return matrix;
}

struct zf_weight zf_forward_table(const struct zf_forward *forward, int32_t number) {
  struct zf_noise noise;
  struct zf_weight weight = table(forward, number, &noise);
  weight.noise = NULL;
  return weight;
}

const float *zf_forward_vector(struct zf_forward *forward, int32_t number, int which) {
  return vector(forward, number, which ? forward->vec_b : forward->vec_w);
}

const float *zf_forward_rope(const struct zf_forward *forward, const struct zf_op *op) {
  return forward->rope + op->rope * rope_rows(forward->model, &forward->lim) * forward->rot;
}

const int32_t *zf_forward_rope_rows(const struct zf_forward *forward) {
  return forward->turn;
}

/* --- the head --- */

static const float *output(const struct zf_forward *forward, int64_t *ld) {
  enum zf_reg reg = forward->model->plan.width[ZF_REG_G] ? ZF_REG_G : ZF_REG_F;
  *ld = forward->ld[reg];
  return forward->reg[reg];
}

static void cap_logits(const struct zf_forward *forward, float *y, int64_t count, int64_t rows) {
  float cap = (float)forward->model->config.logit_cap;
  if (cap > 0) zf_softcap(y, count, rows, count, 1 / cap, cap);
}

void zf_forward_lse(struct zf_forward *forward, const int32_t *target, double *lse, double *logit) {
  struct zf_noise noise;
  struct zf_weight weight = table(forward, forward->model->plan.head, &noise);
  int64_t ld;
  const float *x = output(forward, &ld),
              *bias = vector(forward, forward->model->plan.head_bias, forward->vec_b);
  zf_head_lse(lse, logit, x, ld, forward->R, target, &weight, &forward->pt.st, bias, weight.out,
              (float)forward->model->config.logit_cap, forward->head);
}

void zf_forward_logits_at(struct zf_forward *forward, const int32_t *ids, int64_t count,
                          float *out) {
  struct zf_noise noise;
  struct zf_weight weight = table(forward, forward->model->plan.head, &noise);
  struct zf_streams one = {.count = 1};
  int64_t ld, S = forward->pt.st.count;
  const float *x = output(forward, &ld),
              *bias = vector(forward, forward->model->plan.head_bias, forward->vec_b);
  assert(count <= forward->lim.ids);
  zf_gather(forward->head, weight.in, ids, count, &weight, &forward->pt.st, 0);
  for (int64_t s = 0; s < S; s++) {
    struct zf_weight rows = {.data = forward->head + s * count * weight.in,
                             .type = ZF_F32,
                             .out = count,
                             .in = weight.in,
                             .so = weight.in,
                             .si = 1,
                             .compute = weight.compute};
    zf_gemm(out + s * forward->R * count, count, x + s * forward->R * ld, ld, forward->R, &rows,
            &one, NULL, 0, 0);
    for (int64_t i = 0; bias && i < forward->R * count; i++)
      out[s * forward->R * count + i] += bias[s * weight.out + ids[i % count]];
  }
  cap_logits(forward, out, count, S * forward->R);
}

void zf_forward_logits(struct zf_forward *forward, float *out) {
  struct zf_noise noise;
  struct zf_weight weight = table(forward, forward->model->plan.head, &noise);
  int64_t ld;
  const float *x = output(forward, &ld),
              *bias = vector(forward, forward->model->plan.head_bias, forward->vec_b);
  zf_gemm(out, weight.out, x, ld, forward->R, &weight, &forward->pt.st, bias, weight.out, 0);
  cap_logits(forward, out, weight.out, forward->pt.st.count * forward->R);
}

/* --- the cache --- */

static int64_t cache_floats(const struct zf_model *model, int64_t cap) {
  return model->config.layers * cap * model->config.kv_heads * model->config.head_dim;
}

int64_t zf_cache_bytes(const struct zf_model *model, int64_t cap) {
  return 2 * cache_floats(model, cap) * (int64_t)sizeof(float);
}

static int is_far(const struct zf_model *model, int64_t length) {
  return zf_rope_by_length(&model->config) && (double)length > model->config.rope[0].original;
}

void zf_cache_keep(struct zf_cache *cache, const struct zf_model *model, int64_t same,
                   int64_t whole) {
  assert(same <= cache->len && same <= whole);
  int far = is_far(model, whole), was = is_far(model, max64(cache->len, cache->full_len));
  int turned = model->config.rope[0].kind == ZF_ROPE_DYNAMIC ? far || was : far != was;
  cache->len = turned ? 0 : same;
  cache->full_len = whole;
}

void zf_cache_grow(struct zf_cache *cache, const struct zf_model *model) {
  int64_t whole = max64(cache->len, cache->full_len) + 1;
  if (model->config.rope[0].kind == ZF_ROPE_DYNAMIC)
    cache->full_len = whole;
  else
    zf_cache_keep(cache, model, cache->len, whole);
}

int zf_cache_new(struct zf_cache **out, const struct zf_model *model, int64_t cap) {
  struct zf_cache *cache = *out = zf_calloc(1, sizeof *cache);
  if (!cache) return ZF_ENOMEM;
  int64_t n = cache_floats(model, cap);
  cache->cap = cap;
  cache->keys = zf_calloc(n, sizeof *cache->keys);
  cache->values = zf_calloc(n, sizeof *cache->values);
  if (cache->keys && cache->values) return 0;
  zf_cache_free(cache);
  *out = NULL;
  return ZF_ENOMEM;
}

void zf_cache_free(struct zf_cache *cache) {
  if (!cache) return;
  free(cache->keys);
  free(cache->values);
  free(cache);
}
