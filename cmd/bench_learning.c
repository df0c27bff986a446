/* zoft bench learning: what a user gives up and gains.  Each way trains on the config's data, by
 * `zoft train` in a process of its own, within one budget of forward passes; dev scores are read
 * back from its metrics.jsonl.  A backward pass counts as two forward passes, which its products
 * are, and checkpointing as one more. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/file.h"
#include "base/proc.h"
#include "bench_internal.h"
#include "fmt/json.h"
#include "report.h"
#include "train/settings.h"
#include "ui.h"

enum { MOST = 6, POINTS = 256, SCORES = 10 };

struct curve {
  const struct zc_bench_way *way;
  double lr;
  int64_t steps, passes; /* a step's */
  int count;
  double step[POINTS], forward[POINTS], seconds[POINTS], joules[POINTS], loss[POINTS],
      accuracy[POINTS];
};

struct learning {
  struct curve curve[MOST];
  int count, classify;
  char out[400];
  int64_t budget;
};

/* "adamw=1e-3,mezo=1e-4": the rate of one way, or the config's. */
static int rate_of(double *lr, const char *list, const char *way) {
  size_t n = strlen(way);
  for (const char *s = list; s && *s; s += strcspn(s, ",") + (s[strcspn(s, ",")] == ',')) {
    if (strncmp(s, way, n) || s[n] != '=') continue;
    char *end;
    *lr = strtod(s + n + 1, &end);
    if (end > s + n + 1 && (!*end || *end == ',') && *lr > 0) return 0;
    return zf_error(ZF_EUSAGE, "--lr: expected way=number, found '%s'", s);
  }
  return 0;
}

static int prepare(struct learning *learning, const struct zf_conf *conf) {
  const struct zc_bench_options *options = &zc_bench_options;
  const struct zc_bench_way *way[MOST];
  int64_t probes = zf_conf_int(conf, "zo_probes", 1);
  learning->budget =
      options->budget_given ? options->budget : 2 * probes * zf_conf_int(conf, "max_steps", 0);
  if (learning->budget < 1)
    return zf_error(ZF_EUSAGE, "--budget: how many forward passes? (max_steps is not set)");
  if (!zf_conf_maps(conf, "val_datasets") && zf_conf_num(conf, "val_set_size", 0) == 0)
    return zf_error(ZF_EUSAGE,
                    "learning is measured on a dev set: set val_datasets or val_set_size");
  int n = zc_bench_ways(way, MOST, options->methods ? options->methods : "mezo,adamw");
  if (n < 0) return n;
  snprintf(learning->out, sizeof learning->out, "%s-learning", zf_conf_str(conf, "output_dir"));
  for (int i = 0; i < n; i++) {
    struct curve *curve = &learning->curve[learning->count++];
    if (!strcmp(way[i]->method, "inference"))
      return zf_error(ZF_EUSAGE, "--methods: inference learns nothing");
    curve->way = way[i];
    curve->lr = zf_conf_num(conf, "learning_rate", 0);
    curve->passes = !strcmp(way[i]->method, "mezo") ? 2 * probes : 3 + way[i]->checkpoint;
    curve->steps = learning->budget / curve->passes > 0 ? learning->budget / curve->passes : 1;
    int rc = rate_of(&curve->lr, options->lr, way[i]->name);
    if (rc) return rc;
  }
  return 0;
}

/* One line of metrics.jsonl: dev scores are kept. */
static int take_line(struct learning *learning, struct curve *curve, const char *line, size_t len,
                     const char *path) {
  json_t *object;
  int rc = zf_json_parse(&object, line, len, path);
  if (rc) return rc;
  const char *set = json_string_value(json_object_get(object, "set"));
  if (set && !strcmp(set, "dev") && curve->count < POINTS) {
    static const char *const key[] = {"step", "seconds", "joules", "loss", "accuracy"};
    double *const to[] = {curve->step, curve->seconds, curve->joules, curve->loss, curve->accuracy};
    for (int k = 0; k < 5; k++) {
      const json_t *value = json_object_get(object, key[k]);
      to[k][curve->count] = json_is_number(value) ? json_number_value(value) : NAN;
    }
    curve->forward[curve->count] = curve->step[curve->count] * (double)curve->passes;
    learning->classify |= isfinite(curve->accuracy[curve->count]);
    curve->count++;
  }
  json_decref(object);
  return 0;
}

static int read_curve(struct learning *learning, struct curve *curve, const char *dir) {
  char *path = zf_path_join(dir, "metrics.jsonl"), *text = NULL;
  int rc = path ? zf_read_file(&text, NULL, path, 1 << 28) : ZF_ENOMEM;
  for (char *s = text; !rc && s && *s; s += strcspn(s, "\n") + (s[strcspn(s, "\n")] == '\n'))
    if (*s != '\n') rc = take_line(learning, curve, s, strcspn(s, "\n"), path);
  free(text);
  free(path);
  return rc;
}

