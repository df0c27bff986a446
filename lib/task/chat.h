/* Texts in which stretches are marked as targets: conversations, rendered by a chat template, and segments
 * with labels.  Instructions are in fields.h. */
#ifndef ZF_TASK_CHAT_H
#define ZF_TASK_CHAT_H

#include "base/cplusplus.h"
#include "task/fields.h"
#include "task/jinja.h"

ZF_BEGIN_DECLS

struct zf_chat;

/* Opens the chat template of a model.  named: one of zf_chat_names(), a .jinja file, or NULL for the
 * checkpoint's own: chat_template.jinja, else chat_template in tokenizer_config.json (of a list the entry
 * "default"); in a GGUF file the key tokenizer.chat_template.  tokens: the special tokens that the
 * template may write (zf_tok_special_texts); copied.  ZF_EUSAGE: there is no template.  ZF_EINVALID: it does not
 * parse. */
int zf_chat_open(struct zf_chat **out, const char *dir, const json_t *tokens, const char *named);
void zf_chat_free(struct zf_chat *chat);              /* takes NULL */
const char *zf_chat_text(const struct zf_chat *chat); /* the template's source */
const char *zf_chat_names(void);                      /* "chatml, llama3, ..." */

/* The built-in template with this name, or NULL. */
const char *zf_chat_builtin(const char *name);

/* Appends the text of an array of {role, content}.  prompt: the text ends with the beginning of an answer
 * (add_generation_prompt).  tools and spans may be NULL.  strftime_now() always shows 26 July 2024 at
 * noon, so that a run can be repeated. */
int zf_chat_render(const struct zf_chat *chat, const json_t *messages, const json_t *tools,
                   int prompt, struct zf_buf *out, struct zf_text_spans *spans);

/* Text `part` (from 0) of a row of messages (zf_messages_row; fields may be NULL), and its targets: the
 * assistant's answers, each with what the template writes behind it.
 *
 * One text, *parts = 0: the template marks answers by generation blocks, or the whole text begins with the
 * text of the messages before each answer and with that of the messages up to it.
 * Several texts, *parts of them: the template renders an earlier turn unlike the last one.  Each answer is
 * the end of a text of its own, behind the conversation before it.
 * ZF_EINVALID: an answer cannot be found in its text, or the template leaves out a part of it. */
int zf_chat_row(const struct zf_chat *chat, const struct zf_fields *fields, const json_t *row,
                int64_t part, struct zf_buf *out, struct zf_text_spans *spans, int64_t *parts);

/* Appends the texts of segments: [{"label": true, "text": "..."}]; those labelled true are targets. */
int zf_segments_row(const json_t *row, struct zf_buf *out, struct zf_text_spans *spans);

int zf_text_span_add(struct zf_text_spans *spans, int64_t from, int64_t to);

ZF_END_DECLS

#endif
