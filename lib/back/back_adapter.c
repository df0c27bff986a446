/* Derivatives of the operations that only adapters have. */
#include <omp.h>
#include <string.h>

#include "back/back_internal.h"
#include "kern/tile.h"

/* gradient[c] += sum over rows of dy x / divisor[c] (NULL: 1), x the columns before the operation; in the
 * order of rows for any number of threads. */
static void sum_products(struct derivative *derivative, float *gradient, const float *divisor) {
  const struct zf_back *back = derivative->back;
  const float *before = zf_back_value(back, derivative->node->columns_before);
  int64_t width = derivative->op->width;
  int team = zf_tile_team(derivative->T * width);
#pragma omp parallel num_threads(team) if (team > 1)
  {
    int64_t thread = omp_get_thread_num(), threads = omp_get_num_threads();
    int64_t begin = zf_back_range_start(width, thread, threads),
            end = zf_back_range_start(width, thread + 1, threads);
    for (int64_t t = 0; t < derivative->T; t++) {
      const float *x = before + t * width, *dy = derivative->ddst + t * derivative->lddd;
      for (int64_t i = begin; i < end; i++)
        gradient[i] += divisor ? dy[i] * x[i] / divisor[i] : dy[i] * x[i];
    }
  }
}

/* Through y = x w + b: db += dy, dw += dy x / divisor, dx = dy factor. */
static void columns(struct derivative *derivative, const float *factor, const float *divisor) {
  struct zf_back *back = derivative->back;
  const struct zf_op *op = derivative->op;
  float *dw = zf_back_gradient(back, op->weight), *db = zf_back_gradient(back, op->bias);
  struct zf_streams one = {.count = 1};
  if (db)
    zf_back_sum_columns(back, db, derivative->ddst, derivative->lddd, derivative->T, op->width);
  if (dw) sum_products(derivative, dw, divisor);
  if (factor)
    zf_columns(derivative->ddst, derivative->lddd, derivative->T, op->width, factor, NULL,
               op->width, &one);
}

void zf_back_columns(struct derivative *derivative) {
  columns(derivative, zf_forward_vector(derivative->back->forward, derivative->op->weight, 0),
          NULL);
}

/* y = x m / |row| + b.  The norms count as constants (Liu et al. 2024, section 4.3), as in PEFT. */
void zf_back_dora(struct derivative *derivative) {
  const float *factor, *norm;
  zf_forward_dora(derivative->back->forward, derivative->op, &factor, &norm);
  columns(derivative, factor, norm);
}

/* Moves the gradient of row t to row `number` of the parameter, from element `offset` of it on: nothing
 * that was there before has an influence. */
static void move_row(struct derivative *derivative, int64_t t, int64_t number, int64_t offset) {
  struct zf_back *back = derivative->back;
  const struct zf_op *op = derivative->op;
  float *gradient = zf_back_gradient(back, op->weight),
        *row = derivative->ddst + t * derivative->lddd;
  int64_t stride = back->model->params.param[op->weight].shape[1];
  if (gradient) back->rows->add(gradient + number * stride + offset, row, op->width);
  memset(row, 0, sizeof *row * (size_t)op->width);
}

void zf_back_tokens(struct derivative *derivative) {
  const struct zf_op *op = derivative->op;
  for (int64_t t = 0; t < derivative->T; t++)
    for (int64_t i = 0; i < op->inputs; i++)
      if (op->ids[i] == derivative->back->batch->id[t]) {
        move_row(derivative, t, i, 0);
        break;
      }
}

void zf_back_virtual(struct derivative *derivative) {
  const int32_t *number = zf_forward_virtual_numbers(derivative->back->forward);
  for (int64_t t = 0; t < derivative->T; t++)
    if (number[t] >= 0) move_row(derivative, t, number[t], derivative->op->offset);
}
