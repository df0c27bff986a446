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

struct table {
  struct zf_records *r; /* its `field` is the one last read, its `names` those of the first row */
  struct zf_records_cursor *c;
  char delim;
  int quoting;
};

static struct table table_of(struct zf_records *r, struct zf_records_cursor *c) {
  char delim = zf_records_delim(r);
  return (struct table){r, c, delim, delim == ','};
}

/* A quoted field; `at` stands on its opening quote, afterwards behind the closing one. */
static int read_quoted(struct table *t) {
  const struct zf_records *r = t->r;
  size_t open = t->c->at++;
  for (;;) {
    const char *from = r->data + t->c->at, *quote = memchr(from, '"', r->len - t->c->at);
    if (!quote) return zf_records_fail(r, open, "a quote is opened and never closed");
    for (const char *p = from; (p = memchr(p, '\n', (size_t)(quote - p))); p++) t->c->line++;
    zf_buf_add(&t->r->field, from, (size_t)(quote - from));
    t->c->at = (size_t)(quote - r->data) + 1;
    if (t->c->at == r->len || r->data[t->c->at] != '"') return 0;
    zf_buf_putc(&t->r->field, '"');
    t->c->at++;
  }
}

static int read_plain(struct table *t) {
  const struct zf_records *r = t->r;
  size_t begin = t->c->at;
  while (t->c->at < r->len && r->data[t->c->at] != t->delim && r->data[t->c->at] != '\n') {
    if (t->quoting && r->data[t->c->at] == '"')
      return zf_records_fail(r, t->c->at, "a quote in a field that does not begin with one");
    if (r->data[t->c->at] == '\r') break;
    t->c->at++;
  }
  zf_buf_add(&t->r->field, r->data + begin, t->c->at - begin);
  return 0;
}

/* A carriage return belongs to the line end behind it.  Alone it would be the line
 * end of another age, and the file one long row. */
static int read_return(struct table *t) {
  const struct zf_records *r = t->r;
  if (t->c->at == r->len || r->data[t->c->at] != '\r') return 0;
  if (t->c->at + 1 < r->len && r->data[t->c->at + 1] != '\n')
    return zf_records_fail(r, t->c->at, "a carriage return without a line feed");
  t->c->at++;
  return 0;
}

/* Reads a field into t->r->field and steps over what ends it; *last says that it was
 * the last one of its row. */
static int read_field(struct table *t, int *last) {
  const struct zf_records *r = t->r;
  zf_buf_clear(&t->r->field);
  int quoted = t->quoting && t->c->at < r->len && r->data[t->c->at] == '"';
  int rc = quoted ? read_quoted(t) : read_plain(t);
  if (rc || (rc = zf_buf_ok(&t->r->field)) || (rc = read_return(t))) return rc;
  *last = t->c->at == r->len || r->data[t->c->at] == '\n';
  if (!*last && r->data[t->c->at] != t->delim)
    return zf_records_fail(r, t->c->at,
                           "expected '%c' or the end of the line after a closing quote", t->delim);
  t->c->line += t->c->at < r->len && *last;
  t->c->at += t->c->at < r->len;
  return 0;
}

static json_t *field_text(const struct table *t) {
  return json_stringn_nocheck(t->r->field.data ? t->r->field.data : "", t->r->field.len);
}

/* The names, each once. */
static int read_names(struct table *t) {
  json_t *seen = json_object();
  int rc = 0, last = 0, bad = !seen || !(t->r->names = json_array());
  while (!rc && !bad && !last) {
    size_t begin = t->c->at;
    if ((rc = read_field(t, &last))) break;
    json_t *name = field_text(t);
    if (name && json_object_get(seen, json_string_value(name)))
      rc = zf_records_fail(t->r, begin, "a second field is named '%.60s'", json_string_value(name));
    else
      bad = !name || json_object_set_new_nocheck(seen, json_string_value(name), json_true());
    bad |= json_array_append_new(t->r->names, name) && !rc;
  }
  json_decref(seen);
  return bad && !rc ? zf_error(ZF_ENOMEM, "%s: out of memory for its fields", t->r->path) : rc;
}

static int read_row(struct table *t, json_t **out) {
  size_t width = json_array_size(t->r->names), n = 0, begin = t->c->row = t->c->at;
  int64_t line = t->c->row_line = t->c->line;
  int rc = 0, last = 0;
  json_t *row = json_object();
  while (row && !last) {
    if ((rc = read_field(t, &last))) goto fail;
    const char *name = json_string_value(json_array_get(t->r->names, n++));
    if (name && json_object_set_new_nocheck(row, name, field_text(t))) {
      json_decref(row);
      row = NULL;
    }
  }
  if (!row)
    return zf_error(ZF_ENOMEM, "%s: out of memory at line %lld", t->r->path, (long long)line);
  if (n == width) {
    *out = row;
    return 0;
  }
  rc = zf_records_fail(t->r, begin, "expected the %zu fields that the first row names, found %zu",
                       width, n);
fail:
  json_decref(row);
  return rc;
}

static int skip_blank_line(struct table *t) {
  const char *p = t->r->data + t->c->at;
  size_t left = t->r->len - t->c->at, n = left && *p == '\r';
  if (n == left || p[n] != '\n') {
    if (n < left) return 0;
    t->c->at += n; /* a lone carriage return at the very end */
    return 1;
  }
  t->c->at += n + 1;
  t->c->line++;
  return 1;
}

static int skip_blank_lines(struct table *t) {
  while (t->c->at < t->r->len && skip_blank_line(t)) continue;
  return t->c->at < t->r->len;
}

int zf_records_table_begin(struct zf_records *r, struct zf_records_cursor *c) {
  struct table t = table_of(r, c);
  return skip_blank_lines(&t) ? read_names(&t) : 0;
}

int zf_records_table(struct zf_records *r, struct zf_records_cursor *c, json_t **row) {
  struct table t = table_of(r, c);
  return skip_blank_lines(&t) ? read_row(&t, row) : 0;
}
