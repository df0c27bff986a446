/* What noise_methods_tmpl.h asks for, on AVX-512. */
#ifndef ZF_TESTS_BENCH_WAYS_SLEEF_AVX512_H
#define ZF_TESTS_BENCH_WAYS_SLEEF_AVX512_H

#include "kern/x86/vec_avx512.h"
#include "rng/philox.h"

static inline zv zv_log(zv x) {
  return Sleef_finz_logf16_u35avx512f(x);
}

static inline zv zv_root(zv x) {
  return _mm512_sqrt_ps(x);
}

static inline void zv_sincospi(zv *sin, zv *cos, zv x) {
  Sleef___m512_2 r = Sleef_finz_sincospif16_u35avx512f(x);
  *sin = r.x;
  *cos = r.y;
}

#endif
