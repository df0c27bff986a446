/* The row functions over sixteen lanes, in the vectors of the compiler; included by rows_base.c and
 * x86/rows_*.c, which define ROWS_TABLE, the table's name.
 *
 * exp is Cephes' expf (Moshier), without fused products; tanh and the logistic function use it.  erf
 * is Abramowitz and Stegun 7.1.26, absolute error 1.5e-7.  They are factors of derivatives, so an
 * error of 1e-7 in them is an error of 1e-7 in the gradient. */
#ifndef ZF_BACK_ROWS_TMPL_H
#define ZF_BACK_ROWS_TMPL_H

#include <math.h>
#include <string.h>

#include "back/rows.h"

enum { L = 16 };
typedef float vf __attribute__((vector_size(64)));
typedef int32_t vi __attribute__((vector_size(64)));
typedef vf vf_any __attribute__((aligned(4), may_alias));
#define INLINE static inline __attribute__((always_inline))

INLINE vf set(float x) {
  return (vf){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}

/* The first `count` of sixteen elements, then zeros. */
INLINE vf load(const float *p, int64_t count) {
  if (count >= L) return *(const vf_any *)p;
  vf value = set(0);
  memcpy(&value, p, (size_t)count * sizeof *p);
  return value;
}

INLINE void store(float *p, vf value, int64_t count) {
  if (count >= L)
    *(vf_any *)p = value;
  else
    memcpy(p, &value, (size_t)count * sizeof *p);
}

INLINE vf choose(vi mask, vf a, vf b) {
  return (vf)(((vi)a & mask) | ((vi)b & ~mask));
}

INLINE float reduce(vf sum) {
  float lanes[L];
  memcpy(lanes, &sum, sizeof lanes);
  for (int half = L / 2; half; half /= 2)
    for (int lane = 0; lane < half; lane++) lanes[lane] += lanes[lane + half];
  return lanes[0];
}

INLINE vf vexp(vf x) {
  const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
  x = choose(x > set(88.0f), set(88.0f), x);
  x = choose(x < set(-87.0f), set(-87.0f), x);
  vf k = x * set(1.44269504088896341f) + set(magic);
  vi e = (vi)k - (vi)set(magic);
  vf n = k - set(magic), r = x - n * set(0.693359375f) - n * set(-2.12194440e-4f);
  vf p = set(1.9875691500e-4f);
  p = p * r + set(1.3981999507e-3f);
  p = p * r + set(8.3334519073e-3f);
  p = p * r + set(4.1665795894e-2f);
  p = p * r + set(1.6666665459e-1f);
  p = p * r + set(5.0000001201e-1f);
  p = p * r * r + r + set(1.0f);
  return p * (vf)((e + 127) << 23);
}

INLINE vf vsqrt(vf x) {
  float lanes[L];
  memcpy(lanes, &x, sizeof lanes);
  for (int i = 0; i < L; i++) lanes[i] = sqrtf(lanes[i]);
  memcpy(&x, lanes, sizeof lanes);
  return x;
}

/* --- norms --- */

static void row_stats(float *mean, float *inv, const float *x, float eps, int center,
                      int64_t count) {
  vf sum = set(0), squares = set(0);
  *mean = 0;
  if (center) {
    for (int64_t i = 0; i < count; i += L) sum += load(x + i, count - i);
    *mean = reduce(sum) / (float)count;
  }
  int64_t i = 0;
  for (; i + L <= count; i += L) {
    vf centered = load(x + i, L) - set(*mean);
    squares += centered * centered;
  }
  float tail = 0;
  for (; i < count; i++) tail += (x[i] - *mean) * (x[i] - *mean);
  *inv = 1.0f / sqrtf((reduce(squares) + tail) / (float)count + eps);
}

static void row_norm(float *dx, const float *dy, const float *x, const float *w, float mean,
                     float inv, int center, int add, int64_t count) {
  vf sum = set(0), product_sum = set(0);
  for (int64_t i = 0; i < count; i += L) {
    vf weighted = load(dy + i, count - i);
    if (w) weighted *= load(w + i, count - i);
    sum += weighted; /* beyond the end it is 0 */
    product_sum += weighted * ((load(x + i, count - i) - set(mean)) * set(inv));
  }
  vf shift = set(center ? reduce(sum) / (float)count : 0),
     along = set(reduce(product_sum) / (float)count);
  for (int64_t i = 0; i < count; i += L) {
    vf weighted = load(dy + i, count - i), normed = (load(x + i, count - i) - set(mean)) * set(inv);
    if (w) weighted *= load(w + i, count - i);
    vf gradient = set(inv) * (weighted - shift - normed * along);
    store(dx + i, add ? load(dx + i, count - i) + gradient : gradient, count - i);
  }
}

static void row_norm_weight(float *dw, float *db, const float *dy, const float *x, float mean,
                            float inv, int64_t count) {
  for (int64_t i = 0; i < count; i += L) {
    vf gradient = load(dy + i, count - i);
    if (dw)
      store(dw + i,
            load(dw + i, count - i) + gradient * ((load(x + i, count - i) - set(mean)) * set(inv)),
            count - i);
    if (db) store(db + i, load(db + i, count - i) + gradient, count - i);
  }
}

/* --- activations: *y = act(x), returns act'(x) --- */

INLINE vf silu(vf x, vf *y) {
  vf sigmoid = set(1) / (set(1) + vexp(-x));
  *y = x * sigmoid;
  return sigmoid * (set(1) + x * (set(1) - sigmoid));
}

INLINE vf gelu_tanh(vf x, vf *y) {
  const float c = 0.7978845608028654f, k = 0.044715f;
  vf u = set(c) * (x + set(k) * x * x * x);
  vf t = set(1) - set(2) / (vexp(u + u) + set(1));
  *y = set(0.5f) * x * (set(1) + t);
  return set(0.5f) * (set(1) + t) +
         set(0.5f) * x * (set(1) - t * t) * set(c) * (set(1) + set(3 * k) * x * x);
}

/* The normal distribution's integral up to x; *e = exp(-x^2 / 2). */
INLINE vf normal(vf x, vf *e) {
  vi minus = x < set(0);
  vf z = choose(minus, -x, x) * set(0.70710678118654752f);
  *e = vexp(-z * z);
  vf t = set(1) / (set(1) + set(0.3275911f) * z);
  vf p = set(1.061405429f) * t - set(1.453152027f);
  p = p * t + set(1.421413741f);
  p = p * t - set(0.284496736f);
  p = (p * t + set(0.254829592f)) * t;
  vf half = set(0.5f) * p * *e; /* half of erfc */
  return choose(minus, half, set(1) - half);
}

INLINE vf gelu_erf(vf x, vf *y) {
  vf e, cdf = normal(x, &e);
  *y = x * cdf;
  return cdf + x * e * set(0.39894228040143268f);
}

INLINE vf relu(vf x, vf *y) {
  vi minus = x < set(0);
  *y = choose(minus, set(0), x);
  return choose(x > set(0), set(1), set(0)); /* 0 at 0, as in PyTorch */
}

INLINE vf tanh_of(vf x, vf *y) {
  *y = set(1) - set(2) / (vexp(x + x) + set(1));
  return set(1) - *y * *y;
}

INLINE vf quick_gelu(vf x, vf *y) {
  vf s = set(1) / (set(1) + vexp(set(-1.702f) * x));
  *y = x * s;
  return s * (set(1) + set(1.702f) * x * (set(1) - s));
}

INLINE vf gelu_10(vf x, vf *y) {
  vf g, d = gelu_erf(x, &g);
  *y = choose(g > set(10), set(10), g);
  return choose(g > set(10), set(0), d);
}

INLINE vf sigmoid(vf x, vf *y) {
  *y = set(1) / (set(1) + vexp(-x));
  return *y * (set(1) - *y);
}

INLINE vf relu2(vf x, vf *y) {
  vf r = choose(x > set(0), x, set(0));
  *y = r * r;
  return r + r;
}

INLINE vf relu6(vf x, vf *y) {
  vf r = choose(x > set(0), x, set(0));
  *y = choose(r > set(6), set(6), r);
  return choose(x > set(0), choose(x < set(6), set(1), set(0)), set(0));
}

INLINE vf leaky_relu(vf x, vf *y) {
  *y = choose(x > set(0), x, set(0.01f) * x);
  return choose(x > set(0), set(1), set(0.01f));
}

INLINE vf linear(vf x, vf *y) {
  *y = x;
  return set(1);
}

INLINE vf hardswish(vf x, vf *y) {
  vf r, inside = relu6(x + set(3), &r);
  *y = x * r / set(6);
  return (r + x * inside) / set(6);
}

/* t = tanh(log(1 + e)); its derivative is 4 e (1 + e) / (n + 2)^2. */
INLINE vf mish(vf x, vf *y) {
  vf e = vexp(choose(x > set(20), set(20), x)), n = e * (e + set(2)), m = n + set(2);
  *y = x * (n / m);
  return n / m + x * (set(4) * (e / m) * ((set(1) + e) / m));
}

INLINE vf laplace(vf x, vf *y) {
  vf e;
  *y = normal((x - set(0.707107f)) / set(0.282095f), &e);
  return e * set(0.39894228040143268f / 0.282095f);
}

INLINE void act(float *dgate, float *dup, const float *gate, const float *up, const float *dy,
                int64_t count, vf (*activation)(vf x, vf *y)) {
  for (int64_t i = 0; i < count; i += L) {
    vf y, gradient = load(dy + i, count - i),
          derivative = activation(load(gate + i, count - i), &y);
    store(dgate + i, up ? gradient * load(up + i, count - i) * derivative : gradient * derivative,
          count - i);
    if (up) store(dup + i, gradient * y, count - i);
  }
}

#define ACT(name)                                                                                  \
  static void row_##name(float *dg, float *du, const float *g, const float *u, const float *dy,    \
                         int64_t n) {                                                              \
    act(dg, du, g, u, dy, n, name);                                                                \
  }
