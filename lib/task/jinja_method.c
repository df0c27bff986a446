/* Methods of texts, lists and mappings, and the functions that every template has. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <utf8proc.h>

#include "fmt/json.h"
#include "jinja_internal.h"

/* --- what methods and filters share --------------------------------------------------------- */

static int in_set(const char *chars, const char *c, const char *end) {
  for (const char *p = chars; *p; p = zj_skip(p, 1))
    if (!strncmp(p, c, (size_t)(end - c)) && zj_skip(p, 1) - p == end - c) return 1;
  return 0;
}

static int strips(const char *chars, const char *c, const char *end) {
  return chars ? in_set(chars, c, end) : zj_space_at(c);
}

/* sides: 1 left, 2 right, 3 both. */
int zj_strip(struct zj_env *env, struct zj_value *out, const char *s, const char *chars,
             int sides) {
  const char *end = s + strlen(s);
  while ((sides & 1) && s < end && strips(chars, s, zj_skip(s, 1))) s = zj_skip(s, 1);
  while ((sides & 2) && end > s) {
    const char *last = end - 1;
    while (last > s && ((unsigned char)*last & 0xC0) == 0x80) last--;
    if (!strips(chars, last, end)) break;
    end = last;
  }
  return zj_text(env, out, s, (size_t)(end - s));
}

int zj_replace(struct zj_env *env, struct zj_value *out, const char *s, const char *from,
               const char *to, int64_t most) {
  struct zf_buf buf = {0};
  size_t n = strlen(from);
  int rc = 0;
  if (!n) return zj_fail(env, "replace: nothing to look for");
  for (const char *hit; !rc && most != 0 && (hit = strstr(s, from)); s = hit + n, most--) {
    zf_buf_add(&buf, s, (size_t)(hit - s));
    zf_buf_puts(&buf, to);
    if (buf.len > ZF_JINJA_BYTES) rc = zj_fail(env, "replace: the text grows too large");
  }
  zf_buf_puts(&buf, s);
  if (!rc) rc = zf_buf_ok(&buf);
  if (!rc) rc = zj_text(env, out, buf.data, buf.len);
  zf_buf_free(&buf);
  return rc;
}

