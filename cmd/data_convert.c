/* zoft data convert: writes rows in another format, with fields chosen and renamed. */
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

/* NEW=OLD takes the field OLD, NEW={template} a text over the row; NEW alone keeps the field. */
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

static int set_fields(json_t *converted, const struct output_field *fields, int count,
                      const json_t *row, struct zf_buf *buf) {
  for (int i = 0; i < count; i++) {
    int rc = set_field(converted, &fields[i], row, buf);
    if (rc) return rc;
  }
  return 0;
}

/* Writes a row, or with fields the object of these; `place` is for messages. */
static int put_row(struct zf_records_writer *out, const struct output_field *fields, int count,
                   const json_t *row, const char *place, struct zf_buf *buf) {
  if (!count) return zf_records_writer_put(out, row, place);
  json_t *converted = json_object();
  if (!converted) return zf_error(ZF_ENOMEM, "out of memory");
  int rc = set_fields(converted, fields, count, row, buf);
  if (rc)
    zf_error_prefix(rc, "%s", place);
  else
    rc = zf_records_writer_put(out, converted, place);
  json_decref(converted);
  return rc;
}

static int put_record(struct zf_records_writer *out, struct zf_records *records, int64_t index,
                      const struct output_field *fields, int count, struct zf_buf *buf) {
  const json_t *row = zf_records_row(records, index);
  if (!row) return ZF_EINVALID;
  char *place = zf_asprintf("%s:%lld", records->path, (long long)zf_records_line(records, index));
  int rc = place ? put_row(out, fields, count, row, place, buf) : ZF_ENOMEM;
  free(place);
  return rc;
}

static int put_rows(struct zf_records_writer *out, struct zf_records *records,
                    const struct output_field *fields, int count) {
  struct zf_buf buf = {0};
  int rc = 0;
  for (int64_t i = 0; i < records->count; i++)
    if ((rc = put_record(out, records, i, fields, count, &buf))) break;
  zf_buf_free(&buf);
  return rc;
}

static int convert(const char *from, const char *to, const struct output_field *fields, int count) {
  struct zf_records *records = NULL;
  struct zf_records_writer *out = NULL;
  int rc = zf_records_open(&records, from);
  if (!rc) rc = zf_records_writer_open(&out, to);
  if (!rc) rc = put_rows(out, records, fields, count);
  if (rc)
    zf_records_writer_abort(out);
  else
    rc = zf_records_writer_commit(out);
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

static int parse_fields(struct output_field *fields, const struct zc_list *list) {
  for (int i = 0; i < list->count; i++) {
    int rc = parse_field(&fields[i], list->item[i]);
    if (rc) return rc;
    for (int j = 0; j < i; j++)
      if (!strcmp(fields[j].name, fields[i].name))
        return zf_error(ZF_EUSAGE, "--field: '%s' is given twice", fields[i].name);
  }
  return 0;
}

int zc_data_convert(const struct zc_args *args) {
  const struct zc_list *list = &zc_data_options.field;
  struct output_field fields[sizeof list->item / sizeof *list->item] = {{0}};
  int rc = parse_fields(fields, list);
  if (!rc) rc = convert(args->word[1], args->word[2], fields, list->count);
  for (int i = 0; i < list->count; i++) {
    free(fields[i].name);
    zf_template_free(fields[i].text);
  }
  return rc;
}
