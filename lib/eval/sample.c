/* The tokens lie in a heap, from which only those that may be drawn are popped, in order. */
#include "eval/sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "rng/noise.h"

struct zf_sampler {
  int64_t vocab;
  struct zf_token_candidate *heap; /* [vocab] */
  int64_t heaped;                  /* elements of the heap */
  struct zf_token_candidate *top;  /* popped elements */
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

static int is_before(const struct zf_token_candidate *left,
                     const struct zf_token_candidate *right) {
  return left->logit != right->logit ? left->logit > right->logit : left->id < right->id;
}

static void sift_down(struct zf_sampler *sampler, int64_t parent) {
  struct zf_token_candidate *heap = sampler->heap, moved = heap[parent];
  for (int64_t child; (child = 2 * parent + 1) < sampler->heaped; parent = child) {
    if (child + 1 < sampler->heaped && is_before(&heap[child + 1], &heap[child])) child++;
    if (!is_before(&heap[child], &moved)) break;
    heap[parent] = heap[child];
  }
  heap[parent] = moved;
}

static struct zf_token_candidate pop(struct zf_sampler *sampler) {
  struct zf_token_candidate candidate = sampler->heap[0];
  sampler->heap[0] = sampler->heap[--sampler->heaped];
  sift_down(sampler, 0);
  return candidate;
}

static void fill_heap(struct zf_sampler *sampler, const float *logits, double temperature) {
  float divisor = (float)temperature;
  sampler->heaped = sampler->vocab;
  for (int64_t i = 0; i < sampler->vocab; i++)
    sampler->heap[i] = (struct zf_token_candidate){.id = (int32_t)i, .logit = logits[i] / divisor};
  for (int64_t i = sampler->vocab / 2; i-- > 0;) sift_down(sampler, i);
}

/* --- shares --- */

static double weight(const struct zf_token_candidate *candidate, float max) {
  return exp((double)candidate->logit - (double)max);
}

/* Pops a token to top[index]; its share is not normalised yet. */
static void pop_to(struct zf_sampler *sampler, int64_t index, float max) {
  sampler->top[index] = pop(sampler);
  sampler->top[index].share = weight(&sampler->top[index], max);
}

/* Sum of exp(logit - max) over the tokens that top-k keeps, of which `popped` have left the heap. */
static double normaliser(const struct zf_sampler *sampler, const struct zf_sampling *sampling,
                         int64_t popped, float max) {
  double sum = 0;
  for (int64_t i = 0; i < popped; i++) sum += sampler->top[i].share;
  if (sampling->top_k) return sum;
  for (int64_t i = 0; i < sampler->heaped; i++) sum += weight(&sampler->heap[i], max);
  return sum;
}

int64_t zf_sampler_shares(struct zf_sampler *sampler, const float *logits,
                          const struct zf_sampling *sampling,
                          const struct zf_token_candidate **candidates) {
  fill_heap(sampler, logits, sampling->temperature);
  float max = sampler->heap[0].logit;
  int64_t popped = 0, kept = 0;
  while (sampling->top_k && sampler->heaped &&
         (popped < sampling->top_k || sampler->heap[0].logit == sampler->top[popped - 1].logit))
    pop_to(sampler, popped++, max);
  double all = normaliser(sampler, sampling, popped, max), sum = 0;
  for (;; kept++) {
    if (kept == popped) {
      if (sampling->top_k || !sampler->heaped) break;
      pop_to(sampler, popped++, max);
    }
    if (kept && ((sampling->top_p < 1 && sum >= sampling->top_p * all) ||
                 sampler->top[kept].share < sampling->min_p))
      break;
    sum += sampler->top[kept].share;
  }
  for (int64_t i = 0; i < kept; i++) sampler->top[i].share /= sum;
  *candidates = sampler->top;
  return kept;
}

static int by_id(const void *left, const void *right) {
  int32_t x = *(const int32_t *)left, y = *(const int32_t *)right;
  return (x > y) - (x < y);
}

int zf_sampler_penalise(float *logits, const int32_t *past, int64_t count, double penalty) {
  int32_t *seen = zf_malloc((size_t)(count + 1) * sizeof *seen);
  float factor = (float)penalty;
  if (!seen) return ZF_ENOMEM;
  memcpy(seen, past, (size_t)count * sizeof *seen);
  qsort(seen, (size_t)count, sizeof *seen, by_id);
  for (int64_t i = 0; i < count; i++) {
    float *logit = &logits[seen[i]];
    if (i == 0 || seen[i] != seen[i - 1]) *logit = *logit < 0 ? *logit * factor : *logit / factor;
  }
  free(seen);
  return 0;
}

/* A number in [0,1) from 53 bits. */
static double uniform(const struct zf_sampling *sampling, int64_t index) {
  uint32_t words[2];
  struct zf_noise noise = {.seed = sampling->seed,
                           .step = (uint32_t)index,
                           .use = ZF_USE_SAMPLE,
                           .param = sampling->number & 0xffffff};
  zf_noise_words(words, &noise, 2 * sampling->row, 2);
  return ((double)(words[0] >> 5) * 67108864.0 + (double)(words[1] >> 6)) * 0x1p-53;
}

static int32_t greedy(const float *logits, int64_t count) {
  int32_t best = 0;
  for (int64_t i = 1; i < count; i++)
    if (logits[i] > logits[best]) best = (int32_t)i;
  return best;
}

int32_t zf_sampler_draw(struct zf_sampler *sampler, const float *logits,
                        const struct zf_sampling *sampling, int64_t index) {
  const struct zf_token_candidate *candidate;
  if (!(sampling->temperature > 0)) return greedy(logits, sampler->vocab);
  int64_t count = zf_sampler_shares(sampler, logits, sampling, &candidate);
  double remaining = uniform(sampling, index);
  for (int64_t i = 0; i < count; i++) {
    remaining -= candidate[i].share;
    if (remaining < 0) return candidate[i].id;
  }
  return candidate[count - 1].id;
}
