/* zoft chat: a conversation in the terminal.
 *
 * The conversation is a list of messages.  For each reply the chat template renders it as a whole, and the
 * decoder keeps the keys and values of the leading tokens that are the same as before. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/file.h"
#include "eval/score.h"
#include "fmt/json.h"
#include "lines.h"
#include "load.h"
#include "sampling.h"
#include "ui.h"

enum { PASS_TOKENS = 512, DEFAULT_CONTEXT = 8192 };

static const char *compute_name, *chat_template, *given_system;
static int64_t context;
static int context_given;

static const struct zc_opt options[] = {
    {"system", 0, ZC_STR, "TEXT", "a system message before the conversation", &given_system},
    {"chat-template", 0, ZC_STR, "NAME", "a template's name or file (the model's own)",
     &chat_template},
    {"context", 0, ZC_INT, "N", "tokens of conversation and reply (the model's, at most 8192)",
     &context, .min = 1, .max = ZC_UNBOUNDED, .given = &context_given},
    ZC_SAMPLING_OPTIONS("the model's own, else 512", "the model's own, else 0.7"),
    ZC_ADAPTER_OPTION,
    {"compute", 0, ZC_STR, "NAME", "products in f32 (default), bf16 or int8", &compute_name},
    {0},
};

struct chat_session {
  struct zf_model *model;
  struct zf_tok *tok;
  struct zf_chat *chat;
  struct zf_decoder *decoder;
  struct zf_ids ends;
  struct zf_generation_config config;
  char *system;
  char *stop; /* the text that the template writes behind a reply, when it is no token; or NULL */
  json_t *messages; /* user and assistant in turn */
  size_t left_out;  /* the oldest messages, which no longer fit */
  int64_t context;  /* in tokens */
  uint32_t replies; /* to the last message so far */
  size_t shown;     /* bytes of the reply that are printed */
};

static int check(const struct zc_args *args) {
  if (args->nword != 1 || args->nset) return zf_error(ZF_EUSAGE, "expected: zoft chat MODEL");
  return 0;
}

/* --- one reply --- */

static int encode_conversation(struct zf_ids *ids, const struct chat_session *session) {
  struct zf_buf text = {0};
  json_t *list = json_array(), *message;
  size_t i;
  if (session->system)
    json_array_append_new(list,
                          json_pack("{s:s, s:s}", "role", "system", "content", session->system));
  json_array_foreach(session->messages, i, message) if (i >= session->left_out)
      json_array_append(list, message);
  ids->count = 0;
  int rc = zf_chat_render(session->chat, list, NULL, 1, &text, NULL);
  if (!rc) rc = zf_tok_encode(session->tok, ids, text.data ? text.data : "", text.len, 0);
  zf_buf_free(&text);
  json_decref(list);
  return rc;
}

/* Leaves out the oldest messages until the context has room for a reply: a quarter of it, or
 * --max-new-tokens if that is less. */
static int fit(struct zf_ids *ids, struct chat_session *session) {
  int64_t reply =
      session->context / 4 < zc_sampling.max_new ? session->context / 4 : zc_sampling.max_new;
  size_t before = session->left_out, last = json_array_size(session->messages) - 1;
  int rc = encode_conversation(ids, session);
  while (!rc && ids->count + reply > session->context && session->left_out + 2 <= last) {
    session->left_out += 2;
    rc = encode_conversation(ids, session);
  }
  if (!rc && session->left_out > before)
    zc_info("the context of %lld tokens is full: the oldest %zu messages are left out",
            (long long)session->context, session->left_out);
  if (!rc && !ids->count) return zf_error(ZF_EUSAGE, "the message has no token");
  if (!rc) rc = zf_tok_check_ids(session->tok, ids->id, ids->count, session->model->config.vocab);
  if (!rc && ids->count > session->context)
    return zf_error(ZF_EUSAGE, "the message has %lld tokens, the context is %lld",
                    (long long)ids->count, (long long)session->context);
  return rc;
}

struct chat_reply {
  struct chat_session *session;
  struct zf_text text;
  struct zf_ids prompt;
  int begun;
};

static int on_next(void *ctx, struct zf_text **out) {
  struct chat_reply *reply = ctx;
  if (reply->begun++) return 0;
  *out = &reply->text;
  return zf_text_begin(&reply->text, reply->session->tok, reply->prompt.id, reply->prompt.count);
}

