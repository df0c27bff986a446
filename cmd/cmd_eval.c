/* zoft eval: scores a model on the data of a config, on a text file, or on standard tasks. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "base/file.h"
#include "calibration.h"
#include "eval/metrics.h"
#include "eval/textf1.h"
#include "eval_task.h"
#include "load.h"
#include "ui.h"

static const char *text_file, *compute_name;
static double fail_under;
static int fail_under_given;
static int generate_f1, list_tasks;
static struct zc_eval_tasks tasks = {0};

static const struct zc_opt options[] = {
    {"text", 0, ZC_STR, "FILE", "score the lines of a text file instead of the config's data",
     &text_file},
    {"generate", 0, ZC_FLAG, NULL, "completion tasks: decode greedily and report token F1",
     &generate_f1},
    {"task", 0, ZC_LIST, "NAME", "score a standard task (--list-tasks), or a recipe NAME.yaml",
     &tasks.task},
    {"data", 0, ZC_LIST, "FILE", "the rows of a --task: .jsonl, .json, .csv, .tsv", &tasks.data},
    {"num-fewshot", 0, ZC_INT, "N", "put N answered rows before every question", &tasks.nshot,
     .max = ZC_UNBOUNDED, .given = &tasks.nshot_given},
    {"fewshot-data", 0, ZC_LIST, "FILE", "the file of these rows: its first N", &tasks.shots},
    {"limit", 0, ZC_INT, "N", "score the first N rows of every --data", &tasks.limit, .min = 1,
     .max = ZC_UNBOUNDED, .given = &tasks.limit_given},
    {"max-length", 0, ZC_INT, "N", "tokens the model reads at most (default: its context)",
     &tasks.length, .min = 1, .max = ZC_UNBOUNDED, .given = &tasks.length_given},
    {"log-samples", 0, ZC_STR, "FILE", "write a JSON line for every row", &tasks.samples},
    {"list-tasks", 0, ZC_FLAG, NULL, "show the tasks and what a row of each holds", &list_tasks},
    ZC_CALIBRATE_OPTION,
    ZC_ADAPTER_OPTION,
    {"compute", 0, ZC_STR, "NAME", "with --text or --task: f32 (default) or bf16 products",
     &compute_name},
    {"fail-under", 0, ZC_NUM, "X", "exit 5 when accuracy (percent) is below X", &fail_under,
     .max = 100, .given = &fail_under_given},
    {0},
};

/* The two metrics that a table shows: of text and choices, of several labels, of numbers. */
static const char *const *metric_names(const struct zf_metrics *metrics) {
  static const char *const choices[] = {"accuracy", "macro F1"},
                           *const several[] = {"micro F1", "macro F1"},
                           *const numbers[] = {"Pearson", "Spearman"};
  if (isfinite(metrics->f1_micro)) return several;
  return isfinite(metrics->pearson) || isfinite(metrics->spearman) ? numbers : choices;
}

static void add_row(struct zc_table *table, const char *set, const struct zf_metrics *metrics,
                    double f1) {
  char examples[32], loss[32], perplexity[32], first[32], second[32];
  snprintf(examples, sizeof examples, "%lld", (long long)metrics->examples);
  zc_metric(second, metrics, metric_names(metrics)[1]);
  if (isfinite(f1)) snprintf(second, sizeof second, "%.1f %%", 100 * f1);
  zc_table_row(table,
               (const char *const[]){set, examples, zc_metric(loss, metrics, "loss"),
                                     zc_metric(perplexity, metrics, "perplexity"),
                                     zc_metric(first, metrics, metric_names(metrics)[0]), second});
}

struct eval_result {
  const char *set;
  struct zf_metrics metrics;
  struct zf_confusion confusion;   /* of choices; count NULL: not there */
  const struct zf_data_spec *spec; /* the names of the options */
  double f1;                       /* of decoded text; NaN: not measured */
  struct zc_calibration calibration;
};

enum { SHOWN_OPTIONS = 12 }; /* more do not fit a screen */

static char *percent(char out[16], double value) {
  if (isfinite(value))
    snprintf(out, 16, "%.1f %%", 100 * value);
  else
    snprintf(out, 16, "-");
  return out;
}

