/* Conversations, instructions and segments as texts with target stretches. */
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
    struct zf_span *at = realloc(spans->at, (size_t)cap * sizeof *at);
    if (!at) return zf_error(ZF_ENOMEM, "out of memory for %lld spans", (long long)cap);
    spans->at = at;
    spans->cap = cap;
  }
  spans->at[spans->count++] = (struct zf_span){from, to};
  return 0;
}

/* --- which template ------------------------------------------------------------------- */

/* A text, or a list of {name, template}. */
static const char *configured(const json_t *value) {
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

static int find_template(struct zf_chat *chat, const char *dir, const json_t *config,
                         const char *named) {
  const char *text = named ? zf_chat_builtin(named) : NULL;
  if (text) return parse_text(chat, text, named);
  if (named && zf_exists(named)) return parse_file(chat, named);
  if (named)
    return zf_error(ZF_EUSAGE, "chat_template '%s' is no file and none of %s", named,
                    zf_chat_names());
  char *path = zf_path_join(dir, "chat_template.jinja");
  int rc = path ? 0 : ZF_ENOMEM;
  text = configured(json_object_get(config, "chat_template"));
  if (!rc && zf_exists(path))
    rc = parse_file(chat, path);
  else if (!rc && text)
    rc = parse_text(chat, text, "tokenizer_config.json: chat_template");
  else if (!rc)
    rc = zf_error(ZF_EUSAGE, "%s has no chat template: set chat_template to one of %s, or a file",
                  dir, zf_chat_names());
  free(path);
  return rc;
}

/* A template of ours writes nothing for a token that the model lacks. */
static int fill_tokens(json_t *tokens) {
  static const char *const key[] = {"bos_token", "eos_token", "unk_token", "pad_token"};
  int failed = 0;
  for (int i = 0; i < 4; i++)
    if (!json_object_get(tokens, key[i]))
      failed |= json_object_set_new(tokens, key[i], json_string(""));
  return failed ? zf_error(ZF_ENOMEM, "out of memory for a chat template") : 0;
}

/* The template that a GGUF file holds, as a tokenizer_config.json has it. */
static int gguf_config(json_t **out, const char *path) {
  struct zf_gguf gguf = {0};
  int rc = zf_gguf_open(&gguf, path, 1);
  if (rc) return rc;
  *out = json_object();
  json_object_set(*out, "chat_template", json_object_get(gguf.keys, "tokenizer.chat_template"));
  zf_gguf_free(&gguf);
  return *out ? 0 : zf_error(ZF_ENOMEM, "%s: out of memory", path);
}

int zf_chat_open(struct zf_chat **out, const char *dir, const json_t *tokens, const char *named) {
  json_t *config = NULL;
  struct zf_chat *chat = zf_calloc(1, sizeof *chat);
  char *path = zf_path_join(dir, "tokenizer_config.json");
  *out = NULL;
  int rc = chat && path ? 0 : ZF_ENOMEM;
  if (!rc && zf_gguf_named(dir))
    rc = gguf_config(&config, dir);
  else if (!rc && zf_exists(path))
    rc = zf_json_load(&config, path);
  if (!rc && !(chat->tokens = tokens ? json_copy((json_t *)tokens) : json_object()))
    rc = zf_error(ZF_ENOMEM, "%s: out of memory", path);
  if (!rc && named && zf_chat_builtin(named)) rc = fill_tokens(chat->tokens);
  if (!rc) rc = find_template(chat, dir, config, named);
  json_decref(config);
  free(path);
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

/* --- rendering --------------------------------------------------------------------------- */

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
  json_object_set_new(vars, "documents", json_null()); /* as Transformers has it: defined */
  int rc = zf_jinja_render(chat->jinja, vars, FIXED_DAY, out, spans);
  json_decref(vars);
  return rc;
}

static int begins(const struct zf_buf *whole, const struct zf_buf *part) {
  return part->len <= whole->len && !memcmp(whole->data, part->data, part->len);
}

/* Length of the text of the first n messages, which must begin the whole. */
static int prefix(const struct zf_chat *chat, const json_t *messages, const json_t *tools,
                  size_t count, int prompt, const struct zf_buf *whole, int64_t *len) {
  json_t *some = json_array();
  struct zf_buf part = {0};
  for (size_t i = 0; i < count; i++) json_array_append(some, json_array_get(messages, i));
  int rc = zf_chat_render(chat, some, tools, prompt, &part, NULL);
  *len = !rc && begins(whole, &part) ? (int64_t)part.len : -1;
  zf_buf_free(&part);
  json_decref(some);
  return rc;
}

/* Marks what the template writes for message i; 1: the text of the messages before it, or up to it, does not
 * begin the whole. */
static int mark_turn(const struct zf_chat *chat, const json_t *messages, const json_t *tools,
                     size_t i, const struct zf_buf *whole, struct zf_text_spans *spans) {
  int64_t from, to;
  int rc = prefix(chat, messages, tools, i, 1, whole, &from);
  if (!rc && from < 0) rc = prefix(chat, messages, tools, i, 0, whole, &from);
  if (!rc) rc = prefix(chat, messages, tools, i + 1, 0, whole, &to);
  if (rc) return zf_error_prefix(rc, "message %zu", i + 1);
  return from >= 0 && to >= from ? zf_text_span_add(spans, from, to) : 1;
}

static int is_answer(const json_t *messages, size_t i) {
  const char *role = json_string_value(json_object_get(json_array_get(messages, i), "role"));
  return role && !strcmp(role, "assistant");
}

static int mark_all(const struct zf_chat *chat, const json_t *messages, const json_t *tools,
                    const struct zf_buf *whole, struct zf_text_spans *spans) {
  int rc = 0;
  for (size_t i = 0; !rc && i < json_array_size(messages); i++)
    if (is_answer(messages, i)) rc = mark_turn(chat, messages, tools, i, whole, spans);
  return rc;
}

/* --- answers apart --- */

static int is_blank(char c) {
  return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* Are the characters of `said`, blanks apart, in the text in their order? */
static int holds(const char *text, size_t len, const char *said) {
  size_t at = 0;
  for (; *said; said++) {
    if (is_blank(*said)) continue;
    while (at < len && text[at] != *said) at++;
    if (at++ >= len) return 0;
  }
  return 1;
}

/* What the template adds for a reply to begin with, behind messages[0..n): *out, empty where that is not
 * an addition at the end. */
static int reply_head(const struct zf_chat *chat, const json_t *some, const json_t *tools,
                      struct zf_buf *out) {
  struct zf_buf with = {0}, without = {0};
  int rc = zf_chat_render(chat, some, tools, 1, &with, NULL);
  if (!rc) rc = zf_chat_render(chat, some, tools, 0, &without, NULL);
  if (!rc && begins(&with, &without))
    zf_buf_add(out, with.data + without.len, with.len - without.len);
  zf_buf_free(&with);
  zf_buf_free(&without);
  return rc;
}

static size_t same_bytes(const struct zf_buf *buf, const struct zf_buf *buffer) {
  size_t n = 0;
  while (n < buf->len && n < buffer->len && buf->data[n] == buffer->data[n]) n++;
  return n;
}

/* Where the last answer begins: behind the last reply's head that stands before the place in which the
 * text changes when the answer does.  -1: it is not told apart. */
static int by_difference(const struct zf_chat *chat, const json_t *some, const json_t *tools,
                         const struct zf_buf *text, int64_t *from) {
  size_t last = json_array_size(some) - 1, at;
  const char *said = json_string_value(json_object_get(json_array_get(some, last), "content"));
  json_t *before = json_copy((json_t *)some), *other = json_copy((json_t *)some);
  json_t *message = json_copy(json_array_get(some, last));
  struct zf_buf changed = {0}, head = {0};
  json_array_remove(before, last);
  json_object_set_new(message, "content", json_string(said && *said == 'z' ? "qz" : "zq"));
  json_array_set_new(other, last, message);
  int rc = said ? zf_chat_render(chat, other, tools, 0, &changed, NULL) : 0;
  if (!rc && said) rc = reply_head(chat, before, tools, &head);
  at = same_bytes(text, &changed);
  *from = -1;
  if (!rc && said && changed.len && (at < text->len || at < changed.len)) {
    *from = (int64_t)at;
    for (size_t k = head.len; head.len && k <= at; k++)
      if (!memcmp(text->data + k - head.len, head.data, head.len)) *from = (int64_t)k;
  }
  json_decref(before);
  json_decref(other);
  zf_buf_free(&changed);
  zf_buf_free(&head);
  return rc;
}

/* The conversation up to the answer that is message i, which is the last there. */
static int answer_text(const struct zf_chat *chat, const json_t *messages, const json_t *tools,
                       size_t i, struct zf_buf *out, struct zf_text_spans *spans) {
  const char *said = json_string_value(json_object_get(json_array_get(messages, i), "content"));
  json_t *some = json_array();
  int64_t from = 0;
  for (size_t k = 0; k <= i; k++) json_array_append(some, json_array_get(messages, k));
  zf_buf_clear(out);
  spans->count = 0;
  int rc = zf_chat_render(chat, some, tools, 0, out, NULL);
  if (!rc) rc = mark_turn(chat, some, tools, i, out, spans);
  if (rc == 1) {
    rc = by_difference(chat, some, tools, out, &from);
    if (!rc && from >= 0) rc = zf_text_span_add(spans, from, (int64_t)out->len);
  }
  json_decref(some);
  if (rc) return rc;
  if (from < 0)
    return zf_error(
        ZF_EINVALID,
        "message %zu: the template writes earlier messages otherwise once this answer follows, so "
        "that what the assistant says cannot be told apart: name another chat_template, or one "
        "with "
        "generation blocks",
        i + 1);
  const struct zf_span *span = &spans->at[0];
  if (!said || holds(out->data + span->from, (size_t)(span->to - span->from), said)) return 0;
  return zf_error(
      ZF_EINVALID,
      "message %zu: the template leaves out some of what the assistant says: name another "
      "chat_template",
      i + 1);
}

/* Answer number k of the conversation; *n: how many there are. */
static int answer_apart(const struct zf_chat *chat, const json_t *messages, const json_t *tools,
                        int64_t k, struct zf_buf *out, struct zf_text_spans *spans, int64_t *n) {
  int64_t count = 0;
  int rc = 0;
  for (size_t i = 0; !rc && i < json_array_size(messages); i++) {
    if (!is_answer(messages, i)) continue;
    if (count == k) rc = answer_text(chat, messages, tools, i, out, spans);
    count++;
  }
  *n = count;
  return rc;
}

int zf_chat_row(const struct zf_chat *chat, const struct zf_fields *fields, const json_t *row,
                int64_t k, struct zf_buf *out, struct zf_text_spans *spans, int64_t *count) {
  const json_t *tools = json_object_get(row, "tools");
  json_t *messages;
  *count = 0;
  int rc = zf_messages_row(&messages, fields, row);
  int apart = k > 0;
  if (!rc && !apart) rc = zf_chat_render(chat, messages, tools, 0, out, spans);
  if (!rc && !apart && !zf_jinja_marks(chat->jinja)) {
    rc = mark_all(chat, messages, tools, out, spans);
    apart = rc == 1;
  }
  if (apart) rc = answer_apart(chat, messages, tools, k, out, spans, count);
  json_decref(messages);
  return rc;
}

int zf_segments_row(const json_t *row, struct zf_buf *out, struct zf_text_spans *spans) {
  const json_t *list = json_object_get(row, "segments"), *settings;
  size_t i;
  int rc = json_is_array(list) ? 0
                               : zf_error(ZF_EINVALID,
                                          "field 'segments': expected a list of "
                                          "{label, text}, found %s",
                                          zf_json_kind(list));
  zf_buf_puts(out, "");
  json_array_foreach((json_t *)list, i, settings) {
    const json_t *text = json_object_get(settings, "text"),
                 *label = json_object_get(settings, "label");
    int64_t from = (int64_t)out->len;
    if (!rc && (!json_is_string(text) || !json_is_boolean(label)))
      rc = zf_error(ZF_EINVALID, "segments: segment %zu: expected {label: true or false, text}",
                    i + 1);
    if (rc) break;
    zf_buf_puts(out, json_string_value(text));
    rc = zf_buf_ok(out);
    if (!rc && json_is_true(label)) rc = zf_text_span_add(spans, from, (int64_t)out->len);
  }
  return rc;
}
