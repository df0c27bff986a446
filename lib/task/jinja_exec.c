/* Statements of a template to text, and what callers see of it. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fmt/json.h"
#include "jinja_internal.h"

typedef const struct zj_node *node;

static int bind_targets(struct zj_env *e, struct zj_frame *f, node targets, json_t *x) {
  struct zj_value v = {.kind = ZJ_JSON, .json = x};
  if (!targets->next) return zj_set_var(e, f, targets->name, &v);
  size_t n = 0, i = 0;
  for (node t = targets; t; t = t->next) n++;
  if (!json_is_array(x) || json_array_size(x) != n)
    return zj_fail(e, "%s cannot be taken apart into %zu", zf_json_kind(x), n);
  int rc = 0;
  for (node t = targets; !rc && t; t = t->next) {
    v.json = json_array_get(x, i++);
    rc = zj_set_var(e, f, t->name, &v);
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
    zj_push(e, &f, before);
    rc = bind_targets(e, &f, n->fourth, x);
    if (!rc) rc = zj_eval(e, &v, n->second);
    zj_pop(e, &f, before);
    if (!rc && zj_truth(&v)) json_array_append(kept.json, x);
  }
  *list = kept.json;
  return rc;
}

static int pass(struct zj_env *e, node n, json_t *x, const struct zj_loop *l) {
  struct zj_value v = {.kind = ZJ_LOOP, .loop = l};
  struct zj_frame f, *before = e->frame;
  zj_push(e, &f, before);
  int rc = zj_set_var(e, &f, "loop", &v);
  if (!rc) rc = bind_targets(e, &f, n->fourth, x);
  if (!rc) rc = zj_exec(e, n->list);
  zj_pop(e, &f, before);
  if (e->jump == ZJ_CONTINUE) e->jump = ZJ_GO;
  return rc;
}

static int exec_for(struct zj_env *e, node n) {
  struct zj_value over;
  json_t *list = NULL;
  int rc = zj_eval(e, &over, n->first);
  if (!rc) rc = zj_refuse(e, &over);
  if (!rc) rc = zj_items(e, &list, &over);
  if (!rc && n->second) rc = chosen(e, &list, n);
  if (rc) return rc;
  struct zj_loop l = {.count = (int64_t)json_array_size(list), .items = list, .depth = ++e->loops};
  for (; !rc && l.index < l.count && e->jump == ZJ_GO; l.index++) {
    rc = zj_step(e);
    if (!rc) rc = pass(e, n, json_array_get(list, (size_t)l.index), &l);
  }
  e->loops--;
  if (e->jump == ZJ_BREAK) e->jump = ZJ_GO;
  return rc || l.count ? rc : zj_exec(e, n->other);
}

static int exec_if(struct zj_env *e, node n) {
  struct zj_value v;
  int rc = zj_eval(e, &v, n->first);
  if (!rc) rc = zj_strict(e, &v);
  return rc ? rc : zj_exec(e, zj_truth(&v) ? n->list : n->other);
}

static int assign(struct zj_env *e, node targets, const struct zj_value *v) {
  struct zj_value owner;
  int rc = zj_check_depth(e, v);
  if (rc) return rc;
  if (targets->kind == ZJ_N_NAME && !targets->next)
    return zj_set_var(e, e->frame, targets->name, v);
  if (targets->kind == ZJ_N_NAME) {
    if (v->kind != ZJ_JSON) return zj_fail(e, "%s cannot be taken apart", zj_kind_name(v));
    return bind_targets(e, e->frame, targets, v->json);
  }
  if ((rc = zj_eval(e, &owner, targets->first))) return rc;
  if (owner.kind != ZJ_NAMESPACE)
    return zj_fail(e, "only a namespace can be assigned to, found %s", zj_kind_name(&owner));
  if (v->kind == ZJ_UNDEF) {
    json_object_del(owner.json, targets->name);
    return 0;
  }
  if (v->kind != ZJ_JSON) return zj_fail(e, "%s cannot be kept in a namespace", zj_kind_name(v));
  json_object_set(owner.json, targets->name, v->json);
  return 0;
}

static int exec_set(struct zj_env *e, node n) {
  struct zj_value v;
  int rc = zj_eval(e, &v, n->first);
  e->line = n->line;
  return rc ? rc : assign(e, n->fourth, &v);
}

/* Filters written behind "set x |" or "filter", the innermost without a value. */
static int filter_text(struct zj_env *e, struct zj_value *v, node n) {
  struct zj_args a;
  struct zj_value out;
  int rc = n->first ? filter_text(e, v, n->first) : 0;
  if (!rc) rc = zj_arguments(e, &a, n->list);
  if (!rc) rc = zj_filter(e, &out, n->name, v, &a);
  if (!rc) *v = out;
  return rc;
}

