/* The attention of a pass, and the caches of decoding that it reads and fills. */
#include <string.h>

#include "model/forward_internal.h"

/* Rows that a cache holds: its tokens, behind the virtual ones. */
static int64_t cached_rows(const struct zf_batch *batch, const struct zf_cache *cache) {
  return cache->len ? cache->len + batch->virtual_tokens : 0;
}

/* The cache of each segment is its prefix. */
static void use_caches(struct zf_forward *forward, const struct zf_op *op,
                       const struct zf_batch *batch, int64_t kw) {
  for (int64_t i = 0; i < batch->segment_count; i++) {
    const struct zf_cache *cache = batch->cache[i];
    struct zf_segment *segment = &forward->seg[i];
    int64_t layer = op->layer * (cache->cap + batch->virtual_tokens) * kw;
    segment->prefix_keys = cache->keys + layer;
    segment->prefix_values = cache->values + layer;
    segment->prefix_len = cached_rows(batch, cache);
    segment->prefix_stride = 0;
  }
}

/* Appends the keys and values of the batch, rows of `ld` floats, to the caches. */
static void fill_caches(const struct zf_op *op, const struct zf_batch *batch, const float *keys,
                        const float *values, int64_t ld, int64_t kw) {
  for (int64_t i = 0; i < batch->segment_count; i++) {
    const struct zf_cache *cache = batch->cache[i];
    for (int64_t j = 0; j < batch->segment[i].len; j++) {
      int64_t row = op->layer * (cache->cap + batch->virtual_tokens) + cached_rows(batch, cache),
              to = (row + j) * kw, from = (batch->segment[i].start + j) * ld;
      memcpy(cache->keys + to, keys + from, sizeof(float) * (size_t)kw);
      memcpy(cache->values + to, values + from, sizeof(float) * (size_t)kw);
    }
  }
}

void zf_forward_run_attention(struct zf_forward *forward, const struct zf_op *op,
                              const struct zf_batch *batch) {
  const struct zf_config *config = &forward->model->config;
  int64_t kw = config->kv_heads * config->head_dim, qw = config->heads * config->head_dim,
          ld = forward->ld[op->src];
  const float *queries = forward->reg[op->src], *keys = queries + qw, *values = keys + kw;
  memcpy(forward->seg, batch->segment, sizeof *batch->segment * (size_t)batch->segment_count);
  if (batch->cache) use_caches(forward, op, batch, kw);
  struct zf_attention_params attention = {op->scale, op->cap, forward->model->plan.causal,
                                          op->window};
  zf_attention(forward->reg[op->dst], forward->ld[op->dst], queries, ld, keys, values, ld, batch->T,
               config->heads, config->kv_heads, config->head_dim, &attention, forward->seg,
               batch->segment_count, &forward->perturb.streams, forward->scores);
  if (batch->cache) fill_caches(op, batch, keys, values, ld, kw);
}
