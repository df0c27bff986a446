/* A metric is a row of a table: its name, the output types to which it applies, and a function that
 * returns the value and writes the influence of each answer on it.  The standard error follows from
 * the influences (taskmetrics.h). */
#include "eval/taskmetrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"

/* --- the answer of a row -------------------------------------------------------------------------- */

/* The index of the first largest value. */
static int32_t argmax(const double *value, int32_t count) {
  int32_t best = 0;
  for (int32_t i = 1; i < count; i++)
    if (value[i] > value[best]) best = i;
  return best;
}

static double brier(const double *ll, int32_t count, int32_t gold) {
  double max = ll[argmax(ll, count)], sum = 0, score = 0;
  for (int32_t i = 0; i < count; i++) sum += exp(ll[i] - max);
  for (int32_t i = 0; i < count; i++) {
    double diff = exp(ll[i] - max) / sum - (i == gold);
    score += diff * diff;
  }
  return score;
}

void zf_answer_choose(struct zf_answer *answer, const double *ll, const double *alone,
                      const struct zf_recipe_row *row) {
  int32_t count = answer->count = row->count;
  double value[count];
  answer->gold = row->gold;
  answer->choice = argmax(ll, count);
  for (int32_t i = 0; i < count; i++) value[i] = ll[i] / (double)row->chars[i];
  answer->norm = argmax(value, count);
  for (int32_t i = 0; i < count; i++) value[i] = ll[i] / (double)row->bytes[i];
  answer->bytes = argmax(value, count);
  answer->mutual = -1;
  if (alone) {
    for (int32_t i = 0; i < count; i++) value[i] = ll[i] - alone[i];
    answer->mutual = argmax(value, count);
  }
  answer->ll = ll[row->gold];
  answer->brier = brier(ll, count, row->gold);
}

/* --- means ------------------------------------------------------------------------------------------ */

typedef double (*row_fn)(const struct zf_answer *answer);

static double acc(const struct zf_answer *answer) {
  return answer->count > 1 ? answer->choice == answer->gold : answer->greedy;
}
static double acc_norm(const struct zf_answer *answer) {
  return answer->norm == answer->gold;
}
static double acc_bytes(const struct zf_answer *answer) {
  return answer->bytes == answer->gold;
}
static double acc_mutual(const struct zf_answer *answer) {
  return answer->mutual == answer->gold;
}
static double exact(const struct zf_answer *answer) {
  return answer->greedy;
}
static double brier_of(const struct zf_answer *answer) {
  return answer->brier;
}

static double mean_of(row_fn value_of, const struct zf_answer *answer, int64_t count,
                      double *influence) {
  double sum = 0;
  for (int64_t i = 0; i < count; i++) sum += influence[i] = value_of(&answer[i]);
  return sum / (double)count;
}

/* --- perplexities ----------------------------------------------------------------------------------- */

static double ll_of(const struct zf_answer *answer) {
  return answer->ll;
}

/* exp(-mean ll) */
static double perplexity(const struct zf_answer *answer, int64_t count, double *influence) {
  double value = exp(-mean_of(ll_of, answer, count, influence));
  for (int64_t i = 0; i < count; i++) influence[i] *= -value;
  return value;
}

/* R = -sum ll / sum w, and its influences (-ll - R w) / mean w; w counts words or bytes. */
static double rate(const struct zf_answer *answer, int64_t count, double *influence, int words) {
  double ll = 0, units = 0;
  for (int64_t i = 0; i < count; i++) {
    ll += answer[i].ll;
    units += (double)(words ? answer[i].words : answer[i].size);
  }
  double ratio = -ll / units;
  for (int64_t i = 0; i < count; i++)
    influence[i] = (-answer[i].ll - ratio * (double)(words ? answer[i].words : answer[i].size)) *
                   (double)count / units;
  return ratio;
}

/* Returns `value` after it has scaled the influences. */
static double scaled(double value, double factor, int64_t count, double *influence) {
  for (int64_t i = 0; i < count; i++) influence[i] *= factor;
  return value;
}

static double word_perplexity(const struct zf_answer *answer, int64_t count, double *influence) {
  double value = exp(rate(answer, count, influence, 1));
  return scaled(value, value, count, influence);
}

static double byte_perplexity(const struct zf_answer *answer, int64_t count, double *influence) {
  double value = exp(rate(answer, count, influence, 0));
  return scaled(value, value, count, influence);
}

static double bits_per_byte(const struct zf_answer *answer, int64_t count, double *influence) {
  double nats = rate(answer, count, influence, 0);
  return scaled(nats / log(2), 1 / log(2), count, influence);
}

/* --- F1 and correlation ------------------------------------------------------------------------------- */

