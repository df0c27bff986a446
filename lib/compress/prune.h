/* Sets values of a model's matrices to zero by what a calibration text tells of them.
 *
 *   magnitude   |w|, compared within a matrix (Han et al. 2015)
 *   wanda       |w_ij| sqrt(mean square of input j), compared within a row (Sun et al. 2023)
 *   sparsegpt   w^2 / U[p][p]^2 within a row's 128 columns, with error feedback over the columns (Frantar,
 *               Alistarh 2023); U as in inverse.h
 *
 * A pattern N:M keeps N of each M neighbouring columns of a row, whatever the method.
 *
 * Repair finds new values of what is kept, so that outputs on the text are nearest to those of the full
 * matrix: ADMM with a fixed mask (Boza 2024), for D = diag(H)^(1/2), scaled columns and penalty rho:
 *
 *   W = (H + rho I)^-1 (H W0 + rho (Z - U))      Z = mask(W + U)      U = U + W - Z */
#ifndef ZF_COMPRESS_PRUNE_H
#define ZF_COMPRESS_PRUNE_H

#include "base/cplusplus.h"
#include "compress/overlay.h"
#include "compress/walk.h"

ZF_BEGIN_DECLS

struct zf_pruner;                                         /* a row */
const struct zf_pruner *zf_pruner_find(const char *name); /* or NULL */
int zf_pruner_calibrates(const struct zf_pruner *pruner);

struct zf_pruning {
  struct zf_model *model;
  struct zf_overlay *overlay;
  double sparsity;       /* share of a matrix' values that become 0, 0 to 1; without a pattern */
  int keep, of;          /* pattern keep:of; 0: none */
  int repair_iterations; /* of ADMM; 0: no repair.  Needs a text */
  const struct zf_windows *windows; /* NULL: none */
  const char *directory;
  enum zf_compute compute;
  double penalty; /* as of zf_quantization */
  int (*tick)(void *ctx);
  void *ctx;
};

/* Prunes the matrices of all layers; embeddings and head stay.  *zeros, *values: of these matrices.
 * ZF_EUSAGE: a text is needed, or rows are no multiple of the pattern. */
int zf_prune_layers(const struct zf_pruner *pruner, const struct zf_pruning *job, int64_t *zeros,
                    int64_t *values);

ZF_END_DECLS

#endif
