/* The matrix product over sixteen lanes; compiled for each instruction set by x86/gemm_*.c
 * and arm/gemm_neon.c.  lanes_tmpl.h lists zv and its functions; beyond these it needs
 *
 *   zv_load_blocks(p, ld)  four elements at each of p, p + 4 ld, p + 8 ld, p + 12 ld
 *   ZV_NR                  width of a tile in vectors
 *
 * Tile: 6 rows by ZV_NR vectors of columns, whose sums stay in registers; a step of k loads
 * one row of the panel and broadcasts six elements of x.
 *
 * Strip: 16 rows of W side by side.  Four loads of blocks and a transposition of 4x4 blocks turn
 * 16 rows by 4 steps of k into 4 steps by 16 columns, which are packed or, for up to ZF_SMALL_M rows
 * of x, multiplied at once. */
#ifndef ZF_KERN_GEMM_TMPL_H
#define ZF_KERN_GEMM_TMPL_H

#include <string.h>

#include "kern/kern_internal.h"
#include "kern/unroll.h"

enum { MR = ZF_MUL_ROWS };

struct sums {
  zv sum[MR][ZV_NR];
};

/* One step of k: `rows` rows by `vectors` vectors.  Both are constants at every call of this and of
 * `tile`, so that loops unroll and sums stay in registers. */
static inline __attribute__((always_inline)) void
step(struct sums *sums, const float *x, int64_t ldx, const float *panel, int rows, int vectors) {
  zv columns[ZV_NR];
  ZF_UNROLL
  for (int vector = 0; vector < vectors; vector++) columns[vector] = zv_load(panel + 16 * vector);
  ZF_UNROLL
  for (int row = 0; row < rows; row++) {
    zv value = zv_set1(x[row * ldx]);
    ZF_UNROLL
    for (int vector = 0; vector < vectors; vector++)
      sums->sum[row][vector] = zv_fma(value, columns[vector], sums->sum[row][vector]);
  }
}

static inline __attribute__((always_inline)) void begin(struct sums *sums, const float *out,
                                                        int64_t ldout, enum zf_mul_mode mode,
                                                        int rows, int vectors) {
  ZF_UNROLL
  for (int row = 0; row < rows; row++) {
    ZF_UNROLL
    for (int vector = 0; vector < vectors; vector++) {
      const float *from = out + row * ldout + 16 * vector;
      sums->sum[row][vector] = mode >= ZF_MUL_CONTINUE ? zv_load(from) : zv_zero();
      if (mode == ZF_MUL_ADD) __builtin_prefetch(from, 1);
    }
  }
}

static inline __attribute__((always_inline)) void end(const struct sums *sums, float *out,
                                                      int64_t ldout, enum zf_mul_mode mode,
                                                      int rows, int vectors) {
  ZF_UNROLL
  for (int row = 0; row < rows; row++) {
    ZF_UNROLL
    for (int vector = 0; vector < vectors; vector++) {
      float *to = out + row * ldout + 16 * vector;
      zv_store(to, mode == ZF_MUL_ADD ? zv_add(zv_load(to), sums->sum[row][vector])
                                      : sums->sum[row][vector]);
    }
  }
}

/* The steps beyond k of mode STAIR: step number `step` adds to the rows from `step` on. */
static inline __attribute__((always_inline)) void stair(struct sums *sums, const float *x,
                                                        int64_t ldx, const float *panel,
                                                        int64_t ldp, int rows, int vectors) {
  ZF_UNROLL
  for (int step = 1; step < rows; step++, panel += ldp) {
    ZF_UNROLL
    for (int row = step; row < rows; row++) {
      ZF_UNROLL
      for (int vector = 0; vector < vectors; vector++)
        sums->sum[row][vector] = zv_fma(zv_set1(x[row * ldx + step - 1]),
                                        zv_load(panel + 16 * vector), sums->sum[row][vector]);
    }
  }
}

