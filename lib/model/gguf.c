/* GGUF keys and tensor names in the terms of config.json and its checkpoint: tables. */
#include "model/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "fmt/json.h"

/* Names without .weight or .bias; "#" stands for the layer number. */
struct pair {
  const char *gguf, *checkpoint;
};

static const struct pair common[] = {
    {"token_embd", "model.embed_tokens"},
    {"output_norm", "model.norm"},
    {"output", "lm_head"},
    {"blk.#.attn_norm", "model.layers.#.input_layernorm"},
    {"blk.#.attn_q", "model.layers.#.self_attn.q_proj"},
    {"blk.#.attn_k", "model.layers.#.self_attn.k_proj"},
    {"blk.#.attn_v", "model.layers.#.self_attn.v_proj"},
    {"blk.#.attn_qkv", "model.layers.#.self_attn.qkv_proj"},
    {"blk.#.attn_output", "model.layers.#.self_attn.o_proj"},
    {"blk.#.attn_q_norm", "model.layers.#.self_attn.q_norm"},
    {"blk.#.attn_k_norm", "model.layers.#.self_attn.k_norm"},
    {"blk.#.ffn_norm", "model.layers.#.post_attention_layernorm"},
    {"blk.#.ffn_gate", "model.layers.#.mlp.gate_proj"},
    {"blk.#.ffn_up", "model.layers.#.mlp.up_proj"},
    {"blk.#.ffn_down", "model.layers.#.mlp.down_proj"},
    {0},
};

static const struct pair fused[] = {{"blk.#.ffn_up", "model.layers.#.mlp.gate_up_proj"}, {0}};

static const struct pair around[] = {
    {"blk.#.post_attention_norm", "model.layers.#.post_attention_layernorm"},
    {"blk.#.ffn_norm", "model.layers.#.pre_feedforward_layernorm"},
    {"blk.#.post_ffw_norm", "model.layers.#.post_feedforward_layernorm"},
    {0},
};

struct zf_gguf_arch {
  const char *name, *model_type, *class; /* what config.json calls the model */
  const struct pair *names; /* that differ from the common ones; NULL: none */
  int paired;               /* rows of q and k lie in rotary pairs */
  int plus;                 /* norms are stored with 1 added */
  int wide_layers;          /* a model of so many layers scales scores by hidden / heads: it has no
                             * key for it */
};

static const struct zf_gguf_arch archs[] = {
    {.name = "llama", .model_type = "llama", .class = "LlamaForCausalLM", .paired = 1},
    {.name = "qwen2", .model_type = "qwen2", .class = "Qwen2ForCausalLM"},
    {.name = "qwen3", .model_type = "qwen3", .class = "Qwen3ForCausalLM"},
    {.name = "phi3", .model_type = "phi3", .class = "Phi3ForCausalLM", .names = fused},
    {.name = "gemma", .model_type = "gemma", .class = "GemmaForCausalLM", .plus = 1},
    {.name = "gemma2", .model_type = "gemma2", .class = "Gemma2ForCausalLM", .names = around, .plus = 1, .wide_layers = 46},
    {.name = "gemma3", .model_type = "gemma3_text", .class = "Gemma3ForCausalLM", .names = around, .plus = 1, .wide_layers = 62},
};
enum { ARCHS = sizeof archs / sizeof *archs };

/* Keys behind "ARCH." and what config.json calls them. */
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
    {"rope.freq_base", "rope_theta", 0},
    {"rope.freq_base_swa", "rope_local_base_freq", 0},
    {"attention.sliding_window", "sliding_window", 0},
    {"attn_logit_softcapping", "attn_logit_softcapping", 0},
    {"final_logit_softcapping", "final_logit_softcapping", 0},
};

struct source {
  struct zf_gguf g;
  const struct zf_gguf_arch *arch;
  const char *path;
};

static int find_arch(struct source *s) {
  const char *name = NULL;
  struct zf_buf b = {0};
  int rc = zf_json_str(&name, s->g.keys, "general.architecture", s->path);
  if (rc) return rc;
  if (!name)
    return zf_error(ZF_EINVALID, "%s: key 'general.architecture' is missing: not a model?", s->path);
  for (int i = 0; i < ARCHS; i++) {
    if (!strcmp(archs[i].name, name)) s->arch = &archs[i];
    zf_buf_printf(&b, "%s%s", i ? ", " : "", archs[i].name);
  }
  if (!s->arch)
    rc = zf_error(ZF_EINVALID, "%s: architecture '%.60s' is not supported; supported are %s",
                  s->path, name, b.failed ? "?" : b.data);
  zf_buf_free(&b);
  return rc;
}

