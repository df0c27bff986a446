/* Attention in reverse.  Of a query i and its keys j, with p the softmax of the scaled scores:
 *
 *   dV_j += p_ij dO_i        dP_ij = dO_i . V_j
 *   dS_ij = p_ij (dP_ij - sum_j p_ij dP_ij) scale
 *   dQ_i += dS_ij K_j        dK_j += dS_ij Q_i
 *
 * p is computed again, a block of queries at a time (Dao et al., "FlashAttention", 2022).
 *
 * A unit of work is a group of segments (a prompt and those that have it as prefix) of the heads
 * that share keys: no two units add to the same row, and inside a unit the order is fixed, so the
 * bits do not depend on the threads. */
#include <omp.h>
#include <string.h>

#include "back/back_internal.h"
#include "kern/tile.h"

enum { BLOCK = 32 };

struct job {
  struct zf_back *k;
  const struct zf_segment *seg;
  int64_t nseg;
  const float *z;
  float *dz;
  const float *dout;
  int64_t ldz, lddz, ldo;
  int64_t heads, kv_heads, D, W; /* W: D in whole lanes */
  struct zf_attention_params attention;
};

/* A thread's own memory, for `keys` keys. */
struct own {
  float *key, *value, *dkey, *dvalue; /* [keys][W], zeros behind D */
  float *keys_panel, *values_panel;   /* packed */
  float *p, *dp, *turned;             /* [BLOCK][keys], [BLOCK][keys], [keys][BLOCK] */
  float *q, *dq, *d;                  /* [BLOCK][W] */
};

int64_t zf_back_attention_scratch(int64_t keys, int64_t D) {
  int64_t n = zf_tile_round_up(keys), W = zf_tile_round_up(D);
  return n * (6 * W + 3 * BLOCK) + 3 * BLOCK * W;
}

static struct own own_of(float *s, int64_t keys, int64_t W) {
  int64_t n = zf_tile_round_up(keys);
  struct own o;
  float **all[] = {&o.key, &o.value, &o.dkey, &o.dvalue, &o.keys_panel, &o.values_panel};
  for (int i = 0; i < 6; i++, s += n * W) *all[i] = s;
  float **blocks[] = {&o.p, &o.dp, &o.turned};
  for (int i = 0; i < 3; i++, s += n * BLOCK) *blocks[i] = s;
  o.q = s;
  o.dq = s + BLOCK * W;
  o.d = s + 2 * BLOCK * W;
  return o;
}

/* Rows of the register that key j of a segment lies in. */
static int64_t row_of(const struct zf_segment *g, int64_t j) {
  return j < g->prefix_len ? g->prefix_start + j : g->start + j - g->prefix_len;
}

/* n rows of D from x, zeros up to W. */
static void take(float *to, int64_t W, const float *x, int64_t D) {
  memcpy(to, x, sizeof *to * (size_t)D);
  memset(to + D, 0, sizeof *to * (size_t)(W - D));
}

static void turn(float *to, const float *x, int64_t ld, int64_t m, int64_t n) {
  for (int64_t j = 0; j < n; j++)
    for (int64_t i = 0; i < m; i++) to[j * BLOCK + i] = x[i * ld + j];
}

/* Keys that query i of a segment sees: from *lo to before what is returned. */
static int64_t sees(const struct job *j, const struct zf_segment *g, int64_t i, int64_t *lo) {
  int64_t at = g->prefix_len + i, w = j->attention.window,
          end = j->attention.causal ? at + 1 : g->prefix_len + g->len;
  *lo = w && at + 1 > w ? at + 1 - w : 0;
  return w ? zf_back_min(end, at + w) : end;
}

/* Scores p become probabilities, d their gradients those of the products; t: room. */
static void softmax(const struct job *j, float *p, float *d, float *t, int64_t n) {
  const struct zf_back_rows *rows = j->k->rows;
  float cap = j->attention.cap, scale = j->attention.scale;
  if (cap <= 0) {
    float sum = zf_tile_softmax(p, scale, n);
    rows->softmax(p, d, 1 / sum, scale, n);
    return;
  }
  zf_tile_softcap(p, scale / cap, cap, n);
  memcpy(t, p, sizeof *t * (size_t)n);
  float sum = zf_tile_softmax(p, 1, n);
  rows->softmax(p, d, 1 / sum, scale, n);
  for (int64_t i = 0; i < n; i++) d[i] *= 1 - t[i] / cap * (t[i] / cap);
}