/* F1 of one class, 2tp / (2tp + wrong); adds its influences, times `weight`, to influence. */
static double class_f1(const struct zf_answer *answer, int64_t count, int32_t class, double weight,
                       double *influence) {
  double tp = 0, wrong = 0;
  for (int64_t i = 0; i < count; i++) {
    int present = answer[i].gold == class, chosen = answer[i].choice == class;
    tp += present && chosen;
    wrong += present != chosen;
  }
  double sum = 2 * tp + wrong;
  if (!(sum > 0)) return 0;
  for (int64_t i = 0; i < count; i++) {
    int present = answer[i].gold == class, chosen = answer[i].choice == class;
    if (present && chosen) influence[i] += weight * 2 * wrong / (sum * sum) * (double)count;
    if (present != chosen) influence[i] -= weight * 2 * tp / (sum * sum) * (double)count;
  }
  return 2 * tp / sum;
}

static double f1(const struct zf_answer *answer, int64_t count, double *influence) {
  memset(influence, 0, (size_t)count * sizeof *influence);
  return class_f1(answer, count, 1, 1, influence);
}

static double macro_f1(const struct zf_answer *answer, int64_t count, double *influence) {
  int32_t classes = answer[0].count;
  double sum = 0;
  memset(influence, 0, (size_t)count * sizeof *influence);
  for (int32_t i = 0; i < classes; i++) sum += class_f1(answer, count, i, 1.0 / classes, influence);
  return sum / classes;
}

/* Matthews' coefficient for any number of classes (Gorodkin 2004).  P_ij is the share of rows of
 * class i for which j is chosen; p and t are the shares of choices and of classes:
 *   R = N / sqrt(A B),  N = sum_k P_kk - p.t,  A = 1 - p.p,  B = 1 - t.t;   0 where A B = 0. */
static double mcc(const struct zf_answer *answer, int64_t count, double *influence) {
  int32_t classes = answer[0].count;
  double p[classes], t[classes], right = 0, N, A = 1, B = 1;
  memset(influence, 0, (size_t)count * sizeof *influence);
  for (int32_t i = 0; i < classes; i++) p[i] = t[i] = 0;
  for (int64_t i = 0; i < count; i++) {
    p[answer[i].choice] += 1 / (double)count;
    t[answer[i].gold] += 1 / (double)count;
    right += (answer[i].choice == answer[i].gold) / (double)count;
  }
  N = right;
  for (int32_t i = 0; i < classes; i++) {
    N -= p[i] * t[i];
    A -= p[i] * p[i];
    B -= t[i] * t[i];
  }
  if (A * B < 1e-12) return 0;
  double R = N / sqrt(A * B);
  for (int64_t i = 0; i < count; i++) {
    int32_t choice = answer[i].choice, gold = answer[i].gold;
    double dN = (choice == gold) + right - t[choice] - p[gold];
    influence[i] = dN / sqrt(A * B) - R / 2 * ((2 - 2 * p[choice]) / A + (2 - 2 * t[gold]) / B);
  }
  return R;
}

/* --- the table --------------------------------------------------------------------------------------- */

enum {
  CHOICE = 1 << ZF_RECIPE_CHOICE,
  TEXT = 1 << ZF_RECIPE_LIKELIHOOD,
  ROLL = 1 << ZF_RECIPE_ROLLING
};

static const struct task_metric {
  const char *name, *aggregation;
  int outputs;       /* output types to which it applies */
  int usual;         /* output types of which it is reported where the recipe names no metrics */
  int greedy, alone; /* zf_task_needs */
  row_fn row;        /* the metric is the mean of this over the answers; NULL: see `all` */
  double (*all)(const struct zf_answer *answer, int64_t count, double *influence);
} metrics[] = {
    {"acc", "mean", CHOICE | TEXT, CHOICE | TEXT, 0, 0, acc, NULL},
    {"acc_norm", "mean", CHOICE, CHOICE, 0, 0, acc_norm, NULL},
    {"acc_bytes", "mean", CHOICE, 0, 0, 0, acc_bytes, NULL},
    {"acc_mutual_info", "mean", CHOICE, 0, 0, 1, acc_mutual, NULL},
    {"exact_match", "mean", CHOICE, 0, 1, 0, exact, NULL},
    {"brier_score", "brier_score", CHOICE, 0, 0, 0, brier_of, NULL},
    {"f1", "f1", CHOICE, 0, 0, 0, NULL, f1},
    {"f1", "macro_f1", CHOICE, 0, 0, 0, NULL, macro_f1},
    {"mcc", "matthews_corrcoef", CHOICE, 0, 0, 0, NULL, mcc},
    {"perplexity", "perplexity", TEXT, TEXT, 0, 0, NULL, perplexity},
    {"word_perplexity", "weighted_perplexity", ROLL, ROLL, 0, 0, NULL, word_perplexity},
    {"byte_perplexity", "weighted_perplexity", ROLL, ROLL, 0, 0, NULL, byte_perplexity},
    {"bits_per_byte", "bits_per_byte", ROLL, ROLL, 0, 0, NULL, bits_per_byte},
};

enum { METRICS = sizeof metrics / sizeof *metrics };

