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
  struct zf_dataset *d;
  int64_t shown;
};

static void print_row(const struct view *v, int64_t i, const json_t *row) {
  const char *key;
  json_t *x;
  printf("%s%s:%lld\n", v->shown ? "\n" : "", v->rec->path, (long long)zf_records_line(v->rec, i));
  json_object_foreach((json_t *)row, key, x) {
    char *text = json_is_string(x) ? NULL : zf_json_dump(x, JSON_ENCODE_ANY);
    printf("  %s: %s\n", key, text ? text : json_is_string(x) ? json_string_value(x) : "");
    free(text);
  }
}

static void print_examples(const struct view *v) {
  for (int64_t i = 0; i < v->d->count; i++) {
    const struct zf_example *x = &v->d->ex[i];
    zc_show_example(v->tok, v->d, i);
    for (int32_t o = 0; o < x->nseq; o++) {
      const struct zf_seq *s = &v->d->seq[x->seq + o];
      printf("  ids");
      for (int32_t t = 0; t < s->len; t++) printf(" %d", v->d->pool.id[s->at + t]);
      printf("\n");
    }
  }
  if (!v->d->count) printf("  no example: it has no target\n");
}

static void json_sequence(struct zf_buf *b, const struct view *v, const struct zf_seq *s) {
  zf_buf_puts(b, "{\"ids\": [");
  for (int32_t t = 0; t < s->len; t++)
    zf_buf_printf(b, "%s%d", t ? ", " : "", v->d->pool.id[s->at + t]);
  zf_buf_puts(b, "], \"targets\": [");
  for (int32_t t = 0; t < s->len; t++)
    zf_buf_printf(b, "%s%d", t ? ", " : "", t > 0 && zf_seq_is_target(v->d, s, t));
  zf_buf_puts(b, "]}");
}

static int print_json(const struct view *v, int64_t i, const json_t *row) {
  struct zf_buf b = {0};
  char *text = zf_json_dump(row, JSON_COMPACT);
  zf_buf_puts(&b, "{\"path\": ");
  zc_json_text(&b, v->rec->path, strlen(v->rec->path));
  zf_buf_printf(&b, ", \"line\": %lld, \"row\": %s", (long long)zf_records_line(v->rec, i),
                text ? text : "null");
  if (v->enc) zf_buf_puts(&b, ", \"sequences\": [");
  for (int64_t k = 0; v->enc && k < v->d->nseq; k++) {
    if (k) zf_buf_puts(&b, ", ");
    json_sequence(&b, v, &v->d->seq[k]);
  }
  zf_buf_puts(&b, v->enc ? "]}" : "}");
  int rc = text ? zf_buf_ok(&b) : ZF_ENOMEM;
  if (!rc) puts(b.data);
  free(text);
  zf_buf_free(&b);
  return rc;
}

static int show_row(struct view *v, int64_t i) {
  const json_t *row;
  int rc = 0;
  if (v->enc) {
    zf_dataset_clear(v->d);
    rc = zf_encoder_add(v->enc, v->d, 0, v->rec, i);
  }
  if (rc || !(row = zf_records_row(v->rec, i))) return rc ? rc : ZF_EINVALID;
  if (zc_common.json) return print_json(v, i, row);
  print_row(v, i, row);
  if (v->enc) print_examples(v);
  v->shown++;
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

static int show_ranges(struct view *v) {
  const char *p = zc_data_options.rows;
  int rc = *p ? 0 : zf_error(ZF_EUSAGE, "--rows is empty");
  while (!rc && *p) {
    int64_t from, to;
    if ((rc = next_range(&p, &from, &to))) break;
    if (to > v->rec->count)
      return zf_error(ZF_EUSAGE, "%s: --rows asks for row %lld: there are %lld", v->rec->path,
                      (long long)to, (long long)v->rec->count);
    for (; !rc && from <= to; from++) rc = show_row(v, from - 1);
  }
  return rc;
}

static int show_file(const struct zf_data_file *f, const struct zf_tok *tok, int64_t shown) {
  struct view v = {.tok = tok, .shown = shown};
  int rc = zf_records_open(&v.rec, f->path);
  if (!rc && tok) rc = zf_encoder_new(&v.enc, &f->spec, tok);
  if (!rc && tok) rc = zf_dataset_new(&v.d, f->spec.type);
  if (!rc && tok) rc = zf_dataset_file(v.d, f->path);
  if (!rc && zc_data_options.rows) rc = show_ranges(&v);
  for (int64_t i = 0; !rc && !zc_data_options.rows && i < zc_data_options.count && i < v.rec->count;
       i++)
    rc = show_row(&v, i);
  zf_encoder_free(v.enc);
  zf_dataset_free(v.d);
  zf_records_free(v.rec);
  return rc;
}

int zc_data_show(const struct zc_args *a) {
  struct zc_source from;
  const struct zf_data_file *f;
  const char *set;
  int rc = zc_source_open(&from, a);
  for (int64_t i = 0; !rc && (f = zc_source_file(&from, i, &set)); i++)
    rc = show_file(f, from.tok, i);
  zc_source_close(&from);
  return rc;
}
