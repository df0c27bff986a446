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
    {.name = "gpt2", .model_type = "gpt2", .class = "GPT2LMHeadModel"},
    {.name = "gptneox",
     .model_type = "gpt_neox",
     .class = "GPTNeoXForCausalLM",
     .partial = 1,
     .head = 1,
     .parallel_key = 1},
    {.name = "stablelm",
     .model_type = "stablelm",
     .class = "StableLmForCausalLM",
     .partial = 1,
     .head = 1},
    {.name = "granite", .model_type = "granite", .class = "GraniteForCausalLM", .paired = 1},
    {.name = "olmo2", .model_type = "olmo2", .class = "Olmo2ForCausalLM", .head = 1},
    {.name = "smollm3", .model_type = "smollm3", .class = "SmolLM3ForCausalLM", .paired = 1},
    {.name = "bert",
     .model_type = "bert",
     .also = "roberta",
     .class = "BertForSequenceClassification",
     .body = "BertModel",
     .names = zf_gguf_post_norms,
     .labels = 1},
    {.name = "modern-bert",
     .model_type = "modernbert",
     .class = "ModernBertForSequenceClassification",
     .body = "ModernBertModel",
     .labels = 1,
     .window = ZF_GGUF_WINDOW_KEY,
     .period = 3,
     .full_first = 1,
     .theta_local = 1e4},
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

int zf_gguf_has_labels(const struct zf_gguf_arch *arch) {
  return arch->labels;
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

/* Renames a tensor; a matrix that the checkpoint has as [in,out] gets that shape, though its bytes stay. */
static int rename_tensor(struct zf_st_tensor *tensor, const struct zf_gguf_arch *arch) {
  static const struct zf_config any = {.heads = 1, .kv_heads = 1};
  char *name = zf_gguf_checkpoint_name(arch, tensor->name);
  if (!name) return 0;
  free((char *)tensor->name);
  tensor->name = name;
  if (tensor->ndim == 2 && zf_gguf_change(arch, &any, name).transposed) {
    int64_t rows = tensor->shape[0];
    tensor->shape[0] = tensor->shape[1];
    tensor->shape[1] = rows;
  }
  return 0;
}

/* Makes a tensor of each row of one whose name has an "@" for the number of the row. */
static int split_rows(struct zf_st *st, int64_t number) {
  struct zf_st_tensor whole = st->tensor[number];
  int64_t rows = whole.ndim == 2 ? whole.shape[0] : 1, columns = whole.count / (rows ? rows : 1);
  struct zf_st_tensor *all =
      realloc(st->tensor, (size_t)(st->count + rows + 1) * sizeof *st->tensor);
  const char *at = strchr(whole.name, '@');
  if (!all) return zf_error(ZF_ENOMEM, "%s: out of memory", st->path[0]);
  st->tensor = all;
  for (int64_t i = 0; i < rows; i++) {
    struct zf_st_tensor *row = &all[i ? st->count : number];
    *row = whole;
    row->name = zf_asprintf("%.*s%lld%s", (int)(at - whole.name), whole.name, (long long)i, at + 1);
    row->ndim = 1;
    row->shape[0] = row->count = columns;
    row->bytes = whole.bytes / (size_t)rows;
    row->data = whole.data + (size_t)i * row->bytes;
    if (i) st->count++;
    if (!row->name) return ZF_ENOMEM;
  }
  free((char *)whole.name);
  return 0;
}

static int rename_all(struct zf_st *st, const struct zf_gguf_arch *arch) {
  int64_t count = st->count;
  int rc = 0;
  for (int64_t i = 0; i < count; i++) {
    if (rc) break;
    rc = rename_tensor(&st->tensor[i], arch);
    if (!rc && strchr(st->tensor[i].name, '@')) rc = split_rows(st, i);
  }
  return rc ? rc : zf_st_sort(st);
}

int zf_gguf_weights(struct zf_st **st, const struct zf_gguf_arch **arch, const char *path) {
  struct zf_gguf_source source;
  *st = NULL;
  int rc = open_source(&source, path);
  if (rc) return rc;
  rc = rename_all(source.gguf.st, source.arch);
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