/* For each label: precision, recall, F1, and how often each option was chosen. */
static void print_labels(const struct eval_result *result) {
  const struct zf_confusion *confusion = &result->confusion;
  int64_t labels = confusion->options;
  if (!confusion->count || labels > SHOWN_OPTIONS) return;
  char align[SHOWN_OPTIONS + 6] = "lrrrr", text[SHOWN_OPTIONS + 6][64];
  const char *cell[SHOWN_OPTIONS + 6];
  for (int64_t i = 0; i < labels + 5; i++) cell[i] = text[i];
  for (int64_t i = 0; i < labels; i++) {
    align[5 + i] = 'r';
    char name[64];
    zc_option_name(name, result->spec, i);
    size_t len = strnlen(name, 16);
    while (len && ((unsigned char)name[len] & 0xc0) == 0x80) len--; /* whole characters */
    snprintf(text[5 + i], sizeof *text, "as %.*s", (int)len, name);
  }
  static const char *const title[] = {"", "examples", "precision", "recall", "F1"};
  snprintf(text[0], sizeof *text, "%s", result->set);
  for (int i = 1; i < 5; i++) snprintf(text[i], sizeof *text, "%s", title[i]);
  struct zc_table *table = zc_table_new(align);
  zc_table_row(table, cell);
  for (int64_t label = 0; label < labels; label++) {
    struct zf_label_metrics metrics = zf_label_metrics(confusion, label);
    zc_option_name(text[0], result->spec, label);
    snprintf(text[1], sizeof *text, "%lld", (long long)metrics.examples);
    percent(text[2], metrics.precision);
    percent(text[3], metrics.recall);
    percent(text[4], metrics.f1);
    for (int64_t i = 0; i < labels; i++)
      snprintf(text[5 + i], sizeof *text, "%lld", (long long)confusion->count[label * labels + i]);
    zc_table_row(table, cell);
  }
  putchar('\n');
  zc_table_print(table, 1);
}

/* A table of the options' shares by themselves. */
static void print_calibration(const struct eval_result *results, int count) {
  char align[SHOWN_OPTIONS + 4] = "lrr", text[SHOWN_OPTIONS + 4][64];
  const char *cell[SHOWN_OPTIONS + 4];
  int64_t shares = results[0].calibration.options;
  int shown = results[0].calibration.kind && shares <= SHOWN_OPTIONS;
  if (!shown) return;
  for (int64_t i = 0; i < shares + 3; i++) {
    cell[i] = text[i];
    if (i >= 3) align[i] = 'r';
    if (i >= 3) zc_option_name(text[i], results[0].spec, i - 3);
  }
  struct zc_table *table = zc_table_new(align);
  snprintf(text[0], sizeof *text, "%s", zf_calibrate_names[results[0].calibration.kind]);
  snprintf(text[1], sizeof *text, "accuracy before");
  snprintf(text[2], sizeof *text, "after");
  zc_table_row(table, cell);
  for (int result = 0; result < count; result++) {
    double share[SHOWN_OPTIONS];
    zc_calibration_shares(share, &results[result].calibration);
    snprintf(text[0], sizeof *text, "%s", results[result].set);
    percent(text[1], results[result].calibration.plain.accuracy);
    percent(text[2], results[result].metrics.accuracy);
    for (int64_t i = 0; i < shares; i++) percent(text[3 + i], share[i]);
    zc_table_row(table, cell);
  }
  putchar('\n');
  zc_table_print(table, 1);
}

/* A line where the config sets an objective. */
static void print_objective(const struct eval_result *results, int count) {
  for (int i = 0; i < count; i++)
    if (isfinite(results[i].metrics.objective))
      printf("%s%s objective %.4f%s", i ? ", " : "\n", results[i].set, results[i].metrics.objective,
             i == count - 1 ? "\n" : "");
}

static void json_number(struct zf_buf *buf, const char *name, double value) {
  if (isfinite(value))
    zf_buf_printf(buf, ", \"%s\": %.17g", name, value);
  else
    zf_buf_printf(buf, ", \"%s\": null", name);
}

