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

void zj_pop(struct zj_env *env, struct zj_frame *frame, struct zj_frame *previous) {
  free(frame->var);
  env->frame = previous;
}

/* --- attributes, items, slices
 * ---------------------------------------------------------------------- */

static int loop_attribute(struct zj_env *env, struct zj_value *out, const struct zj_loop *loop,
                          const char *name) {
  const struct {
    const char *name;
    int64_t value;
  } numbers[] = {{"index", loop->index + 1},
                 {"index0", loop->index},
                 {"length", loop->count},
                 {"revindex", loop->count - loop->index},
                 {"revindex0", loop->count - loop->index - 1},
                 {"depth", loop->depth},
                 {"depth0", loop->depth - 1}};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    if (!strcmp(numbers[i].name, name)) return zj_int(env, out, numbers[i].value);
  if (!strcmp(name, "first")) return zj_bool(env, out, loop->index == 0);
  if (!strcmp(name, "last")) return zj_bool(env, out, loop->index == loop->count - 1);
  int64_t place = !strcmp(name, "previtem")   ? loop->index - 1
                  : !strcmp(name, "nextitem") ? loop->index + 1
                                              : -2;
  if (place == -2) return zj_fail(env, "loop.%s is not supported", name);
  *out = (struct zj_value){.kind = ZJ_UNDEF, .name = name};
  if (place < 0 || place >= loop->count) return 0;
  return zj_keep(env, out, json_incref(json_array_get(loop->items, (size_t)place)), 0);
}

static int get_key(struct zj_env *env, struct zj_value *out, const struct zj_value *owner,
                   const char *name) {
  json_t *value =
      owner->json && json_is_object(owner->json) ? json_object_get(owner->json, name) : NULL;
  if (value) return zj_keep(env, out, json_incref(value), 0);
  *out = (struct zj_value){.kind = ZJ_UNDEF, .name = name};
  return 0;
}

static int eval_attribute(struct zj_env *env, struct zj_value *out, const struct zj_node *node) {
  struct zj_value owner;
  int rc = zj_eval(env, &owner, node->first);
  if (!rc) rc = zj_refuse(env, &owner);
  if (rc) return rc;
  if (owner.kind == ZJ_LOOP) return loop_attribute(env, out, owner.loop, node->name);
  if (owner.kind == ZJ_JSON && zj_has_method(owner.json, node->name)) {
    *out = (struct zj_value){.kind = ZJ_METHOD, .json = owner.json, .name = node->name};
    return 0;
  }
  return get_key(env, out, &owner, node->name);
}

/* A character or an item at a place, which may count from the end. */
static int item_at(struct zj_env *env, struct zj_value *out, const struct zj_value *owner,
                   int64_t place) {
  const char *text = json_string_value(owner->json);
  int64_t count = text ? zj_chars(text) : (int64_t)json_array_size(owner->json);
  *out = (struct zj_value){.kind = ZJ_UNDEF, .name = "an item"};
  if (place < 0) place += count;
  if (place < 0 || place >= count) return 0;
  if (!text) return zj_keep(env, out, json_incref(json_array_get(owner->json, (size_t)place)), 0);
  text = zj_skip(text, place);
  return zj_text(env, out, text, (size_t)(zj_skip(text, 1) - text));
}

static int eval_item(struct zj_env *env, struct zj_value *out, const struct zj_node *node) {
  struct zj_value owner, key;
  int rc = zj_eval(env, &owner, node->first);
  if (!rc) rc = zj_refuse(env, &owner);
  if (!rc) rc = zj_eval(env, &key, node->second);
  if (rc) return rc;
  if (key.kind == ZJ_JSON && json_is_string(key.json)) {
    const char *name = json_string_value(key.json);
    if (owner.kind == ZJ_LOOP) return loop_attribute(env, out, owner.loop, name);
    rc = get_key(env, out, &owner, name);
    if (!rc && out->kind == ZJ_UNDEF && owner.kind == ZJ_JSON && zj_has_method(owner.json, name))
      *out = (struct zj_value){.kind = ZJ_METHOD, .json = owner.json, .name = name};
    return rc;
  }
  if (owner.kind == ZJ_JSON && key.kind == ZJ_JSON && json_is_integer(key.json) &&
      (json_is_array(owner.json) || json_is_string(owner.json)))
    return item_at(env, out, &owner, json_integer_value(key.json));
  *out = (struct zj_value){.kind = ZJ_UNDEF, .name = "an item"};
  return 0;
}

