/* What every adapter must fulfil, whatever file it comes from. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/util.h"
#include "peft/peft_internal.h"

static int complain(const struct zf_adapter_file *file, const struct zf_adapter_tensor *tensor,
                    const char *fault) {
  return zf_error(ZF_EINVALID, "%s: %s of '%.200s': %s", file->path, tensor->part, tensor->module,
                  fault);
}

/* "[2, 3]", or "[2]" where columns is 0. */
static const char *shape_text(char out[64], int64_t rows, int64_t columns) {
  if (columns)
    snprintf(out, 64, "[%lld, %lld]", (long long)rows, (long long)columns);
  else
    snprintf(out, 64, "[%lld]", (long long)rows);
  return out;
}

static int wrong_shape(const struct zf_adapter_file *file, const struct zf_adapter_tensor *tensor,
                       const char *reason, int64_t rows, int64_t columns) {
  char found[64], expected[64];
  return zf_error(ZF_EINVALID, "%s: %s of '%.200s' has the shape %s: expected %s, %s", file->path,
                  tensor->part, tensor->module,
                  shape_text(found, tensor->shape[0], tensor->ndim > 1 ? tensor->shape[1] : 0),
                  shape_text(expected, rows, columns), reason);
}

static const struct zf_adapter_tensor *find_model(const struct zf_adapter_file *file,
                                                  const char *part) {
  return zf_adapter_file_find(file, "", part);
}

/* --- LoRA --- */

/* The two factors and their partners. */
static const char *const partner_of[][2] = {
    {"lora_A", "lora_B"},
    {"lora_B", "lora_A"},
    {"lora_embedding_A", "lora_embedding_B"},
    {"lora_embedding_B", "lora_embedding_A"},
    {"lora_magnitude_vector", "lora_B"},
};
enum { PARTNERS = sizeof partner_of / sizeof *partner_of };

static const struct zf_adapter_tensor *find_partner(const struct zf_adapter_file *file,
                                                    const struct zf_adapter_tensor *tensor,
                                                    const char **name) {
  for (int i = 0; i < PARTNERS; i++)
    if (!strcmp(tensor->part, partner_of[i][0])) *name = partner_of[i][1];
  const struct zf_adapter_tensor *partner = zf_adapter_file_find(file, tensor->module, *name);
  if (!partner && !strcmp(tensor->part, "lora_magnitude_vector"))
    partner = zf_adapter_file_find(file, tensor->module, "lora_embedding_B");
  return partner;
}

static int check_magnitude(const struct zf_adapter_file *file,
                           const struct zf_adapter_tensor *tensor,
                           const struct zf_adapter_tensor *lora_b) {
  if (!file->config.dora)
    return complain(file, tensor, "found, but use_dora is false in the config");
  if (tensor->count != lora_b->shape[0] || tensor->ndim != 1)
    return wrong_shape(file, tensor, "the rows of B", lora_b->shape[0], 0);
  return 0;
}

static int check_factor(const struct zf_adapter_file *file,
                        const struct zf_adapter_tensor *tensor) {
  int is_a = tensor->part[strlen(tensor->part) - 1] == 'A';
  int64_t rank;
  int rc = zf_peft_rank(&rank, &file->config, tensor->module);
  if (rc) return zf_error_prefix(rc, "%s: rank_pattern", file->path);
  if (tensor->ndim != 2 || tensor->shape[is_a ? 0 : 1] != rank)
    return wrong_shape(file, tensor, "by r and rank_pattern of the config",
                       is_a ? rank : tensor->shape[0], is_a ? zf_max64(tensor->shape[1], 1) : rank);
  if (!strcmp(tensor->part, "lora_A") &&
      zf_adapter_file_find(file, tensor->module, "lora_embedding_A"))
    return complain(file, tensor, "the module also has a lora_embedding_A");
  if (is_a && file->config.dora &&
      !zf_adapter_file_find(file, tensor->module, "lora_magnitude_vector"))
    return complain(file, tensor, "use_dora is true, but lora_magnitude_vector is missing");
  return 0;
}

static int check_lora(const struct zf_adapter_file *file, const struct zf_adapter_tensor *tensor) {
  const char *name = "";
  if (strncmp(tensor->part, "lora_", 5) != 0) return 0;
  const struct zf_adapter_tensor *partner = find_partner(file, tensor, &name);
  if (!partner)
    return zf_error(ZF_EINVALID, "%s: %s of '%.200s' stands alone: its %s is missing", file->path,
                    tensor->part, tensor->module, name);
  if (!strcmp(tensor->part, "lora_magnitude_vector")) return check_magnitude(file, tensor, partner);
  return check_factor(file, tensor);
}

/* --- the other kinds --- */

static int check_ia3(const struct zf_adapter_file *file, const struct zf_adapter_tensor *tensor) {
  int input = 0;
  if (strcmp(tensor->part, "ia3_l") != 0) return 0;
  int rc = zf_peft_is_feedforward(&input, &file->config, tensor->module);
  if (rc) return zf_error_prefix(rc, "%s: feedforward_modules", file->path);
  if (tensor->ndim != 2 || tensor->shape[input ? 0 : 1] != 1)
    return wrong_shape(file, tensor,
                       input ? "as feedforward_modules names the module"
                             : "as feedforward_modules does not name the module",
                       input ? 1 : tensor->count, input ? tensor->count : 1);
  return 0;
}

