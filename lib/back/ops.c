/* The derivative of each operation, as a table.
 *
 * At operation i, d[dst] is the gradient of what it left in its register; its derivative turns it
 * into that of what it found there, and adds to the gradients of its parameters.  live[r]: d[r]
 * holds the gradient by the present content of r, so that another reader's is added to it. */
#include <omp.h>
#include <string.h>

#include "back/back_internal.h"
#include "kern/tile.h"

struct turn {
  struct zf_back *k;
  const struct zf_op *op;
  const struct zf_node *n;
  int64_t T;
  const float *src; /* the value read, and its row stride */
  int64_t ldsrc;
  float *dsrc, *ddst; /* gradients of both registers, at the operation's columns */
  int64_t ldds, lddd;
};

/* --- products --- */

/* to [n][T] = columns c.. of x [T, ld], transposed. */
static void transpose(float *to, const float *x, int64_t ld, int64_t T, int64_t n) {
  enum { B = 16 };
  int team = zf_tile_team(T * n);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t t = 0; t < T; t += B)
    for (int64_t c = 0; c < n; c += B)
      for (int64_t j = c; j < zf_back_min(n, c + B); j++)
        for (int64_t i = t; i < zf_back_min(T, t + B); i++) to[j * T + i] = x[i * ld + j];
}

void zf_back_product(struct zf_back *k, float *g, const float *dy, int64_t lddy, int64_t out,
                     const float *x, int64_t ldx, int64_t in, int64_t T) {
  struct zf_streams one = {.count = 1};
  struct zf_weight w = {
      .data = x, .type = ZF_F32, .out = in, .in = T, .so = 1, .si = ldx, .compute = k->lim.compute};
  for (int64_t o = 0; o < out; o += ZF_BACK_TURN) {
    int64_t n = zf_back_min(out - o, ZF_BACK_TURN);
    transpose(k->rotated, dy + o, lddy, T, n);
    zf_gemm(g + o * in, in, k->rotated, T, n, &w, &one, NULL, 0, 1);
  }
}

void zf_back_input(struct zf_back *k, float *dx, int64_t lddx, const float *dy, int64_t lddy,
                   int64_t T, struct zf_weight w, int add) {
  struct zf_streams one = {.count = 1};
  struct zf_weight back = w;
  (void)k;
  back.out = w.in;
  back.in = w.out;
  back.so = w.si;
  back.si = w.so;
  zf_gemm(dx, lddx, dy, lddy, T, &back, &one, NULL, 0, add);
}

/* g[c] += sum over rows of d[.][c], rows in order whatever the threads. */
static void sum_columns(struct zf_back *k, float *g, const float *d, int64_t ld, int64_t T,
                        int64_t n) {
  int team = zf_tile_team(T * n);
#pragma omp parallel num_threads(team) if (team > 1)
  {
    int64_t id = omp_get_thread_num(), of = omp_get_num_threads();
    int64_t c0 = zf_back_cut(n, id, of), c1 = zf_back_cut(n, id + 1, of);
    for (int64_t t = 0; t < T && c1 > c0; t++) k->rows->add(g + c0, d + t * ld + c0, c1 - c0);
  }
}

static void back_linear(struct turn *x) {
  struct zf_back *k = x->k;
  const struct zf_op *op = x->op;
  struct zf_weight w = zf_forward_matrix(k->forward, op->weight);
  float *g = zf_back_gradient(k, op->weight), *bias = zf_back_gradient(k, op->bias);
  if (bias) sum_columns(k, bias, x->ddst, x->lddd, x->T, op->width);
  if (g && w.si == 1)
    zf_back_product(k, g, x->ddst, x->lddd, op->width, x->src, x->ldsrc, op->inputs, x->T);
  else if (g) /* stored [in, out] */
    zf_back_product(k, g, x->src, x->ldsrc, op->inputs, x->ddst, x->lddd, op->width, x->T);
  zf_back_input(k, x->dsrc, x->ldds, x->ddst, x->lddd, x->T, w, k->live[op->src]);
  if (!op->accumulate && op->dst_col == 0) k->live[op->dst] = 0;
  k->live[op->src] = 1;
}

/* --- norms --- */

