/* Tables of GGUF architectures and tensor names, and how a GGUF file is opened as a model. */
#include "model/gguf_model_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "fmt/json.h"

static const struct zf_gguf_pair common[] = {
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

static const struct zf_gguf_pair fused[] = {{"blk.#.ffn_up", "model.layers.#.mlp.gate_up_proj"},
                                            {0}};

static const struct zf_gguf_pair around[] = {
    {"blk.#.post_attention_norm", "model.layers.#.post_attention_layernorm"},
    {"blk.#.ffn_norm", "model.layers.#.pre_feedforward_layernorm"},
    {"blk.#.post_ffw_norm", "model.layers.#.post_feedforward_layernorm"},
    {0},
};

static const struct zf_gguf_arch archs[] = {
    {.name = "llama", .model_type = "llama", .class = "LlamaForCausalLM", .paired = 1, .freqs = 1},
    {.name = "qwen2", .model_type = "qwen2", .class = "Qwen2ForCausalLM"},
    {.name = "qwen3", .model_type = "qwen3", .class = "Qwen3ForCausalLM"},
    {.name = "phi3",
     .model_type = "phi3",
     .class = "Phi3ForCausalLM",
     .names = fused,
     .partial = 1,
     .tables = 1,
     .window = ZF_GGUF_WINDOW_OFF},
    {.name = "gemma", .model_type = "gemma", .class = "GemmaForCausalLM", .plus = 1},
    {.name = "gemma2",
     .model_type = "gemma2",
     .class = "Gemma2ForCausalLM",
     .names = around,
     .plus = 1,
     .wide_layers = 46,
     .window = ZF_GGUF_WINDOW_ON,
     .period = 2},
    {.name = "gemma3",
     .model_type = "gemma3_text",
     .class = "Gemma3ForCausalLM",
     .names = around,
     .plus = 1,
     .wide_layers = 62,
     .window = ZF_GGUF_WINDOW_KEY,
     .period = 6,
     .theta_local = 1e4},
};
enum { ARCHS = sizeof archs / sizeof *archs };

const struct zf_gguf_arch *zf_gguf_arch_find(const char *name) {
  for (int i = 0; i < ARCHS; i++)
    if (!strcmp(archs[i].name, name)) return &archs[i];
  return NULL;
}

const struct zf_gguf_arch *zf_gguf_arch_of(const struct zf_config *config) {
  const char *type = config->family->model_type;
  if (!strcmp(type, "mistral")) type = "llama"; /* llama.cpp has no mistral */
  for (int i = 0; i < ARCHS; i++)
    if (!strcmp(archs[i].model_type, type)) return &archs[i];
  return NULL;
}

const char *zf_gguf_arch_name(const struct zf_gguf_arch *arch) {
  return arch->name;
}

static int find_arch(struct zf_gguf_source *source) {
  const char *name = NULL;
  struct zf_buf buf = {0};
  int rc = zf_json_str(&name, source->gguf.keys, "general.architecture", source->path);
  if (rc) return rc;
  if (!name)
    return zf_error(ZF_EINVALID, "%s: key 'general.architecture' is missing: not a model?",
                    source->path);
  for (int i = 0; i < ARCHS; i++) zf_buf_printf(&buf, "%s%s", i ? ", " : "", archs[i].name);
  if (!(source->arch = zf_gguf_arch_find(name)))
    rc = zf_error(ZF_EINVALID, "%s: architecture '%.60s' is not supported; supported are %s",
                  source->path, name, buf.failed ? "?" : buf.data);
  zf_buf_free(&buf);
  return rc;
}

static int open_source(struct zf_gguf_source *source, const char *path) {
  *source = (struct zf_gguf_source){.path = path};
  int rc = zf_gguf_open(&source->gguf, path, 0);
  if (!rc) rc = find_arch(source);
  if (rc) zf_gguf_free(&source->gguf);
  return rc;
}

static int describe(json_t *config, const struct zf_gguf_source *source) {
  int rc;
  if (!config) return zf_error(ZF_ENOMEM, "%s: out of memory", source->path);
  if ((rc = zf_gguf_check(source))) return rc;
  if ((rc = zf_gguf_describe(config, source))) return rc;
  return zf_gguf_rope(config, source);
}

int zf_gguf_config(json_t **config, const char *path) {
  struct zf_gguf_source source;
  int rc = open_source(&source, path);
  if (rc) return rc;
  json_t *keys = json_object();
  rc = describe(keys, &source);
  if (rc)
    json_decref(keys);
  else
    *config = keys;
  zf_gguf_free(&source.gguf);
  return rc;
}

/* --- tensors --------------------------------------------------------------------------------- */

/* 1 where the first `end` bytes of `name` match the pattern; *layer: the number that "#" matches. */
static int matches(const char *pattern, const char *name, size_t end, long *layer) {
  const char *hash = strchr(pattern, '#');
  size_t head_len = hash ? (size_t)(hash - pattern) : strlen(pattern);
  if (head_len > end || strncmp(pattern, name, head_len) != 0) return 0;
  if (!hash) return head_len == end;
  size_t digits = strspn(name + head_len, "0123456789");
  if (!digits || digits > 5 || head_len + digits > end) return 0;
  *layer = strtol(name + head_len, NULL, 10);
  const char *rest = name + head_len + digits;
  return strlen(hash + 1) == end - head_len - digits && !strncmp(hash + 1, rest, strlen(hash + 1));
}

/* The name in the other of the two tables' columns. */
static char *translate_name(const struct zf_gguf_arch *arch, const char *name, int to_gguf) {
  const char *dot = strrchr(name, '.');
  const struct zf_gguf_pair *const tables[] = {arch->names, common};
  long layer = 0;
  if (!dot || (strcmp(dot, ".weight") != 0 && strcmp(dot, ".bias") != 0)) return NULL;
  for (int i = 0; i < 2; i++)
    for (const struct zf_gguf_pair *pair = tables[i]; pair && pair->gguf; pair++) {
      const char *from = to_gguf ? pair->checkpoint : pair->gguf,
                 *template = to_gguf ? pair->gguf : pair->checkpoint,
                 *number = strchr(template, '#');
      if (!matches(from, name, (size_t)(dot - name), &layer)) continue;
      if (!number) return zf_asprintf("%s%s", template, dot);
      return zf_asprintf("%.*s%ld%s%s", (int)(number - template), template, layer, number + 1, dot);
    }
  return NULL;
}

char *zf_gguf_checkpoint_name(const struct zf_gguf_arch *arch, const char *name) {
  return translate_name(arch, name, 0);
}

char *zf_gguf_tensor_name(const struct zf_gguf_arch *arch, const char *name) {
  return translate_name(arch, name, 1);
}

int zf_gguf_weights(struct zf_st **st, const struct zf_gguf_arch **arch, const char *path) {
  struct zf_gguf_source source;
  *st = NULL;
  int rc = open_source(&source, path);
  if (rc) return rc;
  for (int64_t i = 0; i < source.gguf.st->count; i++) {
    struct zf_st_tensor *tensor = &source.gguf.st->tensor[i];
    char *name = zf_gguf_checkpoint_name(source.arch, tensor->name);
    if (!name) continue;
    free((char *)tensor->name);
    tensor->name = name;
  }
  rc = zf_st_sort(source.gguf.st);
  if (!rc) {
    *st = source.gguf.st;
    *arch = source.arch;
    source.gguf.st = NULL;
  }
  zf_gguf_free(&source.gguf);
  return rc;
}

int zf_gguf_reads(const struct zf_gguf_arch *arch, const char *name) {
  if (!strcmp(name, "rope_freqs.weight")) return arch->freqs;
  int table =
      !strcmp(name, "rope_factors_short.weight") || !strcmp(name, "rope_factors_long.weight");
  return table && (arch->freqs || arch->tables);
}

static int ends(const char *name, const char *suffix) {
  size_t len = strlen(name), suffix_len = strlen(suffix);
  return len >= suffix_len && !strcmp(name + len - suffix_len, suffix);
}

struct zf_gguf_change zf_gguf_change(const struct zf_gguf_arch *arch,
                                     const struct zf_config *config, const char *name) {
  struct zf_gguf_change change = {0};
  if (!arch) return change;
  if (arch->paired && strstr(name, ".self_attn.q_proj.")) change.heads = config->heads;
  if (arch->paired && strstr(name, ".self_attn.k_proj.")) change.heads = config->kv_heads;
  if (arch->plus && (ends(name, "norm.weight") || ends(name, "layernorm.weight")))
    change.subtract = 1;
  return change;
}
