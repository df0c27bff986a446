/* GPTQ over the blocks of GGUF files.  Where a row comes to a block, the block's scales are chosen for the
 * values as they are then, with the weight of each column's error that feedback leaves: the variance of its
 * input given those of the columns that are still to be handled, 1 / U[p][p]^2. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/util.h"
#include "compress/feedback.h"
#include "compress/inverse.h"
#include "compress/quantizer_internal.h"
#include "tensor/quantize.h"

enum { CHUNK = 1 << 21 }; /* values of a matrix that are in f32 at a time */

struct blocks {
  char *data; /* of the matrix */
  enum zf_dtype type;
  int64_t in;
  const float *weight; /* [in] */
};

static char *block_of(const struct blocks *blocks, int64_t row, int64_t column) {
  int64_t block = zf_dtype_info(blocks->type)->block;
  return blocks->data + zf_dtype_bytes(blocks->type, row * blocks->in + column / block * block);
}

static void begin_block(void *ctx, int64_t row, int64_t first, int64_t count, const float *w) {
  const struct blocks *blocks = ctx;
  zf_quantize(block_of(blocks, row, first), w, blocks->type, 1, count, blocks->weight + first);
}

static float decide_value(void *ctx, int64_t row, int64_t p, float w) {
  const struct blocks *blocks = ctx;
  int at = (int)(p % zf_dtype_info(blocks->type)->block);
  return zf_quantize_value(block_of(blocks, row, p), blocks->type, at, w);
}

static int quantize_matrix(const struct zf_quantization *job, const struct zf_layer_matrix *matrix,
                           const float *factor, const float *weight) {
  const struct zf_param *param = &job->model->params.param[matrix->param];
  enum zf_dtype type = job->type[matrix->param];
  if (zf_dtype_info(type)->block == 1) return zf_quantize_param(job, matrix->param, NULL);
  struct blocks blocks = {.type = type, .in = matrix->in, .weight = weight};
  struct zf_feedback feedback = {zf_dtype_info(type)->block, begin_block, decide_value, &blocks};
  int64_t step = zf_min64(matrix->out, zf_max64(64, CHUNK / matrix->in));
  float *w = zf_calloc(step * matrix->in, sizeof *w);
  void *data;
  int rc = w ? zf_overlay_reserve(job->overlay, matrix->param, type, &data) : ZF_ENOMEM;
  for (int64_t i = 0; i < matrix->out && !rc; i += step) {
    int64_t rows = zf_min64(step, matrix->out - i);
    blocks.data = data;
    zf_matrix_read(w, param, i, rows);
    zf_feedback_rows(w, i, rows, factor, matrix->in, &feedback);
    rc = zf_quantize_stopped(job);
  }
  free(w);
  if (!rc) zf_overlay_use(job->overlay, matrix->param);
  return rc;
}

/* Quantises the matrices that read one input. */
static int quantize_input(const struct zf_quantization *job, struct zf_layer *layer, int input) {
  struct zf_moments *moments = &layer->input[input].moments;
  int64_t width = moments->width;
  float *weight = zf_calloc(width, sizeof *weight);
  zf_moments_mirror(moments);
  int rc = weight ? zf_inverse_upper(moments->full, width, job->penalty) : ZF_ENOMEM;
  for (int64_t i = 0; i < width && !rc; i++) {
    float diagonal = moments->full[i * width + i];
    weight[i] = 1 / (diagonal * diagonal);
  }
  for (int i = 0; i < layer->matrices && !rc; i++)
    if (layer->matrix[i].input == input)
      rc = quantize_matrix(job, &layer->matrix[i], moments->full, weight);
  free(weight);
  return rc ? zf_error_prefix(rc, "layer %lld", (long long)layer->number) : 0;
}

int zf_quantize_gptq(const struct zf_quantization *job, struct zf_layer *layer) {
  int rc = 0;
  for (int i = 0; i < layer->inputs && !rc; i++) rc = quantize_input(job, layer, i);
  return rc;
}
