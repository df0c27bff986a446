/* Keys and values that decoding keeps between passes. */
#include <assert.h>
#include <stdlib.h>

#include "base/arena.h"
#include "model/forward.h"

/* The known length of the cached sequence. */
static int64_t known_length(const struct zf_cache *cache) {
  return cache->len > cache->full_len ? cache->len : cache->full_len;
}

static int64_t cache_floats(const struct zf_model *model, int64_t cap) {
  return model->config.layers * (cap + model->plan.virtual_tokens) * model->config.kv_heads *
         model->config.head_dim;
}

int64_t zf_cache_bytes(const struct zf_model *model, int64_t cap) {
  return 2 * cache_floats(model, cap) * (int64_t)sizeof(float);
}

/* 1 where a sequence of this length has frequencies of its own. */
static int stretches(const struct zf_model *model, int64_t length) {
  return zf_rope_by_length(&model->config) && (double)length > model->config.rope[0].original;
}

void zf_cache_keep(struct zf_cache *cache, const struct zf_model *model, int64_t kept,
                   int64_t length) {
  assert(kept <= cache->len && kept <= length);
  int stretched = stretches(model, length), was_stretched = stretches(model, known_length(cache));
  int rotated_anew = model->config.rope[0].kind == ZF_ROPE_DYNAMIC ? stretched || was_stretched
                                                                   : stretched != was_stretched;
  cache->len = rotated_anew ? 0 : kept;
  cache->full_len = length;
}

void zf_cache_grow(struct zf_cache *cache, const struct zf_model *model) {
  int64_t length = known_length(cache) + 1;
  if (model->config.rope[0].kind == ZF_ROPE_DYNAMIC)
    cache->full_len = length;
  else
    zf_cache_keep(cache, model, cache->len, length);
}

int zf_cache_new(struct zf_cache **out, const struct zf_model *model, int64_t cap) {
  struct zf_cache *cache = *out = zf_calloc(1, sizeof *cache);
  if (!cache) return ZF_ENOMEM;
  int64_t floats = cache_floats(model, cap);
  cache->cap = cap;
  cache->keys = zf_calloc(floats, sizeof *cache->keys);
  cache->values = zf_calloc(floats, sizeof *cache->values);
  if (cache->keys && cache->values) return 0;
  zf_cache_free(cache);
  *out = NULL;
  return ZF_ENOMEM;
}

void zf_cache_free(struct zf_cache *cache) {
  if (!cache) return;
  free(cache->keys);
  free(cache->values);
  free(cache);
}
