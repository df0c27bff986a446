/* The forward pass: one walk over the plan, one or two streams, ragged batches.
 *
 * A batch is T tokens end to end without padding, cut into segments that do not attend to each
 * other, except that a segment may have another one as its prefix: a prompt that several
 * sequences share runs once.  The last token of a sequence predicts nothing that a loss reads,
 * and may be left out of the batch. */
#ifndef ZF_MODEL_FORWARD_H
#define ZF_MODEL_FORWARD_H

#include "base/cplusplus.h"
#include "kern/kern.h"
#include "kern/perturb.h"
#include "model/model.h"

ZF_BEGIN_DECLS

/* Keys and values of one sequence, for decoding: [layers][cap][kv_heads * head_dim]. */
struct zf_cache {
  float *keys, *values;
  int64_t len, cap; /* tokens that it holds, and can hold */
  int64_t full_len; /* known length of the sequence, where that is above len */
};

/* The rows of one example in a pass: its tokens, and its wanted rows. */
struct zf_group {
  int64_t start, len;         /* tokens */
  int64_t row_start, row_len; /* of `row` */
};

struct zf_batch {
  int64_t T;
  int32_t *id, *pos; /* [T] token ids, positions in their sequences */
  int64_t segment_count;
  struct zf_segment *segment; /* prefix_start and prefix_len name the prefix; the pass fills
                            * prefix_keys and prefix_values */
  struct zf_cache **cache; /* NULL, or one for each segment: its prefix; the segment is appended */
  int64_t R;
  int32_t *row;           /* [R] tokens whose output rows are needed */
  int64_t virtual_tokens; /* of a pass' own copy of the batch; 0 from callers */
  int64_t group_count;    /* examples, in order; read only where directions are by example */
  struct zf_group *group;
  int unread; /* tokens of every sequence behind its last one in the batch: targets that need not
                 * run */
};

/* Length of the whole sequence that contains segment g: its shared prefix, the segment, its longest
 * continuation, and the `unread` tokens.  Rotary frequencies that depend on the length take this
 * one.  Transformers also counts the last token, because it runs a text together with its labels. */
int64_t zf_batch_length(const struct zf_batch *batch, int64_t index);

/* Maximum sizes of a pass; memory depends on the model and these alone. */
struct zf_limits {
  int64_t tokens; /* streams * T */
  int64_t rows;   /* streams * R */
  int64_t segments;
  int64_t sequences; /* segments that begin a sequence; 0: as many as segments */
  int64_t length;    /* of a sequence: positions, and keys of a query */
  int64_t ids;       /* ids of zf_forward_logits_at */
  int streams;
  int keeps_values;  /* a pass keeps its values for a backward pass: no part of it is fused */
  size_t cell_bytes; /* minimum bytes of converted rows, for callers that run other products between
                      * operations (lib/back); 0: those a pass needs */
  enum zf_compute compute; /* of the products with weights */
};

struct zf_forward;

/* Bytes of the arena under these limits.  Memory forecasts use this function. */
int64_t zf_forward_bytes(const struct zf_model *model, const struct zf_limits *limits);

/* The part of zf_forward_bytes that no pass touches: forecasts subtract it. */
int64_t zf_forward_untouched(const struct zf_model *model, const struct zf_limits *limits);

/* Limits of a pass with the virtual tokens of the model's adapters; zf_forward_limits returns these. */
struct zf_limits zf_forward_inner_limits(const struct zf_model *model,
                                         const struct zf_limits *limits);

/* Floats of X and H together, whose memory chunks of logits share; under inner limits. */
int64_t zf_forward_head_floats(const struct zf_model *model, const struct zf_limits *limits);

/* Reserves all memory that passes will use, for at most the number of threads that is set now
 * (zf_kern_threads).  The model outlives it.  ZF_EUSAGE: the length limit exceeds the model's
 * context. */
int zf_forward_new(struct zf_forward **out, const struct zf_model *model,
                   const struct zf_limits *limits);
void zf_forward_free(struct zf_forward *forward);
const struct zf_limits *zf_forward_limits(const struct zf_forward *forward);
const struct zf_model *zf_forward_model(const struct zf_forward *forward);

/* `watch` is called with the input of every product of the base before it runs: rows
 * [streams*T, op->inputs], row stride ld.  NULL: nothing is called. */
typedef void (*zf_forward_watch)(void *ctx, const struct zf_op *op, const float *x, int64_t ld,
                                 int64_t rows);
void zf_forward_watch_inputs(struct zf_forward *forward, zf_forward_watch watch, void *ctx);

/* Runs the plan.  ZF_EUSAGE: an id or a position is out of range.  A batch within the limits is the
 * caller's duty (assert).  The output rows stay inside `forward` until the next run. */
int zf_forward_run(struct zf_forward *forward, const struct zf_batch *batch,
                   const struct zf_perturb *perturb);

