#include "compress/moments.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/util.h"
#include "kern/kern.h"

enum { CHUNK = 128 }; /* columns that are transposed together */

int zf_moments_init(struct zf_moments *moments, int64_t width, int full, int64_t most_rows) {
  *moments = (struct zf_moments){.width = width, .most_rows = most_rows};
  moments->square = zf_calloc(width, sizeof *moments->square);
  if (full) {
    moments->full = zf_calloc(width * width, sizeof *moments->full);
    moments->transposed = zf_calloc(CHUNK * most_rows, sizeof *moments->transposed);
  }
  return moments->square && (!full || (moments->full && moments->transposed)) ? 0 : ZF_ENOMEM;
}

void zf_moments_free(struct zf_moments *moments) {
  free(moments->square);
  free(moments->full);
  free(moments->transposed);
  *moments = (struct zf_moments){0};
}

void zf_moments_clear(struct zf_moments *moments) {
  moments->rows = 0;
  memset(moments->square, 0, (size_t)moments->width * sizeof *moments->square);
  if (moments->full)
    memset(moments->full, 0, (size_t)(moments->width * moments->width) * sizeof *moments->full);
}

static void add_squares(struct zf_moments *moments, const float *x, int64_t ld, int64_t rows) {
#pragma omp parallel for schedule(static)
  for (int64_t first = 0; first < moments->width; first += CHUNK)
    for (int64_t i = 0; i < rows; i++)
      for (int64_t j = first; j < zf_min64(moments->width, first + CHUNK); j++)
        moments->square[j] += (double)x[i * ld + j] * (double)x[i * ld + j];
}

/* to [count][rows] = columns first..first + count of x. */
static void transpose(float *to, const float *x, int64_t ld, int64_t rows, int64_t first,
                      int64_t count) {
#pragma omp parallel for schedule(static)
  for (int64_t j = 0; j < count; j++)
    for (int64_t i = 0; i < rows; i++) to[j * rows + i] = x[i * ld + first + j];
}

/* Adds the products of columns first..first + count with all columns up to these. */
static void add_products(struct zf_moments *moments, const float *x, int64_t ld, int64_t rows,
                         int64_t first, int64_t count) {
  struct zf_streams stream = {.count = 1};
  struct zf_weight columns = {.data = x,
                              .type = ZF_F32,
                              .out = first + count,
                              .in = rows,
                              .output_stride = 1,
                              .input_stride = ld,
                              .compute = ZF_COMPUTE_F32};
  transpose(moments->transposed, x, ld, rows, first, count);
  struct zf_rows left = zf_rows_of(moments->transposed, rows, rows, ZF_COMPUTE_F32, NULL);
  zf_gemm(moments->full + first * moments->width, moments->width, &left, count, &columns, &stream,
          NULL, 0, 1);
}

void zf_moments_add(struct zf_moments *moments, const float *x, int64_t ld, int64_t rows) {
  assert(rows <= moments->most_rows);
  moments->rows += rows;
  add_squares(moments, x, ld, rows);
  for (int64_t first = 0; moments->full && first < moments->width; first += CHUNK)
    add_products(moments, x, ld, rows, first, zf_min64(CHUNK, moments->width - first));
}

void zf_moments_mirror(struct zf_moments *moments) {
  int64_t width = moments->width;
  for (int64_t i = 0; i < width; i++)
    for (int64_t j = 0; j < i; j++) moments->full[j * width + i] = moments->full[i * width + j];
}

void zf_moments_importance(const struct zf_moments *moments, float *out) {
  for (int64_t j = 0; j < moments->width; j++)
    out[j] = (float)(moments->square[j] / (double)zf_max64(1, moments->rows));
}
