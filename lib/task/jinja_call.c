/* Filters of the template interpreter: a table. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fmt/json.h"
#include "jinja_internal.h"

/* --- arguments --------------------------------------------------------------------------------- */

const struct zj_value *zj_arg(const struct zj_args *args, int position, const char *name) {
  int positional = 0;
  for (int i = 0; i < args->count; i++) {
    if (args->name[i] && name && !strcmp(args->name[i], name)) return &args->value[i];
    if (!args->name[i] && positional++ == position) return &args->value[i];
  }
  return NULL;
}

static int is_none(const struct zj_value *value) {
  return !value || (value->kind == ZJ_JSON && json_is_null(value->json));
}

int zj_arg_text(struct zj_env *env, const char **out, const struct zj_args *args, int position,
                const char *name) {
  const struct zj_value *value = zj_arg(args, position, name);
  if (is_none(value)) return 0;
  if (value->kind != ZJ_JSON || !json_is_string(value->json))
    return zj_fail(env, "argument %s%d: expected a text, found %s", name ? name : "", position + 1,
                   zj_kind_name(value));
  *out = json_string_value(value->json);
  return 0;
}

int zj_arg_int(struct zj_env *env, int64_t *out, const struct zj_args *args, int position,
               const char *name) {
  const struct zj_value *value = zj_arg(args, position, name);
  if (is_none(value)) return 0;
  if (value->kind != ZJ_JSON || !json_is_integer(value->json))
    return zj_fail(env, "argument %s%d: expected a whole number, found %s", name ? name : "",
                   position + 1, zj_kind_name(value));
  *out = json_integer_value(value->json);
  return 0;
}

static int arg_true(const struct zj_args *args, int position, const char *name) {
  const struct zj_value *value = zj_arg(args, position, name);
  return value && zj_truth(value);
}

/* What a filter of texts works on: str() of it. */
int zj_text_of(struct zj_env *env, struct zj_value *out, const struct zj_value *in) {
  struct zf_buf buf = {0};
  if (in->kind == ZJ_JSON && json_is_string(in->json)) {
    *out = *in;
    return 0;
  }
  int rc = zj_str(env, &buf, in);
  if (!rc) rc = zj_text(env, out, buf.data, buf.len);
  zf_buf_free(&buf);
  return rc;
}

/* --- texts ---------------------------------------------------------------------------------------- */

static int f_case(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                  enum zj_case letter_case) {
  struct zj_value value;
  int rc = zj_text_of(env, &value, in);
  return rc ? rc : zj_case(env, out, json_string_value(value.json), letter_case);
}

static int f_lower(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                   const struct zj_args *args) {
  (void)args;
  return f_case(env, out, in, ZJ_LOWER);
}

static int f_upper(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                   const struct zj_args *args) {
  (void)args;
  return f_case(env, out, in, ZJ_UPPER);
}

static int f_title(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                   const struct zj_args *args) {
  (void)args;
  return f_case(env, out, in, ZJ_TITLE);
}

static int f_capitalize(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                        const struct zj_args *args) {
  (void)args;
  return f_case(env, out, in, ZJ_CAPITAL);
}

static int f_trim(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                  const struct zj_args *args) {
  struct zj_value value;
  const char *chars = NULL;
  int rc = zj_text_of(env, &value, in);
  if (!rc) rc = zj_arg_text(env, &chars, args, 0, "chars");
  return rc ? rc : zj_strip(env, out, json_string_value(value.json), chars, 3);
}

static int f_replace(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                     const struct zj_args *args) {
  struct zj_value value;
  const char *from = NULL, *to = NULL;
  int64_t max_count = -1;
  int rc = zj_text_of(env, &value, in);
  if (!rc) rc = zj_arg_text(env, &from, args, 0, "old");
  if (!rc) rc = zj_arg_text(env, &to, args, 1, "new");
  if (!rc) rc = zj_arg_int(env, &max_count, args, 2, "count");
  if (!rc && (!from || !to)) rc = zj_fail(env, "replace: expected two texts");
  return rc ? rc : zj_replace(env, out, json_string_value(value.json), from, to, max_count);
}

static int f_string(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                    const struct zj_args *args) {
  (void)args;
  return zj_text_of(env, out, in);
}

