#include "train/tridiagonal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "kern/kern.h"

enum { LANES = ZF_LANE_COUNT, STRIP = 64 }; /* STRIP: columns of a thread's part of a product */

int zf_tridiagonal_team(int64_t work) {
  enum { WORTH_A_TEAM = 1 << 18 };
  return work < WORTH_A_TEAM ? 1 : zf_kern_nthreads();
}

/* Turns v [count] into the reflection that takes it to (next, 0, ..): returns beta; 0: it is that. */
static double reflect(double *v, int64_t count, double *next) {
  double tail = 0;
  for (int64_t i = 1; i < count; i++) tail += v[i] * v[i];
  *next = v[0];
  if (tail == 0) return 0;
  double norm = sqrt(v[0] * v[0] + tail);
  *next = v[0] > 0 ? -norm : norm;
  v[0] -= *next;
  return 2 / (v[0] * v[0] + tail);
}

/* product = beta * A v for the trailing matrix A of `count` rows, row stride `size`. */
static void multiply(double *product, const double *matrix, int64_t size, int64_t count,
                     const double *v, double beta, int team) {
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t first = 0; first < count; first += STRIP) {
    int64_t width = count - first < STRIP ? count - first : STRIP;
    double sum[STRIP] = {0};
    for (int64_t i = 0; i < count; i++) {
      const double *row = matrix + i * size + first;
#pragma omp simd
      for (int64_t j = 0; j < width; j++) sum[j] += v[i] * row[j];
    }
    for (int64_t j = 0; j < width; j++) product[first + j] = beta * sum[j];
  }
}

/* A -= v w^T + w v^T */
static void update(double *matrix, int64_t size, int64_t count, const double *v, const double *w,
                   int team) {
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t i = 0; i < count; i++) {
    double *row = matrix + i * size;
#pragma omp simd
    for (int64_t j = 0; j < count; j++) row[j] -= v[i] * w[j] + w[i] * v[j];
  }
}

/* Column `at` of the matrix below the diagonal becomes (next, 0, ..). */
static void step(struct zf_tridiagonal *tridiagonal, int64_t at, double *w) {
  int64_t size = tridiagonal->size, count = size - at - 1;
  double *v = tridiagonal->matrix + at * size + at + 1;
  double *rest = tridiagonal->matrix + (at + 1) * size + at + 1;
  double beta = reflect(v, count, &tridiagonal->next[at]), dot = 0;
  tridiagonal->beta[at] = beta;
  if (beta == 0) return;
  int team = zf_tridiagonal_team(count * count);
  multiply(w, rest, size, count, v, beta, team);
  for (int64_t i = 0; i < count; i++) dot += w[i] * v[i];
  for (int64_t i = 0; i < count; i++) w[i] -= 0.5 * beta * dot * v[i];
  update(rest, size, count, v, w, team);
}

int zf_tridiagonal_make(struct zf_tridiagonal *tridiagonal, double *matrix, int64_t size) {
  *tridiagonal = (struct zf_tridiagonal){.size = size, .matrix = matrix};
  tridiagonal->diagonal = zf_calloc(size, sizeof *tridiagonal->diagonal);
  tridiagonal->next = zf_calloc(size, sizeof *tridiagonal->next);
  tridiagonal->beta = zf_calloc(size, sizeof *tridiagonal->beta);
  double *w = zf_calloc(size, sizeof *w);
  if (!tridiagonal->diagonal || !tridiagonal->next || !tridiagonal->beta || !w) {
    free(w);
    zf_tridiagonal_free(tridiagonal);
    return ZF_ENOMEM;
  }
  for (int64_t i = 0; i < size; i++) {
    tridiagonal->diagonal[i] = matrix[i * size + i];
    if (i + 1 < size) step(tridiagonal, i, w);
  }
  free(w);
  return 0;
}

void zf_tridiagonal_free(struct zf_tridiagonal *tridiagonal) {
  free(tridiagonal->diagonal);
  free(tridiagonal->next);
  free(tridiagonal->beta);
  *tridiagonal = (struct zf_tridiagonal){0};
}

/* x = H_at x */
static void apply(const struct zf_tridiagonal *tridiagonal, int64_t at, double *x) {
  int64_t size = tridiagonal->size, count = size - at - 1;
  const double *v = tridiagonal->matrix + at * size + at + 1;
  double dot[LANES] = {0}, *rest = x + (at + 1) * LANES;
  if (tridiagonal->beta[at] == 0) return;
  for (int64_t i = 0; i < count; i++)
#pragma omp simd
    for (int lane = 0; lane < LANES; lane++) dot[lane] += v[i] * rest[i * LANES + lane];
  for (int lane = 0; lane < LANES; lane++) dot[lane] *= tridiagonal->beta[at];
  for (int64_t i = 0; i < count; i++)
#pragma omp simd
    for (int lane = 0; lane < LANES; lane++) rest[i * LANES + lane] -= v[i] * dot[lane];
}

void zf_tridiagonal_rotate(const struct zf_tridiagonal *tridiagonal, double *x) {
  for (int64_t i = 0; i + 1 < tridiagonal->size; i++) apply(tridiagonal, i, x);
}

void zf_tridiagonal_rotate_back(const struct zf_tridiagonal *tridiagonal, double *x) {
  for (int64_t i = tridiagonal->size - 2; i >= 0; i--) apply(tridiagonal, i, x);
}

void zf_tridiagonal_shift(const struct zf_tridiagonal *tridiagonal, double shift, double *inverse,
                          double *multiplier) {
  double pivot = 1;
  for (int64_t i = 0; i < tridiagonal->size; i++) {
    double beside = i ? tridiagonal->next[i - 1] : 0;
    multiplier[i] = beside / pivot;
    pivot = tridiagonal->diagonal[i] + shift - beside * multiplier[i];
    inverse[i] = 1 / pivot;
  }
}

void zf_tridiagonal_solve(const double *inverse, const double *multiplier, int64_t size, double *x,
                          const double *b) {
  memcpy(x, b, (size_t)(size * LANES) * sizeof *x);
  for (int64_t i = 1; i < size; i++)
#pragma omp simd
    for (int lane = 0; lane < LANES; lane++)
      x[i * LANES + lane] -= multiplier[i] * x[(i - 1) * LANES + lane];
  for (int64_t i = size - 1; i >= 0; i--) {
    double factor = i + 1 < size ? multiplier[i + 1] : 0;
    const double *next = x + (i + 1 < size ? i + 1 : i) * LANES;
#pragma omp simd
    for (int lane = 0; lane < LANES; lane++)
      x[i * LANES + lane] = inverse[i] * x[i * LANES + lane] - factor * next[lane];
  }
}
