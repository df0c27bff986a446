#include "eval/labels.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/err.h"

double zf_labels_loss(enum zf_problem problem, const double *x, const double *y, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; i++) {
    double diff = x[i] - y[i];
    sum += problem == ZF_PROBLEM_REGRESSION ? diff * diff
                                            : fmax(x[i], 0) - x[i] * y[i] + log1p(exp(-fabs(x[i])));
  }
  return sum / (double)count;
}

void zf_labels_gradients(enum zf_problem problem, double *x, const double *y, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    double gradient =
        problem == ZF_PROBLEM_REGRESSION ? 2 * (x[i] - y[i]) : 1 / (1 + exp(-x[i])) - y[i];
    x[i] = gradient / (double)count;
  }
}

double zf_pearson(const double *x, const double *y, int64_t count) {
  double xmean = 0, ymean = 0, xy = 0, xx = 0, yy = 0;
  for (int64_t i = 0; i < count; i++) {
    xmean += x[i] / (double)count;
    ymean += y[i] / (double)count;
  }
  for (int64_t i = 0; i < count; i++) {
    xy += (x[i] - xmean) * (y[i] - ymean);
    xx += (x[i] - xmean) * (x[i] - xmean);
    yy += (y[i] - ymean) * (y[i] - ymean);
  }
  return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : NAN;
}

struct ranked_value {
  double value;
  int64_t index;
};

static int by_value(const void *left, const void *right) {
  const struct ranked_value *x = left, *y = right;
  if (x->value != y->value) return x->value < y->value ? -1 : 1;
  return (x->index > y->index) - (x->index < y->index);
}

/* rank[i]: the rank of value[i], from 0; `sorted` is scratch for `count` elements. */
static void fill_ranks(double *rank, struct ranked_value *sorted, const double *value,
                       int64_t count) {
  for (int64_t i = 0; i < count; i++) sorted[i] = (struct ranked_value){value[i], i};
  qsort(sorted, (size_t)count, sizeof *sorted, by_value);
  for (int64_t i = 0, end; i < count; i = end) {
    end = i;
    while (end < count && sorted[end].value == sorted[i].value) end++;
    for (int64_t j = i; j < end; j++) rank[sorted[j].index] = (double)(i + end - 1) / 2;
  }
}

int zf_spearman(double *out, const double *x, const double *y, int64_t count) {
  double *rank = zf_calloc(2 * count, sizeof *rank);
  struct ranked_value *sorted = zf_calloc(count, sizeof *sorted);
  int rc = rank && sorted ? 0 : ZF_ENOMEM;
  if (!rc) {
    fill_ranks(rank, sorted, x, count);
    fill_ranks(rank + count, sorted, y, count);
    *out = zf_pearson(rank, rank + count, count);
  }
  free(rank);
  free(sorted);
  return rc;
}
