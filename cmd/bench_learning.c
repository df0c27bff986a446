/* zoft bench learning: dev scores of several methods within one budget of forward passes.  Each method trains
 * on the config's data by `zoft train`, in a process of its own; dev scores are read from its
 * metrics.jsonl.  A backward pass counts as two forward passes, since it has twice the products, and
 * checkpointing as one more. */
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

enum { MAX_METHODS = 6, POINTS = 256, SCORES = 10 };

struct learning_curve {
  const struct zc_bench_method *method;
  double lr;
  int64_t steps, passes; /* passes of a step */
  int count;             /* of dev scores, an entry of each array */
  double step[POINTS], forward[POINTS], seconds[POINTS], joules[POINTS], loss[POINTS],
      accuracy[POINTS];
};

struct learning_bench {
  struct learning_curve curves[MAX_METHODS];
  int count, has_accuracy;
  char out_dir[400];
  int64_t budget;
};

/* The learning rate of a method in "adamw=1e-3,mezo=1e-4"; *lr stays where the list does not name it. */
static int rate_of(double *lr, const char *list, const char *name) {
  size_t len = strlen(name);
  for (const char *entry = list ? list : ""; *entry; entry = zc_bench_next(entry, ',')) {
    if (strncmp(entry, name, len) || entry[len] != '=') continue;
    char *end;
    *lr = strtod(entry + len + 1, &end);
    if (end > entry + len + 1 && (!*end || *end == ',') && *lr > 0) return 0;
    return zf_error(ZF_EUSAGE, "--lr: expected method=number, found '%s'", entry);
  }
  return 0;
}

static int prepare(struct learning_bench *learning, const struct zf_conf *conf) {
  const struct zc_bench_options *options = &zc_bench_options;
  const struct zc_bench_method *methods[MAX_METHODS];
  int64_t probes = zf_conf_int(conf, "zo_probes", 1);
  learning->budget =
      options->budget_given ? options->budget : 2 * probes * zf_conf_int(conf, "max_steps", 0);
  if (learning->budget < 1)
    return zf_error(ZF_EUSAGE,
                    "--budget: expected a number of forward passes, as max_steps is not set");
  if (!zf_conf_maps(conf, "val_datasets") && zf_conf_num(conf, "val_set_size", 0) == 0)
    return zf_error(ZF_EUSAGE,
                    "learning is measured on a dev set: set val_datasets or val_set_size");
  int count = zc_bench_find_methods(methods, MAX_METHODS,
                                    options->methods ? options->methods : "mezo,adamw");
  if (count < 0) return count;
  snprintf(learning->out_dir, sizeof learning->out_dir, "%s-learning",
           zf_conf_str(conf, "output_dir"));
  for (int i = 0; i < count; i++) {
    struct learning_curve *curve = &learning->curves[learning->count++];
    if (!strcmp(methods[i]->method, "inference"))
      return zf_error(ZF_EUSAGE, "--methods: inference learns nothing");
    curve->method = methods[i];
    curve->lr = zf_conf_num(conf, "learning_rate", 0);
    curve->passes = !strcmp(methods[i]->method, "mezo") ? 2 * probes : 3 + methods[i]->checkpoint;
    curve->steps = learning->budget / curve->passes > 0 ? learning->budget / curve->passes : 1;
    int rc = rate_of(&curve->lr, options->lr, methods[i]->name);
    if (rc) return rc;
  }
  return 0;
}

