/* The product in bf16 on AVX-512 with BF16: a vdpbf16ps does 16 cells.
 *
 * Packing reads 16 rows of W, 32 inputs of each: two registers with their noise become one of
 * 16 cells, and the square of 16 x 16 cells is transposed as dwords. */
#include "kern/x86/vec_avx512.h"

typedef __m512bh zc;

static inline zv zv_dot2(zv c, zc a, zc b) {
  return _mm512_dpbf16_ps(c, a, b);
}

static inline zc zv_spread(const uint32_t *cell) {
  return (__m512bh)_mm512_set1_epi32((int)*cell);
}

static inline zc zv_cells(const uint32_t *p) {
  return (__m512bh)_mm512_loadu_si512(p);
}

/* The instruction flushes by itself. */
static inline unsigned zv_begin_flush(void) {
  return 0;
}

static inline void zv_end_flush(unsigned was) {
  (void)was;
}

#include "kern/bf16_tmpl.h"

static inline __m512i cells_of(__m512 low, __m512 high) {
  return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

static void rows_bf16_avx512bf16(void *cell, const float *x, int64_t count) {
  uint32_t *c = cell;
  int64_t i = 0;
  for (; i + 32 <= count; i += 32)
    _mm512_storeu_si512(c + i / 2, cells_of(zv_load(x + i), zv_load(x + i + 16)));
  if (i == count) return;
  int64_t m = count - i, low = m < 16 ? m : 16;
  __m512i last = cells_of(zv_load_n(x + i, low), zv_load_n(x + i + low, m - low));
  _mm512_mask_storeu_epi32(c + i / 2, zm_first((m + 1) / 2), last);
}

/* r[j] lane i <-> r[i] lane j. */
static inline __attribute__((always_inline)) void transpose16(__m512i r[16]) {
  __m512i t[16];
  ZF_UNROLL
  for (int i = 0; i < 16; i += 4) { /* 4x4 inside blocks of four lanes */
    __m512i a = _mm512_unpacklo_epi32(r[i], r[i + 1]), b = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    __m512i c = _mm512_unpacklo_epi32(r[i + 2], r[i + 3]);
    __m512i d = _mm512_unpackhi_epi32(r[i + 2], r[i + 3]);
    t[i] = _mm512_unpacklo_epi64(a, c);
    t[i + 1] = _mm512_unpackhi_epi64(a, c);
    t[i + 2] = _mm512_unpacklo_epi64(b, d);
    t[i + 3] = _mm512_unpackhi_epi64(b, d);
  }
  ZF_UNROLL
  for (int j = 0; j < 4; j++) { /* 4x4 of blocks */
    __m512i a = _mm512_shuffle_i32x4(t[j], t[4 + j], 0x88);
    __m512i b = _mm512_shuffle_i32x4(t[j], t[4 + j], 0xdd);
    __m512i c = _mm512_shuffle_i32x4(t[8 + j], t[12 + j], 0x88);
    __m512i d = _mm512_shuffle_i32x4(t[8 + j], t[12 + j], 0xdd);
    r[j] = _mm512_shuffle_i32x4(a, c, 0x88);
    r[8 + j] = _mm512_shuffle_i32x4(a, c, 0xdd);
    r[4 + j] = _mm512_shuffle_i32x4(b, d, 0x88);
    r[12 + j] = _mm512_shuffle_i32x4(b, d, 0xdd);
  }
}

static inline __m512 noisy(const float *w, const float *z, zv eps) {
  return z ? zv_fma(eps, zv_load(z), zv_load(w)) : zv_load(w);
}

/* 16 rows by 32 inputs. */
static inline __attribute__((always_inline)) void square(uint32_t *panel, int64_t width,
                                                         const float *rows, int64_t ld,
                                                         const float *z, zv eps, int64_t cells) {
  __m512i r[16];
  ZF_UNROLL
  for (int j = 0; j < 16; j++) {
    const float *zj = z ? z + j * ZF_KC : NULL;
    r[j] = cells_of(noisy(rows + j * ld, zj, eps),
                    noisy(rows + j * ld + 16, zj ? zj + 16 : NULL, eps));
  }
  transpose16(r);
  if (cells == 16) {
    ZF_UNROLL
    for (int i = 0; i < 16; i++) _mm512_storeu_si512(panel + i * width, r[i]);
  } else
    for (int64_t i = 0; i < cells; i++) _mm512_storeu_si512(panel + i * width, r[i]);
}

/* The same where there are fewer: n rows, m inputs. */
static void edge(uint32_t *panel, int64_t width, const float *rows, int64_t ld, const float *z,
                 float eps, int64_t count, int64_t m) {
  float v[16 * 32] = {0};
  for (int64_t j = 0; j < count; j++)
    for (int64_t i = 0; i < m; i += 16) {
      int64_t some = m - i < 16 ? m - i : 16;
      zv a = zv_load_n(rows + j * ld + i, some);
      if (z) a = zv_fma(zv_set1(eps), zv_load_n(z + j * ZF_KC + i, some), a);
      zv_store_n(v + 32 * j + i, a, some);
    }
  square(panel, width, v, 32, NULL, zv_zero(), (m + 1) / 2);
}

static void pack_bf16_avx512bf16(void *panel, int64_t width, const float *rows, int64_t ld,
                                 const float *z, float eps, int64_t count, int64_t k) {
  uint32_t *p = panel;
  int64_t i = 0;
  for (; count == 16 && i + 32 <= k; i += 32, p += 16 * width)
    if (z)
      square(p, width, rows + i, ld, z + i, zv_set1(eps), 16);
    else
      square(p, width, rows + i, ld, NULL, zv_zero(), 16);
  for (; i < k; i += 32, p += 16 * width)
    edge(p, width, rows + i, ld, z ? z + i : NULL, eps, count, k - i < 32 ? k - i : 32);
}

/* Two rows of f32 into one of cells: halves of 16 lanes side by side, then in turn. */
static void fold_bf16_avx512bf16(void *panel, int64_t width, const float *from, int64_t ld,
                                 int64_t count, int64_t k) {
  uint32_t *p = panel;
  for (int64_t i = 0; i < k; i += 2)
    for (int64_t j = 0; j < count; j += 16) {
      zv low = zv_load(from + i * ld + j);
      zv high = i + 1 < k ? zv_load(from + (i + 1) * ld + j) : zv_zero();
      __m512i a = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(low));
      __m512i b = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(high));
      _mm512_storeu_si512(p + i / 2 * width + j, _mm512_or_si512(a, _mm512_slli_epi32(b, 16)));
    }
}

void zf_kern_init_bf16_avx512bf16(struct zf_kern_table *table) {
  struct zf_product *product = &table->product[ZF_COMPUTE_BF16];
  product->name = "avx512bf16";
  product->native = 1;
  product->max_columns = 16 * ZV_NR;
  product->convert_rows = rows_bf16_avx512bf16;
  product->pack = pack_bf16_avx512bf16;
  product->pack_f32 = fold_bf16_avx512bf16;
  product->mul = bf16_mul;
}
