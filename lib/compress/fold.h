/* Scales of a product's inputs that the operation in front of it can take over.
 *
 * y = W x = (W diag(s)) (x / s): the division goes into the weights of the operation that makes x, where
 * that multiplies each of its results by a weight of its own:
 *
 *   a norm          whose result the products alone read
 *   a product       `up` in front of a gated activation, act(gate) * up
 *   the values      of attention; heads that share a key/value head share their scales */
#ifndef ZF_COMPRESS_FOLD_H
#define ZF_COMPRESS_FOLD_H

#include "base/cplusplus.h"
#include "compress/layer.h"

ZF_BEGIN_DECLS

enum zf_fold_kind { ZF_FOLD_NONE, ZF_FOLD_NORM, ZF_FOLD_ROWS };

struct zf_fold {
  enum zf_fold_kind kind;
  int32_t weight, bias; /* of the operation in front; bias -1: none */
  int64_t first_row;    /* ROWS: row of the matrix that makes channel 0 */
  int64_t channels;     /* scales that are free */
  int64_t heads, shared,
      dim; /* input column j takes channel (j / dim / shared) * dim + j % dim; of a
                              * norm and of `up`: column j takes channel j, with dim 0 */
};

/* The operation in front of an input of the layer. */
struct zf_fold zf_fold_find(const struct zf_layer *layer, int input);

/* The channel of input column j. */
int64_t zf_fold_channel(const struct zf_fold *fold, int64_t column);

ZF_END_DECLS

#endif
