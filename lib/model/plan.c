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
  int64_t layer;
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

/* Writes `name` with # replaced by the layer number. */
static void expand(char out[160], const char *name, int64_t layer) {
  const char *hash = strchr(name, '#');
  if (!hash)
    snprintf(out, 160, "%s", name);
  else
    snprintf(out, 160, "%.*s%lld%s", (int)(hash - name), name, (long long)layer, hash + 1);
}

static int32_t add_want(struct builder *b, const char *name, int ndim, int64_t rows, int64_t cols) {
  struct zf_want *w = grow(b->p->want, b->p->nwant, &b->p->wcap, sizeof *w);
  if (!w) {
    b->failed = 1;
    return -1;
  }
  b->p->want = w;
  w += b->p->nwant;
  *w = (struct zf_want){.ndim = ndim, .shape = {rows, cols}, .decayed = ndim == 2};
  expand(w->name, name, b->layer);
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
  op->again = !b->failed && b->p->nop > 1 && last->kind == ZF_OP_LINEAR && last->src == src && last->k == k &&
              last->dst != src;
  op->k = k;
  op->n = n;
  op->dst_col = dst_col;
  op->accumulate = accumulate;
  op->weight = add_want(b, name, 2, t ? k : n, t ? n : k);
  if (bias) op->bias = add_bias(b, name, n);
}

static void norm(struct builder *b, const char *name, enum zf_reg src, enum zf_reg dst) {
  struct zf_op *op = add_op(b, ZF_OP_NORM, src, dst);
  op->n = b->c->hidden;
  if (!b->c->affine) return;
  op->weight = add_want(b, name, 1, op->n, 0);
  if (b->c->family->norm_bias) op->bias = add_bias(b, name, op->n);
}

static void per_head(struct builder *b, enum zf_op_kind kind, int64_t col, int64_t heads,
                     const char *name) {
  struct zf_op *op = add_op(b, kind, ZF_REG_Z, ZF_REG_Z);
  op->src_col = op->dst_col = col;
  op->heads = heads;
  op->n = b->c->head_dim;
  if (name) op->weight = add_want(b, name, 1, op->n, 0);
}

static void attention(struct builder *b, enum zf_reg in) {
  const struct zf_config *c = b->c;
  const struct zf_names *n = &c->family->names;
  int64_t qw = c->heads * c->head_dim, kw = c->kv_heads * c->head_dim;
  if (n->qkv) {
    linear(b, n->qkv, in, c->hidden, ZF_REG_Z, 0, qw + 2 * kw, c->qkv_bias, 0);
  } else {
    linear(b, n->q, in, c->hidden, ZF_REG_Z, 0, qw, c->qkv_bias, 0);
    linear(b, n->k, in, c->hidden, ZF_REG_Z, qw, kw, c->qkv_bias, 0);
    linear(b, n->v, in, c->hidden, ZF_REG_Z, qw + kw, kw, c->qkv_bias, 0);
  }
  if (c->family->head_norm) {
    per_head(b, ZF_OP_HEADNORM, 0, c->heads, n->q_norm);
    per_head(b, ZF_OP_HEADNORM, qw, c->kv_heads, n->k_norm);
  }
  if (c->family->pos == ZF_POS_ROPE) per_head(b, ZF_OP_ROPE, 0, c->heads + c->kv_heads, NULL);
  struct zf_op *op = add_op(b, ZF_OP_ATTENTION, ZF_REG_Z, ZF_REG_H);
  op->layer = b->layer;
  double scale = c->unit_scale ? 1 : 1 / sqrt((double)c->head_dim);
  op->scale = (float)(c->inverse_layer_scale ? scale / (double)(b->layer + 1) : scale);
  linear(b, n->o, ZF_REG_H, qw, ZF_REG_X, 0, c->hidden, c->o_bias, 1);
}

static void mlp(struct builder *b, enum zf_reg in) {
  const struct zf_config *c = b->c;
  const struct zf_names *n = &c->family->names;
  if (c->family->gated) linear(b, n->gate, in, c->hidden, ZF_REG_Z, 0, c->ffn, c->mlp_bias, 0);
  linear(b, n->up, in, c->hidden, ZF_REG_Z, c->family->gated ? c->ffn : 0, c->ffn, c->mlp_bias, 0);
  struct zf_op *op = add_op(b, ZF_OP_ACT, ZF_REG_Z, ZF_REG_Z);
  op->n = c->ffn;
  op->gated = c->family->gated;
  linear(b, n->down, ZF_REG_Z, c->ffn, ZF_REG_X, 0, c->hidden, c->mlp_bias, 1);
}

