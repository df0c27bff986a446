/* A template is a list of parts: literal text, or a field with a chain of filters.  A filter is a row of
 * the table below. */
#include "task/template.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fmt/json.h"
#include "task/fields.h"

enum { MAX_FILTERS = 8, MAX_VALUE = 1 << 24 /* bytes of a value behind the filter replace */ };

typedef int (*filter_fn)(struct zf_buf *value, const char *arg);

struct filter_row {
  const char *name;
  filter_fn fn;
  int takes_arg;
};

struct template_part {
  char *text; /* literal, or the field's name */
  int is_field;
  int nfilter;
  const struct filter_row *filter[MAX_FILTERS];
  char *arg[MAX_FILTERS];
};

struct zf_template {
  struct template_part *part;
  int64_t count;
};

/* --- filters: each changes a value in place --- */

static int is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}

static int is_lower(char c) {
  return c >= 'a' && c <= 'z';
}

static int set_bytes(struct zf_buf *value, const char *text, size_t len) {
  struct zf_buf result = {0};
  zf_buf_add(&result, text, len);
  zf_buf_free(value);
  *value = result;
  return zf_buf_ok(value);
}

static int strip(struct zf_buf *value, const char *arg) {
  (void)arg;
  size_t from = 0, to = value->len;
  while (from < to && strchr(" \t\r\n", value->data[from])) from++;
  while (to > from && strchr(" \t\r\n", value->data[to - 1])) to--;
  return set_bytes(value, value->data + from, to - from);
}

static int rstrip(struct zf_buf *value, const char *arg) {
  while (value->len && strchr(arg, value->data[value->len - 1])) value->data[--value->len] = 0;
  return 0;
}

static int lower(struct zf_buf *value, const char *arg) {
  (void)arg;
  for (size_t i = 0; i < value->len; i++)
    if (is_upper(value->data[i])) value->data[i] = (char)(value->data[i] + 32);
  return 0;
}

static int upper(struct zf_buf *value, const char *arg) {
  (void)arg;
  for (size_t i = 0; i < value->len; i++)
    if (is_lower(value->data[i])) value->data[i] = (char)(value->data[i] - 32);
  return 0;
}

static int capitalize(struct zf_buf *value, const char *arg) {
  (void)arg;
  if (value->len && is_lower(value->data[0])) value->data[0] = (char)(value->data[0] - 32);
  return 0;
}

static int lower_first(struct zf_buf *value, const char *arg) {
  (void)arg;
  int alone = value->len >= 1 && value->data[0] == 'I' &&
              (value->len == 1 || (!is_upper(value->data[1]) && !is_lower(value->data[1])));
  if (value->len && is_upper(value->data[0]) && !alone)
    value->data[0] = (char)(value->data[0] + 32);
  return 0;
}

static int replace(struct zf_buf *value, const char *arg) {
  size_t from_len = strcspn(arg, "=");
  const char *to = arg[from_len] ? arg + from_len + 1 : "";
  struct zf_buf result = {0};
  for (size_t i = 0; i < value->len;) {
    if (from_len && value->len - i >= from_len && !memcmp(value->data + i, arg, from_len)) {
      zf_buf_puts(&result, to);
      i += from_len;
    } else {
      zf_buf_putc(&result, value->data[i++]);
    }
    if (result.len > MAX_VALUE) { /* each of eight filters could multiply the text */
      zf_buf_free(&result);
      return zf_error(ZF_EINVALID, "replace:%.60s makes more than %d bytes", arg, MAX_VALUE);
    }
  }
  zf_buf_puts(&result, "");
  zf_buf_free(value);
  *value = result;
  return zf_buf_ok(value);
}

