/* A template is a list of pieces: literal text, or a field with a chain of filters.  A filter is
 * a row of the table below. */
#include "task/template.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fmt/json.h"
#include "task/fields.h"

enum { MAX_FILTERS = 8, MAX_VALUE = 1 << 24 /* bytes that replace may make of a value */ };

typedef int (*filter_fn)(struct zf_buf *v, const char *arg);

struct filter_row {
  const char *name;
  filter_fn fn;
  int takes_arg;
};

struct piece {
  char *text; /* literal, or the field's name */
  int is_field;
  int nfilter;
  const struct filter_row *filter[MAX_FILTERS];
  char *arg[MAX_FILTERS];
};

struct zf_template {
  struct piece *piece;
  int64_t count;
};

/* --- filters: change v in place --- */

static int is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}

static int is_lower(char c) {
  return c >= 'a' && c <= 'z';
}

static int set(struct zf_buf *buf, const char *text, size_t len) {
  struct zf_buf buffer = {0};
  zf_buf_add(&buffer, text, len);
  zf_buf_free(buf);
  *buf = buffer;
  return zf_buf_ok(buf);
}

static int strip(struct zf_buf *buf, const char *arg) {
  (void)arg;
  size_t from = 0, to = buf->len;
  while (from < to && strchr(" \t\r\n", buf->data[from])) from++;
  while (to > from && strchr(" \t\r\n", buf->data[to - 1])) to--;
  return set(buf, buf->data + from, to - from);
}

static int rstrip(struct zf_buf *buf, const char *arg) {
  while (buf->len && strchr(arg, buf->data[buf->len - 1])) buf->data[--buf->len] = 0;
  return 0;
}

static int lower(struct zf_buf *buf, const char *arg) {
  (void)arg;
  for (size_t i = 0; i < buf->len; i++)
    if (is_upper(buf->data[i])) buf->data[i] = (char)(buf->data[i] + 32);
  return 0;
}

static int upper(struct zf_buf *buf, const char *arg) {
  (void)arg;
  for (size_t i = 0; i < buf->len; i++)
    if (is_lower(buf->data[i])) buf->data[i] = (char)(buf->data[i] - 32);
  return 0;
}

static int capitalize(struct zf_buf *buf, const char *arg) {
  (void)arg;
  if (buf->len && is_lower(buf->data[0])) buf->data[0] = (char)(buf->data[0] - 32);
  return 0;
}

static int lower_first(struct zf_buf *buf, const char *arg) {
  (void)arg;
  int alone = buf->len >= 1 && buf->data[0] == 'I' &&
              (buf->len == 1 || (!is_upper(buf->data[1]) && !is_lower(buf->data[1])));
  if (buf->len && is_upper(buf->data[0]) && !alone) buf->data[0] = (char)(buf->data[0] + 32);
  return 0;
}

static int replace(struct zf_buf *buf, const char *arg) {
  size_t n = strcspn(arg, "=");
  const char *to = arg[n] ? arg + n + 1 : "";
  struct zf_buf buffer = {0};
  for (size_t i = 0; i < buf->len;) {
    if (n && buf->len - i >= n && !memcmp(buf->data + i, arg, n)) {
      zf_buf_puts(&buffer, to);
      i += n;
    } else {
      zf_buf_putc(&buffer, buf->data[i++]);
    }
    if (buffer.len > MAX_VALUE) { /* eight in a row could multiply a text without bound */
      zf_buf_free(&buffer);
      return zf_error(ZF_EINVALID, "replace:%.60s makes more than %d bytes of it", arg, MAX_VALUE);
    }
  }
  zf_buf_puts(&buffer, "");
  zf_buf_free(buf);
  *buf = buffer;
  return zf_buf_ok(buf);
}