static int exec_block(struct zj_env *e, node n) {
  struct zj_value v;
  struct zj_frame f, *before = e->frame;
  zj_push(e, &f, before);
  int rc = zj_capture(e, &v, n->list);
  zj_pop(e, &f, before);
  if (!rc && n->second) rc = filter_text(e, &v, n->second);
  if (rc) return rc;
  return n->kind == ZJ_N_SETBLOCK ? assign(e, n->fourth, &v) : zj_str(e, e->out, &v);
}

static int exec_generation(struct zj_env *e, node n) {
  struct zf_text_spans *s = e->spans;
  if (e->out != e->main)
    return zj_fail(e, "'generation' inside a macro, set or filter is not supported");
  int64_t from = (int64_t)e->out->len;
  int rc = zj_exec(e, n->list);
  if (rc || !s) return rc;
  if (s->count == s->cap) {
    int64_t cap = s->cap ? 2 * s->cap : 16;
    struct zf_span *at = realloc(s->at, (size_t)cap * sizeof *at);
    if (!at) return zf_error(ZF_ENOMEM, "%s: out of memory", e->jinja->name);
    s->at = at;
    s->cap = cap;
  }
  s->at[s->count++] = (struct zf_span){from, (int64_t)e->out->len};
  return 0;
}

static int exec_macro(struct zj_env *e, node n) {
  struct zj_value v = {.kind = ZJ_MACRO, .macro = n};
  return zj_set_var(e, e->frame, n->name, &v);
}

static int exec_print(struct zj_env *e, node n) {
  struct zj_value v;
  int rc = zj_eval(e, &v, n->first);
  return rc ? rc : zj_str(e, e->out, &v);
}

static int exec_one(struct zj_env *e, node n) {
  switch (n->kind) {
    case ZJ_N_DATA:
      zf_buf_add(e->out, json_string_value(n->value), json_string_length(n->value));
      return 0;
    case ZJ_N_PRINT:
      return exec_print(e, n);
    case ZJ_N_FOR:
      return exec_for(e, n);
    case ZJ_N_IF:
      return exec_if(e, n);
    case ZJ_N_SET:
      return exec_set(e, n);
    case ZJ_N_SETBLOCK:
    case ZJ_N_FILTERBLOCK:
      return exec_block(e, n);
    case ZJ_N_MACRO:
      return exec_macro(e, n);
    case ZJ_N_GENERATION:
      return exec_generation(e, n);
    case ZJ_N_BREAK:
      e->jump = ZJ_BREAK;
      return 0;
    default:
      e->jump = ZJ_CONTINUE;
      return 0;
  }
}

int zj_exec(struct zj_env *e, node list) {
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

/* --- what callers see
 * ------------------------------------------------------------------------------------ */

/* Runs the template into `out`, or gives the value of its one expression. */
static int run(const struct zf_jinja *t, const json_t *vars, int64_t now, struct zf_buf *out,
               struct zf_text_spans *spans, json_t **value) {
  struct zj_frame root = {0};
  struct zj_env e = {.jinja = t, .out = out, .main = out, .spans = spans, .now = now, .line = 1};
  struct zj_value v;
  const char *key;
  json_t *x;
  int64_t before = zf_json_failures();
  int rc = 0;
  e.frame = e.root = &root;
  json_object_foreach((json_t *)vars, key, x) {
    struct zj_value var = {.kind = ZJ_JSON, .json = x};
    if (!rc) rc = zj_set_var(&e, &root, key, &var);
  }
  if (!rc) rc = value ? zj_eval(&e, &v, t->body->first) : zj_exec(&e, t->body);
  if (!rc && value) rc = zj_refuse(&e, &v);
  if (!rc && value && v.kind != ZJ_JSON) rc = zj_fail(&e, "%s is no value", zj_kind_name(&v));
  rc = zf_json_checked(rc, before, t->name);
  if (!rc && value) *value = json_incref(v.json);
  for (int64_t i = e.nkept; i > 0; i--) json_decref(e.kept[i - 1]);
  free(e.kept);
  free(e.note);
  free(root.var);
  return rc;
}

int zf_jinja_render(const struct zf_jinja *t, const json_t *vars, int64_t now, struct zf_buf *out,
                    struct zf_text_spans *spans) {
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
