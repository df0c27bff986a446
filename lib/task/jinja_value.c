/* Values of the template interpreter: made, counted, compared, written as Python does. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "fmt/json.h"
#include "jinja_internal.h"

int zj_fail(const struct zj_env *env, const char *fmt, ...) {
  char text[600];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  return zf_error(ZF_EINVALID, "%s:%d: %s", env->jinja->name, env->line, text);
}

int zj_step(struct zj_env *env) {
  if (++env->steps <= ZF_JINJA_STEPS) return 0;
  return zj_fail(env, "the template takes more than %d steps", ZF_JINJA_STEPS);
}

int zj_keep(struct zj_env *env, struct zj_value *out, json_t *made, int64_t bytes) {
  if (!made) return zj_fail(env, "a value cannot be made: not UTF-8, or out of memory");
  if (env->nkept == env->capkept) {
    int64_t cap = env->capkept ? 2 * env->capkept : 256;
    json_t **kept = realloc(env->kept, (size_t)cap * sizeof *kept);
    if (!kept) {
      json_decref(made);
      return zf_error(ZF_ENOMEM, "%s: out of memory", env->jinja->name);
    }
    env->kept = kept;
    env->capkept = cap;
  }
  env->kept[env->nkept++] = made;
  env->bytes += bytes + 64;
  *out = (struct zj_value){.kind = ZJ_JSON, .json = made};
  if (env->bytes <= 4 * (int64_t)ZF_JINJA_BYTES) return 0;
  return zj_fail(env, "the template makes more than %d bytes of values", 4 * ZF_JINJA_BYTES);
}

int zj_text(struct zj_env *env, struct zj_value *out, const char *s, size_t len) {
  return zj_keep(env, out, json_stringn(s ? s : "", len), (int64_t)len);
}

int zj_bool(struct zj_env *env, struct zj_value *out, int v) {
  return zj_keep(env, out, json_boolean(v), 0);
}

int zj_int(struct zj_env *env, struct zj_value *out, int64_t v) {
  return zj_keep(env, out, json_integer(v), 0);
}

int zj_refuse(const struct zj_env *env, const struct zj_value *value) {
  if (value->kind != ZJ_UNDEF) return 0;
  return zj_fail(env, "'%s' is undefined", value->name ? value->name : "?");
}

int zj_strict(const struct zj_env *env, const struct zj_value *value) {
  return env->jinja->flags & ZF_JINJA_STRICT ? zj_refuse(env, value) : 0;
}

int zj_truth(const struct zj_value *value) {
  if (value->kind == ZJ_UNDEF) return 0;
  if (value->kind != ZJ_JSON) return 1;
  switch (json_typeof(value->json)) {
    case JSON_OBJECT:
      return json_object_size(value->json) > 0;
    case JSON_ARRAY:
      return json_array_size(value->json) > 0;
    case JSON_STRING:
      return json_string_length(value->json) > 0;
    case JSON_INTEGER:
      return json_integer_value(value->json) != 0;
    case JSON_REAL:
      return json_real_value(value->json) != 0;
    default:
      return json_is_true(value->json);
  }
}

const char *zj_kind_name(const struct zj_value *value) {
  static const char *const name[] = {
      "an undefined value", NULL, "a namespace", "a macro", "a loop", "a method", "a function"};
  return value->kind == ZJ_JSON ? zf_json_kind(value->json) : name[value->kind];
}

/* --- comparing ------------------------------------------------------------------------------- */

/* True and false count as 1 and 0, as in Python. */
static int number(const json_t *value, double *out) {
  if (!json_is_number(value) && !json_is_boolean(value)) return 0;
  *out = json_is_boolean(value) ? json_is_true(value) : json_number_value(value);
  return 1;
}

static int equal_objects(struct zj_env *env, const json_t *array, const json_t *b, int *same) {
  const char *key;
  json_t *value;
  int rc = 0;
  *same = json_object_size(array) == json_object_size(b);
  json_object_foreach((json_t *)array, key, value) {
    const json_t *w = json_object_get(b, key);
    if (!rc && *same && (*same = w != NULL)) rc = zj_equal(env, value, w, same);
  }
  return rc;
}

int zj_equal(struct zj_env *env, const json_t *array, const json_t *b, int *same) {
  double x, y;
  int rc = zj_step(env);
  *same = 0;
  if (rc) return rc;
  if (json_is_integer(array) && json_is_integer(b)) {
    *same = json_integer_value(array) == json_integer_value(b);
  } else if (number(array, &x) && number(b, &y)) {
    *same = x == y;
  } else if (json_is_string(array) && json_is_string(b)) {
    *same = !strcmp(json_string_value(array), json_string_value(b));
  } else if (json_is_array(array) && json_is_array(b)) {
    *same = json_array_size(array) == json_array_size(b);
    for (size_t i = 0; !rc && *same && i < json_array_size(array); i++)
      rc = zj_equal(env, json_array_get(array, i), json_array_get(b, i), same);
  } else if (json_is_object(array) && json_is_object(b)) {
    rc = equal_objects(env, array, b, same);
  } else {
    *same = json_is_null(array) && json_is_null(b);
  }
  return rc;
}

