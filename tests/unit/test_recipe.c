/* Recipes of tasks: rows to pairs of texts, pairs to tokens, answers to metrics; and all of it against
 * lm-evaluation-harness (tests/golden/compare_lm_eval.py made tests/golden/tasks/golden.json). */
#include <math.h>

#include "eval/task.h"
#include "fmt/json.h"
#include "task/recipe_internal.h"
#include "unit/bytes_tok.h"
#include "unit/models.h"

#define DATA "tests/golden/tasks/data/"

static struct zf_recipe *recipe(const char *yaml) {
  struct zf_recipe *r;
  ck_ok(zf_recipe_parse(&r, yaml, strlen(yaml), "r.yaml"));
  return r;
}

static struct zf_records *rows(const char *text) {
  struct zf_records *rec;
  ck_ok(zf_records_parse(&rec, text, strlen(text), "r.jsonl"));
  return rec;
}

/* --- rows ------------------------------------------------------------------------------------------ */

#define CHOICE "task: t\noutput_type: multiple_choice\n"
#define TEXT "task: t\noutput_type: loglikelihood\n"

/* What one row becomes: contexts in [], continuations in (), the right one with a *. */
static const struct {
  const char *recipe, *row, *want;
} made[] = {
    {CHOICE "doc_to_text: \"{{q}}?\\n\"\ndoc_to_choice: [no, yes]\ndoc_to_target: label\n",
     "{\"q\": \"is it\", \"label\": 1}", "[is it?\n]( no)*( yes)"},
    {CHOICE "doc_to_text: q\ndoc_to_choice: c\ndoc_to_target: \"{{a}}\"\ntarget_delimiter: \"\"\n",
     "{\"q\": \"12\", \"c\": [\"x\", \"y\\u00e9\"], \"a\": \"0\"}", "[12]*(x)(y\xC3\xA9)"},
    {CHOICE "doc_to_text: q\ndoc_to_choice: \"{{[a, b]}}\"\ndoc_to_target: t\ndescription: \"D "
            "{{q}}: \"\n",
     "{\"q\": \"p\", \"a\": \"it's\", \"b\": \"'\", \"t\": \"it's\"}", "[D p: p]*( it's)( ')"},
    {CHOICE
     "doc_to_text: \"{{n}}\"\ndoc_to_choice: \"{{['a ' + x, 'b ' + x]}}\"\ndoc_to_target: rest\n",
     "{\"n\": 1, \"x\": \"z\", \"rest\": \"end.\"}", "[a z]( end.)[b z]*( end.)"},
    {TEXT "doc_to_text: \"{{t.split(' ')[:-1]|join(' ')}}\"\ndoc_to_target: \"{{' '+t.split(' "
          "')[-1]}}\"\n",
     "{\"t\": \"a b c\"}", "[a b]( c)"},
    {CHOICE "doc_to_text: q\ndoc_to_choice: [a, b]\ndoc_to_target: l\n",
     "{\"q\": \"\", \"l\": true}", "[]( a)*( b)"},
};

static void show(struct zf_buf *b, const struct zf_recipe_row *x) {
  for (int32_t i = 0; i < x->count; i++) {
    if (!i || x->own_contexts) zf_buf_printf(b, "[%s]", x->context[i].data);
    zf_buf_printf(b, "%s(%s)", i == x->gold ? "*" : "", x->continuation[i].data);
  }
}

START_TEST(test_rows) {
  struct zf_recipe *r = recipe(made[_i].recipe);
  struct zf_records *rec = rows(made[_i].row);
  struct zf_recipe_row x = {0};
  struct zf_buf b = {0};
  for (int twice = 0; twice < 2; twice++) { /* buffers are used again */
    ck_ok(zf_recipe_apply(r, zf_records_row(rec, 0), &x));
    zf_buf_clear(&b);
    show(&b, &x);
    ck_assert_str_eq(b.data, made[_i].want);
  }
  if (_i == 1) {
    ck_assert_int_eq(x.chars[1], 2);
    ck_assert_int_eq(x.bytes[1], 3);
  }
  zf_buf_free(&b);
  zf_recipe_row_free(&x);
  zf_records_free(rec);
  zf_recipe_free(r);
}
END_TEST

