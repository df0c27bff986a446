/* Values of parameters: from a tensor of a file, from the checkpoint again, from a saved state. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "model/model_internal.h"

struct zf_gguf_change zf_model_change(const struct zf_model *model, const char *name) {
  return zf_gguf_change(model->gguf, &model->config, name);
}

/* Converts chunk by chunk through a small buffer, so that no second copy of a tensor is needed. */
void zf_model_convert(void *dst, enum zf_dtype to, const unsigned char *src, enum zf_dtype from,
                      int64_t total) {
  enum { CHUNK = 4096 };
  float chunk[CHUNK];
  size_t align = zf_dtype_align(from);
  if (to == from) {
    memcpy(dst, src, zf_dtype_bytes(to, total));
    return;
  }
  for (int64_t i = 0; i < total; i += CHUNK) {
    int64_t count = total - i < CHUNK ? total - i : CHUNK;
    uint16_t half[CHUNK];
    const void *in = src + zf_dtype_bytes(from, i);
    if ((uintptr_t)in % align)
      in = memcpy(align == 2 ? (void *)half : (void *)chunk, in, (size_t)count * align);
    if (in != (const void *)chunk) zf_to_f32(chunk, in, from, count);
    zf_from_f32((char *)dst + zf_dtype_bytes(to, i), chunk, to, count);
  }
}

/* Copies the rows of heads in the checkpoint's order. */
static void copy_heads(struct zf_param *param, const struct zf_st_tensor *tensor,
                       struct zf_gguf_change change) {
  enum zf_dtype from = (enum zf_dtype)tensor->type;
  int64_t width = param->count / param->shape[0];
  for (int64_t i = 0; i < param->shape[0]; i++) {
    int64_t from_row = zf_gguf_file_row(change, param->shape[0], i);
    zf_model_convert((char *)param->data + zf_dtype_bytes(param->type, i * width), param->type,
                     tensor->data + zf_dtype_bytes(from, from_row * width), from, width);
  }
}

/* Copies a matrix that the file has as [out,in] and the checkpoint as [in,out], row by row of the file. */
static int copy_turned(struct zf_param *param, const struct zf_st_tensor *tensor) {
  enum zf_dtype from = (enum zf_dtype)tensor->type;
  int64_t in = param->shape[0], out = param->shape[1];
  size_t size = zf_dtype_info(param->type)->size;
  float *row = zf_calloc(in, sizeof *row);
  if (!row) return ZF_ENOMEM;
  for (int64_t i = 0; i < out; i++) {
    zf_model_convert(row, ZF_F32, tensor->data + zf_dtype_bytes(from, i * in), from, in);
    for (int64_t k = 0; k < in; k++)
      zf_from_f32((char *)param->data + (size_t)(k * out + i) * size, row + k, param->type, 1);
  }
  free(row);
  return 0;
}

int zf_model_copy_rows(struct zf_param *param, const struct zf_st_tensor *tensor,
                       struct zf_gguf_change change) {
  if (change.transposed) return copy_turned(param, tensor);
  copy_heads(param, tensor, change);
  return 0;
}

void zf_model_subtract(struct zf_param *param, float number) {
  float *value = param->data;
  for (int64_t i = 0; number != 0 && i < param->count; i++) value[i] -= number;
}

/* Reads a parameter from a tensor of a file, chunk by chunk, and releases the pages behind it: the
 * tensor's pages are never all resident together with its values. */
static void read_tensor(struct zf_param *param, const struct zf_st *st,
                        const struct zf_st_tensor *tensor) {
  enum { CHUNK = 1 << 17 }; /* values: a multiple of every dtype's block */
  const struct zf_map *map = &st->map[tensor->file];
  enum zf_dtype from = (enum zf_dtype)tensor->type;
  for (int64_t i = 0; i < param->count; i += CHUNK) {
    int64_t count = param->count - i < CHUNK ? param->count - i : CHUNK;
    const unsigned char *src = tensor->data + zf_dtype_bytes(from, i);
    zf_model_convert((char *)param->data + zf_dtype_bytes(param->type, i), param->type, src, from,
                     count);
    zf_map_drop(map, (size_t)(tensor->data - map->data),
                (size_t)(src - tensor->data) + zf_dtype_bytes(from, count));
  }
}

/* Reads the values of a trained parameter as the model was opened with them. */
static void read_again(const struct zf_model *model, struct zf_param *param,
                       const struct zf_st_tensor *tensor) {
  struct zf_gguf_change change = zf_model_change(model, tensor->name);
  if (change.heads) /* matrices that are held transposed are not trained */
    copy_heads(param, tensor, change);
  else
    read_tensor(param, model->st, tensor);
  zf_model_subtract(param, change.subtract);
}

void zf_model_reset(struct zf_model *model) {
  for (int64_t i = 0; i < model->plan.wanted_count; i++) {
    struct zf_param *param = &model->params.param[i];
    if (!param->trained) continue;
    if (model->from[i])
      read_again(model, param, model->from[i]);
    else
      zf_model_create_values(model, i);
  }
  for (int64_t i = model->plan.wanted_count; i < model->params.count; i++) {
    struct zf_param *param = &model->params.param[i];
    if (param->start) memcpy(param->data, param->start, (size_t)param->count * sizeof(float));
    if (param->zero_start) memset(param->data, 0, (size_t)param->count * sizeof(float));
  }
  zf_params_clear_state(&model->params);
}

/* Reads the states of a parameter that has some. */
static int reload_state(struct zf_param *param, const struct zf_st *from) {
  int64_t count = zf_param_coordinates(param);
  for (int i = 0; i < ZF_PARAM_STATES; i++) {
    if (!param->state[i]) continue;
    char *name = zf_asprintf("%s%s", param->name, zf_param_state_suffix[i]);
    const struct zf_st_tensor *tensor = name ? zf_st_find(from, name) : NULL;
    struct zf_param state = {.data = param->state[i], .type = ZF_F32, .count = count};
    int rc = name ? 0 : ZF_ENOMEM;
    if (name && (!tensor || tensor->type != ZF_F32 || tensor->count != count))
      rc = zf_error(ZF_EINVALID, "%s: tensor '%s': expected %lld elements in F32", from->path[0],
                    name, (long long)count);
    free(name);
    if (rc) return rc;
    read_tensor(&state, from, tensor);
  }
  return 0;
}

/* 1 where a saved tensor has the parameter's type and size; blocks are saved as bytes. */
static int is_saved(const struct zf_st_tensor *tensor, const struct zf_param *param) {
  if (param->type >= ZF_DTYPES)
    return !strcmp(tensor->dtype, "U8") &&
           tensor->bytes == zf_dtype_bytes(param->type, param->count);
  return tensor->type == (int)zf_dtype_saved(param->type) && tensor->count == param->count;
}

int zf_model_reload(struct zf_model *model, const struct zf_st *from) {
  for (int64_t i = 0; i < model->params.count; i++) {
    struct zf_param *param = &model->params.param[i];
    if (!param->trained) continue;
    const struct zf_st_tensor *tensor = zf_st_find(from, param->name);
    if (!tensor || !is_saved(tensor, param))
      return zf_error(ZF_EINVALID,
                      "%s: tensor '%s': expected %lld elements in %s, as the run saved them",
                      from->path[0], param->name, (long long)param->count,
                      zf_dtype_info(zf_dtype_saved(param->type))->name);
    struct zf_st_tensor stored = *tensor;
    if (param->type >= ZF_DTYPES) stored.type = (int)param->type; /* its bytes */
    read_tensor(param, from, &stored);
    int rc = reload_state(param, from);
    if (rc) return rc;
  }
  return 0;
}
