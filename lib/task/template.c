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
  int64_t n;
};

/* --- filters: change v in place --- */

static int is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}

static int is_lower(char c) {
  return c >= 'a' && c <= 'z';
}

static int set(struct zf_buf *v, const char *text, size_t n) {
  struct zf_buf b = {0};
  zf_buf_add(&b, text, n);
  zf_buf_free(v);
  *v = b;
  return zf_buf_ok(v);
}

static int strip(struct zf_buf *v, const char *arg) {
  (void)arg;
  size_t from = 0, to = v->len;
  while (from < to && strchr(" \t\r\n", v->data[from])) from++;
  while (to > from && strchr(" \t\r\n", v->data[to - 1])) to--;
  return set(v, v->data + from, to - from);
}

static int rstrip(struct zf_buf *v, const char *arg) {
  while (v->len && strchr(arg, v->data[v->len - 1])) v->data[--v->len] = 0;
  return 0;
}

static int lower(struct zf_buf *v, const char *arg) {
  (void)arg;
  for (size_t i = 0; i < v->len; i++)
    if (is_upper(v->data[i])) v->data[i] = (char)(v->data[i] + 32);
  return 0;
}

static int upper(struct zf_buf *v, const char *arg) {
  (void)arg;
  for (size_t i = 0; i < v->len; i++)
    if (is_lower(v->data[i])) v->data[i] = (char)(v->data[i] - 32);
  return 0;
}

static int capitalize(struct zf_buf *v, const char *arg) {
  (void)arg;
  if (v->len && is_lower(v->data[0])) v->data[0] = (char)(v->data[0] - 32);
  return 0;
}

static int lower_first(struct zf_buf *v, const char *arg) {
  (void)arg;
  int alone = v->len >= 1 && v->data[0] == 'I' &&
              (v->len == 1 || (!is_upper(v->data[1]) && !is_lower(v->data[1])));
  if (v->len && is_upper(v->data[0]) && !alone) v->data[0] = (char)(v->data[0] + 32);
  return 0;
}

static int replace(struct zf_buf *v, const char *arg) {
  size_t n = strcspn(arg, "=");
  const char *to = arg[n] ? arg + n + 1 : "";
  struct zf_buf b = {0};
  for (size_t i = 0; i < v->len;) {
    if (n && v->len - i >= n && !memcmp(v->data + i, arg, n)) {
      zf_buf_puts(&b, to);
      i += n;
    } else {
      zf_buf_putc(&b, v->data[i++]);
    }
    if (b.len > MAX_VALUE) { /* eight in a row could multiply a text without bound */
      zf_buf_free(&b);
      return zf_error(ZF_EINVALID, "replace:%.60s makes more than %d bytes of it", arg, MAX_VALUE);
    }
  }
  zf_buf_puts(&b, "");
  zf_buf_free(v);
  *v = b;
  return zf_buf_ok(v);
}

