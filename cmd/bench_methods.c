/* zoft bench memory, time, energy: inference, MeZO and backpropagation on the same model and batch. */
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

enum { MAX_LIST = 8, ROWS = 512 }; /* entries of an option's list; rows of a report */
#define ALL_METHODS "inference,mezo,sgd,adamw,adamw_checkpoint"

/* The measurements of one process. */
struct bench_row {
  const char *method;
  int batch, seq; /* seq 0: the lengths of the data */
  double tokens, seconds, deviation, joules, joules_deviation;
  char compute[16];
  double peak, forecast, weights, gradients, optimizer, activations, before_model;
};

struct bench_table {
  struct bench_row rows[ROWS];
  int count;
  char no_energy[160], model[256];
  int threads;
  double parameters;
};

/* The numbers of "1,4,16"; returns how many, or ZF_EUSAGE.  list NULL: one, which is 0. */
static int parse_numbers(int *out, const char *list, const char *option) {
  int count = 0;
  if (!list) {
    out[0] = 0;
    return 1;
  }
  for (const char *at = list; *at;) {
    char *end;
    long number = strtol(at, &end, 10);
    if (end == at || number < 1 || number > 1 << 24 || count == MAX_LIST || (*end && *end != ','))
      return zf_error(ZF_EUSAGE, "%s: expected numbers from 1 on, at most %d of them, found '%s'",
                      option, MAX_LIST, list);
    out[count++] = (int)number;
    at = end + (*end == ',');
  }
  return count ? count : zf_error(ZF_EUSAGE, "%s: names none", option);
}

static double member(const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  return json_is_number(value) ? json_number_value(value) : NAN;
}

static void fill(struct bench_row *row, const json_t *object) {
  row->tokens = member(object, "tokens");
  row->seconds = member(object, "seconds");
  row->deviation = member(object, "seconds_deviation");
  row->joules = member(object, "joules");
  row->joules_deviation = member(object, "joules_deviation");
  row->forecast = member(object, "forecast_bytes");
  row->weights = member(object, "weights_bytes");
  row->gradients = member(object, "gradient_bytes");
  row->optimizer = member(object, "optimizer_bytes");
  row->activations = member(object, "activation_bytes");
  row->before_model = member(object, "before_bytes");
  row->batch = (int)member(object, "batch");
  row->peak = member(object, "peak_rss_bytes");
}

/* The arithmetic of all methods: what `auto` means for mezo, or what the config says. */
static const char *compute_of(const struct zf_conf *conf) {
  const char *compute = zf_conf_str(conf, "compute");
  if (strcmp(compute, "auto") != 0) return compute;
  return zf_compute_name(zf_compute_auto(zf_conf_num(conf, "zo_eps", INFINITY)));
}

/* Backpropagation has no int8; it runs in the next finer arithmetic. */
static const char *compute_for(const struct zc_bench_method *method, const char *compute) {
  int forward = !strcmp(method->method, "mezo") || !strcmp(method->method, "inference");
  if (forward || strcmp(compute, "int8") != 0) return compute;
  return zf_kern_native(ZF_COMPUTE_BF16) ? "bf16" : "f32";
}

static int measure(struct bench_table *table, const struct zc_args *args,
                   const struct zc_bench_method *method, int batch, int seq, const char *compute) {
  char method_word[48], batch_word[48], seq_word[48], compute_word[48];
  const char *settings[8] = {method_word, compute_word,
                             method->checkpoint ? "gradient_checkpointing=true"
                                                : "gradient_checkpointing=false"};
  int count = 3;
  snprintf(method_word, sizeof method_word, "method=%s", method->method);
  snprintf(compute_word, sizeof compute_word, "compute=%s", compute_for(method, compute));
  snprintf(batch_word, sizeof batch_word, "micro_batch_size=%d", batch);
  snprintf(seq_word, sizeof seq_word, "sequence_len=%d", seq);
  if (batch) settings[count++] = batch_word;
  if (seq) settings[count++] = seq_word;
  struct zf_proc proc;
  json_t *object;
  int rc = zc_bench_child(&object, &proc, args, settings);
  if (rc) return rc;
  struct bench_row *row = &table->rows[table->count++];
  *row = (struct bench_row){.method = method->name, .seq = seq};
  fill(row, object);
  if (!seq) row->seq = (int)(row->tokens / row->batch + 0.5);
  snprintf(row->compute, sizeof row->compute, "%s",
           json_string_value(json_object_get(object, "compute")));
  snprintf(table->no_energy, sizeof table->no_energy, "%s",
           json_string_value(json_object_get(object, "why")));
  table->threads = (int)member(object, "threads");
  table->parameters = member(object, "parameters");
  json_decref(object);
  return 0;
}