static void json_labels(struct zf_buf *buf, const struct eval_result *result) {
  const struct zf_confusion *confusion = &result->confusion;
  if (!confusion->count) return;
  zf_buf_puts(buf, ", \"labels\": [");
  for (int64_t label = 0; label < confusion->options; label++) {
    struct zf_label_metrics metrics = zf_label_metrics(confusion, label);
    char name[64];
    zc_option_name(name, result->spec, label);
    zf_buf_puts(buf, label ? ", {\"label\": " : "{\"label\": ");
    zc_json_text(buf, name, strlen(name));
    zf_buf_printf(buf, ", \"examples\": %lld", (long long)metrics.examples);
    json_number(buf, "precision", metrics.precision);
    json_number(buf, "recall", metrics.recall);
    json_number(buf, "f1", metrics.f1);
    zf_buf_puts(buf, ", \"chosen\": [");
    for (int64_t i = 0; i < confusion->options; i++)
      zf_buf_printf(buf, "%s%lld", i ? ", " : "",
                    (long long)confusion->count[label * confusion->options + i]);
    zf_buf_puts(buf, "]}");
  }
  zf_buf_puts(buf, "]");
}

static void print_results(const struct zf_model *model, const struct eval_result *results,
                          int count) {
  if (zc_common.json) {
    struct zf_buf buf = {0};
    zf_buf_puts(&buf, "{");
    zc_json_model(&buf, model);
    for (int i = 0; i < count; i++) {
      zf_buf_printf(&buf, "\"%s\": {", results[i].set);
      zf_metrics_json(&buf, &results[i].metrics);
      if (isfinite(results[i].f1)) zf_buf_printf(&buf, ", \"generated_f1\": %.17g", results[i].f1);
      json_labels(&buf, &results[i]);
      if (results[i].calibration.kind) {
        zf_buf_puts(&buf, ", \"calibration\": ");
        zc_calibration_json(&buf, &results[i].calibration, results[i].spec, 1);
      }
      zf_buf_puts(&buf, "}, ");
    }
    printf("%s\"peak_rss_bytes\": %lld}\n", buf.data, (long long)zf_peak_rss());
    zf_buf_free(&buf);
    return;
  }
  struct zc_table *table = zc_table_new("lrrrrr");
  zc_print_model(model);
  const char *const *name = metric_names(&results[0].metrics);
  const char *last = strcmp(name[0], "accuracy") ? name[1] : "F1";
  zc_table_row(table, (const char *const[]){"", "examples", "loss", "perplexity", name[0], last});
  for (int i = 0; i < count; i++)
    add_row(table, results[i].set, &results[i].metrics, results[i].f1);
  zc_table_print(table, 1);
  print_objective(results, count);
  print_calibration(results, count);
  for (int i = 0; i < count; i++) print_labels(&results[i]);
}

static int check_gate(const struct eval_result *results, int count) {
  if (!fail_under_given) return 0;
  for (int i = 0; i < count; i++) {
    double accuracy = 100 * results[i].metrics.accuracy;
    if (!isfinite(accuracy))
      return zf_error(ZF_EUSAGE, "--fail-under: only classification has an accuracy");
    if (accuracy < fail_under)
      return zf_error(ZF_EGATE, "%s accuracy %.1f %% is below --fail-under %g", results[i].set,
                      accuracy, fail_under);
  }
  return 0;
}

/* A set with the files that it comes from. */
struct eval_set {
  const char *name;
  const struct zf_dataset *dataset;
  const struct zf_data_file *files;
  int64_t count;
};

static int eval_scores(struct eval_result *result, const struct zf_run *run,
                       const struct eval_set *set) {
  struct zc_calibration *calibration = &result->calibration;
  int rc = zc_calibration_open(calibration, run, set->dataset, set->files, set->count);
  if (rc) return rc;
  if (!calibration->kind)
    return zf_evaluate_choices(&result->metrics, &result->confusion, run->scorer, set->dataset,
                               run->settings.micro_batch, NULL, NULL);
  return zf_evaluate_calibrated(&result->metrics, &calibration->plain, &result->confusion,
                                calibration->kind, calibration->shift, run->scorer, set->dataset,
                                run->settings.micro_batch);
}

