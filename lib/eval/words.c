#include "eval/words.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"

static int is_article(const char *word) {
  return !strcmp(word, "a") || !strcmp(word, "an") || !strcmp(word, "the");
}

/* The character that the rule puts in place of c; 0: none. */
static char normal(unsigned char c, enum zf_word_rule rule) {
  if (rule == ZF_WORDS_BLANK) return (char)c;
  if (rule == ZF_WORDS_ALNUM) return c < 0x80 && isalnum(c) ? (char)tolower(c) : ' ';
  if (c >= 0x80) return (char)c;
  return ispunct(c) ? 0 : (char)tolower(c);
}

int zf_words_split(struct zf_words *words, const char *text, enum zf_word_rule rule) {
  static const char blanks[] = " \t\r\n\v\f";
  size_t len = strlen(text), kept = 0;
  words->count = 0;
  words->text = zf_malloc(len + 1);
  words->word = zf_calloc((int64_t)len / 2 + 1, sizeof *words->word);
  if (!words->text || !words->word) return ZF_ENOMEM;
  for (size_t i = 0; i < len; i++) {
    char c = normal((unsigned char)text[i], rule);
    if (c) words->text[kept++] = c;
  }
  words->text[kept] = 0;
  char *save = NULL, *word = strtok_r(words->text, blanks, &save);
  for (; word; word = strtok_r(NULL, blanks, &save))
    if (rule != ZF_WORDS_SQUAD || !is_article(word)) words->word[words->count++] = word;
  return 0;
}

void zf_words_free(struct zf_words *words) {
  free(words->text);
  free(words->word);
}
