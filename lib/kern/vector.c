/* Drivers over storage: noise, expansion, perturbed vectors and table rows, the update.
 * Work is cut into pieces of ZF_PIECE elements that stay in the first cache while noise is
 * made and used. */
#include <omp.h>
#include <string.h>

#include "kern/kern_internal.h"

/* Operations an element of noise stands for when a team is chosen. */
enum { NOISE_WORK = 16 };

static const void *at(const void *data, enum zf_dtype type, int64_t i) {
  return (const char *)data + (size_t)i * zf_dtype_info(type)->size;
}

/* out[s*ldo + i] = element i for stream s, for the n <= ZF_PIECE elements at `data`. */
static void perturb(float *out, int64_t ldo, const void *data, enum zf_dtype type, int64_t first,
                    int64_t n, const struct zf_noise *noise, const struct zf_streams *st) {
  float w[ZF_PIECE], z[ZF_PIECE];
  zf_kern.expand(w, data, type, n);
  if (noise) zf_kern.noise(z, noise, first, n);
  for (int s = 0; s < st->n; s++)
    if (noise)
      zf_kern.mix(out + s * ldo, w, z, st->eps[s], n);
    else
      memcpy(out + s * ldo, w, (size_t)n * sizeof *w);
}

void zf_perturb_vec(float *out, int64_t ldo, const void *data, enum zf_dtype type, int64_t first,
                    int64_t n, const struct zf_noise *noise, const struct zf_streams *st) {
  for (int64_t i = 0; i < n; i += ZF_PIECE)
    perturb(out + i, ldo, at(data, type, i), type, first + i, zf_kern_least(n - i, ZF_PIECE), noise,
            st);
}

/* Row `id` of the table, for row t of every stream. */
static void gather_row(float *y, int64_t ldy, int64_t id, int64_t t, int64_t T,
                       const struct zf_weight *w, const struct zf_streams *st, int accumulate) {
  float row[ZF_MAXSTREAM * ZF_PIECE];
  for (int64_t i = 0; i < w->in; i += ZF_PIECE) {
    int64_t n = zf_kern_least(w->in - i, ZF_PIECE), e = id * w->so + i;
    perturb(row, ZF_PIECE, at(w->data, w->type, e), w->type, w->first + e, n, w->noise, st);
    for (int s = 0; s < st->n; s++) {
      float *to = y + (s * T + t) * ldy + i;
      if (accumulate)
        zf_kern.add(to, row + s * ZF_PIECE, n);
      else
        memcpy(to, row + s * ZF_PIECE, (size_t)n * sizeof *row);
    }
  }
}

void zf_gather(float *y, int64_t ldy, const int32_t *id, int64_t T, const struct zf_weight *w,
               const struct zf_streams *st, int accumulate) {
  int team = zf_kern_team(T * w->in * (w->noise ? NOISE_WORK : 1));
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t t = 0; t < T; t++) gather_row(y, ldy, id[t], t, T, w, st, accumulate);
}

void zf_noise_fill(float *z, const struct zf_noise *k, int64_t first, int64_t n) {
  int team = zf_kern_team(n * NOISE_WORK);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t i = 0; i < n; i += 16 * ZF_PIECE)
    zf_kern.noise(z + i, k, first + i, zf_kern_least(n - i, 16 * ZF_PIECE));
}

struct update {
  enum zf_dtype type;
  const struct zf_noise *probe, *round;
  const float *c;
  float decay;
  int q;
};

/* n <= ZF_PIECE elements from index i of the parameter. */
static void update_piece(const struct update *u, void *w, int64_t i, int64_t n) {
  float buf[ZF_PIECE], *p = u->type == ZF_F32 ? w : buf;
  if (p == buf) zf_kern.expand(p, w, u->type, n);
  if (u->decay != 0.0f) zf_kern.mix(p, p, p, -u->decay, n);
  for (int k = 0; k < u->q; k++) /* fma(0, z, -0) would be +0 */
    if (u->c[k] != 0.0f) zf_kern.stir(p, u->probe + k, u->c[k], i, n);
  if (p != buf) return;
  uint32_t r[ZF_PIECE];
  zf_kern.words(r, u->round, i, n);
  zf_kern.narrow(w, p, r, u->type, n);
}

void zf_update(void *w, enum zf_dtype type, int64_t n, const struct zf_noise *probe, const float *c,
               int q, float decay, const struct zf_noise *round) {
  struct update u = {type, probe, round, c, decay, q};
  size_t size = zf_dtype_info(type)->size;
  int idle = decay == 0.0f;
  for (int k = 0; k < q; k++) idle &= c[k] == 0.0f;
  if (idle) return;
  int team = zf_kern_team(n * NOISE_WORK * (q + 1));
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t i = 0; i < n; i += ZF_PIECE)
    update_piece(&u, (char *)w + (size_t)i * size, i, zf_kern_least(n - i, ZF_PIECE));
}

void zf_expand(float *dst, const void *src, enum zf_dtype type, int64_t n) {
  int team = zf_kern_team(n);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t i = 0; i < n; i += 16 * ZF_PIECE)
    zf_kern.expand(dst + i, at(src, type, i), type, zf_kern_least(n - i, 16 * ZF_PIECE));
}
