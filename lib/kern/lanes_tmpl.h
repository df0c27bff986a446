/* Kernels over sixteen lanes, written once and compiled for each instruction set by
 * x86/lanes_avx512.c, x86/lanes_avx2.c and arm/lanes_neon.c, which define before:
 *
 *   zv, zu, zd, zm      16 lanes of f32, of uint32_t, of f64; a mask of lanes
 *   zv_load_n(p, n)     the first n <= 16 lanes, zeros beyond; zv_store_n likewise
 *   zv_keep(x, n, r)    x in the first n lanes, r beyond
 *   zv_max(a, b)        a > b ? a : b, so b where either is NaN
 *   zv_reduce(x)          the tree of a lanes sum
 *   zd_add(s, x)        s + (double)x
 *   zu_gt(a, b), zu_if(m, a, b)  signed compare, choice
 *   zu_trunc, zv_from_i32        conversions;  zu_bits, zv_bits: the same bits
 *   zv_load_f16, _bf16, _f24     16 stored values;  zu_store16, zu_store24: low bits of each lane
 *   zv_transpose4(o, a, b, c, d) o[j] = lanes 4b + j of a, b, c, d for blocks b = 0..3
 *   and what noise_tmpl.h lists
 *
 * Sums and products follow the `_ref` kernels step by step. */
#ifndef ZF_KERN_LANES_TMPL_H
#define ZF_KERN_LANES_TMPL_H

#include <math.h>
#include <string.h>

#include "kern/kern_internal.h"
#include "kern/noise_tmpl.h"
#include "tensor/blocks_tmpl.h"

INLINE zv load_as(const unsigned char *p, enum zf_dtype type) {
  if (type == ZF_F24) return zv_load_f24(p);
  return type == ZF_F16 ? zv_load_f16((const void *)p) : zv_load_bf16((const void *)p);
}

/* One loop a dtype, its size a constant; the last lanes by a buffer. */
INLINE void expand_as(float *dst, const unsigned char *src, enum zf_dtype type, int64_t size,
                      int64_t n) {
  unsigned char buf[ZF_LANES * 4] __attribute__((aligned(16))) = {0};
  int64_t i = 0;
  for (; i + ZF_LANES <= n; i += ZF_LANES) zv_store(dst + i, load_as(src + i * size, type));
  if (i == n) return;
  memcpy(buf, src + i * size, (size_t)((n - i) * size));
  zv_store_n(dst + i, load_as(buf, type), n - i);
}

/* Storage to f32. */
static void expand_lanes(float *dst, const void *src, enum zf_dtype type, int64_t n) {
  switch (type) {
    case ZF_F16:
      expand_as(dst, src, ZF_F16, 2, n);
      break;
    case ZF_BF16:
      expand_as(dst, src, ZF_BF16, 2, n);
      break;
    case ZF_F24:
      expand_as(dst, src, ZF_F24, 3, n);
      break;
    case ZF_F32:
      memcpy(dst, src, (size_t)n * sizeof *dst);
      break;
    default:
      zf_blocks_expand(dst, src, type, n);
  }
}

static void mix_lanes(float *out, const float *w, const float *z, float eps, int64_t n) {
  zv e = zv_set1(eps);
  int64_t i = 0;
  for (; i + ZF_LANES <= n; i += ZF_LANES)
    zv_store(out + i, zv_fma(e, zv_load(z + i), zv_load(w + i)));
  if (i < n)
    zv_store_n(out + i, zv_fma(e, zv_load_n(z + i, n - i), zv_load_n(w + i, n - i)), n - i);
}

INLINE zu narrow_bf16_lanes(zv x, zu r) {
  zu u = zu_bits(x), a = zu_and(u, zu_set1(0x7fffffff)), inf = zu_set1(0x7f800000);
  zu up = zu_shr(zu_add(u, zu_and(r, zu_set1(0xffff))), 16), cut = zu_shr(u, 16);
  up = zu_if(zu_gt(inf, a), up, cut);
  return zu_if(zu_gt(a, inf), zu_or(cut, zu_set1(0x40)), up);
}

