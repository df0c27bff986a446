/* The block types that can be written: where their integers and scales lie. */
#include <string.h>

#include "tensor/blocks_tmpl.h"
#include "tensor/quantize_internal.h"

static void put_half(unsigned char *at, float value) {
  uint16_t half = zf_f32_to_f16(value);
  at[0] = (unsigned char)half;
  at[1] = (unsigned char)(half >> 8);
}

static void write_d(unsigned char *block, const struct zf_scales *v) {
  put_half(block, v->d);
}

static void read_d(const unsigned char *block, int run, float *a, float *b) {
  (void)run;
  *a = zf_block_f16(block);
  *b = 0;
}

static void write_d_m(unsigned char *block, const struct zf_scales *v) {
  put_half(block, v->d);
  put_half(block + 2, -v->dmin);
}

static void read_d_m(const unsigned char *block, int run, float *a, float *b) {
  (void)run;
  *a = zf_block_f16(block);
  *b = -zf_block_f16(block + 2);
}

static void write_q2_k(unsigned char *block, const struct zf_scales *v) {
  for (int k = 0; k < 16; k++) block[k] = (unsigned char)(v->s[k] | v->m[k] << 4);
  put_half(block + 80, v->d);
  put_half(block + 82, v->dmin);
}

static void read_q2_k(const unsigned char *block, int run, float *a, float *b) {
  *a = zf_block_f16(block + 80) * (float)(block[run] & 15);
  *b = zf_block_f16(block + 82) * (float)(block[run] >> 4);
}

static void write_q3_k(unsigned char *block, const struct zf_scales *v) {
  unsigned char *scale = block + 96;
  memset(scale, 0, 12);
  for (int k = 0; k < 16; k++) {
    int stored = v->s[k] + 32;
    scale[k % 8] |= (unsigned char)((stored & 15) << k / 8 * 4);
    scale[8 + k % 4] |= (unsigned char)(stored >> 4 << k / 4 * 2);
  }
  put_half(block + 108, v->d);
}

static void read_q3_k(const unsigned char *block, int run, float *a, float *b) {
  *a = zf_block_f16(block + 108) * (float)zf_block_q3_k_scale(block + 96, run);
  *b = 0;
}

static void write_q4_k(unsigned char *block, const struct zf_scales *v) {
  unsigned char *packed = block + 4;
  put_half(block, v->d);
  put_half(block + 2, v->dmin);
  for (int j = 0; j < 4; j++) {
    packed[j] = (unsigned char)(v->s[j] | v->s[j + 4] >> 4 << 6);
    packed[j + 4] = (unsigned char)(v->m[j] | v->m[j + 4] >> 4 << 6);
    packed[j + 8] = (unsigned char)((v->s[j + 4] & 15) | (v->m[j + 4] & 15) << 4);
  }
}

static void read_q4_k(const unsigned char *block, int run, float *a, float *b) {
  unsigned char scale[8], min[8];
  zf_block_scales(scale, min, block + 4);
  *a = zf_block_f16(block) * (float)scale[run];
  *b = zf_block_f16(block + 2) * (float)min[run];
}

static void write_q6_k(unsigned char *block, const struct zf_scales *v) {
  for (int k = 0; k < 16; k++) block[192 + k] = (unsigned char)v->s[k];
  put_half(block + 208, v->d);
}

static void read_q6_k(const unsigned char *block, int run, float *a, float *b) {
  *a = zf_block_f16(block + 208) * (float)(signed char)block[192 + run];
  *b = 0;
}

