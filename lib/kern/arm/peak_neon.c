/* Four lanes of f32. */
#include <arm_neon.h>

#include "kern/peak_internal.h"
#include "kern/unroll.h"

enum { CHAINS = 24 };

double zf_peak_f32_neon(int64_t rounds) {
  float32x4_t a = vdupq_n_f32(0.5f), b = vdupq_n_f32(0.25f), c[CHAINS];
  for (int i = 0; i < CHAINS; i++) c[i] = vdupq_n_f32((float)i);
  for (int64_t row = 0; row < rounds; row++) {
    ZF_UNROLL
    for (int i = 0; i < CHAINS; i++) c[i] = vfmaq_f32(c[i], a, b);
  }
  for (int i = 0; i < CHAINS; i++) __asm__ volatile("" ::"w"(c[i])); /* the sums are wanted */
  return 2.0 * 4 * CHAINS * (double)rounds;
}