static inline __attribute__((always_inline)) void tile(float *out, int64_t ldout, const float *x,
                                                       int64_t ldx, const float *panel, int64_t ldp,
                                                       int64_t k, enum zf_mul_mode mode, int rows,
                                                       int vectors) {
  struct sums sums;
  int64_t i = 0;
  begin(&sums, out, ldout, mode, rows, vectors);
  for (; i + 16 <= k; i += 16) {
    ZF_UNROLL
    for (int row = 0; row < rows; row++) /* one cache line of each row of the next tile */
      __builtin_prefetch(x + (rows + row) * ldx + i);
    for (int64_t end = i + 16, input = i; input < end; input++, panel += ldp)
      step(&sums, x + input, ldx, panel, rows, vectors);
  }
  for (; i < k; i++, panel += ldp) step(&sums, x + i, ldx, panel, rows, vectors);
  if (mode == ZF_MUL_STAIR) stair(&sums, x + i, ldx, panel, ldp, rows, vectors);
  end(&sums, out, ldout, mode, rows, vectors);
}

/* All rows against `vectors` vectors of columns. */
static inline __attribute__((always_inline)) void
rows_of(float *out, int64_t ldout, const float *x, int64_t ldx, int64_t rows, const float *panel,
        int64_t ldp, int64_t k, enum zf_mul_mode mode, int vectors) {
  for (; rows >= MR; rows -= MR, out += MR * ldout, x += MR * ldx)
    tile(out, ldout, x, ldx, panel, ldp, k, mode, MR, vectors);
  if (rows == 5) tile(out, ldout, x, ldx, panel, ldp, k, mode, 5, vectors);
  if (rows == 4) tile(out, ldout, x, ldx, panel, ldp, k, mode, 4, vectors);
  if (rows == 3) tile(out, ldout, x, ldx, panel, ldp, k, mode, 3, vectors);
  if (rows == 2) tile(out, ldout, x, ldx, panel, ldp, k, mode, 2, vectors);
  if (rows == 1) tile(out, ldout, x, ldx, panel, ldp, k, mode, 1, vectors);
}

static void mul_lanes(float *out, int64_t ldout, const void *x, int64_t ldx, int64_t rows,
                      const void *panel, int64_t ldp, int64_t width, int64_t k,
                      enum zf_mul_mode mode) {
  if (width == 16) rows_of(out, ldout, x, ldx, rows, panel, ldp, k, mode, 1);
  if (ZV_NR >= 2 && width == 32)
    rows_of(out, ldout, x, ldx, rows, panel, ldp, k, mode, ZV_NR >= 2 ? 2 : 1);
  if (ZV_NR >= 3 && width == 48)
    rows_of(out, ldout, x, ldx, rows, panel, ldp, k, mode, ZV_NR >= 3 ? 3 : 1);
  if (ZV_NR >= 4 && width == 64)
    rows_of(out, ldout, x, ldx, rows, panel, ldp, k, mode, ZV_NR >= 4 ? 4 : 1);
}

/* steps[e] = step e of k of the rows at `rows`, `rows` + ld, ...; plus eps * z when z is not NULL. */
static inline __attribute__((always_inline)) void four_steps(zv steps[4], const float *rows,
                                                             int64_t ld, const float *z, zv eps) {
  zv blocks[4];
  ZF_UNROLL
  for (int j = 0; j < 4; j++) {
    blocks[j] = zv_load_blocks(rows + j * ld, ld);
    if (z) blocks[j] = zv_fma(eps, zv_load_blocks(z + j * ZF_KC, ZF_KC), blocks[j]);
  }
  zv_transpose4(steps, blocks[0], blocks[1], blocks[2], blocks[3]);
}

/* Copies len <= 4 elements of each of `count` rows into a strip of four columns; the rest is zero. */
static inline void copy_edge(float strip[64], const float *rows, int64_t ld, int64_t count,
                             int64_t len) {
  memset(strip, 0, 64 * sizeof *strip);
  for (int64_t j = 0; j < count; j++)
    memcpy(strip + 4 * j, rows + j * ld, (size_t)len * sizeof *strip);
}

/* Four steps at an edge, of which len <= 4 exist, of count <= 16 columns. */
static inline void edge_steps(zv steps[4], const float *rows, int64_t ld, const float *z, zv eps,
                              int64_t count, int64_t len) {
  float weights[64], noise[64];
  copy_edge(weights, rows, ld, count, len);
  if (z) copy_edge(noise, z, ZF_KC, count, len);
  for (int i = 0; z && i < 64; i += 16)
    zv_store(weights + i, zv_fma(eps, zv_load(noise + i), zv_load(weights + i)));
  four_steps(steps, weights, 4, NULL, eps);
}

