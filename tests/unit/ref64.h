/* The forward pass of every family in double, plainly: what gradients are checked against.  Walks
 * the plan as forward.c does, one register after another, with no kernel of the library. */
#ifndef ZF_TESTS_REF64_H
#define ZF_TESTS_REF64_H

#include "unit/models.h"

struct ref64 {
  const struct zf_model *m;
  double **w;    /* [params] */
  double **norm; /* [operations] of a ZF_OP_DORA: norms of rows, with the weights of ref64_init; a
                  * derivative counts them as constants */
  double *reg[ZF_REGS];
};

static inline double *doubles(int64_t n) {
  double *p = zf_calloc(n, sizeof *p);
  ck_assert_ptr_nonnull(p);
  return p;
}

/* |rows of W + s B A|, all elements one by one. */
static inline double *dora64(const struct ref64 *x, const struct zf_op *op) {
  const double *W = x->w[op->norm_base], *A = x->w[op->norm_inner], *B = x->w[op->norm_outer];
  double *norm = doubles(op->width);
  int transposed = x->m->params.param[op->norm_base].transposed;
  for (int64_t o = 0; o < op->width; o++) {
    for (int64_t i = 0; i < op->inputs; i++) {
      double sum = transposed ? W[i * op->width + o] : W[o * op->inputs + i];
      for (int64_t r = 0; r < op->rank; r++)
        sum += (double)op->scale * B[o * op->rank + r] * A[r * op->inputs + i];
      norm[o] += sum * sum;
    }
    norm[o] = sqrt(norm[o]);
  }
  return norm;
}

static inline void ref64_init(struct ref64 *x, const struct zf_model *m) {
  x->m = m;
  x->w = zf_calloc(m->params.count, sizeof *x->w);
  for (int64_t i = 0; i < m->params.count; i++) {
    const struct zf_param *p = &m->params.param[i];
    float *f = zf_calloc(p->count, sizeof *f);
    x->w[i] = doubles(p->count);
    zf_to_f32(f, p->data, p->type, p->count);
    for (int64_t e = 0; e < p->count; e++) x->w[i][e] = (double)f[e] + (double)p->plus;
    free(f);
  }
  x->norm = zf_calloc(m->plan.nop, sizeof *x->norm);
  for (int64_t i = 0; i < m->plan.nop; i++)
    if (m->plan.op[i].kind == ZF_OP_DORA) x->norm[i] = dora64(x, &m->plan.op[i]);
}

static inline void ref64_free(struct ref64 *x) {
  for (int64_t i = 0; i < x->m->params.count; i++) free(x->w[i]);
  for (int64_t i = 0; i < x->m->plan.nop; i++) free(x->norm[i]);
  free(x->w);
  free(x->norm);
}

static inline double act64(int act, double x) {
  switch (act) {
    case ZF_ACT_SILU:
      return x / (1 + exp(-x));
    case ZF_ACT_GELU_TANH:
      return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case ZF_ACT_GELU_ERF:
      return 0.5 * x * (1 + erf(x / sqrt(2)));
    case ZF_ACT_TANH:
      return tanh(x);
    case ZF_ACT_QUICK_GELU:
      return x / (1 + exp(-1.702 * x));
    case ZF_ACT_GELU_10:
      return fmin(0.5 * x * (1 + erf(x / sqrt(2))), 10);
    case ZF_ACT_SIGMOID:
      return 1 / (1 + exp(-x));
    case ZF_ACT_RELU2:
      return x < 0 ? 0 : x * x;
    case ZF_ACT_RELU6:
      return fmin(fmax(x, 0), 6);
    case ZF_ACT_LEAKY_RELU:
      return x < 0 ? 0.01 * x : x;
    case ZF_ACT_LINEAR:
      return x;
    case ZF_ACT_HARDSWISH:
      return x * fmin(fmax(x + 3, 0), 6) / 6;
    case ZF_ACT_MISH:
      return x * tanh(log1p(exp(x)));
    case ZF_ACT_LAPLACE:
      return 0.5 * (1 + erf((x - 0.707107) / (0.282095 * sqrt(2))));
    default:
      return x < 0 ? 0 : x;
  }
}

static inline void norm64(double *y, const double *x, const double *w, const double *b, int layer,
                          double eps, int64_t n) {
  double mean = 0, var = 0;
  for (int64_t i = 0; layer && i < n; i++) mean += x[i] / (double)n;
  for (int64_t i = 0; i < n; i++) var += (x[i] - mean) * (x[i] - mean) / (double)n;
  for (int64_t i = 0; i < n; i++)
    y[i] = (x[i] - mean) / sqrt(var + eps) * (w ? w[i] : 1) + (b ? b[i] : 0);
}

