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
  struct zf_back *back;
  const struct zf_op *op;
  const struct zf_node *node;
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

void zf_back_product(struct zf_back *back, float *g, const float *dy, int64_t lddy, int64_t out,
                     const float *x, int64_t ldx, int64_t in, int64_t T) {
  struct zf_streams one = {.count = 1};
  struct zf_weight weight = {.data = x,
                             .type = ZF_F32,
                             .out = in,
                             .in = T,
                             .so = 1,
                             .si = ldx,
                             .compute = back->lim.compute};
  for (int64_t o = 0; o < out; o += ZF_BACK_TURN) {
    int64_t n = zf_back_min(out - o, ZF_BACK_TURN);
    transpose(back->rotated, dy + o, lddy, T, n);
    zf_gemm(g + o * in, in, back->rotated, T, n, &weight, &one, NULL, 0, 1);
  }
}

void zf_back_input(struct zf_back *k, float *dx, int64_t lddx, const float *dy, int64_t lddy,
                   int64_t T, struct zf_weight weight, int add) {
  struct zf_streams one = {.count = 1};
  struct zf_weight back = weight;
  (void)k;
  back.out = weight.in;
  back.in = weight.out;
  back.so = weight.si;
  back.si = weight.so;
  zf_gemm(dx, lddx, dy, lddy, T, &back, &one, NULL, 0, add);
}

/* g[c] += sum over rows of d[.][c], rows in order whatever the threads. */
static void sum_columns(struct zf_back *back, float *g, const float *d, int64_t ld, int64_t T,
                        int64_t n) {
  int team = zf_tile_team(T * n);
#pragma omp parallel num_threads(team) if (team > 1)
  {
    int64_t id = omp_get_thread_num(), of = omp_get_num_threads();
    int64_t c0 = zf_back_cut(n, id, of), c1 = zf_back_cut(n, id + 1, of);
    for (int64_t t = 0; t < T && c1 > c0; t++) back->rows->add(g + c0, d + t * ld + c0, c1 - c0);
  }
}

static void back_linear(struct turn *turn) {
  struct zf_back *back = turn->back;
  const struct zf_op *op = turn->op;
  struct zf_weight weight = zf_forward_matrix(back->forward, op->weight);
  float *g = zf_back_gradient(back, op->weight), *bias = zf_back_gradient(back, op->bias);
  if (bias) sum_columns(back, bias, turn->ddst, turn->lddd, turn->T, op->width);
  if (g && weight.si == 1)
    zf_back_product(back, g, turn->ddst, turn->lddd, op->width, turn->src, turn->ldsrc, op->inputs,
                    turn->T);
  else if (g) /* stored [in, out] */
    zf_back_product(back, g, turn->src, turn->ldsrc, op->inputs, turn->ddst, turn->lddd, op->width,
                    turn->T);
  zf_back_input(back, turn->dsrc, turn->ldds, turn->ddst, turn->lddd, turn->T, weight,
                back->live[op->src]);
  if (!op->accumulate && op->dst_col == 0) back->live[op->dst] = 0;
  back->live[op->src] = 1;
}

/* --- norms --- */

struct norm {
  int64_t rows, heads, count; /* heads of n in a row */
  const float *x, *w;
  int64_t ldx;
  float *dx;
  const float *dy;
  int64_t lddx, lddy;
  float *dw, *db;
  int center, add;
};

/* Statistics of rows, then the parameters (by columns, rows in order), then the rows. */
static void norm_rows(struct zf_back *back, const struct norm *norm) {
  float *mean = back->stats, *inv = back->stats + norm->rows * norm->heads;
  float eps = (float)back->model->config.norm_eps;
  int team = zf_tile_team(norm->rows * norm->heads * norm->count);
#pragma omp parallel num_threads(team) if (team > 1)
  {
    int64_t id = omp_get_thread_num(), of = omp_get_num_threads();
    int64_t c0 = zf_back_cut(norm->count, id, of), c1 = zf_back_cut(norm->count, id + 1, of);
#pragma omp for schedule(static)
    for (int64_t r = 0; r < norm->rows; r++)
      for (int64_t h = 0; h < norm->heads; h++)
        back->rows->stats(mean + r * norm->heads + h, inv + r * norm->heads + h,
                          norm->x + r * norm->ldx + h * norm->count, eps, norm->center,
                          norm->count);
    for (int64_t r = 0; (norm->dw || norm->db) && c1 > c0 && r < norm->rows; r++)
      for (int64_t h = 0; h < norm->heads; h++)
        back->rows->norm_weight(norm->dw ? norm->dw + c0 : NULL, norm->db ? norm->db + c0 : NULL,
                                norm->dy + r * norm->lddy + h * norm->count + c0,
                                norm->x + r * norm->ldx + h * norm->count + c0,
                                mean[r * norm->heads + h], inv[r * norm->heads + h], c1 - c0);
#pragma omp barrier
#pragma omp for schedule(static)
    for (int64_t r = 0; r < norm->rows; r++)
      for (int64_t h = 0; h < norm->heads; h++)
        back->rows->norm(norm->dx + r * norm->lddx + h * norm->count,
                         norm->dy + r * norm->lddy + h * norm->count,
                         norm->x + r * norm->ldx + h * norm->count, norm->w,
                         mean[r * norm->heads + h], inv[r * norm->heads + h], norm->center,
                         norm->add, norm->count);
  }
}

