/* zoft generate: continues a prompt, or each prompt of a file. */
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

enum { PASS_TOKENS = 512, INPUT_MAX = 1 << 30, SAMPLES_MAX = 1 << 16 };

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
    ZC_ADAPTER_OPTION,
    {"compute", 0, ZC_STR, "NAME", "products in f32 (default), bf16 or int8", &compute_name},
    {"no-special", 0, ZC_FLAG, NULL, "do not add what the tokenizer puts before a text (BOS)",
     &no_special},
    {0},
};

static const struct zc_sampling defaults = {.top_p = 1, .repetition = 1, .seed = 42, .max_new = 64};

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

/* Settings: the options, else generation_config.json, else the defaults. */
static int resolve_sampling(struct zf_generation_config *config, const char *model) {
  struct zc_sampling sampling = defaults;
  int rc = zc_sampling_model(&sampling, config, model, 0);
  return rc ? rc : zc_sampling_resolve(&sampling);
}

/* A prompt and the texts that continue it. */
struct prompt_row {
  struct zf_ids ids;
  struct zf_text *texts; /* [number] */
  int64_t finished;      /* of its texts */
  int is_chat;           /* the prompt is a conversation */
};

struct generate_job {
  struct zf_model *model;
  struct zf_tok *tok;
  struct zf_chat *chat;
  struct zf_records *records; /* NULL: --prompt */
  char *piped;                /* the text of standard input */
  struct zf_ids ends;         /* the model's, then the chat template's */
  int64_t model_ends;         /* how many of them are the model's */
  struct prompt_row *rows;
  int64_t count, begun, written; /* rows; texts; rows */
  int64_t replaced,
      first_replaced; /* rows with a field that a result overwrites; the line of the first */
  size_t shown;       /* bytes of the current text that are printed */
  int streaming;
  FILE *out;
  double start;
};

/* --- prompts --- */

static int encode(struct prompt_row *row, const struct generate_job *job, const char *text,
                  size_t len, int plain) {
  return zf_tok_encode(job->tok, &row->ids, text, len, plain ? 0 : ZF_ENC_SPECIAL);
}

static int open_chat(struct generate_job *job) {
  char *stop = NULL;
  int rc = zc_chat_open(&job->chat, job->model, job->tok, chat_template);
  if (!rc) rc = zc_chat_ends(&job->ends, &stop, job->chat, job->tok);
  free(stop);
  return rc;
}

/* The rendered conversation holds its own BOS. */
static int read_messages(struct prompt_row *prompt_row, struct generate_job *job,
                         const json_t *row) {
  struct zf_buf text = {0};
  json_t *messages = NULL;
  int rc = zf_messages_row(&messages, NULL, row);
  prompt_row->is_chat = 1;
  if (!rc && !job->chat) rc = open_chat(job);
  if (!rc) rc = zf_chat_render(job->chat, messages, json_object_get(row, "tools"), 1, &text, NULL);
  if (!rc) rc = encode(prompt_row, job, text.data ? text.data : "", text.len, 1);
  zf_buf_free(&text);
  json_decref(messages);
  return rc;
}

static int read_row(struct prompt_row *prompt_row, struct generate_job *job, const json_t *row) {
  const json_t *text = json_object_get(row, "prompt"), *messages = json_object_get(row, "messages");
  if (!messages) messages = json_object_get(row, "conversations");
  if (text && messages) return zf_error(ZF_EINVALID, "'prompt' and 'messages' exclude each other");
  if (messages) return read_messages(prompt_row, job, row);
  if (!text) return zf_error(ZF_EINVALID, "expected a field 'prompt' or 'messages'");
  if (!json_is_string(text))
    return zf_error(ZF_EINVALID, "field 'prompt': expected a string, found %s", zf_json_kind(text));
  return encode(prompt_row, job, json_string_value(text), json_string_length(text), no_special);
}

static int check_row(const struct prompt_row *row, const struct generate_job *job) {
  if (row->ids.count == 0)
    return zf_error(job->records ? ZF_EINVALID : ZF_EUSAGE, "the prompt has no token%s",
                    job->records ? "" : ": give one with --prompt");
  if (row->ids.count > job->model->config.context)
    return zf_error(job->records ? ZF_EINVALID : ZF_EUSAGE,
                    "the prompt has %lld tokens, the model's context is %lld",
                    (long long)row->ids.count, (long long)job->model->config.context);
  return zf_tok_check_ids(job->tok, row->ids.id, row->ids.count, job->model->config.vocab);
}