static inline void linear64(const struct ref64 *x, const struct zf_op *op, int64_t T) {
  const int64_t *ld = x->m->plan.width;
  const struct zf_param *param = &x->m->params.param[op->weight]; /* may be larger than is read */
  const double *w = x->w[op->weight], *b = op->bias < 0 ? NULL : x->w[op->bias];
  for (int64_t t = 0; t < T; t++)
    for (int64_t o = 0; o < op->width; o++) {
      const double *in = x->reg[op->src] + t * ld[op->src] + op->src_col;
      double *out = x->reg[op->dst] + t * ld[op->dst] + op->dst_col + o, sum = b ? b[o] : 0;
      for (int64_t i = 0; i < op->inputs; i++)
        sum += in[i] * w[param->transposed ? i * param->shape[1] + o : o * param->shape[1] + i];
      *out = op->accumulate ? *out + sum : sum;
    }
}

static inline void attention64(const struct ref64 *x, const struct zf_op *op,
                               const struct zf_batch *b) {
  const struct zf_config *c = &x->m->config;
  int64_t D = c->head_dim, qw = c->heads * D, kw = c->kv_heads * D;
  int64_t ldz = x->m->plan.width[op->src], ldo = x->m->plan.width[op->dst];
  for (int64_t g = 0; g < b->segment_count; g++)
    for (int64_t i = 0; i < b->segment[g].len; i++)
      for (int64_t h = 0; h < c->heads; h++) {
        const struct zf_segment *s = &b->segment[g];
        const double *q = x->reg[op->src] + (s->start + i) * ldz + h * D;
        double *o = x->reg[op->dst] + (s->start + i) * ldo + h * D, p[64], sum = 0;
        int64_t at = s->prefix_len + i, all = s->prefix_len + s->len,
                kv = h / (c->heads / c->kv_heads);
        int64_t n = x->m->plan.causal ? at + 1 : all, from = 0;
        if (op->window && at - op->window + 1 > 0) from = at - op->window + 1;
        if (op->window && at + op->window < n) n = at + op->window;
        for (int64_t d = 0; d < D; d++) o[d] = 0;
        for (int64_t j = from; j < n; j++) {
          int64_t row = j < s->prefix_len ? s->prefix_start + j : s->start + j - s->prefix_len;
          const double *k = x->reg[op->src] + row * ldz + qw + kv * D;
          p[j] = 0;
          for (int64_t d = 0; d < D; d++) p[j] += q[d] * k[d];
          p[j] *= (double)op->scale;
          if (op->cap > 0) p[j] = (double)op->cap * tanh(p[j] / (double)op->cap);
          sum += p[j] = exp(p[j]);
        }
        for (int64_t j = from; j < n; j++) {
          int64_t row = j < s->prefix_len ? s->prefix_start + j : s->start + j - s->prefix_len;
          const double *v = x->reg[op->src] + row * ldz + qw + kw + kv * D;
          for (int64_t d = 0; d < D; d++) o[d] += p[j] / sum * v[d];
        }
      }
}

static inline void rope64(const struct ref64 *x, const struct zf_op *op, const struct zf_batch *b) {
  const struct zf_rope_conf *r = &x->m->config.rope[op->rope];
  int64_t half = zf_config_rot(&x->m->config) / 2, ld = x->m->plan.width[op->src];
  double freq[ZF_ROPE_FACTORS];
  for (int64_t g = 0; g < b->segment_count; g++) {
    zf_rope_freqs(freq, 2 * half, r, zf_batch_length(b, g));
    for (int64_t t = b->segment[g].start; t < b->segment[g].start + b->segment[g].len; t++)
      for (int64_t h = 0; h < op->heads; h++)
        for (int64_t i = 0; i < half; i++) {
          double *p = x->reg[op->src] + t * ld + op->src_col + h * op->width + i, a = p[0],
                 e = p[half];
          double angle = b->pos[t] * freq[i];
          p[0] = (a * cos(angle) - e * sin(angle)) * r->attention;
          p[half] = (e * cos(angle) + a * sin(angle)) * r->attention;
        }
  }
}

/* Heads of q, k, v to q | k | v. */
static inline void deal64(double *row, int64_t heads, int64_t D) {
  double was[512];
  ck_assert_int_le(3 * heads * D, 512);
  memcpy(was, row, sizeof *was * (size_t)(3 * heads * D));
  for (int64_t h = 0; h < heads; h++)
    for (int p = 0; p < 3; p++)
      for (int64_t d = 0; d < D; d++) row[(p * heads + h) * D + d] = was[(h * 3 + p) * D + d];
}

