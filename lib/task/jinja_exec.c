/* Runs the statements of a template; the public functions of jinja.h. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fmt/json.h"
#include "jinja_internal.h"

/* Gives an item to the targets of a loop or a set: to one whole, to several its items one by one. */
static int bind_targets(struct zj_env *env, struct zj_frame *frame, const struct zj_node *targets,
                        json_t *item) {
  struct zj_value value = {.kind = ZJ_JSON, .json = item};
  if (!targets->next) return zj_set_var(env, frame, targets->name, &value);
  size_t count = 0, i = 0;
  for (const struct zj_node *target = targets; target; target = target->next) count++;
  if (!json_is_array(item) || json_array_size(item) != count)
    return zj_fail(env, "%s cannot be unpacked into %zu names", zf_json_kind(item), count);
  for (const struct zj_node *target = targets; target; target = target->next) {
    value.json = json_array_get(item, i++);
    int rc = zj_set_var(env, frame, target->name, &value);
    if (rc) return rc;
  }
  return 0;
}

/* Leaves in *list the items for which the loop's condition holds. */
static int filter_items(struct zj_env *env, json_t **list, const struct zj_node *node) {
  struct zj_value kept, value;
  json_t *item;
  size_t i;
  int rc = zj_keep(env, &kept, json_array(), 0);
  if (rc) return rc;
  json_array_foreach(*list, i, item) {
    struct zj_frame frame, *before = env->frame;
    zj_push(env, &frame, before);
    rc = bind_targets(env, &frame, node->loop.targets, item);
    if (!rc) rc = zj_eval(env, &value, node->loop.condition);
    zj_pop(env, &frame, before);
    if (rc) return rc;
    if (zj_truth(&value)) json_array_append(kept.json, item);
  }
  *list = kept.json;
  return 0;
}

static int exec_iteration(struct zj_env *env, const struct zj_node *node, json_t *item,
                          const struct zj_loop *loop) {
  struct zj_value value = {.kind = ZJ_LOOP, .loop = loop};
  struct zj_frame frame, *before = env->frame;
  zj_push(env, &frame, before);
  int rc = zj_set_var(env, &frame, "loop", &value);
  if (!rc) rc = bind_targets(env, &frame, node->loop.targets, item);
  if (!rc) rc = zj_exec(env, node->loop.body);
  zj_pop(env, &frame, before);
  if (env->jump == ZJ_CONTINUE) env->jump = ZJ_GO;
  return rc;
}

static int exec_iterations(struct zj_env *env, const struct zj_node *node, struct zj_loop *loop) {
  for (; loop->index < loop->count; loop->index++) {
    if (env->jump != ZJ_GO) break;
    int rc = zj_step(env);
    if (!rc) rc = exec_iteration(env, node, json_array_get(loop->items, (size_t)loop->index), loop);
    if (rc) return rc;
  }
  return 0;
}

static int exec_for(struct zj_env *env, const struct zj_node *node) {
  struct zj_value iterable;
  json_t *list = NULL;
  int rc = zj_eval(env, &iterable, node->loop.iterable);
  if (!rc) rc = zj_refuse(env, &iterable);
  if (!rc) rc = zj_items(env, &list, &iterable);
  if (!rc && node->loop.condition) rc = filter_items(env, &list, node);
  if (rc) return rc;
  struct zj_loop loop = {
      .count = (int64_t)json_array_size(list), .items = list, .depth = ++env->loops};
  rc = exec_iterations(env, node, &loop);
  env->loops--;
  if (env->jump == ZJ_BREAK) env->jump = ZJ_GO;
  return rc || loop.count ? rc : zj_exec(env, node->loop.else_body);
}

static int exec_if(struct zj_env *env, const struct zj_node *node) {
  struct zj_value value;
  int rc = zj_eval(env, &value, node->branch.condition);
  if (!rc) rc = zj_strict(env, &value);
  if (rc) return rc;
  return zj_exec(env, zj_truth(&value) ? node->branch.body : node->branch.else_body);
}

static int assign(struct zj_env *env, const struct zj_node *targets, const struct zj_value *value) {
  struct zj_value owner;
  int rc = zj_check_depth(env, value);
  if (rc) return rc;
  if (targets->kind == ZJ_N_NAME && !targets->next)
    return zj_set_var(env, env->frame, targets->name, value);
  if (targets->kind == ZJ_N_NAME) {
    if (value->kind != ZJ_JSON)
      return zj_fail(env, "%s cannot be unpacked into several names", zj_kind_name(value));
    return bind_targets(env, env->frame, targets, value->json);
  }
  if ((rc = zj_eval(env, &owner, targets->attribute.owner))) return rc;
  if (owner.kind != ZJ_NAMESPACE)
    return zj_fail(env, "only a namespace can be assigned to, found %s", zj_kind_name(&owner));
  if (value->kind == ZJ_UNDEF) {
    json_object_del(owner.json, targets->name);
    return 0;
  }
  if (value->kind != ZJ_JSON)
    return zj_fail(env, "%s cannot be kept in a namespace", zj_kind_name(value));
  json_object_set(owner.json, targets->name, value->json);
  return 0;
}

