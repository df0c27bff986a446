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

int zj_set_var(struct zj_env *e, struct zj_frame *f, const char *name, const struct zj_value *v) {
  for (int i = 0; i < f->count; i++)
    if (!strcmp(f->var[i].name, name)) {
      f->var[i].v = *v;
      return 0;
    }
  if (f->count == f->cap) {
    int cap = f->cap ? 2 * f->cap : 8;
    struct zj_var *var = realloc(f->var, (size_t)cap * sizeof *var);
    if (!var) return zf_error(ZF_ENOMEM, "%s: out of memory", e->jinja->name);
    f->var = var;
    f->cap = cap;
  }
  f->var[f->count++] = (struct zj_var){name, *v};
  return 0;
}

static void look_up(const struct zj_env *e, struct zj_value *out, const char *name) {
  for (const struct zj_frame *f = e->frame; f; f = f->up)
    for (int i = 0; i < f->count; i++)
      if (!strcmp(f->var[i].name, name)) {
        *out = f->var[i].v;
        return;
      }
  *out = (struct zj_value){.kind = zj_is_global(name) ? ZJ_GLOBAL : ZJ_UNDEF, .name = name};
}

void zj_push(struct zj_env *e, struct zj_frame *f, struct zj_frame *up) {
  *f = (struct zj_frame){.up = up};
  e->frame = f;
}

void zj_pop(struct zj_env *e, struct zj_frame *f, struct zj_frame *back) {
  free(f->var);
  e->frame = back;
}

/* --- attributes, items, slices
 * ---------------------------------------------------------------------- */

static int loop_attribute(struct zj_env *e, struct zj_value *out, const struct zj_loop *l,
                          const char *name) {
  const struct {
    const char *name;
    int64_t value;
  } number[] = {{"index", l->index + 1},
                {"index0", l->index},
                {"length", l->count},
                {"revindex", l->count - l->index},
                {"revindex0", l->count - l->index - 1},
                {"depth", l->depth},
                {"depth0", l->depth - 1}};
  for (size_t i = 0; i < sizeof number / sizeof *number; i++)
    if (!strcmp(number[i].name, name)) return zj_int(e, out, number[i].value);
  if (!strcmp(name, "first")) return zj_bool(e, out, l->index == 0);
  if (!strcmp(name, "last")) return zj_bool(e, out, l->index == l->count - 1);
  int64_t at = !strcmp(name, "previtem")   ? l->index - 1
               : !strcmp(name, "nextitem") ? l->index + 1
                                           : -2;
  if (at == -2) return zj_fail(e, "loop.%s is not supported", name);
  *out = (struct zj_value){.kind = ZJ_UNDEF, .name = name};
  if (at < 0 || at >= l->count) return 0;
  return zj_keep(e, out, json_incref(json_array_get(l->items, (size_t)at)), 0);
}

static int get(struct zj_env *e, struct zj_value *out, const struct zj_value *owner,
               const char *name) {
  json_t *v =
      owner->json && json_is_object(owner->json) ? json_object_get(owner->json, name) : NULL;
  if (v) return zj_keep(e, out, json_incref(v), 0);
  *out = (struct zj_value){.kind = ZJ_UNDEF, .name = name};
  return 0;
}

static int attribute(struct zj_env *e, struct zj_value *out, node n) {
  struct zj_value owner;
  int rc = zj_eval(e, &owner, n->first);
  if (!rc) rc = zj_refuse(e, &owner);
  if (rc) return rc;
  if (owner.kind == ZJ_LOOP) return loop_attribute(e, out, owner.loop, n->name);
  if (owner.kind == ZJ_JSON && zj_has_method(owner.json, n->name)) {
    *out = (struct zj_value){.kind = ZJ_METHOD, .json = owner.json, .name = n->name};
    return 0;
  }
  return get(e, out, &owner, n->name);
}

