/* AWQ: scales of inputs that make the rounding errors of a layer's outputs small, folded into the operations
 * in front.  The error of a candidate is known from the second moments of the inputs without another pass. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/util.h"
#include "compress/fold.h"
#include "compress/quantizer_internal.h"
#include "tensor/quantize.h"

enum {
  CANDIDATES = 11, /* alpha = 0, 0.1, ..., 1 */
  ROWS = 256       /* rows of a matrix whose error is computed at a time */
};

/* An input of the layer, and the scales of a candidate. */
struct awq_input {
  const struct zf_quantization *job;
  struct zf_layer *layer;
  int number;
  struct zf_fold fold;
  float *magnitude;  /* [channels] root mean squares; of columns that share one, the largest */
  float *scale;      /* [width] of each column */
  float *importance; /* [width] mean squares of the scaled inputs */
  float *w, *error, *product; /* [ROWS][width] */
  void *encoded;              /* a row's blocks of each thread */
  size_t row_bytes;
};

static int prepare(struct awq_input *input) {
  const struct zf_moments *moments = &input->layer->input[input->number].moments;
  int64_t width = moments->width;
  input->magnitude = zf_calloc(input->fold.channels, sizeof *input->magnitude);
  input->scale = zf_calloc(width, sizeof *input->scale);
  input->importance = zf_calloc(width, sizeof *input->importance);
  input->w = zf_calloc(ROWS * width, sizeof *input->w);
  input->error = zf_calloc(ROWS * width, sizeof *input->error);
  input->product = zf_calloc(ROWS * width, sizeof *input->product);
  input->row_bytes = zf_dtype_bytes(ZF_F32, width);
  input->encoded = zf_calloc(ROWS, input->row_bytes);
  if (!input->magnitude || !input->scale || !input->importance || !input->w || !input->error ||
      !input->product || !input->encoded)
    return ZF_ENOMEM;
  for (int64_t j = 0; j < width; j++) {
    float *channel = &input->magnitude[zf_fold_channel(&input->fold, j)];
    *channel =
        fmaxf(*channel, (float)sqrt(moments->square[j] / (double)zf_max64(1, moments->rows)));
  }
  return 0;
}

static void release(struct awq_input *input) {
  free(input->magnitude);
  free(input->scale);
  free(input->importance);
  free(input->w);
  free(input->error);
  free(input->product);
  free(input->encoded);
}

/* Scales magnitude^alpha, divided by the geometric mean of the largest and the smallest. */
static void set_scales(struct awq_input *input, double alpha) {
  const struct zf_moments *moments = &input->layer->input[input->number].moments;
  double largest = 0, smallest = INFINITY;
  for (int64_t j = 0; j < moments->width; j++) {
    double magnitude = fmax((double)input->magnitude[zf_fold_channel(&input->fold, j)], 1e-4);
    double scale = pow(magnitude, alpha);
    input->scale[j] = (float)scale;
    largest = fmax(largest, scale);
    smallest = fmin(smallest, scale);
  }
  double middle = sqrt(largest * smallest);
  for (int64_t j = 0; j < moments->width; j++) {
    input->scale[j] = (float)((double)input->scale[j] / middle);
    double scaled = moments->square[j] / (double)zf_max64(1, moments->rows) /
                    ((double)input->scale[j] * (double)input->scale[j]);
    input->importance[j] = (float)scaled;
  }
}

/* error [rows][width] = decoded(encoded(w * scale)) / scale - w. */
static void round_rows(struct awq_input *input, enum zf_dtype type, int64_t rows, int64_t width) {
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < rows; i++) {
    float *w = input->w + i * width, *error = input->error + i * width;
    void *encoded = (char *)input->encoded + (size_t)i * input->row_bytes;
    for (int64_t j = 0; j < width; j++) error[j] = w[j] * input->scale[j];
    zf_quantize(encoded, error, type, 1, width, input->importance);
    zf_to_f32(error, encoded, type, width);
    for (int64_t j = 0; j < width; j++) error[j] = error[j] / input->scale[j] - w[j];
  }
}

/* sum over rows d of `error` of d H d^T. */
static double squared_error(struct awq_input *input, int64_t rows, int64_t width) {
  const struct zf_moments *moments = &input->layer->input[input->number].moments;
  struct zf_streams stream = {.count = 1};
  struct zf_weight matrix = {.data = moments->full,
                             .type = ZF_F32,
                             .out = width,
                             .in = width,
                             .output_stride = width,
                             .input_stride = 1,
                             .compute = ZF_COMPUTE_F32};
  struct zf_rows left = zf_rows_of(input->error, width, width, ZF_COMPUTE_F32, NULL);
  double sum = 0;
  zf_gemm(input->product, width, &left, rows, &matrix, &stream, NULL, 0, 0);
  for (int64_t i = 0; i < rows * width; i++)
    sum += (double)input->product[i] * (double)input->error[i];
  return sum;
}

static double error_of(struct awq_input *input) {
  double sum = 0;
  for (int i = 0; i < input->layer->matrices; i++) {
    const struct zf_layer_matrix *matrix = &input->layer->matrix[i];
    const struct zf_param *param = &input->job->model->params.param[matrix->param];
    enum zf_dtype type = input->job->type[matrix->param];
    if (matrix->input != input->number) continue;
    for (int64_t first = 0; first < matrix->out; first += ROWS) {
      int64_t rows = zf_min64(ROWS, matrix->out - first);
      zf_matrix_read(input->w, param, first, rows);
      round_rows(input, type, rows, matrix->in);
      sum += squared_error(input, rows, matrix->in);
    }
  }
  return sum;
}

