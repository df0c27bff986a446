/* The plan: a model as a list of operations over registers.
 *
 *   X  [T, hidden]                the residual stream
 *   H  [T, max(hidden, heads*head_dim, embed_dim)]   normed input, attention output
 *   Z  [T, wide]                  queries|keys|values, then gate|up; outputs that are normed or
 *                                 scaled before they are added to X
 *   P  [T, hidden]                the MLP's input, where it runs parallel to attention
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

enum zf_reg { ZF_REG_X, ZF_REG_H, ZF_REG_Z, ZF_REG_P, ZF_REG_F, ZF_REG_G, ZF_REGS };

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
};

/* One operation.  Columns are offsets into a register's row. */
struct zf_op {
  enum zf_op_kind kind;
  enum zf_reg src, dst;
  int64_t src_col, dst_col;
  int64_t width;        /* EMBED, POSITION, NORM, ACT: width; LINEAR: outputs */
  int64_t inputs;       /* LINEAR: inputs */
  int64_t heads;        /* HEADNORM, ROPE */
  int32_t weight, bias; /* parameter number, -1: none */
  int accumulate;       /* LINEAR */
  int reuse_input;      /* LINEAR: same, unchanged input as the previous operation */
  int gated;            /* ACT: the second half of src is `up` */
  int64_t layer;        /* ATTENTION; -1 elsewhere */
  float scale;          /* ATTENTION, SCALE */
  float cap;            /* ATTENTION: soft-cap of scores; 0: none */
  int64_t window;       /* ATTENTION: keys at a distance below this; 0: all */
  int64_t offset;       /* POSITION, TYPE */
  enum zf_norm norm;    /* NORM, HEADNORM */
  int act;              /* ACT */
  int rope;             /* ROPE: index of the configuration's rope */
};

/* A tensor that the plan reads from the checkpoint. */
struct zf_wanted_tensor {
  char name[160]; /* without the family's prefix */
  int ndim;
  int64_t shape[2];
  int decayed;        /* a matrix: weight decay applies */
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
  int64_t vec;            /* longest vector parameter */
  int32_t head;           /* parameter that is the output head ([outputs, embed_dim]) */
  int32_t head_bias;      /* -1: none */
  int causal;
};

/* Builds the plan of a configuration; zf_plan_free frees it.  ZF_ENOMEM. */
int zf_plan_build(struct zf_plan *plan, const struct zf_config *config);
void zf_plan_free(struct zf_plan *plan);

/* Multiply-adds of the weights' products in a forward pass over `tokens` tokens, `rows` of which
 * reach the head of `outputs` outputs; attention scores are not counted. */
double zf_plan_macs(const struct zf_plan *plan, int64_t tokens, int64_t rows, int64_t outputs);

ZF_END_DECLS

#endif
