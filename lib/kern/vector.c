/* Drivers over storage: noise, expansion, perturbed vectors and table rows.
 * They work on chunks of ZF_CHUNK elements, which stay in the first cache while noise is made and
 * used. */
#include <omp.h>
#include <string.h>

#include "kern/kern_internal.h"

static const void *at(const void *data, enum zf_dtype type, int64_t index) {
  return (const char *)data + zf_dtype_bytes(type, index);
}

/* out[s*ldo + i] = element i for stream s, for the count <= ZF_CHUNK elements at `data`. */
static void perturb(float *out, int64_t ldo, const void *data, enum zf_dtype type, int64_t first,
                    int64_t count, const struct zf_noise *noise, const struct zf_noise_shape *shape,
                    const struct zf_streams *streams) {
  float w[ZF_CHUNK], z[ZF_CHUNK], factor = 0;
  zf_kern.expand(w, data, type, count);
  for (int stream = 0; stream < streams->count; stream++) {
    if (!noise) {
      memcpy(out + stream * ldo, w, (size_t)count * sizeof *w);
      continue;
    }
    if (!stream || streams->terms > 1)
      factor = zf_kern_mix(z, noise, shape, streams, stream, w, first, count);
    else
      factor = streams->eps[stream];
    zf_kern.add_scaled(out + stream * ldo, w, z, factor, count);
  }
}

/* The same of a W with changed scales, from its element `first` on. */
static void perturb_changed(float *out, int64_t ldo, const struct zf_weight *weight, int64_t first,
                            int64_t count, const struct zf_streams *streams) {
  float z[ZF_TILE_SCALES], factor = 0;
  int64_t index = zf_dtype_scales(weight->type, first),
          scales = zf_dtype_scales(weight->type, count);
  const void *blocks = at(weight->data, weight->type, first - weight->first);
  for (int stream = 0; stream < streams->count; stream++) {
    if (weight->noise && (!stream || streams->terms > 1))
      factor = zf_kern_mix(z, weight->noise, weight->shape, streams, stream,
                           weight->scale_change + index, index, scales);
    else if (weight->noise)
      factor = streams->eps[stream];
    zf_kern_expand_changed(out + stream * ldo, weight, blocks, first, count,
                           weight->noise ? z : NULL, factor);
  }
}

void zf_perturb_vec(float *out, int64_t ldo, const void *data, enum zf_dtype type, int64_t first,
                    int64_t count, const struct zf_noise *noise, const struct zf_noise_shape *shape,
                    const struct zf_streams *streams) {
  for (int64_t i = 0; i < count; i += ZF_CHUNK)
    perturb(out + i, ldo, at(data, type, i), type, first + i, zf_min64(count - i, ZF_CHUNK), noise,
            shape, streams);
}

/* Copies row `id` of the table to row `row` of every stream. */
static void gather_row(float *y, int64_t ldy, int64_t id, int64_t row, int64_t T,
                       const struct zf_weight *weight, const struct zf_streams *streams,
                       int accumulate) {
  float values[ZF_MAXSTREAM * ZF_CHUNK];
  for (int64_t i = 0; i < weight->in; i += ZF_CHUNK) {
    int64_t count = zf_min64(weight->in - i, ZF_CHUNK), element = id * weight->output_stride + i;
    if (weight->scale_change)
      perturb_changed(values, ZF_CHUNK, weight, weight->first + element, count, streams);
    else
      perturb(values, ZF_CHUNK, at(weight->data, weight->type, element), weight->type,
              weight->first + element, count, weight->noise, weight->shape, streams);
    for (int stream = 0; stream < streams->count; stream++) {
      float *out = y + zf_stream_row(streams, T, stream * T + row) * ldy + i;
      if (accumulate)
        zf_kern.add(out, values + stream * ZF_CHUNK, count);
      else
        memcpy(out, values + stream * ZF_CHUNK, (size_t)count * sizeof *values);
    }
  }
}

void zf_gather(float *y, int64_t ldy, const int32_t *ids, int64_t T, const struct zf_weight *weight,
               const struct zf_streams *streams, int accumulate) {
  int team = zf_kern_team(T * weight->in * (weight->noise ? ZF_NOISE_WORK : 1));
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t t = 0; t < T; t++) gather_row(y, ldy, ids[t], t, T, weight, streams, accumulate);
}

void zf_gather_columns(float *y, int64_t ldy, const int32_t *ids, int64_t T,
                       const struct zf_weight *weight, const struct zf_streams *streams,
                       int accumulate) {
  for (int64_t t = 0; t < T; t++)
    for (int64_t c = 0; c < weight->in; c++) {
      float values[ZF_MAXSTREAM];
      int64_t element = c * weight->input_stride + ids[t];
      perturb(values, 1, at(weight->data, weight->type, element), weight->type,
              weight->first + element, 1, weight->noise, weight->shape, streams);
      for (int stream = 0; stream < streams->count; stream++) {
        float *out = y + zf_stream_row(streams, T, stream * T + t) * ldy + c;
        *out = accumulate ? *out + values[stream] : values[stream];
      }
    }
}

void zf_noise_fill(float *z, const struct zf_noise *noise, int64_t first, int64_t count) {
  int team = zf_kern_team(count * ZF_NOISE_WORK);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t i = 0; i < count; i += 16 * ZF_CHUNK)
    zf_kern.noise(z + i, noise, first + i, zf_min64(count - i, 16 * ZF_CHUNK));
}

void zf_expand(float *dst, const void *src, enum zf_dtype type, int64_t count) {
  int team = zf_kern_team(count);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t i = 0; i < count; i += 16 * ZF_CHUNK)
    zf_kern.expand(dst + i, at(src, type, i), type, zf_min64(count - i, 16 * ZF_CHUNK));
}

void zf_add_outer(float *y, int64_t ldy, int64_t rows, int64_t columns, const float *left,
                  const float *right, int64_t rank) {
  int team = zf_kern_team(rows * columns * rank);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t r = 0; r < rows; r++)
    for (int64_t k = 0; k < rank; k++)
      zf_kern.add_scaled(y + r * ldy, y + r * ldy, right + k * columns, left[r * rank + k],
                         columns);
}
