/* Conversations and segments as texts in which stretches are targets. */
#include "task/chat.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "fmt/gguf.h"
#include "fmt/json.h"

enum { FIXED_DAY = 1721995200, TEMPLATE_MAX = 4 << 20 };

struct zf_chat {
  struct zf_jinja *jinja;
  char *text;     /* of the template */
  json_t *tokens; /* bos_token and the like */
};

int zf_text_span_add(struct zf_text_spans *spans, int64_t from, int64_t to) {
  if (spans->count == spans->cap) {
    int64_t cap = spans->cap ? 2 * spans->cap : 16;
    struct zf_text_span *at = realloc(spans->span, (size_t)cap * sizeof *at);
    if (!at) return zf_error(ZF_ENOMEM, "out of memory for %lld spans", (long long)cap);
    spans->span = at;
    spans->cap = cap;
  }
  spans->span[spans->count++] = (struct zf_text_span){from, to};
  return 0;
}

/* --- finding the template --- */

/* The template that a tokenizer_config.json holds: a text, or the entry "default" of a list of {name,
 * template}; NULL: none. */
static const char *configured_template(const json_t *value) {
  const json_t *item;
  size_t i;
  const char *text = json_string_value(value);
  json_array_foreach((json_t *)value, i, item) {
    const char *name = json_string_value(json_object_get(item, "name"));
    if (name && !strcmp(name, "default"))
      text = json_string_value(json_object_get(item, "template"));
  }
  return text;
}

static int parse_text(struct zf_chat *chat, const char *text, const char *name) {
  chat->text = zf_strdup(text);
  return chat->text ? zf_jinja_parse(&chat->jinja, text, name) : ZF_ENOMEM;
}

static int parse_file(struct zf_chat *chat, const char *path) {
  char *text = NULL;
  int rc = zf_read_file(&text, NULL, path, TEMPLATE_MAX);
  if (!rc) rc = parse_text(chat, text, path);
  free(text);
  return rc;
}

/* The checkpoint's own template. */
static int find_own_template(struct zf_chat *chat, const char *dir, const json_t *config) {
  const char *text = configured_template(json_object_get(config, "chat_template"));
  char *path = zf_path_join(dir, "chat_template.jinja");
  int rc = 0;
  if (!path)
    rc = ZF_ENOMEM;
  else if (zf_exists(path))
    rc = parse_file(chat, path);
  else if (text)
    rc = parse_text(chat, text, "tokenizer_config.json: chat_template");
  else
    rc = zf_error(ZF_EUSAGE, "%s has no chat template: set chat_template to one of %s, or a file",
                  dir, zf_chat_names());
  free(path);
  return rc;
}

static int find_template(struct zf_chat *chat, const char *dir, const json_t *config,
                         const char *named) {
  if (!named) return find_own_template(chat, dir, config);
  const char *text = zf_chat_builtin(named);
  if (text) return parse_text(chat, text, named);
  if (zf_exists(named)) return parse_file(chat, named);
  return zf_error(ZF_EUSAGE, "chat_template '%s' is neither a file nor one of %s", named,
                  zf_chat_names());
}

/* A built-in template writes nothing for a token that the model lacks. */
static int fill_tokens(json_t *tokens) {
  static const char *const key[] = {"bos_token", "eos_token", "unk_token", "pad_token"};
  int failed = 0;
  for (int i = 0; i < 4; i++)
    if (!json_object_get(tokens, key[i]))
      failed |= json_object_set_new(tokens, key[i], json_string(""));
  return failed ? zf_error(ZF_ENOMEM, "out of memory for a chat template") : 0;
}

/* The template of a GGUF file in the form of a tokenizer_config.json. */
static int gguf_config(json_t **out, const char *path) {
  struct zf_gguf gguf = {0};
  int rc = zf_gguf_open(&gguf, path, 1);
  if (rc) return rc;
  *out = json_object();
  json_object_set(*out, "chat_template", json_object_get(gguf.keys, "tokenizer.chat_template"));
  zf_gguf_free(&gguf);
  return *out ? 0 : zf_error(ZF_ENOMEM, "%s: out of memory", path);
}

