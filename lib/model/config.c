/* config.json in the terms of its family's row. */
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

/* Bounds that no real model comes near, so that products of sizes fit 63 bits. */
enum { MAX_SIZE = 1 << 24 };

static int bad_type(const char *name, const char *type) {
  struct zf_buf b = {0};
  const struct zf_family *f;
  int n = zf_families(&f);
  for (int i = 0; i < n; i++) zf_buf_printf(&b, "%s%s", i ? ", " : "", f[i].model_type);
  int rc = zf_error(ZF_EINVALID, "%s: model_type '%s' is not supported; supported are %s", name,
                    type, b.failed ? "?" : b.data);
  zf_buf_free(&b);
  return rc;
}

static int find_family(const struct zf_family **out, const struct zf_config_reader *r) {
  const char *type = NULL;
  int rc = zf_json_str(&type, r->obj, "model_type", r->name);
  if (rc) return rc;
  if (!type)
    return zf_error(ZF_EINVALID, "%s: key 'model_type' is missing: not a model's config.json?",
                    r->name);
  const struct zf_family *f;
  int n = zf_families(&f);
  for (int i = 0; i < n; i++)
    if (!strcmp(f[i].model_type, type)) {
      *out = &f[i];
      return 0;
    }
  return bad_type(r->name, type);
}

/* A size: required unless *out already holds a default (> 0). */
static int size_key(int64_t *out, const struct zf_config_reader *r, const char *key, int64_t max) {
  if (!key) return 0;
  int rc = zf_json_int(out, r->obj, key, r->name);
  if (rc) return rc;
  if (*out == 0 && json_is_null(json_object_get(r->obj, key)))
    return zf_error(ZF_EINVALID, "%s: key '%s' is null", r->name, key);
  if (*out == 0 && !json_object_get(r->obj, key))
    return zf_error(ZF_EINVALID, "%s: key '%s' is missing", r->name, key);
  if (*out < 1 || *out > max)
    return zf_error(ZF_EINVALID, "%s: key '%s': expected 1 to %lld, found %lld", r->name, key,
                    (long long)max, (long long)*out);
  return 0;
}

int zf_config_rule(int *out, const struct zf_config_reader *r, const struct zf_rule *rule) {
  *out = rule->def;
  if (!rule->key) return 0;
  int negated = rule->key[0] == '!';
  int v = rule->def ^ negated;
  int rc = zf_json_bool(&v, r->obj, rule->key + negated, r->name);
  *out = v ^ negated;
  return rc;
}

/* The family's key, or Llama's name for it where the family takes both and the file has that. */
static const char *spelled(const struct zf_config *c, const struct zf_config_reader *r,
                           const char *key, const char *common) {
  return c->family->mapped && json_object_get(r->obj, common) ? common : key;
}

static int read_main_sizes(struct zf_config *c, const struct zf_config_reader *r) {
  const struct zf_family *f = c->family;
  const struct {
    int64_t *to;
    const char *key;
    int64_t max;
  } sizes[] = {{&c->vocab, "vocab_size", MAX_SIZE},
               {&c->hidden, spelled(c, r, f->k_hidden, "hidden_size"), MAX_SIZE},
               {&c->layers, spelled(c, r, f->k_layers, "num_hidden_layers"), ZF_MAX_LAYERS},
               {&c->heads, spelled(c, r, f->k_heads, "num_attention_heads"), MAX_SIZE},
               {&c->max_pos, spelled(c, r, f->k_max_pos, "max_position_embeddings"), MAX_SIZE}};
  c->vocab = f->vocab;
  c->heads = f->heads;
  c->max_pos = f->max_pos;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    int rc = size_key(sizes[i].to, r, sizes[i].key, sizes[i].max);
    if (rc) return rc;
  }
  return 0;
}

