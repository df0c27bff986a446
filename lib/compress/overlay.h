/* New values for parameters of an opened model, in a temporary file without a name that is mapped: the
 * model then computes with them and is saved with them, and memory holds only the pages in use. */
#ifndef ZF_COMPRESS_OVERLAY_H
#define ZF_COMPRESS_OVERLAY_H

#include "base/cplusplus.h"
#include "model/model.h"

ZF_BEGIN_DECLS

struct zf_overlay;

/* `directory` holds the temporary file.  The model owns the overlay: it is freed with it.  ZF_EIO,
 * ZF_ENOMEM. */
int zf_overlay_new(struct zf_overlay **out, struct zf_model *model, const char *directory);

/* *data: room for the values of parameter `number` in `type`, zeroed, in the order of the parameter; a
 * matrix in blocks always as a product sees it, [out][in], also where the checkpoint stores it
 * transposed.  The model goes on reading what it read until zf_overlay_use. */
int zf_overlay_reserve(struct zf_overlay *overlay, int32_t number, enum zf_dtype type, void **data);

/* The model reads the reserved values of parameter `number` from now on. */
void zf_overlay_use(struct zf_overlay *overlay, int32_t number);

/* The values of parameter `number` that the checkpoint has are used again. */
void zf_overlay_revert(struct zf_overlay *overlay, int32_t number);

/* Releases the memory of all replaced values; reading them brings their pages back. */
void zf_overlay_drop(struct zf_overlay *overlay);

ZF_END_DECLS

#endif