static int eval_one(struct eval_result *result, const struct zf_run *run,
                    const struct eval_set *set) {
  *result = (struct eval_result){.set = set->name, .f1 = NAN, .spec = &set->files[0].spec};
  zc_warn_counts(set->dataset, set->name);
  int rc = eval_scores(result, run, set);
  if (!rc && run->objective)
    rc = zf_objective_mean(&result->metrics.objective, run->objective, run->scorer, set->dataset);
  if (rc || !generate_f1) return rc;
  return zf_text_f1(&result->f1, run->model, run->tok, set->dataset, run->settings.compute);
}

static int eval_sets(const struct zf_run *run) {
  const struct zf_settings *settings = &run->settings;
  int own = settings->nval > 0;
  const struct eval_set sets[] = {
      {"dev", run->data.dev, own ? settings->val : settings->train,
       own ? settings->nval : settings->ntrain},
      {"test", run->data.test, settings->test, settings->ntest},
  };
  struct eval_result results[2] = {{0}};
  int count = 0, rc = 0;
  if (!sets[0].dataset && !sets[1].dataset)
    return zf_error(ZF_EUSAGE, "nothing to evaluate: the config has no val_datasets, val_set_size "
                               "or test_datasets");
  zc_warn_model(run->model);
  zc_warn_compute(run->model, run->settings.compute);
  for (int i = 0; i < 2; i++) {
    if (!sets[i].dataset) continue;
    if ((rc = eval_one(&results[count++], run, &sets[i]))) break;
  }
  if (!rc) print_results(run->model, results, count);
  if (!rc) rc = check_gate(results, count);
  for (int i = 0; i < count; i++) {
    free(results[i].confusion.count);
    zc_calibration_free(&results[i].calibration);
  }
  return rc;
}

static int eval_config(const struct zc_args *args) {
  struct zf_conf *conf = NULL;
  struct zf_run *run = NULL;
  int rc = zc_conf_load(&conf, args, zf_train_keys);
  if (!rc) rc = zc_conf_use_result(conf);
  if (!rc) rc = zf_run_open(&run, conf, ZF_WANT_DEV | ZF_WANT_TEST);
  if (!rc) rc = eval_sets(run);
  zf_run_free(run);
  zf_conf_free(conf);
  return rc;
}

/* Scores a text file without a config: its lines are texts, split at the model's context. */
static int eval_text(const char *base_model) {
  struct zf_model *model = NULL;
  struct zf_tok *tok = NULL;
  struct zf_records *records = NULL;
  struct zf_dataset *dataset = NULL;
  struct zf_forward *forward = NULL;
  struct zf_scorer *scorer = NULL;
  struct eval_result result = {.set = "text", .f1 = NAN};
  enum zf_compute compute;
  char *text = NULL;
  size_t len = 0;
  int rc = zc_compute(&compute, compute_name);
  if (!rc) rc = zc_open_model(&model, &tok, base_model);
  if (!rc) rc = zf_score_causal(model);
  if (!rc) zc_warn_compute(model, compute);
  if (!rc) rc = zf_read_file(&text, &len, text_file, (size_t)1 << 40);
  if (!rc) rc = zf_records_parse(&records, text, len, "lines.txt");
  if (!rc) {
    struct zf_data_spec spec = {.type = ZF_TASK_TEXT,
                                .sequence_len = model->config.context,
                                .vocab = model->config.vocab,
                                .excess = ZF_EXCESS_SPLIT};
    rc = zf_dataset_new(&dataset, ZF_TASK_TEXT);
    if (!rc) rc = zf_dataset_add(dataset, records, NULL, 0, &spec, tok);
    if (!rc) rc = zf_dataset_check(dataset, "text");
  }
  if (!rc) {
    struct zf_limits limits = zf_score_limits((const struct zf_dataset *const *)&dataset, 1, 8, 1);
    limits.compute = compute;
    rc = zf_forward_new(&forward, model, &limits);
    if (!rc) rc = zf_scorer_new(&scorer, forward, &limits);
  }
  if (!rc) rc = zf_evaluate(&result.metrics, scorer, dataset, 0, NULL, NULL);
  if (!rc) print_results(model, &result, 1);
  free(text);
  zf_scorer_free(scorer);
  zf_forward_free(forward);
  zf_dataset_free(dataset);
  zf_records_free(records);
  zf_tok_free(tok);
  zf_model_free(model);
  return rc;
}

