/* Translates sizes, heads and windows of a GGUF file to keys of config.json, with llama.cpp's
 * defaults. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "fmt/json.h"
#include "model/gguf_model_internal.h"

#define KEY(member) offsetof(struct zf_family, member)
#define VALUE(member) offsetof(struct zf_config, member)
const struct zf_gguf_config_key zf_gguf_config_keys[] = {
    {"embedding_length", KEY(k_hidden), VALUE(hidden), .required = 1},
    {"block_count", KEY(k_layers), VALUE(layers), .required = 1},
    {"attention.head_count", KEY(k_heads), VALUE(heads), .required = 1},
    {"attention.head_count_kv", KEY(k_kv_heads), VALUE(kv_heads)},
    {"attention.key_length", KEY(k_head_dim), VALUE(head_dim)},
    {"feed_forward_length", KEY(k_ffn), VALUE(ffn), .required = 1},
    {"context_length", KEY(k_max_pos), VALUE(max_pos), .required = 1},
    {"attention.layer_norm_rms_epsilon", KEY(k_norm_eps), VALUE(norm_eps), .required = 1, .real = 1,
     .norm = ZF_GGUF_ONLY_RMS},
    {"attention.layer_norm_epsilon", KEY(k_norm_eps), VALUE(norm_eps), .required = 1, .real = 1,
     .norm = ZF_GGUF_ONLY_LAYER},
    {"attn_logit_softcapping", KEY(score_cap.key), VALUE(score_cap), .real = 1},
    {"final_logit_softcapping", KEY(logit_cap.key), VALUE(logit_cap), .real = 1},
    {"attention.scale", KEY(scale.key), VALUE(scale), .real = 1},
    {"embedding_scale", KEY(embed_scale.key), VALUE(embed_scale), .real = 1},
    {"residual_scale", KEY(added_scale.key), VALUE(added_scale), .real = 1},
    {"logit_scale", KEY(logit_divisor.key), VALUE(logit_divisor), .real = 1},
    {0},
};

const char *zf_gguf_config_name(const struct zf_gguf_config_key *key,
                                const struct zf_family *family) {
  int rms = family->norm == ZF_NORM_RMS;
  if (key->norm && rms != (key->norm == ZF_GGUF_ONLY_RMS)) return NULL;
  return *(const char *const *)((const char *)family + key->name);
}

json_t *zf_gguf_value(const struct zf_gguf_source *source, const char *key) {
  char full[128];
  snprintf(full, sizeof full, "%s.%s", source->arch->name, key);
  return json_object_get(source->gguf.keys, full);
}

int64_t zf_gguf_head_dim(const json_t *config, const struct zf_gguf_source *source) {
  const struct zf_family *family = zf_gguf_family(source->arch);
  const json_t *given = zf_gguf_value(source, "attention.key_length");
  int64_t heads = json_integer_value(json_object_get(config, family->k_heads));
  if (given) return json_integer_value(given);
  return heads > 0 ? json_integer_value(json_object_get(config, family->k_hidden)) / heads : 0;
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

static int copy_key(json_t *config, const struct zf_gguf_source *source,
                    const struct zf_gguf_config_key *key) {
  const char *name = zf_gguf_config_name(key, zf_gguf_family(source->arch));
  if (!name) return 0;
  json_t *value = common_entry(zf_gguf_value(source, key->gguf));
  if (!value && key->required)
    return zf_error(ZF_EINVALID, "%s: key '%s.%s' is missing", source->path, source->arch->name,
                    key->gguf);
  if (json_is_array(value))
    return zf_error(ZF_EINVALID, "%s: key '%s.%s': blocks of different sizes are not supported",
                    source->path, source->arch->name, key->gguf);
  if (value && !json_is_number(value))
    return zf_error(ZF_EINVALID, "%s: key '%s.%s': expected a number, found %s", source->path,
                    source->arch->name, key->gguf, zf_json_kind(value));
  if (value) json_object_set(config, name, value);
  return 0;
}

static int copy_keys(json_t *config, const struct zf_gguf_source *source) {
  const struct zf_family *family = zf_gguf_family(source->arch);
  for (const struct zf_gguf_config_key *key = zf_gguf_config_keys; key->gguf; key++) {
    int rc = copy_key(config, source, key);
    if (rc) return rc;
  }
  if (family->k_kv_heads && !zf_gguf_value(source, "attention.head_count_kv"))
    json_object_set(config, family->k_kv_heads, json_object_get(config, family->k_heads));
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

/* Sets head_dim where the family has it, since the family may have another default. */
static int head_keys(json_t *config, const struct zf_gguf_source *source) {
  const struct zf_family *family = zf_gguf_family(source->arch);
  json_t *key_dim = zf_gguf_value(source, "attention.key_length"),
         *value_dim = zf_gguf_value(source, "attention.value_length");
  int64_t heads = json_integer_value(json_object_get(config, family->k_heads));
  int64_t hidden = json_integer_value(json_object_get(config, family->k_hidden));
  int64_t dim = zf_gguf_head_dim(config, source);
  if (dim < 1 || (!key_dim && hidden % heads))
    return zf_error(ZF_EINVALID, "%s: %lld heads do not divide an embedding_length of %lld",
                    source->path, (long long)heads, (long long)hidden);
  if (value_dim && json_integer_value(value_dim) != dim)
    return zf_error(ZF_EINVALID, "%s: attention.value_length %lld differs from the keys' %lld",
                    source->path, (long long)json_integer_value(value_dim), (long long)dim);
  if (!family->k_head_dim && dim * heads != hidden)
    return zf_error(ZF_EINVALID, "%s: heads of %lld are not supported for %s: expected %lld",
                    source->path, (long long)dim, source->arch->name, (long long)(hidden / heads));
  if (family->k_head_dim) json_object_set_new(config, family->k_head_dim, json_integer(dim));
  double scale = 0;
  int rc = zf_gguf_number(&scale, source, "attention.scale");
  if (!rc && family->scale.key && scale == 0)
    json_object_set_new(config, family->scale.key, json_real(1 / sqrt((double)dim)));
  if (rc) return rc;
  if (source->arch->plus) {
    int wide =
        json_integer_value(json_object_get(config, family->k_layers)) == source->arch->wide_layers;
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
  int64_t layers =
              json_integer_value(json_object_get(config, zf_gguf_family(source->arch)->k_layers)),
          period = source->arch->period;
  if (layers < 1 || layers > ZF_MAX_LAYERS) return 0; /* config.c reports this */
  if (value && !json_is_array(value) && !json_is_integer(value))
    return zf_error(ZF_EINVALID,
                    "%s: key '%s.attention.sliding_window_pattern': expected a number or an array, "
                    "found %s",
                    source->path, source->arch->name, zf_json_kind(value));
  if (json_is_integer(value)) period = json_integer_value(value);
  for (int64_t i = 0; i < layers; i++)
    local[i] = (unsigned char)zf_gguf_is_local(source->arch, period, i);
  int rc = json_is_array(value) ? read_flags(local, value, source, layers) : 0;
  return rc ? rc : set_types(config, source, local, layers);
}

int zf_gguf_is_local(const struct zf_gguf_arch *arch, int64_t period, int64_t layer) {
  if (period < 1) return 1;
  return arch->full_first ? layer % period != 0 : layer % period < period - 1;
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
  if (on && size) json_object_set(config, zf_gguf_family(source->arch)->k_window, size);
  if (!on && source->arch->window != ZF_GGUF_WINDOW_NONE)
    json_object_set_new(config, zf_gguf_family(source->arch)->k_window, json_null());
  return on ? set_pattern(config, source) : 0;
}

static int has_tensor(const struct zf_gguf_source *source, const char *name) {
  return zf_st_find(source->gguf.st, name) != NULL;
}

/* Sets the keys of config.json that follow from biases.  Two kinds of biases may share a key. */
static int bias_keys(json_t *config, const struct zf_gguf_source *source) {
  const struct zf_family *family = zf_gguf_family(source->arch);
  int query = has_tensor(source, "blk.0.attn_q.bias") || has_tensor(source, "blk.0.attn_qkv.bias"),
      output = has_tensor(source, "blk.0.attn_output.bias");
  const struct {
    const struct zf_rule *rule;
    int present;
  } biases[] = {{&family->qkv_bias, query},
                {&family->o_bias, output},
                {&family->mlp_bias, has_tensor(source, "blk.0.ffn_up.bias")}};
  for (int i = 0; i < 3; i++)
    if (biases[i].rule->key)
      json_object_set_new(config, biases[i].rule->key, json_boolean(biases[i].present));
  if (!family->qkv_bias.key || !family->o_bias.key || query == output ||
      strcmp(family->qkv_bias.key, family->o_bias.key) != 0)
    return 0;
  if (query)
    return zf_error(ZF_EINVALID,
                    "%s: tensor 'blk.0.attn_output.bias' is missing: q, k and v have biases",
                    source->path);
  return zf_error(ZF_EINVALID, "%s: tensor 'blk.0.attn_q.bias' is missing: the output has a bias",
                  source->path);
}

/* The head of labels, and what an encoder has beside it. */
static int label_keys(json_t *config, const struct zf_gguf_source *source) {
  const struct zf_st_tensor *head = zf_st_find(source->gguf.st, "cls.output.weight"),
                            *types = zf_st_find(source->gguf.st, "token_types.weight");
  const json_t *labels = zf_gguf_value(source, "classifier.output_labels"),
               *causal = zf_gguf_value(source, "attention.causal");
  json_t *names = json_object();
  if (!json_is_false(causal))
    return zf_error(ZF_EINVALID, "%s: key '%s.attention.causal': expected false", source->path,
                    source->arch->name);
  if (types) json_object_set_new(config, "type_vocab_size", json_integer(types->shape[0]));
  for (int64_t i = 0; head && i < head->shape[0]; i++) {
    char key[24], label[32];
    snprintf(key, sizeof key, "%lld", (long long)i);
    snprintf(label, sizeof label, "LABEL_%lld", (long long)i);
    json_t *name = json_array_get(labels, (size_t)i);
    json_object_set_new(names, key, json_is_string(name) ? json_incref(name) : json_string(label));
  }
  if (head)
    json_object_set(config, "id2label", names);
  else /* a body for embeddings */
    json_object_set_new(config, "architectures", json_pack("[s]", source->arch->body));
  json_decref(names);
  return 0;
}

/* Sets the keys that have no counterpart in the file and follow from its tensors. */
static int tensor_keys(json_t *config, const struct zf_gguf_source *source) {
  const struct zf_family *family = zf_gguf_family(source->arch);
  const struct zf_st_tensor *embed = zf_st_find(source->gguf.st, "token_embd.weight");
  if (!embed || embed->ndim != 2)
    return zf_error(ZF_EINVALID, "%s: tensor 'token_embd.weight' is missing, or is not a matrix",
                    source->path);
  json_object_set_new(config, "architectures", json_pack("[s]", source->arch->class));
  int rc = source->arch->labels ? label_keys(config, source) : 0;
  if (rc) return rc;
  json_object_set_new(config, "model_type", json_string(source->arch->model_type));
  json_object_set_new(config, "vocab_size", json_integer(embed->shape[0]));
  json_object_set_new(config, family->tie.key, json_boolean(!has_tensor(source, "output.weight")));
  if (family->qk_normed.key)
    json_object_set_new(config, family->qk_normed.key,
                        json_boolean(has_tensor(source, "blk.0.attn_q_norm.weight")));
  if (family->parallel.key) {
    const json_t *parallel = zf_gguf_value(source, "use_parallel_residual");
    int yes = source->arch->parallel_key ? json_is_true(parallel)
                                         : !has_tensor(source, "blk.0.ffn_norm.weight");
    json_object_set_new(config, family->parallel.key, json_boolean(yes));
  }
  return bias_keys(config, source);
}

int zf_gguf_describe(json_t *config, const struct zf_gguf_source *source) {
  int rc;
  if ((rc = copy_keys(config, source))) return rc;
  if ((rc = head_keys(config, source))) return rc;
  if ((rc = window_keys(config, source))) return rc;
  return tensor_keys(config, source);
}