static int map(struct zf_buf *buf, const char *arg) {
  for (const char *p = arg; *p;) {
    size_t n = strcspn(p, "="), m = strcspn(p, ",");
    if (n < m && n == buf->len && !memcmp(p, buf->data, n)) return set(buf, p + n + 1, m - n - 1);
    p += m + (p[m] == ',');
  }
  return zf_error(ZF_EINVALID, "the value '%.60s' is not in the list map:%s", buf->data, arg);
}

static const struct filter_row filters[] = {
    {"strip", strip, 0},           {"rstrip", rstrip, 1},
    {"lower", lower, 0},           {"upper", upper, 0},
    {"capitalize", capitalize, 0}, {"lower_first", lower_first, 0},
    {"replace", replace, 1},       {"map", map, 1},
};

enum { FILTERS = sizeof filters / sizeof *filters };

const char *zf_template_filters(void) {
  return "strip, rstrip:CHARS, lower, upper, capitalize, lower_first, replace:FROM=TO, map:A=X,B=Y";
}

/* --- parsing --- */

/* The 1-based character of UTF-8 text that `at` points to. */
static int place(const char *text, const char *at) {
  int n = 1;
  for (const char *p = text; p < at; p++) n += ((unsigned char)*p & 0xc0) != 0x80;
  return n;
}

static int add_filter(struct piece *piece, const char *text, const char *at, size_t len) {
  size_t name = strcspn(at, ":|}");
  if (name > len) name = len;
  for (int i = 0; i < FILTERS; i++) {
    if (strlen(filters[i].name) != name || strncmp(filters[i].name, at, name) != 0) continue;
    int has_arg = at[name] == ':';
    if (has_arg != filters[i].takes_arg)
      return zf_error(ZF_EUSAGE, "template, character %d: filter '%s' %s", place(text, at),
                      filters[i].name,
                      has_arg ? "takes no argument" : "needs an argument after ':'");
    if (piece->nfilter == MAX_FILTERS)
      return zf_error(ZF_EUSAGE, "template, character %d: more than %d filters", place(text, at),
                      MAX_FILTERS);
    char *arg = has_arg ? zf_strndup(at + name + 1, len - name - 1) : NULL;
    if (has_arg && !arg) return ZF_ENOMEM;
    piece->filter[piece->nfilter] = &filters[i];
    piece->arg[piece->nfilter++] = arg;
    return 0;
  }
  return zf_error(ZF_EUSAGE, "template, character %d: unknown filter '%.*s'; there are %s",
                  place(text, at), (int)name, at, zf_template_filters());
}

static struct piece *new_piece(struct zf_template *template) {
  struct piece *piece = realloc(template->piece, sizeof *piece * (size_t)(template->count + 1));
  if (!piece) {
    zf_error(ZF_ENOMEM, "out of memory for a template");
    return NULL;
  }
  template->piece = piece;
  piece += template->count++;
  memset(piece, 0, sizeof *piece);
  return piece;
}

/* `at` stands behind the opening brace; *end behind the closing one. */
static int parse_field(struct zf_template *template, const char *text, const char *at,
                       const char **end) {
  size_t len = strcspn(at, "}");
  if (!at[len])
    return zf_error(ZF_EUSAGE, "template, character %d: '{' without '}' ('{{' gives a brace)",
                    place(text, at) - 1);
  size_t n = strcspn(at, "|}");
  if (n == 0)
    return zf_error(ZF_EUSAGE, "template, character %d: empty field name", place(text, at));
  struct piece *piece = new_piece(template);
  if (!piece) return ZF_ENOMEM;
  piece->is_field = 1;
  piece->text = zf_strndup(at, n);
  if (!piece->text) return ZF_ENOMEM;
  while (at[n] == '|') {
    const char *f = at + n + 1;
    size_t m = strcspn(f, "|}");
    int rc = add_filter(piece, text, f, m);
    if (rc) return rc;
    n += 1 + m;
  }
  *end = at + len + 1;
  return 0;
}