static int map(struct zf_buf *value, const char *arg) {
  for (const char *entry = arg; *entry;) {
    size_t name_len = strcspn(entry, "="), entry_len = strcspn(entry, ",");
    if (name_len < entry_len && name_len == value->len && !memcmp(entry, value->data, name_len))
      return set_bytes(value, entry + name_len + 1, entry_len - name_len - 1);
    entry += entry_len + (entry[entry_len] == ',');
  }
  return zf_error(ZF_EINVALID, "the value '%.60s' is not in the list map:%s", value->data, arg);
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
static int position_of(const char *text, const char *at) {
  int position = 1;
  for (const char *c = text; c < at; c++) position += ((unsigned char)*c & 0xc0) != 0x80;
  return position;
}

static int add_filter(struct template_part *part, const char *text, const char *at, size_t len) {
  size_t name_len = strcspn(at, ":|}");
  if (name_len > len) name_len = len;
  for (int i = 0; i < FILTERS; i++) {
    if (strlen(filters[i].name) != name_len || strncmp(filters[i].name, at, name_len) != 0)
      continue;
    int has_arg = at[name_len] == ':';
    if (has_arg != filters[i].takes_arg)
      return zf_error(ZF_EUSAGE, "template, character %d: filter '%s' %s", position_of(text, at),
                      filters[i].name,
                      has_arg ? "takes no argument" : "needs an argument after ':'");
    if (part->nfilter == MAX_FILTERS)
      return zf_error(ZF_EUSAGE, "template, character %d: more than %d filters",
                      position_of(text, at), MAX_FILTERS);
    char *arg = has_arg ? zf_strndup(at + name_len + 1, len - name_len - 1) : NULL;
    if (has_arg && !arg) return ZF_ENOMEM;
    part->filter[part->nfilter] = &filters[i];
    part->arg[part->nfilter++] = arg;
    return 0;
  }
  return zf_error(ZF_EUSAGE, "template, character %d: unknown filter '%.*s'; there are %s",
                  position_of(text, at), (int)name_len, at, zf_template_filters());
}

static struct template_part *new_part(struct zf_template *template) {
  struct template_part *part =
      realloc(template->part, sizeof *part * (size_t)(template->count + 1));
  if (!part) {
    zf_error(ZF_ENOMEM, "out of memory for a template");
    return NULL;
  }
  template->part = part;
  part += template->count++;
  memset(part, 0, sizeof *part);
  return part;
}

/* at: behind the opening brace; *end: behind the closing one. */
static int parse_field(struct zf_template *template, const char *text, const char *at,
                       const char **end) {
  size_t len = strcspn(at, "}");
  if (!at[len])
    return zf_error(ZF_EUSAGE, "template, character %d: '{' without '}' ('{{' gives a brace)",
                    position_of(text, at) - 1);
  size_t used = strcspn(at, "|}");
  if (used == 0)
    return zf_error(ZF_EUSAGE, "template, character %d: empty field name", position_of(text, at));
  struct template_part *part = new_part(template);
  if (!part) return ZF_ENOMEM;
  part->is_field = 1;
  part->text = zf_strndup(at, used);
  if (!part->text) return ZF_ENOMEM;
  while (at[used] == '|') {
    const char *filter = at + used + 1;
    size_t filter_len = strcspn(filter, "|}");
    int rc = add_filter(part, text, filter, filter_len);
    if (rc) return rc;
    used += 1 + filter_len;
  }
  *end = at + len + 1;
  return 0;
}

/* Appends the literal text at *at, its doubled braces as one, and moves *at to the field behind it. */
static int read_text(struct zf_buf *buf, const char *text, const char **at) {
  const char *c = *at;
  while (*c) {
    int doubled = c[1] == *c;
    if (*c == '{' && !doubled) break;
    if (*c == '}' && !doubled)
      return zf_error(ZF_EUSAGE, "template, character %d: '}' without '{' ('}}' gives a brace)",
                      position_of(text, c));
    zf_buf_putc(buf, *c);
    c += *c == '{' || *c == '}' ? 2 : 1;
  }
  *at = c;
  return zf_buf_ok(buf);
}

static int parse_text(struct zf_template *template, const char *text, const char *at,
                      const char **end) {
  struct zf_buf buf = {0};
  int rc = read_text(&buf, text, &at);
  struct template_part *part = rc ? NULL : new_part(template);
  if (!part) {
    zf_buf_free(&buf);
    return rc ? rc : ZF_ENOMEM;
  }
  part->text = buf.data;
  *end = at;
  return 0;
}

int zf_template_parse(struct zf_template **out, const char *text) {
  *out = NULL;
  struct zf_template *template = zf_calloc(1, sizeof *template);
  if (!template) return ZF_ENOMEM;
  for (const char *at = text; *at;) {
    int field = *at == '{' && at[1] != '{';
    int rc = field ? parse_field(template, text, at + 1, &at) : parse_text(template, text, at, &at);
    if (rc) {
      zf_template_free(template);
      return rc;
    }
  }
  *out = template;
  return 0;
}

void zf_template_free(struct zf_template *parsed) {
  if (!parsed) return;
  for (int64_t i = 0; i < parsed->count; i++) {
    free(parsed->part[i].text);
    for (int filter = 0; filter < parsed->part[i].nfilter; filter++)
      free(parsed->part[i].arg[filter]);
  }
  free(parsed->part);
  free(parsed);
}

/* --- applying --- */

/* The shortest digits from which the number can be read back, with a point or an exponent as in JSON. */
static void put_real(struct zf_buf *out, double number) {
  char text[32];
  for (int digits = 15; digits <= 17; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, number);
    if (strtod(text, NULL) == number) break;
  }
  zf_buf_puts(out, text);
  if (!strpbrk(text, ".e")) zf_buf_puts(out, ".0");
}

