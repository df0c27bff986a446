/* The derivative of each operation, as a table.
 *
 * Before the derivative of operation i, register_gradient[dst] is the gradient by the operation's
 * result.  The derivative turns it into the gradient by the register's content before the operation,
 * and adds to the gradients of the operation's parameters.  While register_live[r] is set,
 * register_gradient[r] holds the gradient by the present content of r, and the gradients of further
 * readers are added to it. */
#include <omp.h>
#include <string.h>

#include "back/back_internal.h"
#include "kern/tile.h"

/* --- products --- */

/* to [columns][T] = the transpose of x [T, columns], rows ld apart. */
static void transpose(float *to, const float *x, int64_t ld, int64_t T, int64_t columns) {
  enum { tile = 16 };
  int team = zf_tile_team(T * columns);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t t = 0; t < T; t += tile)
    for (int64_t column = 0; column < columns; column += tile)
      for (int64_t j = column; j < zf_min64(columns, column + tile); j++)
        for (int64_t i = t; i < zf_min64(T, t + tile); i++) to[j * T + i] = x[i * ld + j];
}

void zf_back_product(struct zf_back *back, float *gradient, int64_t ldg, const float *dy,
                     int64_t lddy, int64_t out, const float *x, int64_t ldx, int64_t in, int64_t T,
                     enum zf_compute compute) {
  struct zf_streams stream = {.count = 1};
  struct zf_weight weight = {.data = x,
                             .type = ZF_F32,
                             .out = in,
                             .in = T,
                             .output_stride = 1,
                             .input_stride = ldx,
                             .compute = compute};
  for (int64_t first = 0; first < out; first += ZF_BACK_CHUNK) {
    int64_t count = zf_min64(out - first, ZF_BACK_CHUNK);
    transpose(back->transposed, dy + first, lddy, T, count);
    struct zf_rows rows =
        zf_rows_of(back->transposed, T, T, weight.compute, zf_forward_cells(back->forward));
    zf_gemm(gradient + first * ldg, ldg, &rows, count, &weight, &stream, NULL, 0, 1);
  }
}

void zf_back_input(struct zf_back *back, float *dx, int64_t lddx, const float *dy, int64_t lddy,
                   int64_t T, struct zf_weight weight, int add) {
  struct zf_streams stream = {.count = 1};
  struct zf_weight transposed = weight;
  transposed.out = weight.in;
  transposed.in = weight.out;
  transposed.output_stride = weight.input_stride;
  transposed.input_stride = weight.output_stride;
  struct zf_rows rows =
      zf_rows_of(dy, lddy, transposed.in, transposed.compute, zf_forward_cells(back->forward));
  zf_gemm(dx, lddx, &rows, T, &transposed, &stream, NULL, 0, add);
}

void zf_back_sum_columns(struct zf_back *back, float *gradient, const float *rows, int64_t ld,
                         int64_t T, int64_t columns) {
  int team = zf_tile_team(T * columns);
#pragma omp parallel num_threads(team) if (team > 1)
  {
    int64_t thread = omp_get_thread_num(), threads = omp_get_num_threads();
    int64_t begin = zf_back_range_start(columns, thread, threads),
            end = zf_back_range_start(columns, thread + 1, threads);
    if (end > begin)
      for (int64_t t = 0; t < T; t++)
        back->rows->add(gradient + begin, rows + t * ld + begin, end - begin);
  }
}

static void back_linear(struct derivative *derivative) {
  struct zf_back *back = derivative->back;
  const struct zf_op *op = derivative->op;
  struct zf_weight weight = zf_forward_matrix(back->forward, op->weight);
  float *gradient = zf_back_gradient(back, op->weight),
        *bias_gradient = zf_back_gradient(back, op->bias);
  weight.in = op->inputs; /* an adapter may read a part of a larger matrix */
  weight.out = op->width;
  if (bias_gradient)
    zf_back_sum_columns(back, bias_gradient, derivative->ddst, derivative->lddd, derivative->T,
                        op->width);
  if (gradient && weight.input_stride == 1)
    zf_back_product(back, gradient, weight.output_stride, derivative->ddst, derivative->lddd,
                    op->width, derivative->src, derivative->ldsrc, op->inputs, derivative->T,
                    weight.compute);
  else if (gradient) /* stored [in, out] */
    zf_back_product(back, gradient, weight.input_stride, derivative->src, derivative->ldsrc,
                    op->inputs, derivative->ddst, derivative->lddd, op->width, derivative->T,
                    weight.compute);
  zf_back_input(back, derivative->dsrc, derivative->ldds, derivative->ddst, derivative->lddd,
                derivative->T, weight, back->register_live[op->src]);
  if (!op->accumulate && op->dst_col == 0) back->register_live[op->dst] = 0;
  back->register_live[op->src] = 1;
}

/* --- norms --- */

struct norm_job {
  int64_t rows, heads, count; /* `heads` heads of `count` elements in a row */
  const float *x, *w;
  int64_t ldx;
  float *dx;
  const float *dy;
  int64_t lddx, lddy;
  float *dw, *db;
  int center, add;
};

