/* CSV by RFC 4180, and TSV.
 *
 * The first row names the fields.  In CSV, a field that begins with a quote ends with one; between
 * them, a doubled quote is a quote, and commas and line ends are text.  A quote anywhere else is an
 * error, because programs read it differently.  In TSV, every byte except tab and line end is text.
 * Blank lines are skipped in both. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "fmt/records_internal.h"

struct csv_table {
  struct zf_records *records; /* its `field` is the last one read */
  struct zf_records_cursor *cursor;
  char delim;
  int quoting;
};

static struct csv_table table_of(struct zf_records *records, struct zf_records_cursor *cursor) {
  char delim = zf_records_delim(records);
  return (struct csv_table){records, cursor, delim, delim == ','};
}

static int64_t count_lines(const char *text, const char *end) {
  int64_t lines = 0;
  while ((text = memchr(text, '\n', (size_t)(end - text)))) {
    lines++;
    text++;
  }
  return lines;
}

/* Reads a quoted field.  The cursor stands on its opening quote, afterwards after the closing
 * one. */
static int read_quoted(struct csv_table *table) {
  struct zf_records *records = table->records;
  struct zf_records_cursor *cursor = table->cursor;
  size_t open = cursor->pos++;
  for (;;) {
    const char *from = records->data + cursor->pos;
    const char *quote = memchr(from, '"', records->len - cursor->pos);
    if (!quote) return zf_records_fail(records, open, "a quote is opened and never closed");
    cursor->line += count_lines(from, quote);
    zf_buf_add(&records->field, from, (size_t)(quote - from));
    cursor->pos = (size_t)(quote - records->data) + 1;
    if (cursor->pos == records->len || records->data[cursor->pos] != '"') return 0;
    zf_buf_putc(&records->field, '"');
    cursor->pos++;
  }
}

static int read_plain(struct csv_table *table) {
  const struct zf_records *records = table->records;
  size_t begin = table->cursor->pos, pos = begin;
  for (; pos < records->len; pos++) {
    char c = records->data[pos];
    if (c == table->delim || c == '\n' || c == '\r') break;
    if (c == '"' && table->quoting)
      return zf_records_fail(records, pos, "a quote in a field that does not begin with one");
  }
  table->cursor->pos = pos;
  zf_buf_add(&table->records->field, records->data + begin, pos - begin);
  return 0;
}

/* A carriage return belongs to the line feed after it.  Alone it would be the line end of old
 * systems, and the whole file one row. */
static int read_return(struct csv_table *table) {
  const struct zf_records *records = table->records;
  if (table->cursor->pos == records->len || records->data[table->cursor->pos] != '\r') return 0;
  if (table->cursor->pos + 1 < records->len && records->data[table->cursor->pos + 1] != '\n')
    return zf_records_fail(records, table->cursor->pos, "a carriage return without a line feed");
  table->cursor->pos++;
  return 0;
}

/* Reads a field into records->field and skips the separator after it; *last: it was the last one of
 * its row. */
static int read_field(struct csv_table *table, int *last) {
  const struct zf_records *records = table->records;
  zf_buf_clear(&table->records->field);
  int quoted = table->quoting && table->cursor->pos < records->len &&
               records->data[table->cursor->pos] == '"';
  int rc = quoted ? read_quoted(table) : read_plain(table);
  if (rc || (rc = zf_buf_ok(&table->records->field)) || (rc = read_return(table))) return rc;
  *last = table->cursor->pos == records->len || records->data[table->cursor->pos] == '\n';
  if (!*last && records->data[table->cursor->pos] != table->delim)
    return zf_records_fail(records, table->cursor->pos,
                           "expected '%c' or the end of the line after a closing quote",
                           table->delim);
  table->cursor->line += table->cursor->pos < records->len && *last;
  table->cursor->pos += table->cursor->pos < records->len;
  return 0;
}

static json_t *field_text(const struct csv_table *table) {
  return json_stringn_nocheck(table->records->field.data ? table->records->field.data : "",
                              table->records->field.len);
}

/* Adds the name that begins at byte `begin`, and notes it in `seen`. */
static int add_name(struct csv_table *table, json_t *seen, size_t begin) {
  json_t *name = field_text(table);
  const char *text = json_string_value(name);
  if (json_array_append_new(table->records->field_names, name))
    return zf_error(ZF_ENOMEM, "%s: out of memory for its fields", table->records->path);
  if (json_object_get(seen, text))
    return zf_records_fail(table->records, begin, "a second field is named '%.60s'", text);
  if (json_object_set_new_nocheck(seen, text, json_true()))
    return zf_error(ZF_ENOMEM, "%s: out of memory for its fields", table->records->path);
  return 0;
}

/* Reads the names of the fields; each may appear once. */
static int read_names(struct csv_table *table) {
  json_t *seen = json_object();
  table->records->field_names = json_array();
  int last = 0, rc = 0;
  if (!seen || !table->records->field_names)
    rc = zf_error(ZF_ENOMEM, "%s: out of memory for its fields", table->records->path);
  while (!rc && !last) {
    size_t begin = table->cursor->pos;
    rc = read_field(table, &last);
    if (!rc) rc = add_name(table, seen, begin);
  }
  json_decref(seen);
  return rc;
}

/* Reads the fields of a row into an object; *count: all of them, also those beyond the names. */
static int read_fields(struct csv_table *table, json_t *row, size_t *count) {
  int last = 0;
  while (!last) {
    int rc = read_field(table, &last);
    if (rc) return rc;
    const char *name = json_string_value(json_array_get(table->records->field_names, (*count)++));
    if (name && json_object_set_new_nocheck(row, name, field_text(table)))
      return zf_error(ZF_ENOMEM, "%s: out of memory at line %lld", table->records->path,
                      (long long)table->cursor->row_line);
  }
  return 0;
}

static int read_row(struct csv_table *table, json_t **out) {
  size_t width = json_array_size(table->records->field_names), count = 0;
  table->cursor->row_begin = table->cursor->pos;
  table->cursor->row_line = table->cursor->line;
  json_t *row = json_object();
  int rc = row ? read_fields(table, row, &count)
               : zf_error(ZF_ENOMEM, "%s: out of memory at line %lld", table->records->path,
                          (long long)table->cursor->row_line);
  if (!rc && count != width)
    rc = zf_records_fail(table->records, table->cursor->row_begin,
                         "expected the %zu fields that the first row names, found %zu", width,
                         count);
  if (rc) {
    json_decref(row);
    return rc;
  }
  *out = row;
  return 0;
}

static int skip_blank_line(struct csv_table *table) {
  const char *line = table->records->data + table->cursor->pos;
  size_t remaining = table->records->len - table->cursor->pos;
  size_t end = remaining && *line == '\r'; /* offset of the line feed */
  if (end < remaining && line[end] != '\n') return 0;
  if (end < remaining) {
    table->cursor->line++;
    end++;
  }
  table->cursor->pos += end; /* a carriage return at the end of the file is a blank line */
  return 1;
}

static int skip_blank_lines(struct csv_table *table) {
  while (table->cursor->pos < table->records->len && skip_blank_line(table)) continue;
  return table->cursor->pos < table->records->len;
}

int zf_records_table_begin(struct zf_records *records, struct zf_records_cursor *cursor) {
  struct csv_table table = table_of(records, cursor);
  return skip_blank_lines(&table) ? read_names(&table) : 0;
}

int zf_records_table(struct zf_records *records, struct zf_records_cursor *cursor, json_t **row) {
  struct csv_table table = table_of(records, cursor);
  return skip_blank_lines(&table) ? read_row(&table, row) : 0;
}
