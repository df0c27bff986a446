/* Fisher and Yates' shuffle (Durstenfeld, CACM 7, 1964) on words of a noise key. */
#include "rng/noise.h"

enum { BATCH = 256 };

struct draws {
  const struct zf_noise *key;
  int64_t next; /* word not yet fetched */
  int at;       /* in w; BATCH: fetch */
  uint32_t w[BATCH];
};

static uint64_t draw(struct draws *draws) {
  if (draws->at == BATCH) {
    zf_noise_words(draws->w, draws->key, draws->next, BATCH);
    draws->next += BATCH;
    draws->at = 0;
  }
  uint64_t lo = draws->w[draws->at], hi = draws->w[draws->at + 1];
  draws->at += 2;
  return hi << 32 | lo;
}

/* Uniform in 0..bound-1: the 2^64 mod bound smallest values are drawn again. */
static uint64_t below(struct draws *draws, uint64_t bound) {
  uint64_t reject = (0 - bound) % bound, x;
  do x = draw(draws);
  while (x < reject);
  return x % bound;
}

void zf_shuffle(int64_t *order, int64_t count, const struct zf_noise *noise) {
  struct draws draws = {.key = noise, .at = BATCH};
  for (int64_t i = 0; i < count; i++) order[i] = i;
  for (int64_t i = count - 1; i > 0; i--) {
    int64_t j = (int64_t)below(&draws, (uint64_t)i + 1), t = order[i];
    order[i] = order[j];
    order[j] = t;
  }
}
