/* Calibration of option scores: numbers worked out by hand, and every refusal. */
#include <math.h>

#include "eval/calibrate.h"
#include "eval/metrics.h"
#include "unit/unit.h"

static void near(double got, double want) {
  ck_assert_msg(fabs(got - want) < 1e-12, "%.17g, not %.17g", got, want);
}

/* Two inputs, probabilities 1/4 3/4 and 3/4 1/4 of two options, then 1/2 1/2 by other scores. */
START_TEST(normalize) {
  double score[] = {0, log(3), 5 + log(3), 5};
  zf_calibrate_normalize(score, 2, 2);
  near(score[0], log(0.25));
  near(score[1], log(0.75));
  near(score[2], log(0.75));
  near(score[3], log(0.25));
}
END_TEST

/* c = mean of (1/4, 3/4) and (1/2, 1/2) = (3/8, 5/8). */
START_TEST(contextual) {
  const double score[] = {0, log(3), 7, 7};
  double shift[2] = {NAN, NAN};
  zf_calibrate_contextual(shift, score, 2, 2);
  near(shift[0], log(3.0 / 8));
  near(shift[1], log(5.0 / 8));
  double input[] = {log(0.4), log(0.6)}; /* 0.4 / 0.375 > 0.6 / 0.625 */
  zf_calibrate_apply(input, 1, 2, shift);
  struct zf_score got;
  zf_score_choose(&got, input, 2, 1);
  ck_assert_int_eq(got.choice, 0);
  near(got.loss, -log((0.6 / 0.625) / (0.6 / 0.625 + 0.4 / 0.375)));
}
END_TEST

/* Probabilities that a double does not hold keep their ratio. */
START_TEST(contextual_tiny) {
  const double score[] = {0, -2000, 0, -2000};
  double shift[2];
  zf_calibrate_contextual(shift, score, 2, 2);
  near(shift[0], 0);
  near(shift[1], -2000);
}
END_TEST

/* m = mean of log (1/4, 3/4) and log (1/2, 1/2). */
START_TEST(batch) {
  const double score[] = {0, log(3), 7, 7};
  double shift[2], both[4];
  zf_calibrate_batch(shift, score, 2, 2);
  near(shift[0], 0.5 * (log(0.25) + log(0.5)));
  near(shift[1], 0.5 * (log(0.75) + log(0.5)));
  memcpy(both, score, sizeof both);
  zf_calibrate_apply(both, 2, 2, shift);
  /* The margins of the two inputs, log 3 and 0, lose their mean. */
  near(both[1] - both[0], 0.5 * log(3));
  near(both[3] - both[2], -0.5 * log(3));
}
END_TEST

/* One option more or less for all inputs alike changes no calibrated score. */
START_TEST(batch_invariant) {
  const double plain[] = {1, 2, 3, 2, 2, 2, 0, 5, 1};
  double moved[9], first[3], second[3];
  for (int i = 0; i < 9; i++) moved[i] = plain[i] + (i % 3 == 1 ? 4 : 0);
  zf_calibrate_batch(first, plain, 3, 3);
  zf_calibrate_batch(second, moved, 3, 3);
  for (int i = 0; i < 9; i += 3) {
    double left = (plain[i + 1] - first[1]) - (plain[i] - first[0]);
    double right = (moved[i + 1] - second[1]) - (moved[i] - second[0]);
    near(left, right);
  }
}
END_TEST

START_TEST(names) {
  enum zf_calibrate kind = ZF_CALIBRATE_NONE;
  ck_ok(zf_calibrate_find(&kind, "batch"));
  ck_assert_int_eq(kind, ZF_CALIBRATE_BATCH);
  ck_ok(zf_calibrate_find(&kind, "contextual"));
  ck_assert_int_eq(kind, ZF_CALIBRATE_CONTEXTUAL);
  ck_fails(zf_calibrate_find(&kind, "Batch"), ZF_EUSAGE,
           "none, contextual or batch, found 'Batch'");
}
END_TEST

static const char *const words[] = {" no", " yes"}, *const fields[] = {"{a}", "{b}"};

START_TEST(refusals) {
  struct zf_data_spec spec = {ZF_TASK_CLASSIFICATION, "{text} so", .options = words, .noptions = 2};
  struct zf_data_spec other = spec;
  const struct zf_data_spec *both[] = {&spec, &other};
  ck_ok(zf_calibrate_check(both, 2));
  other.prompt = "{text} therefore";
  ck_fails(zf_calibrate_check(both, 2), ZF_EUSAGE, "the files of the set have several");
  other = spec;
  other.options = fields;
  ck_fails(zf_calibrate_check(both + 1, 1), ZF_EUSAGE, "options[0] reads the field 'a'");
  other.type = ZF_TASK_MASKED; /* words, no templates */
  ck_ok(zf_calibrate_check(both + 1, 1));
  other.type = ZF_TASK_LABELS;
  ck_ok(zf_calibrate_check(both + 1, 1));
  other.problem = ZF_PROBLEM_MULTI;
  ck_fails(zf_calibrate_check(both + 1, 1), ZF_EUSAGE, "problem_type multi_label_classification");
  other.problem = ZF_PROBLEM_SINGLE;
  for (int type = 0; type <= ZF_TASK_SEGMENTS; type++) {
    static const char *const name[] = {
        "", "completion", "", "", "preference", "text", "chat", "alpaca", "input_output"};
    other.type = (enum zf_task_type)type;
    if (*name[type]) ck_fails(zf_calibrate_check(both + 1, 1), ZF_EUSAGE, name[type]);
  }
}
END_TEST

START_TEST(collect) {
  struct zf_option_scores scores = {.options = 2};
  for (int i = 0; i < 200; i++) {
    double row[] = {i, -i};
    zf_option_scores_watch(&scores, row, NULL, 2);
  }
  ck_ok(zf_option_scores_ok(&scores));
  ck_assert_int_eq(scores.count, 200);
  ck_assert(scores.score[2 * 199] == 199 && scores.score[2 * 199 + 1] == -199);
  zf_option_scores_watch(&scores, (const double[]){1, 2, 3}, NULL, 3);
  ck_fails(zf_option_scores_ok(&scores), ZF_EINVALID, "expected 2 options");
  zf_option_scores_free(&scores);
}
END_TEST

int main(void) {
  Suite *s = suite_create("calibrate");
  TCase *t = tcase_create("all");
  tcase_add_test(t, normalize);
  tcase_add_test(t, contextual);
  tcase_add_test(t, contextual_tiny);
  tcase_add_test(t, batch);
  tcase_add_test(t, batch_invariant);
  tcase_add_test(t, names);
  tcase_add_test(t, refusals);
  tcase_add_test(t, collect);
  suite_add_tcase(s, t);
  return unit_run(s);
}
