/* Data files to rows: what the formats share, and the JSON ones.
 *
 * The file is mapped, read from front to back once and let go; what stays is the
 * compact text of each row, for objects are ten times larger.  Lines are counted on the way; the place of a mistake is
 * worked out from its byte offset when there is one to tell. */
#include "fmt/records.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/file.h"
#include "fmt/json.h"
#include "fmt/records_internal.h"
#include "fmt/utf8.h"

static const struct {
  const char *ending;
  int (*read)(struct zf_records_reader *r);
} formats[] = {
    {".jsonl", zf_records_jsonl}, {".ndjson", zf_records_jsonl}, {".json", zf_records_json},
    {".csv", zf_records_csv},     {".tsv", zf_records_tsv},      {".txt", zf_records_txt},
};

enum { FORMATS = sizeof formats / sizeof *formats };

static int grow(struct zf_records_reader *r) {
  struct zf_records *out = r->out;
  int64_t cap = r->cap ? 2 * r->cap : 64;
  int64_t *lines = realloc(out->line, (size_t)cap * sizeof *lines);
  if (lines) out->line = lines;
  size_t *at = realloc(out->at, (size_t)(cap + 1) * sizeof *at);
  if (at) out->at = at;
  if (!lines || !at) return ZF_ENOMEM;
  r->cap = cap;
  return 0;
}

static int append(const char *text, size_t n, void *buf) {
  zf_buf_add(buf, text, n);
  return zf_buf_ok(buf) ? -1 : 0;
}

int zf_records_add(struct zf_records_reader *r, json_t *row, int64_t line) {
  struct zf_records *out = r->out;
  int bad = !row || (out->n == r->cap && grow(r));
  if (!bad) {
    out->at[out->n] = out->text.len;
    bad = json_dump_callback(row, append, &out->text, JSON_COMPACT);
  }
  json_decref(row);
  if (bad)
    return zf_error(ZF_ENOMEM, "%s: out of memory at row %lld", r->name, (long long)out->n);
  out->line[out->n++] = line;
  out->at[out->n] = out->text.len;
  return 0;
}

int zf_records_fail(const struct zf_records_reader *r, size_t offset, const char *fmt, ...) {
  char text[1024];
  va_list ap;
  long long line = 1, column = 1;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  for (size_t i = 0; i < offset && i < r->len; i++) {
    if (r->data[i] == '\n')
      line++, column = 1;
    else if ((r->data[i] & 0xc0) != 0x80) /* not the tail of a character */
      column++;
  }
  return zf_error(ZF_EINVALID, "%s:%lld:%lld: %s", r->name, line, column, text);
}

/* One object at data[at..end); *used is how many bytes it took.  Whatever follows
 * it is the caller's, unless `flags` let Jansson look. */
static int parse_object(const struct zf_records_reader *r, size_t at, size_t end, size_t flags,
                        json_t **out, size_t *used) {
  json_error_t e;
  json_t *v =
      json_loadb(r->data + at, end - at, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | flags, &e);
  if (!v && !e.text[0]) /* Jansson has no words for it */
    return zf_error(ZF_ENOMEM, "%s: out of memory for its JSON", r->name);
  if (!v)
    return zf_records_fail(r, at + (e.position > 0 ? (size_t)e.position - 1 : 0), "%s", e.text);
  if (!json_is_object(v) || e.position <= 0) {
    int rc = zf_records_fail(r, at, "expected an object, found %s", zf_json_kind(v));
    json_decref(v);
    return rc;
  }
  *out = v;
  *used = (size_t)e.position;
  return 0;
}

/* Skips white space; counts the lines. */
static size_t skip_space(const struct zf_records_reader *r, size_t at, int64_t *line) {
  for (; at < r->len && strchr(" \t\r\n", r->data[at]); at++) *line += r->data[at] == '\n';
  return at;
}

int zf_records_jsonl(struct zf_records_reader *r) {
  int64_t line = 1;
  for (size_t at = 0, end; at < r->len; at = end + 1, line++) {
    const char *newline = memchr(r->data + at, '\n', r->len - at);
    end = newline ? (size_t)(newline - r->data) : r->len;
    int64_t same = line;
    json_t *row = NULL;
    size_t used;
    if (skip_space(r, at, &same) >= end) continue;
    int rc = parse_object(r, at, end, 0, &row, &used);
    if (rc || (rc = zf_records_add(r, row, line))) return rc;
  }
  return 0;
}

/* After a value of an array: its comma or its end. */
static int read_comma(const struct zf_records_reader *r, size_t *at, int64_t *line, int *last) {
  *at = skip_space(r, *at, line);
  char c = *at < r->len ? r->data[*at] : 0;
  if (c != ',' && c != ']')
    return zf_records_fail(r, *at, "expected ',' or ']' after an object of the array");
  *last = c == ']';
  ++*at;
  return 0;
}

/* One array of objects, or objects one after the other.  Jansson parses each; the
 * walk between them is ours, so that each row knows its line. */