/* What the checkpoint says about its template: tokenizer_config.json, or the same of a GGUF file. */
static int read_config(json_t **out, const char *dir) {
  if (zf_is_gguf_path(dir)) return gguf_config(out, dir);
  char *path = zf_path_join(dir, "tokenizer_config.json");
  if (!path) return ZF_ENOMEM;
  int rc = zf_exists(path) ? zf_json_load(out, path) : 0;
  free(path);
  return rc;
}

int zf_chat_open(struct zf_chat **out, const char *dir, const json_t *tokens, const char *named) {
  json_t *config = NULL;
  *out = NULL;
  struct zf_chat *chat = zf_calloc(1, sizeof *chat);
  if (!chat) return ZF_ENOMEM;
  int rc = read_config(&config, dir);
  if (!rc && !(chat->tokens = tokens ? json_copy((json_t *)tokens) : json_object()))
    rc = zf_error(ZF_ENOMEM, "%s: out of memory for a chat template", dir);
  if (!rc && named && zf_chat_builtin(named)) rc = fill_tokens(chat->tokens);
  if (!rc) rc = find_template(chat, dir, config, named);
  json_decref(config);
  if (rc)
    zf_chat_free(chat);
  else
    *out = chat;
  return rc;
}

void zf_chat_free(struct zf_chat *chat) {
  if (!chat) return;
  zf_jinja_free(chat->jinja);
  json_decref(chat->tokens);
  free(chat->text);
  free(chat);
}

const char *zf_chat_text(const struct zf_chat *chat) {
  return chat->text;
}

/* --- rendering --- */

int zf_chat_render(const struct zf_chat *chat, const json_t *messages, const json_t *tools,
                   int prompt, struct zf_buf *out, struct zf_text_spans *spans) {
  json_t *vars = json_copy(chat->tokens);
  if (!vars) return zf_error(ZF_ENOMEM, "out of memory");
  json_object_set(vars, "messages", (json_t *)messages);
  json_object_set_new(vars, "add_generation_prompt", json_boolean(prompt));
  if (tools)
    json_object_set(vars, "tools", (json_t *)tools);
  else
    json_object_set_new(vars, "tools", json_null());
  json_object_set_new(vars, "documents", json_null()); /* defined, as in Transformers */
  int rc = zf_jinja_render(chat->jinja, vars, FIXED_DAY, out, spans);
  json_decref(vars);
  return rc;
}

static int begins(const struct zf_buf *whole, const struct zf_buf *part) {
  return part->len <= whole->len && !memcmp(whole->data, part->data, part->len);
}

/* The first `count` messages. */
static json_t *first_messages(const json_t *messages, size_t count) {
  json_t *leading = json_array();
  for (size_t i = 0; i < count; i++) json_array_append(leading, json_array_get(messages, i));
  return leading;
}

/* Length of the text of the first `count` messages; -1: the whole does not begin with it. */
static int prefix_len(const struct zf_chat *chat, const json_t *messages, const json_t *tools,
                      size_t count, int prompt, const struct zf_buf *whole, int64_t *len) {
  json_t *leading = first_messages(messages, count);
  struct zf_buf part = {0};
  int rc = zf_chat_render(chat, leading, tools, prompt, &part, NULL);
  *len = !rc && begins(whole, &part) ? (int64_t)part.len : -1;
  zf_buf_free(&part);
  json_decref(leading);
  return rc;
}

/* Marks what the template writes for message `index`.  1: the whole does not begin with the text of the
 * messages before it, or of those up to it. */
static int mark_turn(const struct zf_chat *chat, const json_t *messages, const json_t *tools,
                     size_t index, const struct zf_buf *whole, struct zf_text_spans *spans) {
  int64_t from, to;
  int rc = prefix_len(chat, messages, tools, index, 1, whole, &from);
  if (!rc && from < 0) rc = prefix_len(chat, messages, tools, index, 0, whole, &from);
  if (!rc) rc = prefix_len(chat, messages, tools, index + 1, 0, whole, &to);
  if (rc) return zf_error_prefix(rc, "message %zu", index + 1);
  return from >= 0 && to >= from ? zf_text_span_add(spans, from, to) : 1;
}

static int is_answer(const json_t *messages, size_t index) {
  const char *role = json_string_value(json_object_get(json_array_get(messages, index), "role"));
  return role && !strcmp(role, "assistant");
}