static int slice_bound(struct zj_env *env, int64_t *out, const struct zj_node *node, int *is_set) {
  struct zj_value value;
  *is_set = 0;
  if (!node) return 0;
  int rc = zj_eval(env, &value, node);
  if (rc || (value.kind == ZJ_JSON && json_is_null(value.json))) return rc;
  if (value.kind != ZJ_JSON || !json_is_integer(value.json))
    return zj_fail(env, "a slice's bound is %s", zj_kind_name(&value));
  *is_set = 1;
  *out = json_integer_value(value.json);
  return 0;
}

static int64_t clamp(int64_t bound, int64_t count, int backward) {
  if (bound < 0) bound = bound < -count ? -1 : bound + count;
  if (bound < 0) return backward ? -1 : 0;
  return bound > count - backward ? count - backward : bound;
}

/* Appends character i of s or item i of a list. */
static int append_item(struct zj_env *env, const json_t *from, int64_t place, struct zf_buf *text,
                       json_t *list) {
  if (!list) {
    const char *c = zj_skip(json_string_value(from), place);
    zf_buf_add(text, c, (size_t)(zj_skip(c, 1) - c));
  } else {
    json_array_append(list, json_array_get(from, (size_t)place));
  }
  return zj_step(env);
}

static int slice_by(struct zj_env *env, struct zj_value *out, const json_t *from, int64_t start,
                    int64_t stop, int64_t step) {
  struct zf_buf text = {0};
  int is_text = json_is_string(from);
  json_t *list = is_text ? NULL : json_array();
  int rc = 0;
  if (is_text && step == 1) { /* in one piece */
    const char *first = zj_skip(json_string_value(from), start);
    return zj_text(env, out, first,
                   stop > start ? (size_t)(zj_skip(first, stop - start) - first) : 0);
  }
  for (int64_t i = start; !rc && (step > 0 ? i < stop : i > stop); i += step)
    rc = append_item(env, from, i, &text, list);
  if (!rc) rc = zf_buf_ok(&text);
  if (rc)
    json_decref(list);
  else
    rc = is_text ? zj_text(env, out, text.data, text.len)
                 : zj_keep(env, out, list, (int64_t)json_array_size(list) * 8);
  zf_buf_free(&text);
  return rc;
}

static int eval_slice(struct zj_env *env, struct zj_value *out, const struct zj_node *node) {
  struct zj_value owner;
  int64_t bound[3] = {0, 0, 1};
  int is_set[3];
  int rc = zj_eval(env, &owner, node->first);
  if (!rc) rc = slice_bound(env, &bound[0], node->second, &is_set[0]);
  if (!rc) rc = slice_bound(env, &bound[1], node->third, &is_set[1]);
  if (!rc) rc = slice_bound(env, &bound[2], node->fourth, &is_set[2]);
  if (rc) return rc;
  if (owner.kind != ZJ_JSON || (!json_is_string(owner.json) && !json_is_array(owner.json)))
    return zj_fail(env, "a slice of %s", zj_kind_name(&owner));
  if (bound[2] == 0 || bound[2] > 1 << 20 || bound[2] < -(1 << 20))
    return zj_fail(env, "a slice's step");
  int64_t len = json_is_string(owner.json) ? zj_chars(json_string_value(owner.json))
                                           : (int64_t)json_array_size(owner.json);
  int backward = bound[2] < 0;
  int64_t start = is_set[0] ? clamp(bound[0], len, backward) : backward ? len - 1 : 0;
  int64_t stop = is_set[1] ? clamp(bound[1], len, backward) : backward ? -1 : len;
  return slice_by(env, out, owner.json, start, stop, bound[2]);
}

