/* Runs a template: expressions to values, statements to text.
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

static int eval(struct zj_env *e, struct zj_value *out, node n);
static int exec(struct zj_env *e, node list);

/* --- variables ------------------------------------------------------------------------------------- */

static int set_var(struct zj_env *e, struct zj_frame *f, const char *name,
                   const struct zj_value *v) {
  for (int i = 0; i < f->n; i++)
    if (!strcmp(f->var[i].name, name)) {
      f->var[i].v = *v;
      return 0;
    }
  if (f->n == f->cap) {
    int cap = f->cap ? 2 * f->cap : 8;
    struct zj_var *var = realloc(f->var, (size_t)cap * sizeof *var);
    if (!var) return zf_error(ZF_ENOMEM, "%s: out of memory", e->t->name);
    f->var = var;
    f->cap = cap;
  }
  f->var[f->n++] = (struct zj_var){name, *v};
  return 0;
}

static void look_up(const struct zj_env *e, struct zj_value *out, const char *name) {
  for (const struct zj_frame *f = e->frame; f; f = f->up)
    for (int i = 0; i < f->n; i++)
      if (!strcmp(f->var[i].name, name)) {
        *out = f->var[i].v;
        return;
      }
  *out = (struct zj_value){.kind = zj_is_global(name) ? ZJ_GLOBAL : ZJ_UNDEF, .name = name};
}

static void push(struct zj_env *e, struct zj_frame *f, struct zj_frame *up) {
  *f = (struct zj_frame){.up = up};
  e->frame = f;
}

static void pop(struct zj_env *e, struct zj_frame *f, struct zj_frame *back) {
  free(f->var);
  e->frame = back;
}

/* --- attributes, items, slices ---------------------------------------------------------------------- */

static int loop_attribute(struct zj_env *e, struct zj_value *out, const struct zj_loop *l,
                          const char *name) {
  const struct {
    const char *name;
    int64_t value;
  } number[] = {{"index", l->i + 1},         {"index0", l->i},         {"length", l->n},
                {"revindex", l->n - l->i},   {"revindex0", l->n - l->i - 1},
                {"depth", l->depth},         {"depth0", l->depth - 1}};
  for (size_t i = 0; i < sizeof number / sizeof *number; i++)
    if (!strcmp(number[i].name, name)) return zj_int(e, out, number[i].value);
  if (!strcmp(name, "first")) return zj_bool(e, out, l->i == 0);
  if (!strcmp(name, "last")) return zj_bool(e, out, l->i == l->n - 1);
  int64_t at = !strcmp(name, "previtem") ? l->i - 1 : !strcmp(name, "nextitem") ? l->i + 1 : -2;
  if (at == -2) return zj_fail(e, "loop.%s is not supported", name);
  *out = (struct zj_value){.kind = ZJ_UNDEF, .name = name};
  if (at < 0 || at >= l->n) return 0;
  return zj_keep(e, out, json_incref(json_array_get(l->items, (size_t)at)), 0);
}

static int get(struct zj_env *e, struct zj_value *out, const struct zj_value *owner,
               const char *name) {
  json_t *v = owner->j && json_is_object(owner->j) ? json_object_get(owner->j, name) : NULL;
  if (v) return zj_keep(e, out, json_incref(v), 0);
  *out = (struct zj_value){.kind = ZJ_UNDEF, .name = name};
  return 0;
}

static int attribute(struct zj_env *e, struct zj_value *out, node n) {
  struct zj_value owner;
  int rc = eval(e, &owner, n->a);
  if (!rc) rc = zj_refuse(e, &owner);
  if (rc) return rc;
  if (owner.kind == ZJ_LOOP) return loop_attribute(e, out, owner.loop, n->name);
  if (owner.kind == ZJ_JSON && zj_has_method(owner.j, n->name)) {
    *out = (struct zj_value){.kind = ZJ_METHOD, .j = owner.j, .name = n->name};
    return 0;
  }
  return get(e, out, &owner, n->name);
}