static int open_input(struct generate_job *job) {
  size_t len;
  if (strcmp(jsonl, "-")) return zf_records_open(&job->records, jsonl);
  int rc = zf_read_file(&job->piped, &len, "-", INPUT_MAX);
  return rc ? rc : zf_records_parse(&job->records, job->piped, len, "stdin.jsonl");
}

static int read_record(struct generate_job *job, int64_t index) {
  struct prompt_row *prompt_row = &job->rows[index];
  const json_t *row = zf_records_row(job->records, index);
  if (!row) return ZF_ENOMEM;
  int rc = read_row(prompt_row, job, row);
  if (!rc) rc = check_row(prompt_row, job);
  if (!rc || rc == ZF_EUSAGE) return rc;
  return zf_error_prefix(rc, "%s:%lld", job->records->path,
                         (long long)zf_records_line(job->records, index));
}

static int read_prompt(struct generate_job *job) {
  const char *text = prompt ? prompt : "";
  int rc = encode(&job->rows[0], job, text, strlen(text), no_special);
  return rc ? rc : check_row(&job->rows[0], job);
}

static int read_rows(struct generate_job *job) {
  int rc = jsonl ? open_input(job) : 0;
  if (rc) return rc;
  job->count = job->records ? job->records->count : 1;
  job->rows = zf_calloc(job->count + 1, sizeof *job->rows);
  if (!job->rows) return ZF_ENOMEM;
  for (int64_t i = 0; i < job->count; i++) {
    if (zc_signal()) break;
    rc = job->records ? read_record(job, i) : read_prompt(job);
    if (rc) return rc;
  }
  return 0;
}

/* --- output --- */

static void print_json(const struct zf_text *text, const struct generate_job *job,
                       const char *whole, size_t len) {
  struct zf_buf buf = {0};
  zf_buf_puts(&buf, "{\"text\": ");
  zc_json_text(&buf, whole, len);
  zf_buf_puts(&buf, ", \"ids\": [");
  for (int64_t i = 0; i < text->ids.count; i++)
    zf_buf_printf(&buf, "%s%d", i ? ", " : "", text->ids.id[i]);
  zf_buf_printf(&buf,
                "], \"prompt_tokens\": %lld, \"new_tokens\": %lld, \"finish\": \"%s\", "
                "\"tokens_per_s\": %.1f, \"peak_rss_bytes\": %lld}\n",
                (long long)text->prompt_len, (long long)(text->ids.count - text->prompt_len),
                zf_finish_name(text->finish),
                (double)(text->ids.count - text->prompt_len) / (zf_now() - job->start),
                (long long)zf_peak_rss());
  fputs(buf.data, job->out);
  zf_buf_free(&buf);
}

/* Appends the prompt as its tokens decode. */
static int show_prompt(const struct zf_text *text, const struct generate_job *job,
                       struct zf_buf *to) {
  zf_buf_puts(to, "");
  return zf_tok_decode(job->tok, to, text->ids.id, text->prompt_len, 1);
}

static int write_plain(const struct zf_text *text, struct generate_job *job) {
  struct zf_buf buf = {0};
  int rc = job->streaming ? 0 : show_prompt(text, job, &buf);
  zf_buf_add(&buf, text->text.data + job->shown, text->text.len - job->shown);
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
  json_t *value = json_stringn(text->text.data, text->text.len);
  if (value) return value;
  zc_json_text(&buf, text->text.data, text->text.len); /* not UTF-8 */
  value = buf.data ? json_loads(buf.data, JSON_DECODE_ANY, NULL) : NULL;
  zf_buf_free(&buf);
  return value;
}

static json_t *result(const struct zf_text *text) {
  return json_pack("{s:o, s:s, s:I, s:I}", "completion", text_of(text), "finish",
                   zf_finish_name(text->finish), "prompt_tokens", (json_int_t)text->prompt_len,
                   "new_tokens", (json_int_t)(text->ids.count - text->prompt_len));
}

