/* Statements of a template to text, and what callers see of it. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fmt/json.h"
#include "jinja_internal.h"

static int bind_targets(struct zj_env *env, struct zj_frame *frame, const struct zj_node *targets,
                        json_t *item) {
  struct zj_value value = {.kind = ZJ_JSON, .json = item};
  if (!targets->next) return zj_set_var(env, frame, targets->name, &value);
  size_t count = 0, i = 0;
  for (const struct zj_node *target = targets; target; target = target->next) count++;
  if (!json_is_array(item) || json_array_size(item) != count)
    return zj_fail(env, "%s cannot be taken apart into %zu", zf_json_kind(item), count);
  int rc = 0;
  for (const struct zj_node *target = targets; !rc && target; target = target->next) {
    value.json = json_array_get(item, i++);
    rc = zj_set_var(env, frame, target->name, &value);
  }
  return rc;
}

/* The items for which the loop's condition holds. */
static int filter_items(struct zj_env *env, json_t **list, const struct zj_node *node) {
  struct zj_value kept, value;
  json_t *item;
  size_t i;
  int rc = zj_keep(env, &kept, json_array(), 0);
  json_array_foreach(rc ? NULL : *list, i, item) {
    struct zj_frame frame, *before = env->frame;
    if (rc) break;
    zj_push(env, &frame, before);
    rc = bind_targets(env, &frame, node->fourth, item);
    if (!rc) rc = zj_eval(env, &value, node->second);
    zj_pop(env, &frame, before);
    if (!rc && zj_truth(&value)) json_array_append(kept.json, item);
  }
  *list = kept.json;
  return rc;
}

static int exec_iteration(struct zj_env *env, const struct zj_node *node, json_t *item,
                          const struct zj_loop *loop) {
  struct zj_value value = {.kind = ZJ_LOOP, .loop = loop};
  struct zj_frame frame, *before = env->frame;
  zj_push(env, &frame, before);
  int rc = zj_set_var(env, &frame, "loop", &value);
  if (!rc) rc = bind_targets(env, &frame, node->fourth, item);
  if (!rc) rc = zj_exec(env, node->list);
  zj_pop(env, &frame, before);
  if (env->jump == ZJ_CONTINUE) env->jump = ZJ_GO;
  return rc;
}

static int exec_for(struct zj_env *env, const struct zj_node *node) {
  struct zj_value iterable;
  json_t *list = NULL;
  int rc = zj_eval(env, &iterable, node->first);
  if (!rc) rc = zj_refuse(env, &iterable);
  if (!rc) rc = zj_items(env, &list, &iterable);
  if (!rc && node->second) rc = filter_items(env, &list, node);
  if (rc) return rc;
  struct zj_loop loop = {
      .count = (int64_t)json_array_size(list), .items = list, .depth = ++env->loops};
  for (; !rc && loop.index < loop.count && env->jump == ZJ_GO; loop.index++) {
    rc = zj_step(env);
    if (!rc) rc = exec_iteration(env, node, json_array_get(list, (size_t)loop.index), &loop);
  }
  env->loops--;
  if (env->jump == ZJ_BREAK) env->jump = ZJ_GO;
  return rc || loop.count ? rc : zj_exec(env, node->other);
}

static int exec_if(struct zj_env *env, const struct zj_node *node) {
  struct zj_value value;
  int rc = zj_eval(env, &value, node->first);
  if (!rc) rc = zj_strict(env, &value);
  return rc ? rc : zj_exec(env, zj_truth(&value) ? node->list : node->other);
}

static int assign(struct zj_env *env, const struct zj_node *targets, const struct zj_value *value) {
  struct zj_value owner;
  int rc = zj_check_depth(env, value);
  if (rc) return rc;
  if (targets->kind == ZJ_N_NAME && !targets->next)
    return zj_set_var(env, env->frame, targets->name, value);
  if (targets->kind == ZJ_N_NAME) {
    if (value->kind != ZJ_JSON)
      return zj_fail(env, "%s cannot be taken apart", zj_kind_name(value));
    return bind_targets(env, env->frame, targets, value->json);
  }
  if ((rc = zj_eval(env, &owner, targets->first))) return rc;
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
  int rc = zj_eval(env, &value, node->first);
  env->line = node->line;
  return rc ? rc : assign(env, node->fourth, &value);
}

/* Filters written behind "set x |" or "filter", the innermost without a value. */
static int filter_text(struct zj_env *env, struct zj_value *value, const struct zj_node *node) {
  struct zj_args args;
  struct zj_value out;
  int rc = node->first ? filter_text(env, value, node->first) : 0;
  if (!rc) rc = zj_arguments(env, &args, node->list);
  if (!rc) rc = zj_filter(env, &out, node->name, value, &args);
  if (!rc) *value = out;
  return rc;
}

