/* Translates sizes, heads and windows of a GGUF file to keys of config.json, with llama.cpp's
 * defaults. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "fmt/json.h"
#include "model/gguf_model_internal.h"

/* Keys behind "ARCH." and their names in config.json. */
static const struct {
  const char *gguf, *config;
  int required;
} keys[] = {
    {"embedding_length", "hidden_size", 1},
    {"block_count", "num_hidden_layers", 1},
    {"attention.head_count", "num_attention_heads", 1},
    {"attention.head_count_kv", "num_key_value_heads", 0},
    {"attention.key_length", "head_dim", 0},
    {"feed_forward_length", "intermediate_size", 1},
    {"context_length", "max_position_embeddings", 1},
    {"attention.layer_norm_rms_epsilon", "rms_norm_eps", 1},
    {"attn_logit_softcapping", "attn_logit_softcapping", 0},
    {"final_logit_softcapping", "final_logit_softcapping", 0},
};

json_t *zf_gguf_value(const struct zf_gguf_source *source, const char *key) {
  char full[128];
  snprintf(full, sizeof full, "%s.%s", source->arch->name, key);
  return json_object_get(source->gguf.keys, full);
}

int zf_gguf_number(double *value, const struct zf_gguf_source *source, const char *key) {
  const json_t *found = zf_gguf_value(source, key);
  if (!found) return 0;
  if (!json_is_number(found))
    return zf_error(ZF_EINVALID, "%s: key '%s.%s': expected a number, found %s", source->path,
                    source->arch->name, key, zf_json_kind(found));
  *value = json_number_value(found);
  return 0;
}

/* The first entry of a list with equal entries; any other value itself. */
static json_t *common_entry(json_t *value) {
  json_t *first = json_array_get(value, 0), *other;
  size_t i;
  if (!json_is_array(value)) return value;
  json_array_foreach(value, i, other) if (!json_equal(first, other)) return value;
  return first ? first : value;
}

static int copy_keys(json_t *config, const struct zf_gguf_source *source) {
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    json_t *value = common_entry(zf_gguf_value(source, keys[i].gguf));
    if (!value && keys[i].required)
      return zf_error(ZF_EINVALID, "%s: key '%s.%s' is missing", source->path, source->arch->name,
                      keys[i].gguf);
    if (json_is_array(value))
      return zf_error(ZF_EINVALID, "%s: key '%s.%s': blocks of different sizes are not supported",
                      source->path, source->arch->name, keys[i].gguf);
    if (value && !json_is_number(value))
      return zf_error(ZF_EINVALID, "%s: key '%s.%s': expected a number, found %s", source->path,
                      source->arch->name, keys[i].gguf, zf_json_kind(value));
    if (value) json_object_set(config, keys[i].config, value);
  }
  if (!zf_gguf_value(source, "attention.head_count_kv"))
    json_object_set(config, "num_key_value_heads", json_object_get(config, "num_attention_heads"));
  static const char *const ids[][2] = {{"bos_token_id", "tokenizer.ggml.bos_token_id"},
                                       {"eos_token_id", "tokenizer.ggml.eos_token_id"},
                                       {"pad_token_id", "tokenizer.ggml.padding_token_id"}};
  for (int i = 0; i < 3; i++) {
    json_t *value = json_object_get(source->gguf.keys, ids[i][1]);
    json_object_set_new(config, ids[i][0],
                        value ? json_incref(value) : json_null()); /* overrides family defaults */
  }
  return 0;
}

/* Always sets head_dim, since the family may have another default. */
static int head_keys(json_t *config, const struct zf_gguf_source *source) {
  json_t *key_dim = json_object_get(config, "head_dim"),
         *value_dim = zf_gguf_value(source, "attention.value_length");
  int64_t heads = json_integer_value(json_object_get(config, "num_attention_heads"));
  int64_t hidden = json_integer_value(json_object_get(config, "hidden_size"));
  int64_t dim = 0;
  if (key_dim)
    dim = json_integer_value(key_dim);
  else if (heads > 0)
    dim = hidden / heads;
  if (dim < 1 || (!key_dim && hidden % heads))
    return zf_error(ZF_EINVALID, "%s: %lld heads do not divide an embedding_length of %lld",
                    source->path, (long long)heads, (long long)hidden);
  if (value_dim && json_integer_value(value_dim) != dim)
    return zf_error(ZF_EINVALID, "%s: attention.value_length %lld differs from the keys' %lld",
                    source->path, (long long)json_integer_value(value_dim), (long long)dim);
  json_object_set_new(config, "head_dim", json_integer(dim));
  if (source->arch->plus) {
    int wide = json_integer_value(json_object_get(config, "num_hidden_layers")) ==
               source->arch->wide_layers;
    json_object_set_new(config, "query_pre_attn_scalar", json_integer(wide ? hidden / heads : dim));
  }
  return 0;
}

/* --- windows -------------------------------------------------------------------------------- */

