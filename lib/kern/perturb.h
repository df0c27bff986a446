/* One probe of a step, as the forward pass sees it: its direction, and the distance that each stream
 * moves along it. */
#ifndef ZF_KERN_PERTURB_H
#define ZF_KERN_PERTURB_H

#include "kern/kern.h"

struct zf_perturb {
  struct zf_noise dir;  /* seed, step, probe, use, kind; `param` is filled per parameter */
  struct zf_streams st; /* the streams and their distances */
};

/* The plain forward pass: one stream, no noise. */
static inline struct zf_perturb zf_perturb_none(void) {
  return (struct zf_perturb){.st = {.count = 1}};
}

/* SPSA: two streams at +eps and -eps along direction (seed, step, probe). */
static inline struct zf_perturb zf_perturb_spsa(uint64_t seed, uint32_t step, uint16_t probe,
                                                int kind, float eps) {
  return (struct zf_perturb){
      .dir = {.seed = seed, .step = step, .probe = probe, .use = ZF_USE_DIRECTION, .kind = kind},
      .st = {.count = 2, .eps = {eps, -eps}},
  };
}

#endif
