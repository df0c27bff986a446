/* A type for each matrix under a size, by measured sensitivity.
 *
 * Of each matrix t, alone quantised to a probe type, the KL divergence of the predictions from the model's
 * own is measured on a text: two forward passes.  The divergence at another type is taken to grow with the
 * squared error e of the values, and divergences to add up:
 *
 *   KL_t(type) = KL_t(probe) e_t(type) / e_t(probe)
 *
 * From the smallest type of each matrix on, the step to the next larger one that lowers the sum of
 * divergences most for each byte is taken, as long as the size allows. */
#ifndef ZF_COMPRESS_ASSIGN_H
#define ZF_COMPRESS_ASSIGN_H

#include "base/cplusplus.h"
#include "compress/quantizer.h"

ZF_BEGIN_DECLS

struct zf_assignment {
  enum zf_dtype *type; /* [params.count]; f32 for what is no matrix */
  double *sensitivity; /* [params.count] KL of each matrix alone at the probe type, nats */
  int64_t bytes;       /* of all parameters in their types */
  double divergence;   /* sum of the expected divergences */
};
void zf_assignment_free(struct zf_assignment *assignment); /* takes a zeroed one */

/* `job`: model, overlay, imatrix, windows (the text; one or two windows serve), compute, tick (called after
 * each matrix).  reference: the same model, unchanged.  ZF_EUSAGE: no types fit into `bytes`. */
int zf_assign_types(struct zf_assignment *out, const struct zf_quantization *job,
                    const struct zf_model *reference, int64_t bytes);

ZF_END_DECLS

#endif