static int read_sizes(struct zf_config *c, const struct zf_config_reader *r) {
  const struct zf_family *f = c->family;
  int rc = read_main_sizes(c, r);
  if (rc) return rc;
  const json_t *kv = f->k_kv_heads ? json_object_get(r->obj, f->k_kv_heads) : NULL;
  c->kv_heads = f->kv_heads && !json_is_null(kv) ? f->kv_heads : c->heads;
  if ((rc = size_key(&c->kv_heads, r, f->k_kv_heads, MAX_SIZE))) return rc;
  c->head_dim = f->head_dim ? f->head_dim : c->hidden / c->heads;
  const json_t *hd = f->k_head_dim ? json_object_get(r->obj, f->k_head_dim) : NULL;
  if (!hd || json_is_null(hd)) {
    if (!f->head_dim && c->hidden % c->heads)
      return zf_error(ZF_EINVALID, "%s: %s %lld is not a multiple of %s %lld", r->name, f->k_hidden,
                      (long long)c->hidden, f->k_heads, (long long)c->heads);
  } else if ((rc = size_key(&c->head_dim, r, f->k_head_dim, MAX_SIZE))) {
    return rc;
  }
  if (c->heads % c->kv_heads)
    return zf_error(ZF_EINVALID, "%s: %lld heads cannot share %lld key/value heads evenly", r->name,
                    (long long)c->heads, (long long)c->kv_heads);
  if (c->heads > MAX_SIZE / c->head_dim)
    return zf_error(ZF_EINVALID, "%s: %lld heads of %lld are too many", r->name,
                    (long long)c->heads, (long long)c->head_dim);
  c->ffn = f->ffn_multiple * c->hidden;
  if ((rc = size_key(&c->ffn, r, f->k_ffn, MAX_SIZE))) return rc;
  c->embed_dim = c->hidden;
  return size_key(&c->embed_dim, r, f->k_embed_dim, MAX_SIZE);
}

/* Transformers' table (activations.py), but for those with weights of their own (prelu, xielu) and
 * sqrtsoftplus. */
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

static int bad_act(const char *key, const struct zf_config_reader *r, const char *name) {
  struct zf_buf b = {0};
  for (int i = 0; i < ACT_NAMES; i++) zf_buf_printf(&b, "%s%s", i ? ", " : "", act_names[i].name);
  int rc = zf_error(ZF_EINVALID, "%s: key '%s': '%s' is not supported; supported are %s", r->name,
                    key, name, b.failed ? "?" : b.data);
  zf_buf_free(&b);
  return rc;
}

static int read_tail_act(struct zf_config *c, const struct zf_config_reader *r) {
  const struct zf_head_names *tail = zf_config_tail(c);
  const char *name = tail->act;
  int rc = tail->k_act ? zf_json_str(&name, r->obj, tail->k_act, r->name) : 0;
  c->tail_act = c->act;
  return rc || !name || act_of(&c->tail_act, name) ? rc : bad_act(tail->k_act, r, name);
}

static int read_act(struct zf_config *c, const struct zf_config_reader *r) {
  const char *name = c->family->act;
  int rc = zf_json_str(&name, r->obj, c->family->k_act, r->name);
  if (rc) return rc;
  if (c->family->act_tanh && !strcmp(name, "gelu")) name = "gelu_pytorch_tanh";
  if (act_of(&c->act, name)) {
    return read_tail_act(c, r);
  }
  return bad_act(c->family->k_act, r, name);
}

/* Positions begin behind fixed rows of the table, or behind pad_token_id's. */
static int read_positions(struct zf_config *c, const struct zf_config_reader *r) {
  const struct zf_family *f = c->family;
  int64_t pad = f->pad_before;
  int rc = pad ? zf_json_int(&pad, r->obj, "pad_token_id", r->name) : 0;
  if (rc) return rc;
  c->pos_offset = f->pad_before ? pad + 1 : f->pos_offset;
  c->context = f->pad_before ? c->max_pos - c->pos_offset : c->max_pos;
  if (pad < 0 || c->context < 1)
    return zf_error(ZF_EINVALID, "%s: key '%s': %lld leaves no position behind pad_token_id %lld",
                    r->name, f->k_max_pos, (long long)c->max_pos, (long long)pad);
  return 0;
}

