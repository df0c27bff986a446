/* zoft predict: labels new rows with a run's result. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "calibration.h"
#include "eval/predict.h"
#include "fmt/json.h"
#include "load.h"
#include "ui.h"

enum { INPUT_MAX = 1 << 30, SHOWN = 60 };

static const char *output;

static const struct zc_opt options[] = {
    ZC_CALIBRATE_OPTION,
    ZC_ADAPTER_OPTION,
    {"output", 'o', ZC_STR, "FILE", "write the rows as JSON lines, each with its prediction",
     &output},
    {0},
};

struct prediction_job {
  struct zf_run *run;
  const struct zf_dataset *dataset;
  const struct zf_data_spec *spec;
  struct zf_records *rows;
  struct zc_calibration calibration;
  struct zc_table *table; /* NULL: JSON is written */
  FILE *out;              /* of JSON lines; NULL: JSON goes to `json` */
  struct zf_buf json;     /* --json: the members of the list of predictions */
  int64_t row, written;   /* the row at hand, 0-based; rows that have their prediction */
};

/* --- what a label is called --- */

/* The value that a row's label field would have for option o: a text, or its number. */
static json_t *label_value(const struct zf_data_spec *spec, int64_t o) {
  return spec->labels ? json_string(spec->labels[o]) : json_integer(o);
}

static int is_choice(const struct zf_dataset *dataset) {
  return zf_dataset_has_options(dataset);
}

/* --- output --- */

static json_t *choice_json(const struct prediction_job *job, const double *value, int64_t count,
                           int32_t choice) {
  json_t *probabilities = json_object();
  char name[64];
  for (int64_t o = 0; o < count; o++) {
    zc_option_name(name, job->spec, o);
    json_object_set_new(probabilities, name, json_real(value[o]));
  }
  zc_option_name(name, job->spec, choice);
  return json_pack("{s:o, s:s, s:f, s:o}", "prediction", label_value(job->spec, choice), "option",
                   name, "probability", value[choice], "probabilities", probabilities);
}

static json_t *labels_json(const struct prediction_job *job, const double *value, int64_t count) {
  json_t *labels = json_array(), *probabilities = json_object();
  char name[64];
  for (int64_t o = 0; o < count; o++) {
    zc_option_name(name, job->spec, o);
    if (value[o] >= 0.5) json_array_append_new(labels, label_value(job->spec, o));
    json_object_set_new(probabilities, name, json_real(value[o]));
  }
  return json_pack("{s:o, s:o}", "prediction", labels, "probabilities", probabilities);
}

static json_t *numbers_json(const double *value, int64_t count) {
  if (count == 1) return json_pack("{s:f}", "prediction", value[0]);
  json_t *list = json_array();
  for (int64_t o = 0; o < count; o++) json_array_append_new(list, json_real(value[o]));
  return json_pack("{s:o}", "prediction", list);
}

static json_t *prediction_json(const struct prediction_job *job, const double *value, int64_t count,
                               int32_t choice) {
  if (is_choice(job->dataset)) return choice_json(job, value, count, choice);
  if (job->dataset->problem == ZF_PROBLEM_MULTI) return labels_json(job, value, count);
  return numbers_json(value, count);
}

static int write_line(struct prediction_job *job, const json_t *row, json_t *prediction) {
  json_t *line = json_copy((json_t *)row);
  if (line) json_object_update(line, prediction);
  char *text = line ? zf_json_dump(line, JSON_COMPACT) : NULL;
  if (text && job->out)
    fprintf(job->out, "%s\n", text);
  else if (text)
    zf_buf_printf(&job->json, "%s%s", job->json.len ? ", " : "", text);
  free(text);
  json_decref(line);
  return text ? 0 : zf_error(ZF_ENOMEM, "out of memory for a line of output");
}

