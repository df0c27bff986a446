/* Sixteen lanes on AVX-512: one register.  See kern/lanes_tmpl.h for what each means. */
#ifndef ZF_KERN_X86_VEC_AVX512_H
#define ZF_KERN_X86_VEC_AVX512_H

#include <immintrin.h>
#include <stdint.h>

#include "rng/sleef.h"

enum { ZV_CHAINS = 2, ZV_NR = 4 };

typedef __m512 zv;
typedef __m512i zu;
typedef __mmask16 zm;
typedef struct {
  __m512d lo, hi;
} zd;

static inline __mmask16 zm_first(int64_t count) {
  return (__mmask16)((1u << count) - 1);
}

static inline zv zv_zero(void) {
  return _mm512_setzero_ps();
}

static inline zv zv_set1(float x) {
  return _mm512_set1_ps(x);
}

static inline zv zv_load(const float *p) {
  return _mm512_loadu_ps(p);
}

static inline void zv_store(float *p, zv x) {
  _mm512_storeu_ps(p, x);
}

static inline zv zv_load_n(const float *p, int64_t count) {
  return _mm512_maskz_loadu_ps(zm_first(count), p);
}

static inline void zv_store_n(float *p, zv x, int64_t count) {
  _mm512_mask_storeu_ps(p, zm_first(count), x);
}

static inline zv zv_keep(zv x, int64_t count, zv rest) {
  return _mm512_mask_mov_ps(rest, zm_first(count), x);
}

static inline zv zv_load_blocks(const float *p, int64_t ld) {
  zv r = _mm512_castps128_ps512(_mm_loadu_ps(p));
  r = _mm512_mask_broadcast_f32x4(r, 0x00f0, _mm_loadu_ps(p + 4 * ld));
  r = _mm512_mask_broadcast_f32x4(r, 0x0f00, _mm_loadu_ps(p + 8 * ld));
  return _mm512_mask_broadcast_f32x4(r, 0xf000, _mm_loadu_ps(p + 12 * ld));
}

static inline zv zv_load_f16(const uint16_t *p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

static inline zv zv_load_bf16(const uint16_t *p) {
  __m256i h = _mm256_loadu_si256((const __m256i *)p);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

/* Sixteen values of three bytes; no byte beyond them is read: the last four end their load. */
static inline zv zv_load_f24(const unsigned char *p) {
  const __m512i at =
      _mm512_broadcast_i32x4(_mm_setr_epi8(-1, 0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11));
  __m512i h = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)p));
  h = _mm512_inserti32x4(h, _mm_loadu_si128((const __m128i *)(p + 12)), 1);
  h = _mm512_inserti32x4(h, _mm_loadu_si128((const __m128i *)(p + 24)), 2);
  h = _mm512_inserti32x4(h, _mm_srli_si128(_mm_loadu_si128((const __m128i *)(p + 32)), 4), 3);
  return _mm512_castsi512_ps(_mm512_shuffle_epi8(h, at));
}

static inline zv zv_add(zv a, zv b) {
  return _mm512_add_ps(a, b);
}

static inline zv zv_sub(zv a, zv b) {
  return _mm512_sub_ps(a, b);
}

static inline zv zv_mul(zv a, zv b) {
  return _mm512_mul_ps(a, b);
}

static inline zv zv_div(zv a, zv b) {
  return _mm512_div_ps(a, b);
}

static inline zv zv_fma(zv a, zv b, zv c) {
  return _mm512_fmadd_ps(a, b, c);
}

static inline zv zv_max(zv a, zv b) {
  return _mm512_max_ps(a, b);
}

static inline zv zv_neg(zv a) {
  return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f));
}

static inline zv zv_exp(zv x) {
  return Sleef_finz_expf16_u10avx512f(x);
}

static inline zv zv_tanh(zv x) {
  return Sleef_finz_tanhf16_u35avx512f(x);
}

static inline zv zv_erf(zv x) {
  return Sleef_finz_erff16_u10avx512f(x);
}

static inline float zv_reduce(zv x) {
  __m256 a = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
  __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  b = _mm_add_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}

static inline float zv_reduce_max(zv x) {
  return _mm512_reduce_max_ps(x);
}

static inline zd zd_zero(void) {
  return (zd){_mm512_setzero_pd(), _mm512_setzero_pd()};
}

static inline zd zd_add(zd s, zv x) {
  s.lo = _mm512_add_pd(s.lo, _mm512_cvtps_pd(_mm512_castps512_ps256(x)));
  s.hi = _mm512_add_pd(s.hi, _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1)));
  return s;
}

