/* The product in int8 over sixteen lanes; compiled by x86/int8_*.c and arm/int8_*.c, which define
 * before, beside what lanes_tmpl.h names:
 *
 *   PER                 inputs to a cell: 4 bytes or 2 halfwords, the first in the lowest bits
 *   OFFSET              added to every byte of x, for instructions that take x unsigned: 128 or 0
 *   zu_dot(s, a, b)     s + the sum of products of the PER inputs of each lane, as integers
 *   zu_spread(cell)     a cell in every lane
 *   zu_narrow(cell, q)  the low 32 / PER bits of each lane, which is all that is set, side by side
 *
 * A group (ZF_GROUP inputs, or what is left of a row) of a row of x, and of a panel of width w:
 *
 *   cell 0         scale                    row 0         scales [w], f32
 *   cell 1         unused                   row 1         -OFFSET * sum of q of each column, int32
 *   cells 2 ..     q, PER to a cell         rows 2 ..     q, PER to a cell [w]
 *
 * A tile sums a group in integers, begun with row 1, so that an offset falls away, and then adds
 * it to its sums in f32, which lie in memory meanwhile.
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

static inline __attribute__((always_inline)) void
int8_step(zu s[BR][ZV_NR], const uint32_t *x, int64_t ldx, const uint32_t *panel, int m, int nv) {
  zu b[ZV_NR];
  ZF_UNROLL
  for (int v = 0; v < nv; v++) b[v] = zu_load(panel + 16 * v);
  ZF_UNROLL
  for (int r = 0; r < m; r++) {
    zu a = zu_spread(x + r * ldx);
    ZF_UNROLL
    for (int v = 0; v < nv; v++) s[r][v] = zu_dot(s[r][v], a, b[v]);
  }
}

/* Integer sums of a group of n cells. */
static inline __attribute__((always_inline)) void int8_group(zu s[BR][ZV_NR], const uint32_t *x,
                                                             int64_t ldx, const uint32_t *panel,
                                                             int64_t ldp, int64_t n, int m,
                                                             int nv) {
  ZF_UNROLL
  for (int r = 0; r < m; r++) {
    ZF_UNROLL
    for (int v = 0; v < nv; v++) s[r][v] = zu_load(panel + ldp + 16 * v);
  }
  x += EXTRA, panel += EXTRA * ldp;
  for (const uint32_t *end = x + n; x < end; x++, panel += ldp) int8_step(s, x, ldx, panel, m, nv);
}

static inline float int8_value(const uint32_t *p) {
  float f;
  memcpy(&f, p, sizeof f);
  return f;
}

/* Adds a group to the sums in memory, or begins them. */
static inline __attribute__((always_inline)) void int8_sum(float *sum, int64_t ld, zu s[BR][ZV_NR],
                                                           const uint32_t *x, int64_t ldx,
                                                           const uint32_t *panel, int begin, int m,
                                                           int nv) {
  zv w[ZV_NR];
  ZF_UNROLL
  for (int v = 0; v < nv; v++) w[v] = zv_bits(zu_load(panel + 16 * v));
  ZF_UNROLL
  for (int r = 0; r < m; r++) {
    zv by = zv_set1(int8_value(x + r * ldx));
    ZF_UNROLL
    for (int v = 0; v < nv; v++) {
      float *p = sum + r * ld + 16 * v;
      zv scale = zv_mul(by, w[v]);
      zv_store(p, zv_fma(zv_from_i32(s[r][v]), scale, begin ? zv_zero() : zv_load(p)));
    }
  }
}