START_TEST(test_shots) {
  struct zf_recipe *r = recipe(CHOICE "doc_to_text: q\ndoc_to_choice: [no, yes]\ndoc_to_target: l\n"
                                      "description: D\nnum_fewshot: 2\n");
  struct zf_records *rec = rows("{\"q\": \"a\", \"l\": 1}\n{\"q\": \"b\", \"l\": 0}\n");
  struct zf_recipe_row x = {0};
  ck_fails(zf_recipe_fewshot(r, NULL, -1), ZF_EUSAGE, "2 examples are wanted");
  ck_fails(zf_recipe_fewshot(r, rec, 1001), ZF_EUSAGE, "at most 1000 examples, found 1001");
  ck_fails(zf_recipe_fewshot(r, rec, 3), ZF_EUSAGE, "has 2 rows, 3 examples are wanted");
  ck_ok(zf_recipe_fewshot(r, rec, -1));
  ck_ok(zf_recipe_apply(r, zf_records_row(rec, 0), &x));
  ck_assert_str_eq(x.context[0].data, "Da yes\n\nb no\n\na");
  zf_recipe_row_free(&x);
  zf_recipe_free(r);
  /* choices that are contexts: the right one, and the target behind it */
  r = recipe(CHOICE "doc_to_text: \"{{l}}\"\ndoc_to_choice: \"{{[q + 1|string, q + 2|string]}}\"\n"
                    "doc_to_target: q\nfewshot_delimiter: \";\"\n");
  ck_ok(zf_recipe_fewshot(r, rec, 1));
  ck_ok(zf_recipe_apply(r, zf_records_row(rec, 1), &x));
  ck_assert_str_eq(x.context[1].data, "a2 a;b2");
  zf_recipe_row_free(&x);
  zf_records_free(rec);
  zf_recipe_free(r);
}
END_TEST

static const struct {
  const char *recipe, *row, *part;
} wrong_rows[] = {
    {CHOICE "fields: [q]\ndoc_to_text: x\ndoc_to_choice: [a, b]\ndoc_to_target: l\n",
     "{\"x\": \"a\", \"l\": 0}", "field 'q' is missing"},
    {CHOICE "doc_to_text: x\ndoc_to_choice: [a, b]\ndoc_to_target: l\n", "{\"x\": \"a\"}",
     "field 'l' is missing"},
    {CHOICE "doc_to_text: x\ndoc_to_choice: [a, b]\ndoc_to_target: l\n",
     "{\"x\": \"a\", \"l\": -1}", "the target -1 is out of range: there are 2 choices (0 to 1)"},
    {CHOICE "doc_to_text: x\ndoc_to_choice: [a, b]\ndoc_to_target: l\n",
     "{\"x\": \"a\", \"l\": \"c\"}", "the target 'c' is none of the 2 choices"},
    {CHOICE "doc_to_text: \"{{gone}}\"\ndoc_to_choice: [a, b]\ndoc_to_target: l\n", "{\"l\": 0}",
     "doc_to_text:1: 'gone' is undefined"},
    {CHOICE "doc_to_text: x\ndoc_to_choice: x\ndoc_to_target: l\n", "{\"x\": \"a\", \"l\": 0}",
     "expected a list of 2 choices or more, found a string"},
    {CHOICE "doc_to_text: x\ndoc_to_choice: c\ndoc_to_target: l\n",
     "{\"x\": \"a\", \"c\": [\"\", \"b\"], \"l\": 0}", "choice 0 is empty"},
    {TEXT "doc_to_text: x\ndoc_to_target: l\n", "{\"x\": \"a\", \"l\": 3}",
     "doc_to_target: expected a text"},
};

START_TEST(test_wrong_rows) {
  struct zf_recipe *r = recipe(wrong_rows[_i].recipe);
  struct zf_records *rec = rows(wrong_rows[_i].row);
  struct zf_recipe_row x = {0};
  ck_fails(zf_recipe_apply(r, zf_records_row(rec, 0), &x), ZF_EINVALID, wrong_rows[_i].part);
  zf_recipe_row_free(&x);
  zf_records_free(rec);
  zf_recipe_free(r);
}
END_TEST

static const struct {
  const char *recipe, *part;
} wrong[] = {
    {CHOICE "doc_to_txt: x\n", "r.yaml:3:1: unknown key 'doc_to_txt': did you mean 'doc_to_text'?"},
    {CHOICE "doc_to_target: x\n", "multiple_choice needs doc_to_choice"},
    {TEXT, "doc_to_target"},
    {TEXT "doc_to_target: x\ndoc_to_choice: [a, b]\n", "only multiple_choice has choices"},
    {"task: t\noutput_type: generate_until\n", "'output_type' expects one of"},
    {TEXT "doc_to_target: \"{{\"\n", "r.yaml:3:16: doc_to_target:1:"},
    {TEXT "doc_to_target: x\nprocess_docs: wikitxt\n",
     "there is no step 'wikitxt': did you mean 'wikitext'?"},
    {TEXT "doc_to_target: x\ncount_in: y\n", "only loglikelihood_rolling counts"},
    {TEXT "doc_to_target: !function utils.f\n", "tag"},
};

