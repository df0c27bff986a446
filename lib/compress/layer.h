/* The matrices of one layer and the moments of their inputs, for methods that change a layer by what its
 * products read. */
#ifndef ZF_COMPRESS_LAYER_H
#define ZF_COMPRESS_LAYER_H

#include "base/cplusplus.h"
#include "compress/moments.h"
#include "compress/walk.h"

ZF_BEGIN_DECLS

enum { ZF_LAYER_MATRICES = 16 };

/* An input that some products of the layer read. */
struct zf_layer_input {
  int64_t first_op; /* number of the first operation that reads it */
  struct zf_moments moments;
};

/* A matrix as a product sees it: W [out][in]. */
struct zf_layer_matrix {
  int32_t param;
  int64_t op; /* number of the operation that multiplies by it */
  int64_t out, in;
  int input; /* number of its input */
};

struct zf_layer {
  const struct zf_model *model;
  int64_t number;
  struct zf_layer_matrix matrix[ZF_LAYER_MATRICES];
  int matrices;
  struct zf_layer_input input[ZF_LAYER_MATRICES];
  int inputs;
};

/* Lists the matrices of layer `number`.  full: whether moments of pairs are wanted.  most_rows: tokens of
 * a window.  ZF_ENOMEM. */
int zf_layer_open(struct zf_layer *layer, const struct zf_model *model, int64_t number, int full,
                  int64_t most_rows);
void zf_layer_close(struct zf_layer *layer); /* takes a zeroed one */

/* A zf_forward_watch with the layer as ctx: adds to the moments of the input. */
void zf_layer_watch(void *layer, const struct zf_op *op, const float *x, int64_t ld, int64_t rows);

/* w [rows][in] = rows first..first + rows of the parameter's matrix as a product sees it (a matrix that
 * is stored transposed is turned), and back into values of type f32, `to` [count] as stored. */
void zf_matrix_read(float *w, const struct zf_param *param, int64_t first, int64_t rows);
void zf_matrix_write(float *to, const struct zf_param *param, const float *w, int64_t first,
                     int64_t rows);
int64_t zf_matrix_rows(const struct zf_param *param);    /* outputs of the product */
int64_t zf_matrix_columns(const struct zf_param *param); /* its inputs */

ZF_END_DECLS

#endif
