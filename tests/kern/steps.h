/* Feature steps: instruction sets added one at a time. */
#ifndef ZF_TESTS_KERN_STEPS_H
#define ZF_TESTS_KERN_STEPS_H

#include "base/cpu.h"

/* The flags of step i = 0, 1, ..., weakest first, less what zf_cpu_mask() removed; 0 when there
 * are no more. */
static inline int cpu_step(int i, unsigned *flags) {
  static const unsigned add[] = {
      0,           ZF_CPU_AVX2,   ZF_CPU_AVX512, ZF_CPU_AVX512BF16, ZF_CPU_AVX512VNNI,
      ZF_CPU_NEON, ZF_CPU_DOTPROD};
  unsigned have = zf_cpu_flags(), sum = 0;
  if (i >= (int)(sizeof add / sizeof *add)) return 0;
  for (int j = 0; j <= i; j++) sum |= add[j] & have;
  *flags = sum;
  return 1;
}

#endif