static int is_letter(int32_t c) {
  utf8proc_category_t k = utf8proc_category(c);
  return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

int zj_case(struct zj_env *env, struct zj_value *out, const char *s, enum zj_case how) {
  struct zf_buf buf = {0};
  int inside = 0; /* TITLE: of a word; CAPITAL: behind the first character */
  for (const char *end; *s; s = end) {
    utf8proc_int32_t c = 0;
    utf8proc_uint8_t put[4];
    end = zj_skip(s, 1);
    utf8proc_iterate((const utf8proc_uint8_t *)s, end - s, &c);
    int upper = how == ZJ_UPPER || (how >= ZJ_TITLE && !inside);
    inside = how == ZJ_CAPITAL || (how == ZJ_TITLE && is_letter(c));
    c = upper ? utf8proc_toupper(c) : utf8proc_tolower(c);
    zf_buf_add(&buf, put, (size_t)utf8proc_encode_char(c, put));
  }
  int rc = zf_buf_ok(&buf);
  if (!rc) rc = zj_text(env, out, buf.data, buf.len);
  zf_buf_free(&buf);
  return rc;
}

/* --- texts ------------------------------------------------------------------------------------ */

/* At white space: runs of it count once, and none gives an empty piece. */
static int split_spaces(struct zj_env *env, json_t *list, const char *s, int64_t most) {
  int rc = 0;
  while (!rc) {
    while (*s && strips(NULL, s, zj_skip(s, 1))) s = zj_skip(s, 1);
    const char *end = s;
    if (!*s) break;
    while (*end && (most == 0 || !strips(NULL, end, zj_skip(end, 1)))) end = zj_skip(end, 1);
    json_array_append_new(list, json_stringn(s, (size_t)(end - s)));
    rc = zj_step(env);
    if (most == 0) break;
    most--;
    s = end;
  }
  return rc;
}

static int split_at(struct zj_env *env, json_t *list, const char *s, const char *at, int64_t most) {
  size_t n = strlen(at);
  int rc = n ? 0 : zj_fail(env, "split: nothing to split at");
  for (const char *hit; !rc && most != 0 && (hit = strstr(s, at)); s = hit + n, most--) {
    json_array_append_new(list, json_stringn(s, (size_t)(hit - s)));
    rc = zj_step(env);
  }
  json_array_append_new(list, json_string(s));
  return rc;
}

static int split_right(struct zj_env *env, json_t *list, const char *s, const char *at,
                       int64_t most) {
  json_t *all = json_array();
  struct zf_buf head = {0};
  int rc = split_at(env, all, s, at, -1);
  size_t n = json_array_size(all),
         first = most >= 0 && (size_t)most + 1 < n ? n - 1 - (size_t)most : 0;
  for (size_t i = 0; !rc && i < n; i++) {
    zf_buf_puts(&head, json_string_value(json_array_get(all, i)));
    if (i < first) {
      zf_buf_puts(&head, at);
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

static int split(struct zj_env *env, struct zj_value *out, const char *s,
                 const struct zj_args *args, int right) {
  const char *at = NULL;
  int64_t most = -1;
  int rc = zj_arg_text(env, &at, args, 0, "sep");
  if (!rc) rc = zj_arg_int(env, &most, args, 1, "maxsplit");
  if (!rc) rc = zj_keep(env, out, json_array(), (int64_t)strlen(s) * 4);
  if (rc) return rc;
  if (right && !at) return zj_fail(env, "rsplit without a text to split at is not supported");
  if (right) return split_right(env, out->json, s, at, most);
  return at ? split_at(env, out->json, s, at, most) : split_spaces(env, out->json, s, most);
}

static int split_lines(struct zj_env *env, struct zj_value *out, const char *s) {
  int rc = zj_keep(env, out, json_array(), (int64_t)strlen(s) * 4);
  while (!rc && *s) {
    size_t n = strcspn(s, "\r\n");
    json_array_append_new(out->json, json_stringn(s, n));
    s += n;
    s += *s == '\r' && s[1] == '\n' ? 2 : *s != 0;
    rc = zj_step(env);
  }
  return rc;
}

/* startswith and endswith, of one text or any of a list. */
static int at_end(struct zj_env *env, struct zj_value *out, const char *s,
                  const struct zj_args *args, int ends) {
  const struct zj_value *value = zj_arg(args, 0, NULL);
  size_t n = strlen(s), i;
  int found = 0;
  if (!value || value->kind != ZJ_JSON ||
      (!json_is_string(value->json) && !json_is_array(value->json)))
    return zj_fail(env, "startswith, endswith: expected a text");
  for (i = 0; i < (json_is_array(value->json) ? json_array_size(value->json) : 1); i++) {
    const json_t *item = json_is_array(value->json) ? json_array_get(value->json, i) : value->json;
    size_t k = json_string_length(item);
    if (!json_is_string(item)) return zj_fail(env, "startswith, endswith: expected a text");
    found |= k <= n && !memcmp(ends ? s + n - k : s, json_string_value(item), k);
  }
  return zj_bool(env, out, found);
}

/* find, index, count. */
static int find(struct zj_env *env, struct zj_value *out, const char *s, const struct zj_args *args,
                char how) {
  const char *what = NULL;
  int64_t n = 0;
  int rc = zj_arg_text(env, &what, args, 0, "sub");
  if (!rc && (!what || !*what)) rc = zj_fail(env, "find, index, count: expected a text");
  if (rc) return rc;
  const char *hit = strstr(s, what);
  if (how == 'i' && !hit) return zj_fail(env, "index: '%.40s' is not in the text", what);
  if (how != 'c') return zj_int(env, out, hit ? zj_chars(s) - zj_chars(hit) : -1);
  for (; hit; hit = strstr(hit + strlen(what), what)) n++;
  return zj_int(env, out, n);
}

static int join(struct zj_env *env, struct zj_value *out, const char *s,
                const struct zj_args *args) {
  const struct zj_value *value = zj_arg(args, 0, NULL);
  struct zf_buf buf = {0};
  json_t *list, *item;
  size_t i;
  if (!value) return zj_fail(env, "join: expected a list");
  int rc = zj_items(env, &list, value);
  json_array_foreach(rc ? NULL : list, i, item) {
    if (i) zf_buf_puts(&buf, s);
    if (!rc && !json_is_string(item))
      rc = zj_fail(env, "join: item %zu is %s", i, zf_json_kind(item));
    if (!rc) zf_buf_puts(&buf, json_string_value(item));
    if (!rc) rc = buf.len > ZF_JINJA_BYTES ? zj_fail(env, "join: too much text") : zj_step(env);
  }
  if (!rc) rc = zf_buf_ok(&buf);
  if (!rc) rc = zj_text(env, out, buf.data, buf.len);
  zf_buf_free(&buf);
  return rc;
}

static int all_of(const char *s, int digits) {
  if (!*s) return 0;
  for (const char *end; *s; s = end) {
    utf8proc_int32_t c = 0;
    end = zj_skip(s, 1);
    utf8proc_iterate((const utf8proc_uint8_t *)s, end - s, &c);
    if (digits ? utf8proc_category(c) != UTF8PROC_CATEGORY_ND : !is_letter(c)) return 0;
  }
  return 1;
}

static const char *const text_methods[] = {
    "strip",    "lstrip",  "rstrip", "split",   "rsplit",  "splitlines", "startswith",
    "endswith", "replace", "lower",  "upper",   "title",   "capitalize", "find",
    "index",    "count",   "join",   "isdigit", "isalpha", NULL};

static int text_method(struct zj_env *env, struct zj_value *out, const char *m, const char *s,
                       const struct zj_args *args) {
  const char *x = NULL, *y = NULL;
  int64_t most = -1;
  int rc;
  if (!strcmp(m, "split") || !strcmp(m, "rsplit")) return split(env, out, s, args, *m == 'r');
  if (!strcmp(m, "splitlines")) return split_lines(env, out, s);
  if (!strcmp(m, "startswith") || !strcmp(m, "endswith"))
    return at_end(env, out, s, args, *m == 'e');
  if (!strcmp(m, "find") || !strcmp(m, "index") || !strcmp(m, "count"))
    return find(env, out, s, args, *m);
  if (!strcmp(m, "join")) return join(env, out, s, args);
  if (!strcmp(m, "isdigit") || !strcmp(m, "isalpha"))
    return zj_bool(env, out, all_of(s, m[2] == 'd'));
  if (!strcmp(m, "lower")) return zj_case(env, out, s, ZJ_LOWER);
  if (!strcmp(m, "upper")) return zj_case(env, out, s, ZJ_UPPER);
  if (!strcmp(m, "title")) return zj_case(env, out, s, ZJ_TITLE);
  if (!strcmp(m, "capitalize")) return zj_case(env, out, s, ZJ_CAPITAL);
  if ((rc = zj_arg_text(env, &x, args, 0, NULL))) return rc;
  if (strcmp(m, "replace")) return zj_strip(env, out, s, x, *m == 'l' ? 1 : *m == 'r' ? 2 : 3);
  rc = zj_arg_text(env, &y, args, 1, NULL);
  if (!rc) rc = zj_arg_int(env, &most, args, 2, "count");
  if (!rc && (!x || !y)) rc = zj_fail(env, "replace: expected two texts");
  return rc ? rc : zj_replace(env, out, s, x, y, most);
}

/* --- lists ------------------------------------------------------------------------------------ */

static const char *const list_methods[] = {"index", NULL};

/* Where the first item stands that equals the argument. */
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

/* --- mappings ------------------------------------------------------------------------------------ */

static const char *const map_methods[] = {"items", "keys", "values", "get", NULL};

static int map_method(struct zj_env *env, struct zj_value *out, const char *m, json_t *owner,
                      const struct zj_args *args) {
  const char *key;
  json_t *value;
  if (!strcmp(m, "get")) {
    const char *name = NULL;
    int rc = zj_arg_text(env, &name, args, 0, "key");
    if (rc || !name) return rc ? rc : zj_fail(env, "get: expected a key");
    value = json_object_get(owner, name);
    if (value) return zj_keep(env, out, json_incref(value), 0);
    if (args->count < 2) return zj_keep(env, out, json_null(), 0);
    *out = args->value[1];
    return 0;
  }
  int rc = zj_keep(env, out, json_array(), 0);
  if (!rc)
    rc = zj_set_shape(env, out->json, *m == 'k' ? ZJ_KEYS : *m == 'v' ? ZJ_VALUES : ZJ_ITEMS);
  if (rc) return rc;
  json_object_foreach(owner, key, value) {
    json_t *pair = *m == 'i' ? json_pack("[s, O]", key, value) : NULL;
    if (pair && !rc) rc = zj_set_shape(env, pair, ZJ_TUPLE);
    json_array_append_new(out->json, pair        ? pair
                                     : *m == 'k' ? json_string(key)
                                                 : json_incref(value));
    if (!rc) rc = zj_step(env);
  }
  return rc;
}

static int listed(const char *const *list, const char *name) {
  for (; *list; list++)
    if (!strcmp(*list, name)) return 1;
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

/* --- functions ------------------------------------------------------------------------------------ */

static const char *const globals[] = {"range",           "namespace",    "dict",
                                      "raise_exception", "strftime_now", NULL};

int zj_is_global(const char *name) {
  return listed(globals, name);
}

static int range(struct zj_env *env, struct zj_value *out, const struct zj_args *args) {
  int64_t v[3] = {0, 0, 1};
  int rc = 0;
  if (args->count < 1 || args->count > 3)
    return zj_fail(env, "range: expected one to three numbers");
  for (int i = 0; !rc && i < args->count; i++)
    rc = zj_arg_int(env, &v[args->count == 1 ? 1 : i], args, i, NULL);
  if (!rc && (v[2] == 0 || llabs(v[0]) > 1 << 30 || llabs(v[1]) > 1 << 30 || llabs(v[2]) > 1 << 30))
    rc = zj_fail(env, "range: numbers out of range");
  if (!rc) rc = zj_keep(env, out, json_array(), 0);
  for (int64_t i = v[0]; !rc && (v[2] > 0 ? i < v[1] : i > v[1]); i += v[2]) {
    json_array_append_new(out->json, json_integer(i));
    env->bytes += 32;
    rc = zj_step(env);
  }
  return rc;
}

/* namespace(a=1), dict(a=1), also from a mapping. */
static int mapping(struct zj_env *env, struct zj_value *out, const struct zj_args *args,
                   int names) {
  int rc = zj_keep(env, out, json_object(), 0);
  for (int i = 0; !rc && i < args->count; i++) {
    const struct zj_value *value = &args->value[i];
    if (value->kind != ZJ_JSON)
      rc = zj_fail(env, "%s cannot be kept in a mapping", zj_kind_name(value));
    else if (args->name[i])
      json_object_set(out->json, args->name[i], value->json);
    else if (json_is_object(value->json))
      json_object_update(out->json, value->json);
    else
      rc = zj_fail(env, "a mapping: expected names with values");
  }
  if (names) out->kind = ZJ_NAMESPACE;
  return rc;
}

static int now(struct zj_env *env, struct zj_value *out, const struct zj_args *args) {
  const char *format = NULL;
  char text[256];
  struct tm tm;
  time_t t = (time_t)env->now;
  int rc = zj_arg_text(env, &format, args, 0, "format");
  if (rc || !format) return rc ? rc : zj_fail(env, "strftime_now: expected a format");
  localtime_r(&t, &tm);
  size_t n = strlen(format) < 64 ? strftime(text, sizeof text, format, &tm) : 0;
  return zj_text(env, out, text, n);
}

int zj_global(struct zj_env *env, struct zj_value *out, const char *name,
              const struct zj_args *args) {
  const char *text = NULL;
  if (!strcmp(name, "range")) return range(env, out, args);
  if (!strcmp(name, "namespace")) return mapping(env, out, args, 1);
  if (!strcmp(name, "dict")) return mapping(env, out, args, 0);
  if (!strcmp(name, "strftime_now")) return now(env, out, args);
  int rc = zj_arg_text(env, &text, args, 0, NULL);
  return rc ? rc : zj_fail(env, "the template refuses: %s", text ? text : "");
}
