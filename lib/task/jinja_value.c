/* Values of the template interpreter: making and counting them, comparing them, printing them as Python
 * does. */
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

int zj_keep(struct zj_env *env, struct zj_value *out, json_t *json, int64_t bytes) {
  if (!json) return zj_fail(env, "a value is not UTF-8, or memory ran out");
  if (env->kept_count == env->kept_cap) {
    int64_t cap = env->kept_cap ? 2 * env->kept_cap : 256;
    json_t **kept = realloc(env->kept, (size_t)cap * sizeof *kept);
    if (!kept) {
      json_decref(json);
      return zf_error(ZF_ENOMEM, "%s: out of memory", env->jinja->name);
    }
    env->kept = kept;
    env->kept_cap = cap;
  }
  env->kept[env->kept_count++] = json;
  env->bytes += bytes + 64;
  *out = (struct zj_value){.kind = ZJ_JSON, .json = json};
  if (env->bytes <= 4 * (int64_t)ZF_JINJA_BYTES) return 0;
  return zj_fail(env, "the template makes more than %d bytes of values", 4 * ZF_JINJA_BYTES);
}

int zj_text(struct zj_env *env, struct zj_value *out, const char *text, size_t len) {
  return zj_keep(env, out, json_stringn(text ? text : "", len), (int64_t)len);
}

int zj_bool(struct zj_env *env, struct zj_value *out, int truth) {
  return zj_keep(env, out, json_boolean(truth), 0);
}

