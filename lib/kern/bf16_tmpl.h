/* The product in bf16 over sixteen lanes; compiled by x86/bf16_*.c and arm/bf16_neon.c, which
 * define before, beside what lanes_tmpl.h names:
 *
 *   zv_dot2(c, a, b)   c + odd halves of a*b, then + even halves, as bf16_ref.c says
 *   zv_spread(cell)    a cell in every lane
 *   zv_cells(p)        16 cells
 *   zv_begin_flush(), zv_end_flush(s)   around sums: what is subnormal becomes zero
 *
 * Tile: 6 rows by ZV_NR vectors, as in gemm_tmpl.h; a step takes a cell of each row. */
#ifndef ZF_KERN_BF16_TMPL_H
#define ZF_KERN_BF16_TMPL_H

#include <string.h>

#include "kern/kern_internal.h"
#include "kern/unroll.h"

enum { BR = ZF_MUL_ROWS };

static inline __attribute__((always_inline)) void
bf16_step(zv s[BR][ZV_NR], const uint32_t *x, int64_t ldx, const uint32_t *panel, int m, int nv) {
  zc b[ZV_NR];
  ZF_UNROLL
  for (int v = 0; v < nv; v++) b[v] = zv_cells(panel + 16 * v);
  ZF_UNROLL
  for (int r = 0; r < m; r++) {
    zc a = zv_spread(x + r * ldx);
    ZF_UNROLL
    for (int v = 0; v < nv; v++) s[r][v] = zv_dot2(s[r][v], a, b[v]);
  }
}

static inline __attribute__((always_inline)) void
bf16_tile(float *c, int64_t ldc, const uint32_t *x, int64_t ldx, const uint32_t *panel, int64_t ldp,
          int64_t k, enum zf_mul_mode mode, int m, int nv) {
  zv s[BR][ZV_NR];
  int64_t i = 0;
  ZF_UNROLL
  for (int r = 0; r < m; r++) {
    ZF_UNROLL
    for (int v = 0; v < nv; v++) {
      s[r][v] = zv_zero();
      __builtin_prefetch(c + r * ldc + 16 * v, 1);
    }
  }
  unsigned was = zv_begin_flush();
  for (; i + 16 <= k; i += 16) {
    ZF_UNROLL
    for (int r = 0; r < m; r++) /* a line of each row of the tile below */
      __builtin_prefetch(x + (m + r) * ldx + i);
    for (int64_t e = i + 16, f = i; f < e; f++, panel += ldp)
      bf16_step(s, x + f, ldx, panel, m, nv);
  }
  for (; i < k; i++, panel += ldp) bf16_step(s, x + i, ldx, panel, m, nv);
  zv_end_flush(was);
  ZF_UNROLL
  for (int r = 0; r < m; r++) {
    ZF_UNROLL
    for (int v = 0; v < nv; v++) {
      float *p = c + r * ldc + 16 * v;
      zv_store(p, mode == ZF_MUL_ADD ? zv_add(zv_load(p), s[r][v]) : s[r][v]);
    }
  }
}

static inline __attribute__((always_inline)) void
bf16_rows_of(float *c, int64_t ldc, const uint32_t *x, int64_t ldx, int64_t rows,
             const uint32_t *panel, int64_t ldp, int64_t k, enum zf_mul_mode mode, int nv) {
  for (; rows >= BR; rows -= BR, c += BR * ldc, x += BR * ldx)
    bf16_tile(c, ldc, x, ldx, panel, ldp, k, mode, BR, nv);
  if (rows == 5) bf16_tile(c, ldc, x, ldx, panel, ldp, k, mode, 5, nv);
  if (rows == 4) bf16_tile(c, ldc, x, ldx, panel, ldp, k, mode, 4, nv);
  if (rows == 3) bf16_tile(c, ldc, x, ldx, panel, ldp, k, mode, 3, nv);
  if (rows == 2) bf16_tile(c, ldc, x, ldx, panel, ldp, k, mode, 2, nv);
  if (rows == 1) bf16_tile(c, ldc, x, ldx, panel, ldp, k, mode, 1, nv);
}

static void bf16_mul(float *c, int64_t ldc, const void *x, int64_t ldx, int64_t rows,
                     const void *panel, int64_t ldp, int64_t w, int64_t k, enum zf_mul_mode mode) {
  int64_t cells = (k + 1) / 2;
  if (w == 16) bf16_rows_of(c, ldc, x, ldx, rows, panel, ldp, cells, mode, 1);
  if (ZV_NR >= 2 && w == 32)
    bf16_rows_of(c, ldc, x, ldx, rows, panel, ldp, cells, mode, ZV_NR >= 2 ? 2 : 1);
  if (ZV_NR >= 3 && w == 48)
    bf16_rows_of(c, ldc, x, ldx, rows, panel, ldp, cells, mode, ZV_NR >= 3 ? 3 : 1);
  if (ZV_NR >= 4 && w == 64)
    bf16_rows_of(c, ldc, x, ldx, rows, panel, ldp, cells, mode, ZV_NR >= 4 ? 4 : 1);
}

#endif
