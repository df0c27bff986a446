#include "task/fields.h"

#include <string.h>

#include "base/err.h"
#include "fmt/json.h"
#include "task/chat.h"

static const struct zf_fields usual = {0};

int zf_field_missing(const json_t *row, const char *key) {
  enum { MANY = 32 };
  const char *name[MANY], *k;
  struct zf_buf all = {0};
  int64_t n = 0;
  json_t *value;
  json_object_foreach((json_t *)row, k, value) {
    if (n == MANY) break;
    name[n++] = k;
    zf_buf_printf(&all, "%s'%.40s'", all.len ? ", " : "", k);
  }
  const char *near = zf_nearest(key, name, n);
  int rc = near ? zf_error(ZF_EINVALID, "field '%s' is missing: the row has '%s'", key, near)
                : zf_error(ZF_EINVALID, "field '%s' is missing: the row has %s", key,
                           all.data ? all.data : "none");
  zf_buf_free(&all);
  return rc;
}

/* --- instructions --- */

static int text_field(const char **out, const json_t *row, const char *named, const char *usually,
                      int needed) {
  const char *key = named ? named : usually;
  *out = NULL;
  int rc = zf_json_str(out, row, key, "row");
  return !rc && needed && !*out ? zf_field_missing(row, key) : rc;
}

struct instruction {
  const char *instruction, *input, *output, *system;
};

static int read_instruction(struct instruction *instruction, const struct zf_fields *fields,
                            const json_t *row) {
  int rc = text_field(&instruction->instruction, row, fields->instruction, "instruction", 1);
  if (!rc) rc = text_field(&instruction->input, row, fields->input, "input", fields->input != NULL);
  if (!rc) rc = text_field(&instruction->output, row, fields->output, "output", 1);
  if (!rc)
    rc = text_field(&instruction->system, row, fields->system, "system", fields->system != NULL);
  if (rc) return rc;
  if (instruction->input && !*instruction->input) instruction->input = NULL;
  if (!instruction->system || !*instruction->system) instruction->system = fields->system_prompt;
  return 0;
}

static void put_alpaca(struct zf_buf *out, const struct instruction *instruction) {
  if (instruction->system)
    zf_buf_printf(out, "%s%s", instruction->system, *instruction->system ? "\n\n" : "");
  else
    zf_buf_printf(out,
                  "Below is an instruction that describes a task%s. Write a response that "
                  "appropriately completes the request.\n\n",
                  instruction->input ? ", paired with an input that provides further context" : "");
  zf_buf_printf(out, "### Instruction:\n%s\n\n", instruction->instruction);
  if (instruction->input) zf_buf_printf(out, "### Input:\n%s\n\n", instruction->input);
  zf_buf_puts(out, "### Response:\n");
}

static int put_formatted(struct zf_buf *out, const struct zf_template *template,
                         const struct instruction *instruction) {
  const char *system = instruction->system ? instruction->system : "";
  json_t *row = json_pack("{s:s, s:s, s:s}", "instruction", instruction->instruction, "input",
                          instruction->input ? instruction->input : "", "system", system);
  if (!row) return zf_error(ZF_ENOMEM, "out of memory");
  if (!zf_template_has(template, "system")) zf_buf_puts(out, system);
  int rc = zf_template_apply(template, row, out);
  json_decref(row);
  return rc ? zf_error_prefix(rc, "format") : 0;
}

int zf_alpaca_row(const struct zf_alpaca *alpaca, const json_t *row, struct zf_buf *out,
                  struct zf_text_spans *spans) {
  struct instruction instruction = {0};
  int rc = read_instruction(&instruction, alpaca->fields ? alpaca->fields : &usual, row);
  if (rc) return rc;
  const struct zf_template *template =
      !instruction.input && alpaca->no_input ? alpaca->no_input : alpaca->format;
  if (template)
    rc = put_formatted(out, template, &instruction);
  else
    put_alpaca(out, &instruction);
  zf_buf_puts(out, "");
  int64_t from = (int64_t)out->len;
  zf_buf_puts(out, instruction.output);
  if (!rc) rc = zf_buf_ok(out);
  return rc ? rc : zf_text_span_add(spans, from, (int64_t)out->len);
}

