/* Sixteen lanes of f32, each the sum of two products of bf16. */
#include <immintrin.h>

#include "kern/peak_internal.h"
#include "kern/unroll.h"

enum { CHAINS = 24 };

double zf_peak_bf16_avx512bf16(int64_t rounds) {
  __m512bh a = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps(0.5f)), b = a;
  __m512 c[CHAINS];
  for (int i = 0; i < CHAINS; i++) c[i] = _mm512_set1_ps((float)i);
  for (int64_t row = 0; row < rounds; row++) {
    ZF_UNROLL
    for (int i = 0; i < CHAINS; i++) c[i] = _mm512_dpbf16_ps(c[i], a, b);
  }
  for (int i = 0; i < CHAINS; i++) __asm__ volatile("" ::"v"(c[i])); /* the sums are wanted */
  return 2.0 * 32 * CHAINS * (double)rounds;
}
