/* Writes an image: keys, then rows of each tensor, encoded in its type. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/util.h"
#include "compress/image_internal.h"
#include "kern/kern.h"
#include "tensor/quantize.h"

/* --- the kind of file --- */

/* llama.cpp's numbers for files by the type of most of their weights; `mixed`: where some matrices have
 * a wider type, as its own quantiser mixes them. */
static const struct {
  enum zf_dtype type;
  int plain, mixed;
} file_types[] = {
    {ZF_F32, 0, 0},      {ZF_F16, 1, 1},      {ZF_Q4_0, 2, 2},   {ZF_Q4_1, 3, 3},
    {ZF_Q8_0, 7, 7},     {ZF_Q5_0, 8, 8},     {ZF_Q5_1, 9, 9},   {ZF_Q2_K, 10, 10},
    {ZF_Q3_K, 11, 12},   {ZF_Q4_K, 14, 15},   {ZF_Q5_K, 16, 17}, {ZF_Q6_K, 18, 18},
    {ZF_IQ4_NL, 25, 25}, {ZF_IQ4_XS, 30, 30}, {ZF_BF16, 32, 32},
};
enum { FILE_TYPES = sizeof file_types / sizeof *file_types };

/* Elements of matrices in each type; the embedding and the head are left out, if others are there. */
static void count_types(int64_t count[ZF_DTYPES_READ], const struct zf_image *image, int all) {
  memset(count, 0, ZF_DTYPES_READ * sizeof *count);
  for (int64_t i = 0; i < image->count; i++) {
    const struct zf_image_tensor *tensor = &image->tensor[i];
    int in_block = !strncmp(tensor->name, "blk.", 4);
    if (tensor->is_matrix && (all || in_block))
      count[tensor->type] += tensor->rows * tensor->columns;
  }
}

static int file_type(const struct zf_image *image) {
  int64_t count[ZF_DTYPES_READ], total = 0;
  int most = 0;
  count_types(count, image, 0);
  for (int i = 0; i < ZF_DTYPES_READ; i++) total += count[i];
  if (!total) count_types(count, image, 1);
  for (int i = 1; i < ZF_DTYPES_READ; i++)
    if (count[i] > count[most]) most = i;
  for (int i = 0; i < FILE_TYPES; i++)
    if ((int)file_types[i].type == most)
      return total == count[most] ? file_types[i].plain : file_types[i].mixed;
  return 0;
}

static int has_blocks(const struct zf_image *image) {
  for (int64_t i = 0; i < image->count; i++)
    if (zf_dtype_info(image->tensor[i].type)->block > 1) return 1;
  return 0;
}

/* --- beginning --- */

static struct zf_gguf_tensor_out *declare(const struct zf_image *image) {
  struct zf_gguf_tensor_out *out = zf_calloc(image->count + 1, sizeof *out);
  for (int64_t i = 0; out && i < image->count; i++) {
    const struct zf_image_tensor *tensor = &image->tensor[i];
    out[i] = (struct zf_gguf_tensor_out){
        .name = tensor->name, .type = tensor->type, .ndim = tensor->ndim};
    memcpy(out[i].shape, tensor->shape, sizeof out[i].shape);
  }
  return out;
}

/* The image's keys with those of the file; the entries borrow what they point to. */
static struct zf_gguf_value *file_keys(const struct zf_image *image, int64_t *count) {
  struct zf_gguf_value *value = zf_calloc(image->keys.count + 2, sizeof *value);
  if (!value) return NULL;
  *count = image->keys.count;
  if (*count) memcpy(value, image->keys.value, (size_t)*count * sizeof *value);
  value[(*count)++] = (struct zf_gguf_value){
      .key = "general.file_type", .type = ZF_GGUF_U32, .number = (uint32_t)file_type(image)};
  if (has_blocks(image))
    value[(*count)++] = (struct zf_gguf_value){
        .key = "general.quantization_version", .type = ZF_GGUF_U32, .number = 2};
  return value;
}

