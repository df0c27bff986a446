/* Noise, one counter at a time: the code that says what z is.  Four consecutive
 * elements share a counter; a request that begins or ends inside a group of four
 * uses part of it. */
#include "rng/noise.h"

#include <math.h>

#include "rng/philox.h"
#include "rng/sleef.h"

static void words_of(uint32_t w[4], const struct zf_noise *k, int64_t q) {
  uint32_t key[2] = {(uint32_t)k->seed, (uint32_t)(k->seed >> 32)};
  uint32_t ctr[4] = {(uint32_t)q, (uint32_t)(q >> 32 & 0xff) | k->param << 8, k->step,
                     k->probe | (uint32_t)k->use << 16};
  zf_philox(w, ctr, key);
}

static void box_muller(float z[2], uint32_t w0, uint32_t w1) {
  float u = (float)(w0 >> 8) * 0x1p-24f + 0x1p-25f;
  float v = (float)(int32_t)w1 * 0x1p-31f;
  float r = sqrtf(-2.0f * Sleef_finz_logf1_u35purecfma(u));
  Sleef_float_2 sc = Sleef_finz_sincospif1_u35purecfma(v);
  z[0] = r * sc.y;
  z[1] = r * sc.x;
}

static void values_of(float z[4], const struct zf_noise *k, int64_t q) {
  uint32_t w[4];
  words_of(w, k, q);
  if (k->kind == ZF_RADEMACHER) {
    for (int i = 0; i < 4; i++) z[i] = w[i] >> 31 ? -1.0f : 1.0f;
    return;
  }
  box_muller(z, w[0], w[1]);
  box_muller(z + 2, w[2], w[3]);
}

void zf_noise_ref(float *z, const struct zf_noise *k, int64_t first, int64_t n) {
  float four[4];
  for (int64_t i = first; i < first + n; i++) {
    if (i == first || i % 4 == 0) values_of(four, k, i / 4);
    z[i - first] = four[i % 4];
  }
}

void zf_noise_words(uint32_t *w, const struct zf_noise *k, int64_t first, int64_t n) {
  uint32_t four[4];
  for (int64_t i = first; i < first + n; i++) {
    if (i == first || i % 4 == 0) words_of(four, k, i / 4);
    w[i - first] = four[i % 4];
  }
}
