/* Other ways to make Gaussian noise, beside ours: Box-Muller (Box, Muller 1958) through SLEEF, and
 * both with ten rounds of Philox instead of seven. */
#ifndef ZF_TESTS_BENCH_WAYS_H
#define ZF_TESTS_BENCH_WAYS_H

#include <stdint.h>

#include "rng/noise.h"

/* z[0..n) of elements first .. first + n; whole blocks of 64. */
typedef void way_fn(float *z, const struct zf_noise *k, int64_t first, int64_t n);

struct way {
  const char *name;
  way_fn *make;
};

enum { MAXWAYS = 4 };

/* Those of the widest instructions that zf_cpu_flags `flags` allow; returns their number. */
int ways_for(struct way out[MAXWAYS], unsigned flags);

way_fn way_box_7_avx2, way_box_10_avx2, way_quantile_10_avx2;
way_fn way_box_7_avx512, way_box_10_avx512, way_quantile_10_avx512;

#endif