static void describe(char out[SHOWN], const struct prediction_job *job, const double *value,
                     int64_t count, int32_t choice) {
  char name[64];
  if (is_choice(job->dataset)) {
    zc_option_name(name, job->spec, choice);
    snprintf(out, SHOWN, "%.50s", name);
    return;
  }
  size_t used = 0;
  out[0] = 0;
  for (int64_t o = 0; o < count; o++) {
    if (job->dataset->problem == ZF_PROBLEM_MULTI && value[o] < 0.5) continue;
    if (job->dataset->problem == ZF_PROBLEM_MULTI)
      zc_option_name(name, job->spec, o);
    else
      snprintf(name, sizeof name, "%.4g", value[o]);
    int len = snprintf(out + used, SHOWN - used, "%s%.40s", used ? ", " : "", name);
    if (len < 0 || (used += (size_t)len) >= SHOWN) return;
  }
  if (!used) snprintf(out, SHOWN, "(none)");
}

/* The start of the row's longest text, on one line. */
static void row_text(char out[SHOWN], const json_t *row) {
  const char *key, *best = "";
  json_t *value;
  json_object_foreach((json_t *)row, key, value) {
    const char *text = json_string_value(value);
    if (text && strlen(text) > strlen(best)) best = text;
  }
  size_t len = strlen(best) < SHOWN - 4 ? strlen(best) : SHOWN - 4;
  while (len && ((unsigned char)best[len] & 0xc0) == 0x80) len--; /* whole characters */
  memcpy(out, best, len);
  snprintf(out + len, SHOWN - len, "%s", best[len] ? "..." : "");
  for (size_t i = 0; out[i]; i++)
    if ((unsigned char)out[i] < ' ') out[i] = ' ';
}

static int show_row(void *ctx, int64_t index, const double *value, int64_t count, int32_t choice) {
  struct prediction_job *job = ctx;
  if (zc_signal())
    return zf_error(ZF_ESTOPPED, "interrupted after %lld rows", (long long)job->written);
  /* A row may have given no example. */
  while (zf_records_line(job->rows, job->row) < job->dataset->example[index].line) job->row++;
  const json_t *row = zf_records_row(job->rows, job->row);
  if (!row) return ZF_EINVALID;
  job->written++;
  if (!job->table) {
    json_t *prediction = prediction_json(job, value, count, choice);
    int rc = prediction ? write_line(job, row, prediction) : ZF_ENOMEM;
    json_decref(prediction);
    return rc;
  }
  char number[24], name[SHOWN], share[24] = "", text[SHOWN];
  snprintf(number, sizeof number, "%lld", (long long)job->dataset->example[index].line);
  describe(name, job, value, count, choice);
  if (choice >= 0) snprintf(share, sizeof share, "%.1f %%", 100 * value[choice]);
  row_text(text, row);
  zc_table_row(job->table, (const char *const[]){number, name, share, text});
  return 0;
}

/* --- input --- */

/* The one field that the prompt reads, into a new string; NULL with an error where there are more. */
static int only_field(char **field, const char *prompt) {
  const char *open = strchr(prompt, '{'), *close = open ? strchr(open, '}') : NULL;
  *field = NULL;
  if (close && !strchr(close, '{')) {
    size_t len = strcspn(open + 1, "}|.");
    if (!(*field = zf_strndup(open + 1, len))) return ZF_ENOMEM;
    return 0;
  }
  return zf_error(ZF_EUSAGE,
                  "the prompt \"%s\" reads several fields: give rows as a file, or as JSON lines",
                  prompt);
}

static int text_row(struct zf_buf *out, const char *field, const char *text, size_t len) {
  zf_buf_puts(out, "{");
  zc_json_text(out, field, strlen(field));
  zf_buf_puts(out, ": ");
  zc_json_text(out, text, len);
  zf_buf_puts(out, "}\n");
  return zf_buf_ok(out);
}

/* Lines of standard input: JSON objects, or texts. */
static int lines_to_rows(struct zf_buf *out, const char *prompt, const char *text, size_t len) {
  char *field = NULL;
  size_t first = strspn(text, " \t\r\n");
  if (text[first] == '{') {
    zf_buf_add(out, text, len);
    return zf_buf_ok(out);
  }
  int rc = only_field(&field, prompt);
  for (size_t at = 0; !rc && at < len;) {
    size_t line = strcspn(text + at, "\n"), used = line;
    if (used && text[at + used - 1] == '\r') used--;
    if (used) rc = text_row(out, field, text + at, used);
    at += line + 1;
  }
  free(field);
  return rc;
}

