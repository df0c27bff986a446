/* Blocks of GGUF files to f32: plain loops, compiled once for each instruction set that includes
 * them.  A value is computed by the same sequence of f32 operations on every instruction set, each
 * rounded once.  The Python package `gguf` takes the same sequence, so the results equal its results
 * bit for bit.  Letters of the formulas: d and dmin the scales of a block, s the integer scale and
 * m the (scaled) minimum of a run of values, q the stored integer.
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
 *   Q6_K  256        | low nibbles[128] | high pairs[64] | s i8[16] | d f16 |  x = (d s) (q - 32)
 *   IQ4_NL  32       | d f16 | nibbles[16] |                              x = d code[q]
 *   IQ4_XS  256      | d f16 | upper scale pairs[2] | lower scale nibbles[4] | nibbles[128] |  x = (d s) code[q] */
#ifndef ZF_TENSOR_BLOCKS_TMPL_H
#define ZF_TENSOR_BLOCKS_TMPL_H

#include "tensor/dtype.h"

static inline float zf_block_f16(const unsigned char *block) {
  return zf_f16_to_f32((uint16_t)(block[0] | block[1] << 8));
}

static inline void zf_block_q8_0(float *restrict x, const unsigned char *restrict block,
                                 const float *restrict scale) {
  float d = scale[0];
  const signed char *q = (const signed char *)block + 2;
  for (int i = 0; i < 32; i++) x[i] = d * (float)q[i];
}

static inline void zf_block_q4_0(float *restrict x, const unsigned char *restrict block,
                                 const float *restrict scale) {
  float d = scale[0];
  for (int i = 0; i < 16; i++) x[i] = d * (float)((block[2 + i] & 15) - 8);
  for (int i = 0; i < 16; i++) x[16 + i] = d * (float)((block[2 + i] >> 4) - 8);
}

static inline void zf_block_q4_1(float *restrict x, const unsigned char *restrict block,
                                 const float *restrict scale) {
  float d = scale[0], m = scale[1];
  for (int i = 0; i < 16; i++) x[i] = d * (float)(block[4 + i] & 15) + m;
  for (int i = 0; i < 16; i++) x[16 + i] = d * (float)(block[4 + i] >> 4) + m;
}

/* q: the integers 0 to 31 as they are stored.  Bit i of the four bytes at `high` is the fifth bit
 * of value i; `low` holds the other four bits. */
static inline void zf_block_fives(int q[32], const unsigned char *high, const unsigned char *low) {
  uint32_t bits = (uint32_t)high[0] | (uint32_t)high[1] << 8 | (uint32_t)high[2] << 16 |
                  (uint32_t)high[3] << 24;
  for (int i = 0; i < 16; i++) q[i] = (low[i] & 15) | (int)(bits >> i & 1) << 4;
  for (int i = 0; i < 16; i++) q[16 + i] = low[i] >> 4 | (int)(bits >> (16 + i) & 1) << 4;
}

static inline void zf_block_q5_0(float *restrict x, const unsigned char *restrict block,
                                 const float *restrict scale) {
  float d = scale[0];
  int q[32];
  zf_block_fives(q, block + 2, block + 6);
  for (int i = 0; i < 32; i++) x[i] = d * (float)(q[i] - 16);
}

static inline void zf_block_q5_1(float *restrict x, const unsigned char *restrict block,
                                 const float *restrict scale) {
  float d = scale[0], m = scale[1];
  int q[32];
  zf_block_fives(q, block + 4, block + 8);
  for (int i = 0; i < 32; i++) x[i] = d * (float)q[i] + m;
}

/* 16 runs of 16 values.  128 values share 32 bytes: run k of these eight has bits 2 (k / 2) and up
 * of 16 of the bytes, the first 16 for an even k, the last 16 for an odd one. */
static inline void zf_block_q2_k(float *restrict x, const unsigned char *restrict block,
                                 const float *restrict scale) {
  float d = scale[0], dmin = scale[1];
  for (int k = 0; k < 16; k++) {
    const unsigned char *q = block + 16 + k / 8 * 32 + k % 2 * 16;
    float s = d * (float)(block[k] & 15), m = dmin * (float)(block[k] >> 4);
    int shift = k % 8 / 2 * 2;
    for (int i = 0; i < 16; i++) x[k * 16 + i] = s * (float)(q[i] >> shift & 3) - m;
  }
}

