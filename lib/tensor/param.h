/* A parameter list: all that the zeroth-order optimizer knows of a model. */
#ifndef ZF_TENSOR_PARAM_H
#define ZF_TENSOR_PARAM_H

#include <stdint.h>

#include "tensor/dtype.h"

struct zf_param {
  const char *name; /* as in the checkpoint; owned by the list's maker */
  void *data;       /* n elements; written only when trained */
  enum zf_dtype type;
  int ndim;
  int64_t shape[4];
  int64_t count; /* product of shape */
  uint32_t id;   /* its number in the noise: index in the list */
  int trained;   /* perturbed and updated */
  int decayed;   /* weight decay applies (not to biases and norms) */
};

struct zf_params {
  struct zf_param *param;
  int64_t count;
};

/* Bytes and elements over the whole list, or over trained ones alone. */
int64_t zf_params_bytes(const struct zf_params *ps, int trained_only);
int64_t zf_params_count(const struct zf_params *ps, int trained_only);

/* Hash of all values, parameter after parameter (name, dtype, shape, bytes). */
int zf_params_hash(const struct zf_params *ps, char out[33]);

#endif
