/* Losses, derivatives and correlations for heads of labels whose problem is multi (several labels
 * at once) or regression. */
#ifndef ZF_EVAL_LABELS_H
#define ZF_EVAL_LABELS_H

#include <stdint.h>

#include "base/cplusplus.h"
#include "fmt/problem.h"

ZF_BEGIN_DECLS

/* The loss of one example, `count` logits x and targets y, as Transformers defines it:
 *   multi        mean over labels of max(x, 0) - x y + log(1 + exp(-|x|)), which is the binary
 *                cross-entropy of sigmoid(x), y 0 or 1
 *   regression   mean over outputs of (x - y)^2 */
double zf_labels_loss(enum zf_problem problem, const double *x, const double *y, int64_t count);

/* Replaces x by the derivatives of that loss: (sigmoid(x) - y) / count, or 2 (x - y) / count. */
void zf_labels_gradients(enum zf_problem problem, double *x, const double *y, int64_t count);

/* Correlation of two lists, as GLUE's STS-B measures it; NaN where one of them is constant.
 * Spearman's is Pearson's of the ranks, where equal values share the mean of their ranks.
 * ZF_ENOMEM. */
double zf_pearson(const double *x, const double *y, int64_t count);
int zf_spearman(double *out, const double *x, const double *y, int64_t count);

ZF_END_DECLS

#endif