START_TEST(test_wrong) {
  struct zf_recipe *r;
  ck_fails(zf_recipe_parse(&r, wrong[_i].recipe, strlen(wrong[_i].recipe), "r.yaml"), ZF_EUSAGE,
           wrong[_i].part);
  ck_assert_ptr_null(r);
}
END_TEST

/* Keys of the harness that have no effect, and a version. */
START_TEST(test_carried) {
  struct zf_buf b = {0};
  struct zf_recipe *r =
      recipe(TEXT "doc_to_target: x\ntag: [a, b]\ndataset_path: o/n\ndataset_name: null\n"
                  "should_decontaminate: true\nmetadata:\n  version: 1.0\n");
  zf_recipe_unused(r, &b);
  ck_assert_str_eq(b.data, "tag, dataset_path, should_decontaminate");
  ck_assert_str_eq(zf_recipe_version(r), "1.0");
  zf_buf_free(&b);
  zf_recipe_free(r);
}
END_TEST

/* Every recipe of the program reads, and its metrics are known. */
START_TEST(test_builtin) {
  int n = 0;
  struct zf_recipe *r;
  struct zf_task_needs needs;
  for (const struct zf_recipe_text *t = zf_recipe_texts; t->name; t++, n++) {
    ck_ok(zf_recipe_open(&r, t->name));
    ck_assert_str_eq(zf_recipe_name(r), t->name);
    ck_ok(zf_task_needs(&needs, r));
    zf_recipe_free(r);
  }
  ck_assert_int_ge(n, 20);
  ck_fails(zf_recipe_open(&r, "helaswag"), ZF_EUSAGE, "did you mean 'hellaswag'?");
  ck_fails(zf_recipe_open(&r, "none.yaml"), ZF_EUSAGE, "none.yaml");
}
END_TEST

START_TEST(test_words) {
  ck_assert_int_eq(zf_doc_words(""), 1);
  ck_assert_int_eq(zf_doc_words("a  b\xC2\xA0"
                                "c"),
                   3);
  ck_assert_int_eq(zf_doc_words(" a\n"), 3);
}
END_TEST

/* --- pairs ----------------------------------------------------------------------------------------- */

static const struct {
  int kind; /* of bytes_tok */
  int64_t length;
  const char *context, *continuation, *want; /* tokens as letters, < BOS, | before the targets */
  const char *part;                          /* or an error */
} pairs[] = {
    {0, 99, "ab", " c", "<ab| c", NULL},
    {0, 99, "ab \n", "c", "<ab| \nc", NULL},
    {0, 99, "ab\xC2\xA0", "c",
     "<ab|\xC2\xA0"
     "c",
     NULL},
    {0, 99, "", "xy", "<|xy", NULL},
    {0, 99, " ", "xy", "<| xy", NULL},
    {0, 99, "", "<s>xy", "<|xy", NULL},
    {0, 99, "<s>ab", "c", "<ab|c", NULL},
    {0, 4, "abcdef", "gh", "def|gh", NULL},
    {0, 4, "abcdef", "ghij", "f|ghij", NULL},
    {0, 4, "ab", "ghijk", NULL, "has 5 tokens, the model reads 4"},
    {0, 4, "ab", "", NULL, "has no token of its own"},
    {1, 99, "ab", "c", "ab|c", NULL},
    {1, 99, "", "c", NULL, "names neither BOS nor EOS"},
};

static void letters(struct zf_buf *b, const struct zf_dataset *d, const struct zf_seq *s) {
  for (int32_t i = 0; i < s->len; i++) {
    int32_t id = d->pool.id[s->at + i];
    if (i == s->target) zf_buf_putc(b, '|');
    zf_buf_putc(b, id == BOS ? '<' : (char)id);
  }
}

