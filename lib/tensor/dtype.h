/* Element types of stored tensors, as a table. */
#ifndef ZF_TENSOR_DTYPE_H
#define ZF_TENSOR_DTYPE_H

#include <stddef.h>
#include <stdint.h>

enum zf_dtype {
  ZF_F32,
  ZF_F16,
  ZF_BF16,
  ZF_F24, /* the upper 24 bits of an f32: bf16 and eight more of its mantissa; 3 bytes, low first */
  ZF_DTYPES, /* how many there are that a value can be written in; those below are read alone */
  ZF_Q8_0 = ZF_DTYPES, /* blocks of GGUF files (blocks_tmpl.h) */
  ZF_Q4_0,
  ZF_Q4_1,
  ZF_Q5_0,
  ZF_Q5_1,
  ZF_Q2_K,
  ZF_Q3_K,
  ZF_Q4_K,
  ZF_Q5_K,
  ZF_Q6_K,
  ZF_DTYPES_READ
};

struct zf_dtype_info {
  const char *name;        /* "f32": config and display */
  const char *safetensors; /* "F32"; NULL: it has no name there */
  size_t size;             /* bytes an element, or a block */
  int block;               /* elements of a block; 1: elements stand alone */
  int nscale, scale[2];    /* where a block's f16 scales lie in it */
};

const struct zf_dtype_info *zf_dtype_info(enum zf_dtype type);

/* Bytes of n elements, or from the first element to element n: a multiple of the block. */
size_t zf_dtype_bytes(enum zf_dtype type, int64_t n);
/* What an address must be a multiple of. */
size_t zf_dtype_align(enum zf_dtype type);

/* By config name ("f32"), or by safetensors name ("F32"); -1 when unknown. */
int zf_dtype_by_name(const char *name);
int zf_dtype_by_safetensors(const char *name);

/* What a dtype is written as to safetensors: itself, or the one that holds it. */
enum zf_dtype zf_dtype_saved(enum zf_dtype type);

/* Scalar conversions, round to nearest even; bf16 and f24 keep NaN quiet. */
float zf_f16_to_f32(uint16_t h);
uint16_t zf_f32_to_f16(float f);
float zf_bf16_to_f32(uint16_t h);
uint16_t zf_f32_to_bf16(float f);
float zf_f24_to_f32(const unsigned char h[3]);
void zf_f32_to_f24(unsigned char h[3], float f);

/* dst[0..n) f32 <- src[0..n) of type t, and back (round to nearest even).
 * n is a multiple of the block; blocks are read alone, never written.
 * Plain C: for loading, saving and tests; hot paths use kern/. */
void zf_to_f32(float *dst, const void *src, enum zf_dtype type, int64_t n);
void zf_from_f32(void *dst, const float *src, enum zf_dtype type, int64_t n);

#endif
