/* Kernels over sixteen lanes, written once and compiled for each instruction set by
 * x86/lanes_avx512.c, x86/lanes_avx2.c and arm/lanes_neon.c, which define before:
 *
 *   zv, zu, zd, zm      16 lanes of f32, of uint32_t, of f64; a mask of lanes
 *   zv_load_n(p, n)     the first n <= 16 lanes, zeros beyond; zv_store_n likewise
 *   zv_keep(x, n, r)    x in the first n lanes, r beyond
 *   zv_max(a, b)        a > b ? a : b, so b where either is NaN
 *   zv_fold(x)          the tree of a lanes sum
 *   zd_add(s, x)        s + (double)x
 *   zu_mul(hi, lo, a, m)  products of 64 bits, halves apart
 *   zu_gt(a, b), zu_if(m, a, b)  signed compare, choice
 *   zu_trunc, zv_from_i32        conversions;  zu_bits, zv_bits: the same bits
 *   zv_transpose4(o, a, b, c, d) o[j] = lanes 4b + j of a, b, c, d for blocks b = 0..3
 *   ZV_CHAINS           blocks of Philox that are made side by side
 *
 * Sums and products follow the `_ref` kernels step by step. */
#ifndef ZF_KERN_LANES_TMPL_H
#define ZF_KERN_LANES_TMPL_H

#include <math.h>
#include <string.h>

#include "kern/kern_internal.h"
#include "kern/unroll.h"

enum { NOISE_BLOCK = 64 }; /* elements of 16 counters */

/* A key with its ten rounds' round keys. */
struct schedule {
  const struct zf_noise *k;
  uint32_t round[20];
};

static inline struct schedule schedule_of(const struct zf_noise *k) {
  struct schedule s = {.k = k};
  for (uint32_t r = 0; r < 10; r++) {
    s.round[2 * r] = (uint32_t)k->seed + r * 0x9E3779B9u;
    s.round[2 * r + 1] = (uint32_t)(k->seed >> 32) + r * 0xBB67AE85u;
  }
  return s;
}

/* Words of `chains` times 16 counters from q on, in turns so that one chain's products fill
 * the other's waiting.  w[4c + j] lane 4b + i: word j of counter q + 16c + 4i + b, so that a
 * transposition of 4x4 blocks brings elements into order. */
