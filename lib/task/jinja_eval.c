/* Evaluates the expressions of a template.
 *
 * Every value lives until the rendering ends (zj_env.kept), so an error may return from anywhere.
 * No value holds itself: only a namespace changes, and a namespace is never put into a value. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fmt/json.h"
#include "jinja_internal.h"

enum { MAX_SLICE_STEP = 1 << 20 };

/* --- variables --- */

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
  for (const struct zj_frame *frame = env->frame; frame; frame = frame->parent)
    for (int i = 0; i < frame->count; i++)
      if (!strcmp(frame->var[i].name, name)) {
        *out = frame->var[i].value;
        return;
      }
  *out = (struct zj_value){.kind = zj_is_global(name) ? ZJ_GLOBAL : ZJ_UNDEF, .name = name};
}

void zj_push(struct zj_env *env, struct zj_frame *frame, struct zj_frame *parent) {
  *frame = (struct zj_frame){.parent = parent};
  env->frame = frame;
}

void zj_pop(struct zj_env *env, struct zj_frame *frame, struct zj_frame *previous) {
  free(frame->var);
  env->frame = previous;
}

/* --- attributes, items, slices --- */

/* Item `place` of the list that a loop goes over; undefined outside of it. */
static int loop_item(struct zj_env *env, struct zj_value *out, const struct zj_loop *loop,
                     int64_t place, const char *name) {
  *out = (struct zj_value){.kind = ZJ_UNDEF, .name = name};
  if (place < 0 || place >= loop->count) return 0;
  return zj_keep(env, out, json_incref(json_array_get(loop->items, (size_t)place)), 0);
}

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
  if (!strcmp(name, "previtem")) return loop_item(env, out, loop, loop->index - 1, name);
  if (!strcmp(name, "nextitem")) return loop_item(env, out, loop, loop->index + 1, name);
  return zj_fail(env, "loop.%s is not supported", name);
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
  int rc = zj_eval(env, &owner, node->attribute.owner);
  if (!rc) rc = zj_refuse(env, &owner);
  if (rc) return rc;
  if (owner.kind == ZJ_LOOP) return loop_attribute(env, out, owner.loop, node->name);
  if (owner.kind == ZJ_JSON && zj_has_method(owner.json, node->name)) {
    *out = (struct zj_value){.kind = ZJ_METHOD, .json = owner.json, .name = node->name};
    return 0;
  }
  return get_key(env, out, &owner, node->name);
}

/* A character of a text or an item of a list; a negative place counts from the end. */
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
  int rc = zj_eval(env, &owner, node->item.owner);
  if (!rc) rc = zj_refuse(env, &owner);
  if (!rc) rc = zj_eval(env, &key, node->item.key);
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

/* A bound of a slice; *is_set = 0: it is not written, or none. */
static int slice_bound(struct zj_env *env, int64_t *out, const struct zj_node *node, int *is_set) {
  struct zj_value value;
  *is_set = 0;
  if (!node) return 0;
  int rc = zj_eval(env, &value, node);
  if (rc || zj_is_none(&value)) return rc;
  if (value.kind != ZJ_JSON || !json_is_integer(value.json))
    return zj_fail(env, "a slice's bound: expected a whole number, found %s", zj_kind_name(&value));
  *is_set = 1;
  *out = json_integer_value(value.json);
  return 0;
}

/* A bound within `count` items, as Python's slices clamp it; backward (0 or 1) is a negative step. */
static int64_t clamp(int64_t bound, int64_t count, int backward) {
  if (bound < 0) bound = bound < -count ? -1 : bound + count;
  if (bound < 0) return backward ? -1 : 0;
  return bound > count - backward ? count - backward : bound;
}

/* The characters start, start + step, ... before stop. */
static int slice_text(struct zj_env *env, struct zj_value *out, const char *text, int64_t start,
                      int64_t stop, int64_t step) {
  struct zf_buf buf = {0};
  int rc = 0;
  if (step == 1) { /* one stretch of bytes */
    const char *first = zj_skip(text, start);
    return zj_text(env, out, first,
                   stop > start ? (size_t)(zj_skip(first, stop - start) - first) : 0);
  }
  for (int64_t i = start; step > 0 ? i < stop : i > stop; i += step) {
    const char *c = zj_skip(text, i);
    zf_buf_add(&buf, c, (size_t)(zj_skip(c, 1) - c));
    if ((rc = zj_step(env))) break;
  }
  if (!rc) rc = zf_buf_ok(&buf);
  if (!rc) rc = zj_text(env, out, buf.data, buf.len);
  zf_buf_free(&buf);
  return rc;
}

/* The items start, start + step, ... before stop. */
static int slice_list(struct zj_env *env, struct zj_value *out, const json_t *from, int64_t start,
                      int64_t stop, int64_t step) {
  json_t *list = json_array();
  for (int64_t i = start; step > 0 ? i < stop : i > stop; i += step) {
    json_array_append(list, json_array_get(from, (size_t)i));
    int rc = zj_step(env);
    if (rc) {
      json_decref(list);
      return rc;
    }
  }
  return zj_keep(env, out, list, (int64_t)json_array_size(list) * 8);
}

