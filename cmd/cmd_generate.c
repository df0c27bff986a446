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

static const char *prompt, *compute_name, *jsonl, *output, *chat_template;
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
    {"compute", 0, ZC_STR, "NAME", "products in f32 (default), bf16 or int8", &compute_name},
    {"no-special", 0, ZC_FLAG, NULL, "do not add what the tokenizer puts before a text (BOS)",
     &no_special},
    {0},
};

static const struct zc_sampling usual = {.top_p = 1, .repetition = 1, .seed = 42, .max_new = 64};

static int check(const struct zc_args *args) {
  if (args->nword != 1 || args->nset)
    return zf_error(ZF_EUSAGE, "expected: zoft generate MODEL --prompt TEXT, or --jsonl FILE");
  if (prompt && jsonl) return zf_error(ZF_EUSAGE, "--prompt and --jsonl exclude each other");
  if (!jsonl && (output || chat_template))
    return zf_error(ZF_EUSAGE, "--output and --chat-template have no effect without --jsonl");
  if (jsonl && zc_common.json)
    return zf_error(ZF_EUSAGE, "--json has no effect with --jsonl, whose lines are JSON");
  return 0;
}

/* The options, then generation_config.json, then what is usual. */
static int settle(struct zf_generation_config *config, const char *model) {
  struct zc_sampling sampling = usual;
  int rc = zc_sampling_model(&sampling, config, model, 0);
  return rc ? rc : zc_sampling_settle(&sampling);
}

/* A prompt and its texts. */
struct row {
  struct zf_ids ids;
  struct zf_text *text; /* [number] */
  int64_t done;
  int talk; /* messages */
};

struct job {
  struct zf_model *model;
  struct zf_tok *tok;
  struct zf_chat *chat;
  struct zf_records *in; /* NULL: the one prompt */
  char *piped;           /* standard input's text */
  struct zf_ids ends;    /* the model's, then the chat template's */
  int64_t own;           /* how many are the model's */
  struct row *row;
  int64_t count, begun, written; /* rows, texts, rows */
  int64_t replaced, first;       /* rows with a field that made way; the line of the first */
  size_t shown;                  /* bytes of the text at hand */
  int streaming;
  FILE *out;
  double start;
};

/* --- prompts --- */

static int encode(struct row *row, const struct job *job, const char *text, size_t len, int plain) {
  return zf_tok_encode(job->tok, &row->ids, text, len, plain ? 0 : ZF_ENC_SPECIAL);
}

static int open_chat(struct job *job) {
  char *stop = NULL;
  int rc = zc_chat_open(&job->chat, job->model, job->tok, chat_template);
  if (!rc) rc = zc_chat_ends(&job->ends, &stop, job->chat, job->tok);
  free(stop);
  return rc;
}

/* A conversation's text holds its own BOS. */
static int read_messages(struct row *r, struct job *job, const json_t *row) {
  struct zf_buf text = {0};
  json_t *messages = NULL;
  int rc = zf_messages_row(&messages, NULL, row);
  r->talk = 1;
  if (!rc && !job->chat) rc = open_chat(job);
  if (!rc) rc = zf_chat_render(job->chat, messages, json_object_get(row, "tools"), 1, &text, NULL);
  if (!rc) rc = encode(r, job, text.data ? text.data : "", text.len, 1);
  zf_buf_free(&text);
  json_decref(messages);
  return rc;
}

static int read_row(struct row *r, struct job *job, const json_t *row) {
  const json_t *p = json_object_get(row, "prompt"), *m = json_object_get(row, "messages");
  if (!m) m = json_object_get(row, "conversations");
  if (p && m) return zf_error(ZF_EINVALID, "'prompt' and 'messages' exclude each other");
  if (m) return read_messages(r, job, row);
  if (!p) return zf_error(ZF_EINVALID, "expected a field 'prompt' or 'messages'");
  if (!json_is_string(p))
    return zf_error(ZF_EINVALID, "field 'prompt': expected a string, found %s", zf_json_kind(p));
  return encode(r, job, json_string_value(p), json_string_length(p), no_special);
}

