/* Noise one value at a time: the reference implementation of noise.h.  A request that begins or ends
 * inside a block of 64 elements uses a part of that block. */
#include "rng/noise.h"

#include <math.h>
#include <string.h>

#include "rng/gauss_table.h"
#include "rng/philox.h"

/* The words of elements 64 number .. 64 number + 63. */
static void block_of(uint32_t words[ZF_NOISE_BLOCK], const struct zf_noise *noise, int64_t number) {
  uint32_t key[2] = {(uint32_t)noise->seed, (uint32_t)(noise->seed >> 32)};
  for (int lane = 0; lane < 16; lane++) {
    int64_t counter = 16 * number + lane;
    uint32_t output[4],
        input[4] = {(uint32_t)counter, (uint32_t)(counter >> 32 & 0xff) | noise->param << 8,
                    noise->step, noise->probe | (uint32_t)noise->use << 16};
    zf_philox(output, input, key, ZF_PHILOX_ROUNDS);
    for (int j = 0; j < 4; j++) words[16 * j + lane] = output[j];
  }
}

void zf_noise_words(uint32_t *words, const struct zf_noise *noise, int64_t first, int64_t count) {
  uint32_t block[ZF_NOISE_BLOCK];
  for (int64_t i = 0; i < count;) {
    int64_t offset = (first + i) % ZF_NOISE_BLOCK, len = ZF_NOISE_BLOCK - offset;
    if (len > count - i) len = count - i;
    block_of(block, noise, (first + i) / ZF_NOISE_BLOCK);
    memcpy(words + i, block + offset, (size_t)len * sizeof *words);
    i += len;
  }
}

static float gaussian(uint32_t word) {
  int32_t signed_word = (int32_t)(word | 1);
  float magnitude = fabsf((float)signed_word), mantissa, z;
  uint32_t bits;
  memcpy(&bits, &magnitude, sizeof bits);
  int column = bits >> 23 & 31;
  bits = (bits & 0x7fffff) | 0x3f800000;
  memcpy(&mantissa, &bits, sizeof mantissa);
  z = zf_gauss_table[ZF_GAUSS_DEGREE][column];
  for (int degree = ZF_GAUSS_DEGREE - 1; degree >= 0; degree--)
    z = fmaf(z, mantissa, zf_gauss_table[degree][column]);
  return signed_word < 0 ? -z : z;
}

static float rademacher(uint32_t word) {
  return word >> 31 ? -1.0f : 1.0f;
}

void zf_noise_ref(float *z, const struct zf_noise *noise, int64_t first, int64_t count) {
  uint32_t words[ZF_NOISE_BLOCK];
  for (int64_t i = 0; i < count; i += ZF_NOISE_BLOCK) {
    int64_t len = count - i < ZF_NOISE_BLOCK ? count - i : ZF_NOISE_BLOCK;
    zf_noise_words(words, noise, first + i, len);
    for (int64_t j = 0; j < len; j++)
      z[i + j] = noise->kind == ZF_GAUSSIAN ? gaussian(words[j]) : rademacher(words[j]);
  }
}
