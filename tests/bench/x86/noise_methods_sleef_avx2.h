/* What noise_methods_tmpl.h asks for, on AVX2. */
#ifndef ZF_TESTS_BENCH_WAYS_SLEEF_AVX2_H
#define ZF_TESTS_BENCH_WAYS_SLEEF_AVX2_H

#include "kern/x86/vec_avx2.h"
#include "rng/philox.h"

static inline zv zv_log(zv x) {
  return (zv){Sleef_finz_logf8_u35avx2(x.lo), Sleef_finz_logf8_u35avx2(x.hi)};
}

static inline zv zv_root(zv x) {
  return (zv){_mm256_sqrt_ps(x.lo), _mm256_sqrt_ps(x.hi)};
}

static inline void zv_sincospi(zv *sin, zv *cos, zv x) {
  Sleef___m256_2 a = Sleef_finz_sincospif8_u35avx2(x.lo), b = Sleef_finz_sincospif8_u35avx2(x.hi);
  *sin = (zv){a.x, b.x};
  *cos = (zv){a.y, b.y};
}

#endif