struct norm {
  int64_t rows, heads, n; /* heads of n in a row */
  const float *x, *w;
  int64_t ldx;
  float *dx;
  const float *dy;
  int64_t lddx, lddy;
  float *dw, *db;
  int center, add;
};

/* Statistics of rows, then the parameters (by columns, rows in order), then the rows. */
static void norm_rows(struct zf_back *k, const struct norm *j) {
  float *mean = k->stats, *inv = k->stats + j->rows * j->heads;
  float eps = (float)k->model->config.norm_eps;
  int team = zf_tile_team(j->rows * j->heads * j->n);
#pragma omp parallel num_threads(team) if (team > 1)
  {
    int64_t id = omp_get_thread_num(), of = omp_get_num_threads();
    int64_t c0 = zf_back_cut(j->n, id, of), c1 = zf_back_cut(j->n, id + 1, of);
#pragma omp for schedule(static)
    for (int64_t r = 0; r < j->rows; r++)
      for (int64_t h = 0; h < j->heads; h++)
        k->rows->stats(mean + r * j->heads + h, inv + r * j->heads + h,
                       j->x + r * j->ldx + h * j->n, eps, j->center, j->n);
    for (int64_t r = 0; (j->dw || j->db) && c1 > c0 && r < j->rows; r++)
      for (int64_t h = 0; h < j->heads; h++)
        k->rows->norm_weight(j->dw ? j->dw + c0 : NULL, j->db ? j->db + c0 : NULL,
                             j->dy + r * j->lddy + h * j->n + c0, j->x + r * j->ldx + h * j->n + c0,
                             mean[r * j->heads + h], inv[r * j->heads + h], c1 - c0);
#pragma omp barrier
#pragma omp for schedule(static)
    for (int64_t r = 0; r < j->rows; r++)
      for (int64_t h = 0; h < j->heads; h++)
        k->rows->norm(j->dx + r * j->lddx + h * j->n, j->dy + r * j->lddy + h * j->n,
                      j->x + r * j->ldx + h * j->n, j->w, mean[r * j->heads + h],
                      inv[r * j->heads + h], j->center, j->add, j->n);
  }
}

static void back_norm(struct turn *x) {
  struct zf_back *k = x->k;
  const struct zf_op *op = x->op;
  struct norm j = {.rows = x->T, .heads = 1, .n = op->width, .x = x->src, .ldx = x->ldsrc};
  j.w = zf_forward_vector(k->forward, op->weight, 0);
  j.dx = x->dsrc;
  j.lddx = x->ldds;
  j.dy = x->ddst;
  j.lddy = x->lddd;
  j.dw = zf_back_gradient(k, op->weight);
  j.db = zf_back_gradient(k, op->bias);
  j.center = op->norm == ZF_NORM_LAYER;
  j.add = op->src != op->dst && k->live[op->src];
  norm_rows(k, &j);
  k->live[op->dst] = 0;
  k->live[op->src] = 1;
}

static void back_headnorm(struct turn *x) {
  struct zf_back *k = x->k;
  const struct zf_op *op = x->op;
  struct norm j = {.rows = x->T, .heads = op->heads, .n = op->width};
  j.x = zf_back_value(k, x->n->side);
  j.ldx = k->tape.value[x->n->side].ld;
  j.w = zf_forward_vector(k->forward, op->weight, 0);
  j.dx = x->dsrc;
  j.dy = x->dsrc;
  j.lddx = j.lddy = x->ldds;
  j.center = op->norm == ZF_NORM_LAYER;
  j.dw = zf_back_gradient(k, op->weight);
  norm_rows(k, &j);
}

/* --- the rest --- */

static void back_rope(struct turn *x) {
  struct zf_back *k = x->k;
  int64_t rot = zf_config_rot(&k->model->config), D = x->op->width;
  const float *cs = zf_forward_rope(k->forward, x->op);
  const int32_t *at = zf_forward_rope_rows(k->forward);
  int team = zf_tile_team(x->T * x->op->heads * rot);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t t = 0; t < x->T; t++)
    for (int64_t h = 0; h < x->op->heads; h++)
      k->rows->rope(x->dsrc + t * x->ldds + h * D, cs + at[t] * rot, rot / 2);
}

