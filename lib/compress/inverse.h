/* The factor of an inverse second-moment matrix that methods with error feedback need. */
#ifndef ZF_COMPRESS_INVERSE_H
#define ZF_COMPRESS_INVERSE_H

#include <stdint.h>

#include "base/cplusplus.h"

ZF_BEGIN_DECLS

/* Replaces the lower triangle of `matrix` [n][n], symmetric, by that of L^-1, where
 * matrix + penalty * (mean of its diagonal) * I = L L^T.  A diagonal of 0, of an input that never occurs,
 * becomes the mean.  Sums are double in a fixed order.  Returns 0, or ZF_EFAIL where the matrix is not
 * positive definite: a larger penalty helps. */
int zf_inverse_factor(float *matrix, int64_t n, double penalty);

/* The same with an upper triangle U, U^T U = (matrix + ...)^-1.  With the values of a row handled from the
 * first to the last, U[p][t] / U[p][p] is the share of an error at p that value t > p makes good best
 * (Frantar et al., "GPTQ", 2022). */
int zf_inverse_upper(float *matrix, int64_t n, double penalty);

ZF_END_DECLS

#endif
