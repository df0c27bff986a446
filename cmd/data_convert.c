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
struct output_field {
  char *name;
  const char *from;
  struct zf_template *text; /* NULL: a field */
};

static int parse_field(struct output_field *field, const char *word) {
  size_t len = strcspn(word, "=");
  field->from = word[len] ? word + len + 1 : word;
  if (!len || !*field->from)
    return zf_error(ZF_EUSAGE,
                    "--field expects NEW=OLD, NEW='{template}' or NAME, "
                    "found '%s'",
                    word);
  if (!(field->name = zf_strndup(word, len))) return ZF_ENOMEM;
  int rc = strchr(field->from, '{') ? zf_template_parse(&field->text, field->from) : 0;
  return rc ? zf_error_prefix(rc, "--field %s", field->name) : 0;
}

static int set_field(json_t *out, const struct output_field *field, const json_t *row,
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

static int put_row(struct zf_rows_out *out, const struct output_field *fields, int count,
                   const json_t *row, const char *place, struct zf_buf *buf) {
  json_t *converted = count ? json_object() : json_incref((json_t *)row);
  int rc = converted ? 0 : zf_error(ZF_ENOMEM, "out of memory");
  for (int i = 0; !rc && i < count; i++)
    if ((rc = set_field(converted, &fields[i], row, buf))) zf_error_prefix(rc, "%s", place);
  if (!rc) rc = zf_rows_out_put(out, converted, place);
  json_decref(converted);
  return rc;
}

static int put_rows(struct zf_rows_out *out, struct zf_records *records,
                    const struct output_field *fields, int count) {
  struct zf_buf buf = {0};
  int rc = 0;
  for (int64_t i = 0; !rc && i < records->count; i++) {
    char *place = zf_asprintf("%s:%lld", records->path, (long long)zf_records_line(records, i));
    const json_t *row = zf_records_row(records, i);
    rc = !place ? ZF_ENOMEM : !row ? ZF_EINVALID : put_row(out, fields, count, row, place, &buf);
    free(place);
  }
  zf_buf_free(&buf);
  return rc;
}

static int convert(const char *from, const char *to, const struct output_field *fields, int count) {
  struct zf_records *records = NULL;
  struct zf_rows_out *out = NULL;
  int rc = zf_records_open(&records, from);
  if (!rc) rc = zf_rows_out_open(&out, to);
  if (!rc) rc = put_rows(out, records, fields, count);
  if (rc)
    zf_rows_out_abort(out);
  else
    rc = zf_rows_out_commit(out);
  if (!rc && zc_common.json) {
    struct zf_buf buf = {0};
    zc_json_text(&buf, to, strlen(to));
    printf("{\"path\": %s, \"rows\": %lld}\n", buf.data, (long long)records->count);
    zf_buf_free(&buf);
  } else if (!rc) {
    printf("%8lld  %s\n", (long long)records->count, to);
  }
  zf_records_free(records);
  return rc;
}

int zc_data_convert(const struct zc_args *args) {
  const struct zc_list *list = &zc_data_options.field;
  struct output_field fields[sizeof list->item / sizeof *list->item] = {{0}};
  int rc = 0;
  for (int i = 0; !rc && i < list->count; i++) {
    rc = parse_field(&fields[i], list->item[i]);
    for (int j = 0; !rc && j < i; j++)
      if (!strcmp(fields[j].name, fields[i].name))
        rc = zf_error(ZF_EUSAGE, "--field: '%s' is made twice", fields[i].name);
  }
  if (!rc) rc = convert(args->word[1], args->word[2], fields, list->count);
  for (int i = 0; i < list->count; i++) {
    free(fields[i].name);
    zf_template_free(fields[i].text);
  }
  return rc;
}
