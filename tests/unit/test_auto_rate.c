/* The automatic learning rate: the same bits for any threads, streams and micro-batches; shorter runs take
 * larger steps; and the control that halves a rate. */
#include <math.h>

#include "train/auto_rate.h"
#include "unit/models.h"

static struct zf_auto_rate rate_of(const char *more) {
  const struct zf_conf_key *const tables[] = {zf_train_keys};
  char text[1024], before[33], after[33];
  struct zf_conf *conf;
  struct zf_run *run;
  struct zf_auto_rate rate;
  snprintf(text, sizeof text,
           "base_model: datasets/demo/model\nlearning_rate: auto\ncompute: f32\nnum_train: 64\n%s\n"
           "datasets: [{path: demo/train.jsonl, type: classification, prompt: '{text} Would I "
           "recommend it?', options: [' No', ' Yes']}]\n",
           more);
  ck_ok(zf_conf_new(&conf, tables, 1));
  ck_ok(zf_conf_text(conf, text, strlen(text), "test"));
  ck_ok(zf_settings_apply_method(conf));
  ck_ok(zf_conf_check(conf));
  ck_ok(zf_run_open(&run, conf, ZF_WANT_TRAIN));
  ck_ok(zf_model_hash(run->model, before));
  ck_ok(zf_auto_rate(&rate, run));
  ck_ok(zf_model_hash(run->model, after));
  ck_assert_str_eq(before, after);
  zf_run_free(run);
  zf_conf_free(conf);
  return rate;
}

START_TEST(test_bits) {
  static const char *const ways[] = {
      "max_steps: 100\nthreads: 1", "max_steps: 100\nthreads: 2", "max_steps: 100\nzo_streams: 5",
      "max_steps: 100\nmicro_batch_size: 4\ngradient_accumulation_steps: 4"};
  struct zf_auto_rate first = rate_of(ways[0]);
  ck_assert(first.rate > 1e-7 && first.rate < 1);
  ck_assert(first.passes > 0 && first.passes < 100);
  for (size_t i = 1; i < sizeof ways / sizeof *ways; i++) {
    struct zf_auto_rate rate = rate_of(ways[i]);
    ck_assert(rate.rate == first.rate);
    ck_assert(rate.reach == first.reach);
  }
}
END_TEST

/* rate ~ 1/sqrt(steps), to rounding. */
START_TEST(test_steps) {
  double few = rate_of("max_steps: 25").rate, many = rate_of("max_steps: 100").rate;
  ck_assert_double_eq_tol(few / many, 2, 1e-12);
}
END_TEST

START_TEST(test_methods) {
  static const char *const methods[] = {"zo_method: fzoo",
                                        "zo_method: lozo",
                                        "zo_method: sign",
                                        "zo_method: es",
                                        "zo_method: hizoo",
                                        "adapter: lora\nzo_optimizer: adam",
                                        "adapter: lora\nzo_directions: batch"};
  char more[200];
  for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
    snprintf(more, sizeof more, "max_steps: 100\n%s", methods[i]);
    struct zf_auto_rate rate = rate_of(more);
    ck_assert_msg(rate.rate > 0 && isfinite(rate.rate), "%s", methods[i]);
    if (strstr(methods[i], "sign") || strstr(methods[i], "adam")) ck_assert(rate.noise == 1);
  }
}
END_TEST

static int add_stretch(struct zf_rate_control *control, double mean, double spread) {
  int halved = 0;
  for (int i = 0; i < 100; i++)
    halved += zf_rate_control_add(control, mean + (i % 2 ? spread : -spread));
  return halved;
}

/* A stretch of losses m +- s has a standard error of s / sqrt(99). */
START_TEST(test_control) {
  struct zf_rate_control control = {0};
  ck_assert_int_eq(add_stretch(&control, 1, 0.2), 0);
  ck_assert_int_eq(add_stretch(&control, 0.9, 0.2), 0);
  ck_assert_int_eq(add_stretch(&control, 0.9 + 1.9 * 0.2 / sqrt(99), 0.2), 0);
  ck_assert(zf_rate_control_factor(&control) == 1);
  ck_assert_int_eq(add_stretch(&control, 0.9 + 2.1 * 0.2 / sqrt(99), 0.2), 1);
  ck_assert(zf_rate_control_factor(&control) == 0.5);
  ck_assert_int_eq(add_stretch(&control, 0.8, 0.2), 0);
  ck_assert_int_eq(add_stretch(&control, 1.5, 0.2), 1);
  ck_assert(zf_rate_control_factor(&control) == 0.25);
}
END_TEST

int main(void) {
  Suite *s = suite_create("auto_rate");
  TCase *t = tcase_create("auto_rate");
  begin_kernels();
  tcase_set_timeout(t, 300);
  tcase_add_test(t, test_bits);
  tcase_add_test(t, test_steps);
  tcase_add_test(t, test_methods);
  tcase_add_test(t, test_control);
  suite_add_tcase(s, t);
  return unit_run(s);
}
