/* zoft data show: prints rows, and the examples that they become. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "data_internal.h"
#include "fmt/json.h"
#include "show.h"
#include "ui.h"

/* The state of showing one file. */
struct row_viewer {
  struct zf_records *records;
  const struct zf_tok *tok;
  struct zf_encoder *encoder; /* NULL: only rows are shown */
  struct zf_dataset *dataset;
  int64_t shown;
};

static void print_row(const struct row_viewer *viewer, int64_t index, const json_t *row) {
  const char *key;
  json_t *item;
  printf("%s%s:%lld\n", viewer->shown ? "\n" : "", viewer->records->path,
         (long long)zf_records_line(viewer->records, index));
  json_object_foreach((json_t *)row, key, item) {
    char *dumped = json_is_string(item) ? NULL : zf_json_dump(item, JSON_ENCODE_ANY);
    const char *text = json_is_string(item) ? json_string_value(item) : dumped;
    printf("  %s: %s\n", key, text ? text : "");
    free(dumped);
  }
}

static void print_examples(const struct row_viewer *viewer) {
  for (int64_t i = 0; i < viewer->dataset->count; i++) {
    const struct zf_example *example = &viewer->dataset->example[i];
    zc_show_example(viewer->tok, viewer->dataset, i);
    for (int32_t option = 0; option < example->nseq; option++) {
      const struct zf_seq *seq = &viewer->dataset->seq[example->seq + option];
      printf("  ids");
      for (int32_t token = 0; token < seq->len; token++)
        printf(" %d", viewer->dataset->pool.id[seq->at + token]);
      printf("\n");
    }
  }
  if (!viewer->dataset->count) printf("  no example: it has no target\n");
}

static void json_sequence(struct zf_buf *buf, const struct row_viewer *viewer,
                          const struct zf_seq *seq) {
  zf_buf_puts(buf, "{\"ids\": [");
  for (int32_t token = 0; token < seq->len; token++)
    zf_buf_printf(buf, "%s%d", token ? ", " : "", viewer->dataset->pool.id[seq->at + token]);
  zf_buf_puts(buf, "], \"targets\": [");
  for (int32_t token = 0; token < seq->len; token++)
    zf_buf_printf(buf, "%s%d", token ? ", " : "",
                  token > 0 && zf_seq_is_target(viewer->dataset, seq, token));
  zf_buf_puts(buf, "]}");
}

static int print_json(const struct row_viewer *viewer, int64_t index, const json_t *row) {
  struct zf_buf buf = {0};
  char *text = zf_json_dump(row, JSON_COMPACT);
  zf_buf_puts(&buf, "{\"path\": ");
  zc_json_text(&buf, viewer->records->path, strlen(viewer->records->path));
  zf_buf_printf(&buf, ", \"line\": %lld, \"row\": %s",
                (long long)zf_records_line(viewer->records, index), text ? text : "null");
  if (viewer->encoder) {
    zf_buf_puts(&buf, ", \"sequences\": [");
    for (int64_t i = 0; i < viewer->dataset->nseq; i++) {
      if (i) zf_buf_puts(&buf, ", ");
      json_sequence(&buf, viewer, &viewer->dataset->seq[i]);
    }
    zf_buf_puts(&buf, "]");
  }
  zf_buf_puts(&buf, "}");
  int rc = text ? zf_buf_ok(&buf) : ZF_ENOMEM;
  if (!rc) puts(buf.data);
  free(text);
  zf_buf_free(&buf);
  return rc;
}

static int show_row(struct row_viewer *viewer, int64_t index) {
  const json_t *row;
  int rc = 0;
  if (viewer->encoder) {
    zf_dataset_clear(viewer->dataset);
    rc = zf_encoder_add(viewer->encoder, viewer->dataset, 0, viewer->records, index);
  }
  if (rc || !(row = zf_records_row(viewer->records, index))) return rc ? rc : ZF_EINVALID;
  if (zc_common.json) return print_json(viewer, index, row);
  print_row(viewer, index, row);
  if (viewer->encoder) print_examples(viewer);
  viewer->shown++;
  return 0;
}

/* Reads the next range of "3,7-9", rows from 1 on, and moves *list behind it. */
static int next_range(const char **list, int64_t *from, int64_t *to) {
  char *end;
  *from = *to = strtoll(*list, &end, 10);
  int bad = end == *list || **list == '-';
  if (!bad && *end == '-') {
    const char *second = end + 1;
    *to = strtoll(second, &end, 10);
    bad = end == second || *second == '-';
  }
  if (bad || *from < 1 || *to < *from || (*end && *end != ','))
    return zf_error(ZF_EUSAGE, "--rows expects numbers and ranges from 1 on, as 3,7-9, found '%s'",
                    zc_data_options.rows);
  *list = end + (*end == ',');
  return 0;
}

/* Rows from `first` (0-based) to before `end`. */
static int show_rows(struct row_viewer *viewer, int64_t first, int64_t end) {
  for (int64_t i = first; i < end; i++) {
    int rc = show_row(viewer, i);
    if (rc) return rc;
  }
  return 0;
}

static int show_ranges(struct row_viewer *viewer) {
  const char *list = zc_data_options.rows;
  if (!*list) return zf_error(ZF_EUSAGE, "--rows is empty");
  while (*list) {
    int64_t from, to;
    int rc = next_range(&list, &from, &to);
    if (rc) return rc;
    if (to > viewer->records->count)
      return zf_error(ZF_EUSAGE, "%s: --rows asks for row %lld: there are %lld",
                      viewer->records->path, (long long)to, (long long)viewer->records->count);
    if ((rc = show_rows(viewer, from - 1, to))) return rc;
  }
  return 0;
}

static int show_first(struct row_viewer *viewer) {
  int64_t count = zc_data_options.count;
  return show_rows(viewer, 0, count < viewer->records->count ? count : viewer->records->count);
}

static int show_file(const struct zf_data_file *file, const struct zf_tok *tok, int64_t shown) {
  struct row_viewer viewer = {.tok = tok, .shown = shown};
  int rc = zf_records_open_as(&viewer.records, file->path, file->sample_by);
  if (!rc && tok) rc = zf_encoder_new(&viewer.encoder, &file->spec, tok);
  if (!rc && tok) rc = zf_dataset_new(&viewer.dataset, file->spec.type);
  if (!rc && tok) rc = zf_dataset_file(viewer.dataset, file->path);
  if (!rc) rc = zc_data_options.rows ? show_ranges(&viewer) : show_first(&viewer);
  zf_encoder_free(viewer.encoder);
  zf_dataset_free(viewer.dataset);
  zf_records_free(viewer.records);
  return rc;
}

static int show_files(const struct zc_source *source) {
  for (int64_t i = 0;; i++) {
    const char *set;
    const struct zf_data_file *file = zc_source_file(source, i, &set);
    int rc = file ? show_file(file, source->tok, i) : 0;
    if (!file || rc) return rc;
  }
}

int zc_data_show(const struct zc_args *args) {
  struct zc_source source;
  int rc = zc_source_open(&source, args);
  if (!rc) rc = show_files(&source);
  zc_source_close(&source);
  return rc;
}
