/* The matrix product over sixteen lanes; compiled for each instruction set by x86/gemm_*.c
 * and arm/gemm_neon.c.  zv and its functions: see lanes_tmpl.h; and
 *
 *   zv_load_blocks(p, ld)  four elements at each of p, p + 4 ld, p + 8 ld, p + 12 ld
 *   ZV_NR                  vectors that a tile is wide
 *
 * Tile: 6 rows by ZV_NR vectors of columns, whose sums stay in registers; a step of k loads
 * one row of the panel and spreads six elements of x.
 *
 * Strip: 16 rows of W beside each other.  Four loads of blocks and a transposition of 4x4
 * blocks turn 16 rows by 4 steps of k into 4 steps by 16 columns: to pack them, or, for few
 * rows of x, to use them at once. */
#ifndef ZF_KERN_GEMM_TMPL_H
#define ZF_KERN_GEMM_TMPL_H

#include <string.h>

#include "kern/kern_internal.h"
#include "kern/unroll.h"

enum { MR = ZF_MUL_ROWS };

struct sums {
  zv sum[MR][ZV_NR];
};

/* One step of k: m rows by nv vectors.  This and `tile` are called with constants only, so
 * that loops unroll and sums live in registers. */
static inline __attribute__((always_inline)) void
step(struct sums *sums, const float *x, int64_t ldx, const float *panel, int m, int nv) {
  zv b[ZV_NR];
  ZF_UNROLL
  for (int v = 0; v < nv; v++) b[v] = zv_load(panel + 16 * v);
  ZF_UNROLL
  for (int r = 0; r < m; r++) {
    zv a = zv_set1(x[r * ldx]);
    ZF_UNROLL
    for (int v = 0; v < nv; v++) sums->sum[r][v] = zv_fma(a, b[v], sums->sum[r][v]);
  }
}

static inline __attribute__((always_inline)) void
begin(struct sums *sums, const float *c, int64_t ldc, enum zf_mul_mode mode, int m, int nv) {
  ZF_UNROLL
  for (int r = 0; r < m; r++) {
    ZF_UNROLL
    for (int v = 0; v < nv; v++) {
      const float *p = c + r * ldc + 16 * v;
      sums->sum[r][v] = mode >= ZF_MUL_CONTINUE ? zv_load(p) : zv_zero();
      if (mode == ZF_MUL_ADD) __builtin_prefetch(p, 1);
    }
  }
}

static inline __attribute__((always_inline)) void
end(const struct sums *sums, float *c, int64_t ldc, enum zf_mul_mode mode, int m, int nv) {
  ZF_UNROLL
  for (int r = 0; r < m; r++) {
    ZF_UNROLL
    for (int v = 0; v < nv; v++) {
      float *p = c + r * ldc + 16 * v;
      zv_store(p, mode == ZF_MUL_ADD ? zv_add(zv_load(p), sums->sum[r][v]) : sums->sum[r][v]);
    }
  }
}

/* Steps that only row e and those below it take, e = 1..m-1. */
static inline __attribute__((always_inline)) void stair(struct sums *sums, const float *x,
                                                        int64_t ldx, const float *panel,
                                                        int64_t ldp, int m, int nv) {
  ZF_UNROLL
  for (int e = 1; e < m; e++, panel += ldp) {
    ZF_UNROLL
    for (int r = e; r < m; r++) {
      ZF_UNROLL
      for (int v = 0; v < nv; v++)
        sums->sum[r][v] =
            zv_fma(zv_set1(x[r * ldx + e - 1]), zv_load(panel + 16 * v), sums->sum[r][v]);
    }
  }
}

