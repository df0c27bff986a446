/* Kernels of rows in plain C: storage, norms, rotary embedding, activations. */
#include <math.h>
#include <string.h>

#include "kern/kern_internal.h"
#include "rng/sleef.h"

static void expand_ref(float *dst, const void *src, enum zf_dtype type, int64_t n) {
  zf_to_f32(dst, src, type, n);
}

static void mix_ref(float *out, const float *w, const float *z, float eps, int64_t n) {
  for (int64_t i = 0; i < n; i++) out[i] = fmaf(eps, z[i], w[i]);
}

static void add_noise_ref(float *w, const struct zf_noise *noise, float c, int64_t first,
                          int64_t n) {
  float z[ZF_CHUNK];
  for (int64_t i = 0; i < n; i += ZF_CHUNK) {
    int64_t m = zf_kern_min(n - i, ZF_CHUNK);
    zf_noise_ref(z, noise, first + i, m);
    mix_ref(w + i, w + i, z, c, m);
  }
}

static uint16_t narrow_bf16(uint32_t u, uint32_t r) {
  if ((u & 0x7fffffff) > 0x7f800000) return (uint16_t)(u >> 16 | 0x40);
  if ((u & 0x7fffffff) == 0x7f800000) return (uint16_t)(u >> 16);
  return (uint16_t)((u + (r & 0xffff)) >> 16);
}

static uint16_t narrow_f16(float f, uint32_t u, uint32_t r) {
  uint32_t sign = u >> 16 & 0x8000, a = u & 0x7fffffff, h;
  r &= 0x1fff;
  if (a > 0x7f800000) return (uint16_t)(sign | 0x7e00);
  if (a < 0x38800000) /* below 2^-14: multiples of 2^-24, with 13 more bits to round by */
    h = ((uint32_t)(fabsf(f) * 0x1p37f) + r) >> 13;
  else
    h = (a - 0x38000000 + r) >> 13;
  return (uint16_t)(sign | (h < 0x7c00 ? h : 0x7c00));
}

static void narrow_f24(unsigned char h[3], uint32_t u, uint32_t r) {
  if ((u & 0x7fffffff) > 0x7f800000)
    u |= 0x400000;
  else if ((u & 0x7fffffff) < 0x7f800000)
    u += r & 0xff;
  for (int i = 0; i < 3; i++) h[i] = (unsigned char)(u >> (8 + 8 * i));
}

static void narrow_ref(void *dst, const float *src, const uint32_t *r, enum zf_dtype type,
                       int64_t n) {
  uint16_t *h = dst;
  for (int64_t i = 0; i < n; i++) {
    uint32_t u;
    memcpy(&u, src + i, sizeof u);
    if (type == ZF_F24)
      narrow_f24((unsigned char *)dst + 3 * i, u, r[i]);
    else
      h[i] = type == ZF_F16 ? narrow_f16(src[i], u, r[i]) : narrow_bf16(u, r[i]);
  }
}

static void add_ref(float *y, const float *x, int64_t count) {
  for (int64_t i = 0; i < count; i++) y[i] += x[i];
}

/* The tree at the end of a lanes sum; s is destroyed. */
static float fold(float s[ZF_LANES]) {
  for (int half = ZF_LANES / 2; half; half /= 2)
    for (int l = 0; l < half; l++) s[l] += s[l + half];
  return s[0];
}

static void rmsnorm_ref(float *y, const float *x, const float *w, float eps, int64_t n) {
  float s[ZF_LANES] = {0};
  for (int64_t i = 0; i < n; i++) s[i % ZF_LANES] = fmaf(x[i], x[i], s[i % ZF_LANES]);
  float inv = 1.0f / sqrtf(fold(s) / (float)n + eps);
  for (int64_t i = 0; i < n; i++) y[i] = w ? x[i] * inv * w[i] : x[i] * inv;
}