/* A character or an item at a place, which may count from the end. */
static int at_place(struct zj_env *e, struct zj_value *out, const struct zj_value *owner,
                    int64_t i) {
  const char *s = json_string_value(owner->j);
  int64_t n = s ? zj_chars(s) : (int64_t)json_array_size(owner->j);
  *out = (struct zj_value){.kind = ZJ_UNDEF, .name = "an item"};
  if (i < 0) i += n;
  if (i < 0 || i >= n) return 0;
  if (!s) return zj_keep(e, out, json_incref(json_array_get(owner->j, (size_t)i)), 0);
  s = zj_skip(s, i);
  return zj_text(e, out, s, (size_t)(zj_skip(s, 1) - s));
}

static int item(struct zj_env *e, struct zj_value *out, node n) {
  struct zj_value owner, key;
  int rc = eval(e, &owner, n->a);
  if (!rc) rc = zj_refuse(e, &owner);
  if (!rc) rc = eval(e, &key, n->b);
  if (rc) return rc;
  if (key.kind == ZJ_JSON && json_is_string(key.j)) {
    const char *name = json_string_value(key.j);
    if (owner.kind == ZJ_LOOP) return loop_attribute(e, out, owner.loop, name);
    rc = get(e, out, &owner, name);
    if (!rc && out->kind == ZJ_UNDEF && owner.kind == ZJ_JSON && zj_has_method(owner.j, name))
      *out = (struct zj_value){.kind = ZJ_METHOD, .j = owner.j, .name = name};
    return rc;
  }
  if (owner.kind == ZJ_JSON && key.kind == ZJ_JSON && json_is_integer(key.j) &&
      (json_is_array(owner.j) || json_is_string(owner.j)))
    return at_place(e, out, &owner, json_integer_value(key.j));
  *out = (struct zj_value){.kind = ZJ_UNDEF, .name = "an item"};
  return 0;
}

static int bound(struct zj_env *e, int64_t *out, node n, int *given) {
  struct zj_value v;
  *given = 0;
  if (!n) return 0;
  int rc = eval(e, &v, n);
  if (rc || (v.kind == ZJ_JSON && json_is_null(v.j))) return rc;
  if (v.kind != ZJ_JSON || !json_is_integer(v.j))
    return zj_fail(e, "a slice's bound is %s", zj_kind_name(&v));
  *given = 1;
  *out = json_integer_value(v.j);
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
  for (int64_t i = a; !rc && (step > 0 ? i < b : i > b); i += step) rc = take(e, from, i, &text, list);
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
  int rc = eval(e, &owner, n->a);
  if (!rc) rc = bound(e, &v[0], n->b, &given[0]);
  if (!rc) rc = bound(e, &v[1], n->c, &given[1]);
  if (!rc) rc = bound(e, &v[2], n->d, &given[2]);
  if (rc) return rc;
  if (owner.kind != ZJ_JSON || (!json_is_string(owner.j) && !json_is_array(owner.j)))
    return zj_fail(e, "a slice of %s", zj_kind_name(&owner));
  if (v[2] == 0 || v[2] > 1 << 20 || v[2] < -(1 << 20)) return zj_fail(e, "a slice's step");
  int64_t len = json_is_string(owner.j) ? zj_chars(json_string_value(owner.j))
                                        : (int64_t)json_array_size(owner.j);
  int back = v[2] < 0;
  int64_t a = given[0] ? clamp(v[0], len, back) : back ? len - 1 : 0;
  int64_t b = given[1] ? clamp(v[1], len, back) : back ? -1 : len;
  return slice_by(e, out, owner.j, a, b, v[2]);
}

/* --- calls ------------------------------------------------------------------------------------------ */

static int arguments(struct zj_env *e, struct zj_args *a, node list) {
  a->n = 0;
  for (; list; list = list->next) {
    if (a->n == 12) return zj_fail(e, "more than 12 arguments");
    a->name[a->n] = list->name;
    int rc = eval(e, &a->v[a->n++], list->a);
    if (rc) return rc;
  }
  return 0;
}

/* Runs statements into a buffer of their own and gives its text. */
static int capture(struct zj_env *e, struct zj_value *out, node list) {
  struct zf_buf own = {0}, *before = e->out;
  e->out = &own;
  int rc = exec(e, list);
  e->out = before;
  if (!rc) rc = zf_buf_ok(&own);
  if (!rc) rc = zj_text(e, out, own.data, own.len);
  zf_buf_free(&own);
  return rc;
}

