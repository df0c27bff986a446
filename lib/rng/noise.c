/* Noise, one value at a time: the code that says what z is.  A request that begins or ends
 * inside a block of 64 elements uses part of it. */
#include "rng/noise.h"

#include <math.h>
#include <string.h>

#include "rng/gauss_table.h"
#include "rng/philox.h"

/* The words of elements 64 b .. 64 b + 63. */
static void block_of(uint32_t w[ZF_NOISE_BLOCK], const struct zf_noise *noise, int64_t b) {
  uint32_t key[2] = {(uint32_t)noise->seed, (uint32_t)(noise->seed >> 32)};
  for (int l = 0; l < 16; l++) {
    int64_t q = 16 * b + l;
    uint32_t out[4], ctr[4] = {(uint32_t)q, (uint32_t)(q >> 32 & 0xff) | noise->param << 8,
                               noise->step, noise->probe | (uint32_t)noise->use << 16};
    zf_philox(out, ctr, key, ZF_PHILOX_ROUNDS);
    for (int j = 0; j < 4; j++) w[16 * j + l] = out[j];
  }
}

void zf_noise_words(uint32_t *w, const struct zf_noise *noise, int64_t first, int64_t n) {
  uint32_t block[ZF_NOISE_BLOCK];
  for (int64_t i = 0; i < n;) {
    int64_t at = (first + i) % ZF_NOISE_BLOCK, m = ZF_NOISE_BLOCK - at;
    if (m > n - i) m = n - i;
    block_of(block, noise, (first + i) / ZF_NOISE_BLOCK);
    memcpy(w + i, block + at, (size_t)m * sizeof *w);
    i += m;
  }
}

static float gaussian(uint32_t w) {
  int32_t s = (int32_t)(w | 1);
  float f = fabsf((float)s), m, z;
  uint32_t bits;
  memcpy(&bits, &f, sizeof bits);
  int k = bits >> 23 & 31;
  bits = (bits & 0x7fffff) | 0x3f800000;
  memcpy(&m, &bits, sizeof m);
  z = zf_gauss_table[ZF_GAUSS_DEGREE][k];
  for (int d = ZF_GAUSS_DEGREE - 1; d >= 0; d--) z = fmaf(z, m, zf_gauss_table[d][k]);
  return s < 0 ? -z : z;
}

void zf_noise_ref(float *z, const struct zf_noise *noise, int64_t first, int64_t n) {
  uint32_t w[ZF_NOISE_BLOCK];
  for (int64_t i = 0; i < n; i += ZF_NOISE_BLOCK) {
    int64_t m = n - i < ZF_NOISE_BLOCK ? n - i : ZF_NOISE_BLOCK;
    zf_noise_words(w, noise, first + i, m);
    for (int64_t j = 0; j < m; j++)
      z[i + j] = noise->kind == ZF_GAUSSIAN ? gaussian(w[j]) : w[j] >> 31 ? -1.0f : 1.0f;
  }
}
