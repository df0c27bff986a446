/* New virtual tokens begin as tokens of the vocabulary: prompts as their embeddings, prefixes as the keys
 * and values that the model computes for them, "crucial to make prefix tuning stable" (Malladi et al.
 * 2023, appendix). */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "model/forward.h"
#include "peft/create_internal.h"

int zf_create_prompt(struct creation *creation) {
  const struct zf_model *model = creation->model;
  const struct zf_op *embed = &model->plan.op[zf_edit_find(&model->plan, ZF_ROLE_EMBED, -1)];
  const struct zf_param *table = &model->params.param[embed->weight];
  int64_t width = embed->width, count = creation->config->virtual_tokens;
  float *value, scale = 1;
  int rc = zf_create_add(creation, "", "prompt_embeddings", count, width, &value);
  if (rc || !table->data) return rc;
  if (model->config.family->scale_embedding) scale = (float)model->config.embed_scale;
  if (!creation->plan->ids) { /* as PEFT's RANDOM */
    struct zf_noise noise = zf_create_noise(creation);
    zf_noise_ref(value, &noise, 0, count * width);
    return 0;
  }
  for (int64_t i = 0; i < count; i++)
    zf_to_f32(value + i * width,
              (const char *)table->data +
                  zf_dtype_bytes(table->type, creation->plan->ids[i] * width),
              table->type, width);
  for (int64_t i = 0; i < count * width; i++) value[i] *= scale;
  return 0;
}

/* Runs the model on the tokens with a cache. */
static int run_tokens(const struct creation *creation, struct zf_cache *cache, int64_t count) {
  struct zf_limits limits = {
      .tokens = count, .rows = 1, .segments = 1, .length = count, .ids = 1, .streams = 1};
  struct zf_forward *forward;
  struct zf_segment segment = {.len = count};
  struct zf_perturb none = zf_perturb_none();
  int32_t *position = zf_calloc(count, sizeof *position), *ids = zf_calloc(count, sizeof *ids);
  int rc = position && ids ? zf_forward_new(&forward, creation->model, &limits) : ZF_ENOMEM;
  if (!rc) {
    for (int64_t i = 0; i < count; i++) position[i] = (int32_t)i;
    memcpy(ids, creation->plan->ids, (size_t)count * sizeof *ids);
    struct zf_batch batch = {.T = count,
                             .id = ids,
                             .pos = position,
                             .segment_count = 1,
                             .segment = &segment,
                             .cache = &cache};
    rc = zf_forward_run(forward, &batch, &none);
    zf_forward_free(forward);
  }
  free(ids);
  free(position);
  return rc;
}

int zf_create_prefix(struct creation *creation) {
  const struct zf_config *config = &creation->model->config;
  int64_t count = creation->config->virtual_tokens, key = config->kv_heads * config->head_dim,
          width = config->layers * 2 * key;
  struct zf_cache *cache;
  float *value;
  int rc = zf_create_add(creation, "", "prompt_embeddings", count, width, &value);
  if (rc || !creation->model->params.param[0].data) return rc;
  if (!creation->plan->ids)
    return zf_error(ZF_EUSAGE, "a prefix begins as tokens of the vocabulary or of a text");
  if ((rc = zf_cache_new(&cache, creation->model, count))) return rc;
  zf_cache_keep(cache, creation->model, 0, count);
  rc = run_tokens(creation, cache, count);
  for (int64_t layer = 0; layer < config->layers && !rc; layer++)
    for (int64_t i = 0; i < count; i++) {
      float *row = value + i * width + 2 * layer * key;
      memcpy(row, cache->keys + (layer * count + i) * key, (size_t)key * sizeof *row);
      memcpy(row + key, cache->values + (layer * count + i) * key, (size_t)key * sizeof *row);
    }
  zf_cache_free(cache);
  return rc;
}
