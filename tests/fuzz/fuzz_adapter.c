/* Adapters from anywhere.  The first byte chooses the format:
 *
 *   p, m   a config up to the first zero byte, then a safetensors file (PEFT, MLX)
 *   g      a GGUF file, over a base of Llama's layout
 *
 * What is accepted keeps its promises: it passes the check again, every tensor is found by its name
 * and is finite, factors have partners, the config is read back from what is written of it. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "peft/adapter_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int ok) {
  if (!ok) abort();
}

static const struct zf_model *make_base(void) {
  static const char config[] =
      "{\"model_type\":\"llama\",\"vocab_size\":40,\"hidden_size\":16,\"intermediate_size\":24,"
      "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"num_key_value_heads\":2,"
      "\"max_position_embeddings\":64,\"rms_norm_eps\":1e-6,\"hidden_act\":\"silu\"}";
  static struct zf_model base;
  if (!base.config.family) check(!zf_config_parse(&base.config, config, strlen(config), "base"));
  return &base;
}

static int parse(struct zf_adapter_file **file, const char *data, size_t size) {
  char kind = *data++;
  size--;
  if (kind == 'g') return zf_adapter_file_parse_gguf(file, data, size, "fuzz.gguf", make_base());
  const char *end = memchr(data, 0, size);
  if (!end || (kind != 'p' && kind != 'm')) return -1;
  size_t config = (size_t)(end - data), rest = size - config - 1;
  if (kind == 'p') return zf_adapter_file_parse(file, data, config, end + 1, rest, "fuzz");
  return zf_adapter_file_parse_mlx(file, data, config, end + 1, rest, "fuzz", make_base());
}

static void check_tensor(const struct zf_adapter_file *file,
                         const struct zf_adapter_tensor *tensor) {
  int64_t rank;
  double scale;
  check(zf_adapter_file_find(file, tensor->module, tensor->part) == tensor);
  check(tensor->ndim == 1 || tensor->ndim == 2);
  check(tensor->count == tensor->shape[0] * (tensor->ndim == 2 ? tensor->shape[1] : 1));
  for (int64_t i = 0; i < tensor->count; i++) check(isfinite(tensor->data[i]));
  if (strcmp(tensor->part, "lora_A") != 0) return;
  const struct zf_adapter_tensor *lora_b = zf_adapter_file_find(file, tensor->module, "lora_B");
  check(!zf_peft_rank(&rank, &file->config, tensor->module));
  check(tensor->shape[0] == rank && lora_b && lora_b->shape[1] == rank);
  if (!zf_peft_scale(&scale, &file->config, tensor->module)) check(isfinite(scale));
}

static void check_config(const struct zf_peft_config *config) {
  struct zf_peft_config copy, again;
  check(!zf_peft_config_copy(&copy, config));
  json_t *obj = zf_peft_config_json(&copy);
  check(obj && !zf_peft_config_read(&again, obj, "again"));
  json_t *same = zf_peft_config_json(&again);
  check(json_equal(obj, same));
  json_decref(obj);
  json_decref(same);
  zf_peft_config_free(&copy);
  zf_peft_config_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct zf_adapter_file *file = NULL;
  if (!size || parse(&file, (const char *)data, size)) return 0;
  check(!zf_adapter_file_check(file));
  for (int64_t i = 0; i < file->count; i++) check_tensor(file, &file->tensor[i]);
  check_config(&file->config);
  zf_adapter_file_free(file);
  return 0;
}
