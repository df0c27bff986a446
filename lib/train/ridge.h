/* Ridge regression of one-hot labels on rows that arrive one by one, with exact leave-one-out
 * predictions for every penalty of a grid.
 *
 * Rows h_i in R^d, i < n; targets y_ic = [label_i = c] - 1/C, which sum to 0 over the classes.  With an
 * intercept, rows and targets are centred over i first.  For a penalty L
 *
 *   w = (H^T H + L)^-1 H^T Y                                 d <= n, the primal form
 *     = H^T (H H^T + L)^-1 Y                                 n < d, the dual form
 *   e_i = (y_i - h_i w) / (1 - h_i^T (H^T H + L)^-1 h_i)     error at row i of the fit without row i
 *
 * (Hoerl and Kennard 1970; Allen 1974).  The matrix, of size r = min(n, d), is brought to Q T Q^T with T
 * tridiagonal once; every penalty then costs O(r) a row.  A full eigendecomposition would cost several
 * times as much and serve no better.
 *
 * Sums over rows are in double, in the order of the rows; every result has the same bits for any number
 * of threads and any instruction set.  Memory: 8 r^2 bytes, and 4 d a row for the first
 * zf_ridge_held(n, d) rows, on which the leave-one-out errors are computed; so it does not grow with n
 * beyond that number. */
#ifndef ZF_TRAIN_RIDGE_H
#define ZF_TRAIN_RIDGE_H

#include <stdint.h>

#include "base/cplusplus.h"

ZF_BEGIN_DECLS

/* The grid: the mean of the diagonal of H^T H times 1e-6 .. 1e3, two penalties a decade. */
enum { ZF_RIDGE_PENALTIES = 19 };

struct zf_ridge {
  int64_t width, classes;
  int intercept;
  int64_t count, held;  /* rows so far; of these kept */
  int64_t most_held;    /* rows that are kept at most */
  float *row;           /* [held][width] */
  int32_t *label;       /* [held] */
  double *class_sum;    /* [classes][width] sums of the rows of a class */
  int64_t *class_count; /* [classes] */
  int dual;             /* the matrix is made of the rows when all have come */
  double *matrix;       /* primal: [width][width], upper triangle; dual: [most_held][most_held] */
  double *pending;      /* primal: rows that are not yet in the matrix */
  int64_t pending_count;

  /* Results of zf_ridge_fit. */
  double penalty, relative; /* the best one; divided by the mean of the diagonal */
  double error;             /* mean over held rows of |e_i|^2 at that penalty */
  double penalties[ZF_RIDGE_PENALTIES], errors[ZF_RIDGE_PENALTIES];
  double *weight;     /* [classes][width] */
  double *offset;     /* [classes] intercepts; 0 without */
  double *prediction; /* [held][classes] y - e: of each held row by the fit without it */
};

/* The number of rows that are kept, of `rows` rows of `width` values. */
int64_t zf_ridge_held(int64_t rows, int64_t width);

/* Bytes of a fit, for forecasts. */
int64_t zf_ridge_bytes(int64_t rows, int64_t width, int64_t classes);

/* For at most `rows` rows.  classes >= 2.  ZF_ENOMEM. */
int zf_ridge_new(struct zf_ridge **out, int64_t rows, int64_t width, int64_t classes,
                 int intercept);
void zf_ridge_free(struct zf_ridge *ridge); /* takes NULL */

/* Adds a row of `width` values, label in 0 .. classes - 1. */
void zf_ridge_add(struct zf_ridge *ridge, const float *row, int32_t label);

/* Chooses the penalty with the smallest leave-one-out error, the largest of equals, and fills the
 * results.  No row may be added after that.  ZF_EUSAGE: fewer than 2 rows; ZF_EDIVERGED: a row is not finite;
 * ZF_ENOMEM. */
int zf_ridge_fit(struct zf_ridge *ridge);

/* Two sets of scores x, y [rows][classes] as logits own * x + other * y: */
struct zf_blend {
  double own, other;        /* the factors */
  double loss, loss_before; /* mean cross-entropy (nats) with them, and with own = 1, other = 0 */
  double accuracy,
      accuracy_before; /* share of rows whose label has the largest logit, the first of equals */
};

/* The factors with the smallest cross-entropy, 0 <= own <= 16 and 0 <= other <= 64, by Newton's method
 * from (1, 0); loss <= loss_before.  The bounds keep factors finite where the rows are separable, and
 * out of the negative, where leave-one-out predictions of a constant would look informative: they are
 * larger for every class but the row's own. */
void zf_blend_fit(struct zf_blend *blend, const double *x, const double *y, const int32_t *label,
                  int64_t rows, int64_t classes);

ZF_END_DECLS

#endif