static inline __attribute__((always_inline)) void tile(float *c, int64_t ldc, const float *x,
                                                       int64_t ldx, const float *panel, int64_t ldp,
                                                       int64_t k, enum zf_mul_mode mode, int m,
                                                       int nv) {
  struct sums sums;
  int64_t i = 0;
  begin(&sums, c, ldc, mode, m, nv);
  for (; i + 16 <= k; i += 16) {
    ZF_UNROLL
    for (int r = 0; r < m; r++) /* a line of each row of the tile below */
      __builtin_prefetch(x + (m + r) * ldx + i);
    for (int64_t e = i + 16, f = i; f < e; f++, panel += ldp) step(&sums, x + f, ldx, panel, m, nv);
  }
  for (; i < k; i++, panel += ldp) step(&sums, x + i, ldx, panel, m, nv);
  if (mode == ZF_MUL_STAIR) stair(&sums, x + i, ldx, panel, ldp, m, nv);
  end(&sums, c, ldc, mode, m, nv);
}

/* All rows against nv vectors of columns. */
static inline __attribute__((always_inline)) void
rows_of(float *c, int64_t ldc, const float *x, int64_t ldx, int64_t rows, const float *panel,
        int64_t ldp, int64_t k, enum zf_mul_mode mode, int nv) {
  for (; rows >= MR; rows -= MR, c += MR * ldc, x += MR * ldx)
    tile(c, ldc, x, ldx, panel, ldp, k, mode, MR, nv);
  if (rows == 5) tile(c, ldc, x, ldx, panel, ldp, k, mode, 5, nv);
  if (rows == 4) tile(c, ldc, x, ldx, panel, ldp, k, mode, 4, nv);
  if (rows == 3) tile(c, ldc, x, ldx, panel, ldp, k, mode, 3, nv);
  if (rows == 2) tile(c, ldc, x, ldx, panel, ldp, k, mode, 2, nv);
  if (rows == 1) tile(c, ldc, x, ldx, panel, ldp, k, mode, 1, nv);
}

static void mul_lanes(float *c, int64_t ldc, const void *x, int64_t ldx, int64_t rows,
                      const void *panel, int64_t ldp, int64_t w, int64_t k, enum zf_mul_mode mode) {
  if (w == 16) rows_of(c, ldc, x, ldx, rows, panel, ldp, k, mode, 1);
  if (ZV_NR >= 2 && w == 32) rows_of(c, ldc, x, ldx, rows, panel, ldp, k, mode, ZV_NR >= 2 ? 2 : 1);
  if (ZV_NR >= 3 && w == 48) rows_of(c, ldc, x, ldx, rows, panel, ldp, k, mode, ZV_NR >= 3 ? 3 : 1);
  if (ZV_NR >= 4 && w == 64) rows_of(c, ldc, x, ldx, rows, panel, ldp, k, mode, ZV_NR >= 4 ? 4 : 1);
}

/* o[e] = step e of k of rows src, src + ld, ...; with noise when z is given. */
static inline __attribute__((always_inline)) void four_steps(zv o[4], const float *src, int64_t ld,
                                                             const float *z, zv eps) {
  zv r[4];
  ZF_UNROLL
  for (int j = 0; j < 4; j++) {
    r[j] = zv_load_blocks(src + j * ld, ld);
    if (z) r[j] = zv_fma(eps, zv_load_blocks(z + j * ZF_KC, ZF_KC), r[j]);
  }
  zv_transpose4(o, r[0], r[1], r[2], r[3]);
}

/* Copies m <= 4 elements of each of n rows into a strip of four columns, zeros beside. */
static inline void copy_edge(float to[64], const float *src, int64_t ld, int64_t n, int64_t m) {
  memset(to, 0, 64 * sizeof *to);
  for (int64_t j = 0; j < n; j++) memcpy(to + 4 * j, src + j * ld, (size_t)m * sizeof *to);
}

/* Four steps at an edge: m <= 4 of them real, n <= 16 columns. */
static inline void edge_steps(zv o[4], const float *src, int64_t ld, const float *z, zv eps,
                              int64_t n, int64_t m) {
  float w[64], noise[64];
  copy_edge(w, src, ld, n, m);
  if (z) copy_edge(noise, z, ZF_KC, n, m);
  for (int i = 0; z && i < 64; i += 16)
    zv_store(w + i, zv_fma(eps, zv_load(noise + i), zv_load(w + i)));
  four_steps(o, w, 4, NULL, eps);
}