static int eval_slice(struct zj_env *env, struct zj_value *out, const struct zj_node *node) {
  struct zj_value owner;
  int64_t start = 0, stop = 0, step = 1;
  int has_start, has_stop, has_step;
  int rc = zj_eval(env, &owner, node->slice.owner);
  if (!rc) rc = slice_bound(env, &start, node->slice.start, &has_start);
  if (!rc) rc = slice_bound(env, &stop, node->slice.stop, &has_stop);
  if (!rc) rc = slice_bound(env, &step, node->slice.step, &has_step);
  if (rc) return rc;
  int is_text = owner.kind == ZJ_JSON && json_is_string(owner.json);
  if (!is_text && (owner.kind != ZJ_JSON || !json_is_array(owner.json)))
    return zj_fail(env, "a slice of %s: expected a text or a list", zj_kind_name(&owner));
  if (step == 0 || step > MAX_SLICE_STEP || step < -MAX_SLICE_STEP)
    return zj_fail(env, "a slice's step: expected 1 to %d or its negative, found %lld",
                   MAX_SLICE_STEP, (long long)step);
  int backward = step < 0;
  int64_t count =
      is_text ? zj_chars(json_string_value(owner.json)) : (int64_t)json_array_size(owner.json);
  int64_t first = backward ? count - 1 : 0, end = backward ? -1 : count;
  start = has_start ? clamp(start, count, backward) : first;
  stop = has_stop ? clamp(stop, count, backward) : end;
  return is_text ? slice_text(env, out, json_string_value(owner.json), start, stop, step)
                 : slice_list(env, out, owner.json, start, stop, step);
}

/* --- calls --- */

int zj_arguments(struct zj_env *env, struct zj_args *args, const struct zj_node *list) {
  args->count = 0;
  for (; list; list = list->next) {
    if (args->count == ZJ_ARGS) return zj_fail(env, "more than %d arguments", ZJ_ARGS);
    args->name[args->count] = list->name;
    int rc = zj_eval(env, &args->value[args->count++], list->arg.value);
    if (rc) return rc;
  }
  return 0;
}

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
  int position = 0, used = 0;
  for (const struct zj_node *parameter = macro->macro.parameters; parameter;
       parameter = parameter->next, position++) {
    const struct zj_value *arg = zj_arg(args, position, parameter->name);
    struct zj_value value = {.kind = ZJ_UNDEF, .name = parameter->name};
    int rc = 0;
    used += arg != NULL;
    if (arg)
      value = *arg;
    else if (parameter->arg.value)
      rc = zj_eval(env, &value, parameter->arg.value);
    if (!rc) rc = zj_set_var(env, frame, parameter->name, &value);
    if (rc) return rc;
  }
  if (used < args->count) return zj_fail(env, "macro '%s': too many arguments", macro->name);
  return 0;
}

static int call_macro(struct zj_env *env, struct zj_value *out, const struct zj_node *macro,
                      const struct zj_args *args) {
  struct zj_frame frame, *before = env->frame;
  int loops = env->loops, line = env->line;
  zj_push(env, &frame, env->root);
  env->loops = 0;
  int rc = bind_parameters(env, &frame, macro, args);
  if (!rc) rc = zj_capture(env, out, macro->macro.body);
  zj_pop(env, &frame, before);
  env->loops = loops;
  if (!rc) env->line = line;
  return rc;
}

static int eval_call(struct zj_env *env, struct zj_value *out, const struct zj_node *node) {
  struct zj_value value;
  struct zj_args args;
  int rc = zj_eval(env, &value, node->call.callee);
  if (!rc) rc = zj_refuse(env, &value);
  if (!rc) rc = zj_arguments(env, &args, node->call.args);
  if (rc) return rc;
  if (value.kind == ZJ_GLOBAL) return zj_global(env, out, value.name, &args);
  if (value.kind == ZJ_METHOD) return zj_method(env, out, &value, &args);
  if (value.kind == ZJ_MACRO) return call_macro(env, out, value.macro, &args);
  return zj_fail(env, "%s cannot be called", zj_kind_name(&value));
}

/* --- operators --- */

static int eval_binary(struct zj_env *env, struct zj_value *out, const struct zj_node *node) {
  struct zj_value left, right;
  const char *op = node->binary.op;
  int rc = zj_eval(env, &left, node->binary.left);
  if (!rc) rc = zj_eval(env, &right, node->binary.right);
  if (rc) return rc;
  if (*op == '~') return zj_concat(env, out, &left, &right);
  rc = zj_refuse(env, &left);
  if (!rc) rc = zj_refuse(env, &right);
  if (rc) return rc;
  env->line = node->line;
  if (left.kind != ZJ_JSON || right.kind != ZJ_JSON)
    return zj_fail(env, "'%s' of %s and %s is not supported", op, zj_kind_name(&left),
                   zj_kind_name(&right));
  if (*op == '+' && json_is_string(left.json) && json_is_string(right.json))
    return zj_concat(env, out, &left, &right);
  return zj_arithmetic(env, out, op, left.json, right.json);
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
  int yes = 1, rc = zj_eval(env, &left, node->compare.first);
  if (rc) return rc;
  for (const struct zj_node *next = node->compare.operands; next; next = next->next) {
    rc = zj_eval(env, &right, next->operand.value);
    if (!rc) rc = compare_one(env, &yes, next->operand.op, &left, &right);
    if (rc) return rc;
    if (!yes) break;
    left = right;
  }
  return zj_bool(env, out, yes);
}

