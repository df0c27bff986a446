/* Expressions of a template to values.
 *
 * Every value made lives until the rendering ends (zj_env.kept), so that an error can
 * leave from anywhere; values cannot hold themselves, for only a namespace changes and
 * a namespace is never put into a value. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fmt/json.h"
#include "jinja_internal.h"

typedef const struct zj_node *node;

/* --- variables
 * ------------------------------------------------------------------------------------- */

int zj_set_var(struct zj_env *env, struct zj_frame *frame, const char *name,
               const struct zj_value *value) {
  for (int i = 0; i < frame->count; i++)
    if (!strcmp(frame->var[i].name, name)) {
      frame->var[i].value = *value;
      return 0;
    }
  if (frame->count == frame->cap) {
    int cap = frame->cap ? 2 * frame->cap : 8;
    struct zj_var *var = realloc(frame->var, (size_t)cap * sizeof *var);
    if (!var) return zf_error(ZF_ENOMEM, "%s: out of memory", env->jinja->name);
    frame->var = var;
    frame->cap = cap;
  }
  frame->var[frame->count++] = (struct zj_var){name, *value};
  return 0;
}

static void look_up(const struct zj_env *env, struct zj_value *out, const char *name) {
  for (const struct zj_frame *frame = env->frame; frame; frame = frame->up)
    for (int i = 0; i < frame->count; i++)
      if (!strcmp(frame->var[i].name, name)) {
        *out = frame->var[i].value;
        return;
      }
  *out = (struct zj_value){.kind = zj_is_global(name) ? ZJ_GLOBAL : ZJ_UNDEF, .name = name};
}

void zj_push(struct zj_env *env, struct zj_frame *frame, struct zj_frame *up) {
  *frame = (struct zj_frame){.up = up};
  env->frame = frame;
}

void zj_pop(struct zj_env *env, struct zj_frame *frame, struct zj_frame *back) {
  free(frame->var);
  env->frame = back;
}

/* --- attributes, items, slices
 * ---------------------------------------------------------------------- */

static int loop_attribute(struct zj_env *env, struct zj_value *out, const struct zj_loop *loop,
                          const char *name) {
  const struct {
    const char *name;
    int64_t value;
  } number[] = {{"index", loop->index + 1},
                {"index0", loop->index},
                {"length", loop->count},
                {"revindex", loop->count - loop->index},
                {"revindex0", loop->count - loop->index - 1},
                {"depth", loop->depth},
                {"depth0", loop->depth - 1}};
  for (size_t i = 0; i < sizeof number / sizeof *number; i++)
    if (!strcmp(number[i].name, name)) return zj_int(env, out, number[i].value);
  if (!strcmp(name, "first")) return zj_bool(env, out, loop->index == 0);
  if (!strcmp(name, "last")) return zj_bool(env, out, loop->index == loop->count - 1);
  int64_t at = !strcmp(name, "previtem")   ? loop->index - 1
               : !strcmp(name, "nextitem") ? loop->index + 1
                                           : -2;
  if (at == -2) return zj_fail(env, "loop.%s is not supported", name);
  *out = (struct zj_value){.kind = ZJ_UNDEF, .name = name};
  if (at < 0 || at >= loop->count) return 0;
  return zj_keep(env, out, json_incref(json_array_get(loop->items, (size_t)at)), 0);
}

static int get(struct zj_env *env, struct zj_value *out, const struct zj_value *owner,
               const char *name) {
  json_t *value =
      owner->json && json_is_object(owner->json) ? json_object_get(owner->json, name) : NULL;
  if (value) return zj_keep(env, out, json_incref(value), 0);
  *out = (struct zj_value){.kind = ZJ_UNDEF, .name = name};
  return 0;
}

static int attribute(struct zj_env *env, struct zj_value *out, node n) {
  struct zj_value owner;
  int rc = zj_eval(env, &owner, n->first);
  if (!rc) rc = zj_refuse(env, &owner);
  if (rc) return rc;
  if (owner.kind == ZJ_LOOP) return loop_attribute(env, out, owner.loop, n->name);
  if (owner.kind == ZJ_JSON && zj_has_method(owner.json, n->name)) {
    *out = (struct zj_value){.kind = ZJ_METHOD, .json = owner.json, .name = n->name};
    return 0;
  }
  return get(env, out, &owner, n->name);
}

