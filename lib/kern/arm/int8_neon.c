/* int8 on NEON: pairs of halfwords. */
#include "kern/arm/vec_neon.h"

enum { PER = 2, OFFSET = 0 };

static inline uint32x4_t dot_of(uint32x4_t s, uint32x4_t a, uint32x4_t b) {
  int16x8_t x = vreinterpretq_s16_u32(a), y = vreinterpretq_s16_u32(b);
  int32x4_t low = vmull_s16(vget_low_s16(x), vget_low_s16(y)), high = vmull_high_s16(x, y);
  return vaddq_u32(s, vreinterpretq_u32_s32(vpaddq_s32(low, high)));
}

static inline zu zu_dot(zu s, zu a, zu b) {
  ZV_EACH(zu, dot_of(s.part[i], a.part[i], b.part[i]));
}

static inline zu zu_spread(const uint32_t *cell) {
  return zu_set1(*cell);
}

static inline void zu_narrow(uint32_t *cell, zu q) {
  zu_store16((uint16_t *)(void *)cell, q);
}

#include "kern/int8_tmpl.h"

void zf_kern_init_int8_neon(struct zf_kern_table *table) {
  fill_int8(table, "neon", 1);
}
