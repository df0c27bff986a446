/* int8 on AVX-512 with VNNI: vpdpbusd does four bytes to a lane, those of x unsigned. */
#include "kern/x86/dpbusd.h"
#include "kern/x86/vec_avx512.h"

enum { PER = 4, OFFSET = 128 };

static inline zu zu_dot(zu s, zu a, zu b) {
  return dpbusd(s, a, b);
}

static inline zu zu_spread(const uint32_t *cell) {
  return zu_set1(*cell);
}

static inline void zu_narrow(uint32_t *cell, zu q) {
  _mm_storeu_si128((__m128i *)(void *)cell, _mm512_cvtepi32_epi8(q));
}

#include "kern/int8_tmpl.h"

void zf_kern_init_int8_avx512vnni(struct zf_kern_table *table) {
  fill_int8(table, "avx512vnni", 1);
}