static int open_source(struct source *s, const char *path) {
  *s = (struct source){.path = path};
  int rc = zf_gguf_open(&s->g, path, 0);
  if (!rc) rc = find_arch(s);
  if (rc) zf_gguf_free(&s->g);
  return rc;
}

/* --- configuration --------------------------------------------------------------------------- */

/* The value of ARCH.key, or NULL. */
static json_t *value(const struct source *s, const char *key) {
  char full[128];
  snprintf(full, sizeof full, "%s.%s", s->arch->name, key);
  return json_object_get(s->g.keys, full);
}

static int copy_keys(json_t *config, const struct source *s) {
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    json_t *v = value(s, keys[i].gguf);
    if (!v && keys[i].required)
      return zf_error(ZF_EINVALID, "%s: key '%s.%s' is missing", s->path, s->arch->name,
                      keys[i].gguf);
    if (v && !json_is_number(v))
      return zf_error(ZF_EINVALID, "%s: key '%s.%s': expected a number, found %s", s->path,
                      s->arch->name, keys[i].gguf, zf_json_kind(v));
    if (v) json_object_set(config, keys[i].config, v);
  }
  static const char *const ids[][2] = {{"bos_token_id", "tokenizer.ggml.bos_token_id"},
                                       {"eos_token_id", "tokenizer.ggml.eos_token_id"},
                                       {"pad_token_id", "tokenizer.ggml.padding_token_id"}};
  for (int i = 0; i < 3; i++) {
    json_t *v = json_object_get(s->g.keys, ids[i][1]);
    if (v) json_object_set(config, ids[i][0], v);
    else json_object_set_new(config, ids[i][0], json_null()); /* no family's default */
  }
  return 0;
}

/* head_dim is always said, for a family may have another default; so is the part that rotates. */
static int head_keys(json_t *config, const struct source *s) {
  json_t *hd = json_object_get(config, "head_dim"), *vd = value(s, "attention.value_length");
  json_t *rot = value(s, "rope.dimension_count");
  int64_t heads = json_integer_value(json_object_get(config, "num_attention_heads"));
  int64_t hidden = json_integer_value(json_object_get(config, "hidden_size"));
  int64_t dim = hd ? json_integer_value(hd) : heads > 0 ? hidden / heads : 0;
  if (dim < 1 || (!hd && hidden % heads))
    return zf_error(ZF_EINVALID, "%s: %lld heads do not divide an embedding_length of %lld", s->path,
                    (long long)heads, (long long)hidden);
  if (vd && json_integer_value(vd) != dim)
    return zf_error(ZF_EINVALID, "%s: attention.value_length %lld differs from the keys' %lld",
                    s->path, (long long)json_integer_value(vd), (long long)dim);
  json_object_set_new(config, "head_dim", json_integer(dim));
  if (rot && json_integer_value(rot) != dim)
    json_object_set_new(config, "partial_rotary_factor",
                        json_real((double)json_integer_value(rot) / (double)dim));
  if (s->arch->plus) {
    int wide = json_integer_value(json_object_get(config, "num_hidden_layers")) ==
               s->arch->wide_layers;
    json_object_set_new(config, "query_pre_attn_scalar", json_integer(wide ? hidden / heads : dim));
  }
  return 0;
}

