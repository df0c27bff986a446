/* Rows to token sequences. */
#include "task/dataset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fmt/json.h"
#include "task/template.h"

/* A spec with its templates parsed, and buffers that are used again for every row. */
struct encoder {
  struct zf_dataset *d;
  const struct zf_data_spec *spec;
  const struct zf_tok *tok;
  struct zf_records *rec;
  struct zf_template *prompt, *body, **option;
  struct zf_buf text;
  struct zf_ids ids;
  struct zf_spans spans;
  int32_t file;
  int32_t mask, *word; /* masked: the mask's id, and of each option's word; labels: 0, 1, ... */
};

int zf_task_chooses(enum zf_task_type type) {
  return type == ZF_TASK_CLASSIFICATION || type == ZF_TASK_MASKED || type == ZF_TASK_LABELS;
}

int zf_dataset_new(struct zf_dataset **out, enum zf_task_type type) {
  *out = zf_calloc(1, sizeof **out);
  if (!*out) return ZF_ENOMEM;
  (*out)->type = type;
  return 0;
}

void zf_dataset_free(struct zf_dataset *d) {
  if (!d) return;
  for (int32_t i = 0; i < d->nfile; i++) free(d->path[i]);
  free(d->path);
  zf_ids_free(&d->pool);
  free(d->mask);
  free(d->seq);
  free(d->ex);
  free(d);
}

static void *grown(void *p, int64_t n, int64_t *cap, size_t size) {
  if (n < *cap) return p;
  int64_t more = *cap ? *cap * 2 : 256;
  void *q = realloc(p, (size_t)more * size);
  if (!q) {
    zf_error(ZF_ENOMEM, "out of memory for %lld examples", (long long)more);
    return NULL;
  }
  *cap = more;
  return q;
}

static int pool_add(struct zf_ids *pool, const int32_t *id, int64_t n) {
  while (pool->n + n > pool->cap) {
    int64_t cap = pool->cap ? pool->cap * 2 : 4096;
    int32_t *p = realloc(pool->id, (size_t)cap * sizeof *p);
    if (!p) return zf_error(ZF_ENOMEM, "out of memory for %lld tokens", (long long)cap);
    pool->id = p;
    pool->cap = cap;
  }
  if (n) memcpy(pool->id + pool->n, id, (size_t)n * sizeof *id);
  pool->n += n;
  return 0;
}

static int add_seq(struct zf_dataset *d, const int32_t *id, int64_t n, int64_t target) {
  struct zf_seq *s = grown(d->seq, d->nseq, &d->seqcap, sizeof *s);
  if (!s) return ZF_ENOMEM;
  d->seq = s;
  s[d->nseq++] = (struct zf_seq){d->pool.n, (int32_t)n, (int32_t)target};
  return pool_add(&d->pool, id, n);
}

/* --- one row --- */

/* The text's ids with what the tokenizer puts before it; an EOS that it puts behind every text is
 * left off, for a prompt goes on and `add_eos` decides about the end. */
static int encode(struct encoder *e, int64_t *n) {
  struct zf_ids *x = &e->ids;
  x->n = 0;
  int rc = zf_tok_encode(e->tok, x, e->text.data, e->text.len, ZF_ENC_SPECIAL | ZF_ENC_OFFSETS);
  while (!rc && x->n > 1 && x->begin[x->n - 1] < 0 && x->id[x->n - 1] == zf_tok_eos(e->tok)) x->n--;
  *n = x->n;
  return rc;
}

/* Puts prompt + body as one sequence into d, its targets by the difference in length. */
static int encode_pair(struct encoder *e, const json_t *row, const struct zf_template *body,
                       int64_t prompt_tokens, int add_eos) {
  zf_buf_clear(&e->text);
  int rc = zf_template_apply(e->prompt, row, &e->text);
  if (!rc) rc = zf_template_apply(body, row, &e->text);
  int64_t n;
  if (!rc) rc = encode(e, &n);
  if (rc) return rc;
  int64_t target = prompt_tokens < n ? prompt_tokens : n;
  if ((rc = add_seq(e->d, e->ids.id, n, target))) return rc;
  if (!add_eos) return 0;
  int32_t eos = zf_tok_eos(e->tok);
  e->d->seq[e->d->nseq - 1].n++;
  return pool_add(&e->d->pool, &eos, 1);
}

