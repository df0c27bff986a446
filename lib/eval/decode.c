#include "eval/decode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "eval/score.h"

struct candidate {
  int32_t id;
  float logit;
};

struct zf_decoder {
  const struct zf_model *m;
  struct zf_forward *f;
  struct zf_cache *cache;
  int32_t *id, *pos, *past; /* past: the whole sequence, read or about to be */
  int64_t npast;
  float *logits;
  struct candidate *cand;
  double *p;
  int64_t made, length;
  int full; /* the last token could not be read: no room */
};

int zf_decoder_new(struct zf_decoder **out, const struct zf_model *m, int64_t prompt,
                   int64_t length, enum zf_compute c) {
  *out = NULL;
  struct zf_decoder *d = zf_calloc(1, sizeof *d);
  if (!d) return ZF_ENOMEM;
  struct zf_limits lim = {.tokens = prompt,
                          .rows = 1,
                          .segments = 1,
                          .length = length,
                          .ids = 1,
                          .streams = 1,
                          .compute = c};
  d->m = m;
  d->length = length;
  int rc = zf_score_causal(m);
  if (!rc) rc = zf_forward_new(&d->f, m, &lim);
  if (!rc) rc = zf_cache_new(&d->cache, m, length);
  if (!rc) {
    int64_t V = m->config.vocab;
    d->id = zf_calloc(prompt, sizeof *d->id);
    d->pos = zf_calloc(prompt, sizeof *d->pos);
    d->past = zf_calloc(length + 1, sizeof *d->past);
    d->logits = zf_calloc(V, sizeof *d->logits);
    d->cand = zf_calloc(V, sizeof *d->cand);
    d->p = zf_calloc(V, sizeof *d->p);
    if (!d->id || !d->pos || !d->past || !d->logits || !d->cand || !d->p) rc = ZF_ENOMEM;
  }
  if (rc) {
    zf_decoder_free(d);
    return rc;
  }
  *out = d;
  return 0;
}

void zf_decoder_free(struct zf_decoder *d) {
  if (!d) return;
  free(d->p);
  free(d->cand);
  free(d->logits);
  free(d->past);
  free(d->pos);
  free(d->id);
  zf_cache_free(d->cache);
  zf_forward_free(d->f);
  free(d);
}

static int read_tokens(struct zf_decoder *d, const int32_t *ids, int64_t n) {
  int32_t last = (int32_t)n - 1;
  struct zf_segment seg = {.len = n};
  struct zf_perturb none = zf_perturb_none();
  for (int64_t i = 0; i < n; i++) {
    d->id[i] = ids[i];
    d->pos[i] = (int32_t)(d->cache->len + i);
  }
  struct zf_batch b = {.T = n,
                       .id = d->id,
                       .pos = d->pos,
                       .nseg = 1,
                       .seg = &seg,
                       .cache = &d->cache,
                       .R = 1,
                       .row = &last};
  int rc = zf_forward_run(d->f, &b, &none);
  if (!rc) zf_forward_logits(d->f, d->logits);
  return rc;
}

int zf_decoder_begin(struct zf_decoder *d, const int32_t *ids, int64_t n) {
  if (n > zf_forward_limits(d->f)->tokens || n > d->length)
    return zf_error(ZF_EUSAGE, "a prompt of %lld tokens is longer than the %lld that fit",
                    (long long)n, (long long)d->length);
  d->cache->len = 0;
  d->made = 0;
  d->full = 0;
  memcpy(d->past, ids, (size_t)n * sizeof *ids);
  d->npast = n;
  return read_tokens(d, ids, n);
}

static int by_logit(const void *a, const void *b) {
  const struct candidate *x = a, *y = b;
  if (x->logit != y->logit) return x->logit < y->logit ? 1 : -1;
  return (x->id > y->id) - (x->id < y->id);
}

static int32_t greedy(const struct zf_decoder *d) {
  int32_t best = 0;
  for (int64_t i = 1; i < d->m->config.vocab; i++)
    if (d->logits[i] > d->logits[best]) best = (int32_t)i;
  return best;
}

/* A number in [0,1) from 53 bits. */
static double uniform(const struct zf_sampling *s, int64_t n) {
  uint32_t w[2];
  struct zf_noise k = {
      .seed = s->seed, .step = (uint32_t)n, .use = ZF_USE_SAMPLE, .param = s->number & 0xffffff};
  zf_noise_words(w, &k, 0, 2);
  return ((double)(w[0] >> 5) * 67108864.0 + (double)(w[1] >> 6)) * 0x1p-53;
}

static int32_t sample(struct zf_decoder *d, const struct zf_sampling *s) {
  int64_t n = d->m->config.vocab;
  for (int64_t i = 0; i < n; i++) d->cand[i] = (struct candidate){(int32_t)i, d->logits[i]};
  qsort(d->cand, (size_t)n, sizeof *d->cand, by_logit);
  if (s->top_k > 0 && s->top_k < n) n = s->top_k;
  double sum = 0, kept = 0;
  for (int64_t i = 0; i < n; i++) {
    d->p[i] = exp((double)(d->cand[i].logit - d->cand[0].logit) / s->temperature);
    sum += d->p[i];
  }
  int64_t m = 0;
  while (m < n && (m == 0 || (kept < s->top_p * sum && d->p[m] >= s->min_p))) kept += d->p[m++];
  double u = uniform(s, d->made) * kept;
  for (int64_t i = 0; i < m; i++) {
    u -= d->p[i];
    if (u < 0) return d->cand[i].id;
  }
  return d->cand[m - 1].id;
}

static int by_id(const void *a, const void *b) {
  int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
  return (x > y) - (x < y);
}

/* Each token of the sequence once, whatever its count. */
static int penalise(struct zf_decoder *d, double by) {
  int32_t *seen = zf_malloc((size_t)(d->npast + 1) * sizeof *seen);
  if (!seen) return ZF_ENOMEM;
  memcpy(seen, d->past, (size_t)d->npast * sizeof *seen);
  qsort(seen, (size_t)d->npast, sizeof *seen, by_id);
  for (int64_t i = 0; i < d->npast; i++) {
    float *l = &d->logits[seen[i]];
    if (i == 0 || seen[i] != seen[i - 1]) *l = (float)(*l > 0 ? *l / by : *l * by);
  }
  free(seen);
  return 0;
}

int zf_decoder_next(struct zf_decoder *d, const struct zf_sampling *s, int32_t *id) {
  if (d->full)
    return zf_error(ZF_EUSAGE, "the sequence has reached its %lld tokens", (long long)d->length);
  if (s->repetition > 0 && s->repetition != 1) {
    int rc = penalise(d, s->repetition);
    if (rc) return rc;
  }
  *id = s->temperature > 0 ? sample(d, s) : greedy(d);
  d->made++;
  if (d->npast < d->length) d->past[d->npast++] = *id;
  if (d->cache->len < d->length) return read_tokens(d, id, 1);
  d->full = 1;
  return 0;
}

const float *zf_decoder_logits(const struct zf_decoder *d) {
  return d->logits;
}
