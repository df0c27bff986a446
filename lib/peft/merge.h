/* Folds attached adapters into the weights of their base.
 *
 *   LoRA, rsLoRA        W' = W + s B A
 *   DoRA                W' = m / |W + s B A| (W + s B A), row by row
 *   VeRA                W' = W + b * (B (d * A))
 *   IA3                 W' = l W and bias' = l bias, or W' = W l for a vector of inputs
 *   trainable tokens    rows of the embedding, and of a head that is tied to it
 *   weight, bias        the adapter's tensor (norms, biases, modules_to_save)
 *
 * A prompt or prefix is made of tokens that no weight holds: it cannot be merged.  Where the head is tied to
 * the embedding and the adapters change one of them alone, the result has a head of its own.
 *
 * Sums run in double, over the rank ascending, and are rounded once to f32; zf_model_save_values rounds to
 * narrower dtypes.  Values are computed as they are written: no changed tensor is in memory as a whole. */
#ifndef ZF_PEFT_MERGE_H
#define ZF_PEFT_MERGE_H

#include "base/cplusplus.h"
#include "peft/adapter.h"

ZF_BEGIN_DECLS

struct zf_adapter_merge;

/* `model`: a base to which the adapters of `file` are attached, all of them and in this order.  Model and
 * adapters outlive *out.  ZF_EUSAGE: an adapter cannot be merged. */
int zf_merge_new(struct zf_adapter_merge **out, const struct zf_model *model,
                 struct zf_adapter_file *const *file, int64_t count);
void zf_merge_free(struct zf_adapter_merge *merge); /* takes NULL */

/* The merged weights for zf_model_save_values.  `tick` and its `ctx` of the caller (may be NULL) are asked
 * often whether to stop. */
const struct zf_save_values *zf_merge_values(struct zf_adapter_merge *merge, int (*tick)(void *ctx),
                                             void *ctx);

/* Number of tensors of the base that change; *unties: 1 where the result has a head of its own, and the
 * base has none. */
int64_t zf_merge_count(const struct zf_adapter_merge *merge, int *unties);

ZF_END_DECLS

#endif
