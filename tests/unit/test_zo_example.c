/* Directions by example on a function whose gradient is known: the estimate's mean and variance, g of
 * every example, and its update, to the bit. */
#include <math.h>

#include "base/cpu.h"
#include "unit/estimate_law.h"
#include "unit/zo_steps.h"

enum { D1 = 120, D2 = 80, D = D1 + D2, B = 16 };

/* L = sum_i L_i with L_i(w) = 1/(2 B) sum_j a_j (w_j - t_ij)^2, in double over the f32 weights that an
 * example sees. */
struct bowls {
  float w[D];
  double a[D], t[B][D];
  double gradient[B][D], sum[D]; /* of L_i, of L */
  double loss[2 * B];
  struct zf_param param[2];
  struct zf_params params;
};

/* Targets t_j + 2.7 z_ij: the examples' gradients differ by some 7 times the square of their mean, as
 * measured on a language model (METHODS.md: 7.3). */
static void bowls_init(struct bowls *q) {
  memset(q, 0, sizeof *q);
  struct zf_noise noise = {.seed = 3, .use = ZF_USE_INIT};
  float z[B * D];
  zf_noise_ref(z, &noise, 0, B * D);
  for (int j = 0; j < D; j++) {
    q->w[j] = (float)(1 + j % 7) * 0.3f - 1;
    q->a[j] = 0.5 + 0.1 * (j % 11);
    for (int i = 0; i < B; i++) {
      q->t[i][j] = (double)q->w[j] + (j % 2 ? 1 : -1) + 2.7 * (double)z[i * D + j];
      q->gradient[i][j] = q->a[j] * ((double)q->w[j] - q->t[i][j]) / B;
      q->sum[j] += q->gradient[i][j];
    }
  }
  for (int k = 0; k < 2; k++)
    q->param[k] = (struct zf_param){.name = k ? "b" : "a",
                                    .data = q->w + (k ? D1 : 0),
                                    .ndim = 1,
                                    .shape = {k ? D2 : D1},
                                    .count = k ? D2 : D1,
                                    .id = (uint32_t)k,
                                    .trained = 1,
                                    .decayed = !k};
  q->params = (struct zf_params){.param = q->param, .count = 2};
}

/* The weights that example i sees on both streams. */
static void seen(const struct bowls *q, const struct zf_perturb *perturb, int i, float w[2][D]) {
  for (int k = 0; k < 2; k++) {
    struct zf_noise noise = perturb->direction;
    noise.param = q->param[k].id;
    if (perturb->by_example) zf_noise_example(&noise, i);
    zf_perturb_vec(w[0] + (k ? D1 : 0), D, q->param[k].data, ZF_F32, 0, q->param[k].count, &noise,
                   NULL, &perturb->streams);
  }
}

static int bowls_loss(void *ctx, const struct zf_perturb *perturb, int wide,
                      struct zf_zo_losses *losses) {
  (void)wide;
  struct bowls *q = ctx;
  float w[2][D];
  losses->batch[0] = losses->batch[1] = 0;
  ck_assert_int_le(perturb->streams.count, 2);
  for (int i = 0; i < B; i++) {
    seen(q, perturb, i, w);
    for (int s = 0; s < perturb->streams.count; s++) {
      double loss = 0;
      for (int j = 0; j < D; j++)
        loss += q->a[j] * ((double)w[s][j] - q->t[i][j]) * ((double)w[s][j] - q->t[i][j]) / (2 * B);
      q->loss[s * B + i] = loss;
      losses->batch[s] += loss;
    }
  }
  losses->example = q->loss;
  return 0;
}

/* The estimate, read off an update of zeros with learning rate -1. */
static void estimate_of(struct bowls *q, const struct zf_zo *zo, uint32_t step, float out[D]) {
  struct zf_zo_estimate estimate = new_estimate(zo);
  struct zf_param param[2] = {q->param[0], q->param[1]};
  struct zf_params params = {.param = param, .count = 2};
  memset(out, 0, sizeof *out * D);
  param[0].data = out;
  param[1].data = out + D1;
  ck_ok(zf_zo_open(&params, zo));
  ck_ok(zf_zo_estimate(&params, step, -1, bowls_loss, q, &estimate));
  update_step(&params, zo, step, &estimate, -1, 0);
  zf_zo_close(&params);
  free_estimate(&estimate);
}

