/* The race of zoft tune: its plan, its grid, its state and the file of it, without a model. */
#include <math.h>

#include "base/file.h"
#include "train/settings.h"
#include "train/tune.h"
#include "unit/unit.h"

START_TEST(rungs) {
  ck_assert_int_eq(zf_tune_survivors(8, 2), 4);
  ck_assert_int_eq(zf_tune_survivors(5, 2), 3);
  ck_assert_int_eq(zf_tune_survivors(8, 3), 3);
  ck_assert_int_eq(zf_tune_survivors(1, 3), 1);
  ck_assert_int_eq(zf_tune_rungs(8, 2), 3);
  ck_assert_int_eq(zf_tune_rungs(9, 2), 4);
  ck_assert_int_eq(zf_tune_rungs(8, 3), 2);
  ck_assert_int_eq(zf_tune_rungs(1, 2), 1);
  ck_assert(zf_tune_rungs(ZF_TUNE_MAX, 2) <= ZF_TUNE_RUNGS);
}
END_TEST

START_TEST(steps) {
  int64_t plan[ZF_TUNE_RUNGS];
  ck_ok(zf_tune_steps(plan, 3, 2, 100));
  ck_assert(plan[0] == 25 && plan[1] == 50 && plan[2] == 100);
  ck_ok(zf_tune_steps(plan, 3, 3, 100));
  ck_assert(plan[0] == 11 && plan[1] == 33 && plan[2] == 100);
  ck_ok(zf_tune_steps(plan, 3, 2, 4));
  ck_assert(plan[0] == 1 && plan[1] == 2 && plan[2] == 4);
  ck_fails(zf_tune_steps(plan, 3, 2, 3), ZF_EUSAGE,
           "3 steps are too few for 3 rungs: expected 4 or more");
}
END_TEST

/* Four candidates, 0.5 s a step and 1 s once. */
START_TEST(time_plan) {
  const struct zf_tune_cost cost[] = {{0.5, 1}, {0.5, 1}, {0.25, 2}, {0.75, 0}};
  ck_assert_int_eq(zf_tune_more_steps(72, 3, cost, 4), 10); /* 24 s: 4 once, 2 s a step of all */
  ck_assert_int_eq(zf_tune_more_steps(72, 1, cost, 4), 34);
  ck_assert_int_eq(zf_tune_more_steps(15, 3, cost, 4), 1); /* a third holds none, a half does */
  ck_assert_int_eq(zf_tune_more_steps(5.9, 3, cost, 4), 0);
  ck_assert_int_eq(zf_tune_more_steps(-1, 1, cost, 4), 0);
}
END_TEST

START_TEST(seconds) {
  static const struct {
    const char *text;
    double want;
  } good[] = {{"90", 90}, {"90s", 90}, {"10m", 600}, {"2h", 7200}, {"1.5h", 5400}, {"1d", 86400}};
  double got;
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    ck_ok(zf_tune_seconds(&got, good[i].text));
    ck_assert(got == good[i].want);
  }
  static const char *const bad[] = {"", "h", "-5", "0", "10 m", "2h30m", "inf", "nan", "1w"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    ck_fails(zf_tune_seconds(&got, bad[i]), ZF_EUSAGE, "expected a time such as");
}
END_TEST

START_TEST(rank) {
  const struct zf_tune_score score[] = {{0.5, 1}, {0.7, 2}, {0.7, 1}, {0.5, 1}, {0.9, 9}};
  int64_t index[] = {0, 1, 2, 3, 4};
  zf_tune_rank(index, score, 5);
  const int64_t want[] = {4, 2, 1, 0, 3};
  for (int i = 0; i < 5; i++) ck_assert_int_eq(index[i], want[i]);
}
END_TEST

static void check_word(const struct zf_tune_grid *grid, int64_t index, int64_t axis,
                       const char *want) {
  char *word = zf_tune_grid_word(grid, index, axis);
  ck_assert_str_eq(word, want);
  free(word);
}

