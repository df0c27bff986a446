/* What the tests of perturbed weights share: stored arrays with directions and shapes, and the values that
 * a stream sees of them, in plain C written from kern.h. */
#ifndef ZF_TESTS_KERN_SEEN_H
#define ZF_TESTS_KERN_SEEN_H

#include "kern/check.h"

enum { MAXTHREADS = 4, TERMS = 5 };

static inline void use(unsigned flags, int threads) {
  static void *work;
  zf_kern_init(flags);
  if (!work) work = aligned_alloc(64, zf_kern_workspace_size(MAXTHREADS));
  zf_kern_threads(threads);
  zf_kern_set_min_work(0); /* small shapes are shared out as well */
  zf_kern_workspace(work);
}

/* --- what a stream sees --- */

/* A stored array, its values, its directions and their shape. */
struct array {
  void *data;
  enum zf_dtype type;
  int64_t count, first;
  float *value;
  struct zf_noise noise[TERMS], mask;
  struct zf_noise_shape shape;
  float *curvature; /* [first + count] */
};

static inline struct array rnd_array(int64_t count) {
  struct array a = {.count = count, .first = below(2) ? below(500) : 0};
  struct fresh f = fresh(count, PLAIN);
  a.type = (enum zf_dtype)below(ZF_DTYPES);
  a.data = malloc((size_t)count * 4);
  a.value = malloc((size_t)count * 4);
  a.curvature = malloc((size_t)(a.first + count) * 4);
  zf_from_f32(a.data, f.p, a.type, count);
  zf_to_f32(a.value, a.data, a.type, count);
  drop(f);
  for (int k = 0; k < TERMS; k++) a.noise[k] = rnd_noise();
  a.mask = rnd_noise();
  for (int64_t i = 0; i < a.first + count; i++) a.curvature[i] = 0.01f + fabsf(value(PLAIN));
  a.shape.limit = INFINITY;
  return a;
}

static inline void drop_array(struct array a) {
  free(a.data);
  free(a.value);
  free(a.curvature);
}

/* Each part of a shape, or several. */
static inline const struct zf_noise_shape *rnd_shape(struct array *a) {
  int parts = (int)below(8);
  if (!below(4)) return NULL;
  if (parts & 1) a->shape.limit = 0.6f;
  if (parts & 2) a->shape.mask = &a->mask, a->shape.mask_end = 0x60000000u;
  if (parts & 4) a->shape.curvature = a->curvature;
  return &a->shape;
}

static inline float noise_at(const struct zf_noise *noise, int64_t element) {
  float z;
  zf_noise_ref(&z, noise, element, 1);
  return z;
}

static inline float shaped(float z, const struct zf_noise_shape *shape, float w, int64_t element) {
  if (!shape) return z;
  uint32_t word = 0;
  if (!(fabsf(w) <= shape->limit)) z = 0;
  if (shape->mask) zf_noise_words(&word, shape->mask, element, 1);
  if (shape->mask && word >= shape->mask_end) z = 0;
  return shape->curvature ? z / sqrtf(shape->curvature[element]) : z;
}

static inline float seen(const struct array *a, const struct zf_noise_shape *shape,
                         const struct zf_streams *streams, int stream, int64_t i) {
  float w = a->value[i], d = 0;
  int64_t element = a->first + i;
  int only = -1, count = 0;
  if (streams->terms < 2)
    return fmaf(streams->eps[stream], shaped(noise_at(a->noise, element), shape, w, element), w);
  const float *mix = streams->mix + stream * streams->terms;
  for (int k = 0; k < streams->terms; k++)
    if (mix[k] != 0) only = k, count++;
  if (count == 1)
    return fmaf(mix[only], shaped(noise_at(a->noise + only, element), shape, w, element), w);
  for (int k = 0; k < streams->terms; k++)
    if (mix[k] != 0) d = fmaf(mix[k], noise_at(a->noise + k, element), d);
  return w + shaped(d, shape, w, element);
}

/* 1 to 16 streams along 1 to TERMS directions, some of them with distance 0. */
static inline struct zf_streams rnd_streams(float mix[ZF_MAXSTREAM * TERMS]) {
  struct zf_streams streams = {.count = 1 + (int)below(ZF_MAXSTREAM),
                               .terms = (int)below(TERMS + 1)};
  for (int s = 0; s < streams.count; s++) streams.eps[s] = value(PLAIN) * 1e-2f;
  for (int i = 0; i < ZF_MAXSTREAM * TERMS; i++) mix[i] = below(3) ? value(PLAIN) * 1e-2f : 0;
  if (streams.terms > 1) streams.mix = mix;
  return streams;
}

/* All weights as stream s sees them, in stored order; the caller frees. */
static inline float *seen_by(const struct array *a, const struct zf_noise_shape *shape,
                             const struct zf_streams *streams, int s) {
  float *w = malloc((size_t)a->count * sizeof *w);
  for (int64_t i = 0; i < a->count; i++) w[i] = seen(a, shape, streams, s, i);
  return w;
}

#endif
