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
  int decayed;    /* weight decay applies (not to biases and norms) */
  const float
      *start;      /* values before training, of an adapter's trained parameter; NULL: the file has
                       * them, or they are 0 */
  int zero_start;  /* an adapter's parameter that began as 0 */
  float *state[2]; /* Adam's m and v, count each; NULL: none */
};

struct zf_params {
  struct zf_param *param;
  int64_t count;
  float *state; /* memory of all states; NULL: none */
};

/* Suffixes of the state's tensors in saved files, as PyTorch's Adam names them. */
extern const char *const zf_param_state_suffix[2]; /* ".exp_avg", ".exp_avg_sq" */

/* Gives every trained parameter a state of zeros, which the list owns; it has none before.
 * ZF_EUSAGE: a trained parameter is not f32; ZF_ENOMEM. */
int zf_params_add_state(struct zf_params *params);
void zf_params_clear_state(struct zf_params *params); /* all zeros, where there is one */
void zf_params_free_state(struct zf_params *params);  /* the parameters have none then */

/* Bytes and elements of all parameters, or of the trained ones only. */
int64_t zf_params_bytes(const struct zf_params *params, int trained_only);
int64_t zf_params_count(const struct zf_params *params, int trained_only);

/* Hash of all values, parameter after parameter (name, dtype, shape, bytes; then its state, where it
 * has one), in hexadecimal with its 0. */
int zf_params_hash(const struct zf_params *params, char hex[33]);

ZF_END_DECLS

#endif
