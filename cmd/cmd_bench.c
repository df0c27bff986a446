/* zoft bench: how fast this machine runs a training step, and its parts. */
#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "bench_internal.h"
#include "kern/peak.h"
#include "load.h"
#include "train/step_bench.h"
#include "ui.h"

struct zc_bench_options zc_bench_options = {.repeat = 7, .output = "table"};

static const struct zc_opt options[] = {
    {"repeat", 0, ZC_INT, "N", "how often each part, or how many steps are measured (7)",
     &zc_bench_options.repeat, .min = 1, .max = 10000},
    {"output", 'o', ZC_STR, "FORMAT", "table, md, csv, json, html, or svg: the first plot",
     &zc_bench_options.output},
    {"methods", 0, ZC_STR, "LIST", "inference,mezo,sgd,sgd_momentum,adamw,adamw_checkpoint",
     &zc_bench_options.methods},
    {"batch", 0, ZC_STR, "LIST", "micro_batch_size, each in turn: 1,4,16", &zc_bench_options.batch},
    {"seq", 0, ZC_STR, "LIST", "lengths in random tokens, each in turn: 64,256,1024",
     &zc_bench_options.seq},
    {"budget", 0, ZC_INT, "N", "learning: forward passes of each method (those of the config)",
     &zc_bench_options.budget, .min = 1, .max = 1e12, .given = &zc_bench_options.budget_given},
    {"lr", 0, ZC_STR, "LIST", "learning: rates other than the config's: adamw=1e-3",
     &zc_bench_options.lr},
    {0},
};

static int on_stopped(void *ctx) {
  (void)ctx;
  return zc_signal();
}

/* --- bench step --- */

/* Warns about settings of the config that this measurement does not read. */
static void warn_unused(const struct zf_conf *conf) {
  struct zf_buf buf = {0};
  int count = 0;
  for (const struct zf_conf_key *key = zf_train_keys; key->name; key++) {
    if (zf_bench_uses(key->name) || !zf_conf_has(conf, key->name)) continue;
    if (!strcmp(zf_conf_origin(conf, key->name), "default")) continue;
    zf_buf_printf(&buf, "%s%s", count++ ? ", " : "", key->name);
  }
  if (count)
    zc_warn("%d setting%s no effect here, where tokens are random: %s", count,
            count > 1 ? "s have" : " has", buf.data);
  zf_buf_free(&buf);
}

static void print_setup(const struct zf_run *run) {
  char all[32], trained[32];
  const struct zf_model *model = run->model;
  const struct zf_dataset *dataset = run->data.train;
  zc_info("model      %s (%s), %s parameters, %s trained", model->dir,
          model->config.family->model_type,
          zc_count(all, (double)zf_params_count(&model->params, 0)),
          zc_count(trained, (double)zf_params_count(&model->params, 1)));
  zc_info("batch      %lld x %lld tokens, %lld at once, %d probe%s", (long long)dataset->count,
          (long long)zf_example_tokens(dataset, 0), (long long)run->settings.micro_batch,
          run->settings.zo.probes, run->settings.zo.probes > 1 ? "s" : "");
  zc_info("kernels    %s on %s, %d thread%s; medians of %lld turn%s",
          zf_compute_name(run->settings.compute), zf_kern_name(run->settings.compute),
          zf_kern_nthreads(), zf_kern_nthreads() > 1 ? "s" : "", (long long)zc_bench_options.repeat,
          zc_bench_options.repeat > 1 ? "s" : "");
  zc_warn_model(run->model);
  zc_warn_run_compute(run);
}

/* A line of the table: the time and, if they apply, the rate and the share of the peak. */
static void table_line(struct zc_table *table, const char *name, double seconds, double tokens,
                       double ops, double peak) {
  char ms[32], rate[32] = "", share[32] = "";
  snprintf(ms, sizeof ms, "%.2f", 1e3 * seconds);
  if (tokens > 0) snprintf(rate, sizeof rate, "%.0f", tokens / seconds);
  if (ops > 0) snprintf(share, sizeof share, "%.3f", ops / seconds / peak);
  zc_table_row(table, (const char *const[]){name, ms, rate, share});
}

