/* Blocks of 32 rounded by their largest values.  The operations are those of the Python package
 * `gguf`, each rounded to f32 once, so that the bytes are equal. */
#include <math.h>
#include <string.h>

#include "tensor/quantize_internal.h"

/* 1 / d overflows for a scale below 2^-128, and products with it may be no numbers: `gguf` stores
 * 0 for them. */
static int whole(float value) {
  return isfinite(value) ? (int)value : 0;
}

static float inverse_of(float d) {
  return d != 0 ? 1 / d : 0;
}

static void store(unsigned char *block, const struct zf_quantizer *kind, float d, float m) {
  kind->write(block, &(struct zf_scales){.d = d, .dmin = -m});
}

static int within(int value, int most) {
  return value < most ? value : most;
}

/* d = (the value of largest |x|) / least; q = trunc(x / d + 0.5 - least), at most the last level. */
void zf_round_signed(unsigned char *block, const struct zf_quantizer *kind, const float *src) {
  float largest = src[0];
  for (int i = 1; i < kind->run; i++)
    if (fabsf(src[i]) > fabsf(largest)) largest = src[i];
  float least = (float)kind->grid.least, d = largest / least, inverse = inverse_of(d);
  store(block, kind, d, 0);
  for (int i = 0; i < kind->run; i++) {
    float level = src[i] * inverse + (0.5f - least);
    zf_block_put(block, kind, i, within(whole(level), kind->grid.levels - 1));
  }
}

/* d = (max - min) / (levels - 1); q = trunc((x - min) / d + 0.5). */
void zf_round_ranged(unsigned char *block, const struct zf_quantizer *kind, const float *src) {
  float low = src[0], high = src[0];
  for (int i = 1; i < kind->run; i++) {
    low = src[i] < low ? src[i] : low;
    high = src[i] > high ? src[i] : high;
  }
  float d = (high - low) / (float)(kind->grid.levels - 1), inverse = inverse_of(d);
  store(block, kind, d, low);
  for (int i = 0; i < kind->run; i++) {
    float level = (src[i] - low) * inverse + 0.5f;
    zf_block_put(block, kind, i, within(whole(level), kind->grid.levels - 1));
  }
}

/* d = max |x| / 127; q = x / d rounded to nearest, halves away from 0. */
void zf_round_bytes(unsigned char *block, const struct zf_quantizer *kind, const float *src) {
  float largest = 0;
  for (int i = 0; i < kind->run; i++) largest = fmaxf(largest, fabsf(src[i]));
  float d = largest / 127, inverse = inverse_of(d);
  store(block, kind, d, 0);
  for (int i = 0; i < kind->run; i++)
    zf_block_put(block, kind, i, whole(roundf(src[i] * inverse)) - kind->grid.least);
}
