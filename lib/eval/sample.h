/* The choice of the next token from its logits: penalty, temperature, top-k, top-p, min-p, in the
 * order of Transformers' logits processors (tests/golden/sampling). */
#ifndef ZF_EVAL_SAMPLE_H
#define ZF_EVAL_SAMPLE_H

#include <stdint.h>

#include "base/cplusplus.h"

ZF_BEGIN_DECLS

struct zf_sampling {
  double temperature; /* 0: greedy */
  int64_t top_k;      /* 0: all tokens; tokens as likely as the k-th stay, too */
  double top_p;       /* 1: all tokens; Holtzman et al. 2020 */
  double min_p;       /* 0: all tokens; minimum share of the likeliest token's probability */
  double repetition;  /* 0 or 1: none; Keskar et al. 2019: logits of tokens that are in the sequence
                       * are divided by it where positive, else multiplied */
  uint64_t seed;      /* token n of a text is a function of (seed, row, number, n) */
  int64_t row;        /* of the prompt: 0 .. 2^32 */
  uint32_t number;    /* of the text among the texts of its prompt: below 2^24 */
};

struct zf_token_candidate {
  int32_t id;
  float logit; /* divided by the temperature */
  double share;
};

struct zf_sampler;

/* For `vocab` logits. */
int zf_sampler_new(struct zf_sampler **out, int64_t vocab);
void zf_sampler_free(struct zf_sampler *sampler); /* takes NULL */

/* Applies the repetition penalty to the logits in place, once for each distinct token of
 * past[0..count). */
int zf_sampler_penalise(float *logits, const int32_t *past, int64_t count, double penalty);

/* The tokens that may be drawn (temperature above 0), the likeliest first, equal ones by id.  Their
 * shares sum to 1 up to rounding.  *candidates belongs to the sampler and is valid until the next
 * call.  Returns their number. */
int64_t zf_sampler_shares(struct zf_sampler *sampler, const float *logits,
                          const struct zf_sampling *sampling,
                          const struct zf_token_candidate **candidates);

/* Draws token number `index` of a text.  Greedy: the smallest id among equal logits. */
int32_t zf_sampler_draw(struct zf_sampler *sampler, const float *logits,
                        const struct zf_sampling *sampling, int64_t index);

ZF_END_DECLS

#endif