enum { REPEAT = 3000 };

/* The mean squared error of REPEAT estimates is the law's within 5 of its standard deviations; and the
 * estimates' mean is the gradient: its squared error has the mean M / REPEAT, M the law's, and the
 * variance 2 tr(C^2) / REPEAT^2 + Var / REPEAT^3, where tr(C^2) <= (d + 3) S^2. */
static double check_law(struct bowls *q, int64_t examples, const struct error_law *law) {
  struct zf_zo zo = {.seed = 5, .eps = 1e-2, .probes = 1, .examples = examples};
  double squares = 0, sum[D] = {0}, error[D], n = REPEAT;
  for (uint32_t step = 1; step <= REPEAT; step++) {
    float e[D];
    estimate_of(q, &zo, step, e);
    for (int j = 0; j < D; j++) {
      error[j] = (double)e[j] - q->sum[j];
      sum[j] += error[j] / n;
    }
    squares += dot64(error, error, D) / n;
  }
  double bound = 5 * sqrt(law->variance / n), mean = dot64(sum, sum, D);
  ck_assert_msg(fabs(squares - law->mean) <= bound,
                "%d directions: squared error %.4g, law %.4g +- %.2g", (int)examples, squares,
                law->mean, bound);
  double spread = 2 * (D + 3) * law->square * law->square + law->variance / n;
  ck_assert_msg(mean <= law->mean / n + 5 * sqrt(spread) / n, "bias: %.4g, law %.4g", mean,
                law->mean / n);
  return squares;
}

/* A batch of 16 with directions by example has a variance that is smaller by |G|^2 / sum |G_i|^2, the
 * formula of METHODS.md for a given batch. */
START_TEST(test_variance) {
  struct bowls *q = calloc(1, sizeof *q);
  bowls_init(q);
  struct error_law batch = error_law_of(q->sum, 1, D), example = error_law_of(q->gradient[0], B, D);
  double gain = batch.mean / example.mean;
  double seen_gain = check_law(q, 0, &batch) / check_law(q, B, &example);
  if (getenv("CK_VERBOSE"))
    printf("variance of batch / by example: %.3f measured, %.3f by the law\n", seen_gain, gain);
  /* Or the two laws could not be told apart. */
  ck_assert(batch.mean - 5 * sqrt(batch.variance / REPEAT) >
            example.mean + 5 * sqrt(example.variance / REPEAT));
  free(q);
}
END_TEST

