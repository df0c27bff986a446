/* zoft train: fine-tunes a model by a config. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "export_job.h"
#include "load.h"
#include "model/gguf_result.h"
#include "train/backprop.h"
#include "train/loop.h"
#include "train/probe.h"
#include "text_windows.h"
#include "train_start.h"
#include "ui.h"

static int dry_run, resume;
static const char *fork_from;

static const struct zc_opt options[] = {
    {"dry-run", 0, ZC_FLAG, NULL, "load all, try one step, write nothing, print the settings",
     &dry_run},
    {"resume", 0, ZC_FLAG, NULL, "continue the run in output_dir, to the same bits", &resume},
    {"fork", 0, ZC_STR, "RUN@N", "begin with the first N steps of another run", &fork_from},
    {0},
};

/* --- while it runs --- */

struct train_display {
  struct zf_run *run;
  double shown; /* when the last plain line was printed */
  char dev[64]; /* the last dev score */
};

static const char *metric_name(const struct zf_run *run) {
  static const char *const names[ZF_PROBLEMS] = {"accuracy", "macro F1", "Pearson"};
  const struct zf_data_spec *spec = &run->settings.train[0].spec;
  if (run->settings.best == ZF_BEST_OBJECTIVE) return "objective";
  if (spec->type == ZF_TASK_LABELS) return names[spec->problem];
  return zf_task_has_options(spec->type) ? "accuracy" : "loss";
}

static void on_step(void *ctx, const struct zf_step_report *report) {
  struct train_display *display = ctx;
  char text[256], remaining[32], mem[32];
  double share = (double)report->step / (double)report->steps;
  zc_duration(remaining, report->remaining_seconds);
  snprintf(text, sizeof text, "step %lld/%lld  loss %.4f  %s%.0f tok/s  %s  %s left",
           (long long)report->step, (long long)report->steps, report->loss, display->dev,
           report->tokens_per_s, zf_human_bytes(mem, (double)zf_rss()), remaining);
  if (zc_tty()) {
    zc_bar(share, text, report->step == report->steps);
    return;
  }
  /* Without a terminal plain lines: the first, the last, and one every ten seconds. */
  double now = zf_now();
  if (report->step != report->steps && report->step != 1 && now - display->shown < 10 &&
      !zc_common.verbose)
    return;
  display->shown = now;
  zc_info("%s", text);
}

static void on_eval(void *ctx, const struct zf_eval_report *report) {
  struct train_display *display = ctx;
  char metric[32], second[32], step[48];
  const char *name = metric_name(display->run);
  const char *second_name = isfinite(report->metrics.perplexity) ? "perplexity" : "loss";
  zc_metric(metric, &report->metrics, name);
  zc_metric(second, &report->metrics, second_name);
  snprintf(step, sizeof step, "step %lld", (long long)report->step);
  zc_info("%-12s %-4s  %s %s  %s %s%s", step, report->what, name, metric, second_name, second,
          report->best && report->step ? "  (best so far)" : "");
  if (!strcmp(report->what, "dev")) snprintf(display->dev, sizeof display->dev, "dev %s  ", metric);
}

static void on_message(void *ctx, const char *text) {
  (void)ctx;
  zc_info("%s", text);
}

static int on_stopped(void *ctx) {
  (void)ctx;
  return zc_signal();
}

/* --- before and after --- */

/* Warns about settings without effect. */
static void warn_unused(const struct zf_run *run) {
  int scored = run->data.dev && run->settings.eval_steps >= 0;
  if (run->settings.patience && !scored)
    zc_warn("early_stopping_patience has no effect: there are no dev scores");
  if (run->settings.num_eval && !run->data.test)
    zc_warn("num_eval has no effect: there are no test_datasets");
  if (run->settings.chat_template && zf_gguf_is_trained(run->model))
    zc_warn("chat_template is not in the result: a GGUF file keeps the template of its base");
  const char *keys[32];
  int count = zf_settings_unused(run->conf, run->settings.method, keys, 32);
  for (int i = 0; i < count; i++)
    zc_warn("%s has no effect: method is %s", keys[i], zf_method_info(run->settings.method)->name);
}

static long long size_of(const struct zf_dataset *dataset) {
  return dataset ? (long long)zf_dataset_size(dataset) : 0;
}

/* Warnings about streams, whose counts are complete only at the end. */
static void warn_streamed(const struct zf_run *run) {
  if (!run->settings.streaming) return;
  zc_warn_counts(run->data.train, "training");
  zc_warn_ends(run->data.train);
  if (run->data.dev) zc_warn_counts(run->data.dev, "dev");
  if (run->data.test) zc_warn_counts(run->data.test, "test");
  if (run->data.empty)
    zc_warn("training: %lld batch%s had no example left: such a step changes nothing",
            (long long)run->data.empty, run->data.empty > 1 ? "es" : "");
}

