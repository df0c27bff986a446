/* PEFT's directories: adapter_config.json, adapter_model.safetensors, README.md.
 *
 * A key is "base_model.model." + path of the module + an ending of the table below. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "fmt/json.h"
#include "peft/peft_internal.h"

static const char prefix[] = "base_model.model.";

enum {
  LORA = 1 << ZF_PEFT_LORA,
  IA3 = 1 << ZF_PEFT_IA3,
  LN = 1 << ZF_PEFT_LN,
  VERA = 1 << ZF_PEFT_VERA,
  TOKENS = 1 << ZF_PEFT_TOKENS,
  PLAIN = LORA | IA3 | LN | VERA,
};

/* Longer endings first.  base: the tensor is one of the base that the adapter replaces. */
static const struct {
  const char *ending, *part;
  unsigned kinds;
  int base;
} endings[] = {
    {".lora_A.weight", "lora_A", LORA, 0},
    {".lora_B.weight", "lora_B", LORA, 0},
    {".lora_embedding_A", "lora_embedding_A", LORA, 0},
    {".lora_embedding_B", "lora_embedding_B", LORA, 0},
    {".lora_magnitude_vector", "lora_magnitude_vector", LORA, 0},
    {".lora_magnitude_vector.weight", "lora_magnitude_vector", LORA, 0},
    {".ia3_l", "ia3_l", IA3, 0},
    {".vera_lambda_b", "vera_lambda_b", VERA, 0},
    {".vera_lambda_d", "vera_lambda_d", VERA, 0},
    {".token_adapter.trainable_tokens_delta", "trainable_tokens_delta", LORA, 0},
    {".trainable_tokens_delta", "trainable_tokens_delta", TOKENS, 0},
    {".ln_tuning_layers.weight", "weight", LN, 0},
    {".ln_tuning_layers.bias", "bias", LN, 0},
    {".base_layer.weight", "weight", LORA | IA3 | VERA, 0},
    {".base_layer.bias", "bias", LORA | IA3 | VERA, 0},
    {".weight", "weight", PLAIN, 1},
    {".bias", "bias", PLAIN, 1},
};
enum { ENDINGS = sizeof endings / sizeof *endings };

/* Tensors of the model as a whole. */
static const struct {
  const char *key, *part;
  unsigned kinds;
} wholes[] = {
    {"prompt_embeddings", "prompt_embeddings", 1 << ZF_PEFT_PREFIX | 1 << ZF_PEFT_PROMPT},
    {"base_model.vera_A", "vera_A", VERA},
    {"base_model.vera_B", "vera_B", VERA},
};

static int ends_in(const char *text, const char *ending) {
  size_t len = strlen(text), ending_len = strlen(ending);
  return len > ending_len && !strcmp(text + len - ending_len, ending);
}

int zf_adapter_is_embedding(const char *module) {
  static const char *const names[] = {"embed_tokens", "lm_head",   "wte",
                                      "embed_in",     "embed_out", "word_embeddings"};
  const char *last = strrchr(module, '.');
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (!strcmp(last ? last + 1 : module, names[i])) return 1;
  return 0;
}

/* --- reading --- */

/* 1 where a setting of the config explains why the adapter holds this tensor of the base: the module
 * is saved, biases are trained, or PEFT added a resized embedding. */
static int is_explained(const struct zf_peft_config *config, const char *module, const char *part) {
  if (strstr(module, ".lora_")) return 0;
  if (!strcmp(part, "bias") && config->bias && strcmp(config->bias, "none") != 0) return 1;
  if (zf_adapter_is_embedding(module)) return 1;
  for (int64_t i = 0; i < config->saved.count; i++) {
    const char *name = config->saved.name[i];
    size_t len = strlen(name);
    for (const char *at = strstr(module, name); at; at = strstr(at + 1, name))
      if ((at == module || at[-1] == '.') && (!at[len] || at[len] == '.')) return 1;
  }
  return 0;
}

static int unknown(const struct zf_adapter_file *file, const char *key) {
  return zf_error(ZF_EINVALID, "%s: tensor '%.200s' is none of a %s adapter with this config",
                  file->path, key, zf_peft_kinds[file->config.kind].peft_type);
}

/* PEFT 0.21 writes the bias of a saved module three times if bias is "all"; it loads the one without
 * these words. */
static int is_duplicate(const struct zf_st *st, const char *key) {
  static const char *const words[] = {".modules_to_save.", ".original_module."};
  for (int i = 0; i < 2; i++) {
    const char *at = strstr(key, words[i]);
    if (!at) continue;
    char *plain = zf_asprintf("%.*s.%s", (int)(at - key), key, at + strlen(words[i]));
    int found = plain && zf_st_find(st, plain) != NULL;
    free(plain);
    return found;
  }
  return 0;
}

static int take_module(struct zf_adapter_file *file, const struct zf_st_tensor *tensor) {
  const char *path = tensor->name + strlen(prefix);
  for (int i = 0; i < ENDINGS; i++) {
    if (!ends_in(path, endings[i].ending)) continue;
    if (!(endings[i].kinds >> file->config.kind & 1)) break;
    char *module = zf_strndup(path, strlen(path) - strlen(endings[i].ending));
    int rc = module ? 0 : ZF_ENOMEM;
    if (!rc && endings[i].base && !is_explained(&file->config, module, endings[i].part))
      rc = unknown(file, tensor->name);
    if (!rc) rc = zf_adapter_file_take(file, module, endings[i].part, tensor, 0);
    free(module);
    return rc;
  }
  return unknown(file, tensor->name);
}

