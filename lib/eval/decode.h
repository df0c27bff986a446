/* Decoding: token after token with a key/value cache, greedy or sampled. */
#ifndef ZF_EVAL_DECODE_H
#define ZF_EVAL_DECODE_H

#include "model/forward.h"

struct zf_sampling {
  double temperature; /* 0: greedy */
  int64_t top_k;      /* 0: all */
  double top_p;       /* 1: all; Holtzman et al. 2020 */
  double min_p;       /* 0: all; least share of the likeliest token's probability */
  double repetition;  /* 0 or 1: none; Keskar et al. 2019: logits of tokens that the sequence has
                         are divided by it where positive, else multiplied */
  uint64_t seed;      /* token n of stream `number` is a function of (seed, number, n) */
  uint32_t number;
};

struct zf_decoder;

/* For one model: prompts of at most `prompt` tokens, `length` tokens in all; products in `c`. */
int zf_decoder_new(struct zf_decoder **out, const struct zf_model *m, int64_t prompt,
                   int64_t length, enum zf_compute c);
void zf_decoder_free(struct zf_decoder *d);

/* Forgets the sequence, then reads ids[0..n) and is ready to say what follows.  n >= 1. */
int zf_decoder_begin(struct zf_decoder *d, const int32_t *ids, int64_t n);

/* The next token, by `s`; it is read as well, unless the length is used up (then the next call is
 * ZF_EUSAGE). */
int zf_decoder_next(struct zf_decoder *d, const struct zf_sampling *s, int32_t *id);

/* Logits [vocab] that the last begin or next left. */
const float *zf_decoder_logits(const struct zf_decoder *d);

#endif