static inline __attribute__((always_inline)) void
int8_tile(float *c, int64_t ldc, const uint32_t *x, int64_t ldx, const uint32_t *panel, int64_t ldp,
          int64_t k, enum zf_mul_mode mode, int m, int nv) {
  float own[BR * 16 * ZV_NR], *sum = mode == ZF_MUL_ADD ? own : c;
  int64_t ld = mode == ZF_MUL_ADD ? 16 * ZV_NR : ldc;
  zu s[BR][ZV_NR];
  int64_t g = 0;
  do {
    int64_t n = (zf_kern_min(k - g, ZF_GROUP) + PER - 1) / PER;
    int8_group(s, x, ldx, panel, ldp, n, m, nv);
    if (g)
      int8_sum(sum, ld, s, x, ldx, panel, 0, m, nv);
    else
      int8_sum(sum, ld, s, x, ldx, panel, 1, m, nv);
    x += EXTRA + n, panel += (EXTRA + n) * ldp;
    g += ZF_GROUP;
  } while (g < k);
  for (int r = 0; mode == ZF_MUL_ADD && r < m; r++)
    for (int v = 0; v < nv; v++) {
      float *p = c + r * ldc + 16 * v;
      zv_store(p, zv_add(zv_load(p), zv_load(own + r * ld + 16 * v)));
    }
}

static inline __attribute__((always_inline)) void
int8_rows_of(float *c, int64_t ldc, const uint32_t *x, int64_t ldx, int64_t rows,
             const uint32_t *panel, int64_t ldp, int64_t k, enum zf_mul_mode mode, int nv) {
  for (; rows >= BR; rows -= BR, c += BR * ldc, x += BR * ldx)
    int8_tile(c, ldc, x, ldx, panel, ldp, k, mode, BR, nv);
  for (; rows >= 4; rows -= 4, c += 4 * ldc, x += 4 * ldx)
    int8_tile(c, ldc, x, ldx, panel, ldp, k, mode, 4, nv);
  for (; rows > 0; rows--, c += ldc, x += ldx)
    int8_tile(c, ldc, x, ldx, panel, ldp, k, mode, 1, nv);
}

static void int8_mul(float *c, int64_t ldc, const void *x, int64_t ldx, int64_t rows,
                     const void *panel, int64_t ldp, int64_t w, int64_t k, enum zf_mul_mode mode) {
  if (w == 16) int8_rows_of(c, ldc, x, ldx, rows, panel, ldp, k, mode, 1);
  if (ZV_NR >= 2 && w == 32)
    int8_rows_of(c, ldc, x, ldx, rows, panel, ldp, k, mode, ZV_NR >= 2 ? 2 : 1);
  if (ZV_NR >= 3 && w == 48)
    int8_rows_of(c, ldc, x, ldx, rows, panel, ldp, k, mode, ZV_NR >= 3 ? 3 : 1);
  if (ZV_NR >= 4 && w == 64)
    int8_rows_of(c, ldc, x, ldx, rows, panel, ldp, k, mode, ZV_NR >= 4 ? 4 : 1);
}

/* --- quantisation --- */

static inline zu int8_max(zu m, zv x) {
  zu a = zu_and(zu_bits(x), zu_set1(0x7fffffff));
  return zu_if(zu_gt(a, m), a, m);
}

/* Scale, and factor before rounding, of groups whose greatest magnitudes have the bits m. */
static inline zv int8_scale(zv *inv, zu m) {
  zu none = zu_set1(0), nan = zu_set1(0x7fc00000), inf = zu_set1(0x7f7fffff);
  zm small = zu_gt(zu_bits(zv_set1(0x1p-100f)), m), wrong = zu_gt(m, inf);
  zu by = zu_bits(zv_div(zv_set1(127.0f), zv_bits(m)));
  zu scale = zu_bits(zv_div(zv_bits(m), zv_set1(127.0f)));
  *inv = zv_bits(zu_if(wrong, none, zu_if(small, none, by)));
  return zv_bits(zu_if(wrong, nan, zu_if(small, none, scale)));
}

static inline zu int8_quant(zv v, zv inv) {
  return zu_bits(zv_fma(v, inv, zv_set1(ROUND)));
}

