/* Element types of stored tensors, as a table. */
#ifndef ZF_TENSOR_DTYPE_H
#define ZF_TENSOR_DTYPE_H

#include <stddef.h>
#include <stdint.h>

#include "base/cplusplus.h"

ZF_BEGIN_DECLS

enum zf_dtype {
  ZF_F32,
  ZF_F16,
  ZF_BF16,
  ZF_F24, /* the upper 24 bits of an f32: bf16 and eight more of its mantissa; 3 bytes, low first */
  ZF_DTYPES,           /* number of types that can be written; the types below are only read */
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
  ZF_IQ4_NL,
  ZF_IQ4_XS,
  ZF_DTYPES_READ
};

struct zf_dtype_info {
  const char *name;        /* "f32": config and display */
  const char *safetensors; /* "F32"; NULL: safetensors files cannot hold the type */
  size_t size;             /* bytes of a block */
  int block;               /* elements of a block; 1 for types without blocks */
  int nscale, scale[2];    /* number of a block's f16 scales, and their byte offsets in the block */
};

const struct zf_dtype_info *zf_dtype_info(enum zf_dtype type);

/* Bytes of `count` elements, a multiple of the block; also the byte offset of element `count`. */
size_t zf_dtype_bytes(enum zf_dtype type, int64_t count);
/* Alignment of an address of such elements, in bytes. */
size_t zf_dtype_align(enum zf_dtype type);

/* The type with this config name ("f32"), or safetensors name ("F32"); -1 when unknown. */
int zf_dtype_by_name(const char *name);
int zf_dtype_by_safetensors(const char *name);

/* The type in which values of `type` are written to safetensors: `type`, or f32 where safetensors
 * has no name for it. */
enum zf_dtype zf_dtype_saved(enum zf_dtype type);

/* Scalar conversions, round to nearest even.  A NaN becomes a quiet NaN in bf16 and f24. */
float zf_f16_to_f32(uint16_t half);
uint16_t zf_f32_to_f16(float value);
float zf_bf16_to_f32(uint16_t bits);
uint16_t zf_f32_to_bf16(float value);
float zf_f24_to_f32(const unsigned char bytes[3]);
void zf_f32_to_f24(unsigned char bytes[3], float value);

/* dst[0..count) f32 <- src[0..count) of `type`, and back (round to nearest even).
 * count is a multiple of the block.  zf_from_f32 takes types below ZF_DTYPES.
 * Plain C: for loading, saving and tests; hot paths use kern/. */
void zf_to_f32(float *dst, const void *src, enum zf_dtype type, int64_t count);
void zf_from_f32(void *dst, const float *src, enum zf_dtype type, int64_t count);

/* Number of f16 scales in the blocks of `count` elements, a multiple of the block. */
int64_t zf_dtype_scales(enum zf_dtype type, int64_t count);

/* As zf_to_f32, of a type stored in blocks, with other scales: d of each block in turn, or d and dmin in
 * the order of zf_dtype_info.scale. */
void zf_blocks_to_f32(float *dst, const void *src, enum zf_dtype type, int64_t count,
                      const float *scales);

ZF_END_DECLS

#endif
