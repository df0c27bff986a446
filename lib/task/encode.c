/* Rows to token sequences. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fmt/json.h"
#include "task/encode_internal.h"

int zf_encode_text(struct zf_encoder *encoder, int64_t *count) {
  struct zf_ids *ids = &encoder->ids;
  int32_t eos = zf_tok_eos(encoder->tok);
  ids->count = 0;
  int rc = zf_tok_encode(encoder->tok, ids, encoder->text.data, encoder->text.len,
                         ZF_ENC_SPECIAL | ZF_ENC_OFFSETS);
  *count = ids->count;
  if (rc) return rc;
  while (ids->count > 1 && ids->begin[ids->count - 1] < 0 && ids->id[ids->count - 1] == eos)
    ids->count--;
  *count = ids->count;
  return 0;
}

int zf_encode_eos(struct zf_encoder *encoder) {
  int32_t eos = zf_tok_eos(encoder->tok);
  encoder->dataset->seq[encoder->dataset->nseq - 1].len++;
  return zf_dataset_pool(encoder->dataset, &eos, 1);
}

static int is_letter(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* Does a letter follow a letter at `boundary`?  "about" and "billing" become "aboutbilling". */
static int meets_letter(const struct zf_buf *text, size_t boundary) {
  return boundary > 0 && boundary < text->len && is_letter(text->data[boundary - 1]) &&
         is_letter(text->data[boundary]);
}

/* Adds prompt + body as one sequence, its first target behind `prompt_tokens` tokens. */
static int encode_pair(struct zf_encoder *encoder, const json_t *row,
                       const struct zf_template *body, int64_t prompt_tokens, int add_eos) {
  int64_t len;
  zf_buf_clear(&encoder->text);
  int rc = zf_template_apply(encoder->prompt, row, &encoder->text);
  size_t prompt_end = encoder->text.len;
  if (!rc) rc = zf_template_apply(body, row, &encoder->text);
  if (!rc && meets_letter(&encoder->text, prompt_end)) encoder->letters_meet = 1;
  if (!rc) rc = zf_encode_text(encoder, &len);
  if (rc) return rc;
  int64_t target = prompt_tokens < len ? prompt_tokens : len;
  rc = zf_dataset_seq(encoder->dataset, encoder->ids.id, len, target);
  return rc || !add_eos ? rc : zf_encode_eos(encoder);
}

static int prompt_length(struct zf_encoder *encoder, const json_t *row, int64_t *count) {
  zf_buf_clear(&encoder->text);
  zf_buf_puts(&encoder->text, "");
  int rc = zf_template_apply(encoder->prompt, row, &encoder->text);
  return rc ? rc : zf_encode_text(encoder, count);
}

/* A label as a template prints it: texts, integers and booleans; NULL: another type. */
static const char *label_text(char number[24], const json_t *value) {
  if (json_is_boolean(value)) return json_is_true(value) ? "true" : "false";
  if (!json_is_integer(value)) return json_string_value(value);
  snprintf(number, 24, "%lld", (long long)json_integer_value(value));
  return number;
}

static int find_label(const struct zf_encoder *encoder, const json_t *row, int32_t *label) {
  const char *key = encoder->spec->label ? encoder->spec->label : "label";
  const json_t *value = json_object_get(row, key);
  *label = 0;
  if (encoder->spec->unlabelled) return 0;
  return value ? zf_encode_label(encoder, value, key, label) : zf_field_missing(row, key);
}

static int find_name(const struct zf_data_spec *spec, const char *text, int32_t *label) {
  for (int64_t i = 0; i < spec->nlabels; i++) {
    if (strcmp(spec->labels[i], text)) continue;
    *label = (int32_t)i;
    return 0;
  }
  return zf_error(ZF_EINVALID, "label '%.60s' is none of the %lld labels", text,
                  (long long)spec->noptions);
}

int zf_encode_label(const struct zf_encoder *encoder, const json_t *value, const char *key,
                    int32_t *label) {
  const struct zf_data_spec *spec = encoder->spec;
  char buf[24], *end = NULL;
  const char *text = label_text(buf, value);
  if (!text)
    return zf_error(ZF_EINVALID, "field '%s': expected a text, integer or boolean, found %s", key,
                    zf_json_kind(value));
  if (spec->labels) return find_name(spec, text, label);
  long long number = strtoll(text, &end, 10);
  if (!*text || *end)
    return zf_error(ZF_EINVALID, "label '%.60s' is none of the %lld labels", text,
                    (long long)spec->noptions);
  if (number < 0 || number >= spec->noptions)
    return zf_error(ZF_EINVALID, "label %lld is out of range: there are %lld options (0 to %lld)",
                    number, (long long)spec->noptions, (long long)spec->noptions - 1);
  *label = (int32_t)number;
  return 0;
}