static void back_attention(struct turn *x) {
  zf_back_attention(x->k, x->op, x->src, x->ldsrc);
  x->k->live[x->op->dst] = 0;
  x->k->live[x->op->src] = 1;
}

static void back_act(struct turn *x) {
  struct zf_back *k = x->k;
  int64_t n = x->op->width;
  int gated = x->op->gated;
  int team = zf_tile_team(x->T * n * 8);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t t = 0; t < x->T; t++) {
    const float *g = x->src + t * x->ldsrc;
    float *d = x->ddst + t * x->lddd;
    k->rows->act[x->op->act](d, gated ? d + n : NULL, g, gated ? g + n : NULL, d, n);
  }
}

static void back_permute_heads(struct turn *x) {
  int64_t D = x->op->width, H = x->op->heads;
  zf_permute_heads(x->dsrc, x->ldds, x->T, 3, H, D, x->k->rotated);
}

static void back_scale(struct turn *x) {
  zf_scale_rows(x->dsrc, x->ldds, x->T, x->op->width, x->op->scale);
}

static void back_add(struct turn *x) {
  struct zf_back *k = x->k;
  int live = k->live[x->op->src];
  for (int64_t t = 0; t < x->T && !live; t++)
    memcpy(x->dsrc + t * x->ldds, x->ddst + t * x->lddd, sizeof(float) * (size_t)x->op->width);
  if (live) zf_add_rows(x->dsrc, x->ldds, x->ddst, x->lddd, x->T, x->op->width);
  k->live[x->op->src] = 1;
}

/* Rows of a table that tokens read (NULL: all the same one): a thread has a range of columns, tokens
 * come in order. */
static void table_rows(struct turn *x, const int32_t *id, int64_t offset) {
  struct zf_back *k = x->k;
  float *g = zf_back_gradient(k, x->op->weight);
  int64_t n = x->op->width;
  if (!g) return;
  int team = zf_tile_team(x->T * n);
#pragma omp parallel num_threads(team) if (team > 1)
  {
    int64_t me = omp_get_thread_num(), of = omp_get_num_threads();
    int64_t c0 = zf_back_cut(n, me, of), c1 = zf_back_cut(n, me + 1, of);
    for (int64_t t = 0; t < x->T && c1 > c0; t++)
      k->rows->add(g + ((id ? id[t] : 0) + offset) * n + c0, x->ddst + t * x->lddd + c0, c1 - c0);
  }
}

static void back_embed(struct turn *x) {
  table_rows(x, x->k->batch->id, 0);
  x->k->live[x->op->dst] = 0;
}

static void back_position(struct turn *x) {
  table_rows(x, x->k->batch->pos, x->op->offset);
}

static void back_type(struct turn *x) {
  table_rows(x, NULL, x->op->offset);
}

static void (*const back_of[])(struct turn *x) = {
    [ZF_OP_EMBED] = back_embed,
    [ZF_OP_POSITION] = back_position,
    [ZF_OP_NORM] = back_norm,
    [ZF_OP_LINEAR] = back_linear,
    [ZF_OP_HEADNORM] = back_headnorm,
    [ZF_OP_ROPE] = back_rope,
    [ZF_OP_ATTENTION] = back_attention,
    [ZF_OP_ACT] = back_act,
    [ZF_OP_PERMUTE_HEADS] = back_permute_heads,
    [ZF_OP_SCALE] = back_scale,
    [ZF_OP_ADD] = back_add,
    [ZF_OP_TYPE] = back_type,
};

void zf_back_op(struct zf_back *k, int64_t i) {
  const struct zf_op *op = &k->model->plan.op[i];
  const struct zf_node *n = &k->tape.node[i];
  struct turn x = {.k = k, .op = op, .n = n};
  x.T = i < k->model->plan.body ? k->batch->T : k->batch->R;
  if (n->src >= 0) {
    x.src = zf_back_value(k, n->src) + op->src_col;
    x.ldsrc = k->tape.value[n->src].ld;
  }
  x.dsrc = k->gradient[op->src] + op->src_col;
  x.ldds = k->ld[op->src];
  x.ddst = k->gradient[op->dst] + op->dst_col;
  x.lddd = k->ld[op->dst];
  back_of[op->kind](&x);
}