static int bind(struct zj_env *e, struct zj_frame *f, node macro, const struct zj_args *a) {
  int place = 0, used = 0, rc = 0;
  for (node p = macro->d; !rc && p; p = p->next, place++) {
    const struct zj_value *given = zj_arg(a, place, p->name);
    struct zj_value v = {.kind = ZJ_UNDEF, .name = p->name};
    used += given != NULL;
    if (given)
      v = *given;
    else if (p->a)
      rc = eval(e, &v, p->a);
    if (!rc) rc = set_var(e, f, p->name, &v);
  }
  if (!rc && used < a->n) rc = zj_fail(e, "macro '%s': too many arguments", macro->name);
  return rc;
}

static int call_macro(struct zj_env *e, struct zj_value *out, node macro,
                      const struct zj_args *a) {
  struct zj_frame f, *before = e->frame;
  int loops = e->loops, line = e->line;
  push(e, &f, e->root);
  e->loops = 0;
  int rc = bind(e, &f, macro, a);
  if (!rc) rc = capture(e, out, macro->list);
  pop(e, &f, before);
  e->loops = loops;
  if (!rc) e->line = line;
  return rc;
}

static int call(struct zj_env *e, struct zj_value *out, node n) {
  struct zj_value f;
  struct zj_args a;
  int rc = eval(e, &f, n->a);
  if (!rc) rc = zj_refuse(e, &f);
  if (!rc) rc = arguments(e, &a, n->list);
  if (rc) return rc;
  if (f.kind == ZJ_GLOBAL) return zj_global(e, out, f.name, &a);
  if (f.kind == ZJ_METHOD) return zj_method(e, out, &f, &a);
  if (f.kind == ZJ_MACRO) return call_macro(e, out, f.macro, &a);
  return zj_fail(e, "%s cannot be called", zj_kind_name(&f));
}

/* --- operators --------------------------------------------------------------------------------------- */

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
  double r = *op == '+'           ? x + y
             : *op == '-'         ? x - y
             : !strcmp(op, "**")  ? pow(x, y)
             : *op == '*'         ? x * y
             : !strcmp(op, "//")  ? floor(x / y)
             : *op == '%'         ? x - y * floor(x / y)
                                  : x / y;
  if (!isfinite(r)) return zj_fail(e, "%g %s %g is no number", x, op, y);
  return zj_keep(e, out, json_real(r), 0);
}

static int lists(struct zj_env *e, struct zj_value *out, const json_t *a, const json_t *b) {
  int64_t n = (int64_t)(json_array_size(a) + json_array_size(b));
  int rc = zj_keep(e, out, json_array(), n * 8);
  if (rc) return rc;
  json_array_extend(out->j, (json_t *)a);
  json_array_extend(out->j, (json_t *)b);
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
  int numbers = (json_is_number(a) || json_is_boolean(a)) && (json_is_number(b) || json_is_boolean(b));
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
  int rc = eval(e, &a, n->a);
  if (!rc) rc = eval(e, &b, n->b);
  if (rc || *n->op == '~') return rc ? rc : concat(e, out, &a, &b);
  if ((rc = zj_refuse(e, &a)) || (rc = zj_refuse(e, &b))) return rc;
  e->line = n->line;
  if (a.kind != ZJ_JSON || b.kind != ZJ_JSON)
    return zj_fail(e, "'%s' of %s and %s", n->op, zj_kind_name(&a), zj_kind_name(&b));
  if (*n->op == '+' && json_is_string(a.j) && json_is_string(b.j)) return concat(e, out, &a, &b);
  return arithmetic(e, out, n->op, a.j, b.j);
}

static int compare_one(struct zj_env *e, int *yes, const char *op, const struct zj_value *a,
                       const struct zj_value *b) {
  static const char *const test[][2] = {{"==", "eq"}, {"!=", "ne"}, {"<", "lt"}, {"<=", "le"},
                                        {">", "gt"},  {">=", "ge"}, {"in", "in"}, {"ni", "in"}};
  struct zj_args args = {.v = {*b}, .n = 1};
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
  int yes = 1, rc = eval(e, &a, n->a);
  for (node p = n->list; !rc && yes && p; p = p->next) {
    rc = eval(e, &b, p->b);
    if (!rc) rc = compare_one(e, &yes, p->op, &a, &b);
    a = b;
  }
  return rc ? rc : zj_bool(e, out, yes);
}

