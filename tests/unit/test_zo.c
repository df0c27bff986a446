/* Zeroth-order optimization on functions whose gradient is known: a quadratic, and a small
 * language model against a forward pass in double written here. */
#include <math.h>

#include "base/file.h"
#include "unit/wide_llama.h"
#include "unit/zo_steps.h"

/* --- a quadratic of two parameters --- */

enum { D1 = 120, D2 = 80, D = D1 + D2 };

/* L(w) = 1/2 sum a_i (w_i - t_i)^2, in double over the f32 weights that a stream sees. */
struct quadratic {
  float w[D];
  double a[D], t[D];
  struct zf_param p[2];
  struct zf_params ps;
  int calls, fail_at;
};

static void quadratic_init(struct quadratic *q) {
  memset(q, 0, sizeof *q);
  for (int i = 0; i < D; i++) {
    q->w[i] = (float)(1 + i % 7) * 0.3f - 1;
    q->a[i] = 0.5 + 0.1 * (i % 11);
    q->t[i] = 0.2 * (i % 5) - 0.4;
  }
  q->p[0] = (struct zf_param){.name = "a",
                              .data = q->w,
                              .ndim = 1,
                              .shape = {D1},
                              .count = D1,
                              .id = 0,
                              .trained = 1,
                              .decayed = 1};
  q->p[1] = (struct zf_param){
      .name = "b", .data = q->w + D1, .ndim = 1, .shape = {D2}, .count = D2, .id = 1, .trained = 1};
  q->ps = (struct zf_params){.param = q->p, .count = 2};
}

static void seen(const struct quadratic *q, const struct zf_perturb *pt, float out[2][D]) {
  for (int k = 0; k < 2; k++) {
    struct zf_noise noise = pt->direction;
    noise.param = q->p[k].id;
    zf_perturb_vec(out[0] + (k ? D1 : 0), D, q->p[k].data, q->p[k].type, 0, q->p[k].count,
                   q->p[k].trained ? &noise : NULL, NULL, &pt->streams);
  }
}

static int quadratic_loss(void *ctx, const struct zf_perturb *pt, int wide,
                          struct zf_zo_losses *losses) {
  (void)wide;
  struct quadratic *q = ctx;
  float w[2][D];
  if (q->fail_at && ++q->calls == q->fail_at) return zf_error(ZF_EDIVERGED, "as asked");
  seen(q, pt, w);
  for (int s = 0; s < pt->streams.count; s++) {
    losses->batch[s] = 0;
    for (int i = 0; i < D; i++) {
      double d = (double)w[s][i] - q->t[i];
      losses->batch[s] += 0.5 * q->a[i] * d * d;
    }
  }
  return 0;
}

static double gradient(const struct quadratic *q, int i) {
  return q->a[i] * ((double)q->w[i] - q->t[i]);
}

/* z of a probe over both parameters. */
static void direction(const struct zf_zo *zo, uint32_t step, int probe, float z[D]) {
  struct zf_noise k = zf_perturb_spsa(zo->seed, step, (uint16_t)probe, zo->direction, 0).direction;
  k.param = 0;
  zf_noise_ref(z, &k, 0, D1);
  k.param = 1;
  zf_noise_ref(z + D1, &k, 0, D2);
}

/* The central difference of a quadratic is exact, so g misses z . grad only by roundings: each
 * weight that a stream sees is off by u |w'| (u = 2^-24), which moves its loss by a |w' - t| u |w'|
 * to first order; and the double sums by D 2^-53 L.  Both sides, over 2 eps. */
