/* Log-likelihoods of the sequences of a data set, each for itself, where zf_score_examples gives
 * what a loss needs.  Examples of several sequences run their shared prefix once. */
#ifndef ZF_EVAL_LIKELIHOOD_H
#define ZF_EVAL_LIKELIHOOD_H

#include "eval/score.h"

struct zf_likelihood {
  double sum; /* of log p(target | what is before it), nats */
  int greedy; /* every target is the likeliest token where it stands (first of equals); -1: not
                 asked for */
};

/* out[d->nseq]: of each sequence of `d`, whose examples are not `single`, under the model of `f`,
 * which was made with `lim` = zf_score_limits(&d, 1, M, 1).  With `greedy` all logits of a pass are
 * kept: rows * vocabulary floats.  `tick` (may be NULL) hears how many examples are done and may
 * stop it: nonzero is ZF_ESTOPPED. */
int zf_likelihoods(struct zf_likelihood *out, struct zf_forward *forward,
                   const struct zf_limits *lim, const struct zf_dataset *dataset, int greedy,
                   int (*tick)(void *ctx, int64_t done), void *ctx);

#endif
