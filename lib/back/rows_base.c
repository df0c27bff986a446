/* The row functions for the base processor, and the choice between all versions. */
#define ROWS_TABLE zf_back_rows_base
#include "back/rows_tmpl.h"

#include "base/cpu.h"

const struct zf_back_rows *zf_back_rows_for(unsigned flags) {
#if defined(__x86_64__)
  if (flags & ZF_CPU_AVX512) return &zf_back_rows_avx512;
  if (flags & ZF_CPU_AVX2) return &zf_back_rows_avx2;
#endif
  (void)flags;
  return &zf_back_rows_base;
}
