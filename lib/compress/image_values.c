/* Values of an image's tensors: the parameters', with the rows and columns in llama.cpp's order. */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "compress/image_internal.h"

int zf_image_changed(const struct zf_image_tensor *tensor, const struct zf_save_values *values) {
  return values && tensor->param >= 0 && values->changed(values->ctx, tensor->param);
}

const struct zf_param *zf_image_param(const struct zf_image *image,
                                      const struct zf_image_tensor *tensor) {
  return tensor->param == image->model->plan.wanted_count
             ? zf_model_embedding(image->model)
             : &image->model->params.param[tensor->param];
}

int64_t zf_image_step(const struct zf_image_tensor *tensor) {
  enum { CHUNK = 1 << 20 };
  return zf_min64(tensor->rows, zf_max64(1, CHUNK / tensor->columns));
}

/* The change of the tensor by the name of its checkpoint. */
static struct zf_gguf_change change_of(const struct zf_image *image,
                                       const struct zf_image_tensor *tensor) {
  struct zf_gguf_change change = {0};
  if (tensor->param < 0 || tensor->param >= image->model->plan.wanted_count) return change;
  char *name = zf_gguf_checkpoint_name(image->arch, tensor->name);
  if (name) change = zf_gguf_change(image->arch, &image->model->config, name);
  free(name);
  return change;
}

/* Rows from `first` on of a matrix of `type` as f32. */
static void expand(float *out, const void *data, enum zf_dtype type, int64_t first, int64_t rows,
                   int64_t width) {
#pragma omp parallel for schedule(static) if (rows * width > 1 << 14)
  for (int64_t i = 0; i < rows; i++)
    zf_to_f32(out + i * width, (const char *)data + zf_dtype_bytes(type, (first + i) * width), type,
              width);
}

/* Rows of the parameter as it is stored. */
static void read_stored(const struct zf_image *image, const struct zf_save_values *values,
                        const struct zf_image_tensor *tensor, int64_t first, int64_t rows,
                        float *out) {
  const struct zf_param *param = zf_image_param(image, tensor);
  int64_t width = param->count / param->shape[0];
  if (zf_image_changed(tensor, values)) {
    values->read(values->ctx, tensor->param, first, rows, out);
    return;
  }
  expand(out, param->data, param->type, first, rows, width);
}

/* Columns [first, first + rows) of a matrix stored [in,out], as rows. */
static void read_turned(const struct zf_image *image, const struct zf_save_values *values,
                        const struct zf_image_tensor *tensor, int64_t first, int64_t rows,
                        float *out) {
  for (int64_t column = 0; column < tensor->columns; column++) {
    read_stored(image, values, tensor, column, 1, image->scratch);
    for (int64_t row = 0; row < rows; row++)
      out[row * tensor->columns + column] = image->scratch[first + row];
  }
}

/* A vector is stored as `columns` rows of one value. */
static void read_rows(const struct zf_image *image, const struct zf_save_values *values,
                      const struct zf_image_tensor *tensor, int64_t first, int64_t rows,
                      float *out) {
  struct zf_gguf_change change = change_of(image, tensor);
  int vector = tensor->ndim == 1;
  int64_t all = vector ? tensor->columns : tensor->rows, width = vector ? 1 : tensor->columns,
          count = vector ? tensor->columns : rows;
  if (!change.heads) {
    read_stored(image, values, tensor, first + tensor->skip, count, out);
  } else {
    for (int64_t i = 0; i < count; i++)
      read_stored(image, values, tensor, zf_gguf_checkpoint_row(change, all, first + i), 1,
                  out + i * width);
  }
  if (change.subtract != 0)
    for (int64_t i = 0; i < count * width; i++) out[i] += change.subtract;
}

/* Rows that are vectors of the model. */
static void read_stack(const struct zf_image *image, const struct zf_save_values *values,
                       const struct zf_image_tensor *tensor, int64_t first, int64_t rows,
                       float *out) {
  for (int64_t i = 0; i < rows; i++) {
    struct zf_image_tensor vector = *tensor;
    vector.param = (int32_t)(tensor->param + first + i);
    read_stored(image, values, &vector, 0, tensor->columns, out + i * tensor->columns);
  }
}

void zf_image_read(const struct zf_image *image, const struct zf_save_values *values,
                   int64_t number, int64_t first, int64_t rows, float *out) {
  const struct zf_image_tensor *tensor = &image->tensor[number];
  if (tensor->constant) {
    memcpy(out, tensor->constant, (size_t)tensor->columns * sizeof *out);
  } else if (tensor->stored && !zf_image_changed(tensor, values)) {
    expand(out, tensor->stored->data, (enum zf_dtype)tensor->stored->type, first, rows,
           tensor->columns);
  } else if (tensor->ndim == 2 && zf_image_param(image, tensor)->ndim == 1) {
    read_stack(image, values, tensor, first, rows, out);
  } else if (zf_image_param(image, tensor)->transposed) {
    read_turned(image, values, tensor, first, rows, out);
  } else {
    read_rows(image, values, tensor, first, rows, out);
  }
}

int64_t zf_image_row(const struct zf_image *image, int64_t number, int64_t row) {
  const struct zf_image_tensor *tensor = &image->tensor[number];
  return zf_gguf_file_row(change_of(image, tensor), tensor->rows, row) - tensor->skip;
}

int64_t zf_image_held_row(const struct zf_image *image, int64_t number, int64_t row) {
  const struct zf_image_tensor *tensor = &image->tensor[number];
  struct zf_gguf_change change = change_of(image, tensor);
  return change.heads ? zf_gguf_checkpoint_row(change, tensor->rows, row) : row;
}