static void print_model(const struct zf_model *model) {
  char all[32], trained[32];
  zc_info("model      %s (%s), %s parameters, %s trained", model->dir,
          model->config.family->model_type,
          zc_count(all, (double)zf_params_count(&model->params, 0)),
          zc_count(trained, (double)zf_params_count(&model->params, 1)));
}

static void print_adapter(const struct zf_run *run) {
  static const char *const parts[] = {
      [ZF_TRAIN_B] = "B alone", [ZF_TRAIN_ALL] = "all of it", [ZF_TRAIN_BIASES] = "the biases"};
  const struct zf_adapter_settings *settings = &run->settings.adapter;
  if (!run->adapter || run->adapter->config.kind >= ZF_PEFT_KINDS) return;
  int lora = run->adapter->config.kind == ZF_PEFT_LORA;
  zc_info("adapter    %s%s, %lld tensors%s%s%s", settings->word,
          lora && settings->eva ? " from the inputs' components" : "",
          (long long)run->adapter->count, lora ? ", trained: " : "",
          lora ? parts[settings->train] : "",
          run->settings.zo.examples ? "; a direction for each example" : "");
}

/* The rows of the method, where it is another one than MeZO. */
static void print_method(const struct zf_run *run) {
  const struct zf_zo *zo = &run->settings.zo;
  char window[32] = "";
  if (zo->form == ZF_FORM_DENSE && zo->difference == ZF_DIFFERENCE_CENTRAL &&
      zo->rule == ZF_RULE_SGD)
    return;
  if (zo->window) snprintf(window, sizeof window, " over %d steps", zo->window);
  zc_info("method     %s directions, %s difference (%lld forward passes a step), %s%s",
          zf_zo_form_name(zo), zf_zo_difference_name(zo), (long long)zf_zo_losses(zo),
          zf_zo_rule_name(zo), window);
}

static void print_steps(const struct zf_run *run) {
  char rate[32] = "auto";
  if (!run->settings.auto_lr) snprintf(rate, sizeof rate, "%g", run->settings.lr);
  if (run->settings.method == ZF_METHOD_PROBE)
    zc_info("steps      none: a ridge regression from one pass over the examples (%lld at once)",
            (long long)run->settings.micro_batch);
  else if (run->backprop)
    zc_info("steps      %lld of %lld examples (%lld at once), %s%s, learning rate %g",
            (long long)run->steps, (long long)run->batch, (long long)run->settings.micro_batch,
            zf_method_info(run->settings.method)->name,
            run->settings.first.checkpoint ? " with checkpointing" : "", run->settings.lr);
  else
    zc_info("steps      %lld of %lld examples (%lld at once), %d probe%s, eps %g, learning rate %s",
            (long long)run->steps, (long long)run->batch, (long long)run->settings.micro_batch,
            run->settings.zo.probes, run->settings.zo.probes > 1 ? "s" : "", run->settings.zo.eps,
            rate);
  if (!run->backprop) print_method(run);
}

static void print_teacher(const struct zf_run *run) {
  const struct zf_teacher_head *head = zf_teacher_head(run->teacher);
  char size[32], listed[64] = "options";
  int64_t rows = head->set[0].rows + head->set[1].rows + head->set[2].rows;
  if (head->kind == ZF_TEACHER_TOKENS)
    snprintf(listed, sizeof listed, "the %lld likeliest tokens and the rest", (long long)head->k);
  zf_human_bytes(size, (double)zf_teacher_bytes(run->teacher));
  zc_info("teacher    %s%s: %s at temperature %g, %lld rows, %s", run->settings.objective.teacher,
          run->teacher_made ? "" : " (from a file)", listed, head->temperature, (long long)rows,
          size);
}

static void print_objective(const struct zf_run *run) {
  const struct zf_objective_settings *objective = &run->settings.objective;
  char mixed[64] = "";
  if (!objective->kind) return;
  if (objective->weight < 1)
    snprintf(mixed, sizeof mixed, ", weight %g beside the task's own loss", objective->weight);
  zc_info("objective  %s%s", objective->kind->name, mixed);
  if (run->teacher) print_teacher(run);
}

