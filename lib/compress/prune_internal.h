/* Shared by the methods that prune a layer. */
#ifndef ZF_COMPRESS_PRUNE_INTERNAL_H
#define ZF_COMPRESS_PRUNE_INTERNAL_H

#include "compress/layer.h"
#include "compress/prune.h"

/* A matrix that is pruned, and the memory for it. */
struct zf_pruned_matrix {
  const struct zf_pruning *job;
  const struct zf_moments *moments; /* of its input; NULL: no text */
  const float *factor;              /* of zf_inverse_upper; NULL: not wanted */
  int64_t out, in;
  float *w;              /* [out][in], pruned in place */
  float *score, *sorted; /* [out][in] scratch */
};

struct zf_pruner {
  const char *name;
  int calibrates;
  int feedback; /* needs the factor of the moments; a layer sees the outputs of the pruned ones */
  void (*prune)(struct zf_pruned_matrix *matrix);
};

void zf_prune_feedback(struct zf_pruned_matrix *matrix);

/* Zeros the values of w[0..count) with the smallest scores: a share of them, or all but `keep` of each
 * `of`.  sorted [count]: scratch. */
void zf_prune_smallest(float *w, const float *score, float *sorted, int64_t count,
                       const struct zf_pruning *job);

/* ADMM: w [out][in], pruned, is the mask by its zeros, and the start; full [out][in] the matrix before; moments [in][in].
 * Replaces w.  ZF_ENOMEM. */
int zf_prune_repair(float *w, const float *full, int64_t out, int64_t in, const float *moments,
                    double penalty, int iterations);

#endif
