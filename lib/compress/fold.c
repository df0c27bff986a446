#include "compress/fold.h"

/* The last operation before number `at` that writes the register that `at` reads. */
static int64_t writer_of(const struct zf_plan *plan, int64_t at) {
  enum zf_reg reg = plan->op[at].src;
  for (int64_t i = at - 1; i >= 0 && plan->op[i].layer == plan->op[at].layer; i--) {
    const struct zf_op *op = &plan->op[i];
    int in_place = op->kind == ZF_OP_HEADNORM || op->kind == ZF_OP_ROPE || op->kind == ZF_OP_ACT ||
                   op->kind == ZF_OP_PERMUTE_HEADS || op->kind == ZF_OP_SCALE ||
                   op->kind == ZF_OP_DORA || op->kind == ZF_OP_COLUMNS;
    if ((in_place ? op->src : op->dst) == reg) return i;
  }
  return -1;
}

/* 1 where products that read the layer's input number `input` are all that reads the result of operation
 * `at` until its register is written again. */
static int read_by_input_alone(const struct zf_layer *layer, int64_t at, int input) {
  const struct zf_plan *plan = &layer->model->plan;
  enum zf_reg reg = plan->op[at].dst;
  for (int64_t i = at + 1; i < plan->body && plan->op[i].layer == layer->number; i++) {
    const struct zf_op *op = &plan->op[i];
    if (op->src == reg && op->kind != ZF_OP_EMBED) {
      if (op->kind != ZF_OP_LINEAR) return 0;
      int64_t first = i;
      while (plan->op[first].reuse_input) first--;
      if (first != layer->input[input].first_op) return 0;
    }
    if (op->dst != reg) continue;
    return !op->accumulate && op->kind != ZF_OP_ADD;
  }
  return reg != ZF_REG_X; /* the next layer reads X */
}

/* The product that writes columns first..first + width of register `reg` last before number `at`. */
static int64_t product_of(const struct zf_plan *plan, int64_t at, enum zf_reg reg, int64_t first,
                          int64_t width) {
  for (int64_t i = at - 1; i >= 0 && plan->op[i].layer == plan->op[at].layer; i--) {
    const struct zf_op *op = &plan->op[i];
    if (op->kind == ZF_OP_LINEAR && op->dst == reg && op->dst_col <= first &&
        op->dst_col + op->width >= first + width)
      return i;
  }
  return -1;
}

static struct zf_fold fold_rows(const struct zf_plan *plan, int64_t at, enum zf_reg reg,
                                int64_t first, int64_t width) {
  struct zf_fold fold = {0};
  int64_t product = product_of(plan, at, reg, first, width);
  if (product < 0 || plan->op[product].accumulate) return fold;
  const struct zf_op *op = &plan->op[product];
  fold.kind = ZF_FOLD_ROWS;
  fold.weight = op->weight;
  fold.bias = op->bias;
  fold.first_row = op->first_output + first - op->dst_col;
  fold.channels = width;
  return fold;
}

/* 1 where an operation between the value's product and attention changes the order of columns. */
static int permutes_heads(const struct zf_plan *plan, int64_t at) {
  for (int64_t i = at - 1; i >= 0 && plan->op[i].layer == plan->op[at].layer; i--)
    if (plan->op[i].kind == ZF_OP_PERMUTE_HEADS) return 1;
  return 0;
}

static struct zf_fold fold_values(const struct zf_layer *layer, int64_t at) {
  const struct zf_config *config = &layer->model->config;
  const struct zf_plan *plan = &layer->model->plan;
  int64_t dim = config->head_dim,
          first = plan->op[at].src_col + (config->heads + config->kv_heads) * dim;
  if (permutes_heads(plan, at)) return (struct zf_fold){0};
  struct zf_fold fold = fold_rows(plan, at, plan->op[at].src, first, config->kv_heads * dim);
  fold.heads = config->heads;
  fold.shared = config->heads / config->kv_heads;
  fold.dim = dim;
  return fold;
}

struct zf_fold zf_fold_find(const struct zf_layer *layer, int input) {
  const struct zf_plan *plan = &layer->model->plan;
  int64_t at = writer_of(plan, layer->input[input].first_op);
  struct zf_fold none = {0};
  if (at < 0) return none;
  const struct zf_op *op = &plan->op[at];
  if (op->kind == ZF_OP_NORM && op->weight >= 0 && read_by_input_alone(layer, at, input))
    return (struct zf_fold){
        .kind = ZF_FOLD_NORM, .weight = op->weight, .bias = op->bias, .channels = op->width};
  if (op->kind == ZF_OP_ACT && op->gated)
    return fold_rows(plan, at, op->src, op->src_col + op->width, op->width);
  if (op->kind == ZF_OP_ATTENTION) return fold_values(layer, at);
  return none;
}

int64_t zf_fold_channel(const struct zf_fold *fold, int64_t column) {
  if (!fold->dim) return column;
  return column / fold->dim / fold->shared * fold->dim + column % fold->dim;
}
