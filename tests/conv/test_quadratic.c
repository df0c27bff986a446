/* Convergence on the simplest function there is, L(w) = |w|^2 / 2, where the theory is exact.
 *
 * With Gaussian directions and q probes E|w'|^2 = |w|^2 (1 - 2 lr + lr^2 (1 + (d + 1) / q)),
 * smallest at lr = 1 / (1 + (d + 1) / q), where the factor is 1 - lr.  Markov's inequality turns
 * the expected square after T steps into a bound that one run in a million misses. */
#include <math.h>

#include "base/cpu.h"
#include "unit/zo_steps.h"

enum { D = 30 };

struct bowl {
  unsigned char data[4 * D];
  struct zf_param p;
  struct zf_params ps;
};

static void bowl_init(struct bowl *b, enum zf_dtype type) {
  float w[D];
  for (int i = 0; i < D; i++) w[i] = i % 2 ? -1.0f : 1.0f;
  zf_from_f32(b->data, w, type, D);
  b->p = (struct zf_param){.name = "w",
                           .data = b->data,
                           .type = type,
                           .ndim = 1,
                           .shape = {D},
                           .count = D,
                           .trained = 1};
  b->ps = (struct zf_params){.param = &b->p, .count = 1};
}

static int bowl_loss(void *ctx, const struct zf_perturb *pt, int wide,
                     struct zf_zo_losses *losses) {
  (void)wide;
  const struct bowl *b = ctx;
  float w[ZF_MAXSTREAM][D];
  zf_perturb_vec(w[0], D, b->data, b->p.type, 0, D, pt->streams.count > 1 ? &pt->direction : NULL,
                 NULL, &pt->streams);
  for (int s = 0; s < pt->streams.count; s++) {
    losses->batch[s] = 0;
    for (int i = 0; i < D; i++) losses->batch[s] += 0.5 * (double)w[s][i] * (double)w[s][i];
  }
  return 0;
}

static double loss_of(const struct bowl *b) {
  struct zf_perturb none = zf_perturb_none();
  struct zf_zo_losses losses;
  ck_ok(bowl_loss((void *)b, &none, 0, &losses));
  return losses.batch[0];
}

static void descend(struct bowl *b, const struct zf_zo *zo, double lr, uint32_t from, uint32_t to) {
  struct zf_zo_estimate estimate = new_estimate(zo);
  ck_ok(zf_zo_open(&b->ps, zo));
  for (uint32_t s = from; s < to; s++) {
    ck_ok(zf_zo_estimate(&b->ps, s, lr, bowl_loss, b, &estimate));
    update_step(&b->ps, zo, s, &estimate, lr, 0);
  }
  zf_zo_close(&b->ps);
  free_estimate(&estimate);
}

static void check_rate(int probes, uint32_t steps) {
  struct bowl b;
  struct zf_zo zo = {.seed = 21, .eps = 1e-3, .probes = probes};
  bowl_init(&b, ZF_F32);
  double start = loss_of(&b), lr = 1 / (1 + (D + 1.0) / probes);
  descend(&b, &zo, lr, 1, steps + 1);
  double bound = 1e6 * start * pow(1 - lr, steps);
  ck_assert(bound < 1e-3 * start);
  ck_assert_msg(loss_of(&b) <= bound, "%d probes: loss %.3g, bound %.3g", probes, loss_of(&b),
                bound);
}

START_TEST(test_rate) {
  check_rate(1, 900);
  check_rate(8, 200);
  check_rate(64, 20);
}
END_TEST

/* The stable range ends at lr = 2 / (1 + (d + 1) / q) in the mean; well beyond it the loss grows.
 */
START_TEST(test_too_fast) {
  struct bowl b;
  struct zf_zo zo = {.seed = 21, .eps = 1e-3, .probes = 1};
  bowl_init(&b, ZF_F32);
  double start = loss_of(&b);
  descend(&b, &zo, 6.0 / (D + 2), 1, 201);
  ck_assert(loss_of(&b) > start);
}
END_TEST

/* In half formats stochastic rounding adds at most u^2 / 4 to each element's square a step, u the
 * spacing below 2, so that |w|^2 ends near d u^2 / 4 over the contraction: E <= d u^2 / (4 lr).
 * Nearest rounding would stop where lr |g z| < u / 2. */
static void check_half(enum zf_dtype type, double u) {
  struct bowl b;
  struct zf_zo zo = {.seed = 4, .eps = 1e-2, .probes = 8};
  double lr = 0.02, mean = 0;
  bowl_init(&b, type);
  descend(&b, &zo, lr, 1, 400);
  for (uint32_t k = 0; k < 20; k++) {
    descend(&b, &zo, lr, 400 + 20 * k, 420 + 20 * k);
    mean += loss_of(&b) / 20;
  }
  double floor = D * u * u / (8 * lr);
  ck_assert_msg(mean <= 4 * floor, "loss %.3g, floor %.3g", mean, floor);
}

START_TEST(test_half) {
  check_half(ZF_BF16, 0x1p-8);
  check_half(ZF_F16, 0x1p-11);
}
END_TEST

int main(void) {
  Suite *s = suite_create("quadratic");
  TCase *t = tcase_create("quadratic");
  zf_kern_init(zf_cpu_flags());
  zf_kern_threads(1);
  tcase_add_test(t, test_rate);
  tcase_add_test(t, test_too_fast);
  tcase_add_test(t, test_half);
  suite_add_tcase(s, t);
  return unit_run(s);
}
