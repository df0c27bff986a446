/* The product in int8 over sixteen lanes; compiled by x86/int8_*.c and arm/int8_*.c, which define,
 * before including it, what lanes_tmpl.h lists and:
 *
 *   PER                 inputs to a cell: 4 bytes or 2 halfwords, the first in the lowest bits
 *   OFFSET              added to every byte of x for instructions with an unsigned operand: 128 or 0
 *   zu_dot(s, a, b)     s + the sum of products of the PER inputs of each lane, as integers
 *   zu_spread(cell)     a cell in every lane
 *   zu_narrow(cell, q)  the low 32 / PER bits of each lane side by side; the other bits are zero
 *
 * A group (ZF_GROUP inputs; the last one of a row may be shorter) of a row of x, and of a panel of
 * width w:
 *
 *   cell 0         scale                    row 0         scales [w], f32
 *   cell 1         unused                   row 1         -OFFSET * sum of q of each column, int32
 *   cells 2 ..     q, PER to a cell         rows 2 ..     q, PER to a cell [w]
 *
 * A tile sums a group in integers.  The sum begins with row 1, which cancels the offset; then it is
 * added to the sums in f32, which are kept in memory.
 *
 * Rounding: v * inv + 1.5 * 2^23 by fma leaves q in the low bits of the float. */
#ifndef ZF_KERN_INT8_TMPL_H
#define ZF_KERN_INT8_TMPL_H

#include <math.h>
#include <string.h>

#include "kern/kern_internal.h"
#include "kern/unroll.h"

enum { BR = ZF_MUL_ROWS, EXTRA = 2, BITS = 32 / PER, MASK = (1u << BITS) - 1 };

#define ROUND 12582912.0f

/* --- multiplication --- */

static inline __attribute__((always_inline)) void int8_step(zu sums[BR][ZV_NR], const uint32_t *x,
                                                            int64_t ldx, const uint32_t *panel,
                                                            int rows, int vectors) {
  zu columns[ZV_NR];
  ZF_UNROLL
  for (int vector = 0; vector < vectors; vector++) columns[vector] = zu_load(panel + 16 * vector);
  ZF_UNROLL
  for (int row = 0; row < rows; row++) {
    zu value = zu_spread(x + row * ldx);
    ZF_UNROLL
    for (int vector = 0; vector < vectors; vector++)
      sums[row][vector] = zu_dot(sums[row][vector], value, columns[vector]);
  }
}

/* Integer sums of a group of `count` cells. */
static inline __attribute__((always_inline)) void int8_group(zu sums[BR][ZV_NR], const uint32_t *x,
                                                             int64_t ldx, const uint32_t *panel,
                                                             int64_t ldp, int64_t count, int rows,
                                                             int vectors) {
  ZF_UNROLL
  for (int row = 0; row < rows; row++) {
    ZF_UNROLL
    for (int vector = 0; vector < vectors; vector++)
      sums[row][vector] = zu_load(panel + ldp + 16 * vector);
  }
  x += EXTRA, panel += EXTRA * ldp;
  for (const uint32_t *end = x + count; x < end; x++, panel += ldp)
    int8_step(sums, x, ldx, panel, rows, vectors);
}

static inline float int8_value(const uint32_t *cell) {
  float value;
  memcpy(&value, cell, sizeof value);
  return value;
}

/* Adds a group to the sums in memory, or stores it as the first (begin). */
static inline __attribute__((always_inline)) void int8_sum(float *out, int64_t ldout,
                                                           zu sums[BR][ZV_NR], const uint32_t *x,
                                                           int64_t ldx, const uint32_t *panel,
                                                           int begin, int rows, int vectors) {
  zv panel_scales[ZV_NR];
  ZF_UNROLL
  for (int vector = 0; vector < vectors; vector++)
    panel_scales[vector] = zv_bits(zu_load(panel + 16 * vector));
  ZF_UNROLL
  for (int row = 0; row < rows; row++) {
    zv row_scale = zv_set1(int8_value(x + row * ldx));
    ZF_UNROLL
    for (int vector = 0; vector < vectors; vector++) {
      float *to = out + row * ldout + 16 * vector;
      zv scale = zv_mul(row_scale, panel_scales[vector]);
      zv_store(to, zv_fma(zv_from_i32(sums[row][vector]), scale, begin ? zv_zero() : zv_load(to)));
    }
  }
}