static inline void op64(const struct ref64 *x, const struct zf_op *op, const struct zf_batch *b,
                        int64_t T) {
  const struct zf_config *c = &x->m->config;
  const int64_t *ld = x->m->plan.width;
  const double *w = op->weight < 0 ? NULL : x->w[op->weight];
  const double *bias = op->bias < 0 ? NULL : x->w[op->bias];
  for (int64_t t = 0; t < T; t++) {
    double *src = x->reg[op->src] + t * ld[op->src] + op->src_col;
    double *dst = x->reg[op->dst] + t * ld[op->dst] + op->dst_col;
    if (op->kind == ZF_OP_EMBED)
      for (int64_t i = 0; i < op->width; i++)
        dst[i] = w[x->m->params.param[op->weight].transposed ? i * c->vocab + b->id[t]
                                                             : b->id[t] * op->width + i];
    if (op->kind == ZF_OP_POSITION)
      for (int64_t i = 0; i < op->width; i++) dst[i] += w[(b->pos[t] + op->offset) * op->width + i];
    if (op->kind == ZF_OP_NORM)
      norm64(dst, src, w, bias, op->norm == ZF_NORM_LAYER, c->norm_eps, op->width);
    if (op->kind == ZF_OP_TYPE)
      for (int64_t i = 0; i < op->width; i++) dst[i] += w[op->offset * op->width + i];
    for (int64_t i = 0; op->kind == ZF_OP_SCALE && i < op->width; i++) src[i] *= (double)op->scale;
    for (int64_t i = 0; op->kind == ZF_OP_ADD && i < op->width; i++) dst[i] += src[i];
    for (int64_t i = 0; op->kind == ZF_OP_COPY && i < op->width; i++) dst[i] = src[i];
    for (int64_t i = 0; op->kind == ZF_OP_COLUMNS && i < op->width; i++)
      src[i] = src[i] * (w ? w[i] : 1) + (bias ? bias[i] : 0);
    for (int64_t i = 0; op->kind == ZF_OP_DORA && i < op->width; i++)
      src[i] = src[i] * w[i] / x->norm[op - x->m->plan.op][i] + (bias ? bias[i] : 0);
    for (int64_t j = 0; op->kind == ZF_OP_TOKENS && j < op->inputs; j++)
      for (int64_t i = 0; op->ids[j] == b->id[t] && i < op->width; i++)
        dst[i] = w[j * op->width + i];
    if (op->kind == ZF_OP_PERMUTE_HEADS) deal64(src, op->heads, op->width);
    for (int64_t h = 0; op->kind == ZF_OP_HEADNORM && h < op->heads; h++)
      norm64(src + h * op->width, src + h * op->width, w, NULL, op->norm == ZF_NORM_LAYER,
             c->norm_eps, op->width);
    for (int64_t i = 0; op->kind == ZF_OP_ACT && i < op->width; i++)
      dst[i] = act64(op->act, src[i]) * (op->gated ? src[op->width + i] : 1);
  }
  if (op->kind == ZF_OP_LINEAR) linear64(x, op, T);
  if (op->kind == ZF_OP_ROPE) rope64(x, op, b);
  if (op->kind == ZF_OP_ATTENTION) attention64(x, op, b);
}

/* What an adapter of the head adds to the logit of row r and id v. */
static inline double outer64(const struct ref64 *x, int64_t r, int64_t v) {
  int32_t number = x->m->plan.head_outer;
  int64_t rank = x->m->params.param[number].shape[1];
  double sum = 0;
  for (int64_t i = 0; i < rank; i++)
    sum += x->reg[ZF_REG_U][r * x->m->plan.width[ZF_REG_U] + i] * x->w[number][v * rank + i];
  return sum;
}

/* sum of coef[r] log p(target[r]) over wanted rows, and of slope[r][k] logit of ids[k]. */
static inline double ref64_loss(struct ref64 *x, const struct zf_batch *b, const int32_t *target,
                                const float *coef, const int32_t *ids, int64_t nid,
                                const float *slope) {
  const struct zf_plan *p = &x->m->plan;
  int64_t C = x->m->config.hidden, E = x->m->config.embed_dim, V = x->m->config.outputs;
  for (int r = 0; r < ZF_REGS; r++)
    x->reg[r] = doubles((b->T > b->R ? b->T : b->R) * (p->width[r] ? p->width[r] : 1));
  for (int64_t i = 0; i < p->body; i++) op64(x, &p->op[i], b, b->T);
  for (int64_t r = 0; r < b->R; r++)
    memcpy(x->reg[ZF_REG_F] + r * C, x->reg[ZF_REG_X] + b->row[r] * C, sizeof(double) * (size_t)C);
  for (int64_t i = p->body; i < p->nop; i++) op64(x, &p->op[i], b, b->R);
  double cap = x->m->config.logit_cap, loss = 0, *y = doubles(V),
         *out = x->reg[p->width[ZF_REG_G] ? ZF_REG_G : ZF_REG_F];
  for (int64_t r = 0; r < b->R; r++) {
    double sum = 0;
    for (int64_t v = 0; v < V; v++) {
      y[v] = p->head_bias < 0 ? 0 : x->w[p->head_bias][v];
      const double *row = x->w[p->head] + v * E;
      for (int64_t i = 0; p->head_rows >= 0 && i < p->head_row_count; i++)
        if (p->head_ids[i] == v) row = x->w[p->head_rows] + i * E;
      for (int64_t i = 0; i < E; i++) y[v] += out[r * E + i] * row[i];
      if (p->head_outer >= 0) y[v] += outer64(x, r, v);
      if (cap > 0) y[v] = cap * tanh(y[v] / cap);
      sum += exp(y[v]);
    }
    if (target[r] >= 0) loss += (double)coef[r] * (y[target[r]] - log(sum));
    for (int64_t k = 0; k < nid; k++) loss += (double)slope[r * nid + k] * y[ids[k]];
  }
  free(y);
  for (int r = 0; r < ZF_REGS; r++) free(x->reg[r]);
  return loss;
}

#endif
