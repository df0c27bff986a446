/* Token F1 of decoded text against the right completion, as SQuAD and MeZO count it: lower case,
 * without punctuation and articles, overlap of words (Rajpurkar et al. 2016). */
#ifndef ZF_EVAL_TEXTF1_H
#define ZF_EVAL_TEXTF1_H

#include "eval/decode.h"
#include "task/dataset.h"
#include "text/tokenizer.h"

/* F1 of two texts in 0..1; both empty after normalisation: 1.  ZF_ENOMEM. */
int zf_word_f1(double *out, const char *got, const char *want);

/* Mean over a completion data set: greedy decoding behind each prompt, as many tokens as the right
 * completion may have (at most 50 more), until a newline or EOS; products in `c`.  ZF_EUSAGE for
 * other types. */
int zf_text_f1(double *out, const struct zf_model *model, const struct zf_tok *tok,
               const struct zf_dataset *dataset, enum zf_compute compute);

#endif