static inline __attribute__((always_inline)) void
int8_tile(float *out, int64_t ldout, const uint32_t *x, int64_t ldx, const uint32_t *panel,
          int64_t ldp, int64_t k, enum zf_mul_mode mode, int rows, int vectors) {
  float buffer[BR * 16 * ZV_NR], *chains = mode == ZF_MUL_ADD ? buffer : out;
  int64_t ldchains = mode == ZF_MUL_ADD ? 16 * ZV_NR : ldout;
  zu sums[BR][ZV_NR];
  int64_t start = 0;
  do {
    int64_t count = (zf_min64(k - start, ZF_GROUP) + PER - 1) / PER;
    int8_group(sums, x, ldx, panel, ldp, count, rows, vectors);
    if (start)
      int8_sum(chains, ldchains, sums, x, ldx, panel, 0, rows, vectors);
    else
      int8_sum(chains, ldchains, sums, x, ldx, panel, 1, rows, vectors);
    x += EXTRA + count, panel += (EXTRA + count) * ldp;
    start += ZF_GROUP;
  } while (start < k);
  for (int row = 0; mode == ZF_MUL_ADD && row < rows; row++)
    for (int vector = 0; vector < vectors; vector++) {
      float *to = out + row * ldout + 16 * vector;
      zv_store(to, zv_add(zv_load(to), zv_load(buffer + row * ldchains + 16 * vector)));
    }
}

static inline __attribute__((always_inline)) void
int8_rows_of(float *out, int64_t ldout, const uint32_t *x, int64_t ldx, int64_t rows,
             const uint32_t *panel, int64_t ldp, int64_t k, enum zf_mul_mode mode, int vectors) {
  for (; rows >= BR; rows -= BR, out += BR * ldout, x += BR * ldx)
    int8_tile(out, ldout, x, ldx, panel, ldp, k, mode, BR, vectors);
  for (; rows >= 4; rows -= 4, out += 4 * ldout, x += 4 * ldx)
    int8_tile(out, ldout, x, ldx, panel, ldp, k, mode, 4, vectors);
  for (; rows > 0; rows--, out += ldout, x += ldx)
    int8_tile(out, ldout, x, ldx, panel, ldp, k, mode, 1, vectors);
}

static void int8_mul(float *out, int64_t ldout, const void *x, int64_t ldx, int64_t rows,
                     const void *panel, int64_t ldp, int64_t width, int64_t k,
                     enum zf_mul_mode mode) {
  if (width == 16) int8_rows_of(out, ldout, x, ldx, rows, panel, ldp, k, mode, 1);
  if (ZV_NR >= 2 && width == 32)
    int8_rows_of(out, ldout, x, ldx, rows, panel, ldp, k, mode, ZV_NR >= 2 ? 2 : 1);
  if (ZV_NR >= 3 && width == 48)
    int8_rows_of(out, ldout, x, ldx, rows, panel, ldp, k, mode, ZV_NR >= 3 ? 3 : 1);
  if (ZV_NR >= 4 && width == 64)
    int8_rows_of(out, ldout, x, ldx, rows, panel, ldp, k, mode, ZV_NR >= 4 ? 4 : 1);
}

/* --- quantisation --- */

static inline zu int8_max(zu max, zv x) {
  zu magnitude = zu_and(zu_bits(x), zu_set1(0x7fffffff));
  return zu_if(zu_gt(magnitude, max), magnitude, max);
}

/* The scale, and the factor before rounding (*inv), of groups whose largest magnitudes have the bits
 * `max`. */
static inline zv int8_scale(zv *inv, zu max) {
  zu zero = zu_set1(0), nan = zu_set1(0x7fc00000), inf = zu_set1(0x7f7fffff);
  zm small = zu_gt(zu_bits(zv_set1(0x1p-100f)), max), wrong = zu_gt(max, inf);
  zu factor = zu_bits(zv_div(zv_set1(127.0f), zv_bits(max)));
  zu scale = zu_bits(zv_div(zv_bits(max), zv_set1(127.0f)));
  *inv = zv_bits(zu_if(wrong, zero, zu_if(small, zero, factor)));
  return zv_bits(zu_if(wrong, nan, zu_if(small, zero, scale)));
}

static inline zu int8_quant(zv value, zv inv) {
  return zu_bits(zv_fma(value, inv, zv_set1(ROUND)));
}

