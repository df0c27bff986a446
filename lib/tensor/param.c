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
  struct zf_hash *h;
  int rc = zf_hash_new(&h);
  if (rc) return rc;
  for (int64_t i = 0; i < ps->count; i++) {
    const struct zf_param *p = &ps->param[i];
    const struct zf_dtype_info *t = zf_dtype_info(p->type);
    zf_hash_add(h, p->name, strlen(p->name) + 1);
    zf_hash_add(h, t->name, strlen(t->name) + 1);
    zf_hash_add(h, p->shape, sizeof *p->shape * (size_t)p->ndim);
    zf_hash_add(h, p->data, zf_dtype_bytes(p->type, p->count));
  }
  zf_hash_hex(h, out);
  zf_hash_free(h);
  return 0;
}
