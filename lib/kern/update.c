/* The update, of one step or of many.
 *
 *   for a tile of elements          TILE of them: they stay in cache until all steps are done
 *     for a step
 *       ADD: w <- w + c z  of each term, in place (f32) or in a buffer
 *       other rules: e <- sum of c z in a buffer, then the states and w in place
 *       round to the storage's dtype, and add to the mean
 *     store
 *
 * So a replay of many steps reads and writes the weights once, and its time is that of its noise. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "kern/kern_internal.h"

enum { TILE = 4096, MIN_TILE = ZF_NOISE_BLOCK * 4, TILES_A_THREAD = 4 };

static int changes_nothing(const struct zf_update_step *step) {
  if (step->decay != 0.0f || step->bend) return 0;
  for (int k = 0; k < step->terms; k++)
    if (step->coefficient[k] != 0.0f) return 0;
  return 1;
}

static void decay_weights(float *weights, const struct zf_update_step *step, int64_t count) {
  if (step->decay != 0.0f) zf_kern.add_scaled(weights, weights, weights, -step->decay, count);
}

/* Adds the terms from `from` up to `to`. */
static void add_terms(float *sum, const struct zf_update_step *step, int from, int to,
                      int64_t first, int64_t count) {
  for (int k = from; k < to; k++) /* fma(0, z, -0) would be +0 */
    if (step->coefficient[k] != 0.0f)
      zf_kern.add_noise(sum, step->direction + k, step->coefficient[k], first, count);
}

/* e of the terms from `from` up to `to`. */
static void estimate(float *e, const struct zf_update *update, const struct zf_update_step *step,
                     int from, int to, const float *weights, int64_t first, int64_t count) {
  memset(e, 0, (size_t)count * sizeof *e);
  add_terms(e, step, from, to, first, count);
  if (update->shape) zf_shape_noise(e, update->shape, weights, first, count);
}

/* Moves a moment by e, or by its square. */
static void move_mean(float *restrict mean, const float *restrict e,
                      const struct zf_update_adam *adam, int64_t count) {
  for (int64_t i = 0; i < count; i++) mean[i] = adam->beta[0] * mean[i] + adam->rest[0] * e[i];
}

static void move_square(float *restrict square, const float *restrict e,
                        const struct zf_update_adam *adam, int64_t count) {
  for (int64_t i = 0; i < count; i++)
    square[i] = adam->beta[1] * square[i] + adam->rest[1] * (e[i] * e[i]);
}

/* A rate of 0 would make -0 of a weight +0. */
static void move_weights(float *restrict weights, const float *restrict mean,
                         const float *restrict square, const struct zf_update_adam *adam,
                         int64_t count) {
  if (adam->rate == 0.0f) return;
  for (int64_t i = 0; i < count; i++)
    weights[i] -= adam->rate * mean[i] / (sqrtf(square[i] * adam->scale) + adam->eps);
}

static void move_along(float *restrict weights, const float *restrict mean, float rate,
                       int64_t count) {
  if (rate == 0.0f) return;
  for (int64_t i = 0; i < count; i++) weights[i] -= rate * mean[i];
}

static void move_by_sign(float *restrict weights, const float *restrict e, float rate,
                         int64_t count) {
  if (rate == 0.0f) return;
  for (int64_t i = 0; i < count; i++)
    weights[i] = e[i] > 0 ? weights[i] - rate : e[i] < 0 ? weights[i] + rate : weights[i];
}

static void keep_larger(float *restrict largest, const float *restrict square, int64_t count) {
  for (int64_t i = 0; i < count; i++)
    if (square[i] > largest[i]) largest[i] = square[i];
}

