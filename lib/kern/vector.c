/* Drivers over storage: noise, expansion, perturbed vectors and table rows.
 * Work is cut into pieces of ZF_CHUNK elements that stay in the first cache while noise is
 * made and used. */
#include <omp.h>
#include <string.h>

#include "kern/kern_internal.h"

static const void *at(const void *data, enum zf_dtype type, int64_t i) {
  return (const char *)data + zf_dtype_bytes(type, i);
}

/* out[s*ldo + i] = element i for stream s, for the n <= ZF_CHUNK elements at `data`. */
static void perturb(float *out, int64_t ldo, const void *data, enum zf_dtype type, int64_t first,
                    int64_t n, const struct zf_noise *noise, const struct zf_streams *st) {
  float w[ZF_CHUNK], z[ZF_CHUNK];
  zf_kern.expand(w, data, type, n);
  if (noise) zf_kern.noise(z, noise, first, n);
  for (int s = 0; s < st->count; s++)
    if (noise)
      zf_kern.mix(out + s * ldo, w, z, st->eps[s], n);
    else
      memcpy(out + s * ldo, w, (size_t)n * sizeof *w);
}

void zf_perturb_vec(float *out, int64_t ldo, const void *data, enum zf_dtype type, int64_t first,
                    int64_t n, const struct zf_noise *noise, const struct zf_streams *st) {
  for (int64_t i = 0; i < n; i += ZF_CHUNK)
    perturb(out + i, ldo, at(data, type, i), type, first + i, zf_kern_min(n - i, ZF_CHUNK), noise,
            st);
}

/* Row `id` of the table, for row t of every stream. */
static void gather_row(float *y, int64_t ldy, int64_t id, int64_t t, int64_t T,
                       const struct zf_weight *weight, const struct zf_streams *st,
                       int accumulate) {
  float row[ZF_MAXSTREAM * ZF_CHUNK];
  for (int64_t i = 0; i < weight->in; i += ZF_CHUNK) {
    int64_t n = zf_kern_min(weight->in - i, ZF_CHUNK), e = id * weight->so + i;
    perturb(row, ZF_CHUNK, at(weight->data, weight->type, e), weight->type, weight->first + e, n,
            weight->noise, st);
    for (int s = 0; s < st->count; s++) {
      float *to = y + (s * T + t) * ldy + i;
      if (accumulate)
        zf_kern.add(to, row + s * ZF_CHUNK, n);
      else
        memcpy(to, row + s * ZF_CHUNK, (size_t)n * sizeof *row);
    }
  }
}

void zf_gather(float *y, int64_t ldy, const int32_t *id, int64_t T, const struct zf_weight *weight,
               const struct zf_streams *st, int accumulate) {
  int team = zf_kern_team(T * weight->in * (weight->noise ? ZF_NOISE_WORK : 1));
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t t = 0; t < T; t++) gather_row(y, ldy, id[t], t, T, weight, st, accumulate);
}

void zf_noise_fill(float *z, const struct zf_noise *noise, int64_t first, int64_t n) {
  int team = zf_kern_team(n * ZF_NOISE_WORK);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t i = 0; i < n; i += 16 * ZF_CHUNK)
    zf_kern.noise(z + i, noise, first + i, zf_kern_min(n - i, 16 * ZF_CHUNK));
}

void zf_expand(float *dst, const void *src, enum zf_dtype type, int64_t n) {
  int team = zf_kern_team(n);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t i = 0; i < n; i += 16 * ZF_CHUNK)
    zf_kern.expand(dst + i, at(src, type, i), type, zf_kern_min(n - i, 16 * ZF_CHUNK));
}
