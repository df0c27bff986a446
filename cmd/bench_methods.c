/* zoft bench memory, time, energy: inference, MeZO and backpropagation on the same model and batch.
 */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/proc.h"
#include "bench_internal.h"
#include "report.h"
#include "train/step_bench.h"
#include "ui.h"

enum { MOST = 8, ROWS = 512 };
#define ALL_WAYS "inference,mezo,sgd,adamw,adamw_checkpoint"

/* What one process measured. */
struct row {
  const char *way;
  int batch, seq; /* seq 0: the data's own lengths */
  double tokens, seconds, deviation, joules, joules_deviation;
  char compute[16];
  double peak, forecast, weights, gradients, optimizer, activations, before;
};

struct table {
  struct row row[ROWS];
  int n;
  char why[160], model[256];
  int threads;
  double parameters;
};

/* "1,4,16" as numbers; how many, or ZF_EUSAGE.  NULL: one, 0. */
static int numbers(int *out, const char *list, const char *option) {
  int n = 0;
  if (!list) return out[0] = 0, 1;
  for (const char *s = list; *s;) {
    char *end;
    long v = strtol(s, &end, 10);
    if (end == s || v < 1 || v > 1 << 24 || n == MOST || (*end && *end != ','))
      return zf_error(ZF_EUSAGE, "%s: expected numbers from 1 on, at most %d of them, found '%s'",
                      option, MOST, list);
    out[n++] = (int)v;
    s = end + (*end == ',');
  }
  return n ? n : zf_error(ZF_EUSAGE, "%s: names none", option);
}

static double member(const json_t *o, const char *key) {
  const json_t *v = json_object_get(o, key);
  return json_is_number(v) ? json_number_value(v) : NAN;
}

static void fill(struct row *r, const json_t *o) {
  r->tokens = member(o, "tokens");
  r->seconds = member(o, "seconds");
  r->deviation = member(o, "seconds_deviation");
  r->joules = member(o, "joules");
  r->joules_deviation = member(o, "joules_deviation");
  r->forecast = member(o, "forecast_bytes");
  r->weights = member(o, "weights_bytes");
  r->gradients = member(o, "gradient_bytes");
  r->optimizer = member(o, "optimizer_bytes");
  r->activations = member(o, "activation_bytes");
  r->before = member(o, "before_bytes");
  r->batch = (int)member(o, "batch");
  r->peak = member(o, "peak_rss_bytes");
}

/* The arithmetic is the same for all: what `auto` means for mezo, or what was asked for. */
static const char *compute_of(const struct zf_conf *conf) {
  const char *v = zf_conf_str(conf, "compute");
  if (strcmp(v, "auto") != 0) return v;
  return zf_compute_name(zf_compute_auto(zf_conf_num(conf, "zo_eps", INFINITY)));
}

/* int8 serves forward passes alone; backpropagation then runs in the next finer one. */
static const char *compute_for(const struct zc_bench_way *way, const char *compute) {
  int forward = !strcmp(way->method, "mezo") || !strcmp(way->method, "inference");
  if (forward || strcmp(compute, "int8") != 0) return compute;
  return zf_kern_native(ZF_COMPUTE_BF16) ? "bf16" : "f32";
}

static int measure(struct table *t, const struct zc_args *a, const struct zc_bench_way *way,
                   int batch, int seq, const char *compute) {
  char method[48], b[48], s[48], how[48];
  const char *more[8] = {method, how,
                         way->checkpoint ? "gradient_checkpointing=true"
                                         : "gradient_checkpointing=false"};
  int n = 3;
  snprintf(method, sizeof method, "method=%s", way->method);
  snprintf(how, sizeof how, "compute=%s", compute_for(way, compute));
  snprintf(b, sizeof b, "micro_batch_size=%d", batch);
  snprintf(s, sizeof s, "sequence_len=%d", seq);
  if (batch) more[n++] = b;
  if (seq) more[n++] = s;
  struct zf_proc p;
  json_t *o;
  int rc = zc_bench_child(&o, &p, a, more);
  if (rc) return rc;
  struct row *r = &t->row[t->n++];
  *r = (struct row){.way = way->name, .seq = seq};
  fill(r, o);
  if (!seq) r->seq = (int)(r->tokens / r->batch + 0.5);
  snprintf(r->compute, sizeof r->compute, "%s", json_string_value(json_object_get(o, "compute")));
  snprintf(t->why, sizeof t->why, "%s", json_string_value(json_object_get(o, "why")));
  t->threads = (int)member(o, "threads");
  t->parameters = member(o, "parameters");
  json_decref(o);
  return 0;
}