/* Both moments of a window, from the estimates of its steps. */
static void window_moments(float *restrict mean, float *restrict square,
                           const struct zf_update *update, const struct zf_update_step *step,
                           const float *weights, int64_t first, int64_t count) {
  const struct zf_update_window *window = &step->window;
  float e[TILE];
  memset(mean, 0, (size_t)count * sizeof *mean);
  memset(square, 0, (size_t)count * sizeof *square);
  for (int j = 0; j < window->steps; j++) {
    estimate(e, update, step, j ? window->end[j - 1] : 0, window->end[j], weights, first, count);
    for (int64_t i = 0; i < count; i++) {
      mean[i] += window->first[j] * e[i];
      square[i] += window->second[j] * (e[i] * e[i]);
    }
  }
}

static void bend_curvature(float *curvature, const struct zf_update_step *step, int64_t first,
                           int64_t count) {
  float z[ZF_CHUNK], before[ZF_CHUNK];
  for (int64_t at = 0; at < count; at += ZF_CHUNK) {
    int64_t part = zf_min64(count - at, ZF_CHUNK);
    float *h = curvature + first + at;
    memcpy(before, h, (size_t)part * sizeof *h);
    for (int64_t i = 0; i < part; i++) h[i] *= step->keep_curvature;
    for (int k = 0; k < step->terms; k++) {
      if (step->bend[k] == 0.0f) continue;
      zf_kern.noise(z, step->direction + k, first + at, part);
      for (int64_t i = 0; i < part; i++) h[i] += step->bend[k] * before[i] * (z[i] * z[i]);
    }
    for (int64_t i = 0; i < part; i++) h[i] = h[i] > 0x1p-40f ? h[i] : 0x1p-40f;
  }
}

/* One step in f32, on the count <= TILE elements from index `first`. */
static void take_step(float *weights, const struct zf_update *update,
                      const struct zf_update_step *step, int64_t first, int64_t count) {
  float e[TILE], square[TILE];
  const struct zf_update_adam *adam = &step->adam;
  float *mean = update->state[0] ? update->state[0] + first : NULL,
        *variance = update->state[1] ? update->state[1] + first : NULL;
  int in_place = update->rule == ZF_UPDATE_ADD && !update->shape;
  if (update->rule == ZF_UPDATE_WINDOW)
    window_moments(e, square, update, step, weights, first, count);
  else if (!in_place)
    estimate(e, update, step, 0, step->terms, weights, first, count);
  decay_weights(weights, step, count);
  switch (update->rule) {
    case ZF_UPDATE_ADD:
      if (in_place)
        add_terms(weights, step, 0, step->terms, first, count);
      else
        zf_kern.add(weights, e, count);
      break;
    case ZF_UPDATE_SIGN:
      move_by_sign(weights, e, adam->rate, count);
      break;
    case ZF_UPDATE_MOMENTUM:
      move_mean(mean, e, adam, count);
      move_along(weights, mean, adam->rate, count);
      break;
    case ZF_UPDATE_ADAM:
      move_mean(mean, e, adam, count);
      move_square(variance, e, adam, count);
      move_weights(weights, mean, variance, adam, count);
      break;
    case ZF_UPDATE_AMSGRAD:
      move_mean(mean, e, adam, count);
      move_square(variance, e, adam, count);
      keep_larger(update->state[2] + first, variance, count);
      move_weights(weights, mean, update->state[2] + first, adam, count);
      break;
    case ZF_UPDATE_WINDOW:
      move_weights(weights, e, square, adam, count);
      break;
  }
  if (step->bend) bend_curvature(update->curvature, step, first, count);
}

/* 1 where the step changes neither weights nor states. */
static int is_idle(const struct zf_update *update, const struct zf_update_step *step) {
  return (update->rule == ZF_UPDATE_ADD || update->rule == ZF_UPDATE_SIGN) && changes_nothing(step);
}

/* Rounds with random words: to the type, or, in Q8_0, to integers times the scales that stand there. */
static void round_with(void *stored, enum zf_dtype type, const float *values, const uint32_t *words,
                       int64_t count) {
  if (type == ZF_Q8_0)
    zf_kern.round_integers(stored, values, words, count);
  else
    zf_kern.round_stochastically(stored, values, words, type, count);
}

