/* Adam on zeroth-order estimates: against the same equations in double, by replay, over threads and
 * instruction sets. */
#include <math.h>

#include "base/cpu.h"
#include "unit/zo_steps.h"

enum { D1 = 20000, D2 = 37, D = D1 + D2, PROBES = 2, EXAMPLES = 5, STEPS = 24 };

static const struct zf_zo by_batch = {.seed = 9,
                                      .eps = 1e-3,
                                      .probes = PROBES,
                                      .rule = ZF_RULE_ADAM,
                                      .beta1 = 0.9,
                                      .beta2 = 0.95,
                                      .adam_eps = 1e-8};

/* Two parameters, of which the first decays. */
struct list {
  float w[D];
  struct zf_param param[2];
  struct zf_params params;
};

static struct list *make_list(const struct zf_zo *zo) {
  struct list *l = calloc(1, sizeof *l);
  ck_assert_ptr_nonnull(l);
  for (int i = 0; i < D; i++) l->w[i] = (float)(i % 23) * 0.05f - 0.55f;
  for (int i = 3; i < D; i += 23) l->w[i] = -0.0f;
  for (int k = 0; k < 2; k++)
    l->param[k] = (struct zf_param){.name = k ? "b" : "a",
                                    .data = l->w + (k ? D1 : 0),
                                    .ndim = 1,
                                    .shape = {k ? D2 : D1},
                                    .count = k ? D2 : D1,
                                    .id = (uint32_t)k,
                                    .trained = 1,
                                    .decayed = !k};
  l->params = (struct zf_params){.param = l->param, .count = 2};
  ck_ok(zf_zo_open(&l->params, zo));
  return l;
}

static void free_list(struct list *l) {
  zf_zo_close(&l->params);
  zf_params_free_state(&l->params);
  free(l);
}

static void check_same(const struct list *a, const struct list *b) {
  char x[33], y[33];
  ck_ok(zf_params_hash(&a->params, x)); /* weights and state */
  ck_ok(zf_params_hash(&b->params, y));
  ck_assert_str_eq(x, y);
}

/* Steps with g's of all sizes and signs, some of them 0. */
struct recorded {
  double loss[2 * PROBES]; /* unused by the rule */
  struct zf_zo_term term[STEPS][PROBES * EXAMPLES];
  struct zf_zo_step step[STEPS];
};

static struct recorded *record(const struct zf_zo *zo) {
  struct recorded *r = calloc(1, sizeof *r);
  ck_assert_ptr_nonnull(r);
  for (int s = 0; s < STEPS; s++) {
    r->step[s] = (struct zf_zo_step){.step = (uint32_t)s + 1,
                                     .seed = 9 + (uint64_t)(s > 13),
                                     .lr = 1e-2 / (1 + s % 5),
                                     .estimate = {r->loss, r->term[s]},
                                     .keep = 0.75,
                                     .add = 0.25};
    for (int i = 0; i < zf_zo_terms(zo); i++)
      set_term(&r->step[s].estimate, zo, (uint32_t)s + 1, i,
               zo->examples ? (double)((float)((s * 31 + i * 7) % 19 - 9) * 1e-2f)
                            : ((s * 5 + i * 3) % 7 - 3) * 0.4 / (1 + s % 4));
  }
  return r;
}

static void take_step(struct list *l, const struct zf_zo_step *step) {
  zf_zo_update(&l->params, step, 0.01);
}

/* --- against double --- */

/* One element in double, and bounds of the distance of its f32 values. */
struct exact {
  double w, m, v;
  double w_error, m_error, v_error;
};

/* The estimate of all elements in double, and the bound of its error in f32: with n terms each c z is
 * off by u |c z| of c's rounding, and each of the n sums by u of its size, at most sum |c z|. */
