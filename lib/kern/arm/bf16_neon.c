/* bf16 on NEON: emulated. */
#include "kern/arm/vec_neon.h"

enum { FLUSH = 1 << 24 }; /* FZ of FPCR */

/* Flushes subnormal inputs and results of this thread; returns what was set. */
static inline unsigned zv_begin_flush(void) {
  uint64_t was;
  __asm__ volatile("mrs %0, fpcr" : "=r"(was));
  __asm__ volatile("msr fpcr, %0" : : "r"(was | FLUSH) : "memory");
  return (unsigned)was;
}

static inline void zv_end_flush(unsigned was) {
  __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)was) : "memory");
}

#include "kern/bf16_emulated.h"

void zf_kern_init_bf16_neon(struct zf_kern_table *table) {
  fill_bf16(table, "neon");
}
