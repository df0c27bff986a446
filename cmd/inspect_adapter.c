/* zoft inspect ADAPTER: what it changes, and whether its base is there and fits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapter_word.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/file.h"
#include "inspect_internal.h"
#include "load.h"
#include "ui.h"

/* Modules of one name, as "q_proj". */
struct target_group {
  char name[64];
  int64_t modules, parameters;
  int64_t rank[2];  /* the smallest and the largest; 0: no rank */
  const char *last; /* module that was counted last */
};

static const char *last_name(const char *module) {
  const char *dot = strrchr(module, '.');
  return dot ? dot + 1 : module;
}

static struct target_group *group_of(struct target_group *group, int64_t *count,
                                     const char *module) {
  const char *name = *module ? last_name(module) : "(model)";
  for (int64_t i = 0; i < *count; i++)
    if (!strncmp(group[i].name, name, sizeof group[i].name - 1)) return &group[i];
  struct target_group *made = &group[(*count)++];
  snprintf(made->name, sizeof made->name, "%s", name);
  return made;
}

/* The rank that a tensor has, or 0. */
static int64_t rank_of(const struct zf_adapter_tensor *tensor) {
  static const char *const parts[] = {"lora_A", "lora_embedding_A", "vera_A", "vera_lambda_d"};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    if (!strcmp(tensor->part, parts[i])) return tensor->shape[0];
  return 0;
}

/* group has room for a group of every tensor.  The tensors of a module are neighbours. */
static int64_t count_groups(struct target_group *group, const struct zf_adapter_file *file) {
  int64_t count = 0;
  for (int64_t i = 0; i < file->count; i++) {
    const struct zf_adapter_tensor *tensor = &file->tensor[i];
    struct target_group *target = group_of(group, &count, tensor->module);
    int64_t rank = rank_of(tensor);
    target->modules += !target->last || strcmp(target->last, tensor->module) != 0;
    target->last = tensor->module;
    target->parameters += tensor->count;
    if (rank && (!target->rank[0] || rank < target->rank[0])) target->rank[0] = rank;
    if (rank > target->rank[1]) target->rank[1] = rank;
  }
  return count;
}

static char *rank_text(char text[64], const struct target_group *group) {
  if (!group->rank[1])
    snprintf(text, 64, "-");
  else if (group->rank[0] == group->rank[1])
    snprintf(text, 64, "%lld", (long long)group->rank[0]);
  else
    snprintf(text, 64, "%lld to %lld", (long long)group->rank[0], (long long)group->rank[1]);
  return text;
}

static void json_groups(struct inspect_output *out, const struct target_group *group,
                        int64_t count) {
  zf_buf_puts(&out->json, ", \"targets\": [");
  for (int64_t i = 0; i < count; i++) {
    zf_buf_puts(&out->json, i ? ", {\"name\": " : "{\"name\": ");
    zc_json_text(&out->json, group[i].name, strlen(group[i].name));
    zf_buf_printf(&out->json, ", \"modules\": %lld, \"rank\": [%lld, %lld], \"parameters\": %lld}",
                  (long long)group[i].modules, (long long)group[i].rank[0],
                  (long long)group[i].rank[1], (long long)group[i].parameters);
  }
  zf_buf_puts(&out->json, "]");
}

static void print_groups(const struct target_group *group, int64_t count) {
  char modules[32], rank[64], parameters[32];
  struct zc_table *table = zc_table_new("lrrr");
  putchar('\n');
  zc_table_row(table, (const char *const[]){"target", "modules", "rank", "parameters"});
  for (int64_t i = 0; i < count; i++) {
    snprintf(modules, sizeof modules, "%lld", (long long)group[i].modules);
    snprintf(parameters, sizeof parameters, "%lld", (long long)group[i].parameters);
    zc_table_row(table, (const char *const[]){group[i].name, modules, rank_text(rank, &group[i]),
                                              parameters});
  }
  zc_table_print(table, 1);
}

/* Parameters as a list, for their hash: that of a run of this adapter in its log. */
static int hash_of(const struct zf_adapter_file *file, char hex[33]) {
  struct zf_param *param = zf_calloc(file->count + 1, sizeof *param);
  struct zf_params params = {.param = param, .count = file->count};
  int rc = param ? 0 : ZF_ENOMEM;
  for (int64_t i = 0; i < file->count && !rc; i++) {
    const struct zf_adapter_tensor *tensor = &file->tensor[i];
    param[i] = (struct zf_param){
        .data = tensor->data, .type = ZF_F32, .ndim = tensor->ndim, .count = tensor->count};
    memcpy(param[i].shape, tensor->shape, sizeof tensor->shape);
    param[i].name = zf_adapter_tensor_key(file, tensor);
    if (!param[i].name) rc = ZF_ENOMEM;
  }
  if (!rc) rc = zf_params_hash(&params, hex);
  for (int64_t i = 0; i < file->count && param; i++) free((char *)param[i].name);
  free(param);
  return rc;
}