static void back_norm(struct turn *turn) {
  struct zf_back *back = turn->back;
  const struct zf_op *op = turn->op;
  struct norm norm = {
      .rows = turn->T, .heads = 1, .count = op->width, .x = turn->src, .ldx = turn->ldsrc};
  norm.w = zf_forward_vector(back->forward, op->weight, 0);
  norm.dx = turn->dsrc;
  norm.lddx = turn->ldds;
  norm.dy = turn->ddst;
  norm.lddy = turn->lddd;
  norm.dw = zf_back_gradient(back, op->weight);
  norm.db = zf_back_gradient(back, op->bias);
  norm.center = op->norm == ZF_NORM_LAYER;
  norm.add = op->src != op->dst && back->live[op->src];
  norm_rows(back, &norm);
  back->live[op->dst] = 0;
  back->live[op->src] = 1;
}

static void back_headnorm(struct turn *turn) {
  struct zf_back *back = turn->back;
  const struct zf_op *op = turn->op;
  struct norm norm = {.rows = turn->T, .heads = op->heads, .count = op->width};
  norm.x = zf_back_value(back, turn->node->side);
  norm.ldx = back->tape.value[turn->node->side].ld;
  norm.w = zf_forward_vector(back->forward, op->weight, 0);
  norm.dx = turn->dsrc;
  norm.dy = turn->dsrc;
  norm.lddx = norm.lddy = turn->ldds;
  norm.center = op->norm == ZF_NORM_LAYER;
  norm.dw = zf_back_gradient(back, op->weight);
  norm_rows(back, &norm);
}

/* --- the rest --- */

static void back_rope(struct turn *turn) {
  struct zf_back *back = turn->back;
  int64_t rot = zf_config_rot(&back->model->config), D = turn->op->width;
  const float *cs = zf_forward_rope(back->forward, turn->op);
  const int32_t *at = zf_forward_rope_rows(back->forward);
  int team = zf_tile_team(turn->T * turn->op->heads * rot);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t t = 0; t < turn->T; t++)
    for (int64_t h = 0; h < turn->op->heads; h++)
      back->rows->rope(turn->dsrc + t * turn->ldds + h * D, cs + at[t] * rot, rot / 2);
}

static void back_attention(struct turn *turn) {
  zf_back_attention(turn->back, turn->op, turn->src, turn->ldsrc);
  turn->back->live[turn->op->dst] = 0;
  turn->back->live[turn->op->src] = 1;
}

static void back_act(struct turn *turn) {
  struct zf_back *back = turn->back;
  int64_t n = turn->op->width;
  int gated = turn->op->gated;
  int team = zf_tile_team(turn->T * n * 8);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t t = 0; t < turn->T; t++) {
    const float *g = turn->src + t * turn->ldsrc;
    float *d = turn->ddst + t * turn->lddd;
    back->rows->act[turn->op->act](d, gated ? d + n : NULL, g, gated ? g + n : NULL, d, n);
  }
}

static void back_permute_heads(struct turn *turn) {
  int64_t D = turn->op->width, H = turn->op->heads;
  zf_permute_heads(turn->dsrc, turn->ldds, turn->T, 3, H, D, turn->back->rotated);
}

static void back_scale(struct turn *turn) {
  zf_scale_rows(turn->dsrc, turn->ldds, turn->T, turn->op->width, turn->op->scale);
}

static void back_add(struct turn *turn) {
  struct zf_back *back = turn->back;
  int live = back->live[turn->op->src];
  for (int64_t t = 0; t < turn->T && !live; t++)
    memcpy(turn->dsrc + t * turn->ldds, turn->ddst + t * turn->lddd,
           sizeof(float) * (size_t)turn->op->width);
  if (live) zf_add_rows(turn->dsrc, turn->ldds, turn->ddst, turn->lddd, turn->T, turn->op->width);
  back->live[turn->op->src] = 1;
}

/* Rows of a table that tokens read (NULL: all the same one): a thread has a range of columns, tokens
 * come in order. */
static void table_rows(struct turn *turn, const int32_t *id, int64_t offset) {
  struct zf_back *back = turn->back;
  float *g = zf_back_gradient(back, turn->op->weight);
  int64_t n = turn->op->width;
  if (!g) return;
  int team = zf_tile_team(turn->T * n);
#pragma omp parallel num_threads(team) if (team > 1)
  {
    int64_t me = omp_get_thread_num(), of = omp_get_num_threads();
    int64_t c0 = zf_back_cut(n, me, of), c1 = zf_back_cut(n, me + 1, of);
    for (int64_t t = 0; t < turn->T && c1 > c0; t++)
      back->rows->add(g + ((id ? id[t] : 0) + offset) * n + c0, turn->ddst + t * turn->lddd + c0,
                      c1 - c0);
  }
}

static void back_embed(struct turn *turn) {
  table_rows(turn, turn->back->batch->id, 0);
  turn->back->live[turn->op->dst] = 0;
}

static void back_position(struct turn *turn) {
  table_rows(turn, turn->back->batch->pos, turn->op->offset);
}

static void back_type(struct turn *turn) {
  table_rows(turn, NULL, turn->op->offset);
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

void zf_back_op(struct zf_back *back, int64_t i) {
  const struct zf_op *op = &back->model->plan.op[i];
  const struct zf_node *node = &back->tape.node[i];
  struct turn turn = {.back = back, .op = op, .node = node};
  turn.T = i < back->model->plan.body ? back->batch->T : back->batch->R;
  if (node->src >= 0) {
    turn.src = zf_back_value(back, node->src) + op->src_col;
    turn.ldsrc = back->tape.value[node->src].ld;
  }
  turn.dsrc = back->gradient[op->src] + op->src_col;
  turn.ldds = back->ld[op->src];
  turn.ddst = back->gradient[op->dst] + op->dst_col;
  turn.lddd = back->ld[op->dst];
  back_of[op->kind](&turn);
}
