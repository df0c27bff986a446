/* Texts in which stretches are marked as targets: conversations through a chat
 * template, and segments with labels; instructions are in fields.h. */
#ifndef ZF_TASK_CHAT_H
#define ZF_TASK_CHAT_H

#include "task/fields.h"
#include "task/jinja.h"

struct zf_chat;

/* The template for a model directory: `named` is one of zf_chat_names(), a .jinja file,
 * or NULL for the checkpoint's own (chat_template.jinja, else chat_template in
 * tokenizer_config.json, there the one called "default"; of a GGUF file its
 * tokenizer.chat_template).  tokens: zf_tok_named, the special tokens that it may write; copied.
 * ZF_EUSAGE when there is none;
 * ZF_EINVALID when it is not understood. */
int zf_chat_open(struct zf_chat **out, const char *dir, const json_t *tokens, const char *named);
void zf_chat_free(struct zf_chat *chat);              /* takes NULL */
const char *zf_chat_text(const struct zf_chat *chat); /* of the template */
const char *zf_chat_names(void);                      /* "chatml, llama3, ..." */

/* The built-in template of a name, or NULL. */
const char *zf_chat_builtin(const char *name);

/* Appends the text of an array of {role, content}; `prompt` asks for the beginning of an
 * answer at its end.  tools may be NULL.  strftime_now() shows 26 July 2024 at noon,
 * whatever the day, so that a run can be repeated. */
int zf_chat_render(const struct zf_chat *chat, const json_t *messages, const json_t *tools,
                   int prompt, struct zf_buf *out, struct zf_text_spans *spans);

/* Text k of a row, from 0 on, and its target stretches: what the assistant says, with what the template puts
 * behind it.  Generation blocks mark it; without them the text of the messages before a turn, and of those
 * up to it, must each begin the whole text, and there is one text (*n = 0).  Where they do not, because the
 * template renders an earlier turn unlike the last one, each answer is a text of its own, with the
 * conversation before it as the template writes it then: *n says how many.  ZF_EINVALID where an answer
 * cannot be told apart there either, or some of it would be left out.
 * The row has messages as zf_messages_row finds them (f may be NULL). */
int zf_chat_row(const struct zf_chat *chat, const struct zf_fields *fields, const json_t *row,
                int64_t part, struct zf_buf *out, struct zf_text_spans *spans, int64_t *parts);

/* segments: [{"label": true, "text": "..."}]: those labelled true are targets. */
int zf_segments_row(const json_t *row, struct zf_buf *out, struct zf_text_spans *spans);

int zf_text_span_add(struct zf_text_spans *spans, int64_t from, int64_t to);

#endif
