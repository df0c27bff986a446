/* Computes merged tensors span by span, in double, from the base's values and the changes in their order. */
#include "base/util.h"
#include "peft/merge_internal.h"

const struct zf_param *zf_merge_param(const struct zf_adapter_merge *merge, int64_t number) {
  return number == merge->model->plan.wanted_count ? zf_model_embedding(merge->model)
                                                   : &merge->model->params.param[number];
}

int zf_merge_applies(const struct zf_adapter_merge *merge, const struct merge_change *change,
                     int64_t number) {
  if (change->number == number) return 1;
  return number == merge->model->plan.wanted_count && change->kind == ZF_MERGE_REPLACE &&
         zf_merge_param(merge, change->number) == zf_model_embedding(merge->model);
}

struct merge_span zf_merge_span(int64_t index, int64_t width, int64_t column) {
  return (struct merge_span){index, width, column, zf_min64(width - column, ZF_MERGE_SPAN)};
}

void zf_merge_base(const struct zf_adapter_merge *merge, int64_t number,
                   const struct merge_span *span, double *value) {
  float narrow[ZF_MERGE_SPAN];
  const struct zf_param *param = zf_merge_param(merge, number);
  size_t offset = zf_dtype_bytes(param->type, span->index * span->width + span->column);
  zf_to_f32(narrow, (const char *)param->data + offset, param->type, span->count);
  for (int64_t i = 0; i < span->count; i++) value[i] = (double)narrow[i];
}

/* --- kinds of changes --- */

static void copy_row(double *value, const struct merge_change *change,
                     const struct merge_span *span, int64_t row) {
  const float *from = change->data + row * span->width + span->column;
  for (int64_t i = 0; i < span->count; i++) value[i] = (double)from[i];
}

static void replace(const struct merge_change *change, const struct merge_span *span,
                    double *value) {
  copy_row(value, change, span, span->index);
}

static void replace_row(const struct merge_change *change, const struct merge_span *span,
                        double *value) {
  for (int64_t k = 0; k < change->id_count; k++)
    if (change->ids[k] == span->index) copy_row(value, change, span, k);
}

/* Entry [output][k] of the outer matrix with all factors. */
static double outer_value(const struct merge_change *change, int64_t output, int64_t k) {
  double value = change->scale * (double)change->outer[output * change->rank + k];
  if (change->outer_factor) value *= (double)change->outer_factor[output];
  return change->inner_factor ? value * (double)change->inner_factor[k] : value;
}

/* The span is of one output, or with `flipped` of one input. */
static void add_product(const struct merge_change *change, const struct merge_span *span,
                        double *value) {
  for (int64_t k = 0; k < change->rank; k++) {
    const float *inner = change->inner + k * change->inner_ld;
    if (change->flipped) {
      double input = (double)inner[span->index];
      for (int64_t o = 0; o < span->count; o++)
        value[o] += outer_value(change, span->column + o, k) * input;
    } else {
      double outer = outer_value(change, span->index, k);
      for (int64_t i = 0; i < span->count; i++) value[i] += outer * (double)inner[span->column + i];
    }
  }
}

/* Factors of outputs stand along the rows of a tensor, and along its columns where it is flipped. */
static void scale(const struct merge_change *change, const struct merge_span *span, double *value) {
  int along_rows = (change->kind == ZF_MERGE_OUTPUTS) != change->flipped;
  for (int64_t i = 0; i < span->count; i++)
    value[i] *= change->factor[along_rows ? span->index : span->column + i];
}

static void (*const apply[])(const struct merge_change *change, const struct merge_span *span,
                             double *value) = {
    [ZF_MERGE_REPLACE] = replace, [ZF_MERGE_PRODUCT] = add_product, [ZF_MERGE_OUTPUTS] = scale,
    [ZF_MERGE_INPUTS] = scale,    [ZF_MERGE_ROWS] = replace_row,
};

void zf_merge_apply(const struct merge_change *change, const struct merge_span *span,
                    double *value) {
  apply[change->kind](change, span, value);
}

/* --- rows --- */

static void read_span(const struct zf_adapter_merge *merge, int64_t number,
                      const struct merge_span *span, float *value) {
  double sum[ZF_MERGE_SPAN];
  zf_merge_base(merge, number, span, sum);
  for (int64_t i = 0; i < merge->count; i++)
    if (zf_merge_applies(merge, &merge->change[i], number))
      zf_merge_apply(&merge->change[i], span, sum);
  for (int64_t i = 0; i < span->count; i++) value[i] = (float)sum[i];
}

void zf_merge_read(void *ctx, int64_t number, int64_t first, int64_t rows, float *value) {
  const struct zf_adapter_merge *merge = ctx;
  const struct zf_param *param = zf_merge_param(merge, number);
  int64_t width = param->count / zf_max64(param->shape[0], 1);
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < rows; i++)
    for (int64_t column = 0; column < width; column += ZF_MERGE_SPAN) {
      struct merge_span span = zf_merge_span(first + i, width, column);
      read_span(merge, number, &span, value + i * width + column);
    }
}