START_TEST(grid) {
  struct zf_tune_grid got = {0};
  int64_t count;
  ck_ok(zf_tune_grid_add(&got, "learning_rate=1e-4,3e-4"));
  ck_ok(zf_tune_grid_add(&got, "trainable=[a,b],'x,y',c"));
  ck_ok(zf_tune_grid_size(&count, &got));
  ck_assert_int_eq(count, 6);
  check_word(&got, 0, 0, "learning_rate=1e-4");
  check_word(&got, 0, 1, "trainable=[a,b]");
  check_word(&got, 1, 1, "trainable='x,y'");
  check_word(&got, 2, 0, "learning_rate=1e-4");
  check_word(&got, 3, 0, "learning_rate=3e-4");
  check_word(&got, 5, 1, "trainable=c");
  ck_fails(zf_tune_grid_add(&got, "nothing"), ZF_EUSAGE, "expects KEY=VALUE");
  ck_fails(zf_tune_grid_add(&got, "=1"), ZF_EUSAGE, "expects KEY=VALUE");
  ck_fails(zf_tune_grid_add(&got, "seed=1,"), ZF_EUSAGE, "--grid seed: a value is empty");
  ck_fails(zf_tune_grid_add(&got, "zo_eps=1,2,1"), ZF_EUSAGE, "the value '1' stands twice");
  ck_fails(zf_tune_grid_add(&got, "learning_rate=1"), ZF_EUSAGE, "stands twice");
  zf_tune_grid_free(&got);
}
END_TEST

START_TEST(rates) {
  static const char *const want[ZF_TUNE_RATES] = {"1e-06",  "3.16e-06", "1e-05", "3.16e-05",
                                                  "0.0001", "0.000316", "0.001", "0.00316"};
  struct zf_tune_grid got = {0};
  ck_ok(zf_tune_grid_rates(&got, 1e-4));
  ck_assert_int_eq(got.axis[0].count, ZF_TUNE_RATES);
  for (int i = 0; i < ZF_TUNE_RATES; i++) ck_assert_str_eq(got.axis[0].value[i], want[i]);
  zf_tune_grid_free(&got);
}
END_TEST

START_TEST(too_many) {
  struct zf_tune_grid got = {0};
  int64_t count;
  static const char *const axes[] = {"a=1,2,3,4,5,6,7,8", "b=1,2,3,4,5,6,7,8", "c=1,2,3,4,5,6,7,8",
                                     "d=1,2,3"};
  for (int i = 0; i < 4; i++) ck_ok(zf_tune_grid_add(&got, axes[i]));
  ck_fails(zf_tune_grid_size(&count, &got), ZF_EUSAGE, "more than 1024 candidates");
  zf_tune_grid_free(&got);
}
END_TEST

static void make_race(struct zf_tune *tune) {
  struct zf_tune_grid axes = {0};
  ck_ok(zf_tune_grid_add(&axes, "adapter=lora,a/b,ia3,ln,bitfit"));
  ck_ok(zf_tune_new(tune, &axes, 2));
  zf_tune_grid_free(&axes);
  ck_ok(zf_tune_steps(tune->steps, tune->rungs, 2, 40));
  snprintf(tune->identity, sizeof tune->identity, "%032d", 7);
}

static void enter(struct zf_tune *tune, int64_t index, double accuracy, double loss) {
  struct zf_metrics metrics = {.loss = loss, .accuracy = accuracy, .f1 = NAN};
  zf_tune_enter(tune, index, &metrics, ZF_BEST_ACCURACY, tune->steps[tune->rung]);
}

/* Five candidates: one diverges, one has no finite loss; of the other three all go on, since three of
 * five do. */
