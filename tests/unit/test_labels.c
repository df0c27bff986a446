/* Several labels, and numbers: losses by Transformers, measures by scikit-learn and SciPy
 * (tests/golden/labels), derivatives by central differences, and every mistake of a row. */
#include <math.h>

#include "eval/labels.h"
#include "eval/metrics.h"
#include "fmt/json.h"
#include "unit/bytes_tok.h"
#include "unit/models.h"

#define GOLDEN "tests/golden/labels/"

static const char *const names[] = {"a", "b", "c"};

static int make_data(struct zf_dataset **out, const char *rows, enum zf_problem problem,
                     int64_t options, const char *const *labels) {
  struct zf_tok *tok = bytes_tok(1);
  struct zf_data_spec spec = {.type = ZF_TASK_LABELS,
                              .prompt = "{text}",
                              .options = options > 1 ? names : NULL,
                              .noptions = options,
                              .problem = problem,
                              .labels = labels,
                              .nlabels = labels ? options : 0,
                              .sequence_len = 64};
  struct zf_records *r;
  ck_ok(zf_records_parse(&r, rows, strlen(rows), "data.jsonl"));
  ck_ok(zf_dataset_new(out, spec.type));
  int rc = zf_dataset_add(*out, r, NULL, 0, &spec, tok);
  for (int64_t t = 0; t < (*out)->pool.count; t++)
    if ((*out)->pool.id[t] > 31) (*out)->pool.id[t] %= 97;
  zf_records_free(r);
  zf_tok_free(tok);
  return rc;
}

static void check_set(const char *name, const json_t *set) {
  char dir[200];
  struct zf_dataset *d;
  struct zf_buf rows = {0};
  json_t *row;
  size_t i;
  snprintf(dir, sizeof dir, GOLDEN "%s", name);
  struct zf_model *m = open_model(dir, &as_stored);
  json_array_foreach(json_object_get(set, "rows"), i, row) {
    char *line = json_dumps(row, JSON_COMPACT);
    zf_buf_printf(&rows, "%s\n", line);
    free(line);
  }
  ck_assert_int_eq(m->config.outputs, json_integer_value(json_object_get(set, "options")));
  ck_ok(make_data(&d, rows.data, m->config.problem, m->config.outputs, NULL));
  struct zf_limits lim = zf_score_limits((const struct zf_dataset *const[]){d}, 1, 3, 1);
  struct zf_forward *f;
  struct zf_scorer *s;
  struct zf_metrics got;
  struct zf_score score[16];
  struct zf_perturb none = zf_perturb_none();
  ck_ok(zf_forward_new(&f, m, &lim));
  ck_ok(zf_scorer_new(&s, f, &lim));
  ck_ok(zf_score_check(m, d));
  ck_ok(zf_score_examples(s, d, NULL, d->count, 0, &none, score));
  for (int64_t k = 0; k < d->count; k++) {
    double want = json_number_value(json_array_get(json_object_get(set, "losses"), (size_t)k));
    ck_assert_double_eq_tol(score[k].loss, want, 1e-5 * (1 + want));
    ck_assert_int_eq(score[k].weight, 1);
  }
  ck_ok(zf_evaluate(&got, s, d, 0, NULL, NULL));
  static const char *const keys[] = {"loss", "f1_micro", "f1", "pearson", "spearman"};
  const double values[] = {got.loss, got.f1_micro, got.f1, got.pearson, got.spearman};
  for (int k = 0; k < 5; k++) {
    const json_t *want = json_object_get(set, keys[k]);
    ck_assert_msg(want ? fabs(values[k] - json_number_value(want)) < 1e-5 * (1 + values[0])
                       : isnan(values[k]),
                  "%s: %s is %.9g", name, keys[k], values[k]);
  }
  ck_assert(isnan(got.accuracy) && isnan(got.perplexity));
  zf_scorer_free(s);
  zf_forward_free(f);
  zf_dataset_free(d);
  zf_model_free(m);
  zf_buf_free(&rows);
}

START_TEST(test_golden) {
  json_t *root, *set;
  const char *name;
  int n = 0;
  begin_kernels();
  ck_ok(zf_json_load(&root, GOLDEN "golden.json"));
  json_object_foreach(json_object_get(root, "sets"), name, set) {
    check_set(name, set);
    n++;
  }
  ck_assert_int_eq(n, 4);
  json_decref(root);
}
END_TEST

