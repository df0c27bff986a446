#include "fmt/records_write.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fmt/json.h"
#include "fmt/compressed.h"
#include "fmt/records_internal.h"

struct zf_rows_out {
  const struct format *format;
  struct zf_out file;
  struct zf_compressor *packer;
  struct zf_buf line;
  json_t *names; /* of a table: name -> true, in order */
  int64_t n;
};

/* `row` appends one row to the line, without what ends it. */
struct format {
  int (*row)(struct zf_rows_out *o, const json_t *row, const char *place);
  const char *begin, *between, *end; /* of the file, and between rows */
  char delim;
};

/* --- cells --- */

/* A scalar as text: as templates print it. */
static int cell_text(struct zf_buf *b, const json_t *v, const char *name, const char *place) {
  if (!v || json_is_null(v)) return 0;
  if (json_is_string(v)) {
    zf_buf_add(b, json_string_value(v), json_string_length(v));
    return 0;
  }
  if (json_is_object(v) || json_is_array(v))
    return zf_error(ZF_EINVALID,
                    "%s: field '%s' is %s: this format holds texts, numbers and booleans", place,
                    name, zf_json_kind(v));
  char *text = zf_json_dump(v, JSON_ENCODE_ANY);
  zf_buf_puts(b, text ? text : "");
  free(text);
  return text ? 0 : zf_error(ZF_ENOMEM, "out of memory");
}

/* From `from` on the line is a cell: quoted where it must be, refused where it cannot be. */
static int close_cell(struct zf_rows_out *o, size_t from, const char *name, const char *place) {
  struct zf_buf *b = &o->line;
  char *text = b->data ? b->data + from : "";
  char special[] = {o->format->delim, '"', '\n', '\r', 0};
  if (!text[strcspn(text, special)]) return 0;
  if (o->format->delim != ',') {
    char bad[] = {o->format->delim, '\n', '\r', 0};
    if (!text[strcspn(text, bad)]) return 0;
    return zf_error(ZF_EINVALID,
                    "%s: field '%s' has a tab or line end, which this format cannot hold", place,
                    name);
  }
  char *plain = zf_strdup(text);
  if (!plain) return ZF_ENOMEM;
  b->len = from;
  zf_buf_putc(b, '"');
  for (const char *p = plain; *p; p++) {
    if (*p == '"') zf_buf_putc(b, '"');
    zf_buf_putc(b, *p);
  }
  zf_buf_putc(b, '"');
  free(plain);
  return 0;
}

static int put_cell(struct zf_rows_out *o, const json_t *v, const char *name, const char *place) {
  size_t from = o->line.len;
  int rc = cell_text(&o->line, v, name, place);
  zf_buf_puts(&o->line, "");
  return rc ? rc : close_cell(o, from, name, place);
}

/* --- rows --- */

static int put_json(struct zf_rows_out *o, const json_t *row, const char *place) {
  char *text = zf_json_dump(row, JSON_COMPACT);
  if (!text) return zf_error(ZF_ENOMEM, "%s: out of memory for a row", place);
  zf_buf_puts(&o->line, text);
  free(text);
  return 0;
}

static int write_line(struct zf_rows_out *o, const char *before) {
  int rc = zf_buf_ok(&o->line);
  if (!rc) rc = zf_compressor_put(o->packer, before, strlen(before), 0);
  if (!rc) rc = zf_compressor_put(o->packer, o->line.data ? o->line.data : "", o->line.len, 0);
  zf_buf_clear(&o->line);
  return rc;
}

/* The names are a row of their own. */
static int name_fields(struct zf_rows_out *o, const json_t *row, const char *place) {
  const char *name;
  json_t *v;
  int rc = 0, i = 0;
  if (!(o->names = json_object())) return zf_error(ZF_ENOMEM, "out of memory");
  json_object_foreach((json_t *)row, name, v) {
    if (rc) break;
    json_object_set_new(o->names, name, json_true());
    if (i++) zf_buf_putc(&o->line, o->format->delim);
    size_t from = o->line.len;
    zf_buf_puts(&o->line, name);
    rc = close_cell(o, from, name, place);
  }
  if (!rc) zf_buf_putc(&o->line, '\n');
  return rc ? rc : write_line(o, "");
}

