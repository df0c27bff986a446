/* Shared by the parts of a forward pass: the pass itself and the layout of its memory. */
#ifndef ZF_MODEL_FORWARD_INTERNAL_H
#define ZF_MODEL_FORWARD_INTERNAL_H

#include "base/arena.h"
#include "model/forward.h"

struct zf_forward {
  const struct zf_model *model;
  struct zf_limits limits;
  struct zf_arena arena;
  float *arena_reg[ZF_REGS];  /* registers in the arena */
  float *reg[ZF_REGS];        /* registers in use: in the arena, or bound by the caller */
  int64_t ld[ZF_REGS];        /* floats from one row of a register in use to the next */
  float *head;                /* scratch of the head: the memory of X and H */
  float *vec_w, *vec_b;       /* vectors of the current operation, [streams][plan.vec] */
  float *scores;              /* scratch of attention */
  float *rope;                /* cosines and sines, see zf_forward_rope_length */
  float *head_rows;           /* rows for zf_permute_heads, one for each thread */
  double *freq;               /* [rot / 2] frequencies of the current rope */
  void *work;                 /* workspace of the drivers */
  void *cells;                /* converted rows of one operand at a time */
  struct zf_rows input;       /* operand of the last product of the body or tail */
  int32_t *table_rows;        /* [tokens] rows of the table that is read */
  int32_t *rope_rows;         /* [tokens] rows of a rope table */
  struct zf_segment *seg;     /* [segments] */
  struct zf_row_range *range; /* [segments] rows of each example */
  float *dora;                /* norms of a ZF_OP_DORA */
  float *beside;              /* factors of a direction beside a matrix */
  struct zf_batch expanded;   /* the batch with virtual tokens */
  int32_t *virtual_number;    /* [tokens] number of a virtual token; -1: a token of the text */
  int64_t rot;                /* zf_config_rot */
  int threads;                /* the most threads that scratch and workspace are made for */
  struct zf_perturb perturb;  /* of the last run */
  int64_t R;                  /* of the last run */
  zf_forward_watch watch;
  void *watch_ctx;
  zf_head_watch watch_logits;
  void *watch_logits_ctx;
};

/* Noise keys of a parameter, of each term of the pass. */
struct zf_forward_keys {
  struct zf_noise key[ZF_MAXTERM];
};

/* 1 where the pass perturbs the parameter. */
int zf_forward_is_noisy(const struct zf_forward *forward, const struct zf_param *param);

/* A parameter in the form that the kernels take, with the noise of the pass; `keys` outlives it.  A
 * direction beside the matrix is not in it (forward_beside.c).  Tables (embeddings, positions, the
 * head) are [rows, C] in every family. */
struct zf_weight zf_forward_matrix_noise(const struct zf_forward *forward, int32_t number,
                                         struct zf_forward_keys *keys);
struct zf_weight zf_forward_table_noise(const struct zf_forward *forward, int32_t number,
                                        struct zf_forward_keys *keys);
/* Writes `count` elements from `first` on, perturbed for each stream, to out[s * ldo]. */
void zf_forward_perturb_values(const struct zf_forward *forward, const struct zf_param *param,
                               float *out, int64_t ldo, int64_t first, int64_t count);
/* Writes a vector parameter, perturbed for each stream, to `out` and returns that; NULL when there
 * is none. */
const float *zf_forward_perturbed(const struct zf_forward *forward, int32_t number, float *out);

/* Columns of `up` that exist at once in a pass that fuses products with their activation. */
enum { ZF_UP_CHUNK = 512 };

/* 1 where operation i is a product that runs chunk by chunk with the gated activation after it. */
int zf_forward_fuses_up(const struct zf_plan *plan, int64_t i, const struct zf_limits *limits);

/* Width of register Z. */
int64_t zf_forward_z_width(const struct zf_model *model, const struct zf_limits *limits);

/* Rows of a table of cosines and sines; there is one for each of the configuration's rotary
 * embeddings.  A table has a row for each position, then, where frequencies depend on a sequence's
 * length, a row for each token of a pass.  A sequence may be one token longer than the part of it
 * that runs. */
int64_t zf_forward_rope_length(const struct zf_model *model, const struct zf_limits *limits);

/* Fills the rows of all positions (forward_rope.c). */
void zf_forward_fill_ropes(struct zf_forward *forward);
/* Chooses each token's row of a rope table: that of its position; in sequences beyond the original
 * length a row behind those, filled for this pass. */
void zf_forward_place_ropes(struct zf_forward *forward, const struct zf_batch *batch);

/* Attention over the segments of the batch, behind their prefixes or caches (forward_attention.c). */
void zf_forward_run_attention(struct zf_forward *forward, const struct zf_op *op,
                              const struct zf_batch *batch);

/* --- directions beside a matrix (forward_beside.c) --- */

int64_t zf_forward_beside_floats(const struct zf_model *model, const struct zf_limits *limits);
/* 1 where the pass perturbs parameter `number` beside its product; -1: no parameter. */
int zf_forward_is_beside(const struct zf_forward *forward, int32_t number);
/* Adds to y [S*T, count], outputs first..first + count of the matrix, what the directions add to its
 * product with x [S*T, in]. */
void zf_forward_add_beside(const struct zf_forward *forward, int32_t number, const float *x,
                           int64_t ldx, int64_t T, float *y, int64_t ldy, int64_t first,
                           int64_t count);
/* Adds to y [S*count, in] what they add to the rows `ids` of a table. */
void zf_forward_gather_beside(const struct zf_forward *forward, int32_t number, const int32_t *ids,
                              int64_t count, float *y, int64_t ldy);

/* --- norms of DoRA (forward_dora.c) --- */

int64_t zf_forward_dora_floats(const struct zf_op *op, int streams);
void zf_forward_run_dora(struct zf_forward *forward, const struct zf_op *op, int64_t T);

/* --- virtual tokens (forward_virtual.c) --- */

size_t zf_forward_virtual_bytes(const struct zf_model *model, const struct zf_limits *limits);
int zf_forward_place_virtual(struct zf_forward *forward);

/* The batch with virtual tokens in front of every sequence; the batch itself where there are none. */
const struct zf_batch *zf_forward_expand(struct zf_forward *forward, const struct zf_batch *batch);

/* Runs a ZF_OP_VIRTUAL on T rows of every stream, from row `first` on. */
void zf_forward_run_virtual(struct zf_forward *forward, const struct zf_op *op, int64_t first,
                            int64_t T);

/* Reserves the parts of the arena.  ZF_ENOMEM. */
int zf_forward_place(struct zf_forward *forward);

#endif