int zj_int(struct zj_env *env, struct zj_value *out, int64_t number) {
  return zj_keep(env, out, json_integer(number), 0);
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

/* --- comparing --- */

/* True and false count as 1 and 0, as in Python. */
static int as_number(const json_t *value, double *out) {
  if (!json_is_number(value) && !json_is_boolean(value)) return 0;
  *out = json_is_boolean(value) ? json_is_true(value) : json_number_value(value);
  return 1;
}

static int equal_objects(struct zj_env *env, const json_t *left, const json_t *right, int *same) {
  const char *key;
  json_t *value;
  *same = json_object_size(left) == json_object_size(right);
  if (!*same) return 0;
  json_object_foreach((json_t *)left, key, value) {
    const json_t *other = json_object_get(right, key);
    *same = other != NULL;
    int rc = other ? zj_equal(env, value, other, same) : 0;
    if (rc || !*same) return rc;
  }
  return 0;
}

static int equal_arrays(struct zj_env *env, const json_t *left, const json_t *right, int *same) {
  size_t count = json_array_size(left);
  *same = count == json_array_size(right);
  if (!*same) return 0;
  for (size_t i = 0; i < count; i++) {
    int rc = zj_equal(env, json_array_get(left, i), json_array_get(right, i), same);
    if (rc || !*same) return rc;
  }
  return 0;
}

int zj_equal(struct zj_env *env, const json_t *left, const json_t *right, int *same) {
  double x, y;
  int rc = zj_step(env);
  *same = 0;
  if (rc) return rc;
  if (json_is_array(left) && json_is_array(right)) return equal_arrays(env, left, right, same);
  if (json_is_object(left) && json_is_object(right)) return equal_objects(env, left, right, same);
  if (json_is_integer(left) && json_is_integer(right))
    *same = json_integer_value(left) == json_integer_value(right);
  else if (as_number(left, &x) && as_number(right, &y))
    *same = x == y;
  else if (json_is_string(left) && json_is_string(right))
    *same = !strcmp(json_string_value(left), json_string_value(right));
  else
    *same = json_is_null(left) && json_is_null(right);
  return 0;
}

int zj_order(struct zj_env *env, const json_t *left, const json_t *right, int *order) {
  double x, y;
  if (json_is_string(left) && json_is_string(right)) {
    int order_of_bytes = strcmp(json_string_value(left), json_string_value(right));
    *order = (order_of_bytes > 0) - (order_of_bytes < 0);
    return 0;
  }
  if (as_number(left, &x) && as_number(right, &y)) {
    *order = (x > y) - (x < y);
    return 0;
  }
  return zj_fail(env, "%s and %s have no order", zf_json_kind(left), zf_json_kind(right));
}

/* --- printing --- */

/* The shortest digits from which the number can be read back, as in repr(). */
static void put_real(struct zf_buf *buf, double number) {
  char text[40];
  for (int digits = 1; digits <= 17; digits++) {
    snprintf(text, sizeof text, "%.*e", digits - 1, number);
    if (strtod(text, NULL) == number) break;
  }
  char *exponent = strchr(text, 'e');
  int exponent10 = exponent ? atoi(exponent + 1) : 0,
      digits = exponent ? (int)(exponent - text) : 0;
  digits -= (text[0] == '-') + (strchr(text, '.') != NULL);
  if (exponent10 < -4 || exponent10 >= 16) { /* 1e-05, 1e+16 */
    zf_buf_puts(buf, text);
    return;
  }
  int decimals = digits - 1 - exponent10;
  zf_buf_printf(buf, "%.*f", decimals > 0 ? decimals : 1, number);
}

/* The bits of a character that the first byte of its UTF-8 holds. */
static uint32_t lead_bits(unsigned char c) {
  if (c >= 0xF0) return c & 7;
  return c >= 0xE0 ? c & 15 : c & 31;
}

/* Appends the character at `text`, which is not ASCII, as a JSON escape: above U+FFFF a surrogate pair.
 * Returns the place behind it. */
static const char *put_unicode_escape(struct zf_buf *buf, const char *text) {
  uint32_t code = lead_bits((unsigned char)*text);
  for (text++; ((unsigned char)*text & 0xC0) == 0x80; text++)
    code = code << 6 | ((unsigned char)*text & 63);
  if (code >= 0x10000)
    zf_buf_printf(buf, "\\u%04x\\u%04x", 0xD7C0 + (code >> 10), 0xDC00 | (code & 0x3FF));
  else
    zf_buf_printf(buf, "\\u%04x", code);
  return text;
}

static void put_json_string(struct zf_buf *buf, const char *text, int ascii) {
  static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
  zf_buf_putc(buf, '"');
  while (*text) {
    unsigned char c = (unsigned char)*text;
    const char *hit = strchr(from, c);
    if (c >= 0x80 && ascii) {
      text = put_unicode_escape(buf, text);
      continue;
    }
    if (hit) {
      zf_buf_putc(buf, '\\');
      zf_buf_putc(buf, to[hit - from]);
    } else if (c < 0x20) {
      zf_buf_printf(buf, "\\u%04x", c);
    } else {
      zf_buf_putc(buf, (char)c);
    }
    text++;
  }
  zf_buf_putc(buf, '"');
}

/* As repr(): in single quotes unless the text has those and no double ones. */
static void put_python_string(struct zf_buf *buf, const char *text) {
  char quote = strchr(text, '\'') && !strchr(text, '"') ? '"' : '\'';
  zf_buf_putc(buf, quote);
  for (; *text; text++) {
    static const char from[] = "\\\n\r\t", to[] = "\\nrt";
    const char *hit = strchr(from, *text);
    if (hit || *text == quote) {
      zf_buf_putc(buf, '\\');
      zf_buf_putc(buf, hit ? to[hit - from] : quote);
    } else if ((unsigned char)*text < 0x20 || *text == 0x7f) {
      zf_buf_printf(buf, "\\x%02x", (unsigned char)*text);
    } else {
      zf_buf_putc(buf, *text);
    }
  }
  zf_buf_putc(buf, quote);
}

static void put_line(struct zf_buf *buf, const struct zj_dump *style, int depth) {
  if (style->indent < 0) return;
  zf_buf_putc(buf, '\n');
  for (int64_t i = 0; i < style->indent * depth; i++) zf_buf_putc(buf, ' ');
}

/* How Python prints a list, by its shape. */
static const struct {
  const char *open, *close;
} list_brackets[] = {[ZJ_LIST] = {"[", "]"},
                     [ZJ_TUPLE] = {"(", ")"},
                     [ZJ_ITEMS] = {"dict_items([", "])"},
                     [ZJ_KEYS] = {"dict_keys([", "])"},
                     [ZJ_VALUES] = {"dict_values([", "])"}};

static int dump_array(struct zj_env *env, struct zf_buf *buf, const json_t *value,
                      const struct zj_dump *style, int depth) {
  enum zj_shape shape = style->python ? zj_shape_of(env, value) : ZJ_LIST;
  size_t count = json_array_size(value);
  zf_buf_puts(buf, list_brackets[shape].open);
  for (size_t i = 0; i < count; i++) {
    if (i) zf_buf_puts(buf, style->comma);
    put_line(buf, style, depth + 1);
    int rc = zj_dump(env, buf, json_array_get(value, i), style, depth + 1);
    if (rc) return rc;
  }
  if (count) put_line(buf, style, depth);
  if (shape == ZJ_TUPLE && count == 1) zf_buf_putc(buf, ',');
  zf_buf_puts(buf, list_brackets[shape].close);
  return 0;
}

static int by_key(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void put_string(struct zf_buf *buf, const char *text, const struct zj_dump *style) {
  if (style->python)
    put_python_string(buf, text);
  else
    put_json_string(buf, text, style->ascii);
}

static int dump_members(struct zj_env *env, struct zf_buf *buf, const json_t *value,
                        const char *const *keys, const struct zj_dump *style, int depth) {
  size_t count = json_object_size(value);
  zf_buf_putc(buf, '{');
  for (size_t i = 0; i < count; i++) {
    if (i) zf_buf_puts(buf, style->comma);
    put_line(buf, style, depth + 1);
    put_string(buf, keys[i], style);
    zf_buf_puts(buf, style->colon);
    int rc = zj_dump(env, buf, json_object_get(value, keys[i]), style, depth + 1);
    if (rc) return rc;
  }
  if (count) put_line(buf, style, depth);
  zf_buf_putc(buf, '}');
  return 0;
}

static int dump_object(struct zj_env *env, struct zf_buf *buf, const json_t *value,
                       const struct zj_dump *style, int depth) {
  size_t count = json_object_size(value), i = 0;
  const char **keys = malloc((count + 1) * sizeof *keys), *key;
  json_t *item;
  if (!keys) return zf_error(ZF_ENOMEM, "%s: out of memory", env->jinja->name);
  json_object_foreach((json_t *)value, key, item) keys[i++] = key;
  if (style->sort) qsort(keys, count, sizeof *keys, by_key);
  int rc = dump_members(env, buf, value, keys, style, depth);
  free(keys);
  return rc;
}

int zj_dump(struct zj_env *env, struct zf_buf *buf, const json_t *value,
            const struct zj_dump *style, int depth) {
  int rc = zj_step(env);
  if (rc) return rc;
  if (depth > ZF_JINJA_DEPTH)
    return zj_fail(env, "a value nested more than %d deep", ZF_JINJA_DEPTH);
  if (buf->len > ZF_JINJA_BYTES)
    return zj_fail(env, "the template makes more than %d bytes", ZF_JINJA_BYTES);
  switch (json_typeof(value)) {
    case JSON_ARRAY:
      return dump_array(env, buf, value, style, depth);
    case JSON_OBJECT:
      return dump_object(env, buf, value, style, depth);
    case JSON_STRING:
      put_string(buf, json_string_value(value), style);
      break;
    case JSON_INTEGER:
      zf_buf_printf(buf, "%lld", (long long)json_integer_value(value));
      break;
    case JSON_REAL:
      put_real(buf, json_real_value(value));
      break;
    case JSON_NULL:
      zf_buf_puts(buf, style->python ? "None" : "null");
      break;
    default:
      if (style->python)
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

/* --- texts and lists --- */

const char *zj_skip(const char *text, int64_t count) {
  for (; count > 0; count--) {
    if (!*text) break;
    for (text++; ((unsigned char)*text & 0xC0) == 0x80;) text++;
  }
  return text;
}

int64_t zj_chars(const char *text) {
  int64_t count = 0;
  for (; *text; text++) count += ((unsigned char)*text & 0xC0) != 0x80;
  return count;
}

/* White space by the rule of str.strip(). */
int zj_is_space(int32_t code) {
  return (code >= 9 && code <= 13) || (code >= 28 && code <= 32) || code == 0x85 || code == 0xA0 ||
         code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 ||
         code == 0x202F || code == 0x205F || code == 0x3000;
}

int zj_space_at(const char *text) {
  utf8proc_int32_t code = -1;
  utf8proc_iterate((const utf8proc_uint8_t *)text, zj_skip(text, 1) - text, &code);
  return zj_is_space(code);
}

static int split_characters(struct zj_env *env, json_t *list, const char *text) {
  int rc = 0;
  while (!rc && *text) {
    const char *end = zj_skip(text, 1);
    json_array_append_new(list, json_stringn(text, (size_t)(end - text)));
    rc = zj_step(env);
    text = end;
  }
  return rc;
}

int zj_items(struct zj_env *env, json_t **out, const struct zj_value *value) {
  struct zj_value keys;
  const char *key;
  json_t *item;
  if (value->kind == ZJ_JSON && json_is_array(value->json)) {
    *out = value->json;
    return 0;
  }
  if (value->kind != ZJ_UNDEF &&
      (value->kind != ZJ_JSON || (!json_is_object(value->json) && !json_is_string(value->json))))
    return zj_fail(env, "%s has no items to loop over", zj_kind_name(value));
  int rc = zj_keep(env, &keys, json_array(), 0);
  if (rc) return rc;
  *out = keys.json;
  if (value->kind == ZJ_UNDEF) return 0;
  if (json_is_string(value->json))
    return split_characters(env, keys.json, json_string_value(value->json));
  json_object_foreach(value->json, key, item) json_array_append_new(keys.json, json_string(key));
  return 0;
}