static int mark_all(const struct zf_chat *chat, const json_t *messages, const json_t *tools,
                    const struct zf_buf *whole, struct zf_text_spans *spans) {
  for (size_t i = 0; i < json_array_size(messages); i++) {
    if (!is_answer(messages, i)) continue;
    int rc = mark_turn(chat, messages, tools, i, whole, spans);
    if (rc) return rc;
  }
  return 0;
}

/* --- a text for each answer --- */

static int is_blank(char c) {
  return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* Does the text contain the characters of the answer in their order, blanks aside? */
static int contains_in_order(const char *text, size_t len, const char *answer) {
  const char *end = text + len;
  for (; *answer; answer++) {
    if (is_blank(*answer)) continue;
    while (text < end && *text != *answer) text++;
    if (text == end) return 0;
    text++;
  }
  return 1;
}

/* Appends what the template writes behind these messages before a reply (add_generation_prompt); nothing
 * where it changes the text in another place. */
static int generation_prompt(const struct zf_chat *chat, const json_t *leading, const json_t *tools,
                             struct zf_buf *out) {
  struct zf_buf prompted = {0}, plain = {0};
  int rc = zf_chat_render(chat, leading, tools, 1, &prompted, NULL);
  if (!rc) rc = zf_chat_render(chat, leading, tools, 0, &plain, NULL);
  if (!rc && begins(&prompted, &plain))
    zf_buf_add(out, prompted.data + plain.len, prompted.len - plain.len);
  zf_buf_free(&prompted);
  zf_buf_free(&plain);
  return rc;
}

static size_t common_prefix(const struct zf_buf *left, const struct zf_buf *right) {
  size_t len = 0;
  while (len < left->len && len < right->len && left->data[len] == right->data[len]) len++;
  return len;
}

/* The end of the last `prompt` in text[0..end); `end` where there is none. */
static size_t behind_last(const struct zf_buf *text, const struct zf_buf *prompt, size_t end) {
  size_t last = end;
  if (!prompt->len) return end;
  for (size_t i = prompt->len; i <= end; i++)
    if (!memcmp(text->data + i - prompt->len, prompt->data, prompt->len)) last = i;
  return last;
}

/* Finds the beginning of the last answer: behind the last generation prompt before the place where the text
 * changes when the answer is another one.  *from = -1: there is no such place. */
static int find_answer(const struct zf_chat *chat, const json_t *conversation, const json_t *tools,
                       const struct zf_buf *text, int64_t *from) {
  size_t last = json_array_size(conversation) - 1;
  const json_t *message = json_array_get(conversation, last);
  const char *answer = json_string_value(json_object_get(message, "content"));
  *from = -1;
  if (!answer) return 0;
  json_t *before = json_copy((json_t *)conversation), *altered = json_copy((json_t *)conversation);
  json_t *other = json_copy((json_t *)message);
  struct zf_buf altered_text = {0}, prompt = {0};
  json_array_remove(before, last);
  json_object_set_new(other, "content", json_string(*answer == 'z' ? "qz" : "zq"));
  json_array_set_new(altered, last, other);
  int rc = zf_chat_render(chat, altered, tools, 0, &altered_text, NULL);
  if (!rc) rc = generation_prompt(chat, before, tools, &prompt);
  size_t place = common_prefix(text, &altered_text);
  int differ = altered_text.len && (place < text->len || place < altered_text.len);
  if (!rc && differ) *from = (int64_t)behind_last(text, &prompt, place);
  json_decref(before);
  json_decref(altered);
  zf_buf_free(&altered_text);
  zf_buf_free(&prompt);
  return rc;
}

/* Renders the conversation up to the answer `index`, its last message, and marks that. */
static int render_answer(const struct zf_chat *chat, const json_t *conversation,
                         const json_t *tools, size_t index, struct zf_buf *out,
                         struct zf_text_spans *spans) {
  int64_t from;
  zf_buf_clear(out);
  spans->count = 0;
  int rc = zf_chat_render(chat, conversation, tools, 0, out, NULL);
  if (!rc) rc = mark_turn(chat, conversation, tools, index, out, spans);
  if (rc != 1) return rc;
  if ((rc = find_answer(chat, conversation, tools, out, &from))) return rc;
  if (from >= 0) return zf_text_span_add(spans, from, (int64_t)out->len);
  return zf_error(ZF_EINVALID,
                  "message %zu: the template renders earlier messages differently when this answer "
                  "follows, so that the answer cannot be found in the text: name another "
                  "chat_template, or one with generation blocks",
                  index + 1);
}

static int answer_text(const struct zf_chat *chat, const json_t *messages, const json_t *tools,
                       size_t index, struct zf_buf *out, struct zf_text_spans *spans) {
  const json_t *message = json_array_get(messages, index);
  const char *answer = json_string_value(json_object_get(message, "content"));
  json_t *conversation = first_messages(messages, index + 1);
  int rc = render_answer(chat, conversation, tools, index, out, spans);
  json_decref(conversation);
  if (rc || !answer) return rc;
  const struct zf_text_span *span = &spans->span[0];
  if (contains_in_order(out->data + span->from, (size_t)(span->to - span->from), answer)) return 0;
  return zf_error(ZF_EINVALID,
                  "message %zu: the template leaves out a part of the answer: name another "
                  "chat_template",
                  index + 1);
}

/* Renders the conversation up to answer `number` (from 0); *answers: how many answers it has. */
static int separate_answer(const struct zf_chat *chat, const json_t *messages, const json_t *tools,
                           int64_t number, struct zf_buf *out, struct zf_text_spans *spans,
                           int64_t *answers) {
  size_t index = 0;
  *answers = 0;
  for (size_t i = 0; i < json_array_size(messages); i++) {
    if (!is_answer(messages, i)) continue;
    if (*answers == number) index = i;
    ++*answers;
  }
  return number < *answers ? answer_text(chat, messages, tools, index, out, spans) : 0;
}

/* Renders the conversation as one text and marks its answers; 1: each needs a text of its own. */
static int whole_conversation(const struct zf_chat *chat, const json_t *messages,
                              const json_t *tools, struct zf_buf *out,
                              struct zf_text_spans *spans) {
  int rc = zf_chat_render(chat, messages, tools, 0, out, spans);
  if (rc || zf_jinja_has_generation(chat->jinja)) return rc;
  return mark_all(chat, messages, tools, out, spans);
}

int zf_chat_row(const struct zf_chat *chat, const struct zf_fields *fields, const json_t *row,
                int64_t part, struct zf_buf *out, struct zf_text_spans *spans, int64_t *parts) {
  const json_t *tools = json_object_get(row, "tools");
  json_t *messages;
  *parts = 0;
  int rc = zf_messages_row(&messages, fields, row);
  if (rc) return rc;
  int separate = part > 0;
  if (!separate) {
    rc = whole_conversation(chat, messages, tools, out, spans);
    separate = rc == 1;
  }
  if (separate) rc = separate_answer(chat, messages, tools, part, out, spans, parts);
  json_decref(messages);
  return rc;
}

/* One segment {label, text}; a true label marks its text. */
static int add_segment(const json_t *segment, struct zf_buf *out, struct zf_text_spans *spans) {
  const json_t *text = json_object_get(segment, "text"), *label = json_object_get(segment, "label");
  int64_t from = (int64_t)out->len;
  if (!json_is_string(text) || !json_is_boolean(label))
    return zf_error(ZF_EINVALID, "expected {label: true or false, text}");
  zf_buf_puts(out, json_string_value(text));
  int rc = zf_buf_ok(out);
  if (rc || !json_is_true(label)) return rc;
  return zf_text_span_add(spans, from, (int64_t)out->len);
}

int zf_segments_row(const json_t *row, struct zf_buf *out, struct zf_text_spans *spans) {
  const json_t *list = json_object_get(row, "segments"), *segment;
  size_t i;
  if (!json_is_array(list))
    return zf_error(ZF_EINVALID, "field 'segments': expected a list of {label, text}, found %s",
                    zf_json_kind(list));
  zf_buf_puts(out, "");
  json_array_foreach((json_t *)list, i, segment) {
    int rc = add_segment(segment, out, spans);
    if (rc == ZF_EINVALID) zf_error_prefix(rc, "segments: segment %zu", i + 1);
    if (rc) return rc;
  }
  return 0;
}
