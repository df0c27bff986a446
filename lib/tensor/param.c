#include "tensor/param.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/hash.h"

const char *const zf_param_state_suffix[2] = {".exp_avg", ".exp_avg_sq"};

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
      return zf_error(ZF_EUSAGE, "Adam trains f32 parameters alone: '%s' is held in %s",
                      param->name, zf_dtype_info(param->type)->name);
  }
  return 0;
}

int zf_params_add_state(struct zf_params *params) {
  int rc = check_f32(params);
  if (rc) return rc;
  params->state = zf_calloc(2 * zf_params_count(params, 1) + 1, sizeof *params->state);
  if (!params->state) return ZF_ENOMEM;
  float *next = params->state;
  for (int64_t i = 0; i < params->count; i++) {
    struct zf_param *param = &params->param[i];
    if (!param->trained) continue;
    for (int j = 0; j < 2; j++, next += param->count) param->state[j] = next;
  }
  return 0;
}

void zf_params_clear_state(struct zf_params *params) {
  if (!params->state) return;
  memset(params->state, 0, 2 * sizeof *params->state * (size_t)zf_params_count(params, 1));
}

void zf_params_free_state(struct zf_params *params) {
  for (int64_t i = 0; i < params->count; i++)
    params->param[i].state[0] = params->param[i].state[1] = NULL;
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
    for (int j = 0; j < 2; j++)
      if (param->state[j])
        zf_hash_add(hash, param->state[j], sizeof *param->state[j] * (size_t)param->count);
  }
  zf_hash_hex(hash, hex);
  zf_hash_free(hash);
  return 0;
}