static inline __attribute__((always_inline)) void pack_with(float *panel, int64_t w,
                                                            const float *src, int64_t ld,
                                                            const float *z, zv eps, int64_t n,
                                                            int64_t k) {
  zv o[4];
  int64_t i = 0;
  for (; n == 16 && i + 4 <= k; i += 4) {
    four_steps(o, src + i, ld, z ? z + i : NULL, eps);
    ZF_UNROLL
    for (int e = 0; e < 4; e++) zv_store(panel + (i + e) * w, o[e]);
  }
  for (; i < k; i += 4) {
    int64_t m = k - i < 4 ? k - i : 4;
    edge_steps(o, src + i, ld, z ? z + i : NULL, eps, n, m);
    for (int64_t e = 0; e < m; e++) zv_store(panel + (i + e) * w, o[e]);
  }
}

static void pack_lanes(void *panel, int64_t w, const float *src, int64_t ld, const float *z,
                       float eps, int64_t n, int64_t k) {
  if (z)
    pack_with(panel, w, src, ld, z, zv_set1(eps), n, k);
  else
    pack_with(panel, w, src, ld, NULL, zv_zero(), n, k);
}

/* m rows; called with constant m only, so that sums live in registers. */
static inline __attribute__((always_inline)) void thin_rows(float *c, int64_t ldc, const float *x,
                                                            int64_t ldx, const float *src,
                                                            int64_t ld, int64_t n, int64_t k,
                                                            int add, int m) {
  zv s[ZF_SMALL_M], o[4];
  int64_t i = 0;
  ZF_UNROLL
  for (int r = 0; r < m; r++) s[r] = zv_zero();
  for (; n == 16 && i + 4 <= k; i += 4) {
    four_steps(o, src + i, ld, NULL, s[0]);
    ZF_UNROLL
    for (int e = 0; e < 4; e++) {
      ZF_UNROLL
      for (int r = 0; r < m; r++) s[r] = zv_fma(zv_set1(x[r * ldx + i + e]), o[e], s[r]);
    }
  }
  for (; i < k; i += 4) {
    int64_t real = k - i < 4 ? k - i : 4;
    edge_steps(o, src + i, ld, NULL, s[0], n, real);
    for (int64_t e = 0; e < real; e++)
      for (int r = 0; r < m; r++) s[r] = zv_fma(zv_set1(x[r * ldx + i + e]), o[e], s[r]);
  }
  ZF_UNROLL
  for (int r = 0; r < m; r++) {
    float *p = c + r * ldc;
    zv_store(p, add ? zv_add(zv_load(p), s[r]) : s[r]);
  }
}

static void thin_lanes(float *c, int64_t ldc, const float *x, int64_t ldx, int64_t rows,
                       const float *src, int64_t ld, int64_t n, int64_t k, int add) {
  if (rows == 1)
    thin_rows(c, ldc, x, ldx, src, ld, n, k, add, 1);
  else if (rows == 2)
    thin_rows(c, ldc, x, ldx, src, ld, n, k, add, 2);
  else if (rows == 3)
    thin_rows(c, ldc, x, ldx, src, ld, n, k, add, 3);
  else
    thin_rows(c, ldc, x, ldx, src, ld, n, k, add, 4);
}

static void finish_lanes(float *y, int64_t ldy, const float *c, const float *bias, int64_t rows,
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

static void fill_gemm(struct zf_kern_table *table, const char *name) {
  struct zf_product *product = &table->product[ZF_COMPUTE_F32];
  product->name = name;
  product->max_columns = 16 * ZV_NR;
  product->pack = pack_lanes;
  product->mul = mul_lanes;
  product->mul_unpacked = thin_lanes;
  table->finish = finish_lanes;
}

#endif