static int f_escape(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                    const struct zj_args *args) {
  static const char from[] = "&<>'\"";
  static const char *const to[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
  struct zj_value value;
  struct zf_buf buf = {0};
  (void)args;
  int rc = zj_text_of(env, &value, in);
  for (const char *c = rc ? "" : json_string_value(value.json); *c; c++) {
    const char *hit = strchr(from, *c);
    if (hit)
      zf_buf_puts(&buf, to[hit - from]);
    else
      zf_buf_putc(&buf, *c);
  }
  if (!rc) rc = zf_buf_ok(&buf);
  if (!rc) rc = zj_text(env, out, buf.data, buf.len);
  zf_buf_free(&buf);
  return rc;
}

static int f_indent(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                    const struct zj_args *args) {
  struct zj_value value;
  struct zf_buf buf = {0};
  int64_t width = 4;
  int rc = zj_text_of(env, &value, in), first = arg_true(args, 1, "first"),
      blank = arg_true(args, 2, "blank");
  if (!rc) rc = zj_arg_int(env, &width, args, 0, "width");
  if (!rc && (width < 0 || width > 256)) rc = zj_fail(env, "indent: %lld", (long long)width);
  const char *text = rc ? "" : json_string_value(value.json);
  for (int line = 0; !rc && (*text || !line); line++) {
    size_t len = strcspn(text, "\n");
    for (int64_t i = 0; (line ? len || blank : first) && i < width; i++) zf_buf_putc(&buf, ' ');
    zf_buf_add(&buf, text, len + (text[len] == '\n'));
    text += len + (text[len] == '\n');
    if (buf.len > ZF_JINJA_BYTES) rc = zj_fail(env, "indent: too much text");
  }
  if (!rc) rc = zf_buf_ok(&buf);
  if (!rc) rc = zj_text(env, out, buf.data, buf.len);
  zf_buf_free(&buf);
  return rc;
}

/* As Transformers has it: json.dumps, other letters than ASCII as they are. */
static int f_tojson(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                    const struct zj_args *args) {
  struct zj_dump style = {
      NULL, NULL, -1, arg_true(args, 0, "ensure_ascii"), arg_true(args, 3, "sort_keys"), 0};
  const struct zj_value *separators = zj_arg(args, 2, "separators");
  struct zf_buf buf = {0};
  int rc = zj_arg_int(env, &style.indent, args, 1, "indent");
  if (!rc && style.indent > 64) rc = zj_fail(env, "tojson: indent %lld", (long long)style.indent);
  if (!rc && in->kind != ZJ_JSON) rc = zj_fail(env, "tojson: %s", zj_kind_name(in));
  if (rc) return rc;
  style.comma = style.indent < 0 ? ", " : ",";
  style.colon = ": ";
  if (!is_none(separators) && separators->kind == ZJ_JSON) {
    style.comma = json_string_value(json_array_get(separators->json, 0));
    style.colon = json_string_value(json_array_get(separators->json, 1));
    if (!style.comma || !style.colon) return zj_fail(env, "tojson: separators: expected two texts");
  }
  rc = zj_dump(env, &buf, in->json, &style, 0);
  if (!rc) rc = zj_text(env, out, buf.data, buf.len);
  zf_buf_free(&buf);
  return rc;
}

/* --- numbers ---------------------------------------------------------------------------------------- */

static int f_int(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                 const struct zj_args *args) {
  int64_t number = 0;
  int rc = zj_arg_int(env, &number, args, 0, "default");
  if (rc || in->kind != ZJ_JSON) return rc ? rc : zj_int(env, out, number);
  if (json_is_string(in->json)) {
    char *end;
    double parsed = strtod(json_string_value(in->json), &end);
    int has_digits = end != json_string_value(in->json);
    while (zj_is_space((unsigned char)*end)) end++;
    if (has_digits && !*end && fabs(parsed) < 9e15) number = (int64_t)parsed;
  } else if (json_is_boolean(in->json)) {
    number = json_is_true(in->json);
  } else if (json_is_number(in->json) && fabs(json_number_value(in->json)) < 9e15) {
    number = json_is_integer(in->json) ? json_integer_value(in->json)
                                       : (int64_t)json_real_value(in->json);
  }
  return zj_int(env, out, number);
}

static int f_float(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                   const struct zj_args *args) {
  double number = 0;
  (void)args;
  if (in->kind == ZJ_JSON && json_is_string(in->json))
    number = strtod(json_string_value(in->json), NULL);
  if (in->kind == ZJ_JSON && json_is_number(in->json)) number = json_number_value(in->json);
  return zj_keep(env, out, json_real(number), 0);
}

static int f_abs(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                 const struct zj_args *args) {
  (void)args;
  if (in->kind != ZJ_JSON || !json_is_number(in->json))
    return zj_fail(env, "abs: %s", zj_kind_name(in));
  if (json_is_integer(in->json)) return zj_int(env, out, llabs(json_integer_value(in->json)));
  return zj_keep(env, out, json_real(fabs(json_real_value(in->json))), 0);
}

static int f_round(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                   const struct zj_args *args) {
  int64_t digits = 0;
  int rc = zj_arg_int(env, &digits, args, 0, "precision");
  if (rc) return rc;
  if (in->kind != ZJ_JSON || !json_is_number(in->json) || digits < 0 || digits > 12)
    return zj_fail(env, "round: %s to %lld digits", zj_kind_name(in), (long long)digits);
  double scale = pow(10, (double)digits);
  return zj_keep(env, out, json_real(nearbyint(json_number_value(in->json) * scale) / scale), 0);
}

/* --- lists -------------------------------------------------------------------------------------------- */

static int f_length(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                    const struct zj_args *args) {
  json_t *list;
  (void)args;
  if (in->kind == ZJ_JSON && json_is_string(in->json))
    return zj_int(env, out, zj_chars(json_string_value(in->json)));
  int rc = zj_items(env, &list, in);
  return rc ? rc : zj_int(env, out, (int64_t)json_array_size(list));
}

static int end_item(struct zj_env *env, struct zj_value *out, const struct zj_value *in, int last) {
  json_t *list;
  int rc = zj_items(env, &list, in);
  if (rc) return rc;
  size_t count = json_array_size(list);
  if (count) return zj_keep(env, out, json_incref(json_array_get(list, last ? count - 1 : 0)), 0);
  *out = (struct zj_value){.kind = ZJ_UNDEF, .name = last ? "last" : "first"};
  return 0;
}

static int f_first(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                   const struct zj_args *args) {
  (void)args;
  return end_item(env, out, in, 0);
}

static int f_last(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                  const struct zj_args *args) {
  (void)args;
  return end_item(env, out, in, 1);
}

static int f_list(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                  const struct zj_args *args) {
  json_t *list;
  (void)args;
  int rc = zj_items(env, &list, in);
  if (rc) return rc;
  int plain = zj_shape_of(env, list) == ZJ_LIST;
  return zj_keep(env, out, plain ? json_incref(list) : json_copy(list),
                 (int64_t)json_array_size(list) * 8);
}

static int f_reverse(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                     const struct zj_args *args) {
  json_t *list;
  (void)args;
  int rc = zj_items(env, &list, in);
  if (!rc) rc = zj_keep(env, out, json_array(), (int64_t)json_array_size(rc ? NULL : list) * 8);
  for (size_t i = rc ? 0 : json_array_size(list); i > 0; i--)
    json_array_append(out->json, json_array_get(list, i - 1));
  if (rc || in->kind != ZJ_JSON || !json_is_string(in->json)) return rc;
  struct zj_value reversed = {.kind = ZJ_JSON, .json = out->json};
  struct zf_buf buf = {0};
  for (size_t i = 0; i < json_array_size(reversed.json); i++)
    zf_buf_puts(&buf, json_string_value(json_array_get(reversed.json, i)));
  rc = zf_buf_ok(&buf);
  if (!rc) rc = zj_text(env, out, buf.data, buf.len);
  zf_buf_free(&buf);
  return rc;
}

/* The item itself, or its attribute a.b. */
static const json_t *attribute(const json_t *value, const char *path) {
  char name[128];
  while (path && *path && value) {
    size_t len = strcspn(path, ".");
    if (len >= sizeof name) return NULL;
    memcpy(name, path, len);
    name[len] = 0;
    value = json_object_get(value, name);
    path += len + (path[len] == '.');
  }
  return value;
}

static int f_join(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                  const struct zj_args *args) {
  const char *separator = "", *path = NULL;
  struct zf_buf buf = {0};
  json_t *list = NULL, *element;
  size_t i;
  int rc = zj_arg_text(env, &separator, args, 0, "d");
  if (!rc) rc = zj_arg_text(env, &path, args, 1, "attribute");
  if (!rc) rc = zj_items(env, &list, in);
  json_array_foreach(list, i, element) {
    struct zj_value item = {.kind = ZJ_JSON, .json = (json_t *)attribute(element, path)};
    if (!item.json) item.kind = ZJ_UNDEF;
    if (i) zf_buf_puts(&buf, separator);
    if (!rc) rc = buf.len > ZF_JINJA_BYTES ? zj_fail(env, "join: too much text") : zj_step(env);
    if (!rc) rc = zj_str(env, &buf, &item);
    if (rc) break;
  }
  if (!rc) rc = zf_buf_ok(&buf);
  if (!rc) rc = zj_text(env, out, buf.data, buf.len);
  zf_buf_free(&buf);
  return rc;
}

static int f_items(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                   const struct zj_args *args) {
  struct zj_value value = *in;
  if (in->kind == ZJ_UNDEF) return zj_keep(env, out, json_array(), 0);
  if (in->kind != ZJ_JSON || !json_is_object(in->json))
    return zj_fail(env, "items: %s is no mapping", zj_kind_name(in));
  value.name = "items";
  return zj_method(env, out, &value, args);
}

/* Stable, by insertion: the lists of templates are short, and every comparison counts. */
static int sort(struct zj_env *env, struct zj_value *out, json_t *list, const char *path,
                int ignore_case, int reverse) {
  size_t count = json_array_size(list);
  int rc = zj_keep(env, out, json_array(), (int64_t)count * 8);
  for (size_t i = 0; !rc && i < count; i++) {
    json_t *item = json_array_get(list, i);
    size_t place = i;
    for (; place > 0; place--) {
      const json_t *left = attribute(json_array_get(out->json, place - 1), path),
                   *right = attribute(item, path);
      int order = 0;
      if (!left || !right) return zj_fail(env, "sort: an item has no '%s'", path);
      if (ignore_case && json_is_string(left) && json_is_string(right)) {
        order = strcasecmp(json_string_value(left), json_string_value(right));
        rc = zj_step(env);
      } else {
        rc = zj_order(env, left, right, &order);
        if (!rc) rc = zj_step(env);
      }
      if (rc) return rc;
      if (reverse ? order >= 0 : order <= 0) break;
    }
    json_array_insert(out->json, place, item);
  }
  return rc;
}

static int f_sort(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                  const struct zj_args *args) {
  const char *path = NULL;
  json_t *list;
  int rc = zj_items(env, &list, in);
  if (!rc) rc = zj_arg_text(env, &path, args, 2, "attribute");
  return rc ? rc
            : sort(env, out, list, path, !arg_true(args, 1, "case_sensitive"),
                   arg_true(args, 0, "reverse"));
}

static int f_dictsort(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                      const struct zj_args *args) {
  struct zj_value keys, pair;
  json_t *list, *key;
  size_t i;
  if (in->kind != ZJ_JSON || !json_is_object(in->json) || zj_arg(args, 1, "by"))
    return zj_fail(env, "dictsort: only of a mapping, by its keys");
  int rc = zj_items(env, &list, in);
  if (!rc)
    rc = sort(env, &keys, list, NULL, !arg_true(args, 0, "case_sensitive"),
              arg_true(args, 2, "reverse"));
  if (!rc) rc = zj_keep(env, out, json_array(), 0);
  json_array_foreach(rc ? NULL : keys.json, i, key) {
    const char *name = json_string_value(key);
    json_t *entry = json_pack("[s, O]", name, json_object_get(in->json, name));
    if (!rc) rc = zj_keep(env, &pair, entry, 16);
    if (!rc) rc = zj_set_shape(env, pair.json, ZJ_TUPLE);
    if (!rc) json_array_append(out->json, pair.json);
  }
  return rc;
}

static int f_unique(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                    const struct zj_args *args) {
  json_t *list = NULL, *item;
  size_t i;
  (void)args;
  int rc = zj_items(env, &list, in);
  if (!rc) rc = zj_keep(env, out, json_array(), 0);
  json_array_foreach(rc ? NULL : list, i, item) {
    int same = 0;
    for (size_t k = 0; !rc && !same && k < json_array_size(out->json); k++)
      rc = zj_equal(env, item, json_array_get(out->json, k), &same);
    if (!rc && !same) json_array_append(out->json, item);
  }
  return rc;
}

static int extreme(struct zj_env *env, struct zj_value *out, const struct zj_value *in, int sign) {
  json_t *list, *best = NULL, *item;
  size_t i;
  int rc = zj_items(env, &list, in), order = 0;
  json_array_foreach(rc ? NULL : list, i, item) {
    if (!rc && best) rc = zj_order(env, item, best, &order);
    if (!best || order * sign > 0) best = item;
  }
  if (rc) return rc;
  if (best) return zj_keep(env, out, json_incref(best), 0);
  *out = (struct zj_value){.kind = ZJ_UNDEF, .name = "min or max of nothing"};
  return 0;
}

static int f_min(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                 const struct zj_args *args) {
  (void)args;
  return extreme(env, out, in, -1);
}

static int f_max(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                 const struct zj_args *args) {
  (void)args;
  return extreme(env, out, in, 1);
}

static int f_sum(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                 const struct zj_args *args) {
  json_t *list, *item;
  const char *path = NULL;
  size_t i;
  double sum = 0;
  int integers = 1, rc = zj_items(env, &list, in);
  if (!rc) rc = zj_arg_text(env, &path, args, 0, "attribute");
  json_array_foreach(rc ? NULL : list, i, item) {
    const json_t *number = attribute(item, path);
    if (!rc && !json_is_number(number))
      rc = zj_fail(env, "sum: an item is %s", zf_json_kind(number));
    integers &= json_is_integer(number);
    sum += json_number_value(number);
  }
  if (rc) return rc;
  return integers && fabs(sum) < 9e15 ? zj_int(env, out, (int64_t)sum)
                                      : zj_keep(env, out, json_real(sum), 0);
}

static int f_default(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                     const struct zj_args *args) {
  const struct zj_value *fallback = zj_arg(args, 0, "default_value");
  int missing = in->kind == ZJ_UNDEF || (arg_true(args, 1, "boolean") && !zj_truth(in));
  *out = *in;
  if (missing && fallback) *out = *fallback;
  return missing && !fallback ? zj_text(env, out, "", 0) : 0;
}

/* --- map and select: filters and tests by name ------------------------------------------------------ */

/* The arguments behind the first. */
static struct zj_args args_from(const struct zj_args *all, int from) {
  struct zj_args from_args = {.count = 0};
  for (int i = from; i < all->count; i++) {
    from_args.value[from_args.count] = all->value[i];
    from_args.name[from_args.count++] = all->name[i];
  }
  return from_args;
}

static int f_map(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                 const struct zj_args *args) {
  const char *path = NULL, *filter = NULL;
  const struct zj_value *fallback = zj_arg(args, 9, "default");
  struct zj_args filter_args = args_from(args, 1);
  json_t *list = NULL, *element;
  size_t i;
  int rc = zj_arg_text(env, &path, args, 9, "attribute");
  if (!rc && !path) rc = zj_arg_text(env, &filter, args, 0, NULL);
  if (!rc && !path && (!filter || !zj_is_filter(filter)))
    rc = zj_fail(env, "map: filter '%s' is not supported", filter ? filter : "");
  if (!rc) rc = zj_items(env, &list, in);
  if (!rc) rc = zj_keep(env, out, json_array(), 0);
  json_array_foreach(rc ? NULL : list, i, element) {
    struct zj_value item = {.kind = ZJ_JSON, .json = element}, mapped = item;
    if (path) mapped.json = (json_t *)attribute(element, path);
    if (path && !mapped.json && fallback) mapped = *fallback;
    if (!rc && !path) rc = zj_filter(env, &mapped, filter, &item, &filter_args);
    if (!rc && (mapped.kind != ZJ_JSON || !mapped.json))
      rc = zj_fail(env, "map: item %zu has no such value", i);
    if (!rc) json_array_append(out->json, mapped.json);
    if (!rc) rc = zj_step(env);
  }
  return rc;
}

static int select_items(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                        const struct zj_args *args, int by_attribute, int keep_if) {
  const char *path = NULL, *test = NULL;
  struct zj_args test_args = args_from(args, by_attribute + 1);
  json_t *list = NULL, *element;
  size_t i;
  int rc = by_attribute ? zj_arg_text(env, &path, args, 0, NULL) : 0;
  if (!rc) rc = zj_arg_text(env, &test, args, by_attribute, NULL);
  if (!rc && by_attribute && !path) rc = zj_fail(env, "selectattr: expected a name");
  if (!rc && test && !zj_is_test(test)) rc = zj_fail(env, "test '%s' is not supported", test);
  if (!rc) rc = zj_items(env, &list, in);
  if (!rc) rc = zj_keep(env, out, json_array(), 0);
  json_array_foreach(rc ? NULL : list, i, element) {
    struct zj_value item = {.kind = ZJ_JSON, .json = (json_t *)attribute(element, path)};
    int yes = 0;
    if (!item.json) item.kind = ZJ_UNDEF;
    if (!rc && test)
      rc = zj_test(env, &yes, test, &item, &test_args);
    else
      yes = zj_truth(&item);
    if (!rc && yes == keep_if) json_array_append(out->json, element);
    if (!rc) rc = zj_step(env);
  }
  return rc;
}

static int f_select(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                    const struct zj_args *args) {
  return select_items(env, out, in, args, 0, 1);
}

static int f_reject(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                    const struct zj_args *args) {
  return select_items(env, out, in, args, 0, 0);
}

static int f_selectattr(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                        const struct zj_args *args) {
  return select_items(env, out, in, args, 1, 1);
}

static int f_rejectattr(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                        const struct zj_args *args) {
  return select_items(env, out, in, args, 1, 0);
}

static const struct {
  const char *name;
  int (*apply)(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
               const struct zj_args *args);
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
