/* Four sums of four products of bytes. */
#include <arm_neon.h>

#include "kern/peak_internal.h"
#include "kern/unroll.h"

enum { CHAINS = 16 };

double zf_peak_int8_dotprod(int64_t rounds) {
  int8x16_t a = vdupq_n_s8(3), b = a;
  int32x4_t c[CHAINS];
  for (int i = 0; i < CHAINS; i++) c[i] = vdupq_n_s32(i);
  for (int64_t row = 0; row < rounds; row++) {
    ZF_UNROLL
    for (int i = 0; i < CHAINS; i++) c[i] = vdotq_s32(c[i], a, b);
  }
  for (int i = 0; i < CHAINS; i++) __asm__ volatile("" ::"w"(c[i])); /* the sums are wanted */
  return 2.0 * 16 * CHAINS * (double)rounds;
}
