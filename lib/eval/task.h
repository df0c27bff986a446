/* A standard task on a model: rows to sequences by a recipe, their log-likelihoods, answers, metrics. */
#ifndef ZF_EVAL_TASK_H
#define ZF_EVAL_TASK_H

#include "eval/likelihood.h"
#include "eval/taskmetrics.h"
#include "task/pair.h"

struct zf_task {
  struct zf_recipe *recipe; /* the caller's */
  struct zf_records *rec;   /* the caller's */
  int64_t count;            /* rows scored: the first ones */
  struct zf_task_needs needs;
  struct zf_pairs pairs;
  struct zf_dataset *set;
  int64_t *seq; /* [n + 1] row i has the sequences seq[i] .. seq[i + 1] of the set: those of its
                   choices, then, where they are asked for, of the choices alone; the windows of a
                   rolling text */
  struct zf_likelihood *ll; /* of each sequence, after zf_task_run */
  struct zf_answer *answer; /* [n] */
  struct zf_task_metrics result;
  struct zf_recipe_row row;
};

/* Encodes the first `limit` rows of `rec` (0: all) for a model that reads `length` tokens.  What is
 * passed outlives it.  ZF_EUSAGE: a metric that the recipe must not have; ZF_EINVALID: no rows, or
 * "PATH:LINE: ..." of one. */
int zf_task_new(struct zf_task **out, struct zf_recipe *recipe, struct zf_records *rec,
                int64_t limit, const struct zf_tok *tok, int64_t length);
void zf_task_free(struct zf_task *task); /* takes NULL */

/* Fills ll, answer and result.  tick as of zf_likelihoods, `done` of set->n examples. */
int zf_task_run(struct zf_task *task, const struct zf_model *model, enum zf_compute compute,
                int (*tick)(void *ctx, int64_t done), void *ctx);

#endif
