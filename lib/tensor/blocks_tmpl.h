/* Blocks of GGUF files to f32: plain loops, compiled once for each instruction set that includes
 * them.  A value is the same sequence of f32 operations everywhere, each rounded once, that the
 * `gguf` package takes, so the bits are its bits.
 *
 *   Q8_0  32 values  | d f16 | q i8[32] |                                 x = d q
 *   Q4_0  32         | d f16 | nibbles[16] |                              x = d (q - 8)
 *   Q4_1  32         | d f16 | m f16 | nibbles[16] |                      x = d q + m
 *   Q5_0  32         | d f16 | fifth bits[4] | nibbles[16] |              x = d (q - 16)
 *   Q5_1  32         | d f16 | m f16 | fifth bits[4] | nibbles[16] |      x = d q + m
 *   Q2_K  256        | scale, min nibbles[16] | pairs[64] | d f16 | dmin f16 |  x = (d s) q - dmin m
 *   Q3_K  256        | third bits[32] | pairs[64] | scales[12] | d f16 |  x = (d s) (q - 4)
 *   Q4_K  256        | d f16 | dmin f16 | scales[12] | nibbles[128] |     x = (d s) q - dmin m
 *   Q5_K  256        | d f16 | dmin f16 | scales[12] | fifth bits[32] | nibbles[128] |  as Q4_K
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

static inline void zf_block_q4_1(float *restrict x, const unsigned char *restrict p) {
  float d = zf_block_f16(p), m = zf_block_f16(p + 2);
  for (int i = 0; i < 16; i++) x[i] = d * (float)(p[4 + i] & 15) + m;
  for (int i = 0; i < 16; i++) x[16 + i] = d * (float)(p[4 + i] >> 4) + m;
}

/* Bit i of the four bytes is the fifth of value i: the integers 0 to 31 as they are stored. */
static inline void zf_block_fives(int q[32], const unsigned char *high, const unsigned char *low) {
  uint32_t bits = (uint32_t)high[0] | (uint32_t)high[1] << 8 | (uint32_t)high[2] << 16 |
                  (uint32_t)high[3] << 24;
  for (int i = 0; i < 16; i++) q[i] = (low[i] & 15) | (int)(bits >> i & 1) << 4;
  for (int i = 0; i < 16; i++) q[16 + i] = low[i] >> 4 | (int)(bits >> (16 + i) & 1) << 4;
}

static inline void zf_block_q5_0(float *restrict x, const unsigned char *restrict p) {
  float d = zf_block_f16(p);
  int q[32];
  zf_block_fives(q, p + 2, p + 6);
  for (int i = 0; i < 32; i++) x[i] = d * (float)(q[i] - 16);
}

static inline void zf_block_q5_1(float *restrict x, const unsigned char *restrict p) {
  float d = zf_block_f16(p), m = zf_block_f16(p + 2);
  int q[32];
  zf_block_fives(q, p + 4, p + 8);
  for (int i = 0; i < 32; i++) x[i] = d * (float)q[i] + m;
}

/* Runs of 16 values; of 128 eight, in the order of their two bits and then of their bytes. */
static inline void zf_block_q2_k(float *restrict x, const unsigned char *restrict p) {
  float d = zf_block_f16(p + 80), dmin = zf_block_f16(p + 82);
  for (int k = 0; k < 16; k++) {
    const unsigned char *q = p + 16 + k / 8 * 32 + k % 2 * 16;
    float s = d * (float)(p[k] & 15), m = dmin * (float)(p[k] >> 4);
    int shift = k % 8 / 2 * 2;
    for (int i = 0; i < 16; i++) x[k * 16 + i] = s * (float)(q[i] >> shift & 3) - m;
  }
}

/* As Q2_K, its third bits eight to a byte.  Scale k: low nibbles of byte k, then high ones of byte
 * k - 8; bits 2 (k / 4) of byte 8 + k % 4 on top; 32 is subtracted. */
static inline void zf_block_q3_k(float *restrict x, const unsigned char *restrict p) {
  float d = zf_block_f16(p + 108);
  const unsigned char *scale = p + 96;
  for (int k = 0; k < 16; k++) {
    const unsigned char *q = p + 32 + k / 8 * 32 + k % 2 * 16, *third = p + k % 2 * 16;
    int low = k < 8 ? scale[k] & 15 : scale[k - 8] >> 4, top = scale[8 + k % 4] >> k / 4 * 2 & 3;
    float s = d * (float)((low | top << 4) - 32);
    int shift = k % 8 / 2 * 2, bit = k / 2;
    for (int i = 0; i < 16; i++)
      x[k * 16 + i] = s * (float)((q[i] >> shift & 3) + (third[i] >> bit & 1) * 4 - 4);
  }
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

/* The fifth bit of run j is bit j of the run's byte of 32. */
static inline void zf_block_q5_k(float *restrict x, const unsigned char *restrict p) {
  unsigned char scale[8], min[8];
  float d = zf_block_f16(p), dmin = zf_block_f16(p + 2);
  zf_block_scales(scale, min, p + 4);
  for (int j = 0; j < 8; j++) {
    const unsigned char *q = p + 48 + j / 2 * 32, *fifth = p + 16;
    float s = d * (float)scale[j], m = dmin * (float)min[j];
    int shift = j % 2 * 4;
    for (int i = 0; i < 32; i++)
      x[j * 32 + i] = s * (float)((q[i] >> shift & 15) | (fifth[i] >> j & 1) << 4) - m;
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

#define ZF_BLOCKS(TYPE, values, bytes, expand)                                                     \
  case TYPE:                                                                                       \
    for (int64_t i = 0; i < n; i += (values), p += (bytes)) expand(dst + i, p);                    \
    break

/* n is a multiple of the block. */
static inline void zf_blocks_expand(float *dst, const void *src, enum zf_dtype type, int64_t n) {
  const unsigned char *p = src;
  switch (type) {
    ZF_BLOCKS(ZF_Q8_0, 32, 34, zf_block_q8_0);
    ZF_BLOCKS(ZF_Q4_0, 32, 18, zf_block_q4_0);
    ZF_BLOCKS(ZF_Q4_1, 32, 20, zf_block_q4_1);
    ZF_BLOCKS(ZF_Q5_0, 32, 22, zf_block_q5_0);
    ZF_BLOCKS(ZF_Q5_1, 32, 24, zf_block_q5_1);
    ZF_BLOCKS(ZF_Q2_K, 256, 84, zf_block_q2_k);
    ZF_BLOCKS(ZF_Q3_K, 256, 110, zf_block_q3_k);
    ZF_BLOCKS(ZF_Q4_K, 256, 144, zf_block_q4_k);
    ZF_BLOCKS(ZF_Q5_K, 256, 176, zf_block_q5_k);
    ZF_BLOCKS(ZF_Q6_K, 256, 210, zf_block_q6_k);
    default:
      break;
  }
}

#endif
