/* Quantises the matrices of a model's layers by methods that see a calibration text.
 *
 *   rtn    each value to the nearest of its block's grid; with importance, the grid is chosen for the
 *          errors of the columns that matter (zf_quantize)
 *   gptq   error feedback over the columns (Frantar et al. 2022), layer after layer: a layer sees the
 *          inputs that the quantised layers before it put out
 *   awq    columns with large inputs are scaled up before they are rounded, and the operation in front of
 *          them is scaled down (Lin et al. 2023): s_j = (mean square of input j)^(alpha / 2), alpha of a
 *          grid by the least output error; the scale goes into the norm or the product in front
 *
 * New values go into an overlay of the model (overlay.h). */
#ifndef ZF_COMPRESS_QUANTIZER_H
#define ZF_COMPRESS_QUANTIZER_H

#include "base/cplusplus.h"
#include "compress/imatrix.h"
#include "compress/overlay.h"

ZF_BEGIN_DECLS

struct zf_quantize_method; /* a row */
const struct zf_quantize_method *
zf_quantize_method_find(const char *name); /* "rtn", "gptq", "awq"; or NULL */
int zf_quantize_method_calibrates(
    const struct zf_quantize_method *quantizer); /* 1 where it needs a text */

struct zf_quantization {
  struct zf_model *model;
  struct zf_overlay *overlay;
  const enum zf_dtype *type;        /* [params.count]: that each parameter gets */
  const struct zf_imatrix *imatrix; /* NULL: none; for rtn */
  const struct zf_windows *windows; /* the calibration text; NULL: none */
  const char *directory;            /* of temporary files */
  enum zf_compute compute;
  double penalty; /* of gptq: added to the diagonal of the second moments, times their mean; 0.01 */
  int (*tick)(void *ctx); /* called after each window of a layer and each matrix; nonzero stops */
  void *ctx;
};

/* ZF_EUSAGE: the method needs a text, and there is none.  ZF_ESTOPPED. */
int zf_quantize_layers(const struct zf_quantize_method *quantizer,
                       const struct zf_quantization *job);

/* Quantises one parameter's matrix as it is.  importance [columns] or NULL. */
int zf_quantize_param(const struct zf_quantization *job, int32_t number, const float *importance);

ZF_END_DECLS

#endif
