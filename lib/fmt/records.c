/* Reading data files: what the formats share.
 *
 * A file is mapped and read twice from front to back: to check that it is text, and to parse its
 * rows. What is kept is the offset of each row and the line number of every MARK-th row.  Line and
 * column of an error are computed from its byte offset. */
#include "fmt/records.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "fmt/compressed.h"
#include "fmt/records_internal.h"
#include "fmt/utf8.h"

enum {
  MARK = 64,         /* rows from one whose line number is kept to the next */
  WINDOW = 4 << 20,  /* bytes read before pages are given back */
  AROUND = 64 << 10, /* bytes that the system reads when a page is touched */
};

static const struct record_format {
  const char *ending;
  int (*begin)(struct zf_records *records, struct zf_records_cursor *cursor);
  int (*next)(struct zf_records *records, struct zf_records_cursor *cursor, json_t **row);
  const char *between; /* characters that may stand between a row's end and the next row */
  char delim;
} formats[ZF_RECORDS_READERS] = {
    [ZF_RECORDS_JSONL] = {".jsonl", NULL, zf_records_jsonl, " \t\r\n", 0},
    [ZF_RECORDS_NDJSON] = {".ndjson", NULL, zf_records_jsonl, " \t\r\n", 0},
    [ZF_RECORDS_JSON] = {".json", zf_records_json_begin, zf_records_json, " \t\r\n,]", 0},
    [ZF_RECORDS_CSV] = {".csv", zf_records_table_begin, zf_records_table, "\r\n", ','},
    [ZF_RECORDS_TSV] = {".tsv", zf_records_table_begin, zf_records_table, "\r\n", '\t'},
    [ZF_RECORDS_TXT] = {".txt", NULL, zf_records_line_row, "\r\n", 0},
    [ZF_RECORDS_PARAGRAPH] = {NULL, NULL, zf_records_paragraph, " \t\r\n", 0},
    [ZF_RECORDS_DOCUMENT] = {NULL, NULL, zf_records_document, " \t\r\n", 0},
};

char zf_records_delim(const struct zf_records *records) {
  return formats[records->format].delim;
}

int zf_records_fail(const struct zf_records *records, size_t offset, const char *fmt, ...) {
  char text[1024];
  va_list ap;
  long long line = 1, column = 1;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  if (offset > records->len) offset = records->len;
  for (size_t i = 0; i < offset; i++) {
    if (records->data[i] == '\n')
      line++, column = 1;
    else if ((records->data[i] & 0xc0) != 0x80) /* not the tail of a character */
      column++;
  }
  return zf_error(ZF_EINVALID, "%s:%lld:%lld: %s", records->path, line, column, text);
}

/* --- opening --- */

/* Gives back the pages before data[at]. */
static void drop_before(struct zf_records *records, size_t at) {
  if (records->map.data)
    zf_map_drop(&records->map, 0,
                (size_t)((const unsigned char *)records->data - records->map.data) + at);
}

/* Checks that data[from..to) is UTF-8 without zero bytes. */
static int check_window(struct zf_records *records, size_t from, size_t to) {
  const char *text = records->data + from;
  int64_t bad = zf_utf8_first_error(text, to - from);
  if (bad >= 0)
    return zf_records_fail(records, from + (size_t)bad, "byte 0x%02x is not UTF-8",
                           (unsigned char)text[bad]);
  const char *zero = memchr(text, 0, to - from);
  return zero ? zf_records_fail(records, (size_t)(zero - records->data), "a zero byte is not text")
              : 0;
}

/* The end of the window at `from`, which parts no character. */
static size_t window_end(const struct zf_records *records, size_t from) {
  if (records->len - from <= WINDOW) return records->len;
  size_t to = from + WINDOW;
  for (int i = 0; i < 3; i++) {
    if ((records->data[to] & 0xc0) != 0x80) break;
    to--;
  }
  return to;
}