INLINE zu narrow_f16_lanes(zv x, zu r) {
  zu u = zu_bits(x), a = zu_and(u, zu_set1(0x7fffffff)), least = zu_set1(0x38800000);
  zu sub = zu_trunc(zv_mul(zv_bits(zu_if(zu_gt(least, a), a, zu_set1(0))), zv_set1(0x1p37f)));
  zu man = zu_if(zu_gt(least, a), sub, zu_sub(a, zu_set1(0x38000000)));
  zu h = zu_shr(zu_add(man, zu_and(r, zu_set1(0x1fff))), 13), inf = zu_set1(0x7c00);
  h = zu_if(zu_gt(h, inf), inf, h);
  h = zu_if(zu_gt(a, zu_set1(0x7f800000)), zu_set1(0x7e00), h);
  return zu_or(h, zu_and(zu_shr(u, 16), zu_set1(0x8000)));
}

INLINE zu narrow_f24_lanes(zv x, zu r) {
  zu u = zu_bits(x), a = zu_and(u, zu_set1(0x7fffffff)), inf = zu_set1(0x7f800000);
  zu up = zu_shr(zu_add(u, zu_and(r, zu_set1(0xff))), 8), cut = zu_shr(u, 8);
  up = zu_if(zu_gt(inf, a), up, cut);
  return zu_if(zu_gt(a, inf), zu_or(cut, zu_set1(0x4000)), up);
}

INLINE void store_as(unsigned char *p, zv x, zu r, enum zf_dtype type) {
  if (type == ZF_F24)
    zu_store24(p, narrow_f24_lanes(x, r));
  else
    zu_store16((void *)p, type == ZF_F16 ? narrow_f16_lanes(x, r) : narrow_bf16_lanes(x, r));
}

INLINE void narrow_as(unsigned char *dst, const float *src, const uint32_t *r, enum zf_dtype type,
                      int64_t size, int64_t n) {
  uint32_t word[ZF_LANES] = {0};
  unsigned char out[ZF_LANES * 4] __attribute__((aligned(16)));
  int64_t i = 0;
  for (; i + ZF_LANES <= n; i += ZF_LANES)
    store_as(dst + i * size, zv_load(src + i), zu_load(r + i), type);
  if (i == n) return;
  memcpy(word, r + i, (size_t)(n - i) * sizeof *word);
  store_as(out, zv_load_n(src + i, n - i), zu_load(word), type);
  memcpy(dst + i * size, out, (size_t)((n - i) * size));
}

static void narrow_lanes(void *dst, const float *src, const uint32_t *r, enum zf_dtype type,
                         int64_t n) {
  if (type == ZF_F24)
    narrow_as(dst, src, r, ZF_F24, 3, n);
  else if (type == ZF_F16)
    narrow_as(dst, src, r, ZF_F16, 2, n);
  else
    narrow_as(dst, src, r, ZF_BF16, 2, n);
}

static void add_lanes(float *y, const float *x, int64_t count) {
  int64_t i = 0;
  for (; i + ZF_LANES <= count; i += ZF_LANES)
    zv_store(y + i, zv_add(zv_load(y + i), zv_load(x + i)));
  if (i < count)
    zv_store_n(y + i, zv_add(zv_load_n(y + i, count - i), zv_load_n(x + i, count - i)), count - i);
}