/* Takes a dev score from a line of metrics.jsonl. */
static int read_line(struct learning_bench *learning, struct learning_curve *curve,
                     const char *line, size_t len, const char *path) {
  json_t *object;
  int rc = zf_json_parse(&object, line, len, path);
  if (rc) return rc;
  const char *set = json_string_value(json_object_get(object, "set"));
  if (set && !strcmp(set, "dev") && curve->count < POINTS) {
    static const char *const keys[] = {"step", "seconds", "joules", "loss", "accuracy"};
    double *const columns[] = {curve->step, curve->seconds, curve->joules, curve->loss,
                               curve->accuracy};
    for (int i = 0; i < 5; i++) {
      const json_t *value = json_object_get(object, keys[i]);
      columns[i][curve->count] = json_is_number(value) ? json_number_value(value) : NAN;
    }
    curve->forward[curve->count] = curve->step[curve->count] * (double)curve->passes;
    learning->has_accuracy |= isfinite(curve->accuracy[curve->count]);
    curve->count++;
  }
  json_decref(object);
  return 0;
}

static int read_lines(struct learning_bench *learning, struct learning_curve *curve,
                      const char *text, const char *path) {
  for (const char *line = text; *line; line = zc_bench_next(line, '\n')) {
    if (*line == '\n') continue;
    int rc = read_line(learning, curve, line, strcspn(line, "\n"), path);
    if (rc) return rc;
  }
  return 0;
}

static int read_curve(struct learning_bench *learning, struct learning_curve *curve,
                      const char *dir) {
  char *path = zf_path_join(dir, "metrics.jsonl"), *text = NULL;
  int rc = path ? zf_read_file(&text, NULL, path, 1 << 28) : ZF_ENOMEM;
  if (!rc) rc = read_lines(learning, curve, text, path);
  free(text);
  free(path);
  return rc;
}

/* Runs `zoft train` with the words of `args` and the settings. */
static int run_train(const struct zc_args *args, const char settings[][512], int count,
                     const char *method) {
  static const char *const fixed[] = {"overwrite_output_dir=true", "load_best_model_at_end=false",
                                      "eval_on_start=true"};
  int argc = 0, code = ZF_EFAIL;
  const char **argv = zf_calloc(args->nword + args->nset + 16, sizeof *argv);
  if (!argv) return ZF_ENOMEM;
  argv[argc++] = "zoft";
  argv[argc++] = "train";
  argv[argc++] = "-q";
  argv[argc++] = "--json";
  for (int i = 0; i < args->nword; i++) argv[argc++] = args->word[i];
  for (int i = 0; i < args->nset; i++) argv[argc++] = args->set[i];
  for (int i = 0; i < count; i++) argv[argc++] = settings[i];
  for (int i = 0; i < 3; i++) argv[argc++] = fixed[i];
  struct zf_buf output = {0};
  struct zf_proc proc;
  int rc = zf_proc_self(&proc, &output, argv);
  free(argv);
  zf_buf_free(&output);
  if (rc || !proc.status) return rc;
  if (proc.status >= 128) code = ZF_ESTOPPED;
  if (proc.status == 4) code = ZF_EMEMLIMIT;
  return zf_error(code, "training by %s ended with exit status %d", method, proc.status);
}

static int train_one(struct learning_bench *learning, struct learning_curve *curve,
                     const struct zc_args *args) {
  char settings[6][512];
  int64_t eval_steps = curve->steps > SCORES ? curve->steps / SCORES : 1;
  snprintf(settings[0], sizeof settings[0], "method=%s", curve->method->method);
  snprintf(settings[1], sizeof settings[1], "max_steps=%lld", (long long)curve->steps);
  snprintf(settings[2], sizeof settings[2], "eval_steps=%lld", (long long)eval_steps);
  snprintf(settings[3], sizeof settings[3], "output_dir=%s/%s", learning->out_dir,
           curve->method->name);
  snprintf(settings[4], sizeof settings[4],
           curve->lr > 0 ? "learning_rate=%.9g" : "learning_rate=auto", curve->lr);
  snprintf(settings[5], sizeof settings[5], "gradient_checkpointing=%s",
           curve->method->checkpoint ? "true" : "false");
  int rc = run_train(args, (const char(*)[512])settings, 6, curve->method->name);
  return rc ? rc : read_curve(learning, curve, settings[3] + strlen("output_dir="));
}

