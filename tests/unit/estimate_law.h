/* The law of the squared error of an estimate g z of a gradient in d dimensions, z Gaussian. */
#ifndef ZF_TESTS_ESTIMATE_LAW_H
#define ZF_TESTS_ESTIMATE_LAW_H

#include <stdint.h>

static inline double dot64(const double *x, const double *y, int64_t d) {
  double sum = 0;
  for (int64_t j = 0; j < d; j++) sum += x[j] * y[j];
  return sum;
}

/* Moments of X = |z (z.G) - G|^2 for |G| = 1: with u = z_1^2 and Y ~ chi2(d - 1),
 * X = u^2 + u (Y - 2) + 1.  The mean is d + 1. */
static inline double square_variance(double d) {
  double n = d - 1;
  double second = 105 + 30 * (n - 2) + 3 * (n * n - 2 * n + 6) + 2 * (n - 2) + 1;
  return second - (d + 1) * (d + 1);
}

/* Squared error of an estimate that is a sum of independent z_i (z_i . G_i): the mean is (d + 1) S with
 * S = sum |G_i|^2.  The errors of two examples are uncorrelated, with covariance matrices
 * |G_i|^2 I + G_i G_i', so that their product has the variance d |G_i|^2 |G_j|^2 +
 * 2 |G_i|^2 |G_j|^2 + (G_i . G_j)^2, and the variance of the squared error is
 * sum |G_i|^4 Var X + 4 sum_{i<j} of that. */
struct error_law {
  double mean, variance, square; /* square: S */
};

/* gradient [count][d] */
static inline struct error_law error_law_of(const double *gradient, int count, int64_t d) {
  struct error_law law = {0, 0, 0};
  for (int i = 0; i < count; i++) {
    const double *one = gradient + i * d;
    double own = dot64(one, one, d);
    law.square += own;
    law.variance += own * own * square_variance((double)d);
    for (int j = 0; j < i; j++) {
      const double *two = gradient + j * d;
      double both = dot64(one, two, d), other = dot64(two, two, d);
      law.variance += 4 * ((double)(d + 2) * own * other + both * both);
    }
  }
  law.mean = (double)(d + 1) * law.square;
  return law;
}

#endif