static void print_step(const struct zf_run *run, const struct zf_bench *bench) {
  char peak[32], weights[32], name[64];
  double tokens = (double)bench->tokens;
  struct zc_table *table = zc_table_new("lrrr");
  zc_table_row(table, (const char *const[]){zf_bench_objective_name(bench->objective), "ms",
                                            "tokens/s", "of the peak"});
  table_line(table, "step", bench->step, (double)bench->passes * tokens, bench->step_ops,
             bench->peak);
  table_line(table, "plain forward", bench->forward, tokens, bench->forward_ops, bench->peak);
  table_line(table, "  without the head", bench->body, tokens, bench->body_ops, bench->peak);
  table_line(table, "noise", bench->noise, 0, 0, 0);
  table_line(table, "update", bench->update, 0, 0, 0);
  snprintf(name, sizeof name, "step - %lld forwards - noise - update", (long long)bench->passes);
  table_line(table, name, bench->other, 0, 0, 0);
  zc_table_print(table, 1);
  printf("\nstep / %lld forwards  %.3f\npeak               %.1f GFLOP/s (%s)\n"
         "memory             %s peak, weights %s\n",
         (long long)bench->passes, bench->ratio, bench->peak * 1e-9,
         zf_peak_name(run->settings.compute), zf_human_bytes(peak, (double)zf_peak_rss()),
         zf_human_bytes(weights, (double)run->forecast.weights));
}

static void print_step_json(const struct zf_run *run, const struct zf_bench *bench) {
  double tokens = (double)bench->tokens;
  printf("{\"objective\": \"%s\", \"compute\": \"%s\", \"kernels\": \"%s\", \"threads\": %d, "
         "\"tokens\": %lld, ",
         zf_bench_objective_name(bench->objective), zf_compute_name(run->settings.compute),
         zf_kern_name(run->settings.compute), zf_kern_nthreads(), (long long)bench->tokens);
  printf("\"step_ms\": %.4f, \"forward_ms\": %.4f, \"noise_ms\": %.4f, \"update_ms\": %.4f, "
         "\"other_ms\": %.4f, \"step_over_two_forwards\": %.4f, ",
         1e3 * bench->step, 1e3 * bench->forward, 1e3 * bench->noise, 1e3 * bench->update,
         1e3 * bench->other, bench->ratio);
  printf("\"tokens_per_s\": %.1f, \"forward_tokens_per_s\": %.1f, \"peak_fraction\": %.4f, "
         "\"forward_peak_fraction\": %.4f, ",
         (double)bench->passes * tokens / bench->step, tokens / bench->forward,
         bench->step_ops / bench->step / bench->peak,
         bench->forward_ops / bench->forward / bench->peak);
  printf("\"forward_body_ms\": %.4f, \"forward_body_peak_fraction\": %.4f, \"peak_gflops\": %.2f, "
         "\"peak_rss_bytes\": %lld, \"weights_bytes\": %lld}\n",
         1e3 * bench->body, bench->body_ops / bench->body / bench->peak, bench->peak * 1e-9,
         (long long)zf_peak_rss(), (long long)run->forecast.weights);
}

static int bench_step(const struct zc_args *args) {
  struct zf_conf *conf = NULL;
  struct zf_run *run = NULL;
  struct zf_bench bench;
  int rc = zc_conf_load(&conf, args, zf_bench_keys());
  if (!rc && strcmp(zf_conf_str(conf, "method"), "mezo"))
    rc = zf_conf_error(
        conf, "method",
        "bench step measures the parts of a step of mezo: for other methods see bench time");
  if (!rc) warn_unused(conf);
  if (!rc) zc_catch_signals();
  if (!rc) rc = zf_bench_open(&run, conf);
  if (!rc) print_setup(run);
  if (!rc) rc = zf_bench_step(&bench, run, zc_bench_options.repeat, on_stopped, NULL);
  if (!rc && zc_common.json)
    print_step_json(run, &bench);
  else if (!rc)
    print_step(run, &bench);
  zf_run_free(run);
  zf_conf_free(conf);
  return rc;
}

