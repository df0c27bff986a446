/* Log-likelihood of every sequence of a data set (zf_score_examples gives a loss for every example).
 * The shared prefix of an example's sequences runs once. */
#ifndef ZF_EVAL_LIKELIHOOD_H
#define ZF_EVAL_LIKELIHOOD_H

#include "eval/score.h"

struct zf_likelihood {
  double sum; /* of log p(target | tokens before it), nats */
  int greedy; /* 1: every target is the likeliest token at its position (the first of equals); -1:
               * not computed */
};

/* out[dataset->nseq]: the likelihood of each sequence under the model of `forward`, which was made
 * with `limits` = zf_score_limits(&dataset, 1, M, 1).  No example is `single`.  greedy: computes that
 * member, too; all logits of a pass are kept for it, rows * vocabulary floats.  `tick` (may be NULL)
 * is called with the number of finished examples; where it returns nonzero, scoring stops with
 * ZF_ESTOPPED. */
int zf_likelihoods(struct zf_likelihood *out, struct zf_forward *forward,
                   const struct zf_limits *limits, const struct zf_dataset *dataset, int greedy,
                   int (*tick)(void *ctx, int64_t done), void *ctx);

#endif