static int put_table(struct zf_rows_out *o, const json_t *row, const char *place) {
  const char *name;
  json_t *v;
  int rc = o->names ? 0 : name_fields(o, row, place), i = 0;
  if (rc) return rc;
  json_object_foreach((json_t *)row, name, v) {
    if (!json_object_get(o->names, name))
      return zf_error(ZF_EINVALID, "%s: field '%s' is not among those of the first row", place,
                      name);
  }
  json_object_foreach(o->names, name, v) {
    if (rc) break;
    if (i++) zf_buf_putc(&o->line, o->format->delim);
    rc = put_cell(o, json_object_get(row, name), name, place);
  }
  if (!rc && i == 1 && !o->line.len) zf_buf_puts(&o->line, o->format->delim == ',' ? "\"\"" : "");
  if (!rc && i == 1 && !o->line.len)
    return zf_error(ZF_EINVALID, "%s: the only field is empty, which would be a blank line", place);
  return rc;
}

static int put_text(struct zf_rows_out *o, const json_t *row, const char *place) {
  const char *name = json_object_iter_key(json_object_iter((json_t *)row));
  if (json_object_size(row) != 1)
    return zf_error(ZF_EINVALID,
                    "%s: .txt holds one field, the row has %zu: name it, as in --field "
                    "text=...",
                    place, json_object_size(row));
  return put_cell(o, json_object_get(row, name), name, place);
}

/* In the order of ZF_RECORDS_JSONL and so on. */
static const struct format formats[] = {
    [ZF_RECORDS_JSONL] = {put_json, "", "\n", "\n", 0},
    [ZF_RECORDS_NDJSON] = {put_json, "", "\n", "\n", 0},
    [ZF_RECORDS_JSON] = {put_json, "[\n", ",\n", "\n]\n", 0},
    [ZF_RECORDS_CSV] = {put_table, "", "\n", "\n", ','},
    [ZF_RECORDS_TSV] = {put_table, "", "\n", "\n", '\t'},
    [ZF_RECORDS_TXT] = {put_text, "", "\n", "\n", '\n'},
};

/* --- the file --- */

int zf_rows_out_open(struct zf_rows_out **out, const char *path) {
  int format, rc = zf_records_format(path, &format);
  *out = NULL;
  if (rc) return rc;
  if (zf_exists(path) && !zf_is_stream(path))
    return zf_error(ZF_EUSAGE, "%s: there is such a file already; none is written over", path);
  struct zf_rows_out *o = zf_calloc(1, sizeof *o);
  if (!o) return ZF_ENOMEM;
  o->format = &formats[format];
  rc = zf_out_open(&o->file, path);
  if (!rc) rc = zf_compressor_new(&o->packer, path, o->file.file);
  if (!rc) rc = zf_compressor_put(o->packer, o->format->begin, strlen(o->format->begin), 0);
  if (rc)
    zf_rows_out_abort(o);
  else
    *out = o;
  return rc;
}

static int end_row(struct zf_rows_out *o) {
  int rc = write_line(o, o->n ? o->format->between : "");
  o->n++;
  return rc;
}

int zf_rows_out_put(struct zf_rows_out *o, const json_t *row, const char *place) {
  int rc = o->format->row(o, row, place);
  if (!rc) return end_row(o);
  zf_buf_clear(&o->line);
  return rc;
}

int zf_rows_out_head(struct zf_rows_out *o, const struct zf_records *r) {
  size_t len;
  const char *head = zf_records_head(r, &len);
  if (!len) return 0;
  zf_buf_add(&o->line, head, len);
  zf_buf_putc(&o->line, '\n');
  return write_line(o, "");
}

int zf_rows_out_copy(struct zf_rows_out *o, struct zf_records *r, int64_t i) {
  size_t len;
  const char *text = zf_records_text(r, i, &len);
  zf_buf_add(&o->line, text, len);
  return end_row(o);
}

int64_t zf_rows_out_count(const struct zf_rows_out *o) {
  return o->n;
}

static void release(struct zf_rows_out *o) {
  zf_compressor_free(o->packer);
  zf_buf_free(&o->line);
  json_decref(o->names);
  free(o);
}

int zf_rows_out_commit(struct zf_rows_out *o) {
  const char *end = o->n || o->format->row == put_json ? o->format->end : "";
  if (!o->n && end[0] == '\n') end++; /* no row ends here */
  int rc = zf_compressor_put(o->packer, end, strlen(end), 1);
  if (!rc)
    rc = zf_out_commit(&o->file);
  else
    zf_out_abort(&o->file);
  release(o);
  return rc;
}

void zf_rows_out_abort(struct zf_rows_out *o) {
  if (!o) return;
  zf_out_abort(&o->file);
  release(o);
}