static void print_memory(const struct zf_run *run) {
  const struct zf_forecast *forecast = &run->forecast;
  char total[32], weights[32], activations[32], before[32], gradients[32], optimizer[32];
  char bound[32], bound_note[96] = "";
  zf_human_bytes(bound, (double)forecast->bound);
  if (forecast->bound > forecast->total)
    snprintf(bound_note, sizeof bound_note, " (%s if the longest examples met)", bound);
  zc_info("memory     forecast %s%s: weights %s, activations %s, program and data %s",
          zf_human_bytes(total, (double)forecast->total), bound_note,
          zf_human_bytes(weights, (double)forecast->weights),
          zf_human_bytes(activations, (double)forecast->activations),
          zf_human_bytes(before, (double)forecast->resident_before));
  if (run->backprop)
    zc_info("           gradients %s, optimizer %s",
            zf_human_bytes(gradients, (double)forecast->gradients),
            zf_human_bytes(optimizer, (double)forecast->optimizer));
}

static void print_start(const struct zf_run *run) {
  print_model(run->model);
  print_adapter(run);
  zc_info("data       %lld training, %lld dev, %lld test examples", size_of(run->data.train),
          size_of(run->data.dev), size_of(run->data.test));
  if (run->settings.streaming)
    zc_info("           streamed: encoded when a step or score needs them");
  print_steps(run);
  print_objective(run);
  print_memory(run);
  zc_info("kernels    %s on %s, %d thread%s", zf_compute_name(run->settings.compute),
          zf_kern_name(run->settings.compute), zf_kern_nthreads(),
          zf_kern_nthreads() > 1 ? "s" : "");
  zc_warn_model(run->model);
  zc_warn_run_compute(run);
  zc_warn_counts(run->data.train, "training");
  zc_warn_ends(run->data.train);
  if (run->data.dev) zc_warn_counts(run->data.dev, "dev");
  if (run->data.test) zc_warn_counts(run->data.test, "test");
  zc_warn_duplicates(run);
  warn_unused(run);
}

static void metric_row(struct zc_table *table, const char *label, const char *before,
                       const char *after) {
  zc_table_row(table, (const char *const[]){label, before, after});
}

static void metric_rows(struct zc_table *table, const char *set, const struct zf_metrics *start,
                        const struct zf_metrics *end) {
  static const char *const names[] = {"accuracy", "macro F1",  "micro F1",   "Pearson",
                                      "Spearman", "objective", "perplexity", "loss"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    char before[32], after[32], label[48];
    zc_metric(before, start, names[i]);
    zc_metric(after, end, names[i]);
    if (!strcmp(after, "-")) continue;
    snprintf(label, sizeof label, "%s %s", set, names[i]);
    metric_row(table, label, before, after);
  }
}

/* Prints the commands that fit the result: data with options are for predictions, and only a causal
 * model continues a text. */
static void print_next(const struct zf_run *run) {
  char *dir = zf_shell_word(run->settings.output_dir);
  if (!dir) return;
  int chooses = zf_task_has_options(run->data.train->type);
  int causal = !chooses && !zf_score_causal(run->model);
  printf("\nModel, log and metrics are in %s. Next:\n", run->settings.output_dir);
  if (chooses) printf("  zoft predict %s FILE\n", dir);
  if (causal) printf("  zoft generate %s --prompt '...'\n", dir);
  if (run->data.dev || run->data.test) printf("  zoft eval %s\n", dir);
  if (causal) printf("  zoft score %s --text FILE --json\n", dir);
  printf("  zoft inspect %s\n", dir);
  free(dir);
}

static void print_end(const struct zf_run *run, const struct zf_outcome *outcome) {
  char text[32], needed[32], steps[48];
  struct zf_forecast adamw;
  struct zc_table *table = zc_table_new("lr");
  if (outcome->end.examples || outcome->test_end.examples) {
    struct zc_table *metrics = zc_table_new("lrr");
    metric_row(metrics, "", "before", "after");
    metric_rows(metrics, "dev", &outcome->start,
                outcome->best.examples && run->settings.load_best ? &outcome->best : &outcome->end);
    metric_rows(metrics, "test", &outcome->test_start, &outcome->test_end);
    zc_table_print(metrics, 1);
    putchar('\n');
  }
  snprintf(steps, sizeof steps, "%lld", (long long)outcome->step);
  const char *what = outcome->probe.examples ? "batches" : "steps";
  zc_table_row(table, (const char *const[]){what, steps});
  zc_table_row(table, (const char *const[]){"time", zc_duration(text, outcome->seconds)});
  zc_table_row(table,
               (const char *const[]){"peak memory", zf_human_bytes(text, (double)zf_peak_rss())});
  zc_table_row(table, (const char *const[]){"  forecast",
                                            zf_human_bytes(text, (double)run->forecast.total)});
  if (!run->backprop && !zf_run_forecast(&adamw, run, ZF_METHOD_ADAMW, 0))
    zc_table_row(table, (const char *const[]){"AdamW would need",
                                              zf_human_bytes(needed, (double)adamw.total)});
  zc_table_print(table, 0);
  print_next(run);
}

