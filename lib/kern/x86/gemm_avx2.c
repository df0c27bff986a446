/* The matrix product on AVX2: tiles of 6 rows by 16 columns, whose 12 sums leave four of the
 * sixteen registers for the panel's line and an element of x.  A panel of 16 KiB stays in
 * the first cache. */
#include "kern/x86/vec_avx2.h"

#include "kern/kern_internal.h"

enum { MR = 6 };

struct sums {
  zv s[MR];
};

/* One step of k.  This and `tile` are called with constant m only, so that loops unroll and
 * sums live in registers. */
static inline __attribute__((always_inline)) void step(struct sums *t, const float *x, int64_t ldx,
                                                       const float *panel, int m) {
  zv b = zv_load(panel);
#pragma GCC unroll 6
  for (int r = 0; r < m; r++) t->s[r] = zv_fma(zv_set1(x[r * ldx]), b, t->s[r]);
}

static inline __attribute__((always_inline)) void
tile(float *c, const float *x, int64_t ldx, const float *panel, int64_t k, int add, int m) {
  struct sums t;
  int64_t i = 0;
#pragma GCC unroll 6
  for (int r = 0; r < m; r++) t.s[r] = zv_zero();
  for (; i + 16 <= k; i += 16) {
#pragma GCC unroll 6
    for (int r = 0; r < m; r++) /* a line of each row of the tile below */
      _mm_prefetch((const char *)(x + (m + r) * ldx + i), _MM_HINT_T0);
    for (int64_t e = i + 16, f = i; f < e; f++, panel += 16) step(&t, x + f, ldx, panel, m);
  }
  for (; i < k; i++, panel += 16) step(&t, x + i, ldx, panel, m);
#pragma GCC unroll 6
  for (int r = 0; r < m; r++) {
    float *p = c + r * ZF_NC;
    zv_store(p, add ? zv_add(zv_load(p), t.s[r]) : t.s[r]);
  }
}

static void mul_avx2(float *c, const float *x, int64_t ldx, int64_t rows, const float *panel,
                     int64_t w, int64_t k, int add) {
  (void)w; /* 16 */
  for (; rows >= MR; rows -= MR, c += MR * ZF_NC, x += MR * ldx) tile(c, x, ldx, panel, k, add, MR);
  switch (rows) {
    case 5:
      tile(c, x, ldx, panel, k, add, 5);
      break;
    case 4:
      tile(c, x, ldx, panel, k, add, 4);
      break;
    case 3:
      tile(c, x, ldx, panel, k, add, 3);
      break;
    case 2:
      tile(c, x, ldx, panel, k, add, 2);
      break;
    case 1:
      tile(c, x, ldx, panel, k, add, 1);
      break;
  }
}

/* o[i] = element i of each of eight rows. */
static inline void transpose8(__m256 o[8], const __m256 r[8]) {
  __m256 lo[4], hi[4];
  zv_transpose_half(lo, r[0], r[1], r[2], r[3]);
  zv_transpose_half(hi, r[4], r[5], r[6], r[7]);
  for (int i = 0; i < 4; i++) {
    o[i] = _mm256_permute2f128_ps(lo[i], hi[i], 0x20);
    o[i + 4] = _mm256_permute2f128_ps(lo[i], hi[i], 0x31);
  }
}

/* Eight columns: m <= 8 steps of k of n rows of W. */
static inline void pack8(float *panel, int64_t w, const float *src, int64_t ld, const float *z,
                         float eps, int64_t n, int64_t m) {
  __m256 r[8], o[8];
  __m256i in = zm_first(m).a;
  for (int64_t j = 0; j < 8; j++) {
    r[j] = j < n ? _mm256_maskload_ps(src + j * ld, in) : _mm256_setzero_ps();
    if (z && j < n)
      r[j] = _mm256_fmadd_ps(_mm256_set1_ps(eps), _mm256_maskload_ps(z + j * ZF_KC, in), r[j]);
  }
  transpose8(o, r);
  for (int64_t i = 0; i < m; i++) _mm256_store_ps(panel + i * w, o[i]);
}

static void pack_avx2(float *panel, int64_t w, const float *src, int64_t ld, const float *z,
                      float eps, int64_t n, int64_t k) {
  for (int64_t i = 0; i < k; i += 8)
    for (int64_t j = 0; j < 16; j += 8) {
      const float *zi = z ? z + j * ZF_KC + i : NULL;
      const float *from = j < n ? src + j * ld + i : src;
      pack8(panel + i * w + j, w, from, ld, zi, eps, n - j, k - i < 8 ? k - i : 8);
    }
}

static void finish_avx2(float *y, int64_t ldy, const float *c, const float *bias, int64_t rows,
                        int64_t n, int accumulate) {
  for (int64_t r = 0; r < rows; r++, y += ldy, c += ZF_NC)
    for (int64_t j = 0; j < n; j += 16) {
      int64_t m = n - j < 16 ? n - j : 16;
      zv v = zv_load(c + j);
      if (bias) v = zv_add(v, zv_load_n(bias + j, m));
      if (accumulate) v = zv_add(zv_load_n(y + j, m), v);
      zv_store_n(y + j, v, m);
    }
}

void zf_kern_init_gemm_avx2(struct zf_kern_table *t) {
  t->name = "avx2";
  t->nr = 16;
  t->pack = pack_avx2;
  t->mul = mul_avx2;
  t->finish = finish_avx2;
}
