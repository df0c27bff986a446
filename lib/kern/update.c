/* The update, of one step or of many.
 *
 *   for a tile of elements          TILE of them: in cache until all steps are done
 *     for a step
 *       w <- w + c z  of each probe, in place (f32) or in a buffer
 *       round to what the storage holds, and take up the mean
 *     store
 *
 * So a replay of many steps reads and writes the weights once and is bound by its noise. */
#include <string.h>

#include "kern/kern_internal.h"

enum { TILE = 4096, LEAST = ZF_NOISE_BLOCK * 4, TILES_A_THREAD = 4 };

static int idle(const struct zf_update_step *step) {
  if (step->decay != 0.0f) return 0;
  for (int k = 0; k < step->probes; k++)
    if (step->coefficient[k] != 0.0f) return 0;
  return 1;
}

/* One step in f32. */
static void step_f32(float *p, const struct zf_update_step *step, int64_t i, int64_t n) {
  if (step->decay != 0.0f) zf_kern.mix(p, p, p, -step->decay, n);
  for (int k = 0; k < step->probes; k++) /* fma(0, z, -0) would be +0 */
    if (step->coefficient[k] != 0.0f)
      zf_kern.add_noise(p, step->probe + k, step->coefficient[k], i, n);
}

static void round_to(void *w, float *p, enum zf_dtype type, const struct zf_noise *round, int64_t i,
                     int64_t n) {
  uint32_t r[TILE];
  zf_kern.words(r, round, i, n);
  zf_kern.narrow(w, p, r, type, n);
}

static void begin_mean(double *m, const float *p, double start, int64_t n) {
  for (int64_t i = 0; i < n; i++) m[i] = start * (double)p[i];
}

static void add_mean(double *m, const float *p, const struct zf_update_step *step, int64_t count) {
  if (step->keep == 1.0 && step->add == 0.0) return;
  for (int64_t i = 0; i < count; i++) m[i] = step->keep * m[i] + step->add * (double)p[i];
}

static void end_mean(void *w, enum zf_dtype type, const double *m, float *p, int64_t count) {
  for (int64_t i = 0; i < count; i++) p[i] = (float)m[i];
  if (w != (void *)p) zf_from_f32(w, p, type, count);
}

/* All steps on the n <= TILE elements from index i of the parameter. */
static void update_tile(const struct zf_update *update, void *w, enum zf_dtype type, int64_t i,
                        int64_t n) {
  float buf[TILE], *p = type == ZF_F32 ? w : buf;
  double m[TILE];
  if (p == buf) zf_kern.expand(p, w, type, n);
  if (update->mean) begin_mean(m, p, update->start, n);
  for (int64_t t = 0; t < update->steps; t++) {
    const struct zf_update_step *step = update->step + t;
    if (!idle(step)) {
      step_f32(p, step, i, n);
      if (p == buf) {
        round_to(w, p, type, &step->round, i, n);
        if (update->mean || t + 1 < update->steps) zf_kern.expand(p, w, type, n);
      }
    }
    if (update->mean) add_mean(m, p, step, n);
  }
  if (update->mean) end_mean(w, type, m, p, n);
}

/* Elements of a tile: enough tiles for a team, and for one step what stays in the first cache. */
static int64_t tile_of(const struct zf_update *update, int64_t count, int team) {
  int64_t n = count / (team * TILES_A_THREAD) / ZF_NOISE_BLOCK * ZF_NOISE_BLOCK;
  int64_t most = update->steps > 1 ? TILE : ZF_CHUNK;
  return n > most ? most : n < LEAST ? LEAST : n;
}

static int64_t work_of(const struct zf_update *update, int64_t count) {
  int64_t q = update->steps ? update->step->probes : 0;
  return count * ZF_NOISE_WORK * (q + 1) * update->steps;
}

void zf_update(void *w, enum zf_dtype type, int64_t count, const struct zf_update *update) {
  size_t size = zf_dtype_info(type)->size;
  if (update->steps == 1 && !update->mean && idle(update->step)) return;
  int team = zf_kern_team(work_of(update, count));
  int64_t tile = tile_of(update, count, team);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t i = 0; i < count; i += tile)
    update_tile(update, (char *)w + (size_t)i * size, type, i, zf_kern_min(count - i, tile));
}