/* Skips a byte order mark and checks the text, window by window. */
static int check_text(struct zf_records *records) {
  if (records->len >= 3 && !memcmp(records->data, "\xef\xbb\xbf", 3)) {
    records->data += 3;
    records->len -= 3;
  }
  for (size_t from = 0, to; from < records->len; from = to) {
    to = window_end(records, from);
    int rc = check_window(records, from, to);
    if (rc) return rc;
    drop_before(records, to);
  }
  return 0;
}

static int grow(struct zf_records *records) {
  int64_t cap = records->cap ? 2 * records->cap : MARK;
  size_t *at = realloc(records->row_begin, (size_t)cap * sizeof *at);
  if (at) records->row_begin = at;
  int64_t *mark = realloc(records->line_marks, (size_t)(cap / MARK) * sizeof *mark);
  if (mark) records->line_marks = mark;
  if (!at || !mark)
    return zf_error(ZF_ENOMEM, "%s: out of memory at row %lld", records->path,
                    (long long)records->count);
  records->cap = cap;
  return 0;
}

static int add(struct zf_records *records, const struct zf_records_cursor *cursor) {
  int rc = records->count == records->cap ? grow(records) : 0;
  if (rc) return rc;
  if (records->count % MARK == 0) records->line_marks[records->count / MARK] = cursor->row_line;
  records->row_begin[records->count++] = cursor->row_begin;
  return 0;
}

/* Parses every row, which checks it, and keeps where it begins. */
static int scan(struct zf_records *records) {
  const struct record_format *format = &formats[records->format];
  struct zf_records_cursor cursor = {.line = 1};
  size_t dropped = 0;
  int rc = format->begin ? format->begin(records, &cursor) : 0;
  while (!rc) {
    json_t *row = NULL;
    rc = format->next(records, &cursor, &row);
    int found = row != NULL;
    json_decref(row);
    if (rc || !found) break;
    rc = add(records, &cursor);
    if (cursor.pos - dropped > WINDOW) drop_before(records, dropped = cursor.pos);
  }
  drop_before(records, records->len);
  return rc;
}

/* Common formats that zoft does not read, and how to convert them to one that it does. */
static const struct {
  const char *ending, *how;
} others[] = {
    {".parquet", "python -c \"import pandas; pandas.read_parquet('FILE').to_json('FILE.jsonl', "
                 "orient='records', lines=True)\""},
    {".arrow", "python -c \"import datasets; datasets.Dataset.from_file('FILE').to_json("
               "'FILE.jsonl')\""},
    {".bz2", "bunzip2 FILE"},
    {".xz", "unxz FILE"},
    {".zip", "unzip FILE"},
};

static int ends_in(const char *name, size_t len, const char *ending) {
  size_t ending_len = strlen(ending);
  return len >= ending_len && !strncasecmp(name + len - ending_len, ending, ending_len);
}

int zf_records_format(const char *name, int *format) {
  size_t len = zf_compressed_stem_len(name);
  for (*format = 0; *format < ZF_RECORDS_FORMATS; ++*format) {
    if (ends_in(name, len, formats[*format].ending)) return 0;
  }
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    if (ends_in(name, len, others[i].ending))
      return zf_error(ZF_EUSAGE, "%s: zoft does not read %s files; convert it: %s", name,
                      others[i].ending, others[i].how);
  return zf_error(ZF_EUSAGE,
                  "%s: unknown ending: expected .jsonl, .ndjson, .json, .csv, .tsv "
                  "or .txt, followed by .gz or .zst if the file is compressed",
                  name);
}

/* Gives back the room that the array of row offsets has left: up to half of it. */
static void shrink(struct zf_records *records) {
  if (!records->count) return;
  size_t *shrunk = realloc(records->row_begin, (size_t)records->count * sizeof *shrunk);
  if (shrunk) records->row_begin = shrunk;
}

/* Reads the rows of data[0..len), and takes over `map`, in which the data may lie. */
static int read_all(struct zf_records **out, int format, const char *name, struct zf_map *map,
                    const char *data, size_t len) {
  struct zf_records *records = zf_calloc(1, sizeof *records);
  if (!records) {
    zf_map_close(map);
    return ZF_ENOMEM;
  }
  records->format = format;
  records->map = *map;
  records->data = len ? data : "";
  records->len = len;
  int rc = (records->path = zf_strdup(name)) ? check_text(records) : ZF_ENOMEM;
  if (!rc) rc = scan(records);
  if (rc) {
    zf_records_free(records);
    return rc;
  }
  shrink(records);
  *out = records;
  return 0;
}

