/* Other methods for Gaussian noise than the one of rng/noise.h: Box-Muller (Box, Muller 1958) through SLEEF, and
 * both with ten rounds of Philox instead of seven. */
#ifndef ZF_TESTS_BENCH_NOISE_METHODS_H
#define ZF_TESTS_BENCH_NOISE_METHODS_H

#include <stdint.h>

#include "rng/noise.h"

/* z[0..n) of elements first .. first + n; whole blocks of 64. */
typedef void noise_fn(float *z, const struct zf_noise *k, int64_t first, int64_t n);

struct noise_method {
  const char *name;
  noise_fn *make;
};

enum { MAX_NOISE_METHODS = 4 };

/* Those of the widest instructions that zf_cpu_flags `flags` allow; returns their number. */
int noise_methods_for(struct noise_method out[MAX_NOISE_METHODS], unsigned flags);

noise_fn way_box_7_avx2, way_box_10_avx2, way_quantile_10_avx2;
noise_fn way_box_7_avx512, way_box_10_avx512, way_quantile_10_avx512;

#endif
