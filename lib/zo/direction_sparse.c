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

enum { CHUNK = 4096, HIGH = 1 << 16, LOW = 1 << 15 };

/* Counts the magnitudes |w| whose bits above the low 15 are `high`, by their low bits; high < 0: all, by
 * these high bits.  The bits of a magnitude are in its order. */
static void count_magnitudes(const struct zf_param *param, int64_t high, int64_t *count) {
  float w[CHUNK];
  memset(count, 0, (size_t)(high < 0 ? HIGH : LOW) * sizeof *count);
  for (int64_t at = 0; at < param->count; at += CHUNK) {
    int64_t part = param->count - at < CHUNK ? param->count - at : CHUNK;
    zf_to_f32(w, (const char *)param->data + zf_dtype_bytes(param->type, at), param->type, part);
    for (int64_t i = 0; i < part; i++) {
      uint32_t bits;
      memcpy(&bits, w + i, sizeof bits);
      bits &= 0x7fffffffu;
      if (high < 0)
        count[bits >> 15]++;
      else if (bits >> 15 == high)
        count[bits & (LOW - 1)]++;
    }
  }
}

/* The place of the number-th one, number from 0; *number: its number among those of this place. */
static int64_t find_place(const int64_t *count, int64_t *number) {
  int64_t place = 0;
  while (*number >= count[place]) *number -= count[place++];
  return place;
}

/* The number-th smallest magnitude, number from 0.  count: HIGH places. */
static float smallest_magnitude(const struct zf_param *param, int64_t number, int64_t *count) {
  float found;
  count_magnitudes(param, -1, count);
  int64_t high = find_place(count, &number);
  count_magnitudes(param, high, count);
  uint32_t bits = (uint32_t)(high << 15 | find_place(count, &number));
  memcpy(&found, &bits, sizeof found);
  return found;
}

static int is_sparse(const struct zf_param *param) {
  return param->trained && param->ndim > 1;
}

static int open_small(struct zf_zo_optimizer *optimizer, struct zf_params *params) {
  int64_t *count = zf_calloc(HIGH, sizeof *count);
  if (!count) return ZF_ENOMEM;
  for (int64_t i = 0; i < params->count; i++) {
    struct zf_param *param = &params->param[i];
    if (!is_sparse(param)) continue;
    int64_t kept = (int64_t)ceil(optimizer->zo.keep * (double)param->count);
    struct zf_noise_shape *shape = &optimizer->shape[i];
    *shape = (struct zf_noise_shape){.limit = smallest_magnitude(param, kept - 1, count)};
    param->shape_of_noise = shape;
  }
  free(count);
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
