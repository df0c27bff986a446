/* Sixteen lanes on AVX2: two registers, a and b.  See kern/lanes_tmpl.h. */
#ifndef ZF_KERN_X86_VEC_AVX2_H
#define ZF_KERN_X86_VEC_AVX2_H

#include <immintrin.h>
#include <string.h>
#include <stdint.h>

#include "rng/sleef.h"

enum { ZV_CHAINS = 1, ZV_NR = 1 };

typedef struct {
  __m256 lo, hi;
} zv;
typedef struct {
  __m256i lo, hi;
} zu;
typedef zu zm;
typedef struct {
  __m256d part[4]; /* lanes 4 part .. 4 part + 3 */
} zd;

/* All ones in the first n lanes. */
static inline zm zm_first(int64_t count) {
  static const int32_t edge[32] = {-1, -1, -1, -1, -1, -1, -1, -1, -1,
                                   -1, -1, -1, -1, -1, -1, -1, 0};
  const int32_t *p = edge + 16 - count;
  return (zm){_mm256_loadu_si256((const __m256i *)p), _mm256_loadu_si256((const __m256i *)(p + 8))};
}

static inline zv zv_zero(void) {
  return (zv){_mm256_setzero_ps(), _mm256_setzero_ps()};
}

static inline zv zv_set1(float x) {
  return (zv){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}

static inline zv zv_load(const float *p) {
  return (zv){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

static inline void zv_store(float *p, zv x) {
  _mm256_storeu_ps(p, x.lo);
  _mm256_storeu_ps(p + 8, x.hi);
}

static inline zv zv_load_n(const float *p, int64_t count) {
  if (count == 16) return zv_load(p);
  zm m = zm_first(count);
  return (zv){_mm256_maskload_ps(p, m.lo),
              count > 8 ? _mm256_maskload_ps(p + 8, m.hi) : _mm256_setzero_ps()};
}

static inline void zv_store_n(float *p, zv x, int64_t count) {
  if (count == 16) {
    zv_store(p, x);
    return;
  }
  zm m = zm_first(count);
  _mm256_maskstore_ps(p, m.lo, x.lo);
  if (count > 8) _mm256_maskstore_ps(p + 8, m.hi, x.hi);
}

static inline zv zv_keep(zv x, int64_t count, zv rest) {
  zm m = zm_first(count);
  return (zv){_mm256_blendv_ps(rest.lo, x.lo, _mm256_castsi256_ps(m.lo)),
              _mm256_blendv_ps(rest.hi, x.hi, _mm256_castsi256_ps(m.hi))};
}

static inline zv zv_load_blocks(const float *p, int64_t ld) {
  __m256 a = _mm256_castps128_ps256(_mm_loadu_ps(p));
  __m256 b = _mm256_castps128_ps256(_mm_loadu_ps(p + 8 * ld));
  return (zv){_mm256_insertf128_ps(a, _mm_loadu_ps(p + 4 * ld), 1),
              _mm256_insertf128_ps(b, _mm_loadu_ps(p + 12 * ld), 1)};
}

static inline zv zv_load_f16(const uint16_t *p) {
  return (zv){_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)),
              _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p + 8)))};
}

static inline __m256 zv_half_bf16(const uint16_t *p) {
  __m256i h = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(h, 16));
}

static inline zv zv_load_bf16(const uint16_t *p) {
  return (zv){zv_half_bf16(p), zv_half_bf16(p + 8)};
}

/* Eight values of three bytes; no byte beyond them is read. */
static inline __m256 zv_half_f24(const unsigned char *p) {
  const __m256i at = _mm256_setr_epi8(-1, 0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, /**/
                                      -1, 4, 5, 6, -1, 7, 8, 9, -1, 10, 11, 12, -1, 13, 14, 15);
  __m256i h = _mm256_loadu2_m128i((const __m128i *)(p + 8), (const __m128i *)p);
  return _mm256_castsi256_ps(_mm256_shuffle_epi8(h, at));
}

static inline zv zv_load_f24(const unsigned char *p) {
  return (zv){zv_half_f24(p), zv_half_f24(p + 24)};
}