/* Texts of the command line, or standard input, as a temporary file of JSON lines. */
static int write_rows(char **path, const char *const *word, int count, const char *prompt) {
  struct zf_buf rows = {0};
  char *piped = NULL, *field = NULL;
  size_t len = 0;
  int rc = 0;
  if (count == 1 && !strcmp(word[0], "-")) {
    rc = zf_read_file(&piped, &len, "-", INPUT_MAX);
    if (!rc) rc = lines_to_rows(&rows, prompt, piped, len);
  } else {
    rc = only_field(&field, prompt);
    for (int i = 0; !rc && i < count; i++) rc = text_row(&rows, field, word[i], strlen(word[i]));
  }
  const char *dir = getenv("TMPDIR");
  if (!rc && !(*path = zf_asprintf("%s/zoft-XXXXXX.jsonl", dir && *dir ? dir : "/tmp")))
    rc = ZF_ENOMEM;
  int fd = rc ? -1 : mkstemps(*path, 6);
  if (!rc && fd < 0) rc = zf_error(ZF_EIO, "%s: cannot make a temporary file", *path);
  if (fd >= 0) {
    if (zf_write_all(fd, rows.data ? rows.data : "", rows.len))
      rc = zf_error(ZF_EIO, "%s: cannot write", *path);
    close(fd);
  }
  zf_buf_free(&rows);
  free(piped);
  free(field);
  return rc;
}

/* --- the command --- */

/* The config's test set becomes the file, all rows of it. */
static int use_file(struct zf_conf *conf, const char *path) {
  char *full = realpath(path, NULL);
  if (!full) return zf_error(ZF_EUSAGE, "%s: no such file", path);
  struct zf_buf quoted = {0};
  for (const char *c = full; *c; c++) zf_buf_printf(&quoted, *c == '\'' ? "''" : "%c", *c);
  char *word = zf_buf_ok(&quoted) ? NULL : zf_asprintf("test_datasets=[{path: '%s'}]", quoted.data);
  zf_buf_free(&quoted);
  int rc = word ? zf_conf_word(conf, word) : ZF_ENOMEM;
  if (!rc) rc = zf_conf_word(conf, "num_eval=all");
  if (!rc) rc = zf_conf_word(conf, "streaming=false");
  if (!rc) rc = zf_conf_word(conf, "excess_length_strategy=truncate");
  free(word);
  free(full);
  return rc;
}

static int print_object(struct prediction_job *job) {
  struct zf_buf object = {0};
  zf_buf_puts(&object, "{");
  zc_json_model(&object, job->run->model);
  if (job->calibration.kind) {
    zf_buf_puts(&object, "\"calibration\": ");
    zc_calibration_json(&object, &job->calibration, job->spec, 0);
    zf_buf_puts(&object, ", ");
  }
  zf_buf_printf(&object, "\"predictions\": [%s]}\n", job->json.data ? job->json.data : "");
  int rc = zf_buf_ok(&object);
  if (!rc) fputs(object.data, stdout);
  zf_buf_free(&object);
  return rc;
}

static int predict_rows(struct prediction_job *job) {
  struct zc_calibration *calibration = &job->calibration;
  struct zf_scorer *scorer = job->run->scorer;
  if (!calibration->kind) return zf_predict(scorer, job->dataset, show_row, job);
  zc_info("calibrated by %s", calibration->kind == ZF_CALIBRATE_BATCH
                                  ? "the mean log-probabilities of these rows"
                                  : "inputs without content");
  return zf_predict_calibrated(scorer, job->dataset, calibration->kind, calibration->shift,
                               show_row, job);
}

static int predict(struct prediction_job *job, const char *path) {
  struct zf_run *run = job->run;
  job->dataset = run->data.test;
  job->spec = &run->settings.test[0].spec;
  int rc = zf_records_open(&job->rows, path);
  if (!rc)
    rc = zc_calibration_open(&job->calibration, run, job->dataset, run->settings.test,
                             run->settings.ntest);
  if (rc) return rc;
  struct zf_out file = {0};
  if (output && (rc = zf_out_open(&file, output))) return rc;
  job->out = output ? file.file : NULL;
  if (!output && !zc_common.json) {
    zc_print_model(run->model);
    job->table = zc_table_new("rlrl");
    zc_table_row(job->table,
                 (const char *const[]){"line", "prediction",
                                       is_choice(job->dataset) ? "probability" : "", "text"});
  }
  rc = predict_rows(job);
  if (job->table) zc_table_print(job->table, 1);
  if (!rc && !output && zc_common.json) rc = print_object(job);
  if (output && !rc) rc = zf_out_commit(&file);
  if (output && rc) zf_out_abort(&file);
  if (!rc && output)
    zc_info("%s: %lld row%s", output, (long long)job->written, job->written == 1 ? "" : "s");
  return rc;
}