int zf_image_begin_parts(struct zf_gguf_out **out, const struct zf_image *image, const char *path,
                         int64_t limit) {
  int64_t count = 0;
  struct zf_gguf_tensor_out *tensor = declare(image);
  struct zf_gguf_value *value = tensor ? file_keys(image, &count) : NULL;
  *out = NULL;
  int rc = value ? zf_gguf_out_open_parts(out, path, value, count, tensor, image->count, limit)
                 : ZF_ENOMEM;
  free(value);
  free(tensor);
  return rc;
}

int zf_image_begin(struct zf_gguf_out **out, const struct zf_image *image, const char *path) {
  return zf_image_begin_parts(out, image, path, 0);
}

/* --- rows --- */

struct row_writer {
  struct zf_gguf_out *out;
  const struct zf_image *image;
  const struct zf_save_values *values;
  float *value; /* [step][columns] */
  char *encoded;
};

/* 1 where the file's rows are those of the GGUF file that the model came from. */
static int is_same(const struct zf_image_tensor *tensor, const struct zf_save_values *values) {
  return tensor->stored && tensor->stored->type == (int)tensor->type &&
         !zf_image_changed(tensor, values);
}

int zf_image_is_held(const struct zf_image *image, const struct zf_image_tensor *tensor,
                     const struct zf_save_values *values) {
  if (tensor->constant || tensor->stored || zf_image_changed(tensor, values)) return 0;
  const struct zf_param *param = zf_image_param(image, tensor);
  return param->type == tensor->type && param->ndim == 2 && !param->transposed &&
         zf_dtype_info(param->type)->block > 1;
}

/* Copies the blocks of rows in the file's order. */
static void copy_held(const struct zf_image *image, int64_t number, int64_t first, int64_t rows,
                      char *encoded) {
  const struct zf_image_tensor *tensor = &image->tensor[number];
  const char *data = zf_image_param(image, tensor)->data;
  size_t bytes = zf_dtype_bytes(tensor->type, tensor->columns);
  for (int64_t i = 0; i < rows; i++)
    memcpy(encoded + (size_t)i * bytes,
           data + (size_t)zf_image_held_row(image, number, first + i) * bytes, bytes);
}

static int check_finite(const struct zf_image *image, const struct zf_image_tensor *tensor,
                        const float *value, int64_t count) {
  for (int64_t i = 0; i < count; i++)
    if (!isfinite(value[i]))
      return zf_error(ZF_EDIVERGED, "%s: tensor '%s' has a value that is not finite: not written",
                      image->model->dir, tensor->name);
  return 0;
}

/* f16, and scales of blocks, which are f16: a value of 65520 rounds to infinity. */
static int check_range(const struct zf_image *image, const struct zf_image_tensor *tensor,
                       const float *value, int64_t count) {
  const struct zf_dtype_info *info = zf_dtype_info(tensor->type);
  if (tensor->type != ZF_F16 && info->block == 1) return 0;
  for (int64_t i = 0; i < count; i++)
    if (fabsf(value[i]) >= 65520)
      return zf_error(ZF_EUSAGE,
                      "%s: tensor '%s' has a value too large for %s: not written; bf16 and f32 "
                      "hold it",
                      image->model->dir, tensor->name, info->name);
  return 0;
}

/* Rounds a change to f16 and bf16 at random, since rounding to nearest would lose most of it. */
static void encode(const struct zf_image_tensor *tensor, int changed, int64_t first, int64_t rows,
                   const float *value, char *encoded) {
  int64_t columns = tensor->columns;
  size_t bytes = zf_dtype_bytes(tensor->type, columns);
  struct zf_noise round = {.use = ZF_USE_ROUNDING, .param = (uint32_t)tensor->param};
  int narrow = tensor->type == ZF_F16 || tensor->type == ZF_BF16;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < rows; i++) {
    if (changed && narrow)
      zf_round(encoded + (size_t)i * bytes, tensor->type, value + i * columns, &round,
               (first + i) * columns, columns);
    else
      zf_quantize(encoded + (size_t)i * bytes, value + i * columns, tensor->type, 1, columns, NULL);
  }
}

