/* Kernels that work on single rows, in plain C: storage, norms, rotary embedding, activations. */
#include <math.h>
#include <string.h>

#include "kern/kern_internal.h"
#include "rng/sleef.h"

static void expand_ref(float *dst, const void *rows, enum zf_dtype type, int64_t count) {
  zf_to_f32(dst, rows, type, count);
}

static void expand_blocks_ref(float *dst, const void *blocks, enum zf_dtype type, int64_t count,
                              const float *scales) {
  zf_blocks_to_f32(dst, blocks, type, count, scales);
}

static void add_scaled_ref(float *out, const float *w, const float *z, float eps, int64_t count) {
  for (int64_t i = 0; i < count; i++) out[i] = fmaf(eps, z[i], w[i]);
}

static void add_noise_ref(float *w, const struct zf_noise *noise, float factor, int64_t first,
                          int64_t count) {
  float z[ZF_CHUNK];
  for (int64_t i = 0; i < count; i += ZF_CHUNK) {
    int64_t chunk = zf_min64(count - i, ZF_CHUNK);
    zf_noise_ref(z, noise, first + i, chunk);
    add_scaled_ref(w + i, w + i, z, factor, chunk);
  }
}

static uint16_t round_bf16(uint32_t bits, uint32_t word) {
  if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)(bits >> 16 | 0x40);
  if ((bits & 0x7fffffff) == 0x7f800000) return (uint16_t)(bits >> 16);
  return (uint16_t)((bits + (word & 0xffff)) >> 16);
}

static uint16_t round_f16(float value, uint32_t bits, uint32_t word) {
  uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff, half;
  word &= 0x1fff;
  if (magnitude > 0x7f800000) return (uint16_t)(sign | 0x7e00);
  if (magnitude < 0x38800000) /* below 2^-14: multiples of 2^-24, and 13 more bits for rounding */
    half = ((uint32_t)(fabsf(value) * 0x1p37f) + word) >> 13;
  else
    half = (magnitude - 0x38000000 + word) >> 13;
  return (uint16_t)(sign | (half < 0x7c00 ? half : 0x7c00));
}

static void round_f24(unsigned char bytes[3], uint32_t bits, uint32_t word) {
  if ((bits & 0x7fffffff) > 0x7f800000)
    bits |= 0x400000;
  else if ((bits & 0x7fffffff) < 0x7f800000)
    bits += word & 0xff;
  for (int i = 0; i < 3; i++) bytes[i] = (unsigned char)(bits >> (8 + 8 * i));
}

static void round_ref(void *dst, const float *rows, const uint32_t *words, enum zf_dtype type,
                      int64_t count) {
  uint16_t *halves = dst;
  for (int64_t i = 0; i < count; i++) {
    uint32_t bits;
    memcpy(&bits, rows + i, sizeof bits);
    if (type == ZF_F24)
      round_f24((unsigned char *)dst + 3 * i, bits, words[i]);
    else
      halves[i] = type == ZF_F16 ? round_f16(rows[i], bits, words[i]) : round_bf16(bits, words[i]);
  }
}

static int round_level(float level, uint32_t word) {
  level = level > -127.0f ? level : -127.0f;
  level = level < 127.0f ? level : 127.0f;
  int whole = (int)level;
  float rest = level - (float)whole;
  if (rest < 0.0f) {
    whole--;
    rest += 1.0f;
  }
  return whole + (int)(((uint32_t)(rest * 0x1p24f) + (word >> 8)) >> 24);
}

static void round_integers_ref(void *blocks, const float *values, const uint32_t *words,
                               int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    unsigned char *block = (unsigned char *)blocks + i / 32 * 34;
    float d = zf_f16_to_f32((uint16_t)(block[0] | block[1] << 8));
    if (d != 0.0f) block[2 + i % 32] = (unsigned char)round_level(values[i] / d, words[i]);
  }
}