static int make_list(struct zj_env *e, struct zj_value *out, node n) {
  struct zj_value list, v;
  int rc = zj_keep(e, &list, json_array(), 0);
  for (node p = n->list; !rc && p; p = p->next) {
    rc = eval(e, &v, p);
    if (!rc && v.kind != ZJ_JSON) rc = zj_fail(e, "%s cannot be kept in a list", zj_kind_name(&v));
    if (!rc) json_array_append(list.j, v.j);
  }
  *out = list;
  return rc;
}

static int make_dict(struct zj_env *e, struct zj_value *out, node n) {
  struct zj_value dict, k, v;
  int rc = zj_keep(e, &dict, json_object(), 0);
  for (node p = n->list; !rc && p; p = p->next) {
    rc = eval(e, &k, p->a);
    if (!rc) rc = eval(e, &v, p->b);
    if (!rc && (k.kind != ZJ_JSON || !json_is_string(k.j)))
      rc = zj_fail(e, "a mapping's key is %s: only texts are supported", zj_kind_name(&k));
    if (!rc && v.kind != ZJ_JSON)
      rc = zj_fail(e, "%s cannot be kept in a mapping", zj_kind_name(&v));
    if (!rc) json_object_set(dict.j, json_string_value(k.j), v.j);
  }
  *out = dict;
  return rc;
}

static int negate(struct zj_env *e, struct zj_value *out, node n) {
  struct zj_value v;
  int rc = eval(e, &v, n->a);
  if (rc) return rc;
  if (v.kind == ZJ_JSON && json_is_integer(v.j) && json_integer_value(v.j) != INT64_MIN)
    return zj_int(e, out, -json_integer_value(v.j));
  if (v.kind == ZJ_JSON && json_is_real(v.j)) return zj_keep(e, out, json_real(-json_real_value(v.j)), 0);
  return zj_fail(e, "'-' of %s", zj_kind_name(&v));
}

static int call_filter(struct zj_env *e, struct zj_value *out, node n) {
  struct zj_value v;
  struct zj_args a;
  int rc = eval(e, &v, n->a);
  if (!rc) rc = arguments(e, &a, n->list);
  e->line = n->line;
  if (!rc && strcmp(n->name, "default") && strcmp(n->name, "d")) rc = zj_strict(e, &v);
  return rc ? rc : zj_filter(e, out, n->name, &v, &a);
}

static int call_test(struct zj_env *e, struct zj_value *out, node n) {
  struct zj_value v;
  struct zj_args a;
  int yes = 0, rc = eval(e, &v, n->a);
  if (!rc) rc = arguments(e, &a, n->list);
  if (!rc && !strstr(n->name, "defined")) rc = zj_strict(e, &v);
  if (!rc) rc = zj_test(e, &yes, n->name, &v, &a);
  return rc ? rc : zj_bool(e, out, yes != n->negated);
}

/* a and b, a or b: the value that decided. */
static int logic(struct zj_env *e, struct zj_value *out, node n) {
  int rc = eval(e, out, n->a);
  if (!rc) rc = zj_strict(e, out);
  if (rc || zj_truth(out) == (n->kind == ZJ_N_OR)) return rc;
  return eval(e, out, n->b);
}

static int conditional(struct zj_env *e, struct zj_value *out, node n) {
  struct zj_value v;
  int rc = eval(e, &v, n->a);
  if (!rc) rc = zj_strict(e, &v);
  if (rc) return rc;
  if (zj_truth(&v)) return eval(e, out, n->b);
  if (n->c) return eval(e, out, n->c);
  *out = (struct zj_value){.kind = ZJ_UNDEF, .name = "a condition without else"};
  return 0;
}