/* A character or an item at a place, which may count from the end. */
static int at_place(struct zj_env *e, struct zj_value *out, const struct zj_value *owner,
                    int64_t i) {
  const char *s = json_string_value(owner->json);
  int64_t n = s ? zj_chars(s) : (int64_t)json_array_size(owner->json);
  *out = (struct zj_value){.kind = ZJ_UNDEF, .name = "an item"};
  if (i < 0) i += n;
  if (i < 0 || i >= n) return 0;
  if (!s) return zj_keep(e, out, json_incref(json_array_get(owner->json, (size_t)i)), 0);
  s = zj_skip(s, i);
  return zj_text(e, out, s, (size_t)(zj_skip(s, 1) - s));
}

static int item(struct zj_env *e, struct zj_value *out, node n) {
  struct zj_value owner, key;
  int rc = zj_eval(e, &owner, n->first);
  if (!rc) rc = zj_refuse(e, &owner);
  if (!rc) rc = zj_eval(e, &key, n->second);
  if (rc) return rc;
  if (key.kind == ZJ_JSON && json_is_string(key.json)) {
    const char *name = json_string_value(key.json);
    if (owner.kind == ZJ_LOOP) return loop_attribute(e, out, owner.loop, name);
    rc = get(e, out, &owner, name);
    if (!rc && out->kind == ZJ_UNDEF && owner.kind == ZJ_JSON && zj_has_method(owner.json, name))
      *out = (struct zj_value){.kind = ZJ_METHOD, .json = owner.json, .name = name};
    return rc;
  }
  if (owner.kind == ZJ_JSON && key.kind == ZJ_JSON && json_is_integer(key.json) &&
      (json_is_array(owner.json) || json_is_string(owner.json)))
    return at_place(e, out, &owner, json_integer_value(key.json));
  *out = (struct zj_value){.kind = ZJ_UNDEF, .name = "an item"};
  return 0;
}

static int bound(struct zj_env *e, int64_t *out, node n, int *given) {
  struct zj_value v;
  *given = 0;
  if (!n) return 0;
  int rc = zj_eval(e, &v, n);
  if (rc || (v.kind == ZJ_JSON && json_is_null(v.json))) return rc;
  if (v.kind != ZJ_JSON || !json_is_integer(v.json))
    return zj_fail(e, "a slice's bound is %s", zj_kind_name(&v));
  *given = 1;
  *out = json_integer_value(v.json);
  return 0;
}

static int64_t clamp(int64_t v, int64_t n, int backward) {
  if (v < 0) v = v < -n ? -1 : v + n;
  if (v < 0) return backward ? -1 : 0;
  return v > n - backward ? n - backward : v;
}

/* Appends character i of s or item i of a list. */
static int take(struct zj_env *e, const json_t *from, int64_t i, struct zf_buf *text,
                json_t *list) {
  if (!list) {
    const char *s = zj_skip(json_string_value(from), i);
    zf_buf_add(text, s, (size_t)(zj_skip(s, 1) - s));
  } else {
    json_array_append(list, json_array_get(from, (size_t)i));
  }
  return zj_step(e);
}

static int slice_by(struct zj_env *e, struct zj_value *out, const json_t *from, int64_t a,
                    int64_t b, int64_t step) {
  struct zf_buf text = {0};
  int is_text = json_is_string(from);
  json_t *list = is_text ? NULL : json_array();
  int rc = 0;
  if (is_text && step == 1) { /* in one piece */
    const char *s = zj_skip(json_string_value(from), a);
    return zj_text(e, out, s, b > a ? (size_t)(zj_skip(s, b - a) - s) : 0);
  }
  for (int64_t i = a; !rc && (step > 0 ? i < b : i > b); i += step)
    rc = take(e, from, i, &text, list);
  if (!rc) rc = zf_buf_ok(&text);
  if (rc)
    json_decref(list);
  else
    rc = is_text ? zj_text(e, out, text.data, text.len)
                 : zj_keep(e, out, list, (int64_t)json_array_size(list) * 8);
  zf_buf_free(&text);
  return rc;
}

