/* Builds the plan, operations and wanted tensors, from a family's row and a configuration. */
#include "model/plan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/util.h"

/* The plan under construction.  `failed` is set when memory runs out; zf_plan_build checks it at the
 * end. */
struct plan_builder {
  struct zf_plan *plan;
  const struct zf_config *config;
  int64_t layer, head;
  int in_block;
  int failed;
};

static struct zf_op *add_op(struct plan_builder *builder, enum zf_op_kind kind, enum zf_reg src,
                            enum zf_reg dst) {
  static struct zf_op discarded;
  struct zf_op *ops =
      zf_grow(builder->plan->op, builder->plan->nop, &builder->plan->ncap, sizeof *ops);
  if (!ops) {
    builder->failed = 1;
    return &discarded;
  }
  builder->plan->op = ops;
  struct zf_op *op = &ops[builder->plan->nop++];
  *op = (struct zf_op){.kind = kind, .src = src, .dst = dst, .weight = -1, .bias = -1};
  op->layer = builder->in_block ? builder->layer : -1;
  return op;
}

/* Writes `name` with # replaced by the layer's number, @ by the head's. */
static void expand(char out[160], const char *name, int64_t layer, int64_t head) {
  size_t len = 0;
  for (const char *c = name; *c; c++) {
    int64_t number = *c == '#' ? layer : head;
    if (len >= 159) break;
    if (*c == '#' || *c == '@')
      len += (size_t)snprintf(out + len, 160 - len, "%lld", (long long)number);
    else
      out[len++] = *c;
  }
  out[len] = 0;
}

static int32_t add_want(struct plan_builder *builder, const char *name, int ndim, int64_t rows,
                        int64_t cols) {
  struct zf_wanted_tensor *wanted = zf_grow(builder->plan->wanted, builder->plan->wanted_count,
                                            &builder->plan->wanted_cap, sizeof *wanted);
  if (!wanted) {
    builder->failed = 1;
    return -1;
  }
  builder->plan->wanted = wanted;
  wanted += builder->plan->wanted_count;
  *wanted = (struct zf_wanted_tensor){.ndim = ndim, .shape = {rows, cols}, .decayed = ndim == 2};
  expand(wanted->name, name, builder->layer, builder->head);
  if (ndim == 1 && rows > builder->plan->vec) builder->plan->vec = rows;
  return (int32_t)builder->plan->wanted_count++;
}

/* Adds the bias of the weight `name`. */
static int32_t add_bias(struct plan_builder *builder, const char *name, int64_t length) {
  char bias[160];
  size_t len = strlen(name);
  const char *suffix = ".weight";
  if (len > strlen(suffix) && !strcmp(name + len - strlen(suffix), suffix)) len -= strlen(suffix);
  snprintf(bias, sizeof bias, "%.*s.bias", (int)len, name);
  return add_want(builder, bias, 1, length, 0);
}

static void linear(struct plan_builder *builder, enum zf_role role, const char *name,
                   enum zf_reg src, int64_t inputs, enum zf_reg dst, int64_t dst_col,
                   int64_t outputs, int bias, int accumulate) {
  int transposed = builder->config->family->transposed;
  struct zf_op *op = add_op(builder, ZF_OP_LINEAR, src, dst);
  op->role = role;
  op->inputs = inputs;
  op->width = outputs;
  op->dst_col = dst_col;
  op->accumulate = accumulate;
  op->weight =
      add_want(builder, name, 2, transposed ? inputs : outputs, transposed ? outputs : inputs);
  if (!builder->failed) builder->plan->wanted[op->weight].transposed = transposed;
  if (bias) op->bias = add_bias(builder, name, outputs);
}

static void norm_weights(struct plan_builder *builder, struct zf_op *op, const char *name,
                         int bias) {
  op->norm = builder->config->family->norm;
  if (!builder->config->affine) return;
  op->weight = add_want(builder, name, 1, op->width, 0);
  if (!builder->failed)
    builder->plan->wanted[op->weight].plus = builder->config->family->norm_plus ? 1.0f : 0.0f;
  if (bias) op->bias = add_bias(builder, name, op->width);
}

