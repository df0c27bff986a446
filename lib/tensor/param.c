#include "tensor/param.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/hash.h"

const char *const zf_param_state_suffix[ZF_PARAM_STATES] = {".exp_avg", ".exp_avg_sq",
                                                            ".max_exp_avg_sq", ".curvature"};

int64_t zf_params_count(const struct zf_params *params, int trained_only) {
  int64_t count = 0;
  for (int64_t i = 0; i < params->count; i++)
    if (params->param[i].trained || !trained_only) count += params->param[i].count;
  return count;
}

int64_t zf_params_bytes(const struct zf_params *params, int trained_only) {
  int64_t bytes = 0;
  for (int64_t i = 0; i < params->count; i++)
    if (params->param[i].trained || !trained_only)
      bytes += (int64_t)zf_dtype_bytes(params->param[i].type, params->param[i].count);
  return bytes;
}

static int check_f32(const struct zf_params *params) {
  for (int64_t i = 0; i < params->count; i++) {
    const struct zf_param *param = &params->param[i];
    if (param->trained && param->type != ZF_F32)
      return zf_error(ZF_EUSAGE,
                      "a method with a state trains f32 parameters alone: '%s' is held in %s",
                      param->name, zf_dtype_info(param->type)->name);
  }
  return 0;
}

static int64_t count_states(const struct zf_params *params, unsigned mask) {
  int64_t count = 0;
  for (int64_t i = 0; i < params->count; i++)
    for (int j = 0; j < ZF_PARAM_STATES; j++)
      if (params->param[i].trained && (mask >> j & 1))
        count += zf_param_coordinates(&params->param[i]);
  return count;
}

int zf_params_add_state(struct zf_params *params, unsigned mask) {
  int rc = check_f32(params);
  if (rc) return rc;
  params->state = zf_calloc(count_states(params, mask) + 1, sizeof *params->state);
  if (!params->state) return ZF_ENOMEM;
  float *next = params->state;
  for (int64_t i = 0; i < params->count; i++) {
    struct zf_param *param = &params->param[i];
    for (int j = 0; j < ZF_PARAM_STATES; j++) {
      if (!param->trained || !(mask >> j & 1)) continue;
      param->state[j] = next;
      next += zf_param_coordinates(param);
    }
  }
  zf_params_clear_state(params);
  return 0;
}

void zf_params_clear_state(struct zf_params *params) {
  for (int64_t i = 0; i < params->count; i++) {
    struct zf_param *param = &params->param[i];
    for (int j = 0; j < ZF_PARAM_STATES; j++)
      for (int64_t k = 0; param->state[j] && k < zf_param_coordinates(param); k++)
        param->state[j][k] = j == ZF_STATE_CURVATURE;
  }
}

void zf_params_free_state(struct zf_params *params) {
  for (int64_t i = 0; i < params->count; i++)
    for (int j = 0; j < ZF_PARAM_STATES; j++) params->param[i].state[j] = NULL;
  free(params->state);
  params->state = NULL;
}

int zf_params_hash(const struct zf_params *params, char hex[33]) {
  struct zf_hash *hash;
  int rc = zf_hash_new(&hash);
  if (rc) return rc;
  for (int64_t i = 0; i < params->count; i++) {
    const struct zf_param *param = &params->param[i];
    const struct zf_dtype_info *dtype_info = zf_dtype_info(param->type);
    zf_hash_add(hash, param->name, strlen(param->name) + 1);
    zf_hash_add(hash, dtype_info->name, strlen(dtype_info->name) + 1);
    zf_hash_add(hash, param->shape, sizeof *param->shape * (size_t)param->ndim);
    zf_hash_add(hash, param->data, zf_dtype_bytes(param->type, param->count));
    for (int j = 0; j < ZF_PARAM_STATES; j++)
      if (param->state[j])
        zf_hash_add(hash, param->state[j],
                    sizeof *param->state[j] * (size_t)zf_param_coordinates(param));
  }
  zf_hash_hex(hash, hex);
  zf_hash_free(hash);
  return 0;
}
