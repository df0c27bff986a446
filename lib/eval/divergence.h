/* How far the predictions of a model are from those of another one, the reference, on a text.
 *
 * The text is cut into windows of `length` tokens, as llama-perplexity cuts it: where the tokenizer
 * begins a text with BOS, that stands in the place of a window's first token; the first half of a window
 * is context alone, and each token behind it is predicted from all before it.  With p the reference's
 * distribution over the vocabulary at a position, q the model's, and t the token that stands there:
 *
 *   KL = sum_v p(v) (log p(v) - log q(v))        perplexity = exp(mean of -log q(t))
 *   same top: the likeliest tokens are equal       change = q(t) - p(t)
 *
 * Errors are standard errors of the mean over positions; those of a perplexity follow from them by the
 * derivative of exp. */
#ifndef ZF_EVAL_DIVERGENCE_H
#define ZF_EVAL_DIVERGENCE_H

#include "base/cplusplus.h"
#include "model/forward.h"
#include "text/tokenizer.h"

ZF_BEGIN_DECLS

/* Windows of a text's token ids. */
struct zf_windows {
  int64_t length, count; /* tokens of a window, windows */
  int32_t *id;           /* [count][length] */
};

/* A text as windows of at most `length` tokens, `limit` windows at most (0: all); a shorter text is one
 * window.  The rest behind the last full window is left out.  ZF_EINVALID: fewer than 4 tokens. */
int zf_windows_new(struct zf_windows *windows, const struct zf_tok *tok, const char *text,
                   size_t len, int64_t length, int64_t limit);
void zf_windows_free(struct zf_windows *windows);

enum { ZF_QUANTILES = 7 };
extern const double zf_quantiles[ZF_QUANTILES]; /* 0, 0.01, 0.05, 0.5, 0.95, 0.99, 1 */

/* A mean over positions and its standard error. */
struct zf_mean {
  double value, error;
};

struct zf_divergence {
  int64_t windows, positions;
  struct zf_mean nll[2];    /* of the reference, of the model; nats */
  struct zf_mean log_ratio; /* of nll[1] - nll[0]: the logarithm of the ratio of perplexities */
  struct zf_mean kl;        /* nats */
  struct zf_mean change;    /* q(t) - p(t) */
  double change_rms;
  struct zf_mean same_top; /* share of positions */
  double kl_quantile[ZF_QUANTILES], change_quantile[ZF_QUANTILES];
};

/* Compares `model` with `reference`; both have the vocabulary of the windows' ids.  Sums are taken in the
 * order of positions, in double: the same bits for any number of threads.  `tick` (may be NULL) is
 * called with the number of finished windows; where it returns nonzero, the result is ZF_ESTOPPED.
 * ZF_EUSAGE: vocabularies of different sizes, or a window is longer than a model's context. */
int zf_divergence(struct zf_divergence *out, const struct zf_model *reference,
                  const struct zf_model *model, const struct zf_windows *windows,
                  enum zf_compute compute, int (*tick)(void *ctx, int64_t done), void *ctx);

/* The perplexity of one model alone, by the same windows. */
int zf_perplexity(struct zf_mean *nll, const struct zf_model *model,
                  const struct zf_windows *windows, enum zf_compute compute,
                  int (*tick)(void *ctx, int64_t done), void *ctx);

ZF_END_DECLS

#endif
