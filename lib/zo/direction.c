/* The table of directions, and those that are noise as it is. */
#include "zo/direction.h"

#include <math.h>

const struct zf_direction *const zf_directions[ZF_FORMS] = {
    [ZF_FORM_DENSE] = &zf_direction_dense,       [ZF_FORM_SPHERE] = &zf_direction_sphere,
    [ZF_FORM_SMALL] = &zf_direction_small,       [ZF_FORM_RANDOM] = &zf_direction_random,
    [ZF_FORM_LOW_RANK] = &zf_direction_low_rank, [ZF_FORM_SUBSPACE] = &zf_direction_subspace,
    [ZF_FORM_BLOCKS] = &zf_direction_blocks,     [ZF_FORM_CONE] = &zf_direction_cone,
    [ZF_FORM_SCALED] = &zf_direction_scaled,
};

const struct zf_direction zf_direction_dense = {.name = "dense", .kind = -1};

const struct zf_direction zf_direction_blocks = {.name = "blocks", .kind = -1};

const struct zf_direction zf_direction_scaled = {
    .name = "scaled", .kind = -1, .states = 1u << ZF_STATE_CURVATURE};

/* --- the sphere --- */

enum { CHUNK = 4096 };

/* Sum of squares of the noise over all trained parameters, chunk after chunk in double. */
static double sum_squares(const struct zf_params *params, struct zf_noise noise) {
  double sum = 0;
  float z[CHUNK];
  for (int64_t i = 0; i < params->count; i++) {
    const struct zf_param *param = &params->param[i];
    noise.param = param->id;
    for (int64_t at = 0; param->trained && at < param->count; at += CHUNK) {
      int64_t count = param->count - at < CHUNK ? param->count - at : CHUNK;
      double part = 0;
      zf_noise_fill(z, &noise, at, count);
      for (int64_t j = 0; j < count; j++) part += (double)z[j] * (double)z[j];
      sum += part;
    }
  }
  return sum;
}

static void begin_sphere(struct zf_zo_optimizer *optimizer, uint32_t step, uint64_t seed) {
  double dimensions = (double)zf_params_count(optimizer->params, 1);
  if (optimizer->step != step) return; /* a replay has the lengths in its terms */
  for (int i = 0; i < optimizer->zo.probes; i++) {
    struct zf_noise noise =
        zf_perturb_along(seed, step, (uint16_t)i, optimizer->zo.direction, 0).direction;
    optimizer->factor[i] = sqrt(dimensions / sum_squares(optimizer->params, noise));
  }
}

static int expand_sphere(const struct zf_zo_optimizer *optimizer, int probe,
                         struct zf_zo_term *term) {
  term[0] = (struct zf_zo_term){optimizer->factor[probe], optimizer->step, (uint16_t)probe, 0};
  return 1;
}

const struct zf_direction zf_direction_sphere = {
    .name = "sphere", .kind = ZF_GAUSSIAN, .begin = begin_sphere, .expand = expand_sphere};
