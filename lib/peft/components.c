#include "peft/components.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/util.h"
#include "kern/kern.h"

enum { SPARE = 8, ITERATIONS = 6, SWEEPS = 30 };

/* For m = count + SPARE directions. */
struct zf_components_work {
  float *basis;            /* [m][width] orthonormal */
  float *image;            /* [m][width] M^T M of the basis */
  float *projected;        /* [rows + count][m] M of the basis */
  float *turned;           /* [m][rows + count] the same, transposed */
  float *old;              /* [count][width] S V^T */
  double *gram, *rotation; /* [m][m] */
};

int zf_components_work_new(struct zf_components_work **out, int64_t count, int64_t width,
                           int64_t rows) {
  struct zf_components_work *work = zf_calloc(1, sizeof *work);
  int64_t m = count + SPARE;
  *out = work;
  if (!work) return ZF_ENOMEM;
  work->basis = zf_calloc(m * width, sizeof *work->basis);
  work->image = zf_calloc(m * width, sizeof *work->image);
  work->projected = zf_calloc((rows + count) * m, sizeof *work->projected);
  work->turned = zf_calloc((rows + count) * m, sizeof *work->turned);
  work->old = zf_calloc(count * width, sizeof *work->old);
  work->gram = zf_calloc(m * m, sizeof *work->gram);
  work->rotation = zf_calloc(m * m, sizeof *work->rotation);
  if (work->basis && work->image && work->projected && work->turned && work->old && work->gram &&
      work->rotation)
    return 0;
  zf_components_work_free(work);
  *out = NULL;
  return ZF_ENOMEM;
}

void zf_components_work_free(struct zf_components_work *work) {
  if (!work) return;
  free(work->basis);
  free(work->image);
  free(work->projected);
  free(work->turned);
  free(work->old);
  free(work->gram);
  free(work->rotation);
  free(work);
}

int zf_components_init(struct zf_components *components, int64_t count, int64_t width) {
  *components = (struct zf_components){.count = count, .width = width};
  components->vector = zf_calloc(count * width, sizeof *components->vector);
  components->square = zf_calloc(count, sizeof *components->square);
  if (components->vector && components->square) return 0;
  zf_components_free(components);
  return ZF_ENOMEM;
}

void zf_components_free(struct zf_components *components) {
  free(components->vector);
  free(components->square);
  *components = (struct zf_components){0};
}

static double dot(const float *x, const float *y, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; i++) sum += (double)x[i] * (double)y[i];
  return sum;
}

void zf_orthonormalize(float *rows, int64_t count, int64_t width) {
  for (int64_t i = 0; i < count; i++) {
    float *row = rows + i * width;
    double before = sqrt(dot(row, row, width));
    for (int pass = 0; pass < 2; pass++)
      for (int64_t j = 0; j < i; j++) {
        float share = (float)dot(row, rows + j * width, width);
        for (int64_t c = 0; c < width; c++) row[c] -= share * rows[j * width + c];
      }
    double norm = sqrt(dot(row, row, width));
    double factor = norm > 1e-6 * before && norm > 0 ? 1 / norm : 0;
    for (int64_t c = 0; c < width; c++) row[c] = (float)((double)row[c] * factor);
  }
}

/* y = x W^T: x [T, in] with stride ldx, W [out, in]. */
static void multiply(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t T,
                     const float *weight, int64_t out, int64_t in, int64_t output_stride,
                     int64_t input_stride, int accumulate) {
  struct zf_streams one = {.count = 1};
  struct zf_weight matrix = {.data = weight,
                             .type = ZF_F32,
                             .out = out,
                             .in = in,
                             .output_stride = output_stride,
                             .input_stride = input_stride};
  struct zf_rows rows = zf_rows_of(x, ldx, in, ZF_COMPUTE_F32, NULL);
  zf_gemm(y, ldy, &rows, T, &matrix, &one, NULL, 0, accumulate);
}

/* The rows of M = [S V^T; X]. */
struct stacked {
  const float *old, *x;
  int64_t old_rows, rows, ld, width;
};

/* projected [old_rows + rows][m] = M basis^T */
static void project(const struct stacked *stacked, struct zf_components_work *work, int64_t m) {
  if (stacked->old_rows)
    multiply(work->projected, m, stacked->old, stacked->width, stacked->old_rows, work->basis, m,
             stacked->width, stacked->width, 1, 0);
  multiply(work->projected + stacked->old_rows * m, m, stacked->x, stacked->ld, stacked->rows,
           work->basis, m, stacked->width, stacked->width, 1, 0);
}

