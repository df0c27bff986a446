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
  if (config->r < 1 || config->r > 1 << 24)
    return zf_error(ZF_EINVALID, "%s: key 'rank': expected an integer from 1 on", name);
  if (!isfinite(scale))
    return zf_error(ZF_EINVALID, "%s: key 'scale' of lora_parameters is missing", name);
  config->alpha = scale * (double)config->r;
  return 0;
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

/* target_modules: the paths themselves. */
static int set_targets(struct zf_adapter_file *file) {
  const char **name = zf_calloc(file->count + 1, sizeof *name);
  int64_t count = 0;
  if (!name) return ZF_ENOMEM;
  for (int64_t i = 0; i < file->count; i++) {
    const char *part = file->tensor[i].part;
    if (!strcmp(part, "lora_A") || !strcmp(part, "lora_embedding_A"))
      name[count++] = file->tensor[i].module;
  }
  int rc = zf_peft_names_set(&file->config.target, name, count, NULL);
  free(name);
  return rc;
}

int zf_adapter_read_mlx(struct zf_adapter_file *file, const json_t *config, const struct zf_st *st,
                        const char *config_name) {
  int rc = read_config(&file->config, config, config_name);
  for (int64_t i = 0; i < st->count && !rc; i++) rc = take_tensor(file, &st->tensor[i]);
  return rc ? rc : set_targets(file);
}
