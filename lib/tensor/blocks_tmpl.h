/* Blocks of GGUF files to f32: plain loops, compiled once for each instruction set that includes
 * them.  A value is the same sequence of f32 operations everywhere, each rounded once, that the
 * `gguf` package takes, so the bits are its bits.
 *
 *   Q8_0  32 values  | d f16 | q i8[32] |                                 x = d q
 *   Q4_0  32         | d f16 | nibbles[16] |                              x = d (q - 8)
 *   Q4_K  256        | d f16 | dmin f16 | scales[12] | nibbles[128] |     x = (d s) q - dmin m
 *   Q6_K  256        | low nibbles[128] | high pairs[64] | s i8[16] | d f16 |  x = (d s) (q - 32) */
#ifndef ZF_TENSOR_BLOCKS_TMPL_H
#define ZF_TENSOR_BLOCKS_TMPL_H

#include "tensor/dtype.h"

static inline float zf_block_f16(const unsigned char *p) {
  return zf_f16_to_f32((uint16_t)(p[0] | p[1] << 8));
}

static inline void zf_block_q8_0(float *restrict x, const unsigned char *restrict p) {
  float d = zf_block_f16(p);
  const signed char *q = (const signed char *)p + 2;
  for (int i = 0; i < 32; i++) x[i] = d * (float)q[i];
}

static inline void zf_block_q4_0(float *restrict x, const unsigned char *restrict p) {
  float d = zf_block_f16(p);
  for (int i = 0; i < 16; i++) x[i] = d * (float)((p[2 + i] & 15) - 8);
  for (int i = 0; i < 16; i++) x[16 + i] = d * (float)((p[2 + i] >> 4) - 8);
}

/* Eight scales and eight minima of 6 bits: the first four of each lie in the low bits of bytes
 * 0-3 and 4-7; of the others bytes 8-11 hold the low nibbles, the top bits of 0-7 the rest. */
static inline void zf_block_scales(unsigned char scale[8], unsigned char min[8],
                                   const unsigned char *s) {
  for (int j = 0; j < 4; j++) {
    scale[j] = s[j] & 63;
    min[j] = s[j + 4] & 63;
    scale[j + 4] = (unsigned char)((s[j + 8] & 15) | s[j] >> 6 << 4);
    min[j + 4] = (unsigned char)(s[j + 8] >> 4 | s[j + 4] >> 6 << 4);
  }
}

static inline void zf_block_q4_k(float *restrict x, const unsigned char *restrict p) {
  unsigned char scale[8], min[8];
  float d = zf_block_f16(p), dmin = zf_block_f16(p + 2);
  zf_block_scales(scale, min, p + 4);
  for (int j = 0; j < 8; j++) {
    const unsigned char *q = p + 16 + j / 2 * 32;
    float s = d * (float)scale[j], m = dmin * (float)min[j];
    int shift = j % 2 * 4;
    for (int i = 0; i < 32; i++) x[j * 32 + i] = s * (float)(q[i] >> shift & 15) - m;
  }
}

/* Of 128 values: four runs of 32, which share the bytes of `high`; run k has its bits 2k. */
static inline void zf_block_q6_k(float *restrict x, const unsigned char *restrict p) {
  float d = zf_block_f16(p + 208);
  for (int k = 0; k < 8; k++) {
    const unsigned char *low = p + k / 4 * 64 + k % 2 * 32, *high = p + 128 + k / 4 * 32;
    const signed char *scale = (const signed char *)p + 192 + k * 2;
    int nibble = k % 4 / 2 * 4, pair = k % 4 * 2;
    for (int h = 0; h < 2; h++) {
      float s = d * (float)scale[h];
      for (int i = h * 16; i < h * 16 + 16; i++)
        x[k * 32 + i] = s * (float)(((low[i] >> nibble & 15) | (high[i] >> pair & 3) << 4) - 32);
    }
  }
}

/* n is a multiple of the block. */
static inline void zf_blocks_expand(float *dst, const void *src, enum zf_dtype t, int64_t n) {
  const unsigned char *p = src;
  if (t == ZF_Q8_0)
    for (int64_t i = 0; i < n; i += 32, p += 34) zf_block_q8_0(dst + i, p);
  if (t == ZF_Q4_0)
    for (int64_t i = 0; i < n; i += 32, p += 18) zf_block_q4_0(dst + i, p);
  if (t == ZF_Q4_K)
    for (int64_t i = 0; i < n; i += 256, p += 144) zf_block_q4_k(dst + i, p);
  if (t == ZF_Q6_K)
    for (int64_t i = 0; i < n; i += 256, p += 210) zf_block_q6_k(dst + i, p);
}

#endif
