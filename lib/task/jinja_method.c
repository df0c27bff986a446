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
int zj_strip(struct zj_env *e, struct zj_value *out, const char *s, const char *chars, int sides) {
  const char *end = s + strlen(s);
  while ((sides & 1) && s < end && strips(chars, s, zj_skip(s, 1))) s = zj_skip(s, 1);
  while ((sides & 2) && end > s) {
    const char *last = end - 1;
    while (last > s && ((unsigned char)*last & 0xC0) == 0x80) last--;
    if (!strips(chars, last, end)) break;
    end = last;
  }
  return zj_text(e, out, s, (size_t)(end - s));
}

int zj_replace(struct zj_env *e, struct zj_value *out, const char *s, const char *from,
               const char *to, int64_t most) {
  struct zf_buf b = {0};
  size_t n = strlen(from);
  int rc = 0;
  if (!n) return zj_fail(e, "replace: nothing to look for");
  for (const char *hit; !rc && most != 0 && (hit = strstr(s, from)); s = hit + n, most--) {
    zf_buf_add(&b, s, (size_t)(hit - s));
    zf_buf_puts(&b, to);
    if (b.len > ZF_JINJA_BYTES) rc = zj_fail(e, "replace: the text grows too large");
  }
  zf_buf_puts(&b, s);
  if (!rc) rc = zf_buf_ok(&b);
  if (!rc) rc = zj_text(e, out, b.data, b.len);
  zf_buf_free(&b);
  return rc;
}

