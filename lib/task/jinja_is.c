/* Tests of the template interpreter: names behind "is", and arguments of select and the like. */
#include <string.h>

#include "jinja_internal.h"

/* Is the value a JSON value for which `condition` holds? */
static int has(const struct zj_value *value, int condition) {
  return value->kind == ZJ_JSON && condition;
}

static const char *const tests[] = {"defined", "undefined",   "none",     "true",     "false",
                                    "boolean", "string",      "number",   "integer",  "float",
                                    "mapping", "iterable",    "sequence", "callable", "odd",
                                    "even",    "divisibleby", "eq",       "equalto",  "ne",
                                    "gt",      "greaterthan", "ge",       "lt",       "lessthan",
                                    "le",      "in",          "lower",    "upper"};
enum { TESTS = sizeof tests / sizeof *tests };

const char *zj_test_name(int index) {
  return index < TESTS ? tests[index] : NULL;
}

int zj_is_test(const char *name) {
  for (int i = 0; i < TESTS; i++)
    if (!strcmp(tests[i], name)) return 1;
  return 0;
}

/* Tests of the kind of a value; 0: `name` is none of them. */
static int test_kind(int *out, const char *name, const struct zj_value *in) {
  const struct {
    const char *name;
    int yes;
  } kinds[] = {
      {"defined", in->kind != ZJ_UNDEF},
      {"undefined", in->kind == ZJ_UNDEF},
      {"none", has(in, json_is_null(in->json))},
      {"true", has(in, json_is_true(in->json))},
      {"false", has(in, json_is_false(in->json))},
      {"boolean", has(in, json_is_boolean(in->json))},
      {"string", has(in, json_is_string(in->json))},
      {"number", has(in, json_is_number(in->json) || json_is_boolean(in->json))},
      {"integer", has(in, json_is_integer(in->json))},
      {"float", has(in, json_is_real(in->json))},
      {"mapping", has(in, json_is_object(in->json))},
      {"iterable", in->kind == ZJ_UNDEF || in->kind == ZJ_LOOP ||
                       has(in, json_is_array(in->json) || json_is_object(in->json) ||
                                   json_is_string(in->json))},
      {"sequence",
       in->kind == ZJ_UNDEF || has(in, json_is_array(in->json) || json_is_object(in->json) ||
                                           json_is_string(in->json))},
      {"callable", in->kind == ZJ_MACRO || in->kind == ZJ_METHOD || in->kind == ZJ_GLOBAL},
  };
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (!strcmp(kinds[i].name, name)) {
      *out = kinds[i].yes;
      return 1;
    }
  return 0;
}

static int test_number(struct zj_env *env, int *out, const char *name, const struct zj_value *in,
                       const struct zj_args *args) {
  int64_t divisor = 2;
  int rc = *name == 'd' ? zj_arg_int(env, &divisor, args, 0, NULL) : 0;
  if (rc) return rc;
  if (in->kind != ZJ_JSON || !json_is_integer(in->json))
    return zj_fail(env, "test '%s': expected a whole number, found %s", name, zj_kind_name(in));
  if (divisor == 0 || divisor == -1)
    return zj_fail(env, "test '%s': %lld is no divisor", name, (long long)divisor);
  *out = (json_integer_value(in->json) % divisor == 0) != (*name == 'o');
  return 0;
}

static int test_order(struct zj_env *env, int *out, const char *name, const struct zj_value *in,
                      const struct zj_value *other) {
  int order = 0;
  if (in->kind != ZJ_JSON || other->kind != ZJ_JSON)
    return zj_fail(env, "%s and %s have no order", zj_kind_name(in), zj_kind_name(other));
  int rc = zj_order(env, in->json, other->json, &order);
  int greater = *name == 'g', or_equal = name[1] == 'e' && !name[2];
  *out = greater ? order > 0 : order < 0;
  if (or_equal && order == 0) *out = 1;
  return rc;
}

static int test_in(struct zj_env *env, int *out, const struct zj_value *in,
                   const struct zj_value *container) {
  json_t *list = NULL, *item;
  size_t i;
  if (in->kind == ZJ_JSON && container->kind == ZJ_JSON && json_is_string(container->json)) {
    if (!json_is_string(in->json))
      return zj_fail(env, "'in' a text: expected a text, found %s", zj_kind_name(in));
    *out = strstr(json_string_value(container->json), json_string_value(in->json)) != NULL;
    return 0;
  }
  int rc = zj_items(env, &list, container);
  if (rc || in->kind != ZJ_JSON) return rc;
  json_array_foreach(list, i, item) {
    rc = zj_equal(env, in->json, item, out);
    if (rc || *out) return rc;
  }
  return 0;
}

static int test_equal(struct zj_env *env, int *out, const struct zj_value *in,
                      const struct zj_value *other) {
  *out = in->kind == other->kind && in->kind == ZJ_UNDEF;
  if (in->kind != other->kind || in->kind != ZJ_JSON) return 0;
  return zj_equal(env, in->json, other->json, out);
}

static int test_letters(struct zj_env *env, int *out, const char *name, const struct zj_value *in) {
  struct zj_value value, converted;
  int rc = zj_text_of(env, &value, in);
  if (!rc)
    rc =
        zj_case(env, &converted, json_string_value(value.json), *name == 'l' ? ZJ_LOWER : ZJ_UPPER);
  if (!rc) *out = !strcmp(json_string_value(value.json), json_string_value(converted.json));
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
