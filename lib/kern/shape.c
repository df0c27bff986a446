/* Directions: noise that is shaped on a parameter, and sums of several. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "kern/kern_internal.h"

static void mask_noise(float *z, const struct zf_noise_shape *shape, int64_t first, int64_t count) {
  uint32_t words[ZF_CHUNK];
  for (int64_t i = 0; i < count; i += ZF_CHUNK) {
    int64_t part = zf_min64(count - i, ZF_CHUNK);
    zf_kern.random_words(words, shape->mask, first + i, part);
    for (int64_t j = 0; j < part; j++)
      if (words[j] >= shape->mask_end) z[i + j] = 0;
  }
}

/* NaN counts as above the limit. */
static void limit_noise(float *z, const struct zf_noise_shape *shape, const float *w,
                        int64_t count) {
  for (int64_t i = 0; i < count; i++) z[i] = fabsf(w[i]) <= shape->limit ? z[i] : 0;
}

void zf_shape_noise(float *z, const struct zf_noise_shape *shape, const float *w, int64_t first,
                    int64_t count) {
  if (shape->limit < INFINITY) limit_noise(z, shape, w, count);
  if (shape->mask) mask_noise(z, shape, first, count);
  if (shape->curvature)
    for (int64_t i = 0; i < count; i++) z[i] /= sqrtf(shape->curvature[first + i]);
}

int zf_kern_only_term(const struct zf_streams *streams, int stream) {
  const float *mix = streams->mix + stream * streams->terms;
  int only = -1;
  for (int k = 0; k < streams->terms; k++) {
    if (mix[k] == 0.0f) continue;
    if (only >= 0) return -1;
    only = k;
  }
  return only;
}

float zf_kern_mix(float *sum, const struct zf_noise *noise, const struct zf_noise_shape *shape,
                  const struct zf_streams *streams, int stream, const float *w, int64_t first,
                  int64_t count) {
  if (streams->terms < 2) {
    zf_kern.noise(sum, noise, first, count);
    if (shape) zf_shape_noise(sum, shape, w, first, count);
    return streams->eps[stream];
  }
  const float *mix = streams->mix + stream * streams->terms;
  int only = zf_kern_only_term(streams, stream);
  if (only >= 0) {
    zf_kern.noise(sum, noise + only, first, count);
    if (shape) zf_shape_noise(sum, shape, w, first, count);
    return mix[only];
  }
  memset(sum, 0, (size_t)count * sizeof *sum);
  for (int k = 0; k < streams->terms; k++)
    if (mix[k] != 0.0f) zf_kern.add_noise(sum, noise + k, mix[k], first, count);
  if (shape) zf_shape_noise(sum, shape, w, first, count);
  return 1;
}