/* A character or an item at a place, which may count from the end. */
static int at_place(struct zj_env *env, struct zj_value *out, const struct zj_value *owner,
                    int64_t i) {
  const char *s = json_string_value(owner->json);
  int64_t n = s ? zj_chars(s) : (int64_t)json_array_size(owner->json);
  *out = (struct zj_value){.kind = ZJ_UNDEF, .name = "an item"};
  if (i < 0) i += n;
  if (i < 0 || i >= n) return 0;
  if (!s) return zj_keep(env, out, json_incref(json_array_get(owner->json, (size_t)i)), 0);
  s = zj_skip(s, i);
  return zj_text(env, out, s, (size_t)(zj_skip(s, 1) - s));
}

static int item(struct zj_env *env, struct zj_value *out, node n) {
  struct zj_value owner, key;
  int rc = zj_eval(env, &owner, n->first);
  if (!rc) rc = zj_refuse(env, &owner);
  if (!rc) rc = zj_eval(env, &key, n->second);
  if (rc) return rc;
  if (key.kind == ZJ_JSON && json_is_string(key.json)) {
    const char *name = json_string_value(key.json);
    if (owner.kind == ZJ_LOOP) return loop_attribute(env, out, owner.loop, name);
    rc = get(env, out, &owner, name);
    if (!rc && out->kind == ZJ_UNDEF && owner.kind == ZJ_JSON && zj_has_method(owner.json, name))
      *out = (struct zj_value){.kind = ZJ_METHOD, .json = owner.json, .name = name};
    return rc;
  }
  if (owner.kind == ZJ_JSON && key.kind == ZJ_JSON && json_is_integer(key.json) &&
      (json_is_array(owner.json) || json_is_string(owner.json)))
    return at_place(env, out, &owner, json_integer_value(key.json));
  *out = (struct zj_value){.kind = ZJ_UNDEF, .name = "an item"};
  return 0;
}

static int bound(struct zj_env *env, int64_t *out, node n, int *given) {
  struct zj_value value;
  *given = 0;
  if (!n) return 0;
  int rc = zj_eval(env, &value, n);
  if (rc || (value.kind == ZJ_JSON && json_is_null(value.json))) return rc;
  if (value.kind != ZJ_JSON || !json_is_integer(value.json))
    return zj_fail(env, "a slice's bound is %s", zj_kind_name(&value));
  *given = 1;
  *out = json_integer_value(value.json);
  return 0;
}

static int64_t clamp(int64_t v, int64_t n, int backward) {
  if (v < 0) v = v < -n ? -1 : v + n;
  if (v < 0) return backward ? -1 : 0;
  return v > n - backward ? n - backward : v;
}

/* Appends character i of s or item i of a list. */
static int take(struct zj_env *env, const json_t *from, int64_t i, struct zf_buf *text,
                json_t *list) {
  if (!list) {
    const char *s = zj_skip(json_string_value(from), i);
    zf_buf_add(text, s, (size_t)(zj_skip(s, 1) - s));
  } else {
    json_array_append(list, json_array_get(from, (size_t)i));
  }
  return zj_step(env);
}

static int slice_by(struct zj_env *env, struct zj_value *out, const json_t *from, int64_t a,
                    int64_t b, int64_t step) {
  struct zf_buf text = {0};
  int is_text = json_is_string(from);
  json_t *list = is_text ? NULL : json_array();
  int rc = 0;
  if (is_text && step == 1) { /* in one piece */
    const char *s = zj_skip(json_string_value(from), a);
    return zj_text(env, out, s, b > a ? (size_t)(zj_skip(s, b - a) - s) : 0);
  }
  for (int64_t i = a; !rc && (step > 0 ? i < b : i > b); i += step)
    rc = take(env, from, i, &text, list);
  if (!rc) rc = zf_buf_ok(&text);
  if (rc)
    json_decref(list);
  else
    rc = is_text ? zj_text(env, out, text.data, text.len)
                 : zj_keep(env, out, list, (int64_t)json_array_size(list) * 8);
  zf_buf_free(&text);
  return rc;
}