START_TEST(test_pairs) {
  struct zf_tok *tok = bytes_tok(pairs[_i].kind);
  struct zf_pairs p;
  struct zf_dataset *d;
  struct zf_buf b = {0};
  ck_ok(zf_pairs_init(&p, tok, pairs[_i].length));
  ck_ok(zf_dataset_new(&d, ZF_TASK_COMPLETION));
  int rc = zf_pairs_add(&p, d, pairs[_i].context, pairs[_i].continuation);
  if (pairs[_i].part) {
    ck_assert_int_ne(rc, 0);
    ck_assert_ptr_nonnull(strstr(zf_error_message(), pairs[_i].part));
  } else {
    ck_ok(rc);
    letters(&b, d, &d->seq[0]);
    ck_assert_str_eq(b.data, pairs[_i].want);
    ck_assert_int_eq(p.truncated, pairs[_i].length == 4);
  }
  zf_buf_free(&b);
  zf_pairs_free(&p);
  zf_dataset_free(d);
  zf_tok_free(tok);
}
END_TEST

/* Every token is predicted once, the last window has as much context as fits. */
START_TEST(test_rolling) {
  static const struct {
    const char *text, *want;
  } t[] = {{"abcdefghi", "<|<abc c|defg efg|hi"},
           {"abcdefg", "<|<abc c|defg"},
           {"ab", "<|<ab"},
           {"", "<|<"}};
  struct zf_tok *tok = bytes_tok(0);
  struct zf_pairs p;
  ck_ok(zf_pairs_init(&p, tok, 4));
  for (int i = 0; i < 4; i++) {
    struct zf_dataset *d;
    struct zf_buf b = {0};
    int64_t windows;
    ck_ok(zf_dataset_new(&d, ZF_TASK_COMPLETION));
    ck_ok(zf_pairs_roll(&p, d, t[i].text, 1, &windows));
    ck_assert_int_eq(windows, d->count);
    for (int64_t k = 0; k < d->count; k++) {
      if (k) zf_buf_putc(&b, ' ');
      letters(&b, d, &d->seq[d->example[k].seq]);
    }
    ck_assert_str_eq(b.data, t[i].want);
    zf_buf_free(&b);
    zf_dataset_free(d);
  }
  zf_pairs_free(&p);
  zf_tok_free(tok);
}
END_TEST

/* --- metrics --------------------------------------------------------------------------------------- */

/* `times` answers of gold g called c. */
static int64_t add(struct zf_answer *a, int64_t n, int times, int g, int c) {
  while (times--) a[n++] = (struct zf_answer){.count = 2, .gold = g, .choice = c};
  return n;
}

#define LIST "doc_to_target: x\nmetric_list:\n"

START_TEST(test_classes) {
  struct zf_recipe *r =
      recipe(CHOICE "doc_to_choice: [a, b]\n" LIST "  - metric: acc\n  - metric: f1\n"
                    "  - {metric: f1, aggregation: macro_f1}\n  - metric: mcc\n");
  struct zf_answer a[10];
  struct zf_task_metrics m;
  int64_t n = add(a, 0, 3, 1, 1); /* tp 3, fn 2, fp 1, tn 4 */
  n = add(a, n, 2, 1, 0);
  n = add(a, n, 1, 0, 1);
  n = add(a, n, 4, 0, 0);
  ck_ok(zf_task_metrics(&m, r, a, n));
  ck_assert_int_eq(m.count, 4);
  ck_assert_double_eq_tol(m.value[0].value, 0.7, 1e-12);
  ck_assert_double_eq_tol(m.value[0].stderr_, sqrt(10 * 0.7 * 0.3 / 9 / 10), 1e-12);
  ck_assert_double_eq_tol(m.value[1].value, 6.0 / 9, 1e-12);
  ck_assert_double_eq_tol(m.value[2].value, (6.0 / 9 + 8.0 / 11) / 2, 1e-12);
  ck_assert_double_eq_tol(m.value[3].value, (3.0 * 4 - 1.0 * 2) / sqrt(4.0 * 5 * 5 * 6), 1e-12);
  ck_ok(zf_task_metrics(&m, r, a, 1));
  ck_assert(isnan(m.value[0].stderr_));
  zf_recipe_free(r);
}
END_TEST

