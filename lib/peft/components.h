/* Principal components of rows that arrive in batches, by an incremental singular value decomposition.
 *
 * With the components so far S V^T and new rows X, the next ones are the largest right singular vectors of
 * [S V^T; X] (Ross et al. 2008, without the mean: a linear layer's gradient lies in the span of its
 * inputs, and their mean is part of it).  Each is found by subspace iteration (Halko et al. 2011) with
 * products in f32 and everything else in double, in a fixed order: the same bits for any number of
 * threads and any instruction set. */
#ifndef ZF_PEFT_COMPONENTS_H
#define ZF_PEFT_COMPONENTS_H

#include <stdint.h>

#include "base/cplusplus.h"

ZF_BEGIN_DECLS

/* Makes rows [count, width] orthonormal, each against those before it, twice (Gram and Schmidt).  A row
 * that depends on the others becomes 0. */
void zf_orthonormalize(float *rows, int64_t count, int64_t width);

struct zf_components {
  int64_t count, width; /* components, values of a row */
  float *vector;  /* [count][width] orthonormal rows, the largest first; zeros before rows came */
  double *square; /* [count] squares of their singular values */
  double energy;  /* sum of squares of all rows that came */
};

/* Memory for the iterations of all components of a model. */
struct zf_components_work;
int zf_components_work_new(struct zf_components_work **out, int64_t count, int64_t width,
                           int64_t rows);
void zf_components_work_free(struct zf_components_work *work); /* takes NULL */

/* count <= width.  ZF_ENOMEM. */
int zf_components_init(struct zf_components *components, int64_t count, int64_t width);
void zf_components_free(struct zf_components *components);

/* Adds x [rows, width], row stride ld; at most the `rows` of `work`.  The drivers' workspace is set
 * (zf_kern_workspace). */
void zf_components_add(struct zf_components *components, struct zf_components_work *work,
                       const float *x, int64_t ld, int64_t rows);

ZF_END_DECLS

#endif