static inline __attribute__((always_inline)) void philox_lanes(zu *w, const struct schedule *s,
                                                               int64_t q, int chains) {
  static const uint32_t order[16] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
  const struct zf_noise *k = s->k;
  zu c[ZV_CHAINS][4];
  ZF_UNROLL
  for (int i = 0; i < chains; i++, q += 16) {
    uint32_t lo = (uint32_t)q, high[16];
    c[i][0] = zu_add(zu_set1(lo), zu_load(order));
    c[i][1] = zu_set1((uint32_t)(q >> 32 & 0xff) | k->param << 8);
    c[i][2] = zu_set1(k->step);
    c[i][3] = zu_set1(k->probe | (uint32_t)k->use << 16);
    if (lo <= UINT32_MAX - 15) continue;
    for (int l = 0; l < 16; l++) /* some lanes carry into the high word */
      high[l] = (uint32_t)((q + order[l]) >> 32 & 0xff) | k->param << 8;
    c[i][1] = zu_load(high);
  }
  ZF_UNROLL
  for (int r = 0; r < 10; r++) {
    zu k0 = zu_set1(s->round[2 * r]), k1 = zu_set1(s->round[2 * r + 1]);
    ZF_UNROLL
    for (int i = 0; i < chains; i++) {
      zu h0, l0, h1, l1;
      zu_mul(&h0, &l0, c[i][0], 0xD2511F53u);
      zu_mul(&h1, &l1, c[i][2], 0xCD9E8D57u);
      c[i][0] = zu_xor3(h1, c[i][1], k0);
      c[i][2] = zu_xor3(h0, c[i][3], k1);
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

static inline void box_muller_lanes(zv *z0, zv *z1, zu w0, zu w1) {
  zv u = zv_fma(zv_from_i32(zu_shr(w0, 8)), zv_set1(0x1p-24f), zv_set1(0x1p-25f));
  zv v = zv_mul(zv_from_i32(w1), zv_set1(0x1p-31f)), s, c;
  zv r = zv_sqrt(zv_mul(zv_set1(-2.0f), zv_log(u)));
  zv_sincospi(&s, &c, v);
  *z0 = zv_mul(r, c);
  *z1 = zv_mul(r, s);
}

/* Elements of 16 counters from their words. */
static inline void values_of(float *z, const zu w[4], int kind) {
  zv f[4], o[4];
  if (kind == ZF_RADEMACHER) {
    for (int j = 0; j < 4; j++) /* the sign bit over 1.0 */
      f[j] = zv_bits(zu_or(zu_and(w[j], zu_set1(0x80000000u)), zu_set1(0x3f800000u)));
  } else {
    box_muller_lanes(f, f + 1, w[0], w[1]);
    box_muller_lanes(f + 2, f + 3, w[2], w[3]);
  }
  zv_transpose4(o, f[0], f[1], f[2], f[3]);
  for (int j = 0; j < 4; j++) zv_store(z + 16 * j, o[j]);
}

static inline void words_of(float *z, const zu w[4]) {
  zv o[4];
  zv_transpose4(o, zv_bits(w[0]), zv_bits(w[1]), zv_bits(w[2]), zv_bits(w[3]));
  for (int j = 0; j < 4; j++) zv_store(z + 16 * j, o[j]);
}

/* Elements first.., words or values of them.  Blocks begin at the counter of the first
 * element; what sticks out at either end goes by a buffer. */
static inline __attribute__((always_inline)) void blocks(float *z, const struct zf_noise *k,
                                                         int64_t first, int64_t n, int raw) {
  float buf[ZV_CHAINS * NOISE_BLOCK];
  struct schedule s = schedule_of(k);
  int64_t q = first >> 2, skip = first & 3, take;
  for (; n > 0; z += take, n -= take, skip = 0) {
    int chains = n > NOISE_BLOCK - skip ? ZV_CHAINS : 1;
    int64_t size = chains * NOISE_BLOCK;
    zu w[ZV_CHAINS * 4];
    take = n < size - skip ? n : size - skip;
    float *to = take == size ? z : buf;
    if (chains == 1)
      philox_lanes(w, &s, q, 1);
    else
      philox_lanes(w, &s, q, ZV_CHAINS);
    for (int i = 0; i < chains; i++)
      if (raw)
        words_of(to + i * NOISE_BLOCK, w + 4 * i);
      else
        values_of(to + i * NOISE_BLOCK, w + 4 * i, k->kind);
    if (take != size) memcpy(z, buf + skip, (size_t)take * sizeof *z);
    q += size / 4;
  }
}

static void noise_lanes(float *z, const struct zf_noise *k, int64_t first, int64_t n) {
  blocks(z, k, first, n, 0);
}

static void words_lanes(uint32_t *w, const struct zf_noise *k, int64_t first, int64_t n) {
  blocks((float *)(void *)w, k, first, n, 1);
}

/* Storage to f32; the last lanes by a buffer. */
static void expand_lanes(float *dst, const void *src, enum zf_dtype type, int64_t n) {
  const uint16_t *h = src;
  uint16_t buf[ZF_LANES] = {0};
  int64_t i = 0;
  if (type == ZF_F32) {
    memcpy(dst, src, (size_t)n * sizeof *dst);
    return;
  }
  for (; i + ZF_LANES <= n; i += ZF_LANES)
    zv_store(dst + i, type == ZF_F16 ? zv_load_f16(h + i) : zv_load_bf16(h + i));
  if (i == n) return;
  memcpy(buf, h + i, (size_t)(n - i) * sizeof *h);
  zv_store_n(dst + i, type == ZF_F16 ? zv_load_f16(buf) : zv_load_bf16(buf), n - i);
}

static void mix_lanes(float *out, const float *w, const float *z, float eps, int64_t n) {
  zv e = zv_set1(eps);
  int64_t i = 0;
  for (; i + ZF_LANES <= n; i += ZF_LANES)
    zv_store(out + i, zv_fma(e, zv_load(z + i), zv_load(w + i)));
  if (i < n)
    zv_store_n(out + i, zv_fma(e, zv_load_n(z + i, n - i), zv_load_n(w + i, n - i)), n - i);
}

static inline zu narrow_bf16_lanes(zv x, zu r) {
  zu u = zu_bits(x), a = zu_and(u, zu_set1(0x7fffffff)), inf = zu_set1(0x7f800000);
  zu up = zu_shr(zu_add(u, zu_and(r, zu_set1(0xffff))), 16), cut = zu_shr(u, 16);
  up = zu_if(zu_gt(inf, a), up, cut);
  return zu_if(zu_gt(a, inf), zu_or(cut, zu_set1(0x40)), up);
}

static inline zu narrow_f16_lanes(zv x, zu r) {
  zu u = zu_bits(x), a = zu_and(u, zu_set1(0x7fffffff)), least = zu_set1(0x38800000);
  zu sub = zu_trunc(zv_mul(zv_bits(zu_if(zu_gt(least, a), a, zu_set1(0))), zv_set1(0x1p37f)));
  zu man = zu_if(zu_gt(least, a), sub, zu_sub(a, zu_set1(0x38000000)));
  zu h = zu_shr(zu_add(man, zu_and(r, zu_set1(0x1fff))), 13), inf = zu_set1(0x7c00);
  h = zu_if(zu_gt(h, inf), inf, h);
  h = zu_if(zu_gt(a, zu_set1(0x7f800000)), zu_set1(0x7e00), h);
  return zu_or(h, zu_and(zu_shr(u, 16), zu_set1(0x8000)));
}

static inline void narrow16(uint16_t *dst, zv x, const uint32_t *r, enum zf_dtype type) {
  zu w = zu_load(r);
  zu_store16(dst, type == ZF_F16 ? narrow_f16_lanes(x, w) : narrow_bf16_lanes(x, w));
}

static void narrow_lanes(uint16_t *dst, const float *src, const uint32_t *r, enum zf_dtype type,
                         int64_t n) {
  uint32_t word[ZF_LANES] = {0};
  uint16_t out[ZF_LANES];
  int64_t i = 0;
  for (; i + ZF_LANES <= n; i += ZF_LANES) narrow16(dst + i, zv_load(src + i), r + i, type);
  if (i == n) return;
  memcpy(word, r + i, (size_t)(n - i) * sizeof *word);
  narrow16(out, zv_load_n(src + i, n - i), word, type);
  memcpy(dst + i, out, (size_t)(n - i) * sizeof *out);
}

static void add_lanes(float *y, const float *x, int64_t n) {
  int64_t i = 0;
  for (; i + ZF_LANES <= n; i += ZF_LANES) zv_store(y + i, zv_add(zv_load(y + i), zv_load(x + i)));
  if (i < n) zv_store_n(y + i, zv_add(zv_load_n(y + i, n - i), zv_load_n(x + i, n - i)), n - i);
}

static void rmsnorm_lanes(float *y, const float *x, const float *w, float eps, int64_t n) {
  zv s = zv_zero();
  for (int64_t i = 0; i < n; i += ZF_LANES) {
    zv v = n - i < ZF_LANES ? zv_load_n(x + i, n - i) : zv_load(x + i);
    s = zv_fma(v, v, s);
  }
  zv inv = zv_set1(1.0f / sqrtf(zv_fold(s) / (float)n + eps));
  for (int64_t i = 0; i < n; i += ZF_LANES) {
    int64_t m = n - i < ZF_LANES ? n - i : ZF_LANES;
    zv v = zv_mul(zv_load_n(x + i, m), inv);
    zv_store_n(y + i, w ? zv_mul(v, zv_load_n(w + i, m)) : v, m);
  }
}

static void layernorm_lanes(float *y, const float *x, const float *w, const float *b, float eps,
                            int64_t n) {
  zv s = zv_zero(), q = zv_zero();
  for (int64_t i = 0; i < n; i += ZF_LANES)
    s = zv_add(s, zv_load_n(x + i, n - i < ZF_LANES ? n - i : ZF_LANES));
  zv mean = zv_set1(zv_fold(s) / (float)n);
  for (int64_t i = 0; i < n; i += ZF_LANES) {
    int64_t m = n - i < ZF_LANES ? n - i : ZF_LANES;
    zv d = zv_keep(zv_sub(zv_load_n(x + i, m), mean), m, zv_zero());
    q = zv_fma(d, d, q);
  }
  zv inv = zv_set1(1.0f / sqrtf(zv_fold(q) / (float)n + eps));
  for (int64_t i = 0; i < n; i += ZF_LANES) {
    int64_t m = n - i < ZF_LANES ? n - i : ZF_LANES;
    zv v = zv_mul(zv_sub(zv_load_n(x + i, m), mean), inv);
    if (w && b)
      v = zv_fma(v, zv_load_n(w + i, m), zv_load_n(b + i, m));
    else if (w)
      v = zv_mul(v, zv_load_n(w + i, m));
    else if (b)
      v = zv_add(v, zv_load_n(b + i, m));
    zv_store_n(y + i, v, m);
  }
}

static void rope_lanes(float *x, const float *cs, int64_t half) {
  for (int64_t i = 0; i < half; i += ZF_LANES) {
    int64_t m = half - i < ZF_LANES ? half - i : ZF_LANES;
    zv a = zv_load_n(x + i, m), b = zv_load_n(x + half + i, m);
    zv c = zv_load_n(cs + i, m), s = zv_load_n(cs + half + i, m);
    zv_store_n(x + i, zv_fma(a, c, zv_neg(zv_mul(b, s))), m);
    zv_store_n(x + half + i, zv_fma(b, c, zv_mul(a, s)), m);
  }
}

static inline __attribute__((always_inline)) zv silu_of(zv x) {
  return zv_div(x, zv_add(zv_set1(1.0f), zv_exp(zv_neg(x))));
}

static inline __attribute__((always_inline)) zv gelu_tanh_of(zv x) {
  zv cube = zv_mul(zv_mul(x, x), x);
  zv t = zv_mul(zv_set1(0.7978845608028654f), zv_fma(zv_set1(0.044715f), cube, x));
  return zv_mul(zv_mul(zv_set1(0.5f), x), zv_add(zv_set1(1.0f), zv_tanh(t)));
}

static inline __attribute__((always_inline)) zv gelu_erf_of(zv x) {
  zv t = zv_erf(zv_mul(zv_set1(0.7071067811865476f), x));
  return zv_mul(zv_mul(zv_set1(0.5f), x), zv_add(zv_set1(1.0f), t));
}

static inline __attribute__((always_inline)) zv relu_of(zv x) {
  return zv_max(zv_zero(), x); /* x where it is NaN or -0, as the reference */
}

static inline __attribute__((always_inline)) void apply_lanes(float *g, const float *u, int64_t n,
                                                              zv (*f)(zv)) {
  int64_t i = 0;
  for (; i + ZF_LANES <= n; i += ZF_LANES) {
    zv v = f(zv_load(g + i));
    zv_store(g + i, u ? zv_mul(v, zv_load(u + i)) : v);
  }
  if (i == n) return;
  zv v = f(zv_load_n(g + i, n - i));
  zv_store_n(g + i, u ? zv_mul(v, zv_load_n(u + i, n - i)) : v, n - i);
}

static void silu_lanes(float *g, const float *u, int64_t n) {
  apply_lanes(g, u, n, silu_of);
}

static void gelu_tanh_lanes(float *g, const float *u, int64_t n) {
  apply_lanes(g, u, n, gelu_tanh_of);
}

static void gelu_erf_lanes(float *g, const float *u, int64_t n) {
  apply_lanes(g, u, n, gelu_erf_of);
}

static void relu_lanes(float *g, const float *u, int64_t n) {
  apply_lanes(g, u, n, relu_of);
}

/* The maximum of p[j] * scale. */
static inline float max_lanes(const float *p, float scale, int64_t n) {
  zv by = zv_set1(scale), m = zv_mul(zv_set1(p[0]), by);
  int64_t j = 0;
  for (; j + ZF_LANES <= n; j += ZF_LANES) m = zv_max(m, zv_mul(zv_load(p + j), by));
  if (j < n) m = zv_max(m, zv_keep(zv_mul(zv_load_n(p + j, n - j), by), n - j, m));
  return zv_foldmax(m);
}

/* Nothing is stored before the exponentials: a masked store would stall the load after it. */
static float softmax_lanes(float *p, float scale, int64_t n) {
  zv m = zv_set1(max_lanes(p, scale, n)), s = zv_zero(), by = zv_set1(scale), e;
  int64_t j = 0;
  for (; j + ZF_LANES <= n; j += ZF_LANES) {
    e = zv_exp(zv_sub(zv_mul(zv_load(p + j), by), m));
    zv_store(p + j, e);
    s = zv_add(s, e);
  }
  if (j < n) {
    e = zv_exp(zv_sub(zv_mul(zv_load_n(p + j, n - j), by), m));
    zv_store_n(p + j, e, n - j);
    s = zv_add(s, zv_keep(e, n - j, zv_zero()));
  }
  return zv_fold(s);
}

static void blend_lanes(float *o, const float *p, const float *v, int64_t ldv, int64_t n,
                        int64_t D) {
  for (int64_t d = 0; d < D; d += ZF_LANES) {
    int64_t m = D - d < ZF_LANES ? D - d : ZF_LANES;
    zv acc = zv_load_n(o + d, m);
    for (int64_t j = 0; j < n; j++) acc = zv_fma(zv_set1(p[j]), zv_load_n(v + j * ldv + d, m), acc);
    zv_store_n(o + d, acc, m);
  }
}

static void divide_lanes(float *o, float by, int64_t n) {
  zv b = zv_set1(by);
  for (int64_t i = 0; i < n; i += ZF_LANES) {
    int64_t m = n - i < ZF_LANES ? n - i : ZF_LANES;
    zv_store_n(o + i, zv_div(zv_load_n(o + i, m), b), m);
  }
}

static void sumexp_lanes(float *max, double *sum, const float *y, int64_t n) {
  zv m = zv_set1(*max = max_lanes(y, 1.0f, n));
  zd s = zd_zero();
  int64_t j = 0;
  for (; j + ZF_LANES <= n; j += ZF_LANES) s = zd_add(s, zv_exp(zv_sub(zv_load(y + j), m)));
  if (j < n) s = zd_add(s, zv_keep(zv_exp(zv_sub(zv_load_n(y + j, n - j), m)), n - j, zv_zero()));
  *sum = zd_fold(s);
}

static void fill_lanes(struct zf_kern_table *t) {
  t->noise = noise_lanes;
  t->words = words_lanes;
  t->expand = expand_lanes;
  t->mix = mix_lanes;
  t->narrow = narrow_lanes;
  t->add = add_lanes;
  t->rmsnorm = rmsnorm_lanes;
  t->layernorm = layernorm_lanes;
  t->rope = rope_lanes;
  t->act[ZF_ACT_SILU] = silu_lanes;
  t->act[ZF_ACT_GELU_TANH] = gelu_tanh_lanes;
  t->act[ZF_ACT_GELU_ERF] = gelu_erf_lanes;
  t->act[ZF_ACT_RELU] = relu_lanes;
  t->softmax = softmax_lanes;
  t->blend = blend_lanes;
  t->divide = divide_lanes;
  t->sumexp = sumexp_lanes;
}

#endif
