/* Fisher and Yates' shuffle (Durstenfeld, CACM 7, 1964) on words of a noise key. */
#include "rng/noise.h"

enum { BATCH = 256 };

struct draws {
  const struct zf_noise *key;
  int64_t next; /* word not yet fetched */
  int at;       /* in w; BATCH: fetch */
  uint32_t w[BATCH];
};

static uint64_t draw(struct draws *d) {
  if (d->at == BATCH) {
    zf_noise_words(d->w, d->key, d->next, BATCH);
    d->next += BATCH;
    d->at = 0;
  }
  uint64_t lo = d->w[d->at], hi = d->w[d->at + 1];
  d->at += 2;
  return hi << 32 | lo;
}

/* Uniform in 0..bound-1: the 2^64 mod bound smallest values are drawn again. */
static uint64_t below(struct draws *d, uint64_t bound) {
  uint64_t reject = (0 - bound) % bound, x;
  do x = draw(d);
  while (x < reject);
  return x % bound;
}

void zf_shuffle(int64_t *order, int64_t n, const struct zf_noise *k) {
  struct draws d = {.key = k, .at = BATCH};
  for (int64_t i = 0; i < n; i++) order[i] = i;
  for (int64_t i = n - 1; i > 0; i--) {
    int64_t j = (int64_t)below(&d, (uint64_t)i + 1), t = order[i];
    order[i] = order[j];
    order[j] = t;
  }
}
