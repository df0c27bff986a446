/* Noise over sixteen lanes: part of lanes_tmpl.h, which says what zv and zu are.  Besides
 * what it lists:
 *
 *   zu_mul(hi, lo, a, m)   products of 64 bits, halves apart
 *   zx, zx_of(bits)        a column of tables of 32 floats, by the low five bits of exponents
 *   zv_pick(t, x, rare)    those of table t; rare: what zx_rare(x) was, or 1
 *   zv_mantissa(f)         of |f|, in [1,2)
 *   zv_flip(x, w)          x, of the other sign where bit 31 of w is set
 *   ZV_CHAINS              blocks of Philox that are made side by side
 *
 * A block is made so (rng/noise.h; q its first counter, a multiple of 16):
 *
 *   counters q .. q+15 -> Philox -> w[0] .. w[3], word j of all -> elements 16 j .. 16 j + 15 */
#ifndef ZF_KERN_NOISE_TMPL_H
#define ZF_KERN_NOISE_TMPL_H

#include <string.h>

#include "kern/kern_internal.h"
#include "kern/unroll.h"
#include "rng/gauss_table.h"
#include "rng/philox.h"

#define INLINE static inline __attribute__((always_inline))

/* What becomes of the words: they are stored, or the values they make are, or a multiple of
 * those values is added to what is there. */
enum noise_op { STORE_WORDS, STORE_NOISE, ADD_NOISE };

/* A key with its round keys.  As words 1 to 3 of the counters of a block are the same, so are
 * parts of the first two rounds:
 *   round 0:  q, c1, step, c3  ->  hi0 ^ c1, lo0, hi(M0 q) ^ c[0], lo(M0 q)
 *   round 1:                   ->  hi(M1 c2) ^ c[1], lo(M1 c2), lo(M0 q) ^ hi1, lo1
 * with hi0, lo0 of M1 step, and hi1, lo1 of M0 (hi0 ^ c1). */
struct schedule {
  uint32_t k0[ZF_PHILOX_ROUNDS], k1[ZF_PHILOX_ROUNDS];
  uint32_t constant[2], hi0, param;
  float by;
};

/* Set word by word: what is copied by vectors after that would wait for the stores. */
static inline void set_schedule(struct schedule *schedule, const struct zf_noise *noise, float by) {
  uint64_t p = (uint64_t)ZF_PHILOX_M1 * noise->step;
  uint32_t k0 = (uint32_t)noise->seed, k1 = (uint32_t)(noise->seed >> 32);
  ZF_UNROLL
  for (uint32_t r = 0; r < ZF_PHILOX_ROUNDS; r++) {
    schedule->k0[r] = k0 + r * ZF_PHILOX_W0;
    schedule->k1[r] = k1 + r * ZF_PHILOX_W1;
  }
  schedule->constant[0] = (noise->probe | (uint32_t)noise->use << 16) ^ k1;
  schedule->constant[1] = (uint32_t)p ^ (k0 + ZF_PHILOX_W0);
  schedule->hi0 = (uint32_t)(p >> 32) ^ k0;
  schedule->param = noise->param << 8;
  schedule->by = by;
}

/* Words of `chains` blocks whose counters begin at q and have the same high word, in turns so
 * that one chain's products fill the other's waiting.  w[4 i + j]: word j of block i. */
