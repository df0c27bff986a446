/* MLX's adapters: adapters.safetensors with path + ".lora_a" [in,r], ".lora_b" [r,out] and, for DoRA,
 * ".m" [out]; adapter_config.json with fine_tune_type and lora_parameters {rank, scale, keys}.
 *
 *   y += scale (x lora_a) lora_b
 *
 * Paths are those of mlx-lm's models, which are Transformers' for the models of Llama's layout. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "base/util.h"
#include "fmt/json.h"
#include "peft/peft_internal.h"

static const struct {
  const char *ending, *part, *embedding_part; /* NULL: an embedding has no such tensor */
  int transposed;
} endings[] = {
    {".lora_a", "lora_A", "lora_embedding_A", 1},
    {".lora_b", "lora_B", "lora_embedding_B", 1},
    {".m", "lora_magnitude_vector", "lora_magnitude_vector", 0},
};
enum { ENDINGS = sizeof endings / sizeof *endings };

/* Modules whose product is a table look-up. */
static int is_table(const char *module) {
  const char *last = strrchr(module, '.');
  last = last ? last + 1 : module;
  return zf_adapter_is_embedding(module) && strcmp(last, "lm_head") != 0 &&
         strcmp(last, "embed_out") != 0;
}

/* --- reading --- */

static int read_parameters(struct zf_peft_config *config, const json_t *obj, const char *name) {
  const json_t *parameters = json_object_get(obj, "lora_parameters");
  double scale = NAN;
  if (!json_is_object(parameters))
    return zf_error(ZF_EINVALID, "%s: key 'lora_parameters': expected an object, found %s", name,
                    zf_json_kind(parameters));
  config->r = 0;
  int rc = zf_json_int(&config->r, parameters, "rank", name);
  if (!rc) rc = zf_json_num(&scale, parameters, "scale", name);
  if (!rc) rc = zf_json_num(&config->dropout, parameters, "dropout", name);
  if (rc) return rc;
  if (config->r < 1 || config->r > ZF_PEFT_MAXRANK)
    return zf_error(ZF_EINVALID, "%s: key 'rank': expected an integer from 1 to %d", name,
                    ZF_PEFT_MAXRANK);
  if (!(config->dropout >= 0 && config->dropout <= 1))
    return zf_error(ZF_EINVALID, "%s: key 'dropout': expected a number from 0 to 1", name);
  config->alpha = scale * (double)config->r;
  if (fabs(config->alpha) <= ZF_PEFT_MAXALPHA) return 0;
  return zf_error(ZF_EINVALID, "%s: key 'scale' of lora_parameters is %s", name,
                  isnan(scale) ? "missing" : "too large");
}

static int read_config(struct zf_peft_config *config, const json_t *obj, const char *name) {
  const char *type = "lora", *model = NULL;
  if (!json_is_object(obj))
    return zf_error(ZF_EINVALID, "%s: expected an object, found %s", name, zf_json_kind(obj));
  int rc = zf_peft_config_init(config, ZF_PEFT_LORA);
  if (!rc) rc = zf_json_str(&type, obj, "fine_tune_type", name);
  if (!rc) rc = zf_json_str(&model, obj, "model", name);
  if (rc) return rc;
  config->dora = !strcmp(type, "dora");
  if (!config->dora && strcmp(type, "lora") != 0)
    return zf_error(ZF_EINVALID,
                    "%s: fine_tune_type '%.60s' is not supported; supported are lora, dora", name,
                    type);
  if (model && !(config->base_model = zf_strdup(model))) return ZF_ENOMEM;
  return read_parameters(config, obj, name);
}

static int take_tensor(struct zf_adapter_file *file, const struct zf_st_tensor *tensor) {
  size_t len = strlen(tensor->name);
  for (int i = 0; i < ENDINGS; i++) {
    size_t ending = strlen(endings[i].ending);
    if (len <= ending || strcmp(tensor->name + len - ending, endings[i].ending) != 0) continue;
    char *module = zf_strndup(tensor->name, len - ending);
    if (!module) return ZF_ENOMEM;
    const char *part = is_table(module) ? endings[i].embedding_part : endings[i].part;
    int rc = zf_adapter_file_take(file, module, part, tensor, endings[i].transposed);
    free(module);
    return rc;
  }
  return zf_error(ZF_EINVALID, "%s: tensor '%.200s' is none of an MLX LoRA adapter", file->path,
                  tensor->name);
}

/* mlx-lm adds an adapter of a tied embedding to the output head, too, and has a magnitude for each
 * token where PEFT has one for each dimension. */
static int check_tables(const struct zf_adapter_file *file, const struct zf_model *base) {
  for (int64_t i = 0; i < file->count; i++) {
    if (!is_table(file->tensor[i].module)) continue;
    if (file->config.dora)
      return zf_error(ZF_EINVALID, "%s: DoRA of the embedding '%.200s': MLX's form has no support",
                      file->path, file->tensor[i].module);
    if (!base || base->config.tied)
      return zf_error(base ? ZF_EINVALID : ZF_EUSAGE,
                      "%s: '%.200s': MLX adapts a tied output head together with the embedding, "
                      "which zoft does not support: %s",
                      file->path, file->tensor[i].module,
                      base ? "the base is tied"
                           : "name the base, so that zoft can see whether it is");
  }
  return 0;
}

