/* int8 on AVX-512 without VNNI: pairs of halfwords, by vpmaddwd. */
#include "kern/x86/vec_avx512.h"

enum { PER = 2, OFFSET = 0 };

static inline zu zu_dot(zu s, zu a, zu b) {
  return _mm512_add_epi32(s, _mm512_madd_epi16(a, b));
}

static inline zu zu_spread(const uint32_t *cell) {
  return zu_set1(*cell);
}

static inline void zu_narrow(uint32_t *cell, zu q) {
  zu_store16((uint16_t *)(void *)cell, q);
}

#include "kern/int8_tmpl.h"

void zf_kern_init_int8_avx512(struct zf_kern_table *table) {
  fill_int8(table, "avx512", 1);
}
