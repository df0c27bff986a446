/* Metrics of a data set from the scores of its examples. */
#ifndef ZF_EVAL_METRICS_H
#define ZF_EVAL_METRICS_H

#include "base/cplusplus.h"
#include "base/buf.h"
#include "eval/calibrate.h"

ZF_BEGIN_DECLS

struct zf_metrics {
  int64_t examples, targets;
  double loss; /* the objective.  Classification: mean cross-entropy over options; several labels:
                * mean binary cross-entropy; regression: mean squared error; else mean negative
                * log-likelihood of a target token (nats) */

  /* NaN where they do not apply */
  double objective;         /* mean of an objective, which is minimised (objective/objective.h) */
  double perplexity;        /* exp(loss) of token losses */
  double accuracy;          /* classification: share of right choices */
  double f1_micro;          /* several labels: F1 of all decisions together */
  double pearson, spearman; /* regression: of all outputs and their targets */
  double
      f1; /* several labels: macro F1, the mean over all labels, where a label that neither occurs
              * nor is chosen has 0, as in scikit-learn; classification: macro F1, the mean over the
              * labels that occur or are chosen */
};

/* Metrics from score[dataset->count].  ZF_ENOMEM. */
int zf_metrics_make(struct zf_metrics *metrics, const struct zf_dataset *dataset,
                    const struct zf_score *score);

/* Scores the whole set without noise, a stream chunk after chunk, at most `max` examples in a pass
 * (0: no limit), and reduces the scores.  `stopped` (may be NULL) is called after each chunk; where
 * it returns nonzero, the result is ZF_ESTOPPED.  ZF_EINVALID: the set has no example. */
int zf_evaluate(struct zf_metrics *metrics, struct zf_scorer *scorer,
                const struct zf_dataset *dataset, int64_t max, int (*stopped)(void *ctx),
                void *ctx);

/* How often each option was chosen for each label: count[label * options + choice]. */
struct zf_confusion {
  int64_t options;
  int64_t *count; /* NULL: the examples choose nothing.  The caller frees. */
};

/* zf_evaluate, and the choices in *confusion. */
int zf_evaluate_choices(struct zf_metrics *metrics, struct zf_confusion *confusion,
                        struct zf_scorer *scorer, const struct zf_dataset *dataset, int64_t max,
                        int (*stopped)(void *ctx), void *ctx);

/* zf_evaluate_choices of calibrated scores.  shift[dataset->options] is subtracted from the scores of
 * every example; ZF_CALIBRATE_BATCH computes it from all of them first.  *plain: the metrics without
 * calibration, by the same passes.  The set passes zf_calibrate_check. */
int zf_evaluate_calibrated(struct zf_metrics *metrics, struct zf_metrics *plain,
                           struct zf_confusion *confusion, enum zf_calibrate calibration,
                           double *shift, struct zf_scorer *scorer,
                           const struct zf_dataset *dataset, int64_t max);

/* Of one label: hits over choices, hits over examples, and their harmonic mean; NaN: 0 / 0. */
struct zf_label_metrics {
  int64_t examples;
  double precision, recall, f1;
};
struct zf_label_metrics zf_label_metrics(const struct zf_confusion *confusion, int64_t label);

/* Appends the members of a JSON object, without braces: "loss": ..., "accuracy": ...  Metrics that
 * do not apply (NaN) are left out. */
void zf_metrics_json(struct zf_buf *buf, const struct zf_metrics *metrics);

ZF_END_DECLS

#endif
