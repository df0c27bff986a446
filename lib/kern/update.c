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

static int idle(const struct zf_update_step *s) {
  if (s->decay != 0.0f) return 0;
  for (int k = 0; k < s->probes; k++)
    if (s->coefficient[k] != 0.0f) return 0;
  return 1;
}

/* One step in f32. */
static void step_f32(float *p, const struct zf_update_step *s, int64_t i, int64_t n) {
  if (s->decay != 0.0f) zf_kern.mix(p, p, p, -s->decay, n);
  for (int k = 0; k < s->probes; k++) /* fma(0, z, -0) would be +0 */
    if (s->coefficient[k] != 0.0f) zf_kern.add_noise(p, s->probe + k, s->coefficient[k], i, n);
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

static void add_mean(double *m, const float *p, const struct zf_update_step *s, int64_t n) {
  if (s->keep == 1.0 && s->add == 0.0) return;
  for (int64_t i = 0; i < n; i++) m[i] = s->keep * m[i] + s->add * (double)p[i];
}

static void end_mean(void *w, enum zf_dtype type, const double *m, float *p, int64_t n) {
  for (int64_t i = 0; i < n; i++) p[i] = (float)m[i];
  if (w != (void *)p) zf_from_f32(w, p, type, n);
}

/* All steps on the n <= TILE elements from index i of the parameter. */
static void update_tile(const struct zf_update *u, void *w, enum zf_dtype type, int64_t i,
                        int64_t n) {
  float buf[TILE], *p = type == ZF_F32 ? w : buf;
  double m[TILE];
  if (p == buf) zf_kern.expand(p, w, type, n);
  if (u->mean) begin_mean(m, p, u->start, n);
  for (int64_t t = 0; t < u->steps; t++) {
    const struct zf_update_step *s = u->step + t;
    if (!idle(s)) {
      step_f32(p, s, i, n);
      if (p == buf) {
        round_to(w, p, type, &s->round, i, n);
        if (u->mean || t + 1 < u->steps) zf_kern.expand(p, w, type, n);
      }
    }
    if (u->mean) add_mean(m, p, s, n);
  }
  if (u->mean) end_mean(w, type, m, p, n);
}

/* Elements of a tile: enough tiles for a team, and for one step what stays in the first cache. */
static int64_t tile_of(const struct zf_update *u, int64_t count, int team) {
  int64_t n = count / (team * TILES_A_THREAD) / ZF_NOISE_BLOCK * ZF_NOISE_BLOCK;
  int64_t most = u->steps > 1 ? TILE : ZF_CHUNK;
  return n > most ? most : n < LEAST ? LEAST : n;
}

static int64_t work_of(const struct zf_update *u, int64_t count) {
  int64_t q = u->steps ? u->step->probes : 0;
  return count * ZF_NOISE_WORK * (q + 1) * u->steps;
}

void zf_update(void *w, enum zf_dtype type, int64_t count, const struct zf_update *u) {
  size_t size = zf_dtype_info(type)->size;
  if (u->steps == 1 && !u->mean && idle(u->step)) return;
  int team = zf_kern_team(work_of(u, count));
  int64_t tile = tile_of(u, count, team);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t i = 0; i < count; i += tile)
    update_tile(u, (char *)w + (size_t)i * size, type, i, zf_kern_min(count - i, tile));
}
