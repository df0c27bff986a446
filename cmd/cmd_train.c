/* zoft train: fine-tunes by a config. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "load.h"
#include "train/backprop.h"
#include "train/loop.h"
#include "ui.h"

static int dry_run, resume;
static const char *fork_from;

static const struct zc_opt options[] = {
    {"dry-run", 0, ZC_FLAG, NULL, "load all, try one step, write nothing, print the settings",
     &dry_run},
    {"resume", 0, ZC_FLAG, NULL, "go on with the run in output_dir, to the same bits", &resume},
    {"fork", 0, ZC_STR, "RUN@N", "begin with the first N steps of another run", &fork_from},
    {0},
};

/* --- while it runs --- */

struct show {
  struct zf_run *r;
  double shown; /* when the last plain line was printed */
  char dev[64]; /* the last dev score */
};

static const char *metric_name(const struct zf_run *r) {
  static const char *const of[ZF_PROBLEMS] = {"accuracy", "macro F1", "Pearson"};
  const struct zf_data_spec *d = &r->set.train[0].spec;
  if (d->type == ZF_TASK_LABELS) return of[d->problem];
  return zf_task_chooses(d->type) ? "accuracy" : "loss";
}

static void on_step(void *ctx, const struct zf_step_report *s) {
  struct show *w = ctx;
  char text[256], left[32], mem[32];
  double share = (double)s->step / (double)s->steps;
  zc_duration(left, s->left);
  snprintf(text, sizeof text, "step %lld/%lld  loss %.4f  %s%.0f tok/s  %s  %s left",
           (long long)s->step, (long long)s->steps, s->loss, w->dev, s->tokens_per_s,
           zf_human_bytes(mem, (double)zf_rss()), left);
  if (zc_tty()) {
    zc_bar(share, text, s->step == s->steps);
    return;
  }
  /* Plain lines where there is no terminal: every ten seconds, and the last. */
  double now = zf_now();
  if (s->step != s->steps && s->step != 1 && now - w->shown < 10 && !zc_common.verbose) return;
  w->shown = now;
  zc_say("%s", text);
}

static void on_eval(void *ctx, const struct zf_eval_report *e) {
  struct show *w = ctx;
  char a[32], b[32], at[48];
  const char *name = metric_name(w->r);
  snprintf(at, sizeof at, "step %lld", (long long)e->step);
  int words = isfinite(e->metrics.perplexity);
  zc_say("%-12s %-4s  %s %s  %s %s%s", at, e->what, name, zc_metric(a, &e->metrics, name),
         words ? "perplexity" : "loss", zc_metric(b, &e->metrics, words ? "perplexity" : "loss"),
         e->best && e->step ? "  (best so far)" : "");
  if (!strcmp(e->what, "dev")) snprintf(w->dev, sizeof w->dev, "dev %s  ", a);
}

static void on_message(void *ctx, const char *text) {
  (void)ctx;
  zc_say("%s", text);
}

static int on_stopped(void *ctx) {
  (void)ctx;
  return zc_signal();
}

/* --- before and after --- */

/* What was set and does nothing here. */
static void say_unused(const struct zf_run *r) {
  int scored = r->data.dev && r->set.eval_steps >= 0;
  if (r->set.patience && !scored)
    zc_warn("early_stopping_patience has no effect: there are no dev scores");
  if (r->set.num_eval && !r->data.test)
    zc_warn("num_eval has no effect: there are no test_datasets");
  const char *key[16];
  int n = zf_settings_unused(r->conf, r->set.method, key, 16);
  for (int i = 0; i < n; i++)
    zc_warn("%s has no effect: method is %s", key[i], zf_method_info(r->set.method)->name);
}

static long long size_of(const struct zf_dataset *d) {
  return d ? (long long)zf_dataset_size(d) : 0;
}

