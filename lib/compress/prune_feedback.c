/* SparseGPT: where a row comes to a block of columns, the values whose loss costs the outputs least are
 * marked; error feedback makes good for each as it becomes 0. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/util.h"
#include "compress/feedback.h"
#include "compress/prune_internal.h"

enum { BLOCK = 128 };

/* Marks: score[row][p] becomes 0 for a value that is pruned, else 1. */
static void begin_block(void *ctx, int64_t row, int64_t first, int64_t count, const float *w) {
  struct zf_pruned_matrix *matrix = ctx;
  float *score = matrix->score + row * matrix->in + first, mark[BLOCK];
  for (int64_t i = 0; i < count; i++) {
    float share = matrix->factor[(first + i) * matrix->in + first + i];
    score[i] = w[i] * w[i] / (share * share);
    mark[i] = 1;
  }
  zf_prune_smallest(mark, score, matrix->sorted + row * matrix->in + first, count, matrix->job);
  memcpy(score, mark, (size_t)count * sizeof *score);
}

static float decide_value(void *ctx, int64_t row, int64_t p, float w) {
  const struct zf_pruned_matrix *matrix = ctx;
  return matrix->score[row * matrix->in + p] == 0 ? 0 : w;
}

void zf_prune_feedback(struct zf_pruned_matrix *matrix) {
  struct zf_feedback feedback = {BLOCK, begin_block, decide_value, matrix};
  zf_feedback_rows(matrix->w, 0, matrix->out, matrix->factor, matrix->in, &feedback);
}
