/* The matrix product on AVX-512.
 *
 * A tile of 6 rows by 64 columns keeps its 24 sums in registers; a step of k loads one line
 * of the panel (four registers) and spreads six elements of x.  The panel of 64 KiB comes
 * from the second cache, line after line. */
#include <immintrin.h>

#include "kern/kern_internal.h"

enum { MR = 6 }; /* rows of a tile */

struct sums {
  __m512 s[MR][4];
};

/* One step of k: m rows by nv registers.  This and `tile` are called with constants only, so
 * that loops unroll and sums live in registers. */
static inline __attribute__((always_inline)) void step(struct sums *t, const float *x, int64_t ldx,
                                                       const float *panel, int m, int nv) {
  __m512 b[4];
#pragma GCC unroll 4
  for (int v = 0; v < nv; v++) b[v] = _mm512_load_ps(panel + 16 * v);
#pragma GCC unroll 6
  for (int r = 0; r < m; r++) {
    __m512 a = _mm512_set1_ps(x[r * ldx]);
#pragma GCC unroll 4
    for (int v = 0; v < nv; v++) t->s[r][v] = _mm512_fmadd_ps(a, b[v], t->s[r][v]);
  }
}

/* Asks for what comes next: a line of each row of the tile below, and of the panel. */
static inline __attribute__((always_inline)) void ahead(const float *x, int64_t ldx, int m) {
#pragma GCC unroll 6
  for (int r = 0; r < m; r++) _mm_prefetch((const char *)(x + (m + r) * ldx), _MM_HINT_T0);
}

static inline __attribute__((always_inline)) void
tile(float *c, const float *x, int64_t ldx, const float *panel, int64_t k, int add, int m, int nv) {
  struct sums t;
  int64_t i = 0;
#pragma GCC unroll 6
  for (int r = 0; r < m; r++)
#pragma GCC unroll 4
    for (int v = 0; v < nv; v++) {
      t.s[r][v] = _mm512_setzero_ps();
      _mm_prefetch((const char *)(c + r * ZF_NC + 16 * v), _MM_HINT_T0);
    }
  for (; i + 16 <= k; i += 16) {
    ahead(x + i, ldx, m);
    for (int64_t e = i + 16, f = i; f < e; f++, panel += 16 * nv)
      step(&t, x + f, ldx, panel, m, nv);
  }
  for (; i < k; i++, panel += 16 * nv) step(&t, x + i, ldx, panel, m, nv);
#pragma GCC unroll 6
  for (int r = 0; r < m; r++)
#pragma GCC unroll 4
    for (int v = 0; v < nv; v++) {
      float *p = c + r * ZF_NC + 16 * v;
      _mm512_store_ps(p, add ? _mm512_add_ps(_mm512_load_ps(p), t.s[r][v]) : t.s[r][v]);
    }
}

/* All rows against a panel of nv registers. */
static inline __attribute__((always_inline)) void rows_of(float *c, const float *x, int64_t ldx,
                                                          int64_t rows, const float *panel,
                                                          int64_t k, int add, int nv) {
  for (; rows >= MR; rows -= MR, c += MR * ZF_NC, x += MR * ldx)
    tile(c, x, ldx, panel, k, add, MR, nv);
  switch (rows) {
    case 5:
      tile(c, x, ldx, panel, k, add, 5, nv);
      break;
    case 4:
      tile(c, x, ldx, panel, k, add, 4, nv);
      break;
    case 3:
      tile(c, x, ldx, panel, k, add, 3, nv);
      break;
    case 2:
      tile(c, x, ldx, panel, k, add, 2, nv);
      break;
    case 1:
      tile(c, x, ldx, panel, k, add, 1, nv);
      break;
  }
}

static void mul_avx512(float *c, const float *x, int64_t ldx, int64_t rows, const float *panel,
                       int64_t w, int64_t k, int add) {
  if (w == 64)
    rows_of(c, x, ldx, rows, panel, k, add, 4);
  else if (w == 48)
    rows_of(c, x, ldx, rows, panel, k, add, 3);
  else if (w == 32)
    rows_of(c, x, ldx, rows, panel, k, add, 2);
  else
    rows_of(c, x, ldx, rows, panel, k, add, 1);
}

/* Transposes 16 rows of 16: 4x4 blocks by loads of 128 bits, then within blocks. */
static inline void transpose16(__m512 o[16], const __m512 r[16]) {
  __m512 t[16], u[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    __m512d a = _mm512_castps_pd(t[i]), b = _mm512_castps_pd(t[i + 2]);
    __m512d c = _mm512_castps_pd(t[i + 1]), d = _mm512_castps_pd(t[i + 3]);
    u[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
    u[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
    u[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(c, d));
    u[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(c, d));
  }
  for (int i = 0; i < 4; i++) {
    __m512 a = _mm512_shuffle_f32x4(u[i], u[i + 4], 0x88),
           b = _mm512_shuffle_f32x4(u[i], u[i + 4], 0xdd);
    __m512 c = _mm512_shuffle_f32x4(u[i + 8], u[i + 12], 0x88),
           d = _mm512_shuffle_f32x4(u[i + 8], u[i + 12], 0xdd);
    o[i] = _mm512_shuffle_f32x4(a, c, 0x88);
    o[i + 4] = _mm512_shuffle_f32x4(b, d, 0x88);
    o[i + 8] = _mm512_shuffle_f32x4(a, c, 0xdd);
    o[i + 12] = _mm512_shuffle_f32x4(b, d, 0xdd);
  }
}

static void pack_avx512(float *panel, int64_t w, const float *src, int64_t ld, const float *z,
                        float eps, int64_t n, int64_t k) {
  __m512 r[16], o[16], e = _mm512_set1_ps(eps);
  for (int64_t i = 0; i < k; i += 16) {
    __mmask16 in = k - i < 16 ? (__mmask16)((1u << (k - i)) - 1) : 0xffff;
#pragma GCC unroll 16
    for (int j = 0; j < 16; j++) {
      r[j] = _mm512_maskz_loadu_ps(j < n ? in : 0, src + j * ld + i);
      if (z)
        r[j] = _mm512_mask3_fmadd_ps(e, _mm512_load_ps(z + j * ZF_KC + i), r[j], j < n ? in : 0);
    }
    transpose16(o, r);
    int64_t m = k - i < 16 ? k - i : 16;
    for (int64_t j = 0; j < m; j++) _mm512_store_ps(panel + (i + j) * w, o[j]);
  }
}

static void finish_avx512(float *y, int64_t ldy, const float *c, const float *bias, int64_t rows,
                          int64_t n, int accumulate) {
  for (int64_t r = 0; r < rows; r++, y += ldy, c += ZF_NC)
    for (int64_t j = 0; j < n; j += 16) {
      __mmask16 m = n - j < 16 ? (__mmask16)((1u << (n - j)) - 1) : 0xffff;
      __m512 v = _mm512_load_ps(c + j);
      if (bias) v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(m, bias + j));
      if (accumulate) v = _mm512_add_ps(_mm512_maskz_loadu_ps(m, y + j), v);
      _mm512_mask_storeu_ps(y + j, m, v);
    }
}

void zf_kern_init_gemm_avx512(struct zf_kern_table *t) {
  t->name = "avx512";
  t->nr = 64;
  t->pack = pack_avx512;
  t->mul = mul_avx512;
  t->finish = finish_avx512;
}
