/* Metrics of standard tasks over the answers of a model, with standard errors.
 *
 * Values are those of lm-evaluation-harness 0.4.13.  So are the standard errors of means: sample
 * standard deviation (with n - 1) / sqrt(n).  For the other metrics the harness draws bootstrap
 * samples (perplexity, f1, mcc), or gives no standard error (weighted perplexities, bits, macro f1,
 * Brier).  Here they are analytic, by the delta method: row i has the influence g_i = dT/dmeans .
 * (row's values - means) on a statistic T of means, and stderr(T) = sd(g) / sqrt(n), also with n - 1
 * (Efron and Tibshirani 1993, An Introduction to the Bootstrap, 22.2; both tend to the same). */
#ifndef ZF_EVAL_TASKMETRICS_H
#define ZF_EVAL_TASKMETRICS_H

#include "base/cplusplus.h"
#include "task/recipe.h"

ZF_BEGIN_DECLS

/* The model's answer to a row. */
struct zf_answer {
  int32_t count, gold; /* number of choices, and the right one; without choices 1 and -1 */
  int32_t choice;      /* the likeliest choice, the first of equals; -1: no choices */
  int32_t norm, bytes; /* the choice by log-likelihood per character, per byte */
  int32_t mutual; /* the choice by log-likelihood minus that without context; -1: not computed */
  double ll;      /* log-likelihood of the text, or of the right choice */
  double brier;   /* sum over choices of (softmax - [right])^2 */
  int greedy;     /* 1: greedy decoding gives the text, or the right choice; -1: not computed */
  int64_t words, size; /* rolling: words and bytes of the text */
};

/* Fills an answer from log-likelihoods ll[row->count], those without context alone[row->count]
 * (NULL: not computed) and the choices' lengths. */
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

/* Inputs that the metrics of a recipe need besides log-likelihoods. */
struct zf_task_needs {
  int greedy; /* zf_answer.greedy */
  int alone;  /* log-likelihoods of choices without context */
  int acc;    /* acc is one of the metrics */
};

/* ZF_EUSAGE: a metric is unknown (the message suggests the nearest name), does not suit the output
 * type, or has another aggregation. */
int zf_task_needs(struct zf_task_needs *needs, const struct zf_recipe *recipe);

/* The metrics of `count` >= 1 answers.  ZF_EINVALID: f1 of more than two classes; ZF_ENOMEM. */
int zf_task_metrics(struct zf_task_metrics *metrics, const struct zf_recipe *recipe,
                    const struct zf_answer *answer, int64_t count);

ZF_END_DECLS

#endif