/* Delta-method errors against the jackknife's, which agree to O(1/n): n = 400 rows, 3 percent. */
static void against_jackknife(const struct zf_recipe *r, struct zf_answer *a, int64_t n) {
  struct zf_task_metrics all, less;
  double sum[16] = {0}, squares[16] = {0};
  ck_ok(zf_task_metrics(&all, r, a, n));
  for (int64_t i = 0; i < n; i++) {
    struct zf_answer last = a[n - 1];
    a[n - 1] = a[i];
    a[i] = last;
    ck_ok(zf_task_metrics(&less, r, a, n - 1));
    for (int k = 0; k < less.count; k++) {
      double v = less.value[k].value - all.value[k].value;
      sum[k] += v;
      squares[k] += v * v;
    }
  }
  for (int k = 0; k < all.count; k++) {
    double se = sqrt((double)(n - 1) / (double)n * (squares[k] - sum[k] * sum[k] / (double)n));
    ck_assert_msg(fabs(se / all.value[k].stderr_ - 1) < 0.03, "%s: %g, jackknife %g",
                  all.value[k].metric, all.value[k].stderr_, se);
  }
}

START_TEST(test_errors) {
  struct zf_answer a[400];
  uint32_t x = 1;
  struct zf_recipe *r =
      recipe(CHOICE "doc_to_choice: [a, b]\n" LIST "  - metric: acc\n  - metric: f1\n"
                    "  - {metric: f1, aggregation: macro_f1}\n  - metric: mcc\n");
  for (int i = 0; i < 400; i++) {
    x = x * 1664525 + 1013904223;
    int gold = x >> 30 == 3, off = (x >> 20 & 7) < 2;
    a[i] = (struct zf_answer){.count = 2, .gold = gold, .choice = gold ^ off};
  }
  against_jackknife(r, a, 400);
  zf_recipe_free(r);
  for (int i = 0; i < 400; i++) {
    x = x * 1664525 + 1013904223;
    a[i] = (struct zf_answer){.count = 1,
                              .gold = -1,
                              .choice = -1,
                              .greedy = x >> 31,
                              .words = 5 + (x >> 27 & 7),
                              .size = 30 + (x >> 20 & 31),
                              .ll = -1 - (double)(x >> 8 & 1023) / 1024};
  }
  r = recipe(TEXT "doc_to_target: x\n");
  against_jackknife(r, a, 400);
  zf_recipe_free(r);
  r = recipe("task: t\noutput_type: loglikelihood_rolling\ndoc_to_target: x\n");
  against_jackknife(r, a, 400);
  zf_recipe_free(r);
}
END_TEST

START_TEST(test_choose) {
  int64_t chars[] = {2, 4, 8}, bytes[] = {2, 4, 20};
  struct zf_recipe_row row = {.count = 3, .gold = 1, .chars = chars, .bytes = bytes};
  double ll[] = {-4, -4, -7}, alone[] = {-1, -1, -6};
  struct zf_answer a = {0};
  zf_answer_choose(&a, ll, alone, &row);
  ck_assert_int_eq(a.choice, 0); /* the first of equals */
  ck_assert_int_eq(a.norm, 2);   /* -2, -1, -0.875 */
  ck_assert_int_eq(a.bytes, 2);
  ck_assert_int_eq(a.mutual, 2);
  double e = exp(-3), s = 2 + e;
  ck_assert_double_eq_tol(a.brier, 1 / (s * s) + (1 / s - 1) * (1 / s - 1) + e * e / (s * s),
                          1e-12);
}
END_TEST

static const struct {
  const char *recipe, *part;
} wrong_metrics[] = {
    {TEXT LIST "  - metric: perplexty\n", "unknown metric 'perplexty': did you mean 'perplexity'?"},
    {TEXT LIST "  - metric: acc_norm\n", "'acc_norm' does not suit its output_type"},
    {TEXT LIST "  - {metric: acc, aggregation: median}\n",
     "has the aggregation 'mean', not 'median'"},
};

START_TEST(test_wrong_metrics) {
  struct zf_recipe *r = recipe(wrong_metrics[_i].recipe);
  struct zf_task_needs needs;
  ck_fails(zf_task_needs(&needs, r), ZF_EUSAGE, wrong_metrics[_i].part);
  zf_recipe_free(r);
}
END_TEST

/* --- against the harness ------------------------------------------------------------------------------ */

/* Both compute logits in f32, in another order: the demo model's log-likelihoods, of up to a hundred
 * tokens, differ by some 1e-5; a rule done wrongly moves them by 1e-1 and more. */
static void same_row(const struct zf_task *t, int64_t i, const json_t *want, const char *name) {
  int64_t n = t->seq[i + 1] - t->seq[i];
  int rolling = zf_recipe_output(t->recipe) == ZF_RECIPE_ROLLING;
  ck_assert_int_eq(json_array_size(want), rolling ? 1 : n);
  for (size_t k = 0; k < json_array_size(want); k++) {
    double w = json_number_value(json_array_get(want, k));
    double got = rolling ? t->answer[i].ll : t->ll[t->seq[i] + (int64_t)k].sum;
    ck_assert_msg(fabs(got - w) < 1e-3 * fmax(1, fabs(w) / 100), "%s row %lld: %g, harness %g",
                  name, (long long)i + 1, got, w);
  }
}

