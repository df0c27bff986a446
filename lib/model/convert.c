/* Copies tensors of a file to parameters, in another dtype or in another order of rows. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "model/model_internal.h"

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

int zf_gguf_copy_rows(struct zf_param *param, const struct zf_st_tensor *tensor,
                      struct zf_gguf_change change) {
  if (change.transposed) return copy_turned(param, tensor);
  copy_heads(param, tensor, change);
  return 0;
}
