/* Probes of the demo model: the same bits for any threads and micro-batches, a loss below that before,
 * numbers that are those of the model's own passes; and what is refused. */
#include "train/measure.h"
#include "train/probe.h"
#include "unit/models.h"

#define ONE_TOKEN                                                                                  \
  "type: classification, prompt: '{text} Would I recommend it?', options: [' No', ' Yes']"

static struct zf_conf *conf_of(const char *data, const char *more) {
  const struct zf_conf_key *const tables[] = {zf_train_keys};
  char text[1024];
  struct zf_conf *c;
  snprintf(text, sizeof text,
           "base_model: datasets/demo/model\nmethod: probe\nthreads: 1\nmicro_batch_size: 16\n"
           "compute: f32\nnum_train: 200\n%s\ndatasets: [{path: demo/train.jsonl, %s}]\n",
           more, data);
  ck_ok(zf_conf_new(&c, tables, 1));
  ck_ok(zf_conf_text(c, text, strlen(text), "test"));
  ck_ok(zf_conf_check(c));
  return c;
}

static double train_loss(struct zf_run *run) {
  struct zf_perturb none = zf_perturb_none();
  double sum = 0, loss;
  for (int64_t place = 0; place < 192; place += run->batch) {
    ck_ok(zf_run_batch_loss(run, place, &none, &loss));
    sum += loss * (double)run->batch / 192;
  }
  return sum;
}

/* Fits; *hash: of the weights afterwards. */
static struct zf_probe_report probe_of(const char *data, const char *more, char hash[33]) {
  struct zf_conf *conf = conf_of(data, more);
  struct zf_run *run;
  struct zf_probe_report report;
  ck_ok(zf_run_open(&run, conf, ZF_WANT_TRAIN));
  double before = train_loss(run);
  ck_ok(zf_probe_fit(run, &report));
  ck_assert_double_lt(train_loss(run), before);
  ck_assert_int_eq(report.examples, 200);
  ck_assert_int_eq(report.held, 200);
  ck_assert_double_le(report.loss, report.loss_before);
  ck_assert_double_ge(report.own, 0);
  ck_assert_double_gt(report.ridge, 0);
  ck_ok(zf_model_hash(run->model, hash));
  zf_run_free(run);
  zf_conf_free(conf);
  return report;
}

static const char *const kinds[][2] = {
    {ONE_TOKEN, ""},
    {ONE_TOKEN, "adapter: tokens\ntoken_indices: [346, 432]"},
    {"type: labels, prompt: '{text}', options: ['no', 'yes']", ""},
    {ONE_TOKEN, "trained_dtype: bf16"},
    {ONE_TOKEN, "streaming: true"},
};

START_TEST(test_bits) {
  char first[33], hash[33], more[256];
  static const char *const ways[] = {"threads: 2", "micro_batch_size: 7"};
  int labels = strstr(kinds[_i][0], "labels") != NULL;
  struct zf_probe_report report = probe_of(kinds[_i][0], kinds[_i][1], first);
  ck_assert_int_eq(report.passes, 13);
  ck_assert_int_eq(report.tied, !labels);
  ck_assert_double_gt(report.accuracy, report.accuracy_before);
  for (int i = 0; i < 2; i++) {
    struct zf_conf *conf;
    snprintf(more, sizeof more, "%s\n", kinds[_i][1]);
    conf = conf_of(kinds[_i][0], more);
    struct zf_run *run;
    struct zf_probe_report other;
    ck_ok(zf_conf_word(conf, i ? "micro_batch_size=7" : "threads=2"));
    ck_ok(zf_run_open(&run, conf, ZF_WANT_TRAIN));
    ck_ok(zf_probe_fit(run, &other));
    ck_ok(zf_model_hash(run->model, hash));
    ck_assert_msg(!strcmp(hash, first), "%s", ways[i]);
    ck_assert_double_eq(other.loss, report.loss);
    zf_run_free(run);
    zf_conf_free(conf);
  }
  zf_kern_threads(1);
}
END_TEST

/* The numbers of the report are those of the model's own passes. */
START_TEST(test_report) {
  struct zf_conf *conf = conf_of(ONE_TOKEN, "");
  struct zf_run *run;
  struct zf_probe_report report;
  struct zf_metrics before, after;
  ck_ok(zf_run_open(&run, conf, ZF_WANT_TRAIN));
  ck_ok(zf_evaluate(&before, run->scorer, run->data.train, 0, NULL, NULL));
  ck_ok(zf_probe_fit(run, &report));
  ck_ok(zf_evaluate(&after, run->scorer, run->data.train, 0, NULL, NULL));
  ck_assert_double_eq_tol(report.loss_before, before.loss, 1e-5);
  ck_assert_double_eq_tol(report.accuracy_before, before.accuracy, 1e-9);
  ck_assert_double_le(after.loss, report.loss); /* an example in the fit helps itself */
  ck_assert_double_ge(after.accuracy, 0.9);
  ck_assert_double_eq(run->forecast.total - run->forecast.resident_before >= zf_probe_bytes(run),
                      1);
  zf_run_free(run);
  zf_conf_free(conf);
}
END_TEST

