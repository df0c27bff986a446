/* A ragged batch with losses of every kind, and its gradients: for tests of backpropagation. */
#ifndef ZF_TESTS_RAGGED_H
#define ZF_TESTS_RAGGED_H

#include "back/back.h"
#include "base/util.h"
#include "unit/ref64.h"

enum { SEGMENTS = 5, MAXTOKENS = 40, LENGTH = 10 };

/* A prompt with two continuations, another one that shares nothing, and one alone; some rows are
 * asked for twice, one has ids of its own. */
struct ragged {
  int32_t id[MAXTOKENS], pos[MAXTOKENS], row[MAXTOKENS], target[MAXTOKENS], ids[3];
  float coef[MAXTOKENS], slope[MAXTOKENS * 3];
  struct zf_segment seg[SEGMENTS];
  struct zf_batch b;
};

static inline void add_segment(struct ragged *x, int64_t vocab, int64_t len, int64_t pstart,
                               int64_t plen) {
  struct zf_batch *b = &x->b;
  b->segment[b->segment_count++] =
      (struct zf_segment){.start = b->T, .len = len, .prefix_start = pstart, .prefix_len = plen};
  for (int64_t i = 0; i < len; i++, b->T++) {
    b->id[b->T] = (int32_t)((b->T * b->T * 5 + 3 * b->T + 1) % zf_min64(97, vocab));
    b->pos[b->T] = (int32_t)(plen + i);
  }
}

static inline void make_ragged(struct ragged *x, const struct zf_model *m) {
  int64_t causal = m->plan.causal, V = m->config.outputs, vocab = m->config.vocab;
  memset(x, 0, sizeof *x);
  x->b = (struct zf_batch){.id = x->id, .pos = x->pos, .segment = x->seg, .row = x->row};
  add_segment(x, vocab, 5, 0, 0);
  add_segment(x, vocab, 3, 0, 5 * causal); /* where all see all, nothing is a prefix */
  add_segment(x, vocab, 2, 0, 5 * causal);
  add_segment(x, vocab, 1, 0, 0);
  add_segment(x, vocab, 9, 0, 0);
  for (int64_t t = 0; t < x->b.T; t++)
    for (int k = 0; k < (t == 4 ? 3 : t % 3 != 1); k++) {
      int64_t r = x->b.R++;
      x->row[r] = (int32_t)t;
      x->target[r] = (int32_t)((t * 11 + k * 7) % V);
      x->coef[r] = 0.3f * (float)(t % 5) - 0.7f;
    }
  x->ids[0] = (int32_t)(3 % V), x->ids[1] = (int32_t)(50 % V), x->ids[2] = (int32_t)(V - 1);
  x->target[3] = -1; /* its logits at ids count, its log-probability does not */
  for (int k = 0; k < 3; k++) x->slope[3 * 3 + k] = 0.5f * (float)(k - 1) + 0.1f;
}

static inline struct zf_limits limits_of(const struct zf_model *m, const struct zf_batch *b,
                                         enum zf_compute c) {
  struct zf_limits lim = {.tokens = b->T,
                          .rows = b->R,
                          .segments = b->segment_count,
                          .length = LENGTH,
                          .ids = 3,
                          .streams = 1,
                          .compute = c};
  zf_back_limits(&lim, m);
  return lim;
}

/* All gradients of the batch; *n floats, the caller frees. */
static inline float *gradients(const struct zf_model *m, const struct ragged *x, enum zf_compute c,
                               int checkpoint, double *loss, int64_t *n) {
  struct zf_limits lim = limits_of(m, &x->b, c);
  struct zf_forward *f;
  struct zf_back *k;
  double lse[MAXTOKENS], logit[MAXTOKENS], first[MAXTOKENS], second[MAXTOKENS];
  float at[MAXTOKENS * 3];
  ck_ok(zf_forward_new(&f, m, &lim));
  ck_ok(zf_back_new(&k, m, f, checkpoint));
  ck_ok(zf_back_forward(k, &x->b));
  zf_back_lse(k, x->target, first, second);
  zf_back_at(k, x->ids, 3, at);
  zf_back_rows(k, x->target, x->coef, NULL, lse, logit);
  zf_back_gradient_at(k, x->ids, 3, x->slope);
  zf_back_run(k);
  *loss = 0;
  for (int64_t r = 0; r < x->b.R; r++) {
    ck_assert_double_eq(lse[r], first[r]);
    ck_assert_double_eq(logit[r], second[r]);
    if (x->target[r] >= 0) *loss += (double)x->coef[r] * (logit[r] - lse[r]);
    for (int i = 0; i < 3; i++) *loss += (double)(x->slope[r * 3 + i] * at[r * 3 + i]);
  }
  float *all = zf_back_all(k, n), *out = zf_calloc(*n, sizeof *out);
  memcpy(out, all, sizeof *out * (size_t)*n);
  zf_back_free(k);
  zf_forward_free(f);
  return out;
}

static inline int64_t padded(int64_t n) {
  return (n + 15) / 16 * 16;
}

static inline double largest(const float *g, int64_t n) {
  double m = 0;
  for (int64_t i = 0; i < n; i++)
    if (fabs((double)g[i]) > m) m = fabs((double)g[i]);
  return m;
}

/* Central difference of the loss of a batch by the weight *w. */
static inline double difference(struct ref64 *ref, const struct ragged *x, double *w, double h) {
  double was = *w, up, down;
  *w = was + h;
  up = ref64_loss(ref, &x->b, x->target, x->coef, x->ids, 3, x->slope);
  *w = was - h;
  down = ref64_loss(ref, &x->b, x->target, x->coef, x->ids, 3, x->slope);
  *w = was;
  return (up - down) / (2 * h);
}

#endif
