/* zoft data convert: rows of one format into another, with fields chosen and renamed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "data_internal.h"
#include "fmt/records_write.h"
#include "task/fields.h"
#include "task/template.h"
#include "ui.h"

/* NEW=OLD takes a field, NEW={template} a text made of some; NEW alone keeps it. */
struct field {
  char *name;
  const char *from;
  struct zf_template *text; /* NULL: a field */
};

static int parse_field(struct field *f, const char *word) {
  size_t n = strcspn(word, "=");
  f->from = word[n] ? word + n + 1 : word;
  if (!n || !*f->from)
    return zf_error(ZF_EUSAGE,
                    "--field expects NEW=OLD, NEW='{template}' or NAME, "
                    "found '%s'",
                    word);
  if (!(f->name = zf_strndup(word, n))) return ZF_ENOMEM;
  int rc = strchr(f->from, '{') ? zf_template_parse(&f->text, f->from) : 0;
  return rc ? zf_error_prefix(rc, "--field %s", f->name) : 0;
}

static int take_field(json_t *out, const struct field *f, const json_t *row, struct zf_buf *b) {
  json_t *v = f->text ? NULL : json_object_get(row, f->from);
  if (f->text) {
    zf_buf_clear(b);
    zf_buf_puts(b, "");
    int rc = zf_template_apply(f->text, row, b);
    if (rc) return rc;
    v = json_stringn(b->data, b->len);
  } else if (!v) {
    return zf_field_missing(row, f->from);
  } else {
    json_incref(v);
  }
  return json_object_set_new(out, f->name, v) ? zf_error(ZF_ENOMEM, "out of memory") : 0;
}

static int put_row(struct zf_rows_out *out, const struct field *f, int n, const json_t *row,
                   const char *place, struct zf_buf *b) {
  json_t *made = n ? json_object() : json_incref((json_t *)row);
  int rc = made ? 0 : zf_error(ZF_ENOMEM, "out of memory");
  for (int k = 0; !rc && k < n; k++)
    if ((rc = take_field(made, &f[k], row, b))) zf_error_prefix(rc, "%s", place);
  if (!rc) rc = zf_rows_out_put(out, made, place);
  json_decref(made);
  return rc;
}

static int put_rows(struct zf_rows_out *out, struct zf_records *rec, const struct field *f, int n) {
  struct zf_buf b = {0};
  int rc = 0;
  for (int64_t i = 0; !rc && i < rec->count; i++) {
    char *place = zf_asprintf("%s:%lld", rec->path, (long long)zf_records_line(rec, i));
    const json_t *row = zf_records_row(rec, i);
    rc = !place ? ZF_ENOMEM : !row ? ZF_EINVALID : put_row(out, f, n, row, place, &b);
    free(place);
  }
  zf_buf_free(&b);
  return rc;
}

static int convert(const char *from, const char *to, const struct field *f, int n) {
  struct zf_records *rec = NULL;
  struct zf_rows_out *out = NULL;
  int rc = zf_records_open(&rec, from);
  if (!rc) rc = zf_rows_out_open(&out, to);
  if (!rc) rc = put_rows(out, rec, f, n);
  if (rc)
    zf_rows_out_abort(out);
  else
    rc = zf_rows_out_commit(out);
  if (!rc && zc_common.json) {
    struct zf_buf b = {0};
    zc_json_text(&b, to, strlen(to));
    printf("{\"path\": %s, \"rows\": %lld}\n", b.data, (long long)rec->count);
    zf_buf_free(&b);
  } else if (!rc) {
    printf("%8lld  %s\n", (long long)rec->count, to);
  }
  zf_records_free(rec);
  return rc;
}

int zc_data_convert(const struct zc_args *a) {
  const struct zc_list *l = &zc_data_options.field;
  struct field f[sizeof l->item / sizeof *l->item] = {{0}};
  int rc = 0;
  for (int k = 0; !rc && k < l->count; k++) {
    rc = parse_field(&f[k], l->item[k]);
    for (int j = 0; !rc && j < k; j++)
      if (!strcmp(f[j].name, f[k].name))
        rc = zf_error(ZF_EUSAGE, "--field: '%s' is made twice", f[k].name);
  }
  if (!rc) rc = convert(a->word[1], a->word[2], f, l->count);
  for (int k = 0; k < l->count; k++) {
    free(f[k].name);
    zf_template_free(f[k].text);
  }
  return rc;
}
