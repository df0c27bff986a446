/* A LoRA's A from the weights of its module.
 *
 *   pissa   W = U S V^T: A = sqrt(S_r / s) V_r^T            (Meng et al. 2024)
 *   olora   W = Q R:     A = the first r rows of R          (Buyukakyuz 2024)
 *
 * Both papers also start B at a part of W, which they take out of the base.  The base stays here, and B
 * starts at 0: with A frozen that is the same model, since W x + s (B - B_0) A x has B - B_0 = 0 at the
 * start and the same gradients. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "kern/kern.h"
#include "peft/components.h"
#include "peft/create_internal.h"

enum { CHUNK = 128 }; /* rows of W that are expanded at once */

/* Rows first..first + count of W as its module has them, [count][inputs]. */
static void read_rows(const struct zf_param *param, int64_t first, int64_t count, int64_t inputs,
                      float *out, float *scratch) {
  const char *data = param->data;
  int64_t width = param->shape[1];
  if (!param->transposed) {
    zf_to_f32(out, data + zf_dtype_bytes(param->type, first * width), param->type, count * width);
    return;
  }
  for (int64_t i = 0; i < inputs; i++) {
    zf_to_f32(scratch, data + zf_dtype_bytes(param->type, i * width), param->type, width);
    for (int64_t j = 0; j < count; j++) out[j * inputs + i] = scratch[first + j];
  }
}

struct reader {
  const struct zf_param *param;
  int64_t outputs, inputs;
  float *rows, *scratch;
};

static int open_reader(struct reader *reader, const struct creation *creation,
                       const struct zf_op *op) {
  *reader = (struct reader){&creation->model->params.param[op->weight], op->width, op->inputs, NULL,
                            NULL};
  reader->rows = zf_calloc(CHUNK * op->inputs, sizeof *reader->rows);
  reader->scratch = zf_calloc(reader->param->shape[1], sizeof *reader->scratch);
  return reader->rows && reader->scratch ? 0 : ZF_ENOMEM;
}

static void close_reader(struct reader *reader) {
  free(reader->rows);
  free(reader->scratch);
}

/* The next rows from `first` on; returns their number. */
static int64_t next_rows(struct reader *reader, int64_t first) {
  int64_t count = reader->outputs - first < CHUNK ? reader->outputs - first : CHUNK;
  read_rows(reader->param, first, count, reader->inputs, reader->rows, reader->scratch);
  return count;
}

static int fill_pissa(struct reader *reader, double scale, float *value, int64_t rank) {
  struct zf_components components = {0};
  struct zf_components_work *work = NULL;
  void *space = aligned_alloc(64, (zf_kern_workspace_size(zf_kern_nthreads()) + 63) / 64 * 64);
  int rc = space ? zf_components_init(&components, rank, reader->inputs) : ZF_ENOMEM;
  if (!rc) rc = zf_components_work_new(&work, rank, reader->inputs, CHUNK);
  if (!rc) zf_kern_workspace(space);
  for (int64_t first = 0; first < reader->outputs && !rc; first += CHUNK)
    zf_components_add(&components, work, reader->rows, reader->inputs, next_rows(reader, first));
  for (int64_t i = 0; i < rank && !rc; i++) {
    float factor = (float)sqrt(sqrt(components.square[i]) / scale);
    for (int64_t c = 0; c < reader->inputs; c++)
      value[i * reader->inputs + c] = factor * components.vector[i * reader->inputs + c];
  }
  zf_components_work_free(work);
  zf_components_free(&components);
  free(space);
  return rc;
}

/* The first `rank` columns of W, made orthonormal in place (Gram and Schmidt, twice): columns
 * [rank][outputs]. */
static void orthonormalize(double *columns, int64_t rank, int64_t outputs) {
  for (int64_t i = 0; i < rank; i++) {
    double *column = columns + i * outputs, square = 0;
    for (int pass = 0; pass < 2; pass++)
      for (int64_t j = 0; j < i; j++) {
        double dot = 0;
        for (int64_t o = 0; o < outputs; o++) dot += column[o] * columns[j * outputs + o];
        for (int64_t o = 0; o < outputs; o++) column[o] -= dot * columns[j * outputs + o];
      }
    for (int64_t o = 0; o < outputs; o++) square += column[o] * column[o];
    for (int64_t o = 0; o < outputs; o++) column[o] = square > 0 ? column[o] / sqrt(square) : 0;
  }
}

static int fill_olora(struct reader *reader, float *value, int64_t rank) {
  double *columns = zf_calloc(rank * reader->outputs, sizeof *columns),
         *sum = zf_calloc(rank * reader->inputs, sizeof *sum);
  int rc = columns && sum ? 0 : ZF_ENOMEM;
  for (int64_t first = 0; first < reader->outputs && !rc; first += CHUNK)
    for (int64_t o = 0, count = next_rows(reader, first); o < count; o++)
      for (int64_t i = 0; i < rank; i++)
        columns[i * reader->outputs + first + o] = (double)reader->rows[o * reader->inputs + i];
  if (!rc) orthonormalize(columns, rank, reader->outputs);
  for (int64_t first = 0; first < reader->outputs && !rc; first += CHUNK)
    for (int64_t o = 0, count = next_rows(reader, first); o < count; o++)
      for (int64_t i = 0; i < rank; i++)
        for (int64_t c = 0; c < reader->inputs; c++)
          sum[i * reader->inputs + c] += columns[i * reader->outputs + first + o] *
                                         (double)reader->rows[o * reader->inputs + c];
  for (int64_t i = 0; i < rank * reader->inputs && !rc; i++) value[i] = (float)sum[i];
  free(sum);
  free(columns);
  return rc;
}

int zf_create_from_weights(const struct creation *creation, const char *module,
                           const struct zf_op *op, float *value, int64_t rank) {
  struct reader reader;
  double scale;
  int rc = zf_peft_scale(&scale, creation->config, module);
  if (rc || !creation->model->params.param[op->weight].data) return rc;
  rc = open_reader(&reader, creation, op);
  if (!rc)
    rc = strcmp(creation->config->init, "pissa") ? fill_olora(&reader, value, rank)
                                                 : fill_pissa(&reader, scale, value, rank);
  close_reader(&reader);
  return rc;
}
