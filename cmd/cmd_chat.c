/* zoft chat: a conversation in the terminal.
 *
 * The conversation is a list of messages; for a reply it is written out by the chat template and
 * tokenised as a whole, and the decoder keeps the keys of the tokens that begin as last time. */
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

enum { PASS = 512, LONGEST = 8192 };

static const char *compute_name, *chat_template, *given_system;
static int64_t context;
static int context_given;

static const struct zc_opt options[] = {
    {"system", 0, ZC_STR, "TEXT", "what the model is told before all else", &given_system},
    {"chat-template", 0, ZC_STR, "NAME", "a template's name or file (the model's own)",
     &chat_template},
    {"context", 0, ZC_INT, "N", "tokens of conversation and reply (the model's, at most 8192)",
     &context, .min = 1, .max = ZC_MANY, .given = &context_given},
    ZC_SAMPLING_OPTIONS("the model's own, else 512", "the model's own, else 0.7"),
    {"compute", 0, ZC_STR, "NAME", "products in f32 (default), bf16 or int8", &compute_name},
    {0},
};

struct talk {
  struct zf_model *model;
  struct zf_tok *tok;
  struct zf_chat *chat;
  struct zf_decoder *decoder;
  struct zf_ids ends;
  struct zf_generation_config config;
  char *system, *stop; /* stop: what the template writes behind a reply, where that is no token */
  json_t *messages;    /* user and assistant in turn */
  size_t left_out;     /* oldest messages that no longer fit */
  int64_t room;        /* tokens of the context */
  uint32_t again;      /* replies to the last message so far */
  size_t shown;        /* bytes of the reply */
};

static int check(const struct zc_args *args) {
  if (args->nword != 1 || args->nset) return zf_error(ZF_EUSAGE, "expected: zoft chat MODEL");
  return 0;
}

/* --- one reply --- */

static int write_out(struct zf_ids *ids, const struct talk *talk) {
  struct zf_buf text = {0};
  json_t *list = json_array(), *m;
  size_t i;
  if (talk->system)
    json_array_append_new(list, json_pack("{s:s, s:s}", "role", "system", "content", talk->system));
  json_array_foreach(talk->messages, i, m) if (i >= talk->left_out) json_array_append(list, m);
  ids->count = 0;
  int rc = zf_chat_render(talk->chat, list, NULL, 1, &text, NULL);
  if (!rc) rc = zf_tok_encode(talk->tok, ids, text.data ? text.data : "", text.len, 0);
  zf_buf_free(&text);
  json_decref(list);
  return rc;
}

/* Leaves out the oldest turns until a reply has a quarter of the context, or all that it may take. */
static int fit(struct zf_ids *ids, struct talk *talk) {
  int64_t reply = talk->room / 4 < zc_sampling.max_new ? talk->room / 4 : zc_sampling.max_new;
  size_t before = talk->left_out, last = json_array_size(talk->messages) - 1;
  int rc = write_out(ids, talk);
  while (!rc && ids->count + reply > talk->room && talk->left_out + 2 <= last) {
    talk->left_out += 2;
    rc = write_out(ids, talk);
  }
  if (!rc && talk->left_out > before)
    zc_say("the context of %lld tokens is full: the oldest %zu messages are left out",
           (long long)talk->room, talk->left_out);
  if (!rc && !ids->count) return zf_error(ZF_EUSAGE, "the message has no token");
  if (!rc) rc = zf_tok_check(talk->tok, ids->id, ids->count, talk->model->config.vocab);
  if (!rc && ids->count > talk->room)
    return zf_error(ZF_EUSAGE, "the message has %lld tokens, the context is %lld",
                    (long long)ids->count, (long long)talk->room);
  return rc;
}

struct reply {
  struct talk *talk;
  struct zf_text text;
  struct zf_ids prompt;
  int begun;
};

static int begin(void *ctx, struct zf_text **out) {
  struct reply *reply = ctx;
  if (reply->begun++) return 0;
  *out = &reply->text;
  return zf_text_begin(&reply->text, reply->talk->tok, reply->prompt.id, reply->prompt.count);
}

