/* Training by backpropagation on the demo model: the losses of a step are the bits of a plain
 * forward pass, and the gradient is the slope of that loss, for every kind of objective. */
#include <math.h>

#include "train/backprop.h"
#include "train/measure.h"
#include "unit/models.h"

static const char *const objectives[] = {
    /* options of one token behind a shared prompt */
    "type: classification, prompt: '{text} Would I recommend it?', options: [' No', ' Yes']",
    /* options of several tokens */
    "type: classification, prompt: '{text} Would I', options: [' hate it.', ' recommend it very "
    "much!']",
    "type: completion, prompt: '{text}', completion: ' Would I recommend it?'",
    "type: text, text: '{text}'",
};
enum { OBJECTIVES = sizeof objectives / sizeof *objectives };

static struct zf_conf *conf_of(const char *objective, const char *method, const char *more) {
  const struct zf_conf_key *const tables[] = {zf_train_keys};
  char text[1024];
  struct zf_conf *c;
  snprintf(text, sizeof text,
           "base_model: datasets/demo/model\nlearning_rate: 1e-3\nmax_steps: 5\nthreads: 1\n"
           "micro_batch_size: 6\ngradient_accumulation_steps: 2\ncompute: f32\nnum_train: 40\n"
           "method: %s\n%s\ndatasets: [{path: demo/train.jsonl, %s}]\n",
           method, more, objective);
  ck_ok(zf_conf_new(&c, tables, 1));
  ck_ok(zf_conf_text(c, text, strlen(text), "test"));
  ck_ok(zf_conf_check(c));
  return c;
}

/* Moves the weights by `by` along the gradient of step 1; returns the loss there. */
static double loss_along(struct zf_run *r, double by) {
  struct zf_perturb none = zf_perturb_none();
  double loss, norm;
  ck_ok(zf_backprop_gradient(r, 1, &loss, &norm));
  zf_backprop_update(r, 1, by);
  ck_ok(zf_run_batch_loss(r, 0, &none, &loss));
  zf_model_reset(r->model);
  return loss;
}

START_TEST(test_slope) {
  struct zf_conf *c = conf_of(objectives[_i], "sgd", "");
  struct zf_run *r;
  struct zf_perturb none = zf_perturb_none();
  double plain, loss, norm;
  ck_ok(zf_run_open(&r, c, ZF_WANT_TRAIN));
  ck_ok(zf_run_batch_loss(r, 0, &none, &plain));
  ck_ok(zf_backprop_gradient(r, 1, &loss, &norm));
  ck_assert_double_eq(loss, plain);
  ck_assert_double_gt(norm, 0);
  zf_backprop_update(r, 1, 0); /* gradients to zero again */
  /* The loss changes by some 1e-3 of the norm; of it f32's rounding is 1e-7, so 1e-4 and, of third
     order, the square of the distance. */
  double by = 1e-3 / norm, slope = (loss_along(r, -by) - loss_along(r, by)) / (2 * by);
  ck_assert_msg(fabs(slope / (norm * norm) - 1) < 5e-3, "slope %g, square of the norm %g", slope,
                norm * norm);
  zf_run_free(r);
  zf_conf_free(c);
}
END_TEST

/* The cut into micro-batches changes the order of sums alone. */
START_TEST(test_accumulation) {
  double loss[2], norm[2];
  for (int i = 0; i < 2; i++) {
    struct zf_conf *c = conf_of(objectives[1], "adamw", "");
    struct zf_run *r;
    ck_ok(zf_conf_word(c, i ? "micro_batch_size=12" : "micro_batch_size=3"));
    ck_ok(zf_conf_word(c, i ? "gradient_accumulation_steps=1" : "gradient_accumulation_steps=4"));
    ck_ok(zf_run_open(&r, c, ZF_WANT_TRAIN));
    ck_ok(zf_backprop_gradient(r, 1, &loss[i], &norm[i]));
    zf_run_free(r);
    zf_conf_free(c);
  }
  ck_assert_double_eq(loss[0], loss[1]);
  ck_assert_double_eq_tol(norm[0] / norm[1], 1, 1e-5);
}
END_TEST