static int measure_all(struct table *t, const struct zc_args *a) {
  const struct zc_bench_way *way[MOST];
  struct zf_conf *conf = NULL;
  int batch[MOST], seq[MOST], nb = 0, ns = 0, nw = 0;
  const struct zc_bench_options *o = &zc_bench_options;
  int rc = zc_report_check(o->output);
  if (!rc && (nw = zc_bench_ways(way, MOST, o->methods ? o->methods : ALL_WAYS)) < 0) rc = nw;
  if (!rc && (nb = numbers(batch, o->batch, "--batch")) < 0) rc = nb;
  if (!rc && (ns = numbers(seq, o->seq, "--seq")) < 0) rc = ns;
  if (!rc) rc = zc_conf_load(&conf, a, zf_bench_keys());
  if (!rc) snprintf(t->model, sizeof t->model, "%s", zf_conf_str(conf, "base_model"));
  const char *compute = rc ? NULL : compute_of(conf);
  for (int i = 0; !rc && i < nb; i++)
    for (int j = 0; !rc && j < ns; j++)
      for (int k = 0; !rc && k < nw; k++) {
        char text[160];
        snprintf(text, sizeof text, "%s (%d of %d)", way[k]->name, t->n + 1, nb * ns * nw);
        zc_bar((double)t->n / (nb * ns * nw), text, 1);
        rc = measure(t, a, way[k], batch[i], seq[j], compute);
      }
  zc_bar_clear();
  zf_conf_free(conf);
  return rc;
}

/* The row of inference with the same batch and length. */
static const struct row *base_of(const struct table *t, const struct row *r) {
  for (int i = 0; i < t->n; i++)
    if (!strcmp(t->row[i].way, "inference") && t->row[i].batch == r->batch &&
        t->row[i].seq == r->seq)
      return &t->row[i];
  return NULL;
}

static void name_cells(struct zc_cell *c, const struct row *r) {
  snprintf(c[0].text, sizeof c[0].text, "%s", r->way);
  snprintf(c[1].text, sizeof c[1].text, "%s", r->compute);
  c[2].value = r->batch;
  c[3].value = r->seq;
}

#define NAMES                                                                                      \
  {"method", "method", ZC_TEXT}, {"compute", "products", ZC_TEXT}, {"batch", "batch", ZC_COUNT}, { \
    "tokens_each", "tokens", ZC_COUNT                                                              \
  }

static const struct zc_column memory_columns[] = {
    NAMES,
    {"peak_rss_bytes", "peak", ZC_BYTES},
    {"weights_bytes", "weights", ZC_BYTES},
    {"gradient_bytes", "gradients", ZC_BYTES},
    {"optimizer_bytes", "optimizer", ZC_BYTES},
    {"activation_bytes", "activations", ZC_BYTES},
    {"above_weights_bytes", "above weights", ZC_BYTES},
    {"forecast_bytes", "forecast", ZC_BYTES},
    {"ratio_to_inference", "/ inference", ZC_RATIO},
};
static const struct zc_column time_columns[] = {
    NAMES,
    {"seconds", "s a step", ZC_NUMBER},
    {"seconds_deviation", "+-", ZC_NUMBER},
    {"tokens_per_s", "tokens/s", ZC_COUNT},
    {"peak_rss_bytes", "peak memory", ZC_BYTES},
    {"ratio_to_inference", "/ inference", ZC_RATIO},
};
static const struct zc_column energy_columns[] = {
    NAMES,
    {"joules", "J a step", ZC_NUMBER},
    {"joules_deviation", "+-", ZC_NUMBER},
    {"joules_per_token", "J a token", ZC_NUMBER},
    {"seconds", "s a step", ZC_NUMBER},
    {"ratio_to_inference", "/ inference", ZC_RATIO},
};

static void memory_cells(struct zc_cell *c, const struct row *r, const struct row *base) {
  const double v[] = {r->peak,        r->weights,           r->gradients, r->optimizer,
                      r->activations, r->peak - r->weights, r->forecast};
  for (int i = 0; i < 7; i++) c[4 + i].value = v[i];
  if (base) c[11].value = r->peak / base->peak;
}

static void time_cells(struct zc_cell *c, const struct row *r, const struct row *base) {
  const double v[] = {r->seconds, r->deviation, r->tokens / r->seconds, r->peak};
  for (int i = 0; i < 4; i++) c[4 + i].value = v[i];
  if (base) c[8].value = r->seconds / base->seconds;
}

