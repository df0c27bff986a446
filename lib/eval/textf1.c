#include "eval/textf1.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

enum { EXTRA_TOKENS = 50 };

/* Words of a text: a normalised copy, split at blanks, and its words in order. */
struct text_words {
  char *text, **word;
  int64_t count;
};

static int is_article(const char *word) {
  return !strcmp(word, "a") || !strcmp(word, "an") || !strcmp(word, "the");
}

static int by_text(const void *left, const void *right) {
  return strcmp(*(char *const *)left, *(char *const *)right);
}

static int split_words(struct text_words *words, const char *text) {
  size_t len = strlen(text), kept = 0;
  words->count = 0;
  words->text = zf_malloc(len + 1);
  words->word = zf_calloc((int64_t)len / 2 + 1, sizeof *words->word);
  if (!words->text || !words->word) return ZF_ENOMEM;
  for (size_t i = 0; i < len; i++) {
    unsigned char c = (unsigned char)text[i];
    if (c < 0x80 && ispunct(c)) continue;
    words->text[kept++] = c < 0x80 ? (char)tolower(c) : (char)c;
  }
  words->text[kept] = 0;
  char *save = NULL, *word = strtok_r(words->text, " \t\r\n", &save);
  for (; word; word = strtok_r(NULL, " \t\r\n", &save))
    if (!is_article(word)) words->word[words->count++] = word;
  qsort(words->word, (size_t)words->count, sizeof *words->word, by_text);
  return 0;
}

static void free_words(struct text_words *words) {
  free(words->text);
  free(words->word);
}

static double overlap_f1(const struct text_words *left, const struct text_words *right) {
  int64_t same = 0, i = 0, j = 0, both = left->count + right->count;
  while (i < left->count && j < right->count) {
    int order = strcmp(left->word[i], right->word[j]);
    same += order == 0;
    i += order <= 0;
    j += order >= 0;
  }
  return both == 0 ? 1 : 2.0 * (double)same / (double)both;
}

int zf_word_f1(double *out, const char *decoded, const char *gold) {
  struct text_words left = {0}, right = {0};
  int rc = split_words(&left, decoded);
  if (!rc) rc = split_words(&right, gold);
  if (!rc) *out = overlap_f1(&left, &right);
  free_words(&left);
  free_words(&right);
  return rc;
}

/* Continues the prompt of a sequence up to EOS or a newline. */
static int decode_behind(struct zf_buf *decoded, struct zf_decoder *decoder,
                         const struct zf_model *model, const struct zf_tok *tok, const int32_t *id,
                         const struct zf_seq *seq) {
  struct zf_sampling greedy = {.top_p = 1};
  int64_t max = seq->len - seq->target + EXTRA_TOKENS, room = model->config.context - seq->target;
  if (room < max) max = room;
  zf_buf_clear(decoded);
  zf_buf_puts(decoded, "");
  int rc = zf_decoder_begin(decoder, id, seq->target);
  if (rc) return rc;
  for (int64_t i = 0; i < max; i++) {
    int32_t next;
    if ((rc = zf_decoder_next(decoder, &greedy, &next))) return rc;
    if (next == zf_tok_eos(tok)) break;
    if ((rc = zf_tok_decode(tok, decoded, &next, 1, 1))) return rc;
    char *newline = memchr(decoded->data, '\n', decoded->len);
    if (newline && newline > decoded->data) {
      *newline = 0;
      break;
    }
  }
  return 0;
}

/* F1 of one sequence; `decoded` and `gold` are scratch. */
static int sequence_f1(double *f1, struct zf_decoder *decoder, const struct zf_model *model,
                       const struct zf_tok *tok, const int32_t *id, const struct zf_seq *seq,
                       struct zf_buf *decoded, struct zf_buf *gold) {
  int rc = decode_behind(decoded, decoder, model, tok, id, seq);
  if (rc) return rc;
  zf_buf_clear(gold);
  if ((rc = zf_tok_decode(tok, gold, id + seq->target, seq->len - seq->target, 1))) return rc;
  return zf_word_f1(f1, decoded->data, gold->data ? gold->data : "");
}

int zf_text_f1(double *out, const struct zf_model *model, const struct zf_tok *tok,
               const struct zf_dataset *dataset, enum zf_compute compute) {
  struct zf_decoder *decoder = NULL;
  struct zf_buf decoded = {0}, gold = {0};
  int64_t prompt = 1;
  double sum = 0;
  if (dataset->type != ZF_TASK_COMPLETION)
    return zf_error(ZF_EUSAGE, "F1 of decoded text is for completion tasks");
  if (dataset->stream)
    return zf_error(ZF_EUSAGE, "F1 of decoded text needs all examples in memory: streaming=false");
  for (int64_t i = 0; i < dataset->nseq; i++)
    if (dataset->seq[i].target > prompt) prompt = dataset->seq[i].target;
  int rc = zf_decoder_new(&decoder, model, prompt, model->config.context, compute);
  if (rc) return rc;
  for (int64_t i = 0; i < dataset->count; i++) {
    const struct zf_seq *seq = &dataset->seq[dataset->example[i].seq];
    double f1 = 0;
    rc = sequence_f1(&f1, decoder, model, tok, dataset->pool.id + seq->at, seq, &decoded, &gold);
    if (rc) break;
    sum += f1;
  }
  *out = dataset->count ? sum / (double)dataset->count : 0;
  zf_buf_free(&decoded);
  zf_buf_free(&gold);
  zf_decoder_free(decoder);
  return rc;
}