/* g_i against z_i . G_i, within the roundings of the weights that the streams see (test_zo.c). */
START_TEST(test_projections) {
  struct bowls *q = calloc(1, sizeof *q);
  struct zf_zo zo = {.seed = 11, .eps = 1e-3, .probes = 3, .examples = B, .direction = _i};
  struct zf_zo_estimate estimate = new_estimate(&zo);
  float w[2][D];
  int sharp = 0;
  bowls_init(q);
  ck_ok(zf_zo_open(&q->params, &zo));
  ck_ok(zf_zo_estimate(&q->params, 3, 0, bowls_loss, q, &estimate));
  for (int p = 0; p < 3; p++) {
    struct zf_perturb perturb = zf_perturb_spsa(11, 3, (uint16_t)p, _i, 1e-3f);
    double sum = 0, sizes = 0, eps = (double)perturb.streams.eps[0];
    perturb.by_example = 1;
    for (int i = 0; i < B; i++) {
      double want = 0, bound = D * 0x1p-53 * 2 * (q->loss[i] + q->loss[B + i]);
      seen(q, &perturb, i, w);
      for (int j = 0; j < D; j++) {
        want += ((double)w[0][j] - (double)w[1][j]) / (2 * eps) * q->gradient[i][j];
        for (int s = 0; s < 2; s++)
          bound += 1.01 * q->a[j] / B * fabs((double)w[s][j] - q->t[i][j]) * 0x1p-23 *
                   fabs((double)w[s][j]);
      }
      bound = bound / (2 * eps) + 0x1p-24 * fabs(want);
      const struct zf_zo_term *term = &estimate.term[p * B + i];
      double got = term->coefficient;
      ck_assert(term->step == 3 && term->probe == p && term->example == 1 + i);
      ck_assert(got == (double)(float)got); /* as the log holds it */
      ck_assert_msg(fabs(got - want) <= bound, "g %.9g, not %.9g, bound %.2g", got, want, bound);
      sharp += fabs(want) > 50 * bound;
      sum += got;
      sizes += fabs(got);
    }
    /* Each g_i is rounded to float; the losses are sums of doubles. */
    double plus = estimate.loss[2 * p], minus = estimate.loss[2 * p + 1];
    double g = zf_zo_gradient(&zo, &estimate, p), rounding = 0x1.01p-24 * sizes;
    ck_assert_double_eq_tol(g, (plus - minus) / (2 * eps), 1e-9 * fabs(g));
    rounding += 2 * B * 0x1p-53 * (plus + minus) / (2 * eps);
    ck_assert(fabs(sum - g) <= rounding);
  }
  ck_assert_int_ge(sharp, 2 * B);
  free_estimate(&estimate);
  zf_zo_close(&q->params);
  free(q);
}
END_TEST

static double loss_of(const struct bowls *q, int i, const float *w) {
  double loss = 0;
  for (int j = 0; j < D; j++)
    loss += q->a[j] * ((double)w[j] - q->t[i][j]) * ((double)w[j] - q->t[i][j]) / (2 * B);
  return loss;
}

/* (L_i(w + eps z_i) - L_i(w)) / eps of every example, rounded to float; L(w) once a step.  Both sides sum
 * the same losses in double, L_i of some ten. */
START_TEST(test_one_sided) {
  struct bowls *q = calloc(1, sizeof *q);
  struct zf_zo zo = {.seed = 11,
                     .eps = 1e-3,
                     .probes = 3,
                     .examples = B,
                     .difference = ZF_DIFFERENCE_ONE_SIDED,
                     .direction = _i};
  struct zf_zo_estimate estimate = new_estimate(&zo);
  float w[2][D];
  double eps = (double)1e-3f;
  bowls_init(q);
  ck_ok(zf_zo_open(&q->params, &zo));
  ck_ok(zf_zo_estimate(&q->params, 3, 0, bowls_loss, q, &estimate));
  ck_assert_int_eq(zf_zo_losses(&zo), 4);
  for (int p = 0; p < 3; p++) {
    struct zf_perturb perturb = zf_perturb_along(11, 3, (uint16_t)p, _i, 1e-3f);
    double here = 0, there = 0;
    perturb.by_example = 1;
    for (int i = 0; i < B; i++) {
      const struct zf_zo_term *term = &estimate.term[p * B + i];
      seen(q, &perturb, i, w);
      double before = loss_of(q, i, q->w), after = loss_of(q, i, w[0]),
             want = (after - before) / eps;
      here += before;
      there += after;
      ck_assert(term->step == 3 && term->probe == p && term->example == 1 + i);
      ck_assert(fabs(term->coefficient - want) <=
                0x1.01p-24 * fabs(want) + D * 0x1p-52 * (before + after) / eps);
    }
    ck_assert(fabs(estimate.loss[0] - here) <= D * 0x1p-50 * here);
    ck_assert(fabs(estimate.loss[1 + p] - there) <= D * 0x1p-50 * there);
  }
  free_estimate(&estimate);
  zf_zo_close(&q->params);
  free(q);
}
END_TEST

/* fma(-lr g_pi / q, z_pi, w), probe after probe, example after example; an example with g = 0, which a
 * short batch lacks, leaves no trace. */
