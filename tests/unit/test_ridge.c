/* Ridge regression, leave-one-out errors and blends against numpy (tests/golden/probe); the same bits for
 * any threads. */
#include <jansson.h>
#include <math.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "fmt/json.h"
#include "kern/kern.h"
#include "rng/noise.h"
#include "train/ridge.h"
#include "unit/unit.h"

static json_t *golden_case(int number, json_t **all) {
  ck_ok(zf_json_load(all, "tests/golden/probe/golden.json"));
  return json_array_get(json_object_get(*all, "cases"), (size_t)number);
}
enum { CASES = 5 };

static int64_t integer(const json_t *object, const char *key) {
  return json_integer_value(json_object_get(object, key));
}

static double number_at(const json_t *object, const char *key, int64_t at) {
  return json_number_value(json_array_get(json_object_get(object, key), (size_t)at));
}

/* |value - golden| <= tolerance for all elements. */
static void compare(const json_t *object, const char *key, const double *value, int64_t count,
                    double tolerance) {
  ck_assert_int_eq(json_array_size(json_object_get(object, key)), count);
  for (int64_t i = 0; i < count; i++) {
    double golden = number_at(object, key, i);
    ck_assert_msg(fabs(value[i] - golden) <= tolerance * fmax(1, fabs(golden)),
                  "%s: %s[%d] is %.17g, not %.17g",
                  json_string_value(json_object_get(object, "name")), key, (int)i, value[i],
                  golden);
  }
}

static struct zf_ridge *fitted(const json_t *object) {
  int64_t rows = integer(object, "rows"), width = integer(object, "width");
  float row[64];
  struct zf_ridge *ridge;
  ck_ok(zf_ridge_new(&ridge, rows, width, integer(object, "classes"),
                     json_is_true(json_object_get(object, "intercept"))));
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t j = 0; j < width; j++) row[j] = (float)number_at(object, "x", i * width + j);
    zf_ridge_add(ridge, row, (int32_t)number_at(object, "label", i));
  }
  ck_ok(zf_ridge_fit(ridge));
  return ridge;
}

/* The condition of the system is at most width / 1e-6 with the smallest penalty, so that either side is within
 * 12e6 units of 2^-53, 1.4e-9; sums over rows and classes add some. */
static const double bound = 1e-8;

START_TEST(test_golden) {
  json_t *all, *object = golden_case(_i, &all);
  struct zf_ridge *ridge = fitted(object);
  int64_t best = integer(object, "best"), classes = ridge->classes;
  ck_assert_int_eq(ridge->dual, ridge->count < ridge->width);
  compare(object, "penalties", ridge->penalties, ZF_RIDGE_PENALTIES, bound);
  compare(object, "errors", ridge->errors, ZF_RIDGE_PENALTIES, bound);
  ck_assert_double_eq(ridge->penalty, ridge->penalties[best]);
  compare(object, "weight", ridge->weight, classes * ridge->width, bound);
  compare(object, "offset", ridge->offset, classes, bound);
  compare(object, "prediction", ridge->prediction, ridge->held * classes, bound);
  zf_ridge_free(ridge);
  json_decref(all);
}
END_TEST

/* The minimum is flat: factors within 1e-6 change the loss by some 1e-12. */
START_TEST(test_blend) {
  json_t *all, *object = golden_case(_i, &all);
  struct zf_ridge *ridge = fitted(object);
  struct zf_blend blend;
  int64_t count = ridge->held * ridge->classes;
  double *own = zf_calloc(count, sizeof *own);
  for (int64_t i = 0; i < count; i++) own[i] = number_at(object, "own", i);
  zf_blend_fit(&blend, own, ridge->prediction, ridge->label, ridge->held, ridge->classes);
  double factors[2] = {blend.own, blend.other};
  compare(object, "factors", factors, 2, 1e-6);
  double loss = json_number_value(json_object_get(object, "loss"));
  double before = json_number_value(json_object_get(object, "loss_before"));
  double accuracy = json_number_value(json_object_get(object, "accuracy_before"));
  ck_assert_double_eq_tol(blend.loss, loss, 1e-7);
  ck_assert_double_eq_tol(blend.loss_before, before, 1e-13);
  ck_assert_double_eq_tol(blend.accuracy_before, accuracy, 1e-13);
  ck_assert_double_le(blend.loss, blend.loss_before);
  free(own);
  zf_ridge_free(ridge);
  json_decref(all);
}
END_TEST

