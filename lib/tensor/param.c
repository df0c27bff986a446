#include "tensor/param.h"

#include <string.h>

#include "base/hash.h"

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
  }
  zf_hash_hex(hash, hex);
  zf_hash_free(hash);
  return 0;
}