static void round_to(void *stored, const float *values, enum zf_dtype type,
                     const struct zf_noise *round, int64_t first, int64_t count) {
  uint32_t words[TILE];
  zf_kern.random_words(words, round, first, count);
  round_with(stored, type, values, words, count);
}

void zf_round(void *stored, enum zf_dtype type, const float *values, const struct zf_noise *round,
              int64_t first, int64_t count) {
  for (int64_t i = 0; i < count; i += TILE)
    round_to((char *)stored + zf_dtype_bytes(type, i), values + i, type, round, first + i,
             zf_min64(count - i, TILE));
}

static void begin_mean(double *mean, const float *weights, double start, int64_t count) {
  for (int64_t i = 0; i < count; i++) mean[i] = start * (double)weights[i];
}

static void add_mean(double *mean, const float *weights, const struct zf_update_step *step,
                     int64_t count) {
  if (step->keep == 1.0 && step->add == 0.0) return;
  for (int64_t i = 0; i < count; i++)
    mean[i] = step->keep * mean[i] + step->add * (double)weights[i];
}

static void end_mean(void *stored, enum zf_dtype type, const double *mean, float *weights,
                     int64_t count) {
  uint32_t half[TILE];
  for (int64_t i = 0; i < count; i++) weights[i] = (float)mean[i];
  if (stored == (void *)weights) return;
  if (type < ZF_DTYPES) {
    zf_from_f32(stored, weights, type, count);
    return;
  }
  for (int64_t i = 0; i < count; i++) half[i] = 1u << 31; /* to the nearest integer */
  round_with(stored, type, weights, half, count);
}

/* All steps on the count <= TILE elements from index `first` of the parameter. */
static void update_tile(const struct zf_update *update, void *stored, enum zf_dtype type,
                        int64_t first, int64_t count) {
  float buffer[TILE], *weights = type == ZF_F32 ? stored : buffer;
  double mean[TILE];
  if (weights == buffer) zf_kern.expand(weights, stored, type, count);
  if (update->mean) begin_mean(mean, weights, update->start, count);
  for (int64_t number = 0; number < update->steps; number++) {
    const struct zf_update_step *step = update->step + number;
    if (!is_idle(update, step)) {
      take_step(weights, update, step, first, count);
      if (weights == buffer) {
        round_to(stored, weights, type, &step->round, first, count);
        if (update->mean || number + 1 < update->steps)
          zf_kern.expand(weights, stored, type, count);
      }
    }
    if (update->mean) add_mean(mean, weights, step, count);
  }
  if (update->mean) end_mean(stored, type, mean, weights, count);
}

/* Elements of a tile: small enough to give every thread tiles; for a single step, small enough for
 * the first cache. */
static int64_t tile_of(const struct zf_update *update, int64_t count, int team) {
  int64_t elements = count / (team * TILES_A_THREAD) / ZF_NOISE_BLOCK * ZF_NOISE_BLOCK;
  int64_t max = update->steps > 1 ? TILE : ZF_CHUNK;
  if (elements > max) return max;
  return elements < MIN_TILE ? MIN_TILE : elements;
}

static int64_t work_of(const struct zf_update *update, int64_t count) {
  int64_t terms = update->steps ? update->step->terms : 0;
  return count * ZF_NOISE_WORK * (terms + 1) * update->steps;
}

void zf_update(void *weights, enum zf_dtype type, int64_t count, const struct zf_update *update) {
  assert(type < ZF_DTYPES || (type == ZF_Q8_0 && count % 32 == 0));
  assert(update->rule < ZF_UPDATE_MOMENTUM || update->rule == ZF_UPDATE_WINDOW || update->state[0]);
  if (update->steps == 1 && !update->mean && is_idle(update, update->step)) return;
  int team = zf_kern_team(work_of(update, count));
  int64_t tile = tile_of(update, count, team);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t i = 0; i < count; i += tile)
    update_tile(update, (char *)weights + zf_dtype_bytes(type, i), type, i,
                zf_min64(count - i, tile));
}