/* A row's label is its first value's sign; the others are a function of the row's number. */
static int32_t make_row(float *row, int64_t width, int64_t number) {
  struct zf_noise key = {.seed = 5, .use = ZF_USE_INIT};
  zf_noise_fill(row, &key, number * width, width);
  return row[0] > 0;
}

/* More rows than are held: all of them are in the fit, whose normal equations are
 * (H^T H + L) w_1 = H^T Y_1. */
START_TEST(test_more_rows) {
  enum { ROWS = 9000, WIDTH = 3 };
  struct zf_ridge *ridge;
  double gram[WIDTH][WIDTH] = {{0}}, moment[WIDTH] = {0};
  float row[WIDTH];
  ck_ok(zf_ridge_new(&ridge, ROWS, WIDTH, 2, 0));
  for (int64_t i = 0; i < ROWS; i++) {
    int32_t label = make_row(row, WIDTH, i);
    zf_ridge_add(ridge, row, label);
    for (int j = 0; j < WIDTH; j++)
      for (int k = 0; k < WIDTH; k++) gram[j][k] += (double)row[j] * (double)row[k];
    for (int j = 0; j < WIDTH; j++) moment[j] += (label - 0.5) * (double)row[j];
  }
  ck_ok(zf_ridge_fit(ridge));
  ck_assert_int_eq(ridge->count, ROWS);
  ck_assert_int_lt(ridge->held, ROWS);
  const double *weight = ridge->weight + WIDTH;
  for (int j = 0; j < WIDTH; j++) {
    double left = ridge->penalty * weight[j];
    for (int k = 0; k < WIDTH; k++) left += gram[j][k] * weight[k];
    ck_assert_double_eq_tol(left, moment[j], 1e-10 * ROWS);
  }
  zf_ridge_free(ridge);
}
END_TEST

/* Both forms, on as many rows as values and one fewer: the threads change no bit. */
START_TEST(test_threads) {
  enum { WIDTH = 600 };
  struct zf_ridge *ridge[2];
  float row[WIDTH];
  for (int team = 1; team <= 2; team++) {
    zf_kern_threads(team);
    struct zf_ridge **out = &ridge[team - 1];
    ck_ok(zf_ridge_new(out, WIDTH - _i, WIDTH, 2, _i));
    for (int64_t i = 0; i < WIDTH - _i; i++) {
      int32_t label = make_row(row, WIDTH, i);
      zf_ridge_add(*out, row, label);
    }
    ck_ok(zf_ridge_fit(*out));
  }
  zf_kern_threads(1);
  ck_assert_int_eq(ridge[0]->dual, _i);
  ck_assert_mem_eq(ridge[0]->weight, ridge[1]->weight, sizeof(double) * 2 * WIDTH);
  ck_assert_mem_eq(ridge[0]->errors, ridge[1]->errors, sizeof ridge[0]->errors);
  for (int i = 0; i < 2; i++) zf_ridge_free(ridge[i]);
}
END_TEST

START_TEST(test_bad_rows) {
  struct zf_ridge *ridge;
  float row[2] = {1, 2};
  ck_ok(zf_ridge_new(&ridge, 3, 2, 2, 0));
  zf_ridge_add(ridge, row, 0);
  ck_fails(zf_ridge_fit(ridge), ZF_EUSAGE, "needs 2 examples or more, found 1");
  row[1] = NAN;
  zf_ridge_add(ridge, row, 1);
  ck_fails(zf_ridge_fit(ridge), ZF_EDIVERGED, "not finite");
  zf_ridge_free(ridge);
  ck_ok(zf_ridge_new(&ridge, 3, 2, 2, _i)); /* rows of zeros say nothing, and do no harm */
  row[0] = row[1] = 0;
  for (int32_t i = 0; i < 3; i++) zf_ridge_add(ridge, row, i == 1);
  ck_ok(zf_ridge_fit(ridge));
  for (int i = 0; i < 4; i++) ck_assert_double_eq(ridge->weight[i], 0);
  zf_ridge_free(ridge);
}
END_TEST

int main(void) {
  Suite *s = suite_create("ridge");
  TCase *t = tcase_create("ridge");
  tcase_set_timeout(t, 300);
  zf_kern_init(zf_cpu_flags());
  zf_kern_threads(1);
  tcase_add_loop_test(t, test_golden, 0, CASES);
  tcase_add_loop_test(t, test_blend, 0, CASES);
  tcase_add_test(t, test_more_rows);
  tcase_add_loop_test(t, test_threads, 0, 2);
  tcase_add_loop_test(t, test_bad_rows, 0, 2);
  suite_add_tcase(s, t);
  return unit_run(s);
}
