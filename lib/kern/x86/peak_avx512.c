/* Sixteen lanes of f32. */
#include <immintrin.h>

#include "kern/peak_internal.h"
#include "kern/unroll.h"

enum { CHAINS = 24 };

double zf_peak_f32_avx512(int64_t rounds) {
  __m512 a = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(0.25f), c[CHAINS];
  for (int i = 0; i < CHAINS; i++) c[i] = _mm512_set1_ps((float)i);
  for (int64_t row = 0; row < rounds; row++) {
    ZF_UNROLL
    for (int i = 0; i < CHAINS; i++) c[i] = _mm512_fmadd_ps(a, b, c[i]);
  }
  for (int i = 0; i < CHAINS; i++) __asm__ volatile("" ::"v"(c[i])); /* the sums are wanted */
  return 2.0 * 16 * CHAINS * (double)rounds;
}

double zf_peak_int8_avx512(int64_t rounds) {
  __m512i a = _mm512_set1_epi16(3), b = a, c[CHAINS];
  for (int i = 0; i < CHAINS; i++) c[i] = _mm512_set1_epi32(i);
  for (int64_t row = 0; row < rounds; row++) {
    ZF_UNROLL
    for (int i = 0; i < CHAINS; i++) {
      c[i] = _mm512_add_epi32(c[i], _mm512_madd_epi16(a, b));
      __asm__ volatile("" : "+v"(a)); /* the product is not the same one each time */
    }
  }
  for (int i = 0; i < CHAINS; i++) __asm__ volatile("" ::"v"(c[i])); /* the sums are wanted */
  return 2.0 * 32 * CHAINS * (double)rounds;
}