static int set_types(json_t *config, const struct zf_gguf_source *source,
                     const unsigned char *local, int64_t len) {
  json_t *types = json_array();
  for (int64_t i = 0; i < len; i++)
    json_array_append_new(types, json_string(local[i] ? "sliding_attention" : "full_attention"));
  if ((int64_t)json_array_size(types) == len && !json_object_set(config, "layer_types", types)) {
    json_decref(types);
    return 0;
  }
  json_decref(types);
  return zf_error(ZF_ENOMEM, "%s: out of memory", source->path);
}

/* local[i]: the flag of block i, true or false, or 1 or 0. */
static int read_flags(unsigned char *local, const json_t *value,
                      const struct zf_gguf_source *source, int64_t count) {
  const json_t *flag;
  size_t i;
  json_array_foreach(value, i, flag) {
    int yes = json_is_true(flag) || json_integer_value(flag) == 1;
    if (!yes && !json_is_false(flag) && !(json_is_integer(flag) && !json_integer_value(flag)))
      return zf_error(
          ZF_EINVALID,
          "%s: key '%s.attention.sliding_window_pattern': element %zu: expected true or "
          "false",
          source->path, source->arch->name, i);
    if ((int64_t)i < count) local[i] = (unsigned char)yes;
  }
  if ((int64_t)i < count)
    return zf_error(
        ZF_EINVALID,
        "%s: key '%s.attention.sliding_window_pattern': expected an entry for each of %lld "
        "blocks, found %zu",
        source->path, source->arch->name, (long long)count, i);
  return 0;
}

/* Sets layer_types from a list of flags, or from a period p: every p-th block has no window; 0:
 * every block has one. */
static int set_pattern(json_t *config, const struct zf_gguf_source *source) {
  unsigned char local[ZF_MAX_LAYERS];
  const json_t *value = zf_gguf_value(source, "attention.sliding_window_pattern");
  int64_t layers = json_integer_value(json_object_get(config, "num_hidden_layers")),
          period = source->arch->period;
  if (layers < 1 || layers > ZF_MAX_LAYERS) return 0; /* config.c reports this */
  if (value && !json_is_array(value) && !json_is_integer(value))
    return zf_error(ZF_EINVALID,
                    "%s: key '%s.attention.sliding_window_pattern': expected a number or an array, "
                    "found %s",
                    source->path, source->arch->name, zf_json_kind(value));
  if (json_is_integer(value)) period = json_integer_value(value);
  for (int64_t i = 0; i < layers; i++) local[i] = period < 1 || i % period < period - 1;
  int rc = json_is_array(value) ? read_flags(local, value, source, layers) : 0;
  return rc ? rc : set_types(config, source, local, layers);
}

static int window_keys(json_t *config, const struct zf_gguf_source *source) {
  json_t *size = zf_gguf_value(source, "attention.sliding_window");
  int on = source->arch->window == ZF_GGUF_WINDOW_ON;
  double number = 0;
  int rc = zf_gguf_number(&number, source, "attention.sliding_window");
  if (rc) return rc;
  if (source->arch->window == ZF_GGUF_WINDOW_KEY) on = number > 0;
  if (source->arch->window == ZF_GGUF_WINDOW_OFF && number > 0)
    json_object_set(config, "unused_window", size);
  if (on && size) json_object_set(config, "sliding_window", size);
  if (!on && source->arch->window != ZF_GGUF_WINDOW_NONE)
    json_object_set_new(config, "sliding_window", json_null());
  return on ? set_pattern(config, source) : 0;
}

/* Sets the keys that have no counterpart in the file and follow from its tensors. */
static int tensor_keys(json_t *config, const struct zf_gguf_source *source) {
  const struct zf_st_tensor *embed = zf_st_find(source->gguf.st, "token_embd.weight");
  if (!embed || embed->ndim != 2)
    return zf_error(ZF_EINVALID, "%s: tensor 'token_embd.weight' is missing, or is not a matrix",
                    source->path);
  static const char *const flags[][2] = {{"attention_bias", "blk.0.attn_q.bias"},
                                         {"mlp_bias", "blk.0.ffn_up.bias"}};
  json_object_set_new(config, "architectures", json_pack("[s]", source->arch->class));
  json_object_set_new(config, "model_type", json_string(source->arch->model_type));
  json_object_set_new(config, "vocab_size", json_integer(embed->shape[0]));
  json_object_set_new(config, "tie_word_embeddings",
                      json_boolean(!zf_st_find(source->gguf.st, "output.weight")));
  for (int i = 0; i < 2; i++)
    json_object_set_new(config, flags[i][0],
                        json_boolean(!!zf_st_find(source->gguf.st, flags[i][1])));
  if (zf_st_find(source->gguf.st, "blk.0.attn_q.bias") && !strcmp(source->arch->name, "llama") &&
      !zf_st_find(source->gguf.st, "blk.0.attn_output.bias"))
    return zf_error(ZF_EINVALID,
                    "%s: tensor 'blk.0.attn_output.bias' is missing: q, k and v have "
                    "biases",
                    source->path);
  return 0;
}

int zf_gguf_describe(json_t *config, const struct zf_gguf_source *source) {
  int rc;
  if ((rc = copy_keys(config, source))) return rc;
  if ((rc = head_keys(config, source))) return rc;
  if ((rc = window_keys(config, source))) return rc;
  return tensor_keys(config, source);
}
