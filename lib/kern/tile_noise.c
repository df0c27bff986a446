/* The noise of the tiles that a product packs. */
#include <string.h>

#include "kern/kern_internal.h"

struct zf_tile_noise zf_tile_noise_of(const struct zf_weight *weight, int64_t o0, int64_t k0,
                                      int64_t k) {
  struct zf_tile_noise tile = {weight->first + o0 * weight->output_stride + k0,
                               weight->output_stride, k};
  if (!weight->scale_change) return tile;
  return (struct zf_tile_noise){zf_dtype_scales(weight->type, tile.first),
                                zf_dtype_scales(weight->type, tile.stride),
                                zf_dtype_scales(weight->type, tile.count)};
}

void zf_tile_noise_make(const struct zf_tile_noise *tile, const struct zf_noise *noise, float *z,
                        int64_t rows) {
  float together[ZF_LANES * ZF_NOISE_BLOCK];
  if (tile->count < ZF_NOISE_BLOCK && tile->stride == tile->count) {
    zf_kern.noise(together, noise, tile->first, rows * tile->count);
    for (int64_t row = 0; row < rows; row++)
      memcpy(z + row * ZF_KC, together + row * tile->count, (size_t)tile->count * sizeof *z);
    return;
  }
  for (int64_t row = 0; row < rows; row++)
    zf_kern.noise(z + row * ZF_KC, noise, tile->first + row * tile->stride, tile->count);
}

void zf_tile_noise_shape(const struct zf_weight *weight, const struct zf_tile_noise *tile, float *z,
                         const float *src, int64_t stride, int64_t rows) {
  if (!weight->shape) return;
  if (weight->scale_change) {
    src = weight->scale_change + tile->first;
    stride = tile->stride;
  }
  for (int64_t row = 0; row < rows; row++)
    zf_shape_noise(z + row * ZF_KC, weight->shape, src + row * stride,
                   tile->first + row * tile->stride, tile->count);
}

void zf_tile_noise_mix(const struct zf_weight *weight, const struct zf_streams *streams,
                       struct zf_thread_space *space, const struct zf_tile_noise *tile,
                       int64_t rows) {
  for (int stream = 0; stream < streams->count; stream++)
    memset(space->mix[stream], 0, ZF_LANES * ZF_KC * sizeof(float));
  for (int term = 0; term < streams->terms; term++) {
    zf_tile_noise_make(tile, weight->noise + term, space->noise, rows);
    for (int stream = 0; stream < streams->count; stream++) {
      float factor = streams->mix[stream * streams->terms + term], *sum = space->mix[stream];
      if (factor != 0.0f && zf_kern_only_term(streams, stream) >= 0) factor = 1;
      for (int64_t row = 0; row < (factor != 0.0f ? rows : 0); row++, sum += ZF_KC)
        zf_kern.add_scaled(sum, sum, space->noise + row * ZF_KC, factor, tile->count);
    }
  }
}