/* First the statistics of rows, then the parameters' gradients (threads share out columns and walk the
 * rows in order), then the rows' gradients. */
static void norm_rows(struct zf_back *back, const struct norm_job *norm) {
  float *mean = back->stats, *inv = back->stats + norm->rows * norm->heads;
  float eps = (float)back->model->config.norm_eps;
  int team = zf_tile_team(norm->rows * norm->heads * norm->count);
#pragma omp parallel num_threads(team) if (team > 1)
  {
    int64_t thread = omp_get_thread_num(), threads = omp_get_num_threads();
    int64_t begin = zf_back_range_start(norm->count, thread, threads),
            end = zf_back_range_start(norm->count, thread + 1, threads);
#pragma omp for schedule(static)
    for (int64_t row = 0; row < norm->rows; row++)
      for (int64_t head = 0; head < norm->heads; head++)
        back->rows->stats(mean + row * norm->heads + head, inv + row * norm->heads + head,
                          norm->x + row * norm->ldx + head * norm->count, eps, norm->center,
                          norm->count);
    int64_t weight_rows = (norm->dw || norm->db) && end > begin ? norm->rows : 0;
    for (int64_t row = 0; row < weight_rows; row++)
      for (int64_t head = 0; head < norm->heads; head++)
        back->rows->norm_weight(
            norm->dw ? norm->dw + begin : NULL, norm->db ? norm->db + begin : NULL,
            norm->dy + row * norm->lddy + head * norm->count + begin,
            norm->x + row * norm->ldx + head * norm->count + begin, mean[row * norm->heads + head],
            inv[row * norm->heads + head], end - begin);
#pragma omp barrier
#pragma omp for schedule(static)
    for (int64_t row = 0; row < norm->rows; row++)
      for (int64_t head = 0; head < norm->heads; head++)
        back->rows->norm(norm->dx + row * norm->lddx + head * norm->count,
                         norm->dy + row * norm->lddy + head * norm->count,
                         norm->x + row * norm->ldx + head * norm->count, norm->w,
                         mean[row * norm->heads + head], inv[row * norm->heads + head],
                         norm->center, norm->add, norm->count);
  }
}

static void back_norm(struct derivative *derivative) {
  struct zf_back *back = derivative->back;
  const struct zf_op *op = derivative->op;
  struct norm_job norm = {.rows = derivative->T,
                          .heads = 1,
                          .count = op->width,
                          .x = derivative->src,
                          .ldx = derivative->ldsrc};
  norm.w = zf_forward_vector(back->forward, op->weight, 0);
  norm.dx = derivative->dsrc;
  norm.lddx = derivative->ldds;
  norm.dy = derivative->ddst;
  norm.lddy = derivative->lddd;
  norm.dw = zf_back_gradient(back, op->weight);
  norm.db = zf_back_gradient(back, op->bias);
  norm.center = op->norm == ZF_NORM_LAYER;
  norm.add = op->src != op->dst && back->register_live[op->src];
  norm_rows(back, &norm);
  back->register_live[op->dst] = 0;
  back->register_live[op->src] = 1;
}

static void back_headnorm(struct derivative *derivative) {
  struct zf_back *back = derivative->back;
  const struct zf_op *op = derivative->op;
  struct norm_job norm = {.rows = derivative->T, .heads = op->heads, .count = op->width};
  norm.x = zf_back_value(back, derivative->node->columns_before);
  norm.ldx = back->tape.value[derivative->node->columns_before].stride;
  norm.w = zf_forward_vector(back->forward, op->weight, 0);
  norm.dx = derivative->dsrc;
  norm.dy = derivative->dsrc;
  norm.lddx = norm.lddy = derivative->ldds;
  norm.center = op->norm == ZF_NORM_LAYER;
  norm.dw = zf_back_gradient(back, op->weight);
  norm_rows(back, &norm);
}

/* --- other operations --- */

static void back_rope(struct derivative *derivative) {
  struct zf_back *back = derivative->back;
  int64_t rotary_dim = zf_config_rot(&back->model->config), D = derivative->op->width;
  const float *cos_sin = zf_forward_rope(back->forward, derivative->op);
  const int32_t *rope_row = zf_forward_rope_rows(back->forward);
  int team = zf_tile_team(derivative->T * derivative->op->heads * rotary_dim);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t t = 0; t < derivative->T; t++)
    for (int64_t head = 0; head < derivative->op->heads; head++)
      back->rows->rope(derivative->dsrc + t * derivative->ldds + head * D,
                       cos_sin + rope_row[t] * rotary_dim, rotary_dim / 2);
}

static void back_attention(struct derivative *derivative) {
  zf_back_attention(derivative->back, derivative->op, derivative->src, derivative->ldsrc);
  derivative->back->register_live[derivative->op->dst] = 0;
  derivative->back->register_live[derivative->op->src] = 1;
}

