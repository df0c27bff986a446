/* The choice of the next token from its logits: penalty, temperature, top-k, top-p, min-p, in that
 * order, as Transformers' logits processors do it (tests/golden/sampling). */
#ifndef ZF_EVAL_SAMPLE_H
#define ZF_EVAL_SAMPLE_H

#include <stdint.h>

struct zf_sampling {
  double temperature; /* 0: greedy */
  int64_t top_k;      /* 0: all; those as likely as the k-th stay too */
  double top_p;       /* 1: all; Holtzman et al. 2020 */
  double min_p;       /* 0: all; least share of the likeliest token's probability */
  double repetition;  /* 0 or 1: none; Keskar et al. 2019: logits of tokens that the sequence has
                         are divided by it where positive, else multiplied */
  uint64_t seed;      /* token n of a text is a function of (seed, row, number, n) */
  int64_t row;        /* of the prompt: 0 .. 2^32 */
  uint32_t number;    /* of the text among those of its prompt: below 2^24 */
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

/* Logits in place: each token of past[0..n) once, whatever its count. */
int zf_sampler_penalise(float *logits, const int32_t *past, int64_t count, double by);

/* The tokens that may be drawn (temperature above 0), the likeliest first, of equal ones the smaller
 * id; shares sum to 1 but for rounding.  *out is the sampler's own, until the next call; returns how
 * many. */
int64_t zf_sampler_shares(struct zf_sampler *sampler, const float *logits,
                          const struct zf_sampling *sampling,
                          const struct zf_token_candidate **out);

/* Token `n` of a text.  Greedy: of equal logits the smallest id. */
int32_t zf_sampler_draw(struct zf_sampler *sampler, const float *logits,
                        const struct zf_sampling *sampling, int64_t count);

#endif
