/* From a family's row and a configuration to operations and wanted tensors. */
#include "model/plan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"

/* What is being built: `failed` is set once memory ran out, checked at the end. */
struct builder {
  struct zf_plan *p;
  const struct zf_config *c;
  int64_t layer, head;
  int failed;
};

static void *grow(void *old, int64_t n, int64_t *cap, size_t size) {
  if (n < *cap) return old;
  int64_t more = *cap ? *cap * 2 : 64;
  void *p = realloc(old, (size_t)more * size);
  if (p) *cap = more;
  return p;
}

static struct zf_op *add_op(struct builder *b, enum zf_op_kind kind, enum zf_reg src,
                            enum zf_reg dst) {
  static struct zf_op spare;
  struct zf_op *ops = grow(b->p->op, b->p->nop, &b->p->ncap, sizeof *ops);
  if (!ops) {
    b->failed = 1;
    return &spare;
  }
  b->p->op = ops;
  struct zf_op *op = &ops[b->p->nop++];
  *op = (struct zf_op){.kind = kind, .src = src, .dst = dst, .weight = -1, .bias = -1, .layer = -1};
  return op;
}

/* Writes `name` with # replaced by the layer's number, @ by the head's. */
static void expand(char out[160], const char *name, int64_t layer, int64_t head) {
  size_t n = 0;
  for (const char *c = name; *c && n < 159; c++) {
    int64_t number = *c == '#' ? layer : head;
    if (*c == '#' || *c == '@')
      n += (size_t)snprintf(out + n, 160 - n, "%lld", (long long)number);
    else
      out[n++] = *c;
  }
  out[n] = 0;
}

static int32_t add_want(struct builder *b, const char *name, int ndim, int64_t rows, int64_t cols) {
  struct zf_wanted_tensor *w = grow(b->p->want, b->p->nwant, &b->p->wcap, sizeof *w);
  if (!w) {
    b->failed = 1;
    return -1;
  }
  b->p->want = w;
  w += b->p->nwant;
  *w = (struct zf_wanted_tensor){.ndim = ndim, .shape = {rows, cols}, .decayed = ndim == 2};
  expand(w->name, name, b->layer, b->head);
  if (ndim == 1 && rows > b->p->vec) b->p->vec = rows;
  return (int32_t)b->p->nwant++;
}

/* The bias of a tensor is named like it. */
static int32_t add_bias(struct builder *b, const char *name, int64_t n) {
  char bias[160];
  size_t len = strlen(name);
  const char *tail = ".weight";
  if (len > strlen(tail) && !strcmp(name + len - strlen(tail), tail)) len -= strlen(tail);
  snprintf(bias, sizeof bias, "%.*s.bias", (int)len, name);
  return add_want(b, bias, 1, n, 0);
}

static void linear(struct builder *b, const char *name, enum zf_reg src, int64_t k, enum zf_reg dst,
                   int64_t dst_col, int64_t n, int bias, int accumulate) {
  int t = b->c->family->transposed;
  struct zf_op *op = add_op(b, ZF_OP_LINEAR, src, dst), *last = op - 1;
  op->reuse_input = !b->failed && b->p->nop > 1 && last->kind == ZF_OP_LINEAR && last->src == src &&
                    last->inputs == k && last->dst != src;
  op->inputs = k;
  op->width = n;
  op->dst_col = dst_col;
  op->accumulate = accumulate;
  op->weight = add_want(b, name, 2, t ? k : n, t ? n : k);
  if (bias) op->bias = add_bias(b, name, n);
}

static void norm_weights(struct builder *b, struct zf_op *op, const char *name, int bias) {
  op->norm = b->c->family->norm;
  if (!b->c->affine) return;
  op->weight = add_want(b, name, 1, op->width, 0);
  if (!b->failed) b->p->want[op->weight].plus = b->c->family->norm_plus ? 1.0f : 0.0f;
  if (bias) op->bias = add_bias(b, name, op->width);
}

static void norm(struct builder *b, const char *name, enum zf_reg src, enum zf_reg dst) {
  struct zf_op *op = add_op(b, ZF_OP_NORM, src, dst);
  op->width = b->c->hidden;
  norm_weights(b, op, name, b->c->norm_bias);
}

