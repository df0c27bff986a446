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
  struct zf_sampler *p = *out = zf_calloc(1, sizeof *p);
  if (!p) return ZF_ENOMEM;
  p->vocab = vocab;
  p->heap = zf_calloc(vocab, sizeof *p->heap);
  p->top = zf_calloc(vocab, sizeof *p->top);
  if (p->heap && p->top) return 0;
  zf_sampler_free(p);
  *out = NULL;
  return ZF_ENOMEM;
}

void zf_sampler_free(struct zf_sampler *p) {
  if (!p) return;
  free(p->heap);
  free(p->top);
  free(p);
}

/* --- the heap --- */

static int before(const struct zf_token_candidate *a, const struct zf_token_candidate *b) {
  return a->logit != b->logit ? a->logit > b->logit : a->id < b->id;
}

static void sink(struct zf_sampler *p, int64_t i) {
  struct zf_token_candidate *h = p->heap, x = h[i];
  for (int64_t k; (k = 2 * i + 1) < p->left; i = k) {
    if (k + 1 < p->left && before(&h[k + 1], &h[k])) k++;
    if (!before(&h[k], &x)) break;
    h[i] = h[k];
  }
  h[i] = x;
}

static struct zf_token_candidate pop(struct zf_sampler *p) {
  struct zf_token_candidate x = p->heap[0];
  p->heap[0] = p->heap[--p->left];
  sink(p, 0);
  return x;
}

static void fill(struct zf_sampler *p, const float *logits, double temperature) {
  float by = (float)temperature;
  p->left = p->vocab;
  for (int64_t i = 0; i < p->vocab; i++)
    p->heap[i] = (struct zf_token_candidate){.id = (int32_t)i, .logit = logits[i] / by};
  for (int64_t i = p->vocab / 2; i-- > 0;) sink(p, i);
}

/* --- shares --- */

static double weight(const struct zf_token_candidate *c, float most) {
  return exp((double)c->logit - (double)most);
}

/* Of those that top-k leaves, sum of exp(logit - most); `taken` have left the heap. */
static double normaliser(const struct zf_sampler *p, const struct zf_sampling *s, int64_t taken,
                         float most) {
  double sum = 0;
  for (int64_t i = 0; i < taken; i++) sum += p->top[i].share;
  for (int64_t i = 0; i < p->left && !s->top_k; i++) sum += weight(&p->heap[i], most);
  return sum;
}

int64_t zf_sampler_shares(struct zf_sampler *p, const float *logits, const struct zf_sampling *s,
                          const struct zf_token_candidate **out) {
  fill(p, logits, s->temperature);
  float most = p->heap[0].logit;
  int64_t n = 0, m = 0;
  while (s->top_k && p->left && (n < s->top_k || p->heap[0].logit == p->top[n - 1].logit)) {
    p->top[n] = pop(p);
    p->top[n].share = weight(&p->top[n], most);
    n++;
  }
  double all = normaliser(p, s, n, most), kept = 0;
  for (;; m++) {
    if (m == n) {
      if (s->top_k || !p->left) break;
      p->top[n] = pop(p);
      p->top[n].share = weight(&p->top[n], most);
      n++;
    }
    if (m && ((s->top_p < 1 && kept >= s->top_p * all) || p->top[m].share < s->min_p)) break;
    kept += p->top[m].share;
  }
  for (int64_t i = 0; i < m; i++) p->top[i].share /= kept;
  *out = p->top;
  return m;
}

static int by_id(const void *a, const void *b) {
  int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
  return (x > y) - (x < y);
}

int zf_sampler_penalise(float *logits, const int32_t *past, int64_t n, double by) {
  int32_t *seen = zf_malloc((size_t)(n + 1) * sizeof *seen);
  float f = (float)by;
  if (!seen) return ZF_ENOMEM;
  memcpy(seen, past, (size_t)n * sizeof *seen);
  qsort(seen, (size_t)n, sizeof *seen, by_id);
  for (int64_t i = 0; i < n; i++) {
    float *l = &logits[seen[i]];
    if (i == 0 || seen[i] != seen[i - 1]) *l = *l < 0 ? *l * f : *l / f;
  }
  free(seen);
  return 0;
}

/* A number in [0,1) from 53 bits. */
static double uniform(const struct zf_sampling *s, int64_t n) {
  uint32_t w[2];
  struct zf_noise k = {
      .seed = s->seed, .step = (uint32_t)n, .use = ZF_USE_SAMPLE, .param = s->number & 0xffffff};
  zf_noise_words(w, &k, 2 * s->row, 2);
  return ((double)(w[0] >> 5) * 67108864.0 + (double)(w[1] >> 6)) * 0x1p-53;
}

static int32_t greedy(const float *logits, int64_t n) {
  int32_t best = 0;
  for (int64_t i = 1; i < n; i++)
    if (logits[i] > logits[best]) best = (int32_t)i;
  return best;
}

int32_t zf_sampler_draw(struct zf_sampler *p, const float *logits, const struct zf_sampling *s,
                        int64_t n) {
  const struct zf_token_candidate *c;
  if (!(s->temperature > 0)) return greedy(logits, p->vocab);
  int64_t m = zf_sampler_shares(p, logits, s, &c);
  double u = uniform(s, n);
  for (int64_t i = 0; i < m; i++) {
    u -= c[i].share;
    if (u < 0) return c[i].id;
  }
  return c[m - 1].id;
}