static int eval_list(struct zj_env *env, struct zj_value *out, const struct zj_node *node) {
  struct zj_value list, value;
  int rc = zj_keep(env, &list, json_array(), 0);
  if (!rc && node->list.is_tuple) rc = zj_set_shape(env, list.json, ZJ_TUPLE);
  if (rc) return rc;
  for (const struct zj_node *item = node->list.items; item; item = item->next) {
    if ((rc = zj_eval(env, &value, item))) return rc;
    if (value.kind != ZJ_JSON)
      return zj_fail(env, "%s cannot be kept in a list", zj_kind_name(&value));
    json_array_append(list.json, value.json);
  }
  *out = list;
  return 0;
}

static int eval_dict(struct zj_env *env, struct zj_value *out, const struct zj_node *node) {
  struct zj_value dict, key, value;
  int rc = zj_keep(env, &dict, json_object(), 0);
  if (rc) return rc;
  for (const struct zj_node *item = node->list.items; item; item = item->next) {
    rc = zj_eval(env, &key, item->pair.key);
    if (!rc) rc = zj_eval(env, &value, item->pair.value);
    if (rc) return rc;
    if (key.kind != ZJ_JSON || !json_is_string(key.json))
      return zj_fail(env, "a mapping's key is %s: only texts are supported", zj_kind_name(&key));
    if (value.kind != ZJ_JSON)
      return zj_fail(env, "%s cannot be kept in a mapping", zj_kind_name(&value));
    json_object_set(dict.json, json_string_value(key.json), value.json);
  }
  *out = dict;
  return 0;
}

static int eval_negate(struct zj_env *env, struct zj_value *out, const struct zj_node *node) {
  struct zj_value value;
  int rc = zj_eval(env, &value, node->unary.value);
  if (rc) return rc;
  if (value.kind == ZJ_JSON && json_is_integer(value.json) &&
      json_integer_value(value.json) != INT64_MIN)
    return zj_int(env, out, -json_integer_value(value.json));
  if (value.kind == ZJ_JSON && json_is_real(value.json))
    return zj_keep(env, out, json_real(-json_real_value(value.json)), 0);
  return zj_fail(env, "'-' of %s is not supported", zj_kind_name(&value));
}

static int eval_filter(struct zj_env *env, struct zj_value *out, const struct zj_node *node) {
  struct zj_value value;
  struct zj_args args;
  int rc = zj_eval(env, &value, node->filter.input);
  if (!rc) rc = zj_arguments(env, &args, node->filter.args);
  env->line = node->line;
  if (!rc && strcmp(node->name, "default") && strcmp(node->name, "d")) rc = zj_strict(env, &value);
  return rc ? rc : zj_filter(env, out, node->name, &value, &args);
}

static int eval_test(struct zj_env *env, struct zj_value *out, const struct zj_node *node) {
  struct zj_value value;
  struct zj_args args;
  int yes = 0, rc = zj_eval(env, &value, node->test.input);
  if (!rc) rc = zj_arguments(env, &args, node->test.args);
  if (!rc && !strstr(node->name, "defined")) rc = zj_strict(env, &value);
  if (!rc) rc = zj_test(env, &yes, node->name, &value, &args);
  return rc ? rc : zj_bool(env, out, yes != node->test.negated);
}

/* a and b, a or b: the value of the operand that decides. */
static int eval_logic(struct zj_env *env, struct zj_value *out, const struct zj_node *node) {
  int rc = zj_eval(env, out, node->binary.left);
  if (!rc) rc = zj_strict(env, out);
  if (rc || zj_truth(out) == (node->kind == ZJ_N_OR)) return rc;
  return zj_eval(env, out, node->binary.right);
}

static int eval_conditional(struct zj_env *env, struct zj_value *out, const struct zj_node *node) {
  struct zj_value value;
  int rc = zj_eval(env, &value, node->conditional.condition);
  if (!rc) rc = zj_strict(env, &value);
  if (rc) return rc;
  if (zj_truth(&value)) return zj_eval(env, out, node->conditional.yes);
  if (node->conditional.no) return zj_eval(env, out, node->conditional.no);
  *out = (struct zj_value){.kind = ZJ_UNDEF, .name = "a condition without else"};
  return 0;
}

static int evaluate(struct zj_env *env, struct zj_value *out, const struct zj_node *node) {
  struct zj_value value;
  int rc;
  switch (node->kind) {
    case ZJ_N_CONST:
      *out = (struct zj_value){.kind = ZJ_JSON, .json = node->constant};
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
      rc = zj_eval(env, &value, node->unary.value);
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