int zj_order(struct zj_env *env, const json_t *array, const json_t *b, int *order) {
  double x, y;
  if (json_is_string(array) && json_is_string(b)) {
    int c = strcmp(json_string_value(array), json_string_value(b));
    *order = (c > 0) - (c < 0);
    return 0;
  }
  if (number(array, &x) && number(b, &y)) {
    *order = (x > y) - (x < y);
    return 0;
  }
  return zj_fail(env, "%s and %s have no order", zf_json_kind(array), zf_json_kind(b));
}

/* --- writing --------------------------------------------------------------------------------- */

/* The shortest digits that give the number back, as repr() has them. */
static void put_real(struct zf_buf *buf, double v) {
  char text[40];
  for (int digits = 1; digits <= 17; digits++) {
    snprintf(text, sizeof text, "%.*e", digits - 1, v);
    if (strtod(text, NULL) == v) break;
  }
  char *exponent = strchr(text, 'e');
  int x = exponent ? atoi(exponent + 1) : 0, digits = exponent ? (int)(exponent - text) : 0;
  digits -= (text[0] == '-') + (strchr(text, '.') != NULL);
  if (x < -4 || x >= 16) { /* 1e-05, 1e+16 */
    zf_buf_puts(buf, text);
    return;
  }
  int after = digits - 1 - x;
  zf_buf_printf(buf, "%.*f", after > 0 ? after : 1, v);
}

static void put_json_string(struct zf_buf *buf, const char *s, int ascii) {
  size_t n = strlen(s);
  zf_buf_putc(buf, '"');
  for (size_t i = 0; i < n;) {
    unsigned char c = (unsigned char)s[i];
    static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
    const char *hit = strchr(from, c);
    if (hit) {
      zf_buf_putc(buf, '\\');
      zf_buf_putc(buf, to[hit - from]);
    } else if (c < 0x20) {
      zf_buf_printf(buf, "\\u%04x", c);
    } else if (c < 0x80 || !ascii) {
      zf_buf_putc(buf, (char)c);
    } else {
      uint32_t v = c >= 0xF0 ? c & 7 : c >= 0xE0 ? c & 15 : c & 31;
      for (i++; ((unsigned char)s[i] & 0xC0) == 0x80; i++) v = v << 6 | ((unsigned char)s[i] & 63);
      if (v >= 0x10000)
        zf_buf_printf(buf, "\\u%04x\\u%04x", 0xD7C0 + (v >> 10), 0xDC00 | (v & 0x3FF));
      else
        zf_buf_printf(buf, "\\u%04x", v);
      continue;
    }
    i++;
  }
  zf_buf_putc(buf, '"');
}

/* As repr(): in single quotes unless the text has those and no double ones. */
static void put_python_string(struct zf_buf *buf, const char *s) {
  char quote = strchr(s, '\'') && !strchr(s, '"') ? '"' : '\'';
  zf_buf_putc(buf, quote);
  for (; *s; s++) {
    static const char from[] = "\\\n\r\t", to[] = "\\nrt";
    const char *hit = strchr(from, *s);
    if (hit || *s == quote) {
      zf_buf_putc(buf, '\\');
      zf_buf_putc(buf, hit ? to[hit - from] : quote);
    } else if ((unsigned char)*s < 0x20 || *s == 0x7f) {
      zf_buf_printf(buf, "\\x%02x", (unsigned char)*s);
    } else {
      zf_buf_putc(buf, *s);
    }
  }
  zf_buf_putc(buf, quote);
}

static void put_line(struct zf_buf *buf, const struct zj_dump *how, int depth) {
  if (how->indent < 0) return;
  zf_buf_putc(buf, '\n');
  for (int64_t i = 0; i < how->indent * depth; i++) zf_buf_putc(buf, ' ');
}

static int dump_array(struct zj_env *env, struct zf_buf *buf, const json_t *value,
                      const struct zj_dump *how, int depth) {
  static const struct {
    const char *open, *close;
  } python[] = {[ZJ_LIST] = {"[", "]"},
                [ZJ_TUPLE] = {"(", ")"},
                [ZJ_ITEMS] = {"dict_items([", "])"},
                [ZJ_KEYS] = {"dict_keys([", "])"},
                [ZJ_VALUES] = {"dict_values([", "])"}};
  enum zj_shape shape = how->python ? zj_shape_of(env, value) : ZJ_LIST;
  size_t n = json_array_size(value);
  int rc = 0;
  zf_buf_puts(buf, python[shape].open);
  for (size_t i = 0; !rc && i < n; i++) {
    if (i) zf_buf_puts(buf, how->comma);
    put_line(buf, how, depth + 1);
    rc = zj_dump(env, buf, json_array_get(value, i), how, depth + 1);
  }
  if (n) put_line(buf, how, depth);
  if (shape == ZJ_TUPLE && n == 1) zf_buf_putc(buf, ',');
  zf_buf_puts(buf, python[shape].close);
  return rc;
}

