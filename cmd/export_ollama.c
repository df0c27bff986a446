/* The Modelfile of a model for Ollama: where the weights are, how a conversation is written, where an answer
 * ends.
 *
 * Ollama's templates are Go's, a checkpoint's are Jinja.  A checkpoint's template is known where it writes the
 * same text as one of zoft's own for some conversations; else the one inside the GGUF file stands. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "export_job.h"
#include "fmt/json.h"
#include "task/chat.h"

static const struct {
  const char *name, *text;
} templates[] = {
    {"chatml", "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}"
               "<|im_start|>assistant\n"},
    {"llama3",
     "{{ range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>\n\n{{ .Content "
     "}}<|eot_id|>{{ end }}<|start_header_id|>assistant<|end_header_id|>\n\n"},
    {"gemma",
     "{{ range .Messages }}<start_of_turn>{{ if eq .Role \"assistant\" }}model{{ else }}{{ "
     ".Role }}{{ end }}\n{{ .Content }}<end_of_turn>\n{{ end }}<start_of_turn>model\n"},
    {"phi3",
     "{{ range .Messages }}<|{{ .Role }}|>\n{{ .Content }}<|end|>\n{{ end }}<|assistant|>\n"},
};
enum { TEMPLATES = sizeof templates / sizeof *templates };

/* A conversation of several turns that ends with a question. */
static json_t *sample(void) {
  static const char *const turn[][2] = {
      {"user", "How far is it?"}, {"assistant", "Nine miles."}, {"user", "And back?"}};
  json_t *list = json_array();
  for (int i = 0; i < 3; i++)
    json_array_append_new(list, json_pack("{s:s, s:s}", "role", turn[i][0], "content", turn[i][1]));
  return list;
}

static int render(struct zf_buf *out, const struct zc_export *job, const json_t *messages,
                  const char *named) {
  struct zf_chat *chat = NULL;
  int rc = zf_chat_open(&chat, job->model->dir, zf_tok_special_texts(job->tok), named);
  if (!rc) rc = zf_chat_render(chat, messages, NULL, 1, out, NULL);
  zf_chat_free(chat);
  return rc;
}

/* The number of the template that the checkpoint's is; -1: none. */
static int find_template(const struct zc_export *job) {
  struct zf_buf own = {0}, other = {0};
  json_t *messages = sample();
  int found = -1;
  if (!render(&own, job, messages, NULL))
    for (int i = 0; i < TEMPLATES && found < 0; i++) {
      zf_buf_clear(&other);
      if (!render(&other, job, messages, templates[i].name) && own.len == other.len &&
          !memcmp(own.data, other.data, own.len))
        found = i;
    }
  zf_error_clear(); /* a checkpoint without a template is no error here */
  zf_buf_free(&own);
  zf_buf_free(&other);
  json_decref(messages);
  return found;
}

/* A text in quotes, as Modelfile has it. */
static void put_quoted(struct zf_buf *buf, const char *text) {
  zf_buf_putc(buf, '"');
  for (; *text; text++) {
    if (*text == '"' || *text == '\\') zf_buf_putc(buf, '\\');
    if (*text == '\n')
      zf_buf_puts(buf, "\\n");
    else
      zf_buf_putc(buf, *text);
  }
  zf_buf_putc(buf, '"');
}

static void put_stops(struct zf_buf *buf, const struct zf_tok *tok) {
  const struct zf_ids *ends = zf_tok_end_ids(tok, NULL);
  for (int64_t i = 0; i < ends->count; i++) {
    const char *piece = zf_tok_piece(tok, ends->id[i]);
    if (!piece) continue;
    zf_buf_puts(buf, "PARAMETER stop ");
    put_quoted(buf, piece);
    zf_buf_putc(buf, '\n');
  }
}

int zc_export_modelfile(const struct zc_export *job, const char *dir) {
  struct zf_buf buf = {0};
  int number = find_template(job);
  zf_buf_puts(&buf, "FROM ./model.gguf\n");
  if (number >= 0)
    zf_buf_printf(&buf, "TEMPLATE \"\"\"%s\"\"\"\n", templates[number].text);
  else
    zf_buf_puts(&buf, "# TEMPLATE: that of model.gguf, tokenizer.chat_template, if it has one\n");
  put_stops(&buf, job->tok);
  char *path = zf_path_join(dir, "Modelfile");
  int rc = path ? zf_buf_ok(&buf) : ZF_ENOMEM;
  if (!rc) rc = zf_write_file(path, buf.data, buf.len);
  free(path);
  zf_buf_free(&buf);
  return rc;
}