static inline zv zv_add(zv x, zv y) {
  return (zv){_mm256_add_ps(x.lo, y.lo), _mm256_add_ps(x.hi, y.hi)};
}

static inline zv zv_sub(zv x, zv y) {
  return (zv){_mm256_sub_ps(x.lo, y.lo), _mm256_sub_ps(x.hi, y.hi)};
}

static inline zv zv_mul(zv x, zv y) {
  return (zv){_mm256_mul_ps(x.lo, y.lo), _mm256_mul_ps(x.hi, y.hi)};
}

static inline zv zv_div(zv x, zv y) {
  return (zv){_mm256_div_ps(x.lo, y.lo), _mm256_div_ps(x.hi, y.hi)};
}

static inline zv zv_fma(zv x, zv y, zv z) {
  return (zv){_mm256_fmadd_ps(x.lo, y.lo, z.lo), _mm256_fmadd_ps(x.hi, y.hi, z.hi)};
}

static inline zv zv_max(zv x, zv y) {
  return (zv){_mm256_max_ps(x.lo, y.lo), _mm256_max_ps(x.hi, y.hi)};
}

static inline zv zv_neg(zv x) {
  __m256 s = _mm256_set1_ps(-0.0f);
  return (zv){_mm256_xor_ps(x.lo, s), _mm256_xor_ps(x.hi, s)};
}

static inline zv zv_exp(zv x) {
  return (zv){Sleef_finz_expf8_u10avx2(x.lo), Sleef_finz_expf8_u10avx2(x.hi)};
}

static inline zv zv_tanh(zv x) {
  return (zv){Sleef_finz_tanhf8_u35avx2(x.lo), Sleef_finz_tanhf8_u35avx2(x.hi)};
}

static inline zv zv_erf(zv x) {
  return (zv){Sleef_finz_erff8_u10avx2(x.lo), Sleef_finz_erff8_u10avx2(x.hi)};
}

static inline float zv_reduce(zv x) {
  __m256 a = _mm256_add_ps(x.lo, x.hi);
  __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  b = _mm_add_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}

static inline float zv_reduce_max(zv x) {
  __m256 a = _mm256_max_ps(x.lo, x.hi);
  __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  b = _mm_max_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
}

static inline zd zd_zero(void) {
  __m256d o = _mm256_setzero_pd();
  return (zd){{o, o, o, o}};
}

static inline zd zd_add(zd s, zv x) {
  s.part[0] = _mm256_add_pd(s.part[0], _mm256_cvtps_pd(_mm256_castps256_ps128(x.lo)));
  s.part[1] = _mm256_add_pd(s.part[1], _mm256_cvtps_pd(_mm256_extractf128_ps(x.lo, 1)));
  s.part[2] = _mm256_add_pd(s.part[2], _mm256_cvtps_pd(_mm256_castps256_ps128(x.hi)));
  s.part[3] = _mm256_add_pd(s.part[3], _mm256_cvtps_pd(_mm256_extractf128_ps(x.hi, 1)));
  return s;
}

static inline double zd_reduce(zd s) {
  __m256d b =
      _mm256_add_pd(_mm256_add_pd(s.part[0], s.part[2]), _mm256_add_pd(s.part[1], s.part[3]));
  __m128d c = _mm_add_pd(_mm256_castpd256_pd128(b), _mm256_extractf128_pd(b, 1));
  return _mm_cvtsd_f64(_mm_add_sd(c, _mm_unpackhi_pd(c, c)));
}

static inline zu zu_set1(uint32_t x) {
  return (zu){_mm256_set1_epi32((int)x), _mm256_set1_epi32((int)x)};
}

static inline zu zu_load(const uint32_t *p) {
  return (zu){_mm256_loadu_si256((const __m256i *)p), _mm256_loadu_si256((const __m256i *)(p + 8))};
}

static inline void zu_store(uint32_t *p, zu x) {
  _mm256_storeu_si256((__m256i *)p, x.lo);
  _mm256_storeu_si256((__m256i *)(p + 8), x.hi);
}