/* Q8_0 keeps -128 free, as every writer does.  Levels of Q8_0 are stored as they are, modulo 256. */
static const struct zf_quantizer kinds[ZF_DTYPES_READ] = {
    [ZF_Q8_0] = {.low = {2, 32, 8},
                 .bias = -127,
                 .grid = {255, -127},
                 .run = 32,
                 .write = write_d,
                 .read = read_d,
                 .round = zf_round_bytes},
    [ZF_Q4_0] = {.low = {2, 16, 4},
                 .grid = {16, -8},
                 .run = 32,
                 .write = write_d,
                 .read = read_d,
                 .round = zf_round_signed},
    [ZF_Q4_1] = {.low = {4, 16, 4},
                 .grid = {16, 0},
                 .run = 32,
                 .has_min = 1,
                 .write = write_d_m,
                 .read = read_d_m,
                 .round = zf_round_ranged},
    [ZF_Q5_0] = {.low = {6, 16, 4},
                 .high = {2, 1, 1},
                 .grid = {32, -16},
                 .run = 32,
                 .write = write_d,
                 .read = read_d,
                 .round = zf_round_signed},
    [ZF_Q5_1] = {.low = {8, 16, 4},
                 .high = {4, 1, 1},
                 .grid = {32, 0},
                 .run = 32,
                 .has_min = 1,
                 .write = write_d_m,
                 .read = read_d_m,
                 .round = zf_round_ranged},
    [ZF_IQ4_NL] = {.low = {2, 16, 4},
                   .grid = {16, 0, zf_block_code},
                   .run = 32,
                   .write = write_d,
                   .read = read_d},
    [ZF_Q2_K] = {.low = {16, 32, 2},
                 .grid = {4, 0},
                 .run = 16,
                 .has_min = 1,
                 .scale_high = 15,
                 .min_high = 15,
                 .write = write_q2_k,
                 .read = read_q2_k},
    [ZF_Q3_K] = {.low = {32, 32, 2},
                 .high = {0, 32, 1},
                 .grid = {8, -4},
                 .run = 16,
                 .scale_low = -32,
                 .scale_high = 31,
                 .write = write_q3_k,
                 .read = read_q3_k},
    [ZF_Q4_K] = {.low = {16, 32, 4},
                 .grid = {16, 0},
                 .run = 32,
                 .has_min = 1,
                 .scale_high = 63,
                 .min_high = 63,
                 .write = write_q4_k,
                 .read = read_q4_k},
    [ZF_Q5_K] = {.low = {48, 32, 4},
                 .high = {16, 32, 1},
                 .grid = {32, 0},
                 .run = 32,
                 .has_min = 1,
                 .scale_high = 63,
                 .min_high = 63,
                 .write = write_q4_k,
                 .read = read_q4_k},
    [ZF_Q6_K] = {.low = {0, 64, 4},
                 .high = {128, 32, 2},
                 .grid = {64, -32},
                 .run = 16,
                 .scale_low = -128,
                 .scale_high = 127,
                 .write = write_q6_k,
                 .read = read_q6_k},
};

const struct zf_quantizer *zf_quantizer(enum zf_dtype type) {
  return kinds[type].run ? &kinds[type] : NULL;
}

/* The bits of value `at` in a plane: their byte, and the place of the lowest. */
static unsigned char *place_of(unsigned char *block, const struct zf_plane *plane, int at,
                               int *shift) {
  int group = plane->span * 8 / plane->bits, within = at % group;
  *shift = within / plane->span * plane->bits;
  return block + plane->offset + at / group * plane->span + within % plane->span;
}

void zf_block_put(unsigned char *block, const struct zf_quantizer *kind, int at, int index) {
  int stored = index + kind->bias, shift, mask = (1 << kind->low.bits) - 1;
  unsigned char *byte = place_of(block, &kind->low, at, &shift);
  *byte = (unsigned char)((*byte & ~(mask << shift)) | (stored & mask) << shift);
  if (!kind->high.bits) return;
  int upper = stored >> kind->low.bits;
  mask = (1 << kind->high.bits) - 1;
  byte = place_of(block, &kind->high, at, &shift);
  *byte = (unsigned char)((*byte & ~(mask << shift)) | (upper & mask) << shift);
}
