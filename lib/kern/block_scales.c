/* Elements of a W stored in blocks whose scales are changed (kern.h, struct zf_weight). */
#include <assert.h>
#include <math.h>

#include "kern/kern_internal.h"

static float stored_scale(const unsigned char *block, int offset) {
  return zf_f16_to_f32((uint16_t)(block[offset] | block[offset + 1] << 8));
}

void zf_kern_expand_changed(float *dst, const struct zf_weight *weight, const void *blocks,
                            int64_t first, int64_t count, const float *noise, float factor) {
  const struct zf_dtype_info *info = zf_dtype_info(weight->type);
  const float *change = weight->scale_change + zf_dtype_scales(weight->type, first);
  const unsigned char *block = blocks;
  float scale[ZF_TILE_SCALES];
  int64_t scales = zf_dtype_scales(weight->type, count);
  assert(scales <= ZF_TILE_SCALES && weight->input_stride == 1);
  for (int64_t i = 0; i < scales; i += info->nscale, block += info->size)
    for (int j = 0; j < info->nscale; j++) {
      float u = noise ? fmaf(factor, noise[i + j], change[i + j]) : change[i + j],
            s = stored_scale(block, info->scale[j]);
      scale[i + j] = fmaf(u, s, s);
    }
  zf_kern.expand_blocks(dst, blocks, weight->type, count, scale);
}