static int eval_tasks(const struct zc_args *args) {
  if (args->nword != 1 || args->nset)
    return zf_error(ZF_EUSAGE, "expected one model directory or file before --task");
  if (text_file || generate_f1)
    return zf_error(ZF_EUSAGE, "--task does not go with --%s", text_file ? "text" : "generate");
  tasks.compute = compute_name;
  tasks.fail_under = fail_under_given ? fail_under : NAN;
  return zc_run_tasks(&tasks, args->word[0]);
}

/* An option of --task is an error without it. */
static int check_stray(void) {
  const struct {
    const char *name;
    int given;
  } stray[] = {{"data", tasks.data.count},         {"fewshot-data", tasks.shots.count},
               {"num-fewshot", tasks.nshot_given}, {"limit", tasks.limit_given},
               {"max-length", tasks.length_given}, {"log-samples", tasks.samples != NULL}};
  for (size_t i = 0; i < sizeof stray / sizeof *stray; i++)
    if (stray[i].given) return zf_error(ZF_EUSAGE, "--%s is for --task", stray[i].name);
  return 0;
}

static int run(const struct zc_args *args) {
  if (list_tasks) return zc_list_tasks();
  if (zc_calibrate_word && (text_file || tasks.task.count))
    return zf_error(ZF_EUSAGE,
                    "--calibrate is for a config or run, whose prompt has options: it "
                    "does not go with --%s",
                    text_file ? "text" : "task");
  if (tasks.task.count) return eval_tasks(args);
  int rc = check_stray();
  if (rc) return rc;
  if (!text_file) {
    if (args->nword == 0 && args->nset == 0)
      return zf_error(ZF_EUSAGE,
                      "expected a config, or a model and --text FILE or --task NAME --data FILE");
    if (compute_name)
      return zf_error(ZF_EUSAGE, "--compute is for --text and --task: a config says compute=%s",
                      compute_name);
    return eval_config(args);
  }
  if (args->nword != 1 || args->nset)
    return zf_error(ZF_EUSAGE, "expected one model directory before --text");
  return eval_text(args->word[0]);
}

const struct zc_command zc_eval = {
    "eval",
    "score a model: loss, perplexity, accuracy, F1",
    "zoft eval CONFIG|RUN [key=value ...] [options]   or   zoft eval MODEL --text FILE\n"
    "       or   zoft eval MODEL --task NAME --data FILE",
    "With a run (its directory, or the config.yaml in it), scores the run's result on its dev and "
    "test\n"
    "data; with another config, the base_model that it names, or base_model=DIR. With --text, "
    "every\n"
    "non-empty line of FILE is a text.\n\n"
    "With --task, scores the rows of --data FILE as a standard task, by the rules of\n"
    "lm-evaluation-harness 0.4.13: its prompts, log-likelihoods and metrics. Several tasks:\n"
    "--task A --data FILE_A --task B --data FILE_B. Standard errors of means are the harness's. "
    "Those\n"
    "of perplexity, f1 and mcc, for which it draws bootstrap samples, and those of metrics for "
    "which\n"
    "it has none, are analytic (delta method).\n\n"
    "--calibrate takes off what options score whatever the input is, by forward passes alone:\n"
    "contextual divides their probabilities by those behind the inputs \"N/A\", \"\" and "
    "\"[MASK]\"\n"
    "(Zhao et al. 2021), batch subtracts from their log-probabilities the mean over the set, "
    "whose\n"
    "labels it does not read (Zhou et al. 2024).\n\n"
    "Examples:\n"
    "  zoft eval configs/demo.yaml\n"
    "  zoft eval out/demo --fail-under 90\n"
    "  zoft eval configs/demo.yaml --calibrate batch\n"
    "  zoft eval out/demo --text README.md --json\n"
    "  zoft eval --list-tasks\n"
    "  zoft eval out/demo --task arc_easy --data arc.jsonl --num-fewshot 5 --fewshot-data "
    "train.jsonl\n"
    "  zoft eval model.gguf --task my.yaml --data rows.csv --log-samples rows.out.jsonl\n",
    options,
    run,
};
