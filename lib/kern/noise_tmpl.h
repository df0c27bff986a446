/* Noise over sixteen lanes: a part of lanes_tmpl.h, which defines zv and zu.  It needs, besides what
 * lanes_tmpl.h lists:
 *
 *   zu_mul(hi, lo, a, m)   the high and the low halves of 64-bit products
 *   zx, zx_of(bits)        columns of tables of 32 floats, from the low five bits of exponents
 *   zv_pick(t, x, rare)    the values of table t in columns x; rare: the value of zx_rare(x), or 1
 *   zv_mantissa(f)         the mantissa of |f|, in [1,2)
 *   zv_flip(x, w)          x with the other sign where bit 31 of w is set
 *   ZV_CHAINS              number of Philox blocks that are made side by side
 *
 * How a block is made (rng/noise.h), q being its first counter, a multiple of 16:
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

/* What happens to the words: they are stored; their noise values are stored; or a multiple of these
 * values is added to the destination. */
enum noise_op { STORE_WORDS, STORE_NOISE, ADD_NOISE };

/* A key with its round keys.  Words 1 to 3 of all counters of a block are equal, and so are parts of
 * the first two rounds:
 *   round 0:  q, c1, step, c3  ->  hi0 ^ c1, lo0, hi(M0 q) ^ c[0], lo(M0 q)
 *   round 1:                   ->  hi(M1 c2) ^ c[1], lo(M1 c2), lo(M0 q) ^ hi1, lo1
 * with hi0, lo0 of M1 step, and hi1, lo1 of M0 (hi0 ^ c1). */
struct philox_schedule {
  uint32_t k0[ZF_PHILOX_ROUNDS], k1[ZF_PHILOX_ROUNDS];
  uint32_t constant[2], hi0, param;
  float factor;
};

/* The schedule is set word by word; a copy by vectors right after it would wait for these stores. */
static inline void set_schedule(struct philox_schedule *schedule, const struct zf_noise *noise,
                                float factor) {
  uint64_t product = (uint64_t)ZF_PHILOX_M1 * noise->step;
  uint32_t k0 = (uint32_t)noise->seed, k1 = (uint32_t)(noise->seed >> 32);
  ZF_UNROLL
  for (uint32_t round = 0; round < ZF_PHILOX_ROUNDS; round++) {
    schedule->k0[round] = k0 + round * ZF_PHILOX_W0;
    schedule->k1[round] = k1 + round * ZF_PHILOX_W1;
  }
  schedule->constant[0] = (noise->probe | (uint32_t)noise->use << 16) ^ k1;
  schedule->constant[1] = (uint32_t)product ^ (k0 + ZF_PHILOX_W0);
  schedule->hi0 = (uint32_t)(product >> 32) ^ k0;
  schedule->param = noise->param << 8;
  schedule->factor = factor;
}

/* Words of `chains` blocks whose counters begin at `counter` and have the same high word.  The chains
 * are interleaved, so that the products of one fill the latency of another.  words[4 i + j] is word j
 * of block i. */