ACT(silu)
ACT(gelu_tanh)
ACT(gelu_erf)
ACT(relu)
ACT(tanh_of)
ACT(quick_gelu)
ACT(gelu_10)
ACT(sigmoid)
ACT(relu2)
ACT(relu6)
ACT(leaky_relu)
ACT(linear)
ACT(hardswish)
ACT(mish)
ACT(laplace)

/* --- softmax, logits, rope --- */

static void row_softmax(float *probabilities, float *gradients, float factor, float scale,
                        int64_t count) {
  vf products = set(0);
  for (int64_t i = 0; i < count; i += L) {
    vf probability = load(probabilities + i, count - i) * set(factor);
    store(probabilities + i, probability, count - i);
    products += probability * load(gradients + i, count - i);
  }
  vf sum = set(reduce(products));
  for (int64_t i = 0; i < count; i += L)
    store(gradients + i,
          load(probabilities + i, count - i) * (load(gradients + i, count - i) - sum) * set(scale),
          count - i);
}

static void row_logits(float *logits, float lse, float coefficient, int64_t count) {
  for (int64_t i = 0; i < count; i += L)
    store(logits + i, set(-coefficient) * vexp(load(logits + i, count - i) - set(lse)), count - i);
}

static void row_rope(float *x, const float *cs, int64_t half) {
  for (int64_t i = 0; i < half; i += L) {
    int64_t count = half - i;
    vf a = load(x + i, count), b = load(x + half + i, count);
    vf c = load(cs + i, count), s = load(cs + half + i, count);
    store(x + i, a * c + b * s, count);
    store(x + half + i, b * c - a * s, count);
  }
}

