/* CSV by RFC 4180 and TSV.
 *
 * The first row names the fields.  In CSV a field that begins with a quote ends
 * with one; in between a doubled quote is a quote, and commas and line ends are
 * text.  A quote anywhere else is a mistake: readers differ on it, so the data
 * would mean different things to different programs.  In TSV every byte but tab
 * and line end is text.  Blank lines are skipped in both. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "fmt/records_internal.h"

struct csv_table {
  struct zf_records
      *records; /* its `field` is the one last read, its `names` those of the first row */
  struct zf_records_cursor *cursor;
  char delim;
  int quoting;
};

static struct csv_table table_of(struct zf_records *records, struct zf_records_cursor *cursor) {
  char delim = zf_records_delim(records);
  return (struct csv_table){records, cursor, delim, delim == ','};
}

/* A quoted field; `at` stands on its opening quote, afterwards behind the closing one. */
static int read_quoted(struct csv_table *table) {
  const struct zf_records *records = table->records;
  size_t open = table->cursor->pos++;
  for (;;) {
    const char *from = records->data + table->cursor->pos,
               *quote = memchr(from, '"', records->len - table->cursor->pos);
    if (!quote) return zf_records_fail(records, open, "a quote is opened and never closed");
    for (const char *newline = from; (newline = memchr(newline, '\n', (size_t)(quote - newline)));
         newline++)
      table->cursor->line++;
    zf_buf_add(&table->records->field, from, (size_t)(quote - from));
    table->cursor->pos = (size_t)(quote - records->data) + 1;
    if (table->cursor->pos == records->len || records->data[table->cursor->pos] != '"') return 0;
    zf_buf_putc(&table->records->field, '"');
    table->cursor->pos++;
  }
}

static int read_plain(struct csv_table *table) {
  const struct zf_records *records = table->records;
  size_t begin = table->cursor->pos;
  while (table->cursor->pos < records->len && records->data[table->cursor->pos] != table->delim &&
         records->data[table->cursor->pos] != '\n') {
    if (table->quoting && records->data[table->cursor->pos] == '"')
      return zf_records_fail(records, table->cursor->pos,
                             "a quote in a field that does not begin with one");
    if (records->data[table->cursor->pos] == '\r') break;
    table->cursor->pos++;
  }
  zf_buf_add(&table->records->field, records->data + begin, table->cursor->pos - begin);
  return 0;
}

/* A carriage return belongs to the line end behind it.  Alone it would be the line
 * end of another age, and the file one long row. */
static int read_return(struct csv_table *table) {
  const struct zf_records *records = table->records;
  if (table->cursor->pos == records->len || records->data[table->cursor->pos] != '\r') return 0;
  if (table->cursor->pos + 1 < records->len && records->data[table->cursor->pos + 1] != '\n')
    return zf_records_fail(records, table->cursor->pos, "a carriage return without a line feed");
  table->cursor->pos++;
  return 0;
}

/* Reads a field into t->r->field and steps over what ends it; *last says that it was
 * the last one of its row. */
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

/* The names, each once. */
static int read_names(struct csv_table *table) {
  json_t *seen = json_object();
  int rc = 0, last = 0, bad = !seen || !(table->records->field_names = json_array());
  while (!rc && !bad && !last) {
    size_t begin = table->cursor->pos;
    if ((rc = read_field(table, &last))) break;
    json_t *name = field_text(table);
    if (name && json_object_get(seen, json_string_value(name)))
      rc = zf_records_fail(table->records, begin, "a second field is named '%.60s'",
                           json_string_value(name));
    else
      bad = !name || json_object_set_new_nocheck(seen, json_string_value(name), json_true());
    bad |= json_array_append_new(table->records->field_names, name) && !rc;
  }
  json_decref(seen);
  return bad && !rc ? zf_error(ZF_ENOMEM, "%s: out of memory for its fields", table->records->path)
                    : rc;
}

static int read_row(struct csv_table *table, json_t **out) {
  size_t width = json_array_size(table->records->field_names), count = 0,
         begin = table->cursor->row_begin = table->cursor->pos;
  int64_t line = table->cursor->row_line = table->cursor->line;
  int rc = 0, last = 0;
  json_t *row = json_object();
  while (row && !last) {
    if ((rc = read_field(table, &last))) goto fail;
    const char *name = json_string_value(json_array_get(table->records->field_names, count++));
    if (name && json_object_set_new_nocheck(row, name, field_text(table))) {
      json_decref(row);
      row = NULL;
    }
  }
  if (!row)
    return zf_error(ZF_ENOMEM, "%s: out of memory at line %lld", table->records->path,
                    (long long)line);
  if (count == width) {
    *out = row;
    return 0;
  }
  rc = zf_records_fail(table->records, begin,
                       "expected the %zu fields that the first row names, found %zu", width, count);
fail:
  json_decref(row);
  return rc;
}

static int skip_blank_line(struct csv_table *table) {
  const char *line = table->records->data + table->cursor->pos;
  size_t remaining = table->records->len - table->cursor->pos,
         return_len = remaining && *line == '\r';
  if (return_len == remaining || line[return_len] != '\n') {
    if (return_len < remaining) return 0;
    table->cursor->pos += return_len; /* a lone carriage return at the very end */
    return 1;
  }
  table->cursor->pos += return_len + 1;
  table->cursor->line++;
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
