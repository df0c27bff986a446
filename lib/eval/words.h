/* Words of a text, by the rules of several metrics. */
#ifndef ZF_EVAL_WORDS_H
#define ZF_EVAL_WORDS_H

#include <stdint.h>

#include "base/cplusplus.h"

ZF_BEGIN_DECLS

enum zf_word_rule {
  ZF_WORDS_SQUAD, /* lower case, without punctuation and articles (Rajpurkar et al. 2016) */
  ZF_WORDS_ALNUM, /* lower case, runs of ASCII letters and digits (the rouge-score package) */
  ZF_WORDS_BLANK  /* as they stand between blanks */
};

struct zf_words {
  char *text, **word;
  int64_t count;
};

/* ZF_ENOMEM.  zf_words_free frees *words, also after a failure. */
int zf_words_split(struct zf_words *words, const char *text, enum zf_word_rule rule);
void zf_words_free(struct zf_words *words);

ZF_END_DECLS

#endif
