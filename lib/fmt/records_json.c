/* Rows of JSON, and lines of text.  Jansson parses each object; the walk between them is ours, so
 * that each row knows its line. */
#include <string.h>

#include "fmt/json.h"
#include "fmt/records_internal.h"

/* One object at data[at..end); *used is how many bytes it took.  Whatever follows
 * it is the caller's, unless `flags` let Jansson look. */
static int parse_object(const struct zf_records *r, size_t at, size_t end, size_t flags,
                        json_t **out, size_t *used) {
  struct zf_json_fault f;
  json_t *v;
  int rc = zf_json_read(&v, r->data + at, end - at, flags, &f);
  if (rc == ZF_ENOMEM) return zf_error_prefix(rc, "%s", r->path);
  if (rc)
    return zf_records_fail(r, at + (f.position ? f.position - 1 : 0), "%s", zf_error_message());
  if (!json_is_object(v) || zf_json_wide(v) || !f.position) {
    rc = zf_records_fail(r, at, "expected an object, found %s", zf_json_kind(v));
    json_decref(v);
    return rc;
  }
  *out = v;
  *used = f.position;
  return 0;
}

/* Skips white space; counts the lines. */
static void skip_space(const struct zf_records *r, struct zf_records_cursor *c) {
  for (; c->at < r->len && strchr(" \t\r\n", r->data[c->at]); c->at++)
    c->line += r->data[c->at] == '\n';
}

static size_t line_end(const struct zf_records *r, size_t at) {
  const char *newline = memchr(r->data + at, '\n', r->len - at);
  return newline ? (size_t)(newline - r->data) : r->len;
}

static void begin_row(struct zf_records_cursor *c) {
  c->row = c->at;
  c->row_line = c->line;
}

static void end_line(struct zf_records_cursor *c, size_t end) {
  c->at = end + 1;
  c->line++;
}

int zf_records_jsonl(struct zf_records *r, struct zf_records_cursor *c, json_t **row) {
  while (c->at < r->len) {
    size_t end = line_end(r, c->at), used;
    struct zf_records_cursor text = *c;
    skip_space(r, &text);
    begin_row(c);
    end_line(c, end);
    if (text.at < end) return parse_object(r, c->row, end, 0, row, &used);
  }
  return 0;
}

int zf_records_txt(struct zf_records *r, struct zf_records_cursor *c, json_t **row) {
  if (c->at >= r->len) return 0;
  size_t end = line_end(r, c->at), n = end - c->at;
  begin_row(c);
  end_line(c, end);
  if (n && r->data[end - 1] == '\r') n--;
  json_t *text = json_stringn_nocheck(r->data + c->row, n);
  *row = text ? json_pack("{s:o}", "text", text) : NULL;
  return *row ? 0 : zf_error(ZF_ENOMEM, "%s: out of memory for a row", r->path);
}

/* After a value of an array: its comma or its end. */
static int read_comma(const struct zf_records *r, struct zf_records_cursor *c) {
  skip_space(r, c);
  char mark = c->at < r->len ? r->data[c->at] : 0;
  if (mark != ',' && mark != ']')
    return zf_records_fail(r, c->at, "expected ',' or ']' after an object of the array");
  c->last = mark == ']';
  c->at++;
  return 0;
}

/* Behind the bracket of an array there is nothing. */
static int check_end(const struct zf_records *r, struct zf_records_cursor *c) {
  skip_space(r, c);
  return c->at < r->len ? zf_records_fail(r, c->at, "expected nothing after the array") : 0;
}

int zf_records_json_begin(struct zf_records *r, struct zf_records_cursor *c) {
  skip_space(r, c);
  r->array = c->at < r->len && r->data[c->at] == '[';
  if (!r->array) return 0;
  c->at++;
  skip_space(r, c);
  c->last = c->at < r->len && r->data[c->at] == ']';
  c->at += (size_t)c->last;
  return 0;
}

int zf_records_json(struct zf_records *r, struct zf_records_cursor *c, json_t **row) {
  size_t used;
  if (c->last) return check_end(r, c);
  skip_space(r, c);
  if (!r->array && c->at >= r->len) return 0;
  begin_row(c);
  int rc = parse_object(r, c->at, r->len, JSON_DISABLE_EOF_CHECK, row, &used);
  if (rc) return rc;
  for (size_t end = c->at + used; c->at < end; c->at++) c->line += r->data[c->at] == '\n';
  return r->array ? read_comma(r, c) : 0;
}