/* Rows i .. i + PER - 1 of k rows that lie ld apart as one row of cells. */
static inline __attribute__((always_inline)) zu int8_cells(const float *from, int64_t ld, zv inv) {
  zu cell = zu_and(int8_quant(zv_load(from), inv), zu_set1(MASK));
  ZF_UNROLL
  for (int e = 1; e < PER - 1; e++)
    cell = zu_or(cell,
                 zu_shl(zu_and(int8_quant(zv_load(from + e * ld), inv), zu_set1(MASK)), e * BITS));
  return zu_or(cell, zu_shl(int8_quant(zv_load(from + (PER - 1) * ld), inv), 32 - BITS));
}

/* What cancels the offset of x: -OFFSET times the sums of the n cells of each column. */
static inline zu int8_start(const uint32_t *panel, int64_t w, int64_t n) {
  zu s = zu_set1(0), one = zu_set1(0x01010101);
  for (int64_t i = 0; OFFSET != 0 && i < n; i++) s = zu_dot(s, one, zu_load(panel + i * w));
  return zu_sub(zu_set1(0), zu_shl(s, 7));
}

/* 16 columns of a panel of width w from k rows of 16 floats, `ld` apart. */
static inline void int8_fold16(uint32_t *panel, int64_t w, const float *from, int64_t ld,
                               int64_t k) {
  float last[PER][16] = {{0}};
  zu m = zu_set1(0);
  zv inv;
  int64_t i = 0;
  uint32_t *p = panel + EXTRA * w;
  for (int64_t r = 0; r < k; r++) m = int8_max(m, zv_load(from + r * ld));
  zv_store((float *)(void *)panel, int8_scale(&inv, m));
  for (; i + PER <= k; i += PER, p += w) zu_store(p, int8_cells(from + i * ld, ld, inv));
  for (int64_t r = i; r < k; r++) memcpy(last[r - i], from + r * ld, sizeof *last);
  if (i < k) zu_store(p, int8_cells(last[0], 16, inv));
  zu_store(panel + w, int8_start(panel + EXTRA * w, w, (k + PER - 1) / PER));
}

static void int8_fold(void *panel, int64_t w, const float *from, int64_t ld, int64_t n, int64_t k) {
  for (int64_t j = 0; j < n; j += 16) int8_fold16((uint32_t *)panel + j, w, from + j, ld, k);
}

/* q of 16 inputs of a row of x. */
static inline void int8_row_part(uint32_t *cell, zv x, zv inv) {
  zu_narrow(cell, zu_and(zu_add(int8_quant(x, inv), zu_set1(OFFSET)), zu_set1(MASK)));
}

static void int8_rows(void *row, const float *x, int64_t count) {
  uint32_t *c = row;
  for (int64_t g = 0; g < count; g += ZF_GROUP) {
    int64_t k = zf_kern_min(count - g, ZF_GROUP);
    uint32_t lane[16];
    zu m = zu_set1(0);
    for (int64_t i = 0; i < k; i += 16)
      m = int8_max(m, zv_load_n(x + g + i, zf_kern_min(k - i, 16)));
    zu_store(lane, m);
    for (int i = 1; i < 16; i++) lane[0] = lane[i] > lane[0] ? lane[i] : lane[0];
    zv inv, scale = int8_scale(&inv, zu_set1(lane[0]));
    zv_store_n((float *)(void *)c, scale, 1);
    c[1] = 0;
    c += EXTRA;
    int64_t i = 0, cells = (k + PER - 1) / PER;
    for (; i + 16 <= k; i += 16) int8_row_part(c + i / PER, zv_load(x + g + i), inv);
    if (i < k) {
      int8_row_part(lane, zv_load_n(x + g + i, k - i), inv);
      memcpy(c + i / PER, lane, (size_t)(cells - i / PER) * sizeof *c);
    }
    c += cells;
  }
}

static void fill_int8(struct zf_kern_table *table, const char *name, int native) {
  struct zf_product *product = &table->product[ZF_COMPUTE_INT8];
  product->name = name;
  product->native = native;
  product->max_columns = 16 * ZV_NR;
  product->inputs_per_cell = PER;
  product->convert_rows = int8_rows;
  product->pack_f32 = int8_fold;
  product->mul = int8_mul;
}

#endif
