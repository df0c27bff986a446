/* Eight lanes of f32. */
#include <immintrin.h>

#include "kern/peak_internal.h"
#include "kern/unroll.h"

enum { CHAINS = 12 };

double zf_peak_f32_avx2(int64_t rounds) {
  __m256 a = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(0.25f), c[CHAINS];
  for (int i = 0; i < CHAINS; i++) c[i] = _mm256_set1_ps((float)i);
  for (int64_t r = 0; r < rounds; r++) {
    ZF_UNROLL
    for (int i = 0; i < CHAINS; i++) c[i] = _mm256_fmadd_ps(a, b, c[i]);
  }
  for (int i = 0; i < CHAINS; i++) __asm__ volatile("" ::"x"(c[i])); /* the sums are wanted */
  return 2.0 * 8 * CHAINS * (double)rounds;
}
