#include "fmt/records_write.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fmt/json.h"
#include "fmt/compressed.h"
#include "fmt/records_internal.h"

struct zf_records_writer {
  const struct row_format *format;
  struct zf_out file;
  struct zf_compressor *packer;
  struct zf_buf line;
  json_t *names; /* of a table: name -> true, in order */
  int64_t count;
};

/* `row` appends one row to the line, without the line end. */
struct row_format {
  int (*row)(struct zf_records_writer *writer, const json_t *row, const char *where);
  const char *begin, *between, *end; /* of the file, and between rows */
  char delim;
};

/* --- cells --- */

/* Appends the text of a scalar, as templates print it. */
static int cell_text(struct zf_buf *buf, const json_t *value, const char *name, const char *where) {
  if (!value || json_is_null(value)) return 0;
  if (json_is_string(value)) {
    zf_buf_add(buf, json_string_value(value), json_string_length(value));
    return 0;
  }
  if (json_is_object(value) || json_is_array(value))
    return zf_error(ZF_EINVALID,
                    "%s: field '%s' is %s: this format holds texts, numbers and booleans", where,
                    name, zf_json_kind(value));
  char *text = zf_json_dump(value, JSON_ENCODE_ANY);
  zf_buf_puts(buf, text ? text : "");
  free(text);
  return text ? 0 : zf_error(ZF_ENOMEM, "out of memory");
}

/* Ends the cell that begins at `from` of the line: quotes it if its text requires that.
 * ZF_EINVALID if the format cannot hold it. */
static int close_cell(struct zf_records_writer *writer, size_t from, const char *name,
                      const char *where) {
  struct zf_buf *buf = &writer->line;
  char *text = buf->data ? buf->data + from : "";
  char special[] = {writer->format->delim, '"', '\n', '\r', 0};
  if (!text[strcspn(text, special)]) return 0;
  if (writer->format->delim != ',') {
    char forbidden[] = {writer->format->delim, '\n', '\r', 0};
    if (!text[strcspn(text, forbidden)]) return 0;
    return zf_error(ZF_EINVALID,
                    "%s: field '%s' has a tab or line end, which this format cannot hold", where,
                    name);
  }
  char *plain = zf_strdup(text);
  if (!plain) return ZF_ENOMEM;
  buf->len = from;
  zf_buf_putc(buf, '"');
  for (const char *at = plain; *at; at++) {
    if (*at == '"') zf_buf_putc(buf, '"');
    zf_buf_putc(buf, *at);
  }
  zf_buf_putc(buf, '"');
  free(plain);
  return 0;
}

static int put_cell(struct zf_records_writer *writer, const json_t *value, const char *name,
                    const char *where) {
  size_t from = writer->line.len;
  int rc = cell_text(&writer->line, value, name, where);
  zf_buf_puts(&writer->line, "");
  return rc ? rc : close_cell(writer, from, name, where);
}

/* --- rows --- */

static int put_json(struct zf_records_writer *writer, const json_t *row, const char *where) {
  char *text = zf_json_dump(row, JSON_COMPACT);
  if (!text) return zf_error(ZF_ENOMEM, "%s: out of memory for a row", where);
  zf_buf_puts(&writer->line, text);
  free(text);
  return 0;
}

static int write_line(struct zf_records_writer *writer, const char *before) {
  int rc = zf_buf_ok(&writer->line);
  if (!rc) rc = zf_compressor_put(writer->packer, before, strlen(before), 0);
  if (!rc)
    rc = zf_compressor_put(writer->packer, writer->line.data ? writer->line.data : "",
                           writer->line.len, 0);
  zf_buf_clear(&writer->line);
  return rc;
}

/* Writes the row of names. */
static int name_fields(struct zf_records_writer *writer, const json_t *row, const char *where) {
  const char *name;
  json_t *value;
  int rc = 0, column = 0;
  if (!(writer->names = json_object())) return zf_error(ZF_ENOMEM, "out of memory");
  json_object_foreach((json_t *)row, name, value) {
    if (rc) break;
    json_object_set_new(writer->names, name, json_true());
    if (column++) zf_buf_putc(&writer->line, writer->format->delim);
    size_t from = writer->line.len;
    zf_buf_puts(&writer->line, name);
    rc = close_cell(writer, from, name, where);
  }
  if (!rc) zf_buf_putc(&writer->line, '\n');
  return rc ? rc : write_line(writer, "");
}

