/* Kernels over sixteen lanes, written once and compiled for each instruction set by
 * x86/lanes_avx512.c, x86/lanes_avx2.c and arm/lanes_neon.c, which define, before including it:
 *
 *   zv, zu, zd, zm      16 lanes of f32, of uint32_t, of f64; a mask of lanes
 *   zv_load_n(p, n)     the first n <= 16 lanes, zeros beyond; zv_store_n likewise
 *   zv_keep(x, n, r)    x in the first n lanes, r beyond
 *   zv_max(a, b)        a > b ? a : b, so b where either is NaN
 *   zv_reduce(x)        the tree of a lanes sum
 *   zd_add(s, x)        s + (double)x
 *   zu_gt(a, b), zu_if(m, a, b)  signed compare, choice
 *   zu_trunc, zv_from_i32        conversions;  zu_bits, zv_bits: the same bits
 *   zv_load_f16, _bf16, _f24     16 stored values;  zu_store16, zu_store24: low bits of each lane
 *   zv_transpose4(o, a, b, c, d) o[j] = lanes 4b + j of a, b, c, d for blocks b = 0..3
 *   and what noise_tmpl.h needs
 *
 * Sums and products follow the `_ref` kernels step by step. */
#ifndef ZF_KERN_LANES_TMPL_H
#define ZF_KERN_LANES_TMPL_H

#include <math.h>
#include <string.h>

#include "kern/kern_internal.h"
#include "kern/noise_tmpl.h"
#include "tensor/blocks_tmpl.h"

INLINE zv load_as(const unsigned char *bytes, enum zf_dtype type) {
  if (type == ZF_F24) return zv_load_f24(bytes);
  return type == ZF_F16 ? zv_load_f16((const void *)bytes) : zv_load_bf16((const void *)bytes);
}

/* One loop for each dtype, with its size as a constant; the last lanes go through a buffer. */
INLINE void expand_as(float *dst, const unsigned char *rows, enum zf_dtype type, int64_t size,
                      int64_t count) {
  unsigned char last[ZF_LANES * 4] __attribute__((aligned(16))) = {0};
  int64_t i = 0;
  for (; i + ZF_LANES <= count; i += ZF_LANES) zv_store(dst + i, load_as(rows + i * size, type));
  if (i == count) return;
  memcpy(last, rows + i * size, (size_t)((count - i) * size));
  zv_store_n(dst + i, load_as(last, type), count - i);
}

/* Storage to f32. */
static void expand_lanes(float *dst, const void *rows, enum zf_dtype type, int64_t count) {
  switch (type) {
    case ZF_F16:
      expand_as(dst, rows, ZF_F16, 2, count);
      break;
    case ZF_BF16:
      expand_as(dst, rows, ZF_BF16, 2, count);
      break;
    case ZF_F24:
      expand_as(dst, rows, ZF_F24, 3, count);
      break;
    case ZF_F32:
      memcpy(dst, rows, (size_t)count * sizeof *dst);
      break;
    default:
      zf_blocks_expand(dst, rows, type, count, NULL);
  }
}

static void expand_blocks_lanes(float *dst, const void *blocks, enum zf_dtype type, int64_t count,
                                const float *scales) {
  zf_blocks_expand(dst, blocks, type, count, scales);
}

static void add_scaled_lanes(float *out, const float *w, const float *z, float eps, int64_t count) {
  zv factor = zv_set1(eps);
  int64_t i = 0;
  for (; i + ZF_LANES <= count; i += ZF_LANES)
    zv_store(out + i, zv_fma(factor, zv_load(z + i), zv_load(w + i)));
  if (i < count)
    zv_store_n(out + i, zv_fma(factor, zv_load_n(z + i, count - i), zv_load_n(w + i, count - i)),
               count - i);
}

INLINE zu round_bf16_lanes(zv x, zu words) {
  zu bits = zu_bits(x), magnitude = zu_and(bits, zu_set1(0x7fffffff)), inf = zu_set1(0x7f800000);
  zu up = zu_shr(zu_add(bits, zu_and(words, zu_set1(0xffff))), 16), cut = zu_shr(bits, 16);
  up = zu_if(zu_gt(inf, magnitude), up, cut);
  return zu_if(zu_gt(magnitude, inf), zu_or(cut, zu_set1(0x40)), up);
}