START_TEST(race) {
  struct zf_tune tune;
  int64_t left[5];
  make_race(&tune);
  ck_assert_int_eq(tune.rungs, 3);
  ck_assert_str_eq(tune.candidate[1].name, "02-adapter=a_b");
  ck_assert_str_eq(tune.candidate[1].words, "adapter=a/b");
  enter(&tune, 0, 0.6, 1);
  enter(&tune, 1, 0.9, NAN);
  enter(&tune, 2, 0.8, 1);
  tune.candidate[3].fate = ZF_TUNE_DIVERGED;
  enter(&tune, 4, 0.6, 0.5);
  zf_tune_end_rung(&tune);
  ck_assert_int_eq(zf_tune_left(left, &tune), 3);
  ck_assert(left[0] == 0 && left[1] == 2 && left[2] == 4);
  ck_assert_int_eq(tune.candidate[1].fate, ZF_TUNE_DIVERGED);
  enter(&tune, 0, 0.7, 1);
  enter(&tune, 2, 0.5, 1);
  enter(&tune, 4, 0.6, 1);
  zf_tune_end_rung(&tune);
  ck_assert_int_eq(zf_tune_left(left, &tune), 2);
  ck_assert(left[0] == 0 && left[1] == 4);
  ck_assert(tune.candidate[2].best.metric == 0.8 && tune.candidate[2].best_step == 10);
  ck_assert(tune.candidate[0].best.metric == 0.7 && tune.candidate[0].best_step == 20);
  enter(&tune, 0, 0.7, 1);
  enter(&tune, 4, 0.7, 0.9);
  zf_tune_end_rung(&tune);
  int64_t standing[5];
  zf_tune_standing(standing, &tune);
  const int64_t want[] = {4, 0, 2, 1, 3};
  for (int i = 0; i < 5; i++) ck_assert_int_eq(standing[i], want[i]);
  zf_tune_free(&tune);
}
END_TEST

/* Where all that are left diverge, the better ones of those that went out come back. */
START_TEST(revive) {
  struct zf_tune tune;
  int64_t left[5];
  make_race(&tune);
  for (int i = 0; i < 5; i++) enter(&tune, i, 0.1 * i, 1);
  zf_tune_end_rung(&tune); /* 2, 3, 4 go on */
  enter(&tune, 2, 0.1, 1);
  enter(&tune, 3, 0.2, 1);
  enter(&tune, 4, 0.3, 1);
  zf_tune_end_rung(&tune); /* 3, 4 */
  ck_assert_int_eq(zf_tune_places(&tune), 2);
  tune.candidate[3].fate = tune.candidate[4].fate = ZF_TUNE_DIVERGED;
  ck_assert_int_eq(zf_tune_revive(&tune), 2);
  ck_assert_int_eq(zf_tune_left(left, &tune), 2);
  ck_assert(left[0] == 1 && left[1] == 2); /* 2 came farther; 1 beats 0 */
  tune.candidate[1].fate = tune.candidate[2].fate = ZF_TUNE_DIVERGED;
  ck_assert_int_eq(zf_tune_revive(&tune), 1);
  tune.candidate[0].fate = ZF_TUNE_DIVERGED;
  ck_assert_int_eq(zf_tune_revive(&tune), 0);
  zf_tune_free(&tune);
}
END_TEST

/* By the loss, less is better. */
START_TEST(by_loss) {
  struct zf_tune tune;
  make_race(&tune);
  for (int i = 0; i < 5; i++) {
    struct zf_metrics metrics = {.loss = i == 3 ? 1 : 2 + i, .accuracy = NAN, .f1 = NAN};
    zf_tune_enter(&tune, i, &metrics, ZF_BEST_LOSS, 10);
  }
  zf_tune_end_rung(&tune);
  ck_assert_int_eq(tune.candidate[3].fate, ZF_TUNE_IN);
  ck_assert_int_eq(tune.candidate[4].fate, ZF_TUNE_OUT);
  ck_assert_int_eq(tune.candidate[2].fate, ZF_TUNE_OUT);
  zf_tune_free(&tune);
}
END_TEST