static int evaluate(struct zj_env *e, struct zj_value *out, node n) {
  struct zj_value v;
  int rc;
  switch (n->kind) {
  case ZJ_N_CONST: *out = (struct zj_value){.kind = ZJ_JSON, .j = n->value}; return 0;
  case ZJ_N_NAME: look_up(e, out, n->name); return 0;
  case ZJ_N_LIST: return make_list(e, out, n);
  case ZJ_N_DICT: return make_dict(e, out, n);
  case ZJ_N_ATTR: return attribute(e, out, n);
  case ZJ_N_ITEM: return item(e, out, n);
  case ZJ_N_SLICE: return slice(e, out, n);
  case ZJ_N_CALL: return call(e, out, n);
  case ZJ_N_FILTER: return call_filter(e, out, n);
  case ZJ_N_TEST: return call_test(e, out, n);
  case ZJ_N_BINARY: return binary(e, out, n);
  case ZJ_N_COMPARE: return compare(e, out, n);
  case ZJ_N_NEGATE: return negate(e, out, n);
  case ZJ_N_AND:
  case ZJ_N_OR: return logic(e, out, n);
  case ZJ_N_COND: return conditional(e, out, n);
  case ZJ_N_NOT:
    rc = eval(e, &v, n->a);
    if (!rc) rc = zj_strict(e, &v);
    return rc ? rc : zj_bool(e, out, !zj_truth(&v));
  default: return zj_fail(e, "no value");
  }
}

static int eval(struct zj_env *e, struct zj_value *out, node n) {
  int rc = zj_step(e);
  e->line = n->line;
  if (!rc && ++e->depth > ZF_JINJA_DEPTH)
    rc = zj_fail(e, "nested more than %d deep", ZF_JINJA_DEPTH);
  if (!rc) rc = evaluate(e, out, n);
  e->depth--;
  return rc;
}

/* --- statements ---------------------------------------------------------------------------------------- */

static int bind_targets(struct zj_env *e, struct zj_frame *f, node targets, json_t *x) {
  struct zj_value v = {.kind = ZJ_JSON, .j = x};
  if (!targets->next) return set_var(e, f, targets->name, &v);
  size_t n = 0, i = 0;
  for (node t = targets; t; t = t->next) n++;
  if (!json_is_array(x) || json_array_size(x) != n)
    return zj_fail(e, "%s cannot be taken apart into %zu", zf_json_kind(x), n);
  int rc = 0;
  for (node t = targets; !rc && t; t = t->next) {
    v.j = json_array_get(x, i++);
    rc = set_var(e, f, t->name, &v);
  }
  return rc;
}

/* The items for which the loop's condition holds. */
static int chosen(struct zj_env *e, json_t **list, node n) {
  struct zj_value kept, v;
  json_t *x;
  size_t i;
  int rc = zj_keep(e, &kept, json_array(), 0);
  json_array_foreach(rc ? NULL : *list, i, x) {
    struct zj_frame f, *before = e->frame;
    if (rc) break;
    push(e, &f, before);
    rc = bind_targets(e, &f, n->d, x);
    if (!rc) rc = eval(e, &v, n->b);
    pop(e, &f, before);
    if (!rc && zj_truth(&v)) json_array_append(kept.j, x);
  }
  *list = kept.j;
  return rc;
}

static int pass(struct zj_env *e, node n, json_t *x, const struct zj_loop *l) {
  struct zj_value v = {.kind = ZJ_LOOP, .loop = l};
  struct zj_frame f, *before = e->frame;
  push(e, &f, before);
  int rc = set_var(e, &f, "loop", &v);
  if (!rc) rc = bind_targets(e, &f, n->d, x);
  if (!rc) rc = exec(e, n->list);
  pop(e, &f, before);
  if (e->jump == ZJ_CONTINUE) e->jump = ZJ_GO;
  return rc;
}

static int exec_for(struct zj_env *e, node n) {
  struct zj_value over;
  json_t *list = NULL;
  int rc = eval(e, &over, n->a);
  if (!rc) rc = zj_refuse(e, &over);
  if (!rc) rc = zj_items(e, &list, &over);
  if (!rc && n->b) rc = chosen(e, &list, n);
  if (rc) return rc;
  struct zj_loop l = {.n = (int64_t)json_array_size(list), .items = list, .depth = ++e->loops};
  for (; !rc && l.i < l.n && e->jump == ZJ_GO; l.i++) {
    rc = zj_step(e);
    if (!rc) rc = pass(e, n, json_array_get(list, (size_t)l.i), &l);
  }
  e->loops--;
  if (e->jump == ZJ_BREAK) e->jump = ZJ_GO;
  return rc || l.n ? rc : exec(e, n->other);
}

static int exec_if(struct zj_env *e, node n) {
  struct zj_value v;
  int rc = eval(e, &v, n->a);
  if (!rc) rc = zj_strict(e, &v);
  return rc ? rc : exec(e, zj_truth(&v) ? n->list : n->other);
}

