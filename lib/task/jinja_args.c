/* Arguments of filters, tests and methods: by position or by name. */
#include <string.h>

#include "jinja_internal.h"

const struct zj_value *zj_arg(const struct zj_args *args, int position, const char *name) {
  int positional = 0;
  for (int i = 0; i < args->count; i++) {
    if (args->name[i] && name && !strcmp(args->name[i], name)) return &args->value[i];
    if (!args->name[i] && positional++ == position) return &args->value[i];
  }
  return NULL;
}

int zj_is_none(const struct zj_value *value) {
  return !value || (value->kind == ZJ_JSON && json_is_null(value->json));
}

/* An argument's place in the message: "2 (new)", or "2" when it has no name. */
static int fail_type(struct zj_env *env, int position, const char *name, const char *expected,
                     const struct zj_value *value) {
  return zj_fail(env, "argument %d%s%s%s: expected %s, found %s", position + 1, name ? " (" : "",
                 name ? name : "", name ? ")" : "", expected, zj_kind_name(value));
}

int zj_arg_text(struct zj_env *env, const char **out, const struct zj_args *args, int position,
                const char *name) {
  const struct zj_value *value = zj_arg(args, position, name);
  if (zj_is_none(value)) return 0;
  if (value->kind != ZJ_JSON || !json_is_string(value->json))
    return fail_type(env, position, name, "a text", value);
  *out = json_string_value(value->json);
  return 0;
}

int zj_arg_int(struct zj_env *env, int64_t *out, const struct zj_args *args, int position,
               const char *name) {
  const struct zj_value *value = zj_arg(args, position, name);
  if (zj_is_none(value)) return 0;
  if (value->kind != ZJ_JSON || !json_is_integer(value->json))
    return fail_type(env, position, name, "a whole number", value);
  *out = json_integer_value(value->json);
  return 0;
}

int zj_arg_true(const struct zj_args *args, int position, const char *name) {
  const struct zj_value *value = zj_arg(args, position, name);
  return value && zj_truth(value);
}
