/* What z is.
 *
 *   z = f(seed, step, probe, parameter, element index)
 *
 * a pure function: the same for any thread, tile, batch, rank and processor.  Element
 * i of parameter `param` takes word i%4 of Philox4x32-10 with
 *
 *   key     = seed (low word, high word)
 *   counter = (q low 32 bits, q high 8 bits | param << 8, step, probe | use << 16),  q = i/4
 *
 * so a parameter has up to 2^42 elements and a model up to 2^24 parameters.  `use` keeps
 * different purposes apart (directions, rounding, shuffles, initial values).
 *
 * Gaussian: Box and Muller (Ann. Math. Stat. 29, 1958) on word pairs (0,1) and (2,3):
 *   u = (w0 >> 8) * 2^-24 + 2^-25   in (0,1], so |z| < 5.9
 *   v = (int32)w1 * 2^-31           in [-1,1]
 *   r = sqrt(-2 log u),  z0 = r cos(pi v),  z1 = r sin(pi v)
 * with SLEEF's finz functions, which agree bit for bit between instruction sets.
 * Rademacher: the sign is bit 31 of the word. */
#ifndef ZF_RNG_NOISE_H
#define ZF_RNG_NOISE_H

#include <stdint.h>

enum zf_noise_kind { ZF_GAUSSIAN, ZF_RADEMACHER };

enum zf_noise_use { ZF_USE_DIRECTION, ZF_USE_ROUNDING, ZF_USE_SHUFFLE, ZF_USE_INIT, ZF_USE_SAMPLE };

struct zf_noise {
  uint64_t seed;
  uint32_t step;
  uint16_t probe;
  uint16_t use;   /* enum zf_noise_use */
  uint32_t param; /* < 2^24 */
  int kind;       /* enum zf_noise_kind */
};

/* z[0..n) = noise of elements first .. first+n.  The plain C reference (_ref); the fast
 * ones are in kern/ and give the same bits. */
void zf_noise_ref(float *z, const struct zf_noise *k, int64_t first, int64_t n);

/* Raw words: w[0..n) = Philox words of elements first .. first+n. */
void zf_noise_words(uint32_t *w, const struct zf_noise *k, int64_t first, int64_t n);

/* order[0..n) = a permutation of 0..n-1, drawn by Fisher and Yates from words of `k`
 * (unbiased: rejection). */
void zf_shuffle(int64_t *order, int64_t n, const struct zf_noise *k);

#endif