/* The lists of the options. */
struct bench_lists {
  const struct zc_bench_method *methods[MAX_LIST];
  int batches[MAX_LIST], lengths[MAX_LIST];
  int nmethod, nbatch, nlength;
};

static int read_lists(struct bench_lists *lists) {
  const struct zc_bench_options *options = &zc_bench_options;
  const char *methods = options->methods ? options->methods : ALL_METHODS;
  lists->nmethod = zc_bench_find_methods(lists->methods, MAX_LIST, methods);
  if (lists->nmethod < 0) return lists->nmethod;
  lists->nbatch = parse_numbers(lists->batches, options->batch, "--batch");
  if (lists->nbatch < 0) return lists->nbatch;
  lists->nlength = parse_numbers(lists->lengths, options->seq, "--seq");
  return lists->nlength < 0 ? lists->nlength : 0;
}

static int measure_lists(struct bench_table *table, const struct zc_args *args,
                         const struct bench_lists *lists, const char *compute) {
  int total = lists->nbatch * lists->nlength * lists->nmethod;
  for (int i = 0; i < total; i++) { /* methods vary fastest, then lengths */
    const struct zc_bench_method *method = lists->methods[i % lists->nmethod];
    int length = lists->lengths[i / lists->nmethod % lists->nlength];
    int batch = lists->batches[i / lists->nmethod / lists->nlength];
    char text[160];
    snprintf(text, sizeof text, "%s (%d of %d)", method->name, table->count + 1, total);
    zc_bar((double)table->count / total, text, 1);
    int rc = measure(table, args, method, batch, length, compute);
    if (rc) return rc;
  }
  return 0;
}

static int measure_all(struct bench_table *table, const struct zc_args *args) {
  struct zf_conf *conf = NULL;
  struct bench_lists lists;
  int rc = zc_report_check(zc_bench_options.output);
  if (!rc) rc = read_lists(&lists);
  if (!rc) rc = zc_conf_load(&conf, args, zf_bench_keys());
  if (!rc) {
    snprintf(table->model, sizeof table->model, "%s", zf_conf_str(conf, "base_model"));
    rc = measure_lists(table, args, &lists, compute_of(conf));
  }
  zc_bar_clear();
  zf_conf_free(conf);
  return rc;
}

/* The row of inference with the same batch and length, or NULL. */
static const struct bench_row *base_of(const struct bench_table *table,
                                       const struct bench_row *row) {
  for (int i = 0; i < table->count; i++)
    if (!strcmp(table->rows[i].method, "inference") && table->rows[i].batch == row->batch &&
        table->rows[i].seq == row->seq)
      return &table->rows[i];
  return NULL;
}

