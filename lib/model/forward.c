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
  const struct zf_model *m;
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
static int is_up(const struct zf_plan *p, int64_t i) {
  const struct zf_op *op = p->op + i, *act = op + 1;
  return i + 1 < p->nop && op->kind == ZF_OP_LINEAR && act->kind == ZF_OP_ACT && act->gated &&
         op->dst == act->src && op->dst_col == act->src_col + act->width && op->width == act->width;
}

static int in_pieces(const struct zf_limits *lim) {
  return !lim->work;
}

/* Width of register Z. */
static int64_t z_width(const struct zf_model *m, const struct zf_limits *lim) {
  const struct zf_plan *p = &m->plan;
  int64_t most = m->config.hidden;
  if (!in_pieces(lim)) return p->width[ZF_REG_Z];
  for (int64_t i = 0; i < p->nop; i++) {
    const struct zf_op *op = p->op + i;
    int64_t n = is_up(p, i) && op->width > PIECE ? PIECE : op->width;
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
static int64_t widest(const struct zf_model *m) {
  int64_t k = m->config.embed_dim;
  for (int64_t i = 0; i < m->plan.nop; i++) k = max64(k, m->plan.op[i].inputs);
  return k;
}

/* A table of cosines and sines for each of the configuration's rotary embeddings: a row for each
 * position and, where frequencies depend on a sequence's length, for each token of a pass; a
 * sequence may be a token longer than what is run of it. */
static int64_t rope_rows(const struct zf_model *m, const struct zf_limits *lim) {
  int far = zf_rope_by_length(&m->config) && (double)lim->length + 1 > m->config.rope[0].original;
  return lim->length + (far ? lim->tokens : 0);
}

static int64_t rope_floats(const struct zf_model *m, const struct zf_limits *lim) {
  return m->config.ropes * rope_rows(m, lim) * zf_config_rot(&m->config);
}

static struct layout lay_out(const struct zf_model *m, const struct zf_limits *lim) {
  const struct zf_plan *p = &m->plan;
  const int64_t *w = p->width;
  int64_t ew = m->config.embed_dim;
  struct layout l;
  l.xh = lim->tokens * (w[ZF_REG_X] + w[ZF_REG_H] + w[ZF_REG_P]);
  l.xh = max64(l.xh, lim->rows * ZF_VC);
  l.xh = max64(l.xh, lim->ids * (lim->streams * ew + lim->rows));
  l.z = max64(lim->tokens * z_width(m, lim), lim->rows * (w[ZF_REG_F] + w[ZF_REG_G]));
  l.vec = lim->streams * p->vec;
  l.scores = zf_attention_scratch(lim->length, m->config.head_dim) * zf_kern_nthreads();
  l.rope = rope_floats(m, lim);
  l.deal = m->config.family->qkv == ZF_QKV_HEADS
               ? 3 * m->config.heads * m->config.head_dim * zf_kern_nthreads()
               : 0;
  l.work = zf_kern_workspace_size(zf_kern_nthreads(), lim->compute, max64(lim->tokens, lim->rows),
                                  widest(m));
  if (l.work < lim->work) l.work = lim->work;
  return l;
}

int64_t zf_forward_bytes(const struct zf_model *m, const struct zf_limits *lim) {
  struct layout l = lay_out(m, lim);
  size_t n = zf_arena_cost((size_t)l.xh * 4) + zf_arena_cost((size_t)l.z * 4) +
             2 * zf_arena_cost((size_t)l.vec * 4) + zf_arena_cost((size_t)l.scores * 4) +
             zf_arena_cost((size_t)l.rope * 4) + zf_arena_cost((size_t)l.deal * 4) +
             zf_arena_cost((size_t)zf_config_rot(&m->config) / 2 * sizeof(double)) +
             2 * zf_arena_cost((size_t)lim->tokens * 4) +
             zf_arena_cost((size_t)lim->segments * sizeof(struct zf_segment)) +
             zf_arena_cost(l.work);
  return (int64_t)n;
}

/* Does some product of a pass keep sums outside its output? */
static int keeps_sums(const struct zf_model *m, const struct zf_limits *lim) {
  static const int64_t inputs[ZF_COMPUTES] = {
      [ZF_COMPUTE_F32] = ZF_KC, [ZF_COMPUTE_BF16] = ZF_KC_BF16, [ZF_COMPUTE_INT8] = ZF_KC_INT8};
  int64_t chunk = inputs[lim->compute];
  for (int64_t i = 0; i < m->plan.nop; i++) {
    const struct zf_op *op = &m->plan.op[i];
    if (op->kind == ZF_OP_LINEAR && op->inputs > chunk) return 1;
  }
  return m->config.embed_dim > chunk;
}

int64_t zf_forward_untouched(const struct zf_model *m, const struct zf_limits *lim) {
  int64_t rows = max64(lim->tokens, lim->rows), in = widest(m);
  if (lim->work) in = rows = max64(rows, in); /* products of a backward pass run over tokens */
  int sums = keeps_sums(m, lim) || lim->work;
  return (int64_t)zf_kern_workspace_untouched(zf_kern_nthreads(), lim->compute, lim->streams, rows,
                                              in, sums);
}

int64_t zf_forward_head_floats(const struct zf_model *m, const struct zf_limits *lim) {
  return lay_out(m, lim).xh;
}

/* n rows from `to` on: positions from, from + 1, ... of a sequence of `length` tokens. */
static void fill_rows(const struct zf_forward *f, int which, int64_t to, int64_t from, int64_t n,
                      int64_t length) {
  const struct zf_rope_conf *c = &f->m->config.rope[which];
  int64_t half = f->rot / 2;
  float *row = f->rope + (which * rope_rows(f->m, &f->lim) + to) * f->rot;
  zf_rope_freqs(f->freq, f->rot, c, length);
  for (int64_t t = from; t < from + n; t++, row += f->rot)
    for (int64_t i = 0; i < half; i++) {
      row[i] = (float)(cos((double)t * f->freq[i]) * c->attention);
      row[half + i] = (float)(sin((double)t * f->freq[i]) * c->attention);
    }
}

static int place_parts(struct zf_forward *f) {
  struct layout l = lay_out(f->m, &f->lim);
  const int64_t *w = f->m->plan.width;
  float *xh = zf_arena_array(&f->arena, l.xh, 4);
  float *z = zf_arena_array(&f->arena, l.z, 4);
  f->vec_w = zf_arena_array(&f->arena, l.vec, 4);
  f->vec_b = zf_arena_array(&f->arena, l.vec, 4);
  f->scores = zf_arena_array(&f->arena, l.scores, 4);
  f->rope = zf_arena_array(&f->arena, l.rope, 4);
  f->deal = zf_arena_array(&f->arena, l.deal, 4);
  f->freq = zf_arena_array(&f->arena, f->rot / 2, sizeof *f->freq);
  f->at = zf_arena_array(&f->arena, f->lim.tokens, 4);
  f->turn = zf_arena_array(&f->arena, f->lim.tokens, 4);
  f->seg = zf_arena_array(&f->arena, f->lim.segments, sizeof *f->seg);
  f->work = zf_arena_alloc(&f->arena, l.work);
  if (!xh || !z || !f->vec_w || !f->vec_b || !f->scores || !f->rope || !f->deal || !f->freq ||
      !f->at || !f->turn || !f->seg || !f->work)
    return ZF_ENOMEM;
  f->head = f->own[ZF_REG_X] = xh;
  f->own[ZF_REG_H] = xh + f->lim.tokens * w[ZF_REG_X];
  f->own[ZF_REG_P] = f->own[ZF_REG_H] + f->lim.tokens * w[ZF_REG_H];
  f->own[ZF_REG_Z] = f->own[ZF_REG_F] = z;
  f->own[ZF_REG_G] = z + f->lim.rows * w[ZF_REG_F];
  return 0;
}

static void bind_own(struct zf_forward *f) {
  memcpy(f->reg, f->own, sizeof f->reg);
  memcpy(f->ld, f->m->plan.width, sizeof f->ld);
  f->ld[ZF_REG_Z] = z_width(f->m, &f->lim);
}

int zf_forward_new(struct zf_forward **out, const struct zf_model *m, const struct zf_limits *lim) {
  *out = NULL;
  if (lim->length > m->config.context)
    return zf_error(ZF_EUSAGE,
                    "a sequence of %lld tokens is longer than the model's context of %lld",
                    (long long)lim->length, (long long)m->config.context);
  struct zf_forward *f = zf_calloc(1, sizeof *f);
  if (!f) return ZF_ENOMEM;
  f->m = m;
  f->lim = *lim;
  f->rot = zf_config_rot(&m->config);
  f->threads = zf_kern_nthreads();
  int rc = zf_arena_init(&f->arena, (size_t)zf_forward_bytes(m, lim));
  if (!rc) rc = place_parts(f);
  for (int r = 0; !rc && f->rot && r < m->config.ropes; r++) fill_rows(f, r, 0, 0, lim->length, 0);
  if (rc) {
    zf_forward_free(f);
    return rc;
  }
  *out = f;
  return 0;
}

void zf_forward_free(struct zf_forward *f) {
  if (!f) return;
  zf_arena_free(&f->arena);
  free(f);
}

const struct zf_limits *zf_forward_limits(const struct zf_forward *f) {
  return &f->lim;
}

const struct zf_model *zf_forward_model(const struct zf_forward *f) {
  return f->m;
}

/* --- the walk --- */

/* A weight as the kernels see it; `noise` must outlive the call. */
static struct zf_weight weight(const struct zf_forward *f, int32_t number, struct zf_noise *noise) {
  const struct zf_param *p = &f->m->params.param[number];
  int t = f->m->config.family->transposed;
  struct zf_weight w = {.data = p->data, .type = p->type, .compute = f->lim.compute};
  w.out = t ? p->shape[1] : p->shape[0];
  w.in = t ? p->shape[0] : p->shape[1];
  w.so = t ? 1 : w.in;
  w.si = t ? w.out : 1;
  *noise = f->pt.dir;
  noise->param = p->id;
  if (p->trained && f->pt.st.count > 1) w.noise = noise;
  return w;
}

/* Tables (embeddings, positions, the head) are [rows, C] in every family. */
static struct zf_weight table(const struct zf_forward *f, int32_t number, struct zf_noise *noise) {
  const struct zf_param *p = &f->m->params.param[number];
  struct zf_weight w = weight(f, number, noise);
  w.out = p->shape[0];
  w.in = w.so = p->shape[1];
  w.si = 1;
  return w;
}

/* A vector parameter perturbed for each stream, into `out`; NULL when there is none. */
static const float *vector(const struct zf_forward *f, int32_t number, float *out) {
  if (number < 0) return NULL;
  const struct zf_param *p = &f->m->params.param[number];
  struct zf_noise noise = f->pt.dir;
  noise.param = p->id;
  int noisy = p->trained && f->pt.st.count > 1;
  zf_perturb_vec(out, p->count, p->data, p->type, 0, p->count, noisy ? &noise : NULL, &f->pt.st);
  float plus = f->m->plan.want[number].plus;
  for (int64_t i = 0; plus != 0 && i < f->pt.st.count * p->count; i++) out[i] += plus;
  return out;
}

static void run_attention(struct zf_forward *f, const struct zf_op *op, const struct zf_batch *b) {
  const struct zf_config *c = &f->m->config;
  int64_t kw = c->kv_heads * c->head_dim, qw = c->heads * c->head_dim, ld = f->ld[op->src];
  const float *q = f->reg[op->src], *k = q + qw, *v = k + kw;
  memcpy(f->seg, b->seg, sizeof *b->seg * (size_t)b->nseg);
  for (int64_t g = 0; b->cache && g < b->nseg; g++) {
    const struct zf_cache *a = b->cache[g];
    f->seg[g].prefix_keys = a->keys + op->layer * a->cap * kw;
    f->seg[g].prefix_values = a->values + op->layer * a->cap * kw;
    f->seg[g].prefix_len = a->len;
    f->seg[g].prefix_stride = 0;
  }
  struct zf_attention_params attention = {op->scale, op->cap, f->m->plan.causal, op->window};
  zf_attention(f->reg[op->dst], f->ld[op->dst], q, ld, k, v, ld, b->T, c->heads, c->kv_heads,
               c->head_dim, &attention, f->seg, b->nseg, &f->pt.st, f->scores);
  for (int64_t g = 0; b->cache && g < b->nseg; g++) {
    const struct zf_cache *a = b->cache[g];
    for (int64_t i = 0; i < b->seg[g].len; i++) {
      int64_t to = (op->layer * a->cap + a->len + i) * kw, from = (b->seg[g].start + i) * ld;
      memcpy(a->keys + to, k + from, sizeof(float) * (size_t)kw);
      memcpy(a->values + to, v + from, sizeof(float) * (size_t)kw);
    }
  }
}

static void run_norm(struct zf_forward *f, const struct zf_op *op, int64_t T) {
  const float *w = vector(f, op->weight, f->vec_w), *b = vector(f, op->bias, f->vec_b);
  const float *x = f->reg[op->src];
  float *y = f->reg[op->dst], eps = (float)f->m->config.norm_eps;
  if (op->norm == ZF_NORM_RMS)
    zf_rmsnorm(y, f->ld[op->dst], x, f->ld[op->src], T, op->width, eps, w, op->width, &f->pt.st);
  else
    zf_layernorm(y, f->ld[op->dst], x, f->ld[op->src], T, op->width, eps, w, b, op->width,
                 &f->pt.st);
}

static void run_linear(struct zf_forward *f, const struct zf_op *op, int64_t T) {
  struct zf_noise noise;
  struct zf_weight w = weight(f, op->weight, &noise);
  const float *bias = vector(f, op->bias, f->vec_b);
  (op->reuse_input ? zf_gemm_reuse : zf_gemm)(f->reg[op->dst] + op->dst_col, f->ld[op->dst],
                                              f->reg[op->src] + op->src_col, f->ld[op->src], T, &w,
                                              &f->pt.st, bias, op->width, op->accumulate);
}

/* A product and the activation that uses it up, piece by piece. */
static void run_up(struct zf_forward *f, const struct zf_op *op, int64_t T) {
  struct zf_noise noise;
  struct zf_weight w = weight(f, op->weight, &noise);
  const float *bias = vector(f, op->bias, f->vec_b);
  int64_t ld = f->ld[op->dst], ldx = f->ld[op->src];
  float *gate = f->reg[op->dst] + op[1].src_col, *up = f->reg[op->dst] + op->dst_col;
  for (int64_t o = 0; o < op->width; o += PIECE) {
    int64_t n = op->width - o < PIECE ? op->width - o : PIECE;
    struct zf_weight part = zf_weight_part(&w, o, n);
    (o || op->reuse_input ? zf_gemm_reuse : zf_gemm)(up, ld, f->reg[op->src] + op->src_col, ldx, T,
                                                     &part, &f->pt.st, bias ? bias + o : NULL,
                                                     op->width, 0);
    zf_act(gate + o, ld, up, ld, T * f->pt.st.count, n, (enum zf_act)op[1].act);
  }
}

static void run_headnorm(struct zf_forward *f, const struct zf_op *op, int64_t T) {
  float *x = f->reg[op->src] + op->src_col, eps = (float)f->m->config.norm_eps;
  const float *w = vector(f, op->weight, f->vec_w);
  int64_t ld = f->ld[op->src];
  if (op->norm == ZF_NORM_RMS)
    zf_headnorm(x, ld, T, op->heads, op->width, eps, w, op->width, &f->pt.st);
  for (int64_t h = 0; op->norm == ZF_NORM_LAYER && h < op->heads; h++, x += op->width)
    zf_layernorm(x, ld, x, ld, T, op->width, eps, w, NULL, op->width, &f->pt.st);
}

/* A position's row of the table, or the same row for every token. */
static void run_table(struct zf_forward *f, const struct zf_op *op, const struct zf_batch *b) {
  struct zf_noise noise;
  struct zf_weight w = table(f, op->weight, &noise);
  int32_t by = op->kind == ZF_OP_POSITION;
  for (int64_t t = 0; t < b->T; t++) f->at[t] = by * b->pos[t] + (int32_t)op->offset;
  zf_gather(f->reg[op->dst], f->ld[op->dst], f->at, b->T, &w, &f->pt.st, 1);
}

static void run_op(struct zf_forward *f, const struct zf_op *op, const struct zf_batch *b,
                   int64_t T) {
  struct zf_noise noise;
  const struct zf_streams *st = &f->pt.st;
  float *src = f->reg[op->src] + op->src_col;
  int64_t ld = f->ld[op->src];
  switch (op->kind) {
    case ZF_OP_EMBED: {
      struct zf_weight w = table(f, op->weight, &noise);
      zf_gather(f->reg[op->dst], f->ld[op->dst], b->id, T, &w, st, 0);
      break;
    }
    case ZF_OP_POSITION:
    case ZF_OP_TYPE:
      run_table(f, op, b);
      break;
    case ZF_OP_NORM:
      run_norm(f, op, T);
      break;
    case ZF_OP_LINEAR:
      run_linear(f, op, T);
      break;
    case ZF_OP_HEADNORM:
      run_headnorm(f, op, T);
      break;
    case ZF_OP_ROPE:
      zf_rope(src, ld, T, op->heads, op->width, f->rot, zf_forward_rope(f, op), f->turn, st);
      break;
    case ZF_OP_ATTENTION:
      run_attention(f, op, b);
      break;
    case ZF_OP_ACT:
      zf_act(src, ld, op->gated ? src + op->width : NULL, ld, T * st->count, op->width,
             (enum zf_act)op->act);
      break;
    case ZF_OP_PERMUTE_HEADS:
      zf_permute_heads(src, ld, T * st->count, op->heads, 3, op->width, f->deal);
      break;
    case ZF_OP_SCALE:
      zf_scale_rows(src, ld, T * st->count, op->width, op->scale);
      break;
    case ZF_OP_ADD:
      zf_add_rows(f->reg[op->dst] + op->dst_col, f->ld[op->dst], src, ld, T * st->count, op->width);
      break;
  }
}

/* F = the wanted rows of X. */
static void gather_rows(struct zf_forward *f, const struct zf_batch *b) {
  int64_t C = f->m->config.hidden;
  for (int s = 0; s < f->pt.st.count; s++)
    for (int64_t r = 0; r < b->R; r++)
      memcpy(f->reg[ZF_REG_F] + (s * b->R + r) * f->ld[ZF_REG_F],
             f->reg[ZF_REG_X] + (s * b->T + b->row[r]) * f->ld[ZF_REG_X],
             sizeof(float) * (size_t)C);
}

static int check_batch(const struct zf_forward *f, const struct zf_batch *b, int streams) {
  assert(streams <= f->lim.streams && b->T * streams <= f->lim.tokens);
  assert(b->R * streams <= f->lim.rows && b->nseg <= f->lim.segments);
  assert(zf_kern_nthreads() <= f->threads);
  for (int64_t t = 0; t < b->T; t++) {
    if (b->id[t] < 0 || b->id[t] >= f->m->config.vocab)
      return zf_error(ZF_EUSAGE, "token id %d is outside the model's vocabulary of %lld", b->id[t],
                      (long long)f->m->config.vocab);
    if (b->pos[t] < 0 || b->pos[t] >= f->lim.length)
      return zf_error(ZF_EUSAGE, "position %d is beyond the %lld that were made ready", b->pos[t],
                      (long long)f->lim.length);
  }
  return 0;
}

int64_t zf_batch_length(const struct zf_batch *b, int64_t g) {
  const struct zf_segment *s = &b->seg[g];
  if (b->cache) return max64(b->cache[g]->len + s->len, b->cache[g]->full_len);
  int64_t longest = s->prefix_len + s->len, root = s->prefix_len ? s->prefix_start : s->start;
  for (int64_t o = 0; o < b->nseg; o++) {
    int64_t whole = b->seg[o].prefix_len + b->seg[o].len;
    if (b->seg[o].prefix_len && b->seg[o].prefix_start == root && whole > longest) longest = whole;
  }
  return longest + b->unread;
}

/* Rows of a rope table: positions; tokens of sequences beyond the original length have rows of their
 * own behind those, made for this pass. */
static void place_turns(struct zf_forward *f, const struct zf_batch *b) {
  const struct zf_config *c = &f->m->config;
  memcpy(f->turn, b->pos, sizeof *f->turn * (size_t)b->T);
  if (!f->rot || rope_rows(f->m, &f->lim) == f->lim.length) return;
  for (int64_t g = 0; g < b->nseg; g++) {
    const struct zf_segment *s = &b->seg[g];
    int64_t length = zf_batch_length(b, g), to = f->lim.length + s->start;
    if (s->len == 0 || (double)length <= c->rope[0].original) continue;
    for (int r = 0; r < c->ropes; r++) fill_rows(f, r, to, b->pos[s->start], s->len, length);
    for (int64_t i = 0; i < s->len; i++) f->turn[s->start + i] = (int32_t)(to + i);
  }
}

static int begin(struct zf_forward *f, const struct zf_batch *b, const struct zf_perturb *pt) {
  int rc = check_batch(f, b, pt->st.count);
  if (rc) return rc;
  f->pt = *pt;
  f->R = b->R;
  place_turns(f, b);
  zf_kern_workspace(f->work, f->threads);
  return 0;
}

int zf_forward_run(struct zf_forward *f, const struct zf_batch *b, const struct zf_perturb *pt) {
  int rc = begin(f, b, pt);
  if (rc) return rc;
  bind_own(f);
  const struct zf_plan *p = &f->m->plan;
  for (int64_t i = 0; i < p->body; i++)
    if (in_pieces(&f->lim) && is_up(p, i))
      run_up(f, &p->op[i++], b->T);
    else
      run_op(f, &p->op[i], b, b->T);
  for (int64_t g = 0; b->cache && g < b->nseg; g++) b->cache[g]->len += b->seg[g].len;
  if (b->R == 0) return 0;
  gather_rows(f, b);
  for (int64_t i = p->body; i < p->nop; i++) run_op(f, &p->op[i], b, b->R);
  return 0;
}

/* --- operation by operation --- */

int zf_forward_begin(struct zf_forward *f, const struct zf_batch *b) {
  struct zf_perturb none = zf_perturb_none();
  assert(!b->cache);
  return begin(f, b, &none);
}

void zf_forward_op(struct zf_forward *f, const struct zf_op *op, const struct zf_batch *b) {
  run_op(f, op, b, op - f->m->plan.op < f->m->plan.body ? b->T : b->R);
}

void zf_forward_bind(struct zf_forward *f, enum zf_reg r, float *p, int64_t ld) {
  f->reg[r] = p;
  f->ld[r] = ld;
}

float *zf_forward_own(const struct zf_forward *f, enum zf_reg r) {
  return f->own[r];
}

struct zf_weight zf_forward_matrix(const struct zf_forward *f, int32_t number) {
  struct zf_noise noise;
  struct zf_weight w = weight(f, number, &noise);
  w.noise = NULL;
  return w;
}

struct zf_weight zf_forward_table(const struct zf_forward *f, int32_t number) {
  struct zf_noise noise;
  struct zf_weight w = table(f, number, &noise);
  w.noise = NULL;
  return w;
}

const float *zf_forward_vector(struct zf_forward *f, int32_t number, int which) {
  return vector(f, number, which ? f->vec_b : f->vec_w);
}

const float *zf_forward_rope(const struct zf_forward *f, const struct zf_op *op) {
  return f->rope + op->rope * rope_rows(f->m, &f->lim) * f->rot;
}

const int32_t *zf_forward_rope_rows(const struct zf_forward *f) {
  return f->turn;
}

/* --- the head --- */

static const float *output(const struct zf_forward *f, int64_t *ld) {
  enum zf_reg r = f->m->plan.width[ZF_REG_G] ? ZF_REG_G : ZF_REG_F;
  *ld = f->ld[r];
  return f->reg[r];
}

static void cap_logits(const struct zf_forward *f, float *y, int64_t n, int64_t rows) {
  float cap = (float)f->m->config.logit_cap;
  if (cap > 0) zf_softcap(y, n, rows, n, 1 / cap, cap);
}

void zf_forward_lse(struct zf_forward *f, const int32_t *target, double *lse, double *logit) {
  struct zf_noise noise;
  struct zf_weight w = table(f, f->m->plan.head, &noise);
  int64_t ld;
  const float *x = output(f, &ld), *bias = vector(f, f->m->plan.head_bias, f->vec_b);
  zf_head_lse(lse, logit, x, ld, f->R, target, &w, &f->pt.st, bias, w.out,
              (float)f->m->config.logit_cap, f->head);
}

void zf_forward_logits_at(struct zf_forward *f, const int32_t *ids, int64_t n, float *out) {
  struct zf_noise noise;
  struct zf_weight w = table(f, f->m->plan.head, &noise);
  struct zf_streams one = {.count = 1};
  int64_t ld, S = f->pt.st.count;
  const float *x = output(f, &ld), *bias = vector(f, f->m->plan.head_bias, f->vec_b);
  assert(n <= f->lim.ids);
  zf_gather(f->head, w.in, ids, n, &w, &f->pt.st, 0);
  for (int64_t s = 0; s < S; s++) {
    struct zf_weight rows = {.data = f->head + s * n * w.in,
                             .type = ZF_F32,
                             .out = n,
                             .in = w.in,
                             .so = w.in,
                             .si = 1,
                             .compute = w.compute};
    zf_gemm(out + s * f->R * n, n, x + s * f->R * ld, ld, f->R, &rows, &one, NULL, 0, 0);
    for (int64_t i = 0; bias && i < f->R * n; i++)
      out[s * f->R * n + i] += bias[s * w.out + ids[i % n]];
  }
  cap_logits(f, out, n, S * f->R);
}

void zf_forward_logits(struct zf_forward *f, float *out) {
  struct zf_noise noise;
  struct zf_weight w = table(f, f->m->plan.head, &noise);
  int64_t ld;
  const float *x = output(f, &ld), *bias = vector(f, f->m->plan.head_bias, f->vec_b);
  zf_gemm(out, w.out, x, ld, f->R, &w, &f->pt.st, bias, w.out, 0);
  cap_logits(f, out, w.out, f->pt.st.count * f->R);
}

/* --- the cache --- */

static int64_t cache_floats(const struct zf_model *m, int64_t cap) {
  return m->config.layers * cap * m->config.kv_heads * m->config.head_dim;
}

int64_t zf_cache_bytes(const struct zf_model *m, int64_t cap) {
  return 2 * cache_floats(m, cap) * (int64_t)sizeof(float);
}

static int is_far(const struct zf_model *m, int64_t length) {
  return zf_rope_by_length(&m->config) && (double)length > m->config.rope[0].original;
}

void zf_cache_keep(struct zf_cache *c, const struct zf_model *m, int64_t same, int64_t whole) {
  assert(same <= c->len && same <= whole);
  int far = is_far(m, whole), was = is_far(m, max64(c->len, c->full_len));
  int turned = m->config.rope[0].kind == ZF_ROPE_DYNAMIC ? far || was : far != was;
  c->len = turned ? 0 : same;
  c->full_len = whole;
}

void zf_cache_grow(struct zf_cache *c, const struct zf_model *m) {
  int64_t whole = max64(c->len, c->full_len) + 1;
  if (m->config.rope[0].kind == ZF_ROPE_DYNAMIC)
    c->full_len = whole;
  else
    zf_cache_keep(c, m, c->len, whole);
}

int zf_cache_new(struct zf_cache **out, const struct zf_model *m, int64_t cap) {
  struct zf_cache *c = *out = zf_calloc(1, sizeof *c);
  if (!c) return ZF_ENOMEM;
  int64_t n = cache_floats(m, cap);
  c->cap = cap;
  c->keys = zf_calloc(n, sizeof *c->keys);
  c->values = zf_calloc(n, sizeof *c->values);
  if (c->keys && c->values) return 0;
  zf_cache_free(c);
  *out = NULL;
  return ZF_ENOMEM;
}

void zf_cache_free(struct zf_cache *c) {
  if (!c) return;
  free(c->keys);
  free(c->values);
  free(c);
}
