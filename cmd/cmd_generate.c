/* zoft generate: text behind a prompt, or behind each prompt of a file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "base/file.h"
#include "eval/score.h"
#include "fmt/json.h"
#include "fmt/records.h"
#include "load.h"
#include "sampling.h"
#include "ui.h"

enum { PASS = 512, INPUT_MAX = 1 << 30, SAMPLES_MAX = 1 << 16 };

static const char *prompt, *compute, *jsonl, *output, *chat_template;
static int64_t number = 1, batch_size = 8;
static int no_special;

static const struct zc_opt options[] = {
    {"prompt", 'p', ZC_STR, "TEXT", "what to continue", &prompt},
    {"jsonl", 0, ZC_STR, "FILE", "continue each line's prompt or messages (-: standard input)",
     &jsonl},
    {"output", 'o', ZC_STR, "FILE", "where the lines of --jsonl go (standard output)", &output},
    {"batch-size", 0, ZC_INT, "N", "texts at once (8)", &batch_size, .min = 1, .max = 1024},
    {"chat-template", 0, ZC_STR, "NAME", "for messages: a template's name or file (the model's)",
     &chat_template},
    ZC_SAMPLING_OPTIONS("the model's own, else 64", "the model's own, else 0"),
    {"samples", 0, ZC_INT, "N", "how many texts (1)", &number, .min = 1, .max = SAMPLES_MAX},
    {"compute", 0, ZC_STR, "NAME", "products in f32 (default), bf16 or int8", &compute},
    {"no-special", 0, ZC_FLAG, NULL, "do not add what the tokenizer puts before a text (BOS)",
     &no_special},
    {0},
};

static const struct zc_sampling usual = {.top_p = 1, .repetition = 1, .seed = 42, .max_new = 64};

static int check(const struct zc_args *a) {
  if (a->nword != 1 || a->nset)
    return zf_error(ZF_EUSAGE, "expected: zoft generate MODEL --prompt TEXT, or --jsonl FILE");
  if (prompt && jsonl) return zf_error(ZF_EUSAGE, "--prompt and --jsonl exclude each other");
  if (!jsonl && (output || chat_template))
    return zf_error(ZF_EUSAGE, "--output and --chat-template have no effect without --jsonl");
  if (jsonl && zc_common.json)
    return zf_error(ZF_EUSAGE, "--json has no effect with --jsonl, whose lines are JSON");
  return 0;
}

/* The options, then generation_config.json, then what is usual. */
static int settle(struct zf_generation_config *c, const char *model) {
  struct zc_sampling d = usual;
  int rc = zc_sampling_model(&d, c, model, 0);
  return rc ? rc : zc_sampling_settle(&d);
}

/* A prompt and its texts. */
struct row {
  struct zf_ids ids;
  struct zf_text *text; /* [number] */
  int64_t done;
  int talk; /* messages */
};

struct job {
  struct zf_model *m;
  struct zf_tok *tok;
  struct zf_chat *chat;
  struct zf_records *in; /* NULL: the one prompt */
  char *piped;           /* standard input's text */
  struct zf_ids ends;    /* the model's, then the chat template's */
  int64_t own;           /* how many are the model's */
  struct row *row;
  int64_t n, begun, written; /* rows, texts, rows */
  int64_t replaced, first;   /* rows with a field that made way; the line of the first */
  size_t shown;              /* bytes of the text at hand */
  int streaming;
  FILE *out;
  double start;
};

/* --- prompts --- */

static int encode(struct row *r, const struct job *j, const char *text, size_t len, int plain) {
  return zf_tok_encode(j->tok, &r->ids, text, len, plain ? 0 : ZF_ENC_SPECIAL);
}

static int open_chat(struct job *j) {
  char *stop = NULL;
  int rc = zc_chat_open(&j->chat, j->m, j->tok, chat_template);
  if (!rc) rc = zc_chat_ends(&j->ends, &stop, j->chat, j->tok);
  free(stop);
  return rc;
}

/* A conversation's text holds its own BOS. */
static int read_messages(struct row *r, struct job *j, const json_t *row) {
  struct zf_buf text = {0};
  json_t *messages = NULL;
  int rc = zf_messages_row(&messages, NULL, row);
  r->talk = 1;
  if (!rc && !j->chat) rc = open_chat(j);
  if (!rc) rc = zf_chat_render(j->chat, messages, json_object_get(row, "tools"), 1, &text, NULL);
  if (!rc) rc = encode(r, j, text.data ? text.data : "", text.len, 1);
  zf_buf_free(&text);
  json_decref(messages);
  return rc;
}

