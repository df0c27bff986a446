/* Places of examples: permutations, exact shares of weighted groups, a function of (seed, place). */
#include "unit/unit.h"

#include <math.h>

#include "train/order.h"

enum { N = 100, FIRST = 70, SECOND = 25 }; /* the third group has the rest */

static int group_of(int64_t i) {
  return i < FIRST ? 0 : i < FIRST + SECOND ? 1 : 2;
}

static void make(struct zf_order *o, const double *weight) {
  int32_t of[N];
  for (int i = 0; i < N; i++) of[i] = group_of(i);
  ck_ok(zf_order_new(o, N, 7));
  if (weight) ck_ok(zf_order_weigh(o, of, weight, 3));
}

/* Without weights: every example once an epoch, epochs differ. */
START_TEST(test_plain) {
  struct zf_order o;
  int same = 0;
  make(&o, NULL);
  int64_t first[N];
  for (int e = 0; e < 3; e++) {
    char seen[N] = {0};
    for (int i = 0; i < N; i++) {
      int64_t x = zf_order_at(&o, e * N + i);
      ck_assert(x >= 0 && x < N && !seen[x]);
      seen[x] = 1;
      if (!e) first[i] = x;
      same += e && first[i] == x;
    }
  }
  ck_assert_int_lt(same, 20);
  zf_order_free(&o);
}
END_TEST

static const double weights[][3] = {
    {1, 1, 1}, {1, 2, 3}, {0.1, 0.7, 0.3}, {1e-3, 1, 1}, {5, 1e6, 1e-2}};

/* After t places, a whole number of epochs, a group has floor(b t) - floor(a t) of them, so that it is
 * within one of its share; and each of its examples was seen before any is seen again. */
START_TEST(test_shares) {
  struct zf_order o;
  const double *w = weights[_i];
  int64_t count[3] = {0}, seen[N] = {0};
  double sum = w[0] + w[1] + w[2];
  make(&o, w);
  for (int64_t t = 1; t <= 400 * N; t++) {
    int64_t x = zf_order_at(&o, t - 1);
    int g = group_of(x);
    int64_t size[3] = {FIRST, SECOND, N - FIRST - SECOND};
    ck_assert_int_eq(seen[x], count[g] / size[g]);
    seen[x]++;
    count[g]++;
    for (int k = 0; t % N == 0 && k < 3; k++)
      ck_assert_msg(fabs((double)count[k] - (double)t * w[k] / sum) < 1 + 1e-9,
                    "group %d: %lld of %lld", k, (long long)count[k], (long long)t);
  }
  zf_order_free(&o);
}
END_TEST

/* A place gives the same example whether the places before it were asked for or not. */
START_TEST(test_jump) {
  enum { PLACES = 20 * N, STEP = 37 }; /* STEP has no factor in common with PLACES */
  struct zf_order walked, jumped;
  int64_t want[PLACES];
  make(&walked, weights[1]);
  make(&jumped, weights[1]);
  for (int64_t t = 0; t < PLACES; t++) want[t] = zf_order_at(&walked, t);
  for (int64_t t = 0; t < PLACES; t++) {
    int64_t place = (t * STEP + 5) % PLACES;
    ck_assert_int_eq(zf_order_at(&jumped, place), want[place]);
  }
  zf_order_free(&walked);
  zf_order_free(&jumped);
}
END_TEST

START_TEST(test_no_member) {
  struct zf_order o;
  int32_t of[4] = {0, 0, 2, 2};
  ck_ok(zf_order_new(&o, 4, 1));
  ck_fails(zf_order_weigh(&o, of, weights[0], 3), ZF_EUSAGE,
           "datasets[1]: has a weight, but none of its rows is in the training set");
  zf_order_free(&o);
}
END_TEST

int main(void) {
  Suite *s = suite_create("order");
  TCase *t = tcase_create("order");
  tcase_add_test(t, test_plain);
  tcase_add_loop_test(t, test_shares, 0, sizeof weights / sizeof *weights);
  tcase_add_test(t, test_jump);
  tcase_add_test(t, test_no_member);
  suite_add_tcase(s, t);
  return unit_run(s);
}