START_TEST(file) {
  struct zf_tune was, is;
  const char *path = tmp_path("tune.json");
  make_race(&was);
  for (int i = 0; i < 5; i++) enter(&was, i, 0.1 * i + 1.0 / 3, 1);
  was.candidate[2].cost = (struct zf_tune_cost){0.125, 3};
  was.candidate[2].seconds = 9.25;
  was.seconds = 40.5;
  zf_tune_end_rung(&was);
  ck_ok(zf_tune_save(&was, path));
  make_race(&is);
  memset(is.steps, 0, sizeof is.steps);
  ck_ok(zf_tune_load(&is, path));
  ck_assert_int_eq(is.rung, 1);
  ck_assert(is.seconds == 40.5 && !memcmp(is.steps, was.steps, sizeof is.steps));
  for (int i = 0; i < 5; i++) {
    const struct zf_tune_candidate *left = &was.candidate[i], *right = &is.candidate[i];
    ck_assert(left->fate == right->fate && left->rung == right->rung);
    ck_assert(left->steps == right->steps && left->seconds == right->seconds);
    ck_assert(!memcmp(&left->cost, &right->cost, sizeof left->cost));
    ck_assert(!memcmp(&left->score, &right->score, sizeof left->score));
    ck_assert(!memcmp(&left->best, &right->best, sizeof left->best));
    ck_assert(left->best_step == right->best_step && left->accuracy == right->accuracy);
    ck_assert(isnan(right->f1));
  }
  zf_tune_free(&is);
  make_race(&is);
  is.identity[0] = 'f';
  ck_fails(zf_tune_load(&is, path), ZF_EUSAGE, "another config, grid or budget");
  zf_tune_free(&is);
  zf_tune_free(&was);
}
END_TEST

/* Replaces `from` in the file of a race after one rung; loading it fails and says `why`. */
static void check_damage(const char *from, const char *to, const char *why) {
  struct zf_tune was, is;
  const char *path = tmp_path("damaged.json");
  char *text, *at;
  make_race(&was);
  for (int i = 0; i < 5; i++) enter(&was, i, 0.5, 1);
  zf_tune_end_rung(&was);
  ck_ok(zf_tune_save(&was, path));
  ck_ok(zf_read_file(&text, NULL, path, 1 << 20));
  ck_assert_ptr_nonnull(at = strstr(text, from));
  struct zf_buf out = {0};
  zf_buf_add(&out, text, (size_t)(at - text));
  zf_buf_puts(&out, to);
  zf_buf_puts(&out, at + strlen(from));
  ck_ok(zf_write_file(path, out.data, out.len));
  make_race(&is);
  int rc = zf_tune_load(&is, path);
  ck_assert_msg(rc == ZF_EINVALID && strstr(zf_error_message(), why), "%s -> %s: %d %s", from, to,
                rc, zf_error_message());
  zf_buf_free(&out);
  free(text);
  zf_tune_free(&is);
  zf_tune_free(&was);
}

START_TEST(damage) {
  check_damage("\"rung\": 1", "\"rung\": 4", "the rungs are others");
  check_damage("\"rung\": 1", "\"rung\": \"x\"", "key 'rung'");
  check_damage("10,", "10, 10,", "the rungs are others");
  check_damage("10,", "-1,", "'steps' does not rise");
  check_damage(": \"adapter=ia3", ": \"adapter=ia4", "a candidate is another one");
  check_damage("\"out\"", "\"gone\"", "'fate' is none of");
  check_damage("\"metric\": 0.5", "\"metric\": null", "a score is missing");
  check_damage("\"candidates\": [", "\"candidates\": [{},", "the candidates are others");
  check_damage("{", "", "damaged.json"); /* no JSON */
}
END_TEST

int main(void) {
  Suite *s = suite_create("tune");
  TCase *t = tcase_create("all");
  tcase_add_test(t, rungs);
  tcase_add_test(t, steps);
  tcase_add_test(t, time_plan);
  tcase_add_test(t, seconds);
  tcase_add_test(t, rank);
  tcase_add_test(t, grid);
  tcase_add_test(t, rates);
  tcase_add_test(t, too_many);
  tcase_add_test(t, race);
  tcase_add_test(t, revive);
  tcase_add_test(t, by_loss);
  tcase_add_test(t, file);
  tcase_add_test(t, damage);
  suite_add_tcase(s, t);
  return unit_run(s);
}
