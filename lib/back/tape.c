/* Assigns a place to every value of the tape: see back_internal.h. */
#include <stdlib.h>
#include <string.h>

#include "back/back_internal.h"
#include "base/err.h"

struct tape_builder {
  struct zf_tape *tape;
  const struct zf_model *model;
  int32_t current[ZF_REGS]; /* the value that a register holds; -1: none */
  int segment;
};

/* 1 if an operation replaces the whole content of its destination. */
static int replaces(const struct zf_op *op) {
  switch (op->kind) {
    case ZF_OP_LINEAR:
      return !op->accumulate && op->dst_col == 0;
    case ZF_OP_COPY:
      return op->dst_col == 0;
    case ZF_OP_EMBED:
    case ZF_OP_NORM:
    case ZF_OP_ATTENTION:
    case ZF_OP_ACT:
      return 1;
    default:
      return 0;
  }
}

static int trained(const struct zf_model *model, int32_t number) {
  return number >= 0 && model->params.param[number].trained;
}

/* 1 if the operation's derivative reads its input. */
static int saves(const struct zf_model *model, const struct zf_op *op) {
  switch (op->kind) {
    case ZF_OP_LINEAR:
      return trained(model, op->weight);
    case ZF_OP_NORM:
    case ZF_OP_ATTENTION:
    case ZF_OP_ACT:
      return 1;
    default:
      return 0;
  }
}

/* Columns that the derivative of an operation in place reads as they were before it. */
static int64_t columns_saved(const struct zf_model *model, const struct zf_op *op) {
  switch (op->kind) {
    case ZF_OP_HEADNORM:
      return op->heads * op->width;
    case ZF_OP_COLUMNS:
    case ZF_OP_DORA:
      return trained(model, op->weight) ? op->width : 0;
    default:
      return 0;
  }
}

static int reads(const struct zf_op *op) {
  return op->kind != ZF_OP_EMBED;
}

static int64_t result_width(const struct zf_model *model, const struct zf_op *op) {
  if (op->kind == ZF_OP_ATTENTION) return model->config.heads * model->config.head_dim;
  if (op->kind == ZF_OP_HEADNORM) return op->heads * op->width;
  if (op->kind == ZF_OP_PERMUTE_HEADS) return 3 * op->heads * op->width;
  return op->dst_col + op->width;
}

/* Marks the operations before which X is the only register that is read later. */
static void mark_cuts(const struct zf_plan *plan, char *cut) {
  int live[ZF_REGS] = {[ZF_REG_X] = 1};
  for (int64_t i = plan->body - 1; i >= 0; i--) {
    const struct zf_op *op = &plan->op[i];
    if (replaces(op)) live[op->dst] = 0;
    if (reads(op)) live[op->src] = 1;
    if (!replaces(op)) live[op->dst] = 1; /* it modifies the present content */
    cut[i] = live[ZF_REG_X];
    for (int reg = ZF_REG_H; reg < ZF_REGS; reg++) cut[i] = cut[i] && !live[reg];
  }
}

/* A segment holds a whole layer: it ends at the first cut after the layer's activation. */
static void cut_segments(struct zf_tape *tape, const struct zf_plan *plan, const char *cut,
                         int checkpoint) {
  int full = 0;
  tape->segments = 1;
  int64_t searched = checkpoint ? plan->body : 0;
  for (int64_t i = 0; i < searched; i++) {
    if (full && cut[i]) {
      tape->first[tape->segments++] = i;
      full = 0;
    }
    full |= plan->op[i].kind == ZF_OP_ACT;
  }
  tape->first[tape->segments] = plan->body;
}

static int32_t begin_value(struct tape_builder *builder, int64_t stride, int rows) {
  struct zf_tape *tape = builder->tape;
  tape->value[tape->nvalue] =
      (struct zf_value){.stride = stride, .rows = rows, .segment = builder->segment};
  return tape->nvalue++;
}