static int check_row(const struct row *row, const struct job *job) {
  if (row->ids.count == 0)
    return zf_error(job->in ? ZF_EINVALID : ZF_EUSAGE, "the prompt has no token%s",
                    job->in ? "" : ": give one with --prompt");
  if (row->ids.count > job->model->config.context)
    return zf_error(job->in ? ZF_EINVALID : ZF_EUSAGE,
                    "the prompt has %lld tokens, the model's context is %lld",
                    (long long)row->ids.count, (long long)job->model->config.context);
  return zf_tok_check(job->tok, row->ids.id, row->ids.count, job->model->config.vocab);
}

static int open_input(struct job *job) {
  size_t len;
  if (strcmp(jsonl, "-")) return zf_records_open(&job->in, jsonl);
  int rc = zf_read_file(&job->piped, &len, "-", INPUT_MAX);
  return rc ? rc : zf_records_parse(&job->in, job->piped, len, "stdin.jsonl");
}

static int read_rows(struct job *job) {
  int rc = jsonl ? open_input(job) : 0;
  if (rc) return rc;
  job->count = job->in ? job->in->count : 1;
  job->row = zf_calloc(job->count + 1, sizeof *job->row);
  if (!job->row) return ZF_ENOMEM;
  for (int64_t i = 0; !rc && i < job->count && !zc_signal(); i++) {
    const json_t *row = job->in ? zf_records_row(job->in, i) : NULL;
    if (job->in && !row) return ZF_ENOMEM;
    rc = row ? read_row(&job->row[i], job, row)
             : encode(&job->row[i], job, prompt ? prompt : "", prompt ? strlen(prompt) : 0,
                      no_special);
    if (!rc) rc = check_row(&job->row[i], job);
    if (rc && rc != ZF_EUSAGE && row)
      rc = zf_error_prefix(rc, "%s:%lld", job->in->path, (long long)zf_records_line(job->in, i));
  }
  return rc;
}

/* --- what comes out --- */

static void print_json(const struct zf_text *text, const struct job *job, const char *whole,
                       size_t len) {
  struct zf_buf buf = {0};
  zf_buf_puts(&buf, "{\"text\": ");
  zc_json_text(&buf, whole, len);
  zf_buf_puts(&buf, ", \"ids\": [");
  for (int64_t i = 0; i < text->ids.count; i++)
    zf_buf_printf(&buf, "%s%d", i ? ", " : "", text->ids.id[i]);
  zf_buf_printf(&buf,
                "], \"prompt_tokens\": %lld, \"new_tokens\": %lld, \"finish\": \"%s\", "
                "\"tokens_per_s\": %.1f}\n",
                (long long)text->given, (long long)(text->ids.count - text->given),
                zf_finish_name(text->finish),
                (double)(text->ids.count - text->given) / (zf_now() - job->start));
  fputs(buf.data, job->out);
  zf_buf_free(&buf);
}

/* The prompt as its tokens read, once. */
static int show_prompt(const struct zf_text *text, const struct job *job, struct zf_buf *to) {
  zf_buf_puts(to, "");
  return zf_tok_decode(job->tok, to, text->ids.id, text->given, 1);
}

static int write_plain(const struct zf_text *text, struct job *job) {
  struct zf_buf buf = {0};
  int rc = job->streaming ? 0 : show_prompt(text, job, &buf);
  zf_buf_add(&buf, text->made.data + job->shown, text->made.len - job->shown);
  if (!rc) rc = zf_buf_ok(&buf);
  if (!rc && zc_common.json) {
    print_json(text, job, buf.data, buf.len);
  } else if (!rc) {
    fwrite(buf.data, 1, buf.len, job->out);
    fputc('\n', job->out);
  }
  zf_buf_free(&buf);
  return rc;
}

static json_t *text_of(const struct zf_text *text) {
  struct zf_buf buf = {0};
  json_t *value = json_stringn(text->made.data, text->made.len);
  if (value) return value;
  zc_json_text(&buf, text->made.data, text->made.len); /* not UTF-8 */
  value = buf.data ? json_loads(buf.data, JSON_DECODE_ANY, NULL) : NULL;
  zf_buf_free(&buf);
  return value;
}

