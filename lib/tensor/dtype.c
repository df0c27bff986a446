#include "tensor/dtype.h"

#include <string.h>

#include "tensor/blocks_tmpl.h"

static const struct zf_dtype_info dtypes[ZF_DTYPES_READ] = {
    [ZF_F32] = {"f32", "F32", 4, 1},
    [ZF_F16] = {"f16", "F16", 2, 1},
    [ZF_BF16] = {"bf16", "BF16", 2, 1},
    [ZF_F24] = {"f24", NULL, 3, 1},
    [ZF_Q8_0] = {"q8_0", NULL, 34, 32, 1, {0}},
    [ZF_Q4_0] = {"q4_0", NULL, 18, 32, 1, {0}},
    [ZF_Q4_1] = {"q4_1", NULL, 20, 32, 2, {0, 2}},
    [ZF_Q5_0] = {"q5_0", NULL, 22, 32, 1, {0}},
    [ZF_Q5_1] = {"q5_1", NULL, 24, 32, 2, {0, 2}},
    [ZF_Q2_K] = {"q2_k", NULL, 84, 256, 2, {80, 82}},
    [ZF_Q3_K] = {"q3_k", NULL, 110, 256, 1, {108}},
    [ZF_Q4_K] = {"q4_k", NULL, 144, 256, 2, {0, 2}},
    [ZF_Q5_K] = {"q5_k", NULL, 176, 256, 2, {0, 2}},
    [ZF_Q6_K] = {"q6_k", NULL, 210, 256, 1, {208}},
    [ZF_IQ4_NL] = {"iq4_nl", NULL, 18, 32, 1, {0}},
    [ZF_IQ4_XS] = {"iq4_xs", NULL, 136, 256, 1, {0}},
};

const struct zf_dtype_info *zf_dtype_info(enum zf_dtype type) {
  return &dtypes[type];
}

size_t zf_dtype_bytes(enum zf_dtype type, int64_t count) {
  return (size_t)(count / dtypes[type].block) * dtypes[type].size;
}

size_t zf_dtype_align(enum zf_dtype type) {
  return dtypes[type].block > 1 || type == ZF_F24 ? 1 : dtypes[type].size;
}

int zf_dtype_by_name(const char *name) {
  for (int type = 0; type < ZF_DTYPES; type++)
    if (!strcmp(dtypes[type].name, name)) return type;
  return -1;
}

int zf_dtype_by_safetensors(const char *name) {
  for (int type = 0; type < ZF_DTYPES; type++)
    if (dtypes[type].safetensors && !strcmp(dtypes[type].safetensors, name)) return type;
  return -1;
}

enum zf_dtype zf_dtype_saved(enum zf_dtype type) {
  return dtypes[type].safetensors ? type : ZF_F32;
}

static uint32_t bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static float float_of(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

float zf_f16_to_f32(uint16_t half) {
  uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31,
           mantissa = half & 1023;
  if (exponent == 31)
    return float_of(sign | 0x7f800000u | mantissa << 13 | (mantissa ? 0x400000u : 0));
  if (exponent) return float_of(sign | (exponent + 112) << 23 | mantissa << 13);
  float tiny = (float)mantissa * 0x1p-24f; /* exact */
  return float_of(sign | bits_of(tiny));
}

uint16_t zf_f32_to_f16(float value) {
  uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x1ff));
  if (magnitude >= 0x477ff000) return (uint16_t)(sign | 0x7c00); /* rounds beyond 65504 */
  if (magnitude < 0x38800000) {
    /* Subnormal: adding 0.5 leaves the rounded multiple of 2^-24 in the bits. */
    return (uint16_t)(sign | (bits_of(float_of(magnitude) + 0.5f) - 0x3f000000));
  }
  uint32_t rebased = magnitude - 0x38000000;
  return (uint16_t)(sign | (rebased + 0xfff + (rebased >> 13 & 1)) >> 13);
}

float zf_bf16_to_f32(uint16_t bits) {
  return float_of((uint32_t)bits << 16);
}

uint16_t zf_f32_to_bf16(float value) {
  uint32_t bits = bits_of(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)(bits >> 16 | 0x40);
  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float zf_f24_to_f32(const unsigned char bytes[3]) {
  return float_of((uint32_t)bytes[0] << 8 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 24);
}

void zf_f32_to_f24(unsigned char bytes[3], float value) {
  uint32_t bits = bits_of(value);
  if ((bits & 0x7fffffff) > 0x7f800000)
    bits |= 0x400000;
  else
    bits += 0x7f + (bits >> 8 & 1);
  for (int i = 0; i < 3; i++) bytes[i] = (unsigned char)(bits >> (8 + 8 * i));
}

void zf_to_f32(float *dst, const void *src, enum zf_dtype type, int64_t count) {
  const uint16_t *half = src;
  if (type == ZF_F32) memcpy(dst, src, (size_t)count * 4);
  if (type == ZF_F16)
    for (int64_t i = 0; i < count; i++) dst[i] = zf_f16_to_f32(half[i]);
  if (type == ZF_BF16)
    for (int64_t i = 0; i < count; i++) dst[i] = zf_bf16_to_f32(half[i]);
  if (type == ZF_F24)
    for (int64_t i = 0; i < count; i++) dst[i] = zf_f24_to_f32((const unsigned char *)src + 3 * i);
  if (type >= ZF_DTYPES) zf_blocks_expand(dst, src, type, count, NULL);
}

void zf_blocks_to_f32(float *dst, const void *src, enum zf_dtype type, int64_t count,
                      const float *scales) {
  zf_blocks_expand(dst, src, type, count, scales);
}

int64_t zf_dtype_scales(enum zf_dtype type, int64_t count) {
  return count / dtypes[type].block * dtypes[type].nscale;
}

void zf_from_f32(void *dst, const float *src, enum zf_dtype type, int64_t count) {
  uint16_t *half = dst;
  if (type == ZF_F32) memcpy(dst, src, (size_t)count * 4);
  if (type == ZF_F16)
    for (int64_t i = 0; i < count; i++) half[i] = zf_f32_to_f16(src[i]);
  if (type == ZF_BF16)
    for (int64_t i = 0; i < count; i++) half[i] = zf_f32_to_bf16(src[i]);
  if (type == ZF_F24)
    for (int64_t i = 0; i < count; i++) zf_f32_to_f24((unsigned char *)dst + 3 * i, src[i]);
}
