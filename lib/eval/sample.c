/* A heap over the vocabulary: only as many tokens leave it, in order, as may be drawn. */
#include "eval/sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "rng/noise.h"

struct zf_sampler {
  int64_t vocab, left;
  struct zf_token_candidate *heap, *top;
};

int zf_sampler_new(struct zf_sampler **out, int64_t vocab) {
  struct zf_sampler *sampler = *out = zf_calloc(1, sizeof *sampler);
  if (!sampler) return ZF_ENOMEM;
  sampler->vocab = vocab;
  sampler->heap = zf_calloc(vocab, sizeof *sampler->heap);
  sampler->top = zf_calloc(vocab, sizeof *sampler->top);
  if (sampler->heap && sampler->top) return 0;
  zf_sampler_free(sampler);
  *out = NULL;
  return ZF_ENOMEM;
}

void zf_sampler_free(struct zf_sampler *sampler) {
  if (!sampler) return;
  free(sampler->heap);
  free(sampler->top);
  free(sampler);
}

/* --- the heap --- */

static int before(const struct zf_token_candidate *candidate, const struct zf_token_candidate *b) {
  return candidate->logit != b->logit ? candidate->logit > b->logit : candidate->id < b->id;
}

static void sink(struct zf_sampler *sampler, int64_t i) {
  struct zf_token_candidate *candidate = sampler->heap, x = candidate[i];
  for (int64_t k; (k = 2 * i + 1) < sampler->left; i = k) {
    if (k + 1 < sampler->left && before(&candidate[k + 1], &candidate[k])) k++;
    if (!before(&candidate[k], &x)) break;
    candidate[i] = candidate[k];
  }
  candidate[i] = x;
}

static struct zf_token_candidate pop(struct zf_sampler *sampler) {
  struct zf_token_candidate candidate = sampler->heap[0];
  sampler->heap[0] = sampler->heap[--sampler->left];
  sink(sampler, 0);
  return candidate;
}

static void fill(struct zf_sampler *sampler, const float *logits, double temperature) {
  float by = (float)temperature;
  sampler->left = sampler->vocab;
  for (int64_t i = 0; i < sampler->vocab; i++)
    sampler->heap[i] = (struct zf_token_candidate){.id = (int32_t)i, .logit = logits[i] / by};
  for (int64_t i = sampler->vocab / 2; i-- > 0;) sink(sampler, i);
}

/* --- shares --- */

static double weight(const struct zf_token_candidate *candidate, float most) {
  return exp((double)candidate->logit - (double)most);
}

/* Of those that top-k leaves, sum of exp(logit - most); `taken` have left the heap. */
static double normaliser(const struct zf_sampler *sampler, const struct zf_sampling *sampling,
                         int64_t taken, float most) {
  double sum = 0;
  for (int64_t i = 0; i < taken; i++) sum += sampler->top[i].share;
  for (int64_t i = 0; i < sampler->left && !sampling->top_k; i++)
    sum += weight(&sampler->heap[i], most);
  return sum;
}

int64_t zf_sampler_shares(struct zf_sampler *sampler, const float *logits,
                          const struct zf_sampling *sampling,
                          const struct zf_token_candidate **out) {
  fill(sampler, logits, sampling->temperature);
  float most = sampler->heap[0].logit;
  int64_t n = 0, m = 0;
  while (sampling->top_k && sampler->left &&
         (n < sampling->top_k || sampler->heap[0].logit == sampler->top[n - 1].logit)) {
    sampler->top[n] = pop(sampler);
    sampler->top[n].share = weight(&sampler->top[n], most);
    n++;
  }
  double all = normaliser(sampler, sampling, n, most), kept = 0;
  for (;; m++) {
    if (m == n) {
      if (sampling->top_k || !sampler->left) break;
      sampler->top[n] = pop(sampler);
      sampler->top[n].share = weight(&sampler->top[n], most);
      n++;
    }
    if (m && ((sampling->top_p < 1 && kept >= sampling->top_p * all) ||
              sampler->top[m].share < sampling->min_p))
      break;
    kept += sampler->top[m].share;
  }
  for (int64_t i = 0; i < m; i++) sampler->top[i].share /= kept;
  *out = sampler->top;
  return m;
}

static int by_id(const void *a, const void *b) {
  int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
  return (x > y) - (x < y);
}

int zf_sampler_penalise(float *logits, const int32_t *past, int64_t count, double by) {
  int32_t *seen = zf_malloc((size_t)(count + 1) * sizeof *seen);
  float f = (float)by;
  if (!seen) return ZF_ENOMEM;
  memcpy(seen, past, (size_t)count * sizeof *seen);
  qsort(seen, (size_t)count, sizeof *seen, by_id);
  for (int64_t i = 0; i < count; i++) {
    float *l = &logits[seen[i]];
    if (i == 0 || seen[i] != seen[i - 1]) *l = *l < 0 ? *l * f : *l / f;
  }
  free(seen);
  return 0;
}

/* A number in [0,1) from 53 bits. */
static double uniform(const struct zf_sampling *sampling, int64_t count) {
  uint32_t w[2];
  struct zf_noise noise = {.seed = sampling->seed,
                           .step = (uint32_t)count,
                           .use = ZF_USE_SAMPLE,
                           .param = sampling->number & 0xffffff};
  zf_noise_words(w, &noise, 2 * sampling->row, 2);
  return ((double)(w[0] >> 5) * 67108864.0 + (double)(w[1] >> 6)) * 0x1p-53;
}

static int32_t greedy(const float *logits, int64_t count) {
  int32_t best = 0;
  for (int64_t i = 1; i < count; i++)
    if (logits[i] > logits[best]) best = (int32_t)i;
  return best;
}

int32_t zf_sampler_draw(struct zf_sampler *sampler, const float *logits,
                        const struct zf_sampling *sampling, int64_t count) {
  const struct zf_token_candidate *candidate;
  if (!(sampling->temperature > 0)) return greedy(logits, sampler->vocab);
  int64_t m = zf_sampler_shares(sampler, logits, sampling, &candidate);
  double u = uniform(sampling, count);
  for (int64_t i = 0; i < m; i++) {
    u -= candidate[i].share;
    if (u < 0) return candidate[i].id;
  }
  return candidate[m - 1].id;
}