static int put_value(const json_t *row, const char *name, struct zf_buf *out) {
  const json_t *value = json_object_get(row, name);
  const char *wide = zf_json_wide(value);
  zf_buf_clear(out);
  if (!value) return zf_field_missing(row, name);
  if (json_is_string(value)) {
    zf_buf_add(out, json_string_value(value), json_string_length(value));
  } else if (json_is_integer(value)) {
    zf_buf_printf(out, "%lld", (long long)json_integer_value(value));
  } else if (json_is_real(value)) {
    put_real(out, json_real_value(value));
  } else if (json_is_boolean(value)) {
    zf_buf_puts(out, json_is_true(value) ? "true" : "false");
  } else if (wide && !strpbrk(wide, "NI")) {
    zf_buf_puts(out, wide);
  } else {
    return zf_error(ZF_EINVALID, "field '%s': expected a text, a number or a boolean, found %s",
                    name, zf_json_kind(value));
  }
  zf_buf_puts(out, "");
  return zf_buf_ok(out);
}

int zf_template_has(const struct zf_template *parsed, const char *field) {
  for (int64_t i = 0; i < parsed->count; i++)
    if (parsed->part[i].is_field && !strcmp(parsed->part[i].text, field)) return 1;
  return 0;
}

const char *zf_template_field(const struct zf_template *parsed, int64_t index) {
  for (int64_t i = 0; i < parsed->count; i++)
    if (parsed->part[i].is_field && index-- == 0) return parsed->part[i].text;
  return NULL;
}

/* Appends one part; `value` is scratch. */
static int apply_part(const struct template_part *part, const json_t *row, struct zf_buf *value,
                      struct zf_buf *out) {
  if (!part->is_field) {
    zf_buf_puts(out, part->text);
    return 0;
  }
  int rc = put_value(row, part->text, value);
  if (rc) return rc;
  for (int i = 0; i < part->nfilter; i++) {
    rc = part->filter[i]->fn(value, part->arg[i]);
    if (rc == ZF_EINVALID) zf_error_prefix(rc, "field '%s'", part->text);
    if (rc) return rc;
  }
  zf_buf_add(out, value->data, value->len);
  return 0;
}

int zf_template_apply(const struct zf_template *parsed, const json_t *row, struct zf_buf *out) {
  struct zf_buf value = {0};
  int rc = 0;
  for (int64_t i = 0; i < parsed->count; i++)
    if ((rc = apply_part(&parsed->part[i], row, &value, out))) break;
  zf_buf_free(&value);
  return rc ? rc : zf_buf_ok(out);
}
