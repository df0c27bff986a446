/* One method in a process of its own, so that the peak memory that the system reports is that of the method.
 * `zoft bench one` runs steps and prints one JSON object; zc_bench_child starts it and reads the object. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "base/err.h"
#include "bench_internal.h"
#include "fmt/json.h"
#include "train/step_bench.h"
#include "train/measure.h"
#include "ui.h"

static int on_stopped(void *ctx) {
  (void)ctx;
  return zc_signal();
}

static void json_spread(struct zf_buf *buf, const char *name, const struct zf_spread *spread) {
  zf_buf_printf(buf, ", \"%s\": %.9g, \"%s_deviation\": %.9g", name, spread->mean, name,
                spread->deviation);
}

static void print_one(const struct zf_run *run, const struct zf_measure *measure) {
  const struct zf_forecast *forecast = &run->forecast;
  struct zf_buf buf = {0};
  zf_buf_printf(&buf, "{\"method\": \"%s\", \"compute\": \"%s\", \"threads\": %d, \"batch\": %lld",
                zf_method_info(run->settings.method)->name, zf_compute_name(run->settings.compute),
                zf_kern_nthreads(), (long long)run->batch);
  zf_buf_printf(&buf, ", \"tokens\": %.9g, \"longest\": %lld, \"loss\": %.9g", measure->tokens,
                (long long)run->limits.length, measure->loss);
  json_spread(&buf, "seconds", &measure->seconds);
  if (measure->joules.mean >= 0) json_spread(&buf, "joules", &measure->joules);
  zf_buf_puts(&buf, ", \"why\": ");
  zc_json_text(&buf, measure->why, strlen(measure->why));
  zf_buf_printf(&buf,
                ", \"forecast_bytes\": %lld, \"before_bytes\": %lld, \"weights_bytes\": %lld, "
                "\"gradient_bytes\": %lld, \"optimizer_bytes\": %lld, \"activation_bytes\": %lld",
                (long long)forecast->total, (long long)forecast->resident_before,
                (long long)forecast->weights, (long long)forecast->gradients,
                (long long)forecast->optimizer, (long long)forecast->activations);
  zf_buf_printf(&buf, ", \"parameters\": %lld, \"peak_rss_bytes\": %lld}\n",
                (long long)zf_params_count(&run->model->params, 0), (long long)zf_peak_rss());
  fputs(buf.failed ? "" : buf.data, stdout);
  zf_buf_free(&buf);
}

int zc_bench_one(const struct zc_args *args) {
  struct zf_conf *conf = NULL;
  struct zf_run *run = NULL;
  struct zf_measure measure;
  int rc = zc_conf_load(&conf, args, zf_bench_keys());
  if (!rc) zc_catch_signals();
  /* --seq asks for sequences of a given length: they are random. */
  int random = !rc && (!zf_conf_maps(conf, "datasets") || zc_bench_options.seq);
  if (!rc) rc = random ? zf_bench_open(&run, conf) : zf_run_open(&run, conf, ZF_WANT_TRAIN);
  if (!rc) zc_warn_model(run->model);
  if (!rc) rc = zf_measure_run(&measure, run, zc_bench_options.repeat, on_stopped, NULL);
  if (!rc) print_one(run, &measure);
  zf_run_free(run);
  zf_conf_free(conf);
  return rc;
}

/* --- the parent process --- */

static const struct zc_bench_method methods[] = {
    {"inference", "inference", 0},       {"mezo", "mezo", 0},   {"sgd", "sgd", 0},
    {"sgd_momentum", "sgd_momentum", 0}, {"adamw", "adamw", 0}, {"adamw_checkpoint", "adamw", 1},
};
enum { METHODS = sizeof methods / sizeof *methods };

const char *zc_bench_next(const char *list, char separator) {
  const char *end = strchr(list, separator);
  return end ? end + 1 : list + strlen(list);
}

static const struct zc_bench_method *find_method(const char *name, size_t len) {
  for (int i = 0; i < METHODS; i++)
    if (strlen(methods[i].name) == len && !strncmp(name, methods[i].name, len)) return &methods[i];
  return NULL;
}

int zc_bench_find_methods(const struct zc_bench_method **out, int max, const char *list) {
  int count = 0;
  for (const char *name = list; *name; name = zc_bench_next(name, ',')) {
    size_t len = strcspn(name, ",");
    const struct zc_bench_method *method = find_method(name, len);
    if (!method || count == max)
      return zf_error(ZF_EUSAGE,
                      "--methods: expected some of inference, mezo, sgd, sgd_momentum, adamw, "
                      "adamw_checkpoint, found '%.*s'",
                      (int)len, name);
    out[count++] = method;
  }
  return count ? count : zf_error(ZF_EUSAGE, "--methods: names none");
}

/* The error that an exit status of zoft stands for. */
static int code_of(int status) {
  if (status >= 128) return ZF_ESTOPPED;
  switch (status) {
    case 2:
      return ZF_EUSAGE;
    case 3:
      return ZF_EINVALID;
    case 4:
      return ZF_EMEMLIMIT;
    default:
      return ZF_EFAIL;
  }
}

static const char **child_argv(const struct zc_args *args, const char *const *settings,
                               const char *repeat) {
  const char *const begin[] = {"zoft", "bench", "one", "-q", "--repeat", repeat};
  int argc = 0, nsetting = 0;
  while (settings[nsetting]) nsetting++;
  const char **argv = zf_calloc(args->nword + args->nset + nsetting + 12, sizeof *argv);
  if (!argv) return NULL;
  for (size_t i = 0; i < sizeof begin / sizeof *begin; i++) argv[argc++] = begin[i];
  if (zc_bench_options.seq) {
    argv[argc++] = "--seq";
    argv[argc++] = "1";
  }
  if (zc_cpumask()) {
    argv[argc++] = "--cpumask";
    argv[argc++] = zc_cpumask();
  }
  for (int i = 0; i < args->nword; i++) argv[argc++] = args->word[i];
  for (int i = 0; i < args->nset; i++) argv[argc++] = args->set[i];
  for (int i = 0; i < nsetting; i++) argv[argc++] = settings[i];
  return argv;
}

int zc_bench_child(json_t **out, struct zf_proc *proc, const struct zc_args *args,
                   const char *const *settings) {
  struct zf_buf text = {0};
  char repeat[32];
  *out = NULL;
  snprintf(repeat, sizeof repeat, "%lld", (long long)zc_bench_options.repeat);
  const char **argv = child_argv(args, settings, repeat);
  if (!argv) return ZF_ENOMEM;
  int rc = zf_proc_self(proc, &text, argv);
  free(argv);
  if (!rc && proc->status == 0)
    rc = zf_json_parse(out, text.data ? text.data : "", text.len, "bench");
  if (!rc && proc->status)
    rc = zf_error(code_of(proc->status), "measuring ended with exit status %d%s", proc->status,
                  proc->status == 137 ? ": killed, perhaps for want of memory" : "");
  zf_buf_free(&text);
  return rc;
}
