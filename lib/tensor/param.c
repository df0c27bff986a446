#include "tensor/param.h"

#include <string.h>

#include "base/hash.h"

int64_t zf_params_count(const struct zf_params *ps, int trained_only) {
  int64_t n = 0;
  for (int64_t i = 0; i < ps->count; i++)
    if (ps->param[i].trained || !trained_only) n += ps->param[i].count;
  return n;
}

int64_t zf_params_bytes(const struct zf_params *ps, int trained_only) {
  int64_t n = 0;
  for (int64_t i = 0; i < ps->count; i++)
    if (ps->param[i].trained || !trained_only)
      n += (int64_t)zf_dtype_bytes(ps->param[i].type, ps->param[i].count);
  return n;
}

int zf_params_hash(const struct zf_params *ps, char out[33]) {
  struct zf_hash *hash;
  int rc = zf_hash_new(&hash);
  if (rc) return rc;
  for (int64_t i = 0; i < ps->count; i++) {
    const struct zf_param *param = &ps->param[i];
    const struct zf_dtype_info *dtype_info = zf_dtype_info(param->type);
    zf_hash_add(hash, param->name, strlen(param->name) + 1);
    zf_hash_add(hash, dtype_info->name, strlen(dtype_info->name) + 1);
    zf_hash_add(hash, param->shape, sizeof *param->shape * (size_t)param->ndim);
    zf_hash_add(hash, param->data, zf_dtype_bytes(param->type, param->count));
  }
  zf_hash_hex(hash, out);
  zf_hash_free(hash);
  return 0;
}