static int on_token(void *ctx, struct zf_text *text) {
  struct chat_session *session = ((struct chat_reply *)ctx)->session;
  if (zc_common.json || text->ready <= session->shown) return 0;
  fwrite(text->text.data + session->shown, 1, text->ready - session->shown, stdout);
  fflush(stdout);
  session->shown = text->ready;
  return 0;
}

static void print_json(const struct zf_text *text, int64_t kept, double seconds) {
  struct zf_buf buf = {0};
  zf_buf_puts(&buf, "{\"role\": \"assistant\", \"content\": ");
  zc_json_text(&buf, text->text.data, text->text.len);
  zf_buf_printf(&buf,
                ", \"finish\": \"%s\", \"prompt_tokens\": %lld, \"kept_tokens\": %lld, "
                "\"new_tokens\": %lld, \"tokens_per_s\": %.1f}\n",
                text->finish ? zf_finish_name(text->finish) : "interrupted",
                (long long)text->prompt_len, (long long)kept,
                (long long)(text->ids.count - text->prompt_len),
                (double)(text->ids.count - text->prompt_len) / seconds);
  fputs(buf.data, stdout);
  zf_buf_free(&buf);
}

static int finish(struct chat_session *session, struct chat_reply *reply, double seconds) {
  struct zf_text *text = &reply->text;
  int64_t new_tokens = text->ids.count - text->prompt_len, kept = text->kept;
  if (!text->finish) text->text.len = text->ready; /* stopped: keep what was printed */
  json_t *content = json_stringn(text->text.data, text->text.len);
  if (!content) content = json_string("");
  json_array_append_new(session->messages,
                        json_pack("{s:s, s:o}", "role", "assistant", "content", content));
  if (zc_common.json)
    print_json(text, kept, seconds);
  else
    printf("%s\n", text->finish ? "" : " [stopped]");
  fflush(stdout);
  if (text->finish == ZF_FINISH_CONTEXT)
    zc_info("the context of %lld tokens is full", (long long)session->context);
  if (text->finish == ZF_FINISH_LENGTH)
    zc_info("the reply was cut at %lld tokens (--max-new-tokens)", (long long)new_tokens);
  if (zc_common.verbose)
    zc_info("%lld tokens of prompt, %lld of them read before; %lld new, %.1f tok/s",
            (long long)text->prompt_len, (long long)kept, (long long)new_tokens,
            (double)new_tokens / seconds);
  return 0;
}

/* Generates a reply to the last message. */
static int answer(struct chat_session *session) {
  struct chat_reply reply = {.session = session};
  struct zf_generate_rules rules = zc_sampling_rules(&session->ends);
  struct zf_generate_io io = {.ctx = &reply, .next = on_next, .token = on_token, .stop = zc_signal};
  int rc = fit(&reply.prompt, session);
  reply.text.row = (int64_t)json_array_size(session->messages) / 2;
  reply.text.number = session->replies++;
  session->shown = 0;
  double start = zf_now();
  if (!rc) rc = zf_generate(session->decoder, &rules, &io);
  if (!rc) rc = finish(session, &reply, zf_now() - start);
  zc_signal_forget();
  zf_text_free(&reply.text);
  zf_ids_free(&reply.prompt);
  return rc;
}

static void drop_last(struct chat_session *session, size_t count) {
  size_t size = json_array_size(session->messages);
  for (size_t i = 0; i < count; i++) {
    if (!size) break;
    json_array_remove(session->messages, --size);
  }
  if (session->left_out > size) session->left_out = size;
}

/* Sends a message.  A message that cannot be encoded is removed again; other errors end the program. */
static int ask(struct chat_session *session, const char *text) {
  json_t *message = json_pack("{s:s, s:s}", "role", "user", "content", text);
  if (!message) {
    zc_warn("the message is not UTF-8");
    return 0;
  }
  json_array_append_new(session->messages, message);
  session->replies = 0;
  int rc = answer(session);
  if (rc != ZF_EUSAGE && rc != ZF_EINVALID) return rc;
  drop_last(session, 1);
  zc_warn("%s", zf_error_message());
  return 0;
}

/* --- commands --- */