/* --- sums --- */

static void row_add(float *y, const float *x, int64_t count) {
  for (int64_t i = 0; i < count; i += L)
    store(y + i, load(y + i, count - i) + load(x + i, count - i), count - i);
}

static void row_axpy(float *y, float a, const float *x, int64_t count) {
  for (int64_t i = 0; i < count; i += L)
    store(y + i, load(y + i, count - i) + set(a) * load(x + i, count - i), count - i);
}

static double row_square(const float *x, int64_t count) {
  double lanes[L] = {0}, sum = 0;
  int64_t i = 0;
  for (; i + L <= count; i += L)
    for (int lane = 0; lane < L; lane++) lanes[lane] += (double)x[i + lane] * (double)x[i + lane];
  for (; i < count; i++) lanes[0] += (double)x[i] * (double)x[i];
  for (int lane = 0; lane < L; lane++) sum += lanes[lane];
  return sum;
}

/* --- updates --- */

static void row_sgd(float *w, float *gradients, float *first_moment, float *second_moment,
                    const struct zf_optim_step *step, int64_t count) {
  (void)first_moment;
  (void)second_moment;
  for (int64_t i = 0; i < count; i += L) {
    vf x = load(w + i, count - i), gradient = load(gradients + i, count - i) * set(step->scale);
    store(w + i, x - set(step->lr) * (gradient + set(step->decay) * x), count - i);
    store(gradients + i, set(0), count - i);
  }
}