START_TEST(test_slopes) {
  static const double x[] = {-3.5, 0, 0.25, 40}, y[] = {1, 0, 1, 0};
  for (int p = ZF_PROBLEM_MULTI; p < ZF_PROBLEMS; p++) {
    double slope[4];
    memcpy(slope, x, sizeof x);
    zf_labels_gradients((enum zf_problem)p, slope, y, 4);
    for (int i = 0; i < 4; i++) {
      double up[4], down[4], h = 1e-6;
      memcpy(up, x, sizeof x);
      memcpy(down, x, sizeof x);
      up[i] += h;
      down[i] -= h;
      double want = zf_labels_loss((enum zf_problem)p, up, y, 4) -
                    zf_labels_loss((enum zf_problem)p, down, y, 4);
      ck_assert_double_eq_tol(slope[i], want / (2 * h), 1e-7 * (1 + fabs(slope[i])));
    }
  }
  ck_assert(isfinite(zf_labels_loss(ZF_PROBLEM_MULTI, (const double[]){1e4, -1e4}, y, 2)));
}
END_TEST

START_TEST(test_correlation) {
  static const double a[] = {1, 2, 3, 4}, up[] = {10, 20, 30, 40}, down[] = {3, 2, 1, 0},
                      flat[] = {5, 5, 5, 5}, curve[] = {1, 8, 27, 64};
  double r;
  ck_assert_double_eq_tol(zf_pearson(a, up, 4), 1, 1e-12);
  ck_assert_double_eq_tol(zf_pearson(a, down, 4), -1, 1e-12);
  ck_assert(isnan(zf_pearson(a, flat, 4)));
  ck_assert(zf_pearson(a, curve, 4) < 0.96);
  ck_ok(zf_spearman(&r, a, curve, 4));
  ck_assert_double_eq_tol(r, 1, 1e-12);
}
END_TEST

static const struct {
  const char *label;
  enum zf_problem problem;
  int64_t options;
  const char *message;
} bad[] = {
    {"1", ZF_PROBLEM_MULTI, 3,
     "data.jsonl:1: field 'label': expected a list of labels, found an integer"},
    {"[3]", ZF_PROBLEM_MULTI, 3, "label 3 is out of range: there are 3 options (0 to 2)"},
    {"[1, 0, 1]", ZF_PROBLEM_MULTI, 3,
     "label 1 stands twice: expected a list of the labels that hold"},
    {"[\"x\"]", ZF_PROBLEM_MULTI, 3, "label 'x' is none of the 3 labels"},
    {"[0.5]", ZF_PROBLEM_MULTI, 3, "expected a text, integer or boolean, found a real number"},
    {"\"x\"", ZF_PROBLEM_REGRESSION, 1, "field 'label': expected a number, found the text x"},
    {"null", ZF_PROBLEM_REGRESSION, 1, "field 'label': expected a number, found null"},
    {"\"1e999\"", ZF_PROBLEM_REGRESSION, 1, "expected a number, found the text 1e999"},
    {"[1, 2]", ZF_PROBLEM_REGRESSION, 3, "expected a list of 3 numbers, found an array of 2"},
};

START_TEST(test_mistakes) {
  char rows[200];
  struct zf_dataset *d;
  snprintf(rows, sizeof rows, "{\"text\": \"abc\", \"label\": %s}\n", bad[_i].label);
  ck_fails(make_data(&d, rows, bad[_i].problem, bad[_i].options, NULL), ZF_EINVALID,
           bad[_i].message);
  zf_dataset_free(d);
}
END_TEST

/* Labels by the names that the data have; numbers as texts, as in a CSV file. */
START_TEST(test_rows) {
  static const char *const labels[] = {"joy", "7", "true"};
  struct zf_dataset *d;
  ck_ok(make_data(
      &d, "{\"text\": \"x\", \"label\": [true, \"joy\"]}\n{\"text\": \"y\", \"label\": []}\n",
      ZF_PROBLEM_MULTI, 3, labels));
  ck_assert_int_eq(d->count, 2);
  ck_assert(d->example[0].label == -1 && d->example[0].single == 1 && d->example[0].nseq == 3);
  ck_assert(d->seq[0].gold == 1 && d->seq[1].gold == 0 && d->seq[2].gold == 1 &&
            d->seq[3].gold == 0);
  ck_assert(!zf_dataset_has_options(d));
  zf_dataset_free(d);
  ck_ok(make_data(&d, "{\"text\": \"x\", \"label\": \"-2.5\"}\n", ZF_PROBLEM_REGRESSION, 1, NULL));
  ck_assert(d->seq[0].gold == -2.5f && d->example[0].single == 1 && d->example[0].nseq == 1);
  zf_dataset_free(d);
}
END_TEST

int main(void) {
  Suite *s = suite_create("labels");
  TCase *t = tcase_create("labels");
  tcase_add_test(t, test_golden);
  tcase_add_test(t, test_slopes);
  tcase_add_test(t, test_correlation);
  tcase_add_loop_test(t, test_mistakes, 0, sizeof bad / sizeof *bad);
  tcase_add_test(t, test_rows);
  suite_add_tcase(s, t);
  return unit_run(s);
}