static void name_cells(struct zc_cell *cell, const struct bench_row *row) {
  snprintf(cell[0].text, sizeof cell[0].text, "%s", row->method);
  snprintf(cell[1].text, sizeof cell[1].text, "%s", row->compute);
  cell[2].value = row->batch;
  cell[3].value = row->seq;
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

static void memory_cells(struct zc_cell *cell, const struct bench_row *row,
                         const struct bench_row *base) {
  const double values[] = {row->peak,      row->weights,     row->gradients,
                           row->optimizer, row->activations, row->peak - row->weights,
                           row->forecast};
  for (int i = 0; i < 7; i++) cell[4 + i].value = values[i];
  if (base) cell[11].value = row->peak / base->peak;
}

static void time_cells(struct zc_cell *cell, const struct bench_row *row,
                       const struct bench_row *base) {
  const double values[] = {row->seconds, row->deviation, row->tokens / row->seconds, row->peak};
  for (int i = 0; i < 4; i++) cell[4 + i].value = values[i];
  if (base) cell[8].value = row->seconds / base->seconds;
}

static void energy_cells(struct zc_cell *cell, const struct bench_row *row,
                         const struct bench_row *base) {
  const double values[] = {row->joules, row->joules_deviation, row->joules / row->tokens,
                           row->seconds};
  for (int i = 0; i < 4; i++) cell[4 + i].value = values[i];
  if (base) cell[8].value = row->joules / base->joules;
}

/* --- plots of a page --- */

struct bench_lines {
  double x[MAX_LIST][ROWS], y[MAX_LIST][ROWS];
  struct zc_series series[MAX_LIST];
  int count;
};

/* A line for each method, over all rows, or over those of one batch (batch > 0). */
static void lines_of(struct bench_lines *lines, const struct bench_table *table, int batch,
                     double (*x)(const struct bench_row *), double (*y)(const struct bench_row *)) {
  lines->count = 0;
  for (int i = 0; i < table->count; i++) {
    int line = 0;
    if (batch && table->rows[i].batch != batch) continue;
    while (line < lines->count && strcmp(lines->series[line].name, table->rows[i].method)) line++;
    if (line == lines->count && lines->count == MAX_LIST) continue;
    if (line == lines->count)
      lines->series[lines->count++] =
          (struct zc_series){table->rows[i].method, lines->x[line], lines->y[line], 0};
    struct zc_series *series = &lines->series[line];
    lines->x[line][series->count] = x(&table->rows[i]);
    lines->y[line][series->count++] = y(&table->rows[i]);
  }
}

static double length_of(const struct bench_row *row) {
  return row->seq;
}
static double megabytes(const struct bench_row *row) {
  return row->peak * 1e-6;
}
static double seconds_of(const struct bench_row *row) {
  return row->seconds;
}
static double joules_of(const struct bench_row *row) {
  return row->joules;
}

struct method_bench {
  const char *title;
  const struct zc_column *column;
  int columns;
  void (*cells)(struct zc_cell *cell, const struct bench_row *row, const struct bench_row *base);
  double (*measure)(const struct bench_row *row);
  const char *measure_name;
};

static int write_report(const struct bench_table *table, const struct method_bench *bench) {
  static struct bench_lines by_length, time_memory;
  char title[320], note[400], no_energy[224], plot[96];
  struct zc_report report = {.column = bench->column, .columns = bench->columns, .title = title};
  snprintf(title, sizeof title, "%s: %s", bench->title, table->model);
  for (int i = 0; i < table->count; i++) {
    struct zc_cell *cell = zc_report_row(&report);
    if (!cell) return zf_error(ZF_ENOMEM, "out of memory");
    name_cells(cell, &table->rows[i]);
    bench->cells(cell, &table->rows[i], base_of(table, &table->rows[i]));
  }
  snprintf(note, sizeof note,
           "%.4g M parameters, %d threads, %lld steps each in a process of its own; "
           "peak is the system's account of it.",
           table->parameters * 1e-6, table->threads, (long long)zc_bench_options.repeat);
  report.note[report.notes++] = note;
  snprintf(no_energy, sizeof no_energy, "Energy is not measurable here: %s.", table->no_energy);
  if (table->no_energy[0]) report.note[report.notes++] = no_energy;
  int batch = table->rows[table->count - 1].batch;
  snprintf(plot, sizeof plot, "%s, batch of %d", bench->title, batch);
  lines_of(&by_length, table, batch, length_of, bench->measure);
  lines_of(&time_memory, table, 0, seconds_of, megabytes);
  struct zc_plot plots[] = {
      {plot, "tokens of a sequence", bench->measure_name, by_length.series, by_length.count,
       .log_x = 1, .log_y = 1},
      {"Time against memory", "seconds a step", "peak memory, MB", time_memory.series,
       time_memory.count, .log_x = 1, .log_y = 1, .points = 1},
  };
  report.plot = plots;
  report.plots = 2;
  struct zf_buf out = {0};
  zc_report_write(&report, zc_common.json ? "json" : zc_bench_options.output, &out);
  zc_report_free(&report);
  int rc = zf_buf_ok(&out);
  if (!rc) fputs(out.data, stdout);
  zf_buf_free(&out);
  return rc;
}

static int run(const struct zc_args *args, const struct method_bench *bench) {
  static struct bench_table table;
  int rc = measure_all(&table, args);
  return rc ? rc : write_report(&table, bench);
}

#define COUNT(x) ((int)(sizeof x / sizeof *x))

int zc_bench_memory(const struct zc_args *args) {
  return run(args, &(struct method_bench){"Memory of a training step", memory_columns,
                                          COUNT(memory_columns), memory_cells, megabytes,
                                          "peak memory, MB"});
}

int zc_bench_time(const struct zc_args *args) {
  return run(args,
             &(struct method_bench){"Time of a training step", time_columns, COUNT(time_columns),
                                    time_cells, seconds_of, "seconds a step"});
}

int zc_bench_energy(const struct zc_args *args) {
  return run(args, &(struct method_bench){"Energy of a training step", energy_columns,
                                          COUNT(energy_columns), energy_cells, joules_of,
                                          "joules a step"});
}