/* Which blocks have windows: each one's flag, or every how many there is one without. */
static int window_keys(json_t *config, const struct source *s) {
  json_t *v = value(s, "attention.sliding_window_pattern"), *types, *flag;
  size_t i;
  if (!v) return 0;
  if (json_is_integer(v)) {
    json_object_set(config, "sliding_window_pattern", v);
    return 0;
  }
  if (!json_is_array(v))
    return zf_error(ZF_EINVALID,
                    "%s: key '%s.attention.sliding_window_pattern': expected a number or an array, "
                    "found %s",
                    s->path, s->arch->name, zf_json_kind(v));
  types = json_array();
  json_array_foreach(v, i, flag) {
    int yes = json_is_true(flag) || json_integer_value(flag) == 1;
    if (!yes && !json_is_false(flag) && !(json_is_integer(flag) && !json_integer_value(flag))) {
      json_decref(types);
      return zf_error(ZF_EINVALID,
                      "%s: key '%s.attention.sliding_window_pattern': element %zu: expected true or "
                      "false",
                      s->path, s->arch->name, i);
    }
    json_array_append_new(types, json_string(yes ? "sliding_attention" : "full_attention"));
  }
  if (json_array_size(types) != json_array_size(v) ||
      json_object_set_new(config, "layer_types", types))
    return zf_error(ZF_ENOMEM, "%s: out of memory", s->path);
  return 0;
}

/* What the tensors tell: sizes and parts that have no key. */
static int tensor_keys(json_t *config, const struct source *s) {
  const struct zf_st_tensor *embed = zf_st_find(s->g.st, "token_embd.weight");
  if (!embed || embed->ndim != 2)
    return zf_error(ZF_EINVALID, "%s: tensor 'token_embd.weight' is missing, or no matrix", s->path);
  static const char *const flags[][2] = {{"attention_bias", "blk.0.attn_q.bias"},
                                         {"mlp_bias", "blk.0.ffn_up.bias"}};
  json_object_set_new(config, "architectures", json_pack("[s]", s->arch->class));
  json_object_set_new(config, "model_type", json_string(s->arch->model_type));
  json_object_set_new(config, "vocab_size", json_integer(embed->shape[0]));
  json_object_set_new(config, "tie_word_embeddings",
                      json_boolean(!zf_st_find(s->g.st, "output.weight")));
  for (int i = 0; i < 2; i++)
    json_object_set_new(config, flags[i][0], json_boolean(!!zf_st_find(s->g.st, flags[i][1])));
  if (zf_st_find(s->g.st, "blk.0.attn_q.bias") && !strcmp(s->arch->name, "llama") &&
      !zf_st_find(s->g.st, "blk.0.attn_output.bias"))
    return zf_error(ZF_EINVALID, "%s: biases of q, k and v without one of the output", s->path);
  return 0;
}

/* Divisors of the rotary frequencies as a list. */
static int factors(json_t *scaling, const char *key, const struct source *s, const char *name) {
  const struct zf_st_tensor *t = zf_st_find(s->g.st, name);
  if (!t) return 0;
  if (t->type != ZF_F32 || t->ndim != 1 || t->count > 4096)
    return zf_error(ZF_EINVALID, "%s: tensor '%s': expected a vector of F32", s->path, name);
  json_t *list = json_array();
  for (int64_t i = 0; i < t->count; i++) {
    float f;
    memcpy(&f, t->data + 4 * i, sizeof f);
    if (json_array_append_new(list, json_real((double)f))) {
      json_decref(list);
      return zf_error(ZF_EINVALID, "%s: tensor '%s': element %lld is not finite", s->path, name,
                      (long long)i);
    }
  }
  json_object_set_new(scaling, key, list);
  return 0;
}

/* Scaling by a type and its numbers; or by tables of divisors, which is what longrope is: one for
 * sequences up to the original length, one beyond; llama 3's only table is both. */
static int rope_keys(json_t *config, const struct source *s) {
  static const char *const plain[][2] = {
      {"rope.scaling.factor", "factor"},
      {"rope.scaling.original_context_length", "original_max_position_embeddings"},
      {"rope.scaling.attn_factor", "attention_factor"}};
  json_t *type = value(s, "rope.scaling.type"), *r = json_object(), *v;
  int rc = 0;
  if (zf_st_find(s->g.st, "rope_freqs.weight")) {
    rc = factors(r, "short_factor", s, "rope_freqs.weight");
    if (!rc) rc = factors(r, "long_factor", s, "rope_freqs.weight");
  } else {
    rc = factors(r, "short_factor", s, "rope_factors_short.weight");
    if (!rc) rc = factors(r, "long_factor", s, "rope_factors_long.weight");
  }
  if (json_object_get(r, "short_factor")) { /* without its key below, 1 and not what lengths say */
    json_object_set_new(r, "rope_type", json_string("longrope"));
    json_object_set_new(r, "attention_factor", json_integer(1));
  } else if (json_is_string(type) && strcmp(json_string_value(type), "none") != 0)
    json_object_set(r, "rope_type", type);
  for (int i = 0; i < 3; i++)
    if ((v = value(s, plain[i][0]))) json_object_set(r, plain[i][1], v);
  if (json_object_get(r, "rope_type")) json_object_set(config, "rope_scaling", r);
  json_decref(r);
  return rc;
}

