/* zoft eval: scores a model on the data of a config, or on a text file. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "base/file.h"
#include "eval/metrics.h"
#include "eval/textf1.h"
#include "load.h"
#include "ui.h"

static const char *text_file, *compute;
static double fail_under = NAN;
static int generate_f1;

static const struct zc_opt options[] = {
    {"text", 0, ZC_STR, "FILE", "score the lines of a text file instead of the config's data",
     &text_file},
    {"generate", 0, ZC_FLAG, NULL, "completion tasks: decode greedily and report token F1",
     &generate_f1},
    {"compute", 0, ZC_STR, "NAME", "with --text: f32 (default) or bf16 products", &compute},
    {"fail-under", 0, ZC_NUM, "X", "exit 5 when accuracy (percent) is below X", &fail_under},
    {0},
};

static void add_rows(struct zc_table *t, const char *set, const struct zf_metrics *m, double f1) {
  char n[32], l[32], p[32], a[32], f[32];
  snprintf(n, sizeof n, "%lld", (long long)m->examples);
  zc_metric(f, m, "macro F1");
  if (isfinite(f1)) snprintf(f, sizeof f, "%.1f %%", 100 * f1);
  zc_table_row(t,
               (const char *const[]){set, n, zc_metric(l, m, "loss"), zc_metric(p, m, "perplexity"),
                                     zc_metric(a, m, "accuracy"), f});
}

struct result {
  const char *set;
  struct zf_metrics m;
  double f1; /* of decoded text; NaN: not asked */
};

static void print_results(const struct result *res, int n) {
  if (zc_common.json) {
    struct zf_buf b = {0};
    zf_buf_puts(&b, "{");
    for (int i = 0; i < n; i++) {
      zf_buf_printf(&b, "\"%s\": {", res[i].set);
      zf_metrics_json(&b, &res[i].m);
      if (isfinite(res[i].f1)) zf_buf_printf(&b, ", \"generated_f1\": %.17g", res[i].f1);
      zf_buf_puts(&b, "}, ");
    }
    printf("%s\"peak_rss_bytes\": %lld}\n", b.data, (long long)zf_peak_rss());
    zf_buf_free(&b);
    return;
  }
  struct zc_table *t = zc_table_new("lrrrrr");
  zc_table_row(t, (const char *const[]){"", "examples", "loss", "perplexity", "accuracy", "F1"});
  for (int i = 0; i < n; i++) add_rows(t, res[i].set, &res[i].m, res[i].f1);
  zc_table_print(t, 1);
}

static int gate(const struct result *res, int n) {
  for (int i = 0; isfinite(fail_under) && i < n; i++) {
    if (!isfinite(res[i].m.accuracy))
      return zf_error(ZF_EUSAGE, "--fail-under: only classification has an accuracy");
    if (100 * res[i].m.accuracy < fail_under)
      return zf_error(ZF_EGATE, "%s accuracy %.1f %% is below --fail-under %g", res[i].set,
                      100 * res[i].m.accuracy, fail_under);
  }
  return 0;
}

static int eval_config(const struct zc_args *a) {
  struct zf_conf *conf = NULL;
  struct zf_run *r = NULL;
  struct result res[2];
  int n = 0, rc = zc_conf_load(&conf, a, zf_train_keys);
  if (!rc) rc = zf_run_open(&r, conf, ZF_WANT_DEV | ZF_WANT_TEST);
  const struct zf_dataset *set[] = {r ? r->data.dev : NULL, r ? r->data.test : NULL};
  static const char *const name[] = {"dev", "test"};
  if (!rc && !set[0] && !set[1])
    rc = zf_error(ZF_EUSAGE, "nothing to evaluate: the config has no val_datasets, val_set_size or "
                             "test_datasets");
  if (!rc) zc_say_compute(r->model, r->set.compute);
  for (int k = 0; !rc && k < 2; k++) {
    if (!set[k]) continue;
    zc_say_counts(set[k], name[k]);
    res[n] = (struct result){.set = name[k], .f1 = NAN};
    rc = zf_evaluate(&res[n].m, r->scorer, set[k], r->set.micro_batch, NULL, NULL);
    if (!rc && generate_f1) rc = zf_text_f1(&res[n].f1, r->model, r->tok, set[k], r->set.compute);
    n++;
  }
  if (!rc) {
    print_results(res, n);
    rc = gate(res, n);
  }
  zf_run_free(r);
  zf_conf_free(conf);
  return rc;
}

/* A text file needs no config: its lines are texts, split at the model's context. */
static int eval_text(const char *base_model) {
  struct zf_model *m = NULL;
  struct zf_tok *tok = NULL;
  struct zf_records *rec = NULL;
  struct zf_dataset *d = NULL;
  struct zf_forward *f = NULL;
  struct zf_scorer *s = NULL;
  struct result res = {.set = "text", .f1 = NAN};
  enum zf_compute c;
  char *text = NULL;
  size_t len = 0;
  int rc = zc_compute(&c, compute);
  if (!rc) rc = zc_open_model(&m, &tok, base_model);
  if (!rc) rc = zf_score_causal(m);
  if (!rc) zc_say_compute(m, c);
  if (!rc) rc = zf_read_file(&text, &len, text_file, (size_t)1 << 40);
  if (!rc) rc = zf_records_parse(&rec, text, len, "lines.txt");
  if (!rc) {
    struct zf_data_spec spec = {
        .type = ZF_TASK_TEXT, .sequence_len = m->config.context, .excess = ZF_EXCESS_SPLIT};
    rc = zf_dataset_new(&d, ZF_TASK_TEXT);
    if (!rc) rc = zf_dataset_add(d, rec, NULL, 0, &spec, tok);
    if (!rc) rc = zf_dataset_check(d, "text");
  }
  if (!rc) {
    struct zf_limits lim = zf_score_limits((const struct zf_dataset *const *)&d, 1, 8, 1);
    lim.compute = c;
    rc = zf_forward_new(&f, m, &lim);
    if (!rc) rc = zf_scorer_new(&s, f, &lim);
  }
  if (!rc) rc = zf_evaluate(&res.m, s, d, 0, NULL, NULL);
  if (!rc) print_results(&res, 1);
  free(text);
  zf_scorer_free(s);
  zf_forward_free(f);
  zf_dataset_free(d);
  zf_records_free(rec);
  zf_tok_free(tok);
  zf_model_free(m);
  return rc;
}

static int run(const struct zc_args *a) {
  if (!text_file) {
    if (a->nword == 0 && a->nset == 0)
      return zf_error(ZF_EUSAGE, "expected a config, or a model and --text FILE");
    if (compute)
      return zf_error(ZF_EUSAGE, "--compute is for --text: a config says compute=%s", compute);
    return eval_config(a);
  }
  if (a->nword != 1 || a->nset)
    return zf_error(ZF_EUSAGE, "expected one model directory before --text");
  return eval_text(a->word[0]);
}

const struct zc_command zc_eval = {
    "eval",
    "score a model: loss, perplexity, accuracy, F1",
    "zoft eval CONFIG [key=value ...] [options]   or   zoft eval MODEL --text FILE",
    "With a config, scores its dev and test data with base_model (name a tuned model by\n"
    "base_model=DIR). With --text, every non-empty line of FILE is a text.\n\n"
    "Examples:\n"
    "  zoft eval configs/demo.yaml\n"
    "  zoft eval configs/demo.yaml base_model=out/demo --fail-under 90\n"
    "  zoft eval out/demo --text README.md --json\n",
    options,
    run,
};
