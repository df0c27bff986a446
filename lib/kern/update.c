/* The update, of one step or of many.
 *
 *   for a tile of elements          TILE of them: they stay in cache until all steps are done
 *     for a step
 *       w <- w + c z  of each term, in place (f32) or in a buffer
 *       or Adam: e <- sum of c z in a buffer, then m, v and w in place
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
  if (step->decay != 0.0f) return 0;
  for (int k = 0; k < step->terms; k++)
    if (step->coefficient[k] != 0.0f) return 0;
  return 1;
}

static void decay_weights(float *weights, const struct zf_update_step *step, int64_t count) {
  if (step->decay != 0.0f) zf_kern.add_scaled(weights, weights, weights, -step->decay, count);
}

static void add_terms(float *sum, const struct zf_update_step *step, int64_t first, int64_t count) {
  for (int k = 0; k < step->terms; k++) /* fma(0, z, -0) would be +0 */
    if (step->coefficient[k] != 0.0f)
      zf_kern.add_noise(sum, step->direction + k, step->coefficient[k], first, count);
}

/* One step in f32. */
static void step_f32(float *weights, const struct zf_update_step *step, int64_t first,
                     int64_t count) {
  decay_weights(weights, step, count);
  add_terms(weights, step, first, count);
}

/* Moves both moments by the estimate e. */
static void move_moments(float *restrict mean, float *restrict square, const float *restrict e,
                         const struct zf_update_adam *adam, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    mean[i] = adam->beta[0] * mean[i] + adam->rest[0] * e[i];
    square[i] = adam->beta[1] * square[i] + adam->rest[1] * (e[i] * e[i]);
  }
}

/* A rate of 0 would make -0 of a weight +0. */
static void move_weights(float *restrict weights, const float *restrict mean,
                         const float *restrict square, const struct zf_update_adam *adam,
                         int64_t count) {
  if (adam->rate == 0.0f) return;
  for (int64_t i = 0; i < count; i++)
    weights[i] -= adam->rate * mean[i] / (sqrtf(square[i] * adam->scale) + adam->eps);
}

/* One step of Adam on the count <= TILE elements from index `first`. */
static void step_adam(float *weights, const struct zf_update *update,
                      const struct zf_update_step *step, int64_t first, int64_t count) {
  float e[TILE] = {0}, *mean = update->state[0] + first, *square = update->state[1] + first;
  add_terms(e, step, first, count);
  move_moments(mean, square, e, &step->adam, count);
  decay_weights(weights, step, count);
  move_weights(weights, mean, square, &step->adam, count);
}

void zf_round(void *stored, enum zf_dtype type, const float *values, const struct zf_noise *round,
              int64_t first, int64_t count) {
  uint32_t words[TILE];
  size_t size = zf_dtype_info(type)->size;
  for (int64_t i = 0; i < count; i += TILE) {
    int64_t tile = zf_min64(count - i, TILE);
    zf_kern.random_words(words, round, first + i, tile);
    zf_kern.round_stochastically((char *)stored + (size_t)i * size, values + i, words, type, tile);
  }
}

static void round_to(void *stored, float *weights, enum zf_dtype type, const struct zf_noise *round,
                     int64_t first, int64_t count) {
  uint32_t words[TILE];
  zf_kern.random_words(words, round, first, count);
  zf_kern.round_stochastically(stored, weights, words, type, count);
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
  for (int64_t i = 0; i < count; i++) weights[i] = (float)mean[i];
  if (stored != (void *)weights) zf_from_f32(stored, weights, type, count);
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
    if (update->state[0]) {
      step_adam(weights, update, step, first, count);
    } else if (!changes_nothing(step)) {
      step_f32(weights, step, first, count);
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
  size_t size = zf_dtype_info(type)->size;
  assert(!update->state[0] || type == ZF_F32);
  if (update->steps == 1 && !update->mean && !update->state[0] && changes_nothing(update->step))
    return;
  int team = zf_kern_team(work_of(update, count));
  int64_t tile = tile_of(update, count, team);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t i = 0; i < count; i += tile)
    update_tile(update, (char *)weights + (size_t)i * size, type, i, zf_min64(count - i, tile));
}
