/* A parameter list: everything that the zeroth-order optimizer knows about a model. */
#ifndef ZF_TENSOR_PARAM_H
#define ZF_TENSOR_PARAM_H

#include <stdint.h>

#include "base/cplusplus.h"
#include "tensor/dtype.h"

ZF_BEGIN_DECLS

/* The list that a parameter came from.  Its noise ids count within that list: an adapter does not move
 * the noise of the base's weights. */
enum zf_origin { ZF_ORIGIN_BASE, ZF_ORIGIN_ADAPTER };
enum { ZF_ADAPTER_FIRST_ID = 1 << 23 };

struct zf_noise_shape;
struct zf_zo_optimizer;

/* States of a parameter: those of update rules and directions.  Bits of a mask. */
enum zf_param_state {
  ZF_STATE_MEAN,      /* m: first moment */
  ZF_STATE_SQUARE,    /* v: second moment */
  ZF_STATE_MAX,       /* largest v so far */
  ZF_STATE_CURVATURE, /* h: diagonal of the Hessian; begins as 1, the others as 0 */
  ZF_PARAM_STATES
};

/* A direction L R^T of a matrix [out, in] that lies beside it (zo/direction.h). */
struct zf_param_factors {
  int64_t rank;       /* 0: none; directions have the parameter's own elements */
  int64_t out, in;    /* of the matrix as a product sees it */
  int64_t rows;       /* rows of the noise, which has rank columns: out, or rank with `left` */
  const float *right; /* R^T [rank][in] */
  const float
      *left;   /* NULL: L is noise [out][rank]; else [out][rank], L = left * noise [rank][rank] */
  float scale; /* of L R^T */
};

struct zf_param {
  const char *name; /* as in the checkpoint; owned by whoever built the list */
  void *data;       /* count elements; written only when trained */
  enum zf_dtype type;
  int ndim;
  int64_t shape[4];
  int64_t count; /* product of shape */
  uint32_t id;   /* the parameter's number in the noise counter: index in its origin's list, for an
                  * adapter behind ZF_ADAPTER_FIRST_ID */
  enum zf_origin origin;
  int transposed; /* a matrix of a linear operation that is stored [in, out] */
  float plus;     /* added to every element on reading (norms that multiply by 1 + w) */
  int trained;    /* perturbed and updated */
  int32_t
      scales;  /* number of the parameter that changes the scales of this one's blocks; 0: none */
  int decayed; /* weight decay applies (not to biases and norms) */
  const float
      *start;     /* values before training, of an adapter's trained parameter; NULL: the file has
                       * them, or they are 0 */
  int zero_start; /* an adapter's parameter that began as 0 */
  int is_operand; /* every reader multiplies by it as a matrix, or gathers its rows */
  int block;      /* number of the block of layers that it belongs to; 0: to none */
  const struct zf_noise_shape *shape_of_noise; /* of its directions; NULL: noise as it is */
  struct zf_param_factors factors;
  float *state[ZF_PARAM_STATES]; /* zf_param_coordinates elements each; NULL: none */
};

/* Elements of noise that a direction has on the parameter: those of its factor, or the parameter's. */
static inline int64_t zf_param_coordinates(const struct zf_param *param) {
  return param->factors.rank ? param->factors.rows * param->factors.rank : param->count;
}

struct zf_params {
  struct zf_param *param;
  int64_t count;
  float *state;                      /* memory of all states; NULL: none */
  struct zf_zo_optimizer *optimizer; /* zo/zo.h; NULL: none */
};

/* Suffixes of the states' tensors in saved files; the first two as PyTorch's Adam names them. */
extern const char *const zf_param_state_suffix[ZF_PARAM_STATES];

/* Gives every trained parameter the states of `mask` (1 << enum zf_param_state), which the list owns; it
 * has none before.  ZF_EUSAGE: a trained parameter is not f32; ZF_ENOMEM. */
int zf_params_add_state(struct zf_params *params, unsigned mask);
void zf_params_clear_state(struct zf_params *params); /* the first values, where there is a state */
void zf_params_free_state(struct zf_params *params);  /* the parameters have none then */

/* Bytes and elements of all parameters, or of the trained ones only. */
int64_t zf_params_bytes(const struct zf_params *params, int trained_only);
int64_t zf_params_count(const struct zf_params *params, int trained_only);

/* Hash of all values, parameter after parameter (name, dtype, shape, bytes; then its state, where it
 * has one), in hexadecimal with its 0. */
int zf_params_hash(const struct zf_params *params, char hex[33]);

ZF_END_DECLS

#endif
