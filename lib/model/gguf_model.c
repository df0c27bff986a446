/* The table of GGUF architectures, and how a GGUF file is opened as a model. */
#include "model/gguf_model_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "fmt/json.h"

static const struct zf_gguf_arch archs[] = {
    {.name = "llama",
     .model_type = "llama",
     .also = "mistral",
     .class = "LlamaForCausalLM",
     .paired = 1,
     .freqs = 1},
    {.name = "qwen2", .model_type = "qwen2", .class = "Qwen2ForCausalLM"},
    {.name = "qwen3", .model_type = "qwen3", .class = "Qwen3ForCausalLM"},
    {.name = "phi3",
     .model_type = "phi3",
     .class = "Phi3ForCausalLM",
     .partial = 1,
     .tables = 1,
     .window = ZF_GGUF_WINDOW_OFF},
    {.name = "gemma", .model_type = "gemma", .class = "GemmaForCausalLM", .plus = 1},
    {.name = "gemma2",
     .model_type = "gemma2",
     .class = "Gemma2ForCausalLM",
     .plus = 1,
     .wide_layers = 46,
     .window = ZF_GGUF_WINDOW_ON,
     .period = 2},
    {.name = "gemma3",
     .model_type = "gemma3_text",
     .also = "gemma3",
     .class = "Gemma3ForCausalLM",
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
  for (int i = 0; i < ARCHS; i++)
    if (!strcmp(archs[i].model_type, type) || (archs[i].also && !strcmp(archs[i].also, type)))
      return &archs[i];
  return NULL;
}

const struct zf_family *zf_gguf_family(const struct zf_gguf_arch *arch) {
  const struct zf_family *family;
  int count = zf_families(&family), i = 0;
  while (i < count && strcmp(family[i].model_type, arch->model_type) != 0) i++;
  return &family[i]; /* every row of archs has a family */
}

const char *zf_gguf_arch_name(const struct zf_gguf_arch *arch) {
  return arch->name;
}

int zf_gguf_wants_head(const struct zf_gguf_arch *arch) {
  return arch->head;
}

void zf_gguf_list_archs(struct zf_buf *buf) {
  for (int i = 0; i < ARCHS; i++) zf_buf_printf(buf, "%s%s", i ? ", " : "", archs[i].name);
}

static int find_arch(struct zf_gguf_source *source) {
  const char *name = NULL;
  struct zf_buf buf = {0};
  int rc = zf_json_str(&name, source->gguf.keys, "general.architecture", source->path);
  if (rc) return rc;
  if (!name)
    return zf_error(ZF_EINVALID, "%s: key 'general.architecture' is missing: not a model?",
                    source->path);
  zf_gguf_list_archs(&buf);
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

int zf_gguf_config_of(json_t **config, const struct zf_gguf *gguf, const char *path) {
  struct zf_gguf_source source = {.gguf = *gguf, .path = path};
  int rc = find_arch(&source);
  if (rc) return rc;
  json_t *keys = json_object();
  rc = describe(keys, &source);
  if (rc)
    json_decref(keys);
  else
    *config = keys;
  return rc;
}

int zf_gguf_config(json_t **config, const char *path) {
  struct zf_gguf gguf;
  int rc = zf_gguf_open(&gguf, path, 0);
  if (rc) return rc;
  rc = zf_gguf_config_of(config, &gguf, path);
  zf_gguf_free(&gguf);
  return rc;
}

/* --- tensors --------------------------------------------------------------------------------- */

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
