/* Scoring of examples: packs them into ragged batches, runs the forward pass, and reduces its output
 * to a loss for each example and stream.
 *
 * An example's scores depend only on the weights and that example (DESIGN promise 3). */
#ifndef ZF_EVAL_SCORE_H
#define ZF_EVAL_SCORE_H

#include "base/cplusplus.h"
#include "eval/distill.h"
#include "model/forward.h"
#include "task/dataset.h"

ZF_BEGIN_DECLS

/* Score of one example on one stream. */
struct zf_score {
  double loss;    /* classification: cross-entropy of the softmax over the options' mean
                     log-probabilities; else the sum of -log p over its targets (nats) */
  double nll;     /* sum of -log p over the targets of the right option (of all targets); NaN when
                     the normaliser was never computed (single-token options) */
  int64_t weight; /* of the loss in a mean: 1 for classification, else the number of targets */
  double
      pair[2]; /* preference: sums of log p over the targets of the chosen and the rejected text */
  int64_t pair_targets[2]; /* and their numbers of targets */
  int32_t choice;          /* classification: the likeliest option, the first of equals; else -1 */
  double divergence;       /* from the teacher's predictions (distill.h); NaN: they are not known */
};

struct zf_scorer;

/* Sizes of a group of examples in one pass, on one stream. */
struct zf_batch_load {
  int64_t tokens, rows, segments, ids;
  int64_t sequences; /* segments that begin a sequence */
};

/* Adds the sizes of example `index` of a set. */
void zf_batch_load_add(struct zf_batch_load *sum, const struct zf_dataset *dataset, int64_t index);

/* The larger of both, size by size. */
struct zf_batch_load zf_batch_load_max(struct zf_batch_load left, struct zf_batch_load right);

/* Limits that fit every pass over the sets: `micro_batch` examples of set[0] on `streams` streams
 * (training), and any single example of any set on one stream.  The examples of a streamed set are
 * bounded by its sequence_len. */
struct zf_limits zf_score_limits(const struct zf_dataset *const *set, int nset, int64_t micro_batch,
                                 int streams);

/* The same where the micro-batches of set[0] are known: none exceeds `batch`. */
struct zf_limits zf_score_limits_known(const struct zf_dataset *const *set, int nset,
                                       const struct zf_batch_load *batch, int streams);

/* A scorer for passes of `forward` within `limits`; `forward` outlives it. */
int zf_scorer_new(struct zf_scorer **out, struct zf_forward *forward,
                  const struct zf_limits *limits);
void zf_scorer_free(struct zf_scorer *scorer);           /* takes NULL */
int64_t zf_scorer_bytes(const struct zf_limits *limits); /* for forecasts */

/* Passes compare the examples of the sets that `distill` knows with a teacher.  It outlives them; NULL: none. */
void zf_scorer_distill(struct zf_scorer *scorer, struct zf_distill *distill);

/* Scores examples index[0..count) (NULL: 0 .. count - 1): out[s*count + i] for stream s of
 * `perturb`.  A pass has as many examples as the limits allow, at most `max` (0: no limit). */
int zf_score_examples(struct zf_scorer *scorer, const struct zf_dataset *dataset,
                      const int64_t *index, int64_t count, int64_t max,
                      const struct zf_perturb *perturb, struct zf_score *out);

/* --- the parts of zf_score_examples, for callers that run the pass themselves (backpropagation) --- */

/* Examples packed into one pass.  lse, logit and at are outputs of the pass. */
struct zf_packed {
  struct zf_batch batch;
  int32_t *target;     /* of each row; -1: the row needs the logits at ids */
  int has_targets;     /* some row has a target: lse and logit are needed */
  double *lse, *logit; /* [streams * rows], see zf_forward_lse */
  int32_t *ids;        /* distinct ids of one-token options */
  int64_t nid;         /* 0: none */
  float *logits_at;    /* [streams * rows][nid], see zf_forward_logits_at */
};

/* Packs the examples index[from..) of index[0..count) that fit one pass, at most `max`; returns the
 * position of the first one that did not fit. */
int64_t zf_score_pack(struct zf_scorer *scorer, const struct zf_dataset *dataset,
                      const int64_t *index, int64_t from, int64_t count, int64_t max, int streams);
/* The packed examples, owned by the scorer. */
struct zf_packed *zf_score_packed(struct zf_scorer *scorer);

/* Reduces the pass to out[s*count + i] for the packed examples i = from .. to - 1 and streams s. */
void zf_score_reduce(struct zf_scorer *scorer, const struct zf_dataset *dataset,
                     const int64_t *index, int64_t from, int64_t to, int64_t count, int streams,
                     struct zf_score *out);

/* Places the packed examples from .. to - 1 for the comparison with a teacher, before their pass: 1, or 0
 * where there is no teacher for this set.  zf_score_examples does so itself. */
int zf_score_begin_teacher(struct zf_scorer *scorer, const struct zf_dataset *dataset,
                           const int64_t *index, int64_t from, int64_t to, int streams);

/* Factors of a sum that is minimised. */
struct zf_score_scale {
  double loss;       /* of each example's loss */
  double divergence; /* of each example's divergence from the teacher */
};

/* Derivatives of that sum over the packed examples, one stream: coef[row] by log p(target),
 * slope[row][nid] by the logits at ids; those of divergences by rows go to the zf_distill
 * (zf_distill_scale).  Examples with options need lse, logit and at of the pass; other examples do
 * not. */
void zf_score_gradients(struct zf_scorer *scorer, const struct zf_dataset *dataset,
                        const int64_t *index, int64_t from, int64_t to, struct zf_score_scale scale,
                        float *coef, float *slope);

/* ZF_EUSAGE where the model's head does not suit the type of the data. */
int zf_score_check(const struct zf_model *model, const struct zf_dataset *dataset);

/* ZF_EUSAGE unless the model predicts the next token, as decoding needs. */
int zf_score_causal(const struct zf_model *model);

/* `watch` is called for each example with options, in order, as it is scored on one stream: with the
 * scores of its options, or the outputs of a head, and for outputs with the values they should have
 * (gold; NULL for a choice).  NULL: nothing is called. */
typedef void (*zf_score_watch)(void *ctx, const double *score, const double *gold, int64_t count);
void zf_scorer_watch(struct zf_scorer *scorer, zf_score_watch watch, void *ctx);

/* out->loss = cross-entropy of softmax(score[0..count)) at the label, out->choice = the likeliest
 * option, out->weight = 1. */
void zf_score_choose(struct zf_score *out, const double *score, int32_t count, int32_t label);

/* Sum of losses over sum of weights, in example order. */
double zf_score_mean(const struct zf_score *score, int64_t count);

ZF_END_DECLS

#endif