static int slice(struct zj_env *env, struct zj_value *out, node n) {
  struct zj_value owner;
  int64_t v[3] = {0, 0, 1};
  int given[3];
  int rc = zj_eval(env, &owner, n->first);
  if (!rc) rc = bound(env, &v[0], n->second, &given[0]);
  if (!rc) rc = bound(env, &v[1], n->third, &given[1]);
  if (!rc) rc = bound(env, &v[2], n->fourth, &given[2]);
  if (rc) return rc;
  if (owner.kind != ZJ_JSON || (!json_is_string(owner.json) && !json_is_array(owner.json)))
    return zj_fail(env, "a slice of %s", zj_kind_name(&owner));
  if (v[2] == 0 || v[2] > 1 << 20 || v[2] < -(1 << 20)) return zj_fail(env, "a slice's step");
  int64_t len = json_is_string(owner.json) ? zj_chars(json_string_value(owner.json))
                                           : (int64_t)json_array_size(owner.json);
  int back = v[2] < 0;
  int64_t a = given[0] ? clamp(v[0], len, back) : back ? len - 1 : 0;
  int64_t b = given[1] ? clamp(v[1], len, back) : back ? -1 : len;
  return slice_by(env, out, owner.json, a, b, v[2]);
}

/* --- calls
 * ------------------------------------------------------------------------------------------ */

int zj_arguments(struct zj_env *env, struct zj_args *args, node list) {
  args->count = 0;
  for (; list; list = list->next) {
    if (args->count == 12) return zj_fail(env, "more than 12 arguments");
    args->name[args->count] = list->name;
    int rc = zj_eval(env, &args->value[args->count++], list->first);
    if (rc) return rc;
  }
  return 0;
}

/* Runs statements into a buffer of their own and gives its text. */
int zj_capture(struct zj_env *env, struct zj_value *out, node list) {
  struct zf_buf own = {0}, *before = env->out;
  env->out = &own;
  int rc = zj_exec(env, list);
  env->out = before;
  if (!rc) rc = zf_buf_ok(&own);
  if (!rc) rc = zj_text(env, out, own.data, own.len);
  zf_buf_free(&own);
  return rc;
}

static int bind(struct zj_env *env, struct zj_frame *frame, node macro,
                const struct zj_args *args) {
  int place = 0, used = 0, rc = 0;
  for (node p = macro->fourth; !rc && p; p = p->next, place++) {
    const struct zj_value *given = zj_arg(args, place, p->name);
    struct zj_value value = {.kind = ZJ_UNDEF, .name = p->name};
    used += given != NULL;
    if (given)
      value = *given;
    else if (p->first)
      rc = zj_eval(env, &value, p->first);
    if (!rc) rc = zj_set_var(env, frame, p->name, &value);
  }
  if (!rc && used < args->count) rc = zj_fail(env, "macro '%s': too many arguments", macro->name);
  return rc;
}

static int call_macro(struct zj_env *env, struct zj_value *out, node macro,
                      const struct zj_args *args) {
  struct zj_frame frame, *before = env->frame;
  int loops = env->loops, line = env->line;
  zj_push(env, &frame, env->root);
  env->loops = 0;
  int rc = bind(env, &frame, macro, args);
  if (!rc) rc = zj_capture(env, out, macro->list);
  zj_pop(env, &frame, before);
  env->loops = loops;
  if (!rc) env->line = line;
  return rc;
}

static int call(struct zj_env *env, struct zj_value *out, node n) {
  struct zj_value value;
  struct zj_args args;
  int rc = zj_eval(env, &value, n->first);
  if (!rc) rc = zj_refuse(env, &value);
  if (!rc) rc = zj_arguments(env, &args, n->list);
  if (rc) return rc;
  if (value.kind == ZJ_GLOBAL) return zj_global(env, out, value.name, &args);
  if (value.kind == ZJ_METHOD) return zj_method(env, out, &value, &args);
  if (value.kind == ZJ_MACRO) return call_macro(env, out, value.macro, &args);
  return zj_fail(env, "%s cannot be called", zj_kind_name(&value));
}

