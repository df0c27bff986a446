#include "eval/labels.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/err.h"

double zf_labels_loss(enum zf_problem problem, const double *x, const double *y, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; i++) {
    double d = x[i] - y[i];
    sum += problem == ZF_PROBLEM_REGRESSION ? d * d
                                            : fmax(x[i], 0) - x[i] * y[i] + log1p(exp(-fabs(x[i])));
  }
  return sum / (double)count;
}

void zf_labels_gradients(enum zf_problem problem, double *x, const double *y, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    double d = problem == ZF_PROBLEM_REGRESSION ? 2 * (x[i] - y[i]) : 1 / (1 + exp(-x[i])) - y[i];
    x[i] = d / (double)count;
  }
}

double zf_pearson(const double *a, const double *b, int64_t count) {
  double ma = 0, mb = 0, ab = 0, aa = 0, bb = 0;
  for (int64_t i = 0; i < count; i++) {
    ma += a[i] / (double)count;
    mb += b[i] / (double)count;
  }
  for (int64_t i = 0; i < count; i++) {
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
  const struct place *place = a, *y = b;
  if (place->value != y->value) return place->value < y->value ? -1 : 1;
  return (place->at > y->at) - (place->at < y->at);
}

static void ranks(double *out, struct place *place, const double *v, int64_t count) {
  for (int64_t i = 0; i < count; i++) place[i] = (struct place){v[i], i};
  qsort(place, (size_t)count, sizeof *place, by_value);
  for (int64_t i = 0, j; i < count; i = j) {
    for (j = i; j < count && place[j].value == place[i].value;) j++;
    for (int64_t k = i; k < j; k++) out[place[k].at] = (double)(i + j - 1) / 2;
  }
}

int zf_spearman(double *out, const double *a, const double *b, int64_t count) {
  double *r = zf_calloc(2 * count, sizeof *r);
  struct place *place = zf_calloc(count, sizeof *place);
  int rc = r && place ? 0 : ZF_ENOMEM;
  if (!rc) {
    ranks(r, place, a, count);
    ranks(r + count, place, b, count);
    *out = zf_pearson(r, r + count, count);
  }
  free(r);
  free(place);
  return rc;
}
