/* Predictions of a model with options, labels or outputs, for rows that need no label.
 *
 * What the values of a prediction are depends on the type of data:
 *
 *   classification, masked   probabilities of the options: the softmax of their scores
 *   labels, a choice of one  probabilities of the labels: the softmax of the logits
 *   labels, multi-label      a probability for each label: the logistic function of its logit
 *   labels, regression       the outputs of the head */
#ifndef ZF_EVAL_PREDICT_H
#define ZF_EVAL_PREDICT_H

#include "eval/calibrate.h"

/* Called for example `index` of the set, in order.  values [count] belong to the caller of `each`;
 * choice is the likeliest option, -1 where none is chosen.  A code other than 0 ends the loop. */
typedef int (*zf_predict_each)(void *ctx, int64_t index, const double *values, int64_t count,
                               int32_t choice);

/* ZF_EUSAGE: data of this type have no options, and so nothing to predict. */
int zf_predict_check(enum zf_task_type type);

/* Predicts all examples of a set that is held in memory and that zf_predict_check accepts. */
int zf_predict(struct zf_scorer *scorer, const struct zf_dataset *dataset, zf_predict_each each,
               void *ctx);

/* The same by calibrated scores: zf_evaluate_calibrated says what `calibration` and `shift` are.  All
 * examples are scored before the first call of `each`. */
int zf_predict_calibrated(struct zf_scorer *scorer, const struct zf_dataset *dataset,
                          enum zf_calibrate calibration, double *shift, zf_predict_each each,
                          void *ctx);

#endif
