/* Tests of the template interpreter: what may stand behind "is", and for select's like. */
#include <string.h>

#include "jinja_internal.h"

typedef const struct zj_value *in_;
typedef const struct zj_args *args_;

static int has(const struct zj_value *value, int is) {
  return value->kind == ZJ_JSON && is;
}

static const char *const tests[] = {"defined", "undefined",   "none",     "true",     "false",
                                    "boolean", "string",      "number",   "integer",  "float",
                                    "mapping", "iterable",    "sequence", "callable", "odd",
                                    "even",    "divisibleby", "eq",       "equalto",  "ne",
                                    "gt",      "greaterthan", "ge",       "lt",       "lessthan",
                                    "le",      "in",          "lower",    "upper"};
enum { TESTS = sizeof tests / sizeof *tests };

const char *zj_test_name(int i) {
  return i < TESTS ? tests[i] : NULL;
}

int zj_is_test(const char *name) {
  for (int i = 0; i < TESTS; i++)
    if (!strcmp(tests[i], name)) return 1;
  return 0;
}

static int test_kind(int *out, const char *name, in_ v) {
  const struct {
    const char *name;
    int yes;
  } row[] = {
      {"defined", v->kind != ZJ_UNDEF},
      {"undefined", v->kind == ZJ_UNDEF},
      {"none", has(v, json_is_null(v->json))},
      {"true", has(v, json_is_true(v->json))},
      {"false", has(v, json_is_false(v->json))},
      {"boolean", has(v, json_is_boolean(v->json))},
      {"string", has(v, json_is_string(v->json))},
      {"number", has(v, json_is_number(v->json) || json_is_boolean(v->json))},
      {"integer", has(v, json_is_integer(v->json))},
      {"float", has(v, json_is_real(v->json))},
      {"mapping", has(v, json_is_object(v->json))},
      {"iterable",
       v->kind == ZJ_UNDEF || v->kind == ZJ_LOOP ||
           has(v, json_is_array(v->json) || json_is_object(v->json) || json_is_string(v->json))},
      {"sequence",
       v->kind == ZJ_UNDEF ||
           has(v, json_is_array(v->json) || json_is_object(v->json) || json_is_string(v->json))},
      {"callable", v->kind == ZJ_MACRO || v->kind == ZJ_METHOD || v->kind == ZJ_GLOBAL},
  };
  for (size_t i = 0; i < sizeof row / sizeof *row; i++)
    if (!strcmp(row[i].name, name)) {
      *out = row[i].yes;
      return 1;
    }
  return 0;
}

static int test_number(struct zj_env *env, int *out, const char *name, in_ v, args_ a) {
  int64_t by = 2;
  int rc = *name == 'd' ? zj_arg_int(env, &by, a, 0, NULL) : 0;
  if (rc) return rc;
  if (v->kind != ZJ_JSON || !json_is_integer(v->json) || by == 0 || by == -1)
    return zj_fail(env, "%s: %s", name, zj_kind_name(v));
  *out = (json_integer_value(v->json) % by == 0) != (*name == 'o');
  return 0;
}

static int test_order(struct zj_env *env, int *out, const char *name, in_ v, in_ w) {
  int order = 0;
  if (v->kind != ZJ_JSON || w->kind != ZJ_JSON)
    return zj_fail(env, "%s and %s have no order", zj_kind_name(v), zj_kind_name(w));
  int rc = zj_order(env, v->json, w->json, &order), or_equal = name[1] == 'e' && !name[2];
  *out = or_equal && order == 0 ? 1 : *name == 'g' ? order > 0 : order < 0;
  return rc;
}

static int test_in(struct zj_env *env, int *out, in_ v, in_ w) {
  json_t *list = NULL, *item;
  size_t i;
  if (v->kind == ZJ_JSON && w->kind == ZJ_JSON && json_is_string(w->json)) {
    if (!json_is_string(v->json)) return zj_fail(env, "'in': %s in a text", zj_kind_name(v));
    *out = strstr(json_string_value(w->json), json_string_value(v->json)) != NULL;
    return 0;
  }
  int rc = zj_items(env, &list, w);
  json_array_foreach(rc ? NULL : list, i, item) {
    if (!rc && !*out && v->kind == ZJ_JSON) rc = zj_equal(env, v->json, item, out);
  }
  return rc;
}

static int test_equal(struct zj_env *env, int *out, in_ v, in_ w) {
  *out = v->kind == w->kind && v->kind == ZJ_UNDEF;
  if (v->kind != w->kind || v->kind != ZJ_JSON) return 0;
  return zj_equal(env, v->json, w->json, out);
}

static int test_letters(struct zj_env *env, int *out, const char *name, in_ v) {
  struct zj_value value, made;
  int rc = zj_text_of(env, &value, v);
  if (!rc)
    rc = zj_case(env, &made, json_string_value(value.json), *name == 'l' ? ZJ_LOWER : ZJ_UPPER);
  if (!rc) *out = !strcmp(json_string_value(value.json), json_string_value(made.json));
  return rc;
}

int zj_test(struct zj_env *env, int *out, const char *name, const struct zj_value *in,
            const struct zj_args *args) {
  const struct zj_value *value = zj_arg(args, 0, NULL);
  *out = 0;
  if (test_kind(out, name, in)) return 0;
  if (!strcmp(name, "odd") || !strcmp(name, "even") || *name == 'd')
    return test_number(env, out, name, in, args);
  if (!strcmp(name, "lower") || !strcmp(name, "upper")) return test_letters(env, out, name, in);
  if (!value) return zj_fail(env, "test '%s': expected a value to compare with", name);
  if (!strcmp(name, "in")) return test_in(env, out, in, value);
  if (*name != 'e' && *name != 'n') return test_order(env, out, name, in, value);
  int rc = test_equal(env, out, in, value);
  if (*name == 'n') *out = !*out;
  return rc;
}