static void same_metrics(const struct zf_task *t, json_t *want, const char *name) {
  ck_assert_int_eq(json_object_size(want), t->result.count);
  for (int k = 0; k < t->result.count; k++) {
    const struct zf_task_value *v = &t->result.value[k];
    const json_t *pair = json_object_get(want, v->metric), *err = json_array_get(pair, 1);
    double w = json_number_value(json_array_get(pair, 0));
    ck_assert_msg(fabs(v->value - w) <= 1e-4 * fmax(1, fabs(w)), "%s %s: %g, harness %g", name,
                  v->metric, v->value, w);
    if (json_is_number(err)) ck_assert_double_eq_tol(v->stderr_, json_number_value(err), 1e-9);
  }
}

static void one_task(const struct zf_model *m, const struct zf_tok *tok, const json_t *c) {
  const char *name = json_string_value(json_object_get(c, "task"));
  const json_t *shots = json_object_get(c, "shots"), *ll = json_object_get(c, "ll");
  struct zf_recipe *r;
  struct zf_records *rec, *shot = NULL;
  struct zf_task *t;
  char path[256];
  ck_ok(zf_recipe_open(&r, name));
  snprintf(path, sizeof path, DATA "%s", json_string_value(json_object_get(c, "data")));
  ck_ok(zf_records_open(&rec, path));
  if (json_is_array(shots)) {
    snprintf(path, sizeof path, DATA "%s", json_string_value(json_array_get(shots, 0)));
    ck_ok(zf_records_open(&shot, path));
    ck_ok(zf_recipe_fewshot(r, shot, json_integer_value(json_array_get(shots, 1))));
  }
  ck_ok(zf_task_new(&t, r, rec, 0, tok, m->config.context));
  ck_ok(zf_task_run(t, m, ZF_COMPUTE_F32, NULL, NULL));
  ck_assert_int_eq(json_array_size(ll), t->count);
  for (int64_t i = 0; i < t->count; i++) same_row(t, i, json_array_get(ll, (size_t)i), name);
  same_metrics(t, json_object_get(c, "metrics"), name);
  zf_task_free(t);
  zf_records_free(rec);
  zf_records_free(shot);
  zf_recipe_free(r);
}

START_TEST(test_harness) {
  struct zf_tok *tok;
  json_t *root, *c;
  size_t i;
  begin_kernels();
  struct zf_model *m = open_model("datasets/demo/model", &as_stored);
  ck_ok(zf_tok_open(&tok, "datasets/demo/model"));
  ck_ok(zf_json_load(&root, "tests/golden/tasks/golden.json"));
  ck_assert_str_eq(json_string_value(json_object_get(root, "lm_eval")), "0.4.13");
  ck_assert_int_eq(json_array_size(json_object_get(root, "tasks")), 17);
  json_array_foreach(json_object_get(root, "tasks"), i, c) one_task(m, tok, c);
  json_decref(root);
  zf_tok_free(tok);
  zf_model_free(m);
}
END_TEST

int main(void) {
  Suite *s = suite_create("recipe");
  TCase *c = tcase_create("recipes");
  tcase_set_timeout(c, 120);
  tcase_add_loop_test(c, test_rows, 0, sizeof made / sizeof *made);
  tcase_add_test(c, test_shots);
  tcase_add_loop_test(c, test_wrong_rows, 0, sizeof wrong_rows / sizeof *wrong_rows);
  tcase_add_loop_test(c, test_wrong, 0, sizeof wrong / sizeof *wrong);
  tcase_add_test(c, test_carried);
  tcase_add_test(c, test_builtin);
  tcase_add_test(c, test_words);
  tcase_add_loop_test(c, test_pairs, 0, sizeof pairs / sizeof *pairs);
  tcase_add_test(c, test_rolling);
  tcase_add_test(c, test_classes);
  tcase_add_test(c, test_errors);
  tcase_add_test(c, test_choose);
  tcase_add_loop_test(c, test_wrong_metrics, 0, sizeof wrong_metrics / sizeof *wrong_metrics);
  tcase_add_test(c, test_harness);
  suite_add_tcase(s, c);
  return unit_run(s);
}