static double best_alpha(struct awq_input *input) {
  double best = 0, least = INFINITY;
  for (int i = 0; i < CANDIDATES; i++) {
    double alpha = (double)i / (CANDIDATES - 1);
    set_scales(input, alpha);
    double error = error_of(input);
    if (error >= least) continue;
    least = error;
    best = alpha;
  }
  return best;
}

/* --- folding --- */

/* Multiplies columns of a matrix by factor[j], and rows from first_row on by row_factor[i] (each may be NULL). */
static int scale_matrix(const struct zf_quantization *job, int32_t number, const float *factor,
                        const float *row_factor, int64_t first_row, int64_t scaled_rows) {
  const struct zf_param *param = &job->model->params.param[number];
  int64_t in = zf_matrix_columns(param), out = zf_matrix_rows(param);
  void *data;
  float *w = zf_calloc(ROWS * in, sizeof *w);
  int rc = w ? zf_overlay_reserve(job->overlay, number, ZF_F32, &data) : ZF_ENOMEM;
  for (int64_t first = 0; first < out && !rc; first += ROWS) {
    int64_t rows = zf_min64(ROWS, out - first);
    zf_matrix_read(w, param, first, rows);
    for (int64_t i = 0; i < rows; i++) {
      int64_t channel = first + i - first_row;
      float by = row_factor && channel >= 0 && channel < scaled_rows ? row_factor[channel] : 1;
      for (int64_t j = 0; j < in; j++) w[i * in + j] *= by * (factor ? factor[j] : 1);
    }
    zf_matrix_write(data, param, w, first, rows);
  }
  free(w);
  if (!rc) zf_overlay_use(job->overlay, number);
  return rc;
}

/* Multiplies elements of a vector from `first` on. */
static int scale_vector(const struct zf_quantization *job, int32_t number, const float *factor,
                        int64_t first, int64_t count) {
  if (number < 0) return 0;
  const struct zf_param *param = &job->model->params.param[number];
  void *data;
  int rc = zf_overlay_reserve(job->overlay, number, ZF_F32, &data);
  if (rc) return rc;
  float *value = data, plus = param->plus;
  zf_to_f32(value, param->data, param->type, param->count);
  for (int64_t i = 0; i < count; i++)
    value[first + i] = (value[first + i] + plus) * factor[i] - plus;
  zf_overlay_use(job->overlay, number);
  return 0;
}

/* Scales the input's matrices up and the operation in front down. */
static int fold(struct awq_input *input) {
  const struct zf_fold *front = &input->fold;
  float *inverse = zf_calloc(front->channels, sizeof *inverse);
  int rc = inverse ? 0 : ZF_ENOMEM;
  for (int64_t j = 0; !rc && j < input->layer->input[input->number].moments.width; j++)
    inverse[zf_fold_channel(front, j)] = 1 / input->scale[j];
  for (int i = 0; i < input->layer->matrices && !rc; i++)
    if (input->layer->matrix[i].input == input->number)
      rc = scale_matrix(input->job, input->layer->matrix[i].param, input->scale, NULL, 0, 0);
  if (!rc && front->kind == ZF_FOLD_NORM)
    rc = scale_vector(input->job, front->weight, inverse, 0, front->channels);
  if (!rc && front->kind == ZF_FOLD_ROWS)
    rc = scale_matrix(input->job, front->weight, NULL, inverse, front->first_row, front->channels);
  if (!rc) rc = scale_vector(input->job, front->bias, inverse, front->first_row, front->channels);
  free(inverse);
  return rc;
}

/* Scales one input; importance [width] is what the rounding of its matrices takes. */
static int scale_input(const struct zf_quantization *job, struct zf_layer *layer, int number,
                       float *importance) {
  struct awq_input input = {
      .job = job, .layer = layer, .number = number, .fold = zf_fold_find(layer, number)};
  struct zf_moments *moments = &layer->input[number].moments;
  zf_moments_importance(moments, importance);
  if (input.fold.kind == ZF_FOLD_NONE) return 0;
  zf_moments_mirror(moments);
  int rc = prepare(&input);
  double alpha = rc ? 0 : best_alpha(&input);
  if (!rc && alpha > 0) {
    set_scales(&input, alpha);
    memcpy(importance, input.importance, (size_t)moments->width * sizeof *importance);
    rc = fold(&input);
  }
  release(&input);
  return rc ? rc : zf_quantize_stopped(job);
}

int zf_quantize_awq(const struct zf_quantization *job, struct zf_layer *layer) {
  float *importance[ZF_LAYER_MATRICES] = {NULL};
  int rc = 0;
  for (int i = 0; i < layer->inputs && !rc; i++) {
    importance[i] = zf_calloc(layer->input[i].moments.width, sizeof *importance[i]);
    rc = importance[i] ? scale_input(job, layer, i, importance[i]) : ZF_ENOMEM;
  }
  for (int i = 0; i < layer->matrices && !rc; i++)
    rc = zf_quantize_param(job, layer->matrix[i].param, importance[layer->matrix[i].input]);
  for (int i = 0; i < layer->inputs; i++) free(importance[i]);
  return rc;
}