/* image [m][width] = projected^T M */
static void project_back(const struct stacked *stacked, struct zf_components_work *work,
                         int64_t m) {
  int64_t all = stacked->old_rows + stacked->rows;
  for (int64_t i = 0; i < all; i++)
    for (int64_t j = 0; j < m; j++) work->turned[j * all + i] = work->projected[i * m + j];
  if (stacked->old_rows)
    multiply(work->image, stacked->width, work->turned, all, m, stacked->old, stacked->width,
             stacked->old_rows, 1, stacked->width, 0);
  multiply(work->image, stacked->width, work->turned + stacked->old_rows, all, m, stacked->x,
           stacked->width, stacked->rows, 1, stacked->ld, stacked->old_rows > 0);
}

/* Eigenvectors of the symmetric gram [m][m], as columns of rotation; the diagonal of gram becomes the
 * eigenvalues (Jacobi's method). */
static void diagonalize(double *gram, double *rotation, int64_t m) {
  for (int64_t i = 0; i < m * m; i++) rotation[i] = i / m == i % m;
  for (int sweep = 0; sweep < SWEEPS; sweep++) {
    double off = 0;
    for (int64_t p = 0; p < m; p++)
      for (int64_t q = p + 1; q < m; q++) {
        double apq = gram[p * m + q], app = gram[p * m + p], aqq = gram[q * m + q];
        off += apq * apq;
        if (fabs(apq) <= 1e-300) continue;
        double theta = (aqq - app) / (2 * apq);
        double t = (theta >= 0 ? 1 : -1) / (fabs(theta) + sqrt(theta * theta + 1));
        double c = 1 / sqrt(t * t + 1), s = t * c;
        for (int64_t k = 0; k < m; k++) {
          double akp = gram[k * m + p], akq = gram[k * m + q];
          gram[k * m + p] = c * akp - s * akq;
          gram[k * m + q] = s * akp + c * akq;
        }
        for (int64_t k = 0; k < m; k++) {
          double apk = gram[p * m + k], aqk = gram[q * m + k];
          gram[p * m + k] = c * apk - s * aqk;
          gram[q * m + k] = s * apk + c * aqk;
        }
        for (int64_t k = 0; k < m; k++) {
          double vkp = rotation[k * m + p], vkq = rotation[k * m + q];
          rotation[k * m + p] = c * vkp - s * vkq;
          rotation[k * m + q] = s * vkp + c * vkq;
        }
      }
    if (off == 0) break;
  }
}

/* The largest components within the span of the basis (Rayleigh and Ritz). */
static void extract(struct zf_components *components, struct zf_components_work *work, int64_t all,
                    int64_t m) {
  int64_t width = components->width;
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < m; j++) {
      double sum = 0;
      for (int64_t k = 0; k < all; k++)
        sum += (double)work->projected[k * m + i] * (double)work->projected[k * m + j];
      work->gram[i * m + j] = sum;
    }
  diagonalize(work->gram, work->rotation, m);
  for (int64_t i = 0; i < components->count; i++) {
    int64_t best = -1;
    for (int64_t j = 0; j < m; j++)
      if (work->gram[j * m + j] >= 0 &&
          (best < 0 || work->gram[j * m + j] > work->gram[best * m + best]))
        best = j;
    components->square[i] = best < 0 ? 0 : work->gram[best * m + best];
    float *vector = components->vector + i * width;
    for (int64_t c = 0; c < width; c++) {
      double sum = 0;
      for (int64_t j = 0; j < m && best >= 0; j++)
        sum += work->rotation[j * m + best] * (double)work->basis[j * width + c];
      vector[c] = (float)sum;
    }
    if (best >= 0) work->gram[best * m + best] = -1; /* taken */
  }
}

void zf_components_add(struct zf_components *components, struct zf_components_work *work,
                       const float *x, int64_t ld, int64_t rows) {
  int64_t width = components->width, count = components->count, m = zf_min64(count + SPARE, width);
  int old = components->energy > 0;
  struct zf_noise noise = {.seed = 1, .use = ZF_USE_INIT};
  for (int64_t i = 0; i < rows; i++) components->energy += dot(x + i * ld, x + i * ld, width);
  for (int64_t i = 0; i < count; i++)
    for (int64_t c = 0; c < width; c++)
      work->old[i * width + c] =
          (float)sqrt(components->square[i]) * components->vector[i * width + c];
  zf_noise_fill(work->basis, &noise, 0, m * width);
  if (old) memcpy(work->basis, components->vector, (size_t)(count * width) * sizeof(float));
  zf_orthonormalize(work->basis, m, width);
  struct stacked stacked = {work->old, x, old ? count : 0, rows, ld, width};
  for (int i = 0; i < ITERATIONS; i++) {
    project(&stacked, work, m);
    project_back(&stacked, work, m);
    memcpy(work->basis, work->image, (size_t)(m * width) * sizeof(float));
    zf_orthonormalize(work->basis, m, width);
  }
  project(&stacked, work, m);
  extract(components, work, stacked.old_rows + rows, m);
}