/* --- the table of measurements --- */

static const struct {
  const char *name, *about;
  int (*run)(const struct zc_args *args);
} benches[] = {
    {"step", "a training step on random tokens, part by part", bench_step},
    {"memory", "peak memory of inference, MeZO and backpropagation on a config", zc_bench_memory},
    {"time", "seconds a step of the same", zc_bench_time},
    {"energy", "joules a step of the same, where the processor reports them", zc_bench_energy},
    {"learning", "dev scores of MeZO and AdamW by forward passes, seconds and joules",
     zc_bench_learning},
    {NULL, NULL, zc_bench_one},
};
enum { BENCHES = sizeof benches / sizeof *benches };

static int list(void) {
  if (zc_common.json) {
    for (int i = 0; i < BENCHES; i++)
      if (benches[i].name) printf("%s\"%s\"", i ? ", " : "{\"benches\": [", benches[i].name);
    printf("]}\n");
    return 0;
  }
  for (int i = 0; i < BENCHES; i++)
    if (benches[i].name) printf("%-10s %s\n", benches[i].name, benches[i].about);
  return 0;
}

static int run(const struct zc_args *args) {
  if (args->nword == 0 && args->nset == 0) return list();
  if (args->nword == 0)
    return zf_error(ZF_EUSAGE, "expected what to measure, found '%s': 'zoft bench' lists it",
                    args->set[0]);
  for (int i = 0; i < BENCHES; i++) {
    if (strcmp(args->word[0], benches[i].name ? benches[i].name : "one")) continue;
    struct zc_args rest = *args;
    rest.word++;
    rest.nword--;
    return benches[i].run(&rest);
  }
  return zf_error(ZF_EUSAGE, "expected what to measure, found '%s': 'zoft bench' lists it",
                  args->word[0]);
}

const struct zc_command zc_bench = {
    "bench",
    "how fast this machine runs a training step",
    "zoft bench step|memory|time|energy|learning [config.yaml] [key=value ...] [options]",
    "memory, time and energy run inference, MeZO, SGD, AdamW, and AdamW with checkpointing, each "
    "in\n"
    "a process of its own, on the config's model and data, or on random tokens when the config "
    "names\n"
    "no data. All methods multiply in the same arithmetic. learning trains by MeZO and AdamW "
    "within\n"
    "one budget of forward passes.\n\n"
    "step runs training steps on random tokens: it needs no data and no output directory. It also\n"
    "measures, in turns, a plain forward pass of the same batch, the noise, the update, and the "
    "peak\n"
    "rate of multiply-adds of the processor; 'step / 2 forwards' shows what a step costs beyond "
    "its\n"
    "passes. With objective=lm the loss is on every token, with objective=options on two options "
    "of\n"
    "one token behind each prompt, as in classification. sequence_len is 64 unless set.\n\n"
    "Examples:\n"
    "  zoft bench\n"
    "  zoft bench step base_model=DIR micro_batch_size=16 sequence_len=64\n"
    "  zoft bench step base_model=DIR objective=options compute=f32 threads=1 --json\n"
    "  zoft bench step configs/sst2.yaml base_model=DIR --repeat 15\n"
    "  zoft bench memory configs/sst2.yaml base_model=DIR\n"
    "  zoft bench time base_model=DIR --batch 1,4,16 --seq 64,256,1024 -o html > time.html\n"
    "  zoft bench learning configs/demo.yaml --lr adamw=1e-3 -o html > learning.html\n",
    options,
    run,
};
