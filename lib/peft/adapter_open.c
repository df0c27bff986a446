/* Adapters that a word names, and the base models that they name. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
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

int zf_adapter_base(char **base, const char *path) {
  struct zf_adapter_file *file;
  *base = NULL;
  int rc = zf_adapter_file_read(&file, path, NULL);
  if (rc) return rc;
  if (!file->config.base_model)
    rc = zf_error(
        ZF_EUSAGE,
        "%s: is an adapter that names no base model: give the base model, and the adapter by "
        "--adapter",
        path);
  else
    rc = find_base(base, file->config.base_model, path);
  zf_adapter_file_free(file);
  return rc;
}

int zf_adapter_labels(int64_t *labels, const char *path) {
  struct zf_adapter_file *file;
  *labels = 0;
  if (!zf_adapter_probe(path)) return 0;
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