static int by_key(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int dump_object(struct zj_env *env, struct zf_buf *buf, const json_t *value,
                       const struct zj_dump *how, int depth) {
  size_t n = json_object_size(value), i = 0;
  const char **key = malloc((n + 1) * sizeof *key), *k;
  json_t *item;
  int rc = key ? 0 : zf_error(ZF_ENOMEM, "%s: out of memory", env->jinja->name);
  json_object_foreach((json_t *)value, k, item) if (key) key[i++] = k;
  if (key && how->sort) qsort(key, n, sizeof *key, by_key);
  zf_buf_putc(buf, '{');
  for (i = 0; !rc && i < n; i++) {
    if (i) zf_buf_puts(buf, how->comma);
    put_line(buf, how, depth + 1);
    if (how->python)
      put_python_string(buf, key[i]);
    else
      put_json_string(buf, key[i], how->ascii);
    zf_buf_puts(buf, how->colon);
    rc = zj_dump(env, buf, json_object_get(value, key[i]), how, depth + 1);
  }
  if (n) put_line(buf, how, depth);
  zf_buf_putc(buf, '}');
  free(key);
  return rc;
}

int zj_dump(struct zj_env *env, struct zf_buf *buf, const json_t *value, const struct zj_dump *how,
            int depth) {
  int rc = zj_step(env);
  if (rc) return rc;
  if (depth > ZF_JINJA_DEPTH)
    return zj_fail(env, "a value nested more than %d deep", ZF_JINJA_DEPTH);
  if (buf->len > ZF_JINJA_BYTES)
    return zj_fail(env, "the template makes more than %d bytes", ZF_JINJA_BYTES);
  switch (json_typeof(value)) {
    case JSON_ARRAY:
      return dump_array(env, buf, value, how, depth);
    case JSON_OBJECT:
      return dump_object(env, buf, value, how, depth);
    case JSON_STRING:
      if (how->python)
        put_python_string(buf, json_string_value(value));
      else
        put_json_string(buf, json_string_value(value), how->ascii);
      break;
    case JSON_INTEGER:
      zf_buf_printf(buf, "%lld", (long long)json_integer_value(value));
      break;
    case JSON_REAL:
      put_real(buf, json_real_value(value));
      break;
    case JSON_NULL:
      zf_buf_puts(buf, how->python ? "None" : "null");
      break;
    default:
      if (how->python)
        zf_buf_puts(buf, json_is_true(value) ? "True" : "False");
      else
        zf_buf_puts(buf, json_is_true(value) ? "true" : "false");
  }
  return zf_buf_ok(buf);
}

int zj_str(struct zj_env *env, struct zf_buf *buf, const struct zj_value *value) {
  static const struct zj_dump python = {", ", ": ", -1, 0, 0, 1};
  if (value->kind == ZJ_UNDEF) return zj_strict(env, value);
  if (value->kind != ZJ_JSON) return zj_fail(env, "%s is no text", zj_kind_name(value));
  if (!json_is_string(value->json)) return zj_dump(env, buf, value->json, &python, 0);
  zf_buf_add(buf, json_string_value(value->json), json_string_length(value->json));
  return zf_buf_ok(buf);
}

/* --- texts and lists ---------------------------------------------------------------------------- */

const char *zj_skip(const char *s, int64_t len) {
  for (; len > 0 && *s; len--)
    for (s++; ((unsigned char)*s & 0xC0) == 0x80;) s++;
  return s;
}

int64_t zj_chars(const char *s) {
  int64_t n = 0;
  for (; *s; s++) n += ((unsigned char)*s & 0xC0) != 0x80;
  return n;
}

/* White space as str.strip() has it. */
int zj_is_space(int32_t c) {
  return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

int zj_space_at(const char *s) {
  utf8proc_int32_t c = -1;
  utf8proc_iterate((const utf8proc_uint8_t *)s, zj_skip(s, 1) - s, &c);
  return zj_is_space(c);
}

static int split_characters(struct zj_env *env, json_t *list, const char *s) {
  int rc = 0;
  while (!rc && *s) {
    const char *end = zj_skip(s, 1);
    json_array_append_new(list, json_stringn(s, (size_t)(end - s)));
    rc = zj_step(env);
    s = end;
  }
  return rc;
}

int zj_items(struct zj_env *env, json_t **out, const struct zj_value *value) {
  struct zj_value made;
  const char *key;
  json_t *item;
  if (value->kind == ZJ_JSON && json_is_array(value->json)) {
    *out = value->json;
    return 0;
  }
  if (value->kind != ZJ_UNDEF &&
      (value->kind != ZJ_JSON || (!json_is_object(value->json) && !json_is_string(value->json))))
    return zj_fail(env, "%s cannot be gone over item by item", zj_kind_name(value));
  int rc = zj_keep(env, &made, json_array(), 0);
  if (rc) return rc;
  *out = made.json;
  if (value->kind == ZJ_UNDEF) return 0;
  if (json_is_string(value->json))
    return split_characters(env, made.json, json_string_value(value->json));
  json_object_foreach(value->json, key, item) json_array_append_new(made.json, json_string(key));
  return 0;
}
