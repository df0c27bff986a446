/* Filters of lists and mappings. */
#include <math.h>
#include <string.h>

#include "fmt/json.h"
#include "jinja_filter_internal.h"

int zj_filter_length(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
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

int zj_filter_first(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                    const struct zj_args *args) {
  (void)args;
  return end_item(env, out, in, 0);
}

int zj_filter_last(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                   const struct zj_args *args) {
  (void)args;
  return end_item(env, out, in, 1);
}

int zj_filter_list(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                   const struct zj_args *args) {
  json_t *list;
  (void)args;
  int rc = zj_items(env, &list, in);
  if (rc) return rc;
  int plain = zj_shape_of(env, list) == ZJ_LIST;
  return zj_keep(env, out, plain ? json_incref(list) : json_copy(list),
                 (int64_t)json_array_size(list) * 8);
}

/* The items of a list of texts, one behind the other. */
static int join_characters(struct zj_env *env, struct zj_value *out, const json_t *list) {
  struct zf_buf buf = {0};
  for (size_t i = 0; i < json_array_size(list); i++)
    zf_buf_puts(&buf, json_string_value(json_array_get(list, i)));
  int rc = zf_buf_ok(&buf);
  if (!rc) rc = zj_text(env, out, buf.data, buf.len);
  zf_buf_free(&buf);
  return rc;
}

int zj_filter_reverse(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                      const struct zj_args *args) {
  json_t *list;
  (void)args;
  int rc = zj_items(env, &list, in);
  if (!rc) rc = zj_keep(env, out, json_array(), (int64_t)json_array_size(list) * 8);
  if (rc) return rc;
  for (size_t i = json_array_size(list); i > 0; i--)
    json_array_append(out->json, json_array_get(list, i - 1));
  if (in->kind != ZJ_JSON || !json_is_string(in->json)) return 0;
  return join_characters(env, out, out->json);
}

/* The value at a path of keys, "a.b"; the value itself when `path` is NULL.  NULL: there is none. */
static const json_t *get_path(const json_t *value, const char *path) {
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

static int join_items(struct zj_env *env, struct zf_buf *buf, const json_t *list,
                      const char *separator, const char *path) {
  const json_t *element;
  size_t i;
  json_array_foreach(list, i, element) {
    struct zj_value item = {.kind = ZJ_JSON, .json = (json_t *)get_path(element, path)};
    if (!item.json) item.kind = ZJ_UNDEF;
    if (i) zf_buf_puts(buf, separator);
    if (buf->len > ZF_JINJA_BYTES) return zj_fail(env, "join: too much text");
    int rc = zj_step(env);
    if (!rc) rc = zj_str(env, buf, &item);
    if (rc) return rc;
  }
  return zf_buf_ok(buf);
}

int zj_filter_join(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                   const struct zj_args *args) {
  const char *separator = "", *path = NULL;
  struct zf_buf buf = {0};
  json_t *list = NULL;
  int rc = zj_arg_text(env, &separator, args, 0, "d");
  if (!rc) rc = zj_arg_text(env, &path, args, 1, "attribute");
  if (!rc) rc = zj_items(env, &list, in);
  if (!rc) rc = join_items(env, &buf, list, separator, path);
  if (!rc) rc = zj_text(env, out, buf.data, buf.len);
  zf_buf_free(&buf);
  return rc;
}

int zj_filter_items(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                    const struct zj_args *args) {
  struct zj_value value = *in;
  if (in->kind == ZJ_UNDEF) return zj_keep(env, out, json_array(), 0);
  if (in->kind != ZJ_JSON || !json_is_object(in->json))
    return zj_fail(env, "items: expected a mapping, found %s", zj_kind_name(in));
  value.name = "items";
  return zj_method(env, out, &value, args);
}

/* Orders two items by their attribute at `path`: -1, 0, 1 into *order. */
static int compare_items(struct zj_env *env, const json_t *left, const json_t *right,
                         const char *path, int ignore_case, int *order) {
  left = get_path(left, path);
  right = get_path(right, path);
  if (!left || !right) return zj_fail(env, "sort: an item has no '%s'", path);
  if (ignore_case && json_is_string(left) && json_is_string(right)) {
    *order = strcasecmp(json_string_value(left), json_string_value(right));
    return zj_step(env);
  }
  int rc = zj_order(env, left, right, order);
  return rc ? rc : zj_step(env);
}

/* A stable sort by insertion, since the lists of templates are short; every comparison is a step. */
static int sort(struct zj_env *env, struct zj_value *out, json_t *list, const char *path,
                int ignore_case, int reverse) {
  size_t count = json_array_size(list);
  int rc = zj_keep(env, out, json_array(), (int64_t)count * 8);
  if (rc) return rc;
  for (size_t i = 0; i < count; i++) {
    json_t *item = json_array_get(list, i);
    size_t place = i;
    for (; place > 0; place--) {
      int order = 0;
      rc =
          compare_items(env, json_array_get(out->json, place - 1), item, path, ignore_case, &order);
      if (rc) return rc;
      if (reverse ? order >= 0 : order <= 0) break;
    }
    json_array_insert(out->json, place, item);
  }
  return 0;
}

int zj_filter_sort(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                   const struct zj_args *args) {
  const char *path = NULL;
  json_t *list;
  int rc = zj_items(env, &list, in);
  if (!rc) rc = zj_arg_text(env, &path, args, 2, "attribute");
  if (rc) return rc;
  return sort(env, out, list, path, !zj_arg_true(args, 1, "case_sensitive"),
              zj_arg_true(args, 0, "reverse"));
}

int zj_filter_dictsort(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                       const struct zj_args *args) {
  struct zj_value keys, pair;
  json_t *list, *key;
  size_t i;
  if (in->kind != ZJ_JSON || !json_is_object(in->json))
    return zj_fail(env, "dictsort: expected a mapping, found %s", zj_kind_name(in));
  if (zj_arg(args, 1, "by")) return zj_fail(env, "dictsort: by is not supported: keys are sorted");
  int rc = zj_items(env, &list, in);
  if (!rc)
    rc = sort(env, &keys, list, NULL, !zj_arg_true(args, 0, "case_sensitive"),
              zj_arg_true(args, 2, "reverse"));
  if (!rc) rc = zj_keep(env, out, json_array(), 0);
  if (rc) return rc;
  json_array_foreach(keys.json, i, key) {
    const char *name = json_string_value(key);
    rc = zj_keep(env, &pair, json_pack("[s, O]", name, json_object_get(in->json, name)), 16);
    if (!rc) rc = zj_set_shape(env, pair.json, ZJ_TUPLE);
    if (rc) return rc;
    json_array_append(out->json, pair.json);
  }
  return 0;
}

static int contains(struct zj_env *env, const json_t *list, const json_t *item, int *same) {
  *same = 0;
  for (size_t i = 0; i < json_array_size(list); i++) {
    int rc = zj_equal(env, item, json_array_get(list, i), same);
    if (rc || *same) return rc;
  }
  return 0;
}

int zj_filter_unique(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                     const struct zj_args *args) {
  json_t *list = NULL, *item;
  size_t i;
  (void)args;
  int rc = zj_items(env, &list, in), same;
  if (!rc) rc = zj_keep(env, out, json_array(), 0);
  if (rc) return rc;
  json_array_foreach(list, i, item) {
    if ((rc = contains(env, out->json, item, &same))) return rc;
    if (!same) json_array_append(out->json, item);
  }
  return 0;
}

/* The largest item (sign 1) or the smallest (-1), the first of equal ones. */
static int extreme(struct zj_env *env, struct zj_value *out, const struct zj_value *in, int sign) {
  json_t *list, *best = NULL, *item;
  size_t i;
  int rc = zj_items(env, &list, in), order = 0;
  if (rc) return rc;
  json_array_foreach(list, i, item) {
    if (best && (rc = zj_order(env, item, best, &order))) return rc;
    if (!best || order * sign > 0) best = item;
  }
  if (best) return zj_keep(env, out, json_incref(best), 0);
  *out = (struct zj_value){.kind = ZJ_UNDEF, .name = "min or max of nothing"};
  return 0;
}

int zj_filter_min(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                  const struct zj_args *args) {
  (void)args;
  return extreme(env, out, in, -1);
}

int zj_filter_max(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                  const struct zj_args *args) {
  (void)args;
  return extreme(env, out, in, 1);
}

int zj_filter_sum(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                  const struct zj_args *args) {
  json_t *list, *item;
  const char *path = NULL;
  size_t i;
  double sum = 0;
  int integers = 1, rc = zj_items(env, &list, in);
  if (!rc) rc = zj_arg_text(env, &path, args, 0, "attribute");
  if (rc) return rc;
  json_array_foreach(list, i, item) {
    const json_t *number = get_path(item, path);
    if (!json_is_number(number))
      return zj_fail(env, "sum: expected numbers, found %s", zf_json_kind(number));
    integers &= json_is_integer(number);
    sum += json_number_value(number);
  }
  if (integers && fabs(sum) < 9e15) return zj_int(env, out, (int64_t)sum);
  return zj_keep(env, out, json_real(sum), 0);
}

/* --- map and select: filters and tests by name --- */

/* The arguments from number `from` on. */
static struct zj_args args_from(const struct zj_args *all, int from) {
  struct zj_args args = {.count = 0};
  for (int i = from; i < all->count; i++) {
    args.value[args.count] = all->value[i];
    args.name[args.count++] = all->name[i];
  }
  return args;
}

enum { NO_POSITION = 9 }; /* of an argument that is given by name alone */

int zj_filter_map(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                  const struct zj_args *args) {
  const char *path = NULL, *filter = NULL;
  const struct zj_value *fallback = zj_arg(args, NO_POSITION, "default");
  struct zj_args filter_args = args_from(args, 1);
  json_t *list = NULL, *element;
  size_t i;
  int rc = zj_arg_text(env, &path, args, NO_POSITION, "attribute");
  if (!rc && !path) rc = zj_arg_text(env, &filter, args, 0, NULL);
  if (rc) return rc;
  if (!path && (!filter || !zj_is_filter(filter)))
    return zj_fail(env, "map: filter '%s' is not supported", filter ? filter : "");
  rc = zj_items(env, &list, in);
  if (!rc) rc = zj_keep(env, out, json_array(), 0);
  if (rc) return rc;
  json_array_foreach(list, i, element) {
    struct zj_value item = {.kind = ZJ_JSON, .json = element}, mapped = item;
    if (path) mapped.json = (json_t *)get_path(element, path);
    if (path && !mapped.json && fallback) mapped = *fallback;
    if (!path && (rc = zj_filter(env, &mapped, filter, &item, &filter_args))) return rc;
    if (mapped.kind != ZJ_JSON || !mapped.json)
      return zj_fail(env, "map: item %zu has no such value", i);
    json_array_append(out->json, mapped.json);
    if ((rc = zj_step(env))) return rc;
  }
  return 0;
}

/* The items for which a test holds (keep_if 1) or does not (0): a test of the item, or of the attribute
 * that the first argument names.  Without a test: whether it is true. */
static int select_items(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                        const struct zj_args *args, int by_attribute, int keep_if) {
  const char *path = NULL, *test = NULL;
  struct zj_args test_args = args_from(args, by_attribute + 1);
  json_t *list = NULL, *element;
  size_t i;
  int rc = by_attribute ? zj_arg_text(env, &path, args, 0, NULL) : 0;
  if (!rc) rc = zj_arg_text(env, &test, args, by_attribute, NULL);
  if (rc) return rc;
  if (by_attribute && !path) return zj_fail(env, "selectattr: expected the name of an attribute");
  if (test && !zj_is_test(test)) return zj_fail(env, "test '%s' is not supported", test);
  rc = zj_items(env, &list, in);
  if (!rc) rc = zj_keep(env, out, json_array(), 0);
  if (rc) return rc;
  json_array_foreach(list, i, element) {
    struct zj_value item = {.kind = ZJ_JSON, .json = (json_t *)get_path(element, path)};
    if (!item.json) item.kind = ZJ_UNDEF;
    int yes = zj_truth(&item);
    if (test && (rc = zj_test(env, &yes, test, &item, &test_args))) return rc;
    if (yes == keep_if) json_array_append(out->json, element);
    if ((rc = zj_step(env))) return rc;
  }
  return 0;
}

int zj_filter_select(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                     const struct zj_args *args) {
  return select_items(env, out, in, args, 0, 1);
}

int zj_filter_reject(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                     const struct zj_args *args) {
  return select_items(env, out, in, args, 0, 0);
}

int zj_filter_selectattr(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                         const struct zj_args *args) {
  return select_items(env, out, in, args, 1, 1);
}

int zj_filter_rejectattr(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                         const struct zj_args *args) {
  return select_items(env, out, in, args, 1, 0);
}