static int exec_set(struct zj_env *env, const struct zj_node *node) {
  struct zj_value value;
  int rc = zj_eval(env, &value, node->set.value);
  env->line = node->line;
  return rc ? rc : assign(env, node->set.targets, &value);
}

/* Applies the filters behind "set x |" or "filter" to *value; the innermost one has no input. */
static int filter_text(struct zj_env *env, struct zj_value *value, const struct zj_node *node) {
  struct zj_args args;
  struct zj_value out;
  int rc = node->filter.input ? filter_text(env, value, node->filter.input) : 0;
  if (!rc) rc = zj_arguments(env, &args, node->filter.args);
  if (!rc) rc = zj_filter(env, &out, node->name, value, &args);
  if (!rc) *value = out;
  return rc;
}

static int exec_block(struct zj_env *env, const struct zj_node *node) {
  struct zj_value value;
  struct zj_frame frame, *before = env->frame;
  zj_push(env, &frame, before);
  int rc = zj_capture(env, &value, node->set.body);
  zj_pop(env, &frame, before);
  if (!rc && node->set.filters) rc = filter_text(env, &value, node->set.filters);
  if (rc) return rc;
  return node->kind == ZJ_N_SETBLOCK ? assign(env, node->set.targets, &value)
                                     : zj_str(env, env->out, &value);
}

static int exec_generation(struct zj_env *env, const struct zj_node *node) {
  struct zf_text_spans *spans = env->spans;
  if (env->out != env->main)
    return zj_fail(env, "'generation' inside a macro, set or filter is not supported");
  int64_t from = (int64_t)env->out->len;
  int rc = zj_exec(env, node->generation.body);
  if (rc || !spans) return rc;
  if (spans->count == spans->cap) {
    int64_t cap = spans->cap ? 2 * spans->cap : 16;
    struct zf_text_span *at = realloc(spans->span, (size_t)cap * sizeof *at);
    if (!at) return zf_error(ZF_ENOMEM, "%s: out of memory", env->jinja->name);
    spans->span = at;
    spans->cap = cap;
  }
  spans->span[spans->count++] = (struct zf_text_span){from, (int64_t)env->out->len};
  return 0;
}

static int exec_macro(struct zj_env *env, const struct zj_node *node) {
  struct zj_value value = {.kind = ZJ_MACRO, .macro = node};
  return zj_set_var(env, env->frame, node->name, &value);
}

static int exec_print(struct zj_env *env, const struct zj_node *node) {
  struct zj_value value;
  int rc = zj_eval(env, &value, node->unary.value);
  return rc ? rc : zj_str(env, env->out, &value);
}

static int exec_one(struct zj_env *env, const struct zj_node *node) {
  switch (node->kind) {
    case ZJ_N_DATA:
      zf_buf_add(env->out, json_string_value(node->constant), json_string_length(node->constant));
      return 0;
    case ZJ_N_PRINT:
      return exec_print(env, node);
    case ZJ_N_FOR:
      return exec_for(env, node);
    case ZJ_N_IF:
      return exec_if(env, node);
    case ZJ_N_SET:
      return exec_set(env, node);
    case ZJ_N_SETBLOCK:
    case ZJ_N_FILTERBLOCK:
      return exec_block(env, node);
    case ZJ_N_MACRO:
      return exec_macro(env, node);
    case ZJ_N_GENERATION:
      return exec_generation(env, node);
    case ZJ_N_BREAK:
      env->jump = ZJ_BREAK;
      return 0;
    default:
      env->jump = ZJ_CONTINUE;
      return 0;
  }
}

static int exec_list(struct zj_env *env, const struct zj_node *list) {
  for (; list; list = list->next) {
    if (env->jump != ZJ_GO) break;
    env->line = list->line;
    int rc = zj_step(env);
    if (!rc) rc = exec_one(env, list);
    if (rc) return rc;
    if (env->out->len > ZF_JINJA_BYTES)
      return zj_fail(env, "the template makes more than %d bytes", ZF_JINJA_BYTES);
  }
  return 0;
}