static void norm(struct plan_builder *builder, const char *name, enum zf_reg src, enum zf_reg dst) {
  struct zf_op *op = add_op(builder, ZF_OP_NORM, src, dst);
  op->width = builder->config->hidden;
  norm_weights(builder, op, name, builder->config->norm_bias);
}

static struct zf_op *per_head(struct plan_builder *builder, enum zf_op_kind kind, int64_t col,
                              int64_t heads, int64_t width) {
  struct zf_op *op = add_op(builder, kind, ZF_REG_Z, ZF_REG_Z);
  op->src_col = op->dst_col = col;
  op->heads = heads;
  op->width = width;
  return op;
}

/* Norms the heads from column `col` on: with the same weights for every head, with weights for each
 * ("@" in the name), or all heads as one row (wide_norm). */
static void head_norm(struct plan_builder *builder, const char *name, int64_t col, int64_t heads) {
  const struct zf_config *config = builder->config;
  int each = strchr(name, '@') != NULL;
  if (config->family->wide_norm) {
    norm_weights(builder, per_head(builder, ZF_OP_HEADNORM, col, 1, heads * config->head_dim), name,
                 0);
    return;
  }
  int64_t norms = each ? heads : 1;
  for (builder->head = 0; builder->head < norms; builder->head++)
    norm_weights(builder,
                 per_head(builder, ZF_OP_HEADNORM, col + builder->head * config->head_dim,
                          each ? 1 : heads, config->head_dim),
                 name, 0);
  builder->head = 0;
}

static void scale(struct plan_builder *builder, enum zf_reg reg, double factor) {
  if (factor == 0 || factor == 1) return;
  struct zf_op *op = add_op(builder, ZF_OP_SCALE, reg, reg);
  op->width = builder->config->hidden;
  op->scale = (float)factor;
}

/* X += `name` applied to the first `inputs` columns of src.  The product goes to `temp` first where
 * it is normed (`post`) or scaled before the addition. */
static void add_product(struct plan_builder *builder, enum zf_role role, const char *name,
                        const char *post, enum zf_reg src, int64_t inputs, enum zf_reg temp,
                        int bias) {
  const struct zf_config *config = builder->config;
  int plain = !post && (config->added_scale == 0 || config->added_scale == 1);
  linear(builder, role, name, src, inputs, plain ? ZF_REG_X : temp, 0, config->hidden, bias, plain);
  if (plain) return;
  if (post) norm(builder, post, temp, temp);
  scale(builder, temp, config->added_scale);
  add_op(builder, ZF_OP_ADD, temp, ZF_REG_X)->width = config->hidden;
}

static void queries(struct plan_builder *builder, enum zf_reg in) {
  const struct zf_config *config = builder->config;
  const struct zf_names *names = &config->family->names;
  int64_t qw = config->heads * config->head_dim, kw = config->kv_heads * config->head_dim;
  if (names->qkv) {
    linear(builder, ZF_ROLE_QKV, names->qkv, in, config->hidden, ZF_REG_Z, 0, qw + 2 * kw,
           config->qkv_bias, 0);
    if (config->family->qkv == ZF_QKV_HEADS)
      per_head(builder, ZF_OP_PERMUTE_HEADS, 0, config->heads, config->head_dim);
  } else {
    linear(builder, ZF_ROLE_QUERY, names->query, in, config->hidden, ZF_REG_Z, 0, qw,
           config->qkv_bias, 0);
    linear(builder, ZF_ROLE_KEY, names->key, in, config->hidden, ZF_REG_Z, qw, kw, config->qkv_bias,
           0);
    linear(builder, ZF_ROLE_VALUE, names->value, in, config->hidden, ZF_REG_Z, qw + kw, kw,
           config->qkv_bias, 0);
  }
}