INLINE zu round_f16_lanes(zv x, zu words) {
  zu bits = zu_bits(x), magnitude = zu_and(bits, zu_set1(0x7fffffff)),
     smallest_normal = zu_set1(0x38800000);
  zu sub = zu_trunc(zv_mul(zv_bits(zu_if(zu_gt(smallest_normal, magnitude), magnitude, zu_set1(0))),
                           zv_set1(0x1p37f)));
  zu mantissa =
      zu_if(zu_gt(smallest_normal, magnitude), sub, zu_sub(magnitude, zu_set1(0x38000000)));
  zu half = zu_shr(zu_add(mantissa, zu_and(words, zu_set1(0x1fff))), 13), inf = zu_set1(0x7c00);
  half = zu_if(zu_gt(half, inf), inf, half);
  half = zu_if(zu_gt(magnitude, zu_set1(0x7f800000)), zu_set1(0x7e00), half);
  return zu_or(half, zu_and(zu_shr(bits, 16), zu_set1(0x8000)));
}

INLINE zu round_f24_lanes(zv x, zu words) {
  zu bits = zu_bits(x), magnitude = zu_and(bits, zu_set1(0x7fffffff)), inf = zu_set1(0x7f800000);
  zu up = zu_shr(zu_add(bits, zu_and(words, zu_set1(0xff))), 8), cut = zu_shr(bits, 8);
  up = zu_if(zu_gt(inf, magnitude), up, cut);
  return zu_if(zu_gt(magnitude, inf), zu_or(cut, zu_set1(0x4000)), up);
}

INLINE void store_as(unsigned char *bytes, zv x, zu words, enum zf_dtype type) {
  if (type == ZF_F24)
    zu_store24(bytes, round_f24_lanes(x, words));
  else
    zu_store16((void *)bytes,
               type == ZF_F16 ? round_f16_lanes(x, words) : round_bf16_lanes(x, words));
}

INLINE void round_as(unsigned char *dst, const float *rows, const uint32_t *words,
                     enum zf_dtype type, int64_t size, int64_t count) {
  uint32_t word[ZF_LANES] = {0};
  unsigned char out[ZF_LANES * 4] __attribute__((aligned(16)));
  int64_t i = 0;
  for (; i + ZF_LANES <= count; i += ZF_LANES)
    store_as(dst + i * size, zv_load(rows + i), zu_load(words + i), type);
  if (i == count) return;
  memcpy(word, words + i, (size_t)(count - i) * sizeof *word);
  store_as(out, zv_load_n(rows + i, count - i), zu_load(word), type);
  memcpy(dst + i * size, out, (size_t)((count - i) * size));
}

/* Levels x / d to integers, as kern_internal.h says. */
INLINE zu round_levels(zv levels, zu words) {
  zv limit = zv_set1(-127.0f);
  levels = zv_max(levels, limit);
  levels = zv_sub(zv_zero(), zv_max(zv_sub(zv_zero(), levels), limit));
  zu whole = zu_trunc(levels);
  zv rest = zv_sub(levels, zv_from_i32(whole));
  zm below = zu_gt(zu_set1(0), zu_bits(rest));
  whole = zu_if(below, zu_sub(whole, zu_set1(1)), whole);
  rest = zv_bits(zu_if(below, zu_bits(zv_add(rest, zv_set1(1.0f))), zu_bits(rest)));
  zu share = zu_trunc(zv_mul(rest, zv_set1(0x1p24f)));
  return zu_add(whole, zu_shr(zu_add(share, zu_shr(words, 8)), 24));
}

static void round_integers_lanes(void *blocks, const float *values, const uint32_t *words,
                                 int64_t count) {
  uint32_t level[ZF_LANES];
  for (int64_t i = 0; i < count; i += ZF_LANES) {
    unsigned char *block = (unsigned char *)blocks + i / 32 * 34, *q = block + 2 + i % 32;
    float d = zf_block_f16(block);
    if (d == 0.0f) continue;
    zu_store(level, round_levels(zv_div(zv_load(values + i), zv_set1(d)), zu_load(words + i)));
    for (int j = 0; j < ZF_LANES; j++) q[j] = (unsigned char)level[j];
  }
}

