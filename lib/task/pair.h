/* Texts to token sequences for likelihoods, by the rules of lm-evaluation-harness 0.4.13 for causal models
 * (its classes TemplateLM and HFLM were read; the code here is not theirs).
 *
 *   prefix     the tokenizer's BOS, or its EOS if it has none
 *   ids(x)     x with the special tokens that the tokenizer puts around a text, unless x begins with the
 *              text of the prefix
 *   a pair     white space at the end of the context moves to the front of the continuation.  The
 *              sequence is ids(context), then ids(context + continuation) without its first tokens, as
 *              many as ids(context) has
 *   no context the prefix, then the continuation without special tokens; a continuation that begins with
 *              the prefix has it as its context
 *   too long   the last length + 1 tokens are kept, so a BOS is lost; the model reads `length` of them,
 *              as the last one is only predicted
 *   rolling    every token of ids(text) is predicted: in a first window behind the prefix, then in windows
 *              of `length` tokens; the last window begins earlier, so that it is full
 */
#ifndef ZF_TASK_PAIR_H
#define ZF_TASK_PAIR_H

#include "base/cplusplus.h"
#include "task/dataset.h"
#include "text/tokenizer.h"

ZF_BEGIN_DECLS

struct zf_pairs {
  const struct zf_tok *tok;
  int32_t prefix; /* -1: none */
  int64_t length; /* at most, the tokens that the model reads */
  struct zf_buf prefix_text, text;
  struct zf_ids whole, context;
  int64_t truncated; /* pairs that lost their beginning */
};

/* `tok` must outlive *pairs; length >= 1. */
int zf_pairs_init(struct zf_pairs *pairs, const struct zf_tok *tok, int64_t length);
void zf_pairs_free(struct zf_pairs *pairs);

/* Appends the sequence of one pair to the set.  ZF_EINVALID: the continuation has no token, or more than
 * `length`.  ZF_EUSAGE: the context is empty and the tokenizer has no prefix. */
int zf_pairs_add(struct zf_pairs *pairs, struct zf_dataset *dataset, const char *context,
                 const char *continuation);

/* Makes the last `nseq` sequences one example without a label; its log-probabilities are over the whole
 * vocabulary (example.single = 0). */
int zf_pairs_example(struct zf_dataset *dataset, int32_t nseq, int64_t line);

/* Appends an example for each window of a text; *windows: how many (0: the text has no token). */
int zf_pairs_roll(struct zf_pairs *pairs, struct zf_dataset *dataset, const char *text,
                  int64_t line, int64_t *windows);

ZF_END_DECLS

#endif