static void row_momentum(float *w, float *gradients, float *first_moment, float *second_moment,
                         const struct zf_optim_step *step, int64_t count) {
  (void)second_moment;
  for (int64_t i = 0; i < count; i += L) {
    vf x = load(w + i, count - i), gradient = load(gradients + i, count - i) * set(step->scale);
    vf moment =
        set(step->beta1) * load(first_moment + i, count - i) + gradient + set(step->decay) * x;
    store(first_moment + i, moment, count - i);
    store(w + i, x - set(step->lr) * moment, count - i);
    store(gradients + i, set(0), count - i);
  }
}

static void row_adamw(float *w, float *gradients, float *first_moment, float *second_moment,
                      const struct zf_optim_step *step, int64_t count) {
  for (int64_t i = 0; i < count; i += L) {
    vf x = load(w + i, count - i), d = load(gradients + i, count - i) * set(step->scale);
    vf a = set(step->beta1) * load(first_moment + i, count - i) + set(1 - step->beta1) * d;
    vf b = set(step->beta2) * load(second_moment + i, count - i) + set(1 - step->beta2) * d * d;
    store(first_moment + i, a, count - i);
    store(second_moment + i, b, count - i);
    x -= set(step->lr * step->decay) * x;
    x -= set(step->lr) * (a * set(step->fix1)) / (vsqrt(b * set(step->fix2)) + set(step->eps));
    store(w + i, x, count - i);
    store(gradients + i, set(0), count - i);
  }
}

const struct zf_back_rows ROWS_TABLE = {
    .stats = row_stats,
    .norm = row_norm,
    .norm_weight = row_norm_weight,
    .act = {[ZF_ACT_SILU] = row_silu,
            [ZF_ACT_GELU_TANH] = row_gelu_tanh,
            [ZF_ACT_GELU_ERF] = row_gelu_erf,
            [ZF_ACT_RELU] = row_relu,
            [ZF_ACT_TANH] = row_tanh_of,
            [ZF_ACT_QUICK_GELU] = row_quick_gelu,
            [ZF_ACT_GELU_10] = row_gelu_10,
            [ZF_ACT_SIGMOID] = row_sigmoid,
            [ZF_ACT_RELU2] = row_relu2,
            [ZF_ACT_RELU6] = row_relu6,
            [ZF_ACT_LEAKY_RELU] = row_leaky_relu,
            [ZF_ACT_LINEAR] = row_linear,
            [ZF_ACT_HARDSWISH] = row_hardswish,
            [ZF_ACT_MISH] = row_mish,
            [ZF_ACT_LAPLACE] = row_laplace},
    .softmax = row_softmax,
    .logits = row_logits,
    .rope = row_rope,
    .add = row_add,
    .axpy = row_axpy,
    .square = row_square,
    .update = {[ZF_OPTIM_SGD] = row_sgd,
               [ZF_OPTIM_MOMENTUM] = row_momentum,
               [ZF_OPTIM_ADAMW] = row_adamw},
};

#endif