/* Zeroth-order steps go on from the rows of a probe. */
START_TEST(test_start_of_steps) {
  struct zf_conf *conf = conf_of(ONE_TOKEN, "learning_rate: 1e-4\nmax_steps: 4");
  struct zf_run *run;
  struct zf_probe_report report;
  double first, loss;
  ck_ok(zf_conf_word(conf, "method=mezo"));
  ck_ok(zf_run_open(&run, conf, ZF_WANT_TRAIN));
  first = train_loss(run);
  ck_ok(zf_probe_fit(run, &report));
  double start = train_loss(run);
  ck_assert_double_lt(start, first);
  for (int64_t step = 1; step <= 4; step++) ck_ok(zf_measure_step(run, step, &loss));
  ck_assert_double_lt(train_loss(run), first);
  zf_run_free(run);
  zf_conf_free(conf);
}
END_TEST

static int stop_now(void *ctx) {
  (void)ctx;
  return 1;
}

START_TEST(test_stopped) {
  struct zf_conf *conf = conf_of(ONE_TOKEN, "");
  struct zf_run *run;
  struct zf_probe_report report;
  char hash[33];
  ck_ok(zf_run_open(&run, conf, ZF_WANT_TRAIN));
  ck_fails(zf_probe_fit_while(run, &report, stop_now, NULL), ZF_ESTOPPED, "interrupted");
  ck_assert_int_eq(report.examples, 0);
  ck_ok(zf_model_hash(run->model, hash));
  ck_assert_str_eq(hash, run->start_hash);
  zf_run_free(run);
  zf_conf_free(conf);
}
END_TEST

static const struct {
  const char *data, *more, *message;
} refused[] = {
    {"type: text, text: '{text}'", "", "expected classification, masked or labels"},
    {"type: completion, prompt: '{text}', completion: ' Yes'", "", "the data are of another type"},
    {"type: classification, prompt: '{text} Would I', options: [' hate it.', ' recommend it!']", "",
     "train.jsonl:"},
    {"type: classification, prompt: '{text} It', options: [' Yes', ' Yes']", "",
     "options 0 and 1 are the same token"},
    {ONE_TOKEN, "trainable: ['model.layers.*']", "is not trained"},
    {ONE_TOKEN, "adapter: lora", "is not trained"},
    {"type: classification, prompt: '{text} Would I', options: [' hate it.', ' recommend it!']",
     "streaming: true", ""},
};

START_TEST(test_refused) {
  struct zf_conf *conf = conf_of(refused[_i].data, refused[_i].more);
  struct zf_run *run = NULL;
  struct zf_probe_report report;
  if (*refused[_i].message) {
    ck_fails(zf_run_open(&run, conf, ZF_WANT_TRAIN), ZF_EUSAGE, refused[_i].message);
  } else { /* a stream is known when it is read */
    ck_ok(zf_run_open(&run, conf, ZF_WANT_TRAIN));
    ck_fails(zf_probe_fit(run, &report), ZF_EUSAGE, "options of one token each");
  }
  zf_run_free(run);
  zf_conf_free(conf);
}
END_TEST

/* learning_rate is required by backpropagation. */
START_TEST(test_keys) {
  struct zf_conf *conf = conf_of(ONE_TOKEN, "zo_eps: 1e-2\nlearning_rate: 1\nmax_steps: 3");
  const char *key[4];
  ck_assert_int_eq(zf_settings_unused(conf, ZF_METHOD_PROBE, key, 4), 3);
  ck_assert_int_eq(zf_settings_unused(conf, ZF_METHOD_MEZO, key, 4), 0);
  zf_conf_free(conf);
  conf = conf_of(ONE_TOKEN, "");
  ck_ok(zf_conf_word(conf, "method=adamw"));
  ck_ok(zf_conf_check(conf));
  struct zf_settings settings;
  ck_fails(zf_settings_fill(&settings, conf), ZF_EUSAGE, "method adamw needs a learning_rate");
  zf_settings_free(&settings);
  zf_conf_free(conf);
}
END_TEST

int main(void) {
  Suite *s = suite_create("probe");
  TCase *t = tcase_create("probe");
  begin_kernels();
  tcase_set_timeout(t, 300);
  tcase_add_loop_test(t, test_bits, 0, (int)(sizeof kinds / sizeof *kinds));
  tcase_add_test(t, test_report);
  tcase_add_test(t, test_start_of_steps);
  tcase_add_test(t, test_stopped);
  tcase_add_loop_test(t, test_refused, 0, (int)(sizeof refused / sizeof *refused));
  tcase_add_test(t, test_keys);
  suite_add_tcase(s, t);
  return unit_run(s);
}