static int train_one(struct learning *learning, struct curve *curve, const struct zc_args *args) {
  char word[6][512];
  int n = 0;
  snprintf(word[0], sizeof word[0], "method=%s", curve->way->method);
  snprintf(word[1], sizeof word[1], "max_steps=%lld", (long long)curve->steps);
  snprintf(word[2], sizeof word[2], "eval_steps=%lld",
           (long long)(curve->steps > SCORES ? curve->steps / SCORES : 1));
  snprintf(word[3], sizeof word[3], "output_dir=%s/%s", learning->out, curve->way->name);
  snprintf(word[4], sizeof word[4], "learning_rate=%.9g", curve->lr);
  snprintf(word[5], sizeof word[5], "gradient_checkpointing=%s",
           curve->way->checkpoint ? "true" : "false");
  static const char *const fixed[] = {"overwrite_output_dir=true", "load_best_model_at_end=false",
                                      "eval_on_start=true"};
  const char **argv = zf_calloc(args->nword + args->nset + 16, sizeof *argv);
  if (!argv) return ZF_ENOMEM;
  argv[n++] = "zoft";
  argv[n++] = "train";
  argv[n++] = "-q";
  argv[n++] = "--json";
  for (int i = 0; i < args->nword; i++) argv[n++] = args->word[i];
  for (int i = 0; i < args->nset; i++) argv[n++] = args->set[i];
  for (int i = 0; i < 6; i++) argv[n++] = word[i];
  for (int i = 0; i < 3; i++) argv[n++] = fixed[i];
  struct zf_buf said = {0};
  struct zf_proc proc;
  int rc = zf_proc_self(&proc, &said, argv);
  if (!rc && proc.status)
    rc = zf_error(proc.status >= 128 ? ZF_ESTOPPED
                  : proc.status == 4 ? ZF_EMEMLIMIT
                                     : ZF_EFAIL,
                  "training by %s ended with exit status %d", curve->way->name, proc.status);
  free(argv);
  zf_buf_free(&said);
  return rc ? rc : read_curve(learning, curve, word[3] + strlen("output_dir="));
}

static const struct zc_column columns[] = {
    {"method", "method", ZC_TEXT},       {"learning_rate", "rate", ZC_NUMBER},
    {"step", "step", ZC_COUNT},          {"forward_passes", "forward passes", ZC_COUNT},
    {"seconds", "seconds", ZC_NUMBER},   {"joules", "joules", ZC_NUMBER},
    {"dev_loss", "dev loss", ZC_NUMBER}, {"dev_accuracy", "dev accuracy", ZC_NUMBER},
};

static int write_report(struct learning *learning) {
  struct zc_report report = {.title = "Learning: zeroth order and backpropagation",
                             .column = columns,
                             .columns = sizeof columns / sizeof *columns};
  struct zc_series by[3][MOST];
  char what[400], where[500];
  int energy = 0;
  for (int i = 0; i < learning->count; i++) {
    struct curve *curve = &learning->curve[i];
    const double *y = learning->classify ? curve->accuracy : curve->loss;
    const double *const x[] = {curve->forward, curve->seconds, curve->joules};
    for (int k = 0; k < 3; k++)
      by[k][i] = (struct zc_series){curve->way->name, x[k], y, curve->count};
    for (int p = 0; p < curve->count; p++) {
      const double v[] = {curve->lr,        curve->step[p], curve->forward[p], curve->seconds[p],
                          curve->joules[p], curve->loss[p], curve->accuracy[p]};
      struct zc_cell *x_ = zc_report_row(&report);
      if (!x_) return ZF_ENOMEM;
      snprintf(x_[0].text, sizeof x_[0].text, "%s", curve->way->name);
      for (int k = 0; k < 7; k++) x_[1 + k].value = v[k];
      energy |= isfinite(curve->joules[p]);
    }
  }
  snprintf(
      what, sizeof what,
      "One budget of %lld forward passes; a step of backpropagation counts three, of mezo two a "
      "probe. Seconds are of training alone, scoring left out.%s",
      (long long)learning->budget, energy ? "" : " Energy is not measurable here.");
  snprintf(where, sizeof where, "The runs are kept in %s.", learning->out);
  report.note[report.notes++] = what;
  report.note[report.notes++] = where;
  const char *y = learning->classify ? "dev accuracy" : "dev loss";
  struct zc_plot plots[] = {
      {"By forward passes", "forward passes", y, by[0], learning->count, 0, 0, 0},
      {"By time", "seconds", y, by[1], learning->count, 0, 0, 0},
      {"By energy", "joules", y, by[2], learning->count, 0, 0, 0},
  };
  report.plot = plots;
  report.plots = energy ? 3 : 2;
  struct zf_buf out = {0};
  zc_report_write(&report, zc_common.json ? "json" : zc_bench_options.output, &out);
  zc_report_free(&report);
  int rc = zf_buf_ok(&out);
  if (!rc) fputs(out.data, stdout);
  zf_buf_free(&out);
  return rc;
}

int zc_bench_learning(const struct zc_args *args) {
  static struct learning learning;
  struct zf_conf *conf = NULL;
  if (args->nword == 0)
    return zf_error(ZF_EUSAGE, "learning needs a config with data: zoft bench learning CONFIG");
  int rc = zc_report_check(zc_bench_options.output);
  if (!rc) rc = zc_conf_load(&conf, args, zf_train_keys);
  if (!rc) rc = prepare(&learning, conf);
  for (int i = 0; !rc && i < learning.count; i++) {
    zc_bar((double)i / learning.count, learning.curve[i].way->name, 1);
    rc = train_one(&learning, &learning.curve[i], args);
  }
  zc_bar_clear();
  if (!rc) rc = write_report(&learning);
  zf_conf_free(conf);
  return rc;
}
