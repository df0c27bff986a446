/* Second moments of the inputs of a product, from a calibration text.
 *
 *   square[j] = sum over rows of x_j^2           full[i][j] = sum over rows of x_i x_j
 *
 * The error of a changed matrix W + D on the text is then known without another pass:
 * sum over rows of |D x|^2 = sum over rows d of D of d full d^T. */
#ifndef ZF_COMPRESS_MOMENTS_H
#define ZF_COMPRESS_MOMENTS_H

#include <stdint.h>

#include "base/cplusplus.h"

ZF_BEGIN_DECLS

struct zf_moments {
  int64_t width, rows;
  double *square; /* [width] */
  float *full;    /* [width][width], the lower triangle until zf_moments_mirror; NULL: not wanted */
  float *transposed; /* scratch [chunk][most rows] */
  int64_t most_rows;
};

/* For batches of at most `most_rows` rows.  ZF_ENOMEM. */
int zf_moments_init(struct zf_moments *moments, int64_t width, int full, int64_t most_rows);
void zf_moments_free(struct zf_moments *moments); /* takes a zeroed one */
void zf_moments_clear(struct zf_moments *moments);

/* Adds x [rows][width], row stride ld.  The drivers' workspace is set (zf_kern_workspace).  Sums of
 * `full` are f32 in a fixed order, those of `square` double: the same bits for any number of threads. */
void zf_moments_add(struct zf_moments *moments, const float *x, int64_t ld, int64_t rows);

/* Copies the lower triangle to the upper one. */
void zf_moments_mirror(struct zf_moments *moments);

/* out[width]: mean squares, the importance of columns for zf_quantize. */
void zf_moments_importance(const struct zf_moments *moments, float *out);

ZF_END_DECLS

#endif