static void check_projection(int kind) {
  struct quadratic q;
  struct zf_zo zo = {.seed = 11, .eps = 1e-3, .probes = 5, .direction = kind};
  struct zf_zo_estimate estimate = new_estimate(&zo);
  int sharp = 0;
  quadratic_init(&q);
  ck_ok(zf_zo_open(&q.ps, &zo));
  ck_ok(zf_zo_estimate(&q.ps, 3, 0, quadratic_loss, &q, &estimate));
  for (int p = 0; p < 5; p++) {
    float z[D], w[2][D];
    struct zf_perturb pt = zf_perturb_spsa(zo.seed, 3, (uint16_t)p, kind, 1e-3f);
    double plus = estimate.loss[2 * p], minus = estimate.loss[2 * p + 1],
           g = estimate.term[p].coefficient;
    double want = 0, bound = D * 0x1p-53 * (plus + minus);
    direction(&zo, 3, p, z);
    seen(&q, &pt, w);
    for (int i = 0; i < D; i++) {
      if (kind == ZF_RADEMACHER) ck_assert(fabsf(z[i]) == 1);
      want += (double)z[i] * gradient(&q, i);
      for (int s = 0; s < 2; s++)
        bound += 1.01 * q.a[i] * fabs((double)w[s][i] - q.t[i]) * 0x1p-24 * fabs((double)w[s][i]);
    }
    bound /= 2e-3;
    ck_assert_msg(fabs(g - want) <= bound, "g %.9g, z.grad %.9g, bound %.2g", g, want, bound);
    ck_assert_double_eq_tol(g, (plus - minus) / (2 * (double)1e-3f), 1e-12 * fabs(want));
    ck_assert(estimate.term[p].step == 3 && estimate.term[p].probe == p);
    ck_assert(estimate.term[p].example == 0 && zf_zo_gradient(&zo, &estimate, p) == g);
    if (fabs(want) > 50 * bound) sharp++;
  }
  ck_assert_int_ge(sharp, 3); /* or the comparison would say little */
  free_estimate(&estimate);
  zf_zo_close(&q.ps);
}

START_TEST(test_projection) {
  check_projection(ZF_GAUSSIAN);
  check_projection(ZF_RADEMACHER);
}
END_TEST

/* -(1/q) sum g z, read off an update of zeros with learning rate 1. */
static void estimate(struct quadratic *q, const struct zf_zo *zo, uint32_t step, float out[D]) {
  struct zf_zo_estimate estimated = new_estimate(zo);
  struct zf_param p[2] = {q->p[0], q->p[1]};
  struct zf_params ps = {.param = p, .count = 2};
  memset(out, 0, sizeof *out * D);
  p[0].data = out;
  p[1].data = out + D1;
  ck_ok(zf_zo_open(&ps, zo));
  ck_ok(zf_zo_estimate(&ps, step, 1, quadratic_loss, q, &estimated));
  update_step(&ps, zo, step, &estimated, 1, 0);
  zf_zo_close(&ps);
  free_estimate(&estimated);
}

static double squared_cosine(const struct quadratic *q, const float *est) {
  double xy = 0, xx = 0, yy = 0;
  for (int i = 0; i < D; i++) {
    double x = -(double)est[i], y = gradient(q, i);
    xy += x * y;
    xx += x * x;
    yy += y * y;
  }
  ck_assert(xy > 0);
  return xy * xy / (xx * yy);
}

/* With Gaussian directions and the gradient along e1, the estimate is a e1 + b where
 * n a = X ~ chi2(n) and, given X, b ~ N(0, X / n^2) in the other d - 1 dimensions.  So
 * cos^2 = X / (X + Y) with Y ~ chi2(d - 1): Beta(n/2, (d-1)/2), mean n / (n + d - 1).
 * The mean over REPEAT steps lies within 5 of its standard deviations. */
START_TEST(test_cosine) {
  enum { REPEAT = 40 };
  static const int probes[] = {1, 4, 16, 64, 256};
  struct quadratic q;
  double last = 0;
  quadratic_init(&q);
  for (size_t k = 0; k < sizeof probes / sizeof *probes; k++) {
    struct zf_zo zo = {.seed = 5 + k, .eps = 1e-2, .probes = probes[k]};
    double mean = 0, n = probes[k], d = D;
    for (uint32_t r = 0; r < REPEAT; r++) {
      float est[D];
      estimate(&q, &zo, r + 1, est);
      mean += squared_cosine(&q, est) / REPEAT;
    }
    double want = n / (n + d - 1);
    double var = 2 * n * (d - 1) / ((n + d - 1) * (n + d - 1) * (n + d + 1));
    ck_assert_msg(fabs(mean - want) <= 5 * sqrt(var / REPEAT), "%d probes: cos^2 %.4f, not %.4f",
                  probes[k], mean, want);
    ck_assert(mean > last);
    last = mean;
  }
}
END_TEST

/* w <- fma(-lr decay, w, w), then fma(-lr g_p / q, z_p, w) for each probe in turn: to the bit,
 * decay only where it applies, nothing where nothing is trained. */