static void estimate_exact(double *e, double *error, const struct zf_zo *zo,
                           const struct zf_zo_step *step) {
  static float z[D];
  int64_t terms = zf_zo_terms(zo);
  for (int i = 0; i < D; i++) e[i] = error[i] = 0;
  for (int64_t t = 0; t < terms; t++) {
    int probe = (int)(zo->examples ? t / zo->examples : t);
    struct zf_noise noise =
        zf_perturb_spsa(step->seed, step->step, (uint16_t)probe, 0, 0).direction;
    if (zo->examples) zf_noise_example(&noise, t % zo->examples);
    zf_noise_ref(z, &noise, 0, D1);
    noise.param = 1;
    zf_noise_ref(z + D1, &noise, 0, D2);
    double g = step->estimate.term[t].coefficient;
    for (int i = 0; i < D; i++) {
      e[i] += g * (double)z[i] / zo->probes;
      error[i] += 0x1.01p-24 * (double)(terms + 1) * fabs(g * (double)z[i]) / zo->probes;
    }
  }
}

/* One step of one element.  u = 2^-24; every operation and every constant of the contract in kern.h is
 * rounded once, and the errors of what goes in are carried to first order, with 2 % for the rest:
 *   m: b1 dm + r de + 3 u (b1 |m| + r |e|)
 *   v: b2 dv + r (2 |e| de + de^2) + u (3 b2 v + 4 r e^2)
 *   s = v scale: scale dv + 2 u s;  root: ds / root + u root;  D = root + eps: d root + u (eps + D)
 *   x = rate m: rate dm + 2 u |x|;  q = x / D, between (|x| - dx) / (D + dD) and (|x| + dx) / (D - dD)
 *   w: dw + dq + u (|q| + |w|), and with decay u (lr decay |w| + |w|) more
 * Returns 0 where dD is not well below D: there the quotient has no bound. */
static int step_exact(struct exact *x, double e, double e_error, const struct zf_zo *zo,
                      const struct zf_zo_step *step, double decay) {
  const double u = 0x1.05p-24, b1 = zo->beta1, b2 = zo->beta2;
  x->m_error =
      b1 * x->m_error + (1 - b1) * e_error + 3 * u * (b1 * fabs(x->m) + (1 - b1) * fabs(e));
  x->v_error = b2 * x->v_error + (1 - b2) * (2 * fabs(e) * e_error + e_error * e_error) +
               u * (3 * b2 * x->v + 4 * (1 - b2) * e * e);
  x->m = b1 * x->m + (1 - b1) * e;
  x->v = b2 * x->v + (1 - b2) * e * e;
  double scale = 1 / (1 - pow(b2, step->step)), rate = step->lr / (1 - pow(b1, step->step));
  double root = sqrt(x->v * scale), size = root + zo->adam_eps, move = rate * x->m;
  double square_error = scale * x->v_error + 2 * u * root * root;
  double size_error = u * (root + zo->adam_eps + size) + (root > 0 ? square_error / root : 0);
  double move_error = rate * x->m_error + 2 * u * fabs(move);
  x->w_error += u * fabs(x->w) * (decay > 0 ? 2 + step->lr * decay : 1);
  x->w -= step->lr * decay * x->w + move / size;
  x->w_error += u * fabs(move / size);
  if (size_error > size / 4) return 0;
  x->w_error += 1.02 * ((fabs(move) + move_error) / (size - size_error) - fabs(move) / size);
  return 1;
}

static void check_double(const struct zf_zo *zo) {
  static double e[D], e_error[D];
  struct exact *x = calloc(D, sizeof *x);
  char *loose = calloc(D, 1);
  struct list *l = make_list(zo);
  struct recorded *r = record(zo);
  int64_t skipped = 0;
  double worst = 0, moved = 0;
  for (int i = 0; i < D; i++) x[i].w = (double)l->w[i];
  for (int s = 0; s < STEPS; s++) {
    take_step(l, &r->step[s]);
    estimate_exact(e, e_error, zo, &r->step[s]);
    for (int i = 0; i < D; i++) {
      const struct zf_param *param = &l->param[i >= D1];
      int64_t at = i < D1 ? i : i - D1;
      if (!step_exact(&x[i], e[i], e_error[i], zo, &r->step[s], i < D1 ? 0.01 : 0)) loose[i] = 1;
      ck_assert(fabs((double)param->state[0][at] - x[i].m) <= x[i].m_error);
      ck_assert(fabs((double)param->state[1][at] - x[i].v) <= x[i].v_error);
      if (loose[i]) continue;
      double error = fabs((double)l->w[i] - x[i].w);
      ck_assert_msg(error <= x[i].w_error, "step %d, element %d: off by %.3g, bound %.3g", s + 1, i,
                    error, x[i].w_error);
      worst = fmax(worst, error / x[i].w_error);
    }
  }
  for (int i = 0; i < D; i++) {
    skipped += loose[i];
    moved += x[i].w_error / D;
  }
  if (getenv("CK_VERBOSE"))
    printf("%lld directions: worst error %.2f of its bound, mean bound %.2g, %lld of %d skipped\n",
           (long long)zf_zo_terms(zo), worst, moved, (long long)skipped, D);
  ck_assert(skipped < D / 100);
  free(x);
  free(loose);
  free_list(l);
  free(r);
}

