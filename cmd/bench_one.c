/* One method in a process of its own, so that the system's account of its memory is its alone:
 * `zoft bench one` runs steps and prints one JSON object; zc_bench_child starts it and reads that.
 */
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

static void spread(struct zf_buf *b, const char *name, const struct zf_spread *s) {
  zf_buf_printf(b, ", \"%s\": %.9g, \"%s_deviation\": %.9g", name, s->mean, name, s->deviation);
}

static void print_one(const struct zf_run *r, const struct zf_measure *m) {
  const struct zf_forecast *f = &r->forecast;
  struct zf_buf b = {0};
  zf_buf_printf(&b, "{\"method\": \"%s\", \"compute\": \"%s\", \"threads\": %d, \"batch\": %lld",
                zf_method_info(r->set.method)->name, zf_compute_name(r->set.compute),
                zf_kern_nthreads(), (long long)r->batch);
  zf_buf_printf(&b, ", \"tokens\": %.9g, \"longest\": %lld, \"loss\": %.9g", m->tokens,
                (long long)r->lim.length, m->loss);
  spread(&b, "seconds", &m->seconds);
  if (m->joules.mean >= 0) spread(&b, "joules", &m->joules);
  zf_buf_puts(&b, ", \"why\": ");
  zc_json_text(&b, m->why, strlen(m->why));
  zf_buf_printf(&b,
                ", \"forecast_bytes\": %lld, \"before_bytes\": %lld, \"weights_bytes\": %lld, "
                "\"gradient_bytes\": %lld, \"optimizer_bytes\": %lld, \"activation_bytes\": %lld",
                (long long)f->total, (long long)f->before, (long long)f->weights,
                (long long)f->gradients, (long long)f->optimizer, (long long)f->activations);
  zf_buf_printf(&b, ", \"parameters\": %lld, \"peak_rss_bytes\": %lld}\n",
                (long long)zf_params_count(&r->model->params, 0), (long long)zf_peak_rss());
  fputs(b.failed ? "" : b.data, stdout);
  zf_buf_free(&b);
}

int zc_bench_one(const struct zc_args *a) {
  struct zf_conf *conf = NULL;
  struct zf_run *r = NULL;
  struct zf_measure m;
  int rc = zc_conf_load(&conf, a, zf_bench_keys());
  if (!rc) zc_catch_signals();
  /* Lengths of their own need tokens of their own: --seq runs on random ones. */
  int made = !rc && (!zf_conf_maps(conf, "datasets") || zc_bench_options.seq);
  if (!rc) rc = made ? zf_bench_open(&r, conf) : zf_run_open(&r, conf, ZF_WANT_TRAIN);
  if (!rc) zc_say_model(r->model);
  if (!rc) rc = zf_measure_run(&m, r, zc_bench_options.repeat, on_stopped, NULL);
  if (!rc) print_one(r, &m);
  zf_run_free(r);
  zf_conf_free(conf);
  return rc;
}

/* --- its parent --- */

static const struct zc_bench_way ways[] = {
    {"inference", "inference", 0},       {"mezo", "mezo", 0},   {"sgd", "sgd", 0},
    {"sgd_momentum", "sgd_momentum", 0}, {"adamw", "adamw", 0}, {"adamw_checkpoint", "adamw", 1},
};
enum { WAYS = sizeof ways / sizeof *ways };

int zc_bench_ways(const struct zc_bench_way **out, int most, const char *list) {
  int n = 0;
  for (const char *s = list; *s; s += strcspn(s, ",") + (s[strcspn(s, ",")] == ',')) {
    size_t len = strcspn(s, ",");
    int k = 0;
    while (k < WAYS && (strlen(ways[k].name) != len || strncmp(s, ways[k].name, len))) k++;
    if (k == WAYS || n == most)
      return zf_error(ZF_EUSAGE,
                      "--methods: expected some of inference, mezo, sgd, sgd_momentum, adamw, "
                      "adamw_checkpoint, found '%.*s'",
                      (int)len, s);
    out[n++] = &ways[k];
  }
  return n ? n : zf_error(ZF_EUSAGE, "--methods: names none");
}

int zc_bench_child(json_t **out, struct zf_proc *p, const struct zc_args *a,
                   const char *const *more) {
  struct zf_buf text = {0};
  char repeat[32];
  int n = 0, extra = 0;
  *out = NULL;
  while (more[extra]) extra++;
  const char **argv = zf_calloc(a->nword + a->nset + extra + 12, sizeof *argv);
  if (!argv) return ZF_ENOMEM;
  snprintf(repeat, sizeof repeat, "%lld", (long long)zc_bench_options.repeat);
  const char *const begin[] = {"zoft", "bench", "one", "-q", "--repeat", repeat};
  for (size_t i = 0; i < sizeof begin / sizeof *begin; i++) argv[n++] = begin[i];
  if (zc_bench_options.seq) {
    argv[n++] = "--seq";
    argv[n++] = "1";
  }
  if (zc_cpumask()) {
    argv[n++] = "--cpumask";
    argv[n++] = zc_cpumask();
  }
  for (int i = 0; i < a->nword; i++) argv[n++] = a->word[i];
  for (int i = 0; i < a->nset; i++) argv[n++] = a->set[i];
  for (int i = 0; i < extra; i++) argv[n++] = more[i];
  int rc = zf_proc_self(p, &text, argv);
  free(argv);
  if (!rc && p->status == 0) rc = zf_json_parse(out, text.data ? text.data : "", text.len, "bench");
  if (!rc && p->status)
    rc = zf_error(p->status == 4     ? ZF_EMEMLIMIT
                  : p->status == 2   ? ZF_EUSAGE
                  : p->status == 3   ? ZF_EINVALID
                  : p->status >= 128 ? ZF_ESTOPPED
                                     : ZF_EFAIL,
                  "measuring ended with exit status %d%s", p->status,
                  p->status == 137 ? ": killed, perhaps for want of memory" : "");
  zf_buf_free(&text);
  return rc;
}
