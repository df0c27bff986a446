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
  float *k, *v;
  int64_t len, cap;
};

struct zf_batch {
  int64_t T;
  int32_t *id, *pos; /* [T] token ids, positions in their sequences */
  int64_t nseg;
  struct zf_segment *seg;  /* pstart/plen name the prefix; pk, pv are filled by the pass */
  struct zf_cache **cache; /* NULL, or one for each segment: its prefix, and appended to */
  int64_t R;
  int32_t *row; /* [R] tokens whose output rows are wanted */
};

/* How large a pass may get; memory follows from it and from nothing else. */
struct zf_limits {
  int64_t tokens; /* streams * T at most */
  int64_t rows;   /* streams * R at most */
  int64_t segments;
  int64_t length;          /* longest sequence: positions, and keys of a query */
  int64_t ids;             /* most ids of zf_forward_logits_at */
  int streams;             /* most streams */
  enum zf_compute compute; /* of the products with weights */
};

struct zf_forward;

/* The arena's bytes under these limits: the forecast is made with it. */
int64_t zf_forward_bytes(const struct zf_model *m, const struct zf_limits *lim);

/* Reserves all memory that passes will use, for as many threads as are set now (zf_kern_threads) or
 * fewer.  The model outlives it. */
int zf_forward_new(struct zf_forward **out, const struct zf_model *m, const struct zf_limits *lim);
void zf_forward_free(struct zf_forward *f);
const struct zf_limits *zf_forward_limits(const struct zf_forward *f);

/* Runs the plan.  Ids and positions must be in range (checked: ZF_EUSAGE), the batch within the
 * limits (ours to keep: assert).  Leaves the output rows inside f until the next run. */
int zf_forward_run(struct zf_forward *f, const struct zf_batch *b, const struct zf_perturb *pt);

/* Of the last run, for each stream s and wanted row r, at [s*R + r]:
 * log-normaliser over the vocabulary and the target's logit (target -1: 0), so that
 * log p(target) = logit - lse. */
void zf_forward_lse(struct zf_forward *f, const int32_t *target, double *lse, double *logit);

/* Logits of `n` ids alone, out[s*R + r][n]: their rows of the head are all that is read. */
void zf_forward_logits_at(struct zf_forward *f, const int32_t *ids, int64_t n, float *out);

/* All logits of the last run, out [streams*R, vocab]: decoding and tests. */
void zf_forward_logits(struct zf_forward *f, float *out);

int zf_cache_new(struct zf_cache **out, const struct zf_model *m, int64_t cap);
void zf_cache_free(struct zf_cache *c);

#endif
