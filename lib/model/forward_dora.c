/* DoRA (Liu et al. 2024): y = m / |W + s B A| (W x + s B A x) + bias, | | the norm of each row.
 *
 * The norms of a pass follow from thin products:
 *   |W_o + s B_o A|^2 = |W_o|^2 + 2 s B_o (A W_o^T) + s^2 B_o (A A^T) B_o^T
 * with |W_o|^2 computed once.  A, B and m are perturbed for each stream, so the norms are too. */
#include <math.h>
#include <string.h>

#include "model/forward_internal.h"

int64_t zf_forward_dora_floats(const struct zf_op *op, int streams) {
  int64_t rank = op->rank;
  return streams * (rank * op->inputs + 2 * rank * op->width + op->width + 2 * rank * rank);
}

/* Writes a parameter, perturbed for each stream, to out [S][count]. */
static void perturbed(const struct zf_forward *forward, int32_t number, float *out) {
  const struct zf_param *param = &forward->model->params.param[number];
  zf_forward_perturb_values(forward, param, out, param->count, 0, param->count);
}

/* inner_product [S*rank][out] = A W^T */
static void multiply_base(const struct zf_forward *forward, const struct zf_op *op,
                          const float *inner, float *product) {
  struct zf_streams one = {.count = 1};
  struct zf_weight matrix = zf_forward_matrix(forward, op->norm_base);
  matrix.compute = ZF_COMPUTE_F32;
  struct zf_rows rows = zf_rows_of(inner, op->inputs, op->inputs, ZF_COMPUTE_F32, NULL);
  zf_gemm(product, op->width, &rows, forward->perturb.streams.count * op->rank, &matrix, &one, NULL,
          0, 0);
}

/* gram [rank][rank] = A A^T */
static void multiply_self(const float *inner, int64_t rank, int64_t inputs, float *gram) {
  for (int64_t i = 0; i < rank; i++)
    for (int64_t j = 0; j < rank; j++) {
      double sum = 0;
      for (int64_t c = 0; c < inputs; c++)
        sum += (double)inner[i * inputs + c] * (double)inner[j * inputs + c];
      gram[i * rank + j] = (float)sum;
    }
}

/* The square of the norm of row o of W + s B A. */
static double row_square(const struct zf_op *op, const float *outer, const float *product,
                         const float *gram, int64_t o) {
  int64_t rank = op->rank;
  double cross = 0, inside = 0, s = (double)op->scale;
  for (int64_t i = 0; i < rank; i++) {
    double weight = (double)outer[o * rank + i], sum = 0;
    cross += weight * (double)product[i * op->width + o];
    for (int64_t j = 0; j < rank; j++)
      sum += (double)gram[i * rank + j] * (double)outer[o * rank + j];
    inside += weight * sum;
  }
  return (double)op->base_squares[o] + 2 * s * cross + s * s * inside;
}

/* Factors of all streams, [S][width].  The norms of a stream take the place of the first row of its
 * product of A and W. */
static float *fill_factors(struct zf_forward *forward, const struct zf_op *op, float **norms) {
  int streams = forward->perturb.streams.count;
  int64_t rank = op->rank, width = op->width;
  float *inner = forward->dora, *outer = inner + streams * rank * op->inputs,
        *product = outer + streams * rank * width, *factor = product + streams * rank * width,
        *gram = factor + streams * width;
  perturbed(forward, op->norm_inner, inner);
  perturbed(forward, op->norm_outer, outer);
  perturbed(forward, op->weight, factor);
  multiply_base(forward, op, inner, product);
  for (int s = 0; s < streams; s++) {
    float *norm = product + s * rank * width;
    multiply_self(inner + s * rank * op->inputs, rank, op->inputs, gram);
    for (int64_t o = 0; o < width; o++) {
      norm[o] = (float)sqrt(row_square(op, outer + s * rank * width, norm, gram, o));
      factor[s * width + o] /= norm[o];
    }
  }
  *norms = product;
  return factor;
}

void zf_forward_dora(struct zf_forward *forward, const struct zf_op *op, const float **factor,
                     const float **norm) {
  float *norms;
  *factor = fill_factors(forward, op, &norms);
  *norm = norms;
}

void zf_forward_run_dora(struct zf_forward *forward, const struct zf_op *op, int64_t T) {
  float *norms, *factor = fill_factors(forward, op, &norms);
  const float *bias = zf_forward_perturbed(forward, op->bias, forward->vec_b);
  zf_columns(forward->reg[op->src] + op->src_col, forward->ld[op->src], T, op->width, factor, bias,
             op->width, &forward->perturb.streams);
}