/* --- messages --- */

/* The template's name of a role: f's own list, then ShareGPT's names; else the name as it is, or
 * NULL where only known names are roles. */
static const char *role_of(const struct zf_fields *fields, const char *from, int sharegpt,
                           char own[64]) {
  static const char *const role[][2] = {{"human", "user"},
                                        {"user", "user"},
                                        {"gpt", "assistant"},
                                        {"assistant", "assistant"},
                                        {"system", "system"},
                                        {"tool", "tool"},
                                        {"function_call", "assistant"},
                                        {"observation", "tool"}};
  for (int64_t k = 0; k < fields->nroles; k++) {
    size_t n = strcspn(fields->roles[k], "=");
    if (strlen(from) != n || strncmp(from, fields->roles[k], n) != 0) continue;
    snprintf(own, 64, "%s", fields->roles[k] + n + 1);
    return own;
  }
  if (!sharegpt) return from;
  for (size_t k = 0; k < sizeof role / sizeof *role; k++)
    if (!strcmp(role[k][0], from)) return role[k][1];
  return NULL;
}

/* How the messages of a row are written. */
struct shape {
  const char *field, *role, *content;
  int sharegpt;
};

static struct shape shape_of(const struct zf_fields *fields, const json_t *row) {
  int other = !fields->messages && !json_object_get(row, "messages") &&
              json_object_get(row, "conversations") != NULL;
  struct shape shape = {fields->messages, fields->role, fields->content, other};
  if (!shape.field) shape.field = other ? "conversations" : "messages";
  if (!shape.role) shape.role = other ? "from" : "role";
  if (!shape.content) shape.content = other ? "value" : "content";
  return shape;
}

/* A message as {role, content} and what else it has; NULL: it is none. */
static json_t *message(const struct zf_fields *fields, const struct shape *shape, json_t *m) {
  char own[64];
  const char *from = json_string_value(json_object_get(m, shape->role));
  json_t *content = json_object_get(m, shape->content);
  const char *role = from ? role_of(fields, from, shape->sharegpt, own) : NULL;
  if (!role || !content || (shape->sharegpt && !json_is_string(content))) return NULL;
  json_t *out = shape->sharegpt ? json_object() : json_copy(m);
  json_incref(content);
  json_object_del(out, shape->role);
  json_object_del(out, shape->content);
  json_t *rest = json_pack("{s:s, s:o}", "role", role, "content", content);
  json_object_update(rest, out);
  json_decref(out);
  return rest;
}

int zf_messages_row(json_t **out, const struct zf_fields *fields, const json_t *row) {
  if (!fields) fields = &usual;
  struct shape shape = shape_of(fields, row);
  json_t *list = json_object_get(row, shape.field), *m;
  size_t i;
  *out = NULL;
  if (!list && fields->messages) return zf_field_missing(row, shape.field);
  if (!json_is_array(list) || !json_array_size(list))
    return zf_error(ZF_EINVALID, "field '%s': expected a list of {%s, %s}, found %s", shape.field,
                    shape.role, shape.content,
                    json_is_array(list) ? "an empty one" : zf_json_kind(list));
  if (!(*out = json_array())) return zf_error(ZF_ENOMEM, "out of memory");
  json_array_foreach(list, i, m) {
    json_t *one = message(fields, &shape, m);
    if (one && !json_array_append_new(*out, one)) continue;
    json_decref(*out);
    *out = NULL;
    if (json_is_object(m) && json_object_size(m) && !json_object_get(m, shape.role))
      return zf_error_prefix(zf_field_missing(m, shape.role), "%s: message %zu", shape.field,
                             i + 1);
    return shape.sharegpt
               ? zf_error(ZF_EINVALID,
                          "conversations: message %zu: expected %s (human, gpt, system) and %s",
                          i + 1, shape.role, shape.content)
               : zf_error(ZF_EINVALID, "%s: message %zu: expected {%s, %s}", shape.field, i + 1,
                          shape.role, shape.content);
  }
  return 0;
}