static void back_act(struct derivative *derivative) {
  struct zf_back *back = derivative->back;
  int64_t width = derivative->op->width;
  int gated = derivative->op->gated;
  int team = zf_tile_team(derivative->T * width * 8);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t t = 0; t < derivative->T; t++) {
    const float *gate = derivative->src + t * derivative->ldsrc;
    float *gradient = derivative->ddst + t * derivative->lddd;
    back->rows->act[derivative->op->act](gradient, gated ? gradient + width : NULL, gate,
                                         gated ? gate + width : NULL, gradient, width);
  }
}

static void back_permute_heads(struct derivative *derivative) {
  int64_t D = derivative->op->width, H = derivative->op->heads;
  zf_permute_heads(derivative->dsrc, derivative->ldds, derivative->T, 3, H, D,
                   derivative->back->transposed);
}

static void back_scale(struct derivative *derivative) {
  zf_scale_rows(derivative->dsrc, derivative->ldds, derivative->T, derivative->op->width,
                derivative->op->scale);
}

static void back_add(struct derivative *derivative) {
  struct zf_back *back = derivative->back;
  int live = back->register_live[derivative->op->src];
  if (!live)
    for (int64_t t = 0; t < derivative->T; t++)
      memcpy(derivative->dsrc + t * derivative->ldds, derivative->ddst + t * derivative->lddd,
             sizeof(float) * (size_t)derivative->op->width);
  if (live)
    zf_add_rows(derivative->dsrc, derivative->ldds, derivative->ddst, derivative->lddd,
                derivative->T, derivative->op->width);
  back->register_live[derivative->op->src] = 1;
}

static void back_copy(struct derivative *derivative) {
  back_add(derivative);
  if (derivative->op->dst_col == 0) derivative->back->register_live[derivative->op->dst] = 0;
}

/* Adds to the rows of a table that tokens read (ids NULL: all tokens read row `offset`).  Threads share
 * out columns; each walks the tokens in order. */
static void table_rows(struct derivative *derivative, const int32_t *ids, int64_t offset) {
  struct zf_back *back = derivative->back;
  float *gradient = zf_back_gradient(back, derivative->op->weight);
  int64_t width = derivative->op->width;
  if (!gradient) return;
  int team = zf_tile_team(derivative->T * width);
#pragma omp parallel num_threads(team) if (team > 1)
  {
    int64_t thread = omp_get_thread_num(), threads = omp_get_num_threads();
    int64_t begin = zf_back_range_start(width, thread, threads),
            end = zf_back_range_start(width, thread + 1, threads);
    if (end > begin)
      for (int64_t t = 0; t < derivative->T; t++)
        back->rows->add(gradient + ((ids ? ids[t] : 0) + offset) * width + begin,
                        derivative->ddst + t * derivative->lddd + begin, end - begin);
  }
}

/* The same of a table that is stored transposed, [width, vocabulary]: threads share out its rows. */
static void table_columns(struct derivative *derivative, const int32_t *ids) {
  float *gradient = zf_back_gradient(derivative->back, derivative->op->weight);
  int64_t width = derivative->op->width, vocab = derivative->back->model->config.vocab;
  if (!gradient) return;
  int team = zf_tile_team(derivative->T * width);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t i = 0; i < width; i++)
    for (int64_t t = 0; t < derivative->T; t++)
      gradient[i * vocab + ids[t]] += derivative->ddst[t * derivative->lddd + i];
}

static void back_embed(struct derivative *derivative) {
  const struct zf_back *back = derivative->back;
  if (back->model->params.param[derivative->op->weight].transposed)
    table_columns(derivative, back->batch->id);
  else
    table_rows(derivative, back->batch->id, 0);
  derivative->back->register_live[derivative->op->dst] = 0;
}

static void back_position(struct derivative *derivative) {
  table_rows(derivative, derivative->back->batch->pos, derivative->op->offset);
}

static void back_type(struct derivative *derivative) {
  table_rows(derivative, NULL, derivative->op->offset);
}

static void (*const back_of[])(struct derivative *derivative) = {
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
    [ZF_OP_COPY] = back_copy,
    [ZF_OP_TYPE] = back_type,
    [ZF_OP_COLUMNS] = zf_back_columns,
    [ZF_OP_DORA] = zf_back_dora,
    [ZF_OP_TOKENS] = zf_back_tokens,
    [ZF_OP_VIRTUAL] = zf_back_virtual,
};

void zf_back_op(struct zf_back *back, int64_t i) {
  const struct zf_op *op = &back->model->plan.op[i];
  const struct zf_node *node = &back->tape.node[i];
  struct derivative derivative = {.back = back, .op = op, .node = node};
  derivative.T = i < back->model->plan.body ? back->batch->T : back->batch->R;
  if (node->src >= 0) {
    derivative.src = zf_back_value(back, node->src) + op->src_col;
    derivative.ldsrc = back->tape.value[node->src].stride;
  }
  derivative.dsrc = back->register_gradient[op->src] + op->src_col;
  derivative.ldds = back->register_stride[op->src];
  derivative.ddst = back->register_gradient[op->dst] + op->dst_col;
  derivative.lddd = back->register_stride[op->dst];
  back_of[op->kind](&derivative);
}