START_TEST(test_update) {
  struct bowls *q = calloc(1, sizeof *q), *few = calloc(1, sizeof *few);
  struct zf_zo zo = {.seed = 77, .eps = 1e-3, .probes = 2, .examples = B, .direction = _i};
  struct zf_zo three = zo;
  three.examples = 3;
  struct zf_zo_estimate all = new_estimate(&zo), some = new_estimate(&three);
  float want[D], z[D];
  double lr = 3e-3, decay = 0.1;
  bowls_init(q);
  bowls_init(few);
  for (int j = 0; j < D; j++)
    want[j] = j < D1 ? fmaf(-(float)(lr * decay), q->w[j], q->w[j]) : q->w[j];
  for (int p = 0; p < 2; p++)
    for (int i = 0; i < 3; i++) {
      float g = (float)(1 + i) * (p ? -0.3f : 0.2f);
      set_term(&all, &zo, 9, p * B + i, (double)g);
      set_term(&some, &three, 9, p * 3 + i, (double)g);
      for (int k = 0; k < 2; k++) {
        struct zf_noise noise = zf_perturb_spsa(77, 9, (uint16_t)p, _i, 0).direction;
        noise.param = (uint32_t)k;
        zf_noise_example(&noise, i);
        zf_noise_ref(z + (k ? D1 : 0), &noise, 0, k ? D2 : D1);
      }
      for (int j = 0; j < D; j++) want[j] = fmaf((float)(-lr * (double)g / 2), z[j], want[j]);
    }
  ck_ok(zf_zo_open(&q->params, &zo));
  update_step(&q->params, &zo, 9, &all, lr, decay);
  ck_assert_mem_eq(q->w, want, sizeof want);
  ck_ok(zf_zo_open(&few->params, &three));
  update_step(&few->params, &three, 9, &some, lr, decay);
  ck_assert_mem_eq(few->w, want, sizeof want);
  zf_zo_close(&q->params);
  zf_zo_close(&few->params);
  free_estimate(&all);
  free_estimate(&some);
  free(q);
  free(few);
}
END_TEST

/* --- replay, threads, instruction sets --- */

enum { N = 20000, STEPS = 7 };

struct recorded {
  double loss[4]; /* unused by the rule */
  struct zf_zo_term term[STEPS][2 * B];
  struct zf_zo_step step[STEPS];
};

static const struct zf_zo by_example = {.seed = 40, .eps = 1e-3, .probes = 2, .examples = B};

static void record(struct recorded *r) {
  for (int s = 0; s < STEPS; s++) {
    r->step[s] = (struct zf_zo_step){.step = (uint32_t)s + 1,
                                     .seed = 40 + (uint64_t)(s > 3),
                                     .lr = 1e-2 / (1 + s),
                                     .estimate = {r->loss, r->term[s]},
                                     .keep = 0.75,
                                     .add = 0.25};
    for (int i = 0; i < 2 * B; i++)
      set_term(&r->step[s].estimate, &by_example, (uint32_t)s + 1, i,
               (double)((float)((s * 31 + i * 7) % 19 - 9) * 1e-2f));
  }
}

static struct zf_param wide_param(void *w, enum zf_dtype type) {
  static float start[N];
  for (int i = 0; i < N; i++) start[i] = (float)(i % 17) * 0.05f - 0.4f;
  zf_from_f32(w, start, type, N);
  return (struct zf_param){.name = "w",
                           .data = w,
                           .type = type,
                           .ndim = 1,
                           .shape = {N},
                           .count = N,
                           .trained = 1,
                           .decayed = 1};
}

/* Step by step with work of the run's size, and all at once, on any number of threads and with the
 * kernels of any instruction set: the same bits. */