static int slice(struct zj_env *e, struct zj_value *out, node n) {
  struct zj_value owner;
  int64_t v[3] = {0, 0, 1};
  int given[3];
  int rc = zj_eval(e, &owner, n->first);
  if (!rc) rc = bound(e, &v[0], n->second, &given[0]);
  if (!rc) rc = bound(e, &v[1], n->third, &given[1]);
  if (!rc) rc = bound(e, &v[2], n->fourth, &given[2]);
  if (rc) return rc;
  if (owner.kind != ZJ_JSON || (!json_is_string(owner.json) && !json_is_array(owner.json)))
    return zj_fail(e, "a slice of %s", zj_kind_name(&owner));
  if (v[2] == 0 || v[2] > 1 << 20 || v[2] < -(1 << 20)) return zj_fail(e, "a slice's step");
  int64_t len = json_is_string(owner.json) ? zj_chars(json_string_value(owner.json))
                                           : (int64_t)json_array_size(owner.json);
  int back = v[2] < 0;
  int64_t a = given[0] ? clamp(v[0], len, back) : back ? len - 1 : 0;
  int64_t b = given[1] ? clamp(v[1], len, back) : back ? -1 : len;
  return slice_by(e, out, owner.json, a, b, v[2]);
}

/* --- calls
 * ------------------------------------------------------------------------------------------ */

int zj_arguments(struct zj_env *e, struct zj_args *a, node list) {
  a->count = 0;
  for (; list; list = list->next) {
    if (a->count == 12) return zj_fail(e, "more than 12 arguments");
    a->name[a->count] = list->name;
    int rc = zj_eval(e, &a->value[a->count++], list->first);
    if (rc) return rc;
  }
  return 0;
}

/* Runs statements into a buffer of their own and gives its text. */
int zj_capture(struct zj_env *e, struct zj_value *out, node list) {
  struct zf_buf own = {0}, *before = e->out;
  e->out = &own;
  int rc = zj_exec(e, list);
  e->out = before;
  if (!rc) rc = zf_buf_ok(&own);
  if (!rc) rc = zj_text(e, out, own.data, own.len);
  zf_buf_free(&own);
  return rc;
}

static int bind(struct zj_env *e, struct zj_frame *f, node macro, const struct zj_args *a) {
  int place = 0, used = 0, rc = 0;
  for (node p = macro->fourth; !rc && p; p = p->next, place++) {
    const struct zj_value *given = zj_arg(a, place, p->name);
    struct zj_value v = {.kind = ZJ_UNDEF, .name = p->name};
    used += given != NULL;
    if (given)
      v = *given;
    else if (p->first)
      rc = zj_eval(e, &v, p->first);
    if (!rc) rc = zj_set_var(e, f, p->name, &v);
  }
  if (!rc && used < a->count) rc = zj_fail(e, "macro '%s': too many arguments", macro->name);
  return rc;
}

static int call_macro(struct zj_env *e, struct zj_value *out, node macro, const struct zj_args *a) {
  struct zj_frame f, *before = e->frame;
  int loops = e->loops, line = e->line;
  zj_push(e, &f, e->root);
  e->loops = 0;
  int rc = bind(e, &f, macro, a);
  if (!rc) rc = zj_capture(e, out, macro->list);
  zj_pop(e, &f, before);
  e->loops = loops;
  if (!rc) e->line = line;
  return rc;
}

static int call(struct zj_env *e, struct zj_value *out, node n) {
  struct zj_value f;
  struct zj_args a;
  int rc = zj_eval(e, &f, n->first);
  if (!rc) rc = zj_refuse(e, &f);
  if (!rc) rc = zj_arguments(e, &a, n->list);
  if (rc) return rc;
  if (f.kind == ZJ_GLOBAL) return zj_global(e, out, f.name, &a);
  if (f.kind == ZJ_METHOD) return zj_method(e, out, &f, &a);
  if (f.kind == ZJ_MACRO) return call_macro(e, out, f.macro, &a);
  return zj_fail(e, "%s cannot be called", zj_kind_name(&f));
}