/* masked, labels: the prompt with all that the tokenizer puts round it, once for each option. */
static int encode_whole(struct encoder *e, const json_t *row, struct zf_example *x) {
  struct zf_ids *ids = &e->ids;
  json_t *with = NULL;
  int rc = 0, masks = 0;
  if (e->mask >= 0) { /* the row, and in it what {mask} stands for */
    with = json_copy((json_t *)row);
    if (!with || json_object_set_new(with, "mask", json_string(zf_tok_piece(e->tok, e->mask))))
      rc = zf_error(ZF_ENOMEM, "out of memory");
  }
  zf_buf_clear(&e->text);
  zf_buf_puts(&e->text, "");
  ids->n = 0;
  if (!rc) rc = zf_template_apply(e->prompt, with ? with : row, &e->text);
  if (!rc) rc = zf_tok_encode(e->tok, ids, e->text.data, e->text.len, ZF_ENC_SPECIAL);
  json_decref(with);
  if (rc) return rc;
  for (int64_t i = 0; i < ids->n; i++)
    if (ids->id[i] == e->mask) {
      x->ask = (int32_t)i;
      masks++;
    }
  if (e->mask >= 0 && masks != 1)
    return zf_error(ZF_EINVALID, "expected one mask in the text, found %d", masks);
  if (ids->n < 1) return zf_error(ZF_EINVALID, "the prompt is empty");
  int64_t n = ids->n;
  for (int64_t o = 0; !rc && o < e->spec->noptions; o++) {
    rc = add_seq(e->d, ids->id, n, n);
    if (!rc) rc = pool_add(&e->d->pool, &e->word[o], 1);
    if (!rc) e->d->seq[e->d->nseq - 1].n++;
  }
  return rc;
}

static int prompt_length(struct encoder *e, const json_t *row, int64_t *n) {
  zf_buf_clear(&e->text);
  zf_buf_puts(&e->text, "");
  int rc = zf_template_apply(e->prompt, row, &e->text);
  return rc ? rc : encode(e, n);
}

/* A label's words: texts, integers and booleans as a template would print them; NULL for others. */
static const char *label_text(char number[24], const json_t *v) {
  if (json_is_boolean(v)) return json_is_true(v) ? "true" : "false";
  if (!json_is_integer(v)) return json_string_value(v);
  snprintf(number, 24, "%lld", (long long)json_integer_value(v));
  return number;
}