/* text: everything after the first token is a target. */
static int text_sequence(struct zf_encoder *encoder, const json_t *row) {
  int64_t len;
  zf_buf_clear(&encoder->text);
  zf_buf_puts(&encoder->text, "");
  int rc = zf_template_apply(encoder->body, row, &encoder->text);
  if (!rc) rc = zf_encode_text(encoder, &len);
  if (!rc) rc = zf_dataset_seq(encoder->dataset, encoder->ids.id, len, 1);
  return rc || !encoder->spec->add_eos ? rc : zf_encode_eos(encoder);
}

/* classification, preference: a sequence for each option. */
static int option_sequences(struct zf_encoder *encoder, const json_t *row,
                            struct zf_example *example, int64_t prompt) {
  int prefers = encoder->spec->type == ZF_TASK_PREFERENCE, rc = 0;
  if (prefers)
    example->label = 0;
  else
    rc = find_label(encoder, row, &example->label);
  if (rc) return rc;
  int add_eos = prefers && encoder->spec->add_eos;
  example->nseq = (int32_t)encoder->spec->noptions;
  for (int64_t option = 0; option < encoder->spec->noptions; option++)
    if ((rc = encode_pair(encoder, row, encoder->option[option], prompt, add_eos))) return rc;
  return 0;
}

/* masked, labels. */
static int whole_sequences(struct zf_encoder *encoder, const json_t *row,
                           struct zf_example *example) {
  if (encoder->spec->type == ZF_TASK_LABELS && encoder->spec->problem)
    return zf_encode_outputs(encoder, row, example);
  int rc = find_label(encoder, row, &example->label);
  if (rc) return rc;
  example->nseq = (int32_t)encoder->spec->noptions;
  return zf_encode_whole(encoder, row, example);
}

static int row_sequences(struct zf_encoder *encoder, const json_t *row, struct zf_example *example,
                         int64_t part, int64_t *parts) {
  const struct zf_data_spec *spec = encoder->spec;
  int64_t prompt = 0;
  if (spec->type > ZF_TASK_TEXT) return zf_encode_marked(encoder, row, part, parts);
  if (spec->type == ZF_TASK_TEXT) return text_sequence(encoder, row);
  if (encoder->word) return whole_sequences(encoder, row, example);
  int rc = prompt_length(encoder, row, &prompt);
  if (rc) return rc;
  if (spec->type == ZF_TASK_CLASSIFICATION || spec->type == ZF_TASK_PREFERENCE)
    return option_sequences(encoder, row, example, prompt);
  return encode_pair(encoder, row, encoder->body, spec->train_on_inputs ? 1 : prompt,
                     spec->add_eos);
}

/* alpaca: format and no_input_format. */
static int parse_formats(struct zf_encoder *encoder) {
  const struct zf_fields *fields = &encoder->spec->fields;
  int rc = fields->format ? zf_template_parse(&encoder->prompt, fields->format) : 0;
  if (rc) return zf_error_prefix(rc, "format");
  rc = fields->no_input_format ? zf_template_parse(&encoder->body, fields->no_input_format) : 0;
  return rc ? zf_error_prefix(rc, "no_input_format") : 0;
}

/* text: its template; else those of prompt and completion. */
static int parse_texts(struct zf_encoder *encoder) {
  const struct zf_data_spec *spec = encoder->spec;
  int is_text = spec->type == ZF_TASK_TEXT;
  const char *body = is_text ? spec->text : spec->completion;
  if (!body) body = is_text ? "{text}" : "{completion}";
  int rc = zf_template_parse(&encoder->body, body);
  if (rc) return zf_error_prefix(rc, is_text ? "text" : "completion");
  if (is_text) return 0;
  rc = zf_template_parse(&encoder->prompt, spec->prompt ? spec->prompt : "{prompt}");
  return rc ? zf_error_prefix(rc, "prompt") : 0;
}

static int check_options(const struct zf_data_spec *spec) {
  int regression = spec->type == ZF_TASK_LABELS && spec->problem == ZF_PROBLEM_REGRESSION;
  if (spec->noptions < (regression ? 1 : 2))
    return zf_error(ZF_EUSAGE, "options: classification needs at least 2 options, found %lld",
                    (long long)spec->noptions);
  if (spec->labels && spec->nlabels != spec->noptions)
    return zf_error(ZF_EUSAGE, "labels: expected one for each of the %lld options, found %lld",
                    (long long)spec->noptions, (long long)spec->nlabels);
  return 0;
}