static int write_rows(const struct row_writer *writer, int64_t number, int64_t first,
                      int64_t rows) {
  const struct zf_image_tensor *tensor = &writer->image->tensor[number];
  int64_t count = rows * tensor->columns;
  if (is_same(tensor, writer->values))
    return zf_gguf_out_rows(writer->out, number, first, rows,
                            tensor->stored->data +
                                zf_dtype_bytes(tensor->type, first * tensor->columns));
  if (zf_image_is_held(writer->image, tensor, writer->values)) {
    copy_held(writer->image, number, first, rows, writer->encoded);
    zf_image_read(writer->image, writer->values, number, first, rows, writer->value);
    int rc = check_finite(writer->image, tensor, writer->value, count);
    return rc ? rc : zf_gguf_out_rows(writer->out, number, first, rows, writer->encoded);
  }
  if (!zf_can_quantize(tensor->type))
    return zf_error(ZF_EUSAGE, "%s: tensor '%s': values cannot be encoded as %s: name another type",
                    writer->image->model->dir, tensor->name, zf_dtype_info(tensor->type)->name);
  zf_image_read(writer->image, writer->values, number, first, rows, writer->value);
  int rc = check_finite(writer->image, tensor, writer->value, count);
  if (!rc) rc = check_range(writer->image, tensor, writer->value, count);
  if (rc) return rc;
  encode(tensor, zf_image_changed(tensor, writer->values), first, rows, writer->value,
         writer->encoded);
  return zf_gguf_out_rows(writer->out, number, first, rows, writer->encoded);
}

static int write_tensor(const struct row_writer *writer, int64_t number) {
  const struct zf_image_tensor *tensor = &writer->image->tensor[number];
  const struct zf_save_values *values = writer->values;
  int64_t step = zf_image_step(tensor);
  for (int64_t i = 0; i < tensor->rows; i += step) {
    if (values && values->tick && values->tick(values->ctx))
      return zf_error(ZF_ESTOPPED, "interrupted while writing");
    int rc = write_rows(writer, number, i, zf_min64(step, tensor->rows - i));
    if (rc) return rc;
  }
  return 0;
}

int zf_image_fill(struct zf_gguf_out *out, const struct zf_image *image,
                  const struct zf_save_values *values) {
  struct row_writer writer = {.out = out, .image = image, .values = values};
  int64_t most = 1;
  for (int64_t i = 0; i < image->count; i++)
    most = zf_max64(most, zf_image_step(&image->tensor[i]) * image->tensor[i].columns);
  writer.value = zf_calloc(most, sizeof *writer.value);
  writer.encoded = zf_calloc(most, sizeof *writer.value);
  int rc = writer.value && writer.encoded ? 0 : ZF_ENOMEM;
  for (int64_t i = 0; i < image->count; i++)
    if (!rc) rc = write_tensor(&writer, i);
  free(writer.value);
  free(writer.encoded);
  return rc;
}

/* --- all of it --- */

static int has_head(const struct zf_image *image) {
  for (int64_t i = 0; i < image->count; i++)
    if (image->tensor[i].param == image->model->plan.wanted_count) return 1;
  return 0;
}

int zf_image_write_checked(const struct zf_image *image, const struct zf_tok *tok, const char *path,
                           const struct zf_save_values *values) {
  struct zf_gguf_out *out = NULL;
  const char *tmp;
  if (values && values->own_head && !has_head(image))
    return zf_error(ZF_EFAIL, "%s: the head is one of its own: zf_image_untie comes first", path);
  int rc = zf_image_begin(&out, image, path);
  if (!rc) rc = zf_image_fill(out, image, values);
  if (!rc) rc = zf_gguf_out_flush(out, &tmp);
  if (!rc) rc = zf_image_verify(image, tok, tmp, values);
  if (!rc) return zf_gguf_out_close(out);
  zf_gguf_out_drop(out);
  return rc;
}

int zf_image_write(const struct zf_image *image, const char *path,
                   const struct zf_save_values *values) {
  return zf_image_write_checked(image, NULL, path, values);
}
