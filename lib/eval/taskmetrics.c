/* A metric is a row: its name, where it applies, and a function that gives the value and writes each
 * row's influence on it, whose spread is the standard error. */
#include "eval/taskmetrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"

/* --- the answer of a row -------------------------------------------------------------------------- */

static int32_t largest(const double *v, int32_t count) {
  int32_t best = 0;
  for (int32_t i = 1; i < count; i++)
    if (v[i] > v[best]) best = i;
  return best;
}

static double brier(const double *ll, int32_t count, int32_t gold) {
  double top = ll[largest(ll, count)], sum = 0, b = 0;
  for (int32_t i = 0; i < count; i++) sum += exp(ll[i] - top);
  for (int32_t i = 0; i < count; i++) {
    double e = exp(ll[i] - top) / sum - (i == gold);
    b += e * e;
  }
  return b;
}

void zf_answer_choose(struct zf_answer *answer, const double *ll, const double *alone,
                      const struct zf_recipe_row *row) {
  int32_t n = answer->count = row->count;
  double v[n];
  answer->gold = row->gold;
  answer->choice = largest(ll, n);
  for (int32_t i = 0; i < n; i++) v[i] = ll[i] / (double)row->chars[i];
  answer->norm = largest(v, n);
  for (int32_t i = 0; i < n; i++) v[i] = ll[i] / (double)row->bytes[i];
  answer->bytes = largest(v, n);
  for (int32_t i = 0; alone && i < n; i++) v[i] = ll[i] - alone[i];
  answer->mutual = alone ? largest(v, n) : -1;
  answer->ll = ll[row->gold];
  answer->brier = brier(ll, n, row->gold);
}

/* --- means ------------------------------------------------------------------------------------------ */

typedef double (*row_fn)(const struct zf_answer *a);

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

static double mean_of(row_fn f, const struct zf_answer *answer, int64_t count, double *g) {
  double sum = 0;
  for (int64_t i = 0; i < count; i++) sum += g[i] = f(&answer[i]);
  return sum / (double)count;
}

/* --- perplexities ----------------------------------------------------------------------------------- */

static double ll_of(const struct zf_answer *answer) {
  return answer->ll;
}

/* exp(-mean ll) */
static double perplexity(const struct zf_answer *answer, int64_t count, double *g) {
  double p = exp(-mean_of(ll_of, answer, count, g));
  for (int64_t i = 0; i < count; i++) g[i] *= -p;
  return p;
}

/* R = -sum ll / sum w, and its influences (-ll - R w) / mean w. */
static double rate(const struct zf_answer *answer, int64_t count, double *g, int words) {
  double ll = 0, w = 0;
  for (int64_t i = 0; i < count; i++) {
    ll += answer[i].ll;
    w += (double)(words ? answer[i].words : answer[i].size);
  }
  double r = -ll / w;
  for (int64_t i = 0; i < count; i++)
    g[i] = (-answer[i].ll - r * (double)(words ? answer[i].words : answer[i].size)) *
           (double)count / w;
  return r;
}

static double scaled(double value, double by, int64_t n, double *g) {
  for (int64_t i = 0; i < n; i++) g[i] *= by;
  return value;
}

static double word_perplexity(const struct zf_answer *answer, int64_t count, double *g) {
  double p = exp(rate(answer, count, g, 1));
  return scaled(p, p, count, g);
}

static double byte_perplexity(const struct zf_answer *answer, int64_t count, double *g) {
  double p = exp(rate(answer, count, g, 0));
  return scaled(p, p, count, g);
}

static double bits_per_byte(const struct zf_answer *answer, int64_t count, double *g) {
  double r = rate(answer, count, g, 0);
  return scaled(r / log(2), 1 / log(2), count, g);
}

/* --- F1 and correlation ------------------------------------------------------------------------------- */

/* F1 of class k, 2tp / (2tp + wrong); adds its influences, times `by`, to g. */
static double class_f1(const struct zf_answer *answer, int64_t count, int32_t k, double by,
                       double *g) {
  double tp = 0, wrong = 0;
  for (int64_t i = 0; i < count; i++) {
    int is = answer[i].gold == k, said = answer[i].choice == k;
    tp += is && said;
    wrong += is != said;
  }
  double d = 2 * tp + wrong, f = d > 0 ? 2 * tp / d : 0;
  for (int64_t i = 0; d > 0 && i < count; i++) {
    int is = answer[i].gold == k, said = answer[i].choice == k;
    if (is && said) g[i] += by * 2 * wrong / (d * d) * (double)count;
    if (is != said) g[i] -= by * 2 * tp / (d * d) * (double)count;
  }
  return f;
}

static double f1(const struct zf_answer *answer, int64_t count, double *g) {
  memset(g, 0, (size_t)count * sizeof *g);
  return class_f1(answer, count, 1, 1, g);
}

static double macro_f1(const struct zf_answer *answer, int64_t count, double *g) {
  int32_t K = answer[0].count;
  double sum = 0;
  memset(g, 0, (size_t)count * sizeof *g);
  for (int32_t k = 0; k < K; k++) sum += class_f1(answer, count, k, 1.0 / K, g);
  return sum / K;
}

/* Matthews' coefficient for any number of classes (Gorodkin 2004): with shares P_ij of rows of class
 * i called j, p and t the shares of calls and classes,
 *   R = N / sqrt(A B),  N = sum_k P_kk - p.t,  A = 1 - p.p,  B = 1 - t.t;   0 where A B = 0. */