/* What is known of streams at the end alone. */
static void say_streamed(const struct zf_run *r) {
  if (!r->set.streaming) return;
  zc_say_counts(r->data.train, "training");
  zc_say_ends(r->data.train);
  if (r->data.dev) zc_say_counts(r->data.dev, "dev");
  if (r->data.test) zc_say_counts(r->data.test, "test");
  if (r->data.empty)
    zc_warn("training: %lld batch%s had no example left: such a step changes nothing",
            (long long)r->data.empty, r->data.empty > 1 ? "es" : "");
}

static void say_start(const struct zf_run *r) {
  char a[32], b[32], c[32], d[32], e[32], most[96] = "";
  const struct zf_model *m = r->model;
  zc_say("model      %s (%s), %s parameters, %s trained", m->dir, m->config.family->model_type,
         zc_count(a, (double)zf_params_count(&m->params, 0)),
         zc_count(b, (double)zf_params_count(&m->params, 1)));
  zc_say("data       %lld training, %lld dev, %lld test examples", size_of(r->data.train),
         size_of(r->data.dev), size_of(r->data.test));
  if (r->set.streaming) zc_say("           streamed: encoded when a step or score needs them");
  if (r->backprop)
    zc_say("steps      %lld of %lld examples (%lld at once), %s%s, learning rate %g",
           (long long)r->steps, (long long)r->batch, (long long)r->set.micro_batch,
           zf_method_info(r->set.method)->name,
           r->set.first.checkpoint ? " with checkpointing" : "", r->set.lr);
  else
    zc_say("steps      %lld of %lld examples (%lld at once), %d probe%s, eps %g, learning rate %g",
           (long long)r->steps, (long long)r->batch, (long long)r->set.micro_batch,
           r->set.zo.probes, r->set.zo.probes > 1 ? "s" : "", r->set.zo.eps, r->set.lr);
  zf_human_bytes(e, (double)r->forecast.bound);
  if (r->forecast.bound > r->forecast.total)
    snprintf(most, sizeof most, " (%s if the longest examples met)", e);
  zc_say("memory     forecast %s%s: weights %s, activations %s, program and data %s",
         zf_human_bytes(a, (double)r->forecast.total), most,
         zf_human_bytes(b, (double)r->forecast.weights),
         zf_human_bytes(c, (double)r->forecast.activations),
         zf_human_bytes(d, (double)r->forecast.before));
  if (r->backprop)
    zc_say("           gradients %s, optimizer %s",
           zf_human_bytes(a, (double)r->forecast.gradients),
           zf_human_bytes(b, (double)r->forecast.optimizer));
  zc_say("kernels    %s on %s, %d thread%s", zf_compute_name(r->set.compute),
         zf_kern_name(r->set.compute), zf_kern_nthreads(), zf_kern_nthreads() > 1 ? "s" : "");
  zc_say_model(r->model);
  zc_say_run_compute(r);
  zc_say_counts(r->data.train, "training");
  zc_say_ends(r->data.train);
  if (r->data.dev) zc_say_counts(r->data.dev, "dev");
  if (r->data.test) zc_say_counts(r->data.test, "test");
  zc_say_duplicates(r);
  say_unused(r);
}

static void row2(struct zc_table *t, const char *a, const char *b, const char *c) {
  zc_table_row(t, (const char *const[]){a, b, c});
}

static void metric_rows(struct zc_table *t, const char *set, const struct zf_metrics *from,
                        const struct zf_metrics *to) {
  static const char *const names[] = {"accuracy", "macro F1",   "micro F1", "Pearson",
                                      "Spearman", "perplexity", "loss"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    char a[32], b[32], label[48];
    zc_metric(a, from, names[i]);
    zc_metric(b, to, names[i]);
    if (!strcmp(b, "-")) continue;
    snprintf(label, sizeof label, "%s %s", set, names[i]);
    row2(t, label, a, b);
  }
}

