/* The product in bf16 over sixteen lanes; compiled by x86/bf16_*.c and arm/bf16_neon.c, which
 * define, before including it, what lanes_tmpl.h lists and:
 *
 *   zv_dot2(c, a, b)   c + odd halves of a*b, then + even halves, as bf16_ref.c says
 *   zv_spread(cell)    a cell in every lane
 *   zv_cells(p)        16 cells
 *   zv_begin_flush(), zv_end_flush(s)   between them subnormal sums become zero
 *
 * Tile: 6 rows by ZV_NR vectors, as in gemm_tmpl.h; one step multiplies one cell of each row. */
#ifndef ZF_KERN_BF16_TMPL_H
#define ZF_KERN_BF16_TMPL_H

#include <string.h>

#include "kern/kern_internal.h"
#include "kern/unroll.h"

enum { BR = ZF_MUL_ROWS };

static inline __attribute__((always_inline)) void bf16_step(zv sums[BR][ZV_NR], const uint32_t *x,
                                                            int64_t ldx, const uint32_t *panel,
                                                            int rows, int vectors) {
  zc columns[ZV_NR];
  ZF_UNROLL
  for (int vector = 0; vector < vectors; vector++) columns[vector] = zv_cells(panel + 16 * vector);
  ZF_UNROLL
  for (int row = 0; row < rows; row++) {
    zc value = zv_spread(x + row * ldx);
    ZF_UNROLL
    for (int vector = 0; vector < vectors; vector++)
      sums[row][vector] = zv_dot2(sums[row][vector], value, columns[vector]);
  }
}

static inline __attribute__((always_inline)) void
bf16_tile(float *out, int64_t ldout, const uint32_t *x, int64_t ldx, const uint32_t *panel,
          int64_t ldp, int64_t k, enum zf_mul_mode mode, int rows, int vectors) {
  zv sums[BR][ZV_NR];
  int64_t i = 0;
  ZF_UNROLL
  for (int row = 0; row < rows; row++) {
    ZF_UNROLL
    for (int vector = 0; vector < vectors; vector++) {
      sums[row][vector] = zv_zero();
      __builtin_prefetch(out + row * ldout + 16 * vector, 1);
    }
  }
  unsigned flush_state = zv_begin_flush();
  for (; i + 16 <= k; i += 16) {
    ZF_UNROLL
    for (int row = 0; row < rows; row++) /* one cache line of each row of the next tile */
      __builtin_prefetch(x + (rows + row) * ldx + i);
    for (int64_t end = i + 16, step = i; step < end; step++, panel += ldp)
      bf16_step(sums, x + step, ldx, panel, rows, vectors);
  }
  for (; i < k; i++, panel += ldp) bf16_step(sums, x + i, ldx, panel, rows, vectors);
  zv_end_flush(flush_state);
  ZF_UNROLL
  for (int row = 0; row < rows; row++) {
    ZF_UNROLL
    for (int vector = 0; vector < vectors; vector++) {
      float *to = out + row * ldout + 16 * vector;
      zv_store(to, mode == ZF_MUL_ADD ? zv_add(zv_load(to), sums[row][vector]) : sums[row][vector]);
    }
  }
}

static inline __attribute__((always_inline)) void
bf16_rows_of(float *out, int64_t ldout, const uint32_t *x, int64_t ldx, int64_t rows,
             const uint32_t *panel, int64_t ldp, int64_t k, enum zf_mul_mode mode, int vectors) {
  for (; rows >= BR; rows -= BR, out += BR * ldout, x += BR * ldx)
    bf16_tile(out, ldout, x, ldx, panel, ldp, k, mode, BR, vectors);
  if (rows == 5) bf16_tile(out, ldout, x, ldx, panel, ldp, k, mode, 5, vectors);
  if (rows == 4) bf16_tile(out, ldout, x, ldx, panel, ldp, k, mode, 4, vectors);
  if (rows == 3) bf16_tile(out, ldout, x, ldx, panel, ldp, k, mode, 3, vectors);
  if (rows == 2) bf16_tile(out, ldout, x, ldx, panel, ldp, k, mode, 2, vectors);
  if (rows == 1) bf16_tile(out, ldout, x, ldx, panel, ldp, k, mode, 1, vectors);
}

static void bf16_mul(float *out, int64_t ldout, const void *x, int64_t ldx, int64_t rows,
                     const void *panel, int64_t ldp, int64_t width, int64_t k,
                     enum zf_mul_mode mode) {
  int64_t cells = (k + 1) / 2;
  if (width == 16) bf16_rows_of(out, ldout, x, ldx, rows, panel, ldp, cells, mode, 1);
  if (ZV_NR >= 2 && width == 32)
    bf16_rows_of(out, ldout, x, ldx, rows, panel, ldp, cells, mode, ZV_NR >= 2 ? 2 : 1);
  if (ZV_NR >= 3 && width == 48)
    bf16_rows_of(out, ldout, x, ldx, rows, panel, ldp, cells, mode, ZV_NR >= 3 ? 3 : 1);
  if (ZV_NR >= 4 && width == 64)
    bf16_rows_of(out, ldout, x, ldx, rows, panel, ldp, cells, mode, ZV_NR >= 4 ? 4 : 1);
}

#endif
