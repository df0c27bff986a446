/* Where values lie: see back_internal.h. */
#include <stdlib.h>
#include <string.h>

#include "back/back_internal.h"
#include "base/err.h"

struct maker {
  struct zf_tape *tape;
  const struct zf_model *model;
  int32_t cur[ZF_REGS]; /* the value that a register holds; -1: none */
  int segment;
};

/* Does an operation replace all that its register held? */
static int replaces(const struct zf_op *op) {
  switch (op->kind) {
    case ZF_OP_LINEAR:
      return !op->accumulate && op->dst_col == 0;
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

/* Does its derivative read its input as it was? */
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

static int reads(const struct zf_op *op) {
  return op->kind != ZF_OP_EMBED;
}

static int64_t width(const struct zf_model *model, const struct zf_op *op) {
  if (op->kind == ZF_OP_ATTENTION) return model->config.heads * model->config.head_dim;
  if (op->kind == ZF_OP_HEADNORM) return op->heads * op->width;
  if (op->kind == ZF_OP_PERMUTE_HEADS) return 3 * op->heads * op->width;
  return op->dst_col + op->width;
}

/* Before which operations nothing but X is of use later. */
static void mark_cuts(const struct zf_plan *plan, char *cut) {
  int live[ZF_REGS] = {[ZF_REG_X] = 1};
  for (int64_t i = plan->body - 1; i >= 0; i--) {
    const struct zf_op *op = &plan->op[i];
    if (replaces(op)) live[op->dst] = 0;
    if (reads(op)) live[op->src] = 1;
    if (!replaces(op)) live[op->dst] = 1; /* it goes on with what is there */
    cut[i] = live[ZF_REG_X] && !live[ZF_REG_H] && !live[ZF_REG_Z] && !live[ZF_REG_P];
  }
}

/* A segment holds a whole layer: it ends at the first cut behind its activation. */
static void cut_segments(struct zf_tape *tape, const struct zf_plan *plan, const char *cut,
                         int checkpoint) {
  int full = 0;
  tape->segments = 1;
  for (int64_t i = 0; checkpoint && i < plan->body; i++) {
    if (full && cut[i]) {
      tape->first[tape->segments++] = i;
      full = 0;
    }
    full |= plan->op[i].kind == ZF_OP_ACT;
  }
  tape->first[tape->segments] = plan->body;
}

static int32_t begin_value(struct maker *maker, int64_t ld, int rows) {
  struct zf_tape *tape = maker->tape;
  tape->value[tape->nvalue] = (struct zf_value){.ld = ld, .rows = rows, .segment = maker->segment};
  return tape->nvalue++;
}

static void place_op(struct maker *maker, int64_t i) {
  const struct zf_op *op = &maker->model->plan.op[i];
  struct zf_tape *tape = maker->tape;
  struct zf_node *node = &tape->node[i];
  int rows = i >= maker->model->plan.body;
  int64_t w = width(maker->model, op);
  *node = (struct zf_node){
      .src = maker->cur[op->src], .old = -1, .side = -1, .segment = maker->segment};
  if (i >= tape->stop && saves(maker->model, op)) tape->value[node->src].saved = 1;
  if (op->kind == ZF_OP_HEADNORM && i >= tape->stop) node->side = begin_value(maker, w, rows);
  int32_t was = maker->cur[op->dst];
  if (replaces(op) || was < 0) {
    maker->cur[op->dst] = begin_value(maker, w, rows);
  } else if (tape->value[was].saved) {
    node->old = was;
    maker->cur[op->dst] = begin_value(maker, tape->value[was].ld, rows);
  } else if (w > tape->value[was].ld) {
    tape->value[was].ld = w;
  }
  node->dst = maker->cur[op->dst];
}

static void find_stop(struct zf_tape *tape, const struct zf_model *model) {
  const struct zf_plan *plan = &model->plan;
  tape->stop = 0;
  while (tape->stop < plan->nop && !trained(model, plan->op[tape->stop].weight) &&
         !trained(model, plan->op[tape->stop].bias))
    tape->stop++;
}

static void place_all(struct maker *maker) {
  const struct zf_plan *plan = &maker->model->plan;
  struct zf_tape *tape = maker->tape;
  for (int r = 0; r < ZF_REGS; r++) maker->cur[r] = -1;
  for (int64_t i = 0; i < plan->body; i++) {
    if (maker->segment + 1 < tape->segments && i == tape->first[maker->segment + 1]) {
      struct zf_value *value = &tape->value[maker->cur[ZF_REG_X]];
      maker->segment++;
      value->kept = value->saved = 1; /* the segment may be run again from it */
    }
    place_op(maker, i);
  }
  tape->last_x = maker->cur[ZF_REG_X];
  tape->value[tape->last_x].kept = 1;
  tape->gathered = maker->cur[ZF_REG_F] = begin_value(maker, maker->model->config.hidden, 1);
  for (int64_t i = plan->body; i < plan->nop; i++) place_op(maker, i);
}

static void lay_values(struct zf_tape *tape, int64_t tokens, int64_t rows, int checkpoint) {
  int64_t used = 0;
  int segment = 0;
  for (int32_t v = 0; v < tape->nvalue; v++) {
    struct zf_value *value = &tape->value[v];
    int64_t n = ((value->rows ? rows : tokens) * value->ld + 15) / 16 * 16;
    if (!checkpoint || value->rows) value->kept = 1;
    if (value->segment != segment) used = 0;
    segment = value->segment;
    value->at = value->kept ? tape->kept : used;
    if (value->kept)
      tape->kept += n;
    else
      used += n;
    if (used > tape->region) tape->region = used;
  }
}

int zf_tape_new(struct zf_tape *tape, const struct zf_model *model, int64_t tokens, int64_t rows,
                int checkpoint) {
  const struct zf_plan *plan = &model->plan;
  struct maker maker = {.tape = tape, .model = model};
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
    place_all(&maker);
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
