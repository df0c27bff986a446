/* vpdpbusd: to each of sixteen sums, four products of a byte of a, unsigned, and one of b.
 *
 * As an instruction and not as the intrinsic: GCC 12 copies the accumulator of the intrinsic to
 * and fro, registers and stack, at half of the speed. */
#ifndef ZF_KERN_X86_DPBUSD_H
#define ZF_KERN_X86_DPBUSD_H

#include <immintrin.h>

static inline __attribute__((always_inline)) __m512i dpbusd(__m512i s, __m512i a, __m512i b) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(s) : "v"(a), "v"(b));
  return s;
}

#endif
