/* Element types of stored tensors, as a table. */
#ifndef ZF_TENSOR_DTYPE_H
#define ZF_TENSOR_DTYPE_H

#include <stddef.h>
#include <stdint.h>

enum zf_dtype {
  ZF_F32,
  ZF_F16,
  ZF_BF16,
  ZF_DTYPES /* how many */
};

struct zf_dtype_info {
  const char *name;        /* "f32": config and display */
  const char *safetensors; /* "F32" */
  size_t size;             /* bytes an element */
};

const struct zf_dtype_info *zf_dtype_info(enum zf_dtype t);

/* By config name ("f32"), or by safetensors name ("F32"); -1 when unknown. */
int zf_dtype_by_name(const char *name);
int zf_dtype_by_safetensors(const char *name);

/* Scalar conversions, round to nearest even; bf16 keeps NaN quiet. */
float zf_f16_to_f32(uint16_t h);
uint16_t zf_f32_to_f16(float f);
float zf_bf16_to_f32(uint16_t h);
uint16_t zf_f32_to_bf16(float f);

/* dst[0..n) f32 <- src[0..n) of type t, and back (round to nearest even).
 * Plain C: for loading, saving and tests; hot paths use kern/. */
void zf_to_f32(float *dst, const void *src, enum zf_dtype t, int64_t n);
void zf_from_f32(void *dst, const float *src, enum zf_dtype t, int64_t n);

#endif
