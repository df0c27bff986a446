/* LoRA adapters of llama.cpp: a GGUF file with general.type = adapter, adapter.type = lora and
 * adapter.lora.alpha; tensors NAME.lora_a [r,in] and NAME.lora_b [out,r], NAME as in the base's file.
 *
 *   y += alpha / r B A x, r the rank of the tensor; alpha = 0: the factor is 1
 *
 * Of the embedding, lora_a is [V,r].  Where the architecture stores q and k with the two rows of a
 * rotary pair as neighbours, so are the rows of lora_b. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "fmt/gguf_write.h"
#include "fmt/json.h"
#include "peft/peft_internal.h"

static const struct zf_gguf_arch *arch_of_base(const struct zf_model *base) {
  return base->gguf ? base->gguf : zf_gguf_arch_of(&base->config);
}

/* The change of the rows of a weight.  *unknown: there is one, and no base that tells its heads. */
static struct zf_gguf_change change_of_rows(const struct zf_gguf_arch *arch,
                                            const struct zf_model *base, const char *name,
                                            int *unknown) {
  static const struct zf_config any = {.heads = 1, .kv_heads = 1};
  struct zf_gguf_change change = zf_gguf_change(arch, base ? &base->config : &any, name);
  *unknown = change.heads && !base;
  return change;
}

/* Rows in the file's order; to_gguf: from the checkpoint's, else to it. */
static int permute_rows(struct zf_adapter_tensor *tensor, struct zf_gguf_change change,
                        int to_gguf) {
  int64_t width = tensor->shape[1], groups = change.heads * (change.parts ? change.parts : 2);
  if (tensor->shape[0] % groups)
    return zf_error(ZF_EINVALID, "'%.200s': %lld rows are not those of %lld heads", tensor->module,
                    (long long)tensor->shape[0], (long long)change.heads);
  size_t bytes = (size_t)width * sizeof *tensor->data;
  float *made = malloc((size_t)tensor->count * sizeof *made);
  if (!made) return zf_error(ZF_ENOMEM, "out of memory for '%.200s'", tensor->module);
  for (int64_t row = 0; row < tensor->shape[0]; row++) {
    int64_t other = zf_gguf_file_row(change, tensor->shape[0], row);
    int64_t from = to_gguf ? row : other, to = to_gguf ? other : row;
    memcpy(made + to * width, tensor->data + from * width, bytes);
  }
  free(tensor->data);
  tensor->data = made;
  return 0;
}

/* --- reading --- */

struct gguf_adapter {
  struct zf_adapter_file *file;
  const struct zf_gguf_arch *arch;
  const struct zf_model *base;
};

static int expect_text(const json_t *keys, const char *key, const char *expected,
                       const char *path) {
  const char *text = NULL;
  int rc = zf_json_str(&text, keys, key, path);
  if (rc || (text && !strcmp(text, expected))) return rc;
  return zf_error(ZF_EINVALID, "%s: key '%s' is '%.60s': expected '%s'", path, key,
                  text ? text : "", expected);
}

static int read_arch(struct gguf_adapter *reader, const json_t *keys) {
  const char *name = "", *path = reader->file->path;
  int rc = zf_json_str(&name, keys, "general.architecture", path);
  if (rc) return rc;
  if (!(reader->arch = zf_gguf_arch_find(name)))
    return zf_error(ZF_EINVALID, "%s: architecture '%.60s' is not supported", path, name);
  if (reader->base && arch_of_base(reader->base) != reader->arch)
    return zf_error(ZF_EINVALID, "%s: an adapter of the architecture %s: the base is %s", path,
                    name, reader->base->config.family->model_type);
  return 0;
}

static int read_keys(struct gguf_adapter *reader, const json_t *keys) {
  struct zf_peft_config *config = &reader->file->config;
  const char *path = reader->file->path, *base_model = NULL;
  int rc = expect_text(keys, "general.type", "adapter", path);
  if (!rc) rc = expect_text(keys, "adapter.type", "lora", path);
  if (!rc) rc = read_arch(reader, keys);
  if (!rc) rc = zf_peft_config_init(config, ZF_PEFT_LORA);
  if (rc) return rc;
  config->alpha = 0;
  rc = zf_json_num(&config->alpha, keys, "adapter.lora.alpha", path);
  if (!rc) rc = zf_json_str(&base_model, keys, "general.base_model.0.name", path);
  if (rc) return rc;
  if (fabs(config->alpha) > ZF_PEFT_MAXALPHA)
    return zf_error(ZF_EINVALID, "%s: key 'adapter.lora.alpha' is %g: too large", path,
                    config->alpha);
  if (json_object_get(keys, "adapter.alora.invocation_tokens"))
    return zf_error(ZF_EINVALID,
                    "%s: key 'adapter.alora.invocation_tokens': activated LoRA has no support",
                    path);
  if (base_model && !(config->base_model = zf_strdup(base_model))) return ZF_ENOMEM;
  return 0;
}