static void place_op(struct tape_builder *builder, int64_t i) {
  const struct zf_op *op = &builder->model->plan.op[i];
  struct zf_tape *tape = builder->tape;
  struct zf_node *node = &tape->node[i];
  int rows = i >= builder->model->plan.body;
  int64_t width = result_width(builder->model, op);
  *node = (struct zf_node){.src = builder->current[op->src],
                           .copied = -1,
                           .columns_before = -1,
                           .segment = builder->segment};
  if (i >= tape->stop && saves(builder->model, op)) tape->value[node->src].saved = 1;
  int64_t columns = i >= tape->stop ? columns_saved(builder->model, op) : 0;
  if (columns) node->columns_before = begin_value(builder, columns, rows);
  int32_t current = builder->current[op->dst];
  if (replaces(op) || current < 0) {
    builder->current[op->dst] = begin_value(builder, width, rows);
  } else if (tape->value[current].saved) {
    node->copied = current;
    builder->current[op->dst] = begin_value(builder, tape->value[current].stride, rows);
  } else if (width > tape->value[current].stride) {
    tape->value[current].stride = width;
  }
  node->dst = builder->current[op->dst];
}

static void find_stop(struct zf_tape *tape, const struct zf_model *model) {
  const struct zf_plan *plan = &model->plan;
  tape->stop = 0;
  while (tape->stop < plan->nop && !trained(model, plan->op[tape->stop].weight) &&
         !trained(model, plan->op[tape->stop].bias))
    tape->stop++;
}

static void place_all(struct tape_builder *builder) {
  const struct zf_plan *plan = &builder->model->plan;
  struct zf_tape *tape = builder->tape;
  for (int reg = 0; reg < ZF_REGS; reg++) builder->current[reg] = -1;
  for (int64_t i = 0; i < plan->body; i++) {
    if (builder->segment + 1 < tape->segments && i == tape->first[builder->segment + 1]) {
      struct zf_value *value = &tape->value[builder->current[ZF_REG_X]];
      builder->segment++;
      value->kept = value->saved = 1; /* the segment may be rerun from it */
    }
    place_op(builder, i);
  }
  tape->last_x = builder->current[ZF_REG_X];
  tape->value[tape->last_x].kept = 1;
  tape->gathered = builder->current[ZF_REG_F] =
      begin_value(builder, builder->model->config.hidden, 1);
  for (int64_t i = plan->body; i < plan->nop; i++) place_op(builder, i);
  memcpy(tape->last, builder->current, sizeof tape->last);
}

static void lay_values(struct zf_tape *tape, int64_t tokens, int64_t rows, int checkpoint) {
  int64_t used = 0;
  int segment = 0;
  for (int32_t number = 0; number < tape->nvalue; number++) {
    struct zf_value *value = &tape->value[number];
    int64_t floats = ((value->rows ? rows : tokens) * value->stride + 15) / 16 * 16;
    if (!checkpoint || value->rows) value->kept = 1;
    if (value->segment != segment) used = 0;
    segment = value->segment;
    value->offset = value->kept ? tape->kept : used;
    if (value->kept)
      tape->kept += floats;
    else
      used += floats;
    if (used > tape->region) tape->region = used;
  }
}

int zf_tape_new(struct zf_tape *tape, const struct zf_model *model, int64_t tokens, int64_t rows,
                int checkpoint) {
  const struct zf_plan *plan = &model->plan;
  struct tape_builder builder = {.tape = tape, .model = model};
  memset(tape, 0, sizeof *tape);
  char *cut = zf_calloc(plan->nop + 1, 1);
  tape->value = zf_calloc(2 * plan->nop + 1, sizeof *tape->value);
  tape->node = zf_calloc(plan->nop, sizeof *tape->node);
  tape->first = zf_calloc(plan->nop + 2, sizeof *tape->first);
  int rc = cut && tape->value && tape->node && tape->first ? 0 : ZF_ENOMEM;
  if (!rc) {
    find_stop(tape, model);
    mark_cuts(plan, cut);
    cut_segments(tape, plan, cut, checkpoint);
    place_all(&builder);
    lay_values(tape, tokens, rows, checkpoint);
  } else {
    zf_tape_free(tape);
  }
  free(cut);
  return rc;
}

void zf_tape_free(struct zf_tape *tape) {
  free(tape->value);
  free(tape->node);
  free(tape->first);
  memset(tape, 0, sizeof *tape);
}
