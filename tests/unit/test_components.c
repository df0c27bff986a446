/* Principal components by an incremental decomposition: a stack of low rank is found exactly, batch by batch,
 * with the same bits on every number of threads and instruction set. */
#include <math.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "kern/kern.h"
#include "peft/components.h"
#include "unit/unit.h"

enum { WIDTH = 60, ROWS = 96, RANK = 3, BATCHES = 3 };

static void begin(unsigned flags, int threads) {
  static void *work;
  zf_kern_init(flags);
  zf_kern_threads(threads);
  if (!work) work = aligned_alloc(64, zf_kern_workspace_size(8));
  zf_kern_workspace(work);
}

/* Orthonormal directions, each on its own columns: RANK of them. */
static float direction(int64_t number, int64_t column) {
  if (column / (WIDTH / RANK) != number) return 0;
  return (column % 2 ? 1.0f : -1.0f) / sqrtf(WIDTH / RANK);
}

/* Rows of the span of the directions, with sizes 8, 4 and 2, and noise of size `noise` a value. */
static void fill(float *x, int64_t batch, float noise) {
  struct zf_noise key = {.seed = 5, .step = (uint32_t)batch, .use = ZF_USE_SAMPLE};
  float z[ROWS * RANK], e[ROWS * WIDTH];
  zf_noise_ref(z, &key, 0, ROWS * RANK);
  key.param = 1;
  zf_noise_ref(e, &key, 0, ROWS * WIDTH);
  for (int64_t i = 0; i < ROWS; i++)
    for (int64_t c = 0; c < WIDTH; c++) {
      x[i * WIDTH + c] = noise * e[i * WIDTH + c];
      for (int64_t k = 0; k < RANK; k++)
        x[i * WIDTH + c] += (float)(8 >> k) * z[i * RANK + k] * direction(k, c);
    }
}

static void decompose(struct zf_components *components, float noise) {
  struct zf_components_work *work;
  float x[ROWS * WIDTH];
  ck_ok(zf_components_work_new(&work, RANK, WIDTH, ROWS));
  ck_ok(zf_components_init(components, RANK, WIDTH));
  for (int64_t i = 0; i < BATCHES; i++) {
    fill(x, i, noise);
    zf_components_add(components, work, x, WIDTH, ROWS);
  }
  zf_components_work_free(work);
}

static double dot(const float *x, const float *y) {
  double sum = 0;
  for (int64_t c = 0; c < WIDTH; c++) sum += (double)x[c] * (double)y[c];
  return sum;
}

/* Without noise three components hold all the energy, and every one of the directions lies in their span;
 * f32 rounds each product, so what is left outside is below 1e-5 of a direction. */
START_TEST(test_span) {
  struct zf_components components;
  begin(zf_cpu_flags(), 1);
  decompose(&components, 0);
  double found = 0;
  for (int64_t i = 0; i < RANK; i++) {
    found += components.square[i];
    for (int64_t j = 0; j < RANK; j++)
      ck_assert_double_eq_tol(dot(components.vector + i * WIDTH, components.vector + j * WIDTH),
                              i == j, 1e-5);
  }
  ck_assert_double_eq_tol(found / components.energy, 1, 1e-5);
  for (int64_t k = 0; k < RANK; k++) {
    float want[WIDTH];
    double inside = 0;
    for (int64_t c = 0; c < WIDTH; c++) want[c] = direction(k, c);
    for (int64_t i = 0; i < RANK; i++) inside += pow(dot(components.vector + i * WIDTH, want), 2);
    ck_assert_double_eq_tol(inside, 1, 1e-5);
  }
  zf_components_free(&components);
}
END_TEST

/* With noise the largest one comes first, and each keeps to its direction: the angle between a singular
 * vector and its direction is about noise / size / sqrt(rows) * sqrt(width), below 0.1 for all three. */
START_TEST(test_order) {
  struct zf_components components;
  begin(zf_cpu_flags(), 1);
  decompose(&components, 0.1f);
  for (int64_t k = 0; k < RANK; k++) {
    float want[WIDTH];
    for (int64_t c = 0; c < WIDTH; c++) want[c] = direction(k, c);
    /* directions of sizes 8, 4, 2 mix by their sample correlations, of the order of 1 / sqrt(288) */
    ck_assert_double_gt(fabs(dot(components.vector + k * WIDTH, want)), 0.95);
    if (k) ck_assert_double_lt(components.square[k], components.square[k - 1]);
  }
  zf_components_free(&components);
}
END_TEST

START_TEST(test_bits) {
  struct zf_components one, other;
  begin(0, 1);
  decompose(&one, 0.1f);
  begin(zf_cpu_flags(), 1 + _i);
  zf_kern_threads(1 + _i);
  decompose(&other, 0.1f);
  ck_assert_mem_eq(one.vector, other.vector, sizeof(float) * RANK * WIDTH);
  ck_assert_mem_eq(one.square, other.square, sizeof(double) * RANK);
  zf_components_free(&one);
  zf_components_free(&other);
}
END_TEST

static Suite *suite(void) {
  Suite *s = suite_create("components");
  TCase *t = tcase_create("components");
  tcase_add_test(t, test_span);
  tcase_add_test(t, test_order);
  tcase_add_loop_test(t, test_bits, 0, 4);
  suite_add_tcase(s, t);
  return s;
}

int main(void) {
  return unit_run(suite());
}
