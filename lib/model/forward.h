/* The forward pass: one walk over the plan, one or two streams, ragged batches.
 *
 * A batch is T tokens end to end without padding, cut into segments that do not see each
 * other, except that a segment may have another one as its prefix: prompts that several
 * sequences share are run once.  The last token of a sequence predicts nothing that a loss
 * asks for and need not be in the batch at all. */
#ifndef ZF_MODEL_FORWARD_H
#define ZF_MODEL_FORWARD_H

#include "kern/perturb.h"
#include "model/model.h"

/* Keys and values of one sequence, for decoding: [layers][cap][kv_heads * head_dim]. */
struct zf_cache {
  float *keys, *values;
  int64_t len, cap;
  int64_t
      full_len; /* tokens that the sequence is known to have, where that is more than are read */
};

struct zf_batch {
  int64_t T;
  int32_t *id, *pos; /* [T] token ids, positions in their sequences */
  int64_t nseg;
  struct zf_segment *seg;  /* pstart/plen name the prefix; pk, pv are filled by the pass */
  struct zf_cache **cache; /* NULL, or one for each segment: its prefix, and appended to */
  int64_t R;
  int32_t *row; /* [R] tokens whose output rows are wanted */
  int unread; /* tokens that every sequence has behind its last one here: a target that is not run */
};

/* Tokens of the sequence that segment g is part of: with the longest that goes on from it, and from
 * what it goes on, and `unseen` ones.  Where rotary frequencies depend on the length, this is the
 * length: Transformers, which is given a text with its labels, runs the last token too. */
int64_t zf_batch_length(const struct zf_batch *batch, int64_t g);

/* How large a pass may get; memory follows from it and from nothing else. */
struct zf_limits {
  int64_t tokens; /* streams * T at most */
  int64_t rows;   /* streams * R at most */
  int64_t segments;
  int64_t length;          /* longest sequence: positions, and keys of a query */
  int64_t ids;             /* most ids of zf_forward_logits_at */
  int streams;             /* most streams */
  size_t work;             /* bytes of the drivers' workspace at least: for whoever runs other
                              products between operations (lib/back); 0: what a pass needs */
  enum zf_compute compute; /* of the products with weights */
};

struct zf_forward;

/* The arena's bytes under these limits: the forecast is made with it. */
int64_t zf_forward_bytes(const struct zf_model *model, const struct zf_limits *lim);

/* Of these, bytes that no pass touches: forecasts leave them out. */
int64_t zf_forward_untouched(const struct zf_model *model, const struct zf_limits *lim);

/* Floats of X and H together, which pieces of logits share. */
int64_t zf_forward_head_floats(const struct zf_model *model, const struct zf_limits *lim);

/* Reserves all memory that passes will use, for as many threads as are set now (zf_kern_threads) or
 * fewer.  The model outlives it. */
int zf_forward_new(struct zf_forward **out, const struct zf_model *model,
                   const struct zf_limits *lim);
void zf_forward_free(struct zf_forward *forward);
const struct zf_limits *zf_forward_limits(const struct zf_forward *forward);
const struct zf_model *zf_forward_model(const struct zf_forward *forward);

/* Runs the plan.  Ids and positions must be in range (checked: ZF_EUSAGE), the batch within the
 * limits (ours to keep: assert).  Leaves the output rows inside f until the next run. */
int zf_forward_run(struct zf_forward *forward, const struct zf_batch *batch,
                   const struct zf_perturb *pt);

/* Of the last run, for each stream s and wanted row r, at [s*R + r]:
 * log-normaliser over the vocabulary and the target's logit (target -1: 0), so that
 * log p(target) = logit - lse. */
void zf_forward_lse(struct zf_forward *forward, const int32_t *target, double *lse, double *logit);

/* Logits of `n` ids alone, out[s*R + r][n]: their rows of the head are all that is read. */
void zf_forward_logits_at(struct zf_forward *forward, const int32_t *ids, int64_t count,
                          float *out);

/* All logits of the last run, out [streams*R, outputs]: decoding and tests. */
void zf_forward_logits(struct zf_forward *forward, float *out);

/* --- operation by operation, for who keeps what a pass leaves behind (lib/back) --- */

/* Readies a pass over `b`: checks as zf_forward_run, one stream, no noise. */
int zf_forward_begin(struct zf_forward *forward, const struct zf_batch *batch);

/* Runs one operation of the plan on the registers as they are bound. */
void zf_forward_op(struct zf_forward *forward, const struct zf_op *op,
                   const struct zf_batch *batch);

/* A register's memory: the caller's, with its row stride, until zf_forward_run; and the pass' own,
 * whose row stride is the plan's width.  Of the own ones F and G lie in Z. */
void zf_forward_bind(struct zf_forward *forward, enum zf_reg reg, float *p, int64_t ld);
float *zf_forward_own(const struct zf_forward *forward, enum zf_reg reg);

/* A matrix as the kernels see it: of a linear operation; rows of a table (embeddings, head). */
struct zf_weight zf_forward_matrix(const struct zf_forward *forward, int32_t number);
struct zf_weight zf_forward_table(const struct zf_forward *forward, int32_t number);
/* A vector in f32, until the next call with the same `which` (0 or 1); NULL when number < 0. */
const float *zf_forward_vector(struct zf_forward *forward, int32_t number, int which);
/* Cosines and sines that an operation turns by, and of each token of the batch at hand its row of
 * them; a row is zf_config_rot long. */
const float *zf_forward_rope(const struct zf_forward *forward, const struct zf_op *op);
const int32_t *zf_forward_rope_rows(const struct zf_forward *forward);

int zf_cache_new(struct zf_cache **out, const struct zf_model *model, int64_t cap);
int64_t zf_cache_bytes(const struct zf_model *model, int64_t cap);

/* A prompt of `whole` tokens comes, of which `same` <= len are as they were: the cache keeps those.
 * Where frequencies depend on a sequence's length (zf_rope_by_length), keys beyond the original one
 * are turned otherwise: nothing is kept, and the whole has to be read again, where the keys would not
 * be those of the prompt read at once. */
void zf_cache_keep(struct zf_cache *cache, const struct zf_model *model, int64_t same,
                   int64_t whole);

/* A token follows.  As with Transformers: LongRoPE reads all again at the first one beyond the
 * original length (its Phi-3 drops the cache there), dynamic scaling leaves keys as they were turned. */
void zf_cache_grow(struct zf_cache *cache, const struct zf_model *model);
void zf_cache_free(struct zf_cache *cache);

#endif
