/* One probe of a step, as the forward pass sees it: its direction, and the distance that each stream
 * moves along it. */
#ifndef ZF_KERN_PERTURB_H
#define ZF_KERN_PERTURB_H

#include <string.h>

#include "base/cplusplus.h"
#include "kern/kern.h"

ZF_BEGIN_DECLS

struct zf_perturb {
  struct zf_noise direction;   /* seed, step, probe, use, kind; `param` is filled per parameter */
  const struct zf_noise *term; /* NULL, or the directions of mixed streams, [streams.terms] */
  struct zf_streams streams;   /* the streams and their distances */
  int noisy;                   /* 0: no stream is perturbed */
  int block;                   /* 0, or the only block (zf_param) whose parameters are perturbed */
  int by_example;        /* each example of the batch has its own direction (zf_noise_example) */
  int64_t first_example; /* place in the batch of the first example that is scored */
};

/* The plain forward pass: one stream, no noise. */
static inline struct zf_perturb zf_perturb_none(void) {
  struct zf_perturb perturb;
  memset(&perturb, 0, sizeof perturb);
  perturb.streams.count = 1;
  return perturb;
}

/* One stream at distance eps along direction (seed, step, probe). */
static inline struct zf_perturb zf_perturb_along(uint64_t seed, uint32_t step, uint16_t probe,
                                                 int kind, float eps) {
  struct zf_perturb perturb = zf_perturb_none();
  perturb.direction.seed = seed;
  perturb.direction.step = step;
  perturb.direction.probe = probe;
  perturb.direction.use = ZF_USE_DIRECTION;
  perturb.direction.kind = kind;
  perturb.streams.eps[0] = eps;
  perturb.noisy = 1;
  return perturb;
}

/* SPSA: two streams at +eps and -eps along direction (seed, step, probe). */
static inline struct zf_perturb zf_perturb_spsa(uint64_t seed, uint32_t step, uint16_t probe,
                                                int kind, float eps) {
  struct zf_perturb perturb = zf_perturb_along(seed, step, probe, kind, eps);
  perturb.streams.count = 2;
  perturb.streams.eps[1] = -eps;
  return perturb;
}

/* One stream of several, as a perturbation of its own: its pass has the stream's bits.  The directions
 * and the mix remain the caller's. */
static inline struct zf_perturb zf_perturb_stream(const struct zf_perturb *perturb, int stream) {
  struct zf_perturb one = *perturb;
  one.streams.count = 1;
  one.streams.eps[0] = perturb->streams.eps[stream];
  if (one.term)
    one.streams.mix += stream * one.streams.terms;
  else if (one.streams.eps[0] == 0)
    one.noisy = 0;
  return one;
}

ZF_END_DECLS

#endif