/* --- calls
 * ------------------------------------------------------------------------------------------ */

int zj_arguments(struct zj_env *env, struct zj_args *args, const struct zj_node *list) {
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
int zj_capture(struct zj_env *env, struct zj_value *out, const struct zj_node *list) {
  struct zf_buf text = {0}, *before = env->out;
  env->out = &text;
  int rc = zj_exec(env, list);
  env->out = before;
  if (!rc) rc = zf_buf_ok(&text);
  if (!rc) rc = zj_text(env, out, text.data, text.len);
  zf_buf_free(&text);
  return rc;
}

static int bind_parameters(struct zj_env *env, struct zj_frame *frame, const struct zj_node *macro,
                           const struct zj_args *args) {
  int position = 0, used = 0, rc = 0;
  for (const struct zj_node *parameter = macro->fourth; !rc && parameter;
       parameter = parameter->next, position++) {
    const struct zj_value *arg = zj_arg(args, position, parameter->name);
    struct zj_value value = {.kind = ZJ_UNDEF, .name = parameter->name};
    used += arg != NULL;
    if (arg)
      value = *arg;
    else if (parameter->first)
      rc = zj_eval(env, &value, parameter->first);
    if (!rc) rc = zj_set_var(env, frame, parameter->name, &value);
  }
  if (!rc && used < args->count) rc = zj_fail(env, "macro '%s': too many arguments", macro->name);
  return rc;
}

static int call_macro(struct zj_env *env, struct zj_value *out, const struct zj_node *macro,
                      const struct zj_args *args) {
  struct zj_frame frame, *before = env->frame;
  int loops = env->loops, line = env->line;
  zj_push(env, &frame, env->root);
  env->loops = 0;
  int rc = bind_parameters(env, &frame, macro, args);
  if (!rc) rc = zj_capture(env, out, macro->list);
  zj_pop(env, &frame, before);
  env->loops = loops;
  if (!rc) env->line = line;
  return rc;
}

static int eval_call(struct zj_env *env, struct zj_value *out, const struct zj_node *node) {
  struct zj_value value;
  struct zj_args args;
  int rc = zj_eval(env, &value, node->first);
  if (!rc) rc = zj_refuse(env, &value);
  if (!rc) rc = zj_arguments(env, &args, node->list);
  if (rc) return rc;
  if (value.kind == ZJ_GLOBAL) return zj_global(env, out, value.name, &args);
  if (value.kind == ZJ_METHOD) return zj_method(env, out, &value, &args);
  if (value.kind == ZJ_MACRO) return call_macro(env, out, value.macro, &args);
  return zj_fail(env, "%s cannot be called", zj_kind_name(&value));
}

/* --- operators
 * --------------------------------------------------------------------------------------- */

static int concat(struct zj_env *env, struct zj_value *out, const struct zj_value *left,
                  const struct zj_value *right) {
  struct zf_buf text = {0};
  int rc = zj_str(env, &text, left);
  if (!rc) rc = zj_str(env, &text, right);
  if (!rc && text.len > ZF_JINJA_BYTES) rc = zj_fail(env, "a text grows too large");
  if (!rc) rc = zj_text(env, out, text.data, text.len);
  zf_buf_free(&text);
  return rc;
}

static int integer_arithmetic(struct zj_env *env, struct zj_value *out, const char *op, int64_t x,
                              int64_t y) {
  int64_t result = 0;
  int overflow = 0;
  if ((*op == '%' || !strcmp(op, "//")) && y == 0) return zj_fail(env, "division by zero");
  if (*op == '+')
    overflow = __builtin_add_overflow(x, y, &result);
  else if (*op == '-')
    overflow = __builtin_sub_overflow(x, y, &result);
  else if (*op == '*')
    overflow = __builtin_mul_overflow(x, y, &result);
  else if (y == -1)
    overflow = *op == '/' && __builtin_sub_overflow((int64_t)0, x, &result);
  else if (*op == '%')
    result = x % y + (x % y && (x % y < 0) != (y < 0) ? y : 0);
  else
    result = x / y - (x % y && (x < 0) != (y < 0));
  if (overflow) return zj_fail(env, "a number grows too large");
  return zj_int(env, out, result);
}

static int real_arithmetic(struct zj_env *env, struct zj_value *out, const char *op, double x,
                           double y) {
  double result = *op == '+'          ? x + y
                  : *op == '-'        ? x - y
                  : !strcmp(op, "**") ? pow(x, y)
                  : *op == '*'        ? x * y
                  : !strcmp(op, "//") ? floor(x / y)
                  : *op == '%'        ? x - y * floor(x / y)
                                      : x / y;
  if (!isfinite(result)) return zj_fail(env, "%g %s %g is no number", x, op, y);
  return zj_keep(env, out, json_real(result), 0);
}

static int concat_lists(struct zj_env *env, struct zj_value *out, const json_t *left,
                        const json_t *right) {
  int64_t count = (int64_t)(json_array_size(left) + json_array_size(right));
  int rc = zj_keep(env, out, json_array(), count * 8);
  if (rc) return rc;
  json_array_extend(out->json, (json_t *)left);
  json_array_extend(out->json, (json_t *)right);
  return 0;
}

static int repeat(struct zj_env *env, struct zj_value *out, const char *text, int64_t times) {
  struct zf_buf buf = {0};
  size_t len = strlen(text);
  if (times > 0 && len * (uint64_t)times / (uint64_t)times == len &&
      len * (uint64_t)times > 1 << 20)
    return zj_fail(env, "a text grows too large");
  for (int64_t i = 0; len && i < times; i++) zf_buf_add(&buf, text, len);
  int rc = zf_buf_ok(&buf);
  if (!rc) rc = zj_text(env, out, buf.data, buf.len);
  zf_buf_free(&buf);
  return rc;
}

static int arithmetic(struct zj_env *env, struct zj_value *out, const char *op, const json_t *left,
                      const json_t *right) {
  int numbers = (json_is_number(left) || json_is_boolean(left)) &&
                (json_is_number(right) || json_is_boolean(right));
  if (numbers) {
    double x = json_is_boolean(left) ? json_is_true(left) : json_number_value(left);
    double y = json_is_boolean(right) ? json_is_true(right) : json_number_value(right);
    int integers =
        !json_is_real(left) && !json_is_real(right) && strcmp(op, "/") && strcmp(op, "**");
    if (!strcmp(op, "**") && !json_is_real(left) && !json_is_real(right) && y >= 0 &&
        fabs(pow(x, y)) < 9e15)
      return zj_int(env, out, (int64_t)pow(x, y));
    return integers
               ? integer_arithmetic(env, out, op,
                                    json_is_integer(left) ? json_integer_value(left) : (int64_t)x,
                                    json_is_integer(right) ? json_integer_value(right) : (int64_t)y)
               : real_arithmetic(env, out, op, x, y);
  }
  if (*op == '+' && json_is_array(left) && json_is_array(right))
    return concat_lists(env, out, left, right);
  if (!strcmp(op, "*") && json_is_string(left) && json_is_integer(right))
    return repeat(env, out, json_string_value(left), json_integer_value(right));
  return zj_fail(env, "'%s' of %s and %s is not supported", op, zf_json_kind(left),
                 zf_json_kind(right));
}

static int eval_binary(struct zj_env *env, struct zj_value *out, const struct zj_node *node) {
  struct zj_value left, right;
  int rc = zj_eval(env, &left, node->first);
  if (!rc) rc = zj_eval(env, &right, node->second);
  if (rc || *node->op == '~') return rc ? rc : concat(env, out, &left, &right);
  if ((rc = zj_refuse(env, &left)) || (rc = zj_refuse(env, &right))) return rc;
  env->line = node->line;
  if (left.kind != ZJ_JSON || right.kind != ZJ_JSON)
    return zj_fail(env, "'%s' of %s and %s", node->op, zj_kind_name(&left), zj_kind_name(&right));
  if (*node->op == '+' && json_is_string(left.json) && json_is_string(right.json))
    return concat(env, out, &left, &right);
  return arithmetic(env, out, node->op, left.json, right.json);
}

static int compare_one(struct zj_env *env, int *yes, const char *op, const struct zj_value *left,
                       const struct zj_value *right) {
  static const char *const test[][2] = {{"==", "eq"}, {"!=", "ne"}, {"<", "lt"},  {"<=", "le"},
                                        {">", "gt"},  {">=", "ge"}, {"in", "in"}, {"ni", "in"}};
  struct zj_args args = {.value = {*right}, .count = 1};
  const char *name = "eq";
  for (int i = 0; i < 8; i++)
    if (!strcmp(test[i][0], op)) name = test[i][1];
  int rc = zj_strict(env, left);
  if (!rc) rc = zj_strict(env, right);
  if (!rc) rc = zj_test(env, yes, name, left, &args);
  if (!strcmp(op, "ni")) *yes = !*yes;
  return rc;
}

static int eval_compare(struct zj_env *env, struct zj_value *out, const struct zj_node *node) {
  struct zj_value left, right;
  int yes = 1, rc = zj_eval(env, &left, node->first);
  for (const struct zj_node *pair = node->list; !rc && yes && pair; pair = pair->next) {
    rc = zj_eval(env, &right, pair->second);
    if (!rc) rc = compare_one(env, &yes, pair->op, &left, &right);
    left = right;
  }
  return rc ? rc : zj_bool(env, out, yes);
}

static int eval_list(struct zj_env *env, struct zj_value *out, const struct zj_node *node) {
  struct zj_value list, value;
  int rc = zj_keep(env, &list, json_array(), 0);
  if (!rc && node->negated) rc = zj_set_shape(env, list.json, ZJ_TUPLE);
  for (const struct zj_node *element = node->list; !rc && element; element = element->next) {
    rc = zj_eval(env, &value, element);
    if (!rc && value.kind != ZJ_JSON)
      rc = zj_fail(env, "%s cannot be kept in a list", zj_kind_name(&value));
    if (!rc) json_array_append(list.json, value.json);
  }
  *out = list;
  return rc;
}

static int eval_dict(struct zj_env *env, struct zj_value *out, const struct zj_node *node) {
  struct zj_value dict, key, value;
  int rc = zj_keep(env, &dict, json_object(), 0);
  for (const struct zj_node *pair = node->list; !rc && pair; pair = pair->next) {
    rc = zj_eval(env, &key, pair->first);
    if (!rc) rc = zj_eval(env, &value, pair->second);
    if (!rc && (key.kind != ZJ_JSON || !json_is_string(key.json)))
      rc = zj_fail(env, "a mapping's key is %s: only texts are supported", zj_kind_name(&key));
    if (!rc && value.kind != ZJ_JSON)
      rc = zj_fail(env, "%s cannot be kept in a mapping", zj_kind_name(&value));
    if (!rc) json_object_set(dict.json, json_string_value(key.json), value.json);
  }
  *out = dict;
  return rc;
}

static int eval_negate(struct zj_env *env, struct zj_value *out, const struct zj_node *node) {
  struct zj_value value;
  int rc = zj_eval(env, &value, node->first);
  if (rc) return rc;
  if (value.kind == ZJ_JSON && json_is_integer(value.json) &&
      json_integer_value(value.json) != INT64_MIN)
    return zj_int(env, out, -json_integer_value(value.json));
  if (value.kind == ZJ_JSON && json_is_real(value.json))
    return zj_keep(env, out, json_real(-json_real_value(value.json)), 0);
  return zj_fail(env, "'-' of %s", zj_kind_name(&value));
}

static int eval_filter(struct zj_env *env, struct zj_value *out, const struct zj_node *node) {
  struct zj_value value;
  struct zj_args args;
  int rc = zj_eval(env, &value, node->first);
  if (!rc) rc = zj_arguments(env, &args, node->list);
  env->line = node->line;
  if (!rc && strcmp(node->name, "default") && strcmp(node->name, "d")) rc = zj_strict(env, &value);
  return rc ? rc : zj_filter(env, out, node->name, &value, &args);
}

static int eval_test(struct zj_env *env, struct zj_value *out, const struct zj_node *node) {
  struct zj_value value;
  struct zj_args args;
  int yes = 0, rc = zj_eval(env, &value, node->first);
  if (!rc) rc = zj_arguments(env, &args, node->list);
  if (!rc && !strstr(node->name, "defined")) rc = zj_strict(env, &value);
  if (!rc) rc = zj_test(env, &yes, node->name, &value, &args);
  return rc ? rc : zj_bool(env, out, yes != node->negated);
}

/* a and b, a or b: the value that decided. */
static int eval_logic(struct zj_env *env, struct zj_value *out, const struct zj_node *node) {
  int rc = zj_eval(env, out, node->first);
  if (!rc) rc = zj_strict(env, out);
  if (rc || zj_truth(out) == (node->kind == ZJ_N_OR)) return rc;
  return zj_eval(env, out, node->second);
}

static int eval_conditional(struct zj_env *env, struct zj_value *out, const struct zj_node *node) {
  struct zj_value value;
  int rc = zj_eval(env, &value, node->first);
  if (!rc) rc = zj_strict(env, &value);
  if (rc) return rc;
  if (zj_truth(&value)) return zj_eval(env, out, node->second);
  if (node->third) return zj_eval(env, out, node->third);
  *out = (struct zj_value){.kind = ZJ_UNDEF, .name = "a condition without else"};
  return 0;
}

static int evaluate(struct zj_env *env, struct zj_value *out, const struct zj_node *node) {
  struct zj_value value;
  int rc;
  switch (node->kind) {
    case ZJ_N_CONST:
      *out = (struct zj_value){.kind = ZJ_JSON, .json = node->value};
      return 0;
    case ZJ_N_NAME:
      look_up(env, out, node->name);
      return 0;
    case ZJ_N_LIST:
      return eval_list(env, out, node);
    case ZJ_N_DICT:
      return eval_dict(env, out, node);
    case ZJ_N_ATTR:
      return eval_attribute(env, out, node);
    case ZJ_N_ITEM:
      return eval_item(env, out, node);
    case ZJ_N_SLICE:
      return eval_slice(env, out, node);
    case ZJ_N_CALL:
      return eval_call(env, out, node);
    case ZJ_N_FILTER:
      return eval_filter(env, out, node);
    case ZJ_N_TEST:
      return eval_test(env, out, node);
    case ZJ_N_BINARY:
      return eval_binary(env, out, node);
    case ZJ_N_COMPARE:
      return eval_compare(env, out, node);
    case ZJ_N_NEGATE:
      return eval_negate(env, out, node);
    case ZJ_N_AND:
    case ZJ_N_OR:
      return eval_logic(env, out, node);
    case ZJ_N_COND:
      return eval_conditional(env, out, node);
    case ZJ_N_NOT:
      rc = zj_eval(env, &value, node->first);
      if (!rc) rc = zj_strict(env, &value);
      return rc ? rc : zj_bool(env, out, !zj_truth(&value));
    default:
      return zj_fail(env, "no value");
  }
}

int zj_eval(struct zj_env *env, struct zj_value *out, const struct zj_node *node) {
  int rc = zj_step(env);
  env->line = node->line;
  if (!rc && ++env->depth > ZF_JINJA_DEPTH)
    rc = zj_fail(env, "nested more than %d deep", ZF_JINJA_DEPTH);
  if (!rc) rc = evaluate(env, out, node);
  env->depth--;
  return rc;
}