static int find_label(const struct encoder *e, const json_t *row, int32_t *label) {
  const struct zf_data_spec *s = e->spec;
  const char *key = s->label ? s->label : "label";
  const json_t *v = json_object_get(row, key);
  char number[24], *end = NULL;
  if (!v) return zf_error(ZF_EINVALID, "field '%s' is missing", key);
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

/* Takes `cut` tokens out of the beginning of a sequence's prompt, behind a BOS. */
static void cut_front(struct zf_dataset *d, struct zf_seq *s, int64_t cut, int bos) {
  int32_t *id = d->pool.id + s->at;
  memmove(id + bos, id + bos + cut, (size_t)(s->n - bos - cut) * sizeof *id);
  s->n -= (int32_t)cut;
  s->target -= (int32_t)cut;
}

/* All sequences of the example lose the same tokens, so that they share what is left. */
static int truncate_prompt(struct encoder *e, struct zf_example *x, int64_t longest) {
  struct zf_dataset *d = e->d;
  int64_t cut = longest - e->spec->sequence_len;
  const int32_t *first = d->pool.id + d->seq[x->seq].at;
  int bos = first[0] == zf_tok_bos(e->tok);
  for (int32_t o = 0; o < x->nseq; o++) {
    const struct zf_seq *s = &d->seq[x->seq + o];
    if (s->target - bos < cut || s->target - cut < 1)
      return zf_error(ZF_EINVALID, "the targets alone are longer than sequence_len %lld",
                      (long long)e->spec->sequence_len);
  }
  for (int32_t o = 0; o < x->nseq; o++) cut_front(d, &d->seq[x->seq + o], cut, bos);
  d->count.truncated++;
  d->count.cut += cut;
  return 0;
}

/* A prompt with tokens of the tokenizer's at both ends loses its beginning or, where what is asked is
 * nearer to that, its end. */
static int truncate_whole(struct encoder *e, struct zf_example *x, int64_t longest) {
  struct zf_dataset *d = e->d;
  int64_t n = longest - 1, cut = longest - e->spec->sequence_len, ask = x->ask;
  int front = e->mask >= 0 && ask >= n - 1 - ask;
  int64_t from = front ? 1 : n - 1 - cut;
  if (from < 1 || (e->mask >= 0 && ask >= from && ask < from + cut) || from + cut > n)
    return zf_error(ZF_EINVALID, "the prompt's fixed part is longer than sequence_len %lld",
                    (long long)e->spec->sequence_len);
  for (int32_t o = 0; o < x->nseq; o++) {
    struct zf_seq *s = &d->seq[x->seq + o];
    int32_t *id = d->pool.id + s->at;
    memmove(id + from, id + from + cut, (size_t)(s->n - from - cut) * sizeof *id);
    s->n -= (int32_t)cut;
    s->target -= (int32_t)cut;
  }
  if (front) x->ask -= (int32_t)cut;
  d->count.truncated++;
  d->count.cut += cut;
  return 0;
}

static void drop(struct encoder *e, struct zf_example *x) {
  e->d->pool.n = e->d->seq[x->seq].at;
  e->d->nseq = x->seq;
}

/* Brings an example within sequence_len, or leaves it out (*keep = 0). */
static int fit(struct encoder *e, struct zf_example *x, int *keep) {
  struct zf_dataset *d = e->d;
  int64_t longest = 0, limit = e->spec->sequence_len;
  for (int32_t o = 0; o < x->nseq; o++)
    if (d->seq[x->seq + o].n > longest) longest = d->seq[x->seq + o].n;
  *keep = 1;
  if (longest <= limit) return 0;
  switch (e->spec->excess) {
    case ZF_EXCESS_RAISE:
      return zf_error(ZF_EINVALID, "the example has %lld tokens, sequence_len is %lld",
                      (long long)longest, (long long)limit);
    case ZF_EXCESS_DROP:
      d->count.dropped++;
      drop(e, x);
      *keep = 0;
      return 0;
    default:
      if (e->word) return truncate_whole(e, x, longest);
      if (e->spec->type <= ZF_TASK_COMPLETION && !e->spec->train_on_inputs)
        return truncate_prompt(e, x, longest);
      d->seq[x->seq].n = (int32_t)limit;
      d->pool.n = d->seq[x->seq].at + limit;
      d->count.truncated++;
      d->count.cut += longest - limit;
      return 0;
  }
}

/* How many leading tokens all sequences have in common, no target predicted inside twice:
 * at least the last token of each stays out, as nothing needs its output. */
static void find_shared(const struct zf_dataset *d, struct zf_example *x) {
  const struct zf_seq *s = d->seq + x->seq;
  int32_t shared = s[0].n - 1;
  for (int32_t o = 1; o < x->nseq; o++) {
    const int32_t *a = d->pool.id + s[0].at, *b = d->pool.id + s[o].at;
    int32_t m = s[o].n - 1 < shared ? s[o].n - 1 : shared, i = 0;
    while (i < m && a[i] == b[i]) i++;
    shared = i;
  }
  x->shared = shared;
  x->ask = x->ask < 0 ? 0 : shared - 1 - x->ask; /* until here the mask's place */
  x->single = x->nseq > 1;
  for (int32_t o = 0; o < x->nseq; o++)
    if (s[o].n - s[o].target != 1 || s[o].n - 1 != shared) x->single = 0;
}

static int finish(struct encoder *e, struct zf_example *x) {
  struct zf_dataset *d = e->d;
  int targets = 0;
  for (int32_t o = 0; o < x->nseq; o++) {
    struct zf_seq *s = &d->seq[x->seq + o];
    if (s->target < 1) s->target = 1; /* the first token has nothing before it */
    if (zf_seq_targets(d, s) > 0) targets++;
  }
  if (targets < x->nseq) { /* an option without a token cannot be scored */
    d->count.masked++;
    drop(e, x);
    return 0;
  }
  find_shared(d, x);
  struct zf_example *all = grown(d->ex, d->n, &d->cap, sizeof *all);
  if (!all) return ZF_ENOMEM;
  d->ex = all;
  all[d->n++] = *x;
  if (x->nseq > d->options) d->options = x->nseq;
  for (int32_t o = 0; o < x->nseq; o++) {
    d->count.tokens += d->seq[x->seq + o].n;
    d->count.targets += zf_seq_targets(d, &d->seq[x->seq + o]);
  }
  d->count.run += zf_example_tokens(d, d->n - 1);
  return 0;
}

/* Cuts a long text into pieces of sequence_len; a piece's first token is context alone. */
static int split_text(struct encoder *e, struct zf_example *x) {
  struct zf_dataset *d = e->d;
  struct zf_seq whole = d->seq[x->seq];
  int64_t limit = e->spec->sequence_len, at = 0;
  if (whole.n <= limit) return finish(e, x);
  d->count.split++;
  d->nseq--;
  while (at < whole.n - 1) {
    int64_t n = whole.n - at < limit ? whole.n - at : limit;
    struct zf_example piece = *x;
    struct zf_seq *s = grown(d->seq, d->nseq, &d->seqcap, sizeof *s);
    if (!s) return ZF_ENOMEM;
    d->seq = s;
    piece.seq = d->nseq;
    s[d->nseq++] = (struct zf_seq){whole.at + at, (int32_t)n, 1};
    int rc = finish(e, &piece);
    if (rc) return rc;
    at += n == limit ? limit - 1 : n; /* the last token is the next piece's first */
  }
  return 0;
}

/* --- texts with target stretches --- */

static int mark_text(struct encoder *e, const json_t *row) {
  const struct zf_data_spec *s = e->spec;
  zf_buf_clear(&e->text);
  e->spans.n = 0;
  if (s->type == ZF_TASK_CHAT) return zf_chat_row(s->chat, row, &e->text, &e->spans);
  return s->type == ZF_TASK_ALPACA ? zf_alpaca_row(row, &e->text, &e->spans)
                                   : zf_segments_row(row, &e->text, &e->spans);
}

static int reserve_mask(struct zf_dataset *d, int64_t n) {
  if (n <= d->maskcap) return 0;
  unsigned char *p = realloc(d->mask, (size_t)n * 2);
  if (!p) return zf_error(ZF_ENOMEM, "out of memory for %lld tokens", (long long)n);
  d->mask = p;
  d->maskcap = n * 2;
  return 0;
}

/* Marks the tokens that reach into a stretch; both lists ascend.  Returns the first. */
static int64_t mark_tokens(struct encoder *e, unsigned char *mask) {
  const struct zf_ids *x = &e->ids;
  int64_t first = x->n, k = 0;
  for (int64_t t = 0; t < x->n; t++) {
    while (k < e->spans.n && x->begin[t] >= e->spans.at[k].to) k++;
    mask[t] = e->spec->train_on_inputs || (x->begin[t] >= 0 && k < e->spans.n &&
                                           x->end[t] > e->spans.at[k].from);
    if (mask[t] && first == x->n) first = t;
  }
  return first;
}

/* The template of a chat writes its own BOS; an Alpaca text is a text like others. */
static int marked_sequence(struct encoder *e, const json_t *row) {
  struct zf_dataset *d = e->d;
  int alpaca = e->spec->type == ZF_TASK_ALPACA;
  int64_t n = 0;
  int rc = mark_text(e, row);
  e->ids.n = 0;
  if (!rc && alpaca)
    rc = encode(e, &n);
  else if (!rc)
    rc = zf_tok_encode(e->tok, &e->ids, e->text.data, e->text.len, ZF_ENC_OFFSETS);
  n = e->ids.n;
  if (!rc) rc = reserve_mask(d, d->pool.n + n + 1);
  if (rc) return rc;
  unsigned char *mask = d->mask + d->pool.n;
  int64_t first = mark_tokens(e, mask);
  rc = add_seq(d, e->ids.id, n, first);
  if (rc || !alpaca || !e->spec->add_eos) return rc;
  int32_t eos = zf_tok_eos(e->tok);
  mask[n] = 1;
  d->seq[d->nseq - 1].n++;
  return pool_add(&d->pool, &eos, 1);
}

static int row_sequences(struct encoder *e, const json_t *row, struct zf_example *x) {
  const struct zf_data_spec *s = e->spec;
  int64_t prompt = 0;
  int rc = 0;
  if (s->type > ZF_TASK_TEXT) return marked_sequence(e, row);
  if (s->type == ZF_TASK_TEXT) {
    int64_t n;
    zf_buf_clear(&e->text);
    zf_buf_puts(&e->text, "");
    if ((rc = zf_template_apply(e->body, row, &e->text))) return rc;
    if ((rc = encode(e, &n))) return rc;
    if ((rc = add_seq(e->d, e->ids.id, n, 1))) return rc;
    if (!s->add_eos) return 0;
    int32_t eos = zf_tok_eos(e->tok);
    e->d->seq[e->d->nseq - 1].n++;
    return pool_add(&e->d->pool, &eos, 1);
  }
  if (e->word) {
    if ((rc = find_label(e, row, &x->label))) return rc;
    x->nseq = (int32_t)s->noptions;
    return encode_whole(e, row, x);
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

static int add_row(struct encoder *e, int64_t i) {
  struct zf_example x = {
      .seq = e->d->nseq, .nseq = 1, .label = -1, .ask = -1, .file = e->file, .line = zf_records_line(e->rec, i)};
  const json_t *row = zf_records_row(e->rec, i);
  int keep, rc = row ? row_sequences(e, row, &x) : ZF_ENOMEM;
  e->d->count.rows++;
  if (!rc && e->spec->type == ZF_TASK_TEXT && e->spec->excess == ZF_EXCESS_SPLIT)
    return split_text(e, &x);
  if (!rc) rc = fit(e, &x, &keep);
  if (!rc && keep) rc = finish(e, &x);
  if (rc) return zf_error_prefix(rc, "%s:%lld", e->rec->path, (long long)zf_records_line(e->rec, i));
  return 0;
}

/* --- a file --- */

/* The id of an option's word, which is one token by itself. */
static int find_word(struct encoder *e, int64_t o) {
  const char *word = e->spec->options[o];
  e->ids.n = 0;
  int rc = zf_tok_encode(e->tok, &e->ids, word, strlen(word), 0);
  if (rc) return rc;
  if (e->ids.n != 1)
    return zf_error(ZF_EUSAGE, "options[%lld]: '%s' is %lld tokens; a masked word is one",
                    (long long)o, word, (long long)e->ids.n);
  e->word[o] = e->ids.id[0];
  for (int64_t i = 0; i < o; i++)
    if (e->word[i] == e->word[o])
      return zf_error(ZF_EUSAGE, "options[%lld]: '%s' is the same token as option %lld",
                      (long long)o, word, (long long)i);
  return 0;
}

static int find_words(struct encoder *e) {
  static const char *const mask[] = {"<mask>", "[MASK]"};
  const struct zf_data_spec *s = e->spec;
  int rc = 0;
  e->word = zf_calloc(s->noptions, sizeof *e->word);
  if (!e->word) return ZF_ENOMEM;
  if (s->type == ZF_TASK_LABELS) {
    for (int64_t o = 0; o < s->noptions; o++) e->word[o] = (int32_t)o;
    return 0;
  }
  for (int i = 0; i < 2 && e->mask < 0; i++) e->mask = zf_tok_id(e->tok, mask[i]);
  if (e->mask < 0)
    return zf_error(ZF_EUSAGE, "the tokenizer has no mask token (%s or %s)", mask[0], mask[1]);
  for (int64_t o = 0; !rc && o < s->noptions; o++) rc = find_word(e, o);
  return rc;
}

static int parse_templates(struct encoder *e) {
  const struct zf_data_spec *s = e->spec;
  if (s->type > ZF_TASK_TEXT) return 0;
  const char *body = s->type == ZF_TASK_TEXT ? s->text : s->completion;
  if (!body) body = s->type == ZF_TASK_TEXT ? "{text}" : "{completion}";
  int rc = zf_template_parse(&e->body, body);
  if (rc) return zf_error_prefix(rc, s->type == ZF_TASK_TEXT ? "text" : "completion");
  if (s->type == ZF_TASK_TEXT) return 0;
  rc = zf_template_parse(&e->prompt, s->prompt ? s->prompt : "{prompt}");
  if (rc) return zf_error_prefix(rc, "prompt");
  if (!zf_task_chooses(s->type)) return 0;
  if (s->noptions < 2)
    return zf_error(ZF_EUSAGE, "options: classification needs at least 2 options, found %lld",
                    (long long)s->noptions);
  if (s->labels && s->nlabels != s->noptions)
    return zf_error(ZF_EUSAGE, "labels: expected one for each of the %lld options, found %lld",
                    (long long)s->noptions, (long long)s->nlabels);
  if (s->type != ZF_TASK_CLASSIFICATION) return find_words(e);
  e->option = zf_calloc(s->noptions, sizeof(*e->option));
  if (!e->option) return ZF_ENOMEM;
  for (int64_t o = 0; o < s->noptions; o++)
    if ((rc = zf_template_parse(&e->option[o], s->options[o])))
      return zf_error_prefix(rc, "options[%lld]", (long long)o);
  return 0;
}

static int add_path(struct encoder *e) {
  struct zf_dataset *d = e->d;
  char **p = realloc(d->path, sizeof *p * (size_t)(d->nfile + 1));
  if (!p) return zf_error(ZF_ENOMEM, "out of memory for a path");
  d->path = p;
  p[d->nfile] = zf_strdup(e->rec->path);
  if (!p[d->nfile]) return ZF_ENOMEM;
  e->file = d->nfile++;
  return 0;
}

int zf_dataset_add(struct zf_dataset *d, struct zf_records *r, const int64_t *index, int64_t n,
                   const struct zf_data_spec *spec, const struct zf_tok *tok) {
  struct encoder e = {.d = d, .spec = spec, .tok = tok, .rec = r, .mask = -1};
  if (spec->sequence_len < 2) /* a token to read and one to predict */
    return zf_error(ZF_EUSAGE, "sequence_len: expected 2 or more, found %lld",
                    (long long)spec->sequence_len);
  int rc = spec->add_eos && zf_tok_eos(tok) < 0
               ? zf_error(ZF_EUSAGE, "add_eos: the tokenizer names no EOS token")
               : parse_templates(&e);
  if (!rc) rc = add_path(&e);
  int64_t rows = index ? n : r->n;
  for (int64_t i = 0; !rc && i < rows; i++) rc = add_row(&e, index ? index[i] : i);
  for (int64_t o = 0; e.option && o < spec->noptions; o++) zf_template_free(e.option[o]);
  free(e.option);
  free(e.word);
  zf_template_free(e.body);
  zf_template_free(e.prompt);
  zf_buf_free(&e.text);
  free(e.spans.at);
  zf_ids_free(&e.ids);
  return rc;
}

int zf_dataset_check(const struct zf_dataset *d, const char *what) {
  const char *path = d->nfile ? d->path[0] : what;
  if (d->n > 0) return 0;
  if (d->count.rows == 0) return zf_error(ZF_EINVALID, "%s: the %s set has no row", path, what);
  if (d->count.masked)
    return zf_error(ZF_EINVALID,
                    "%s: the %s set has no target: all %lld examples are empty or masked", path,
                    what, (long long)d->count.rows);
  return zf_error(ZF_EINVALID,
                  "%s: the %s set is empty: all %lld examples are longer than "
                  "sequence_len and were dropped",
                  path, what, (long long)d->count.rows);
}

int64_t zf_example_tokens(const struct zf_dataset *d, int64_t i) {
  const struct zf_example *x = &d->ex[i];
  int64_t n = x->shared;
  for (int32_t o = 0; o < x->nseq; o++) n += d->seq[x->seq + o].n - 1 - x->shared;
  return n;
}

int zf_seq_is_target(const struct zf_dataset *d, const struct zf_seq *s, int64_t t) {
  return t >= s->target && (!d->mask || d->mask[s->at + t]);
}

int64_t zf_seq_targets(const struct zf_dataset *d, const struct zf_seq *s) {
  int64_t n = 0;
  if (!d->mask) return s->n - s->target;
  for (int64_t t = s->target; t < s->n; t++) n += d->mask[s->at + t];
  return n;
}

int64_t zf_example_targets(const struct zf_dataset *d, int64_t i) {
  const struct zf_example *x = &d->ex[i];
  int64_t n = 0;
  for (int32_t o = 0; o < x->nseq; o++) n += zf_seq_targets(d, &d->seq[x->seq + o]);
  return n;
}

int64_t zf_example_rows(const struct zf_dataset *d, int64_t i) {
  return d->ex[i].single ? 1 : zf_example_targets(d, i);
}
