/* Sixteen lanes on NEON: four registers.  See kern/lanes_tmpl.h. */
#ifndef ZF_KERN_ARM_VEC_NEON_H
#define ZF_KERN_ARM_VEC_NEON_H

#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

#include "kern/unroll.h"
#include "rng/sleef.h"

enum { ZV_CHAINS = 1, ZV_NR = 1 };

typedef struct {
  float32x4_t part[4];
} zv;
typedef struct {
  uint32x4_t part[4];
} zu;
typedef zu zm;
typedef struct {
  float64x2_t part[8];
} zd;

/* Runs `f` for registers i = 0..3 of a value r of type t. */
#define ZV_EACH(t, f)                                                                              \
  t r;                                                                                             \
  ZF_UNROLL for (int i = 0; i < 4; i++) r.part[i] = f;                                             \
  return r

static inline zm zm_first(int64_t count) {
  static const uint32_t lane[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  ZV_EACH(zm, vcltq_u32(vld1q_u32(lane + 4 * i), vdupq_n_u32((uint32_t)count)));
}

static inline zv zv_set1(float x) {
  ZV_EACH(zv, vdupq_n_f32(x));
}

static inline zv zv_zero(void) {
  return zv_set1(0.0f);
}

static inline zv zv_load(const float *p) {
  ZV_EACH(zv, vld1q_f32(p + 4 * i));
}

static inline void zv_store(float *p, zv x) {
  for (int i = 0; i < 4; i++) vst1q_f32(p + 4 * i, x.part[i]);
}

static inline zv zv_load_n(const float *p, int64_t count) {
  float buf[16] = {0};
  if (count == 16) return zv_load(p);
  memcpy(buf, p, (size_t)count * sizeof *p);
  return zv_load(buf);
}

static inline void zv_store_n(float *p, zv x, int64_t count) {
  float buf[16];
  if (count == 16) {
    zv_store(p, x);
    return;
  }
  zv_store(buf, x);
  memcpy(p, buf, (size_t)count * sizeof *p);
}

static inline zv zv_keep(zv x, int64_t count, zv rest) {
  zm m = zm_first(count);
  ZV_EACH(zv, vbslq_f32(m.part[i], x.part[i], rest.part[i]));
}

static inline zv zv_load_blocks(const float *p, int64_t ld) {
  ZV_EACH(zv, vld1q_f32(p + 4 * i * ld));
}

static inline zv zv_load_f16(const uint16_t *p) {
  ZV_EACH(zv, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i))));
}

static inline zv zv_load_bf16(const uint16_t *p) {
  ZV_EACH(zv, vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 4 * i), 16)));
}

/* Sixteen values of three bytes, taken apart by the load: value = 0 | low | mid | high. */
static inline zv zv_load_f24(const unsigned char *p) {
  uint8x16x3_t b = vld3q_u8(p);
  uint8x16_t zero = vdupq_n_u8(0);
  uint16x8_t lo[2] = {vreinterpretq_u16_u8(vzip1q_u8(zero, b.val[0])),
                      vreinterpretq_u16_u8(vzip2q_u8(zero, b.val[0]))};
  uint16x8_t hi[2] = {vreinterpretq_u16_u8(vzip1q_u8(b.val[1], b.val[2])),
                      vreinterpretq_u16_u8(vzip2q_u8(b.val[1], b.val[2]))};
  ZV_EACH(zv, vreinterpretq_f32_u16(i % 2 ? vzip2q_u16(lo[i / 2], hi[i / 2])
                                          : vzip1q_u16(lo[i / 2], hi[i / 2])));
}

static inline zv zv_add(zv a, zv b) {
  ZV_EACH(zv, vaddq_f32(a.part[i], b.part[i]));
}

static inline zv zv_sub(zv a, zv b) {
  ZV_EACH(zv, vsubq_f32(a.part[i], b.part[i]));
}

static inline zv zv_mul(zv a, zv b) {
  ZV_EACH(zv, vmulq_f32(a.part[i], b.part[i]));
}

static inline zv zv_div(zv a, zv b) {
  ZV_EACH(zv, vdivq_f32(a.part[i], b.part[i]));
}

static inline zv zv_fma(zv a, zv b, zv c) {
  ZV_EACH(zv, vfmaq_f32(c.part[i], a.part[i], b.part[i]));
}

static inline zv zv_max(zv a, zv b) {
  ZV_EACH(zv, vbslq_f32(vcgtq_f32(a.part[i], b.part[i]), a.part[i], b.part[i]));
}

static inline zv zv_neg(zv a) {
  ZV_EACH(zv, vnegq_f32(a.part[i]));
}

static inline zv zv_exp(zv x) {
  ZV_EACH(zv, Sleef_finz_expf4_u10advsimd(x.part[i]));
}

static inline zv zv_tanh(zv x) {
  ZV_EACH(zv, Sleef_finz_tanhf4_u35advsimd(x.part[i]));
}

static inline zv zv_erf(zv x) {
  ZV_EACH(zv, Sleef_finz_erff4_u10advsimd(x.part[i]));
}