/* Commands that suit what the model is: only one that predicts tokens continues a text. */
static void say_next(const struct zf_run *r) {
  char *dir = zf_shell_word(r->set.output_dir);
  if (!dir) return;
  int causal = !zf_score_causal(r->model);
  printf("\nModel, log and metrics are in %s. Next:\n", r->set.output_dir);
  if (causal) printf("  zoft generate %s --prompt '...'\n", dir);
  if (r->data.dev || r->data.test) printf("  zoft eval %s\n", dir);
  if (causal) printf("  zoft score %s --text FILE --json\n", dir);
  printf("  zoft inspect %s\n", dir);
  free(dir);
}

static void print_end(const struct zf_run *r, const struct zf_outcome *o) {
  char a[32], b[32], c[48];
  struct zf_forecast adamw;
  struct zc_table *t = zc_table_new("lr");
  if (o->end.examples || o->test_end.examples) {
    struct zc_table *m = zc_table_new("lrr");
    row2(m, "", "before", "after");
    metric_rows(m, "dev", &o->start, o->best.examples && r->set.load_best ? &o->best : &o->end);
    metric_rows(m, "test", &o->test_start, &o->test_end);
    zc_table_print(m, 1);
    putchar('\n');
  }
  snprintf(c, sizeof c, "%lld", (long long)o->step);
  zc_table_row(t, (const char *const[]){"steps", c});
  zc_table_row(t, (const char *const[]){"time", zc_duration(a, o->seconds)});
  zc_table_row(t, (const char *const[]){"peak memory", zf_human_bytes(a, (double)zf_peak_rss())});
  zc_table_row(t,
               (const char *const[]){"  forecast", zf_human_bytes(a, (double)r->forecast.total)});
  if (!r->backprop && !zf_run_forecast(&adamw, r, ZF_METHOD_ADAMW, 0))
    zc_table_row(t,
                 (const char *const[]){"AdamW would need", zf_human_bytes(b, (double)adamw.total)});
  zc_table_print(t, 0);
  say_next(r);
}

static void print_json(const struct zf_run *r, const struct zf_outcome *o) {
  struct zf_buf b = {0};
  struct zf_forecast adamw;
  if (zf_run_forecast(&adamw, r, ZF_METHOD_ADAMW, 0)) adamw.total = 0;
  const struct {
    const char *name;
    const struct zf_metrics *m;
  } sets[] = {{"dev_start", &o->start},
              {"dev_best", &o->best},
              {"dev_end", &o->end},
              {"test_start", &o->test_start},
              {"test_end", &o->test_end}};
  zf_buf_printf(&b,
                "{\"status\": \"%s\", \"steps\": %lld, \"best_step\": %lld, \"seconds\": %.3f, ",
                o->status, (long long)o->step, (long long)o->best_step, o->seconds);
  zf_buf_puts(&b, "\"output_dir\": ");
  zc_json_text(&b, r->set.output_dir, strlen(r->set.output_dir));
  zf_buf_printf(
      &b,
      ", \"peak_rss_bytes\": %lld, \"forecast_bytes\": %lld, \"forecast_bound_bytes\": %lld, "
      "\"weights_bytes\": %lld, \"adamw_bytes\": %lld",
      (long long)zf_peak_rss(), (long long)r->forecast.total, (long long)r->forecast.bound,
      (long long)r->forecast.weights, (long long)adamw.total);
  for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
    if (!sets[i].m->examples) continue;
    zf_buf_printf(&b, ", \"%s\": {", sets[i].name);
    zf_metrics_json(&b, sets[i].m);
    zf_buf_puts(&b, "}");
  }
  printf("%s}\n", b.data);
  zf_buf_free(&b);
}

