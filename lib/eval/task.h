/* A standard task on a model: a recipe turns rows into sequences, whose log-likelihoods give answers
 * and metrics. */
#ifndef ZF_EVAL_TASK_H
#define ZF_EVAL_TASK_H

#include "base/cplusplus.h"
#include "eval/likelihood.h"
#include "eval/taskmetrics.h"
#include "task/pair.h"

ZF_BEGIN_DECLS

struct zf_task {
  struct zf_recipe *recipe; /* the caller's */
  struct zf_records *rec;   /* the caller's */
  int64_t count;            /* number of scored rows, from the first on */
  struct zf_task_needs needs;
  struct zf_pairs pairs;
  struct zf_dataset *set;
  int64_t *seq; /* [count + 1] row i has the sequences seq[i] .. seq[i + 1] of the set: its choices,
                 * then, where metrics need them, the choices without context; or the windows of a
                 * rolling text */
  struct zf_likelihood *ll; /* of each sequence, after zf_task_run */
  struct zf_answer *answer; /* [count] */
  struct zf_task_metrics result;
  struct zf_recipe_row row;
};

/* Encodes the first `limit` rows of `rec` (0: all) for a model that reads `length` tokens.  `recipe`,
 * `rec` and `tok` outlive the task.  ZF_EUSAGE: a metric does not suit the recipe.  ZF_EINVALID: there
 * are no rows, or a row is wrong ("PATH:LINE: ..."). */
int zf_task_new(struct zf_task **out, struct zf_recipe *recipe, struct zf_records *rec,
                int64_t limit, const struct zf_tok *tok, int64_t length);
void zf_task_free(struct zf_task *task); /* takes NULL */

/* Fills ll, answer and result.  tick: see zf_likelihoods; there are set->count examples. */
int zf_task_run(struct zf_task *task, const struct zf_model *model, enum zf_compute compute,
                int (*tick)(void *ctx, int64_t done), void *ctx);

ZF_END_DECLS

#endif