static int take_tensor(struct zf_adapter_file *file, const struct zf_st *st,
                       const struct zf_st_tensor *tensor) {
  for (size_t i = 0; i < sizeof wholes / sizeof *wholes; i++)
    if (!strcmp(tensor->name, wholes[i].key) && wholes[i].kinds >> file->config.kind & 1)
      return zf_adapter_file_take(file, "", wholes[i].part, tensor, 0);
  if (strncmp(tensor->name, prefix, strlen(prefix)) != 0) return unknown(file, tensor->name);
  if (is_duplicate(st, tensor->name)) return 0;
  return take_module(file, tensor);
}

int zf_adapter_read_peft(struct zf_adapter_file *file, const json_t *config, const struct zf_st *st,
                         const char *config_name, const struct zf_model *base) {
  (void)base;
  int rc = zf_peft_config_read(&file->config, config, config_name);
  if (rc) return rc;
  for (int64_t i = 0; i < st->count; i++)
    if ((rc = take_tensor(file, st, &st->tensor[i]))) return rc;
  return 0;
}

/* --- writing --- */

/* 1 where PEFT wraps the module, so that tensors of the base get ".base_layer". */
static int is_wrapped(const struct zf_adapter_file *file, const char *module) {
  static const char *const parts[] = {"lora_A", "lora_embedding_A", "ia3_l", "vera_lambda_b"};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    if (zf_adapter_file_find(file, module, parts[i])) return 1;
  return 0;
}

/* Ending of the key of a tensor of the base. */
static const char *base_ending(const struct zf_adapter_file *file,
                               const struct zf_adapter_tensor *tensor) {
  int is_bias = !strcmp(tensor->part, "bias");
  if (file->config.kind == ZF_PEFT_LN && !is_explained(&file->config, tensor->module, tensor->part))
    return is_bias ? ".ln_tuning_layers.bias" : ".ln_tuning_layers.weight";
  if (is_wrapped(file, tensor->module)) return is_bias ? ".base_layer.bias" : ".base_layer.weight";
  return is_bias ? ".bias" : ".weight";
}

char *zf_adapter_tensor_key(const struct zf_adapter_file *file,
                            const struct zf_adapter_tensor *tensor) {
  for (size_t i = 0; i < sizeof wholes / sizeof *wholes; i++)
    if (!*tensor->module && !strcmp(tensor->part, wholes[i].part)) return zf_strdup(wholes[i].key);
  if (!strcmp(tensor->part, "weight") || !strcmp(tensor->part, "bias"))
    return zf_asprintf("%s%s%s", prefix, tensor->module, base_ending(file, tensor));
  for (int i = 0; i < ENDINGS; i++)
    if (!strcmp(tensor->part, endings[i].part) && endings[i].kinds >> file->config.kind & 1)
      return zf_asprintf("%s%s%s", prefix, tensor->module, endings[i].ending);
  zf_error(ZF_EUSAGE, "%s: a %s adapter has no part '%s'", file->path,
           zf_peft_kinds[file->config.kind].peft_type, tensor->part);
  return NULL;
}

static int write_readme(const struct zf_adapter_file *file, const char *dir) {
  struct zf_buf text = {0};
  const char *base = file->config.base_model ? file->config.base_model : "";
  char *path = zf_path_join(dir, "README.md");
  json_t *quoted = json_string(base); /* a JSON string is a YAML string */
  char *yaml = quoted ? json_dumps(quoted, JSON_ENCODE_ANY) : NULL;
  zf_buf_printf(&text, "---\nbase_model: %s\nlibrary_name: peft\n---\n\n", yaml ? yaml : "\"\"");
  zf_buf_printf(&text, "A %s adapter, written by zoft.\n",
                zf_peft_kinds[file->config.kind].peft_type);
  int rc = path ? zf_buf_ok(&text) : ZF_ENOMEM;
  if (!rc) rc = zf_write_file(path, text.data, text.len);
  free(yaml);
  json_decref(quoted);
  free(path);
  zf_buf_free(&text);
  return rc;
}

static int write_config(const struct zf_adapter_file *file, const char *dir) {
  json_t *obj = zf_peft_config_json(&file->config);
  int rc = obj ? zf_adapter_write_json(dir, "adapter_config.json", obj) : ZF_ENOMEM;
  json_decref(obj);
  return rc;
}

int zf_adapter_file_write_peft(const struct zf_adapter_file *file, const char *dir,
                               const char *const *metadata, int64_t nmetadata) {
  char *path = zf_path_join(dir, "adapter_model.safetensors");
  int rc = path ? zf_mkdirs(dir) : ZF_ENOMEM;
  if (!rc) rc = zf_adapter_write_tensors(file, path, zf_adapter_tensor_key, metadata, nmetadata);
  if (!rc) rc = write_config(file, dir);
  if (!rc) rc = write_readme(file, dir);
  free(path);
  return rc;
}
