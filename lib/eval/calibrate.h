/* Calibration of option scores: a model prefers some options whatever the input is, and what it
 * prefers is measured by forward passes and taken off.
 *
 * For options o = 0 .. O-1 with scores s_o of one input, p_o = exp(s_o) / sum_j exp(s_j):
 *
 *   contextual   s_o - log c_o,      c_o: mean of p_o over inputs without content
 *                                    (Zhao et al. 2021, "Calibrate Before Use", which divides p_o by c_o)
 *   batch        s_o - m_o,          m_o: mean of log p_o over the inputs of a set, no label needed
 *                                    (Zhou et al. 2024, "Batch Calibration")
 *
 * What is subtracted is the shift.  Both need options that mean the same in every example. */
#ifndef ZF_EVAL_CALIBRATE_H
#define ZF_EVAL_CALIBRATE_H

#include "base/cplusplus.h"
#include "eval/score.h"

ZF_BEGIN_DECLS

enum zf_calibrate { ZF_CALIBRATE_NONE, ZF_CALIBRATE_CONTEXTUAL, ZF_CALIBRATE_BATCH };
extern const char *const zf_calibrate_names[]; /* in the order of the enum; ends with NULL */

/* ZF_EUSAGE: no calibration has this name. */
int zf_calibrate_find(enum zf_calibrate *out, const char *name);

/* ZF_EUSAGE unless every example of the files chooses one of the same options behind the same
 * prompt: another type of data, options that read fields of the row, files that differ. */
int zf_calibrate_check(const struct zf_data_spec *const *spec, int64_t count);

/* --- pure functions: score [count][options], shift [options] --- */

/* score = log of the softmax of each row. */
void zf_calibrate_normalize(double *score, int64_t count, int64_t options);

/* The shift from the scores of `count` >= 1 inputs: without content, or of a set. */
void zf_calibrate_contextual(double *shift, const double *score, int64_t count, int64_t options);
void zf_calibrate_batch(double *shift, const double *score, int64_t count, int64_t options);

/* Subtracts the shift from each row. */
void zf_calibrate_apply(double *score, int64_t count, int64_t options, const double *shift);

/* --- by forward passes --- */

/* Scores of the options of many examples, in order.  Zeroed but for `options`, it is empty. */
struct zf_option_scores {
  int64_t options, count, cap;
  double *score;  /* [count][options] */
  int32_t *label; /* [count]; the caller fills it where there are labels */
  int failed;     /* a code; rows after it are missing */
};

/* A zf_score_watch: appends the row of an example to a struct zf_option_scores. */
void zf_option_scores_watch(void *ctx, const double *score, const double *gold, int64_t count);
int zf_option_scores_ok(const struct zf_option_scores *scores); /* 0, ZF_ENOMEM or ZF_EINVALID */
void zf_option_scores_free(struct zf_option_scores *scores);

enum { ZF_CONTENT_FREE = 3 };
extern const char *const zf_content_free[ZF_CONTENT_FREE]; /* "N/A", "", "[MASK]" */

/* shift[spec->noptions] by contextual calibration: every field of the spec's prompt becomes one of
 * zf_content_free, and the model scores the options behind it.  used[i]: was input i scored?  The
 * empty one is not where it leaves no prompt, nor "[MASK]" for masked data, which ask for one mask.
 * The spec passes zf_calibrate_check.  ZF_EUSAGE: a filter of the prompt refuses these texts. */
int zf_calibrate_by_content_free(double *shift, int used[ZF_CONTENT_FREE],
                                 const struct zf_model *model, const struct zf_tok *tok,
                                 const struct zf_data_spec *spec, enum zf_compute compute);

ZF_END_DECLS

#endif