/* PER rows that lie ld apart, as one row of cells. */
static inline __attribute__((always_inline)) zu int8_cells(const float *rows, int64_t ld, zv inv) {
  zu cell = zu_and(int8_quant(zv_load(rows), inv), zu_set1(MASK));
  ZF_UNROLL
  for (int input = 1; input < PER - 1; input++)
    cell = zu_or(cell, zu_shl(zu_and(int8_quant(zv_load(rows + input * ld), inv), zu_set1(MASK)),
                              input * BITS));
  return zu_or(cell, zu_shl(int8_quant(zv_load(rows + (PER - 1) * ld), inv), 32 - BITS));
}

/* -OFFSET times the sums of the `count` cells of each column, which cancels the offset of x. */
static inline zu int8_start(const uint32_t *panel, int64_t width, int64_t count) {
  zu sums = zu_set1(0), ones = zu_set1(0x01010101);
  for (int64_t i = 0; OFFSET != 0 && i < count; i++)
    sums = zu_dot(sums, ones, zu_load(panel + i * width));
  return zu_sub(zu_set1(0), zu_shl(sums, 7));
}

/* Packs 16 columns of a panel of `width` columns from k rows of 16 floats that lie ld apart. */
static inline void int8_pack16(uint32_t *panel, int64_t width, const float *rows, int64_t ld,
                               int64_t k) {
  float last_rows[PER][16] = {{0}};
  zu max = zu_set1(0);
  zv inv;
  int64_t i = 0;
  uint32_t *cells = panel + EXTRA * width;
  for (int64_t row = 0; row < k; row++) max = int8_max(max, zv_load(rows + row * ld));
  zv_store((float *)(void *)panel, int8_scale(&inv, max));
  for (; i + PER <= k; i += PER, cells += width)
    zu_store(cells, int8_cells(rows + i * ld, ld, inv));
  for (int64_t row = i; row < k; row++)
    memcpy(last_rows[row - i], rows + row * ld, sizeof *last_rows);
  if (i < k) zu_store(cells, int8_cells(last_rows[0], 16, inv));
  zu_store(panel + width, int8_start(panel + EXTRA * width, width, (k + PER - 1) / PER));
}

static void int8_pack(void *panel, int64_t width, const float *rows, int64_t ld, int64_t count,
                      int64_t k) {
  for (int64_t j = 0; j < count; j += 16)
    int8_pack16((uint32_t *)panel + j, width, rows + j, ld, k);
}

/* Quantises 16 inputs of a row of x. */
static inline void int8_row_part(uint32_t *cell, zv x, zv inv) {
  zu_narrow(cell, zu_and(zu_add(int8_quant(x, inv), zu_set1(OFFSET)), zu_set1(MASK)));
}

static void int8_rows(void *row, const float *x, int64_t count) {
  uint32_t *cell = row;
  for (int64_t start = 0; start < count; start += ZF_GROUP) {
    int64_t len = zf_min64(count - start, ZF_GROUP);
    uint32_t lanes[16];
    zu max = zu_set1(0);
    for (int64_t i = 0; i < len; i += 16)
      max = int8_max(max, zv_load_n(x + start + i, zf_min64(len - i, 16)));
    zu_store(lanes, max);
    for (int i = 1; i < 16; i++) lanes[0] = lanes[i] > lanes[0] ? lanes[i] : lanes[0];
    zv inv, scale = int8_scale(&inv, zu_set1(lanes[0]));
    zv_store_n((float *)(void *)cell, scale, 1);
    cell[1] = 0;
    cell += EXTRA;
    int64_t i = 0, cells = (len + PER - 1) / PER;
    for (; i + 16 <= len; i += 16) int8_row_part(cell + i / PER, zv_load(x + start + i), inv);
    if (i < len) {
      int8_row_part(lanes, zv_load_n(x + start + i, len - i), inv);
      memcpy(cell + i / PER, lanes, (size_t)(cells - i / PER) * sizeof *cell);
    }
    cell += cells;
  }
}

static void fill_int8(struct zf_kern_table *table, const char *name, int native) {
  struct zf_product *product = &table->product[ZF_COMPUTE_INT8];
  product->name = name;
  product->native = native;
  product->max_columns = 16 * ZV_NR;
  product->inputs_per_cell = PER;
  product->convert_rows = int8_rows;
  product->pack_f32 = int8_pack;
  product->mul = int8_mul;
}

#endif
