#include "eval/textmetrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/util.h"
#include "eval/words.h"

enum { ORDERS = 4 };

static int by_text(const void *left, const void *right) {
  return strcmp(*(char *const *)left, *(char *const *)right);
}

static int same_word(const struct zf_words *left, int64_t i, const struct zf_words *right,
                     int64_t j) {
  return !strcmp(left->word[i], right->word[j]);
}

static int overlap_f1(double *out, struct zf_words *left, struct zf_words *right) {
  int64_t same = 0, i = 0, j = 0, both = left->count + right->count;
  qsort(left->word, (size_t)left->count, sizeof *left->word, by_text);
  qsort(right->word, (size_t)right->count, sizeof *right->word, by_text);
  while (i < left->count && j < right->count) {
    int order = strcmp(left->word[i], right->word[j]);
    same += order == 0;
    i += order <= 0;
    j += order >= 0;
  }
  *out = both == 0 ? 1 : 2.0 * (double)same / (double)both;
  return 0;
}

static int equal_words(double *out, struct zf_words *left, struct zf_words *right) {
  int64_t i = 0, shorter = left->count < right->count ? left->count : right->count;
  while (i < shorter && same_word(left, i, right, i)) i++;
  *out = left->count == right->count && i == shorter;
  return 0;
}

static int subsequence_f1(double *out, struct zf_words *left, struct zf_words *right) {
  *out = 0;
  if (!left->count || !right->count) return 0;
  /* length[j]: of the longest common subsequence of the words read so far and right[0..j) */
  int64_t *length = zf_calloc(right->count + 1, sizeof *length);
  if (!length) return ZF_ENOMEM;
  for (int64_t i = 0; i < left->count; i++) {
    int64_t diagonal = 0;
    for (int64_t j = 0; j < right->count; j++) {
      int64_t above = length[j + 1];
      length[j + 1] = same_word(left, i, right, j) ? diagonal + 1 : zf_max64(above, length[j]);
      diagonal = above;
    }
  }
  double common = (double)length[right->count];
  double precision = common / (double)left->count, recall = common / (double)right->count;
  free(length);
  if (common > 0) *out = 2 * precision * recall / (precision + recall);
  return 0;
}

/* Does the run of `order` words at i of `left` equal that at j of `right`? */
static int same_run(const struct zf_words *left, int64_t i, const struct zf_words *right, int64_t j,
                    int64_t order) {
  for (int64_t k = 0; k < order; k++)
    if (!same_word(left, i + k, right, j + k)) return 0;
  return 1;
}

/* How often the run at i of `left` occurs among the first `runs` runs of `words`. */
static int64_t occurrences(const struct zf_words *left, int64_t i, const struct zf_words *words,
                           int64_t runs, int64_t order) {
  int64_t count = 0;
  for (int64_t j = 0; j < runs; j++) count += same_run(left, i, words, j, order);
  return count;
}

/* Runs of `order` words of `text` that occur in `gold`, each at most as often as there. */
static int64_t matches(const struct zf_words *text, const struct zf_words *gold, int64_t order) {
  int64_t count = 0;
  for (int64_t i = 0; i + order <= text->count; i++)
    count += occurrences(text, i, text, i, order) <
             occurrences(text, i, gold, gold->count - order + 1, order);
  return count;
}

static int bleu(double *out, struct zf_words *text, struct zf_words *gold) {
  double sum = 0;
  *out = 0;
  if (!text->count || !gold->count || !matches(text, gold, 1)) return 0;
  for (int64_t order = 1; order <= ORDERS; order++) {
    int64_t total = text->count - order + 1, added = order > 1;
    double match = (double)(matches(text, gold, order) + added);
    sum += log(match / (double)((total > 0 ? total : 0) + added));
  }
  double shortness = 1 - (double)gold->count / (double)text->count;
  *out = exp((shortness < 0 ? shortness : 0) + sum / ORDERS);
  return 0;
}

static int compare(double *out, const char *text, const char *gold, enum zf_word_rule rule,
                   int (*metric)(double *, struct zf_words *, struct zf_words *)) {
  struct zf_words left = {0}, right = {0};
  int rc = zf_words_split(&left, text, rule);
  if (!rc) rc = zf_words_split(&right, gold, rule);
  if (!rc) rc = metric(out, &left, &right);
  zf_words_free(&left);
  zf_words_free(&right);
  return rc;
}

int zf_word_f1(double *out, const char *text, const char *gold) {
  return compare(out, text, gold, ZF_WORDS_SQUAD, overlap_f1);
}

int zf_exact_match(double *out, const char *text, const char *gold) {
  return compare(out, text, gold, ZF_WORDS_SQUAD, equal_words);
}

int zf_rouge_l(double *out, const char *text, const char *gold) {
  return compare(out, text, gold, ZF_WORDS_ALNUM, subsequence_f1);
}

int zf_bleu(double *out, const char *text, const char *gold) {
  return compare(out, text, gold, ZF_WORDS_BLANK, bleu);
}