static json_t *result(const struct zf_text *text) {
  return json_pack("{s:o, s:s, s:I, s:I}", "completion", text_of(text), "finish",
                   zf_finish_name(text->finish), "prompt_tokens", (json_int_t)text->given,
                   "new_tokens", (json_int_t)(text->ids.count - text->given));
}

/* Puts what was made among the row's fields; one of the same name makes way, and is counted. */
static void put_results(json_t *row, json_t *made, struct job *job) {
  const char *key;
  json_t *value;
  int had = 0;
  json_object_foreach(made, key, value) {
    had |= json_object_get(row, key) != NULL;
    json_object_set(row, key, value);
  }
  if (had && !job->replaced++) job->first = zf_records_line(job->in, job->written);
}

/* The row's own fields, then what was made. */
static int write_row(const struct row *row, struct job *job) {
  const json_t *in = zf_records_row(job->in, job->written);
  json_t *out = in ? json_copy((json_t *)in) : NULL, *all = json_array();
  for (int64_t s = 0; number > 1 && s < number; s++)
    json_array_append_new(all, result(&row->text[s]));
  json_t *made = number > 1 ? json_pack("{s:O}", "completions", all) : result(&row->text[0]);
  if (out && made) put_results(out, made, job);
  char *line = out && made ? zf_json_dump(out, JSON_COMPACT) : NULL;
  if (line) fprintf(job->out, "%s\n", line);
  free(line);
  json_decref(made);
  json_decref(all);
  json_decref(out);
  return line ? 0 : zf_error(ZF_ENOMEM, "out of memory for a line of output");
}

static void row_free(struct row *row) {
  for (int64_t s = 0; row->text && s < number; s++) zf_text_free(&row->text[s]);
  free(row->text);
  row->text = NULL;
  zf_ids_free(&row->ids);
}

/* --- the run --- */

static int next_text(void *ctx, struct zf_text **text) {
  struct job *job = ctx;
  int64_t i = job->begun / number, s = job->begun % number;
  if (i >= job->count) return 0;
  struct row *row = &job->row[i];
  if (!row->text && !(row->text = zf_calloc(number, sizeof *row->text))) return ZF_ENOMEM;
  job->begun++;
  *text = &row->text[s];
  (*text)->row = i;
  (*text)->number = (uint32_t)s;
  (*text)->neos = row->talk ? 0 : job->own;
  return zf_text_begin(*text, job->tok, row->ids.id, row->ids.count);
}

/* One text at a time appears as it is made. */
static int show(void *ctx, struct zf_text *t) {
  struct job *job = ctx;
  if (job->in) {
    char text[64];
    snprintf(text, sizeof text, "%lld of %lld", (long long)job->written, (long long)job->count);
    zc_bar((double)job->written / (double)job->count, text, 0);
  }
  if (!job->streaming || t->ready <= job->shown) return 0;
  fwrite(t->made.data + job->shown, 1, t->ready - job->shown, job->out);
  fflush(job->out);
  job->shown = t->ready;
  return 0;
}

static int done(void *ctx, struct zf_text *text) {
  struct job *job = ctx;
  int rc = 0;
  job->row[text->row].done++;
  for (; !rc && job->written < job->count && job->row[job->written].done == number;
       job->written++) {
    struct row *row = &job->row[job->written];
    if (job->in) rc = write_row(row, job);
    for (int64_t s = 0; !rc && !job->in && s < number; s++) rc = write_plain(&row->text[s], job);
    row_free(row);
    if (!output) fflush(job->out);
  }
  return rc;
}

static void say_memory(const struct job *job, const struct zf_decoder_room *room) {
  int64_t cache, rest;
  char a[32], b[32];
  zf_decoder_bytes(&cache, &rest, job->model, room);
  if (zc_common.verbose)
    zc_say("%lld at once, %lld tokens each: keys and values %s, all else beside the weights %s",
           (long long)room->slots, (long long)room->length, zf_human_bytes(a, (double)cache),
           zf_human_bytes(b, (double)rest));
}

