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
#include "model/family.h"
#include "model/gguf.h"

/* Bounds that no real model comes near, so that products of sizes fit 63 bits. */
enum { MAX_SIZE = 1 << 24, MAX_LAYERS = 4096 };

struct reader {
  const json_t *obj;
  const char *name; /* of the file, for messages */
};

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

static int find_family(const struct zf_family **out, const struct reader *r) {
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
static int size_key(int64_t *out, const struct reader *r, const char *key, int64_t max) {
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

/* "!key" reads a key of the opposite sense. */
static int rule(int *out, const struct reader *r, const struct zf_rule *rule) {
  *out = rule->def;
  if (!rule->key) return 0;
  int negated = rule->key[0] == '!';
  int v = rule->def ^ negated;
  int rc = zf_json_bool(&v, r->obj, rule->key + negated, r->name);
  *out = v ^ negated;
  return rc;
}

static int read_sizes(struct zf_config *c, const struct reader *r) {
  const struct zf_family *f = c->family;
  int rc;
  if ((rc = size_key(&c->vocab, r, "vocab_size", MAX_SIZE))) return rc;
  if ((rc = size_key(&c->hidden, r, f->k_hidden, MAX_SIZE))) return rc;
  if ((rc = size_key(&c->layers, r, f->k_layers, MAX_LAYERS))) return rc;
  if ((rc = size_key(&c->heads, r, f->k_heads, MAX_SIZE))) return rc;
  c->kv_heads = c->heads;
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
  if ((rc = size_key(&c->max_pos, r, f->k_max_pos, MAX_SIZE))) return rc;
  c->embed_dim = c->hidden;
  return size_key(&c->embed_dim, r, f->k_embed_dim, MAX_SIZE);
}

static const struct {
  const char *name;
  enum zf_act act;
} act_names[] = {
    {"silu", ZF_ACT_SILU},
    {"swish", ZF_ACT_SILU},
    {"gelu", ZF_ACT_GELU_ERF},
    {"gelu_new", ZF_ACT_GELU_TANH},
    {"gelu_pytorch_tanh", ZF_ACT_GELU_TANH},
    {"relu", ZF_ACT_RELU},
};

static int read_act(struct zf_config *c, const struct reader *r) {
  const char *name = c->family->act;
  int rc = zf_json_str(&name, r->obj, c->family->k_act, r->name);
  if (rc) return rc;
  for (size_t i = 0; i < sizeof act_names / sizeof *act_names; i++)
    if (!strcmp(act_names[i].name, name)) {
      c->act = act_names[i].act;
      return 0;
    }
  return zf_error(ZF_EINVALID,
                  "%s: key '%s': '%s' is not supported; supported are silu, gelu, gelu_new, "
                  "gelu_pytorch_tanh, relu",
                  r->name, c->family->k_act, name);
}

/* Within the window a sliding model is a plain one, and longer sequences are refused. */
static int read_window(struct zf_config *c, const struct reader *r) {
  const struct zf_family *f = c->family;
  int64_t window = f->window_size;
  if (json_is_null(json_object_get(r->obj, f->k_window))) return 0;
  int rc = zf_json_int(&window, r->obj, f->k_window, r->name);
  if (rc) return rc;
  if (window < 1)
    return zf_error(ZF_EINVALID, "%s: key '%s': expected 1 or more, found %lld", r->name,
                    f->k_window, (long long)window);
  if (window < c->context) c->context = window;
  return 0;
}

static int read_rules(struct zf_config *c, const struct reader *r) {
  const struct zf_family *f = c->family;
  int no_final = 0, windowed = 0, rc;
  if ((rc = rule(&c->tied, r, &f->tie))) return rc;
  if ((rc = rule(&c->post_norm, r, &f->post_norm))) return rc;
  if ((rc = rule(&no_final, r, &f->no_final_norm))) return rc;
  if ((rc = rule(&c->affine, r, &f->affine))) return rc;
  if ((rc = rule(&c->qkv_bias, r, &f->qkv_bias))) return rc;
  if ((rc = rule(&c->o_bias, r, &f->o_bias))) return rc;
  if ((rc = rule(&c->mlp_bias, r, &f->mlp_bias))) return rc;
  if ((rc = rule(&c->inverse_layer_scale, r, &f->inverse_layer_scale))) return rc;
  if ((rc = rule(&c->unit_scale, r, &f->unit_scale))) return rc;
  if ((rc = rule(&windowed, r, &f->window))) return rc;
  /* A network of post-norm blocks ends normalised: no further norm (OPT 350M). */
  c->final_norm = !no_final && !c->post_norm;
  c->context = c->max_pos;
  return windowed ? read_window(c, r) : 0;
}

static int positive(const struct reader *r, const char *key, double v) {
  if (isfinite(v) && v > 0) return 0;
  return zf_error(ZF_EINVALID, "%s: key '%s': expected a number above 0, found %g", r->name, key,
                  v);
}

/* A number of a scaling that cannot do without it. */
static int scaling_num(double *out, const struct reader *r, const json_t *s, const char *key,
                       const char *type, int required) {
  const json_t *v = json_object_get(s, key);
  if (required && (!v || json_is_null(v)))
    return zf_error(ZF_EINVALID, "%s: rope scaling '%s' needs the key '%s'", r->name, type, key);
  return zf_json_num(out, s, key, r->name);
}

/* What rope_scaling or rope_parameters says. */
static int read_scaling(struct zf_rope_conf *rope, const struct reader *r, const json_t *s) {
  const char *type = "default";
  int rc;
  if ((rc = zf_json_str(&type, s, "type", r->name))) return rc;
  if ((rc = zf_json_str(&type, s, "rope_type", r->name))) return rc;
  if (!strcmp(type, "linear"))
    rope->kind = ZF_ROPE_LINEAR;
  else if (!strcmp(type, "llama3"))
    rope->kind = ZF_ROPE_LLAMA3;
  else if (strcmp(type, "default") != 0)
    return zf_error(ZF_EINVALID,
                    "%s: rope scaling '%s' is not supported; supported are default, linear, llama3",
                    r->name, type);
  int scaled = rope->kind != ZF_ROPE_PLAIN, llama3 = rope->kind == ZF_ROPE_LLAMA3;
  if ((rc = scaling_num(&rope->theta, r, s, "rope_theta", type, 0))) return rc;
  if ((rc = scaling_num(&rope->partial, r, s, "partial_rotary_factor", type, 0))) return rc;
  if ((rc = scaling_num(&rope->factor, r, s, "factor", type, scaled))) return rc;
  if ((rc = scaling_num(&rope->low, r, s, "low_freq_factor", type, llama3))) return rc;
  if ((rc = scaling_num(&rope->high, r, s, "high_freq_factor", type, llama3))) return rc;
  return scaling_num(&rope->original, r, s, "original_max_position_embeddings", type, llama3);
}

static int check_rope(const struct zf_config *c, const struct reader *r) {
  const struct zf_rope_conf *rope = &c->rope;
  int rc;
  if ((rc = positive(r, "rope_theta", rope->theta))) return rc;
  if ((rc = positive(r, "factor", rope->factor))) return rc;
  if ((rc = positive(r, "low_freq_factor", rope->low))) return rc;
  if ((rc = positive(r, "high_freq_factor", rope->high))) return rc;
  if ((rc = positive(r, "original_max_position_embeddings", rope->original))) return rc;
  if (rope->kind == ZF_ROPE_LLAMA3 && rope->high <= rope->low)
    return zf_error(ZF_EINVALID, "%s: high_freq_factor %g is not above low_freq_factor %g", r->name,
                    rope->high, rope->low);
  if (!(rope->partial > 0 && rope->partial <= 1))
    return zf_error(ZF_EINVALID, "%s: key 'partial_rotary_factor': expected above 0 to 1, found %g",
                    r->name, rope->partial);
  if (zf_config_rot(c) < 2 || c->head_dim % 2)
    return zf_error(ZF_EINVALID, "%s: head_dim %lld cannot be rotated in pairs", r->name,
                    (long long)c->head_dim);
  return 0;
}

/* Old spelling: rope_theta beside rope_scaling {type|rope_type, ...}; new one: both in
 * rope_parameters. */
static int read_rope(struct zf_config *c, const struct reader *r) {
  struct zf_rope_conf *rope = &c->rope;
  *rope = (struct zf_rope_conf){.theta = 10000, .factor = 1, .partial = 1, .low = 1, .high = 4};
  rope->original = (double)c->max_pos;
  if (c->family->pos != ZF_POS_ROPE) return 0;
  const char *key = "rope_parameters";
  const json_t *s = json_object_get(r->obj, key);
  if (!s || json_is_null(s)) s = json_object_get(r->obj, key = "rope_scaling");
  int rc;
  if ((rc = zf_json_num(&rope->theta, r->obj, "rope_theta", r->name))) return rc;
  if ((rc = zf_json_num(&rope->partial, r->obj, "partial_rotary_factor", r->name))) return rc;
  if (s && !json_is_null(s)) {
    if (!json_is_object(s))
      return zf_error(ZF_EINVALID, "%s: key '%s': expected an object, found %s", r->name, key,
                      zf_json_kind(s));
    if ((rc = read_scaling(rope, r, s))) return rc;
  }
  return check_rope(c, r);
}

static int read_token(int32_t *out, const struct reader *r, const char *key) {
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

static int read_all(struct zf_config *c, const struct reader *r) {
  int rc;
  memset(c, 0, sizeof *c);
  if (!json_is_object(r->obj))
    return zf_error(ZF_EINVALID, "%s: expected an object, found %s", r->name, zf_json_kind(r->obj));
  if ((rc = find_family(&c->family, r))) return rc;
  if ((rc = read_sizes(c, r))) return rc;
  if ((rc = read_rules(c, r))) return rc;
  if ((rc = read_act(c, r))) return rc;
  if ((rc = read_rope(c, r))) return rc;
  c->norm_eps = c->family->norm_eps;
  if (c->family->k_norm_eps &&
      (rc = zf_json_num(&c->norm_eps, r->obj, c->family->k_norm_eps, r->name)))
    return rc;
  if (!(c->norm_eps >= 0 && c->norm_eps < 1))
    return zf_error(ZF_EINVALID, "%s: key '%s': expected 0 to 1, found %g", r->name,
                    c->family->k_norm_eps, c->norm_eps);
  if ((rc = read_token(&c->bos, r, "bos_token_id"))) return rc;
  return read_token(&c->eos, r, "eos_token_id");
}

int zf_config_parse(struct zf_config *out, const char *text, uint64_t len, const char *name) {
  json_t *obj;
  int rc = zf_json_parse(&obj, text, (size_t)len, name);
  if (rc) return rc;
  rc = read_all(out, &(struct reader){obj, name});
  json_decref(obj);
  return rc;
}

static int load_gguf(struct zf_config *out, const char *path) {
  json_t *obj;
  int rc = zf_gguf_config(&obj, path);
  if (rc) return rc;
  rc = read_all(out, &(struct reader){obj, path});
  json_decref(obj);
  return rc;
}

int zf_config_load(struct zf_config *out, const char *dir) {
  if (zf_gguf_named(dir) && !zf_is_dir(dir)) return load_gguf(out, dir);
  char *path = zf_path_join(dir, "config.json"), *text = NULL;
  size_t len = 0;
  if (!path) return ZF_ENOMEM;
  int rc = zf_read_file(&text, &len, path, 1 << 24);
  if (!rc) rc = zf_config_parse(out, text, len, path);
  free(text);
  free(path);
  return rc;
}

int64_t zf_config_rot(const struct zf_config *c) {
  if (c->family->pos != ZF_POS_ROPE) return 0;
  return (int64_t)((double)c->head_dim * c->rope.partial) / 2 * 2;
}

void zf_rope_freqs(double *inv_freq, int64_t dim, const struct zf_rope_conf *r) {
  const double pi = 3.14159265358979323846;
  for (int64_t i = 0; i < dim / 2; i++) {
    double f = pow(r->theta, -2.0 * (double)i / (double)dim);
    if (r->kind == ZF_ROPE_LINEAR) f /= r->factor;
    if (r->kind == ZF_ROPE_LLAMA3) {
      double wavelength = 2 * pi / f;
      double s = (r->original / wavelength - r->low) / (r->high - r->low);
      if (wavelength > r->original / r->low)
        f /= r->factor;
      else if (wavelength >= r->original / r->high)
        f = (1 - s) * f / r->factor + s * f;
    }
    inv_freq[i] = f;
  }
}