static int parse_text(struct zf_template *template, const char *text, const char *at,
                      const char **end) {
  struct zf_buf buf = {0};
  for (; *at && !(*at == '{' && at[1] != '{'); at++) {
    if (*at == '}' && at[1] != '}') {
      zf_buf_free(&buf);
      return zf_error(ZF_EUSAGE, "template, character %d: '}' without '{' ('}}' gives a brace)",
                      place(text, at));
    }
    zf_buf_putc(&buf, *at);
    if (*at == '{' || *at == '}') at++;
  }
  struct piece *piece = zf_buf_ok(&buf) ? NULL : new_piece(template);
  if (!piece) {
    zf_buf_free(&buf);
    return ZF_ENOMEM;
  }
  piece->text = buf.data;
  *end = at;
  return 0;
}

int zf_template_parse(struct zf_template **out, const char *text) {
  *out = NULL;
  struct zf_template *template = zf_calloc(1, sizeof *template);
  if (!template) return ZF_ENOMEM;
  for (const char *p = text; *p;) {
    int field = *p == '{' && p[1] != '{';
    int rc = field ? parse_field(template, text, p + 1, &p) : parse_text(template, text, p, &p);
    if (rc) {
      zf_template_free(template);
      return rc;
    }
  }
  *out = template;
  return 0;
}

void zf_template_free(struct zf_template *template) {
  if (!template) return;
  for (int64_t i = 0; i < template->count; i++) {
    free(template->piece[i].text);
    for (int k = 0; k < template->piece[i].nfilter; k++) free(template->piece[i].arg[k]);
  }
  free(template->piece);
  free(template);
}

/* --- use --- */

/* The shortest digits that give the same number, with a point or an exponent as JSON wants. */
static void put_real(struct zf_buf *out, double v) {
  char text[32];
  for (int digits = 15; digits <= 17; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, v);
    if (strtod(text, NULL) == v) break;
  }
  zf_buf_puts(out, text);
  if (!strpbrk(text, ".e")) zf_buf_puts(out, ".0");
}

static int value(const json_t *row, const char *name, struct zf_buf *out) {
  const json_t *v = json_object_get(row, name);
  const char *wide = zf_json_wide(v);
  zf_buf_clear(out);
  if (!v) return zf_field_missing(row, name);
  if (json_is_string(v)) {
    zf_buf_add(out, json_string_value(v), json_string_length(v));
  } else if (json_is_integer(v)) {
    zf_buf_printf(out, "%lld", (long long)json_integer_value(v));
  } else if (json_is_real(v)) {
    put_real(out, json_real_value(v));
  } else if (json_is_boolean(v)) {
    zf_buf_puts(out, json_is_true(v) ? "true" : "false");
  } else if (wide && !strpbrk(wide, "NI")) {
    zf_buf_puts(out, wide);
  } else {
    return zf_error(ZF_EINVALID, "field '%s': expected a text, a number or a boolean, found %s",
                    name, zf_json_kind(v));
  }
  zf_buf_puts(out, "");
  return zf_buf_ok(out);
}

int zf_template_has(const struct zf_template *template, const char *field) {
  for (int64_t i = 0; i < template->count; i++)
    if (template->piece[i].is_field && !strcmp(template->piece[i].text, field)) return 1;
  return 0;
}

int zf_template_apply(const struct zf_template *template, const json_t *row, struct zf_buf *out) {
  struct zf_buf buf = {0};
  int rc = 0;
  for (int64_t i = 0; !rc && i < template->count; i++) {
    const struct piece *piece = &template->piece[i];
    if (!piece->is_field) {
      zf_buf_puts(out, piece->text);
      continue;
    }
    if ((rc = value(row, piece->text, &buf))) break;
    for (int k = 0; !rc && k < piece->nfilter; k++) rc = piece->filter[k]->fn(&buf, piece->arg[k]);
    if (rc == ZF_EINVALID) zf_error_prefix(rc, "field '%s'", piece->text);
    if (!rc) zf_buf_add(out, buf.data, buf.len);
  }
  zf_buf_free(&buf);
  return rc ? rc : zf_buf_ok(out);
}