START_TEST(test_double) {
  struct zf_zo by_example = by_batch;
  by_example.examples = EXAMPLES;
  check_double(_i ? &by_example : &by_batch);
}
END_TEST

/* The first step moves each weight by lr against the sign of its estimate: m / (1 - b1) = e and
 * v / (1 - b2) = e^2.  Five roundings, and eps / |e|. */
START_TEST(test_first_step) {
  struct zf_zo zo = by_batch;
  static float z[D1];
  zo.probes = 1;
  struct list *l = make_list(&zo), *start = make_list(&zo);
  struct zf_zo_estimate estimate = new_estimate(&zo);
  set_term(&estimate, &zo, 1, 0, -2);
  update_step(&l->params, &zo, 1, &estimate, 0.25, 0);
  free_estimate(&estimate);
  struct zf_noise noise = zf_perturb_spsa(zo.seed, 1, 0, zo.direction, 0).direction;
  zf_noise_ref(z, &noise, 0, D1);
  for (int i = 0; i < D1; i++) {
    double e = -2 * (double)z[i], want = e > 0 ? -0.25 : 0.25;
    double bound = 0.25 * (8 * 0x1p-24 + zo.adam_eps / fabs(e)) + 0x1p-24;
    ck_assert(fabs((double)l->w[i] - (double)start->w[i] - want) <= bound);
  }
  free_list(l);
  free_list(start);
}
END_TEST

/* --- replay, threads, instruction sets --- */

static void check_replay(const struct zf_zo *zo) {
  struct recorded *r = record(zo);
  struct list *want = make_list(zo), *mean = make_list(zo);
  double start = 1;
  zf_kern_threads(1);
  zf_kern_init(0);
  for (int s = 0; s < STEPS; s++) take_step(want, &r->step[s]);
  ck_ok(zf_zo_replay(&mean->params, r->step, STEPS, 0.01, &start));
  ck_assert(memcmp(mean->w, want->w, sizeof mean->w) != 0);
  for (int k = 0; k < 2; k++)
    for (int j = 0; j < 2; j++)
      ck_assert_mem_eq(mean->param[k].state[j], want->param[k].state[j],
                       sizeof(float) * (size_t)want->param[k].count);
  for (int threads = 1; threads <= 3; threads++)
    for (int cut = 0; cut <= STEPS; cut += 8) {
      struct list *l = make_list(zo);
      zf_kern_threads(threads);
      zf_kern_init(cut % 16 ? 0 : zf_cpu_flags());
      ck_ok(zf_zo_replay(&l->params, r->step, cut, 0.01, NULL));
      ck_ok(zf_zo_replay(&l->params, r->step + cut, STEPS - cut, 0.01, NULL));
      check_same(l, want);
      free_list(l);
      l = make_list(zo);
      ck_ok(zf_zo_replay(&l->params, r->step, STEPS, 0.01, &start));
      check_same(l, mean);
      free_list(l);
    }
  free_list(want);
  free_list(mean);
  free(r);
}

START_TEST(test_replay) {
  struct zf_zo by_example = by_batch;
  by_example.examples = EXAMPLES;
  check_replay(_i ? &by_example : &by_batch);
}
END_TEST

