/* Scoring examples: packs them into ragged batches, runs the forward pass, and reduces what comes
 * out to a loss for each example and stream.
 *
 * An example's numbers depend on the weights and that example alone (DESIGN promise 3). */
#ifndef ZF_EVAL_SCORE_H
#define ZF_EVAL_SCORE_H

#include "model/forward.h"
#include "task/dataset.h"

/* What one example gives on one stream. */
struct zf_score {
  double loss;    /* classification: cross-entropy of the softmax over the options' mean
                     log-probabilities; else the sum of -log p over its targets (nats) */
  double nll;     /* sum of -log p over the targets of the right option (of all targets); NaN when
                     the normaliser was never computed (single-token options) */
  int64_t weight; /* what the loss counts: 1 for classification, else the number of targets */
  int32_t choice; /* classification: the likeliest option, the first of equals; else -1 */
};

struct zf_scorer;

/* What examples need together in one pass, on one stream. */
struct zf_batch_load {
  int64_t tokens, rows, segments, ids;
};

/* Adds what example i of a set needs. */
void zf_batch_load_add(struct zf_batch_load *sum, const struct zf_dataset *dataset, int64_t i);

/* The larger of both, number by number. */
struct zf_batch_load zf_batch_load_max(struct zf_batch_load load, struct zf_batch_load b);

/* Largest pass over examples of the sets: `micro_batch` examples of set[0] on `streams` streams
 * (training), and any single example of any set on one.  Of a stream: by its sequence_len. */
struct zf_limits zf_score_limits(const struct zf_dataset *const *set, int nset, int64_t micro_batch,
                                 int streams);

/* The same where the micro-batches of set[0] are known: none needs more than `batch`. */
struct zf_limits zf_score_limits_known(const struct zf_dataset *const *set, int nset,
                                       const struct zf_batch_load *batch, int streams);

/* Memory for packing under the limits of `f`, which outlives it. */
int zf_scorer_new(struct zf_scorer **out, struct zf_forward *forward, const struct zf_limits *lim);
void zf_scorer_free(struct zf_scorer *scorer);
int64_t zf_scorer_bytes(const struct zf_limits *lim); /* for forecasts */

/* Scores examples index[0..n) (NULL: 0..n-1) of `d` under `pt`: out[s*n + i].  As many examples
 * go into one pass as fit the limits, `most` at the most (0: no bound). */
int zf_score_examples(struct zf_scorer *scorer, const struct zf_dataset *dataset,
                      const int64_t *index, int64_t count, int64_t most,
                      const struct zf_perturb *pt, struct zf_score *out);

/* --- the parts of zf_score_examples, for who runs the pass in another way (backpropagation) --- */

/* Examples packed into one pass, and what the pass has to fill in. */
struct zf_packed {
  struct zf_batch batch;
  int32_t *target;     /* of each row; -1: asked by logits at ids */
  int whole;           /* some row has a target: lse and logit are wanted */
  double *lse, *logit; /* [streams * rows], as zf_forward_lse */
  int32_t *ids;        /* distinct ids of one-token options */
  int64_t nid;         /* 0: none */
  float *at;           /* [streams * rows][nid], as zf_forward_logits_at */
};

/* Packs examples from.. of index[0..n), as many as fit; returns the first that did not. */
int64_t zf_score_pack(struct zf_scorer *scorer, const struct zf_dataset *dataset,
                      const int64_t *index, int64_t from, int64_t n, int64_t most, int streams);
struct zf_packed *zf_score_packed(struct zf_scorer *scorer);

/* out[k*n + i] of the packed examples from..to from what the pass filled in. */
void zf_score_reduce(struct zf_scorer *scorer, const struct zf_dataset *dataset,
                     const int64_t *index, int64_t from, int64_t to, int64_t n, int streams,
                     struct zf_score *out);

/* Derivatives of scale * (sum of the losses of examples from..to), one stream: coef[row] by
 * log p(target), slope[row][nid] by the logits at ids.  Losses of single sequences need no lse and
 * logit for it; options need what the pass filled in. */
void zf_score_gradients(struct zf_scorer *scorer, const struct zf_dataset *dataset,
                        const int64_t *index, int64_t from, int64_t to, double scale, float *coef,
                        float *slope);

/* ZF_EUSAGE where a model's head and the type of the data do not go together. */
int zf_score_check(const struct zf_model *model, const struct zf_dataset *dataset);

/* ZF_EUSAGE unless a model predicts the next token: decoding, probabilities of a text. */
int zf_score_causal(const struct zf_model *model);

/* `watch` is called for each example with options, in order, as it is scored on one stream: with the
 * scores of its options, or the outputs of a head, and for outputs with the values they should have
 * (gold; NULL for a choice).  NULL: nothing is called. */
typedef void (*zf_score_watch)(void *ctx, const double *score, const double *gold, int64_t count);
void zf_scorer_watch(struct zf_scorer *scorer, zf_score_watch watch, void *ctx);

/* Sum of losses over sum of weights, in example order. */
double zf_score_mean(const struct zf_score *score, int64_t count);

#endif
