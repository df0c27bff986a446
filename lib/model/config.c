/* Reads config.json in the terms of its family's row. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "fmt/json.h"
#include "kern/kern.h"
#include "model/config_internal.h"
#include "model/gguf_model.h"
#include "model/model_internal.h"

/* A bound far above real models, so that products of sizes fit 63 bits. */
enum { MAX_SIZE = 1 << 24 };

static int bad_type(const char *name, const char *type) {
  struct zf_buf buf = {0};
  const struct zf_family *family;
  int count = zf_families(&family);
  for (int i = 0; i < count; i++) zf_buf_printf(&buf, "%s%s", i ? ", " : "", family[i].model_type);
  int rc = zf_error(ZF_EINVALID, "%s: model_type '%s' is not supported; supported are %s", name,
                    type, buf.failed ? "?" : buf.data);
  zf_buf_free(&buf);
  return rc;
}

static int find_family(const struct zf_family **found, const struct zf_config_reader *reader) {
  const char *type = NULL;
  int rc = zf_json_str(&type, reader->obj, "model_type", reader->name);
  if (rc) return rc;
  if (!type)
    return zf_error(ZF_EINVALID, "%s: key 'model_type' is missing: not a model's config.json?",
                    reader->name);
  const struct zf_family *family;
  int count = zf_families(&family);
  for (int i = 0; i < count; i++)
    if (!strcmp(family[i].model_type, type)) {
      *found = &family[i];
      return 0;
    }
  return bad_type(reader->name, type);
}

/* Reads a size; it is required unless *out already holds a default (> 0). */
static int size_key(int64_t *out, const struct zf_config_reader *reader, const char *key,
                    int64_t max) {
  if (!key) return 0;
  int rc = zf_json_int(out, reader->obj, key, reader->name);
  if (rc) return rc;
  if (*out == 0 && json_is_null(json_object_get(reader->obj, key)))
    return zf_error(ZF_EINVALID, "%s: key '%s' is null", reader->name, key);
  if (*out == 0 && !json_object_get(reader->obj, key))
    return zf_error(ZF_EINVALID, "%s: key '%s' is missing", reader->name, key);
  if (*out < 1 || *out > max)
    return zf_error(ZF_EINVALID, "%s: key '%s': expected 1 to %lld, found %lld", reader->name, key,
                    (long long)max, (long long)*out);
  return 0;
}

int zf_config_rule(int *value, const struct zf_config_reader *reader, const struct zf_rule *rule) {
  *value = rule->def;
  if (!rule->key) return 0;
  int negated = rule->key[0] == '!';
  int stored = rule->def ^ negated;
  int rc = zf_json_bool(&stored, reader->obj, rule->key + negated, reader->name);
  *value = stored ^ negated;
  return rc;
}

/* The family's key, or Llama's spelling where the family accepts both and the file has Llama's. */
static const char *spelled(const struct zf_config *config, const struct zf_config_reader *reader,
                           const char *key, const char *common) {
  return config->family->llama_spelling && json_object_get(reader->obj, common) ? common : key;
}

static int read_main_sizes(struct zf_config *config, const struct zf_config_reader *reader) {
  const struct zf_family *family = config->family;
  const struct {
    int64_t *to;
    const char *key;
    int64_t max;
  } sizes[] = {
      {&config->vocab, "vocab_size", MAX_SIZE},
      {&config->hidden, spelled(config, reader, family->k_hidden, "hidden_size"), MAX_SIZE},
      {&config->layers, spelled(config, reader, family->k_layers, "num_hidden_layers"),
       ZF_MAX_LAYERS},
      {&config->heads, spelled(config, reader, family->k_heads, "num_attention_heads"), MAX_SIZE},
      {&config->max_pos, spelled(config, reader, family->k_max_pos, "max_position_embeddings"),
       MAX_SIZE}};
  config->vocab = family->vocab;
  config->heads = family->heads;
  config->max_pos = family->max_pos;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    int rc = size_key(sizes[i].to, reader, sizes[i].key, sizes[i].max);
    if (rc) return rc;
  }
  return 0;
}