START_TEST(test_update) {
  struct quadratic q;
  struct zf_zo zo = {.seed = 77, .eps = 1e-3, .probes = 3, .direction = _i};
  static const double g[3] = {2.5, -0.75, 1e-4};
  struct zf_zo_estimate estimate = new_estimate(&zo);
  float z[3][D], want[D];
  double lr = 3e-3, decay = 0.1;
  quadratic_init(&q);
  for (int p = 0; p < 3; p++) direction(&zo, 9, p, z[p]);
  for (int i = 0; i < D; i++) {
    want[i] = q.w[i];
    if (i < D1) want[i] = fmaf(-(float)(lr * decay), want[i], want[i]);
    for (int p = 0; p < 3; p++) want[i] = fmaf((float)(-lr * g[p] / 3), z[p][i], want[i]);
  }
  ck_ok(zf_zo_open(&q.ps, &zo));
  for (int p = 0; p < 3; p++) set_term(&estimate, &zo, 9, p, g[p]);
  update_step(&q.ps, &zo, 9, &estimate, lr, decay);
  ck_assert_mem_eq(q.w, want, sizeof want);
  q.p[1].trained = 0;
  for (int p = 0; p < 3; p++) set_term(&estimate, &zo, 10, p, g[p]);
  update_step(&q.ps, &zo, 10, &estimate, lr, decay);
  ck_assert_mem_eq(q.w + D1, want + D1, sizeof(float) * D2);
  ck_assert(memcmp(q.w, want, sizeof(float) * D1) != 0);
  free_estimate(&estimate);
  zf_zo_close(&q.ps);
}
END_TEST

START_TEST(test_loss_fails) {
  struct quadratic q;
  struct zf_zo zo = {.seed = 1, .eps = 1e-3, .probes = 4};
  struct zf_zo_estimate estimate = new_estimate(&zo);
  quadratic_init(&q);
  ck_ok(zf_zo_open(&q.ps, &zo));
  q.fail_at = 3;
  ck_fails(zf_zo_estimate(&q.ps, 1, 0, quadratic_loss, &q, &estimate), ZF_EDIVERGED, "as asked");
  ck_assert_int_eq(q.calls, 3);
  free_estimate(&estimate);
  zf_zo_close(&q.ps);
}
END_TEST

/* --- stochastic rounding --- */

/* A parameter of n half-size floats, all `value` at first. */
static struct zf_param half_param(uint16_t *w, int64_t n, enum zf_dtype type, float value) {
  for (int64_t i = 0; i < n; i++) zf_from_f32(w + i, &value, type, 1);
  return (struct zf_param){.name = "w",
                           .data = w,
                           .type = type,
                           .ndim = 1,
                           .shape = {n},
                           .count = n,
                           .trained = 1,
                           .decayed = 1};
}

static double mean_of(const uint16_t *w, int64_t n, enum zf_dtype type) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) {
    float f;
    zf_to_f32(&f, w + i, type, 1);
    sum += (double)f;
  }
  return sum / (double)n;
}

enum { ROUNDED = 4096, STEPS = 200 };

static void decay_steps(uint16_t *w, enum zf_dtype type, uint64_t seed, double rate) {
  struct zf_param p = half_param(w, ROUNDED, type, 1.5f);
  struct zf_params ps = {.param = &p, .count = 1};
  struct zf_zo zo = {.seed = seed, .eps = 1, .probes = 1};
  struct zf_zo_estimate none = new_estimate(&zo);
  ck_ok(zf_zo_open(&ps, &zo));
  for (uint32_t s = 1; s <= STEPS; s++) update_step(&ps, &zo, s, &none, 1, rate);
  zf_zo_close(&ps);
  free_estimate(&none);
}

/* Decay alone is a known step, a twentieth of the spacing u of the format: nearest rounding would
 * never move.  The rounded weight less its expectation is a martingale whose steps have variance
 * u^2/4 at most: the mean of n walks of T steps stays within 5 u sqrt(T / 4n). */
static void check_unbiased(enum zf_dtype type, double u) {
  uint16_t a[ROUNDED], b[ROUNDED];
  double rate = u / 32, bound = 5 * u * sqrt(STEPS / (4.0 * ROUNDED));
  decay_steps(a, type, 3, rate);
  double want = 1.5 * pow(1 - (double)(float)rate, STEPS), got = mean_of(a, ROUNDED, type);
  ck_assert_msg(fabs(got - want) <= bound, "mean %.6f, not %.6f (%.2g)", got, want, bound);
  ck_assert(1.5 - want > 10 * bound);
  decay_steps(b, type, 3, rate);
  ck_assert_mem_eq(a, b, sizeof a);
  decay_steps(b, type, 4, rate);
  ck_assert(memcmp(a, b, sizeof a) != 0);
}

