#include "bench/noise_methods.h"
#include "bench/x86/noise_methods_sleef_avx512.h"

#define ROUNDS_HERE 10
#include "bench/noise_methods_tmpl.h"

void way_box_10_avx512(float *z, const struct zf_noise *k, int64_t first, int64_t n) {
  make_elements(z, k, 0, first, n, blocks_box);
}

void way_quantile_10_avx512(float *z, const struct zf_noise *k, int64_t first, int64_t n) {
  make_elements(z, k, 0, first, n, blocks_gaussian);
}