static void layernorm_ref(float *y, const float *x, const float *w, const float *b, float eps,
                          int64_t n) {
  float s[ZF_LANES] = {0}, q[ZF_LANES] = {0};
  for (int64_t i = 0; i < n; i++) s[i % ZF_LANES] += x[i];
  float mean = fold(s) / (float)n;
  for (int64_t i = 0; i < n; i++) {
    float d = x[i] - mean;
    q[i % ZF_LANES] = fmaf(d, d, q[i % ZF_LANES]);
  }
  float inv = 1.0f / sqrtf(fold(q) / (float)n + eps);
  for (int64_t i = 0; i < n; i++) {
    float v = (x[i] - mean) * inv;
    if (w && b)
      v = fmaf(v, w[i], b[i]);
    else if (w)
      v = v * w[i];
    else if (b)
      v = v + b[i];
    y[i] = v;
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

static float least(float x, float most) {
  return x > most ? most : x;
}

static float gelu_10(float x) {
  return least(gelu_erf(x), 10.0f);
}

static float sigmoid(float x) {
  return 1.0f / (1.0f + Sleef_finz_expf1_u10purecfma(-x));
}

static float relu2(float x) {
  return relu(x) * relu(x);
}

static float relu6(float x) {
  return least(relu(x), 6.0f);
}

static float leaky_relu(float x) {
  float s = 0.01f * x;
  return s > x ? s : x;
}

static float linear(float x) {
  return x;
}

static float hardswish(float x) {
  return x * relu6(x + 3.0f) / 6.0f;
}

static float mish(float x) {
  float e = Sleef_finz_expf1_u10purecfma(least(x, 20.0f)), n = e * (e + 2.0f);
  return x * (n / (n + 2.0f));
}

static float laplace(float x) {
  return 0.5f * (1.0f + Sleef_finz_erff1_u10purecfma((x - 0.707107f) / 0.39894258f));
}

static void apply(float *g, const float *u, int64_t count, float (*f)(float)) {
  for (int64_t i = 0; i < count; i++) g[i] = u ? f(g[i]) * u[i] : f(g[i]);
}

static void silu_ref(float *g, const float *u, int64_t count) {
  apply(g, u, count, silu);
}

static void gelu_tanh_ref(float *g, const float *u, int64_t count) {
  apply(g, u, count, gelu_tanh);
}

static void gelu_erf_ref(float *g, const float *u, int64_t count) {
  apply(g, u, count, gelu_erf);
}

static void relu_ref(float *g, const float *u, int64_t count) {
  apply(g, u, count, relu);
}

static void tanh_ref(float *g, const float *u, int64_t count) {
  apply(g, u, count, tanh_of);
}

static void quick_gelu_ref(float *g, const float *u, int64_t count) {
  apply(g, u, count, quick_gelu);
}

static void gelu_10_ref(float *g, const float *u, int64_t count) {
  apply(g, u, count, gelu_10);
}

static void sigmoid_ref(float *g, const float *u, int64_t count) {
  apply(g, u, count, sigmoid);
}

static void relu2_ref(float *g, const float *u, int64_t count) {
  apply(g, u, count, relu2);
}

static void relu6_ref(float *g, const float *u, int64_t count) {
  apply(g, u, count, relu6);
}

static void leaky_relu_ref(float *g, const float *u, int64_t count) {
  apply(g, u, count, leaky_relu);
}

static void linear_ref(float *g, const float *u, int64_t count) {
  apply(g, u, count, linear);
}

static void hardswish_ref(float *g, const float *u, int64_t count) {
  apply(g, u, count, hardswish);
}

static void mish_ref(float *g, const float *u, int64_t count) {
  apply(g, u, count, mish);
}

static void laplace_ref(float *g, const float *u, int64_t count) {
  apply(g, u, count, laplace);
}

void zf_kern_init_rows_ref(struct zf_kern_table *table) {
  table->expand = expand_ref;
  table->add_scaled = mix_ref;
  table->add_noise = add_noise_ref;
  table->round_stochastically = narrow_ref;
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
