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
  struct zf_back *back;
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
  struct own own;
  float **all[] = {&own.key,    &own.value,      &own.dkey,
                   &own.dvalue, &own.keys_panel, &own.values_panel};
  for (int i = 0; i < 6; i++, s += n * W) *all[i] = s;
  float **blocks[] = {&own.p, &own.dp, &own.turned};
  for (int i = 0; i < 3; i++, s += n * BLOCK) *blocks[i] = s;
  own.q = s;
  own.dq = s + BLOCK * W;
  own.d = s + 2 * BLOCK * W;
  return own;
}

/* Rows of the register that key j of a segment lies in. */
static int64_t row_of(const struct zf_segment *segment, int64_t j) {
  return j < segment->prefix_len ? segment->prefix_start + j
                                 : segment->start + j - segment->prefix_len;
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
static int64_t sees(const struct job *job, const struct zf_segment *segment, int64_t i,
                    int64_t *lo) {
  int64_t at = segment->prefix_len + i, w = job->attention.window,
          end = job->attention.causal ? at + 1 : segment->prefix_len + segment->len;
  *lo = w && at + 1 > w ? at + 1 - w : 0;
  return w ? zf_back_min(end, at + w) : end;
}

/* Scores p become probabilities, d their gradients those of the products; t: room. */
static void softmax(const struct job *job, float *p, float *d, float *t, int64_t count) {
  const struct zf_back_rows *rows = job->back->rows;
  float cap = job->attention.cap, scale = job->attention.scale;
  if (cap <= 0) {
    float sum = zf_tile_softmax(p, scale, count);
    rows->softmax(p, d, 1 / sum, scale, count);
    return;
  }
  zf_tile_softcap(p, scale / cap, cap, count);
  memcpy(t, p, sizeof *t * (size_t)count);
  float sum = zf_tile_softmax(p, 1, count);
  rows->softmax(p, d, 1 / sum, scale, count);
  for (int64_t i = 0; i < count; i++) d[i] *= 1 - t[i] / cap * (t[i] / cap);
}

/* Queries i0..i0+m of one head. */
static void block(const struct job *job, const struct own *own, const struct zf_segment *segment,
                  int64_t h, int64_t i0, int64_t m, int64_t all) {
  int64_t first, keys = sees(job, segment, i0 + m - 1, &first), ld = zf_tile_round_up(all),
                 W = job->W;
  const struct zf_back_rows *rows = job->back->rows;
  for (int64_t i = 0; i < m; i++) {
    int64_t r = segment->start + i0 + i;
    take(own->q + i * W, W, job->z + r * job->ldz + h * job->D, job->D);
    take(own->d + i * W, W, job->dout + r * job->ldo + h * job->D, job->D);
  }
  zf_tile_nt(own->p, ld, own->q, W, m, own->keys_panel, keys, all, job->D);
  zf_tile_nt(own->dp, ld, own->d, W, m, own->values_panel, keys, all, job->D);
  for (int64_t i = 0; i < m; i++) {
    int64_t lo, n = sees(job, segment, i0 + i, &lo);
    float *p = own->p + i * ld, *d = own->dp + i * ld;
    softmax(job, p + lo, d + lo, own->turned, n - lo);
    memset(p, 0, sizeof *p * (size_t)lo);
    memset(d, 0, sizeof *d * (size_t)lo);
    memset(p + n, 0, sizeof *p * (size_t)(keys - n));
    memset(d + n, 0, sizeof *d * (size_t)(keys - n));
  }
  turn(own->turned, own->p, ld, m, keys);
  zf_tile_nn(own->dvalue, W, own->turned, BLOCK, keys, own->d, W, W, m);
  turn(own->turned, own->dp, ld, m, keys);
  zf_tile_nn(own->dkey, W, own->turned, BLOCK, keys, own->q, W, W, m);
  memset(own->dq, 0, sizeof *own->dq * (size_t)(m * W));
  zf_tile_nn(own->dq, W, own->dp, ld, m, own->key, W, W, keys);
  for (int64_t i = 0; i < m; i++)
    rows->add(job->dz + (segment->start + i0 + i) * job->lddz + h * job->D, own->dq + i * W,
              job->D);
}

static void segment(const struct job *job, const struct zf_segment *g, int64_t kv, float *scratch) {
  int64_t all = g->prefix_len + g->len, W = job->W, group = job->heads / job->kv_heads;
  int64_t kcol = (job->heads + kv) * job->D, vcol = kcol + job->kv_heads * job->D;
  struct own own = own_of(scratch, all, W);
  for (int64_t i = 0; i < all; i++) {
    const float *z = job->z + row_of(g, i) * job->ldz;
    take(own.key + i * W, W, z + kcol, job->D);
    take(own.value + i * W, W, z + vcol, job->D);
  }
  zf_tile_pack(own.keys_panel, own.key, W, all, job->D);
  zf_tile_pack(own.values_panel, own.value, W, all, job->D);
  memset(own.dkey, 0, sizeof *own.dkey * (size_t)(all * W));
  memset(own.dvalue, 0, sizeof *own.dvalue * (size_t)(all * W));
  for (int64_t h = kv * group; h < (kv + 1) * group; h++)
    for (int64_t i = 0; i < g->len; i += BLOCK)
      block(job, &own, g, h, i, zf_back_min(g->len - i, BLOCK), all);
  for (int64_t i = 0; i < all; i++) {
    float *dz = job->dz + row_of(g, i) * job->lddz;
    job->back->rows->add(dz + kcol, own.dkey + i * W, job->D);
    job->back->rows->add(dz + vcol, own.dvalue + i * W, job->D);
  }
}

/* Segments in order; one whose prefix lies in an earlier segment belongs to that one's group. */
static int64_t make_units(struct zf_back *back, const struct zf_segment *seg, int64_t nseg) {
  int64_t n = 0, from = 0; /* rows from `from` on are the group's */
  for (int64_t g = 0; g < nseg; g++) {
    if (n && seg[g].prefix_len && seg[g].prefix_start >= from) continue;
    back->unit[n++] = (int32_t)g;
    from = seg[g].start;
  }
  return n;
}

static int64_t work_of(const struct zf_segment *seg, int64_t nseg, int64_t width) {
  int64_t n = 0;
  for (int64_t g = 0; g < nseg; g++) n += seg[g].len * (seg[g].prefix_len + seg[g].len);
  return n * width / 4;
}

void zf_back_attention(struct zf_back *back, const struct zf_op *op, const float *z, int64_t ldz) {
  const struct zf_config *config = &back->model->config;
  const struct zf_batch *batch = back->batch;
  struct job job = {
      back, batch->seg, batch->nseg, z, back->gradient[op->src], back->gradient[op->dst]};
  job.ldz = ldz;
  job.lddz = back->ld[op->src];
  job.ldo = back->ld[op->dst];
  job.heads = config->heads;
  job.kv_heads = config->kv_heads;
  job.D = config->head_dim;
  job.W = zf_tile_round_up(config->head_dim);
  job.attention =
      (struct zf_attention_params){op->scale, op->cap, back->model->plan.causal, op->window};
  int64_t units = make_units(back, batch->seg, batch->nseg), most = 1;
  for (int64_t g = 0; g < batch->nseg; g++)
    most = zf_back_max(most, batch->seg[g].prefix_len + batch->seg[g].len);
  int64_t each = zf_back_attention_scratch(most, job.D),
          wide = (job.heads + 2 * job.kv_heads) * job.D;
  int team = zf_tile_team(work_of(batch->seg, batch->nseg, job.heads * job.D));
#pragma omp parallel num_threads(team) if (team > 1)
  {
    float *own = back->attention + omp_get_thread_num() * each;
#pragma omp for schedule(static)
    for (int64_t t = 0; t < batch->T; t++)
      memset(job.dz + t * job.lddz, 0, sizeof *job.dz * (size_t)wide);
#pragma omp for schedule(dynamic)
    for (int64_t u = 0; u < units * job.kv_heads; u++) {
      int64_t at = u / job.kv_heads, end = at + 1 < units ? back->unit[at + 1] : batch->nseg;
      for (int64_t g = back->unit[at]; g < end; g++)
        segment(&job, batch->seg + g, u % job.kv_heads, own);
    }
  }
}