START_TEST(test_rounding_unbiased) {
  check_unbiased(ZF_BF16, 0x1p-7);
  check_unbiased(ZF_F16, 0x1p-10);
}
END_TEST

/* METHODS 5.3: the share of an intended step of lr |g| = 1e-6 that weights of N(0, 0.02) take.
 * One element moves by a spacing u with probability |d|/u, so the projection
 * sum (dw d) / sum d^2 has mean 1 and variance sum(u |d| d^2) / (sum d^2)^2 at most. */
static void check_survival(enum zf_dtype type, int mantissa) {
  enum { N = 1 << 19 };
  struct zf_noise k = {.seed = 2, .use = ZF_USE_INIT};
  float *w = zf_calloc(N, sizeof *w), *z = zf_calloc(N, sizeof *z);
  uint16_t *h = zf_calloc(N, sizeof *h);
  struct zf_param p = {
      .name = "w", .data = h, .type = type, .ndim = 1, .shape = {N}, .count = N, .trained = 1};
  struct zf_zo zo = {.seed = 6, .eps = 1, .probes = 1};
  struct zf_params ps = {.param = &p, .count = 1};
  struct zf_zo_estimate one = new_estimate(&zo);
  ck_assert(w && z && h);
  zf_noise_ref(w, &k, 0, N);
  for (int64_t i = 0; i < N; i++) w[i] *= 0.02f;
  zf_from_f32(h, w, type, N);
  zf_to_f32(w, h, type, N);
  k = zf_perturb_spsa(6, 1, 0, ZF_GAUSSIAN, 0).direction;
  zf_noise_ref(z, &k, 0, N);
  ck_ok(zf_zo_open(&ps, &zo));
  set_term(&one, &zo, 1, 0, 1);
  update_step(&ps, &zo, 1, &one, 1e-6, 0);
  zf_zo_close(&ps);
  free_estimate(&one);
  double dot = 0, square = 0, var = 0;
  for (int64_t i = 0; i < N; i++) {
    float now;
    int e;
    double d = -(double)1e-6f * (double)z[i];
    zf_to_f32(&now, h + i, type, 1);
    frexp((double)w[i], &e);
    if (type == ZF_F16 && e < -13) e = -13; /* subnormals are as far apart as 2^-14 */
    dot += ((double)now - (double)w[i]) * d;
    square += d * d;
    var += ldexp(1, e - 1 - mantissa) * fabs(d) * d * d;
  }
  double bound = 5 * sqrt(var) / square;
  ck_assert(bound < 0.2);
  ck_assert_msg(fabs(dot / square - 1) <= bound, "projection %.4f, bound %.3f", dot / square,
                bound);
  free(w);
  free(z);
  free(h);
}

START_TEST(test_rounding_survives) {
  check_survival(ZF_BF16, 7);
  check_survival(ZF_F16, 10);
}
END_TEST

/* --- a language model --- */

/* 200 steps at learning rate 0, decay and all, leave every bit. */
START_TEST(test_zero_rate) {
  static const int type[] = {ZF_F32, ZF_F16, ZF_BF16};
  struct text x;
  struct zf_model *m = open_family(2, "*", type[_i]);
  text_init(&x, m, 8);
  struct zf_zo zo = {.seed = 8, .eps = 1e-3, .probes = 1};
  struct zf_zo_estimate estimate = new_estimate(&zo);
  char before[33], after[33];
  ck_ok(zf_zo_open(&m->params, &zo));
  ck_ok(zf_params_hash(&m->params, before));
  for (uint32_t step = 1; step <= 200; step++) {
    ck_ok(zf_zo_estimate(&m->params, step, 0, text_loss, &x, &estimate));
    ck_assert(estimate.term[0].coefficient != 0);
    update_step(&m->params, &zo, step, &estimate, 0, 0.1);
  }
  ck_ok(zf_params_hash(&m->params, after));
  ck_assert_str_eq(after, before);
  set_term(&estimate, &zo, 201, 0, estimate.term[0].coefficient);
  update_step(&m->params, &zo, 201, &estimate, 1e-2, 0);
  ck_ok(zf_params_hash(&m->params, after));
  ck_assert_str_ne(after, before);
  free_estimate(&estimate);
  zf_zo_close(&m->params);
  zf_forward_free(x.f);
  zf_model_free(m);
}
END_TEST

