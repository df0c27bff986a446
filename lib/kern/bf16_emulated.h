/* The product in bf16 by f32 operations, for processors without an instruction for it: the same bits
 * as the reference, at about half of the speed of f32.  The file that includes this one has included
 * its vec_*.h, which defines zv_begin_flush. */
#ifndef ZF_KERN_BF16_EMULATED_H
#define ZF_KERN_BF16_EMULATED_H

#include <stdint.h>

typedef zu zc;

static inline zv zv_dot2(zv sum, zc a, zc b) {
  zu high = zu_set1(0xffff0000u);
  sum = zv_fma(zv_bits(zu_and(a, high)), zv_bits(zu_and(b, high)), sum);
  return zv_fma(zv_bits(zu_shl(a, 16)), zv_bits(zu_shl(b, 16)), sum);
}

static inline zc zv_spread(const uint32_t *cell) {
  return zu_set1(*cell);
}

static inline zc zv_cells(const uint32_t *cells) {
  return zu_load(cells);
}

#include "kern/bf16_tmpl.h"

/* Bits of bf16 in the upper half, zeros below. */
static inline zu bf16_high(zv x) {
  zu bits = zu_bits(x), high = zu_set1(0xffff0000u), magnitude = zu_and(bits, zu_set1(0x7fffffffu));
  zu round = zu_add(zu_set1(0x7fff), zu_and(zu_shr(bits, 16), zu_set1(1)));
  zu rounded = zu_and(zu_add(bits, round), high);
  rounded =
      zu_if(zu_gt(zu_set1(0x00800000u), magnitude), zu_and(bits, zu_set1(0x80000000u)), rounded);
  return zu_if(zu_gt(magnitude, zu_set1(0x7f800000u)),
               zu_and(zu_or(bits, zu_set1(0x00400000u)), high), rounded);
}

static inline zu bf16_pair(zv low, zv high) {
  return zu_or(zu_shr(bf16_high(low), 16), bf16_high(high));
}

static void rows_bf16_lanes(void *cells, const float *x, int64_t count) {
  uint16_t *halves = cells;
  for (int64_t i = 0; i < count; i += 16) {
    uint16_t last[16];
    int64_t lanes = count - i < 16 ? count - i : 16;
    zu_store16(lanes < 16 ? last : halves + i, zu_shr(bf16_high(zv_load_n(x + i, lanes)), 16));
    if (lanes < 16) memcpy(halves + i, last, (size_t)((lanes + 1) / 2 * 2) * sizeof *halves);
  }
}

static void pack_f32_bf16_lanes(void *panel, int64_t width, const float *rows, int64_t ld,
                                int64_t count, int64_t k) {
  uint32_t *cells = panel;
  for (int64_t i = 0; i < k; i += 2)
    for (int64_t j = 0; j < count; j += 16) {
      zv high = i + 1 < k ? zv_load(rows + (i + 1) * ld + j) : zv_zero();
      zu_store(cells + i / 2 * width + j, bf16_pair(zv_load(rows + i * ld + j), high));
    }
}

/* Packs a few inputs at a time by the pack of f32, and converts the result. */
static void pack_bf16_lanes(void *panel, int64_t width, const float *rows, int64_t ld,
                            const float *z, float eps, int64_t count, int64_t k) {
  enum { SOME = 32 };
  float values[SOME * 16];
  uint32_t cell[SOME / 2 * 16], *to = panel;
  for (int64_t i = 0; i < k; i += SOME) {
    int64_t len = k - i < SOME ? k - i : SOME;
    zf_kern.product[ZF_COMPUTE_F32].pack(values, 16, rows + i, ld, z ? z + i : NULL, eps, count,
                                         len);
    pack_f32_bf16_lanes(cell, 16, values, 16, 16, len);
    for (int64_t pair = 0; pair < (len + 1) / 2; pair++, to += width)
      zu_store(to, zu_load(cell + 16 * pair));
  }
}

static void fill_bf16(struct zf_kern_table *table, const char *name) {
  struct zf_product *product = &table->product[ZF_COMPUTE_BF16];
  product->name = name;
  product->max_columns = 16 * ZV_NR;
  product->convert_rows = rows_bf16_lanes;
  product->pack = pack_bf16_lanes;
  product->pack_f32 = pack_f32_bf16_lanes;
  product->mul = bf16_mul;
}

#endif