/* --- operators
 * --------------------------------------------------------------------------------------- */

static int concat(struct zj_env *env, struct zj_value *out, const struct zj_value *value,
                  const struct zj_value *other) {
  struct zf_buf text = {0};
  int rc = zj_str(env, &text, value);
  if (!rc) rc = zj_str(env, &text, other);
  if (!rc && text.len > ZF_JINJA_BYTES) rc = zj_fail(env, "a text grows too large");
  if (!rc) rc = zj_text(env, out, text.data, text.len);
  zf_buf_free(&text);
  return rc;
}

static int whole(struct zj_env *env, struct zj_value *out, const char *op, int64_t x, int64_t y) {
  int64_t r = 0;
  int lost = 0;
  if ((*op == '%' || !strcmp(op, "//")) && y == 0) return zj_fail(env, "division by zero");
  if (*op == '+')
    lost = __builtin_add_overflow(x, y, &r);
  else if (*op == '-')
    lost = __builtin_sub_overflow(x, y, &r);
  else if (*op == '*')
    lost = __builtin_mul_overflow(x, y, &r);
  else if (y == -1)
    lost = *op == '/' && __builtin_sub_overflow((int64_t)0, x, &r);
  else if (*op == '%')
    r = x % y + (x % y && (x % y < 0) != (y < 0) ? y : 0);
  else
    r = x / y - (x % y && (x < 0) != (y < 0));
  if (lost) return zj_fail(env, "a number grows too large");
  return zj_int(env, out, r);
}

static int real(struct zj_env *env, struct zj_value *out, const char *op, double x, double y) {
  double r = *op == '+'          ? x + y
             : *op == '-'        ? x - y
             : !strcmp(op, "**") ? pow(x, y)
             : *op == '*'        ? x * y
             : !strcmp(op, "//") ? floor(x / y)
             : *op == '%'        ? x - y * floor(x / y)
                                 : x / y;
  if (!isfinite(r)) return zj_fail(env, "%g %s %g is no number", x, op, y);
  return zj_keep(env, out, json_real(r), 0);
}

static int lists(struct zj_env *env, struct zj_value *out, const json_t *array, const json_t *b) {
  int64_t n = (int64_t)(json_array_size(array) + json_array_size(b));
  int rc = zj_keep(env, out, json_array(), n * 8);
  if (rc) return rc;
  json_array_extend(out->json, (json_t *)array);
  json_array_extend(out->json, (json_t *)b);
  return 0;
}

static int repeat(struct zj_env *env, struct zj_value *out, const char *s, int64_t times) {
  struct zf_buf buf = {0};
  size_t n = strlen(s);
  if (times > 0 && n * (uint64_t)times / (uint64_t)times == n && n * (uint64_t)times > 1 << 20)
    return zj_fail(env, "a text grows too large");
  for (int64_t i = 0; n && i < times; i++) zf_buf_add(&buf, s, n);
  int rc = zf_buf_ok(&buf);
  if (!rc) rc = zj_text(env, out, buf.data, buf.len);
  zf_buf_free(&buf);
  return rc;
}

static int arithmetic(struct zj_env *env, struct zj_value *out, const char *op, const json_t *array,
                      const json_t *b) {
  int numbers = (json_is_number(array) || json_is_boolean(array)) &&
                (json_is_number(b) || json_is_boolean(b));
  if (numbers) {
    double x = json_is_boolean(array) ? json_is_true(array) : json_number_value(array);
    double y = json_is_boolean(b) ? json_is_true(b) : json_number_value(b);
    int integers = !json_is_real(array) && !json_is_real(b) && strcmp(op, "/") && strcmp(op, "**");
    if (!strcmp(op, "**") && !json_is_real(array) && !json_is_real(b) && y >= 0 &&
        fabs(pow(x, y)) < 9e15)
      return zj_int(env, out, (int64_t)pow(x, y));
    return integers ? whole(env, out, op,
                            json_is_integer(array) ? json_integer_value(array) : (int64_t)x,
                            json_is_integer(b) ? json_integer_value(b) : (int64_t)y)
                    : real(env, out, op, x, y);
  }
  if (*op == '+' && json_is_array(array) && json_is_array(b)) return lists(env, out, array, b);
  if (!strcmp(op, "*") && json_is_string(array) && json_is_integer(b))
    return repeat(env, out, json_string_value(array), json_integer_value(b));
  return zj_fail(env, "'%s' of %s and %s is not supported", op, zf_json_kind(array),
                 zf_json_kind(b));
}