/* Lanes l + (l+8), then + 4: four sums are left. */
static inline float32x4_t zv_fold_to4(zv x) {
  return vaddq_f32(vaddq_f32(x.part[0], x.part[2]), vaddq_f32(x.part[1], x.part[3]));
}

static inline float zv_reduce(zv x) {
  float32x4_t a = zv_fold_to4(x);
  float32x2_t b = vadd_f32(vget_low_f32(a), vget_high_f32(a));
  return vget_lane_f32(b, 0) + vget_lane_f32(b, 1);
}

static inline float zv_reduce_max(zv x) {
  return vmaxvq_f32(vmaxq_f32(vmaxq_f32(x.part[0], x.part[1]), vmaxq_f32(x.part[2], x.part[3])));
}

static inline zd zd_zero(void) {
  zd r;
  for (int i = 0; i < 8; i++) r.part[i] = vdupq_n_f64(0);
  return r;
}

static inline zd zd_add(zd s, zv x) {
  for (int i = 0; i < 4; i++) {
    s.part[2 * i] = vaddq_f64(s.part[2 * i], vcvt_f64_f32(vget_low_f32(x.part[i])));
    s.part[2 * i + 1] = vaddq_f64(s.part[2 * i + 1], vcvt_f64_f32(vget_high_f32(x.part[i])));
  }
  return s;
}

static inline double zd_reduce(zd s) {
  for (int i = 0; i < 4; i++) s.part[i] = vaddq_f64(s.part[i], s.part[i + 4]);
  for (int i = 0; i < 2; i++) s.part[i] = vaddq_f64(s.part[i], s.part[i + 2]);
  float64x2_t a = vaddq_f64(s.part[0], s.part[1]);
  return vgetq_lane_f64(a, 0) + vgetq_lane_f64(a, 1);
}

static inline zu zu_set1(uint32_t x) {
  ZV_EACH(zu, vdupq_n_u32(x));
}

static inline zu zu_load(const uint32_t *p) {
  ZV_EACH(zu, vld1q_u32(p + 4 * i));
}

static inline void zu_store(uint32_t *p, zu x) {
  for (int i = 0; i < 4; i++) vst1q_u32(p + 4 * i, x.part[i]);
}

static inline void zu_store16(uint16_t *p, zu x) {
  for (int i = 0; i < 4; i++) vst1_u16(p + 4 * i, vmovn_u32(x.part[i]));
}

/* The low 24 bits of each lane. */
static inline void zu_store24(unsigned char *p, zu x) {
  uint16x8_t lo[2], hi[2];
  uint8x16x3_t b;
  for (int i = 0; i < 2; i++) {
    lo[i] = vcombine_u16(vmovn_u32(x.part[2 * i]), vmovn_u32(x.part[2 * i + 1]));
    hi[i] = vcombine_u16(vshrn_n_u32(x.part[2 * i], 16), vshrn_n_u32(x.part[2 * i + 1], 16));
  }
  b.val[0] = vcombine_u8(vmovn_u16(lo[0]), vmovn_u16(lo[1]));
  b.val[1] = vcombine_u8(vshrn_n_u16(lo[0], 8), vshrn_n_u16(lo[1], 8));
  b.val[2] = vcombine_u8(vmovn_u16(hi[0]), vmovn_u16(hi[1]));
  vst3q_u8(p, b);
}

static inline zu zu_add(zu a, zu b) {
  ZV_EACH(zu, vaddq_u32(a.part[i], b.part[i]));
}

static inline zu zu_sub(zu a, zu b) {
  ZV_EACH(zu, vsubq_u32(a.part[i], b.part[i]));
}

static inline zu zu_and(zu a, zu b) {
  ZV_EACH(zu, vandq_u32(a.part[i], b.part[i]));
}

static inline zu zu_or(zu a, zu b) {
  ZV_EACH(zu, vorrq_u32(a.part[i], b.part[i]));
}

static inline zu zu_xor(zu a, zu b) {
  ZV_EACH(zu, veorq_u32(a.part[i], b.part[i]));
}

static inline zu zu_xor3(zu a, zu b, zu c) {
  ZV_EACH(zu, veorq_u32(veorq_u32(b.part[i], c.part[i]), a.part[i]));
}

#define zu_shr(x, n)                                                                               \
  ((zu){{vshrq_n_u32((x).part[0], n), vshrq_n_u32((x).part[1], n), vshrq_n_u32((x).part[2], n),    \
         vshrq_n_u32((x).part[3], n)}})

#define zu_shl(x, n)                                                                               \
  ((zu){{vshlq_n_u32((x).part[0], n), vshlq_n_u32((x).part[1], n), vshlq_n_u32((x).part[2], n),    \
         vshlq_n_u32((x).part[3], n)}})

