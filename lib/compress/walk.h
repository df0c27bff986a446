/* A walk over a model layer by layer: all windows of a calibration text pass through one layer before any
 * of them enters the next one, so that a method that changes a layer by what its products read needs
 * memory for one layer alone.
 *
 * The residual stream of all windows lies in a temporary file without a name; one window of it is in
 * memory. */
#ifndef ZF_COMPRESS_WALK_H
#define ZF_COMPRESS_WALK_H

#include "base/cplusplus.h"
#include "eval/divergence.h"
#include "model/forward.h"

ZF_BEGIN_DECLS

struct zf_walk;

/* `model` and `windows` outlive the walk; `directory` holds the temporary file.  Embeddings and what else
 * stands before the first layer have run.  ZF_EIO, ZF_ENOMEM; ZF_EUSAGE: a window is longer than the
 * model's context. */
int zf_walk_new(struct zf_walk **out, const struct zf_model *model,
                const struct zf_windows *windows, const char *directory, enum zf_compute compute);
void zf_walk_free(struct zf_walk *walk); /* takes NULL */

/* Runs the operations of layer `layer` on every window, from the inputs that the walk holds for it.
 * `watch` (may be NULL) sees the inputs of the layer's products.  keep: what the layer puts out becomes
 * what the walk holds, the inputs of the next layer; else the walk stays in front of `layer`.
 * `tick` (may be NULL) is called after each window; where it returns nonzero, the result is
 * ZF_ESTOPPED. */
int zf_walk_layer(struct zf_walk *walk, int64_t layer, int keep, zf_forward_watch watch, void *ctx,
                  int (*tick)(void *ctx), void *tick_ctx);

/* Runs layer `layer` as with keep; *out: 1 - the mean over all tokens of the cosine of what goes into the
 * layer and what comes out of it. */
int zf_walk_influence(struct zf_walk *walk, int64_t layer, double *out, int (*tick)(void *ctx),
                      void *tick_ctx);

ZF_END_DECLS

#endif