/* Takes lora_a or lora_b of `name`, a tensor of the checkpoint that ends in .weight. */
static int take_factor(struct gguf_adapter *reader, const struct zf_st_tensor *tensor,
                       const char *name, int is_a) {
  static const char *const parts[2][2] = {{"lora_B", "lora_A"},
                                          {"lora_embedding_B", "lora_embedding_A"}};
  int table = !strncmp(tensor->name, "token_embd.weight.", 18), unknown;
  struct zf_gguf_change change = change_of_rows(reader->arch, reader->base, name, &unknown);
  if (!is_a && unknown)
    return zf_error(ZF_EUSAGE,
                    "%s: the rows of '%.200s' are permuted by heads: name the base, whose config "
                    "tells their number",
                    reader->file->path, tensor->name);
  char *module = zf_strndup(name, strlen(name) - strlen(".weight"));
  int rc = module ? 0 : ZF_ENOMEM;
  if (!rc)
    rc = zf_adapter_file_take(reader->file, module, parts[table][is_a], tensor, table && is_a);
  free(module);
  if (rc || is_a || !change.heads) return rc;
  struct zf_adapter_tensor *taken = &reader->file->tensor[reader->file->count - 1];
  if (taken->ndim != 2)
    return zf_error(ZF_EINVALID, "%s: tensor '%.200s': expected 2 dimensions", reader->file->path,
                    tensor->name);
  rc = permute_rows(taken, change, 0);
  return rc ? zf_error_prefix(rc, "%s", reader->file->path) : 0;
}

static int take_tensor(struct gguf_adapter *reader, const struct zf_st_tensor *tensor) {
  size_t len = strlen(tensor->name), ending = strlen(".lora_a");
  const char *last = len > ending ? tensor->name + len - ending : "";
  int is_a = !strcmp(last, ".lora_a"), is_b = !strcmp(last, ".lora_b");
  char *stem = is_a || is_b ? zf_strndup(tensor->name, len - ending) : NULL;
  char *name = stem ? zf_gguf_checkpoint_name(reader->arch, stem) : NULL;
  size_t name_len = name ? strlen(name) : 0;
  int rc;
  if (name_len > 7 && !strcmp(name + name_len - 7, ".weight"))
    rc = take_factor(reader, tensor, name, is_a);
  else
    rc = zf_error(ZF_EINVALID, "%s: tensor '%.200s' is none of a LoRA adapter of %s",
                  reader->file->path, tensor->name, zf_gguf_arch_name(reader->arch));
  free(name);
  free(stem);
  return rc;
}

/* The path as a regular expression. */
static char *escape(const char *module) {
  struct zf_buf buf = {0};
  for (; *module; module++) {
    if (*module == '.') zf_buf_putc(&buf, '\\');
    zf_buf_putc(&buf, *module);
  }
  if (!zf_buf_ok(&buf)) return buf.data;
  zf_buf_free(&buf);
  return NULL;
}

static int add_pattern(struct zf_peft_patterns *patterns, const char *module, double value) {
  size_t room = (size_t)(patterns->count + 1) * sizeof *patterns->pattern;
  struct zf_peft_pattern *grown = realloc(patterns->pattern, room);
  if (!grown) return zf_error(ZF_ENOMEM, "out of memory for %zu bytes", room);
  patterns->pattern = grown;
  if (!(grown[patterns->count].pattern = escape(module))) return ZF_ENOMEM;
  grown[patterns->count++].value = value;
  return 0;
}

static int set_rank(struct zf_adapter_file *file, const struct zf_adapter_tensor *tensor,
                    int unscaled) {
  struct zf_peft_config *config = &file->config;
  int64_t rank = tensor->shape[0];
  if (rank > ZF_PEFT_MAXRANK)
    return zf_error(ZF_EINVALID, "%s: '%.200s' has a rank of %lld: at most %d are allowed",
                    file->path, tensor->module, (long long)rank, ZF_PEFT_MAXRANK);
  if (!config->r) config->r = rank;
  if (rank == config->r) return 0;
  int rc = add_pattern(&config->rank_by, tensor->module, (double)rank);
  if (!rc && unscaled) rc = add_pattern(&config->alpha_by, tensor->module, (double)rank);
  return rc;
}

/* r is the rank of the first module; others are listed in rank_pattern.  Where alpha is 0, every
 * module's alpha is its rank. */
static int set_ranks(struct zf_adapter_file *file) {
  struct zf_peft_config *config = &file->config;
  int unscaled = config->alpha == 0;
  config->r = 0;
  for (int64_t i = 0; i < file->count; i++) {
    if (!zf_adapter_is_a(&file->tensor[i])) continue;
    int rc = set_rank(file, &file->tensor[i], unscaled);
    if (rc) return rc;
  }
  if (unscaled) config->alpha = (double)config->r;
  if (!config->r) config->r = 1;
  return 0;
}

int zf_adapter_read_gguf(struct zf_adapter_file *file, const struct zf_gguf *gguf,
                         const struct zf_model *base) {
  struct gguf_adapter reader = {.file = file, .base = base};
  int rc = read_keys(&reader, gguf->keys);
  if (rc) return rc;
  for (int64_t i = 0; i < gguf->st->count; i++)
    if ((rc = take_tensor(&reader, &gguf->st->tensor[i]))) return rc;
  rc = set_ranks(file);
  return rc ? rc : zf_adapter_set_targets(file);
}

