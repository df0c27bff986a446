/* Eight lanes of f32; eight sums of two products of halfwords. */
#include <immintrin.h>

#include "kern/peak_internal.h"
#include "kern/unroll.h"

enum { CHAINS = 12 };

double zf_peak_f32_avx2(int64_t rounds) {
  __m256 a = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(0.25f), c[CHAINS];
  for (int i = 0; i < CHAINS; i++) c[i] = _mm256_set1_ps((float)i);
  for (int64_t row = 0; row < rounds; row++) {
    ZF_UNROLL
    for (int i = 0; i < CHAINS; i++) c[i] = _mm256_fmadd_ps(a, b, c[i]);
  }
  for (int i = 0; i < CHAINS; i++) __asm__ volatile("" ::"x"(c[i])); /* the sums are wanted */
  return 2.0 * 8 * CHAINS * (double)rounds;
}

double zf_peak_int8_avx2(int64_t rounds) {
  __m256i a = _mm256_set1_epi16(3), b = a, c[CHAINS];
  for (int i = 0; i < CHAINS; i++) c[i] = _mm256_set1_epi32(i);
  for (int64_t row = 0; row < rounds; row++) {
    ZF_UNROLL
    for (int i = 0; i < CHAINS; i++) {
      c[i] = _mm256_add_epi32(c[i], _mm256_madd_epi16(a, b));
      __asm__ volatile("" : "+x"(a)); /* the product is not the same one each time */
    }
  }
  for (int i = 0; i < CHAINS; i++) __asm__ volatile("" ::"x"(c[i])); /* the sums are wanted */
  return 2.0 * 16 * CHAINS * (double)rounds;
}