/* A prefix has one row of keys and values for each layer, a prompt has rows of the embedding. */
static int check_prompt(const struct zf_adapter_file *file,
                        const struct zf_adapter_tensor *tensor) {
  const struct zf_peft_config *config = &file->config;
  int64_t width = config->token_dim;
  if (strcmp(tensor->part, "prompt_embeddings") != 0) return 0;
  if (config->kind == ZF_PEFT_PREFIX) width *= 2 * config->layers;
  if (!width) width = tensor->ndim == 2 ? tensor->shape[1] : 0; /* the config does not say it */
  if (tensor->ndim != 2 || tensor->shape[0] != config->virtual_tokens || tensor->shape[1] != width)
    return wrong_shape(file, tensor,
                       config->kind == ZF_PEFT_PREFIX
                           ? "by num_virtual_tokens and num_layers * 2 * token_dim"
                           : "by num_virtual_tokens and token_dim",
                       config->virtual_tokens, width);
  if (config->kind == ZF_PEFT_PREFIX && config->layers &&
      (width % (2 * config->layers) || (config->heads && config->token_dim % config->heads)))
    return complain(file, tensor, "its width is no whole number of layers and heads");
  return 0;
}

static int check_vera(const struct zf_adapter_file *file, const struct zf_adapter_tensor *tensor) {
  const struct zf_adapter_tensor *vera_a = find_model(file, "vera_A"),
                                 *vera_b = find_model(file, "vera_B");
  if (strncmp(tensor->part, "vera_", 5) != 0) return 0;
  if (!vera_a || !vera_b)
    return zf_error(ZF_EINVALID, "%s: the projection %s is missing", file->path,
                    vera_a ? "vera_B" : "vera_A");
  if (tensor == vera_a && (tensor->ndim != 2 || tensor->shape[0] != file->config.r))
    return wrong_shape(file, tensor, "by r of the config", file->config.r, tensor->shape[1]);
  if (tensor == vera_b && (tensor->ndim != 2 || tensor->shape[1] != file->config.r))
    return wrong_shape(file, tensor, "by r of the config", tensor->shape[0], file->config.r);
  int is_d = !strcmp(tensor->part, "vera_lambda_d");
  int is_b = !strcmp(tensor->part, "vera_lambda_b");
  if (is_d || is_b) {
    const char *name = is_d ? "vera_lambda_b" : "vera_lambda_d";
    if (!zf_adapter_file_find(file, tensor->module, name))
      return zf_error(ZF_EINVALID, "%s: %s of '%.200s' stands alone: its %s is missing", file->path,
                      tensor->part, tensor->module, name);
  }
  if (is_d && (tensor->ndim != 1 || tensor->count != file->config.r))
    return complain(file, tensor, "its length is not r of the config");
  if (is_b && (tensor->ndim != 1 || tensor->count > vera_b->shape[0]))
    return complain(file, tensor, "it is longer than vera_B has rows");
  return 0;
}

static int check_tokens(const struct zf_adapter_file *file,
                        const struct zf_adapter_tensor *tensor) {
  int64_t count = file->config.tokens.index.count;
  if (strcmp(tensor->part, "trainable_tokens_delta") != 0) return 0;
  if (tensor->ndim != 2 || tensor->shape[0] != count)
    return wrong_shape(file, tensor, "a row for each token index of the config", count,
                       tensor->shape[1]);
  return 0;
}

/* --- all tensors --- */

static int check_finite(const struct zf_adapter_file *file,
                        const struct zf_adapter_tensor *tensor) {
  for (int64_t i = 0; i < tensor->count; i++)
    if (!isfinite(tensor->data[i]))
      return zf_error(ZF_EINVALID, "%s: %s of '%.200s': value %lld is not a finite number",
                      file->path, tensor->part, tensor->module, (long long)i);
  return 0;
}

static int by_name(const void *a, const void *b) {
  const struct zf_adapter_tensor *left = a, *right = b;
  int order = strcmp(left->module, right->module);
  return order ? order : strcmp(left->part, right->part);
}

static int check_unique(const struct zf_adapter_file *file) {
  for (int64_t i = 1; i < file->count; i++)
    if (!by_name(&file->tensor[i - 1], &file->tensor[i]))
      return complain(file, &file->tensor[i], "it stands twice in the file");
  return 0;
}

/* A tensor that the kind must have. */
static int check_present(const struct zf_adapter_file *file) {
  int virtual_tokens = file->config.kind == ZF_PEFT_PREFIX || file->config.kind == ZF_PEFT_PROMPT;
  if (virtual_tokens && !find_model(file, "prompt_embeddings"))
    return zf_error(ZF_EINVALID, "%s: tensor 'prompt_embeddings' is missing", file->path);
  if (!file->count) return zf_error(ZF_EINVALID, "%s: the adapter holds no tensors", file->path);
  if (!file->config.tokens.index.count) return 0;
  for (int64_t i = 0; i < file->count; i++)
    if (!strcmp(file->tensor[i].part, "trainable_tokens_delta")) return 0;
  return zf_error(ZF_EINVALID, "%s: the config has token indices, but no trainable_tokens_delta",
                  file->path);
}

static int check_tensor(const struct zf_adapter_file *file,
                        const struct zf_adapter_tensor *tensor) {
  int rc = check_lora(file, tensor);
  if (!rc) rc = check_ia3(file, tensor);
  if (!rc) rc = check_prompt(file, tensor);
  if (!rc) rc = check_vera(file, tensor);
  if (!rc) rc = check_tokens(file, tensor);
  return rc ? rc : check_finite(file, tensor);
}

int zf_adapter_file_check(struct zf_adapter_file *file) {
  if (file->count) qsort(file->tensor, (size_t)file->count, sizeof *file->tensor, by_name);
  int rc = check_unique(file);
  if (!rc) rc = check_present(file);
  if (rc) return rc;
  for (int64_t i = 0; i < file->count; i++)
    if ((rc = check_tensor(file, &file->tensor[i]))) return rc;
  return 0;
}