int zf_adapter_read_mlx(struct zf_adapter_file *file, const json_t *config, const struct zf_st *st,
                        const char *config_name, const struct zf_model *base) {
  int rc = read_config(&file->config, config, config_name);
  if (rc) return rc;
  for (int64_t i = 0; i < st->count; i++)
    if ((rc = take_tensor(file, &st->tensor[i]))) return rc;
  rc = check_tables(file, base);
  return rc ? rc : zf_adapter_set_targets(file);
}

/* --- writing --- */

/* The scale of all modules, and the largest rank. */
struct mlx_form {
  double scale;
  int64_t rank;
};

static int find_form(struct mlx_form *form, const struct zf_adapter_file *file) {
  const struct zf_peft_config *config = &file->config;
  double alpha = config->alpha != 0 ? config->alpha : 1;
  form->scale = alpha / (config->rslora ? sqrt((double)config->r) : (double)config->r);
  form->rank = 1;
  for (int64_t i = 0; i < file->count; i++) {
    const struct zf_adapter_tensor *tensor = &file->tensor[i];
    if (zf_adapter_is_a(tensor)) form->rank = zf_max64(form->rank, tensor->shape[0]);
    if (!is_table(tensor->module) &&
        (!strncmp(tensor->module, "model.layers.", 13) || !strcmp(tensor->module, "lm_head")))
      continue;
    return zf_error(ZF_EUSAGE,
                    "%s: '%.200s': zoft writes MLX adapters of modules in model.layers and of "
                    "lm_head alone",
                    file->path, tensor->module);
  }
  return 0;
}

static int add_tensor(struct zf_adapter_file *to, const struct zf_adapter_file *file,
                      const struct zf_adapter_tensor *tensor, const struct mlx_form *form) {
  double scale;
  int is_a = zf_adapter_is_a(tensor);
  if (tensor->ndim == 1)
    return zf_adapter_file_add(to, tensor->module, "m", 1, tensor->shape, tensor->data);
  int rc = zf_peft_scale(&scale, &file->config, tensor->module);
  if (rc) return rc;
  return zf_adapter_add_factor(to, tensor->module, is_a ? "lora_a" : "lora_b", tensor,
                               is_a ? 1 : scale / form->scale, form->rank, 1);
}

static int add_tensors(struct zf_adapter_file *to, const struct zf_adapter_file *file,
                       const struct mlx_form *form) {
  for (int64_t i = 0; i < file->count; i++) {
    int rc = add_tensor(to, file, &file->tensor[i], form);
    if (rc) return rc;
  }
  return 0;
}

/* The path within its layer, by which mlx-lm finds the module in every layer. */
static const char *key_of(const char *module) {
  const char *dot = strncmp(module, "model.layers.", 13) ? NULL : strchr(module + 13, '.');
  return dot ? dot + 1 : module;
}

static int has_text(const json_t *list, const char *text) {
  for (size_t i = 0; i < json_array_size(list); i++)
    if (!strcmp(json_string_value(json_array_get(list, i)), text)) return 1;
  return 0;
}

static json_t *list_keys(const struct zf_adapter_file *file) {
  json_t *keys = json_array();
  for (int64_t i = 0; i < file->count; i++) {
    const char *key = key_of(file->tensor[i].module);
    if (!has_text(keys, key)) json_array_append_new(keys, json_string(key));
  }
  return keys;
}

/* num_layers -1: the keys are looked for in all layers. */
static int write_config(const struct zf_adapter_file *file, const char *dir,
                        const struct mlx_form *form) {
  int64_t before = zf_json_failures();
  json_t *obj = json_pack("{s:s, s:i, s:{s:I, s:f, s:f, s:o}}", "fine_tune_type",
                          file->config.dora ? "dora" : "lora", "num_layers", -1, "lora_parameters",
                          "rank", (json_int_t)form->rank, "scale", form->scale, "dropout",
                          file->config.dropout, "keys", list_keys(file));
  if (file->config.base_model)
    json_object_set_new(obj, "model", json_string(file->config.base_model));
  int rc = zf_json_check_memory(0, before, "adapter_config.json");
  if (!rc) rc = zf_adapter_write_json(dir, "adapter_config.json", obj);
  json_decref(obj);
  return rc;
}

int zf_adapter_file_write_mlx(const struct zf_adapter_file *file, const char *dir) {
  struct zf_adapter_file *made = NULL;
  struct mlx_form form;
  char *path = NULL;
  int rc = zf_adapter_file_only_lora(file, "MLX", 1);
  if (!rc) rc = find_form(&form, file);
  if (!rc) rc = zf_adapter_file_new(&made, dir);
  if (!rc) rc = add_tensors(made, file, &form);
  if (!rc) rc = zf_mkdirs(dir);
  if (!rc && !(path = zf_path_join(dir, "adapters.safetensors"))) rc = ZF_ENOMEM;
  if (!rc) rc = zf_adapter_write_tensors(made, path, zf_adapter_plain_name, NULL, 0);
  if (!rc) rc = write_config(file, dir, &form);
  free(path);
  zf_adapter_file_free(made);
  return rc;
}
