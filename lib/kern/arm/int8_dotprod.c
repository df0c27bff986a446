/* int8 on NEON with products of bytes: sdot does four to a lane. */
#include "kern/arm/vec_neon.h"

enum { PER = 4, OFFSET = 0 };

static inline uint32x4_t dot_of(uint32x4_t s, uint32x4_t a, uint32x4_t b) {
  return vreinterpretq_u32_s32(
      vdotq_s32(vreinterpretq_s32_u32(s), vreinterpretq_s8_u32(a), vreinterpretq_s8_u32(b)));
}

static inline zu zu_dot(zu s, zu a, zu b) {
  ZV_EACH(zu, dot_of(s.part[i], a.part[i], b.part[i]));
}

static inline zu zu_spread(const uint32_t *cell) {
  return zu_set1(*cell);
}

static inline void zu_narrow(uint32_t *cell, zu q) {
  uint16x8_t a = vcombine_u16(vmovn_u32(q.part[0]), vmovn_u32(q.part[1]));
  uint16x8_t b = vcombine_u16(vmovn_u32(q.part[2]), vmovn_u32(q.part[3]));
  vst1q_u8((uint8_t *)(void *)cell, vcombine_u8(vmovn_u16(a), vmovn_u16(b)));
}

#include "kern/int8_tmpl.h"

void zf_kern_init_int8_dotprod(struct zf_kern_table *table) {
  fill_int8(table, "dotprod", 1);
}