static int show(void *ctx, struct zf_text *text) {
  struct talk *talk = ((struct reply *)ctx)->talk;
  if (zc_common.json || text->ready <= talk->shown) return 0;
  fwrite(text->made.data + talk->shown, 1, text->ready - talk->shown, stdout);
  fflush(stdout);
  talk->shown = text->ready;
  return 0;
}

static void print_json(const struct zf_text *text, int64_t kept, double seconds) {
  struct zf_buf buf = {0};
  zf_buf_puts(&buf, "{\"role\": \"assistant\", \"content\": ");
  zc_json_text(&buf, text->made.data, text->made.len);
  zf_buf_printf(&buf,
                ", \"finish\": \"%s\", \"prompt_tokens\": %lld, \"kept_tokens\": %lld, "
                "\"new_tokens\": %lld, \"tokens_per_s\": %.1f}\n",
                text->finish ? zf_finish_name(text->finish) : "interrupted", (long long)text->given,
                (long long)kept, (long long)(text->ids.count - text->given),
                (double)(text->ids.count - text->given) / seconds);
  fputs(buf.data, stdout);
  zf_buf_free(&buf);
}

static int finish(struct talk *talk, struct reply *reply, double seconds) {
  struct zf_text *text = &reply->text;
  int64_t made = text->ids.count - text->given, kept = text->kept;
  if (!text->finish) text->made.len = text->ready; /* stopped: what was shown */
  json_t *said = json_stringn(text->made.data, text->made.len);
  if (!said) said = json_string("");
  json_array_append_new(talk->messages,
                        json_pack("{s:s, s:o}", "role", "assistant", "content", said));
  if (zc_common.json)
    print_json(text, kept, seconds);
  else
    printf("%s\n", text->finish ? "" : " [stopped]");
  fflush(stdout);
  if (text->finish == ZF_FINISH_CONTEXT)
    zc_say("the context of %lld tokens is full", (long long)talk->room);
  if (text->finish == ZF_FINISH_LENGTH)
    zc_say("the reply was cut at %lld tokens (--max-new-tokens)", (long long)made);
  if (zc_common.verbose)
    zc_say("%lld tokens of prompt, %lld of them read before; %lld new, %.1f tok/s",
           (long long)text->given, (long long)kept, (long long)made, (double)made / seconds);
  return 0;
}

/* What the last message is answered with. */
static int answer(struct talk *talk) {
  struct reply reply = {.talk = talk};
  struct zf_generate_rules rules = zc_sampling_rules(&talk->ends);
  struct zf_generate_io io = {.ctx = &reply, .next = begin, .token = show, .stop = zc_signal};
  int rc = fit(&reply.prompt, talk);
  reply.text.row = (int64_t)json_array_size(talk->messages) / 2;
  reply.text.number = talk->again++;
  talk->shown = 0;
  double start = zf_now();
  if (!rc) rc = zf_generate(talk->decoder, &rules, &io);
  if (!rc) rc = finish(talk, &reply, zf_now() - start);
  zc_signal_forget();
  zf_text_free(&reply.text);
  zf_ids_free(&reply.prompt);
  return rc;
}

static void drop_last(struct talk *talk, size_t count) {
  size_t all = json_array_size(talk->messages);
  for (size_t i = 0; i < count && all; i++) json_array_remove(talk->messages, --all);
  if (talk->left_out > all) talk->left_out = all;
}

/* A message that cannot be answered is taken back; what goes wrong beyond that ends the program. */
static int ask(struct talk *talk, const char *text) {
  json_t *m = json_pack("{s:s, s:s}", "role", "user", "content", text);
  if (!m) {
    zc_warn("the message is not UTF-8");
    return 0;
  }
  json_array_append_new(talk->messages, m);
  talk->again = 0;
  int rc = answer(talk);
  if (rc != ZF_EUSAGE && rc != ZF_EINVALID) return rc;
  drop_last(talk, 1);
  zc_warn("%s", zf_error_message());
  return 0;
}

/* --- commands --- */