static void put_kind(struct inspect_output *out, const struct zf_peft_config *config) {
  char text[64], number[32];
  snprintf(text, sizeof text, "%s%s%s", zf_peft_kinds[config->kind].name,
           config->dora ? ", DoRA" : "", config->rslora ? ", rank-stabilised" : "");
  zc_put_text(out, "type", text);
  if (config->kind == ZF_PEFT_LORA) {
    snprintf(number, sizeof number, "%g%s", config->alpha,
             config->alpha_by.count && !zc_common.json ? ", or by pattern" : "");
    zc_put_value(out, "alpha", number);
  }
  if (config->kind == ZF_PEFT_PROMPT || config->kind == ZF_PEFT_PREFIX)
    zc_put_count(out, "tokens", config->virtual_tokens);
  if (config->tokens.index.count) zc_put_count(out, "tokens", config->tokens.index.count);
  if (config->task_type) zc_put_text(out, "task", config->task_type);
}

/* Says whether the base is there, and attaches the adapter to its shapes. */
static int put_base(struct inspect_output *out, struct zc_adapter *adapter) {
  const char *name = adapter->file->config.base_model;
  if (name)
    zc_put_text(out, "base", name);
  else
    zc_put_value(out, "base", zc_common.json ? "null" : "not named");
  if (adapter->missing) {
    zc_put_value(out, "base_found", zc_common.json ? "null" : "no: --base MODEL names one");
    return 0;
  }
  zc_put_text(out, "base_found", adapter->base_dir);
  zc_put_text(out, "base_family", adapter->base->config.family->model_type);
  int64_t parameters = zf_params_count(&adapter->base->params, 0);
  char text[64];
  snprintf(text, sizeof text, zc_common.json ? "%.6g" : "%.3g of the base's parameters",
           (double)zc_adapter_values(adapter->file) / (double)parameters);
  zc_put_value(out, "share", text);
  return zf_adapter_attach(adapter->base, adapter->file, 1, ZF_TRAIN_NOTHING);
}

static void put_tensor_list(struct inspect_output *out, const struct zf_adapter_file *file) {
  struct zc_table *table = zc_common.json ? NULL : zc_table_new("llr");
  char shape[64];
  if (table) {
    putchar('\n');
    zc_table_row(table, (const char *const[]){"module", "part", "shape"});
  } else {
    zf_buf_puts(&out->json, ", \"tensors\": [");
  }
  for (int64_t i = 0; i < file->count; i++) {
    const struct zf_adapter_tensor *tensor = &file->tensor[i];
    int second = tensor->ndim > 1;
    snprintf(shape, sizeof shape, second ? "[%lld, %lld]" : "[%lld]", (long long)tensor->shape[0],
             (long long)tensor->shape[1]);
    if (table) {
      zc_table_row(table, (const char *const[]){tensor->module, tensor->part, shape});
      continue;
    }
    zf_buf_puts(&out->json, i ? ", {\"module\": " : "{\"module\": ");
    zc_json_text(&out->json, tensor->module, strlen(tensor->module));
    zf_buf_printf(&out->json, ", \"part\": \"%s\", \"shape\": %s}", tensor->part, shape);
  }
  if (table)
    zc_table_print(table, 1);
  else
    zf_buf_puts(&out->json, "]");
}

static int put_adapter(struct inspect_output *out, struct zc_adapter *adapter,
                       struct target_group *group, int all) {
  const struct zf_adapter_file *file = adapter->file;
  char hash[33], text[64];
  int64_t values = zc_adapter_values(file), groups = count_groups(group, file);
  int rc = hash_of(file, hash);
  if (rc) return rc;
  zc_put_text(out, "kind", "adapter");
  zc_put_text(out, "path", file->path);
  zc_put_text(out, "format", adapter->format);
  put_kind(out, &file->config);
  zc_put_number(out, "parameters", values, zc_count(text, (double)values));
  zc_put_count(out, "tensors_in_file", file->count);
  zc_put_number(out, "bytes", 4 * values, zf_human_bytes(text, 4 * (double)values));
  zc_put_text(out, "hash", hash);
  if ((rc = put_base(out, adapter))) return rc;
  zc_put_text(out, "checks",
              adapter->base ? "every tensor has its partner and a module of the base, values finite"
                            : "every tensor has its partner, values finite; not compared with a "
                              "base");
  if (zc_common.json)
    json_groups(out, group, groups);
  else
    print_groups(group, groups);
  if (all || zc_common.json) put_tensor_list(out, file);
  return 0;
}

int zc_inspect_adapter(const char *path, const char *base, int all) {
  struct inspect_output out = {0};
  struct zc_adapter adapter;
  int rc = zc_adapter_open(&adapter, path, base);
  if (rc) return rc;
  struct target_group *group = zf_calloc(adapter.file->count + 1, sizeof *group);
  rc = group ? put_adapter(&out, &adapter, group, all) : ZF_ENOMEM;
  if (rc)
    zf_buf_free(&out.json);
  else
    zc_put_end(&out);
  free(group);
  zc_adapter_close(&adapter);
  return rc;
}
