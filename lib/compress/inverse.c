#include "compress/inverse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/util.h"

enum { STRIP = 64 }; /* columns of a strip, which stays in the first cache */

static void add_penalty(float *matrix, int64_t n, double penalty) {
  double mean = 0;
  for (int64_t i = 0; i < n; i++) mean += (double)matrix[i * n + i] / (double)n;
  if (!(mean > 0)) mean = 1;
  for (int64_t i = 0; i < n; i++) {
    double value = (double)matrix[i * n + i];
    matrix[i * n + i] = (float)((value > 0 ? value : mean) + penalty * mean);
  }
}

/* Factors the diagonal block of columns first..first + count; the columns before it are done. */
static int factor_block(float *matrix, int64_t n, int64_t first, int64_t count) {
  for (int64_t j = first; j < first + count; j++) {
    double pivot = (double)matrix[j * n + j];
    for (int64_t k = first; k < j; k++)
      pivot -= (double)matrix[j * n + k] * (double)matrix[j * n + k];
    if (!(pivot > 0) || !isfinite(pivot))
      return zf_error(ZF_EFAIL, "the inputs' second moments are not positive definite");
    double root = sqrt(pivot);
    matrix[j * n + j] = (float)root;
    for (int64_t i = j + 1; i < first + count; i++) {
      double sum = (double)matrix[i * n + j];
      for (int64_t k = first; k < j; k++)
        sum -= (double)matrix[i * n + k] * (double)matrix[j * n + k];
      matrix[i * n + j] = (float)(sum / root);
    }
  }
  return 0;
}

/* Row i of the factor in the block's columns. */
static void solve_row(float *matrix, int64_t n, int64_t first, int64_t count, int64_t i) {
  for (int64_t j = first; j < first + count; j++) {
    double sum = (double)matrix[i * n + j];
    for (int64_t k = first; k < j; k++)
      sum -= (double)matrix[i * n + k] * (double)matrix[j * n + k];
    matrix[i * n + j] = (float)(sum / (double)matrix[j * n + j]);
  }
}

/* Row i of the columns behind the block minus the products of the rows' parts within it. */
static void update_row(float *matrix, int64_t n, int64_t first, int64_t count, int64_t i,
                       const float *panel) {
  int64_t end = first + count;
  const float *left = matrix + i * n + first;
  for (int64_t strip = end; strip <= i; strip += STRIP) {
    double sum[STRIP] = {0};
    int64_t width = zf_min64(STRIP, i + 1 - strip);
    for (int64_t k = 0; k < count; k++) {
      const float *right = panel + k * n + strip;
      double factor = (double)left[k];
#pragma omp simd
      for (int64_t j = 0; j < width; j++) sum[j] += factor * (double)right[j];
    }
    for (int64_t j = 0; j < width; j++)
      matrix[i * n + strip + j] = (float)((double)matrix[i * n + strip + j] - sum[j]);
  }
}

/* The Cholesky factor in the lower triangle; the rows of the upper one hold the panel's transpose. */
static int factor(float *matrix, int64_t n) {
  for (int64_t first = 0; first < n; first += STRIP) {
    int64_t count = zf_min64(STRIP, n - first), end = first + count;
    int rc = factor_block(matrix, n, first, count);
    if (rc) return rc;
#pragma omp parallel for schedule(static, 8)
    for (int64_t i = end; i < n; i++) solve_row(matrix, n, first, count, i);
    for (int64_t k = 0; k < count; k++)
      for (int64_t i = end; i < n; i++) matrix[(first + k) * n + i] = matrix[i * n + first + k];
#pragma omp parallel for schedule(static, 8)
    for (int64_t i = end; i < n; i++) update_row(matrix, n, first, count, i, matrix + first * n);
  }
  return 0;
}

/* A strip of columns of L^-1, from row `first` down; `to` [n][STRIP]. */
static void invert_strip(const float *factor, int64_t n, int64_t first, float *to) {
  int64_t width = zf_min64(STRIP, n - first);
  for (int64_t i = first; i < n; i++) {
    double sum[STRIP] = {0};
    for (int64_t k = first; k < i; k++) {
      const float *row = to + k * STRIP;
      double value = (double)factor[i * n + k];
#pragma omp simd
      for (int64_t j = 0; j < STRIP; j++) sum[j] -= value * (double)row[j];
    }
    if (i - first < width) sum[i - first] += 1;
    for (int64_t j = 0; j < STRIP; j++)
      to[i * STRIP + j] = (float)(sum[j] / (double)factor[i * n + i]);
  }
}

/* Each strip of the inverse goes to the upper triangle, transposed, because the strips need the whole
 * factor; the diagonals of both are kept apart. */
static int invert(float *matrix, int64_t n) {
  int failed = 0;
  float *diagonal = zf_malloc((size_t)n * sizeof *diagonal);
  if (!diagonal) return ZF_ENOMEM;
#pragma omp parallel
  {
    float *strip = malloc((size_t)n * STRIP * sizeof *strip);
#pragma omp atomic
    failed |= !strip;
#pragma omp barrier
#pragma omp for schedule(dynamic)
    for (int64_t first = 0; first < n; first += STRIP) {
      if (failed) continue;
      invert_strip(matrix, n, first, strip);
      for (int64_t j = 0; j < zf_min64(STRIP, n - first); j++) {
        diagonal[first + j] = strip[(first + j) * STRIP + j];
        for (int64_t i = first + j + 1; i < n; i++)
          matrix[(first + j) * n + i] = strip[i * STRIP + j];
      }
    }
    free(strip);
  }
  for (int64_t i = 0; i < n && !failed; i++) {
    matrix[i * n + i] = diagonal[i];
    for (int64_t j = 0; j < i; j++) matrix[i * n + j] = matrix[j * n + i];
  }
  free(diagonal);
  return failed ? zf_error(ZF_ENOMEM, "out of memory") : 0;
}

int zf_inverse_factor(float *matrix, int64_t n, double penalty) {
  add_penalty(matrix, n, penalty);
  int rc = factor(matrix, n);
  return rc ? rc : invert(matrix, n);
}

/* Both dimensions in the other order: the factor of the matrix reversed, L^-1 reversed, is U. */
static void reverse(float *matrix, int64_t n) {
  for (int64_t i = 0, j = n * n - 1; i < j; i++, j--) {
    float value = matrix[i];
    matrix[i] = matrix[j];
    matrix[j] = value;
  }
}

int zf_inverse_upper(float *matrix, int64_t n, double penalty) {
  reverse(matrix, n);
  int rc = zf_inverse_factor(matrix, n, penalty);
  reverse(matrix, n);
  return rc;
}
