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
  struct zf_records_reader *r;
  char delim;
  int quoting;
  size_t at;          /* where the next field begins */
  int64_t line;       /* of `at` */
  struct zf_buf text; /* the field last read */
  json_t *names;      /* array of strings: the first row */
};

/* A quoted field; `at` stands on its opening quote, afterwards behind the closing one. */
static int read_quoted(struct table *t) {
  const struct zf_records_reader *r = t->r;
  size_t open = t->at++;
  for (;;) {
    const char *from = r->data + t->at, *quote = memchr(from, '"', r->len - t->at);
    if (!quote) return zf_records_fail(r, open, "a quote is opened and never closed");
    for (const char *p = from; (p = memchr(p, '\n', (size_t)(quote - p))); p++) t->line++;
    zf_buf_add(&t->text, from, (size_t)(quote - from));
    t->at = (size_t)(quote - r->data) + 1;
    if (t->at == r->len || r->data[t->at] != '"') return 0;
    zf_buf_putc(&t->text, '"');
    t->at++;
  }
}

static int read_plain(struct table *t) {
  const struct zf_records_reader *r = t->r;
  size_t begin = t->at;
  while (t->at < r->len && r->data[t->at] != t->delim && r->data[t->at] != '\n') {
    if (t->quoting && r->data[t->at] == '"')
      return zf_records_fail(r, t->at, "a quote in a field that does not begin with one");
    if (r->data[t->at] == '\r') break;
    t->at++;
  }
  zf_buf_add(&t->text, r->data + begin, t->at - begin);
  return 0;
}

/* A carriage return belongs to the line end behind it.  Alone it would be the line
 * end of another age, and the file one long row. */
static int read_return(struct table *t) {
  const struct zf_records_reader *r = t->r;
  if (t->at == r->len || r->data[t->at] != '\r') return 0;
  if (t->at + 1 < r->len && r->data[t->at + 1] != '\n')
    return zf_records_fail(r, t->at, "a carriage return without a line feed");
  t->at++;
  return 0;
}

/* Reads a field into t->text and steps over what ends it; *last says that it was
 * the last one of its row. */
static int read_field(struct table *t, int *last) {
  const struct zf_records_reader *r = t->r;
  zf_buf_clear(&t->text);
  int quoted = t->quoting && t->at < r->len && r->data[t->at] == '"';
  int rc = quoted ? read_quoted(t) : read_plain(t);
  if (rc || (rc = zf_buf_ok(&t->text)) || (rc = read_return(t))) return rc;
  *last = t->at == r->len || r->data[t->at] == '\n';
  if (!*last && r->data[t->at] != t->delim)
    return zf_records_fail(r, t->at, "expected '%c' or the end of the line after a closing quote",
                           t->delim);
  t->line += t->at < r->len && *last;
  t->at += t->at < r->len;
  return 0;
}

static json_t *field_text(const struct table *t) {
  return json_stringn_nocheck(t->text.data ? t->text.data : "", t->text.len);
}

/* The names, each once. */
static int read_names(struct table *t) {
  json_t *seen = json_object();
  int rc = 0, last = 0, bad = !seen || !(t->names = json_array());
  while (!rc && !bad && !last) {
    size_t begin = t->at;
    if ((rc = read_field(t, &last))) break;
    json_t *name = field_text(t);
    if (name && json_object_get(seen, json_string_value(name)))
      rc = zf_records_fail(t->r, begin, "a second field is named '%.60s'", json_string_value(name));
    else
      bad = !name || json_object_set_new_nocheck(seen, json_string_value(name), json_true());
    bad |= json_array_append_new(t->names, name) && !rc;
  }
  json_decref(seen);
  return bad && !rc ? zf_error(ZF_ENOMEM, "%s: out of memory for its fields", t->r->name) : rc;
}

static int read_row(struct table *t) {
  size_t width = json_array_size(t->names), n = 0, begin = t->at;
  int64_t line = t->line;
  int rc = 0, last = 0;
  json_t *row = json_object();
  while (row && !last) {
    if ((rc = read_field(t, &last))) goto fail;
    const char *name = json_string_value(json_array_get(t->names, n++));
    if (name && json_object_set_new_nocheck(row, name, field_text(t))) {
      rc = zf_error(ZF_ENOMEM, "%s: out of memory at line %lld", t->r->name, (long long)line);
      goto fail;
    }
  }
  if (row && n != width) {
    rc = zf_records_fail(t->r, begin, "expected the %zu fields that the first row names, found %zu",
                         width, n);
    goto fail;
  }
  return zf_records_add(t->r, row, line);
fail:
  json_decref(row);
  return rc;
}

static int skip_blank_line(struct table *t) {
  const char *p = t->r->data + t->at;
  size_t left = t->r->len - t->at, n = left && *p == '\r';
  if (n == left || p[n] != '\n') {
    if (n < left) return 0;
    t->at += n; /* a lone carriage return at the very end */
    return 1;
  }
  t->at += n + 1;
  t->line++;
  return 1;
}

static int read_table(struct zf_records_reader *r, char delim, int quoting) {
  struct table t = {.r = r, .delim = delim, .quoting = quoting, .line = 1};
  int rc = 0;
  while (!rc && t.at < r->len) {
    if (skip_blank_line(&t)) continue;
    rc = t.names ? read_row(&t) : read_names(&t);
  }
  zf_buf_free(&t.text);
  json_decref(t.names);
  return rc;
}

int zf_records_csv(struct zf_records_reader *r) {
  return read_table(r, ',', 1);
}

int zf_records_tsv(struct zf_records_reader *r) {
  return read_table(r, '\t', 0);
}