INLINE void philox_lanes(zu *w, const struct schedule *schedule, int64_t q, int chains) {
  static const uint32_t lane[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  uint64_t p =
      (uint64_t)ZF_PHILOX_M0 * (schedule->hi0 ^ (schedule->param | (uint32_t)(q >> 32 & 0xff)));
  zu hi1 = zu_set1((uint32_t)(p >> 32) ^ schedule->k1[1]), lo1 = zu_set1((uint32_t)p);
  zu c[ZV_CHAINS][4], h0, l0, h1, l1;
  ZF_UNROLL
  for (int i = 0; i < chains; i++) {
    zu_mul(&h0, &l0, zu_add(zu_set1((uint32_t)q + 16 * (uint32_t)i), zu_load(lane)), ZF_PHILOX_M0);
    zu_mul(&h1, &c[i][1], zu_xor(h0, zu_set1(schedule->constant[0])), ZF_PHILOX_M1);
    c[i][0] = zu_xor(h1, zu_set1(schedule->constant[1]));
    c[i][2] = zu_xor(l0, hi1);
    c[i][3] = lo1;
  }
  ZF_UNROLL
  for (int r = 2; r < ZF_PHILOX_ROUNDS; r++) {
    ZF_UNROLL
    for (int i = 0; i < chains; i++) {
      zu_mul(&h0, &l0, c[i][0], ZF_PHILOX_M0);
      zu_mul(&h1, &l1, c[i][2], ZF_PHILOX_M1);
      c[i][0] = zu_xor3(h1, c[i][1], zu_set1(schedule->k0[r]));
      c[i][2] = zu_xor3(h0, c[i][3], zu_set1(schedule->k1[r]));
      c[i][1] = l1;
      c[i][3] = l0;
    }
  }
  ZF_UNROLL
  for (int i = 0; i < chains; i++) {
    ZF_UNROLL
    for (int j = 0; j < 4; j++) w[4 * i + j] = c[i][j];
  }
}

INLINE zv quantile_lanes(zv m, zx k, int rare) {
  zv z = zv_pick(zf_gauss_table[ZF_GAUSS_DEGREE], k, rare);
  ZF_UNROLL
  for (int d = ZF_GAUSS_DEGREE - 1; d >= 0; d--)
    z = zv_fma(z, m, zv_pick(zf_gauss_table[d], k, rare));
  return z;
}

INLINE zv gaussian_lanes(zu w) {
  zv f = zv_from_i32(zu_or(w, zu_set1(1))), m = zv_mantissa(f);
  zx k = zx_of(zu_bits(f));
  zv z = __builtin_expect(zx_rare(k), 0) ? quantile_lanes(m, k, 1) : quantile_lanes(m, k, 0);
  return zv_flip(z, w);
}

INLINE zv value_of(zu w, int kind) {
  return kind == ZF_GAUSSIAN ? gaussian_lanes(w) : zv_flip(zv_set1(1.0f), w);
}

INLINE void put_lanes(float *to, zu w, float c, int kind, enum noise_op op) {
  if (op == STORE_WORDS)
    zv_store(to, zv_bits(w));
  else if (op == STORE_NOISE)
    zv_store(to, value_of(w, kind));
  else
    zv_store(to, zv_fma(zv_set1(c), value_of(w, kind), zv_load(to)));
}

/* `blocks` whole blocks from counter q on. */
INLINE void blocks_of(float *to, const struct schedule *schedule, int64_t q, int64_t blocks,
                      int kind, enum noise_op op) {
  zu w[4 * ZV_CHAINS];
  while (blocks > 0) {
    int chains =
        blocks < ZV_CHAINS || (uint32_t)q > UINT32_MAX - 16 * ZV_CHAINS + 1 ? 1 : ZV_CHAINS;
    if (chains == 1) {
      philox_lanes(w, schedule, q, 1);
      ZF_UNROLL
      for (int j = 0; j < 4; j++) put_lanes(to + 16 * j, w[j], schedule->by, kind, op);
    } else {
      philox_lanes(w, schedule, q, ZV_CHAINS);
      ZF_UNROLL
      for (int j = 0; j < 4 * ZV_CHAINS; j++) put_lanes(to + 16 * j, w[j], schedule->by, kind, op);
    }
    to += chains * ZF_NOISE_BLOCK;
    q += chains * 16;
    blocks -= chains;
  }
}

/* Kept apart, so that round keys stay in memory, where instructions broadcast them from:
 * hoisted out of the loop they would fill the registers. */
typedef void blocks_fn(float *to, const struct schedule *s, int64_t q, int64_t blocks);

#define NOINLINE static __attribute__((noinline))

NOINLINE void blocks_words(float *to, const struct schedule *schedule, int64_t q, int64_t blocks) {
  blocks_of(to, schedule, q, blocks, ZF_RADEMACHER, STORE_WORDS);
}

NOINLINE void blocks_gaussian(float *to, const struct schedule *schedule, int64_t q,
                              int64_t blocks) {
  blocks_of(to, schedule, q, blocks, ZF_GAUSSIAN, STORE_NOISE);
}

NOINLINE void blocks_signs(float *to, const struct schedule *schedule, int64_t q, int64_t blocks) {
  blocks_of(to, schedule, q, blocks, ZF_RADEMACHER, STORE_NOISE);
}

NOINLINE void add_gaussian(float *to, const struct schedule *schedule, int64_t q, int64_t blocks) {
  blocks_of(to, schedule, q, blocks, ZF_GAUSSIAN, ADD_NOISE);
}

NOINLINE void add_signs(float *to, const struct schedule *schedule, int64_t q, int64_t blocks) {
  blocks_of(to, schedule, q, blocks, ZF_RADEMACHER, ADD_NOISE);
}

/* Elements at .. at + n of the block of counter q, by a buffer. */
static inline void part_of(float *to, const struct schedule *schedule, int64_t q, int64_t at,
                           int64_t n, blocks_fn *f) {
  float buf[ZF_NOISE_BLOCK];
  for (int j = 0; j < ZF_NOISE_BLOCK; j += ZF_LANES) zv_store(buf + j, zv_zero());
  memcpy(buf + at, to, (size_t)n * sizeof *to);
  f(buf, schedule, q, 1);
  memcpy(to, buf + at, (size_t)n * sizeof *to);
}

/* Elements first .. first + n. */
static inline void walk(float *to, const struct zf_noise *noise, float by, int64_t first, int64_t n,
                        blocks_fn *f) {
  struct schedule schedule;
  int64_t q = first / ZF_NOISE_BLOCK * 16, at = first % ZF_NOISE_BLOCK, head, whole;
  set_schedule(&schedule, noise, by);
  if (at) {
    head = zf_kern_min(n, ZF_NOISE_BLOCK - at);
    part_of(to, &schedule, q, at, head, f);
    to += head, n -= head, q += 16;
  }
  whole = n / ZF_NOISE_BLOCK;
  f(to, &schedule, q, whole);
  if (n % ZF_NOISE_BLOCK)
    part_of(to + whole * ZF_NOISE_BLOCK, &schedule, q + 16 * whole, 0, n % ZF_NOISE_BLOCK, f);
}

static void noise_lanes(float *z, const struct zf_noise *noise, int64_t first, int64_t n) {
  walk(z, noise, 0, first, n, noise->kind == ZF_GAUSSIAN ? blocks_gaussian : blocks_signs);
}

static void words_lanes(uint32_t *w, const struct zf_noise *noise, int64_t first, int64_t n) {
  walk((float *)(void *)w, noise, 0, first, n, blocks_words);
}

static void add_noise_lanes(float *w, const struct zf_noise *noise, float c, int64_t first,
                            int64_t n) {
  walk(w, noise, c, first, n, noise->kind == ZF_GAUSSIAN ? add_gaussian : add_signs);
}

#endif
