/* Repair of pruned matrices by ADMM with a fixed mask.  Columns are first scaled by the root mean squares of
 * their inputs, so that one penalty fits all. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/util.h"
#include "compress/inverse.h"
#include "compress/prune_internal.h"
#include "kern/kern.h"

static const double RHO = 0.1; /* in units of the mean of the diagonal */

struct repair {
  int64_t out, in;
  float *w;                     /* [out][in] Z: zero outside the mask */
  char *kept;                   /* [out][in] */
  float *scale;                 /* [in] of each column */
  float *target;                /* [out][in] W0 H */
  float *right, *free_w, *dual; /* [out][in] right-hand side, W, U */
  float *inverse;               /* [in][in] of H + rho I */
};

/* y [out][in] = x m, m symmetric [in][in]. */
static void multiply(float *y, const float *x, const float *m, int64_t out, int64_t in) {
  struct zf_streams stream = {.count = 1};
  struct zf_weight matrix = {.data = m,
                             .type = ZF_F32,
                             .out = in,
                             .in = in,
                             .output_stride = in,
                             .input_stride = 1,
                             .compute = ZF_COMPUTE_F32};
  struct zf_rows left = zf_rows_of(x, in, in, ZF_COMPUTE_F32, NULL);
  zf_gemm(y, in, &left, out, &matrix, &stream, NULL, 0, 0);
}

/* inverse = L^-T L^-1, from the lower triangle of L^-1.  sum [n]: scratch of each row, by thread. */
static void square_factor(float *inverse, const float *factor, double *sums, int64_t n) {
#pragma omp parallel for schedule(dynamic, 8)
  for (int64_t i = 0; i < n; i++) {
    double *sum = sums + omp_get_thread_num() * n;
    memset(sum, 0, (size_t)(i + 1) * sizeof *sum);
    for (int64_t k = i; k < n; k++) {
      const float *row = factor + k * n;
      double value = (double)row[i];
#pragma omp simd
      for (int64_t j = 0; j <= i; j++) sum[j] += value * (double)row[j];
    }
    for (int64_t j = 0; j <= i; j++) inverse[i * n + j] = (float)sum[j];
  }
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < i; j++) inverse[j * n + i] = inverse[i * n + j];
}

static int invert(struct repair *repair, const float *moments, double rho) {
  int64_t n = repair->in;
  float *factor = zf_malloc((size_t)(n * n) * sizeof *factor);
  double *sums = zf_calloc(n * zf_kern_nthreads(), sizeof *sums);
  int rc = factor && sums ? 0 : ZF_ENOMEM;
  for (int64_t i = 0; i < n && !rc; i++)
    for (int64_t j = 0; j < n; j++)
      factor[i * n + j] = moments[i * n + j] / (repair->scale[i] * repair->scale[j]);
  if (!rc) rc = zf_inverse_factor(factor, n, rho);
  if (!rc) square_factor(repair->inverse, factor, sums, n);
  free(sums);
  free(factor);
  return rc;
}

static int open_repair(struct repair *repair, float *w, int64_t out, int64_t in) {
  int64_t count = out * in;
  *repair = (struct repair){.out = out, .in = in, .w = w};
  repair->kept = zf_calloc(count, 1);
  repair->scale = zf_calloc(in, sizeof(float));
  repair->target = zf_calloc(count, sizeof(float));
  repair->right = zf_calloc(count, sizeof(float));
  repair->free_w = zf_calloc(count, sizeof(float));
  repair->dual = zf_calloc(count, sizeof(float));
  repair->inverse = zf_calloc(in * in, sizeof(float));
  int all = repair->kept && repair->scale && repair->target && repair->right && repair->free_w &&
            repair->dual && repair->inverse;
  for (int64_t i = 0; all && i < count; i++) repair->kept[i] = w[i] != 0;
  return all ? 0 : ZF_ENOMEM;
}

static void close_repair(struct repair *repair) {
  free(repair->kept);
  free(repair->scale);
  free(repair->target);
  free(repair->right);
  free(repair->free_w);
  free(repair->dual);
  free(repair->inverse);
}

/* target = W0 H in scaled columns; Z starts as the pruned matrix in them. */
static void set_target(struct repair *repair, const float *full, const float *moments) {
  int64_t in = repair->in;
  multiply(repair->target, full, moments, repair->out, in);
  for (int64_t i = 0; i < repair->out * in; i++) {
    repair->target[i] /= repair->scale[i % in];
    repair->w[i] *= repair->scale[i % in];
  }
}

static void iterate(struct repair *repair, float rho) {
  int64_t count = repair->out * repair->in;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < count; i++)
    repair->right[i] = repair->target[i] + rho * (repair->w[i] - repair->dual[i]);
  multiply(repair->free_w, repair->right, repair->inverse, repair->out, repair->in);
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < count; i++) {
    float sum = repair->free_w[i] + repair->dual[i];
    repair->w[i] = repair->kept[i] ? sum : 0;
    repair->dual[i] = sum - repair->w[i];
  }
}

/* The mean of the scaled diagonal: the unit of rho. */
static double mean_diagonal(const struct repair *repair, const float *moments) {
  double sum = 0;
  for (int64_t j = 0; j < repair->in; j++)
    sum +=
        (double)moments[j * repair->in + j] / ((double)repair->scale[j] * (double)repair->scale[j]);
  return sum / (double)repair->in;
}

/* Columns are scaled so that the diagonal of H is the same for all; rho is a tenth of that. */
int zf_prune_repair(float *w, const float *full, int64_t out, int64_t in, const float *moments,
                    double penalty, int iterations) {
  struct repair repair;
  double largest = 0;
  for (int64_t j = 0; j < in; j++) largest = fmax(largest, (double)moments[j * in + j]);
  if (!(largest > 0)) return 0;
  int rc = open_repair(&repair, w, out, in);
  for (int64_t j = 0; j < in && !rc; j++)
    repair.scale[j] = (float)sqrt(fmax((double)moments[j * in + j], 1e-8 * largest) / largest);
  double rho = RHO + penalty;
  if (!rc) rc = invert(&repair, moments, rho);
  if (!rc) {
    set_target(&repair, full, moments);
    float unit = (float)(rho * mean_diagonal(&repair, moments));
    for (int i = 0; i < iterations; i++) iterate(&repair, unit);
    for (int64_t i = 0; i < out * in; i++) w[i] /= repair.scale[i % in];
  }
  close_repair(&repair);
  return rc;
}