static int read_rules(struct zf_config *c, const struct zf_config_reader *r) {
  const struct zf_family *f = c->family;
  int no_final = 0, refused = 0, rc;
  if ((rc = zf_config_rule(&c->tied, r, &f->tie))) return rc;
  if ((rc = zf_config_rule(&c->post_norm, r, &f->post_norm))) return rc;
  if ((rc = zf_config_rule(&no_final, r, &f->no_final_norm))) return rc;
  if ((rc = zf_config_rule(&c->affine, r, &f->affine))) return rc;
  if ((rc = zf_config_rule(&c->qkv_bias, r, &f->qkv_bias))) return rc;
  if ((rc = zf_config_rule(&c->o_bias, r, &f->o_bias))) return rc;
  if ((rc = zf_config_rule(&c->mlp_bias, r, &f->mlp_bias))) return rc;
  if ((rc = zf_config_rule(&c->inverse_layer_scale, r, &f->inverse_layer_scale))) return rc;
  if ((rc = zf_config_rule(&c->unit_scale, r, &f->unit_scale))) return rc;
  if ((rc = zf_config_rule(&c->parallel, r, &f->parallel))) return rc;
  if ((rc = zf_config_rule(&c->qk_normed, r, &f->qk_normed))) return rc;
  if ((rc = zf_config_rule(&c->norm_bias, r, &f->norm_bias))) return rc;
  if ((rc = zf_config_rule(&refused, r, &f->refused))) return rc;
  if (refused)
    return zf_error(ZF_EINVALID, "%s: key '%s' is not supported for %s", r->name, f->refused.key,
                    f->model_type);
  /* A network of post-norm blocks ends normalised: no further norm (OPT 350M). */
  c->final_norm = !no_final && !c->post_norm;
  if ((rc = read_positions(c, r))) return rc;
  return zf_layers_read(c, r);
}

static int number(double *out, const struct zf_config_reader *r, const struct zf_number *n) {
  *out = n->def;
  if (!n->key) return 0;
  const json_t *v = json_object_get(r->obj, n->key);
  if (v && json_is_null(v)) *out = n->null;
  int rc = zf_json_num(out, r->obj, n->key, r->name);
  if (!rc && !(isfinite(*out) && *out >= 0))
    rc = zf_error(ZF_EINVALID, "%s: key '%s': expected a number not below 0, found %g", r->name,
                  n->key, *out);
  return rc;
}

static int read_numbers(struct zf_config *c, const struct zf_config_reader *r) {
  const struct zf_family *f = c->family;
  double by = 0;
  int rc;
  if ((rc = number(&c->scale, r, &f->scale))) return rc;
  if ((rc = number(&by, r, &f->scale_by))) return rc;
  if ((rc = number(&c->embed_scale, r, &f->embed_scale))) return rc;
  if ((rc = number(&c->added_scale, r, &f->added_scale))) return rc;
  if ((rc = number(&c->logits_by, r, &f->logits_by))) return rc;
  if ((rc = number(&c->score_cap, r, &f->score_cap))) return rc;
  if ((rc = number(&c->logit_cap, r, &f->logit_cap))) return rc;
  if (c->scale == 0) c->scale = c->unit_scale ? 1 : 1 / sqrt(by > 0 ? by : (double)c->head_dim);
  if (f->scale_embedding) c->embed_scale = sqrt((double)c->hidden);
  return 0;
}

int zf_config_positive(const struct zf_config_reader *r, const char *key, double v) {
  if (isfinite(v) && v > 0) return 0;
  return zf_error(ZF_EINVALID, "%s: key '%s': expected a number above 0, found %g", r->name, key,
                  v);
}

