/* Rows of JSON, and lines of text.  Jansson parses each object; the walk between them is ours, so
 * that each row knows its line. */
#include <string.h>

#include "fmt/json.h"
#include "fmt/records_internal.h"

/* One object at data[at..end); *used is how many bytes it took.  Whatever follows
 * it is the caller's, unless `flags` let Jansson look. */
static int parse_object(const struct zf_records *records, size_t at, size_t end, size_t flags,
                        json_t **out, size_t *used) {
  struct zf_json_fault fault;
  json_t *value;
  int rc = zf_json_read(&value, records->data + at, end - at, flags, &fault);
  if (rc == ZF_ENOMEM) return zf_error_prefix(rc, "%s", records->path);
  if (rc)
    return zf_records_fail(records, at + (fault.position ? fault.position - 1 : 0), "%s",
                           zf_error_message());
  if (!json_is_object(value) || zf_json_wide(value) || !fault.position) {
    rc = zf_records_fail(records, at, "expected an object, found %s", zf_json_kind(value));
    json_decref(value);
    return rc;
  }
  *out = value;
  *used = fault.position;
  return 0;
}

/* Skips white space; counts the lines. */
static void skip_space(const struct zf_records *records, struct zf_records_cursor *cursor) {
  for (; cursor->at < records->len && strchr(" \t\r\n", records->data[cursor->at]); cursor->at++)
    cursor->line += records->data[cursor->at] == '\n';
}

static size_t line_end(const struct zf_records *records, size_t at) {
  const char *newline = memchr(records->data + at, '\n', records->len - at);
  return newline ? (size_t)(newline - records->data) : records->len;
}

static void begin_row(struct zf_records_cursor *cursor) {
  cursor->row = cursor->at;
  cursor->row_line = cursor->line;
}

static void end_line(struct zf_records_cursor *cursor, size_t end) {
  cursor->at = end + 1;
  cursor->line++;
}

int zf_records_jsonl(struct zf_records *records, struct zf_records_cursor *cursor, json_t **row) {
  while (cursor->at < records->len) {
    size_t end = line_end(records, cursor->at), used;
    struct zf_records_cursor text = *cursor;
    skip_space(records, &text);
    begin_row(cursor);
    end_line(cursor, end);
    if (text.at < end) return parse_object(records, cursor->row, end, 0, row, &used);
  }
  return 0;
}

int zf_records_txt(struct zf_records *records, struct zf_records_cursor *cursor, json_t **row) {
  if (cursor->at >= records->len) return 0;
  size_t end = line_end(records, cursor->at), n = end - cursor->at;
  begin_row(cursor);
  end_line(cursor, end);
  if (n && records->data[end - 1] == '\r') n--;
  json_t *text = json_stringn_nocheck(records->data + cursor->row, n);
  *row = text ? json_pack("{s:o}", "text", text) : NULL;
  return *row ? 0 : zf_error(ZF_ENOMEM, "%s: out of memory for a row", records->path);
}

/* After a value of an array: its comma or its end. */
static int read_comma(const struct zf_records *records, struct zf_records_cursor *cursor) {
  skip_space(records, cursor);
  char mark = cursor->at < records->len ? records->data[cursor->at] : 0;
  if (mark != ',' && mark != ']')
    return zf_records_fail(records, cursor->at, "expected ',' or ']' after an object of the array");
  cursor->last = mark == ']';
  cursor->at++;
  return 0;
}

/* Behind the bracket of an array there is nothing. */
static int check_end(const struct zf_records *records, struct zf_records_cursor *cursor) {
  skip_space(records, cursor);
  return cursor->at < records->len
             ? zf_records_fail(records, cursor->at, "expected nothing after the array")
             : 0;
}

int zf_records_json_begin(struct zf_records *records, struct zf_records_cursor *cursor) {
  skip_space(records, cursor);
  records->array = cursor->at < records->len && records->data[cursor->at] == '[';
  if (!records->array) return 0;
  cursor->at++;
  skip_space(records, cursor);
  cursor->last = cursor->at < records->len && records->data[cursor->at] == ']';
  cursor->at += (size_t)cursor->last;
  return 0;
}

int zf_records_json(struct zf_records *records, struct zf_records_cursor *cursor, json_t **row) {
  size_t used;
  if (cursor->last) return check_end(records, cursor);
  skip_space(records, cursor);
  if (!records->array && cursor->at >= records->len) return 0;
  begin_row(cursor);
  int rc = parse_object(records, cursor->at, records->len, JSON_DISABLE_EOF_CHECK, row, &used);
  if (rc) return rc;
  for (size_t end = cursor->at + used; cursor->at < end; cursor->at++)
    cursor->line += records->data[cursor->at] == '\n';
  return records->array ? read_comma(records, cursor) : 0;
}
