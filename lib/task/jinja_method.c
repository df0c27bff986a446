/* Methods of texts, lists and mappings, and the global functions of a template. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <utf8proc.h>

#include "fmt/json.h"
#include "jinja_internal.h"

/* --- shared with the filters --- */

/* Is the character from..end one of `chars`? */
static int in_set(const char *chars, const char *from, const char *end) {
  for (const char *c = chars; *c; c = zj_skip(c, 1))
    if (!strncmp(c, from, (size_t)(end - from)) && zj_skip(c, 1) - c == end - from) return 1;
  return 0;
}

static int strips(const char *chars, const char *from, const char *end) {
  return chars ? in_set(chars, from, end) : zj_space_at(from);
}

int zj_strip(struct zj_env *env, struct zj_value *out, const char *text, const char *chars,
             int sides) {
  const char *end = text + strlen(text);
  while ((sides & 1) && text < end && strips(chars, text, zj_skip(text, 1)))
    text = zj_skip(text, 1);
  while ((sides & 2) && end > text) {
    const char *last = end - 1;
    while (last > text && ((unsigned char)*last & 0xC0) == 0x80) last--;
    if (!strips(chars, last, end)) break;
    end = last;
  }
  return zj_text(env, out, text, (size_t)(end - text));
}

int zj_replace(struct zj_env *env, struct zj_value *out, const char *text, const char *from,
               const char *to, int64_t max_count) {
  struct zf_buf buf = {0};
  size_t len = strlen(from);
  if (!len) return zj_fail(env, "replace: expected a text to look for, found an empty one");
  for (; max_count != 0; max_count--) {
    const char *hit = strstr(text, from);
    if (!hit || buf.len > ZF_JINJA_BYTES) break;
    zf_buf_add(&buf, text, (size_t)(hit - text));
    zf_buf_puts(&buf, to);
    text = hit + len;
  }
  int rc = buf.len > ZF_JINJA_BYTES ? zj_fail(env, "replace: the text grows too large") : 0;
  zf_buf_puts(&buf, text);
  if (!rc) rc = zf_buf_ok(&buf);
  if (!rc) rc = zj_text(env, out, buf.data, buf.len);
  zf_buf_free(&buf);
  return rc;
}