static inline void zu_store16(uint16_t *p, zu x) {
  __m256i h = _mm256_permute4x64_epi64(_mm256_packus_epi32(x.lo, x.hi), 0xd8);
  _mm256_storeu_si256((__m256i *)p, h);
}

/* Eight lanes' low 24 bits; `last`: no byte beyond them is written. */
static inline void zu_half24(unsigned char *p, __m256i x, int last) {
  const __m256i at = _mm256_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1, /**/
                                      0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
  __m256i h = _mm256_shuffle_epi8(x, at);
  __m128i hi = _mm256_extracti128_si256(h, 1);
  _mm_storeu_si128((__m128i *)p, _mm256_castsi256_si128(h));
  if (!last) {
    _mm_storeu_si128((__m128i *)(p + 12), hi);
    return;
  }
  _mm_storel_epi64((__m128i *)(p + 12), hi);
  int top = _mm_extract_epi32(hi, 2);
  memcpy(p + 20, &top, 4);
}

static inline void zu_store24(unsigned char *p, zu x) {
  zu_half24(p, x.lo, 0);
  zu_half24(p + 24, x.hi, 1);
}

static inline zu zu_add(zu x, zu y) {
  return (zu){_mm256_add_epi32(x.lo, y.lo), _mm256_add_epi32(x.hi, y.hi)};
}

static inline zu zu_sub(zu x, zu y) {
  return (zu){_mm256_sub_epi32(x.lo, y.lo), _mm256_sub_epi32(x.hi, y.hi)};
}

static inline zu zu_and(zu x, zu y) {
  return (zu){_mm256_and_si256(x.lo, y.lo), _mm256_and_si256(x.hi, y.hi)};
}

static inline zu zu_or(zu x, zu y) {
  return (zu){_mm256_or_si256(x.lo, y.lo), _mm256_or_si256(x.hi, y.hi)};
}

static inline zu zu_xor(zu x, zu y) {
  return (zu){_mm256_xor_si256(x.lo, y.lo), _mm256_xor_si256(x.hi, y.hi)};
}

static inline zu zu_xor3(zu x, zu y, zu z) {
  return (zu){_mm256_xor_si256(_mm256_xor_si256(y.lo, z.lo), x.lo),
              _mm256_xor_si256(_mm256_xor_si256(y.hi, z.hi), x.hi)};
}

static inline zu zu_shr(zu x, int n) {
  return (zu){_mm256_srli_epi32(x.lo, n), _mm256_srli_epi32(x.hi, n)};
}

static inline zu zu_shl(zu x, int n) {
  return (zu){_mm256_slli_epi32(x.lo, n), _mm256_slli_epi32(x.hi, n)};
}

static inline void zu_mul_half(__m256i *hi, __m256i *lo, __m256i x, __m256i m) {
  __m256i even = _mm256_mul_epu32(x, m), odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), m);
  *hi = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
  *lo = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
}

static inline void zu_mul(zu *hi, zu *lo, zu x, uint32_t m) {
  __m256i mm = _mm256_set1_epi64x(m);
  zu_mul_half(&hi->lo, &lo->lo, x.lo, mm);
  zu_mul_half(&hi->hi, &lo->hi, x.hi, mm);
}

/* Exponents, and two of their bits in the place of the sign: they choose between registers of
 * a table.  Columns below 16 stand for octaves that one value in 2^14 is in: the registers that
 * hold them are looked at only when some lane asks for them. */
typedef struct {
  zu x, bit3, bit4;
} zx;

static inline zx zx_of(zu bits) {
  return (zx){zu_shr(bits, 23),
              {_mm256_slli_epi32(bits.lo, 5), _mm256_slli_epi32(bits.hi, 5)},
              {_mm256_slli_epi32(bits.lo, 4), _mm256_slli_epi32(bits.hi, 4)}};
}

static inline int zx_rare(zx k) {
  __m256i both = _mm256_and_si256(k.bit4.lo, k.bit4.hi);
  return _mm256_movemask_ps(_mm256_castsi256_ps(both)) != 0xff;
}