static int exec_block(struct zj_env *env, const struct zj_node *node) {
  struct zj_value value;
  struct zj_frame frame, *before = env->frame;
  zj_push(env, &frame, before);
  int rc = zj_capture(env, &value, node->list);
  zj_pop(env, &frame, before);
  if (!rc && node->second) rc = filter_text(env, &value, node->second);
  if (rc) return rc;
  return node->kind == ZJ_N_SETBLOCK ? assign(env, node->fourth, &value)
                                     : zj_str(env, env->out, &value);
}

static int exec_generation(struct zj_env *env, const struct zj_node *node) {
  struct zf_text_spans *spans = env->spans;
  if (env->out != env->main)
    return zj_fail(env, "'generation' inside a macro, set or filter is not supported");
  int64_t from = (int64_t)env->out->len;
  int rc = zj_exec(env, node->list);
  if (rc || !spans) return rc;
  if (spans->count == spans->cap) {
    int64_t cap = spans->cap ? 2 * spans->cap : 16;
    struct zf_span *at = realloc(spans->at, (size_t)cap * sizeof *at);
    if (!at) return zf_error(ZF_ENOMEM, "%s: out of memory", env->jinja->name);
    spans->at = at;
    spans->cap = cap;
  }
  spans->at[spans->count++] = (struct zf_span){from, (int64_t)env->out->len};
  return 0;
}

static int exec_macro(struct zj_env *env, const struct zj_node *node) {
  struct zj_value value = {.kind = ZJ_MACRO, .macro = node};
  return zj_set_var(env, env->frame, node->name, &value);
}

static int exec_print(struct zj_env *env, const struct zj_node *node) {
  struct zj_value value;
  int rc = zj_eval(env, &value, node->first);
  return rc ? rc : zj_str(env, env->out, &value);
}

static int exec_one(struct zj_env *env, const struct zj_node *node) {
  switch (node->kind) {
    case ZJ_N_DATA:
      zf_buf_add(env->out, json_string_value(node->value), json_string_length(node->value));
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

int zj_exec(struct zj_env *env, const struct zj_node *list) {
  int rc =
      ++env->depth > ZF_JINJA_DEPTH ? zj_fail(env, "nested more than %d deep", ZF_JINJA_DEPTH) : 0;
  for (; !rc && list && env->jump == ZJ_GO; list = list->next) {
    env->line = list->line;
    rc = zj_step(env);
    if (!rc) rc = exec_one(env, list);
    if (!rc && env->out->len > ZF_JINJA_BYTES)
      rc = zj_fail(env, "the template makes more than %d bytes", ZF_JINJA_BYTES);
  }
  env->depth--;
  return rc;
}

/* --- what callers see
 * ------------------------------------------------------------------------------------ */

/* Runs the template into `out`, or gives the value of its one expression. */
static int run(const struct zf_jinja *jinja, const json_t *vars, int64_t now, struct zf_buf *out,
               struct zf_text_spans *spans, json_t **value) {
  struct zj_frame root = {0};
  struct zj_env env = {
      .jinja = jinja, .out = out, .main = out, .spans = spans, .now = now, .line = 1};
  struct zj_value result;
  const char *key;
  json_t *item;
  int64_t before = zf_json_failures();
  int rc = 0;
  env.frame = env.root = &root;
  json_object_foreach((json_t *)vars, key, item) {
    struct zj_value var = {.kind = ZJ_JSON, .json = item};
    if (!rc) rc = zj_set_var(&env, &root, key, &var);
  }
  if (!rc) rc = value ? zj_eval(&env, &result, jinja->body->first) : zj_exec(&env, jinja->body);
  if (!rc && value) rc = zj_refuse(&env, &result);
  if (!rc && value && result.kind != ZJ_JSON)
    rc = zj_fail(&env, "%s is no value", zj_kind_name(&result));
  rc = zf_json_checked(rc, before, jinja->name);
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

/* "\r\n" and "\r" are newlines. */
static char *normal_newlines(const char *text) {
  char *out = zf_strdup(text), *end = out;
  for (const char *c = text; out && *c; c++) {
    *end++ = *c == '\r' ? '\n' : *c;
    if (*c == '\r' && c[1] == '\n') c++;
  }
  if (out) *end = 0;
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
  free(tokens.at);
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
    json_decref(node->value);
    free(node);
  }
  free(jinja->name);
  free(jinja->text);
  free(jinja);
}

int zf_jinja_marks(const struct zf_jinja *jinja) {
  return jinja->marks;
}
