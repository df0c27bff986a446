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
  struct zf_plan *plan;
  const struct zf_config *config;
  int64_t layer, head;
  int failed;
};

static void *grow(void *old, int64_t count, int64_t *cap, size_t size) {
  if (count < *cap) return old;
  int64_t more = *cap ? *cap * 2 : 64;
  void *p = realloc(old, (size_t)more * size);
  if (p) *cap = more;
  return p;
}

static struct zf_op *add_op(struct builder *builder, enum zf_op_kind kind, enum zf_reg src,
                            enum zf_reg dst) {
  static struct zf_op spare;
  struct zf_op *ops =
      grow(builder->plan->op, builder->plan->nop, &builder->plan->ncap, sizeof *ops);
  if (!ops) {
    builder->failed = 1;
    return &spare;
  }
  builder->plan->op = ops;
  struct zf_op *op = &ops[builder->plan->nop++];
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

static int32_t add_want(struct builder *builder, const char *name, int ndim, int64_t rows,
                        int64_t cols) {
  struct zf_wanted_tensor *wanted =
      grow(builder->plan->want, builder->plan->nwant, &builder->plan->wcap, sizeof *wanted);
  if (!wanted) {
    builder->failed = 1;
    return -1;
  }
  builder->plan->want = wanted;
  wanted += builder->plan->nwant;
  *wanted = (struct zf_wanted_tensor){.ndim = ndim, .shape = {rows, cols}, .decayed = ndim == 2};
  expand(wanted->name, name, builder->layer, builder->head);
  if (ndim == 1 && rows > builder->plan->vec) builder->plan->vec = rows;
  return (int32_t)builder->plan->nwant++;
}

/* The bias of a tensor is named like it. */
static int32_t add_bias(struct builder *builder, const char *name, int64_t length) {
  char bias[160];
  size_t len = strlen(name);
  const char *tail = ".weight";
  if (len > strlen(tail) && !strcmp(name + len - strlen(tail), tail)) len -= strlen(tail);
  snprintf(bias, sizeof bias, "%.*s.bias", (int)len, name);
  return add_want(builder, bias, 1, length, 0);
}

static void linear(struct builder *builder, const char *name, enum zf_reg src, int64_t k,
                   enum zf_reg dst, int64_t dst_col, int64_t n, int bias, int accumulate) {
  int t = builder->config->family->transposed;
  struct zf_op *op = add_op(builder, ZF_OP_LINEAR, src, dst), *last = op - 1;
  op->reuse_input = !builder->failed && builder->plan->nop > 1 && last->kind == ZF_OP_LINEAR &&
                    last->src == src && last->inputs == k && last->dst != src;
  op->inputs = k;
  op->width = n;
  op->dst_col = dst_col;
  op->accumulate = accumulate;
  op->weight = add_want(builder, name, 2, t ? k : n, t ? n : k);
  if (bias) op->bias = add_bias(builder, name, n);
}

static void norm_weights(struct builder *builder, struct zf_op *op, const char *name, int bias) {
  op->norm = builder->config->family->norm;
  if (!builder->config->affine) return;
  op->weight = add_want(builder, name, 1, op->width, 0);
  if (!builder->failed)
    builder->plan->want[op->weight].plus = builder->config->family->norm_plus ? 1.0f : 0.0f;
  if (bias) op->bias = add_bias(builder, name, op->width);
}

static void norm(struct builder *builder, const char *name, enum zf_reg src, enum zf_reg dst) {
  struct zf_op *op = add_op(builder, ZF_OP_NORM, src, dst);
  op->width = builder->config->hidden;
  norm_weights(builder, op, name, builder->config->norm_bias);
}

static struct zf_op *per_head(struct builder *builder, enum zf_op_kind kind, int64_t col,
                              int64_t heads, int64_t width) {
  struct zf_op *op = add_op(builder, kind, ZF_REG_Z, ZF_REG_Z);
  op->src_col = op->dst_col = col;
  op->heads = heads;
  op->width = width;
  return op;
}

/* Heads from `col` on: one norm for all, one for each ("@" in its name), or one of all as a row. */
static void head_norm(struct builder *builder, const char *name, int64_t col, int64_t heads) {
  const struct zf_config *config = builder->config;
  int each = strchr(name, '@') != NULL;
  if (config->family->wide_norm) {
    norm_weights(builder, per_head(builder, ZF_OP_HEADNORM, col, 1, heads * config->head_dim), name,
                 0);
    return;
  }
  for (builder->head = 0; builder->head < (each ? heads : 1); builder->head++)
    norm_weights(builder,
                 per_head(builder, ZF_OP_HEADNORM, col + builder->head * config->head_dim,
                          each ? 1 : heads, config->head_dim),
                 name, 0);
  builder->head = 0;
}

static void scale(struct builder *builder, enum zf_reg reg, double by) {
  if (by == 0 || by == 1) return;
  struct zf_op *op = add_op(builder, ZF_OP_SCALE, reg, reg);
  op->width = builder->config->hidden;
  op->scale = (float)by;
}

/* X += W of k columns of src; by way of `room` where the sum is normed or scaled first. */
static void added(struct builder *builder, const char *name, const char *post, enum zf_reg src,
                  int64_t k, enum zf_reg room, int bias) {
  const struct zf_config *config = builder->config;
  int plain = !post && (config->added_scale == 0 || config->added_scale == 1);
  linear(builder, name, src, k, plain ? ZF_REG_X : room, 0, config->hidden, bias, plain);
  if (plain) return;
  if (post) norm(builder, post, room, room);
  scale(builder, room, config->added_scale);
  add_op(builder, ZF_OP_ADD, room, ZF_REG_X)->width = config->hidden;
}

static void queries(struct builder *builder, enum zf_reg in) {
  const struct zf_config *config = builder->config;
  const struct zf_names *names = &config->family->names;
  int64_t qw = config->heads * config->head_dim, kw = config->kv_heads * config->head_dim;
  if (names->qkv) {
    linear(builder, names->qkv, in, config->hidden, ZF_REG_Z, 0, qw + 2 * kw, config->qkv_bias, 0);
    if (config->family->qkv == ZF_QKV_HEADS)
      per_head(builder, ZF_OP_PERMUTE_HEADS, 0, config->heads, config->head_dim);
  } else {
    linear(builder, names->query, in, config->hidden, ZF_REG_Z, 0, qw, config->qkv_bias, 0);
    linear(builder, names->key, in, config->hidden, ZF_REG_Z, qw, kw, config->qkv_bias, 0);
    linear(builder, names->value, in, config->hidden, ZF_REG_Z, qw + kw, kw, config->qkv_bias, 0);
  }
}

static void attention(struct builder *builder, enum zf_reg in) {
  const struct zf_config *config = builder->config;
  const struct zf_names *names = &config->family->names;
  int64_t qw = config->heads * config->head_dim;
  int local = config->layer[builder->layer] & ZF_LAYER_LOCAL,
      no_rope = config->layer[builder->layer] & ZF_LAYER_NOPE;
  queries(builder, in);
  if (config->qk_normed) {
    head_norm(builder, names->q_norm, 0, config->heads);
    head_norm(builder, names->k_norm, qw, config->kv_heads);
  }
  if (config->family->pos == ZF_POS_ROPE && !no_rope)
    per_head(builder, ZF_OP_ROPE, 0, config->heads + config->kv_heads, config->head_dim)->rope =
        local && config->ropes == 2;
  struct zf_op *op = add_op(builder, ZF_OP_ATTENTION, ZF_REG_Z, ZF_REG_H);
  op->layer = builder->layer;
  op->scale = (float)(config->inverse_layer_scale ? config->scale / (double)(builder->layer + 1)
                                                  : config->scale);
  op->cap = (float)config->score_cap;
  op->window = local ? config->window : 0;
  added(builder, names->output, names->post1, ZF_REG_H, qw, ZF_REG_Z, config->o_bias);
}

static void mlp(struct builder *builder, enum zf_reg in) {
  const struct zf_config *config = builder->config;
  const struct zf_names *names = &config->family->names;
  int gated = config->family->gated;
  if (names->gate_up) {
    linear(builder, names->gate_up, in, config->hidden, ZF_REG_Z, 0, 2 * config->ffn,
           config->mlp_bias, 0);
  } else {
    if (gated)
      linear(builder, names->gate, in, config->hidden, ZF_REG_Z, 0, config->ffn, config->mlp_bias,
             0);
    linear(builder, names->up, in, config->hidden, ZF_REG_Z, gated ? config->ffn : 0, config->ffn,
           config->mlp_bias, 0);
  }
  struct zf_op *op = add_op(builder, ZF_OP_ACT, ZF_REG_Z, ZF_REG_Z);
  op->width = config->ffn;
  op->gated = gated;
  op->act = config->act;
  added(builder, names->down, names->post2, ZF_REG_Z, config->ffn, ZF_REG_H, config->mlp_bias);
}

/* x + f(norm1 x) + g(norm2 x): g's input is made before f adds to X. */
static void parallel_block(struct builder *builder) {
  const struct zf_names *names = &builder->config->family->names;
  int shared = builder->config->family->norm_shared;
  enum zf_reg in = shared ? ZF_REG_P : ZF_REG_H;
  norm(builder, names->norm1, ZF_REG_X, in);
  if (!shared) norm(builder, names->norm2, ZF_REG_X, ZF_REG_P);
  attention(builder, in);
  mlp(builder, ZF_REG_P);
}

/* x = x + f(norm(x)), or x = norm(x + f(x)): f adds to X itself. */
static void block(struct builder *builder) {
  const struct zf_names *names = &builder->config->family->names;
  int post = builder->config->post_norm,
      unnormed =
          !names->norm1 || (builder->config->family->first_without_norm && builder->layer == 0);
  enum zf_reg in = post ? ZF_REG_X : ZF_REG_H;
  if (builder->config->parallel) {
    parallel_block(builder);
    return;
  }
  if (!post && !unnormed) norm(builder, names->norm1, ZF_REG_X, ZF_REG_H);
  attention(builder, unnormed ? ZF_REG_X : in);
  if (post) norm(builder, names->norm1, ZF_REG_X, ZF_REG_X);
  if (!post && names->norm2) norm(builder, names->norm2, ZF_REG_X, ZF_REG_H);
  mlp(builder, names->norm2 ? in : ZF_REG_X);
  if (post) norm(builder, names->norm2, ZF_REG_X, ZF_REG_X);
}

static void table(struct builder *builder, enum zf_op_kind kind, const char *name, int64_t rows,
                  int64_t offset) {
  struct zf_op *op = add_op(builder, kind, ZF_REG_X, ZF_REG_X);
  op->width = builder->config->hidden;
  op->offset = offset;
  op->weight = add_want(builder, name, 2, rows, builder->config->hidden);
}

static void front(struct builder *builder) {
  const struct zf_config *config = builder->config;
  const struct zf_names *names = &config->family->names;
  int projected = config->embed_dim != config->hidden;
  struct zf_op *op = add_op(builder, ZF_OP_EMBED, ZF_REG_X, projected ? ZF_REG_H : ZF_REG_X);
  op->width = config->embed_dim;
  op->weight = add_want(builder, names->embed, 2, config->vocab, config->embed_dim);
  builder->plan->head = op->weight;
  if (projected)
    linear(builder, names->project_in, ZF_REG_H, config->embed_dim, ZF_REG_X, 0, config->hidden, 0,
           0);
  scale(builder, ZF_REG_X, config->embed_scale);
  if (config->family->pos == ZF_POS_LEARNED)
    table(builder, ZF_OP_POSITION, names->pos, config->context + config->pos_offset,
          config->pos_offset);
  if (names->type) table(builder, ZF_OP_TYPE, names->type, config->types, 0);
  if (names->embed_norm) norm(builder, names->embed_norm, ZF_REG_X, ZF_REG_X);
}

/* Wants added since `from` stand beside the body. */
static void mark_outside_prefix(struct builder *builder, int64_t from) {
  for (int64_t i = from; !builder->failed && i < builder->plan->nwant; i++)
    builder->plan->want[i].outside_prefix = 1;
}

/* dense, activation and norm of a masked model's or a classifier's head. */
static void transform(struct builder *builder, const struct zf_head_names *head, int bias) {
  const struct zf_config *config = builder->config;
  linear(builder, head->dense, ZF_REG_F, config->hidden, ZF_REG_G, 0, config->embed_dim, bias, 0);
  struct zf_op *op = add_op(builder, ZF_OP_ACT, ZF_REG_G, ZF_REG_G);
  op->width = config->embed_dim;
  op->act = config->tail_act;
  if (head->norm) norm(builder, head->norm, ZF_REG_G, ZF_REG_G);
}

static void tail(struct builder *builder) {
  const struct zf_config *config = builder->config;
  const struct zf_names *names = &config->family->names;
  const struct zf_head_names *head = zf_config_tail(config);
  builder->plan->body = builder->plan->nop;
  if (config->final_norm && names->final_norm) norm(builder, names->final_norm, ZF_REG_F, ZF_REG_F);
  scale(builder, ZF_REG_F, config->classify || config->logits_by == 0 ? 0 : 1 / config->logits_by);
  if (config->embed_dim != config->hidden)
    linear(builder, names->project_out, ZF_REG_F, config->hidden, ZF_REG_G, 0, config->embed_dim, 0,
           0);
  int64_t from = builder->plan->nwant;
  builder->plan->head_bias = -1;
  if (config->headless) return;
  if (head->dense) transform(builder, head, config->dense_bias);
  if (!config->tied)
    builder->plan->head = add_want(builder, head->head, 2, config->outputs, config->embed_dim);
  builder->plan->head_bias =
      config->head_bias ? add_want(builder, head->bias, 1, config->outputs, 0) : -1;
  mark_outside_prefix(builder, from);
}

static int64_t max64(int64_t a, int64_t b) {
  return a > b ? a : b;
}

int zf_plan_build(struct zf_plan *out, const struct zf_config *config) {
  memset(out, 0, sizeof *out);
  struct builder builder = {.plan = out, .config = config};
  out->causal = !config->family->bidirectional;
  front(&builder);
  for (builder.layer = 0; builder.layer < config->layers; builder.layer++) block(&builder);
  tail(&builder);
  int64_t qw = config->heads * config->head_dim, kw = config->kv_heads * config->head_dim;
  out->width[ZF_REG_X] = config->hidden;
  out->width[ZF_REG_H] = max64(max64(config->hidden, qw), config->embed_dim);
  out->width[ZF_REG_Z] = max64(qw + 2 * kw, config->ffn * (config->family->gated ? 2 : 1));
  out->width[ZF_REG_Z] =
      max64(out->width[ZF_REG_Z], config->hidden); /* what is normed, then added */
  out->width[ZF_REG_P] = config->parallel ? config->hidden : 0;
  out->width[ZF_REG_F] = config->hidden;
  int own = config->embed_dim != config->hidden || zf_config_tail(config)->dense;
  out->width[ZF_REG_G] = own ? config->embed_dim : 0;
  if (!builder.failed) return 0;
  zf_plan_free(out);
  return zf_error(ZF_ENOMEM, "out of memory for the plan of %lld layers",
                  (long long)config->layers);
}

void zf_plan_free(struct zf_plan *plan) {
  free(plan->op);
  free(plan->want);
  memset(plan, 0, sizeof *plan);
}

double zf_plan_macs(const struct zf_plan *plan, int64_t tokens, int64_t rows, int64_t outputs) {
  double macs = 0;
  int64_t embed = 0;
  for (int64_t i = 0; i < plan->nop; i++) {
    const struct zf_op *op = &plan->op[i];
    if (op->kind == ZF_OP_EMBED) embed = op->width;
    if (op->kind == ZF_OP_LINEAR)
      macs += (double)(i < plan->body ? tokens : rows) * (double)op->width * (double)op->inputs;
  }
  return macs + (double)rows * (double)outputs * (double)embed;
}
