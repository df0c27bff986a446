/* Edits of a plan, and what follows from the list of operations once it is complete. */
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/util.h"
#include "model/plan.h"

int64_t zf_edit_find_weight(const struct zf_plan *plan, int32_t weight, int64_t from) {
  for (int64_t i = from; i < plan->nop; i++)
    if (plan->op[i].weight == weight) return i;
  return -1;
}

int64_t zf_edit_find(const struct zf_plan *plan, enum zf_role role, int64_t layer) {
  for (int64_t i = 0; i < plan->nop; i++)
    if (plan->op[i].role == role && plan->op[i].layer == layer) return i;
  return -1;
}

/* Inserts `op` as operation number `to`, in the body or in the tail. */
static int insert(struct zf_plan *plan, int64_t to, int in_body, const struct zf_op *op) {
  struct zf_op *ops = zf_grow(plan->op, plan->nop, &plan->ncap, sizeof *ops);
  if (!ops) return ZF_ENOMEM;
  plan->op = ops;
  struct zf_op copy = *op; /* it may stand in the list that moves */
  memmove(ops + to + 1, ops + to, (size_t)(plan->nop - to) * sizeof *ops);
  ops[to] = copy;
  plan->nop++;
  plan->body += in_body;
  return 0;
}

int zf_edit_insert_before(struct zf_plan *plan, int64_t at, const struct zf_op *op) {
  return insert(plan, at, at < plan->body, op);
}

int zf_edit_insert_after(struct zf_plan *plan, int64_t at, const struct zf_op *op) {
  return insert(plan, at + 1, at < plan->body, op);
}

int zf_edit_append(struct zf_plan *plan, const struct zf_op *op) {
  return insert(plan, plan->nop, 0, op);
}

int zf_edit_own_output(struct zf_plan *plan, int64_t at) {
  struct zf_op *op = &plan->op[at];
  struct zf_op back = {.kind = op->accumulate ? ZF_OP_ADD : ZF_OP_COPY,
                       .role = ZF_ROLE_NONE,
                       .src = ZF_REG_V,
                       .dst = op->dst,
                       .dst_col = op->dst_col,
                       .width = op->width,
                       .weight = -1,
                       .bias = -1,
                       .adapter = 1,
                       .layer = op->layer};
  if (op->dst == ZF_REG_V) return 0;
  op->dst = ZF_REG_V;
  op->dst_col = 0;
  op->accumulate = 0;
  return zf_edit_insert_after(plan, at, &back);
}

int zf_edit_own_input(struct zf_plan *plan, int64_t *at) {
  struct zf_op *op = &plan->op[*at];
  struct zf_op copy = {.kind = ZF_OP_COPY,
                       .src = op->src,
                       .src_col = op->src_col,
                       .dst = ZF_REG_V,
                       .width = op->inputs,
                       .weight = -1,
                       .bias = -1,
                       .adapter = 1,
                       .layer = op->layer};
  if (op->src == ZF_REG_V) return 0;
  op->src = ZF_REG_V;
  op->src_col = 0;
  return zf_edit_insert_before(plan, (*at)++, &copy);
}

/* --- finish --- */

/* 1 where the adapter's product `op` adds to what `base` wrote. */
static int adds_to(const struct zf_op *op, const struct zf_op *base) {
  return op->kind == ZF_OP_LINEAR && op->adapter && op->accumulate && op->dst == base->dst &&
         op->dst_col == base->dst_col && op->width == base->width;
}

/* 1 where the gated activation after operation i is the only reader of its product. */
static int feeds_act(const struct zf_plan *plan, int64_t i) {
  const struct zf_op *op = plan->op + i, *act = op + 1, *end = plan->op + plan->nop;
  while (act < end && adds_to(act, op)) act++;
  return act < end && !op->accumulate && act->kind == ZF_OP_ACT && act->gated &&
         op->dst == act->src && op->dst_col == act->src_col + act->width && op->width == act->width;
}

/* Columns of its destination that an operation may write: its width there, or 0. */
static int64_t columns_written(const struct zf_op *op) {
  switch (op->kind) {
    case ZF_OP_EMBED:
    case ZF_OP_LINEAR:
    case ZF_OP_COPY:
      return op->dst_col + op->width;
    default:
      return 0;
  }
}

/* 1 where the base's product `op` has the same input as its product `last`, and nothing between the two
 * wrote to it. */
static int same_input(const struct zf_plan *plan, int64_t last, int64_t number) {
  const struct zf_op *op = &plan->op[number];
  if (last < 0) return 0;
  const struct zf_op *before = &plan->op[last];
  if (before->src != op->src || before->src_col != op->src_col || before->inputs != op->inputs)
    return 0;
  for (int64_t i = last; i < number; i++)
    if (plan->op[i].dst == op->src) return 0;
  return 1;
}

void zf_plan_finish(struct zf_plan *plan) {
  int64_t last = -1;
  plan->width[ZF_REG_U] = plan->width[ZF_REG_V] = 0;
  for (int64_t i = 0; i < plan->nop; i++) {
    struct zf_op *op = &plan->op[i];
    if (i == plan->body) last = -1;
    plan->width[op->dst] = op->dst >= ZF_REG_U ? zf_max64(plan->width[op->dst], columns_written(op))
                                               : plan->width[op->dst];
    if (op->kind != ZF_OP_LINEAR) continue;
    op->feeds_act = feeds_act(plan, i);
    if (op->adapter) continue;
    op->reuse_input = same_input(plan, last, i);
    last = i;
  }
}
