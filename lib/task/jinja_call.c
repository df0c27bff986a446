/* Filters of the template interpreter: a table. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fmt/json.h"
#include "jinja_internal.h"

/* --- arguments --------------------------------------------------------------------------------- */

const struct zj_value *zj_arg(const struct zj_args *args, int place, const char *name) {
  int at = 0;
  for (int i = 0; i < args->count; i++) {
    if (args->name[i] && name && !strcmp(args->name[i], name)) return &args->value[i];
    if (!args->name[i] && at++ == place) return &args->value[i];
  }
  return NULL;
}

static int is_none(const struct zj_value *value) {
  return !value || (value->kind == ZJ_JSON && json_is_null(value->json));
}

int zj_arg_text(struct zj_env *env, const char **out, const struct zj_args *args, int place,
                const char *name) {
  const struct zj_value *value = zj_arg(args, place, name);
  if (is_none(value)) return 0;
  if (value->kind != ZJ_JSON || !json_is_string(value->json))
    return zj_fail(env, "argument %s%d: expected a text, found %s", name ? name : "", place + 1,
                   zj_kind_name(value));
  *out = json_string_value(value->json);
  return 0;
}

int zj_arg_int(struct zj_env *env, int64_t *out, const struct zj_args *args, int place,
               const char *name) {
  const struct zj_value *value = zj_arg(args, place, name);
  if (is_none(value)) return 0;
  if (value->kind != ZJ_JSON || !json_is_integer(value->json))
    return zj_fail(env, "argument %s%d: expected a whole number, found %s", name ? name : "",
                   place + 1, zj_kind_name(value));
  *out = json_integer_value(value->json);
  return 0;
}

static int arg_true(const struct zj_args *args, int place, const char *name) {
  const struct zj_value *value = zj_arg(args, place, name);
  return value && zj_truth(value);
}

typedef const struct zj_value *in_;
typedef const struct zj_args *args_;

/* What a filter of texts works on: str() of it. */
int zj_text_of(struct zj_env *env, struct zj_value *out, in_ v) {
  struct zf_buf buf = {0};
  if (v->kind == ZJ_JSON && json_is_string(v->json)) {
    *out = *v;
    return 0;
  }
  int rc = zj_str(env, &buf, v);
  if (!rc) rc = zj_text(env, out, buf.data, buf.len);
  zf_buf_free(&buf);
  return rc;
}

/* --- texts ---------------------------------------------------------------------------------------- */

static int f_case(struct zj_env *env, struct zj_value *out, in_ v, enum zj_case how) {
  struct zj_value value;
  int rc = zj_text_of(env, &value, v);
  return rc ? rc : zj_case(env, out, json_string_value(value.json), how);
}

static int f_lower(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  (void)a;
  return f_case(env, out, v, ZJ_LOWER);
}

static int f_upper(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  (void)a;
  return f_case(env, out, v, ZJ_UPPER);
}

static int f_title(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  (void)a;
  return f_case(env, out, v, ZJ_TITLE);
}

static int f_capitalize(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  (void)a;
  return f_case(env, out, v, ZJ_CAPITAL);
}

static int f_trim(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  struct zj_value value;
  const char *chars = NULL;
  int rc = zj_text_of(env, &value, v);
  if (!rc) rc = zj_arg_text(env, &chars, a, 0, "chars");
  return rc ? rc : zj_strip(env, out, json_string_value(value.json), chars, 3);
}

static int f_replace(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  struct zj_value value;
  const char *from = NULL, *to = NULL;
  int64_t most = -1;
  int rc = zj_text_of(env, &value, v);
  if (!rc) rc = zj_arg_text(env, &from, a, 0, "old");
  if (!rc) rc = zj_arg_text(env, &to, a, 1, "new");
  if (!rc) rc = zj_arg_int(env, &most, a, 2, "count");
  if (!rc && (!from || !to)) rc = zj_fail(env, "replace: expected two texts");
  return rc ? rc : zj_replace(env, out, json_string_value(value.json), from, to, most);
}

