#include "compress/layer.h"

#include <assert.h>
#include <string.h>

#include "base/err.h"

/* --- matrices --- */

int64_t zf_matrix_rows(const struct zf_param *param) {
  return param->shape[param->transposed ? 1 : 0];
}

int64_t zf_matrix_columns(const struct zf_param *param) {
  return param->shape[param->transposed ? 0 : 1];
}

static const void *element(const struct zf_param *param, int64_t index) {
  return (const char *)param->data + zf_dtype_bytes(param->type, index);
}

void zf_matrix_read(float *w, const struct zf_param *param, int64_t first, int64_t rows) {
  int64_t in = zf_matrix_columns(param), out = zf_matrix_rows(param);
  if (!param->transposed) {
    zf_to_f32(w, element(param, first * in), param->type, rows * in);
    return;
  }
  for (int64_t j = 0; j < in; j++)
    for (int64_t i = 0; i < rows; i++)
      zf_to_f32(w + i * in + j, element(param, j * out + first + i), param->type, 1);
}

void zf_matrix_write(float *to, const struct zf_param *param, const float *w, int64_t first,
                     int64_t rows) {
  int64_t in = zf_matrix_columns(param), out = zf_matrix_rows(param);
  if (!param->transposed) {
    memcpy(to + first * in, w, (size_t)(rows * in) * sizeof *w);
    return;
  }
  for (int64_t j = 0; j < in; j++)
    for (int64_t i = 0; i < rows; i++) to[j * out + first + i] = w[i * in + j];
}

/* --- the layer --- */

/* The number of the first operation of those that read the same input as number `at`. */
static int64_t first_reader(const struct zf_plan *plan, int64_t at) {
  while (plan->op[at].reuse_input) {
    at--;
    while (plan->op[at].kind != ZF_OP_LINEAR) at--;
  }
  return at;
}

static int find_input(struct zf_layer *layer, int64_t first_op) {
  int i = 0;
  while (i < layer->inputs && layer->input[i].first_op != first_op) i++;
  if (i == layer->inputs) layer->input[layer->inputs++].first_op = first_op;
  return i;
}

static int lists_param(const struct zf_layer *layer, int32_t param) {
  for (int i = 0; i < layer->matrices; i++)
    if (layer->matrix[i].param == param) return 1;
  return 0;
}

static void add_matrix(struct zf_layer *layer, int64_t at) {
  const struct zf_plan *plan = &layer->model->plan;
  const struct zf_op *op = &plan->op[at];
  const struct zf_param *param = &layer->model->params.param[op->weight];
  if (lists_param(layer, op->weight)) return; /* another operation multiplies by other rows of it */
  assert(layer->matrices < ZF_LAYER_MATRICES);
  layer->matrix[layer->matrices++] =
      (struct zf_layer_matrix){.param = op->weight,
                               .op = at,
                               .out = zf_matrix_rows(param),
                               .in = zf_matrix_columns(param),
                               .input = find_input(layer, first_reader(plan, at))};
}

int zf_layer_open(struct zf_layer *layer, const struct zf_model *model, int64_t number, int full,
                  int64_t most_rows) {
  const struct zf_plan *plan = &model->plan;
  *layer = (struct zf_layer){.model = model, .number = number};
  for (int64_t i = 0; i < plan->body; i++)
    if (plan->op[i].kind == ZF_OP_LINEAR && plan->op[i].layer == number && !plan->op[i].adapter)
      add_matrix(layer, i);
  for (int i = 0; i < layer->inputs; i++) {
    int64_t width = plan->op[layer->input[i].first_op].inputs;
    int rc = zf_moments_init(&layer->input[i].moments, width, full, most_rows);
    if (rc) return rc;
  }
  return 0;
}

void zf_layer_close(struct zf_layer *layer) {
  for (int i = 0; i < layer->inputs; i++) zf_moments_free(&layer->input[i].moments);
  *layer = (struct zf_layer){0};
}

void zf_layer_watch(void *ctx, const struct zf_op *op, const float *x, int64_t ld, int64_t rows) {
  struct zf_layer *layer = ctx;
  int64_t number = op - layer->model->plan.op;
  for (int i = 0; i < layer->inputs; i++)
    if (layer->input[i].first_op == number) zf_moments_add(&layer->input[i].moments, x, ld, rows);
}