static int predict_with(struct zf_conf *conf, const char *path) {
  struct prediction_job job = {0};
  int rc = use_file(conf, path);
  if (!rc) rc = zf_run_open(&job.run, conf, ZF_WANT_TEST | ZF_WANT_UNLABELLED);
  if (!rc) rc = zf_predict_check(job.run->data.test->type);
  if (!rc) zc_warn_model(job.run->model);
  if (!rc) zc_warn_counts(job.run->data.test, "new");
  if (!rc) rc = predict(&job, path);
  zf_buf_free(&job.json);
  zc_calibration_free(&job.calibration);
  zf_records_free(job.rows);
  zf_run_free(job.run);
  return rc;
}

/* A word without blanks that ends in .jsonl, .csv, ... is a file and no text to label. */
static int looks_like_file(const char *word) {
  const char *dot = strrchr(word, '.');
  return dot && dot[1] && !strpbrk(word, " \t\n") && strlen(dot) <= 6;
}

static const char *prompt_of(const struct zf_conf *conf) {
  const char *prompt = zf_conf_maps(conf, "datasets") > 0
                           ? zf_conf_str(zf_conf_map(conf, "datasets", 0), "prompt")
                           : NULL;
  return prompt ? prompt : "";
}

static int run(const struct zc_args *args) {
  struct zf_conf *conf = NULL;
  char *made = NULL;
  if (args->nword < 2)
    return zf_error(ZF_EUSAGE, "expected a run (or config) and a FILE, '-' or texts");
  const struct zc_args first = {args->word, 1, args->set, args->nset};
  int rc = zc_conf_load(&conf, &first, zf_train_keys);
  if (rc) return rc;
  const char *path = args->word[1];
  zc_catch_signals(); /* so that the temporary file is removed */
  rc = zc_conf_use_result(conf);
  if (!rc && args->nword == 2 && looks_like_file(path) && !zf_exists(path))
    rc = zf_error(ZF_EUSAGE, "%s: no such file", path);
  if (!rc && (args->nword > 2 || !strcmp(path, "-") || !zf_exists(path))) {
    rc = write_rows(&made, args->word + 1, args->nword - 1, prompt_of(conf));
    path = made;
  }
  if (!rc) rc = predict_with(conf, path);
  if (made) unlink(made);
  free(made);
  zf_conf_free(conf);
  return rc;
}

const struct zc_command zc_predict = {
    "predict",
    "label new rows with a tuned model",
    "zoft predict RUN FILE|-|TEXT... [key=value ...] [-o FILE]",
    "Scores the options of the run's prompt for each row, and prints the likeliest one with its\n"
    "probability. FILE has rows as the run's data files (.jsonl, .json, .csv, .tsv, .txt); a "
    "label\n"
    "in it is not read. '-' reads JSON lines, or one text a line, from standard input. A TEXT\n"
    "fills the one field of the prompt.\n\n"
    "-o FILE writes the rows as JSON lines, each with `prediction` (the label as the data files\n"
    "write it), `option`, `probability` and `probabilities`. --json prints them as one object.\n"
    "--calibrate takes off what options score by themselves, as in 'zoft eval'; batch by the mean\n"
    "over the rows.\n"
    "For data with several labels the prediction is a list, for regression it is a number.\n\n"
    "Examples:\n"
    "  zoft predict out/demo 'A moving, wonderful film.' 'Dull from start to end.'\n"
    "  zoft predict out/demo datasets/demo/test.jsonl -o labelled.jsonl\n"
    "  cut -f2 tickets.tsv | zoft predict out/tickets - -o labelled.jsonl\n",
    options,
    run,
};