static int f_string(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  (void)a;
  return zj_text_of(env, out, v);
}

static int f_escape(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  static const char from[] = "&<>'\"";
  static const char *const to[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
  struct zj_value value;
  struct zf_buf buf = {0};
  (void)a;
  int rc = zj_text_of(env, &value, v);
  for (const char *p = rc ? "" : json_string_value(value.json); *p; p++) {
    const char *hit = strchr(from, *p);
    if (hit)
      zf_buf_puts(&buf, to[hit - from]);
    else
      zf_buf_putc(&buf, *p);
  }
  if (!rc) rc = zf_buf_ok(&buf);
  if (!rc) rc = zj_text(env, out, buf.data, buf.len);
  zf_buf_free(&buf);
  return rc;
}

static int f_indent(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  struct zj_value value;
  struct zf_buf buf = {0};
  int64_t width = 4;
  int rc = zj_text_of(env, &value, v), first = arg_true(a, 1, "first"),
      blank = arg_true(a, 2, "blank");
  if (!rc) rc = zj_arg_int(env, &width, a, 0, "width");
  if (!rc && (width < 0 || width > 256)) rc = zj_fail(env, "indent: %lld", (long long)width);
  const char *p = rc ? "" : json_string_value(value.json);
  for (int line = 0; !rc && (*p || !line); line++) {
    size_t n = strcspn(p, "\n");
    for (int64_t i = 0; (line ? n || blank : first) && i < width; i++) zf_buf_putc(&buf, ' ');
    zf_buf_add(&buf, p, n + (p[n] == '\n'));
    p += n + (p[n] == '\n');
    if (buf.len > ZF_JINJA_BYTES) rc = zj_fail(env, "indent: too much text");
  }
  if (!rc) rc = zf_buf_ok(&buf);
  if (!rc) rc = zj_text(env, out, buf.data, buf.len);
  zf_buf_free(&buf);
  return rc;
}

/* As Transformers has it: json.dumps, other letters than ASCII as they are. */
static int f_tojson(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  struct zj_dump how = {NULL, NULL, -1, arg_true(a, 0, "ensure_ascii"), arg_true(a, 3, "sort_keys"),
                        0};
  const struct zj_value *pair = zj_arg(a, 2, "separators");
  struct zf_buf buf = {0};
  int rc = zj_arg_int(env, &how.indent, a, 1, "indent");
  if (!rc && how.indent > 64) rc = zj_fail(env, "tojson: indent %lld", (long long)how.indent);
  if (!rc && v->kind != ZJ_JSON) rc = zj_fail(env, "tojson: %s", zj_kind_name(v));
  if (rc) return rc;
  how.comma = how.indent < 0 ? ", " : ",";
  how.colon = ": ";
  if (!is_none(pair) && pair->kind == ZJ_JSON) {
    how.comma = json_string_value(json_array_get(pair->json, 0));
    how.colon = json_string_value(json_array_get(pair->json, 1));
    if (!how.comma || !how.colon) return zj_fail(env, "tojson: separators: expected two texts");
  }
  rc = zj_dump(env, &buf, v->json, &how, 0);
  if (!rc) rc = zj_text(env, out, buf.data, buf.len);
  zf_buf_free(&buf);
  return rc;
}

/* --- numbers ---------------------------------------------------------------------------------------- */

static int f_int(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  int64_t n = 0;
  int rc = zj_arg_int(env, &n, a, 0, "default");
  if (rc || v->kind != ZJ_JSON) return rc ? rc : zj_int(env, out, n);
  if (json_is_string(v->json)) {
    char *end;
    double x = strtod(json_string_value(v->json), &end);
    int some = end != json_string_value(v->json);
    while (zj_is_space((unsigned char)*end)) end++;
    if (some && !*end && fabs(x) < 9e15) n = (int64_t)x;
  } else if (json_is_boolean(v->json)) {
    n = json_is_true(v->json);
  } else if (json_is_number(v->json) && fabs(json_number_value(v->json)) < 9e15) {
    n = json_is_integer(v->json) ? json_integer_value(v->json) : (int64_t)json_real_value(v->json);
  }
  return zj_int(env, out, n);
}

static int f_float(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  double x = 0;
  (void)a;
  if (v->kind == ZJ_JSON && json_is_string(v->json)) x = strtod(json_string_value(v->json), NULL);
  if (v->kind == ZJ_JSON && json_is_number(v->json)) x = json_number_value(v->json);
  return zj_keep(env, out, json_real(x), 0);
}

static int f_abs(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  (void)a;
  if (v->kind != ZJ_JSON || !json_is_number(v->json))
    return zj_fail(env, "abs: %s", zj_kind_name(v));
  if (json_is_integer(v->json)) return zj_int(env, out, llabs(json_integer_value(v->json)));
  return zj_keep(env, out, json_real(fabs(json_real_value(v->json))), 0);
}

static int f_round(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  int64_t digits = 0;
  int rc = zj_arg_int(env, &digits, a, 0, "precision");
  if (rc) return rc;
  if (v->kind != ZJ_JSON || !json_is_number(v->json) || digits < 0 || digits > 12)
    return zj_fail(env, "round: %s to %lld digits", zj_kind_name(v), (long long)digits);
  double scale = pow(10, (double)digits);
  return zj_keep(env, out, json_real(nearbyint(json_number_value(v->json) * scale) / scale), 0);
}

/* --- lists -------------------------------------------------------------------------------------------- */

static int f_length(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  json_t *list;
  (void)a;
  if (v->kind == ZJ_JSON && json_is_string(v->json))
    return zj_int(env, out, zj_chars(json_string_value(v->json)));
  int rc = zj_items(env, &list, v);
  return rc ? rc : zj_int(env, out, (int64_t)json_array_size(list));
}

static int end_item(struct zj_env *env, struct zj_value *out, in_ v, int last) {
  json_t *list;
  int rc = zj_items(env, &list, v);
  if (rc) return rc;
  size_t n = json_array_size(list);
  if (n) return zj_keep(env, out, json_incref(json_array_get(list, last ? n - 1 : 0)), 0);
  *out = (struct zj_value){.kind = ZJ_UNDEF, .name = last ? "last" : "first"};
  return 0;
}

static int f_first(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  (void)a;
  return end_item(env, out, v, 0);
}

static int f_last(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  (void)a;
  return end_item(env, out, v, 1);
}

static int f_list(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  json_t *list;
  (void)a;
  int rc = zj_items(env, &list, v);
  if (rc) return rc;
  int plain = zj_shape_of(env, list) == ZJ_LIST;
  return zj_keep(env, out, plain ? json_incref(list) : json_copy(list),
                 (int64_t)json_array_size(list) * 8);
}

static int f_reverse(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  json_t *list;
  (void)a;
  int rc = zj_items(env, &list, v);
  if (!rc) rc = zj_keep(env, out, json_array(), (int64_t)json_array_size(rc ? NULL : list) * 8);
  for (size_t i = rc ? 0 : json_array_size(list); i > 0; i--)
    json_array_append(out->json, json_array_get(list, i - 1));
  if (rc || v->kind != ZJ_JSON || !json_is_string(v->json)) return rc;
  struct zj_value none = {.kind = ZJ_JSON, .json = out->json};
  struct zf_buf buf = {0};
  for (size_t i = 0; i < json_array_size(none.json); i++)
    zf_buf_puts(&buf, json_string_value(json_array_get(none.json, i)));
  rc = zf_buf_ok(&buf);
  if (!rc) rc = zj_text(env, out, buf.data, buf.len);
  zf_buf_free(&buf);
  return rc;
}

/* The item itself, or its attribute a.b. */
static const json_t *attribute(const json_t *value, const char *path) {
  char name[128];
  while (path && *path && value) {
    size_t n = strcspn(path, ".");
    if (n >= sizeof name) return NULL;
    memcpy(name, path, n);
    name[n] = 0;
    value = json_object_get(value, name);
    path += n + (path[n] == '.');
  }
  return value;
}

static int f_join(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  const char *between = "", *path = NULL;
  struct zf_buf buf = {0};
  json_t *list = NULL, *x;
  size_t i;
  int rc = zj_arg_text(env, &between, a, 0, "d");
  if (!rc) rc = zj_arg_text(env, &path, a, 1, "attribute");
  if (!rc) rc = zj_items(env, &list, v);
  json_array_foreach(list, i, x) {
    struct zj_value item = {.kind = ZJ_JSON, .json = (json_t *)attribute(x, path)};
    if (!item.json) item.kind = ZJ_UNDEF;
    if (i) zf_buf_puts(&buf, between);
    if (!rc) rc = buf.len > ZF_JINJA_BYTES ? zj_fail(env, "join: too much text") : zj_step(env);
    if (!rc) rc = zj_str(env, &buf, &item);
    if (rc) break;
  }
  if (!rc) rc = zf_buf_ok(&buf);
  if (!rc) rc = zj_text(env, out, buf.data, buf.len);
  zf_buf_free(&buf);
  return rc;
}

static int f_items(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  struct zj_value value = *v;
  if (v->kind == ZJ_UNDEF) return zj_keep(env, out, json_array(), 0);
  if (v->kind != ZJ_JSON || !json_is_object(v->json))
    return zj_fail(env, "items: %s is no mapping", zj_kind_name(v));
  value.name = "items";
  return zj_method(env, out, &value, a);
}

/* Stable, by insertion: the lists of templates are short, and every comparison counts. */
static int sort(struct zj_env *env, struct zj_value *out, json_t *list, const char *path, int fold,
                int reverse) {
  size_t n = json_array_size(list);
  int rc = zj_keep(env, out, json_array(), (int64_t)n * 8);
  for (size_t i = 0; !rc && i < n; i++) {
    json_t *item = json_array_get(list, i);
    size_t at = i;
    for (; at > 0; at--) {
      const json_t *p = attribute(json_array_get(out->json, at - 1), path),
                   *q = attribute(item, path);
      int order = 0;
      if (!p || !q) return zj_fail(env, "sort: an item has no '%s'", path);
      if (fold && json_is_string(p) && json_is_string(q)) {
        order = strcasecmp(json_string_value(p), json_string_value(q));
        rc = zj_step(env);
      } else {
        rc = zj_order(env, p, q, &order);
        if (!rc) rc = zj_step(env);
      }
      if (rc) return rc;
      if (reverse ? order >= 0 : order <= 0) break;
    }
    json_array_insert(out->json, at, item);
  }
  return rc;
}

static int f_sort(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  const char *path = NULL;
  json_t *list;
  int rc = zj_items(env, &list, v);
  if (!rc) rc = zj_arg_text(env, &path, a, 2, "attribute");
  return rc ? rc
            : sort(env, out, list, path, !arg_true(a, 1, "case_sensitive"),
                   arg_true(a, 0, "reverse"));
}

static int f_dictsort(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  struct zj_value keys, pair;
  json_t *list, *key;
  size_t i;
  if (v->kind != ZJ_JSON || !json_is_object(v->json) || zj_arg(a, 1, "by"))
    return zj_fail(env, "dictsort: only of a mapping, by its keys");
  int rc = zj_items(env, &list, v);
  if (!rc)
    rc = sort(env, &keys, list, NULL, !arg_true(a, 0, "case_sensitive"), arg_true(a, 2, "reverse"));
  if (!rc) rc = zj_keep(env, out, json_array(), 0);
  json_array_foreach(rc ? NULL : keys.json, i, key) {
    const char *k = json_string_value(key);
    json_t *both = json_pack("[s, O]", k, json_object_get(v->json, k));
    if (!rc) rc = zj_keep(env, &pair, both, 16);
    if (!rc) rc = zj_set_shape(env, pair.json, ZJ_TUPLE);
    if (!rc) json_array_append(out->json, pair.json);
  }
  return rc;
}

static int f_unique(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  json_t *list = NULL, *item;
  size_t i;
  (void)a;
  int rc = zj_items(env, &list, v);
  if (!rc) rc = zj_keep(env, out, json_array(), 0);
  json_array_foreach(rc ? NULL : list, i, item) {
    int same = 0;
    for (size_t k = 0; !rc && !same && k < json_array_size(out->json); k++)
      rc = zj_equal(env, item, json_array_get(out->json, k), &same);
    if (!rc && !same) json_array_append(out->json, item);
  }
  return rc;
}

static int extreme(struct zj_env *env, struct zj_value *out, in_ v, int sign) {
  json_t *list, *best = NULL, *item;
  size_t i;
  int rc = zj_items(env, &list, v), order = 0;
  json_array_foreach(rc ? NULL : list, i, item) {
    if (!rc && best) rc = zj_order(env, item, best, &order);
    if (!best || order * sign > 0) best = item;
  }
  if (rc) return rc;
  if (best) return zj_keep(env, out, json_incref(best), 0);
  *out = (struct zj_value){.kind = ZJ_UNDEF, .name = "min or max of nothing"};
  return 0;
}

static int f_min(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  (void)a;
  return extreme(env, out, v, -1);
}

static int f_max(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  (void)a;
  return extreme(env, out, v, 1);
}

static int f_sum(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  json_t *list, *item;
  const char *path = NULL;
  size_t i;
  double sum = 0;
  int whole = 1, rc = zj_items(env, &list, v);
  if (!rc) rc = zj_arg_text(env, &path, a, 0, "attribute");
  json_array_foreach(rc ? NULL : list, i, item) {
    const json_t *y = attribute(item, path);
    if (!rc && !json_is_number(y)) rc = zj_fail(env, "sum: an item is %s", zf_json_kind(y));
    whole &= json_is_integer(y);
    sum += json_number_value(y);
  }
  if (rc) return rc;
  return whole && fabs(sum) < 9e15 ? zj_int(env, out, (int64_t)sum)
                                   : zj_keep(env, out, json_real(sum), 0);
}

static int f_default(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  const struct zj_value *other = zj_arg(a, 0, "default_value");
  int missing = v->kind == ZJ_UNDEF || (arg_true(a, 1, "boolean") && !zj_truth(v));
  *out = *v;
  if (missing && other) *out = *other;
  return missing && !other ? zj_text(env, out, "", 0) : 0;
}

/* --- map and select: filters and tests by name ------------------------------------------------------ */

/* The arguments behind the first. */
static struct zj_args rest(args_ a, int from) {
  struct zj_args args = {.count = 0};
  for (int i = from; i < a->count; i++) {
    args.value[args.count] = a->value[i];
    args.name[args.count++] = a->name[i];
  }
  return args;
}

static int f_map(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  const char *path = NULL, *filter = NULL;
  const struct zj_value *other = zj_arg(a, 9, "default");
  struct zj_args more = rest(a, 1);
  json_t *list = NULL, *x;
  size_t i;
  int rc = zj_arg_text(env, &path, a, 9, "attribute");
  if (!rc && !path) rc = zj_arg_text(env, &filter, a, 0, NULL);
  if (!rc && !path && (!filter || !zj_is_filter(filter)))
    rc = zj_fail(env, "map: filter '%s' is not supported", filter ? filter : "");
  if (!rc) rc = zj_items(env, &list, v);
  if (!rc) rc = zj_keep(env, out, json_array(), 0);
  json_array_foreach(rc ? NULL : list, i, x) {
    struct zj_value item = {.kind = ZJ_JSON, .json = x}, made = item;
    if (path) made.json = (json_t *)attribute(x, path);
    if (path && !made.json && other) made = *other;
    if (!rc && !path) rc = zj_filter(env, &made, filter, &item, &more);
    if (!rc && (made.kind != ZJ_JSON || !made.json))
      rc = zj_fail(env, "map: item %zu has no such value", i);
    if (!rc) json_array_append(out->json, made.json);
    if (!rc) rc = zj_step(env);
  }
  return rc;
}

static int choose(struct zj_env *env, struct zj_value *out, in_ v, args_ a, int by, int keep) {
  const char *path = NULL, *test = NULL;
  struct zj_args more = rest(a, by + 1);
  json_t *list = NULL, *x;
  size_t i;
  int rc = by ? zj_arg_text(env, &path, a, 0, NULL) : 0;
  if (!rc) rc = zj_arg_text(env, &test, a, by, NULL);
  if (!rc && by && !path) rc = zj_fail(env, "selectattr: expected a name");
  if (!rc && test && !zj_is_test(test)) rc = zj_fail(env, "test '%s' is not supported", test);
  if (!rc) rc = zj_items(env, &list, v);
  if (!rc) rc = zj_keep(env, out, json_array(), 0);
  json_array_foreach(rc ? NULL : list, i, x) {
    struct zj_value item = {.kind = ZJ_JSON, .json = (json_t *)attribute(x, path)};
    int yes = 0;
    if (!item.json) item.kind = ZJ_UNDEF;
    if (!rc && test)
      rc = zj_test(env, &yes, test, &item, &more);
    else
      yes = zj_truth(&item);
    if (!rc && yes == keep) json_array_append(out->json, x);
    if (!rc) rc = zj_step(env);
  }
  return rc;
}

static int f_select(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  return choose(env, out, v, a, 0, 1);
}

static int f_reject(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  return choose(env, out, v, a, 0, 0);
}

static int f_selectattr(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  return choose(env, out, v, a, 1, 1);
}

static int f_rejectattr(struct zj_env *env, struct zj_value *out, in_ v, args_ a) {
  return choose(env, out, v, a, 1, 0);
}

static const struct {
  const char *name;
  int (*apply)(struct zj_env *e, struct zj_value *out, in_ v, args_ a);
} filters[] = {
    {"abs", f_abs},
    {"capitalize", f_capitalize},
    {"count", f_length},
    {"d", f_default},
    {"default", f_default},
    {"dictsort", f_dictsort},
    {"e", f_escape},
    {"escape", f_escape},
    {"first", f_first},
    {"float", f_float},
    {"indent", f_indent},
    {"int", f_int},
    {"items", f_items},
    {"join", f_join},
    {"last", f_last},
    {"length", f_length},
    {"list", f_list},
    {"lower", f_lower},
    {"map", f_map},
    {"max", f_max},
    {"min", f_min},
    {"reject", f_reject},
    {"rejectattr", f_rejectattr},
    {"replace", f_replace},
    {"reverse", f_reverse},
    {"round", f_round},
    {"safe", f_string},
    {"select", f_select},
    {"selectattr", f_selectattr},
    {"sort", f_sort},
    {"string", f_string},
    {"sum", f_sum},
    {"title", f_title},
    {"tojson", f_tojson},
    {"trim", f_trim},
    {"unique", f_unique},
    {"upper", f_upper},
};
enum { FILTERS = sizeof filters / sizeof *filters };

int zj_is_filter(const char *name) {
  for (int i = 0; i < FILTERS; i++)
    if (!strcmp(filters[i].name, name)) return 1;
  return 0;
}

int zj_filter(struct zj_env *env, struct zj_value *out, const char *name, const struct zj_value *in,
              const struct zj_args *args) {
  int rc =
      ++env->depth > ZF_JINJA_DEPTH ? zj_fail(env, "nested more than %d deep", ZF_JINJA_DEPTH) : 0;
  for (int i = 0; !rc && i < FILTERS; i++)
    if (!strcmp(filters[i].name, name)) {
      rc = filters[i].apply(env, out, in, args);
      break;
    }
  env->depth--;
  return rc;
}

const char *zf_jinja_filters(void) {
  static char text[1024];
  if (text[0]) return text;
  for (int i = 0; i < FILTERS; i++) strcat(strcat(text, i ? " " : "filters: "), filters[i].name);
  strcat(text, "; tests:");
  for (int i = 0; zj_test_name(i); i++) strcat(strcat(text, " "), zj_test_name(i));
  return text;
}