int zf_records_open(struct zf_records **out, const char *path) {
  return zf_records_open_as(out, path, ZF_SAMPLE_LINE);
}

int zf_records_open_as(struct zf_records **out, const char *path, enum zf_sample_by by) {
  static const int text_rows[] = {ZF_RECORDS_TXT, ZF_RECORDS_PARAGRAPH, ZF_RECORDS_DOCUMENT};
  struct zf_map map;
  int format, rc;
  *out = NULL;
  if ((rc = zf_records_format(path, &format))) return rc;
  int is_text = format == ZF_RECORDS_TXT;
  if (is_text) format = text_rows[by];
  rc = path[zf_compressed_stem_len(path)] ? zf_compressed_map(&map, path) : zf_map_open(&map, path);
  if (rc) return rc;
  rc = read_all(out, format, path, &map, (const char *)map.data, map.len);
  if (!rc && is_text) (*out)->sample_by = by;
  return rc;
}

int zf_records_parse(struct zf_records **out, const char *data, size_t len, const char *name) {
  struct zf_map none = {0};
  int format, rc;
  *out = NULL;
  if ((rc = zf_records_format(name, &format))) return rc;
  return read_all(out, format, name, &none, data, len);
}

void zf_records_free(struct zf_records *records) {
  if (!records) return;
  json_decref(records->current_row);
  json_decref(records->field_names);
  zf_buf_free(&records->field);
  zf_map_close(&records->map);
  free(records->row_begin);
  free(records->line_marks);
  free(records->path);
  free(records);
}

/* --- use --- */

/* Where a row ends, including what separates it from the next one. */
static size_t row_end(const struct zf_records *records, int64_t index) {
  return index + 1 < records->count ? records->row_begin[index + 1] : records->len;
}

/* Gives the pages back now and then: reading rows in any order touches pages all over the map. */
static void count_touched(struct zf_records *records, size_t bytes) {
  records->bytes_touched += bytes + AROUND;
  if (records->bytes_touched < WINDOW) return;
  drop_before(records, records->len);
  records->bytes_touched = 0;
}

const json_t *zf_records_row(struct zf_records *records, int64_t index) {
  struct zf_records_cursor cursor = {.pos = records->row_begin[index], .line = 1};
  json_decref(records->current_row);
  records->current_row = NULL;
  count_touched(records, row_end(records, index) - records->row_begin[index]);
  int rc = formats[records->format].next(records, &cursor, &records->current_row);
  if (!rc && records->current_row) return records->current_row;
  if (!rc)
    zf_error(ZF_EINVALID, "%s: row %lld is gone: the file was changed", records->path,
             (long long)index + 1);
  json_decref(records->current_row);
  return records->current_row = NULL;
}

int64_t zf_records_line(struct zf_records *records, int64_t index) {
  size_t from = records->row_begin[index / MARK * MARK], to = records->row_begin[index];
  int64_t line = records->line_marks[index / MARK];
  const char *at = records->data + from, *end = records->data + to;
  while ((at = memchr(at, '\n', (size_t)(end - at)))) {
    line++;
    at++;
  }
  count_touched(records, to - from);
  return line;
}

const char *zf_records_text(struct zf_records *records, int64_t index, size_t *len) {
  size_t from = records->row_begin[index], to = row_end(records, index);
  count_touched(records, to - from);
  while (to > from && strchr(formats[records->format].between, records->data[to - 1])) to--;
  *len = to - from;
  return records->data + from;
}

const char *zf_records_head(const struct zf_records *records, size_t *len) {
  size_t from = 0, to = records->count ? records->row_begin[0] : records->len;
  if (!formats[records->format].delim) to = 0;
  while (from < to && strchr("\r\n", records->data[from])) from++;
  while (to > from && strchr("\r\n", records->data[to - 1])) to--;
  *len = to - from;
  return records->data + from;
}