/* As Q2_K, with the third bits of eight values in a byte.  Scale k has 6 bits: its low four are the
 * low nibble of byte k for k < 8, else the high nibble of byte k - 8; its top two are bits 2 (k / 4)
 * and up of byte 8 + k % 4.  32 is subtracted. */
static inline int zf_block_q3_k_scale(const unsigned char *scale, int k) {
  int low = k < 8 ? scale[k] & 15 : scale[k - 8] >> 4, top = scale[8 + k % 4] >> k / 4 * 2 & 3;
  return (low | top << 4) - 32;
}

static inline void zf_block_q3_k(float *restrict x, const unsigned char *restrict block,
                                 const float *restrict scale) {
  float d = scale[0];
  for (int k = 0; k < 16; k++) {
    const unsigned char *q = block + 32 + k / 8 * 32 + k % 2 * 16, *third = block + k % 2 * 16;
    float s = d * (float)zf_block_q3_k_scale(block + 96, k);
    int shift = k % 8 / 2 * 2, bit = k / 2;
    for (int i = 0; i < 16; i++)
      x[k * 16 + i] = s * (float)((q[i] >> shift & 3) + (third[i] >> bit & 1) * 4 - 4);
  }
}

/* Eight scales and eight minima of 6 bits.  The first four scales and minima are the low 6 bits of
 * bytes 0-3 and 4-7.  The last four have their low nibbles in bytes 8-11 and their top two bits in
 * the top bits of bytes 0-7. */
static inline void zf_block_scales(unsigned char scale[8], unsigned char min[8],
                                   const unsigned char *packed) {
  for (int j = 0; j < 4; j++) {
    scale[j] = packed[j] & 63;
    min[j] = packed[j + 4] & 63;
    scale[j + 4] = (unsigned char)((packed[j + 8] & 15) | packed[j] >> 6 << 4);
    min[j + 4] = (unsigned char)(packed[j + 8] >> 4 | packed[j + 4] >> 6 << 4);
  }
}

static inline void zf_block_q4_k(float *restrict x, const unsigned char *restrict block,
                                 const float *restrict scale) {
  unsigned char run_scale[8], run_min[8];
  float d = scale[0], dmin = scale[1];
  zf_block_scales(run_scale, run_min, block + 4);
  for (int j = 0; j < 8; j++) {
    const unsigned char *q = block + 16 + j / 2 * 32;
    float s = d * (float)run_scale[j], m = dmin * (float)run_min[j];
    int shift = j % 2 * 4;
    for (int i = 0; i < 32; i++) x[j * 32 + i] = s * (float)(q[i] >> shift & 15) - m;
  }
}

/* Value i of run j has its fifth bit in bit j of byte i of the 32 bytes at `fifth`. */
static inline void zf_block_q5_k(float *restrict x, const unsigned char *restrict block,
                                 const float *restrict scale) {
  unsigned char run_scale[8], run_min[8];
  float d = scale[0], dmin = scale[1];
  zf_block_scales(run_scale, run_min, block + 4);
  for (int j = 0; j < 8; j++) {
    const unsigned char *q = block + 48 + j / 2 * 32, *fifth = block + 16;
    float s = d * (float)run_scale[j], m = dmin * (float)run_min[j];
    int shift = j % 2 * 4;
    for (int i = 0; i < 32; i++)
      x[j * 32 + i] = s * (float)((q[i] >> shift & 15) | (fifth[i] >> j & 1) << 4) - m;
  }
}

/* 128 values are four runs of 32, which share the 32 bytes of `high`: run k has bits 2k and 2k + 1
 * of each. */
static inline void zf_block_q6_k(float *restrict x, const unsigned char *restrict block,
                                 const float *restrict scale) {
  float d = scale[0];
  for (int k = 0; k < 8; k++) {
    const unsigned char *low = block + k / 4 * 64 + k % 2 * 32, *high = block + 128 + k / 4 * 32;
    const signed char *run_scale = (const signed char *)block + 192 + k * 2;
    int nibble = k % 4 / 2 * 4, pair = k % 4 * 2;
    for (int h = 0; h < 2; h++) {
      float s = d * (float)run_scale[h];
      for (int i = h * 16; i < h * 16 + 16; i++)
        x[k * 32 + i] = s * (float)(((low[i] >> nibble & 15) | (high[i] >> pair & 3) << 4) - 32);
    }
  }
}