/* The floats of t[0..16) that the lower four bits of a column choose. */
static inline __m256 zv_pick16(const float *t, __m256i x, __m256i bit3) {
  __m256 a = _mm256_permutevar8x32_ps(_mm256_loadu_ps(t), x);
  __m256 b = _mm256_permutevar8x32_ps(_mm256_loadu_ps(t + 8), x);
  return _mm256_blendv_ps(a, b, _mm256_castsi256_ps(bit3));
}

static inline zv zv_pick(const float *t, zx k, int rare) {
  zv r = {zv_pick16(t + 16, k.x.lo, k.bit3.lo), zv_pick16(t + 16, k.x.hi, k.bit3.hi)}, l;
  if (!rare) return r;
  l = (zv){zv_pick16(t, k.x.lo, k.bit3.lo), zv_pick16(t, k.x.hi, k.bit3.hi)};
  return (zv){_mm256_blendv_ps(l.lo, r.lo, _mm256_castsi256_ps(k.bit4.lo)),
              _mm256_blendv_ps(l.hi, r.hi, _mm256_castsi256_ps(k.bit4.hi))};
}

static inline zv zv_mantissa(zv f) {
  __m256 man = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffff)), one = _mm256_set1_ps(1.0f);
  return (zv){_mm256_or_ps(_mm256_and_ps(f.lo, man), one),
              _mm256_or_ps(_mm256_and_ps(f.hi, man), one)};
}

static inline zv zv_flip(zv x, zu w) {
  __m256 sign = _mm256_set1_ps(-0.0f);
  return (zv){_mm256_xor_ps(x.lo, _mm256_and_ps(_mm256_castsi256_ps(w.lo), sign)),
              _mm256_xor_ps(x.hi, _mm256_and_ps(_mm256_castsi256_ps(w.hi), sign))};
}

static inline zm zu_gt(zu x, zu y) {
  return (zm){_mm256_cmpgt_epi32(x.lo, y.lo), _mm256_cmpgt_epi32(x.hi, y.hi)};
}

static inline zu zu_if(zm m, zu x, zu y) {
  return (zu){_mm256_blendv_epi8(y.lo, x.lo, m.lo), _mm256_blendv_epi8(y.hi, x.hi, m.hi)};
}

static inline zu zu_bits(zv x) {
  return (zu){_mm256_castps_si256(x.lo), _mm256_castps_si256(x.hi)};
}

static inline zv zv_bits(zu x) {
  return (zv){_mm256_castsi256_ps(x.lo), _mm256_castsi256_ps(x.hi)};
}

static inline zv zv_from_i32(zu x) {
  return (zv){_mm256_cvtepi32_ps(x.lo), _mm256_cvtepi32_ps(x.hi)};
}

static inline zu zu_trunc(zv x) {
  return (zu){_mm256_cvttps_epi32(x.lo), _mm256_cvttps_epi32(x.hi)};
}

static inline void zv_transpose_half(__m256 o[4], __m256 a, __m256 b, __m256 c, __m256 d) {
  __m256d t0 = _mm256_castps_pd(_mm256_unpacklo_ps(a, b));
  __m256d t1 = _mm256_castps_pd(_mm256_unpackhi_ps(a, b));
  __m256d t2 = _mm256_castps_pd(_mm256_unpacklo_ps(c, d));
  __m256d t3 = _mm256_castps_pd(_mm256_unpackhi_ps(c, d));
  o[0] = _mm256_castpd_ps(_mm256_unpacklo_pd(t0, t2));
  o[1] = _mm256_castpd_ps(_mm256_unpackhi_pd(t0, t2));
  o[2] = _mm256_castpd_ps(_mm256_unpacklo_pd(t1, t3));
  o[3] = _mm256_castpd_ps(_mm256_unpackhi_pd(t1, t3));
}

static inline void zv_transpose4(zv o[4], zv a, zv b, zv c, zv d) {
  __m256 lo[4], hi[4];
  zv_transpose_half(lo, a.lo, b.lo, c.lo, d.lo);
  zv_transpose_half(hi, a.hi, b.hi, c.hi, d.hi);
  for (int i = 0; i < 4; i++) o[i] = (zv){lo[i], hi[i]};
}

#endif