/* For each stream s and row r of the last run, at [s*R + r]: the log-normaliser over the vocabulary
 * and the target's logit (target -1: 0), so that log p(target) = logit - lse. */
void zf_forward_lse(struct zf_forward *forward, const int32_t *target, double *lse, double *logit);

/* `watch` is called with each chunk of the logits [S*R] that zf_forward_lse reads, in the order of columns.
 * NULL: nothing is called. */
void zf_forward_watch_logits(struct zf_forward *forward, zf_head_watch watch, void *ctx);

/* Logits of `count` ids, out[s*R + r][count].  Reads only the head's rows of these ids. */
void zf_forward_logits_at(struct zf_forward *forward, const int32_t *ids, int64_t count,
                          float *out);

/* All logits of the last run, out [streams*R, outputs]: for decoding and tests. */
void zf_forward_logits(struct zf_forward *forward, float *out);
/* Those of rows first..first + rows of the last run, which had one stream. */
void zf_forward_logits_part(struct zf_forward *forward, int64_t first, int64_t rows, float *out);

/* --- operation by operation, for callers that keep the values of a pass (lib/back) --- */

/* Prepares a pass over the batch: one stream, no noise, the checks of zf_forward_run.  *inner: the batch
 * that operations run on, with the virtual tokens of adapters; valid until the next pass. */
int zf_forward_begin(struct zf_forward *forward, const struct zf_batch *batch,
                     const struct zf_batch **inner);

/* Runs one operation of the plan on the registers as they are bound. */
void zf_forward_op(struct zf_forward *forward, const struct zf_op *op,
                   const struct zf_batch *batch);

/* Binds a register to memory of the caller's, rows of `ld` floats, until zf_forward_run. */
void zf_forward_bind(struct zf_forward *forward, enum zf_reg reg, float *data, int64_t ld);
/* The register's memory in the arena, with the plan's width as row stride.  F and G lie in Z. */
float *zf_forward_register(const struct zf_forward *forward, enum zf_reg reg);

/* A parameter in the form that the kernels take: the matrix of a linear operation, or the rows of a
 * table (embeddings, head). */
struct zf_weight zf_forward_matrix(const struct zf_forward *forward, int32_t number);
struct zf_weight zf_forward_table(const struct zf_forward *forward, int32_t number);
/* A vector in f32, valid until the next call with the same `which` (0 or 1); NULL when number is
 * below 0. */
const float *zf_forward_vector(struct zf_forward *forward, int32_t number, int which);
/* Of a ZF_OP_DORA: the norm of each row of W + s B A, and the factor weight / norm; [width] each, valid
 * until the next operation. */
void zf_forward_dora(struct zf_forward *forward, const struct zf_op *op, const float **factor,
                     const float **norm);
/* The number of each token of the current batch among its sequence's virtual tokens; -1: a token of the
 * text. */
const int32_t *zf_forward_virtual_numbers(const struct zf_forward *forward);
/* Adds what adapters of the head do to all logits [rows, outputs] of the wanted rows first_row ..
 * first_row + rows, before they are capped. */
void zf_forward_adapt_logits(struct zf_forward *forward, float *logits, int64_t first_row,
                             int64_t rows);
/* The table of cosines and sines of a rotary operation, rows of zf_config_rot floats; and the row of
 * each token of the current batch. */
const float *zf_forward_rope(const struct zf_forward *forward, const struct zf_op *op);
const int32_t *zf_forward_rope_rows(const struct zf_forward *forward);
/* Memory for the converted rows of one operand, of limits' cell_bytes or more; the next operation
 * overwrites it. */
void *zf_forward_cells(const struct zf_forward *forward);

/* --- the cache (cache.c) --- */

/* An empty cache for at most `cap` tokens.  ZF_ENOMEM. */
int zf_cache_new(struct zf_cache **out, const struct zf_model *model, int64_t cap);
int64_t zf_cache_bytes(const struct zf_model *model, int64_t cap);

/* Prepares the cache for a prompt of `length` tokens, whose first `kept` <= len tokens the cache
 * holds.  It keeps those.  It keeps none where frequencies depend on a sequence's length
 * (zf_rope_by_length) and the cached keys were rotated for another length: the whole prompt must be
 * read again. */
void zf_cache_keep(struct zf_cache *cache, const struct zf_model *model, int64_t kept,
                   int64_t length);

/* Prepares the cache for one more token.  As in Transformers, LongRoPE empties the cache at the
 * first token beyond the original length (as Phi-3 does), and dynamic scaling leaves the cached keys
 * as they are rotated. */
void zf_cache_grow(struct zf_cache *cache, const struct zf_model *model);
void zf_cache_free(struct zf_cache *cache); /* takes NULL */

ZF_END_DECLS

#endif