static void attention(struct plan_builder *builder, enum zf_reg in) {
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
  op->role = ZF_ROLE_ATTENTION;
  op->scale = (float)(config->inverse_layer_scale ? config->scale / (double)(builder->layer + 1)
                                                  : config->scale);
  op->cap = (float)config->score_cap;
  op->window = local ? config->window : 0;
  add_product(builder, ZF_ROLE_OUTPUT, names->output, names->post1, ZF_REG_H, qw, ZF_REG_Z,
              config->o_bias);
}

static void mlp(struct plan_builder *builder, enum zf_reg in) {
  const struct zf_config *config = builder->config;
  const struct zf_names *names = &config->family->names;
  int gated = config->family->gated;
  if (names->gate_up) {
    linear(builder, ZF_ROLE_GATE_UP, names->gate_up, in, config->hidden, ZF_REG_Z, 0,
           2 * config->ffn, config->mlp_bias, 0);
  } else {
    if (gated)
      linear(builder, ZF_ROLE_GATE, names->gate, in, config->hidden, ZF_REG_Z, 0, config->ffn,
             config->mlp_bias, 0);
    linear(builder, ZF_ROLE_UP, names->up, in, config->hidden, ZF_REG_Z, gated ? config->ffn : 0,
           config->ffn, config->mlp_bias, 0);
  }
  struct zf_op *op = add_op(builder, ZF_OP_ACT, ZF_REG_Z, ZF_REG_Z);
  op->width = config->ffn;
  op->gated = gated;
  op->act = config->act;
  add_product(builder, ZF_ROLE_DOWN, names->down, names->post2, ZF_REG_Z, config->ffn, ZF_REG_H,
              config->mlp_bias);
}

/* x + f(norm1 x) + g(norm2 x): g's input is computed before f adds to X. */
static void parallel_block(struct plan_builder *builder) {
  const struct zf_names *names = &builder->config->family->names;
  int shared = builder->config->family->norm_shared;
  enum zf_reg in = shared ? ZF_REG_P : ZF_REG_H;
  norm(builder, names->norm1, ZF_REG_X, in);
  if (!shared) norm(builder, names->norm2, ZF_REG_X, ZF_REG_P);
  attention(builder, in);
  mlp(builder, ZF_REG_P);
}

