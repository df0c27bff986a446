/* The product in bf16 by f32 operations, for processors that have no instruction for it:
 * the same bits as the reference, at some half of the speed of f32.  The file that
 * includes this one has included its vec_*.h, which gives zv_begin_flush. */
#ifndef ZF_KERN_BF16_EMULATED_H
#define ZF_KERN_BF16_EMULATED_H

#include <stdint.h>

typedef zu zc;

static inline zv zv_dot2(zv c, zc a, zc b) {
  zu high = zu_set1(0xffff0000u);
  c = zv_fma(zv_bits(zu_and(a, high)), zv_bits(zu_and(b, high)), c);
  return zv_fma(zv_bits(zu_shl(a, 16)), zv_bits(zu_shl(b, 16)), c);
}

static inline zc zv_spread(const uint32_t *cell) {
  return zu_set1(*cell);
}

static inline zc zv_cells(const uint32_t *p) {
  return zu_load(p);
}

#include "kern/bf16_tmpl.h"

/* Bits of bf16 in the upper half, zeros below. */
static inline zu bf16_high(zv x) {
  zu u = zu_bits(x), high = zu_set1(0xffff0000u), mag = zu_and(u, zu_set1(0x7fffffffu));
  zu round = zu_add(zu_set1(0x7fff), zu_and(zu_shr(u, 16), zu_set1(1)));
  zu r = zu_and(zu_add(u, round), high);
  r = zu_if(zu_gt(zu_set1(0x00800000u), mag), zu_and(u, zu_set1(0x80000000u)), r);
  return zu_if(zu_gt(mag, zu_set1(0x7f800000u)), zu_and(zu_or(u, zu_set1(0x00400000u)), high), r);
}

static inline zu bf16_pair(zv low, zv high) {
  return zu_or(zu_shr(bf16_high(low), 16), bf16_high(high));
}

static void rows_bf16_lanes(void *cell, const float *x, int64_t count) {
  uint16_t *c = cell;
  for (int64_t i = 0; i < count; i += 16) {
    uint16_t last[16];
    int64_t m = count - i < 16 ? count - i : 16;
    zu_store16(m < 16 ? last : c + i, zu_shr(bf16_high(zv_load_n(x + i, m)), 16));
    if (m < 16) memcpy(c + i, last, (size_t)((m + 1) / 2 * 2) * sizeof *c);
  }
}

static void fold_bf16_lanes(void *panel, int64_t w, const float *from, int64_t ld, int64_t n,
                            int64_t k) {
  uint32_t *p = panel;
  for (int64_t i = 0; i < k; i += 2)
    for (int64_t j = 0; j < n; j += 16) {
      zv high = i + 1 < k ? zv_load(from + (i + 1) * ld + j) : zv_zero();
      zu_store(p + i / 2 * w + j, bf16_pair(zv_load(from + i * ld + j), high));
    }
}

/* By the packing of f32, a few inputs at a time, and folding that. */
static void pack_bf16_lanes(void *panel, int64_t w, const float *src, int64_t ld, const float *z,
                            float eps, int64_t n, int64_t k) {
  enum { SOME = 32 };
  float v[SOME * 16];
  uint32_t cell[SOME / 2 * 16], *p = panel;
  for (int64_t i = 0; i < k; i += SOME) {
    int64_t m = k - i < SOME ? k - i : SOME;
    zf_kern.product[ZF_COMPUTE_F32].pack(v, 16, src + i, ld, z ? z + i : NULL, eps, n, m);
    fold_bf16_lanes(cell, 16, v, 16, 16, m);
    for (int64_t e = 0; e < (m + 1) / 2; e++, p += w) zu_store(p, zu_load(cell + 16 * e));
  }
}

static void fill_bf16(struct zf_kern_table *table, const char *name) {
  struct zf_product *product = &table->product[ZF_COMPUTE_BF16];
  product->name = name;
  product->max_columns = 16 * ZV_NR;
  product->convert_rows = rows_bf16_lanes;
  product->pack = pack_bf16_lanes;
  product->pack_f32 = fold_bf16_lanes;
  product->mul = bf16_mul;
}

#endif