static int decode(struct job *job, enum zf_compute compute) {
  int64_t most = 1, all = 0, context = job->model->config.context;
  for (int64_t i = 0; i < job->count; i++) {
    if (job->row[i].ids.count > most) most = job->row[i].ids.count;
    all += job->row[i].ids.count * number;
  }
  struct zf_decoder_room room = {.slots = batch_size, .compute = compute};
  if (room.slots > job->count * number) room.slots = job->count * number;
  room.tokens = all < PASS ? all : PASS;
  if (room.tokens < room.slots) room.tokens = room.slots;
  int64_t max_new = zc_sampling.max_new;
  room.length = max_new < context - most ? most + max_new : context;
  struct zf_generate_rules rules = zc_sampling_rules(&job->ends);
  struct zf_generate_io io = {
      .ctx = job, .next = next_text, .token = show, .done = done, .stop = zc_signal};
  struct zf_decoder *decoder;
  say_memory(job, &room);
  int rc = zf_decoder_open(&decoder, job->model, &room);
  if (rc) return rc;
  job->start = zf_now();
  rc = zf_generate(decoder, &rules, &io);
  zc_bar_clear();
  if (!rc && job->replaced)
    zc_warn("%lld of %lld lines had a field of a result's name, which the result replaces; the "
            "first is %s:%lld",
            (long long)job->replaced, (long long)job->written, job->in->path,
            (long long)job->first);
  if (!rc && !zc_signal() && zc_common.verbose)
    zc_say("%lld tokens read in %.1f s, %.1f tok/s", (long long)zf_decoder_read_count(decoder),
           zf_now() - job->start, (double)zf_decoder_read_count(decoder) / (zf_now() - job->start));
  zf_decoder_free(decoder);
  return rc;
}

static int stream_prompt(struct job *job) {
  struct zf_buf buf = {0};
  job->streaming = !job->in && number == 1 && !zc_common.json;
  if (!job->streaming) return 0;
  zf_buf_puts(&buf, "");
  int rc = zf_tok_decode(job->tok, &buf, job->row[0].ids.id, job->row[0].ids.count, 1);
  if (!rc) fwrite(buf.data, 1, buf.len, job->out);
  zf_buf_free(&buf);
  return rc;
}

static int run_job(struct job *job, enum zf_compute compute) {
  struct zf_out file = {0};
  int rc = zf_score_causal(job->model);
  if (!rc) rc = zf_generation_ends(&job->ends, job->model, job->tok);
  job->own = job->ends.count;
  if (!rc) rc = read_rows(job);
  if (!rc && output) rc = zf_out_open(&file, output);
  job->out = output ? file.file : stdout;
  if (!rc) rc = stream_prompt(job);
  if (!rc && job->count) rc = decode(job, compute);
  if (!rc && zc_signal()) rc = zf_error(ZF_ESTOPPED, "interrupted");
  if (!rc && output) return zf_out_commit(&file);
  if (output) zf_out_abort(&file);
  return rc;
}

static int run(const struct zc_args *args) {
  struct job job = {0};
  struct zf_generation_config config = {0};
  enum zf_compute c = ZF_COMPUTE_F32;
  int rc = check(args);
  if (!rc) rc = zc_compute(&c, compute_name);
  if (!rc) rc = settle(&config, args->word[0]);
  if (!rc) rc = zc_open_model(&job.model, &job.tok, args->word[0]);
  if (!rc) {
    zc_say_compute(job.model, c);
    zc_catch_signals();
    rc = run_job(&job, c);
  }
  for (int64_t i = 0; job.row && i < job.count; i++) row_free(&job.row[i]);
  free(job.row);
  zf_ids_free(&job.ends);
  zf_generation_config_free(&config);
  zf_records_free(job.in);
  free(job.piped);
  zf_chat_free(job.chat);
  zf_tok_free(job.tok);
  zf_model_free(job.model);
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