static int read_sizes(struct zf_config *config, const struct zf_config_reader *reader) {
  const struct zf_family *family = config->family;
  int rc = read_main_sizes(config, reader);
  if (rc) return rc;
  const json_t *kv = family->k_kv_heads ? json_object_get(reader->obj, family->k_kv_heads) : NULL;
  config->kv_heads = family->kv_heads && !json_is_null(kv) ? family->kv_heads : config->heads;
  if ((rc = size_key(&config->kv_heads, reader, family->k_kv_heads, MAX_SIZE))) return rc;
  config->head_dim = family->head_dim ? family->head_dim : config->hidden / config->heads;
  const json_t *hd = family->k_head_dim ? json_object_get(reader->obj, family->k_head_dim) : NULL;
  if (!hd || json_is_null(hd)) {
    if (!family->head_dim && config->hidden % config->heads)
      return zf_error(ZF_EINVALID, "%s: %s %lld is not a multiple of %s %lld", reader->name,
                      family->k_hidden, (long long)config->hidden, family->k_heads,
                      (long long)config->heads);
  } else if ((rc = size_key(&config->head_dim, reader, family->k_head_dim, MAX_SIZE))) {
    return rc;
  }
  if (config->heads % config->kv_heads)
    return zf_error(ZF_EINVALID, "%s: %lld heads cannot share %lld key/value heads evenly",
                    reader->name, (long long)config->heads, (long long)config->kv_heads);
  if (config->heads > MAX_SIZE / config->head_dim)
    return zf_error(ZF_EINVALID, "%s: %lld heads of %lld are too many", reader->name,
                    (long long)config->heads, (long long)config->head_dim);
  config->ffn = family->ffn_multiple * config->hidden;
  if ((rc = size_key(&config->ffn, reader, family->k_ffn, MAX_SIZE))) return rc;
  config->embed_dim = config->hidden;
  return size_key(&config->embed_dim, reader, family->k_embed_dim, MAX_SIZE);
}

/* Transformers' table (activations.py), without sqrtsoftplus and the activations that have weights
 * (prelu, xielu). */
static const struct {
  const char *name;
  enum zf_act act;
} act_names[] = {
    {"silu", ZF_ACT_SILU},
    {"swish", ZF_ACT_SILU},
    {"gelu", ZF_ACT_GELU_ERF},
    {"gelu_python", ZF_ACT_GELU_ERF},
    {"gelu_new", ZF_ACT_GELU_TANH},
    {"gelu_fast", ZF_ACT_GELU_TANH},
    {"gelu_accurate", ZF_ACT_GELU_TANH},
    {"gelu_pytorch_tanh", ZF_ACT_GELU_TANH},
    {"gelu_python_tanh", ZF_ACT_GELU_TANH},
    {"gelu_10", ZF_ACT_GELU_10},
    {"quick_gelu", ZF_ACT_QUICK_GELU},
    {"relu", ZF_ACT_RELU},
    {"relu2", ZF_ACT_RELU2},
    {"relu6", ZF_ACT_RELU6},
    {"leaky_relu", ZF_ACT_LEAKY_RELU},
    {"sigmoid", ZF_ACT_SIGMOID},
    {"tanh", ZF_ACT_TANH},
    {"linear", ZF_ACT_LINEAR},
    {"hardswish", ZF_ACT_HARDSWISH},
    {"mish", ZF_ACT_MISH},
    {"laplace", ZF_ACT_LAPLACE},
};
enum { ACT_NAMES = sizeof act_names / sizeof *act_names };

static int act_of(int *out, const char *name) {
  for (int i = 0; i < ACT_NAMES; i++)
    if (!strcmp(act_names[i].name, name)) {
      *out = act_names[i].act;
      return 1;
    }
  return 0;
}

static int bad_act(const char *key, const struct zf_config_reader *reader, const char *name) {
  struct zf_buf buf = {0};
  for (int i = 0; i < ACT_NAMES; i++) zf_buf_printf(&buf, "%s%s", i ? ", " : "", act_names[i].name);
  int rc = zf_error(ZF_EINVALID, "%s: key '%s': '%s' is not supported; supported are %s",
                    reader->name, key, name, buf.failed ? "?" : buf.data);
  zf_buf_free(&buf);
  return rc;
}

static int read_tail_act(struct zf_config *config, const struct zf_config_reader *reader) {
  const struct zf_head_names *tail = zf_config_tail(config);
  const char *name = tail->act;
  int rc = tail->k_act ? zf_json_str(&name, reader->obj, tail->k_act, reader->name) : 0;
  config->tail_act = config->act;
  return rc || !name || act_of(&config->tail_act, name) ? rc : bad_act(tail->k_act, reader, name);
}