/* The codebook of IQ4_NL and IQ4_XS. */
static const signed char zf_block_code[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                              1,    13,   25,  38,  53,  69,  89,  113};

static inline void zf_block_coded(float *restrict x, float d, const unsigned char *restrict q) {
  for (int i = 0; i < 16; i++) x[i] = d * (float)zf_block_code[q[i] & 15];
  for (int i = 0; i < 16; i++) x[16 + i] = d * (float)zf_block_code[q[i] >> 4];
}

static inline void zf_block_iq4_nl(float *restrict x, const unsigned char *restrict block,
                                   const float *restrict scale) {
  zf_block_coded(x, scale[0], block + 2);
}

/* Eight runs of 32.  Scale j has 6 bits: a nibble of byte 4 + j / 2, the low one for an even j, and
 * bits 2j and 2j + 1 of the two bytes at 2.  32 is subtracted. */
static inline void zf_block_iq4_xs(float *restrict x, const unsigned char *restrict block,
                                   const float *restrict scale) {
  float d = scale[0];
  int upper = block[2] | block[3] << 8;
  for (int j = 0; j < 8; j++) {
    int run_scale = (block[4 + j / 2] >> j % 2 * 4 & 15) | (upper >> 2 * j & 3) << 4;
    zf_block_coded(x + j * 32, d * (float)(run_scale - 32), block + 8 + j * 16);
  }
}

/* Blocks of `bytes` bytes and `values` values, with their f16 scales at byte d and m; m = d where a
 * block has one scale.  scales NULL: those of the file. */
#define ZF_BLOCKS(TYPE, values, bytes, d, m, expand)                                               \
  case TYPE:                                                                                       \
    for (int64_t i = 0; i < count; i += (values), block += (bytes)) {                              \
      float own[2];                                                                                \
      if (scales) {                                                                                \
        own[0] = *scales++;                                                                        \
        own[1] = (m) != (d) ? *scales++ : own[0];                                                  \
      } else {                                                                                     \
        own[0] = zf_block_f16(block + (d));                                                        \
        own[1] = (m) != (d) ? zf_block_f16(block + (m)) : own[0];                                  \
      }                                                                                            \
      expand(dst + i, block, own);                                                                 \
    }                                                                                              \
    break

/* dst[0..count) <- src.  count is a multiple of the block.  scales: NULL, or d (and dmin) of each block
 * in place of the stored ones. */
static inline void zf_blocks_expand(float *dst, const void *src, enum zf_dtype type, int64_t count,
                                    const float *scales) {
  const unsigned char *block = src;
  switch (type) {
    ZF_BLOCKS(ZF_Q8_0, 32, 34, 0, 0, zf_block_q8_0);
    ZF_BLOCKS(ZF_Q4_0, 32, 18, 0, 0, zf_block_q4_0);
    ZF_BLOCKS(ZF_Q4_1, 32, 20, 0, 2, zf_block_q4_1);
    ZF_BLOCKS(ZF_Q5_0, 32, 22, 0, 0, zf_block_q5_0);
    ZF_BLOCKS(ZF_Q5_1, 32, 24, 0, 2, zf_block_q5_1);
    ZF_BLOCKS(ZF_Q2_K, 256, 84, 80, 82, zf_block_q2_k);
    ZF_BLOCKS(ZF_Q3_K, 256, 110, 108, 108, zf_block_q3_k);
    ZF_BLOCKS(ZF_Q4_K, 256, 144, 0, 2, zf_block_q4_k);
    ZF_BLOCKS(ZF_Q5_K, 256, 176, 0, 2, zf_block_q5_k);
    ZF_BLOCKS(ZF_Q6_K, 256, 210, 208, 208, zf_block_q6_k);
    ZF_BLOCKS(ZF_IQ4_NL, 32, 18, 0, 0, zf_block_iq4_nl);
    ZF_BLOCKS(ZF_IQ4_XS, 256, 136, 0, 0, zf_block_iq4_xs);
    default:
      break;
  }
}

#endif
