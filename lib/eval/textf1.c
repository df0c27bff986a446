#include "eval/textf1.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

enum { EXTRA = 50 };

/* Words of a text: normalised copy cut at blanks. */
struct words {
  char *text, **word;
  int64_t count;
};

static int is_article(const char *w) {
  return !strcmp(w, "a") || !strcmp(w, "an") || !strcmp(w, "the");
}

static int by_text(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static int split(struct words *out, const char *s) {
  size_t len = strlen(s), k = 0;
  out->count = 0;
  out->text = zf_malloc(len + 1);
  out->word = zf_calloc((int64_t)len / 2 + 1, sizeof *out->word);
  if (!out->text || !out->word) return ZF_ENOMEM;
  for (size_t i = 0; i < len; i++) {
    unsigned char c = (unsigned char)s[i];
    if (c < 0x80 && ispunct(c)) continue;
    out->text[k++] = c < 0x80 ? (char)tolower(c) : (char)c;
  }
  out->text[k] = 0;
  char *save = NULL;
  for (char *w = strtok_r(out->text, " \t\r\n", &save); w; w = strtok_r(NULL, " \t\r\n", &save))
    if (!is_article(w)) out->word[out->count++] = w;
  qsort(out->word, (size_t)out->count, sizeof *out->word, by_text);
  return 0;
}

static void release(struct words *words) {
  free(words->text);
  free(words->word);
}

int zf_word_f1(double *out, const char *got, const char *want) {
  struct words words = {0}, b = {0};
  int rc = split(&words, got);
  if (!rc) rc = split(&b, want);
  if (!rc) {
    int64_t same = 0;
    for (int64_t i = 0, j = 0; i < words.count && j < b.count;) {
      int c = strcmp(words.word[i], b.word[j]);
      same += c == 0;
      i += c <= 0;
      j += c >= 0;
    }
    *out = words.count + b.count == 0 ? 1 : 2.0 * (double)same / (double)(words.count + b.count);
  }
  release(&words);
  release(&b);
  return rc;
}

/* Decodes behind the prompt of one sequence and scores what comes. */
static int one(double *f1, struct zf_decoder *dec, const struct zf_model *model,
               const struct zf_tok *tok, const int32_t *id, const struct zf_seq *seq,
               struct zf_buf *got, struct zf_buf *want) {
  struct zf_sampling greedy = {.top_p = 1};
  int64_t most = seq->len - seq->target + EXTRA, room = model->config.context - seq->target;
  zf_buf_clear(got);
  zf_buf_clear(want);
  zf_buf_puts(got, "");
  int rc = zf_decoder_begin(dec, id, seq->target);
  for (int64_t i = 0; !rc && i < most && i < room; i++) {
    int32_t next;
    rc = zf_decoder_next(dec, &greedy, &next);
    if (rc || next == zf_tok_eos(tok)) break;
    rc = zf_tok_decode(tok, got, &next, 1, 1);
    char *nl = rc ? NULL : memchr(got->data, '\n', got->len);
    if (nl && nl > got->data) {
      *nl = 0;
      break;
    }
  }
  if (!rc) rc = zf_tok_decode(tok, want, id + seq->target, seq->len - seq->target, 1);
  if (!rc) rc = zf_word_f1(f1, got->data, want->data ? want->data : "");
  return rc;
}

int zf_text_f1(double *out, const struct zf_model *model, const struct zf_tok *tok,
               const struct zf_dataset *dataset, enum zf_compute compute) {
  struct zf_decoder *dec = NULL;
  struct zf_buf got = {0}, want = {0};
  int64_t prompt = 1;
  double sum = 0;
  if (dataset->type != ZF_TASK_COMPLETION)
    return zf_error(ZF_EUSAGE, "F1 of decoded text is for completion tasks");
  if (dataset->stream)
    return zf_error(ZF_EUSAGE, "F1 of decoded text needs all examples in memory: streaming=false");
  for (int64_t i = 0; i < dataset->nseq; i++)
    if (dataset->seq[i].target > prompt) prompt = dataset->seq[i].target;
  int rc = zf_decoder_new(&dec, model, prompt, model->config.context, compute);
  for (int64_t i = 0; !rc && i < dataset->count; i++) {
    const struct zf_seq *seq = &dataset->seq[dataset->ex[i].seq];
    double f1 = 0;
    rc = one(&f1, dec, model, tok, dataset->pool.id + seq->at, seq, &got, &want);
    sum += f1;
  }
  *out = dataset->count ? sum / (double)dataset->count : 0;
  zf_buf_free(&got);
  zf_buf_free(&want);
  zf_decoder_free(dec);
  return rc;
}