static int is_letter(int32_t c) {
  utf8proc_category_t k = utf8proc_category(c);
  return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

int zj_case(struct zj_env *e, struct zj_value *out, const char *s, enum zj_case how) {
  struct zf_buf b = {0};
  int inside = 0; /* TITLE: of a word; CAPITAL: behind the first character */
  for (const char *end; *s; s = end) {
    utf8proc_int32_t c = 0;
    utf8proc_uint8_t put[4];
    end = zj_skip(s, 1);
    utf8proc_iterate((const utf8proc_uint8_t *)s, end - s, &c);
    int upper = how == ZJ_UPPER || (how >= ZJ_TITLE && !inside);
    inside = how == ZJ_CAPITAL || (how == ZJ_TITLE && is_letter(c));
    c = upper ? utf8proc_toupper(c) : utf8proc_tolower(c);
    zf_buf_add(&b, put, (size_t)utf8proc_encode_char(c, put));
  }
  int rc = zf_buf_ok(&b);
  if (!rc) rc = zj_text(e, out, b.data, b.len);
  zf_buf_free(&b);
  return rc;
}

/* --- texts ------------------------------------------------------------------------------------ */

/* At white space: runs of it count once, and none gives an empty piece. */
static int split_spaces(struct zj_env *e, json_t *list, const char *s, int64_t most) {
  int rc = 0;
  while (!rc) {
    while (*s && strips(NULL, s, zj_skip(s, 1))) s = zj_skip(s, 1);
    const char *end = s;
    if (!*s) break;
    while (*end && (most == 0 || !strips(NULL, end, zj_skip(end, 1)))) end = zj_skip(end, 1);
    json_array_append_new(list, json_stringn(s, (size_t)(end - s)));
    rc = zj_step(e);
    if (most == 0) break;
    most--;
    s = end;
  }
  return rc;
}

static int split_at(struct zj_env *e, json_t *list, const char *s, const char *at, int64_t most) {
  size_t n = strlen(at);
  int rc = n ? 0 : zj_fail(e, "split: nothing to split at");
  for (const char *hit; !rc && most != 0 && (hit = strstr(s, at)); s = hit + n, most--) {
    json_array_append_new(list, json_stringn(s, (size_t)(hit - s)));
    rc = zj_step(e);
  }
  json_array_append_new(list, json_string(s));
  return rc;
}

static int split_right(struct zj_env *e, json_t *list, const char *s, const char *at,
                       int64_t most) {
  json_t *all = json_array();
  struct zf_buf head = {0};
  int rc = split_at(e, all, s, at, -1);
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

static int split(struct zj_env *e, struct zj_value *out, const char *s, const struct zj_args *a,
                 int right) {
  const char *at = NULL;
  int64_t most = -1;
  int rc = zj_arg_text(e, &at, a, 0, "sep");
  if (!rc) rc = zj_arg_int(e, &most, a, 1, "maxsplit");
  if (!rc) rc = zj_keep(e, out, json_array(), (int64_t)strlen(s) * 4);
  if (rc) return rc;
  if (right && !at) return zj_fail(e, "rsplit without a text to split at is not supported");
  if (right) return split_right(e, out->json, s, at, most);
  return at ? split_at(e, out->json, s, at, most) : split_spaces(e, out->json, s, most);
}

static int split_lines(struct zj_env *e, struct zj_value *out, const char *s) {
  int rc = zj_keep(e, out, json_array(), (int64_t)strlen(s) * 4);
  while (!rc && *s) {
    size_t n = strcspn(s, "\r\n");
    json_array_append_new(out->json, json_stringn(s, n));
    s += n;
    s += *s == '\r' && s[1] == '\n' ? 2 : *s != 0;
    rc = zj_step(e);
  }
  return rc;
}

/* startswith and endswith, of one text or any of a list. */
static int at_end(struct zj_env *e, struct zj_value *out, const char *s, const struct zj_args *a,
                  int ends) {
  const struct zj_value *v = zj_arg(a, 0, NULL);
  size_t n = strlen(s), i;
  int found = 0;
  if (!v || v->kind != ZJ_JSON || (!json_is_string(v->json) && !json_is_array(v->json)))
    return zj_fail(e, "startswith, endswith: expected a text");
  for (i = 0; i < (json_is_array(v->json) ? json_array_size(v->json) : 1); i++) {
    const json_t *x = json_is_array(v->json) ? json_array_get(v->json, i) : v->json;
    size_t k = json_string_length(x);
    if (!json_is_string(x)) return zj_fail(e, "startswith, endswith: expected a text");
    found |= k <= n && !memcmp(ends ? s + n - k : s, json_string_value(x), k);
  }
  return zj_bool(e, out, found);
}

/* find, index, count. */
static int find(struct zj_env *e, struct zj_value *out, const char *s, const struct zj_args *a,
                char how) {
  const char *what = NULL;
  int64_t n = 0;
  int rc = zj_arg_text(e, &what, a, 0, "sub");
  if (!rc && (!what || !*what)) rc = zj_fail(e, "find, index, count: expected a text");
  if (rc) return rc;
  const char *hit = strstr(s, what);
  if (how == 'i' && !hit) return zj_fail(e, "index: '%.40s' is not in the text", what);
  if (how != 'c') return zj_int(e, out, hit ? zj_chars(s) - zj_chars(hit) : -1);
  for (; hit; hit = strstr(hit + strlen(what), what)) n++;
  return zj_int(e, out, n);
}

static int join(struct zj_env *e, struct zj_value *out, const char *s, const struct zj_args *a) {
  const struct zj_value *v = zj_arg(a, 0, NULL);
  struct zf_buf b = {0};
  json_t *list, *x;
  size_t i;
  if (!v) return zj_fail(e, "join: expected a list");
  int rc = zj_items(e, &list, v);
  json_array_foreach(rc ? NULL : list, i, x) {
    if (i) zf_buf_puts(&b, s);
    if (!rc && !json_is_string(x)) rc = zj_fail(e, "join: item %zu is %s", i, zf_json_kind(x));
    if (!rc) zf_buf_puts(&b, json_string_value(x));
    if (!rc) rc = b.len > ZF_JINJA_BYTES ? zj_fail(e, "join: too much text") : zj_step(e);
  }
  if (!rc) rc = zf_buf_ok(&b);
  if (!rc) rc = zj_text(e, out, b.data, b.len);
  zf_buf_free(&b);
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

static int text_method(struct zj_env *e, struct zj_value *out, const char *m, const char *s,
                       const struct zj_args *a) {
  const char *x = NULL, *y = NULL;
  int64_t most = -1;
  int rc;
  if (!strcmp(m, "split") || !strcmp(m, "rsplit")) return split(e, out, s, a, *m == 'r');
  if (!strcmp(m, "splitlines")) return split_lines(e, out, s);
  if (!strcmp(m, "startswith") || !strcmp(m, "endswith")) return at_end(e, out, s, a, *m == 'e');
  if (!strcmp(m, "find") || !strcmp(m, "index") || !strcmp(m, "count"))
    return find(e, out, s, a, *m);
  if (!strcmp(m, "join")) return join(e, out, s, a);
  if (!strcmp(m, "isdigit") || !strcmp(m, "isalpha"))
    return zj_bool(e, out, all_of(s, m[2] == 'd'));
  if (!strcmp(m, "lower")) return zj_case(e, out, s, ZJ_LOWER);
  if (!strcmp(m, "upper")) return zj_case(e, out, s, ZJ_UPPER);
  if (!strcmp(m, "title")) return zj_case(e, out, s, ZJ_TITLE);
  if (!strcmp(m, "capitalize")) return zj_case(e, out, s, ZJ_CAPITAL);
  if ((rc = zj_arg_text(e, &x, a, 0, NULL))) return rc;
  if (strcmp(m, "replace")) return zj_strip(e, out, s, x, *m == 'l' ? 1 : *m == 'r' ? 2 : 3);
  rc = zj_arg_text(e, &y, a, 1, NULL);
  if (!rc) rc = zj_arg_int(e, &most, a, 2, "count");
  if (!rc && (!x || !y)) rc = zj_fail(e, "replace: expected two texts");
  return rc ? rc : zj_replace(e, out, s, x, y, most);
}

/* --- lists ------------------------------------------------------------------------------------ */

static const char *const list_methods[] = {"index", NULL};

/* Where the first item stands that equals the argument. */
static int list_index(struct zj_env *e, struct zj_value *out, const json_t *list,
                      const struct zj_args *a) {
  const struct zj_value *v = zj_arg(a, 0, NULL);
  const json_t *x;
  size_t i;
  if (!v || v->kind != ZJ_JSON) return zj_fail(e, "index: expected a value");
  json_array_foreach(list, i, x) {
    int same = 0, rc = zj_step(e);
    if (!rc) rc = zj_equal(e, x, v->json, &same);
    if (rc || same) return rc ? rc : zj_int(e, out, (int64_t)i);
  }
  return zj_fail(e, "index: no such item in the list");
}

/* --- mappings ------------------------------------------------------------------------------------ */

static const char *const map_methods[] = {"items", "keys", "values", "get", NULL};

static int map_method(struct zj_env *e, struct zj_value *out, const char *m, json_t *owner,
                      const struct zj_args *a) {
  const char *key;
  json_t *v;
  if (!strcmp(m, "get")) {
    const char *name = NULL;
    int rc = zj_arg_text(e, &name, a, 0, "key");
    if (rc || !name) return rc ? rc : zj_fail(e, "get: expected a key");
    v = json_object_get(owner, name);
    if (v) return zj_keep(e, out, json_incref(v), 0);
    if (a->count < 2) return zj_keep(e, out, json_null(), 0);
    *out = a->value[1];
    return 0;
  }
  int rc = zj_keep(e, out, json_array(), 0);
  if (!rc) rc = zj_set_shape(e, out->json, *m == 'k' ? ZJ_KEYS : *m == 'v' ? ZJ_VALUES : ZJ_ITEMS);
  if (rc) return rc;
  json_object_foreach(owner, key, v) {
    json_t *pair = *m == 'i' ? json_pack("[s, O]", key, v) : NULL;
    if (pair && !rc) rc = zj_set_shape(e, pair, ZJ_TUPLE);
    json_array_append_new(out->json, pair ? pair : *m == 'k' ? json_string(key) : json_incref(v));
    if (!rc) rc = zj_step(e);
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

int zj_method(struct zj_env *e, struct zj_value *out, const struct zj_value *m,
              const struct zj_args *args) {
  if (json_is_string(m->json))
    return text_method(e, out, m->name, json_string_value(m->json), args);
  if (json_is_array(m->json)) return list_index(e, out, m->json, args);
  return map_method(e, out, m->name, m->json, args);
}

/* --- functions ------------------------------------------------------------------------------------ */

static const char *const globals[] = {"range",           "namespace",    "dict",
                                      "raise_exception", "strftime_now", NULL};

int zj_is_global(const char *name) {
  return listed(globals, name);
}

static int range(struct zj_env *e, struct zj_value *out, const struct zj_args *a) {
  int64_t v[3] = {0, 0, 1};
  int rc = 0;
  if (a->count < 1 || a->count > 3) return zj_fail(e, "range: expected one to three numbers");
  for (int i = 0; !rc && i < a->count; i++)
    rc = zj_arg_int(e, &v[a->count == 1 ? 1 : i], a, i, NULL);
  if (!rc && (v[2] == 0 || llabs(v[0]) > 1 << 30 || llabs(v[1]) > 1 << 30 || llabs(v[2]) > 1 << 30))
    rc = zj_fail(e, "range: numbers out of range");
  if (!rc) rc = zj_keep(e, out, json_array(), 0);
  for (int64_t i = v[0]; !rc && (v[2] > 0 ? i < v[1] : i > v[1]); i += v[2]) {
    json_array_append_new(out->json, json_integer(i));
    e->bytes += 32;
    rc = zj_step(e);
  }
  return rc;
}

/* namespace(a=1), dict(a=1), also from a mapping. */
static int mapping(struct zj_env *e, struct zj_value *out, const struct zj_args *a, int names) {
  int rc = zj_keep(e, out, json_object(), 0);
  for (int i = 0; !rc && i < a->count; i++) {
    const struct zj_value *v = &a->value[i];
    if (v->kind != ZJ_JSON)
      rc = zj_fail(e, "%s cannot be kept in a mapping", zj_kind_name(v));
    else if (a->name[i])
      json_object_set(out->json, a->name[i], v->json);
    else if (json_is_object(v->json))
      json_object_update(out->json, v->json);
    else
      rc = zj_fail(e, "a mapping: expected names with values");
  }
  if (names) out->kind = ZJ_NAMESPACE;
  return rc;
}

static int now(struct zj_env *e, struct zj_value *out, const struct zj_args *a) {
  const char *format = NULL;
  char text[256];
  struct tm tm;
  time_t t = (time_t)e->now;
  int rc = zj_arg_text(e, &format, a, 0, "format");
  if (rc || !format) return rc ? rc : zj_fail(e, "strftime_now: expected a format");
  localtime_r(&t, &tm);
  size_t n = strlen(format) < 64 ? strftime(text, sizeof text, format, &tm) : 0;
  return zj_text(e, out, text, n);
}

int zj_global(struct zj_env *e, struct zj_value *out, const char *name,
              const struct zj_args *args) {
  const char *text = NULL;
  if (!strcmp(name, "range")) return range(e, out, args);
  if (!strcmp(name, "namespace")) return mapping(e, out, args, 1);
  if (!strcmp(name, "dict")) return mapping(e, out, args, 0);
  if (!strcmp(name, "strftime_now")) return now(e, out, args);
  int rc = zj_arg_text(e, &text, args, 0, NULL);
  return rc ? rc : zj_fail(e, "the template refuses: %s", text ? text : "");
}
