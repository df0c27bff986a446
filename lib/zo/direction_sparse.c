/* Directions on a part of the elements of each matrix; vectors move as a whole. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "zo/direction.h"

static int check_share(const struct zf_zo *zo) {
  if (zo->keep > 0 && zo->keep <= 1) return 0;
  return zf_error(ZF_EUSAGE, "zo_keep: expected a share above 0 and at most 1, found %g", zo->keep);
}

/* The float whose bits are the number-th smallest of |w|, number from 0: bit by bit from the top, each a
 * count over all elements. */
static int smallest_magnitude(const struct zf_param *param, int64_t number, float *out) {
  enum { CHUNK = 4096 };
  float w[CHUNK];
  uint32_t found = 0;
  for (int bit = 30; bit >= 0; bit--) {
    uint32_t below = found | 1u << bit;
    int64_t count = 0;
    for (int64_t at = 0; at < param->count; at += CHUNK) {
      int64_t part = param->count - at < CHUNK ? param->count - at : CHUNK;
      zf_to_f32(w, (const char *)param->data + zf_dtype_bytes(param->type, at), param->type, part);
      for (int64_t i = 0; i < part; i++) {
        uint32_t bits;
        memcpy(&bits, w + i, sizeof bits);
        count += (bits & 0x7fffffffu) < below;
      }
    }
    if (count <= number) found = below;
  }
  memcpy(out, &found, sizeof found);
  return 0;
}

static int is_sparse(const struct zf_param *param) {
  return param->trained && param->ndim > 1;
}

static int open_small(struct zf_zo_optimizer *optimizer, struct zf_params *params) {
  for (int64_t i = 0; i < params->count; i++) {
    struct zf_param *param = &params->param[i];
    if (!is_sparse(param)) continue;
    int64_t kept = (int64_t)ceil(optimizer->zo.keep * (double)param->count);
    struct zf_noise_shape *shape = &optimizer->shape[i];
    *shape = (struct zf_noise_shape){.limit = INFINITY};
    smallest_magnitude(param, kept - 1, &shape->limit);
    param->shape_of_noise = shape;
  }
  return 0;
}

/* Elements are drawn by the words of the seed of step 1 (engine.c). */
static int open_random(struct zf_zo_optimizer *optimizer, struct zf_params *params) {
  for (int64_t i = 0; i < params->count; i++) {
    struct zf_param *param = &params->param[i];
    if (!is_sparse(param) || optimizer->zo.keep >= 1) continue;
    optimizer->mask[i] =
        (struct zf_noise){.seed = optimizer->zo.seed, .use = ZF_USE_SAMPLE, .param = param->id};
    optimizer->shape[i] =
        (struct zf_noise_shape){.limit = INFINITY,
                                .mask = &optimizer->mask[i],
                                .mask_end = (uint32_t)(optimizer->zo.keep * 0x1p32)};
    param->shape_of_noise = &optimizer->shape[i];
  }
  return 0;
}

const struct zf_direction zf_direction_small = {
    .name = "small", .kind = -1, .base_only = 1, .check = check_share, .open = open_small};

const struct zf_direction zf_direction_random = {
    .name = "random", .kind = -1, .check = check_share, .open = open_random};
