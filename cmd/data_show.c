/* zoft data show: rows as they are, and as the model sees them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "data_internal.h"
#include "fmt/json.h"
#include "show.h"
#include "ui.h"

/* One file while it is shown. */
struct view {
  struct zf_records *rec;
  const struct zf_tok *tok;
  struct zf_encoder *enc; /* NULL: rows alone */
  struct zf_dataset *dataset;
  int64_t shown;
};

static void print_row(const struct view *view, int64_t i, const json_t *row) {
  const char *key;
  json_t *item;
  printf("%s%s:%lld\n", view->shown ? "\n" : "", view->rec->path,
         (long long)zf_records_line(view->rec, i));
  json_object_foreach((json_t *)row, key, item) {
    char *text = json_is_string(item) ? NULL : zf_json_dump(item, JSON_ENCODE_ANY);
    printf("  %s: %s\n", key, text ? text : json_is_string(item) ? json_string_value(item) : "");
    free(text);
  }
}

static void print_examples(const struct view *view) {
  for (int64_t i = 0; i < view->dataset->count; i++) {
    const struct zf_example *example = &view->dataset->ex[i];
    zc_show_example(view->tok, view->dataset, i);
    for (int32_t o = 0; o < example->nseq; o++) {
      const struct zf_seq *seq = &view->dataset->seq[example->seq + o];
      printf("  ids");
      for (int32_t t = 0; t < seq->len; t++) printf(" %d", view->dataset->pool.id[seq->at + t]);
      printf("\n");
    }
  }
  if (!view->dataset->count) printf("  no example: it has no target\n");
}

static void json_sequence(struct zf_buf *buf, const struct view *view, const struct zf_seq *seq) {
  zf_buf_puts(buf, "{\"ids\": [");
  for (int32_t t = 0; t < seq->len; t++)
    zf_buf_printf(buf, "%s%d", t ? ", " : "", view->dataset->pool.id[seq->at + t]);
  zf_buf_puts(buf, "], \"targets\": [");
  for (int32_t t = 0; t < seq->len; t++)
    zf_buf_printf(buf, "%s%d", t ? ", " : "", t > 0 && zf_seq_is_target(view->dataset, seq, t));
  zf_buf_puts(buf, "]}");
}

static int print_json(const struct view *view, int64_t i, const json_t *row) {
  struct zf_buf buf = {0};
  char *text = zf_json_dump(row, JSON_COMPACT);
  zf_buf_puts(&buf, "{\"path\": ");
  zc_json_text(&buf, view->rec->path, strlen(view->rec->path));
  zf_buf_printf(&buf, ", \"line\": %lld, \"row\": %s", (long long)zf_records_line(view->rec, i),
                text ? text : "null");
  if (view->enc) zf_buf_puts(&buf, ", \"sequences\": [");
  for (int64_t k = 0; view->enc && k < view->dataset->nseq; k++) {
    if (k) zf_buf_puts(&buf, ", ");
    json_sequence(&buf, view, &view->dataset->seq[k]);
  }
  zf_buf_puts(&buf, view->enc ? "]}" : "}");
  int rc = text ? zf_buf_ok(&buf) : ZF_ENOMEM;
  if (!rc) puts(buf.data);
  free(text);
  zf_buf_free(&buf);
  return rc;
}

static int show_row(struct view *view, int64_t i) {
  const json_t *row;
  int rc = 0;
  if (view->enc) {
    zf_dataset_clear(view->dataset);
    rc = zf_encoder_add(view->enc, view->dataset, 0, view->rec, i);
  }
  if (rc || !(row = zf_records_row(view->rec, i))) return rc ? rc : ZF_EINVALID;
  if (zc_common.json) return print_json(view, i, row);
  print_row(view, i, row);
  if (view->enc) print_examples(view);
  view->shown++;
  return 0;
}

/* "3,7-9": the next range of 1-based rows, *p behind it. */
static int next_range(const char **p, int64_t *from, int64_t *to) {
  char *end;
  *from = *to = strtoll(*p, &end, 10);
  int bad = end == *p || **p == '-';
  if (!bad && *end == '-') {
    const char *second = end + 1;
    *to = strtoll(second, &end, 10);
    bad = end == second || *second == '-';
  }
  if (bad || *from < 1 || *to < *from || (*end && *end != ','))
    return zf_error(ZF_EUSAGE, "--rows expects numbers and ranges from 1 on, as 3,7-9, found '%s'",
                    zc_data_options.rows);
  *p = end + (*end == ',');
  return 0;
}

static int show_ranges(struct view *view) {
  const char *p = zc_data_options.rows;
  int rc = *p ? 0 : zf_error(ZF_EUSAGE, "--rows is empty");
  while (!rc && *p) {
    int64_t from, to;
    if ((rc = next_range(&p, &from, &to))) break;
    if (to > view->rec->count)
      return zf_error(ZF_EUSAGE, "%s: --rows asks for row %lld: there are %lld", view->rec->path,
                      (long long)to, (long long)view->rec->count);
    for (; !rc && from <= to; from++) rc = show_row(view, from - 1);
  }
  return rc;
}

static int show_file(const struct zf_data_file *file, const struct zf_tok *tok, int64_t shown) {
  struct view view = {.tok = tok, .shown = shown};
  int rc = zf_records_open(&view.rec, file->path);
  if (!rc && tok) rc = zf_encoder_new(&view.enc, &file->spec, tok);
  if (!rc && tok) rc = zf_dataset_new(&view.dataset, file->spec.type);
  if (!rc && tok) rc = zf_dataset_file(view.dataset, file->path);
  if (!rc && zc_data_options.rows) rc = show_ranges(&view);
  for (int64_t i = 0;
       !rc && !zc_data_options.rows && i < zc_data_options.count && i < view.rec->count; i++)
    rc = show_row(&view, i);
  zf_encoder_free(view.enc);
  zf_dataset_free(view.dataset);
  zf_records_free(view.rec);
  return rc;
}

int zc_data_show(const struct zc_args *args) {
  struct zc_source from;
  const struct zf_data_file *file;
  const char *set;
  int rc = zc_source_open(&from, args);
  for (int64_t i = 0; !rc && (file = zc_source_file(&from, i, &set)); i++)
    rc = show_file(file, from.tok, i);
  zc_source_close(&from);
  return rc;
}
