/* The keys of a GGUF file that describe a model: the inverse of gguf_config.c. */
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "model/gguf_model_internal.h"

int zf_gguf_set(struct zf_gguf_values *values, const struct zf_gguf_arch *arch, const char *key,
                enum zf_gguf_value_type type, double number) {
  char full[128];
  snprintf(full, sizeof full, "%s.%s", arch->name, key);
  if (type == ZF_GGUF_TEXT) return zf_error(ZF_EFAIL, "key '%s' is no number", full);
  if (type == ZF_GGUF_BOOL) return zf_gguf_values_bool(values, full, number != 0);
  return zf_gguf_values_set(values, full, type,
                            type == ZF_GGUF_F32 ? json_real(number)
                                                : json_integer((json_int_t)number));
}

/* Where llama.cpp does not apply the windows of a model, the file ends its context where they begin to
 * matter. */
static int64_t context_of(const struct zf_gguf_arch *arch, const struct zf_config *config) {
  int64_t length = config->family->pos == ZF_POS_LEARNED ? config->context : config->max_pos;
  int applied = arch->window == ZF_GGUF_WINDOW_ON || arch->window == ZF_GGUF_WINDOW_KEY;
  if (!applied && config->window > 0) length = zf_min64(length, config->window);
  return length;
}

static int set_sizes(struct zf_gguf_values *values, const struct zf_gguf_arch *arch,
                     const struct zf_config *config) {
  const struct zf_family *family = zf_gguf_family(arch);
  int rc = 0;
  for (const struct zf_gguf_config_key *key = zf_gguf_config_keys; key->gguf; key++) {
    if (rc) break;
    const char *at = (const char *)config + key->value;
    if (!zf_gguf_config_name(key, family)) continue;
    double number =
        key->real ? *(const double *)(const void *)at : (double)*(const int64_t *)(const void *)at;
    if (!strcmp(key->gguf, "context_length")) number = (double)context_of(arch, config);
    if (!key->real || key->required || number != 0)
      rc = zf_gguf_set(values, arch, key->gguf, key->real ? ZF_GGUF_F32 : ZF_GGUF_U32, number);
  }
  if (!rc && family->k_head_dim)
    rc = zf_gguf_set(values, arch, "attention.value_length", ZF_GGUF_U32, (double)config->head_dim);
  return rc ? rc : zf_gguf_set(values, arch, "vocab_size", ZF_GGUF_U32, (double)config->vocab);
}

/* 1 where the blocks with windows are those of the architecture's period. */
static int has_default_pattern(const struct zf_gguf_arch *arch, const struct zf_config *config) {
  for (int64_t i = 0; i < config->layers; i++)
    if (zf_gguf_is_local(arch, arch->period, i) != ((config->layer[i] & ZF_LAYER_LOCAL) != 0))
      return 0;
  return 1;
}

static int set_pattern(struct zf_gguf_values *values, const struct zf_gguf_arch *arch,
                       const struct zf_config *config) {
  char full[128];
  json_t *flags = json_array();
  for (int64_t i = 0; i < config->layers; i++)
    json_array_append_new(flags, json_boolean(config->layer[i] & ZF_LAYER_LOCAL));
  snprintf(full, sizeof full, "%s.attention.sliding_window_pattern", arch->name);
  return zf_gguf_values_set(values, full, ZF_GGUF_BOOL, flags);
}

static int set_window(struct zf_gguf_values *values, const struct zf_gguf_arch *arch,
                      const struct zf_config *config) {
  int64_t size = config->window ? config->window : config->window_off;
  if (size && config->family->window_half) size = 2 * (size - 1);
  if (arch->window == ZF_GGUF_WINDOW_NONE || (arch->window == ZF_GGUF_WINDOW_KEY && !size))
    return 0;
  int rc = zf_gguf_set(values, arch, "attention.sliding_window", ZF_GGUF_U32, (double)size);
  if (rc || arch->window == ZF_GGUF_WINDOW_OFF || has_default_pattern(arch, config)) return rc;
  return set_pattern(values, arch, config);
}

/* Names for labels where the checkpoint has none. */
static json_t *number_labels(int64_t count) {
  json_t *labels = json_array();
  for (int64_t i = 0; i < count; i++)
    json_array_append_new(labels, json_sprintf("LABEL_%lld", (long long)i));
  return labels;
}

/* The keys of an encoder with a head of labels, which reads the first token. */
static int set_labels(struct zf_gguf_values *values, const struct zf_gguf_arch *arch,
                      const struct zf_config *config) {
  enum { CLS = 2, RANK = 4 }; /* llama.cpp's poolings: the first token, and that under the head */
  char full[128];
  int rc = zf_gguf_set(values, arch, "attention.causal", ZF_GGUF_BOOL, 0);
  if (!rc) rc = zf_gguf_set(values, arch, "pooling_type", ZF_GGUF_U32, RANK);
  if (!rc) rc = zf_gguf_set(values, arch, "classifier.pooling_type", ZF_GGUF_U32, CLS);
  if (!rc && config->family->names.type)
    rc = zf_gguf_values_u32(values, "tokenizer.ggml.token_type_count", config->types);
  snprintf(full, sizeof full, "%s.classifier.output_labels", arch->name);
  return rc ? rc : zf_gguf_values_set(values, full, ZF_GGUF_TEXT, number_labels(config->outputs));
}

int zf_gguf_keys(struct zf_gguf_values *values, const struct zf_gguf_arch *arch,
                 const struct zf_config *config, const char *name) {
  int rc = set_sizes(values, arch, config);
  if (!rc) rc = set_window(values, arch, config);
  if (!rc && zf_gguf_family(arch)->parallel.key && arch->parallel_key)
    rc = zf_gguf_set(values, arch, "use_parallel_residual", ZF_GGUF_BOOL, config->parallel);
  if (!rc && arch->labels) rc = set_labels(values, arch, config);
  return rc ? rc : zf_gguf_rope_keys(values, arch, config, name);
}