/* x = x + f(norm(x)), or x = norm(x + f(x)): f adds to X itself. */
static void block(struct plan_builder *builder) {
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

static void table(struct plan_builder *builder, enum zf_op_kind kind, const char *name,
                  int64_t rows, int64_t offset) {
  struct zf_op *op = add_op(builder, kind, ZF_REG_X, ZF_REG_X);
  op->width = builder->config->hidden;
  op->offset = offset;
  op->weight = add_want(builder, name, 2, rows, builder->config->hidden);
}

static void front(struct plan_builder *builder) {
  const struct zf_config *config = builder->config;
  const struct zf_names *names = &config->family->names;
  int projected = config->embed_dim != config->hidden;
  struct zf_op *op = add_op(builder, ZF_OP_EMBED, ZF_REG_X, projected ? ZF_REG_H : ZF_REG_X);
  op->role = ZF_ROLE_EMBED;
  op->width = config->embed_dim;
  op->weight = add_want(builder, names->embed, 2, config->vocab, config->embed_dim);
  builder->plan->head = op->weight;
  if (projected)
    linear(builder, ZF_ROLE_NONE, names->project_in, ZF_REG_H, config->embed_dim, ZF_REG_X, 0,
           config->hidden, 0, 0);
  scale(builder, ZF_REG_X, config->embed_scale);
  if (config->family->pos == ZF_POS_LEARNED)
    table(builder, ZF_OP_POSITION, names->pos, config->context + config->pos_offset,
          config->pos_offset);
  if (names->type) table(builder, ZF_OP_TYPE, names->type, config->types, 0);
  if (names->embed_norm) norm(builder, names->embed_norm, ZF_REG_X, ZF_REG_X);
}

/* The wanted tensors from number `from` on do not have the body's prefix. */
static void mark_outside_prefix(struct plan_builder *builder, int64_t from) {
  for (int64_t i = from; i < builder->plan->wanted_count; i++)
    builder->plan->wanted[i].outside_prefix = 1;
}

/* dense, activation and norm of a masked model's or a classifier's head. */
static void transform(struct plan_builder *builder, const struct zf_head_names *head, int bias) {
  const struct zf_config *config = builder->config;
  linear(builder, ZF_ROLE_NONE, head->dense, ZF_REG_F, config->hidden, ZF_REG_G, 0,
         config->embed_dim, bias, 0);
  struct zf_op *op = add_op(builder, ZF_OP_ACT, ZF_REG_G, ZF_REG_G);
  op->width = config->embed_dim;
  op->act = config->tail_act;
  if (head->norm) norm(builder, head->norm, ZF_REG_G, ZF_REG_G);
}

static void tail(struct plan_builder *builder) {
  const struct zf_config *config = builder->config;
  const struct zf_names *names = &config->family->names;
  const struct zf_head_names *head = zf_config_tail(config);
  builder->plan->body = builder->plan->nop;
  if (config->final_norm && names->final_norm) norm(builder, names->final_norm, ZF_REG_F, ZF_REG_F);
  scale(builder, ZF_REG_F,
        config->classify || config->logit_divisor == 0 ? 0 : 1 / config->logit_divisor);
  if (config->embed_dim != config->hidden)
    linear(builder, ZF_ROLE_NONE, names->project_out, ZF_REG_F, config->hidden, ZF_REG_G, 0,
           config->embed_dim, 0, 0);
  int64_t from = builder->plan->wanted_count;
  builder->plan->head_bias = -1;
  if (config->headless) return;
  if (head->dense) transform(builder, head, config->dense_bias);
  if (!config->tied)
    builder->plan->head = add_want(builder, head->head, 2, config->outputs, config->embed_dim);
  builder->plan->head_bias =
      config->head_bias ? add_want(builder, head->bias, 1, config->outputs, 0) : -1;
  mark_outside_prefix(builder, from);
}

static void set_widths(struct zf_plan *plan, const struct zf_config *config) {
  int64_t qw = config->heads * config->head_dim, kw = config->kv_heads * config->head_dim;
  int64_t mlp_width = config->ffn * (config->family->gated ? 2 : 1);
  plan->width[ZF_REG_X] = config->hidden;
  plan->width[ZF_REG_H] = zf_max64(zf_max64(config->hidden, qw), config->embed_dim);
  plan->width[ZF_REG_Z] = zf_max64(zf_max64(qw + 2 * kw, mlp_width), config->hidden);
  plan->width[ZF_REG_P] = config->parallel ? config->hidden : 0;
  plan->width[ZF_REG_F] = config->hidden;
  int uses_g = config->embed_dim != config->hidden || zf_config_tail(config)->dense;
  plan->width[ZF_REG_G] = uses_g ? config->embed_dim : 0;
}

int zf_plan_build(struct zf_plan *plan, const struct zf_config *config) {
  memset(plan, 0, sizeof *plan);
  struct plan_builder builder = {.plan = plan, .config = config};
  plan->causal = !config->family->bidirectional;
  plan->head_outer = plan->head_rows = -1;
  front(&builder);
  builder.in_block = 1;
  for (builder.layer = 0; builder.layer < config->layers; builder.layer++) block(&builder);
  builder.in_block = 0;
  tail(&builder);
  set_widths(plan, config);
  zf_plan_finish(plan);
  if (!builder.failed) return 0;
  zf_plan_free(plan);
  return zf_error(ZF_ENOMEM, "out of memory for the plan of %lld layers",
                  (long long)config->layers);
}

void zf_plan_free(struct zf_plan *plan) {
  free(plan->op);
  free(plan->wanted);
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