static int cmd_reset(struct talk *talk, const char *arg) {
  (void)arg;
  json_array_clear(talk->messages);
  talk->left_out = 0;
  zc_say("the conversation is empty");
  return 0;
}

static int cmd_system(struct talk *talk, const char *arg) {
  free(talk->system);
  talk->system = *arg ? zf_strdup(arg) : NULL;
  zc_say(*arg ? "the system message is set" : "there is no system message now");
  return *arg && !talk->system ? ZF_ENOMEM : 0;
}

static int cmd_regenerate(struct talk *talk, const char *arg) {
  (void)arg;
  if (json_array_size(talk->messages) < 2) {
    zc_warn("there is no reply yet");
    return 0;
  }
  drop_last(talk, 1);
  return answer(talk);
}

static int cmd_undo(struct talk *talk, const char *arg) {
  (void)arg;
  if (!json_array_size(talk->messages)) {
    zc_warn("there is nothing to take back");
    return 0;
  }
  drop_last(talk, 2);
  zc_say("your last message and its reply are taken back");
  return 0;
}

static int cmd_save(struct talk *talk, const char *arg) {
  if (!*arg) {
    zc_warn("/save needs a file name");
    return 0;
  }
  json_t *all = json_array();
  if (talk->system)
    json_array_append_new(all, json_pack("{s:s, s:s}", "role", "system", "content", talk->system));
  json_array_extend(all, talk->messages);
  json_t *out = json_pack("{s:o}", "messages", all);
  char *text = out ? zf_json_dump(out, JSON_INDENT(1)) : NULL;
  int rc = text ? zf_write_file(arg, text, strlen(text)) : ZF_ENOMEM;
  if (rc)
    zc_warn("%s", zf_error_message());
  else
    zc_say("%zu messages in %s", json_array_size(all), arg);
  free(text);
  json_decref(out);
  return 0;
}

static int cmd_tokens(struct talk *talk, const char *arg) {
  struct zf_ids ids = {0};
  (void)arg;
  int rc = json_array_size(talk->messages) || talk->system ? write_out(&ids, talk) : 0;
  if (rc)
    zc_warn("%s", zf_error_message());
  else
    zc_say("%lld of %lld tokens", (long long)ids.count, (long long)talk->room);
  zf_ids_free(&ids);
  return 0;
}

static int cmd_help(struct talk *talk, const char *arg);
static int cmd_quit(struct talk *talk, const char *arg) {
  (void)talk;
  (void)arg;
  return 1;
}