static inline void zu_mul(zu *hi, zu *lo, zu a, uint32_t m) {
  uint32x2_t mm = vdup_n_u32(m);
  for (int i = 0; i < 4; i++) {
    uint32x4_t p = vreinterpretq_u32_u64(vmull_u32(vget_low_u32(a.part[i]), mm));
    uint32x4_t q = vreinterpretq_u32_u64(vmull_u32(vget_high_u32(a.part[i]), mm));
    lo->part[i] = vuzp1q_u32(p, q);
    hi->part[i] = vuzp2q_u32(p, q);
  }
}

/* Byte numbers of the four bytes of a column in sixteen floats; which lanes mean the upper
 * sixteen of a table.  Columns below 16 stand for octaves that one value in 2^14 is in: they are
 * looked at only when some lane asks for them. */
typedef struct {
  zu byte;
  zm high;
} zx;

static inline zx zx_of(zu bits) {
  zx r;
  ZF_UNROLL
  for (int i = 0; i < 4; i++) {
    uint32x4_t column = vshrq_n_u32(vshlq_n_u32(bits.part[i], 5), 28);
    r.byte.part[i] = vmlaq_n_u32(vdupq_n_u32(0x03020100), column, 0x04040404);
    r.high.part[i] = vtstq_u32(bits.part[i], vdupq_n_u32(16u << 23));
  }
  return r;
}

static inline int zx_rare(zx k) {
  uint32x4_t all = vandq_u32(vandq_u32(k.high.part[0], k.high.part[1]),
                             vandq_u32(k.high.part[2], k.high.part[3]));
  return vminvq_u32(all) == 0;
}

static inline float32x4_t zv_pick16(const float *t, uint32x4_t byte) {
  uint8x16x4_t b;
  ZF_UNROLL
  for (int i = 0; i < 4; i++) b.val[i] = vreinterpretq_u8_f32(vld1q_f32(t + 4 * i));
  return vreinterpretq_f32_u8(vqtbl4q_u8(b, vreinterpretq_u8_u32(byte)));
}

static inline zv zv_pick(const float *t, zx k, int rare) {
  zv l;
  ZF_UNROLL
  for (int i = 0; i < 4; i++) l.part[i] = zv_pick16(t + 16, k.byte.part[i]);
  if (!rare) return l;
  ZV_EACH(zv, vbslq_f32(k.high.part[i], l.part[i], zv_pick16(t, k.byte.part[i])));
}

static inline zv zv_mantissa(zv f) {
  ZV_EACH(zv, vbslq_f32(vdupq_n_u32(0x7fffff), f.part[i], vdupq_n_f32(1.0f)));
}

static inline zv zv_flip(zv x, zu w) {
  uint32x4_t sign = vdupq_n_u32(0x80000000u);
  ZV_EACH(zv, vreinterpretq_f32_u32(
                  veorq_u32(vreinterpretq_u32_f32(x.part[i]), vandq_u32(w.part[i], sign))));
}

static inline zm zu_gt(zu a, zu b) {
  ZV_EACH(zm, vcgtq_s32(vreinterpretq_s32_u32(a.part[i]), vreinterpretq_s32_u32(b.part[i])));
}

static inline zu zu_if(zm m, zu a, zu b) {
  ZV_EACH(zu, vbslq_u32(m.part[i], a.part[i], b.part[i]));
}

static inline zu zu_bits(zv x) {
  ZV_EACH(zu, vreinterpretq_u32_f32(x.part[i]));
}

static inline zv zv_bits(zu x) {
  ZV_EACH(zv, vreinterpretq_f32_u32(x.part[i]));
}

static inline zv zv_from_i32(zu x) {
  ZV_EACH(zv, vcvtq_f32_s32(vreinterpretq_s32_u32(x.part[i])));
}

static inline zu zu_trunc(zv x) {
  ZV_EACH(zu, vreinterpretq_u32_s32(vcvtq_s32_f32(x.part[i])));
}

/* o[j] lane i = r[i] lane j. */
static inline void zv_transpose_block(float32x4_t o[4], const float32x4_t r[4]) {
  float64x2_t t0 = vreinterpretq_f64_f32(vtrn1q_f32(r[0], r[1]));
  float64x2_t t1 = vreinterpretq_f64_f32(vtrn2q_f32(r[0], r[1]));
  float64x2_t t2 = vreinterpretq_f64_f32(vtrn1q_f32(r[2], r[3]));
  float64x2_t t3 = vreinterpretq_f64_f32(vtrn2q_f32(r[2], r[3]));
  o[0] = vreinterpretq_f32_f64(vtrn1q_f64(t0, t2));
  o[1] = vreinterpretq_f32_f64(vtrn1q_f64(t1, t3));
  o[2] = vreinterpretq_f32_f64(vtrn2q_f64(t0, t2));
  o[3] = vreinterpretq_f32_f64(vtrn2q_f64(t1, t3));
}

static inline void zv_transpose4(zv o[4], zv a, zv b, zv c, zv d) {
  for (int i = 0; i < 4; i++) {
    float32x4_t r[4] = {a.part[i], b.part[i], c.part[i], d.part[i]}, t[4];
    zv_transpose_block(t, r);
    for (int j = 0; j < 4; j++) o[j].part[i] = t[j];
  }
}

#endif