INLINE void philox_lanes(zu *words, const struct philox_schedule *schedule, int64_t counter,
                         int chains) {
  static const uint32_t lane[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  uint64_t product = (uint64_t)ZF_PHILOX_M0 *
                     (schedule->hi0 ^ (schedule->param | (uint32_t)(counter >> 32 & 0xff)));
  zu hi1 = zu_set1((uint32_t)(product >> 32) ^ schedule->k1[1]), lo1 = zu_set1((uint32_t)product);
  zu state[ZV_CHAINS][4], h0, l0, h1, l1;
  ZF_UNROLL
  for (int i = 0; i < chains; i++) {
    zu_mul(&h0, &l0, zu_add(zu_set1((uint32_t)counter + 16 * (uint32_t)i), zu_load(lane)),
           ZF_PHILOX_M0);
    zu_mul(&h1, &state[i][1], zu_xor(h0, zu_set1(schedule->constant[0])), ZF_PHILOX_M1);
    state[i][0] = zu_xor(h1, zu_set1(schedule->constant[1]));
    state[i][2] = zu_xor(l0, hi1);
    state[i][3] = lo1;
  }
  ZF_UNROLL
  for (int round = 2; round < ZF_PHILOX_ROUNDS; round++) {
    ZF_UNROLL
    for (int i = 0; i < chains; i++) {
      zu_mul(&h0, &l0, state[i][0], ZF_PHILOX_M0);
      zu_mul(&h1, &l1, state[i][2], ZF_PHILOX_M1);
      state[i][0] = zu_xor3(h1, state[i][1], zu_set1(schedule->k0[round]));
      state[i][2] = zu_xor3(h0, state[i][3], zu_set1(schedule->k1[round]));
      state[i][1] = l1;
      state[i][3] = l0;
    }
  }
  ZF_UNROLL
  for (int i = 0; i < chains; i++) {
    ZF_UNROLL
    for (int j = 0; j < 4; j++) words[4 * i + j] = state[i][j];
  }
}

INLINE zv quantile_lanes(zv mantissa, zx column, int rare) {
  zv z = zv_pick(zf_gauss_table[ZF_GAUSS_DEGREE], column, rare);
  ZF_UNROLL
  for (int degree = ZF_GAUSS_DEGREE - 1; degree >= 0; degree--)
    z = zv_fma(z, mantissa, zv_pick(zf_gauss_table[degree], column, rare));
  return z;
}

INLINE zv gaussian_lanes(zu words) {
  zv f = zv_from_i32(zu_or(words, zu_set1(1))), mantissa = zv_mantissa(f);
  zx column = zx_of(zu_bits(f));
  zv z = __builtin_expect(zx_rare(column), 0) ? quantile_lanes(mantissa, column, 1)
                                              : quantile_lanes(mantissa, column, 0);
  return zv_flip(z, words);
}

INLINE zv value_of(zu words, int kind) {
  return kind == ZF_GAUSSIAN ? gaussian_lanes(words) : zv_flip(zv_set1(1.0f), words);
}

INLINE void put_lanes(float *to, zu words, float factor, int kind, enum noise_op op) {
  if (op == STORE_WORDS)
    zv_store(to, zv_bits(words));
  else if (op == STORE_NOISE)
    zv_store(to, value_of(words, kind));
  else
    zv_store(to, zv_fma(zv_set1(factor), value_of(words, kind), zv_load(to)));
}

/* `blocks` whole blocks from `counter` on. */
INLINE void blocks_of(float *to, const struct philox_schedule *schedule, int64_t counter,
                      int64_t blocks, int kind, enum noise_op op) {
  zu words[4 * ZV_CHAINS];
  while (blocks > 0) {
    int chains =
        blocks < ZV_CHAINS || (uint32_t)counter > UINT32_MAX - 16 * ZV_CHAINS + 1 ? 1 : ZV_CHAINS;
    if (chains == 1) {
      philox_lanes(words, schedule, counter, 1);
      ZF_UNROLL
      for (int j = 0; j < 4; j++) put_lanes(to + 16 * j, words[j], schedule->factor, kind, op);
    } else {
      philox_lanes(words, schedule, counter, ZV_CHAINS);
      ZF_UNROLL
      for (int j = 0; j < 4 * ZV_CHAINS; j++)
        put_lanes(to + 16 * j, words[j], schedule->factor, kind, op);
    }
    to += chains * ZF_NOISE_BLOCK;
    counter += chains * 16;
    blocks -= chains;
  }
}

/* These functions are not inlined, so that round keys stay in memory and instructions broadcast them
 * from there; hoisted out of a loop they would fill the registers. */
typedef void blocks_fn(float *to, const struct philox_schedule *s, int64_t q, int64_t blocks);

#define NOINLINE static __attribute__((noinline))

NOINLINE void blocks_words(float *to, const struct philox_schedule *schedule, int64_t counter,
                           int64_t blocks) {
  blocks_of(to, schedule, counter, blocks, ZF_RADEMACHER, STORE_WORDS);
}

NOINLINE void blocks_gaussian(float *to, const struct philox_schedule *schedule, int64_t counter,
                              int64_t blocks) {
  blocks_of(to, schedule, counter, blocks, ZF_GAUSSIAN, STORE_NOISE);
}

NOINLINE void blocks_signs(float *to, const struct philox_schedule *schedule, int64_t counter,
                           int64_t blocks) {
  blocks_of(to, schedule, counter, blocks, ZF_RADEMACHER, STORE_NOISE);
}

NOINLINE void add_gaussian(float *to, const struct philox_schedule *schedule, int64_t counter,
                           int64_t blocks) {
  blocks_of(to, schedule, counter, blocks, ZF_GAUSSIAN, ADD_NOISE);
}

NOINLINE void add_signs(float *to, const struct philox_schedule *schedule, int64_t counter,
                        int64_t blocks) {
  blocks_of(to, schedule, counter, blocks, ZF_RADEMACHER, ADD_NOISE);
}

/* Elements first .. first + count of the block of `counter`, through a buffer. */
static inline void make_part_of_block(float *to, const struct philox_schedule *schedule,
                                      int64_t counter, int64_t first, int64_t count,
                                      blocks_fn *make_blocks) {
  float block[ZF_NOISE_BLOCK];
  for (int j = 0; j < ZF_NOISE_BLOCK; j += ZF_LANES) zv_store(block + j, zv_zero());
  memcpy(block + first, to, (size_t)count * sizeof *to);
  make_blocks(block, schedule, counter, 1);
  memcpy(to, block + first, (size_t)count * sizeof *to);
}

/* Elements first .. first + count. */
static inline void make_elements(float *to, const struct zf_noise *noise, float factor,
                                 int64_t first, int64_t count, blocks_fn *make_blocks) {
  struct philox_schedule schedule;
  int64_t counter = first / ZF_NOISE_BLOCK * 16, offset = first % ZF_NOISE_BLOCK, head, whole;
  set_schedule(&schedule, noise, factor);
  if (offset) {
    head = zf_min64(count, ZF_NOISE_BLOCK - offset);
    make_part_of_block(to, &schedule, counter, offset, head, make_blocks);
    to += head, count -= head, counter += 16;
  }
  whole = count / ZF_NOISE_BLOCK;
  make_blocks(to, &schedule, counter, whole);
  if (count % ZF_NOISE_BLOCK)
    make_part_of_block(to + whole * ZF_NOISE_BLOCK, &schedule, counter + 16 * whole, 0,
                       count % ZF_NOISE_BLOCK, make_blocks);
}

static void noise_lanes(float *z, const struct zf_noise *noise, int64_t first, int64_t count) {
  make_elements(z, noise, 0, first, count,
                noise->kind == ZF_GAUSSIAN ? blocks_gaussian : blocks_signs);
}

static void words_lanes(uint32_t *words, const struct zf_noise *noise, int64_t first,
                        int64_t count) {
  make_elements((float *)(void *)words, noise, 0, first, count, blocks_words);
}

static void add_noise_lanes(float *weights, const struct zf_noise *noise, float factor,
                            int64_t first, int64_t count) {
  make_elements(weights, noise, factor, first, count,
                noise->kind == ZF_GAUSSIAN ? add_gaussian : add_signs);
}

#endif
