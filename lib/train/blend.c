/* Two factors that blend two sets of logits: a convex problem in two unknowns, by Newton's method
 * projected on a box.  exp and log are SLEEF's, whose bits are the same on every system. */
#include <math.h>

#include "rng/sleef.h"
#include "train/ridge.h"

enum { ROUNDS = 60, HALVINGS = 40 };

static const double most[2] = {16, 64};

struct blending {
  const double *score[2]; /* [rows][classes] */
  const int32_t *label;
  int64_t rows, classes;
};

/* Mean cross-entropy and its derivatives by the factors; hessian: 00, 01, 11. */
struct slopes {
  double loss, gradient[2], hessian[3];
};

static double logit_of(const struct blending *blending, const double factor[2], int64_t at) {
  return factor[0] * blending->score[0][at] + factor[1] * blending->score[1][at];
}

/* The class with the largest logit of a row, the first of equals. */
static int64_t best_class(const struct blending *blending, const double factor[2], int64_t row) {
  int64_t best = 0, first = row * blending->classes;
  for (int64_t c = 1; c < blending->classes; c++)
    if (logit_of(blending, factor, first + c) > logit_of(blending, factor, first + best)) best = c;
  return best;
}

/* Adds one row to the sums. */
static void add_row(struct slopes *sums, const struct blending *blending, const double factor[2],
                    int64_t row) {
  int64_t first = row * blending->classes, label = first + blending->label[row];
  double max = logit_of(blending, factor, first + best_class(blending, factor, row));
  double total = 0, mean[2] = {0}, product[3] = {0};
  for (int64_t at = first; at < first + blending->classes; at++) {
    double x = blending->score[0][at], y = blending->score[1][at];
    double p = Sleef_finz_expd1_u10purecfma(logit_of(blending, factor, at) - max);
    total += p;
    mean[0] += p * x;
    mean[1] += p * y;
    product[0] += p * x * x;
    product[1] += p * x * y;
    product[2] += p * y * y;
  }
  for (int i = 0; i < 2; i++) mean[i] /= total;
  sums->loss += Sleef_finz_logd1_u10purecfma(total) + max - logit_of(blending, factor, label);
  for (int i = 0; i < 2; i++) sums->gradient[i] += mean[i] - blending->score[i][label];
  sums->hessian[0] += product[0] / total - mean[0] * mean[0];
  sums->hessian[1] += product[1] / total - mean[0] * mean[1];
  sums->hessian[2] += product[2] / total - mean[1] * mean[1];
}

static struct slopes slopes_at(const struct blending *blending, const double factor[2]) {
  struct slopes sums = {0};
  double rows = (double)blending->rows;
  for (int64_t i = 0; i < blending->rows; i++) add_row(&sums, blending, factor, i);
  sums.loss /= rows;
  for (int i = 0; i < 2; i++) sums.gradient[i] /= rows;
  for (int i = 0; i < 3; i++) sums.hessian[i] /= rows;
  return sums;
}

/* Tries factor - share * step for share = 1, 1/2, ..; 1 where the loss falls. */
static int descend(const struct blending *blending, double factor[2], struct slopes *at,
                   const double step[2]) {
  double share = 1;
  for (int i = 0; i < HALVINGS; i++, share *= 0.5) {
    double next[2];
    for (int k = 0; k < 2; k++) next[k] = fmin(fmax(factor[k] - share * step[k], 0), most[k]);
    struct slopes there = slopes_at(blending, next);
    if (!(there.loss < at->loss)) continue;
    *at = there;
    for (int k = 0; k < 2; k++) factor[k] = next[k];
    return 1;
  }
  return 0;
}

/* One step of Newton's method among the factors that no bound holds; where it does not lead down inside the
 * box, one along the gradient, each factor divided by its own second derivative. */
static int improve(const struct blending *blending, double factor[2], struct slopes *at) {
  const double *g = at->gradient, *h = at->hessian, own[2] = {h[0], h[2]};
  double step[2] = {0}, determinant = h[0] * h[2] - h[1] * h[1];
  int moves[2];
  for (int i = 0; i < 2; i++) {
    moves[i] = g[i] > 0 ? factor[i] > 0 : factor[i] < most[i];
    moves[i] = moves[i] && own[i] > 0 && g[i] != 0;
  }
  if (moves[0] && moves[1] && determinant > 1e-12 * h[0] * h[2]) {
    step[0] = (h[2] * g[0] - h[1] * g[1]) / determinant;
    step[1] = (h[0] * g[1] - h[1] * g[0]) / determinant;
    if (descend(blending, factor, at, step)) return 1;
  }
  for (int i = 0; i < 2; i++) step[i] = moves[i] ? g[i] / own[i] : 0;
  return (moves[0] || moves[1]) && descend(blending, factor, at, step);
}

static double accuracy_of(const struct blending *blending, const double factor[2]) {
  int64_t right = 0;
  for (int64_t i = 0; i < blending->rows; i++)
    right += best_class(blending, factor, i) == blending->label[i];
  return (double)right / (double)blending->rows;
}

void zf_blend_fit(struct zf_blend *blend, const double *x, const double *y, const int32_t *label,
                  int64_t rows, int64_t classes) {
  struct blending blending = {{x, y}, label, rows, classes};
  double factor[2] = {1, 0};
  struct slopes at = slopes_at(&blending, factor);
  blend->loss_before = at.loss;
  blend->accuracy_before = accuracy_of(&blending, factor);
  for (int i = 0; i < ROUNDS; i++)
    if (!improve(&blending, factor, &at)) break;
  blend->own = factor[0];
  blend->other = factor[1];
  blend->loss = at.loss;
  blend->accuracy = accuracy_of(&blending, factor);
}