static int read_act(struct zf_config *config, const struct zf_config_reader *reader) {
  const char *name = config->family->act;
  int rc = zf_json_str(&name, reader->obj, config->family->k_act, reader->name);
  if (rc) return rc;
  if (config->family->act_tanh && !strcmp(name, "gelu")) name = "gelu_pytorch_tanh";
  if (act_of(&config->act, name)) {
    return read_tail_act(config, reader);
  }
  return bad_act(config->family->k_act, reader, name);
}

/* Positions begin behind a fixed number of rows of the position table, or behind row
 * pad_token_id. */
static int read_positions(struct zf_config *config, const struct zf_config_reader *reader) {
  const struct zf_family *family = config->family;
  int64_t pad = family->pad_before;
  int rc = pad ? zf_json_int(&pad, reader->obj, "pad_token_id", reader->name) : 0;
  if (rc) return rc;
  config->pos_offset = family->pad_before ? pad + 1 : family->pos_offset;
  config->context = family->pad_before ? config->max_pos - config->pos_offset : config->max_pos;
  if (pad < 0 || config->context < 1)
    return zf_error(ZF_EINVALID, "%s: key '%s': %lld leaves no position behind pad_token_id %lld",
                    reader->name, family->k_max_pos, (long long)config->max_pos, (long long)pad);
  return 0;
}

static int read_rules(struct zf_config *config, const struct zf_config_reader *reader) {
  const struct zf_family *family = config->family;
  int no_final = 0, refused = 0, rc;
  if ((rc = zf_config_rule(&config->tied, reader, &family->tie))) return rc;
  if ((rc = zf_config_rule(&config->post_norm, reader, &family->post_norm))) return rc;
  if ((rc = zf_config_rule(&no_final, reader, &family->no_final_norm))) return rc;
  if ((rc = zf_config_rule(&config->affine, reader, &family->affine))) return rc;
  if ((rc = zf_config_rule(&config->qkv_bias, reader, &family->qkv_bias))) return rc;
  if ((rc = zf_config_rule(&config->o_bias, reader, &family->o_bias))) return rc;
  if ((rc = zf_config_rule(&config->mlp_bias, reader, &family->mlp_bias))) return rc;
  if ((rc = zf_config_rule(&config->inverse_layer_scale, reader, &family->inverse_layer_scale)))
    return rc;
  if ((rc = zf_config_rule(&config->unit_scale, reader, &family->unit_scale))) return rc;
  if ((rc = zf_config_rule(&config->parallel, reader, &family->parallel))) return rc;
  if ((rc = zf_config_rule(&config->qk_normed, reader, &family->qk_normed))) return rc;
  if ((rc = zf_config_rule(&config->norm_bias, reader, &family->norm_bias))) return rc;
  if ((rc = zf_config_rule(&refused, reader, &family->refused))) return rc;
  if (refused)
    return zf_error(ZF_EINVALID, "%s: key '%s' is not supported for %s", reader->name,
                    family->refused.key, family->model_type);
  /* A post-norm block ends with a norm, so that no final norm follows the last one (OPT 350M). */
  config->final_norm = !no_final && !config->post_norm;
  if ((rc = read_positions(config, reader))) return rc;
  return zf_layers_read(config, reader);
}

static int read_number(double *out, const struct zf_config_reader *reader,
                       const struct zf_number *number) {
  *out = number->def;
  if (!number->key) return 0;
  const json_t *value = json_object_get(reader->obj, number->key);
  if (value && json_is_null(value)) *out = number->null;
  int rc = zf_json_num(out, reader->obj, number->key, reader->name);
  if (rc) return rc;
  if (!(isfinite(*out) && *out >= 0))
    return zf_error(ZF_EINVALID, "%s: key '%s': expected a number not below 0, found %g",
                    reader->name, number->key, *out);
  return 0;
}

static int read_numbers(struct zf_config *config, const struct zf_config_reader *reader) {
  const struct zf_family *family = config->family;
  double scale_dim = 0;
  int rc;
  if ((rc = read_number(&config->scale, reader, &family->scale))) return rc;
  if ((rc = read_number(&scale_dim, reader, &family->scale_dim))) return rc;
  if ((rc = read_number(&config->embed_scale, reader, &family->embed_scale))) return rc;
  if ((rc = read_number(&config->added_scale, reader, &family->added_scale))) return rc;
  if ((rc = read_number(&config->logit_divisor, reader, &family->logit_divisor))) return rc;
  if ((rc = read_number(&config->score_cap, reader, &family->score_cap))) return rc;
  if ((rc = read_number(&config->logit_cap, reader, &family->logit_cap))) return rc;
  if (!(scale_dim > 0)) scale_dim = (double)config->head_dim;
  if (config->scale == 0) config->scale = config->unit_scale ? 1 : 1 / sqrt(scale_dim);
  if (family->scale_embedding) config->embed_scale = sqrt((double)config->hidden);
  return 0;
}

