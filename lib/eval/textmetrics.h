/* Metrics of a text against the right one, each from 0 to 1. */
#ifndef ZF_EVAL_TEXTMETRICS_H
#define ZF_EVAL_TEXTMETRICS_H

#include "base/cplusplus.h"

ZF_BEGIN_DECLS

/* Each sets *out.  ZF_ENOMEM. */
typedef int (*zf_text_metric)(double *out, const char *text, const char *gold);

/* F1 of the words of both, in any order, without punctuation and articles; 1 where neither has a word
 * (Rajpurkar et al. 2016). */
int zf_word_f1(double *out, const char *text, const char *gold);

/* 1 where both have the same words in the same order, by the same rule, else 0. */
int zf_exact_match(double *out, const char *text, const char *gold);

/* ROUGE-L (Lin 2004): F1 of the longest common subsequence of words, runs of ASCII letters and digits in
 * lower case, unstemmed, as the rouge-score package; 0 where either has no word. */
int zf_rouge_l(double *out, const char *text, const char *gold);

/* BLEU-4 of one text (Papineni et al. 2002) over words between blanks.  Counts of the orders 2 to 4 have
 * 1 added to matches and total (Lin, Och 2004), as sacrebleu's add-k with k = 1 and tokenize none:
 *   exp(min(0, 1 - gold words / text words)) * (p1 p2 p3 p4)^(1/4);   0 where no word agrees. */
int zf_bleu(double *out, const char *text, const char *gold);

ZF_END_DECLS

#endif