/* --- writing --- */

/* The factor of lora_b: its module's scale over alpha / rank. */
static int find_factor(double *factor, const struct zf_adapter_file *file,
                       const struct zf_adapter_tensor *tensor, float alpha) {
  double scale;
  int64_t rank = tensor->shape[zf_adapter_is_a(tensor) ? 0 : 1];
  int rc = zf_peft_scale(&scale, &file->config, tensor->module);
  *factor = zf_adapter_is_a(tensor) ? 1 : scale / ((double)alpha / (double)rank);
  return rc;
}

/* llama.cpp's name of a module's weight; the caller frees.  NULL with a code: it has none. */
static int name_weight(char **out, const struct zf_adapter_file *file,
                       const struct zf_gguf_arch *arch, const struct zf_model *base,
                       const char *module) {
  char *name = zf_asprintf("%s.weight", module);
  if (!name) return ZF_ENOMEM;
  *out = zf_gguf_tensor_name(arch, name);
  free(name);
  if (!*out)
    return zf_error(ZF_EUSAGE, "%s: '%.200s' has no name in GGUF files of %s", file->path, module,
                    zf_gguf_arch_name(arch));
  if (strcmp(*out, "output.weight") != 0 || !base->config.tied) return 0;
  return zf_error(ZF_EUSAGE, "%s: lm_head: a GGUF file of a model with a tied head has no head",
                  file->path);
}

static int add_tensor(struct zf_adapter_file *to, const struct zf_adapter_file *file,
                      const struct zf_adapter_tensor *tensor, const struct zf_model *base,
                      float alpha) {
  const struct zf_gguf_arch *arch = arch_of_base(base);
  int is_a = zf_adapter_is_a(tensor), table = !strcmp(tensor->part, "lora_embedding_A");
  char *name = NULL, *weight = zf_asprintf("%s.weight", tensor->module);
  double factor;
  int rc = weight ? name_weight(&name, file, arch, base, tensor->module) : ZF_ENOMEM;
  if (!rc) rc = find_factor(&factor, file, tensor, alpha);
  if (!rc)
    rc = zf_adapter_add_factor(to, name, is_a ? "lora_a" : "lora_b", tensor, factor,
                               tensor->shape[is_a ? 0 : 1], table);
  int unknown;
  struct zf_gguf_change change = {0};
  if (!rc && !is_a) change = change_of_rows(arch, base, weight, &unknown);
  if (change.heads) rc = permute_rows(&to->tensor[to->count - 1], change, 1);
  free(weight);
  free(name);
  return rc;
}

static int add_tensors(struct zf_adapter_file *to, const struct zf_adapter_file *file,
                       const struct zf_model *base, float alpha) {
  for (int64_t i = 0; i < file->count; i++) {
    int rc = add_tensor(to, file, &file->tensor[i], base, alpha);
    if (rc) return rc;
  }
  return 0;
}

static int write_made(const struct zf_adapter_file *made, const struct zf_peft_config *config,
                      const char *arch, float alpha) {
  struct zf_st_out *out;
  const struct zf_gguf_value values[] = {
      {.key = "general.architecture", .text = arch},
      {.key = "general.type", .text = "adapter"},
      {.key = "adapter.type", .text = "lora"},
      {.key = "adapter.lora.alpha", .type = ZF_GGUF_F32, .real = alpha},
      {.key = "general.file_type", .type = ZF_GGUF_U32, .number = 0},
      {.key = "general.base_model.count", .type = ZF_GGUF_U32, .number = 1},
      {.key = "general.base_model.0.name", .text = config->base_model},
  };
  int64_t count = sizeof values / sizeof *values - (config->base_model ? 0 : 2);
  int rc = zf_adapter_declare(&out, made, zf_adapter_plain_name);
  if (!rc)
    rc = zf_gguf_write(made->path, values, count, out, made->count, zf_adapter_fill, (void *)made);
  zf_adapter_undeclare(out, made->count);
  return rc;
}

int zf_adapter_file_write_gguf(const struct zf_adapter_file *file, const char *path,
                               const struct zf_model *base) {
  struct zf_adapter_file *made = NULL;
  const struct zf_gguf_arch *arch = arch_of_base(base);
  float alpha = (float)file->config.alpha;
  int rc = zf_adapter_file_only_lora(file, "GGUF", 0);
  if (alpha == 0) alpha = 1; /* llama.cpp takes 0 for a factor of 1 */
  if (!rc && !arch)
    rc = zf_error(ZF_EUSAGE, "%s: zoft writes no GGUF adapters for the family %s", file->path,
                  base->config.family->model_type);
  if (!rc) rc = zf_adapter_file_new(&made, path);
  if (!rc) rc = add_tensors(made, file, base, alpha);
  if (!rc) rc = write_made(made, &file->config, zf_gguf_arch_name(arch), alpha);
  zf_adapter_file_free(made);
  return rc;
}
