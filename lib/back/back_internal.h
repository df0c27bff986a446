/* What the files of this folder share.
 *
 * The tape says where the contents of a register lie at every operation.  A register's content that
 * some derivative needs may not be overwritten: the operation that would do so begins a new value.
 *
 *   op         src  dst        values (llama, one layer)
 *   norm        X    H         x0 (kept) -> h0
 *   q, k, v     H    Z         h0 (kept) -> z0
 *   rope        Z    Z         z0, in place
 *   attention   Z    H         z0 (kept) -> h1
 *   o, added    H    X         h1 (kept) -> x1, a copy of x0 first
 *   ...
 *
 * Segments: runs of operations between which X alone carries anything over.  Checkpointing, values
 * that live across a boundary are kept, all others lie in one region that every segment uses anew.
 */
#ifndef ZF_BACK_INTERNAL_H
#define ZF_BACK_INTERNAL_H

#include "back/back.h"
#include "back/rows.h"
#include "base/arena.h"

struct zf_value {
  int64_t at;  /* floats from the beginning of its part */
  int64_t ld;  /* floats of a row */
  int rows;    /* of the wanted rows, not of all tokens */
  int kept;    /* for good: else of its segment */
  int saved;   /* some derivative reads it */
  int segment; /* that defines it */
};

struct zf_node {
  int32_t src, dst; /* values */
  int32_t old;      /* dst is begun as a copy of this one; -1: not */
  int32_t side;     /* HEADNORM: its columns before; -1 elsewhere */
  int segment;
};

struct zf_tape {
  struct zf_value *value;
  struct zf_node *node;     /* one for each operation of the plan */
  int64_t *first;           /* [segments + 1] operations where segments begin; the last one: body */
  int32_t nvalue, gathered; /* gathered: the value of the wanted rows */
  int32_t last_x;           /* the body's result */
  int segments;
  int64_t kept, region; /* floats of both parts */
  int64_t stop;         /* no operation before this one has trained parameters */
};

/* Lays the values out for `tokens` and `rows`.  ZF_ENOMEM. */
int zf_tape_new(struct zf_tape *tape, const struct zf_model *model, int64_t tokens, int64_t rows,
                int checkpoint);
void zf_tape_free(struct zf_tape *tape);

struct zf_back {
  const struct zf_model *model;
  struct zf_forward *forward;
  const struct zf_back_rows *rows;
  struct zf_tape tape;
  struct zf_limits lim;
  struct zf_arena arena;
  float *kept, *region;  /* of values */
  float *grad;           /* all gradients */
  int64_t ngrad, *at;    /* where each begins; -1: not trained */
  float *rotated;        /* transposed pieces of products */
  float *logits;         /* [piece][outputs] */
  float *cap_derivative; /* the same, where logits are capped */
  float *stats;          /* [2][rows] mean and inverse of rows of a norm */
  float *lse;            /* [piece] */
  float *attention;      /* for each thread */
  int32_t *unit;         /* first segment of each group of attention */
  int64_t piece;         /* rows of logits at once */
  const struct zf_batch *batch;
  float *gradient[ZF_REGS]; /* gradients of registers */
  int64_t ld[ZF_REGS];
  int live[ZF_REGS]; /* d holds the gradient of the value at hand */
};

static inline int64_t zf_back_min(int64_t a, int64_t b) {
  return a < b ? a : b;
}
static inline int64_t zf_back_max(int64_t a, int64_t b) {
  return a > b ? a : b;
}
/* Begin of part t of n items cut in `parts`, in units of 16. */
static inline int64_t zf_back_cut(int64_t n, int64_t t, int64_t parts) {
  int64_t units = (n + 15) / 16;
  return zf_back_min(n, 16 * (units * t / parts));
}

float *zf_back_value(const struct zf_back *back, int32_t v);

/* Adds dY^T X to the gradient g [out, in]: dy [T, out], x [T, in]. */
void zf_back_product(struct zf_back *back, float *g, const float *dy, int64_t lddy, int64_t out,
                     const float *x, int64_t ldx, int64_t in, int64_t T);
/* dx (+)= dy W */
void zf_back_input(struct zf_back *back, float *dx, int64_t lddx, const float *dy, int64_t lddy,
                   int64_t T, struct zf_weight weight, int add);

/* Derivatives of one operation; what is kept of its input is in the tape. */
void zf_back_op(struct zf_back *back, int64_t i);

/* Gradients of q|k|v from that of the output; dz is written. */
int64_t zf_back_attention_scratch(int64_t keys, int64_t D);
void zf_back_attention(struct zf_back *back, const struct zf_op *op, const float *z, int64_t ldz);

enum { ZF_BACK_TURN = 512, ZF_BACK_LOGITS = 1 << 24 };

#endif