static inline __attribute__((always_inline)) void pack_with(float *panel, int64_t width,
                                                            const float *rows, int64_t ld,
                                                            const float *z, zv eps, int64_t count,
                                                            int64_t k) {
  zv steps[4];
  int64_t i = 0;
  for (; count == 16 && i + 4 <= k; i += 4) {
    four_steps(steps, rows + i, ld, z ? z + i : NULL, eps);
    ZF_UNROLL
    for (int step = 0; step < 4; step++) zv_store(panel + (i + step) * width, steps[step]);
  }
  for (; i < k; i += 4) {
    int64_t len = k - i < 4 ? k - i : 4;
    edge_steps(steps, rows + i, ld, z ? z + i : NULL, eps, count, len);
    for (int64_t step = 0; step < len; step++) zv_store(panel + (i + step) * width, steps[step]);
  }
}

static void pack_lanes(void *panel, int64_t width, const float *src, int64_t ld, const float *z,
                       float eps, int64_t count, int64_t k) {
  if (z)
    pack_with(panel, width, src, ld, z, zv_set1(eps), count, k);
  else
    pack_with(panel, width, src, ld, NULL, zv_zero(), count, k);
}

/* row_count is a constant at every call, so that sums stay in registers. */
static inline __attribute__((always_inline)) void
mul_unpacked_rows(float *out, int64_t ldout, const float *x, int64_t ldx, const float *weights,
                  int64_t ld, int64_t count, int64_t k, int add, int row_count) {
  zv sums[ZF_SMALL_M], steps[4];
  int64_t i = 0;
  ZF_UNROLL
  for (int row = 0; row < row_count; row++) sums[row] = zv_zero();
  for (; count == 16 && i + 4 <= k; i += 4) {
    four_steps(steps, weights + i, ld, NULL, sums[0]);
    ZF_UNROLL
    for (int step = 0; step < 4; step++) {
      ZF_UNROLL
      for (int row = 0; row < row_count; row++)
        sums[row] = zv_fma(zv_set1(x[row * ldx + i + step]), steps[step], sums[row]);
    }
  }
  for (; i < k; i += 4) {
    int64_t len = k - i < 4 ? k - i : 4;
    edge_steps(steps, weights + i, ld, NULL, sums[0], count, len);
    for (int64_t step = 0; step < len; step++)
      for (int row = 0; row < row_count; row++)
        sums[row] = zv_fma(zv_set1(x[row * ldx + i + step]), steps[step], sums[row]);
  }
  ZF_UNROLL
  for (int row = 0; row < row_count; row++) {
    float *to = out + row * ldout;
    zv_store(to, add ? zv_add(zv_load(to), sums[row]) : sums[row]);
  }
}

static void mul_unpacked_lanes(float *c, int64_t ldc, const float *x, int64_t ldx, int64_t rows,
                               const float *src, int64_t ld, int64_t count, int64_t k, int add) {
  if (rows == 1)
    mul_unpacked_rows(c, ldc, x, ldx, src, ld, count, k, add, 1);
  else if (rows == 2)
    mul_unpacked_rows(c, ldc, x, ldx, src, ld, count, k, add, 2);
  else if (rows == 3)
    mul_unpacked_rows(c, ldc, x, ldx, src, ld, count, k, add, 3);
  else
    mul_unpacked_rows(c, ldc, x, ldx, src, ld, count, k, add, 4);
}

static void finish_lanes(float *y, int64_t ldy, const float *sums, const float *bias, int64_t rows,
                         int64_t count, int accumulate) {
  for (int64_t row = 0; row < rows; row++, y += ldy, sums += ZF_NC)
    for (int64_t j = 0; j < count; j += 16) {
      int64_t lanes = count - j < 16 ? count - j : 16;
      zv value = zv_load(sums + j);
      if (bias) value = zv_add(value, zv_load_n(bias + j, lanes));
      if (accumulate) value = zv_add(zv_load_n(y + j, lanes), value);
      zv_store_n(y + j, value, lanes);
    }
}

static void fill_gemm(struct zf_kern_table *table, const char *name) {
  struct zf_product *product = &table->product[ZF_COMPUTE_F32];
  product->name = name;
  product->max_columns = 16 * ZV_NR;
  product->pack = pack_lanes;
  product->mul = mul_lanes;
  product->mul_unpacked = mul_unpacked_lanes;
  table->finish = finish_lanes;
}

#endif