static int binary(struct zj_env *env, struct zj_value *out, node n) {
  struct zj_value value, other;
  int rc = zj_eval(env, &value, n->first);
  if (!rc) rc = zj_eval(env, &other, n->second);
  if (rc || *n->op == '~') return rc ? rc : concat(env, out, &value, &other);
  if ((rc = zj_refuse(env, &value)) || (rc = zj_refuse(env, &other))) return rc;
  env->line = n->line;
  if (value.kind != ZJ_JSON || other.kind != ZJ_JSON)
    return zj_fail(env, "'%s' of %s and %s", n->op, zj_kind_name(&value), zj_kind_name(&other));
  if (*n->op == '+' && json_is_string(value.json) && json_is_string(other.json))
    return concat(env, out, &value, &other);
  return arithmetic(env, out, n->op, value.json, other.json);
}

static int compare_one(struct zj_env *env, int *yes, const char *op, const struct zj_value *value,
                       const struct zj_value *other) {
  static const char *const test[][2] = {{"==", "eq"}, {"!=", "ne"}, {"<", "lt"},  {"<=", "le"},
                                        {">", "gt"},  {">=", "ge"}, {"in", "in"}, {"ni", "in"}};
  struct zj_args args = {.value = {*other}, .count = 1};
  const char *name = "eq";
  for (int i = 0; i < 8; i++)
    if (!strcmp(test[i][0], op)) name = test[i][1];
  int rc = zj_strict(env, value);
  if (!rc) rc = zj_strict(env, other);
  if (!rc) rc = zj_test(env, yes, name, value, &args);
  if (!strcmp(op, "ni")) *yes = !*yes;
  return rc;
}

static int compare(struct zj_env *env, struct zj_value *out, node n) {
  struct zj_value value, other;
  int yes = 1, rc = zj_eval(env, &value, n->first);
  for (node p = n->list; !rc && yes && p; p = p->next) {
    rc = zj_eval(env, &other, p->second);
    if (!rc) rc = compare_one(env, &yes, p->op, &value, &other);
    value = other;
  }
  return rc ? rc : zj_bool(env, out, yes);
}

static int make_list(struct zj_env *env, struct zj_value *out, node n) {
  struct zj_value list, value;
  int rc = zj_keep(env, &list, json_array(), 0);
  if (!rc && n->negated) rc = zj_set_shape(env, list.json, ZJ_TUPLE);
  for (node p = n->list; !rc && p; p = p->next) {
    rc = zj_eval(env, &value, p);
    if (!rc && value.kind != ZJ_JSON)
      rc = zj_fail(env, "%s cannot be kept in a list", zj_kind_name(&value));
    if (!rc) json_array_append(list.json, value.json);
  }
  *out = list;
  return rc;
}

static int make_dict(struct zj_env *env, struct zj_value *out, node n) {
  struct zj_value dict, value, other;
  int rc = zj_keep(env, &dict, json_object(), 0);
  for (node p = n->list; !rc && p; p = p->next) {
    rc = zj_eval(env, &value, p->first);
    if (!rc) rc = zj_eval(env, &other, p->second);
    if (!rc && (value.kind != ZJ_JSON || !json_is_string(value.json)))
      rc = zj_fail(env, "a mapping's key is %s: only texts are supported", zj_kind_name(&value));
    if (!rc && other.kind != ZJ_JSON)
      rc = zj_fail(env, "%s cannot be kept in a mapping", zj_kind_name(&other));
    if (!rc) json_object_set(dict.json, json_string_value(value.json), other.json);
  }
  *out = dict;
  return rc;
}