static int unknown(const struct zf_recipe *recipe, const char *name) {
  const char *names[METRICS];
  for (int i = 0; i < METRICS; i++) names[i] = metrics[i].name;
  const char *near = zf_nearest(name, names, METRICS);
  return zf_error(ZF_EUSAGE, "task '%s': unknown metric '%.40s'%s%s%s", zf_recipe_name(recipe),
                  name, near ? ": did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int find(const struct task_metric **out, const struct zf_recipe *recipe, const char *name,
                const char *aggregation) {
  const struct task_metric *named = NULL;
  for (const struct task_metric *metric = metrics; metric < metrics + METRICS; metric++) {
    if (strcmp(metric->name, name)) continue;
    if (!named) named = metric;
    if (aggregation && strcmp(metric->aggregation, aggregation)) continue;
    *out = metric;
    if (metric->outputs & 1 << zf_recipe_output(recipe)) return 0;
    return zf_error(ZF_EUSAGE, "task '%s': metric '%s' does not suit its output_type",
                    zf_recipe_name(recipe), name);
  }
  if (!named) return unknown(recipe, name);
  return zf_error(ZF_EUSAGE, "task '%s': metric '%s' has the aggregation '%s', not '%.40s'",
                  zf_recipe_name(recipe), name, named->aggregation, aggregation);
}

/* The metrics of a recipe, or the usual ones of its output type. */
static int list(const struct task_metric *found[16], int *count, const struct zf_recipe *recipe) {
  const char *name, *aggregation;
  for (*count = 0; zf_recipe_metric(recipe, *count, &name, &aggregation); ++*count) {
    if (*count == 16)
      return zf_error(ZF_EUSAGE, "task '%s': more than 16 metrics", zf_recipe_name(recipe));
    int rc = find(&found[*count], recipe, name, aggregation);
    if (rc) return rc;
  }
  if (*count) return 0;
  for (int i = 0; i < METRICS; i++)
    if (metrics[i].usual & 1 << zf_recipe_output(recipe)) found[(*count)++] = &metrics[i];
  return 0;
}

int zf_task_needs(struct zf_task_needs *needs, const struct zf_recipe *recipe) {
  const struct task_metric *metric[16];
  int count, rc = list(metric, &count, recipe);
  *needs = (struct zf_task_needs){0};
  if (rc) return rc;
  for (int i = 0; i < count; i++) {
    needs->greedy |= metric[i]->greedy ||
                     (metric[i]->row == acc && zf_recipe_output(recipe) == ZF_RECIPE_LIKELIHOOD);
    needs->alone |= metric[i]->alone;
    needs->acc |= metric[i]->row == acc;
  }
  return 0;
}

/* Metrics over classes need choices that mean the same in every row. */
static int check_classes(const struct zf_recipe *recipe, const struct task_metric *metric,
                         const struct zf_answer *answer, int64_t count) {
  if (metric->all != f1 && metric->all != macro_f1 && metric->all != mcc) return 0;
  for (int64_t i = 1; i < count; i++)
    if (answer[i].count != answer[0].count)
      return zf_error(ZF_EINVALID, "task '%s': %s needs the same number of choices in every row",
                      zf_recipe_name(recipe), metric->name);
  if (metric->all == f1 && answer[0].count != 2)
    return zf_error(ZF_EINVALID,
                    "task '%s': f1 needs two choices, the rows have %d: aggregation macro_f1 takes "
                    "more",
                    zf_recipe_name(recipe), answer[0].count);
  return 0;
}

/* Standard error from the influences influence. */
static double standard_error(const double *influence, int64_t count) {
  double mean = 0, sum = 0;
  if (count < 2) return NAN;
  for (int64_t i = 0; i < count; i++) mean += influence[i];
  mean /= (double)count;
  for (int64_t i = 0; i < count; i++) sum += (influence[i] - mean) * (influence[i] - mean);
  return sqrt(sum / (double)(count - 1) / (double)count);
}

/* The metrics of a recipe; `influence` is scratch for `count` numbers. */
static int compute(struct zf_task_metrics *out, const struct zf_recipe *recipe,
                   const struct zf_answer *answer, int64_t count, double *influence) {
  const struct task_metric *metric[16];
  int rc = list(metric, &out->count, recipe);
  if (rc) return rc;
  for (int i = 0; i < out->count; i++) {
    if ((rc = check_classes(recipe, metric[i], answer, count))) return rc;
    double value = metric[i]->row ? mean_of(metric[i]->row, answer, count, influence)
                                  : metric[i]->all(answer, count, influence);
    out->value[i] =
        (struct zf_task_value){metric[i]->name, value, standard_error(influence, count)};
  }
  return 0;
}

int zf_task_metrics(struct zf_task_metrics *out, const struct zf_recipe *recipe,
                    const struct zf_answer *answer, int64_t count) {
  double *influence = zf_calloc(count, sizeof *influence);
  if (!influence) return ZF_ENOMEM;
  int rc = compute(out, recipe, answer, count, influence);
  free(influence);
  return rc;
}