/* x = x + f(norm(x)), or x = norm(x + f(x)): f adds to X itself. */
static void block(struct builder *b) {
  const struct zf_names *n = &b->c->family->names;
  int post = b->c->post_norm;
  enum zf_reg in = post ? ZF_REG_X : ZF_REG_H;
  if (!post) norm(b, n->norm1, ZF_REG_X, ZF_REG_H);
  attention(b, in);
  norm(b, post ? n->norm1 : n->norm2, ZF_REG_X, in);
  mlp(b, in);
  if (post) norm(b, n->norm2, ZF_REG_X, ZF_REG_X);
}

static void front(struct builder *b) {
  const struct zf_config *c = b->c;
  const struct zf_names *n = &c->family->names;
  int projected = c->embed_dim != c->hidden;
  struct zf_op *op = add_op(b, ZF_OP_EMBED, ZF_REG_X, projected ? ZF_REG_H : ZF_REG_X);
  op->n = c->embed_dim;
  op->weight = add_want(b, n->embed, 2, c->vocab, c->embed_dim);
  b->p->head = op->weight;
  if (projected) linear(b, n->project_in, ZF_REG_H, c->embed_dim, ZF_REG_X, 0, c->hidden, 0, 0);
  if (c->family->pos != ZF_POS_LEARNED) return;
  op = add_op(b, ZF_OP_POSITION, ZF_REG_X, ZF_REG_X);
  op->n = c->hidden;
  op->offset = c->family->pos_offset;
  op->weight = add_want(b, n->pos, 2, c->max_pos + op->offset, c->hidden);
}

static void tail(struct builder *b) {
  const struct zf_config *c = b->c;
  const struct zf_names *n = &c->family->names;
  b->p->body = b->p->nop;
  if (c->final_norm) norm(b, n->final_norm, ZF_REG_F, ZF_REG_F);
  if (c->embed_dim != c->hidden)
    linear(b, n->project_out, ZF_REG_F, c->hidden, ZF_REG_G, 0, c->embed_dim, 0, 0);
  if (!c->tied) b->p->head = add_want(b, n->head, 2, c->vocab, c->embed_dim);
}

static int64_t max64(int64_t a, int64_t b) {
  return a > b ? a : b;
}

int zf_plan_build(struct zf_plan *out, const struct zf_config *c) {
  memset(out, 0, sizeof *out);
  struct builder b = {.p = out, .c = c};
  out->causal = 1;
  front(&b);
  for (b.layer = 0; b.layer < c->layers; b.layer++) block(&b);
  tail(&b);
  int64_t qw = c->heads * c->head_dim, kw = c->kv_heads * c->head_dim;
  out->width[ZF_REG_X] = c->hidden;
  out->width[ZF_REG_H] = max64(max64(c->hidden, qw), c->embed_dim);
  out->width[ZF_REG_Z] = max64(qw + 2 * kw, c->ffn * (c->family->gated ? 2 : 1));
  out->width[ZF_REG_F] = c->hidden;
  out->width[ZF_REG_G] = c->embed_dim != c->hidden ? c->embed_dim : 0;
  if (!b.failed) return 0;
  zf_plan_free(out);
  return zf_error(ZF_ENOMEM, "out of memory for the plan of %lld layers", (long long)c->layers);
}

void zf_plan_free(struct zf_plan *p) {
  free(p->op);
  free(p->want);
  memset(p, 0, sizeof *p);
}

double zf_plan_macs(const struct zf_plan *p, int64_t tokens, int64_t rows, int64_t vocab) {
  double macs = 0;
  int64_t embed = 0;
  for (int64_t i = 0; i < p->nop; i++) {
    const struct zf_op *op = &p->op[i];
    if (op->kind == ZF_OP_EMBED) embed = op->n;
    if (op->kind == ZF_OP_LINEAR)
      macs += (double)(i < p->body ? tokens : rows) * (double)op->n * (double)op->k;
  }
  return macs + (double)rows * (double)vocab * (double)embed;
}
