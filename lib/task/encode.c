/* Rows to token sequences: one encoder for each file of a set. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fmt/json.h"
#include "task/encode_internal.h"

int zf_encode_text(struct zf_encoder *e, int64_t *n) {
  struct zf_ids *x = &e->ids;
  x->count = 0;
  int rc = zf_tok_encode(e->tok, x, e->text.data, e->text.len, ZF_ENC_SPECIAL | ZF_ENC_OFFSETS);
  while (!rc && x->count > 1 && x->begin[x->count - 1] < 0 &&
         x->id[x->count - 1] == zf_tok_eos(e->tok))
    x->count--;
  *n = x->count;
  return rc;
}

/* Puts prompt + body as one sequence into d, its targets by the difference in length. */
static int is_letter(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* "about" and "billing" become "aboutbilling", which nobody means. */
static int meets_letter(const struct zf_buf *text, size_t at) {
  return at > 0 && at < text->len && is_letter(text->data[at - 1]) && is_letter(text->data[at]);
}

static int encode_pair(struct zf_encoder *e, const json_t *row, const struct zf_template *body,
                       int64_t prompt_tokens, int add_eos) {
  zf_buf_clear(&e->text);
  int rc = zf_template_apply(e->prompt, row, &e->text);
  size_t prompt_end = e->text.len;
  if (!rc) rc = zf_template_apply(body, row, &e->text);
  if (!rc && meets_letter(&e->text, prompt_end)) e->joined = 1;
  int64_t n;
  if (!rc) rc = zf_encode_text(e, &n);
  if (rc) return rc;
  int64_t target = prompt_tokens < n ? prompt_tokens : n;
  if ((rc = zf_dataset_seq(e->dataset, e->ids.id, n, target))) return rc;
  if (!add_eos) return 0;
  int32_t eos = zf_tok_eos(e->tok);
  e->dataset->seq[e->dataset->nseq - 1].len++;
  return zf_dataset_pool(e->dataset, &eos, 1);
}

static int prompt_length(struct zf_encoder *e, const json_t *row, int64_t *n) {
  zf_buf_clear(&e->text);
  zf_buf_puts(&e->text, "");
  int rc = zf_template_apply(e->prompt, row, &e->text);
  return rc ? rc : zf_encode_text(e, n);
}

/* A label's words: texts, integers and booleans as a template would print them; NULL for others. */
static const char *label_text(char number[24], const json_t *v) {
  if (json_is_boolean(v)) return json_is_true(v) ? "true" : "false";
  if (!json_is_integer(v)) return json_string_value(v);
  snprintf(number, 24, "%lld", (long long)json_integer_value(v));
  return number;
}

static int find_label(const struct zf_encoder *e, const json_t *row, int32_t *label) {
  const char *key = e->spec->label ? e->spec->label : "label";
  const json_t *v = json_object_get(row, key);
  return v ? zf_encode_label(e, v, key, label) : zf_field_missing(row, key);
}

int zf_encode_label(const struct zf_encoder *e, const json_t *v, const char *key, int32_t *label) {
  const struct zf_data_spec *s = e->spec;
  char number[24], *end = NULL;
  const char *text = label_text(number, v);
  if (!text)
    return zf_error(ZF_EINVALID, "field '%s': expected a text, integer or boolean, found %s", key,
                    zf_json_kind(v));
  for (int64_t i = 0; s->labels && i < s->nlabels; i++)
    if (!strcmp(s->labels[i], text)) {
      *label = (int32_t)i;
      return 0;
    }
  long long n = strtoll(text, &end, 10);
  if (s->labels || !*text || *end)
    return zf_error(ZF_EINVALID, "label '%.60s' is none of the %lld labels", text,
                    (long long)s->noptions);
  if (n < 0 || n >= s->noptions)
    return zf_error(ZF_EINVALID, "label %lld is out of range: there are %lld options (0 to %lld)",
                    n, (long long)s->noptions, (long long)s->noptions - 1);
  *label = (int32_t)n;
  return 0;
}

static int row_sequences(struct zf_encoder *e, const json_t *row, struct zf_example *x,
                         int64_t part, int64_t *parts) {
  const struct zf_data_spec *s = e->spec;
  int64_t prompt = 0;
  int rc = 0;
  if (s->type > ZF_TASK_TEXT) return zf_encode_marked(e, row, part, parts);
  if (s->type == ZF_TASK_TEXT) {
    int64_t n;
    zf_buf_clear(&e->text);
    zf_buf_puts(&e->text, "");
    if ((rc = zf_template_apply(e->body, row, &e->text))) return rc;
    if ((rc = zf_encode_text(e, &n))) return rc;
    if ((rc = zf_dataset_seq(e->dataset, e->ids.id, n, 1))) return rc;
    if (!s->add_eos) return 0;
    int32_t eos = zf_tok_eos(e->tok);
    e->dataset->seq[e->dataset->nseq - 1].len++;
    return zf_dataset_pool(e->dataset, &eos, 1);
  }
  if (e->word) {
    if (s->type == ZF_TASK_LABELS && s->problem) return zf_encode_outputs(e, row, x);
    if ((rc = find_label(e, row, &x->label))) return rc;
    x->nseq = (int32_t)s->noptions;
    return zf_encode_whole(e, row, x);
  }
  if ((rc = prompt_length(e, row, &prompt))) return rc;
  if (s->type == ZF_TASK_COMPLETION)
    return encode_pair(e, row, e->body, s->train_on_inputs ? 1 : prompt, s->add_eos);
  if ((rc = find_label(e, row, &x->label))) return rc;
  x->nseq = (int32_t)s->noptions;
  for (int64_t o = 0; !rc && o < s->noptions; o++)
    rc = encode_pair(e, row, e->option[o], prompt, 0);
  return rc;
}

/* alpaca: the formats. */
static int parse_formats(struct zf_encoder *e) {
  const struct zf_fields *f = &e->spec->fields;
  int rc = f->format ? zf_template_parse(&e->prompt, f->format) : 0;
  if (rc) return zf_error_prefix(rc, "format");
  rc = f->no_input_format ? zf_template_parse(&e->body, f->no_input_format) : 0;
  return rc ? zf_error_prefix(rc, "no_input_format") : 0;
}

static int parse_templates(struct zf_encoder *e) {
  const struct zf_data_spec *s = e->spec;
  if (s->type == ZF_TASK_ALPACA) return parse_formats(e);
  if (s->type > ZF_TASK_TEXT) return 0;
  const char *body = s->type == ZF_TASK_TEXT ? s->text : s->completion;
  if (!body) body = s->type == ZF_TASK_TEXT ? "{text}" : "{completion}";
  int rc = zf_template_parse(&e->body, body);
  if (rc) return zf_error_prefix(rc, s->type == ZF_TASK_TEXT ? "text" : "completion");
  if (s->type == ZF_TASK_TEXT) return 0;
  rc = zf_template_parse(&e->prompt, s->prompt ? s->prompt : "{prompt}");
  if (rc) return zf_error_prefix(rc, "prompt");
  if (!zf_task_chooses(s->type)) return 0;
  if (s->noptions < (s->type == ZF_TASK_LABELS && s->problem == ZF_PROBLEM_REGRESSION ? 1 : 2))
    return zf_error(ZF_EUSAGE, "options: classification needs at least 2 options, found %lld",
                    (long long)s->noptions);
  if (s->labels && s->nlabels != s->noptions)
    return zf_error(ZF_EUSAGE, "labels: expected one for each of the %lld options, found %lld",
                    (long long)s->noptions, (long long)s->nlabels);
  if (s->type != ZF_TASK_CLASSIFICATION) return zf_encode_find_words(e);
  e->option = zf_calloc(s->noptions, sizeof(*e->option));
  if (!e->option) return ZF_ENOMEM;
  for (int64_t o = 0; o < s->noptions; o++)
    if ((rc = zf_template_parse(&e->option[o], s->options[o])))
      return zf_error_prefix(rc, "options[%lld]", (long long)o);
  return 0;
}

int zf_encoder_new(struct zf_encoder **out, const struct zf_data_spec *spec,
                   const struct zf_tok *tok) {
  *out = NULL;
  if (spec->sequence_len < 2) /* a token to read and one to predict */
    return zf_error(ZF_EUSAGE, "sequence_len: expected 2 or more, found %lld",
                    (long long)spec->sequence_len);
  if (spec->add_eos && zf_tok_eos(tok) < 0)
    return zf_error(ZF_EUSAGE, "add_eos: the tokenizer names no EOS token");
  struct zf_encoder *e = zf_calloc(1, sizeof *e);
  if (!e) return ZF_ENOMEM;
  *e = (struct zf_encoder){.spec = spec, .tok = tok, .mask = -1};
  int rc = parse_templates(e);
  if (rc)
    zf_encoder_free(e);
  else
    *out = e;
  return rc;
}

void zf_encoder_free(struct zf_encoder *e) {
  if (!e) return;
  for (int64_t o = 0; e->option && o < e->spec->noptions; o++) zf_template_free(e->option[o]);
  free(e->option);
  free(e->word);
  zf_template_free(e->body);
  zf_template_free(e->prompt);
  zf_buf_free(&e->text);
  free(e->spans.at);
  zf_ids_free(&e->ids);
  free(e);
}

/* One example of the row; *parts: how many it becomes, where a conversation's answers are apart. */
static int add_part(struct zf_encoder *e, const json_t *row, struct zf_example x, int64_t part,
                    int64_t *parts) {
  struct zf_dataset *d = e->dataset;
  int64_t before = d->pool.count;
  x.seq = d->nseq;
  int rc = row_sequences(e, row, &x, part, parts);
  if (!rc && e->spec->vocab)
    rc = zf_tok_check(e->tok, d->pool.id + before, d->pool.count - before, e->spec->vocab);
  if (!rc && *parts > 1 && d->stream)
    rc = zf_error(
        ZF_EINVALID,
        "the chat template renders an earlier turn unlike the last one: each of the %lld "
        "answers "
        "is an example of its own, which a stream has no place for: set streaming to false",
        (long long)*parts);
  return rc ? rc : zf_encode_fit(e, &x);
}

int zf_encoder_add(struct zf_encoder *e, struct zf_dataset *d, int32_t file, struct zf_records *r,
                   int64_t i) {
  struct zf_example x = {
      .nseq = 1, .label = -1, .ask = -1, .file = file, .line = zf_records_line(r, i)};
  const json_t *row = zf_records_row(r, i);
  if (!row) return ZF_EINVALID; /* the sentence has the place */
  e->dataset = d;
  d->problem = e->spec->problem;
  int64_t parts = 0;
  e->joined = 0;
  int rc = add_part(e, row, x, 0, &parts);
  d->counts.rows++;
  d->counts.joined += e->joined;
  d->counts.apart += !rc && parts > 0;
  for (int64_t k = 1, n = parts; !rc && k < n; k++) rc = add_part(e, row, x, k, &parts);
  return rc ? zf_error_prefix(rc, "%s:%lld", r->path, (long long)x.line) : 0;
}