static struct zf_op *per_head(struct builder *b, enum zf_op_kind kind, int64_t col, int64_t heads,
                              int64_t width) {
  struct zf_op *op = add_op(b, kind, ZF_REG_Z, ZF_REG_Z);
  op->src_col = op->dst_col = col;
  op->heads = heads;
  op->width = width;
  return op;
}

/* Heads from `col` on: one norm for all, one for each ("@" in its name), or one of all as a row. */
static void head_norm(struct builder *b, const char *name, int64_t col, int64_t heads) {
  const struct zf_config *c = b->c;
  int each = strchr(name, '@') != NULL;
  if (c->family->wide_norm) {
    norm_weights(b, per_head(b, ZF_OP_HEADNORM, col, 1, heads * c->head_dim), name, 0);
    return;
  }
  for (b->head = 0; b->head < (each ? heads : 1); b->head++)
    norm_weights(
        b, per_head(b, ZF_OP_HEADNORM, col + b->head * c->head_dim, each ? 1 : heads, c->head_dim),
        name, 0);
  b->head = 0;
}

static void scale(struct builder *b, enum zf_reg reg, double by) {
  if (by == 0 || by == 1) return;
  struct zf_op *op = add_op(b, ZF_OP_SCALE, reg, reg);
  op->width = b->c->hidden;
  op->scale = (float)by;
}

/* X += W of k columns of src; by way of `room` where the sum is normed or scaled first. */
static void added(struct builder *b, const char *name, const char *post, enum zf_reg src, int64_t k,
                  enum zf_reg room, int bias) {
  const struct zf_config *c = b->c;
  int plain = !post && (c->added_scale == 0 || c->added_scale == 1);
  linear(b, name, src, k, plain ? ZF_REG_X : room, 0, c->hidden, bias, plain);
  if (plain) return;
  if (post) norm(b, post, room, room);
  scale(b, room, c->added_scale);
  add_op(b, ZF_OP_ADD, room, ZF_REG_X)->width = c->hidden;
}

static void queries(struct builder *b, enum zf_reg in) {
  const struct zf_config *c = b->c;
  const struct zf_names *n = &c->family->names;
  int64_t qw = c->heads * c->head_dim, kw = c->kv_heads * c->head_dim;
  if (n->qkv) {
    linear(b, n->qkv, in, c->hidden, ZF_REG_Z, 0, qw + 2 * kw, c->qkv_bias, 0);
    if (c->family->qkv == ZF_QKV_HEADS) per_head(b, ZF_OP_PERMUTE_HEADS, 0, c->heads, c->head_dim);
  } else {
    linear(b, n->query, in, c->hidden, ZF_REG_Z, 0, qw, c->qkv_bias, 0);
    linear(b, n->key, in, c->hidden, ZF_REG_Z, qw, kw, c->qkv_bias, 0);
    linear(b, n->value, in, c->hidden, ZF_REG_Z, qw + kw, kw, c->qkv_bias, 0);
  }
}

static void attention(struct builder *b, enum zf_reg in) {
  const struct zf_config *c = b->c;
  const struct zf_names *n = &c->family->names;
  int64_t qw = c->heads * c->head_dim;
  int local = c->layer[b->layer] & ZF_LAYER_LOCAL, no_rope = c->layer[b->layer] & ZF_LAYER_NOPE;
  queries(b, in);
  if (c->qk_normed) {
    head_norm(b, n->q_norm, 0, c->heads);
    head_norm(b, n->k_norm, qw, c->kv_heads);
  }
  if (c->family->pos == ZF_POS_ROPE && !no_rope)
    per_head(b, ZF_OP_ROPE, 0, c->heads + c->kv_heads, c->head_dim)->rope = local && c->ropes == 2;
  struct zf_op *op = add_op(b, ZF_OP_ATTENTION, ZF_REG_Z, ZF_REG_H);
  op->layer = b->layer;
  op->scale = (float)(c->inverse_layer_scale ? c->scale / (double)(b->layer + 1) : c->scale);
  op->cap = (float)c->score_cap;
  op->window = local ? c->window : 0;
  added(b, n->output, n->post1, ZF_REG_H, qw, ZF_REG_Z, c->o_bias);
}

