/* The definition of the noise z:
 *
 *   z = f(seed, step, probe, parameter, element index), or
 *   z = f(seed, step, probe, example, parameter, element index)
 *
 * f is a pure function: the same for any thread, tile, batch, rank and processor.  Blocks of 64
 * elements share 16 counters of Philox4x32-7, so that the sixteen lanes of a processor hold sixteen
 * counters and store their words without a permutation:
 *
 *   element 64 b + 16 j + l, j < 4, l < 16, uses word j of counter q = 16 b + l
 *
 *   key     = seed (low word, high word)
 *   counter = (q low 32 bits, q high 8 bits | param << 8, step, probe | use << 16)
 *
 * A parameter has up to 2^42 elements and a model up to 2^24 parameters.  `use` gives different
 * purposes (directions, rounding, shuffles, initial values) different noise.  Its low 3 bits are the
 * purpose.  Where each example of a batch has a direction of its own, the other 13 bits are 1 + the
 * example's place in the batch; else they are 0.
 *
 * Gaussian: the quantile function, one word a value.  Of the word w
 *   s = (int32)(w | 1)             odd: 2^-32 |s| is the midpoint of its interval of probability
 *   f = (float)|s| = m 2^k         to nearest even;  1 <= m < 2
 *   |z| = c0[k] + m (c1[k] + m (c2[k] + m (c3[k] + m (c4[k] + m c5[k]))))    each by fma
 * with the coefficients of gauss_table.h: 2^-32 |s| is the probability of values beyond |z|, within
 * 5e-6.  z has the sign of s.  |z| < 6.24.
 * Rademacher: 1 with the sign of s (bit 31 of the word). */
#ifndef ZF_RNG_NOISE_H
#define ZF_RNG_NOISE_H

#include <stdint.h>

#include "base/cplusplus.h"

ZF_BEGIN_DECLS

enum zf_noise_kind { ZF_GAUSSIAN, ZF_RADEMACHER };

enum zf_noise_use { ZF_USE_DIRECTION, ZF_USE_ROUNDING, ZF_USE_SHUFFLE, ZF_USE_INIT, ZF_USE_SAMPLE };

enum {
  ZF_NOISE_BLOCK = 64,     /* elements of 16 counters */
  ZF_NOISE_EXAMPLES = 8191 /* most examples of a batch that have directions of their own */
};

struct zf_noise {
  uint64_t seed;
  uint32_t step;
  uint16_t probe;
  uint16_t use;   /* enum zf_noise_use | (1 + example) << 3 */
  uint32_t param; /* < 2^24 */
  int kind;       /* enum zf_noise_kind */
};

/* Makes the direction that of one example of the batch, 0 <= example < ZF_NOISE_EXAMPLES. */
static inline void zf_noise_example(struct zf_noise *noise, int64_t example) {
  noise->use = (uint16_t)(ZF_USE_DIRECTION | (example + 1) << 3);
}

/* z[0..count) = noise of elements first .. first+count.  This is the plain C reference; the fast
 * versions in kern/ give the same bits. */
void zf_noise_ref(float *z, const struct zf_noise *noise, int64_t first, int64_t count);

/* words[0..count) = Philox words of elements first .. first+count. */
void zf_noise_words(uint32_t *words, const struct zf_noise *noise, int64_t first, int64_t count);

/* order[0..count) = a permutation of 0..count-1, drawn by Fisher and Yates' method from words of
 * `noise` without bias (rejection). */
void zf_shuffle(int64_t *order, int64_t count, const struct zf_noise *noise);

ZF_END_DECLS

#endif