static double mcc(const struct zf_answer *answer, int64_t count, double *g) {
  int32_t K = answer[0].count;
  double p[K], t[K], c = 0, N, A = 1, B = 1;
  memset(g, 0, (size_t)count * sizeof *g);
  for (int32_t k = 0; k < K; k++) p[k] = t[k] = 0;
  for (int64_t i = 0; i < count; i++) {
    p[answer[i].choice] += 1 / (double)count;
    t[answer[i].gold] += 1 / (double)count;
    c += (answer[i].choice == answer[i].gold) / (double)count;
  }
  N = c;
  for (int32_t k = 0; k < K; k++) {
    N -= p[k] * t[k];
    A -= p[k] * p[k];
    B -= t[k] * t[k];
  }
  if (A * B < 1e-12) return 0;
  double r = N / sqrt(A * B);
  for (int64_t i = 0; i < count; i++) {
    int32_t said = answer[i].choice, is = answer[i].gold;
    double dN = (said == is) + c - t[said] - p[is];
    g[i] = dN / sqrt(A * B) - r / 2 * ((2 - 2 * p[said]) / A + (2 - 2 * t[is]) / B);
  }
  return r;
}

/* --- the table --------------------------------------------------------------------------------------- */

enum {
  CHOICE = 1 << ZF_RECIPE_CHOICE,
  TEXT = 1 << ZF_RECIPE_LIKELIHOOD,
  ROLL = 1 << ZF_RECIPE_ROLLING
};

static const struct metric {
  const char *name, *aggregation;
  int outputs, usual; /* where it applies; where it is reported unless the recipe says */
  int greedy, alone;
  row_fn row; /* a mean of this; or */
  double (*all)(const struct zf_answer *a, int64_t n, double *g);
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

static int find(const struct metric **out, const struct zf_recipe *recipe, const char *name,
                const char *aggregation) {
  const struct metric *named = NULL;
  for (const struct metric *metric = metrics; metric < metrics + METRICS; metric++) {
    if (strcmp(metric->name, name)) continue;
    if (!named) named = metric;
    if (aggregation && strcmp(metric->aggregation, aggregation)) continue;
    *out = metric;
    if (metric->outputs & 1 << zf_recipe_output(recipe)) return 0;
    return zf_error(ZF_EUSAGE, "task '%s': metric '%s' does not go with its output_type",
                    zf_recipe_name(recipe), name);
  }
  if (!named) return unknown(recipe, name);
  return zf_error(ZF_EUSAGE, "task '%s': metric '%s' has the aggregation '%s', not '%.40s'",
                  zf_recipe_name(recipe), name, named->aggregation, aggregation);
}

/* The metrics of a recipe, or the usual ones of its output type. */
static int list(const struct metric *out[16], int *count, const struct zf_recipe *recipe) {
  const char *name, *aggregation;
  int rc = 0;
  for (*count = 0; !rc && zf_recipe_metric(recipe, *count, &name, &aggregation); ++*count) {
    if (*count == 16)
      return zf_error(ZF_EUSAGE, "task '%s': more than 16 metrics", zf_recipe_name(recipe));
    rc = find(&out[*count], recipe, name, aggregation);
  }
  for (int i = 0; !rc && i < METRICS && !zf_recipe_metric(recipe, 0, &name, &aggregation); i++)
    if (metrics[i].usual & 1 << zf_recipe_output(recipe)) out[(*count)++] = &metrics[i];
  return rc;
}

int zf_task_needs(struct zf_task_needs *out, const struct zf_recipe *recipe) {
  const struct metric *metric[16];
  int n, rc = list(metric, &n, recipe);
  *out = (struct zf_task_needs){0};
  for (int i = 0; !rc && i < n; i++) {
    out->greedy |= metric[i]->greedy ||
                   (metric[i]->row == acc && zf_recipe_output(recipe) == ZF_RECIPE_LIKELIHOOD);
    out->alone |= metric[i]->alone;
    out->acc |= metric[i]->row == acc;
  }
  return rc;
}

/* Classes are numbers that mean the same in every row. */
static int check_classes(const struct zf_recipe *recipe, const struct metric *metric,
                         const struct zf_answer *answer, int64_t count) {
  if (metric->all != f1 && metric->all != macro_f1 && metric->all != mcc) return 0;
  for (int64_t i = 1; i < count; i++)
    if (answer[i].count != answer[0].count)
      return zf_error(ZF_EINVALID, "task '%s': %s needs the same number of choices in every row",
                      zf_recipe_name(recipe), metric->name);
  if (metric->all == f1 && answer[0].count != 2)
    return zf_error(ZF_EINVALID,
                    "task '%s': f1 is of two choices, these are %d: its aggregation "
                    "macro_f1 takes more",
                    zf_recipe_name(recipe), answer[0].count);
  return 0;
}

static double spread(const double *g, int64_t count) {
  double mean = 0, sum = 0;
  if (count < 2) return NAN;
  for (int64_t i = 0; i < count; i++) mean += g[i];
  mean /= (double)count;
  for (int64_t i = 0; i < count; i++) sum += (g[i] - mean) * (g[i] - mean);
  return sqrt(sum / (double)(count - 1) / (double)count);
}

int zf_task_metrics(struct zf_task_metrics *out, const struct zf_recipe *recipe,
                    const struct zf_answer *answer, int64_t count) {
  const struct metric *metric[16];
  double *g = zf_calloc(count, sizeof *g);
  int rc = g ? list(metric, &out->count, recipe) : ZF_ENOMEM;
  for (int i = 0; !rc && i < out->count; i++) {
    if ((rc = check_classes(recipe, metric[i], answer, count))) break;
    double v = metric[i]->row ? mean_of(metric[i]->row, answer, count, g)
                              : metric[i]->all(answer, count, g);
    out->value[i] = (struct zf_task_value){metric[i]->name, v, spread(g, count)};
  }
  free(g);
  return rc;
}
