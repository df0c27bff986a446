/* Texts to token sequences for likelihoods, as lm-evaluation-harness 0.4.13 does it for causal
 * models (its classes TemplateLM and HFLM were read; the words and the code here are ours).
 *
 *   ids(x)     x with what the tokenizer puts round a text (BOS, where it does), unless x begins
 *              with the text of the prefix token; prefix: the tokenizer's BOS, or its EOS if none
 *   a pair     white space at the end of the context moves to the front of the continuation;
 *              context = ids(context), continuation = ids(context + continuation) behind as many
 *              tokens as the context has.  The model reads one after the other
 *   no context the prefix token, and the continuation without anything round it; a continuation
 *              that begins with the prefix token has it for context
 *   too long   the last length + 1 tokens are kept: the beginning goes, BOS too, and what is read is
 *              `length` tokens, for the last one is predicted only
 *   rolling    ids(text), all of them predicted: a first window behind the prefix token, then windows
 *              of `length` tokens; the last one is filled up with context from before it
 */
#ifndef ZF_TASK_PAIR_H
#define ZF_TASK_PAIR_H

#include "task/dataset.h"
#include "text/tokenizer.h"

struct zf_pairs {
  const struct zf_tok *tok;
  int32_t prefix; /* -1: none */
  int64_t length; /* most tokens that the model reads */
  struct zf_buf prefix_text, text;
  struct zf_ids whole, context;
  int64_t truncated; /* pairs that lost their beginning */
};

/* `tok` outlives it; `length` >= 1. */
int zf_pairs_init(struct zf_pairs *pairs, const struct zf_tok *tok, int64_t length);
void zf_pairs_free(struct zf_pairs *pairs);

/* Appends the sequence of one pair to `d`.  ZF_EINVALID: the continuation has no token, or more than
 * `length`; ZF_EUSAGE: a prefix token is needed and there is none. */
int zf_pairs_add(struct zf_pairs *pairs, struct zf_dataset *dataset, const char *context,
                 const char *continuation);

/* Makes the last `nseq` sequences one example, of no label, in which every log-probability is of the
 * whole vocabulary (never `single`). */
int zf_pairs_example(struct zf_dataset *dataset, int32_t nseq, int64_t line);

/* Appends an example for each window of a text; how many to *windows (0 for no tokens). */
int zf_pairs_roll(struct zf_pairs *pairs, struct zf_dataset *dataset, const char *text,
                  int64_t line, int64_t *windows);

#endif