/* An exponential mean, against sums in double over the weights of every step: rounded once. */
START_TEST(test_mean) {
  struct recorded *r = record(&by_batch);
  struct list *l = make_list(&by_batch), *got = make_list(&by_batch);
  static double mean[D];
  double start = 1;
  for (int i = 0; i < D; i++) mean[i] = (double)l->w[i];
  for (int s = 0; s < STEPS; s++) {
    take_step(l, &r->step[s]);
    for (int i = 0; i < D; i++) mean[i] = 0.75 * mean[i] + 0.25 * (double)l->w[i];
  }
  ck_ok(zf_zo_replay(&got->params, r->step, STEPS, 0.01, &start));
  for (int i = 0; i < D; i++)
    ck_assert(fabs((double)got->w[i] - mean[i]) <= fabs(mean[i]) * 0x1.01p-24 + 0x1p-149);
  free_list(l);
  free_list(got);
  free(r);
}
END_TEST

/* A step that is left out of a replay has the learning rate 0: no bit of a weight changes, while m and
 * v do. */
START_TEST(test_rate_zero) {
  struct recorded *r = record(&by_batch);
  struct list *l = make_list(&by_batch), *start = make_list(&by_batch);
  float state[2];
  for (int s = 0; s < 3; s++) {
    r->step[s].lr = 0;
    take_step(l, &r->step[s]);
    ck_assert_mem_eq(l->w, start->w, sizeof l->w);
    ck_assert(!s || l->param[0].state[0][5] != state[0]);
    ck_assert(!s || l->param[0].state[1][5] != state[1]);
    for (int j = 0; j < 2; j++) state[j] = l->param[0].state[j][5];
  }
  ck_assert(state[0] != 0 && state[1] > 0);
  free_list(l);
  free_list(start);
  free(r);
}
END_TEST

/* An estimate of 0 at the beginning divides 0 by eps. */
START_TEST(test_nothing) {
  struct list *l = make_list(&by_batch), *start = make_list(&by_batch);
  struct zf_zo_estimate none = new_estimate(&by_batch);
  update_step(&l->params, &by_batch, 1, &none, 0.1, 0);
  free_estimate(&none);
  for (int i = 0; i < D; i++) ck_assert(l->w[i] == start->w[i]);
  free_list(l);
  free_list(start);
}
END_TEST

START_TEST(test_refused) {
  static const double bad[][3] = {{1, 0.9, 1e-8},   {-0.1, 0.9, 1e-8},      {NAN, 0.9, 1e-8},
                                  {0.9, 1, 1e-8},   {0.9, 1 - 1e-12, 1e-8}, {0.9, 0.99, 0},
                                  {0.9, 0.99, -1},  {0.9, 0.99, 1e-60},     {0.9, 0.99, NAN},
                                  {0.9, 0.99, 1e60}};
  struct zf_zo zo = by_batch;
  struct list *l = make_list(&by_batch), *start = make_list(&by_batch);
  ck_ok(zf_zo_check(&zo));
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    zo.beta1 = bad[i][0], zo.beta2 = bad[i][1], zo.adam_eps = bad[i][2];
    ck_fails(zf_zo_check(&zo), ZF_EUSAGE, "adam: expected");
    ck_fails(zf_zo_open(&(struct zf_params){0}, &zo), ZF_EUSAGE, "adam: expected");
  }
  zf_zo_close(&l->params);
  zf_params_free_state(&l->params);
  l->param[1].type = ZF_BF16;
  ck_fails(zf_zo_open(&l->params, &by_batch), ZF_EUSAGE, "trains f32 parameters alone: 'b'");
  ck_assert_ptr_null(l->params.optimizer);
  ck_assert_mem_eq(l->w, start->w, sizeof l->w);
  free_list(l);
  free_list(start);
}
END_TEST

int main(void) {
  Suite *s = suite_create("adam");
  TCase *t = tcase_create("adam");
  zf_kern_init(zf_cpu_flags());
  tcase_set_timeout(t, 300);
  tcase_add_loop_test(t, test_double, 0, 2);
  tcase_add_test(t, test_first_step);
  tcase_add_loop_test(t, test_replay, 0, 2);
  tcase_add_test(t, test_mean);
  tcase_add_test(t, test_rate_zero);
  tcase_add_test(t, test_nothing);
  tcase_add_test(t, test_refused);
  suite_add_tcase(s, t);
  return unit_run(s);
}