static void mlp(struct builder *b, enum zf_reg in) {
  const struct zf_config *c = b->c;
  const struct zf_names *n = &c->family->names;
  int gated = c->family->gated;
  if (n->gate_up) {
    linear(b, n->gate_up, in, c->hidden, ZF_REG_Z, 0, 2 * c->ffn, c->mlp_bias, 0);
  } else {
    if (gated) linear(b, n->gate, in, c->hidden, ZF_REG_Z, 0, c->ffn, c->mlp_bias, 0);
    linear(b, n->up, in, c->hidden, ZF_REG_Z, gated ? c->ffn : 0, c->ffn, c->mlp_bias, 0);
  }
  struct zf_op *op = add_op(b, ZF_OP_ACT, ZF_REG_Z, ZF_REG_Z);
  op->width = c->ffn;
  op->gated = gated;
  op->act = c->act;
  added(b, n->down, n->post2, ZF_REG_Z, c->ffn, ZF_REG_H, c->mlp_bias);
}

/* x + f(norm1 x) + g(norm2 x): g's input is made before f adds to X. */
static void parallel_block(struct builder *b) {
  const struct zf_names *n = &b->c->family->names;
  int shared = b->c->family->norm_shared;
  enum zf_reg in = shared ? ZF_REG_P : ZF_REG_H;
  norm(b, n->norm1, ZF_REG_X, in);
  if (!shared) norm(b, n->norm2, ZF_REG_X, ZF_REG_P);
  attention(b, in);
  mlp(b, ZF_REG_P);
}

/* x = x + f(norm(x)), or x = norm(x + f(x)): f adds to X itself. */
static void block(struct builder *b) {
  const struct zf_names *n = &b->c->family->names;
  int post = b->c->post_norm,
      unnormed = !n->norm1 || (b->c->family->first_without_norm && b->layer == 0);
  enum zf_reg in = post ? ZF_REG_X : ZF_REG_H;
  if (b->c->parallel) {
    parallel_block(b);
    return;
  }
  if (!post && !unnormed) norm(b, n->norm1, ZF_REG_X, ZF_REG_H);
  attention(b, unnormed ? ZF_REG_X : in);
  if (post) norm(b, n->norm1, ZF_REG_X, ZF_REG_X);
  if (!post && n->norm2) norm(b, n->norm2, ZF_REG_X, ZF_REG_H);
  mlp(b, n->norm2 ? in : ZF_REG_X);
  if (post) norm(b, n->norm2, ZF_REG_X, ZF_REG_X);
}

static void table(struct builder *b, enum zf_op_kind kind, const char *name, int64_t rows,
                  int64_t offset) {
  struct zf_op *op = add_op(b, kind, ZF_REG_X, ZF_REG_X);
  op->width = b->c->hidden;
  op->offset = offset;
  op->weight = add_want(b, name, 2, rows, b->c->hidden);
}

static void front(struct builder *b) {
  const struct zf_config *c = b->c;
  const struct zf_names *n = &c->family->names;
  int projected = c->embed_dim != c->hidden;
  struct zf_op *op = add_op(b, ZF_OP_EMBED, ZF_REG_X, projected ? ZF_REG_H : ZF_REG_X);
  op->width = c->embed_dim;
  op->weight = add_want(b, n->embed, 2, c->vocab, c->embed_dim);
  b->p->head = op->weight;
  if (projected) linear(b, n->project_in, ZF_REG_H, c->embed_dim, ZF_REG_X, 0, c->hidden, 0, 0);
  scale(b, ZF_REG_X, c->embed_scale);
  if (c->family->pos == ZF_POS_LEARNED)
    table(b, ZF_OP_POSITION, n->pos, c->context + c->pos_offset, c->pos_offset);
  if (n->type) table(b, ZF_OP_TYPE, n->type, c->types, 0);
  if (n->embed_norm) norm(b, n->embed_norm, ZF_REG_X, ZF_REG_X);
}