static void print_json(const struct zf_run *run, const struct zf_outcome *outcome) {
  struct zf_buf buf = {0};
  struct zf_forecast adamw;
  if (zf_run_forecast(&adamw, run, ZF_METHOD_ADAMW, 0)) adamw.total = 0;
  const struct {
    const char *name;
    const struct zf_metrics *metrics;
  } sets[] = {{"dev_start", &outcome->start},
              {"dev_best", &outcome->best},
              {"dev_end", &outcome->end},
              {"test_start", &outcome->test_start},
              {"test_end", &outcome->test_end}};
  zf_buf_printf(
      &buf, "{\"status\": \"%s\", \"steps\": %lld, \"best_step\": %lld, \"seconds\": %.3f, ",
      outcome->status, (long long)outcome->step, (long long)outcome->best_step, outcome->seconds);
  zf_buf_puts(&buf, "\"output_dir\": ");
  zc_json_text(&buf, run->settings.output_dir, strlen(run->settings.output_dir));
  zf_buf_printf(
      &buf,
      ", \"peak_rss_bytes\": %lld, \"forecast_bytes\": %lld, \"forecast_bound_bytes\": %lld, "
      "\"weights_bytes\": %lld, \"adamw_bytes\": %lld",
      (long long)zf_peak_rss(), (long long)run->forecast.total, (long long)run->forecast.bound,
      (long long)run->forecast.weights, (long long)adamw.total);
  for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
    if (!sets[i].metrics->examples) continue;
    zf_buf_printf(&buf, ", \"%s\": {", sets[i].name);
    zf_metrics_json(&buf, sets[i].metrics);
    zf_buf_puts(&buf, "}");
  }
  if (outcome->probe.examples) {
    zf_buf_puts(&buf, ", \"probe\": {");
    zf_rundir_probe_json(&buf, &outcome->probe);
    zf_buf_puts(&buf, "}");
  }
  printf("%s}\n", buf.data);
  zf_buf_free(&buf);
}

/* One step by the run's method without its update; a probe's first batch. */
static int try_method(struct zf_run *run, double *loss, double *g) {
  const struct zf_zo *zo = &run->settings.zo;
  struct zf_perturb none = zf_perturb_none();
  double square;
  if (run->settings.method == ZF_METHOD_PROBE) return zf_run_batch_loss(run, 0, &none, loss);
  if (run->backprop) return zf_backprop_gradient(run, 1, loss, g);
  int rc = zf_run_estimate(run, 1, zf_lr_at(&run->settings, 1, run->steps));
  if (rc) return rc;
  zf_zo_summary(zo, &run->estimate, loss, &square);
  *g = zf_zo_gradient(zo, &run->estimate, 0);
  return 0;
}

static int try_step(struct zf_run *run) {
  const struct zf_zo *zo = &run->settings.zo;
  struct zf_buf buf = {0};
  double loss = 0, g = 0;
  int rc = try_method(run, &loss, &g);
  if (rc) return rc;
  if (zc_common.json) {
    zf_buf_printf(&buf,
                  "{\"dry_run\": true, \"steps\": %lld, \"loss\": %.17g, \"g\": %.17g, "
                  "\"forecast_bytes\": %lld, \"peak_rss_bytes\": %lld, \"config\": ",
                  (long long)run->steps, loss, g, (long long)run->forecast.total,
                  (long long)zf_peak_rss());
    rc = zf_conf_dump_json(run->conf, &buf);
    zf_buf_puts(&buf, "}\n");
  } else {
    rc = zf_conf_dump(run->conf, &buf, 1);
    if (run->settings.method == ZF_METHOD_PROBE)
      zc_info("one batch  loss %.4f; nothing was written", loss);
    else if (run->backprop)
      zc_info("one step   loss %.4f, norm of the gradient %.4g; nothing was written", loss, g);
    else if (zo->difference != ZF_DIFFERENCE_CENTRAL)
      zc_info("one step   loss %.4f, projected gradient %.4g; nothing was written", loss, g);
    else
      zc_info("one step   loss %.4f at +eps, %.4f at -eps, projected gradient %.4g; nothing was "
              "written",
              run->estimate.loss[0], run->estimate.loss[1], g);
  }
  if (!rc) fputs(buf.data, stdout);
  zf_buf_free(&buf);
  return rc;
}

