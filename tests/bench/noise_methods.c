#include "bench/noise_methods.h"

#include <string.h>

#include "base/cpu.h"

int noise_methods_for(struct noise_method out[MAX_NOISE_METHODS], unsigned flags) {
#if defined(__x86_64__)
  static const struct {
    unsigned flag;
    struct noise_method method[3];
  } sets[] = {
      {ZF_CPU_AVX512,
       {{"Gaussian, ten rounds of Philox", way_quantile_10_avx512},
        {"Box-Muller by SLEEF, seven rounds", way_box_7_avx512},
        {"Box-Muller by SLEEF, ten rounds", way_box_10_avx512}}},
      {ZF_CPU_AVX2,
       {{"Gaussian, ten rounds of Philox", way_quantile_10_avx2},
        {"Box-Muller by SLEEF, seven rounds", way_box_7_avx2},
        {"Box-Muller by SLEEF, ten rounds", way_box_10_avx2}}},
  };
  for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
    if (flags & sets[i].flag) {
      memcpy(out, sets[i].method, sizeof sets[i].method);
      return sizeof sets[i].method / sizeof *out;
    }
#else
  (void)out, (void)flags;
#endif
  return 0;
}
