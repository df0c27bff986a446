/* Token F1 of decoded text against the right completion, as SQuAD and MeZO define it: the overlap of
 * words in lower case, without punctuation and articles (Rajpurkar et al. 2016). */
#ifndef ZF_EVAL_TEXTF1_H
#define ZF_EVAL_TEXTF1_H

#include "base/cplusplus.h"
#include "eval/decode.h"
#include "task/dataset.h"
#include "text/tokenizer.h"

ZF_BEGIN_DECLS

/* Mean over a completion data set.  Greedy decoding continues each prompt until a newline, EOS, or 50
 * tokens more than the right completion has.  ZF_EUSAGE: the data have another type. */
int zf_text_f1(double *out, const struct zf_model *model, const struct zf_tok *tok,
               const struct zf_dataset *dataset, enum zf_compute compute);

ZF_END_DECLS

#endif