static int assign(struct zj_env *e, node targets, const struct zj_value *v) {
  struct zj_value owner;
  if (targets->kind == ZJ_N_NAME && !targets->next)
    return set_var(e, e->frame, targets->name, v);
  if (targets->kind == ZJ_N_NAME) {
    if (v->kind != ZJ_JSON) return zj_fail(e, "%s cannot be taken apart", zj_kind_name(v));
    return bind_targets(e, e->frame, targets, v->j);
  }
  int rc = eval(e, &owner, targets->a);
  if (rc) return rc;
  if (owner.kind != ZJ_NAMESPACE)
    return zj_fail(e, "only a namespace can be assigned to, found %s", zj_kind_name(&owner));
  if (v->kind == ZJ_UNDEF) {
    json_object_del(owner.j, targets->name);
    return 0;
  }
  if (v->kind != ZJ_JSON) return zj_fail(e, "%s cannot be kept in a namespace", zj_kind_name(v));
  json_object_set(owner.j, targets->name, v->j);
  return 0;
}

static int exec_set(struct zj_env *e, node n) {
  struct zj_value v;
  int rc = eval(e, &v, n->a);
  e->line = n->line;
  return rc ? rc : assign(e, n->d, &v);
}

/* Filters written behind "set x |" or "filter", the innermost without a value. */
static int filter_text(struct zj_env *e, struct zj_value *v, node n) {
  struct zj_args a;
  struct zj_value out;
  int rc = n->a ? filter_text(e, v, n->a) : 0;
  if (!rc) rc = arguments(e, &a, n->list);
  if (!rc) rc = zj_filter(e, &out, n->name, v, &a);
  if (!rc) *v = out;
  return rc;
}

static int exec_block(struct zj_env *e, node n) {
  struct zj_value v;
  struct zj_frame f, *before = e->frame;
  push(e, &f, before);
  int rc = capture(e, &v, n->list);
  pop(e, &f, before);
  if (!rc && n->b) rc = filter_text(e, &v, n->b);
  if (rc) return rc;
  return n->kind == ZJ_N_SETBLOCK ? assign(e, n->d, &v) : zj_str(e, e->out, &v);
}

static int exec_generation(struct zj_env *e, node n) {
  struct zf_spans *s = e->spans;
  if (e->out != e->main)
    return zj_fail(e, "'generation' inside a macro, set or filter is not supported");
  int64_t from = (int64_t)e->out->len;
  int rc = exec(e, n->list);
  if (rc || !s) return rc;
  if (s->n == s->cap) {
    int64_t cap = s->cap ? 2 * s->cap : 16;
    struct zf_span *at = realloc(s->at, (size_t)cap * sizeof *at);
    if (!at) return zf_error(ZF_ENOMEM, "%s: out of memory", e->t->name);
    s->at = at;
    s->cap = cap;
  }
  s->at[s->n++] = (struct zf_span){from, (int64_t)e->out->len};
  return 0;
}

static int exec_macro(struct zj_env *e, node n) {
  struct zj_value v = {.kind = ZJ_MACRO, .macro = n};
  return set_var(e, e->frame, n->name, &v);
}

static int exec_print(struct zj_env *e, node n) {
  struct zj_value v;
  int rc = eval(e, &v, n->a);
  return rc ? rc : zj_str(e, e->out, &v);
}

static int exec_one(struct zj_env *e, node n) {
  switch (n->kind) {
  case ZJ_N_DATA: zf_buf_add(e->out, json_string_value(n->value), json_string_length(n->value)); return 0;
  case ZJ_N_PRINT: return exec_print(e, n);
  case ZJ_N_FOR: return exec_for(e, n);
  case ZJ_N_IF: return exec_if(e, n);
  case ZJ_N_SET: return exec_set(e, n);
  case ZJ_N_SETBLOCK:
  case ZJ_N_FILTERBLOCK: return exec_block(e, n);
  case ZJ_N_MACRO: return exec_macro(e, n);
  case ZJ_N_GENERATION: return exec_generation(e, n);
  case ZJ_N_BREAK: e->jump = ZJ_BREAK; return 0;
  default: e->jump = ZJ_CONTINUE; return 0;
  }
}

