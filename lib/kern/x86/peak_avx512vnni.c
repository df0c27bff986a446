/* Sixteen sums of four products of bytes. */
#include "kern/peak_internal.h"
#include "kern/unroll.h"
#include "kern/x86/dpbusd.h"

enum { CHAINS = 24 };

double zf_peak_int8_avx512vnni(int64_t rounds) {
  __m512i a = _mm512_set1_epi8(3), b = a, c[CHAINS];
  for (int i = 0; i < CHAINS; i++) c[i] = _mm512_set1_epi32(i);
  for (int64_t row = 0; row < rounds; row++) {
    ZF_UNROLL
    for (int i = 0; i < CHAINS; i++) c[i] = dpbusd(c[i], a, b);
  }
  for (int i = 0; i < CHAINS; i++) __asm__ volatile("" ::"v"(c[i])); /* the sums are wanted */
  return 2.0 * 64 * CHAINS * (double)rounds;
}