static int cmd_reset(struct chat_session *session, const char *arg) {
  (void)arg;
  json_array_clear(session->messages);
  session->left_out = 0;
  zc_info("the conversation is empty");
  return 0;
}

static int cmd_system(struct chat_session *session, const char *arg) {
  free(session->system);
  session->system = *arg ? zf_strdup(arg) : NULL;
  zc_info(*arg ? "the system message is set" : "there is no system message now");
  return *arg && !session->system ? ZF_ENOMEM : 0;
}

static int cmd_regenerate(struct chat_session *session, const char *arg) {
  (void)arg;
  if (json_array_size(session->messages) < 2) {
    zc_warn("there is no reply yet");
    return 0;
  }
  drop_last(session, 1);
  return answer(session);
}

static int cmd_undo(struct chat_session *session, const char *arg) {
  (void)arg;
  if (!json_array_size(session->messages)) {
    zc_warn("there is no message to remove");
    return 0;
  }
  drop_last(session, 2);
  zc_info("your last message and its reply are removed");
  return 0;
}

static int cmd_save(struct chat_session *session, const char *arg) {
  if (!*arg) {
    zc_warn("/save needs a file name");
    return 0;
  }
  json_t *messages = json_array();
  if (session->system)
    json_array_append_new(messages,
                          json_pack("{s:s, s:s}", "role", "system", "content", session->system));
  json_array_extend(messages, session->messages);
  json_t *out = json_pack("{s:o}", "messages", messages);
  char *text = out ? zf_json_dump(out, JSON_INDENT(1)) : NULL;
  int rc = text ? zf_write_file(arg, text, strlen(text)) : ZF_ENOMEM;
  if (rc)
    zc_warn("%s", zf_error_message());
  else
    zc_info("%zu messages in %s", json_array_size(messages), arg);
  free(text);
  json_decref(out);
  return 0;
}

static int cmd_tokens(struct chat_session *session, const char *arg) {
  struct zf_ids ids = {0};
  (void)arg;
  int rc = json_array_size(session->messages) || session->system
               ? encode_conversation(&ids, session)
               : 0;
  if (rc)
    zc_warn("%s", zf_error_message());
  else
    zc_info("%lld of %lld tokens", (long long)ids.count, (long long)session->context);
  zf_ids_free(&ids);
  return 0;
}

static int cmd_help(struct chat_session *session, const char *arg);
static int cmd_quit(struct chat_session *session, const char *arg) {
  (void)session;
  (void)arg;
  return 1;
}