/* --- operators
 * --------------------------------------------------------------------------------------- */

static int concat(struct zj_env *e, struct zj_value *out, const struct zj_value *a,
                  const struct zj_value *b) {
  struct zf_buf text = {0};
  int rc = zj_str(e, &text, a);
  if (!rc) rc = zj_str(e, &text, b);
  if (!rc && text.len > ZF_JINJA_BYTES) rc = zj_fail(e, "a text grows too large");
  if (!rc) rc = zj_text(e, out, text.data, text.len);
  zf_buf_free(&text);
  return rc;
}

static int whole(struct zj_env *e, struct zj_value *out, const char *op, int64_t x, int64_t y) {
  int64_t r = 0;
  int lost = 0;
  if ((*op == '%' || !strcmp(op, "//")) && y == 0) return zj_fail(e, "division by zero");
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
  if (lost) return zj_fail(e, "a number grows too large");
  return zj_int(e, out, r);
}

static int real(struct zj_env *e, struct zj_value *out, const char *op, double x, double y) {
  double r = *op == '+'          ? x + y
             : *op == '-'        ? x - y
             : !strcmp(op, "**") ? pow(x, y)
             : *op == '*'        ? x * y
             : !strcmp(op, "//") ? floor(x / y)
             : *op == '%'        ? x - y * floor(x / y)
                                 : x / y;
  if (!isfinite(r)) return zj_fail(e, "%g %s %g is no number", x, op, y);
  return zj_keep(e, out, json_real(r), 0);
}

static int lists(struct zj_env *e, struct zj_value *out, const json_t *a, const json_t *b) {
  int64_t n = (int64_t)(json_array_size(a) + json_array_size(b));
  int rc = zj_keep(e, out, json_array(), n * 8);
  if (rc) return rc;
  json_array_extend(out->json, (json_t *)a);
  json_array_extend(out->json, (json_t *)b);
  return 0;
}

static int repeat(struct zj_env *e, struct zj_value *out, const char *s, int64_t times) {
  struct zf_buf b = {0};
  size_t n = strlen(s);
  if (times > 0 && n * (uint64_t)times / (uint64_t)times == n && n * (uint64_t)times > 1 << 20)
    return zj_fail(e, "a text grows too large");
  for (int64_t i = 0; n && i < times; i++) zf_buf_add(&b, s, n);
  int rc = zf_buf_ok(&b);
  if (!rc) rc = zj_text(e, out, b.data, b.len);
  zf_buf_free(&b);
  return rc;
}

static int arithmetic(struct zj_env *e, struct zj_value *out, const char *op, const json_t *a,
                      const json_t *b) {
  int numbers =
      (json_is_number(a) || json_is_boolean(a)) && (json_is_number(b) || json_is_boolean(b));
  if (numbers) {
    double x = json_is_boolean(a) ? json_is_true(a) : json_number_value(a);
    double y = json_is_boolean(b) ? json_is_true(b) : json_number_value(b);
    int integers = !json_is_real(a) && !json_is_real(b) && strcmp(op, "/") && strcmp(op, "**");
    if (!strcmp(op, "**") && !json_is_real(a) && !json_is_real(b) && y >= 0 &&
        fabs(pow(x, y)) < 9e15)
      return zj_int(e, out, (int64_t)pow(x, y));
    return integers ? whole(e, out, op, json_is_integer(a) ? json_integer_value(a) : (int64_t)x,
                            json_is_integer(b) ? json_integer_value(b) : (int64_t)y)
                    : real(e, out, op, x, y);
  }
  if (*op == '+' && json_is_array(a) && json_is_array(b)) return lists(e, out, a, b);
  if (!strcmp(op, "*") && json_is_string(a) && json_is_integer(b))
    return repeat(e, out, json_string_value(a), json_integer_value(b));
  return zj_fail(e, "'%s' of %s and %s is not supported", op, zf_json_kind(a), zf_json_kind(b));
}

