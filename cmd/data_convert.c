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

static int parse_field(struct field *field, const char *word) {
  size_t n = strcspn(word, "=");
  field->from = word[n] ? word + n + 1 : word;
  if (!n || !*field->from)
    return zf_error(ZF_EUSAGE,
                    "--field expects NEW=OLD, NEW='{template}' or NAME, "
                    "found '%s'",
                    word);
  if (!(field->name = zf_strndup(word, n))) return ZF_ENOMEM;
  int rc = strchr(field->from, '{') ? zf_template_parse(&field->text, field->from) : 0;
  return rc ? zf_error_prefix(rc, "--field %s", field->name) : 0;
}

static int take_field(json_t *out, const struct field *field, const json_t *row,
                      struct zf_buf *buf) {
  json_t *value = field->text ? NULL : json_object_get(row, field->from);
  if (field->text) {
    zf_buf_clear(buf);
    zf_buf_puts(buf, "");
    int rc = zf_template_apply(field->text, row, buf);
    if (rc) return rc;
    value = json_stringn(buf->data, buf->len);
  } else if (!value) {
    return zf_field_missing(row, field->from);
  } else {
    json_incref(value);
  }
  return json_object_set_new(out, field->name, value) ? zf_error(ZF_ENOMEM, "out of memory") : 0;
}

static int put_row(struct zf_rows_out *out, const struct field *field, int count, const json_t *row,
                   const char *place, struct zf_buf *buf) {
  json_t *made = count ? json_object() : json_incref((json_t *)row);
  int rc = made ? 0 : zf_error(ZF_ENOMEM, "out of memory");
  for (int k = 0; !rc && k < count; k++)
    if ((rc = take_field(made, &field[k], row, buf))) zf_error_prefix(rc, "%s", place);
  if (!rc) rc = zf_rows_out_put(out, made, place);
  json_decref(made);
  return rc;
}

static int put_rows(struct zf_rows_out *out, struct zf_records *rec, const struct field *field,
                    int count) {
  struct zf_buf buf = {0};
  int rc = 0;
  for (int64_t i = 0; !rc && i < rec->count; i++) {
    char *place = zf_asprintf("%s:%lld", rec->path, (long long)zf_records_line(rec, i));
    const json_t *row = zf_records_row(rec, i);
    rc = !place ? ZF_ENOMEM : !row ? ZF_EINVALID : put_row(out, field, count, row, place, &buf);
    free(place);
  }
  zf_buf_free(&buf);
  return rc;
}

static int convert(const char *from, const char *to, const struct field *field, int count) {
  struct zf_records *rec = NULL;
  struct zf_rows_out *out = NULL;
  int rc = zf_records_open(&rec, from);
  if (!rc) rc = zf_rows_out_open(&out, to);
  if (!rc) rc = put_rows(out, rec, field, count);
  if (rc)
    zf_rows_out_abort(out);
  else
    rc = zf_rows_out_commit(out);
  if (!rc && zc_common.json) {
    struct zf_buf buf = {0};
    zc_json_text(&buf, to, strlen(to));
    printf("{\"path\": %s, \"rows\": %lld}\n", buf.data, (long long)rec->count);
    zf_buf_free(&buf);
  } else if (!rc) {
    printf("%8lld  %s\n", (long long)rec->count, to);
  }
  zf_records_free(rec);
  return rc;
}

int zc_data_convert(const struct zc_args *args) {
  const struct zc_list *list = &zc_data_options.field;
  struct field field[sizeof list->item / sizeof *list->item] = {{0}};
  int rc = 0;
  for (int k = 0; !rc && k < list->count; k++) {
    rc = parse_field(&field[k], list->item[k]);
    for (int j = 0; !rc && j < k; j++)
      if (!strcmp(field[j].name, field[k].name))
        rc = zf_error(ZF_EUSAGE, "--field: '%s' is made twice", field[k].name);
  }
  if (!rc) rc = convert(args->word[1], args->word[2], field, list->count);
  for (int k = 0; k < list->count; k++) {
    free(field[k].name);
    zf_template_free(field[k].text);
  }
  return rc;
}