static int is_letter(int32_t code) {
  utf8proc_category_t category = utf8proc_category(code);
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

int zj_case(struct zj_env *env, struct zj_value *out, const char *text, enum zj_case letter_case) {
  struct zf_buf buf = {0};
  int inside = 0; /* TITLE: inside a word; CAPITAL: behind the first character */
  for (const char *end; *text; text = end) {
    utf8proc_int32_t code = 0;
    utf8proc_uint8_t encoded[4];
    end = zj_skip(text, 1);
    utf8proc_iterate((const utf8proc_uint8_t *)text, end - text, &code);
    int upper = letter_case == ZJ_UPPER || (letter_case >= ZJ_TITLE && !inside);
    inside = letter_case == ZJ_CAPITAL || (letter_case == ZJ_TITLE && is_letter(code));
    code = upper ? utf8proc_toupper(code) : utf8proc_tolower(code);
    zf_buf_add(&buf, encoded, (size_t)utf8proc_encode_char(code, encoded));
  }
  int rc = zf_buf_ok(&buf);
  if (!rc) rc = zj_text(env, out, buf.data, buf.len);
  zf_buf_free(&buf);
  return rc;
}

/* --- texts --- */

/* At runs of white space, so that no part is empty. */
static int split_spaces(struct zj_env *env, json_t *list, const char *text, int64_t max_splits) {
  for (;; max_splits--) {
    while (*text && zj_space_at(text)) text = zj_skip(text, 1);
    if (!*text) return 0;
    const char *end = text;
    while (*end && (max_splits == 0 || !zj_space_at(end))) end = zj_skip(end, 1);
    json_array_append_new(list, json_stringn(text, (size_t)(end - text)));
    int rc = zj_step(env);
    if (rc || max_splits == 0) return rc;
    text = end;
  }
}

static int split_at(struct zj_env *env, json_t *list, const char *text, const char *separator,
                    int64_t max_splits) {
  size_t len = strlen(separator);
  if (!len) return zj_fail(env, "split: expected a separator, found an empty text");
  for (; max_splits != 0; max_splits--) {
    const char *hit = strstr(text, separator);
    if (!hit) break;
    json_array_append_new(list, json_stringn(text, (size_t)(hit - text)));
    int rc = zj_step(env);
    if (rc) return rc;
    text = hit + len;
  }
  json_array_append_new(list, json_string(text));
  return 0;
}

/* Splits everywhere, then joins the parts on the left again until there are max_splits separators. */
static int split_right(struct zj_env *env, json_t *list, const char *text, const char *separator,
                       int64_t max_splits) {
  json_t *all = json_array();
  struct zf_buf head = {0};
  int rc = split_at(env, all, text, separator, -1);
  size_t count = rc ? 0 : json_array_size(all), first = 0;
  if (max_splits >= 0 && (size_t)max_splits + 1 < count) first = count - 1 - (size_t)max_splits;
  for (size_t i = 0; i < count; i++) {
    zf_buf_puts(&head, json_string_value(json_array_get(all, i)));
    if (i < first) {
      zf_buf_puts(&head, separator);
      continue;
    }
    json_array_append_new(list, json_stringn(head.data ? head.data : "", head.len));
    zf_buf_clear(&head);
  }
  if (!rc) rc = zf_buf_ok(&head);
  zf_buf_free(&head);
  json_decref(all);
  return rc;
}

static int split(struct zj_env *env, struct zj_value *out, const char *text,
                 const struct zj_args *args, int right) {
  const char *separator = NULL;
  int64_t max_splits = -1;
  int rc = zj_arg_text(env, &separator, args, 0, "sep");
  if (!rc) rc = zj_arg_int(env, &max_splits, args, 1, "maxsplit");
  if (!rc) rc = zj_keep(env, out, json_array(), (int64_t)strlen(text) * 4);
  if (rc) return rc;
  if (right && !separator)
    return zj_fail(env, "rsplit without a text to split at is not supported");
  if (right) return split_right(env, out->json, text, separator, max_splits);
  return separator ? split_at(env, out->json, text, separator, max_splits)
                   : split_spaces(env, out->json, text, max_splits);
}

static int split_lines(struct zj_env *env, struct zj_value *out, const char *text) {
  int rc = zj_keep(env, out, json_array(), (int64_t)strlen(text) * 4);
  while (!rc && *text) {
    size_t len = strcspn(text, "\r\n");
    json_array_append_new(out->json, json_stringn(text, len));
    text += len;
    text += *text == '\r' && text[1] == '\n' ? 2 : *text != 0;
    rc = zj_step(env);
  }
  return rc;
}

/* startswith and endswith: with one text, or with any of a list. */
static int has_affix(struct zj_env *env, struct zj_value *out, const char *text,
                     const struct zj_args *args, int at_end) {
  const struct zj_value *value = zj_arg(args, 0, NULL);
  size_t len = strlen(text), i;
  int found = 0;
  if (!value || value->kind != ZJ_JSON ||
      (!json_is_string(value->json) && !json_is_array(value->json)))
    return zj_fail(env, "startswith, endswith: expected a text or a list of texts");
  for (i = 0; i < (json_is_array(value->json) ? json_array_size(value->json) : 1); i++) {
    const json_t *item = json_is_array(value->json) ? json_array_get(value->json, i) : value->json;
    size_t affix_len = json_string_length(item);
    if (!json_is_string(item))
      return zj_fail(env, "startswith, endswith: expected a text or a list of texts");
    found |= affix_len <= len &&
             !memcmp(at_end ? text + len - affix_len : text, json_string_value(item), affix_len);
  }
  return zj_bool(env, out, found);
}

/* find, index, count. */
static int find(struct zj_env *env, struct zj_value *out, const char *text,
                const struct zj_args *args, char method) {
  const char *wanted = NULL;
  int64_t count = 0;
  int rc = zj_arg_text(env, &wanted, args, 0, "sub");
  if (!rc && (!wanted || !*wanted)) rc = zj_fail(env, "find, index, count: expected a text");
  if (rc) return rc;
  const char *hit = strstr(text, wanted);
  if (method == 'i' && !hit) return zj_fail(env, "index: '%.40s' is not in the text", wanted);
  if (method != 'c') return zj_int(env, out, hit ? zj_chars(text) - zj_chars(hit) : -1);
  for (; hit; hit = strstr(hit + strlen(wanted), wanted)) count++;
  return zj_int(env, out, count);
}

static int join_items(struct zj_env *env, struct zf_buf *buf, const json_t *list,
                      const char *separator) {
  const json_t *item;
  size_t i;
  json_array_foreach(list, i, item) {
    if (i) zf_buf_puts(buf, separator);
    if (!json_is_string(item))
      return zj_fail(env, "join: item %zu: expected a text, found %s", i, zf_json_kind(item));
    zf_buf_puts(buf, json_string_value(item));
    if (buf->len > ZF_JINJA_BYTES) return zj_fail(env, "join: too much text");
    int rc = zj_step(env);
    if (rc) return rc;
  }
  return zf_buf_ok(buf);
}

static int join(struct zj_env *env, struct zj_value *out, const char *separator,
                const struct zj_args *args) {
  const struct zj_value *value = zj_arg(args, 0, NULL);
  struct zf_buf buf = {0};
  json_t *list;
  if (!value) return zj_fail(env, "join: expected a list");
  int rc = zj_items(env, &list, value);
  if (!rc) rc = join_items(env, &buf, list, separator);
  if (!rc) rc = zj_text(env, out, buf.data, buf.len);
  zf_buf_free(&buf);
  return rc;
}

static int all_of(const char *text, int digits) {
  if (!*text) return 0;
  for (const char *end; *text; text = end) {
    utf8proc_int32_t code = 0;
    end = zj_skip(text, 1);
    utf8proc_iterate((const utf8proc_uint8_t *)text, end - text, &code);
    if (digits ? utf8proc_category(code) != UTF8PROC_CATEGORY_ND : !is_letter(code)) return 0;
  }
  return 1;
}

static const char *const text_methods[] = {
    "strip",    "lstrip",  "rstrip", "split",   "rsplit",  "splitlines", "startswith",
    "endswith", "replace", "lower",  "upper",   "title",   "capitalize", "find",
    "index",    "count",   "join",   "isdigit", "isalpha", NULL};

static int strip_sides(const char *method) {
  if (*method == 'l') return 1; /* lstrip */
  return *method == 'r' ? 2 : 3;
}

static int text_method(struct zj_env *env, struct zj_value *out, const char *method,
                       const char *text, const struct zj_args *args) {
  const char *first = NULL, *second = NULL;
  int64_t max_count = -1;
  int rc;
  if (!strcmp(method, "split") || !strcmp(method, "rsplit"))
    return split(env, out, text, args, *method == 'r');
  if (!strcmp(method, "splitlines")) return split_lines(env, out, text);
  if (!strcmp(method, "startswith") || !strcmp(method, "endswith"))
    return has_affix(env, out, text, args, *method == 'e');
  if (!strcmp(method, "find") || !strcmp(method, "index") || !strcmp(method, "count"))
    return find(env, out, text, args, *method);
  if (!strcmp(method, "join")) return join(env, out, text, args);
  if (!strcmp(method, "isdigit") || !strcmp(method, "isalpha"))
    return zj_bool(env, out, all_of(text, method[2] == 'd'));
  if (!strcmp(method, "lower")) return zj_case(env, out, text, ZJ_LOWER);
  if (!strcmp(method, "upper")) return zj_case(env, out, text, ZJ_UPPER);
  if (!strcmp(method, "title")) return zj_case(env, out, text, ZJ_TITLE);
  if (!strcmp(method, "capitalize")) return zj_case(env, out, text, ZJ_CAPITAL);
  if ((rc = zj_arg_text(env, &first, args, 0, NULL))) return rc;
  if (strcmp(method, "replace")) return zj_strip(env, out, text, first, strip_sides(method));
  rc = zj_arg_text(env, &second, args, 1, NULL);
  if (!rc) rc = zj_arg_int(env, &max_count, args, 2, "count");
  if (!rc && (!first || !second)) rc = zj_fail(env, "replace: expected two texts");
  return rc ? rc : zj_replace(env, out, text, first, second, max_count);
}

/* --- lists --- */

static const char *const list_methods[] = {"index", NULL};

/* The position of the first item that equals the argument. */
static int list_index(struct zj_env *env, struct zj_value *out, const json_t *list,
                      const struct zj_args *args) {
  const struct zj_value *value = zj_arg(args, 0, NULL);
  const json_t *item;
  size_t i;
  if (!value || value->kind != ZJ_JSON) return zj_fail(env, "index: expected a value");
  json_array_foreach(list, i, item) {
    int same = 0, rc = zj_step(env);
    if (!rc) rc = zj_equal(env, item, value->json, &same);
    if (rc || same) return rc ? rc : zj_int(env, out, (int64_t)i);
  }
  return zj_fail(env, "index: no such item in the list");
}

/* --- mappings --- */

static const char *const map_methods[] = {"items", "keys", "values", "get", NULL};

/* An item of items(), keys() or values(), by the method's first letter; NULL: out of memory. */
static json_t *map_item(char method, const char *key, json_t *value) {
  if (method == 'i') return json_pack("[s, O]", key, value);
  return method == 'k' ? json_string(key) : json_incref(value);
}

static enum zj_shape map_shape(char method) {
  if (method == 'i') return ZJ_ITEMS;
  return method == 'k' ? ZJ_KEYS : ZJ_VALUES;
}

static int map_list(struct zj_env *env, struct zj_value *out, char method, json_t *owner) {
  const char *key;
  json_t *value;
  int rc = zj_keep(env, out, json_array(), 0);
  if (!rc) rc = zj_set_shape(env, out->json, map_shape(method));
  if (rc) return rc;
  json_object_foreach(owner, key, value) {
    json_t *item = map_item(method, key, value);
    if (method == 'i' && item) rc = zj_set_shape(env, item, ZJ_TUPLE);
    json_array_append_new(out->json, item);
    if (!rc) rc = zj_step(env);
    if (rc) return rc;
  }
  return 0;
}

static int map_get(struct zj_env *env, struct zj_value *out, const json_t *owner,
                   const struct zj_args *args) {
  const char *name = NULL;
  int rc = zj_arg_text(env, &name, args, 0, "key");
  if (rc) return rc;
  if (!name) return zj_fail(env, "get: expected a key");
  json_t *value = json_object_get(owner, name);
  if (value) return zj_keep(env, out, json_incref(value), 0);
  if (args->count < 2) return zj_keep(env, out, json_null(), 0);
  *out = args->value[1];
  return 0;
}

static int map_method(struct zj_env *env, struct zj_value *out, const char *method, json_t *owner,
                      const struct zj_args *args) {
  return strcmp(method, "get") ? map_list(env, out, *method, owner)
                               : map_get(env, out, owner, args);
}

static int listed(const char *const *names, const char *name) {
  for (; *names; names++)
    if (!strcmp(*names, name)) return 1;
  return 0;
}

int zj_has_method(const json_t *owner, const char *name) {
  if (json_is_string(owner)) return listed(text_methods, name);
  if (json_is_array(owner)) return listed(list_methods, name);
  return json_is_object(owner) && listed(map_methods, name);
}

int zj_method(struct zj_env *env, struct zj_value *out, const struct zj_value *value,
              const struct zj_args *args) {
  if (json_is_string(value->json))
    return text_method(env, out, value->name, json_string_value(value->json), args);
  if (json_is_array(value->json)) return list_index(env, out, value->json, args);
  return map_method(env, out, value->name, value->json, args);
}

/* --- functions --- */

static const char *const globals[] = {"range",           "namespace",    "dict",
                                      "raise_exception", "strftime_now", NULL};

int zj_is_global(const char *name) {
  return listed(globals, name);
}

enum { MAX_RANGE = 1 << 30 };

/* Reads range(stop), range(start, stop) or range(start, stop, step). */
static int range_args(struct zj_env *env, const struct zj_args *args, int64_t *start, int64_t *stop,
                      int64_t *step) {
  if (args->count < 1 || args->count > 3)
    return zj_fail(env, "range: expected one to three numbers, found %d", args->count);
  if (args->count == 1) return zj_arg_int(env, stop, args, 0, NULL);
  int rc = zj_arg_int(env, start, args, 0, NULL);
  if (!rc) rc = zj_arg_int(env, stop, args, 1, NULL);
  if (!rc && args->count == 3) rc = zj_arg_int(env, step, args, 2, NULL);
  return rc;
}

static int range(struct zj_env *env, struct zj_value *out, const struct zj_args *args) {
  int64_t start = 0, stop = 0, step = 1;
  int rc = range_args(env, args, &start, &stop, &step);
  if (rc) return rc;
  if (step == 0) return zj_fail(env, "range: the step is 0");
  if (llabs(start) > MAX_RANGE || llabs(stop) > MAX_RANGE || llabs(step) > MAX_RANGE)
    return zj_fail(env, "range: expected numbers of at most %d", MAX_RANGE);
  if ((rc = zj_keep(env, out, json_array(), 0))) return rc;
  for (int64_t i = start; step > 0 ? i < stop : i > stop; i += step) {
    json_array_append_new(out->json, json_integer(i));
    env->bytes += 32;
    if ((rc = zj_step(env))) return rc;
  }
  return 0;
}

/* namespace(a=1) and dict(a=1); a mapping may stand among the arguments. */
static int mapping(struct zj_env *env, struct zj_value *out, const struct zj_args *args,
                   int is_namespace) {
  int rc = zj_keep(env, out, json_object(), 0);
  if (rc) return rc;
  for (int i = 0; i < args->count; i++) {
    const struct zj_value *value = &args->value[i];
    if (value->kind != ZJ_JSON)
      return zj_fail(env, "%s cannot be kept in a mapping", zj_kind_name(value));
    if (args->name[i])
      json_object_set(out->json, args->name[i], value->json);
    else if (json_is_object(value->json))
      json_object_update(out->json, value->json);
    else
      return zj_fail(env, "a mapping: expected name=value, found %s", zj_kind_name(value));
  }
  if (is_namespace) out->kind = ZJ_NAMESPACE;
  return 0;
}

static int now(struct zj_env *env, struct zj_value *out, const struct zj_args *args) {
  const char *format = NULL;
  char text[256];
  struct tm tm;
  time_t seconds = (time_t)env->now;
  int rc = zj_arg_text(env, &format, args, 0, "format");
  if (rc || !format) return rc ? rc : zj_fail(env, "strftime_now: expected a format");
  localtime_r(&seconds, &tm);
  size_t len = strlen(format) < 64 ? strftime(text, sizeof text, format, &tm) : 0;
  return zj_text(env, out, text, len);
}

int zj_global(struct zj_env *env, struct zj_value *out, const char *name,
              const struct zj_args *args) {
  const char *text = NULL;
  if (!strcmp(name, "range")) return range(env, out, args);
  if (!strcmp(name, "namespace")) return mapping(env, out, args, 1);
  if (!strcmp(name, "dict")) return mapping(env, out, args, 0);
  if (!strcmp(name, "strftime_now")) return now(env, out, args);
  int rc = zj_arg_text(env, &text, args, 0, NULL);
  if (rc) return rc;
  return zj_fail(env, "the template refuses: %s", text ? text : "");
}
