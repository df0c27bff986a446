/* Metrics of standard tasks over the answers of a model, with standard errors.
 *
 * Values are those of lm-evaluation-harness 0.4.13.  So are the standard errors of means (sample
 * standard deviation / sqrt(n), n - 1 in it).  For the others the harness draws bootstrap samples
 * (perplexity, f1, mcc), or gives none (weighted perplexities, bits, macro f1, Brier): here they are analytic,
 * by the delta method: a statistic T of means has the influence of each row g_i = dT/dmeans .
 * (row's values - means), and stderr(T) = sd(g) / sqrt(n), with n - 1 too (Efron and Tibshirani 1993,
 * An Introduction to the Bootstrap, 22.2; both tend to the same). */
#ifndef ZF_EVAL_TASKMETRICS_H
#define ZF_EVAL_TASKMETRICS_H

#include "task/recipe.h"

/* What a row came to. */
struct zf_answer {
  int32_t count, gold; /* choices, and the right one; else n = 1, gold -1 */
  int32_t choice;      /* the likeliest, the first of equals; -1: no choices */
  int32_t norm, bytes; /* by likelihood per character, per byte of the choice */
  int32_t mutual;      /* by likelihood less that without context; -1: not asked */
  double ll;           /* log-likelihood of the text; of the right choice */
  double brier;        /* sum over choices of (softmax - [right])^2 */
  int greedy; /* the text, the right choice: would greedy decoding give it? -1: not asked */
  int64_t words, size; /* rolling */
};

/* The choices of an answer from log-likelihoods ll[n], unconditional ones alone[n] (NULL: none) and
 * lengths. */
void zf_answer_choose(struct zf_answer *answer, const double *ll, const double *alone,
                      const struct zf_recipe_row *row);

struct zf_task_value {
  const char *metric;
  double value;   /* NaN: undefined for these rows */
  double stderr_; /* NaN: fewer than two rows */
};

struct zf_task_metrics {
  int count;
  struct zf_task_value value[16];
};

/* What the metrics of a recipe ask for besides log-likelihoods, and whether acc is among them.  ZF_EUSAGE: an unknown metric (with
 * the nearest name), one that does not fit the output type, an aggregation that is not its own. */
struct zf_task_needs {
  int greedy, alone, acc;
};
int zf_task_needs(struct zf_task_needs *out, const struct zf_recipe *recipe);

/* Of n >= 1 answers.  ZF_EINVALID: f1 of more than two classes; ZF_ENOMEM. */
int zf_task_metrics(struct zf_task_metrics *out, const struct zf_recipe *recipe,
                    const struct zf_answer *answer, int64_t count);

#endif