/* Queries i0..i0+m of one head. */
static void block(const struct job *j, const struct own *o, const struct zf_segment *g, int64_t h,
                  int64_t i0, int64_t m, int64_t all) {
  int64_t first, keys = sees(j, g, i0 + m - 1, &first), ld = zf_tile_round_up(all), W = j->W;
  const struct zf_back_rows *rows = j->k->rows;
  for (int64_t i = 0; i < m; i++) {
    int64_t r = g->start + i0 + i;
    take(o->q + i * W, W, j->z + r * j->ldz + h * j->D, j->D);
    take(o->d + i * W, W, j->dout + r * j->ldo + h * j->D, j->D);
  }
  zf_tile_nt(o->p, ld, o->q, W, m, o->keys_panel, keys, all, j->D);
  zf_tile_nt(o->dp, ld, o->d, W, m, o->values_panel, keys, all, j->D);
  for (int64_t i = 0; i < m; i++) {
    int64_t lo, n = sees(j, g, i0 + i, &lo);
    float *p = o->p + i * ld, *d = o->dp + i * ld;
    softmax(j, p + lo, d + lo, o->turned, n - lo);
    memset(p, 0, sizeof *p * (size_t)lo);
    memset(d, 0, sizeof *d * (size_t)lo);
    memset(p + n, 0, sizeof *p * (size_t)(keys - n));
    memset(d + n, 0, sizeof *d * (size_t)(keys - n));
  }
  turn(o->turned, o->p, ld, m, keys);
  zf_tile_nn(o->dvalue, W, o->turned, BLOCK, keys, o->d, W, W, m);
  turn(o->turned, o->dp, ld, m, keys);
  zf_tile_nn(o->dkey, W, o->turned, BLOCK, keys, o->q, W, W, m);
  memset(o->dq, 0, sizeof *o->dq * (size_t)(m * W));
  zf_tile_nn(o->dq, W, o->dp, ld, m, o->key, W, W, keys);
  for (int64_t i = 0; i < m; i++)
    rows->add(j->dz + (g->start + i0 + i) * j->lddz + h * j->D, o->dq + i * W, j->D);
}

static void segment(const struct job *j, const struct zf_segment *g, int64_t kv, float *scratch) {
  int64_t all = g->prefix_len + g->len, W = j->W, group = j->heads / j->kv_heads;
  int64_t kcol = (j->heads + kv) * j->D, vcol = kcol + j->kv_heads * j->D;
  struct own o = own_of(scratch, all, W);
  for (int64_t i = 0; i < all; i++) {
    const float *z = j->z + row_of(g, i) * j->ldz;
    take(o.key + i * W, W, z + kcol, j->D);
    take(o.value + i * W, W, z + vcol, j->D);
  }
  zf_tile_pack(o.keys_panel, o.key, W, all, j->D);
  zf_tile_pack(o.values_panel, o.value, W, all, j->D);
  memset(o.dkey, 0, sizeof *o.dkey * (size_t)(all * W));
  memset(o.dvalue, 0, sizeof *o.dvalue * (size_t)(all * W));
  for (int64_t h = kv * group; h < (kv + 1) * group; h++)
    for (int64_t i = 0; i < g->len; i += BLOCK)
      block(j, &o, g, h, i, zf_back_min(g->len - i, BLOCK), all);
  for (int64_t i = 0; i < all; i++) {
    float *dz = j->dz + row_of(g, i) * j->lddz;
    j->k->rows->add(dz + kcol, o.dkey + i * W, j->D);
    j->k->rows->add(dz + vcol, o.dvalue + i * W, j->D);
  }
}

/* Segments in order; one whose prefix lies in an earlier segment belongs to that one's group. */
static int64_t make_units(struct zf_back *k, const struct zf_segment *seg, int64_t nseg) {
  int64_t n = 0, from = 0; /* rows from `from` on are the group's */
  for (int64_t g = 0; g < nseg; g++) {
    if (n && seg[g].prefix_len && seg[g].prefix_start >= from) continue;
    k->unit[n++] = (int32_t)g;
    from = seg[g].start;
  }
  return n;
}

static int64_t work_of(const struct zf_segment *seg, int64_t nseg, int64_t width) {
  int64_t n = 0;
  for (int64_t g = 0; g < nseg; g++) n += seg[g].len * (seg[g].prefix_len + seg[g].len);
  return n * width / 4;
}

void zf_back_attention(struct zf_back *k, const struct zf_op *op, const float *z, int64_t ldz) {
  const struct zf_config *c = &k->model->config;
  const struct zf_batch *b = k->batch;
  struct job j = {k, b->seg, b->nseg, z, k->gradient[op->src], k->gradient[op->dst]};
  j.ldz = ldz;
  j.lddz = k->ld[op->src];
  j.ldo = k->ld[op->dst];
  j.heads = c->heads;
  j.kv_heads = c->kv_heads;
  j.D = c->head_dim;
  j.W = zf_tile_round_up(c->head_dim);
  j.attention = (struct zf_attention_params){op->scale, op->cap, k->model->plan.causal, op->window};
  int64_t units = make_units(k, b->seg, b->nseg), most = 1;
  for (int64_t g = 0; g < b->nseg; g++)
    most = zf_back_max(most, b->seg[g].prefix_len + b->seg[g].len);
  int64_t each = zf_back_attention_scratch(most, j.D), wide = (j.heads + 2 * j.kv_heads) * j.D;
  int team = zf_tile_team(work_of(b->seg, b->nseg, j.heads * j.D));
#pragma omp parallel num_threads(team) if (team > 1)
  {
    float *own = k->attention + omp_get_thread_num() * each;
#pragma omp for schedule(static)
    for (int64_t t = 0; t < b->T; t++) memset(j.dz + t * j.lddz, 0, sizeof *j.dz * (size_t)wide);
#pragma omp for schedule(dynamic)
    for (int64_t u = 0; u < units * j.kv_heads; u++) {
      int64_t at = u / j.kv_heads, end = at + 1 < units ? k->unit[at + 1] : b->nseg;
      for (int64_t g = k->unit[at]; g < end; g++) segment(&j, b->seg + g, u % j.kv_heads, own);
    }
  }
}