static void add_ref(float *y, const float *x, int64_t count) {
  for (int64_t i = 0; i < count; i++) y[i] += x[i];
}

/* The tree at the end of a lanes sum; overwrites `lanes`. */
static float reduce_lanes(float lanes[ZF_LANES]) {
  for (int half = ZF_LANES / 2; half; half /= 2)
    for (int lane = 0; lane < half; lane++) lanes[lane] += lanes[lane + half];
  return lanes[0];
}

static void rmsnorm_ref(float *y, const float *x, const float *w, float eps, int64_t count) {
  float lanes[ZF_LANES] = {0};
  for (int64_t i = 0; i < count; i++) lanes[i % ZF_LANES] = fmaf(x[i], x[i], lanes[i % ZF_LANES]);
  float inv = 1.0f / sqrtf(reduce_lanes(lanes) / (float)count + eps);
  for (int64_t i = 0; i < count; i++) y[i] = w ? x[i] * inv * w[i] : x[i] * inv;
}

static void layernorm_ref(float *y, const float *x, const float *w, const float *bias, float eps,
                          int64_t count) {
  float sum_lanes[ZF_LANES] = {0}, square_lanes[ZF_LANES] = {0};
  for (int64_t i = 0; i < count; i++) sum_lanes[i % ZF_LANES] += x[i];
  float mean = reduce_lanes(sum_lanes) / (float)count;
  for (int64_t i = 0; i < count; i++) {
    float centered = x[i] - mean;
    square_lanes[i % ZF_LANES] = fmaf(centered, centered, square_lanes[i % ZF_LANES]);
  }
  float inv = 1.0f / sqrtf(reduce_lanes(square_lanes) / (float)count + eps);
  for (int64_t i = 0; i < count; i++) {
    float normed = (x[i] - mean) * inv;
    if (w && bias)
      normed = fmaf(normed, w[i], bias[i]);
    else if (w)
      normed = normed * w[i];
    else if (bias)
      normed = normed + bias[i];
    y[i] = normed;
  }
}

static void rope_ref(float *x, const float *cs, int64_t half) {
  for (int64_t i = 0; i < half; i++) {
    float a = x[i], b = x[i + half], c = cs[i], s = cs[i + half];
    x[i] = fmaf(a, c, -(b * s));
    x[i + half] = fmaf(b, c, a * s);
  }
}

static float silu(float x) {
  return x / (1.0f + Sleef_finz_expf1_u10purecfma(-x));
}

static float gelu_tanh(float x) {
  float t = 0.7978845608028654f * fmaf(0.044715f, x * x * x, x);
  return 0.5f * x * (1.0f + Sleef_finz_tanhf1_u35purecfma(t));
}

static float gelu_erf(float x) {
  return 0.5f * x * (1.0f + Sleef_finz_erff1_u10purecfma(0.7071067811865476f * x));
}

static float relu(float x) {
  return x < 0.0f ? 0.0f : x;
}

static float tanh_of(float x) {
  return Sleef_finz_tanhf1_u35purecfma(x);
}

static float quick_gelu(float x) {
  return x / (1.0f + Sleef_finz_expf1_u10purecfma(-(1.702f * x)));
}

static float min_of(float x, float max) {
  return x > max ? max : x;
}

static float gelu_10(float x) {
  return min_of(gelu_erf(x), 10.0f);
}

static float sigmoid(float x) {
  return 1.0f / (1.0f + Sleef_finz_expf1_u10purecfma(-x));
}

static float relu2(float x) {
  return relu(x) * relu(x);
}

static float relu6(float x) {
  return min_of(relu(x), 6.0f);
}

static float leaky_relu(float x) {
  float small = 0.01f * x;
  return small > x ? small : x;
}

static float linear(float x) {
  return x;
}

static float hardswish(float x) {
  return x * relu6(x + 3.0f) / 6.0f;
}