START_TEST(test_learns) {
  static const char *const method[] = {"sgd", "sgd_momentum", "adamw"};
  struct zf_conf *c = conf_of(objectives[0], method[_i], "gradient_checkpointing: true");
  struct zf_run *r;
  struct zf_perturb none = zf_perturb_none();
  double first, last, loss;
  ck_ok(zf_conf_word(c, _i == 2 ? "learning_rate=1e-3" : "learning_rate=1e-2"));
  ck_ok(zf_run_open(&r, c, ZF_WANT_TRAIN));
  ck_ok(zf_run_batch_loss(r, 0, &none, &first));
  ck_assert_int_gt(r->forecast.gradients, 0);
  ck_assert_int_eq(r->forecast.optimizer, _i * r->forecast.gradients);
  for (int64_t t = 1; t <= 8; t++) ck_ok(zf_measure_step(r, t, &loss));
  ck_ok(zf_run_batch_loss(r, 0, &none, &last));
  ck_assert_double_lt(last, first);
  zf_run_free(r);
  zf_conf_free(c);
}
END_TEST

START_TEST(test_idle_keys) {
  struct zf_conf *c =
      conf_of(objectives[0], "adamw", "zo_eps: 1e-2\nmomentum: 0.5\nadam_beta2: 0.9");
  const char *key[4];
  ck_assert_int_eq(zf_settings_unused(c, ZF_METHOD_ADAMW, key, 4), 2);
  ck_assert_str_eq(key[0], "zo_eps");
  ck_assert_str_eq(key[1], "momentum");
  ck_assert_int_eq(zf_settings_unused(c, ZF_METHOD_MEZO, key, 4), 2);
  zf_conf_free(c);
}
END_TEST

/* A forecast made without weights is the one of the run itself. */
START_TEST(test_forecast_of_shapes) {
  struct zf_conf *c = conf_of(objectives[3], "adamw", "");
  struct zf_run *r, *shapes;
  struct zf_forecast a, b;
  ck_ok(zf_run_open(&r, c, ZF_WANT_TRAIN));
  ck_ok(zf_run_open_shapes(&shapes, c, NULL, NULL));
  for (int m = 0; m < ZF_METHODS; m++)
    for (int checkpoint = 0; checkpoint < 2; checkpoint++) {
      ck_ok(zf_run_forecast(&a, r, (enum zf_method)m, checkpoint));
      ck_ok(zf_run_forecast(&b, shapes, (enum zf_method)m, checkpoint));
      ck_assert_int_eq(a.total - a.resident_before, b.total - b.resident_before);
    }
  zf_run_free(shapes);
  zf_run_free(r);
  zf_conf_free(c);
}
END_TEST

/* Batches of uneven examples are forecast by what they hold, not by the longest of all together. */
START_TEST(test_forecast_of_batches) {
  struct zf_conf *c = conf_of(objectives[3], "adamw", "");
  struct zf_run *r;
  int64_t most = 0, index[6], n;
  ck_ok(zf_run_open(&r, c, ZF_WANT_TRAIN));
  for (int64_t place = 0; place < r->steps * r->batch; place += 6) {
    int64_t tokens = 0;
    ck_ok(zf_run_data_batch(&r->data, place, 6, index, &n));
    for (int64_t i = 0; i < n; i++) tokens += zf_example_tokens(r->data.train, index[i]);
    if (tokens > most) most = tokens;
  }
  ck_assert_int_eq(r->load.tokens, most);
  ck_assert_int_eq(r->limits.tokens, most);
  ck_assert_int_ge(r->largest_steps[0], 1);
  ck_assert_int_le(r->largest_steps[0], r->steps);
  ck_assert_int_lt(r->forecast.total, r->forecast.bound);
  zf_run_free(r);
  zf_conf_free(c);
}
END_TEST

int main(void) {
  Suite *s = suite_create("backprop");
  TCase *t = tcase_create("backprop");
  begin_kernels();
  tcase_set_timeout(t, 300);
  tcase_add_loop_test(t, test_slope, 0, OBJECTIVES);
  tcase_add_test(t, test_accumulation);
  tcase_add_loop_test(t, test_learns, 0, 3);
  tcase_add_test(t, test_idle_keys);
  tcase_add_test(t, test_forecast_of_shapes);
  tcase_add_test(t, test_forecast_of_batches);
  suite_add_tcase(s, t);
  return unit_run(s);
}