static int put_table(struct zf_records_writer *writer, const json_t *row, const char *where) {
  const char *name;
  json_t *value;
  int rc = writer->names ? 0 : name_fields(writer, row, where), column = 0;
  if (rc) return rc;
  json_object_foreach((json_t *)row, name, value) {
    if (!json_object_get(writer->names, name))
      return zf_error(ZF_EINVALID, "%s: field '%s' is not among those of the first row", where,
                      name);
  }
  json_object_foreach(writer->names, name, value) {
    if (rc) break;
    if (column++) zf_buf_putc(&writer->line, writer->format->delim);
    rc = put_cell(writer, json_object_get(row, name), name, where);
  }
  if (!rc && column == 1 && !writer->line.len)
    zf_buf_puts(&writer->line, writer->format->delim == ',' ? "\"\"" : "");
  if (!rc && column == 1 && !writer->line.len)
    return zf_error(ZF_EINVALID, "%s: the only field is empty, which would be a blank line", where);
  return rc;
}

static int put_text(struct zf_records_writer *writer, const json_t *row, const char *where) {
  const char *name = json_object_iter_key(json_object_iter((json_t *)row));
  if (json_object_size(row) != 1)
    return zf_error(ZF_EINVALID,
                    "%s: .txt holds one field, the row has %zu: name it, as in --field "
                    "text=...",
                    where, json_object_size(row));
  return put_cell(writer, json_object_get(row, name), name, where);
}

static const struct row_format formats[] = {
    [ZF_RECORDS_JSONL] = {put_json, "", "\n", "\n", 0},
    [ZF_RECORDS_NDJSON] = {put_json, "", "\n", "\n", 0},
    [ZF_RECORDS_JSON] = {put_json, "[\n", ",\n", "\n]\n", 0},
    [ZF_RECORDS_CSV] = {put_table, "", "\n", "\n", ','},
    [ZF_RECORDS_TSV] = {put_table, "", "\n", "\n", '\t'},
    [ZF_RECORDS_TXT] = {put_text, "", "\n", "\n", '\n'},
};

/* --- the file --- */

int zf_records_writer_open(struct zf_records_writer **out, const char *path) {
  int format, rc = zf_records_format(path, &format);
  *out = NULL;
  if (rc) return rc;
  if (zf_exists(path) && !zf_is_stream(path))
    return zf_error(
        ZF_EUSAGE,
        "%s: the file exists already, and zoft overwrites no data file: choose another name", path);
  struct zf_records_writer *writer = zf_calloc(1, sizeof *writer);
  if (!writer) return ZF_ENOMEM;
  writer->format = &formats[format];
  rc = zf_out_open(&writer->file, path);
  if (!rc) rc = zf_compressor_new(&writer->packer, path, writer->file.file);
  if (!rc)
    rc = zf_compressor_put(writer->packer, writer->format->begin, strlen(writer->format->begin), 0);
  if (rc)
    zf_records_writer_abort(writer);
  else
    *out = writer;
  return rc;
}

static int end_row(struct zf_records_writer *writer) {
  int rc = write_line(writer, writer->count ? writer->format->between : "");
  writer->count++;
  return rc;
}

int zf_records_writer_put(struct zf_records_writer *writer, const json_t *row, const char *where) {
  int rc = writer->format->row(writer, row, where);
  if (!rc) return end_row(writer);
  zf_buf_clear(&writer->line);
  return rc;
}

int zf_records_writer_head(struct zf_records_writer *writer, const struct zf_records *records) {
  size_t len;
  const char *head = zf_records_head(records, &len);
  if (!len) return 0;
  zf_buf_add(&writer->line, head, len);
  zf_buf_putc(&writer->line, '\n');
  return write_line(writer, "");
}

int zf_records_writer_copy(struct zf_records_writer *writer, struct zf_records *records,
                           int64_t index) {
  size_t len;
  const char *text = zf_records_text(records, index, &len);
  zf_buf_add(&writer->line, text, len);
  return end_row(writer);
}

int64_t zf_records_writer_count(const struct zf_records_writer *writer) {
  return writer->count;
}

static void release(struct zf_records_writer *writer) {
  zf_compressor_free(writer->packer);
  zf_buf_free(&writer->line);
  json_decref(writer->names);
  free(writer);
}

int zf_records_writer_commit(struct zf_records_writer *writer) {
  const char *end = writer->count || writer->format->row == put_json ? writer->format->end : "";
  if (!writer->count && end[0] == '\n') end++; /* no row ends here */
  int rc = zf_compressor_put(writer->packer, end, strlen(end), 1);
  if (!rc)
    rc = zf_out_commit(&writer->file);
  else
    zf_out_abort(&writer->file);
  release(writer);
  return rc;
}

void zf_records_writer_abort(struct zf_records_writer *writer) {
  if (!writer) return;
  zf_out_abort(&writer->file);
  release(writer);
}
