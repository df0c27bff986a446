/* What the scores of a data set come to. */
#ifndef ZF_EVAL_METRICS_H
#define ZF_EVAL_METRICS_H

#include "base/buf.h"
#include "eval/score.h"

struct zf_metrics {
  int64_t examples, targets;
  double loss; /* the objective: classification mean cross-entropy over options; several labels mean
                        binary cross-entropy; regression mean squared error; else mean negative
                        log-likelihood of a target token (nats) */
  double perplexity; /* exp(loss) of token losses; NaN for classification */
  double accuracy;   /* classification: share of right choices; NaN elsewhere */
  double f1_micro; /* several labels: F1 of all decisions together; NaN elsewhere, as those below */
  double pearson, spearman; /* regression: of all outputs and what they should be */
  double
      f1; /* several labels: macro F1, the mean over all labels, of one that neither occurs nor is
                        chosen 0, as scikit-learn has it; classification: macro F1, the mean over labels that occur or are chosen */
};

/* ZF_ENOMEM. */
int zf_metrics_make(struct zf_metrics *out, const struct zf_dataset *dataset,
                    const struct zf_score *score);

/* Scores the whole set without noise and reduces it; a stream piece after piece.  `stopped` (may be NULL) is asked now and
 * then: ZF_ESTOPPED when it says so. */
int zf_evaluate(struct zf_metrics *out, struct zf_scorer *scorer, const struct zf_dataset *dataset,
                int64_t most, int (*stopped)(void *ctx), void *ctx);

/* Appends the members of a JSON object, without braces: "loss": ..., "accuracy": ...  What does not
 * apply (NaN) is left out. */
void zf_metrics_json(struct zf_buf *buf, const struct zf_metrics *metrics);

#endif