static int map(struct zf_buf *v, const char *arg) {
  for (const char *p = arg; *p;) {
    size_t n = strcspn(p, "="), m = strcspn(p, ",");
    if (n < m && n == v->len && !memcmp(p, v->data, n)) return set(v, p + n + 1, m - n - 1);
    p += m + (p[m] == ',');
  }
  return zf_error(ZF_EINVALID, "the value '%.60s' is not in the list map:%s", v->data, arg);
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

static int add_filter(struct piece *p, const char *text, const char *at, size_t n) {
  size_t name = strcspn(at, ":|}");
  if (name > n) name = n;
  for (int i = 0; i < FILTERS; i++) {
    if (strlen(filters[i].name) != name || strncmp(filters[i].name, at, name) != 0) continue;
    int has_arg = at[name] == ':';
    if (has_arg != filters[i].takes_arg)
      return zf_error(ZF_EUSAGE, "template, character %d: filter '%s' %s", place(text, at),
                      filters[i].name,
                      has_arg ? "takes no argument" : "needs an argument after ':'");
    if (p->nfilter == MAX_FILTERS)
      return zf_error(ZF_EUSAGE, "template, character %d: more than %d filters", place(text, at),
                      MAX_FILTERS);
    char *arg = has_arg ? zf_strndup(at + name + 1, n - name - 1) : NULL;
    if (has_arg && !arg) return ZF_ENOMEM;
    p->filter[p->nfilter] = &filters[i];
    p->arg[p->nfilter++] = arg;
    return 0;
  }
  return zf_error(ZF_EUSAGE, "template, character %d: unknown filter '%.*s'; there are %s",
                  place(text, at), (int)name, at, zf_template_filters());
}

static struct piece *new_piece(struct zf_template *t) {
  struct piece *p = realloc(t->piece, sizeof *p * (size_t)(t->n + 1));
  if (!p) {
    zf_error(ZF_ENOMEM, "out of memory for a template");
    return NULL;
  }
  t->piece = p;
  p += t->n++;
  memset(p, 0, sizeof *p);
  return p;
}

/* `at` stands behind the opening brace; *end behind the closing one. */
static int parse_field(struct zf_template *t, const char *text, const char *at, const char **end) {
  size_t len = strcspn(at, "}");
  if (!at[len])
    return zf_error(ZF_EUSAGE, "template, character %d: '{' without '}' ('{{' gives a brace)",
                    place(text, at) - 1);
  size_t n = strcspn(at, "|}");
  if (n == 0)
    return zf_error(ZF_EUSAGE, "template, character %d: empty field name", place(text, at));
  struct piece *p = new_piece(t);
  if (!p) return ZF_ENOMEM;
  p->is_field = 1;
  p->text = zf_strndup(at, n);
  if (!p->text) return ZF_ENOMEM;
  while (at[n] == '|') {
    const char *f = at + n + 1;
    size_t m = strcspn(f, "|}");
    int rc = add_filter(p, text, f, m);
    if (rc) return rc;
    n += 1 + m;
  }
  *end = at + len + 1;
  return 0;
}

static int parse_text(struct zf_template *t, const char *text, const char *at, const char **end) {
  struct zf_buf b = {0};
  for (; *at && !(*at == '{' && at[1] != '{'); at++) {
    if (*at == '}' && at[1] != '}') {
      zf_buf_free(&b);
      return zf_error(ZF_EUSAGE, "template, character %d: '}' without '{' ('}}' gives a brace)",
                      place(text, at));
    }
    zf_buf_putc(&b, *at);
    if (*at == '{' || *at == '}') at++;
  }
  struct piece *p = zf_buf_ok(&b) ? NULL : new_piece(t);
  if (!p) {
    zf_buf_free(&b);
    return ZF_ENOMEM;
  }
  p->text = b.data;
  *end = at;
  return 0;
}

int zf_template_parse(struct zf_template **out, const char *text) {
  *out = NULL;
  struct zf_template *t = zf_calloc(1, sizeof *t);
  if (!t) return ZF_ENOMEM;
  for (const char *p = text; *p;) {
    int field = *p == '{' && p[1] != '{';
    int rc = field ? parse_field(t, text, p + 1, &p) : parse_text(t, text, p, &p);
    if (rc) {
      zf_template_free(t);
      return rc;
    }
  }
  *out = t;
  return 0;
}

void zf_template_free(struct zf_template *t) {
  if (!t) return;
  for (int64_t i = 0; i < t->n; i++) {
    free(t->piece[i].text);
    for (int k = 0; k < t->piece[i].nfilter; k++) free(t->piece[i].arg[k]);
  }
  free(t->piece);
  free(t);
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

int zf_template_has(const struct zf_template *t, const char *field) {
  for (int64_t i = 0; i < t->n; i++)
    if (t->piece[i].is_field && !strcmp(t->piece[i].text, field)) return 1;
  return 0;
}

int zf_template_apply(const struct zf_template *t, const json_t *row, struct zf_buf *out) {
  struct zf_buf v = {0};
  int rc = 0;
  for (int64_t i = 0; !rc && i < t->n; i++) {
    const struct piece *p = &t->piece[i];
    if (!p->is_field) {
      zf_buf_puts(out, p->text);
      continue;
    }
    if ((rc = value(row, p->text, &v))) break;
    for (int k = 0; !rc && k < p->nfilter; k++) rc = p->filter[k]->fn(&v, p->arg[k]);
    if (rc == ZF_EINVALID) zf_error_prefix(rc, "field '%s'", p->text);
    if (!rc) zf_buf_add(out, v.data, v.len);
  }
  zf_buf_free(&v);
  return rc ? rc : zf_buf_ok(out);
}
