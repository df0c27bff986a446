/* Adapters that a word names, and the base models that they name. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "fmt/gguf.h"
#include "fmt/json.h"
#include "peft/adapter.h"

static void free_file(void *file) {
  zf_adapter_file_free(file);
}

/* [NAME=]PATH[:WEIGHT] */
static int parse_word(const char *word, char **path, double *weight) {
  const char *equals = strchr(word, '='), *from = equals ? equals + 1 : word;
  const char *colon = strrchr(from, ':');
  char *end = NULL;
  double number = colon && colon[1] ? strtod(colon + 1, &end) : 1;
  int has_weight = end && !*end;
  *weight = has_weight ? number : 1;
  *path = has_weight ? zf_strndup(from, (size_t)(colon - from)) : zf_strdup(from);
  return *path ? 0 : ZF_ENOMEM;
}

static int note_path(struct zf_model *model, const char *word) {
  char *text = model->adapters ? zf_asprintf("%s + %s", model->adapters, word) : zf_strdup(word);
  if (!text) return ZF_ENOMEM;
  free(model->adapters);
  model->adapters = text;
  return 0;
}

int zf_adapter_use(struct zf_model *model, const char *word, struct zf_adapter_file **file) {
  struct zf_adapter_file *read = NULL;
  char *path;
  double weight;
  int rc = parse_word(word, &path, &weight);
  if (!rc) rc = zf_adapter_file_read(&read, path, model);
  free(path);
  if (!rc) rc = zf_model_own(model, read, free_file);
  if (!rc) rc = zf_adapter_attach(model, read, weight, ZF_TRAIN_NOTHING);
  if (!rc) rc = note_path(model, word);
  if (!rc && file) *file = read;
  return rc;
}

/* The key by which each format names the base. */
static const struct {
  const char *format, *key;
} base_key[] = {
    {"PEFT", "base_model_name_or_path"},
    {"MLX", "model"},
    {"GGUF", "general.base_model.0.name"},
};
enum { FORMATS = sizeof base_key / sizeof *base_key };

/* The model with this name, as written or relative to the adapter's directory. */
static int find_base(char **base, const char *name, const char *path) {
  if (!zf_model_find(base, name)) return 0;
  char *beside = *name == '/' ? NULL : zf_path_join(path, name);
  int found = beside && !zf_model_find(base, beside);
  free(beside);
  if (found) {
    zf_error_clear();
    return 0;
  }
  return zf_error(
      ZF_EUSAGE,
      "%s: is an adapter of the base model '%s', which is not there: give the base model, and "
      "the adapter by --adapter (adapter: in a config)",
      path, name);
}

/* *keys: what the adapter says of itself.  Its tensors are not read: their meaning may depend on the base. */
static int read_keys(json_t **keys, const char *path, int is_gguf) {
  struct zf_gguf gguf;
  if (!is_gguf) {
    char *name = zf_path_join(path, "adapter_config.json");
    int rc = name ? zf_json_load(keys, name) : ZF_ENOMEM;
    free(name);
    return rc;
  }
  int rc = zf_gguf_open(&gguf, path, 0);
  if (rc) return rc;
  *keys = json_incref(gguf.keys);
  zf_gguf_free(&gguf);
  return 0;
}

int zf_adapter_base(char **base, const char *path) {
  const char *format = zf_adapter_probe(path), *name = NULL;
  json_t *keys = NULL;
  *base = NULL;
  if (!format) return zf_error(ZF_EUSAGE, "%s: no such adapter", path);
  int rc = read_keys(&keys, path, !strcmp(format, "GGUF"));
  for (int i = 0; i < FORMATS && !rc; i++)
    if (!strcmp(base_key[i].format, format)) rc = zf_json_str(&name, keys, base_key[i].key, path);
  if (!rc && !name)
    rc = zf_error(
        ZF_EUSAGE,
        "%s: is an adapter that names no base model: give the base model, and the adapter by "
        "--adapter",
        path);
  if (!rc) rc = find_base(base, name, path);
  json_decref(keys);
  return rc;
}

int zf_adapter_labels(int64_t *labels, const char *path) {
  struct zf_adapter_file *file;
  const char *format = zf_adapter_probe(path);
  *labels = 0;
  if (!format || strcmp(format, "PEFT") != 0) return 0; /* the others hold LoRA alone */
  int rc = zf_adapter_file_read(&file, path, NULL);
  if (rc) return rc;
  int classifies = file->config.task_type && !strcmp(file->config.task_type, "SEQ_CLS");
  for (int64_t i = 0; i < file->count && classifies; i++) {
    const struct zf_adapter_tensor *tensor = &file->tensor[i];
    const char *last = strrchr(tensor->module, '.');
    int head = !strcmp(last ? last + 1 : tensor->module, "score") ||
               !strcmp(last ? last + 1 : tensor->module, "classifier") ||
               !strcmp(last ? last + 1 : tensor->module, "out_proj");
    if (head && !strcmp(tensor->part, "weight") && tensor->ndim == 2) *labels = tensor->shape[0];
  }
  zf_adapter_file_free(file);
  return 0;
}