static int read_row(struct row *r, struct job *j, const json_t *row) {
  const json_t *p = json_object_get(row, "prompt"), *m = json_object_get(row, "messages");
  if (!m) m = json_object_get(row, "conversations");
  if (p && m) return zf_error(ZF_EINVALID, "'prompt' and 'messages' exclude each other");
  if (m) return read_messages(r, j, row);
  if (!p) return zf_error(ZF_EINVALID, "expected a field 'prompt' or 'messages'");
  if (!json_is_string(p))
    return zf_error(ZF_EINVALID, "field 'prompt': expected a string, found %s", zf_json_kind(p));
  return encode(r, j, json_string_value(p), json_string_length(p), no_special);
}

static int check_row(const struct row *r, const struct job *j) {
  if (r->ids.count == 0)
    return zf_error(j->in ? ZF_EINVALID : ZF_EUSAGE, "the prompt has no token%s",
                    j->in ? "" : ": give one with --prompt");
  if (r->ids.count > j->m->config.context)
    return zf_error(j->in ? ZF_EINVALID : ZF_EUSAGE,
                    "the prompt has %lld tokens, the model's context is %lld",
                    (long long)r->ids.count, (long long)j->m->config.context);
  return zf_tok_check(j->tok, r->ids.id, r->ids.count, j->m->config.vocab);
}

static int open_input(struct job *j) {
  size_t len;
  if (strcmp(jsonl, "-")) return zf_records_open(&j->in, jsonl);
  int rc = zf_read_file(&j->piped, &len, "-", INPUT_MAX);
  return rc ? rc : zf_records_parse(&j->in, j->piped, len, "stdin.jsonl");
}

static int read_rows(struct job *j) {
  int rc = jsonl ? open_input(j) : 0;
  if (rc) return rc;
  j->n = j->in ? j->in->count : 1;
  j->row = zf_calloc(j->n + 1, sizeof *j->row);
  if (!j->row) return ZF_ENOMEM;
  for (int64_t i = 0; !rc && i < j->n && !zc_signal(); i++) {
    const json_t *row = j->in ? zf_records_row(j->in, i) : NULL;
    if (j->in && !row) return ZF_ENOMEM;
    rc = row ? read_row(&j->row[i], j, row)
             : encode(&j->row[i], j, prompt ? prompt : "", prompt ? strlen(prompt) : 0, no_special);
    if (!rc) rc = check_row(&j->row[i], j);
    if (rc && rc != ZF_EUSAGE && row)
      rc = zf_error_prefix(rc, "%s:%lld", j->in->path, (long long)zf_records_line(j->in, i));
  }
  return rc;
}

/* --- what comes out --- */

static void print_json(const struct zf_text *t, const struct job *j, const char *whole,
                       size_t len) {
  struct zf_buf b = {0};
  zf_buf_puts(&b, "{\"text\": ");
  zc_json_text(&b, whole, len);
  zf_buf_puts(&b, ", \"ids\": [");
  for (int64_t i = 0; i < t->ids.count; i++) zf_buf_printf(&b, "%s%d", i ? ", " : "", t->ids.id[i]);
  zf_buf_printf(&b,
                "], \"prompt_tokens\": %lld, \"new_tokens\": %lld, \"finish\": \"%s\", "
                "\"tokens_per_s\": %.1f}\n",
                (long long)t->given, (long long)(t->ids.count - t->given),
                zf_finish_name(t->finish),
                (double)(t->ids.count - t->given) / (zf_now() - j->start));
  fputs(b.data, j->out);
  zf_buf_free(&b);
}

/* The prompt as its tokens read, once. */
static int show_prompt(const struct zf_text *t, const struct job *j, struct zf_buf *to) {
  zf_buf_puts(to, "");
  return zf_tok_decode(j->tok, to, t->ids.id, t->given, 1);
}

static int write_plain(const struct zf_text *t, struct job *j) {
  struct zf_buf b = {0};
  int rc = j->streaming ? 0 : show_prompt(t, j, &b);
  zf_buf_add(&b, t->made.data + j->shown, t->made.len - j->shown);
  if (!rc) rc = zf_buf_ok(&b);
  if (!rc && zc_common.json) {
    print_json(t, j, b.data, b.len);
  } else if (!rc) {
    fwrite(b.data, 1, b.len, j->out);
    fputc('\n', j->out);
  }
  zf_buf_free(&b);
  return rc;
}