/* g against the directional derivative.  Three errors, each bounded apart:
 *  - the central difference at eps itself: in double, it less its limit by Richardson
 *    (4 D(h/2) - D(h)) / 3 at h = eps / 8, whose own error is of order h^4;
 *  - weights of a stream rounded to f32: an eps z of 2^-24 |w| noise, far below the next;
 *  - the losses in f32.  A token's NLL passes about 6 roundings of sums of K <= 172 terms for
 *    each of the layers and one more; as a random walk sqrt(K (6 layers + 1)) roundings of a
 *    number of the logits' size, 2^-24 * 20; and the mean of n tokens is steadier by sqrt(n).
 *    Five standard deviations of both losses together, over 2 eps. */
static void check_derivative(struct zf_model *m, int64_t n, float eps) {
  struct text x;
  struct wide *y = zf_calloc(1, sizeof *y);
  struct zf_zo zo = {.seed = 31, .eps = (double)eps, .probes = 1};
  ck_assert_ptr_nonnull(y);
  y->c = &m->config;
  text_init(&x, m, n);
  struct zf_zo_estimate estimate = new_estimate(&zo);
  ck_ok(zf_zo_open(&m->params, &zo));
  for (uint32_t step = 1; step <= 4; step++) {
    struct zf_perturb pt = zf_perturb_spsa(31, step, 0, ZF_GAUSSIAN, eps);
    double d[3], h = (double)eps;
    ck_ok(zf_zo_estimate(&m->params, step, 0, text_loss, &x, &estimate));
    double g = estimate.term[0].coefficient;
    for (int k = 0; k < 3; k++, h = k == 1 ? h / 8 : h / 2)
      d[k] = (wide_at(y, &x, &pt, h) - wide_at(y, &x, &pt, -h)) / (2 * h);
    double exact = (4 * d[2] - d[1]) / 3, K = (double)m->config.ffn;
    double walk = 20 * 0x1p-24 * sqrt(K * (6.0 * (double)m->config.layers + 1) / (double)n);
    double rounding = 5 * sqrt(2) * walk / (2 * (double)eps);
    ck_assert_msg(fabs(g - d[0]) <= rounding, "g %.7g, in double %.7g, bound %.2g", g, d[0],
                  rounding);
    ck_assert_msg(fabs(g - exact) <= rounding + fabs(d[0] - exact), "g %.7g, derivative %.7g", g,
                  exact);
    ck_assert_msg(fabs(d[0] - exact) <= 0.05 * fabs(exact) + 0.05, "eps is too large to compare");
    if (getenv("CK_VERBOSE"))
      printf("g %.6f  in double %.6f (bound %.2g)  derivative %.6f\n", g, d[0], rounding, exact);
  }
  free_estimate(&estimate);
  zf_zo_close(&m->params);
  zf_forward_free(x.f);
  free(y);
}

START_TEST(test_derivative_family) {
  struct zf_model *m = open_family(0, "*", -1);
  check_derivative(m, 10, 1e-3f);
  zf_model_free(m);
}
END_TEST

START_TEST(test_derivative_trained) {
  const char *root = getenv("ZOFT_SHARED"), *globs[1] = {"*"};
  struct zf_model_opts o = {.dtype = -1, .trainable = globs, .ntrainable = 1};
  char dir[512];
  snprintf(dir, sizeof dir, "%s/models/llama-stories260k", root ? root : "../shared");
  if (!zf_is_dir(dir)) {
    printf("SKIP %s: no such directory\n", dir);
    return;
  }
  struct zf_model *m = open_model(dir, &o);
  check_derivative(m, 40, 1e-3f);
  zf_model_free(m);
}
END_TEST

int main(void) {
  Suite *s = suite_create("zo");
  TCase *t = tcase_create("zo");
  begin_kernels();
  tcase_set_timeout(t, 300);
  tcase_add_test(t, test_projection);
  tcase_add_test(t, test_cosine);
  tcase_add_loop_test(t, test_update, ZF_GAUSSIAN, ZF_RADEMACHER + 1);
  tcase_add_test(t, test_loss_fails);
  tcase_add_test(t, test_rounding_unbiased);
  tcase_add_test(t, test_rounding_survives);
  tcase_add_loop_test(t, test_zero_rate, 0, 3);
  tcase_add_test(t, test_derivative_family);
  tcase_add_test(t, test_derivative_trained);
  suite_add_tcase(s, t);
  return unit_run(s);
}