static int parse_options(struct zf_encoder *encoder) {
  const struct zf_data_spec *spec = encoder->spec;
  encoder->option = zf_calloc(spec->noptions, sizeof(*encoder->option));
  if (!encoder->option) return ZF_ENOMEM;
  for (int64_t option = 0; option < spec->noptions; option++) {
    int rc = zf_template_parse(&encoder->option[option], spec->options[option]);
    if (rc) return zf_error_prefix(rc, "options[%lld]", (long long)option);
  }
  return 0;
}

static int parse_templates(struct zf_encoder *encoder) {
  enum zf_task_type type = encoder->spec->type;
  if (type == ZF_TASK_ALPACA) return parse_formats(encoder);
  if (type > ZF_TASK_TEXT) return 0;
  int rc = parse_texts(encoder);
  if (rc || !zf_task_has_options(type)) return rc;
  if ((rc = check_options(encoder->spec))) return rc;
  if (type == ZF_TASK_CLASSIFICATION || type == ZF_TASK_PREFERENCE) return parse_options(encoder);
  return zf_encode_find_words(encoder);
}

int zf_encoder_new(struct zf_encoder **out, const struct zf_data_spec *spec,
                   const struct zf_tok *tok) {
  *out = NULL;
  if (spec->sequence_len < 2) /* a token to read and one to predict */
    return zf_error(ZF_EUSAGE, "sequence_len: expected 2 or more, found %lld",
                    (long long)spec->sequence_len);
  if (spec->add_eos && zf_tok_eos(tok) < 0)
    return zf_error(ZF_EUSAGE, "add_eos: the tokenizer names no EOS token");
  struct zf_encoder *encoder = zf_calloc(1, sizeof *encoder);
  if (!encoder) return ZF_ENOMEM;
  *encoder = (struct zf_encoder){.spec = spec, .tok = tok, .mask = -1};
  int rc = parse_templates(encoder);
  if (rc)
    zf_encoder_free(encoder);
  else
    *out = encoder;
  return rc;
}

void zf_encoder_free(struct zf_encoder *encoder) {
  if (!encoder) return;
  if (encoder->option)
    for (int64_t i = 0; i < encoder->spec->noptions; i++) zf_template_free(encoder->option[i]);
  free(encoder->option);
  free(encoder->word);
  zf_template_free(encoder->body);
  zf_template_free(encoder->prompt);
  zf_buf_free(&encoder->text);
  free(encoder->spans.span);
  zf_ids_free(&encoder->ids);
  free(encoder);
}

/* Adds part `part` (from 0) of a row; *parts: how many examples it becomes when each answer of a
 * conversation is one, else 0. */
static int add_part(struct zf_encoder *encoder, const json_t *row, struct zf_example example,
                    int64_t part, int64_t *parts) {
  struct zf_dataset *dataset = encoder->dataset;
  int64_t before = dataset->pool.count;
  example.seq = dataset->nseq;
  int rc = row_sequences(encoder, row, &example, part, parts);
  if (!rc && encoder->spec->answers) rc = zf_encode_answers(encoder, row, &example);
  if (!rc && encoder->spec->vocab)
    rc = zf_tok_check_ids(encoder->tok, dataset->pool.id + before, dataset->pool.count - before,
                          encoder->spec->vocab);
  if (!rc && *parts > 1 && dataset->stream)
    rc = zf_error(
        ZF_EINVALID,
        "the chat template renders an earlier turn unlike the last one: each of the %lld "
        "answers is an example of its own, which a stream has no place for: set streaming to false",
        (long long)*parts);
  return rc ? rc : zf_encode_fit(encoder, &example);
}

int zf_encoder_add(struct zf_encoder *encoder, struct zf_dataset *dataset, int32_t file,
                   struct zf_records *records, int64_t index) {
  struct zf_example example = {.nseq = 1,
                               .label = -1,
                               .mask_distance = -1,
                               .file = file,
                               .line = zf_records_line(records, index)};
  const json_t *row = zf_records_row(records, index);
  if (!row) return ZF_EINVALID; /* the message names the line */
  encoder->dataset = dataset;
  dataset->problem = encoder->spec->problem;
  int64_t parts = 0, same;
  encoder->letters_meet = 0;
  int rc = add_part(encoder, row, example, 0, &parts);
  dataset->counts.rows++;
  dataset->counts.letters_meet += encoder->letters_meet;
  dataset->counts.separated += !rc && parts > 0;
  for (int64_t part = 1; part < parts; part++) {
    if (rc) break;
    rc = add_part(encoder, row, example, part, &same);
  }
  return rc ? zf_error_prefix(rc, "%s:%lld", records->path, (long long)example.line) : 0;
}
