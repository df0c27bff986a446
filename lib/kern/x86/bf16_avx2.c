/* bf16 on AVX2: emulated. */
#include "kern/x86/vec_avx2.h"

/* Flushes subnormal inputs and results of this thread; returns what was set. */
static inline unsigned zv_begin_flush(void) {
  unsigned was = _mm_getcsr();
  _mm_setcsr(was | 0x8040);
  return was;
}

static inline void zv_end_flush(unsigned was) {
  _mm_setcsr(was);
}

#include "kern/bf16_emulated.h"

void zf_kern_init_bf16_avx2(struct zf_kern_table *table) {
  fill_bf16(table, "avx2");
}
