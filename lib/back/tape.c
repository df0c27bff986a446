/* Where values lie: see back_internal.h. */
#include <stdlib.h>
#include <string.h>

#include "back/back_internal.h"
#include "base/err.h"

struct maker {
  struct zf_tape *t;
  const struct zf_model *m;
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

static int trained(const struct zf_model *m, int32_t number) {
  return number >= 0 && m->params.param[number].trained;
}

/* Does its derivative read its input as it was? */
static int saves(const struct zf_model *m, const struct zf_op *op) {
  switch (op->kind) {
    case ZF_OP_LINEAR:
      return trained(m, op->weight);
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

static int64_t width(const struct zf_model *m, const struct zf_op *op) {
  if (op->kind == ZF_OP_ATTENTION) return m->config.heads * m->config.head_dim;
  if (op->kind == ZF_OP_HEADNORM) return op->heads * op->width;
  if (op->kind == ZF_OP_PERMUTE_HEADS) return 3 * op->heads * op->width;
  return op->dst_col + op->width;
}

/* Before which operations nothing but X is of use later. */
static void mark_cuts(const struct zf_plan *p, char *cut) {
  int live[ZF_REGS] = {[ZF_REG_X] = 1};
  for (int64_t i = p->body - 1; i >= 0; i--) {
    const struct zf_op *op = &p->op[i];
    if (replaces(op)) live[op->dst] = 0;
    if (reads(op)) live[op->src] = 1;
    if (!replaces(op)) live[op->dst] = 1; /* it goes on with what is there */
    cut[i] = live[ZF_REG_X] && !live[ZF_REG_H] && !live[ZF_REG_Z] && !live[ZF_REG_P];
  }
}

/* A segment holds a whole layer: it ends at the first cut behind its activation. */
static void cut_segments(struct zf_tape *t, const struct zf_plan *p, const char *cut,
                         int checkpoint) {
  int full = 0;
  t->segments = 1;
  for (int64_t i = 0; checkpoint && i < p->body; i++) {
    if (full && cut[i]) {
      t->first[t->segments++] = i;
      full = 0;
    }
    full |= p->op[i].kind == ZF_OP_ACT;
  }
  t->first[t->segments] = p->body;
}

static int32_t begin_value(struct maker *k, int64_t ld, int rows) {
  struct zf_tape *t = k->t;
  t->value[t->nvalue] = (struct zf_value){.ld = ld, .rows = rows, .segment = k->segment};
  return t->nvalue++;
}

static void place_op(struct maker *k, int64_t i) {
  const struct zf_op *op = &k->m->plan.op[i];
  struct zf_tape *t = k->t;
  struct zf_node *n = &t->node[i];
  int rows = i >= k->m->plan.body;
  int64_t w = width(k->m, op);
  *n = (struct zf_node){.src = k->cur[op->src], .old = -1, .side = -1, .segment = k->segment};
  if (i >= t->stop && saves(k->m, op)) t->value[n->src].saved = 1;
  if (op->kind == ZF_OP_HEADNORM && i >= t->stop) n->side = begin_value(k, w, rows);
  int32_t was = k->cur[op->dst];
  if (replaces(op) || was < 0) {
    k->cur[op->dst] = begin_value(k, w, rows);
  } else if (t->value[was].saved) {
    n->old = was;
    k->cur[op->dst] = begin_value(k, t->value[was].ld, rows);
  } else if (w > t->value[was].ld) {
    t->value[was].ld = w;
  }
  n->dst = k->cur[op->dst];
}

static void find_stop(struct zf_tape *t, const struct zf_model *m) {
  const struct zf_plan *p = &m->plan;
  t->stop = 0;
  while (t->stop < p->nop && !trained(m, p->op[t->stop].weight) && !trained(m, p->op[t->stop].bias))
    t->stop++;
}

static void place_all(struct maker *k) {
  const struct zf_plan *p = &k->m->plan;
  struct zf_tape *t = k->t;
  for (int r = 0; r < ZF_REGS; r++) k->cur[r] = -1;
  for (int64_t i = 0; i < p->body; i++) {
    if (k->segment + 1 < t->segments && i == t->first[k->segment + 1]) {
      struct zf_value *x = &t->value[k->cur[ZF_REG_X]];
      k->segment++;
      x->kept = x->saved = 1; /* the segment may be run again from it */
    }
    place_op(k, i);
  }
  t->last_x = k->cur[ZF_REG_X];
  t->value[t->last_x].kept = 1;
  t->gathered = k->cur[ZF_REG_F] = begin_value(k, k->m->config.hidden, 1);
  for (int64_t i = p->body; i < p->nop; i++) place_op(k, i);
}

static void lay_values(struct zf_tape *t, int64_t tokens, int64_t rows, int checkpoint) {
  int64_t used = 0;
  int segment = 0;
  for (int32_t v = 0; v < t->nvalue; v++) {
    struct zf_value *x = &t->value[v];
    int64_t n = ((x->rows ? rows : tokens) * x->ld + 15) / 16 * 16;
    if (!checkpoint || x->rows) x->kept = 1;
    if (x->segment != segment) used = 0;
    segment = x->segment;
    x->at = x->kept ? t->kept : used;
    if (x->kept)
      t->kept += n;
    else
      used += n;
    if (used > t->region) t->region = used;
  }
}

int zf_tape_new(struct zf_tape *t, const struct zf_model *m, int64_t tokens, int64_t rows,
                int checkpoint) {
  const struct zf_plan *p = &m->plan;
  struct maker k = {.t = t, .m = m};
  memset(t, 0, sizeof *t);
  char *cut = zf_calloc(p->nop + 1, 1);
  t->value = zf_calloc(2 * p->nop + 1, sizeof *t->value);
  t->node = zf_calloc(p->nop, sizeof *t->node);
  t->first = zf_calloc(p->nop + 2, sizeof *t->first);
  int rc = cut && t->value && t->node && t->first ? 0 : ZF_ENOMEM;
  if (!rc) {
    find_stop(t, m);
    mark_cuts(p, cut);
    cut_segments(t, p, cut, checkpoint);
    place_all(&k);
    lay_values(t, tokens, rows, checkpoint);
  } else {
    zf_tape_free(t);
  }
  free(cut);
  return rc;
}

void zf_tape_free(struct zf_tape *t) {
  free(t->value);
  free(t->node);
  free(t->first);
  memset(t, 0, sizeof *t);
}
