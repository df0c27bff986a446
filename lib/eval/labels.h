/* Heads of labels whose problem is not one label of several: losses, derivatives and measures. */
#ifndef ZF_EVAL_LABELS_H
#define ZF_EVAL_LABELS_H

#include <stdint.h>

#include "fmt/problem.h"

/* The loss of one example from its n logits x and what they should be, y, as Transformers has it:
 *   multi        mean over labels of max(x, 0) - x y + log(1 + exp(-|x|)), which is the binary
 *                cross-entropy of sigmoid(x), y 0 or 1
 *   regression   mean over outputs of (x - y)^2 */
double zf_labels_loss(enum zf_problem problem, const double *x, const double *y, int64_t count);

/* In place of x the derivatives of that loss by it: (sigmoid(x) - y) / n, or 2 (x - y) / n. */
void zf_labels_gradients(enum zf_problem problem, double *x, const double *y, int64_t count);

/* Correlation of two lists, as GLUE's STS-B measures it; NaN where one of them is constant.
 * Spearman: Pearson's of their ranks, equal values sharing the mean of theirs.  ZF_ENOMEM. */
double zf_pearson(const double *a, const double *b, int64_t count);
int zf_spearman(double *out, const double *a, const double *b, int64_t count);

#endif