int zf_config_positive(const struct zf_config_reader *reader, const char *key, double value) {
  if (isfinite(value) && value > 0) return 0;
  return zf_error(ZF_EINVALID, "%s: key '%s': expected a number above 0, found %g", reader->name,
                  key, value);
}

/* A classifier's pooling, where config.json has a key for it. */
static int check_pooling(const struct zf_config *config, const struct zf_config_reader *reader) {
  const char *key = config->family->classify.k_pooling;
  const json_t *value = key ? json_object_get(reader->obj, key) : NULL;
  if (!value || (json_is_string(value) && !strcmp(json_string_value(value), "cls"))) return 0;
  return zf_error(ZF_EINVALID, "%s: key '%s': expected \"cls\", the first token, found %s",
                  reader->name, key,
                  json_is_string(value) ? json_string_value(value) : zf_json_kind(value));
}

/* As Transformers: a single output without a problem_type is a regression. */
static int read_problem(struct zf_config *config, const struct zf_config_reader *outer) {
  const char *name = NULL;
  int rc = zf_json_str(&name, outer->obj, "problem_type", outer->name);
  if (rc) return rc;
  config->problem = config->outputs == 1 ? ZF_PROBLEM_REGRESSION : ZF_PROBLEM_SINGLE;
  if (!name) return 0;
  for (int i = 0; i < ZF_PROBLEMS; i++)
    if (!strcmp(name, zf_problem_names[i])) {
      config->problem = (enum zf_problem)i;
      return 0;
    }
  return zf_error(ZF_EINVALID, "%s: key 'problem_type': expected %s, %s or %s, found '%.60s'",
                  outer->name, zf_problem_names[0], zf_problem_names[1], zf_problem_names[2], name);
}

/* 1 where the first of `architectures` is a classifier. */
static int names_classifier(const struct zf_config_reader *outer) {
  static const char suffix[] = "ForSequenceClassification";
  const char *arch =
      json_string_value(json_array_get(json_object_get(outer->obj, "architectures"), 0));
  size_t len = arch ? strlen(arch) : 0;
  return len >= sizeof suffix && !strcmp(arch + len - (sizeof suffix - 1), suffix);
}

/* The head: of labels when the architecture or the caller says so, else of the vocabulary. */
static int read_head(struct zf_config *config, const struct zf_config_reader *reader,
                     const struct zf_config_reader *outer) {
  const json_t *names = json_object_get(outer->obj, "id2label");
  int rc;
  config->types = 2;
  if (config->family->names.type &&
      (rc = size_key(&config->types, reader, "type_vocab_size", MAX_SIZE)))
    return rc;
  config->outputs = config->vocab;
  int file_classifies = names_classifier(outer);
  config->classify = file_classifies || reader->labels > 0;
  if (config->classify && !config->family->classify.head)
    return zf_error(ZF_EINVALID, "%s: a head of labels is not supported for %s", reader->name,
                    config->family->model_type);
  if ((rc = zf_config_rule(&config->dense_bias, reader, &zf_config_tail(config)->dense_bias)))
    return rc;
  if ((rc = zf_config_rule(&config->head_bias, reader, &zf_config_tail(config)->head_bias)))
    return rc;
  if (!config->classify) return 0;
  config->logit_cap = 0; /* logits of labels are not capped */
  if ((rc = check_pooling(config, reader))) return rc;
  config->outputs = json_is_object(names) ? (int64_t)json_object_size(names) : 2;
  config->tied = 0;
  if (!file_classifies) {
    config->outputs = reader->labels;
    return 0;
  }
  rc = size_key(&config->outputs, outer, "num_labels", MAX_SIZE);
  return rc ? rc : read_problem(config, outer);
}

const struct zf_head_names *zf_config_tail(const struct zf_config *config) {
  return config->classify ? &config->family->classify : &config->family->lm;
}

static int read_token(int32_t *out, const struct zf_config_reader *reader, const char *key) {
  const json_t *value = json_object_get(reader->obj, key);
  *out = -1;
  if (json_is_array(value)) value = json_array_get(value, 0);
  if (!value || json_is_null(value)) return 0;
  if (!json_is_integer(value) || json_integer_value(value) < -1 ||
      json_integer_value(value) > INT32_MAX)
    return zf_error(ZF_EINVALID, "%s: key '%s': expected a token id, found %s", reader->name, key,
                    zf_json_kind(value));
  *out = (int32_t)json_integer_value(value);
  return 0;
}