int zj_exec(struct zj_env *env, const struct zj_node *list) {
  int rc = 0;
  if (++env->depth > ZF_JINJA_DEPTH)
    rc = zj_fail(env, "nested more than %d deep", ZF_JINJA_DEPTH);
  else
    rc = exec_list(env, list);
  env->depth--;
  return rc;
}

/* --- the public functions --- */

static int set_vars(struct zj_env *env, const json_t *vars) {
  const char *key;
  json_t *item;
  json_object_foreach((json_t *)vars, key, item) {
    struct zj_value value = {.kind = ZJ_JSON, .json = item};
    int rc = zj_set_var(env, env->root, key, &value);
    if (rc) return rc;
  }
  return 0;
}

static int eval_expression(struct zj_env *env, struct zj_value *out) {
  int rc = zj_eval(env, out, env->jinja->body->unary.value);
  if (!rc) rc = zj_refuse(env, out);
  if (!rc && out->kind != ZJ_JSON) rc = zj_fail(env, "%s is no value", zj_kind_name(out));
  return rc;
}

/* Renders the template into `out`, or, with `value`, evaluates the one expression that it is. */
static int run(const struct zf_jinja *jinja, const json_t *vars, int64_t now, struct zf_buf *out,
               struct zf_text_spans *spans, json_t **value) {
  struct zj_frame root = {0};
  struct zj_env env = {.jinja = jinja,
                       .out = out,
                       .main = out,
                       .spans = spans,
                       .now = now,
                       .line = 1,
                       .frame = &root,
                       .root = &root};
  struct zj_value result;
  int64_t before = zf_json_failures();
  int rc = set_vars(&env, vars);
  if (!rc) rc = value ? eval_expression(&env, &result) : zj_exec(&env, jinja->body);
  rc = zf_json_check_memory(rc, before, jinja->name);
  if (!rc && value) *value = json_incref(result.json);
  for (int64_t i = env.kept_count; i > 0; i--) json_decref(env.kept[i - 1]);
  free(env.kept);
  free(env.note);
  free(root.var);
  return rc;
}

int zf_jinja_render(const struct zf_jinja *jinja, const json_t *vars, int64_t now,
                    struct zf_buf *out, struct zf_text_spans *spans) {
  size_t old_len = out->len;
  zf_buf_puts(out, "");
  int rc = run(jinja, vars, now, out, spans, NULL);
  if (!rc) rc = zf_buf_ok(out);
  if (rc) out->len = old_len;
  return rc;
}

int zf_jinja_value(const struct zf_jinja *jinja, const json_t *vars, json_t **out) {
  struct zf_buf no_text = {0};
  *out = NULL;
  if (!jinja->body || jinja->body->kind != ZJ_N_PRINT || jinja->body->next)
    return zf_error(ZF_EINVALID, "%s: expected one {{ expression }} and nothing else", jinja->name);
  int rc = run(jinja, vars, 0, &no_text, NULL, out);
  zf_buf_free(&no_text);
  return rc;
}

/* A copy in which "\r\n" and "\r" are "\n"; NULL: out of memory. */
static char *normal_newlines(const char *text) {
  char *out = zf_strdup(text), *end = out;
  if (!out) return NULL;
  for (const char *c = text; *c; c++) {
    *end++ = *c == '\r' ? '\n' : *c;
    if (*c == '\r' && c[1] == '\n') c++;
  }
  *end = 0;
  return out;
}

int zf_jinja_parse(struct zf_jinja **out, const char *text, const char *name) {
  return zf_jinja_parse_as(out, text, name, 0);
}

int zf_jinja_parse_as(struct zf_jinja **out, const char *text, const char *name, unsigned flags) {
  struct zj_tokens tokens = {0};
  struct zf_jinja *jinja = zf_calloc(1, sizeof *jinja);
  *out = NULL;
  if (!jinja) return ZF_ENOMEM;
  jinja->flags = flags;
  jinja->name = zf_strdup(name);
  jinja->text = normal_newlines(text);
  int rc = jinja->name && jinja->text ? zj_lex(&tokens, jinja->text, name, flags) : ZF_ENOMEM;
  if (!rc) rc = zj_parse(jinja, &tokens);
  free(tokens.token);
  if (rc) {
    zf_jinja_free(jinja);
    return rc;
  }
  *out = jinja;
  return 0;
}

void zf_jinja_free(struct zf_jinja *jinja) {
  if (!jinja) return;
  while (jinja->all) {
    struct zj_node *node = jinja->all;
    jinja->all = node->all;
    free(node->name);
    json_decref(node->constant);
    free(node);
  }
  free(jinja->name);
  free(jinja->text);
  free(jinja);
}

int zf_jinja_has_generation(const struct zf_jinja *jinja) {
  return jinja->marks;
}
