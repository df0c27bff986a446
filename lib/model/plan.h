/* The plan: a model as a list of operations over registers.
 *
 *   X  [T, hidden]                the residual stream
 *   H  [T, max(hidden, heads*head_dim, embed_dim)]   normed input, attention output
 *   Z  [T, wide]                  queries|keys|values, then gate|up; outputs that are normed or
 *                                 scaled before they are added to X
 *   P  [T, hidden]                the MLP's input, where it runs parallel to attention
 *   U  [T, rank]                  inner values of an adapter; in the tail as well
 *   V  [T, wide]                  an operation's own copy of its input or output, where an adapter
 *                                 changes that alone; in the tail as well
 *
 * Every register holds the rows of all streams, stacked.  The body runs on all tokens of a
 * micro-batch.  The tail (final norm, projection, the layers before the head) runs on the rows that
 * the loss reads, gathered into F; its result is in G where that has a width, else in F.  One walk
 * over the plan is the forward pass of every family; the plan is built from the family's row and
 * has no branch on its name. */
#ifndef ZF_MODEL_PLAN_H
#define ZF_MODEL_PLAN_H

#include <stdint.h>

#include "base/cplusplus.h"
#include "model/family.h"
#include "tensor/param.h"

ZF_BEGIN_DECLS

enum zf_reg {
  ZF_REG_X,
  ZF_REG_H,
  ZF_REG_Z,
  ZF_REG_P,
  ZF_REG_F,
  ZF_REG_G,
  ZF_REG_U,
  ZF_REG_V,
  ZF_REGS
};

enum zf_op_kind {
  ZF_OP_EMBED,         /* dst = rows of weight at the token ids */
  ZF_OP_POSITION,      /* dst += rows of weight at position + offset */
  ZF_OP_TYPE,          /* dst += row `offset` of weight */
  ZF_OP_NORM,          /* dst = norm(src) */
  ZF_OP_LINEAR,        /* dst = src W^T + b, or += */
  ZF_OP_HEADNORM,      /* per head, in place on src */
  ZF_OP_ROPE,          /* in place on src: `heads` heads from column src_col */
  ZF_OP_ATTENTION,     /* dst = attention over src = q | k | v */
  ZF_OP_ACT,           /* src = act(src) [* up] in place */
  ZF_OP_PERMUTE_HEADS, /* in place on src: heads of q, k, v to q | k | v */
  ZF_OP_SCALE,         /* in place: src *= scale */
  ZF_OP_ADD,           /* dst += src */
  ZF_OP_COPY,          /* dst = src */
  ZF_OP_TOKENS,        /* rows of dst at the token ids of `ids` = rows of weight */
  ZF_OP_VIRTUAL, /* rows of dst at virtual tokens = columns of weight's row, from `offset` on */
  ZF_OP_DORA,    /* in place: src = src * weight / |rows of W + s B A| + bias (forward_dora.c) */
  ZF_OP_COLUMNS, /* in place: src = src * weight + bias, column by column; each where given */
};

/* The part of a block that an operation is: with the layer, what an edit finds it by. */
enum zf_role {
  ZF_ROLE_NONE,
  ZF_ROLE_EMBED,
  ZF_ROLE_QUERY,
  ZF_ROLE_KEY,
  ZF_ROLE_VALUE,
  ZF_ROLE_QKV,
  ZF_ROLE_OUTPUT,
  ZF_ROLE_GATE,
  ZF_ROLE_UP,
  ZF_ROLE_GATE_UP,
  ZF_ROLE_DOWN,
  ZF_ROLE_ATTENTION,
};