/* Wants added since `from` stand beside the body. */
static void mark_outside_prefix(struct builder *b, int64_t from) {
  for (int64_t i = from; !b->failed && i < b->p->nwant; i++) b->p->want[i].outside_prefix = 1;
}

/* dense, activation and norm of a masked model's or a classifier's head. */
static void transform(struct builder *b, const struct zf_head_names *t, int bias) {
  const struct zf_config *c = b->c;
  linear(b, t->dense, ZF_REG_F, c->hidden, ZF_REG_G, 0, c->embed_dim, bias, 0);
  struct zf_op *op = add_op(b, ZF_OP_ACT, ZF_REG_G, ZF_REG_G);
  op->width = c->embed_dim;
  op->act = c->tail_act;
  if (t->norm) norm(b, t->norm, ZF_REG_G, ZF_REG_G);
}

static void tail(struct builder *b) {
  const struct zf_config *c = b->c;
  const struct zf_names *n = &c->family->names;
  const struct zf_head_names *t = zf_config_tail(c);
  b->p->body = b->p->nop;
  if (c->final_norm && n->final_norm) norm(b, n->final_norm, ZF_REG_F, ZF_REG_F);
  scale(b, ZF_REG_F, c->classify || c->logits_by == 0 ? 0 : 1 / c->logits_by);
  if (c->embed_dim != c->hidden)
    linear(b, n->project_out, ZF_REG_F, c->hidden, ZF_REG_G, 0, c->embed_dim, 0, 0);
  int64_t from = b->p->nwant;
  b->p->head_bias = -1;
  if (c->headless) return;
  if (t->dense) transform(b, t, c->dense_bias);
  if (!c->tied) b->p->head = add_want(b, t->head, 2, c->outputs, c->embed_dim);
  b->p->head_bias = c->head_bias ? add_want(b, t->bias, 1, c->outputs, 0) : -1;
  mark_outside_prefix(b, from);
}

static int64_t max64(int64_t a, int64_t b) {
  return a > b ? a : b;
}

int zf_plan_build(struct zf_plan *out, const struct zf_config *c) {
  memset(out, 0, sizeof *out);
  struct builder b = {.p = out, .c = c};
  out->causal = !c->family->bidirectional;
  front(&b);
  for (b.layer = 0; b.layer < c->layers; b.layer++) block(&b);
  tail(&b);
  int64_t qw = c->heads * c->head_dim, kw = c->kv_heads * c->head_dim;
  out->width[ZF_REG_X] = c->hidden;
  out->width[ZF_REG_H] = max64(max64(c->hidden, qw), c->embed_dim);
  out->width[ZF_REG_Z] = max64(qw + 2 * kw, c->ffn * (c->family->gated ? 2 : 1));
  out->width[ZF_REG_Z] = max64(out->width[ZF_REG_Z], c->hidden); /* what is normed, then added */
  out->width[ZF_REG_P] = c->parallel ? c->hidden : 0;
  out->width[ZF_REG_F] = c->hidden;
  int own = c->embed_dim != c->hidden || zf_config_tail(c)->dense;
  out->width[ZF_REG_G] = own ? c->embed_dim : 0;
  if (!b.failed) return 0;
  zf_plan_free(out);
  return zf_error(ZF_ENOMEM, "out of memory for the plan of %lld layers", (long long)c->layers);
}

void zf_plan_free(struct zf_plan *p) {
  free(p->op);
  free(p->want);
  memset(p, 0, sizeof *p);
}

double zf_plan_macs(const struct zf_plan *p, int64_t tokens, int64_t rows, int64_t outputs) {
  double macs = 0;
  int64_t embed = 0;
  for (int64_t i = 0; i < p->nop; i++) {
    const struct zf_op *op = &p->op[i];
    if (op->kind == ZF_OP_EMBED) embed = op->width;
    if (op->kind == ZF_OP_LINEAR)
      macs += (double)(i < p->body ? tokens : rows) * (double)op->width * (double)op->inputs;
  }
  return macs + (double)rows * (double)outputs * (double)embed;
}