static json_t *text_of(const struct zf_text *t) {
  struct zf_buf b = {0};
  json_t *v = json_stringn(t->made.data, t->made.len);
  if (v) return v;
  zc_json_text(&b, t->made.data, t->made.len); /* not UTF-8 */
  v = b.data ? json_loads(b.data, JSON_DECODE_ANY, NULL) : NULL;
  zf_buf_free(&b);
  return v;
}

static json_t *result(const struct zf_text *t) {
  return json_pack("{s:o, s:s, s:I, s:I}", "completion", text_of(t), "finish",
                   zf_finish_name(t->finish), "prompt_tokens", (json_int_t)t->given, "new_tokens",
                   (json_int_t)(t->ids.count - t->given));
}

/* Puts what was made among the row's fields; one of the same name makes way, and is counted. */
static void put_results(json_t *row, json_t *made, struct job *j) {
  const char *key;
  json_t *v;
  int had = 0;
  json_object_foreach(made, key, v) {
    had |= json_object_get(row, key) != NULL;
    json_object_set(row, key, v);
  }
  if (had && !j->replaced++) j->first = zf_records_line(j->in, j->written);
}

/* The row's own fields, then what was made. */
static int write_row(const struct row *r, struct job *j) {
  const json_t *in = zf_records_row(j->in, j->written);
  json_t *out = in ? json_copy((json_t *)in) : NULL, *all = json_array();
  for (int64_t s = 0; number > 1 && s < number; s++)
    json_array_append_new(all, result(&r->text[s]));
  json_t *made = number > 1 ? json_pack("{s:O}", "completions", all) : result(&r->text[0]);
  if (out && made) put_results(out, made, j);
  char *line = out && made ? zf_json_dump(out, JSON_COMPACT) : NULL;
  if (line) fprintf(j->out, "%s\n", line);
  free(line);
  json_decref(made);
  json_decref(all);
  json_decref(out);
  return line ? 0 : zf_error(ZF_ENOMEM, "out of memory for a line of output");
}

static void row_free(struct row *r) {
  for (int64_t s = 0; r->text && s < number; s++) zf_text_free(&r->text[s]);
  free(r->text);
  r->text = NULL;
  zf_ids_free(&r->ids);
}

/* --- the run --- */

static int next_text(void *ctx, struct zf_text **t) {
  struct job *j = ctx;
  int64_t i = j->begun / number, s = j->begun % number;
  if (i >= j->n) return 0;
  struct row *r = &j->row[i];
  if (!r->text && !(r->text = zf_calloc(number, sizeof *r->text))) return ZF_ENOMEM;
  j->begun++;
  *t = &r->text[s];
  (*t)->row = i;
  (*t)->number = (uint32_t)s;
  (*t)->neos = r->talk ? 0 : j->own;
  return zf_text_begin(*t, j->tok, r->ids.id, r->ids.count);
}

/* One text at a time appears as it is made. */
static int show(void *ctx, struct zf_text *t) {
  struct job *j = ctx;
  if (j->in) {
    char text[64];
    snprintf(text, sizeof text, "%lld of %lld", (long long)j->written, (long long)j->n);
    zc_bar((double)j->written / (double)j->n, text, 0);
  }
  if (!j->streaming || t->ready <= j->shown) return 0;
  fwrite(t->made.data + j->shown, 1, t->ready - j->shown, j->out);
  fflush(j->out);
  j->shown = t->ready;
  return 0;
}

static int done(void *ctx, struct zf_text *t) {
  struct job *j = ctx;
  int rc = 0;
  j->row[t->row].done++;
  for (; !rc && j->written < j->n && j->row[j->written].done == number; j->written++) {
    struct row *r = &j->row[j->written];
    if (j->in) rc = write_row(r, j);
    for (int64_t s = 0; !rc && !j->in && s < number; s++) rc = write_plain(&r->text[s], j);
    row_free(r);
    if (!output) fflush(j->out);
  }
  return rc;
}

static void say_memory(const struct job *j, const struct zf_decoder_room *r) {
  int64_t cache, rest;
  char a[32], b[32];
  zf_decoder_bytes(&cache, &rest, j->m, r);
  if (zc_common.verbose)
    zc_say("%lld at once, %lld tokens each: keys and values %s, all else beside the weights %s",
           (long long)r->slots, (long long)r->length, zf_human_bytes(a, (double)cache),
           zf_human_bytes(b, (double)rest));
}