/* The head: of labels when the architecture says so, else of the vocabulary. */
/* What a classifier pools, where a key says so. */
static int check_pooling(const struct zf_config *c, const struct zf_config_reader *r) {
  const char *key = c->family->classify.k_pooling;
  const json_t *v = key ? json_object_get(r->obj, key) : NULL;
  if (!v || (json_is_string(v) && !strcmp(json_string_value(v), "cls"))) return 0;
  return zf_error(ZF_EINVALID, "%s: key '%s': expected \"cls\", the first token, found %s", r->name,
                  key, json_is_string(v) ? json_string_value(v) : zf_json_kind(v));
}

/* As Transformers: a single output without a problem_type is a regression. */
static int read_problem(struct zf_config *c, const struct zf_config_reader *outer) {
  const char *name = NULL;
  int rc = zf_json_str(&name, outer->obj, "problem_type", outer->name);
  if (rc) return rc;
  c->problem = c->outputs == 1 ? ZF_PROBLEM_REGRESSION : ZF_PROBLEM_SINGLE;
  if (!name) return 0;
  for (int k = 0; k < ZF_PROBLEMS; k++)
    if (!strcmp(name, zf_problem_names[k])) {
      c->problem = (enum zf_problem)k;
      return 0;
    }
  return zf_error(ZF_EINVALID, "%s: key 'problem_type': expected %s, %s or %s, found '%.60s'",
                  outer->name, zf_problem_names[0], zf_problem_names[1], zf_problem_names[2], name);
}

static int read_head(struct zf_config *c, const struct zf_config_reader *r,
                     const struct zf_config_reader *outer) {
  static const char tail[] = "ForSequenceClassification";
  const json_t *names = json_object_get(outer->obj, "id2label");
  const char *arch =
      json_string_value(json_array_get(json_object_get(outer->obj, "architectures"), 0));
  size_t n = arch ? strlen(arch) : 0;
  int rc;
  c->types = 2;
  if (c->family->names.type && (rc = size_key(&c->types, r, "type_vocab_size", MAX_SIZE)))
    return rc;
  c->outputs = c->vocab;
  int own = n >= sizeof tail && !strcmp(arch + n - (sizeof tail - 1), tail);
  c->classify = own || r->labels > 0;
  if (c->classify && !c->family->classify.head)
    return zf_error(ZF_EINVALID, "%s: a head of labels is not supported for %s", r->name,
                    c->family->model_type);
  if ((rc = zf_config_rule(&c->dense_bias, r, &zf_config_tail(c)->dense_bias))) return rc;
  if ((rc = zf_config_rule(&c->head_bias, r, &zf_config_tail(c)->head_bias))) return rc;
  if (!c->classify) return 0;
  c->logit_cap = 0; /* logits of labels are not capped */
  if ((rc = check_pooling(c, r))) return rc;
  c->outputs = json_is_object(names) ? (int64_t)json_object_size(names) : 2;
  c->tied = 0;
  if (!own) {
    c->outputs = r->labels;
    return 0;
  }
  rc = size_key(&c->outputs, outer, "num_labels", MAX_SIZE);
  return rc ? rc : read_problem(c, outer);
}

const struct zf_head_names *zf_config_tail(const struct zf_config *c) {
  return c->classify ? &c->family->classify : &c->family->lm;
}

static int read_token(int32_t *out, const struct zf_config_reader *r, const char *key) {
  const json_t *v = json_object_get(r->obj, key);
  *out = -1;
  if (json_is_array(v)) v = json_array_get(v, 0);
  if (!v || json_is_null(v)) return 0;
  if (!json_is_integer(v) || json_integer_value(v) < -1 || json_integer_value(v) > INT32_MAX)
    return zf_error(ZF_EINVALID, "%s: key '%s': expected a token id, found %s", r->name, key,
                    zf_json_kind(v));
  *out = (int32_t)json_integer_value(v);
  return 0;
}