static int exec(struct zj_env *e, node list) {
  int rc = ++e->depth > ZF_JINJA_DEPTH ? zj_fail(e, "nested more than %d deep", ZF_JINJA_DEPTH) : 0;
  for (; !rc && list && e->jump == ZJ_GO; list = list->next) {
    e->line = list->line;
    rc = zj_step(e);
    if (!rc) rc = exec_one(e, list);
    if (!rc && e->out->len > ZF_JINJA_BYTES)
      rc = zj_fail(e, "the template makes more than %d bytes", ZF_JINJA_BYTES);
  }
  e->depth--;
  return rc;
}

/* --- what callers see ------------------------------------------------------------------------------------ */

/* Runs the template into `out`, or gives the value of its one expression. */
static int run(const struct zf_jinja *t, const json_t *vars, int64_t now, struct zf_buf *out,
               struct zf_spans *spans, json_t **value) {
  struct zj_frame root = {0};
  struct zj_env e = {.t = t, .out = out, .main = out, .spans = spans, .now = now, .line = 1};
  struct zj_value v;
  const char *key;
  json_t *x;
  int rc = 0;
  e.frame = e.root = &root;
  json_object_foreach((json_t *)vars, key, x) {
    struct zj_value var = {.kind = ZJ_JSON, .j = x};
    if (!rc) rc = set_var(&e, &root, key, &var);
  }
  if (!rc) rc = value ? eval(&e, &v, t->body->a) : exec(&e, t->body);
  if (!rc && value) rc = zj_refuse(&e, &v);
  if (!rc && value && v.kind != ZJ_JSON) rc = zj_fail(&e, "%s is no value", zj_kind_name(&v));
  if (!rc && value) *value = json_incref(v.j);
  for (int64_t i = e.nkept; i > 0; i--) json_decref(e.kept[i - 1]);
  free(e.kept);
  free(root.var);
  return rc;
}

int zf_jinja_render(const struct zf_jinja *t, const json_t *vars, int64_t now, struct zf_buf *out,
                    struct zf_spans *spans) {
  size_t had = out->len;
  zf_buf_puts(out, "");
  int rc = run(t, vars, now, out, spans, NULL);
  if (!rc) rc = zf_buf_ok(out);
  if (rc) out->len = had;
  return rc;
}

int zf_jinja_value(const struct zf_jinja *t, const json_t *vars, json_t **out) {
  struct zf_buf none = {0};
  *out = NULL;
  if (!t->body || t->body->kind != ZJ_N_PRINT || t->body->next)
    return zf_error(ZF_EINVALID, "%s: expected one {{ expression }} and nothing else", t->name);
  int rc = run(t, vars, 0, &none, NULL, out);
  zf_buf_free(&none);
  return rc;
}

/* "\r\n" and "\r" are newlines. */
static char *normal_newlines(const char *text) {
  char *out = zf_strdup(text), *o = out;
  for (const char *p = text; out && *p; p++) {
    *o++ = *p == '\r' ? '\n' : *p;
    if (*p == '\r' && p[1] == '\n') p++;
  }
  if (out) *o = 0;
  return out;
}

int zf_jinja_parse(struct zf_jinja **out, const char *text, const char *name) {
  return zf_jinja_parse_as(out, text, name, 0);
}

int zf_jinja_parse_as(struct zf_jinja **out, const char *text, const char *name, unsigned flags) {
  struct zj_tokens tokens = {0};
  struct zf_jinja *t = zf_calloc(1, sizeof *t);
  *out = NULL;
  if (!t) return ZF_ENOMEM;
  t->flags = flags;
  t->name = zf_strdup(name);
  t->text = normal_newlines(text);
  int rc = t->name && t->text ? zj_lex(&tokens, t->text, name, flags) : ZF_ENOMEM;
  if (!rc) rc = zj_parse(t, &tokens);
  free(tokens.at);
  if (rc) {
    zf_jinja_free(t);
    return rc;
  }
  *out = t;
  return 0;
}

void zf_jinja_free(struct zf_jinja *t) {
  if (!t) return;
  while (t->all) {
    struct zj_node *n = t->all;
    t->all = n->all;
    free(n->name);
    json_decref(n->value);
    free(n);
  }
  free(t->name);
  free(t->text);
  free(t);
}

int zf_jinja_marks(const struct zf_jinja *t) {
  return t->marks;
}
