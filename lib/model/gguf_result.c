/* Writes a trained GGUF file: a copy of the base in which trained tensors have other bytes.
 *
 *   scales of blocks   s (1 + u) of each scale whose u is not 0, rounded once to f16
 *   Q8_0 integers      the blocks as they are held
 *   F32, F16, BF16     the values that have changed, rounded once
 *
 * Rounding is stochastic, as zf_model_save_values describes it: the change of a scale is often below the
 * spacing of f16.  All other bytes are those of the base, so keys, tokenizer and types stay. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/file.h"
#include "kern/kern.h"
#include "model/gguf_result.h"
#include "model/model_internal.h"

/* One tensor whose bytes change, and room for a row of it. */
struct changed_tensor {
  const struct zf_model *model;
  int64_t number; /* of the parameter */
  const struct zf_param *param, *scales;
  const struct zf_st_tensor *from;
  struct zf_gguf_change change;
  int64_t rows, width; /* a vector is one row, unless its values are permuted */
  float *value, *base; /* [width] */
  unsigned char *stored;
};

int zf_gguf_is_trained(const struct zf_model *model) {
  if (!model->gguf || zf_model_has_adapter(model)) return 0;
  return zf_params_count(&model->params, 1) > 0;
}

/* The row of memory that becomes row `row` of the file. */
static int64_t held_row(const struct changed_tensor *tensor, int64_t row) {
  if (!tensor->change.heads) return row;
  return zf_gguf_checkpoint_row(tensor->change, tensor->param->shape[0], row);
}

static struct zf_noise rounding_of(const struct changed_tensor *tensor) {
  return (struct zf_noise){.use = ZF_USE_ROUNDING, .param = (uint32_t)tensor->number};
}

static int too_large(const struct changed_tensor *tensor, const char *what) {
  return zf_error(ZF_EUSAGE, "%s: %s of '%s' is out of the range of its type: not written",
                  tensor->model->dir, what, tensor->param->name);
}

static void put_f16(unsigned char *bytes, uint16_t half) {
  bytes[0] = (unsigned char)half;
  bytes[1] = (unsigned char)(half >> 8);
}

/* The scales of a row of blocks. */
static int patch_scales(struct changed_tensor *tensor, unsigned char *row, int64_t number) {
  const struct zf_dtype_info *info = zf_dtype_info(tensor->param->type);
  int64_t count = tensor->scales->shape[1], first = number * count;
  const float *u = (const float *)tensor->scales->data + first;
  uint16_t *half = (uint16_t *)(void *)tensor->stored;
  struct zf_noise round = rounding_of(tensor);
  for (int64_t i = 0; i < count; i++) {
    const unsigned char *scale =
        row + (size_t)(i / info->nscale) * info->size + info->scale[i % info->nscale];
    float s = zf_f16_to_f32((uint16_t)(scale[0] | scale[1] << 8));
    tensor->value[i] = fmaf(u[i], s, s);
  }
  zf_round(half, ZF_F16, tensor->value, &round, first, count);
  for (int64_t i = 0; i < count; i++) {
    if (u[i] == 0) continue;
    if (!isfinite(zf_f16_to_f32(half[i]))) return too_large(tensor, "a scale");
    put_f16(row + (size_t)(i / info->nscale) * info->size + info->scale[i % info->nscale], half[i]);
  }
  return 0;
}

/* The values of a row that is held in f32. */
static int patch_values(struct changed_tensor *tensor, unsigned char *row, int64_t number) {
  enum zf_dtype type = (enum zf_dtype)tensor->from->type;
  int64_t width = tensor->width, first = number * width;
  const float *held = (const float *)tensor->param->data + first;
  size_t size = zf_dtype_info(type)->size;
  struct zf_noise round = rounding_of(tensor);
  zf_model_convert(tensor->base, ZF_F32, row, type, width);
  for (int64_t i = 0; i < width; i++) tensor->value[i] = held[i] + tensor->change.subtract;
  if (type == ZF_F32)
    memcpy(tensor->stored, tensor->value, (size_t)width * size);
  else
    zf_round(tensor->stored, type, tensor->value, &round, first, width);
  for (int64_t i = 0; i < width; i++) {
    if (tensor->base[i] - tensor->change.subtract == held[i]) continue;
    float back;
    zf_to_f32(&back, tensor->stored + (size_t)i * size, type, 1);
    if (!isfinite(back)) return too_large(tensor, "a value");
    memcpy(row + (size_t)i * size, tensor->stored + (size_t)i * size, size);
  }
  return 0;
}