static const struct {
  const char *name, *about;
  int (*run)(struct talk *t, const char *arg); /* 1: leave */
} commands[] = {
    {"/help", "this list", cmd_help},
    {"/reset", "begin anew", cmd_reset},
    {"/system", "TEXT: tell the model this before all else; nothing: no more", cmd_system},
    {"/regenerate", "another reply to the last message", cmd_regenerate},
    {"/undo", "take back the last message and its reply", cmd_undo},
    {"/save", "FILE.json: write the conversation", cmd_save},
    {"/tokens", "how full the context is", cmd_tokens},
    {"/quit", "leave (so does Ctrl-D)", cmd_quit},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static int cmd_help(struct talk *talk, const char *arg) {
  (void)talk;
  (void)arg;
  for (int i = 0; i < COMMANDS; i++) zc_say("  %-12s %s", commands[i].name, commands[i].about);
  zc_say("A line that ends in \\ goes on; \"\"\" begins and ends a message of several lines.");
  zc_say("Ctrl-C stops a reply.");
  return 0;
}

static int obey(struct talk *talk, const char *line) {
  size_t n = strcspn(line, " \n");
  const char *arg = line + n + strspn(line + n, " \n"), *names[COMMANDS];
  for (int i = 0; i < COMMANDS; i++) {
    names[i] = commands[i].name;
    if (strlen(names[i]) == n && !strncmp(line, names[i], n)) return commands[i].run(talk, arg);
  }
  char *word = zf_strndup(line, n);
  const char *near = word ? zf_nearest(word, names, COMMANDS) : NULL;
  zc_warn("unknown command '%s': %s%s", word ? word : "", near ? "did you mean " : "see ",
          near ? near : "/help");
  free(word);
  return 0;
}

/* --- the whole --- */

static int set_up(struct talk *talk, const char *model, enum zf_compute compute) {
  struct zc_sampling sampling = {
      .temperature = 0.7, .top_p = 1, .repetition = 1, .seed = 42, .max_new = 512};
  int rc = zc_sampling_model(&sampling, &talk->config, model, 1);
  if (!rc) rc = zc_sampling_settle(&sampling);
  if (!rc) rc = zc_open_model(&talk->model, &talk->tok, model);
  if (!rc) rc = zf_score_causal(talk->model);
  if (!rc) rc = zc_chat_open(&talk->chat, talk->model, talk->tok, chat_template);
  if (!rc) rc = zf_generation_ends(&talk->ends, talk->model, talk->tok);
  if (!rc) rc = zc_chat_ends(&talk->ends, &talk->stop, talk->chat, talk->tok);
  if (!rc && given_system && !(talk->system = zf_strdup(given_system))) rc = ZF_ENOMEM;
  if (rc) return rc;
  struct zc_list *stop = &zc_sampling.stop;
  if (talk->stop && stop->count < (int)(sizeof stop->item / sizeof *stop->item))
    stop->item[stop->count++] = talk->stop;
  talk->room = context_given ? context : LONGEST;
  if (context > talk->model->config.context)
    return zf_error(ZF_EUSAGE, "--context: the model's is %lld tokens, found %lld",
                    (long long)talk->model->config.context, (long long)context);
  if (talk->room > talk->model->config.context) talk->room = talk->model->config.context;
  talk->messages = json_array();
  struct zf_decoder_room room = {.slots = 1,
                                 .tokens = talk->room < PASS ? talk->room : PASS,
                                 .length = talk->room,
                                 .compute = compute};
  zc_say_compute(talk->model, compute);
  return zf_decoder_open(&talk->decoder, talk->model, &room);
}

static void greet(const struct talk *talk, const char *model) {
  int64_t cache, rest;
  char b[32];
  struct zf_decoder_room room = {.slots = 1, .tokens = PASS, .length = talk->room};
  zf_decoder_bytes(&cache, &rest, talk->model, &room);
  zc_say("%s: temperature %g, context %lld tokens; /help lists the commands", model,
         zc_sampling.temperature, (long long)talk->room);
  if (zc_common.verbose)
    zc_say("keys and values of a full context: %s", zf_human_bytes(b, (double)cache));
}

static int converse(struct talk *talk) {
  struct zf_buf line = {0};
  int rc = 0;
  while (!rc && (rc = zc_read_message(&line, "> ")) == 1) {
    zc_signal_forget();
    rc = 0;
    if (line.data[0] == '/')
      rc = obey(talk, line.data);
    else if (line.data[strspn(line.data, " \n\t")])
      rc = ask(talk, line.data);
  }
  zf_buf_free(&line);
  return rc > 0 ? 0 : rc;
}

static int run(const struct zc_args *args) {
  struct talk talk = {0};
  enum zf_compute c = ZF_COMPUTE_F32;
  int rc = check(args);
  if (!rc) rc = zc_compute(&c, compute_name);
  if (!rc) rc = set_up(&talk, args->word[0], c);
  if (!rc) {
    zc_catch_signals();
    greet(&talk, args->word[0]);
    rc = converse(&talk);
    if (!rc && zc_lines_edited()) putchar('\n');
  }
  json_decref(talk.messages);
  free(talk.system);
  free(talk.stop);
  zf_ids_free(&talk.ends);
  zf_generation_config_free(&talk.config);
  zf_decoder_free(talk.decoder);
  zf_chat_free(talk.chat);
  zf_tok_free(talk.tok);
  zf_model_free(talk.model);
  return rc;
}

const struct zc_command zc_chat = {
    "chat",
    "talk with a model in the terminal",
    "zoft chat MODEL [options]",
    "Replies appear as they are made. /help lists what can be said to the program: /reset, "
    "/system,\n"
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