/* initializer_range, or init_std, as opt spells it. */
static double read_range(const struct zf_config_reader *reader) {
  const json_t *value = json_object_get(reader->obj, "init_std");
  double range =
      json_number_value(value ? value : json_object_get(reader->obj, "initializer_range"));
  return range > 0 && range < 10 ? range : 0.02;
}

static int read_all(struct zf_config *config, const struct zf_config_reader *reader) {
  int rc;
  memset(config, 0, sizeof *config);
  if (!json_is_object(reader->obj))
    return zf_error(ZF_EINVALID, "%s: expected an object, found %s", reader->name,
                    zf_json_kind(reader->obj));
  if ((rc = find_family(&config->family, reader))) return rc;
  if ((rc = zf_config_foreign(reader))) return rc;
  struct zf_config_reader outer = *reader, inner = *reader;
  if (config->family->nest) {
    inner.obj = json_object_get(reader->obj, config->family->nest);
    if (!json_is_object(inner.obj))
      return zf_error(ZF_EINVALID, "%s: key '%s': expected an object, found %s", reader->name,
                      config->family->nest, inner.obj ? zf_json_kind(inner.obj) : "none");
    reader = &inner;
  }
  if ((rc = read_sizes(config, reader))) return rc;
  if ((rc = read_rules(config, reader))) return rc;
  if ((rc = read_numbers(config, reader))) return rc;
  if ((rc = read_head(config, reader, &outer))) return rc;
  if ((rc = read_act(config, reader))) return rc;
  if ((rc = zf_rope_read(config, reader))) return rc;
  config->norm_eps = config->family->norm_eps;
  config->init_range = read_range(reader);
  if (config->family->k_norm_eps &&
      (rc = zf_json_num(&config->norm_eps, reader->obj, config->family->k_norm_eps, reader->name)))
    return rc;
  if (!(config->norm_eps >= 0 && config->norm_eps < 1))
    return zf_error(ZF_EINVALID, "%s: key '%s': expected 0 to 1, found %g", reader->name,
                    config->family->k_norm_eps, config->norm_eps);
  config->pad = (int32_t)config->family->pad_next - 1;
  if (json_object_get(reader->obj, "pad_token_id") &&
      (rc = read_token(&config->pad, reader, "pad_token_id")))
    return rc;
  reader = json_object_get(outer.obj, "eos_token_id") ? &outer : reader;
  if ((rc = read_token(&config->bos, reader, "bos_token_id"))) return rc;
  return read_token(&config->eos, reader, "eos_token_id");
}

static int parse(struct zf_config *config, const char *text, uint64_t len, const char *name,
                 int64_t labels) {
  json_t *obj;
  int rc = zf_json_parse(&obj, text, (size_t)len, name);
  if (rc) return rc;
  rc = read_all(config, &(struct zf_config_reader){obj, name, labels});
  json_decref(obj);
  return rc;
}

int zf_config_parse(struct zf_config *config, const char *text, uint64_t len, const char *name) {
  return parse(config, text, len, name, 0);
}

static int load_gguf(struct zf_config *config, const char *path) {
  json_t *obj;
  int rc = zf_gguf_config(&obj, path);
  if (rc) return rc;
  rc = read_all(config, &(struct zf_config_reader){obj, path, 0});
  config->window_off = json_integer_value(json_object_get(obj, "unused_window"));
  json_decref(obj);
  return rc;
}

static int load_json(struct zf_config *config, const char *path, int64_t labels) {
  char *text;
  size_t len = 0;
  int rc = zf_read_file(&text, &len, path, 1 << 24);
  if (rc) return rc;
  rc = parse(config, text, len, path, labels);
  free(text);
  return rc;
}

int zf_config_load(struct zf_config *config, const char *dir) {
  return zf_config_load_labels(config, dir, 0);
}

int zf_config_load_labels(struct zf_config *config, const char *dir, int64_t labels) {
  if (zf_is_gguf_path(dir) && !zf_is_dir(dir)) return load_gguf(config, dir);
  char *path = zf_path_join(dir, "config.json");
  if (!path) return ZF_ENOMEM;
  int rc = zf_exists(path) ? 0 : zf_model_foreign(dir);
  if (!rc) rc = load_json(config, path, labels);
  free(path);
  return rc;
}