/* initializer_range, as the families of the table spell it (opt: init_std). */
static double read_range(const struct zf_config_reader *r) {
  const json_t *v = json_object_get(r->obj, "init_std");
  double range = json_number_value(v ? v : json_object_get(r->obj, "initializer_range"));
  return range > 0 && range < 10 ? range : 0.02;
}

static int read_all(struct zf_config *c, const struct zf_config_reader *r) {
  int rc;
  memset(c, 0, sizeof *c);
  if (!json_is_object(r->obj))
    return zf_error(ZF_EINVALID, "%s: expected an object, found %s", r->name, zf_json_kind(r->obj));
  if ((rc = find_family(&c->family, r))) return rc;
  if ((rc = zf_config_foreign(r))) return rc;
  struct zf_config_reader outer = *r, inner = *r;
  if (c->family->nest) {
    inner.obj = json_object_get(r->obj, c->family->nest);
    if (!json_is_object(inner.obj))
      return zf_error(ZF_EINVALID, "%s: key '%s': expected an object, found %s", r->name,
                      c->family->nest, inner.obj ? zf_json_kind(inner.obj) : "none");
    r = &inner;
  }
  if ((rc = read_sizes(c, r))) return rc;
  if ((rc = read_rules(c, r))) return rc;
  if ((rc = read_numbers(c, r))) return rc;
  if ((rc = read_head(c, r, &outer))) return rc;
  if ((rc = read_act(c, r))) return rc;
  if ((rc = zf_rope_read(c, r))) return rc;
  c->norm_eps = c->family->norm_eps;
  c->init_range = read_range(r);
  if (c->family->k_norm_eps &&
      (rc = zf_json_num(&c->norm_eps, r->obj, c->family->k_norm_eps, r->name)))
    return rc;
  if (!(c->norm_eps >= 0 && c->norm_eps < 1))
    return zf_error(ZF_EINVALID, "%s: key '%s': expected 0 to 1, found %g", r->name,
                    c->family->k_norm_eps, c->norm_eps);
  c->pad = (int32_t)c->family->pad_next - 1;
  if (json_object_get(r->obj, "pad_token_id") && (rc = read_token(&c->pad, r, "pad_token_id")))
    return rc;
  r = json_object_get(outer.obj, "eos_token_id") ? &outer : r;
  if ((rc = read_token(&c->bos, r, "bos_token_id"))) return rc;
  return read_token(&c->eos, r, "eos_token_id");
}

static int parse(struct zf_config *out, const char *text, uint64_t len, const char *name,
                 int64_t labels) {
  json_t *obj;
  int rc = zf_json_parse(&obj, text, (size_t)len, name);
  if (rc) return rc;
  rc = read_all(out, &(struct zf_config_reader){obj, name, labels});
  json_decref(obj);
  return rc;
}

int zf_config_parse(struct zf_config *out, const char *text, uint64_t len, const char *name) {
  return parse(out, text, len, name, 0);
}

static int load_gguf(struct zf_config *out, const char *path) {
  json_t *obj;
  int rc = zf_gguf_config(&obj, path);
  if (rc) return rc;
  rc = read_all(out, &(struct zf_config_reader){obj, path, 0});
  out->window_off = json_integer_value(json_object_get(obj, "unused_window"));
  json_decref(obj);
  return rc;
}

int zf_config_load(struct zf_config *out, const char *dir) {
  return zf_config_load_labels(out, dir, 0);
}

int zf_config_load_labels(struct zf_config *out, const char *dir, int64_t labels) {
  if (zf_gguf_named(dir) && !zf_is_dir(dir)) return load_gguf(out, dir);
  char *path = zf_path_join(dir, "config.json"), *text = NULL;
  size_t len = 0;
  if (!path) return ZF_ENOMEM;
  int rc = zf_exists(path) ? 0 : zf_model_foreign(dir);
  if (!rc) rc = zf_read_file(&text, &len, path, 1 << 24);
  if (!rc) rc = parse(out, text, len, path, labels);
  free(text);
  free(path);
  return rc;
}