static int binary(struct zj_env *e, struct zj_value *out, node n) {
  struct zj_value a, b;
  int rc = zj_eval(e, &a, n->first);
  if (!rc) rc = zj_eval(e, &b, n->second);
  if (rc || *n->op == '~') return rc ? rc : concat(e, out, &a, &b);
  if ((rc = zj_refuse(e, &a)) || (rc = zj_refuse(e, &b))) return rc;
  e->line = n->line;
  if (a.kind != ZJ_JSON || b.kind != ZJ_JSON)
    return zj_fail(e, "'%s' of %s and %s", n->op, zj_kind_name(&a), zj_kind_name(&b));
  if (*n->op == '+' && json_is_string(a.json) && json_is_string(b.json))
    return concat(e, out, &a, &b);
  return arithmetic(e, out, n->op, a.json, b.json);
}

static int compare_one(struct zj_env *e, int *yes, const char *op, const struct zj_value *a,
                       const struct zj_value *b) {
  static const char *const test[][2] = {{"==", "eq"}, {"!=", "ne"}, {"<", "lt"},  {"<=", "le"},
                                        {">", "gt"},  {">=", "ge"}, {"in", "in"}, {"ni", "in"}};
  struct zj_args args = {.value = {*b}, .count = 1};
  const char *name = "eq";
  for (int i = 0; i < 8; i++)
    if (!strcmp(test[i][0], op)) name = test[i][1];
  int rc = zj_strict(e, a);
  if (!rc) rc = zj_strict(e, b);
  if (!rc) rc = zj_test(e, yes, name, a, &args);
  if (!strcmp(op, "ni")) *yes = !*yes;
  return rc;
}

static int compare(struct zj_env *e, struct zj_value *out, node n) {
  struct zj_value a, b;
  int yes = 1, rc = zj_eval(e, &a, n->first);
  for (node p = n->list; !rc && yes && p; p = p->next) {
    rc = zj_eval(e, &b, p->second);
    if (!rc) rc = compare_one(e, &yes, p->op, &a, &b);
    a = b;
  }
  return rc ? rc : zj_bool(e, out, yes);
}

static int make_list(struct zj_env *e, struct zj_value *out, node n) {
  struct zj_value list, v;
  int rc = zj_keep(e, &list, json_array(), 0);
  if (!rc && n->negated) rc = zj_set_shape(e, list.json, ZJ_TUPLE);
  for (node p = n->list; !rc && p; p = p->next) {
    rc = zj_eval(e, &v, p);
    if (!rc && v.kind != ZJ_JSON) rc = zj_fail(e, "%s cannot be kept in a list", zj_kind_name(&v));
    if (!rc) json_array_append(list.json, v.json);
  }
  *out = list;
  return rc;
}

static int make_dict(struct zj_env *e, struct zj_value *out, node n) {
  struct zj_value dict, k, v;
  int rc = zj_keep(e, &dict, json_object(), 0);
  for (node p = n->list; !rc && p; p = p->next) {
    rc = zj_eval(e, &k, p->first);
    if (!rc) rc = zj_eval(e, &v, p->second);
    if (!rc && (k.kind != ZJ_JSON || !json_is_string(k.json)))
      rc = zj_fail(e, "a mapping's key is %s: only texts are supported", zj_kind_name(&k));
    if (!rc && v.kind != ZJ_JSON)
      rc = zj_fail(e, "%s cannot be kept in a mapping", zj_kind_name(&v));
    if (!rc) json_object_set(dict.json, json_string_value(k.json), v.json);
  }
  *out = dict;
  return rc;
}

static int negate(struct zj_env *e, struct zj_value *out, node n) {
  struct zj_value v;
  int rc = zj_eval(e, &v, n->first);
  if (rc) return rc;
  if (v.kind == ZJ_JSON && json_is_integer(v.json) && json_integer_value(v.json) != INT64_MIN)
    return zj_int(e, out, -json_integer_value(v.json));
  if (v.kind == ZJ_JSON && json_is_real(v.json))
    return zj_keep(e, out, json_real(-json_real_value(v.json)), 0);
  return zj_fail(e, "'-' of %s", zj_kind_name(&v));
}