static int negate(struct zj_env *env, struct zj_value *out, node n) {
  struct zj_value value;
  int rc = zj_eval(env, &value, n->first);
  if (rc) return rc;
  if (value.kind == ZJ_JSON && json_is_integer(value.json) &&
      json_integer_value(value.json) != INT64_MIN)
    return zj_int(env, out, -json_integer_value(value.json));
  if (value.kind == ZJ_JSON && json_is_real(value.json))
    return zj_keep(env, out, json_real(-json_real_value(value.json)), 0);
  return zj_fail(env, "'-' of %s", zj_kind_name(&value));
}

static int call_filter(struct zj_env *env, struct zj_value *out, node n) {
  struct zj_value value;
  struct zj_args args;
  int rc = zj_eval(env, &value, n->first);
  if (!rc) rc = zj_arguments(env, &args, n->list);
  env->line = n->line;
  if (!rc && strcmp(n->name, "default") && strcmp(n->name, "d")) rc = zj_strict(env, &value);
  return rc ? rc : zj_filter(env, out, n->name, &value, &args);
}

static int call_test(struct zj_env *env, struct zj_value *out, node n) {
  struct zj_value value;
  struct zj_args args;
  int yes = 0, rc = zj_eval(env, &value, n->first);
  if (!rc) rc = zj_arguments(env, &args, n->list);
  if (!rc && !strstr(n->name, "defined")) rc = zj_strict(env, &value);
  if (!rc) rc = zj_test(env, &yes, n->name, &value, &args);
  return rc ? rc : zj_bool(env, out, yes != n->negated);
}

/* a and b, a or b: the value that decided. */
static int logic(struct zj_env *env, struct zj_value *out, node n) {
  int rc = zj_eval(env, out, n->first);
  if (!rc) rc = zj_strict(env, out);
  if (rc || zj_truth(out) == (n->kind == ZJ_N_OR)) return rc;
  return zj_eval(env, out, n->second);
}

static int conditional(struct zj_env *env, struct zj_value *out, node n) {
  struct zj_value value;
  int rc = zj_eval(env, &value, n->first);
  if (!rc) rc = zj_strict(env, &value);
  if (rc) return rc;
  if (zj_truth(&value)) return zj_eval(env, out, n->second);
  if (n->third) return zj_eval(env, out, n->third);
  *out = (struct zj_value){.kind = ZJ_UNDEF, .name = "a condition without else"};
  return 0;
}

static int evaluate(struct zj_env *env, struct zj_value *out, node n) {
  struct zj_value value;
  int rc;
  switch (n->kind) {
    case ZJ_N_CONST:
      *out = (struct zj_value){.kind = ZJ_JSON, .json = n->value};
      return 0;
    case ZJ_N_NAME:
      look_up(env, out, n->name);
      return 0;
    case ZJ_N_LIST:
      return make_list(env, out, n);
    case ZJ_N_DICT:
      return make_dict(env, out, n);
    case ZJ_N_ATTR:
      return attribute(env, out, n);
    case ZJ_N_ITEM:
      return item(env, out, n);
    case ZJ_N_SLICE:
      return slice(env, out, n);
    case ZJ_N_CALL:
      return call(env, out, n);
    case ZJ_N_FILTER:
      return call_filter(env, out, n);
    case ZJ_N_TEST:
      return call_test(env, out, n);
    case ZJ_N_BINARY:
      return binary(env, out, n);
    case ZJ_N_COMPARE:
      return compare(env, out, n);
    case ZJ_N_NEGATE:
      return negate(env, out, n);
    case ZJ_N_AND:
    case ZJ_N_OR:
      return logic(env, out, n);
    case ZJ_N_COND:
      return conditional(env, out, n);
    case ZJ_N_NOT:
      rc = zj_eval(env, &value, n->first);
      if (!rc) rc = zj_strict(env, &value);
      return rc ? rc : zj_bool(env, out, !zj_truth(&value));
    default:
      return zj_fail(env, "no value");
  }
}

int zj_eval(struct zj_env *env, struct zj_value *out, node n) {
  int rc = zj_step(env);
  env->line = n->line;
  if (!rc && ++env->depth > ZF_JINJA_DEPTH)
    rc = zj_fail(env, "nested more than %d deep", ZF_JINJA_DEPTH);
  if (!rc) rc = evaluate(env, out, n);
  env->depth--;
  return rc;
}