static void rmsnorm_lanes(float *y, const float *x, const float *w, float eps, int64_t n) {
  zv s = zv_zero();
  for (int64_t i = 0; i < n; i += ZF_LANES) {
    zv v = n - i < ZF_LANES ? zv_load_n(x + i, n - i) : zv_load(x + i);
    s = zv_fma(v, v, s);
  }
  zv inv = zv_set1(1.0f / sqrtf(zv_reduce(s) / (float)n + eps));
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
  zv mean = zv_set1(zv_reduce(s) / (float)n);
  for (int64_t i = 0; i < n; i += ZF_LANES) {
    int64_t m = n - i < ZF_LANES ? n - i : ZF_LANES;
    zv d = zv_keep(zv_sub(zv_load_n(x + i, m), mean), m, zv_zero());
    q = zv_fma(d, d, q);
  }
  zv inv = zv_set1(1.0f / sqrtf(zv_reduce(q) / (float)n + eps));
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

static inline __attribute__((always_inline)) zv quick_gelu_of(zv x) {
  return zv_div(x, zv_add(zv_set1(1.0f), zv_exp(zv_neg(zv_mul(zv_set1(1.702f), x)))));
}

static inline __attribute__((always_inline)) zv least_of(zv x, float most) {
  return zv_neg(zv_max(zv_set1(-most), zv_neg(x)));
}

static inline __attribute__((always_inline)) zv gelu_10_of(zv x) {
  return least_of(gelu_erf_of(x), 10.0f);
}

static inline __attribute__((always_inline)) zv sigmoid_of(zv x) {
  return zv_div(zv_set1(1.0f), zv_add(zv_set1(1.0f), zv_exp(zv_neg(x))));
}

static inline __attribute__((always_inline)) zv relu2_of(zv x) {
  return zv_mul(relu_of(x), relu_of(x));
}

static inline __attribute__((always_inline)) zv relu6_of(zv x) {
  return least_of(relu_of(x), 6.0f);
}

static inline __attribute__((always_inline)) zv leaky_relu_of(zv x) {
  return zv_max(zv_mul(zv_set1(0.01f), x), x);
}

static inline __attribute__((always_inline)) zv linear_of(zv x) {
  return x;
}

static inline __attribute__((always_inline)) zv hardswish_of(zv x) {
  return zv_div(zv_mul(x, relu6_of(zv_add(x, zv_set1(3.0f)))), zv_set1(6.0f));
}

static inline __attribute__((always_inline)) zv mish_of(zv x) {
  zv e = zv_exp(least_of(x, 20.0f)), n = zv_mul(e, zv_add(e, zv_set1(2.0f)));
  return zv_mul(x, zv_div(n, zv_add(n, zv_set1(2.0f))));
}

static inline __attribute__((always_inline)) zv laplace_of(zv x) {
  zv t = zv_erf(zv_div(zv_sub(x, zv_set1(0.707107f)), zv_set1(0.39894258f)));
  return zv_mul(zv_set1(0.5f), zv_add(zv_set1(1.0f), t));
}

static inline __attribute__((always_inline)) void apply_lanes(float *g, const float *u,
                                                              int64_t count, zv (*f)(zv)) {
  int64_t i = 0;
  for (; i + ZF_LANES <= count; i += ZF_LANES) {
    zv v = f(zv_load(g + i));
    zv_store(g + i, u ? zv_mul(v, zv_load(u + i)) : v);
  }
  if (i == count) return;
  zv v = f(zv_load_n(g + i, count - i));
  zv_store_n(g + i, u ? zv_mul(v, zv_load_n(u + i, count - i)) : v, count - i);
}

static void silu_lanes(float *g, const float *u, int64_t count) {
  apply_lanes(g, u, count, silu_of);
}

static void gelu_tanh_lanes(float *g, const float *u, int64_t count) {
  apply_lanes(g, u, count, gelu_tanh_of);
}

static void gelu_erf_lanes(float *g, const float *u, int64_t count) {
  apply_lanes(g, u, count, gelu_erf_of);
}

static void relu_lanes(float *g, const float *u, int64_t count) {
  apply_lanes(g, u, count, relu_of);
}

static void tanh_lanes(float *g, const float *u, int64_t count) {
  apply_lanes(g, u, count, zv_tanh);
}

static void quick_gelu_lanes(float *g, const float *u, int64_t count) {
  apply_lanes(g, u, count, quick_gelu_of);
}

static void gelu_10_lanes(float *g, const float *u, int64_t count) {
  apply_lanes(g, u, count, gelu_10_of);
}

static void sigmoid_lanes(float *g, const float *u, int64_t count) {
  apply_lanes(g, u, count, sigmoid_of);
}

static void relu2_lanes(float *g, const float *u, int64_t count) {
  apply_lanes(g, u, count, relu2_of);
}

static void relu6_lanes(float *g, const float *u, int64_t count) {
  apply_lanes(g, u, count, relu6_of);
}

static void leaky_relu_lanes(float *g, const float *u, int64_t count) {
  apply_lanes(g, u, count, leaky_relu_of);
}

static void linear_lanes(float *g, const float *u, int64_t count) {
  apply_lanes(g, u, count, linear_of);
}

static void hardswish_lanes(float *g, const float *u, int64_t count) {
  apply_lanes(g, u, count, hardswish_of);
}

static void mish_lanes(float *g, const float *u, int64_t count) {
  apply_lanes(g, u, count, mish_of);
}

static void laplace_lanes(float *g, const float *u, int64_t count) {
  apply_lanes(g, u, count, laplace_of);
}

static void softcap_lanes(float *x, float in, float out, int64_t n) {
  zv a = zv_set1(in), b = zv_set1(out);
  for (int64_t i = 0; i < n; i += ZF_LANES) {
    int64_t m = n - i < ZF_LANES ? n - i : ZF_LANES;
    zv_store_n(x + i, zv_mul(zv_tanh(zv_mul(zv_load_n(x + i, m), a)), b), m);
  }
}

static void scale_lanes(float *x, float by, int64_t n) {
  zv b = zv_set1(by);
  for (int64_t i = 0; i < n; i += ZF_LANES) {
    int64_t m = n - i < ZF_LANES ? n - i : ZF_LANES;
    zv_store_n(x + i, zv_mul(zv_load_n(x + i, m), b), m);
  }
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
  return zv_reduce(s);
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

static void sumexp_lanes(float *max, double *sum, const float *y, int64_t count) {
  zv m = zv_set1(*max = max_lanes(y, 1.0f, count));
  zd s = zd_zero();
  int64_t j = 0;
  for (; j + ZF_LANES <= count; j += ZF_LANES) s = zd_add(s, zv_exp(zv_sub(zv_load(y + j), m)));
  if (j < count)
    s = zd_add(s, zv_keep(zv_exp(zv_sub(zv_load_n(y + j, count - j), m)), count - j, zv_zero()));
  *sum = zd_reduce(s);
}

static void fill_lanes(struct zf_kern_table *table) {
  table->noise = noise_lanes;
  table->random_words = words_lanes;
  table->add_noise = add_noise_lanes;
  table->expand = expand_lanes;
  table->add_scaled = mix_lanes;
  table->round_stochastically = narrow_lanes;
  table->add = add_lanes;
  table->rmsnorm = rmsnorm_lanes;
  table->layernorm = layernorm_lanes;
  table->rope = rope_lanes;
  table->act[ZF_ACT_SILU] = silu_lanes;
  table->act[ZF_ACT_GELU_TANH] = gelu_tanh_lanes;
  table->act[ZF_ACT_GELU_ERF] = gelu_erf_lanes;
  table->act[ZF_ACT_RELU] = relu_lanes;
  table->act[ZF_ACT_TANH] = tanh_lanes;
  table->act[ZF_ACT_QUICK_GELU] = quick_gelu_lanes;
  table->act[ZF_ACT_GELU_10] = gelu_10_lanes;
  table->act[ZF_ACT_SIGMOID] = sigmoid_lanes;
  table->act[ZF_ACT_RELU2] = relu2_lanes;
  table->act[ZF_ACT_RELU6] = relu6_lanes;
  table->act[ZF_ACT_LEAKY_RELU] = leaky_relu_lanes;
  table->act[ZF_ACT_LINEAR] = linear_lanes;
  table->act[ZF_ACT_HARDSWISH] = hardswish_lanes;
  table->act[ZF_ACT_MISH] = mish_lanes;
  table->act[ZF_ACT_LAPLACE] = laplace_lanes;
  table->softmax = softmax_lanes;
  table->softcap = softcap_lanes;
  table->scale = scale_lanes;
  table->add_weighted_rows = blend_lanes;
  table->divide = divide_lanes;
  table->sumexp = sumexp_lanes;
}

#endif