int zf_gguf_config(json_t **out, const char *path) {
  struct source s;
  json_t *config = NULL;
  int rc = open_source(&s, path);
  if (rc) return rc;
  if (!(config = json_object())) rc = zf_error(ZF_ENOMEM, "%s: out of memory", path);
  if (!rc) rc = copy_keys(config, &s);
  if (!rc) rc = head_keys(config, &s);
  if (!rc) rc = window_keys(config, &s);
  if (!rc) rc = tensor_keys(config, &s);
  if (!rc) rc = rope_keys(config, &s);
  if (rc)
    json_decref(config);
  else
    *out = config;
  zf_gguf_free(&s.g);
  return rc;
}

/* --- tensors --------------------------------------------------------------------------------- */

/* Does `name` up to `end` match a pattern?  *layer is what the "#" stands for. */
static int matches(const char *pattern, const char *name, size_t end, long *layer) {
  const char *hash = strchr(pattern, '#');
  size_t head = hash ? (size_t)(hash - pattern) : strlen(pattern);
  if (head > end || strncmp(pattern, name, head) != 0) return 0;
  if (!hash) return head == end;
  size_t digits = strspn(name + head, "0123456789");
  if (!digits || digits > 5 || head + digits > end) return 0;
  *layer = strtol(name + head, NULL, 10);
  const char *rest = name + head + digits;
  return strlen(hash + 1) == end - head - digits && !strncmp(hash + 1, rest, strlen(hash + 1));
}

/* The checkpoint's name, or NULL where there is none: such a tensor keeps its own. */
static char *checkpoint_name(const struct zf_gguf_arch *a, const char *name) {
  const char *dot = strrchr(name, '.');
  const struct pair *const tables[] = {a->names, common};
  long layer = 0;
  if (!dot || (strcmp(dot, ".weight") != 0 && strcmp(dot, ".bias") != 0)) return NULL;
  for (int i = 0; i < 2; i++)
    for (const struct pair *p = tables[i]; p && p->gguf; p++) {
      if (!matches(p->gguf, name, (size_t)(dot - name), &layer)) continue;
      const char *to = p->checkpoint, *hash = strchr(to, '#');
      if (!hash) return zf_asprintf("%s%s", to, dot);
      return zf_asprintf("%.*s%ld%s%s", (int)(hash - to), to, layer, hash + 1, dot);
    }
  return NULL;
}

int zf_gguf_weights(struct zf_st **out, const struct zf_gguf_arch **arch, const char *path) {
  struct source s;
  *out = NULL;
  int rc = open_source(&s, path);
  if (rc) return rc;
  for (int64_t i = 0; i < s.g.st->n; i++) {
    struct zf_st_tensor *t = &s.g.st->tensor[i];
    char *name = checkpoint_name(s.arch, t->name);
    if (!name) continue;
    free((char *)t->name);
    t->name = name;
  }
  rc = zf_st_sort(s.g.st);
  if (!rc) {
    *out = s.g.st;
    *arch = s.arch;
    s.g.st = NULL;
  }
  zf_gguf_free(&s.g);
  return rc;
}

static int ends(const char *name, const char *tail) {
  size_t n = strlen(name), k = strlen(tail);
  return n >= k && !strcmp(name + n - k, tail);
}

struct zf_gguf_change zf_gguf_change(const struct zf_gguf_arch *a, const struct zf_config *c,
                                     const char *name) {
  struct zf_gguf_change x = {0};
  if (!a) return x;
  if (a->paired && strstr(name, ".self_attn.q_proj.")) x.heads = c->heads;
  if (a->paired && strstr(name, ".self_attn.k_proj.")) x.heads = c->kv_heads;
  if (a->plus && (ends(name, "norm.weight") || ends(name, "layernorm.weight"))) x.less = 1;
  return x;
}