/* RUN@N: a run directory or its log, and a step. */
static int parse_fork(char **log, int64_t *step) {
  const char *at = strrchr(fork_from, '@');
  char *end;
  long long number = at ? strtoll(at + 1, &end, 10) : 0;
  if (number < 1 || !at[1] || *end)
    return zf_error(ZF_EUSAGE, "--fork expects RUN@STEP, found '%s'", fork_from);
  char *run = zf_strndup(fork_from, (size_t)(at - fork_from));
  *step = number;
  int rc = run ? zc_log_path(log, run) : ZF_ENOMEM;
  free(run);
  return rc;
}

/* *finished: the run has its result. */
static int train(struct zf_run *run, int *finished) {
  struct train_display display = {.run = run};
  struct zf_outcome outcome;
  struct zf_train_events events = {&display, on_step, on_eval, on_message, on_stopped};
  struct zf_train_start start = {.resume = resume};
  char *log = NULL;
  int rc = fork_from ? parse_fork(&log, &start.fork_step) : 0;
  start.fork = log;
  if (!rc) rc = zf_train(run, &start, &events, &outcome);
  free(log);
  zc_bar_clear();
  if (rc) return rc;
  if (zc_common.json)
    print_json(run, &outcome);
  else
    print_end(run, &outcome);
  *finished = !strcmp(outcome.status, "finished") || !strcmp(outcome.status, "stopped early");
  return 0;
}

/* ctx: a zc_progress. */
static int on_teacher(void *ctx, int64_t done, int64_t total) {
  struct zc_progress *progress = ctx;
  progress->total = total;
  return zc_progress_tick(progress, done);
}

static int open_run(struct zf_run **run, const struct zf_conf *conf) {
  unsigned want = ZF_WANT_TRAIN | ZF_WANT_DEV | ZF_WANT_TEST;
  struct zc_progress progress = {"teacher", 1, zf_now()};
  if (resume) want |= ZF_WANT_RESUMED;
  return zf_run_open_watched(run, conf, want, &(struct zf_run_progress){on_teacher, &progress});
}

static int run_train(const struct zc_args *args) {
  struct zf_conf *conf = NULL;
  struct zf_run *run = NULL;
  int finished = 0;
  if (args->nword == 0 && args->nset == 0)
    return zf_error(ZF_EUSAGE, "a config file is needed: zoft train CONFIG (see 'zoft train -h')");
  if (resume && fork_from)
    return zf_error(ZF_EUSAGE, "--fork begins a run and --resume continues one: give one of them");
  int rc = zc_conf_load(&conf, args, zf_train_keys);
  if (!rc) zc_catch_signals();
  if (!rc && !dry_run)
    rc = zc_train_start(conf, args, resume,
                        &(struct zf_train_events){.message = on_message, .stopped = on_stopped});
  if (!rc) rc = open_run(&run, conf);
  if (!rc) rc = zc_export_check_run(conf, run);
  if (!rc) print_start(run);
  if (!rc) rc = dry_run ? try_step(run) : train(run, &finished);
  if (run) warn_streamed(run);
  char *dir = !rc && finished ? zf_strdup(run->settings.output_dir) : NULL;
  zf_run_free(run); /* the export opens the result anew */
  if (dir) rc = zc_export_run(conf, dir);
  free(dir);
  zf_conf_free(conf);
  return rc;
}

const struct zc_command zc_train = {
    "train",
    "fine-tune a model by forward passes alone, or by backpropagation",
    "zoft train CONFIG [key=value ...] [options]",
    "Writes a run directory (output_dir): the tuned model, run.json, config.yaml, metrics.jsonl "
    "and\n"
    "steps.log. While it runs, 'touch OUT/save' writes a checkpoint and 'touch OUT/stop' ends the\n"
    "run; Ctrl-C writes a checkpoint and ends it, a second Ctrl-C ends it at once. However a run\n"
    "ended, --resume continues it to the bits that it would have had. Then max_steps may be "
    "larger,\n"
    "and other keys that 'zoft validate --keys' marks with [resume] may change.\n"
    "'zoft validate --keys' lists every key of a config.\n\n"
    "Examples:\n"
    "  zoft train configs/demo.yaml\n"
    "  zoft train configs/sst2.yaml base_model=DIR data_dir=datasets max_steps=500\n"
    "  zoft train configs/sst2.yaml base_model=DIR --dry-run\n"
    "  zoft train out/demo/config.yaml --resume max_steps=2000\n"
    "  zoft train out/demo/config.yaml --fork out/demo@500 output_dir=out/b learning_rate=3e-5\n",
    options,
    run_train,
};
