#include "tensor/dtype.h"

#include <string.h>

#include "tensor/blocks_tmpl.h"

static const struct zf_dtype_info table[ZF_DTYPES_READ] = {
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
};

const struct zf_dtype_info *zf_dtype_info(enum zf_dtype type) {
  return &table[type];
}

size_t zf_dtype_bytes(enum zf_dtype type, int64_t n) {
  return (size_t)(n / table[type].block) * table[type].size;
}

size_t zf_dtype_align(enum zf_dtype type) {
  return table[type].block > 1 || type == ZF_F24 ? 1 : table[type].size;
}

int zf_dtype_by_name(const char *name) {
  for (int t = 0; t < ZF_DTYPES; t++)
    if (!strcmp(table[t].name, name)) return t;
  return -1;
}

int zf_dtype_by_safetensors(const char *name) {
  for (int t = 0; t < ZF_DTYPES; t++)
    if (table[t].safetensors && !strcmp(table[t].safetensors, name)) return t;
  return -1;
}

enum zf_dtype zf_dtype_saved(enum zf_dtype type) {
  return table[type].safetensors ? type : ZF_F32;
}

static uint32_t bits_of(float f) {
  uint32_t u;
  memcpy(&u, &f, sizeof u);
  return u;
}

static float float_of(uint32_t u) {
  float f;
  memcpy(&f, &u, sizeof f);
  return f;
}

float zf_f16_to_f32(uint16_t h) {
  uint32_t sign = (uint32_t)(h & 0x8000) << 16, exp = h >> 10 & 31, man = h & 1023;
  if (exp == 31) return float_of(sign | 0x7f800000u | man << 13 | (man ? 0x400000u : 0));
  if (exp) return float_of(sign | (exp + 112) << 23 | man << 13);
  float tiny = (float)man * 0x1p-24f; /* exact */
  return float_of(sign | bits_of(tiny));
}

uint16_t zf_f32_to_f16(float f) {
  uint32_t u = bits_of(f), sign = u >> 16 & 0x8000, a = u & 0x7fffffff;
  if (a > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (a >> 13 & 0x1ff));
  if (a >= 0x477ff000) return (uint16_t)(sign | 0x7c00); /* rounds beyond 65504 */
  if (a < 0x38800000) {
    /* Subnormal: adding 0.5 leaves the rounded multiple of 2^-24 in the bits. */
    return (uint16_t)(sign | (bits_of(float_of(a) + 0.5f) - 0x3f000000));
  }
  uint32_t r = a - 0x38000000;
  return (uint16_t)(sign | (r + 0xfff + (r >> 13 & 1)) >> 13);
}

float zf_bf16_to_f32(uint16_t h) {
  return float_of((uint32_t)h << 16);
}

uint16_t zf_f32_to_bf16(float f) {
  uint32_t u = bits_of(f);
  if ((u & 0x7fffffff) > 0x7f800000) return (uint16_t)(u >> 16 | 0x40);
  return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

float zf_f24_to_f32(const unsigned char h[3]) {
  return float_of((uint32_t)h[0] << 8 | (uint32_t)h[1] << 16 | (uint32_t)h[2] << 24);
}

void zf_f32_to_f24(unsigned char h[3], float f) {
  uint32_t u = bits_of(f);
  if ((u & 0x7fffffff) > 0x7f800000)
    u |= 0x400000;
  else
    u += 0x7f + (u >> 8 & 1);
  for (int i = 0; i < 3; i++) h[i] = (unsigned char)(u >> (8 + 8 * i));
}

void zf_to_f32(float *dst, const void *src, enum zf_dtype type, int64_t n) {
  const uint16_t *h = src;
  if (type == ZF_F32) memcpy(dst, src, (size_t)n * 4);
  if (type == ZF_F16)
    for (int64_t i = 0; i < n; i++) dst[i] = zf_f16_to_f32(h[i]);
  if (type == ZF_BF16)
    for (int64_t i = 0; i < n; i++) dst[i] = zf_bf16_to_f32(h[i]);
  if (type == ZF_F24)
    for (int64_t i = 0; i < n; i++) dst[i] = zf_f24_to_f32((const unsigned char *)src + 3 * i);
  if (type >= ZF_DTYPES) zf_blocks_expand(dst, src, type, n);
}

void zf_from_f32(void *dst, const float *src, enum zf_dtype type, int64_t n) {
  uint16_t *h = dst;
  if (type == ZF_F32) memcpy(dst, src, (size_t)n * 4);
  if (type == ZF_F16)
    for (int64_t i = 0; i < n; i++) h[i] = zf_f32_to_f16(src[i]);
  if (type == ZF_BF16)
    for (int64_t i = 0; i < n; i++) h[i] = zf_f32_to_bf16(src[i]);
  if (type == ZF_F24)
    for (int64_t i = 0; i < n; i++) zf_f32_to_f24((unsigned char *)dst + 3 * i, src[i]);
}