static const struct zc_column columns[] = {
    {"method", "method", ZC_TEXT},       {"learning_rate", "rate", ZC_NUMBER},
    {"step", "step", ZC_COUNT},          {"forward_passes", "forward passes", ZC_COUNT},
    {"seconds", "seconds", ZC_NUMBER},   {"joules", "joules", ZC_NUMBER},
    {"dev_loss", "dev loss", ZC_NUMBER}, {"dev_accuracy", "dev accuracy", ZC_NUMBER},
};

static int write_report(struct learning_bench *learning) {
  struct zc_report report = {.title = "Learning: zeroth order and backpropagation",
                             .column = columns,
                             .columns = sizeof columns / sizeof *columns};
  struct zc_series series[3][MAX_METHODS];
  char note[400], place[500];
  int has_energy = 0;
  for (int i = 0; i < learning->count; i++) {
    struct learning_curve *curve = &learning->curves[i];
    const double *score = learning->has_accuracy ? curve->accuracy : curve->loss;
    const double *const x[] = {curve->forward, curve->seconds, curve->joules};
    for (int k = 0; k < 3; k++)
      series[k][i] = (struct zc_series){curve->method->name, x[k], score, curve->count};
    for (int point = 0; point < curve->count; point++) {
      const double values[] = {curve->lr,
                               curve->step[point],
                               curve->forward[point],
                               curve->seconds[point],
                               curve->joules[point],
                               curve->loss[point],
                               curve->accuracy[point]};
      struct zc_cell *cell = zc_report_row(&report);
      if (!cell) return ZF_ENOMEM;
      snprintf(cell[0].text, sizeof cell[0].text, "%s", curve->method->name);
      for (int k = 0; k < 7; k++) cell[1 + k].value = values[k];
      has_energy |= isfinite(curve->joules[point]);
    }
  }
  snprintf(note, sizeof note,
           "One budget of %lld forward passes: a step of backpropagation counts as three, a step "
           "of mezo as "
           "two for each probe. Seconds are those of training, without scoring.%s",
           (long long)learning->budget, has_energy ? "" : " Energy is not measurable here.");
  snprintf(place, sizeof place, "The runs are kept in %s.", learning->out_dir);
  report.note[report.notes++] = note;
  report.note[report.notes++] = place;
  const char *score = learning->has_accuracy ? "dev accuracy" : "dev loss";
  struct zc_plot plots[] = {
      {"By forward passes", "forward passes", score, series[0], learning->count, 0, 0, 0},
      {"By time", "seconds", score, series[1], learning->count, 0, 0, 0},
      {"By energy", "joules", score, series[2], learning->count, 0, 0, 0},
  };
  report.plot = plots;
  report.plots = has_energy ? 3 : 2;
  struct zf_buf out = {0};
  zc_report_write(&report, zc_common.json ? "json" : zc_bench_options.output, &out);
  zc_report_free(&report);
  int rc = zf_buf_ok(&out);
  if (!rc) fputs(out.data, stdout);
  zf_buf_free(&out);
  return rc;
}

static int train_all(struct learning_bench *learning, const struct zc_args *args) {
  for (int i = 0; i < learning->count; i++) {
    zc_bar((double)i / learning->count, learning->curves[i].method->name, 1);
    int rc = train_one(learning, &learning->curves[i], args);
    if (rc) return rc;
  }
  return 0;
}

int zc_bench_learning(const struct zc_args *args) {
  static struct learning_bench learning;
  struct zf_conf *conf = NULL;
  if (args->nword == 0)
    return zf_error(ZF_EUSAGE, "learning needs a config with data: zoft bench learning CONFIG");
  int rc = zc_report_check(zc_bench_options.output);
  if (!rc) rc = zc_conf_load(&conf, args, zf_train_keys);
  if (!rc) rc = prepare(&learning, conf);
  if (!rc) rc = train_all(&learning, args);
  zc_bar_clear();
  if (!rc) rc = write_report(&learning);
  zf_conf_free(conf);
  return rc;
}