static inline double zd_reduce(zd s) {
  __m512d a = _mm512_add_pd(s.lo, s.hi);
  __m256d b = _mm256_add_pd(_mm512_castpd512_pd256(a), _mm512_extractf64x4_pd(a, 1));
  __m128d c = _mm_add_pd(_mm256_castpd256_pd128(b), _mm256_extractf128_pd(b, 1));
  return _mm_cvtsd_f64(_mm_add_sd(c, _mm_unpackhi_pd(c, c)));
}

static inline zu zu_set1(uint32_t x) {
  return _mm512_set1_epi32((int)x);
}

static inline zu zu_load(const uint32_t *p) {
  return _mm512_loadu_si512(p);
}

static inline void zu_store(uint32_t *p, zu x) {
  _mm512_storeu_si512(p, x);
}

static inline void zu_store16(uint16_t *p, zu x) {
  _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(x));
}

/* The low 24 bits of each lane: four lanes of 12 bytes, moved together. */
static inline void zu_store24(unsigned char *p, zu x) {
  const __m512i at =
      _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
  const __m512i join = _mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 3, 3, 3, 3);
  __m512i h = _mm512_permutexvar_epi32(join, _mm512_shuffle_epi8(x, at));
  _mm512_mask_storeu_epi32(p, 0x0fff, h);
}

static inline zu zu_add(zu a, zu b) {
  return _mm512_add_epi32(a, b);
}

static inline zu zu_sub(zu a, zu b) {
  return _mm512_sub_epi32(a, b);
}

static inline zu zu_and(zu a, zu b) {
  return _mm512_and_si512(a, b);
}

static inline zu zu_or(zu a, zu b) {
  return _mm512_or_si512(a, b);
}

static inline zu zu_xor(zu a, zu b) {
  return _mm512_xor_si512(a, b);
}

static inline zu zu_xor3(zu a, zu b, zu c) {
  return _mm512_ternarylogic_epi32(a, b, c, 0x96);
}

#define zu_shr(a, n) _mm512_srli_epi32(a, n)
#define zu_shl(a, n) _mm512_slli_epi32(a, n)

static inline void zu_mul(zu *hi, zu *lo, zu a, uint32_t m) {
  zu mm = _mm512_set1_epi64(m), even = _mm512_mul_epu32(a, mm);
  zu odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), mm);
  *hi = _mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_DDBB);
  *lo = _mm512_mask_shuffle_epi32(even, 0xaaaa, odd, _MM_PERM_CCAA);
}

typedef __m512i zx;

static inline zx zx_of(zu bits) {
  return _mm512_srli_epi32(bits, 23);
}

static inline int zx_rare(zx x) {
  (void)x;
  return 0;
}

static inline zv zv_pick(const float *t, zx x, int rare) {
  (void)rare;
  return _mm512_permutex2var_ps(_mm512_loadu_ps(t), x, _mm512_loadu_ps(t + 16));
}

static inline zv zv_mantissa(zv f) {
  return _mm512_getmant_ps(f, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_zero);
}

static inline zv zv_flip(zv x, zu w) {
  zu sign = zu_set1(0x80000000u);
  return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(_mm512_castps_si512(x), w, sign, 0x78));
}

static inline zm zu_gt(zu a, zu b) {
  return _mm512_cmpgt_epi32_mask(a, b);
}

static inline zu zu_if(zm m, zu a, zu b) {
  return _mm512_mask_mov_epi32(b, m, a);
}

static inline zu zu_bits(zv x) {
  return _mm512_castps_si512(x);
}

static inline zv zv_bits(zu x) {
  return _mm512_castsi512_ps(x);
}

static inline zv zv_from_i32(zu x) {
  return _mm512_cvtepi32_ps(x);
}

static inline zu zu_trunc(zv x) {
  return _mm512_cvttps_epi32(x);
}

static inline void zv_transpose4(zv o[4], zv a, zv b, zv c, zv d) {
  __m512d t0 = _mm512_castps_pd(_mm512_unpacklo_ps(a, b));
  __m512d t1 = _mm512_castps_pd(_mm512_unpackhi_ps(a, b));
  __m512d t2 = _mm512_castps_pd(_mm512_unpacklo_ps(c, d));
  __m512d t3 = _mm512_castps_pd(_mm512_unpackhi_ps(c, d));
  o[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(t0, t2));
  o[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(t0, t2));
  o[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(t1, t3));
  o[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(t1, t3));
}

#endif