static void round_lanes(void *dst, const float *rows, const uint32_t *words, enum zf_dtype type,
                        int64_t count) {
  if (type == ZF_F24)
    round_as(dst, rows, words, ZF_F24, 3, count);
  else if (type == ZF_F16)
    round_as(dst, rows, words, ZF_F16, 2, count);
  else
    round_as(dst, rows, words, ZF_BF16, 2, count);
}

static void add_lanes(float *y, const float *x, int64_t count) {
  int64_t i = 0;
  for (; i + ZF_LANES <= count; i += ZF_LANES)
    zv_store(y + i, zv_add(zv_load(y + i), zv_load(x + i)));
  if (i < count)
    zv_store_n(y + i, zv_add(zv_load_n(y + i, count - i), zv_load_n(x + i, count - i)), count - i);
}

static void rmsnorm_lanes(float *y, const float *x, const float *w, float eps, int64_t count) {
  zv sum = zv_zero();
  for (int64_t i = 0; i < count; i += ZF_LANES) {
    zv value = count - i < ZF_LANES ? zv_load_n(x + i, count - i) : zv_load(x + i);
    sum = zv_fma(value, value, sum);
  }
  zv inv = zv_set1(1.0f / sqrtf(zv_reduce(sum) / (float)count + eps));
  for (int64_t i = 0; i < count; i += ZF_LANES) {
    int64_t lanes = count - i < ZF_LANES ? count - i : ZF_LANES;
    zv value = zv_mul(zv_load_n(x + i, lanes), inv);
    zv_store_n(y + i, w ? zv_mul(value, zv_load_n(w + i, lanes)) : value, lanes);
  }
}

static void layernorm_lanes(float *y, const float *x, const float *w, const float *bias, float eps,
                            int64_t count) {
  zv sum = zv_zero(), squares = zv_zero();
  for (int64_t i = 0; i < count; i += ZF_LANES)
    sum = zv_add(sum, zv_load_n(x + i, count - i < ZF_LANES ? count - i : ZF_LANES));
  zv mean = zv_set1(zv_reduce(sum) / (float)count);
  for (int64_t i = 0; i < count; i += ZF_LANES) {
    int64_t lanes = count - i < ZF_LANES ? count - i : ZF_LANES;
    zv centered = zv_keep(zv_sub(zv_load_n(x + i, lanes), mean), lanes, zv_zero());
    squares = zv_fma(centered, centered, squares);
  }
  zv inv = zv_set1(1.0f / sqrtf(zv_reduce(squares) / (float)count + eps));
  for (int64_t i = 0; i < count; i += ZF_LANES) {
    int64_t lanes = count - i < ZF_LANES ? count - i : ZF_LANES;
    zv normed = zv_mul(zv_sub(zv_load_n(x + i, lanes), mean), inv);
    if (w && bias)
      normed = zv_fma(normed, zv_load_n(w + i, lanes), zv_load_n(bias + i, lanes));
    else if (w)
      normed = zv_mul(normed, zv_load_n(w + i, lanes));
    else if (bias)
      normed = zv_add(normed, zv_load_n(bias + i, lanes));
    zv_store_n(y + i, normed, lanes);
  }
}