static int try_step(struct zf_run *r) {
  struct zf_zo_probe probe[ZF_ZO_MAXPROBES];
  struct zf_buf b = {0};
  if (r->backprop) {
    int bad = zf_backprop_gradient(r, 1, &probe[0].plus, &probe[0].projected_gradient);
    probe[0].minus = probe[0].plus;
    if (bad) return bad;
  }
  int rc = r->backprop ? 0 : zf_run_estimate(r, 1, probe);
  if (rc) return rc;
  if (zc_common.json) {
    zf_buf_printf(&b,
                  "{\"dry_run\": true, \"steps\": %lld, \"loss\": %.17g, \"g\": %.17g, "
                  "\"forecast_bytes\": %lld, \"peak_rss_bytes\": %lld, \"config\": ",
                  (long long)r->steps, 0.5 * (probe[0].plus + probe[0].minus),
                  probe[0].projected_gradient, (long long)r->forecast.total,
                  (long long)zf_peak_rss());
    rc = zf_conf_dump_json(r->conf, &b);
    zf_buf_puts(&b, "}\n");
  } else {
    rc = zf_conf_dump(r->conf, &b, 1);
    if (r->backprop)
      zc_say("one step   loss %.4f, norm of the gradient %.4g; nothing was written", probe[0].plus,
             probe[0].projected_gradient);
    else
      zc_say("one step   loss %.4f at +eps, %.4f at -eps, projected gradient %.4g; nothing was "
             "written",
             probe[0].plus, probe[0].minus, probe[0].projected_gradient);
  }
  if (!rc) fputs(b.data, stdout);
  zf_buf_free(&b);
  return rc;
}

/* RUN@N: a run directory or its log, and a step. */
static int parse_fork(char **log, int64_t *step) {
  const char *at = strrchr(fork_from, '@');
  char *end;
  long long n = at ? strtoll(at + 1, &end, 10) : 0;
  if (n < 1 || !at[1] || *end)
    return zf_error(ZF_EUSAGE, "--fork expects RUN@STEP, found '%s'", fork_from);
  char *run = zf_strndup(fork_from, (size_t)(at - fork_from));
  *step = n;
  int rc = run ? zc_log_path(log, run) : ZF_ENOMEM;
  free(run);
  return rc;
}

static int train(struct zf_run *r) {
  struct show w = {.r = r};
  struct zf_outcome out;
  struct zf_train_events ev = {&w, on_step, on_eval, on_message, on_stopped};
  struct zf_train_start start = {.resume = resume};
  char *log = NULL;
  int rc = fork_from ? parse_fork(&log, &start.fork_step) : 0;
  start.fork = log;
  if (!rc) rc = zf_train(r, &start, &ev, &out);
  free(log);
  zc_bar_clear();
  if (rc) return rc;
  if (zc_common.json)
    print_json(r, &out);
  else
    print_end(r, &out);
  return 0;
}

static int run(const struct zc_args *a) {
  struct zf_conf *conf = NULL;
  struct zf_run *r = NULL;
  if (a->nword == 0 && a->nset == 0)
    return zf_error(ZF_EUSAGE, "a config file is needed: zoft train CONFIG (see 'zoft train -h')");
  if (resume && fork_from)
    return zf_error(ZF_EUSAGE, "--fork begins a run and --resume goes on with one: not both");
  int rc = zc_conf_load(&conf, a, zf_train_keys);
  if (!rc) zc_catch_signals();
  if (!rc) rc = zf_run_open(&r, conf, ZF_WANT_TRAIN | ZF_WANT_DEV | ZF_WANT_TEST);
  if (!rc) say_start(r);
  if (!rc) rc = dry_run ? try_step(r) : train(r);
  if (r) say_streamed(r);
  zf_run_free(r);
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
    "run; Ctrl-C writes a checkpoint and leaves, a second Ctrl-C leaves at once. However a run\n"
    "ended, --resume goes on to the bits it would have had. max_steps may be larger then, and\n"
    "other keys that 'zoft validate --keys' marks with [resume] may change.\n"
    "'zoft validate --keys' lists every key of a config.\n\n"
    "Examples:\n"
    "  zoft train configs/demo.yaml\n"
    "  zoft train configs/sst2.yaml base_model=DIR data_dir=datasets max_steps=500\n"
    "  zoft train configs/sst2.yaml base_model=DIR --dry-run\n"
    "  zoft train out/demo/config.yaml --resume max_steps=2000\n"
    "  zoft train out/demo/config.yaml --fork out/demo@500 output_dir=out/b learning_rate=3e-5\n",
    options,
    run,
};
