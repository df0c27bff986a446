#include "compress/feedback.h"

#include "base/util.h"

enum { TILE = 8 }; /* rows that share one reading of the factor */

/* Handles one column of some rows. */
static void run_column(float *w, int64_t first_row, int64_t rows, const float *factor, int64_t n,
                       int64_t p, const struct zf_feedback *feedback) {
  const float *share = factor + p * n;
  for (int64_t i = 0; i < rows; i++) {
    float *row = w + i * n, value = feedback->decide(feedback->ctx, first_row + i, p, row[p]);
    float error = (row[p] - value) / share[p];
    row[p] = value;
#pragma omp simd
    for (int64_t t = p + 1; t < n; t++) row[t] -= error * share[t];
  }
}

static void run_tile(float *w, int64_t first_row, int64_t rows, const float *factor, int64_t n,
                     const struct zf_feedback *feedback) {
  int64_t block = feedback->block;
  for (int64_t first = 0; first < n; first += block) {
    int64_t count = zf_min64(block, n - first);
    for (int64_t i = 0; i < rows; i++)
      feedback->begin(feedback->ctx, first_row + i, first, count, w + i * n + first);
    for (int64_t p = first; p < first + count; p++)
      run_column(w, first_row, rows, factor, n, p, feedback);
  }
}

void zf_feedback_rows(float *w, int64_t first_row, int64_t rows, const float *factor, int64_t n,
                      const struct zf_feedback *feedback) {
#pragma omp parallel for schedule(dynamic)
  for (int64_t i = 0; i < rows; i += TILE)
    run_tile(w + i * n, first_row + i, zf_min64(TILE, rows - i), factor, n, feedback);
}