int zf_records_json(struct zf_records_reader *r) {
  int64_t line = 1;
  size_t at = skip_space(r, 0, &line), used = 0;
  int array = at < r->len && r->data[at] == '[', last = 0, rc;
  if (array) {
    at = skip_space(r, at + 1, &line);
    last = at < r->len && r->data[at] == ']';
    at += (size_t)last;
  }
  while (!last && (at = skip_space(r, at, &line), array || at < r->len)) {
    json_t *row = NULL;
    if ((rc = parse_object(r, at, r->len, JSON_DISABLE_EOF_CHECK, &row, &used)) ||
        (rc = zf_records_add(r, row, line)))
      return rc;
    for (size_t end = at + used; at < end; at++) line += r->data[at] == '\n';
    if (array && (rc = read_comma(r, &at, &line, &last))) return rc;
  }
  at = skip_space(r, at, &line);
  return at < r->len ? zf_records_fail(r, at, "expected nothing after the array") : 0;
}

int zf_records_txt(struct zf_records_reader *r) {
  int64_t line = 1;
  for (size_t at = 0, end; at < r->len; at = end + 1, line++) {
    const char *newline = memchr(r->data + at, '\n', r->len - at);
    end = newline ? (size_t)(newline - r->data) : r->len;
    size_t n = end - at;
    if (n && r->data[end - 1] == '\r') n--;
    json_t *text = json_stringn_nocheck(r->data + at, n);
    int rc = zf_records_add(r, text ? json_pack("{s:o}", "text", text) : NULL, line);
    if (rc) return rc;
  }
  return 0;
}

/* The text as a whole: a byte order mark is skipped, zero bytes and what is not
 * UTF-8 are refused. */
static int check_text(struct zf_records_reader *r) {
  if (r->len >= 3 && !memcmp(r->data, "\xef\xbb\xbf", 3)) {
    r->data += 3;
    r->len -= 3;
  }
  int64_t bad = zf_utf8_bad(r->data, r->len);
  if (bad >= 0)
    return zf_records_fail(r, (size_t)bad, "byte 0x%02x is not UTF-8", (unsigned char)r->data[bad]);
  const char *zero = r->len ? memchr(r->data, 0, r->len) : NULL;
  return zero ? zf_records_fail(r, (size_t)(zero - r->data), "a zero byte is not text") : 0;
}

/* Index into `formats` by the name's ending. */
/* Formats that people have and zoft does not read: what turns them into one that it does. */
static const struct {
  const char *ending, *how;
} others[] = {
    {".parquet", "python -c \"import pandas; pandas.read_parquet('FILE').to_json('FILE.jsonl', "
                 "orient='records', lines=True)\""},
    {".arrow", "python -c \"import datasets; datasets.Dataset.from_file('FILE').to_json("
               "'FILE.jsonl')\""},
    {".gz", "gunzip FILE"},
    {".zst", "zstd -d FILE"},
};

static int ends_in(const char *name, const char *ending) {
  size_t n = strlen(name), m = strlen(ending);
  return n >= m && !strcasecmp(name + n - m, ending);
}

static int format_of(const char *name, int *format) {
  for (*format = 0; *format < FORMATS; ++*format) {
    if (ends_in(name, formats[*format].ending)) return 0;
  }
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    if (ends_in(name, others[i].ending))
      return zf_error(ZF_EUSAGE, "%s: zoft does not read %s files; convert it: %s", name,
                      others[i].ending, others[i].how);
  return zf_error(ZF_EUSAGE,
                  "%s: unknown ending: expected .jsonl, .ndjson, .json, .csv, .tsv "
                  "or .txt",
                  name);
}

int zf_records_open(struct zf_records **out, const char *path) {
  struct zf_map m;
  int format, rc;
  *out = NULL;
  if ((rc = format_of(path, &format)) || (rc = zf_map_open(&m, path))) return rc;
  rc = zf_records_parse(out, (const char *)m.data, m.len, path);
  zf_map_close(&m);
  return rc;
}

int zf_records_parse(struct zf_records **out, const char *data, size_t len, const char *name) {
  struct zf_records_reader r = {.name = name, .data = len ? data : "", .len = len};
  int format, rc;
  *out = NULL;
  if ((rc = format_of(name, &format))) return rc;
  if (!(r.out = zf_calloc(1, sizeof *r.out))) return ZF_ENOMEM;
  rc = (r.out->path = zf_strdup(name)) ? check_text(&r) : ZF_ENOMEM;
  if (rc || (rc = formats[format].read(&r))) {
    zf_records_free(r.out);
    return rc;
  }
  *out = r.out;
  return 0;
}

void zf_records_free(struct zf_records *r) {
  if (!r) return;
  json_decref(r->now);
  zf_buf_free(&r->text);
  free(r->at);
  free(r->line);
  free(r->path);
  free(r);
}

const json_t *zf_records_row(struct zf_records *r, int64_t i) {
  json_decref(r->now);
  r->now = json_loadb(r->text.data + r->at[i], r->at[i + 1] - r->at[i], JSON_DECODE_ANY, NULL);
  if (!r->now) zf_error(ZF_ENOMEM, "%s: out of memory for a row", r->path);
  return r->now;
}