START_TEST(test_replay) {
  enum zf_dtype type = _i ? ZF_BF16 : ZF_F32;
  static float want[N], got[N], mean[N];
  static struct recorded r;
  double start = 1;
  record(&r);
  ck_assert_int_eq(zf_zo_terms(&by_example), 2 * B);
  zf_kern_threads(1);
  zf_kern_init(0);
  struct zf_param param = wide_param(want, type);
  struct zf_params params = {.param = &param, .count = 1};
  ck_ok(zf_zo_open(&params, &by_example));
  for (int s = 0; s < STEPS; s++) zf_zo_update(&params, &r.step[s], 0.01);
  param = wide_param(mean, type);
  ck_ok(zf_zo_replay(&params, r.step, STEPS, 0.01, &start));
  for (int threads = 1; threads <= 3; threads++)
    for (int fast = 0; fast < 2; fast++) {
      zf_kern_threads(threads);
      zf_kern_init(fast ? zf_cpu_flags() : 0);
      param = wide_param(got, type);
      ck_ok(zf_zo_replay(&params, r.step, STEPS, 0.01, NULL));
      ck_assert_mem_eq(got, want, zf_dtype_bytes(type, N));
      param = wide_param(got, type);
      ck_ok(zf_zo_replay(&params, r.step, STEPS, 0.01, &start));
      ck_assert_mem_eq(got, mean, zf_dtype_bytes(type, N));
      ck_assert(memcmp(mean, want, zf_dtype_bytes(type, N)) != 0);
    }
  zf_zo_close(&params);
}
END_TEST

/* So many terms that the replay prepares them in parts. */
START_TEST(test_long_replay) {
  enum { MANY = 4200, FEW = 100 };
  static struct recorded r;
  struct zf_zo_term(*term)[2 * B] = calloc(MANY, sizeof *term);
  struct zf_zo_step *step = calloc(MANY, sizeof *step);
  float want[FEW] = {0}, got[FEW] = {0};
  struct zf_param param = {.name = "w",
                           .data = want,
                           .ndim = 1,
                           .shape = {FEW},
                           .count = FEW,
                           .trained = 1,
                           .decayed = 1};
  struct zf_params params = {.param = &param, .count = 1};
  record(&r);
  ck_ok(zf_zo_open(&params, &by_example));
  for (int s = 0; s < MANY; s++) {
    step[s] = r.step[s % STEPS];
    step[s].step = (uint32_t)s + 1;
    step[s].seed = 40;
    step[s].estimate.term = term[s];
    for (int i = 0; i < 2 * B; i++) {
      term[s][i] = r.term[s % STEPS][i];
      term[s][i].step = (uint32_t)s + 1;
    }
    zf_zo_update(&params, &step[s], 0.01);
  }
  param.data = got;
  ck_ok(zf_zo_replay(&params, step, MANY, 0.01, NULL));
  ck_assert_mem_eq(got, want, sizeof want);
  ck_assert(want[0] != 0);
  ck_ok(zf_zo_replay(&params, step, 0, 0.01, NULL));
  ck_assert_mem_eq(got, want, sizeof want);
  zf_zo_close(&params);
  free(step);
  free(term);
}
END_TEST

START_TEST(test_check) {
  struct zf_zo zo = {.eps = 1, .probes = 1, .examples = ZF_NOISE_EXAMPLES};
  ck_ok(zf_zo_check(&zo));
  zo.examples++;
  ck_fails(zf_zo_check(&zo), ZF_EUSAGE, "expected at most 8191 examples a step, found 8192");
  zo.examples = -1;
  ck_fails(zf_zo_check(&zo), ZF_EUSAGE, "found -1");
  zo.examples = 0;
  zo.rule = ZF_RULES;
  ck_fails(zf_zo_check(&zo), ZF_EUSAGE, "rule 7 is not known");
}
END_TEST

int main(void) {
  Suite *s = suite_create("zo_example");
  TCase *t = tcase_create("zo_example");
  zf_kern_init(zf_cpu_flags());
  tcase_set_timeout(t, 300);
  tcase_add_test(t, test_variance);
  tcase_add_loop_test(t, test_projections, ZF_GAUSSIAN, ZF_RADEMACHER + 1);
  tcase_add_loop_test(t, test_one_sided, ZF_GAUSSIAN, ZF_RADEMACHER + 1);
  tcase_add_loop_test(t, test_update, ZF_GAUSSIAN, ZF_RADEMACHER + 1);
  tcase_add_loop_test(t, test_replay, 0, 2);
  tcase_add_test(t, test_long_replay);
  tcase_add_test(t, test_check);
  suite_add_tcase(s, t);
  return unit_run(s);
}
