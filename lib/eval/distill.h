/* Divergence of a model's predictions from a teacher's (teacher.h), and its derivative.
 *
 * At a row with the teacher's k likeliest tokens, p_i their probabilities at temperature T, p_0 that of all
 * other tokens together, and q the model's at T, for the same k + 1 outcomes:
 *
 *   D = T^2 sum_i p_i log(p_i / q_i)   >= 0, and 0 where q = p
 *                                      (Hinton, Vinyals, Dean 2015, section 2; Kullback, Leibler 1951)
 *   dD / dlogit_v = T (q_v - p_v)                 v is listed
 *                 = T (q_0 - p_0) q_v / q_0       else
 *
 * The divergence of an example is the mean over its rows.  Of an example with options, p and q are softmaxes
 * of the options' scores over T.  log q_0 is a log-sum-exp of the other tokens' logits, not 1 minus a sum, so
 * nothing cancels.  The logits are seen chunk by chunk, while zf_forward_lse makes them. */
#ifndef ZF_EVAL_DISTILL_H
#define ZF_EVAL_DISTILL_H

#include "base/cplusplus.h"
#include "eval/teacher.h"

ZF_BEGIN_DECLS

struct zf_distill;

/* The bytes of zf_distill_new for passes of `rows` rows on all streams, k listed tokens and these sets, and of
 * the rows of the file that a pass reads. */
int64_t zf_distill_bytes(int64_t k, int64_t rows, const struct zf_dataset *const *set);

/* `set` [ZF_TEACHER_SETS], in the order of the file; entries may be NULL.  Teacher and sets outlive it. */
int zf_distill_new(struct zf_distill **out, const struct zf_teacher *teacher,
                   const struct zf_dataset *const *set, int64_t rows);
void zf_distill_free(struct zf_distill *distill); /* takes NULL */

/* 1 where the teacher's predictions for this set are known. */
int zf_distill_knows(const struct zf_distill *distill, const struct zf_dataset *dataset);

/* Prepares a pass on `streams` streams: places the examples index[from..to) (index NULL: from..to) of a set,
 * one after another, on its rows. */
void zf_distill_begin(struct zf_distill *distill, const struct zf_dataset *dataset,
                      const int64_t *index, int64_t from, int64_t to, int streams);

/* A zf_head_watch with the zf_distill as ctx: the chunks of the pass' logits, [streams * rows]. */
void zf_distill_see(void *ctx, const float *y, int64_t ldy, int64_t first, int64_t count);

/* D of one row, row < streams * rows of the pass, whose logits were seen. */
double zf_distill_row(struct zf_distill *distill, int64_t row);

/* D of an example by its options' scores. */
double zf_distill_options(struct zf_distill *distill, const struct zf_dataset *dataset,
                          int64_t index, const double *score, int64_t count);

/* gradient[i] += scale dD / dscore[i]. */
void zf_distill_options_gradient(struct zf_distill *distill, const struct zf_dataset *dataset,
                                 int64_t index, const double *score, int64_t count, double scale,
                                 double *gradient);

/* --- the gradient of a pass on one stream by its logits, row by row, as zf_back_rows takes it --- */

/* The derivative of the loss by D of this row. */
void zf_distill_scale(struct zf_distill *distill, int64_t row, double scale);
float zf_distill_inverse(const struct zf_distill *distill); /* 1 / T */

/* ctx is the zf_distill; logits [vocabulary] are those of the row.  The gradient of a token that is not
 * listed is coefficient * exp(logit / T - lse); zf_distill_listed then sets those of the listed ids in
 * columns first..first + count of the row, gradient [count]. */
void zf_distill_softmax(void *ctx, int64_t row, const float *logits, double *coefficient,
                        double *lse);
void zf_distill_listed(void *ctx, int64_t row, float *gradient, int64_t first, int64_t count);

ZF_END_DECLS

#endif
