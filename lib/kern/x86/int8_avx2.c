/* int8 on AVX2: pairs of halfwords, by vpmaddwd.  (vpmaddubsw has pairs of bytes, but its sums
 * saturate.) */
#include "kern/x86/vec_avx2.h"

enum { PER = 2, OFFSET = 0 };

static inline zu zu_dot(zu s, zu a, zu b) {
  return (zu){_mm256_add_epi32(s.lo, _mm256_madd_epi16(a.lo, b.lo)),
              _mm256_add_epi32(s.hi, _mm256_madd_epi16(a.hi, b.hi))};
}

static inline zu zu_spread(const uint32_t *cell) {
  return zu_set1(*cell);
}

static inline void zu_narrow(uint32_t *cell, zu q) {
  zu_store16((uint16_t *)(void *)cell, q);
}

#include "kern/int8_tmpl.h"

void zf_kern_init_int8_avx2(struct zf_kern_table *table) {
  fill_int8(table, "avx2", 1);
}