static float mish(float x) {
  float e = Sleef_finz_expf1_u10purecfma(min_of(x, 20.0f)), n = e * (e + 2.0f);
  return x * (n / (n + 2.0f));
}

static float laplace(float x) {
  return 0.5f * (1.0f + Sleef_finz_erff1_u10purecfma((x - 0.707107f) / 0.39894258f));
}

static void apply(float *gate, const float *up, int64_t count, float (*act)(float)) {
  for (int64_t i = 0; i < count; i++) gate[i] = up ? act(gate[i]) * up[i] : act(gate[i]);
}

static void silu_ref(float *gate, const float *up, int64_t count) {
  apply(gate, up, count, silu);
}

static void gelu_tanh_ref(float *gate, const float *up, int64_t count) {
  apply(gate, up, count, gelu_tanh);
}

static void gelu_erf_ref(float *gate, const float *up, int64_t count) {
  apply(gate, up, count, gelu_erf);
}

static void relu_ref(float *gate, const float *up, int64_t count) {
  apply(gate, up, count, relu);
}

static void tanh_ref(float *gate, const float *up, int64_t count) {
  apply(gate, up, count, tanh_of);
}

static void quick_gelu_ref(float *gate, const float *up, int64_t count) {
  apply(gate, up, count, quick_gelu);
}

static void gelu_10_ref(float *gate, const float *up, int64_t count) {
  apply(gate, up, count, gelu_10);
}

static void sigmoid_ref(float *gate, const float *up, int64_t count) {
  apply(gate, up, count, sigmoid);
}

static void relu2_ref(float *gate, const float *up, int64_t count) {
  apply(gate, up, count, relu2);
}

static void relu6_ref(float *gate, const float *up, int64_t count) {
  apply(gate, up, count, relu6);
}

static void leaky_relu_ref(float *gate, const float *up, int64_t count) {
  apply(gate, up, count, leaky_relu);
}

static void linear_ref(float *gate, const float *up, int64_t count) {
  apply(gate, up, count, linear);
}

static void hardswish_ref(float *gate, const float *up, int64_t count) {
  apply(gate, up, count, hardswish);
}

static void mish_ref(float *gate, const float *up, int64_t count) {
  apply(gate, up, count, mish);
}

static void laplace_ref(float *gate, const float *up, int64_t count) {
  apply(gate, up, count, laplace);
}

void zf_kern_init_rows_ref(struct zf_kern_table *table) {
  table->expand = expand_ref;
  table->expand_blocks = expand_blocks_ref;
  table->add_scaled = add_scaled_ref;
  table->add_noise = add_noise_ref;
  table->round_stochastically = round_ref;
  table->round_integers = round_integers_ref;
  table->add = add_ref;
  table->rmsnorm = rmsnorm_ref;
  table->layernorm = layernorm_ref;
  table->rope = rope_ref;
  table->act[ZF_ACT_SILU] = silu_ref;
  table->act[ZF_ACT_GELU_TANH] = gelu_tanh_ref;
  table->act[ZF_ACT_GELU_ERF] = gelu_erf_ref;
  table->act[ZF_ACT_RELU] = relu_ref;
  table->act[ZF_ACT_TANH] = tanh_ref;
  table->act[ZF_ACT_QUICK_GELU] = quick_gelu_ref;
  table->act[ZF_ACT_GELU_10] = gelu_10_ref;
  table->act[ZF_ACT_SIGMOID] = sigmoid_ref;
  table->act[ZF_ACT_RELU2] = relu2_ref;
  table->act[ZF_ACT_RELU6] = relu6_ref;
  table->act[ZF_ACT_LEAKY_RELU] = leaky_relu_ref;
  table->act[ZF_ACT_LINEAR] = linear_ref;
  table->act[ZF_ACT_HARDSWISH] = hardswish_ref;
  table->act[ZF_ACT_MISH] = mish_ref;
  table->act[ZF_ACT_LAPLACE] = laplace_ref;
}