static void rope_lanes(float *x, const float *cs, int64_t half) {
  for (int64_t i = 0; i < half; i += ZF_LANES) {
    int64_t lanes = half - i < ZF_LANES ? half - i : ZF_LANES;
    zv a = zv_load_n(x + i, lanes), b = zv_load_n(x + half + i, lanes);
    zv c = zv_load_n(cs + i, lanes), s = zv_load_n(cs + half + i, lanes);
    zv_store_n(x + i, zv_fma(a, c, zv_neg(zv_mul(b, s))), lanes);
    zv_store_n(x + half + i, zv_fma(b, c, zv_mul(a, s)), lanes);
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
  return zv_max(zv_zero(), x); /* x if it is NaN or -0, as the reference does */
}

static inline __attribute__((always_inline)) zv quick_gelu_of(zv x) {
  return zv_div(x, zv_add(zv_set1(1.0f), zv_exp(zv_neg(zv_mul(zv_set1(1.702f), x)))));
}

static inline __attribute__((always_inline)) zv min_lanes(zv x, float max) {
  return zv_neg(zv_max(zv_set1(-max), zv_neg(x)));
}

static inline __attribute__((always_inline)) zv gelu_10_of(zv x) {
  return min_lanes(gelu_erf_of(x), 10.0f);
}

static inline __attribute__((always_inline)) zv sigmoid_of(zv x) {
  return zv_div(zv_set1(1.0f), zv_add(zv_set1(1.0f), zv_exp(zv_neg(x))));
}

static inline __attribute__((always_inline)) zv relu2_of(zv x) {
  return zv_mul(relu_of(x), relu_of(x));
}

static inline __attribute__((always_inline)) zv relu6_of(zv x) {
  return min_lanes(relu_of(x), 6.0f);
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
  zv e = zv_exp(min_lanes(x, 20.0f)), n = zv_mul(e, zv_add(e, zv_set1(2.0f)));
  return zv_mul(x, zv_div(n, zv_add(n, zv_set1(2.0f))));
}

static inline __attribute__((always_inline)) zv laplace_of(zv x) {
  zv t = zv_erf(zv_div(zv_sub(x, zv_set1(0.707107f)), zv_set1(0.39894258f)));
  return zv_mul(zv_set1(0.5f), zv_add(zv_set1(1.0f), t));
}

static inline __attribute__((always_inline)) void apply_lanes(float *gate, const float *up,
                                                              int64_t count, zv (*act)(zv)) {
  int64_t i = 0;
  for (; i + ZF_LANES <= count; i += ZF_LANES) {
    zv value = act(zv_load(gate + i));
    zv_store(gate + i, up ? zv_mul(value, zv_load(up + i)) : value);
  }
  if (i == count) return;
  zv value = act(zv_load_n(gate + i, count - i));
  zv_store_n(gate + i, up ? zv_mul(value, zv_load_n(up + i, count - i)) : value, count - i);
}

static void silu_lanes(float *gate, const float *up, int64_t count) {
  apply_lanes(gate, up, count, silu_of);
}

static void gelu_tanh_lanes(float *gate, const float *up, int64_t count) {
  apply_lanes(gate, up, count, gelu_tanh_of);
}

static void gelu_erf_lanes(float *gate, const float *up, int64_t count) {
  apply_lanes(gate, up, count, gelu_erf_of);
}

static void relu_lanes(float *gate, const float *up, int64_t count) {
  apply_lanes(gate, up, count, relu_of);
}

static void tanh_lanes(float *gate, const float *up, int64_t count) {
  apply_lanes(gate, up, count, zv_tanh);
}

static void quick_gelu_lanes(float *gate, const float *up, int64_t count) {
  apply_lanes(gate, up, count, quick_gelu_of);
}

static void gelu_10_lanes(float *gate, const float *up, int64_t count) {
  apply_lanes(gate, up, count, gelu_10_of);
}

static void sigmoid_lanes(float *gate, const float *up, int64_t count) {
  apply_lanes(gate, up, count, sigmoid_of);
}

static void relu2_lanes(float *gate, const float *up, int64_t count) {
  apply_lanes(gate, up, count, relu2_of);
}

static void relu6_lanes(float *gate, const float *up, int64_t count) {
  apply_lanes(gate, up, count, relu6_of);
}

static void leaky_relu_lanes(float *gate, const float *up, int64_t count) {
  apply_lanes(gate, up, count, leaky_relu_of);
}

static void linear_lanes(float *gate, const float *up, int64_t count) {
  apply_lanes(gate, up, count, linear_of);
}

static void hardswish_lanes(float *gate, const float *up, int64_t count) {
  apply_lanes(gate, up, count, hardswish_of);
}

static void mish_lanes(float *gate, const float *up, int64_t count) {
  apply_lanes(gate, up, count, mish_of);
}

static void laplace_lanes(float *gate, const float *up, int64_t count) {
  apply_lanes(gate, up, count, laplace_of);
}

static void softcap_lanes(float *x, float scale_in, float scale_out, int64_t count) {
  zv before = zv_set1(scale_in), after = zv_set1(scale_out);
  for (int64_t i = 0; i < count; i += ZF_LANES) {
    int64_t lanes = count - i < ZF_LANES ? count - i : ZF_LANES;
    zv_store_n(x + i, zv_mul(zv_tanh(zv_mul(zv_load_n(x + i, lanes), before)), after), lanes);
  }
}

static void scale_lanes(float *x, float factor, int64_t count) {
  zv factors = zv_set1(factor);
  for (int64_t i = 0; i < count; i += ZF_LANES) {
    int64_t lanes = count - i < ZF_LANES ? count - i : ZF_LANES;
    zv_store_n(x + i, zv_mul(zv_load_n(x + i, lanes), factors), lanes);
  }
}

/* The maximum of p[j] * scale. */
static inline float max_lanes(const float *values, float scale, int64_t count) {
  zv by = zv_set1(scale), max = zv_mul(zv_set1(values[0]), by);
  int64_t j = 0;
  for (; j + ZF_LANES <= count; j += ZF_LANES) max = zv_max(max, zv_mul(zv_load(values + j), by));
  if (j < count)
    max = zv_max(max, zv_keep(zv_mul(zv_load_n(values + j, count - j), by), count - j, max));
  return zv_reduce_max(max);
}

/* Stores nothing before the exponentials, because a masked store would stall the load after it. */
static float softmax_lanes(float *scores, float scale, int64_t count) {
  zv max = zv_set1(max_lanes(scores, scale, count)), sum = zv_zero(), by = zv_set1(scale),
     exponentials;
  int64_t j = 0;
  for (; j + ZF_LANES <= count; j += ZF_LANES) {
    exponentials = zv_exp(zv_sub(zv_mul(zv_load(scores + j), by), max));
    zv_store(scores + j, exponentials);
    sum = zv_add(sum, exponentials);
  }
  if (j < count) {
    exponentials = zv_exp(zv_sub(zv_mul(zv_load_n(scores + j, count - j), by), max));
    zv_store_n(scores + j, exponentials, count - j);
    sum = zv_add(sum, zv_keep(exponentials, count - j, zv_zero()));
  }
  return zv_reduce(sum);
}

static void add_weighted_rows_lanes(float *out, const float *weights, const float *values,
                                    int64_t ldvalues, int64_t count, int64_t D) {
  for (int64_t d = 0; d < D; d += ZF_LANES) {
    int64_t lanes = D - d < ZF_LANES ? D - d : ZF_LANES;
    zv acc = zv_load_n(out + d, lanes);
    for (int64_t j = 0; j < count; j++)
      acc = zv_fma(zv_set1(weights[j]), zv_load_n(values + j * ldvalues + d, lanes), acc);
    zv_store_n(out + d, acc, lanes);
  }
}

static void divide_lanes(float *out, float divisor, int64_t count) {
  zv divisors = zv_set1(divisor);
  for (int64_t i = 0; i < count; i += ZF_LANES) {
    int64_t lanes = count - i < ZF_LANES ? count - i : ZF_LANES;
    zv_store_n(out + i, zv_div(zv_load_n(out + i, lanes), divisors), lanes);
  }
}

static void sumexp_lanes(float *max, double *sum, const float *values, int64_t count) {
  zv max_of_lanes = zv_set1(*max = max_lanes(values, 1.0f, count));
  zd sums = zd_zero();
  int64_t j = 0;
  for (; j + ZF_LANES <= count; j += ZF_LANES)
    sums = zd_add(sums, zv_exp(zv_sub(zv_load(values + j), max_of_lanes)));
  if (j < count)
    sums = zd_add(sums, zv_keep(zv_exp(zv_sub(zv_load_n(values + j, count - j), max_of_lanes)),
                                count - j, zv_zero()));
  *sum = zd_reduce(sums);
}

static void fill_lanes(struct zf_kern_table *table) {
  table->noise = noise_lanes;
  table->random_words = words_lanes;
  table->add_noise = add_noise_lanes;
  table->expand = expand_lanes;
  table->expand_blocks = expand_blocks_lanes;
  table->add_scaled = add_scaled_lanes;
  table->round_stochastically = round_lanes;
  table->round_integers = round_integers_lanes;
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
  table->add_weighted_rows = add_weighted_rows_lanes;
  table->divide = divide_lanes;
  table->sumexp = sumexp_lanes;
}

#endif