static int call_filter(struct zj_env *e, struct zj_value *out, node n) {
  struct zj_value v;
  struct zj_args a;
  int rc = zj_eval(e, &v, n->first);
  if (!rc) rc = zj_arguments(e, &a, n->list);
  e->line = n->line;
  if (!rc && strcmp(n->name, "default") && strcmp(n->name, "d")) rc = zj_strict(e, &v);
  return rc ? rc : zj_filter(e, out, n->name, &v, &a);
}

static int call_test(struct zj_env *e, struct zj_value *out, node n) {
  struct zj_value v;
  struct zj_args a;
  int yes = 0, rc = zj_eval(e, &v, n->first);
  if (!rc) rc = zj_arguments(e, &a, n->list);
  if (!rc && !strstr(n->name, "defined")) rc = zj_strict(e, &v);
  if (!rc) rc = zj_test(e, &yes, n->name, &v, &a);
  return rc ? rc : zj_bool(e, out, yes != n->negated);
}

/* a and b, a or b: the value that decided. */
static int logic(struct zj_env *e, struct zj_value *out, node n) {
  int rc = zj_eval(e, out, n->first);
  if (!rc) rc = zj_strict(e, out);
  if (rc || zj_truth(out) == (n->kind == ZJ_N_OR)) return rc;
  return zj_eval(e, out, n->second);
}

static int conditional(struct zj_env *e, struct zj_value *out, node n) {
  struct zj_value v;
  int rc = zj_eval(e, &v, n->first);
  if (!rc) rc = zj_strict(e, &v);
  if (rc) return rc;
  if (zj_truth(&v)) return zj_eval(e, out, n->second);
  if (n->third) return zj_eval(e, out, n->third);
  *out = (struct zj_value){.kind = ZJ_UNDEF, .name = "a condition without else"};
  return 0;
}

static int evaluate(struct zj_env *e, struct zj_value *out, node n) {
  struct zj_value v;
  int rc;
  switch (n->kind) {
    case ZJ_N_CONST:
      *out = (struct zj_value){.kind = ZJ_JSON, .json = n->value};
      return 0;
    case ZJ_N_NAME:
      look_up(e, out, n->name);
      return 0;
    case ZJ_N_LIST:
      return make_list(e, out, n);
    case ZJ_N_DICT:
      return make_dict(e, out, n);
    case ZJ_N_ATTR:
      return attribute(e, out, n);
    case ZJ_N_ITEM:
      return item(e, out, n);
    case ZJ_N_SLICE:
      return slice(e, out, n);
    case ZJ_N_CALL:
      return call(e, out, n);
    case ZJ_N_FILTER:
      return call_filter(e, out, n);
    case ZJ_N_TEST:
      return call_test(e, out, n);
    case ZJ_N_BINARY:
      return binary(e, out, n);
    case ZJ_N_COMPARE:
      return compare(e, out, n);
    case ZJ_N_NEGATE:
      return negate(e, out, n);
    case ZJ_N_AND:
    case ZJ_N_OR:
      return logic(e, out, n);
    case ZJ_N_COND:
      return conditional(e, out, n);
    case ZJ_N_NOT:
      rc = zj_eval(e, &v, n->first);
      if (!rc) rc = zj_strict(e, &v);
      return rc ? rc : zj_bool(e, out, !zj_truth(&v));
    default:
      return zj_fail(e, "no value");
  }
}

int zj_eval(struct zj_env *e, struct zj_value *out, node n) {
  int rc = zj_step(e);
  e->line = n->line;
  if (!rc && ++e->depth > ZF_JINJA_DEPTH)
    rc = zj_fail(e, "nested more than %d deep", ZF_JINJA_DEPTH);
  if (!rc) rc = evaluate(e, out, n);
  e->depth--;
  return rc;
}