static void energy_cells(struct zc_cell *c, const struct row *r, const struct row *base) {
  const double v[] = {r->joules, r->joules_deviation, r->joules / r->tokens, r->seconds};
  for (int i = 0; i < 4; i++) c[4 + i].value = v[i];
  if (base) c[8].value = r->joules / base->joules;
}

/* --- plots of a page --- */

struct lines {
  double x[MOST][ROWS], y[MOST][ROWS];
  struct zc_series series[MOST];
  int n;
};

/* A line for each method: of all rows, or (batch > 0) of those of one batch. */
static void lines_of(struct lines *l, const struct table *t, int batch,
                     double (*x)(const struct row *), double (*y)(const struct row *)) {
  l->n = 0;
  for (int i = 0; i < t->n; i++) {
    int k = 0;
    if (batch && t->row[i].batch != batch) continue;
    while (k < l->n && strcmp(l->series[k].name, t->row[i].way)) k++;
    if (k == l->n && l->n == MOST) continue;
    if (k == l->n) l->series[l->n++] = (struct zc_series){t->row[i].way, l->x[k], l->y[k], 0};
    struct zc_series *s = &l->series[k];
    l->x[k][s->count] = x(&t->row[i]);
    l->y[k][s->count++] = y(&t->row[i]);
  }
}

static double length_of(const struct row *r) {
  return r->seq;
}
static double megabytes(const struct row *r) {
  return r->peak * 1e-6;
}
static double seconds_of(const struct row *r) {
  return r->seconds;
}
static double joules_of(const struct row *r) {
  return r->joules;
}

struct bench {
  const char *title;
  const struct zc_column *column;
  int columns;
  void (*cells)(struct zc_cell *c, const struct row *r, const struct row *base);
  double (*measure)(const struct row *r);
  const char *measure_name;
};

static int write_report(const struct table *t, const struct bench *b) {
  static struct lines first, second;
  char title[320], what[400], why[224], plot[96];
  struct zc_report r = {.column = b->column, .columns = b->columns, .title = title};
  snprintf(title, sizeof title, "%s: %s", b->title, t->model);
  for (int i = 0; i < t->n; i++) {
    struct zc_cell *c = zc_report_row(&r);
    if (!c) return zf_error(ZF_ENOMEM, "out of memory");
    name_cells(c, &t->row[i]);
    b->cells(c, &t->row[i], base_of(t, &t->row[i]));
  }
  snprintf(what, sizeof what,
           "%.4g M parameters, %d threads, %lld steps each in a process of its own; "
           "peak is the system's account of it.",
           t->parameters * 1e-6, t->threads, (long long)zc_bench_options.repeat);
  r.note[r.notes++] = what;
  snprintf(why, sizeof why, "Energy is not measurable here: %s.", t->why);
  if (t->why[0]) r.note[r.notes++] = why;
  int batch = t->row[t->n - 1].batch;
  snprintf(plot, sizeof plot, "%s, batch of %d", b->title, batch);
  lines_of(&first, t, batch, length_of, b->measure);
  lines_of(&second, t, 0, seconds_of, megabytes);
  struct zc_plot plots[] = {
      {plot, "tokens of a sequence", b->measure_name, first.series, first.n, .log_x = 1,
       .log_y = 1},
      {"Time against memory", "seconds a step", "peak memory, MB", second.series, second.n,
       .log_x = 1, .log_y = 1, .points = 1},
  };
  r.plot = plots;
  r.plots = 2;
  struct zf_buf out = {0};
  zc_report_write(&r, zc_common.json ? "json" : zc_bench_options.output, &out);
  zc_report_free(&r);
  int rc = zf_buf_ok(&out);
  if (!rc) fputs(out.data, stdout);
  zf_buf_free(&out);
  return rc;
}

static int run(const struct zc_args *a, const struct bench *b) {
  static struct table t;
  int rc = measure_all(&t, a);
  return rc ? rc : write_report(&t, b);
}

#define COUNT(x) ((int)(sizeof x / sizeof *x))

int zc_bench_memory(const struct zc_args *a) {
  return run(a, &(struct bench){"Memory of a training step", memory_columns, COUNT(memory_columns),
                                memory_cells, megabytes, "peak memory, MB"});
}

int zc_bench_time(const struct zc_args *a) {
  return run(a, &(struct bench){"Time of a training step", time_columns, COUNT(time_columns),
                                time_cells, seconds_of, "seconds a step"});
}

int zc_bench_energy(const struct zc_args *a) {
  return run(a, &(struct bench){"Energy of a training step", energy_columns, COUNT(energy_columns),
                                energy_cells, joules_of, "joules a step"});
}
