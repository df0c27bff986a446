/* A symmetric matrix A as Q T Q^T with T tridiagonal, by Householder's reflections
 *
 *   H_k = I - beta_k v_k v_k^T,  v_k zero up to element k,  Q = H_0 H_1 ... H_{r-3}
 *
 * and solutions of (T + L) x = b for several shifts L (Golub and Van Loan 2013, 8.3.1 and 4.3.6).
 * Vectors come in groups of ZF_LANE_COUNT, [size][ZF_LANE_COUNT], so that loops over a group need no
 * sums across lanes: each vector has the bits that it would have alone. */
#ifndef ZF_TRAIN_TRIDIAGONAL_H
#define ZF_TRAIN_TRIDIAGONAL_H

#include <stdint.h>

#include "base/cplusplus.h"

ZF_BEGIN_DECLS

enum { ZF_LANE_COUNT = 8 };

struct zf_tridiagonal {
  int64_t size;
  double *matrix; /* [size][size] A; afterwards v_k in row k, behind the diagonal; not owned */
  double *diagonal, *next; /* [size] of T, and beside the diagonal */
  double *beta;            /* [size] */
};

/* Number of threads for `work` products. */
int zf_tridiagonal_team(int64_t work);

/* Reduces `matrix`, all of whose elements are set; it is overwritten.  zf_tridiagonal_free frees the
 * members that are owned.  ZF_ENOMEM. */
int zf_tridiagonal_make(struct zf_tridiagonal *tridiagonal, double *matrix, int64_t size);
void zf_tridiagonal_free(struct zf_tridiagonal *tridiagonal); /* takes a zeroed one */

/* x = Q^T x; x = Q x.  x [size][ZF_LANE_COUNT]. */
void zf_tridiagonal_rotate(const struct zf_tridiagonal *tridiagonal, double *x);
void zf_tridiagonal_rotate_back(const struct zf_tridiagonal *tridiagonal, double *x);

/* The factors of T + shift, which is positive definite: inverse pivots, and multipliers, [size] each. */
void zf_tridiagonal_shift(const struct zf_tridiagonal *tridiagonal, double shift, double *inverse,
                          double *multiplier);

/* x = (T + shift)^-1 b.  x, b [size][ZF_LANE_COUNT]. */
void zf_tridiagonal_solve(const double *inverse, const double *multiplier, int64_t size, double *x,
                          const double *b);

ZF_END_DECLS

#endif