/* One operation.  Columns are offsets into a register's row. */
struct zf_op {
  enum zf_op_kind kind;
  enum zf_role role;
  enum zf_reg src, dst;
  int64_t src_col, dst_col;
  int64_t width;        /* EMBED, POSITION, NORM, ACT: width; LINEAR: outputs */
  int64_t inputs;       /* LINEAR, DORA: inputs of W */
  int64_t heads;        /* HEADNORM, ROPE */
  int32_t weight, bias; /* parameter number, -1: none */
  int accumulate;       /* LINEAR */
  int adapter;          /* an adapter's: a product runs in f32, whatever the base's arithmetic */
  int reuse_input;      /* LINEAR: same, unchanged input as the base's previous product */
  int feeds_act; /* LINEAR: the gated activation that follows, behind an adapter's additions, is
                         * the result's only reader */
  int64_t first_output;                      /* LINEAR: the first row of weight that is read */
  int gated;                                 /* ACT: the second half of src is `up` */
  int64_t layer;                             /* block; -1: before or behind the blocks */
  int32_t norm_base, norm_inner, norm_outer; /* DORA: parameters W, A, B */
  int64_t rank;                              /* DORA */
  const int32_t *ids;                        /* TOKENS: [inputs] ascending; the model owns them */
  const float *base_squares; /* DORA: [width] sums of squares of W's rows; the model owns them */
  float scale;               /* ATTENTION, SCALE, DORA */
  float cap;                 /* ATTENTION: soft-cap of scores; 0: none */
  int64_t window;            /* ATTENTION: keys at a distance below this; 0: all */
  int64_t offset;            /* POSITION, TYPE, VIRTUAL */
  enum zf_norm norm;         /* NORM, HEADNORM */
  int act;                   /* ACT */
  int rope;                  /* ROPE: index of the configuration's rope */
};

/* A tensor that the plan reads from the checkpoint. */
struct zf_wanted_tensor {
  char name[160]; /* without the family's prefix */
  int ndim;
  int64_t shape[2];
  int decayed;        /* a matrix: weight decay applies */
  int transposed;     /* a matrix of a linear operation, stored [in, out] */
  int outside_prefix; /* its name in the checkpoint does not have the body's prefix */
  float plus;         /* added to every element on reading (norms that multiply by 1 + w) */
};

struct zf_plan {
  struct zf_op *op;
  int64_t nop, ncap;
  int64_t body; /* the first `body` operations run on all tokens, the rest on F and G */
  struct zf_wanted_tensor *wanted;
  int64_t wanted_count, wanted_cap;
  int64_t width[ZF_REGS]; /* of each register's row */
  int64_t vec;            /* longest vector parameter; an edit that adds a longer one raises it */
  int32_t head;           /* parameter that is the output head ([outputs, embed_dim]) */
  int32_t head_bias;      /* -1: none */
  int32_t head_outer;     /* logits += U times this [outputs, rank] of an adapter; -1: none */
  int32_t head_rows;      /* rows that replace those of head_ids [head_row_count]; -1: none */
  const int32_t *head_ids;
  int64_t head_row_count;
  int causal;
  int64_t virtual_tokens; /* rows that an adapter puts in front of every sequence */
};

/* Builds the plan of a configuration; zf_plan_free frees it.  ZF_ENOMEM. */
int zf_plan_build(struct zf_plan *plan, const struct zf_config *config);
void zf_plan_free(struct zf_plan *plan);

/* --- edits: between zf_plan_build and the first pass; zf_plan_finish after the last one --- */

/* The first operation from number `from` on that reads parameter `weight` as its weight, or has this
 * role and layer; -1: none. */
int64_t zf_edit_find_weight(const struct zf_plan *plan, int32_t weight, int64_t from);
int64_t zf_edit_find(const struct zf_plan *plan, enum zf_role role, int64_t layer);

/* Inserts a copy of `op` before or after operation number `at`, into the same part (body or tail) as
 * that.  *number: where it stands.  ZF_ENOMEM. */
int zf_edit_insert_before(struct zf_plan *plan, int64_t at, const struct zf_op *op);
int zf_edit_insert_after(struct zf_plan *plan, int64_t at, const struct zf_op *op);

/* Appends a copy of `op` to the tail. */
int zf_edit_append(struct zf_plan *plan, const struct zf_op *op);

/* Gives operation number `at` an output of its own in V, behind which operations may be inserted, and
 * adds or copies that to where it went before.  Returns the number of the operation, or ZF_ENOMEM. */
int zf_edit_own_output(struct zf_plan *plan, int64_t at);
/* Gives it a copy of its input in V, in front of which nothing else reads.  *at moves with it. */
int zf_edit_own_input(struct zf_plan *plan, int64_t *at);

/* Computes what follows from the list of operations: widths of registers, the reuse of converted
 * inputs, products that run together with their activation. */
void zf_plan_finish(struct zf_plan *plan);

/* Multiply-adds of the weights' products in a forward pass over `tokens` tokens, `rows` of which
 * reach the head of `outputs` outputs; attention scores are not counted. */
double zf_plan_macs(const struct zf_plan *plan, int64_t tokens, int64_t rows, int64_t outputs);

ZF_END_DECLS

#endif
