/* Shared by the files of the scorer. */
#ifndef ZF_EVAL_SCORE_INTERNAL_H
#define ZF_EVAL_SCORE_INTERNAL_H

#include "base/arena.h"
#include "eval/score.h"

struct zf_scorer {
  struct zf_forward *forward;
  struct zf_limits limits;
  struct zf_arena arena;
  struct zf_packed packed;
  double *option; /* score of each option of one example: its mean log-probability, or its logit */
  double *gold;   /* labels: the target of each logit */
  struct zf_distill *distill; /* NULL: there is no teacher */
  zf_score_watch watch;
  void *watch_ctx;
};

/* 1 where logits have targets of their own: several labels, or a regression. */
int zf_score_has_targets(const struct zf_dataset *dataset);

/* The column of a single-token option in packed.logits_at. */
int64_t zf_score_column(const struct zf_scorer *scorer, const struct zf_dataset *dataset,
                        const struct zf_seq *seq);

/* Reduces one example, whose rows of a stream begin at `first`; returns the number of its rows.  The scores
 * of its options are left in scorer->option. */
int64_t zf_score_reduce_one(struct zf_scorer *scorer, const struct zf_dataset *dataset,
                            int64_t index, int64_t first, struct zf_score *out);

#endif
