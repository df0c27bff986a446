#include "task/fields.h"

#include <string.h>

#include "base/err.h"
#include "fmt/json.h"
#include "task/chat.h"

static const struct zf_fields default_fields = {0};

int zf_field_missing(const json_t *row, const char *key) {
  enum { MAX_NAMES = 32 };
  const char *name[MAX_NAMES], *field;
  struct zf_buf listed = {0};
  int64_t count = 0;
  json_t *value;
  json_object_foreach((json_t *)row, field, value) {
    if (count == MAX_NAMES) break;
    name[count++] = field;
    zf_buf_printf(&listed, "%s'%.40s'", listed.len ? ", " : "", field);
  }
  const char *near = zf_nearest(key, name, count);
  int rc;
  if (near)
    rc = zf_error(ZF_EINVALID, "field '%s' is missing: the row has '%s'", key, near);
  else
    rc = zf_error(ZF_EINVALID, "field '%s' is missing: the row has %s", key,
                  listed.data ? listed.data : "none");
  zf_buf_free(&listed);
  return rc;
}

/* --- instructions --- */

static int text_field(const char **out, const json_t *row, const char *named,
                      const char *default_name, int needed) {
  const char *key = named ? named : default_name;
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
  int rc = read_instruction(&instruction, alpaca->fields ? alpaca->fields : &default_fields, row);
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

/* The template's name of a role: by the config's list, else by ShareGPT's names.  A name in neither is
 * kept, or with `sharegpt` unknown: NULL. */
static const char *template_role(const struct zf_fields *fields, const char *from, int sharegpt,
                                 char mapped[64]) {
  static const char *const roles[][2] = {{"human", "user"},
                                         {"user", "user"},
                                         {"gpt", "assistant"},
                                         {"assistant", "assistant"},
                                         {"system", "system"},
                                         {"tool", "tool"},
                                         {"function_call", "assistant"},
                                         {"observation", "tool"}};
  for (int64_t i = 0; i < fields->nroles; i++) {
    size_t len = strcspn(fields->roles[i], "=");
    if (strlen(from) != len || strncmp(from, fields->roles[i], len) != 0) continue;
    snprintf(mapped, 64, "%s", fields->roles[i] + len + 1);
    return mapped;
  }
  if (!sharegpt) return from;
  for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
    if (!strcmp(roles[i][0], from)) return roles[i][1];
  return NULL;
}

/* The keys under which a row holds its messages. */
struct message_keys {
  const char *field, *role, *content;
  int sharegpt;
};

static struct message_keys message_keys(const struct zf_fields *fields, const json_t *row) {
  int sharegpt = !fields->messages && !json_object_get(row, "messages") &&
                 json_object_get(row, "conversations") != NULL;
  struct message_keys keys = {fields->messages, fields->role, fields->content, sharegpt};
  if (!keys.field) keys.field = sharegpt ? "conversations" : "messages";
  if (!keys.role) keys.role = sharegpt ? "from" : "role";
  if (!keys.content) keys.content = sharegpt ? "value" : "content";
  return keys;
}

/* A message as {role, content} with its other members; NULL: it is no message. */
static json_t *normal_message(const struct zf_fields *fields, const struct message_keys *keys,
                              json_t *message) {
  char mapped[64];
  const char *from = json_string_value(json_object_get(message, keys->role));
  json_t *content = json_object_get(message, keys->content);
  const char *role = from ? template_role(fields, from, keys->sharegpt, mapped) : NULL;
  if (!role || !content || (keys->sharegpt && !json_is_string(content))) return NULL;
  json_t *others = keys->sharegpt ? json_object() : json_copy(message);
  json_incref(content);
  json_object_del(others, keys->role);
  json_object_del(others, keys->content);
  json_t *normal = json_pack("{s:s, s:o}", "role", role, "content", content);
  json_object_update(normal, others);
  json_decref(others);
  return normal;
}

/* Item `index` of the list is no message. */
static int refuse_message(const struct message_keys *keys, const json_t *message, size_t index) {
  if (json_is_object(message) && json_object_size(message) && !json_object_get(message, keys->role))
    return zf_error_prefix(zf_field_missing(message, keys->role), "%s: message %zu", keys->field,
                           index + 1);
  if (keys->sharegpt)
    return zf_error(ZF_EINVALID,
                    "conversations: message %zu: expected %s (human, gpt, system) and %s",
                    index + 1, keys->role, keys->content);
  return zf_error(ZF_EINVALID, "%s: message %zu: expected {%s, %s}", keys->field, index + 1,
                  keys->role, keys->content);
}

int zf_messages_row(json_t **out, const struct zf_fields *fields, const json_t *row) {
  if (!fields) fields = &default_fields;
  struct message_keys keys = message_keys(fields, row);
  json_t *list = json_object_get(row, keys.field), *message;
  size_t i;
  *out = NULL;
  if (!list && fields->messages) return zf_field_missing(row, keys.field);
  if (!json_is_array(list) || !json_array_size(list))
    return zf_error(ZF_EINVALID, "field '%s': expected a list of {%s, %s}, found %s", keys.field,
                    keys.role, keys.content,
                    json_is_array(list) ? "an empty one" : zf_json_kind(list));
  if (!(*out = json_array())) return zf_error(ZF_ENOMEM, "out of memory");
  json_array_foreach(list, i, message) {
    json_t *normal = normal_message(fields, &keys, message);
    if (normal && !json_array_append_new(*out, normal)) continue;
    json_decref(*out);
    *out = NULL;
    return refuse_message(&keys, message, i);
  }
  return 0;
}