/* Adds the results to the fields of the row.  A field with the name of a result is overwritten and counted. */
static void put_results(json_t *row, json_t *results, struct generate_job *job) {
  const char *key;
  json_t *value;
  int had_field = 0;
  json_object_foreach(results, key, value) {
    had_field |= json_object_get(row, key) != NULL;
    json_object_set(row, key, value);
  }
  if (had_field && !job->replaced++)
    job->first_replaced = zf_records_line(job->records, job->written);
}

/* The results of a row: those of its one text, or {completions: [...]}. */
static json_t *row_results(const struct prompt_row *row) {
  if (number == 1) return result(&row->texts[0]);
  json_t *completions = json_array();
  for (int64_t i = 0; i < number; i++) json_array_append_new(completions, result(&row->texts[i]));
  return json_pack("{s:o}", "completions", completions);
}

/* Writes the fields of the row, then the results. */
static int write_row(const struct prompt_row *row, struct generate_job *job) {
  const json_t *fields = zf_records_row(job->records, job->written);
  json_t *out = fields ? json_copy((json_t *)fields) : NULL, *results = row_results(row);
  if (out && results) put_results(out, results, job);
  char *line = out && results ? zf_json_dump(out, JSON_COMPACT) : NULL;
  if (line) fprintf(job->out, "%s\n", line);
  free(line);
  json_decref(results);
  json_decref(out);
  return line ? 0 : zf_error(ZF_ENOMEM, "out of memory for a line of output");
}

static void row_free(struct prompt_row *row) {
  if (row->texts)
    for (int64_t i = 0; i < number; i++) zf_text_free(&row->texts[i]);
  free(row->texts);
  row->texts = NULL;
  zf_ids_free(&row->ids);
}

/* --- the run --- */

static int next_text(void *ctx, struct zf_text **text) {
  struct generate_job *job = ctx;
  int64_t row_index = job->begun / number, sample = job->begun % number;
  if (row_index >= job->count) return 0;
  struct prompt_row *row = &job->rows[row_index];
  if (!row->texts && !(row->texts = zf_calloc(number, sizeof *row->texts))) return ZF_ENOMEM;
  job->begun++;
  *text = &row->texts[sample];
  (*text)->row = row_index;
  (*text)->number = (uint32_t)sample;
  (*text)->neos = row->is_chat ? 0 : job->model_ends;
  return zf_text_begin(*text, job->tok, row->ids.id, row->ids.count);
}

/* Prints a single text while it is generated. */
static int on_token(void *ctx, struct zf_text *text) {
  struct generate_job *job = ctx;
  if (job->records) {
    char progress[64];
    snprintf(progress, sizeof progress, "%lld of %lld", (long long)job->written,
             (long long)job->count);
    zc_bar((double)job->written / (double)job->count, progress, 0);
  }
  if (!job->streaming || text->ready <= job->shown) return 0;
  fwrite(text->text.data + job->shown, 1, text->ready - job->shown, job->out);
  fflush(job->out);
  job->shown = text->ready;
  return 0;
}

/* Writes all texts of a row. */
static int write_texts(const struct prompt_row *row, struct generate_job *job) {
  if (job->records) return write_row(row, job);
  for (int64_t i = 0; i < number; i++) {
    int rc = write_plain(&row->texts[i], job);
    if (rc) return rc;
  }
  return 0;
}

/* Rows are written in the order of the input, each when it and those before it are finished. */
static int on_done(void *ctx, struct zf_text *text) {
  struct generate_job *job = ctx;
  job->rows[text->row].finished++;
  for (; job->written < job->count; job->written++) {
    struct prompt_row *row = &job->rows[job->written];
    if (row->finished < number) break;
    int rc = write_texts(row, job);
    row_free(row);
    if (!output) fflush(job->out);
    if (rc) return rc;
  }
  return 0;
}

static void print_memory(const struct generate_job *job, const struct zf_decoder_room *room) {
  int64_t cache, rest;
  char cache_text[32], rest_text[32];
  zf_decoder_bytes(&cache, &rest, job->model, room);
  if (zc_common.verbose)
    zc_info("%lld at once, %lld tokens each: keys and values %s, all else beside the weights %s",
            (long long)room->slots, (long long)room->length,
            zf_human_bytes(cache_text, (double)cache), zf_human_bytes(rest_text, (double)rest));
}

