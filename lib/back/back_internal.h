/* Declarations that the files of this folder share.
 *
 * The tape maps the content of each register, at every operation, to a value in memory.  Content that
 * some derivative needs may not be overwritten: an operation that would do so begins a new value.
 *
 *   op         src  dst        values (llama, one layer)
 *   norm        X    H         x0 (kept) -> h0
 *   q, k, v     H    Z         h0 (kept) -> z0
 *   rope        Z    Z         z0, in place
 *   attention   Z    H         z0 (kept) -> h1
 *   o, added    H    X         h1 (kept) -> x1, a copy of x0 first
 *   ...
 *
 * A segment is a run of operations; only X carries data from one segment to the next.  With
 * checkpointing, values that cross a boundary are kept; all others share one region of memory, which
 * every segment overwrites. */
#ifndef ZF_BACK_INTERNAL_H
#define ZF_BACK_INTERNAL_H

#include "back/back.h"
#include "back/rows.h"
#include "base/arena.h"
#include "base/util.h"

struct zf_value {
  int64_t offset; /* floats from the beginning of `kept` or `region` */
  int64_t stride; /* floats from one row to the next */
  int rows;       /* 1: has the wanted rows; 0: all tokens */
  int kept;       /* 1: until the end of the step; 0: until the end of its segment */
  int saved;      /* some derivative reads it */
  int segment;    /* that defines it */
};

struct zf_node {
  int32_t src, dst;       /* values */
  int32_t copied;         /* dst begins as a copy of this value; -1: no copy */
  int32_t columns_before; /* HEADNORM, COLUMNS, DORA: value of its columns before; -1: none */
  int segment;
};

struct zf_tape {
  struct zf_value *value;
  struct zf_node *node;     /* one for each operation of the plan */
  int64_t *first;           /* [segments + 1] where each segment begins; the last entry: body */
  int32_t nvalue, gathered; /* gathered: the value of the wanted rows */
  int32_t last_x;           /* the body's result */
  int32_t last[ZF_REGS];    /* value of each register behind the last operation; -1: none */
  int segments;
  int64_t kept, region; /* floats of both parts */
  int64_t stop;         /* no operation before this one has trained parameters */
};

/* Assigns places to the values for `tokens` tokens and `rows` wanted rows.  ZF_ENOMEM. */
int zf_tape_new(struct zf_tape *tape, const struct zf_model *model, int64_t tokens, int64_t rows,
                int checkpoint);
void zf_tape_free(struct zf_tape *tape);

struct zf_back {
  const struct zf_model *model;
  struct zf_forward *forward;
  const struct zf_back_rows *rows;
  struct zf_tape tape;
  struct zf_limits limits;
  struct zf_arena arena;
  float *kept, *region; /* memory of values */
  float *gradients;     /* all gradients */
  int64_t gradient_floats,
      *gradient_start;   /* offset of each parameter's gradient; -1: not trained */
  float *transposed;     /* transposed chunks of a product's operand */
  float *logits;         /* [logit_rows][outputs] */
  float *cap_derivative; /* the same shape, if logits are capped */
  float *stats;          /* [2][rows] mean and inverse deviation of a norm's rows */
  float *lse;            /* [logit_rows] */
  float *attention;      /* for each thread */
  int32_t *unit_start;   /* first segment of each group of attention */
  int64_t logit_rows;    /* rows of logits computed at once */
  const struct zf_batch *batch;
  float *register_gradient[ZF_REGS]; /* gradients of registers */
  int64_t register_stride[ZF_REGS];
  int register_live
      [ZF_REGS]; /* 1: register_gradient holds the gradient of the register's present content */
};

/* Where part number `part` begins when `count` items are split into `parts`, in units of 16. */
static inline int64_t zf_back_range_start(int64_t count, int64_t part, int64_t parts) {
  int64_t units = (count + 15) / 16;
  return zf_min64(count, 16 * (units * part / parts));
}

float *zf_back_value(const struct zf_back *back, int32_t number);

/* Adds dY^T X to the gradient [out, in], row stride ldg: dy [T, out], x [T, in]. */
void zf_back_product(struct zf_back *back, float *gradient, int64_t ldg, const float *dy,
                     int64_t lddy, int64_t out, const float *x, int64_t ldx, int64_t in, int64_t T,
                     enum zf_compute compute);
/* dx (+)= dy W */
void zf_back_input(struct zf_back *back, float *dx, int64_t lddx, const float *dy, int64_t lddy,
                   int64_t T, struct zf_weight weight, int add);

/* gradient[c] += sum of column c of `rows`, in the order of rows for any number of threads. */
void zf_back_sum_columns(struct zf_back *back, float *gradient, const float *rows, int64_t ld,
                         int64_t T, int64_t columns);

/* An operation whose derivative runs. */
struct derivative {
  struct zf_back *back;
  const struct zf_op *op;
  const struct zf_node *node;
  int64_t T;
  const float *src; /* the value read, and its row stride */
  int64_t ldsrc;
  float *dsrc, *ddst; /* gradients of both registers, at the operation's columns */
  int64_t ldds, lddd;
};

/* Runs the derivative of operation i. */
void zf_back_op(struct zf_back *back, int64_t i);

/* Of operations that only adapters have (back_adapter.c). */
void zf_back_columns(struct derivative *derivative);
void zf_back_dora(struct derivative *derivative);
void zf_back_tokens(struct derivative *derivative);
void zf_back_virtual(struct derivative *derivative);

/* Writes the gradients of q|k|v from the gradient of the output. */
int64_t zf_back_attention_scratch(int64_t keys, int64_t D);
void zf_back_attention(struct zf_back *back, const struct zf_op *op, const float *qkv,
                       int64_t ldqkv);

enum { ZF_BACK_CHUNK = 512, ZF_BACK_LOGITS = 1 << 24 };

#endif