static const struct {
  const char *name, *about;
  int (*run)(struct chat_session *session, const char *arg); /* 1: end the program */
} commands[] = {
    {"/help", "this list", cmd_help},
    {"/reset", "begin anew", cmd_reset},
    {"/system", "TEXT: set the system message; without TEXT: remove it", cmd_system},
    {"/regenerate", "another reply to the last message", cmd_regenerate},
    {"/undo", "remove the last message and its reply", cmd_undo},
    {"/save", "FILE.json: write the conversation", cmd_save},
    {"/tokens", "how full the context is", cmd_tokens},
    {"/quit", "leave (so does Ctrl-D)", cmd_quit},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static int cmd_help(struct chat_session *session, const char *arg) {
  (void)session;
  (void)arg;
  for (int i = 0; i < COMMANDS; i++) zc_info("  %-12s %s", commands[i].name, commands[i].about);
  zc_info("A line that ends in \\ continues; \"\"\" begins and ends a message of several lines.");
  zc_info("Ctrl-C stops a reply.");
  return 0;
}

static int run_command(struct chat_session *session, const char *line) {
  size_t len = strcspn(line, " \n");
  const char *arg = line + len + strspn(line + len, " \n"), *names[COMMANDS];
  for (int i = 0; i < COMMANDS; i++) {
    names[i] = commands[i].name;
    if (strlen(names[i]) == len && !strncmp(line, names[i], len))
      return commands[i].run(session, arg);
  }
  char *word = zf_strndup(line, len);
  const char *near = word ? zf_nearest(word, names, COMMANDS) : NULL;
  zc_warn("unknown command '%s': %s%s", word ? word : "", near ? "did you mean " : "see ",
          near ? near : "/help");
  free(word);
  return 0;
}

/* --- the session --- */

static int set_up(struct chat_session *session, const char *model, enum zf_compute compute) {
  struct zc_sampling sampling = {
      .temperature = 0.7, .top_p = 1, .repetition = 1, .seed = 42, .max_new = 512};
  int rc = zc_sampling_model(&sampling, &session->config, model, 1);
  if (!rc) rc = zc_sampling_resolve(&sampling);
  if (!rc) rc = zc_open_model(&session->model, &session->tok, model);
  if (!rc) rc = zf_score_causal(session->model);
  if (!rc) rc = zc_chat_open(&session->chat, session->model, session->tok, chat_template);
  if (!rc) rc = zf_generation_ends(&session->ends, session->model, session->tok);
  if (!rc) rc = zc_chat_ends(&session->ends, &session->stop, session->chat, session->tok);
  if (!rc && given_system && !(session->system = zf_strdup(given_system))) rc = ZF_ENOMEM;
  if (rc) return rc;
  struct zc_list *stop = &zc_sampling.stop;
  if (session->stop && stop->count < (int)(sizeof stop->item / sizeof *stop->item))
    stop->item[stop->count++] = session->stop;
  session->context = context_given ? context : DEFAULT_CONTEXT;
  if (context > session->model->config.context)
    return zf_error(ZF_EUSAGE, "--context: the model's is %lld tokens, found %lld",
                    (long long)session->model->config.context, (long long)context);
  if (session->context > session->model->config.context)
    session->context = session->model->config.context;
  session->messages = json_array();
  struct zf_decoder_room room = {.slots = 1,
                                 .tokens = session->context < PASS_TOKENS ? session->context
                                                                          : PASS_TOKENS,
                                 .length = session->context,
                                 .compute = compute};
  zc_warn_compute(session->model, compute);
  return zf_decoder_open(&session->decoder, session->model, &room);
}

static void greet(const struct chat_session *session, const char *model) {
  int64_t cache, rest;
  char text[32];
  struct zf_decoder_room room = {.slots = 1, .tokens = PASS_TOKENS, .length = session->context};
  zf_decoder_bytes(&cache, &rest, session->model, &room);
  zc_info("%s: temperature %g, context %lld tokens; /help lists the commands", model,
          zc_sampling.temperature, (long long)session->context);
  if (zc_common.verbose)
    zc_info("keys and values of a full context: %s", zf_human_bytes(text, (double)cache));
}

static int converse(struct chat_session *session) {
  struct zf_buf line = {0};
  int rc = 0;
  while (!rc && (rc = zc_read_message(&line, "> ")) == 1) {
    zc_signal_forget();
    rc = 0;
    if (line.data[0] == '/')
      rc = run_command(session, line.data);
    else if (line.data[strspn(line.data, " \n\t")])
      rc = ask(session, line.data);
  }
  zf_buf_free(&line);
  return rc > 0 ? 0 : rc;
}

static int run(const struct zc_args *args) {
  struct chat_session session = {0};
  enum zf_compute compute = ZF_COMPUTE_F32;
  int rc = check(args);
  if (!rc) rc = zc_compute(&compute, compute_name);
  if (!rc) rc = set_up(&session, args->word[0], compute);
  if (!rc) {
    zc_catch_signals();
    greet(&session, args->word[0]);
    rc = converse(&session);
    if (!rc && zc_lines_edited()) putchar('\n');
  }
  json_decref(session.messages);
  free(session.system);
  free(session.stop);
  zf_ids_free(&session.ends);
  zf_generation_config_free(&session.config);
  zf_decoder_free(session.decoder);
  zf_chat_free(session.chat);
  zf_tok_free(session.tok);
  zf_model_free(session.model);
  return rc;
}

const struct zc_command zc_chat = {
    "chat",
    "chat with a model in the terminal",
    "zoft chat MODEL [options]",
    "A reply is printed while it is generated. /help lists the commands: /reset, /system,\n"
    "/regenerate, /undo, /save, /tokens, /quit. Ctrl-C stops a reply, a second one or Ctrl-D "
    "leaves.\n"
    "Without a terminal each line (or \"\"\" block) of standard input is a message.\n\n"
    "Examples:\n"
    "  zoft chat SmolLM2-135M-Instruct\n"
    "  zoft chat model.gguf --system 'Answer in one sentence.' -t 0\n"
    "  printf 'Hello!\\n' | zoft chat out/run --chat-template chatml --json\n",
    options,
    run,
};
