#include "eval/labels.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/err.h"

double zf_labels_loss(enum zf_problem problem, const double *x, const double *y, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) {
    double d = x[i] - y[i];
    sum += problem == ZF_PROBLEM_REGRESSION ? d * d
                                            : fmax(x[i], 0) - x[i] * y[i] + log1p(exp(-fabs(x[i])));
  }
  return sum / (double)n;
}

void zf_labels_gradients(enum zf_problem problem, double *x, const double *y, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    double d = problem == ZF_PROBLEM_REGRESSION ? 2 * (x[i] - y[i]) : 1 / (1 + exp(-x[i])) - y[i];
    x[i] = d / (double)n;
  }
}

double zf_pearson(const double *a, const double *b, int64_t n) {
  double ma = 0, mb = 0, ab = 0, aa = 0, bb = 0;
  for (int64_t i = 0; i < n; i++) {
    ma += a[i] / (double)n;
    mb += b[i] / (double)n;
  }
  for (int64_t i = 0; i < n; i++) {
    ab += (a[i] - ma) * (b[i] - mb);
    aa += (a[i] - ma) * (a[i] - ma);
    bb += (b[i] - mb) * (b[i] - mb);
  }
  return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : NAN;
}

struct place {
  double value;
  int64_t at;
};

static int by_value(const void *a, const void *b) {
  const struct place *x = a, *y = b;
  if (x->value != y->value) return x->value < y->value ? -1 : 1;
  return (x->at > y->at) - (x->at < y->at);
}

static void ranks(double *out, struct place *p, const double *v, int64_t n) {
  for (int64_t i = 0; i < n; i++) p[i] = (struct place){v[i], i};
  qsort(p, (size_t)n, sizeof *p, by_value);
  for (int64_t i = 0, j; i < n; i = j) {
    for (j = i; j < n && p[j].value == p[i].value;) j++;
    for (int64_t k = i; k < j; k++) out[p[k].at] = (double)(i + j - 1) / 2;
  }
}

int zf_spearman(double *out, const double *a, const double *b, int64_t n) {
  double *r = zf_calloc(2 * n, sizeof *r);
  struct place *p = zf_calloc(n, sizeof *p);
  int rc = r && p ? 0 : ZF_ENOMEM;
  if (!rc) {
    ranks(r, p, a, n);
    ranks(r + n, p, b, n);
    *out = zf_pearson(r, r + n, n);
  }
  free(r);
  free(p);
  return rc;
}
