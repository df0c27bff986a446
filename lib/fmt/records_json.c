/* Rows of JSON, and lines of text.  Jansson parses each object; the text between them is read here,
 * so that the line of each row is known. */
#include <string.h>

#include "fmt/json.h"
#include "fmt/records_internal.h"

/* Parses the object at data[at..end); *consumed: its length in bytes.  With JSON_DISABLE_EOF_CHECK
 * in `flags`, the caller reads what follows it; without, nothing may follow. */
static int parse_object(const struct zf_records *records, size_t at, size_t end, size_t flags,
                        json_t **out, size_t *consumed) {
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
  *consumed = fault.position;
  return 0;
}

/* Skips white space and counts lines. */
static void skip_space(const struct zf_records *records, struct zf_records_cursor *cursor) {
  while (cursor->pos < records->len) {
    char c = records->data[cursor->pos];
    if (!strchr(" \t\r\n", c)) return;
    cursor->line += c == '\n';
    cursor->pos++;
  }
}

static size_t line_end(const struct zf_records *records, size_t at) {
  const char *newline = memchr(records->data + at, '\n', records->len - at);
  return newline ? (size_t)(newline - records->data) : records->len;
}

static void begin_row(struct zf_records_cursor *cursor) {
  cursor->row_begin = cursor->pos;
  cursor->row_line = cursor->line;
}

static void end_line(struct zf_records_cursor *cursor, size_t end) {
  cursor->pos = end + 1;
  cursor->line++;
}

int zf_records_jsonl(struct zf_records *records, struct zf_records_cursor *cursor, json_t **row) {
  while (cursor->pos < records->len) {
    size_t end = line_end(records, cursor->pos), consumed;
    struct zf_records_cursor text = *cursor;
    skip_space(records, &text);
    begin_row(cursor);
    end_line(cursor, end);
    if (text.pos < end) return parse_object(records, cursor->row_begin, end, 0, row, &consumed);
  }
  return 0;
}

static int is_blank_line(const struct zf_records *records, size_t from, size_t end) {
  while (from < end && strchr(" \t\r", records->data[from])) from++;
  return from == end;
}

/* Moves to the next line that is not blank; 0: there is none. */
static int skip_blank_lines(const struct zf_records *records, struct zf_records_cursor *cursor) {
  while (cursor->pos < records->len) {
    size_t end = line_end(records, cursor->pos);
    if (!is_blank_line(records, cursor->pos, end)) return 1;
    end_line(cursor, end);
  }
  return 0;
}

/* The row {"text": ...} of the text from the row's beginning to `end`, a last CR left off. */
static int text_row(const struct zf_records *records, const struct zf_records_cursor *cursor,
                    size_t end, json_t **row) {
  size_t len = end - cursor->row_begin;
  if (len && records->data[end - 1] == '\r') len--;
  json_t *text = json_stringn_nocheck(records->data + cursor->row_begin, len);
  *row = text ? json_pack("{s:o}", "text", text) : NULL;
  return *row ? 0 : zf_error(ZF_ENOMEM, "%s: out of memory for a row", records->path);
}

int zf_records_line_row(struct zf_records *records, struct zf_records_cursor *cursor,
                        json_t **row) {
  if (!skip_blank_lines(records, cursor)) return 0;
  size_t end = line_end(records, cursor->pos);
  begin_row(cursor);
  end_line(cursor, end);
  return text_row(records, cursor, end, row);
}

/* The text from the next line that is not blank to the last one; `paragraph`: to the next blank one. */
static int lines_row(struct zf_records *records, struct zf_records_cursor *cursor, int paragraph,
                     json_t **row) {
  if (!skip_blank_lines(records, cursor)) return 0;
  size_t last = cursor->pos;
  begin_row(cursor);
  while (cursor->pos < records->len) {
    size_t end = line_end(records, cursor->pos);
    int blank = is_blank_line(records, cursor->pos, end);
    if (blank && paragraph) break;
    if (!blank) last = end;
    end_line(cursor, end);
  }
  return text_row(records, cursor, last, row);
}

int zf_records_paragraph(struct zf_records *records, struct zf_records_cursor *cursor,
                         json_t **row) {
  return lines_row(records, cursor, 1, row);
}

int zf_records_document(struct zf_records *records, struct zf_records_cursor *cursor,
                        json_t **row) {
  return lines_row(records, cursor, 0, row);
}

/* Reads what follows a value of an array: a comma, or the end. */
static int read_comma(const struct zf_records *records, struct zf_records_cursor *cursor) {
  skip_space(records, cursor);
  char separator = cursor->pos < records->len ? records->data[cursor->pos] : 0;
  if (separator != ',' && separator != ']')
    return zf_records_fail(records, cursor->pos,
                           "expected ',' or ']' after an object of the array");
  cursor->done = separator == ']';
  cursor->pos++;
  return 0;
}

/* Checks that nothing follows the array. */
static int check_end(const struct zf_records *records, struct zf_records_cursor *cursor) {
  skip_space(records, cursor);
  return cursor->pos < records->len
             ? zf_records_fail(records, cursor->pos, "expected nothing after the array")
             : 0;
}

int zf_records_json_begin(struct zf_records *records, struct zf_records_cursor *cursor) {
  skip_space(records, cursor);
  records->array = cursor->pos < records->len && records->data[cursor->pos] == '[';
  if (!records->array) return 0;
  cursor->pos++;
  skip_space(records, cursor);
  cursor->done = cursor->pos < records->len && records->data[cursor->pos] == ']';
  cursor->pos += (size_t)cursor->done;
  return 0;
}

int zf_records_json(struct zf_records *records, struct zf_records_cursor *cursor, json_t **row) {
  size_t consumed;
  if (cursor->done) return check_end(records, cursor);
  skip_space(records, cursor);
  if (!records->array && cursor->pos >= records->len) return 0;
  begin_row(cursor);
  int rc = parse_object(records, cursor->pos, records->len, JSON_DISABLE_EOF_CHECK, row, &consumed);
  if (rc) return rc;
  for (size_t end = cursor->pos + consumed; cursor->pos < end; cursor->pos++)
    cursor->line += records->data[cursor->pos] == '\n';
  return records->array ? read_comma(records, cursor) : 0;
}