static int decode(struct job *j, enum zf_compute c) {
  int64_t most = 1, all = 0, context = j->m->config.context;
  for (int64_t i = 0; i < j->n; i++) {
    if (j->row[i].ids.count > most) most = j->row[i].ids.count;
    all += j->row[i].ids.count * number;
  }
  struct zf_decoder_room r = {.slots = batch_size, .compute = c};
  if (r.slots > j->n * number) r.slots = j->n * number;
  r.tokens = all < PASS ? all : PASS;
  if (r.tokens < r.slots) r.tokens = r.slots;
  int64_t max_new = zc_sampling.max_new;
  r.length = max_new < context - most ? most + max_new : context;
  struct zf_generate_rules rules = zc_sampling_rules(&j->ends);
  struct zf_generate_io io = {
      .ctx = j, .next = next_text, .token = show, .done = done, .stop = zc_signal};
  struct zf_decoder *d;
  say_memory(j, &r);
  int rc = zf_decoder_open(&d, j->m, &r);
  if (rc) return rc;
  j->start = zf_now();
  rc = zf_generate(d, &rules, &io);
  zc_bar_clear();
  if (!rc && j->replaced)
    zc_warn("%lld of %lld lines had a field of a result's name, which the result replaces; the "
            "first is %s:%lld",
            (long long)j->replaced, (long long)j->written, j->in->path, (long long)j->first);
  if (!rc && !zc_signal() && zc_common.verbose)
    zc_say("%lld tokens read in %.1f s, %.1f tok/s", (long long)zf_decoder_read_count(d),
           zf_now() - j->start, (double)zf_decoder_read_count(d) / (zf_now() - j->start));
  zf_decoder_free(d);
  return rc;
}

static int stream_prompt(struct job *j) {
  struct zf_buf b = {0};
  j->streaming = !j->in && number == 1 && !zc_common.json;
  if (!j->streaming) return 0;
  zf_buf_puts(&b, "");
  int rc = zf_tok_decode(j->tok, &b, j->row[0].ids.id, j->row[0].ids.count, 1);
  if (!rc) fwrite(b.data, 1, b.len, j->out);
  zf_buf_free(&b);
  return rc;
}

static int run_job(struct job *j, enum zf_compute c) {
  struct zf_out file = {0};
  int rc = zf_score_causal(j->m);
  if (!rc) rc = zf_generation_ends(&j->ends, j->m, j->tok);
  j->own = j->ends.count;
  if (!rc) rc = read_rows(j);
  if (!rc && output) rc = zf_out_open(&file, output);
  j->out = output ? file.file : stdout;
  if (!rc) rc = stream_prompt(j);
  if (!rc && j->n) rc = decode(j, c);
  if (!rc && zc_signal()) rc = zf_error(ZF_ESTOPPED, "interrupted");
  if (!rc && output) return zf_out_commit(&file);
  if (output) zf_out_abort(&file);
  return rc;
}

static int run(const struct zc_args *a) {
  struct job j = {0};
  struct zf_generation_config config = {0};
  enum zf_compute c = ZF_COMPUTE_F32;
  int rc = check(a);
  if (!rc) rc = zc_compute(&c, compute);
  if (!rc) rc = settle(&config, a->word[0]);
  if (!rc) rc = zc_open_model(&j.m, &j.tok, a->word[0]);
  if (!rc) {
    zc_say_compute(j.m, c);
    zc_catch_signals();
    rc = run_job(&j, c);
  }
  for (int64_t i = 0; j.row && i < j.n; i++) row_free(&j.row[i]);
  free(j.row);
  zf_ids_free(&j.ends);
  zf_generation_config_free(&config);
  zf_records_free(j.in);
  free(j.piped);
  zf_chat_free(j.chat);
  zf_tok_free(j.tok);
  zf_model_free(j.m);
  return rc;
}

const struct zc_command zc_generate = {
    "generate",
    "continue a text, greedily or by sampling",
    "zoft generate MODEL --prompt TEXT | --jsonl FILE [options]",
    "Each line of a --jsonl file is an object with a prompt, or with messages, which the model's "
    "chat\n"
    "template writes out. Lines come out in the same order with their fields and completion, "
    "finish\n"
    "(eos, stop, length, context), prompt_tokens and new_tokens; with --samples above 1 these are\n"
    "objects in a list, completions. A file that -o names appears when all is done.\n\n"
    "Examples:\n"
    "  zoft generate out/demo --prompt 'the food was'\n"
    "  zoft generate out/demo -p 'the film' -n 40 --temperature 0.8 --top-p 0.95 --samples 3\n"
    "  zoft generate out/demo --jsonl prompts.jsonl -o texts.jsonl --batch-size 16\n",
    options,
    run,
};
