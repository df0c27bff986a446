/* Error feedback: the values of a matrix' rows are changed one after the other, and those not yet handled
 * are moved so that the product's outputs on the calibration text change least (Hassibi, Stork 1993;
 * Frantar et al., "GPTQ" and "SparseGPT", 2022 and 2023).
 *
 * Columns are handled from the first to the last, in blocks.  With U of zf_inverse_upper:
 *
 *   q_p = decide(w_p)      e = (w_p - q_p) / U[p][p]      w_t = w_t - e U[p][t]   for t > p */
#ifndef ZF_COMPRESS_FEEDBACK_H
#define ZF_COMPRESS_FEEDBACK_H

#include <stdint.h>

#include "base/cplusplus.h"

ZF_BEGIN_DECLS

struct zf_feedback {
  int64_t block; /* columns of a block */
  /* Row `row` of the matrix comes to the block of columns first..first + count; w are its values there
   * now.  Called from several threads, for different rows. */
  void (*begin)(void *ctx, int64_t row, int64_t first, int64_t count, const float *w);
  /* The new value of column p, whose value is w now. */
  float (*decide)(void *ctx, int64_t row, int64_t p, float w);
  void *ctx;
};

/* Replaces w [rows][n], which is rows from `first_row` on.  factor [n][n]: its upper triangle.  The same bits for any
 * number of threads. */
void zf_feedback_rows(float *w, int64_t first_row, int64_t rows, const float *factor, int64_t n,
                      const struct zf_feedback *feedback);

ZF_END_DECLS

#endif