static int decode(struct generate_job *job, enum zf_compute compute) {
  int64_t longest = 1, prompt_tokens = 0, context = job->model->config.context;
  for (int64_t i = 0; i < job->count; i++) {
    if (job->rows[i].ids.count > longest) longest = job->rows[i].ids.count;
    prompt_tokens += job->rows[i].ids.count * number;
  }
  struct zf_decoder_room room = {.slots = batch_size, .compute = compute};
  if (room.slots > job->count * number) room.slots = job->count * number;
  room.tokens = prompt_tokens < PASS_TOKENS ? prompt_tokens : PASS_TOKENS;
  if (room.tokens < room.slots) room.tokens = room.slots;
  int64_t max_new = zc_sampling.max_new;
  room.length = max_new < context - longest ? longest + max_new : context;
  struct zf_generate_rules rules = zc_sampling_rules(&job->ends);
  struct zf_generate_io io = {
      .ctx = job, .next = next_text, .token = on_token, .done = on_done, .stop = zc_signal};
  struct zf_decoder *decoder;
  print_memory(job, &room);
  int rc = zf_decoder_open(&decoder, job->model, &room);
  if (rc) return rc;
  job->start = zf_now();
  rc = zf_generate(decoder, &rules, &io);
  zc_bar_clear();
  if (!rc && job->replaced)
    zc_warn("%lld of %lld lines had a field of a result's name, which the result replaces; the "
            "first is %s:%lld",
            (long long)job->replaced, (long long)job->written, job->records->path,
            (long long)job->first_replaced);
  if (!rc && !zc_signal() && zc_common.verbose)
    zc_info("%lld tokens read in %.1f s, %.1f tok/s", (long long)zf_decoder_read_count(decoder),
            zf_now() - job->start,
            (double)zf_decoder_read_count(decoder) / (zf_now() - job->start));
  zf_decoder_free(decoder);
  return rc;
}

static int stream_prompt(struct generate_job *job) {
  struct zf_buf buf = {0};
  job->streaming = !job->records && number == 1 && !zc_common.json;
  if (!job->streaming) return 0;
  zf_buf_puts(&buf, "");
  int rc = zf_tok_decode(job->tok, &buf, job->rows[0].ids.id, job->rows[0].ids.count, 1);
  if (!rc) fwrite(buf.data, 1, buf.len, job->out);
  zf_buf_free(&buf);
  return rc;
}

static int run_job(struct generate_job *job, enum zf_compute compute) {
  struct zf_out file = {0};
  int rc = zf_score_causal(job->model);
  if (!rc) rc = zf_generation_ends(&job->ends, job->model, job->tok);
  job->model_ends = job->ends.count;
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
  struct generate_job job = {0};
  struct zf_generation_config config = {0};
  enum zf_compute compute = ZF_COMPUTE_F32;
  int rc = check(args);
  if (!rc) rc = zc_compute(&compute, compute_name);
  if (!rc) rc = resolve_sampling(&config, args->word[0]);
  if (!rc) rc = zc_open_model(&job.model, &job.tok, args->word[0]);
  if (!rc) {
    zc_warn_compute(job.model, compute);
    zc_catch_signals();
    rc = run_job(&job, compute);
  }
  if (job.rows)
    for (int64_t i = 0; i < job.count; i++) row_free(&job.rows[i]);
  free(job.rows);
  zf_ids_free(&job.ends);
  zf_generation_config_free(&config);
  zf_records_free(job.records);
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
    "template renders. The output has the lines in the same order, each with its fields and\n"
    "completion, finish (eos, stop, length, context), prompt_tokens and new_tokens; with "
    "--samples\n"
    "above 1 these are objects in a list, completions. The file of -o appears at the end.\n\n"
    "Examples:\n"
    "  zoft generate out/demo --prompt 'the food was'\n"
    "  zoft generate out/demo -p 'the film' -n 40 --temperature 0.8 --top-p 0.95 --samples 3\n"
    "  zoft generate out/demo --jsonl prompts.jsonl -o texts.jsonl --batch-size 16\n",
    options,
    run,
};
