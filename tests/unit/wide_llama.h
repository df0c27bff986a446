/* A Llama in double, for directional derivatives: written from the equations, sharing no code with
 * the passes it checks but the rotary frequencies. */
#ifndef ZF_TESTS_WIDE_LLAMA_H
#define ZF_TESTS_WIDE_LLAMA_H

#include <math.h>

#include "unit/models.h"

/* A Llama in double over explicit weights: parameters in the order of the plan (embedding;
 * norm, q, k, v, o, norm, gate, up, down for each layer; norm; head). */
struct wide {
  const struct zf_config *c;
  double *w[64];
  double x[64][64], h[64][128], q[64][256], a[64][512]; /* [token][...] */
};

static inline void wide_norm(const struct wide *y, double *out, const double *x, const double *w) {
  double sum = 0;
  for (int64_t i = 0; i < y->c->hidden; i++) sum += x[i] * x[i];
  sum = 1 / sqrt(sum / (double)y->c->hidden + (double)(float)y->c->norm_eps);
  for (int64_t i = 0; i < y->c->hidden; i++) out[i] = x[i] * sum * w[i];
}

static inline void wide_linear(double *out, const double *x, const double *w, int64_t n, int64_t k,
                               int add) {
  for (int64_t o = 0; o < n; o++) {
    double sum = add ? out[o] : 0;
    for (int64_t i = 0; i < k; i++) sum += w[o * k + i] * x[i];
    out[o] = sum;
  }
}

static inline void wide_rotate(const struct wide *y, double *x, int64_t heads, int64_t pos) {
  int64_t d = y->c->head_dim, half = d / 2;
  double f[64];
  zf_rope_freqs(f, d, &y->c->rope[0], 0);
  for (int64_t h = 0; h < heads; h++)
    for (int64_t i = 0; i < half; i++) {
      double *p = x + h * d + i, a = p[0], b = p[half];
      p[0] = a * cos((double)pos * f[i]) - b * sin((double)pos * f[i]);
      p[half] = b * cos((double)pos * f[i]) + a * sin((double)pos * f[i]);
    }
}

/* Attention of token t over 0..t, into out. */
static inline void wide_attend(const struct wide *y, double *out, int64_t t) {
  const struct zf_config *c = y->c;
  int64_t d = c->head_dim, qw = c->heads * d, kw = c->kv_heads * d;
  for (int64_t h = 0; h < c->heads; h++) {
    double p[64], sum = 0;
    int64_t at = qw + h / (c->heads / c->kv_heads) * d;
    for (int64_t j = 0; j <= t; j++) {
      p[j] = 0;
      for (int64_t i = 0; i < d; i++) p[j] += y->q[t][h * d + i] * y->q[j][at + i];
      sum += p[j] = exp(p[j] / sqrt((double)d));
    }
    for (int64_t i = 0; i < d; i++) {
      out[h * d + i] = 0;
      for (int64_t j = 0; j <= t; j++) out[h * d + i] += p[j] / sum * y->q[j][at + kw + i];
    }
  }
}

static inline void wide_layer(struct wide *y, double *const *w, int64_t n) {
  const struct zf_config *c = y->c;
  int64_t C = c->hidden, qw = c->heads * c->head_dim, kw = c->kv_heads * c->head_dim, F = c->ffn;
  for (int64_t t = 0; t < n; t++) {
    wide_norm(y, y->h[t], y->x[t], w[0]);
    wide_linear(y->q[t], y->h[t], w[1], qw, C, 0);
    wide_linear(y->q[t] + qw, y->h[t], w[2], kw, C, 0);
    wide_linear(y->q[t] + qw + kw, y->h[t], w[3], kw, C, 0);
    wide_rotate(y, y->q[t], c->heads + c->kv_heads, t);
  }
  for (int64_t t = 0; t < n; t++) {
    wide_attend(y, y->h[t], t);
    wide_linear(y->x[t], y->h[t], w[4], C, qw, 1);
    wide_norm(y, y->h[t], y->x[t], w[5]);
    wide_linear(y->a[t], y->h[t], w[6], F, C, 0);
    wide_linear(y->a[t] + F, y->h[t], w[7], F, C, 0);
    for (int64_t i = 0; i < F; i++) y->a[t][i] *= y->a[t][F + i] / (1 + exp(-y->a[t][i]));
    wide_linear(y->x[t], y->a[t], w[8], C, F, 1);
  }
}

static inline double wide_loss(struct wide *y, const int32_t *id, int64_t n) {
  const struct zf_config *c = y->c;
  double loss = 0, logit[512];
  double *const *end = y->w + 1 + 9 * c->layers;
  for (int64_t t = 0; t < n; t++)
    for (int64_t i = 0; i < c->hidden; i++) y->x[t][i] = y->w[0][id[t] * c->hidden + i];
  for (int64_t l = 0; l < c->layers; l++) wide_layer(y, y->w + 1 + 9 * l, n);
  for (int64_t t = 0; t < n; t++) {
    double sum = 0;
    wide_norm(y, y->h[t], y->x[t], end[0]);
    wide_linear(logit, y->h[t], c->tied ? y->w[0] : end[1], c->vocab, c->hidden, 0);
    for (int64_t v = 0; v < c->vocab; v++) sum += exp(logit[v]);
    loss += (log(sum) - logit[id[t + 1]]) / (double)n;
  }
  return loss;
}

/* The loss at w + eps z, everything in double. */
static inline double wide_at(struct wide *y, const struct text *x, const struct zf_perturb *pt,
                             double eps) {
  const struct zf_params *ps = &x->m->params;
  ck_assert(ps->count <= 64);
  for (int64_t i = 0; i < ps->count; i++) {
    const struct zf_param *p = &ps->param[i];
    struct zf_noise k = pt->direction;
    float *w = zf_calloc(2 * p->count, sizeof *w), *z = w + p->count;
    y->w[i] = zf_calloc(p->count, sizeof **y->w);
    ck_assert(w && y->w[i]);
    k.param = p->id;
    zf_to_f32(w, p->data, p->type, p->count);
    zf_noise_ref(z, &k, 0, p->count);
    for (int64_t e = 0; e < p->count; e++) y->w[i][e] = (double)w[e] + eps * (double)z[e];
    free(w);
  }
  double loss = wide_loss(y, x->id, x->n);
  for (int64_t i = 0; i < ps->count; i++) free(y->w[i]);
  return loss;
}

#endif
