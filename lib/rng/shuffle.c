/* Fisher and Yates' shuffle (Durstenfeld, CACM 7, 1964) on words of a noise key. */
#include "rng/noise.h"

enum { BATCH = 256 };

struct word_source {
  const struct zf_noise *key;
  int64_t next; /* number of the next word to fetch */
  int at;       /* index of the next one in `words`; BATCH: none is left */
  uint32_t words[BATCH];
};

static uint64_t draw(struct word_source *draws) {
  if (draws->at == BATCH) {
    zf_noise_words(draws->words, draws->key, draws->next, BATCH);
    draws->next += BATCH;
    draws->at = 0;
  }
  uint64_t lo = draws->words[draws->at], hi = draws->words[draws->at + 1];
  draws->at += 2;
  return hi << 32 | lo;
}

/* Uniform in 0..bound-1: the smallest 2^64 mod bound values are rejected. */
static uint64_t below(struct word_source *draws, uint64_t bound) {
  uint64_t reject = (0 - bound) % bound, value;
  do value = draw(draws);
  while (value < reject);
  return value % bound;
}

void zf_shuffle(int64_t *order, int64_t count, const struct zf_noise *noise) {
  struct word_source draws = {.key = noise, .at = BATCH};
  for (int64_t i = 0; i < count; i++) order[i] = i;
  for (int64_t i = count - 1; i > 0; i--) {
    int64_t j = (int64_t)below(&draws, (uint64_t)i + 1), swapped = order[i];
    order[i] = order[j];
    order[j] = swapped;
  }
}