static int patch_row(struct changed_tensor *tensor, unsigned char *row, size_t bytes,
                     int64_t number) {
  if (tensor->scales) return patch_scales(tensor, row, number);
  if ((int)tensor->param->type == tensor->from->type && tensor->param->type != ZF_F32) {
    memcpy(row, (const char *)tensor->param->data + (size_t)number * bytes, bytes);
    return 0;
  }
  return patch_values(tensor, row, number);
}

/* Writes the tensor row by row, in the order of the file. */
static int write_tensor(struct changed_tensor *tensor, FILE *file) {
  size_t bytes = tensor->from->bytes / (size_t)tensor->rows;
  unsigned char *row = zf_malloc(bytes);
  int rc = row ? 0 : ZF_ENOMEM;
  for (int64_t i = 0; i < tensor->rows && !rc; i++) {
    memcpy(row, tensor->from->data + (size_t)i * bytes, bytes);
    rc = patch_row(tensor, row, bytes, held_row(tensor, i));
    if (!rc) fwrite(row, 1, bytes, file);
  }
  free(row);
  return rc;
}

/* --- the list of changed tensors --- */

static int by_place(const void *left, const void *right) {
  const unsigned char *a = ((const struct changed_tensor *)left)->from->data,
                      *b = ((const struct changed_tensor *)right)->from->data;
  return a < b ? -1 : a > b;
}

static int64_t list_changed(struct changed_tensor *list, const struct zf_model *model) {
  int64_t count = 0;
  for (int64_t i = 0; i < model->plan.wanted_count; i++) {
    const struct zf_param *param = &model->params.param[i];
    if (!param->trained && !param->scales) continue;
    list[count++] = (struct changed_tensor){
        .model = model,
        .number = i,
        .param = param,
        .scales = param->scales ? &model->params.param[param->scales] : NULL,
        .from = model->from[i],
        .change = zf_model_change(model, model->from[i]->name)};
    struct changed_tensor *tensor = &list[count - 1];
    tensor->rows = param->ndim > 1 || tensor->change.heads ? param->shape[0] : 1;
    tensor->width = param->count / tensor->rows;
  }
  qsort(list, (size_t)count, sizeof *list, by_place);
  return count;
}

/* Room for one row of the tensor. */
static int open_tensor(struct changed_tensor *tensor) {
  tensor->value = zf_calloc(tensor->width, sizeof *tensor->value);
  tensor->base = zf_calloc(tensor->width, sizeof *tensor->base);
  tensor->stored = zf_calloc(tensor->width, sizeof(float));
  return tensor->value && tensor->base && tensor->stored ? 0 : ZF_ENOMEM;
}

static void close_tensor(struct changed_tensor *tensor) {
  free(tensor->value);
  free(tensor->base);
  free(tensor->stored);
}

/* --- the file --- */

/* Copies bytes [from, to) of the base, and releases its pages behind. */
static void copy_bytes(const struct zf_map *map, size_t from, size_t to, FILE *file) {
  enum { CHUNK = 1 << 20 };
  for (size_t at = from; at < to; at += CHUNK) {
    size_t count = to - at < CHUNK ? to - at : CHUNK;
    fwrite(map->data + at, 1, count, file);
    zf_map_drop(map, at, count);
  }
}

static int write_all(const struct zf_model *model, struct changed_tensor *list, int64_t count,
                     FILE *file) {
  const struct zf_map *map = &model->st->map[0]; /* a file in parts is not trained */
  size_t at = 0;
  for (int64_t i = 0; i < count; i++) {
    size_t first = (size_t)(list[i].from->data - map->data);
    copy_bytes(map, at, first, file);
    int rc = open_tensor(&list[i]);
    if (!rc) rc = write_tensor(&list[i], file);
    close_tensor(&list[i]);
    if (rc) return rc;
    zf_map_drop(map, first, list[i].from->bytes);
    at = first + list[i].from->bytes;
  }
  copy_bytes(map, at, map->len, file);
  return 0;
}

int zf_gguf_save(const struct zf_model *model, const char *path) {
  struct zf_out out = {0};
  int rc = zf_model_finite(model, path);
  if (rc) return rc;
  struct changed_tensor *list = zf_calloc(model->plan.wanted_count, sizeof *list);
  if (!list) return ZF_ENOMEM;
  int64_t count = list_changed(list, model);
  if (!(rc = zf_out_open(&out, path))) {
    rc = write_all(model, list, count, out.file);
    if (!rc) rc = zf_out_commit(&out);
    zf_out_abort(&out);
  }
  free(list);
  return rc;
}
