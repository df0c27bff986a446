/* Attaches an adapter to a model: a parameter for each tensor, and the operations that read it.
 *
 *   part                operations (op: the one that reads the module's weight)
 *   lora_A, lora_B      after op:  U = src A^T;  U *= s;  dst += U B^T
 *   lora_embedding_A/B  after the embedding:  U = column of A;  U *= s;  X += U B^T
 *   ia3_l [out,1]       after op:  dst *= l
 *   ia3_l [1,in]        before op: src *= l
 *   vera_lambda_d, _b   after op:  U = src A^T;  U *= d;  V = U B^T;  V *= b s;  dst += V
 *   weight, bias        op reads this parameter instead of the base's
 *
 * A part is a row of the table below. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/util.h"
#include "peft/attach_internal.h"

/* --- modules --- */

static int ends_with(const char *text, const char *ending) {
  size_t len = strlen(text), ending_len = strlen(ending);
  return len >= ending_len && !strcmp(text + len - ending_len, ending);
}

/* The length of a tensor's name without ".weight" or ".bias". */
static size_t module_length(const char *name) {
  size_t len = strlen(name);
  if (ends_with(name, ".weight")) return len - strlen(".weight");
  return ends_with(name, ".bias") ? len - strlen(".bias") : len;
}

char *zf_adapter_module_name(const struct zf_model *model, int64_t wanted) {
  const struct zf_wanted_tensor *tensor = &model->plan.wanted[wanted];
  return zf_asprintf("%s%.*s", tensor->outside_prefix ? "" : model->config.family->prefix[0],
                     (int)module_length(tensor->name), tensor->name);
}

/* 1 where `module` is the path of the tensor's module, with one of the family's prefixes or none. */
static int is_module(const struct zf_model *model, const struct zf_wanted_tensor *wanted,
                     const char *module, const char *ending) {
  size_t len = module_length(wanted->name);
  if (strcmp(wanted->name + len, ending) != 0) return 0;
  if (!strncmp(wanted->name, module, len) && !module[len]) return 1;
  for (int i = 0; !wanted->outside_prefix && model->config.family->prefix[i]; i++) {
    const char *prefix = model->config.family->prefix[i];
    size_t prefix_len = strlen(prefix);
    if (!strncmp(module, prefix, prefix_len) && !strncmp(module + prefix_len, wanted->name, len) &&
        !module[prefix_len + len])
      return 1;
  }
  return 0;
}

int64_t zf_attach_wanted(const struct zf_model *model, const char *module, const char *ending) {
  for (int64_t i = 0; i < model->plan.wanted_count; i++)
    if (is_module(model, &model->plan.wanted[i], module, ending)) return i;
  return -1;
}

int64_t zf_adapter_module(const struct zf_model *model, const char *module) {
  return zf_attach_wanted(model, module, ".weight");
}

int zf_adapter_row_squares(const struct zf_model *model, int64_t number, float *squares) {
  const struct zf_param *param = &model->params.param[number];
  int64_t rows = param->shape[0], columns = param->shape[1];
  float *row = zf_calloc(columns, sizeof *row);
  double *sum = zf_calloc(param->transposed ? columns : rows, sizeof *sum);
  int rc = row && sum ? 0 : ZF_ENOMEM;
  for (int64_t i = 0; i < rows && !rc && param->data; i++) {
    zf_to_f32(row, (const char *)param->data + zf_dtype_bytes(param->type, i * columns),
              param->type, columns);
    for (int64_t j = 0; j < columns; j++)
      sum[param->transposed ? j : i] += (double)row[j] * (double)row[j];
  }
  int64_t outputs = param->transposed ? columns : rows;
  for (int64_t i = 0; i < outputs && !rc; i++) squares[i] = (float)sum[i];
  free(sum);
  free(row);
  return rc;
}

/* --- what the rows of the table call --- */

const struct zf_adapter_tensor *zf_attach_part(const struct attachment *attachment,
                                               const char *part) {
  for (int64_t i = attachment->first; i < attachment->end; i++)
    if (!strcmp(attachment->file->tensor[i].part, part)) return &attachment->file->tensor[i];
  return NULL;
}

/* Keeps a copy of the values before training. */
static int keep_start(struct zf_model *model, struct zf_param *param) {
  const float *value = param->data;
  int64_t zeros = 0;
  while (zeros < param->count && value[zeros] == 0) zeros++;
  param->zero_start = zeros == param->count; /* a new LoRA's B needs no copy */
  if (param->zero_start) return 0;
  float *copy = zf_malloc((size_t)param->count * sizeof *copy);
  if (!copy) return ZF_ENOMEM;
  memcpy(copy, param->data, (size_t)param->count * sizeof *copy);
  param->start = copy;
  return zf_model_own(model, copy, free);
}

int zf_attach_param(struct attachment *attachment, const struct zf_adapter_tensor *tensor,
                    int trained, int32_t *number) {
  struct zf_param param = {.data = tensor->data,
                           .type = ZF_F32,
                           .ndim = tensor->ndim,
                           .count = tensor->count,
                           .origin = ZF_ORIGIN_ADAPTER,
                           .trained = trained && attachment->train != ZF_TRAIN_NOTHING,
                           .decayed = tensor->ndim == 2};
  char *name = zf_adapter_tensor_key(attachment->file, tensor);
  if (!name) return ZF_ENOMEM;
  int rc = zf_model_own(attachment->model, name, free);
  if (rc) return rc;
  param.name = name;
  if (param.trained && (rc = keep_start(attachment->model, &param))) return rc;
  param.id = (uint32_t)(ZF_ADAPTER_FIRST_ID + (tensor - attachment->file->tensor));
  memcpy(param.shape, tensor->shape, sizeof tensor->shape);
  return zf_model_add_param(attachment->model, &param, number);
}

int zf_attach_shape_error(const struct attachment *attachment,
                          const struct zf_adapter_tensor *tensor, int64_t rows, int64_t columns) {
  return zf_error(ZF_EINVALID,
                  "%s: '%s' of %s is [%lld, %lld], where this base model needs [%lld, %lld]: the "
                  "adapter belongs to another base",
                  attachment->file->path, tensor->part,
                  *tensor->module ? tensor->module : "the model", (long long)tensor->shape[0],
                  (long long)(tensor->ndim > 1 ? tensor->shape[1] : 1), (long long)rows,
                  (long long)columns);
}

int64_t zf_attach_op(const struct attachment *attachment) {
  return zf_edit_find_weight(&attachment->model->plan, (int32_t)attachment->wanted, 0);
}

struct zf_op zf_attach_new_op(enum zf_op_kind kind, enum zf_reg src, enum zf_reg dst, int64_t width,
                              const struct zf_op *beside) {
  return (struct zf_op){.kind = kind,
                        .src = src,
                        .dst = dst,
                        .width = width,
                        .weight = -1,
                        .bias = -1,
                        .adapter = 1,
                        .layer = beside->layer};
}

int64_t zf_attach_free_column(const struct zf_plan *plan, int64_t at) {
  int64_t used = 0;
  for (int64_t i = at + 1; i < plan->nop; i++) {
    const struct zf_op *op = &plan->op[i];
    if (!op->adapter) break;
    if (op->src == ZF_REG_U && op->kind == ZF_OP_LINEAR)
      used = zf_max64(used, op->src_col + op->inputs);
  }
  return used;
}

/* --- tensors of the base that the adapter replaces --- */

/* Lets every operation that reads parameter `from` read `to`. */
static void replace(struct zf_plan *plan, int32_t from, int32_t to) {
  for (int64_t i = 0; i < plan->nop; i++) {
    struct zf_op *op = &plan->op[i];
    if (op->weight == from) {
      op->weight = to;
      op->adapter = op->adapter || op->kind == ZF_OP_LINEAR;
    }
    if (op->bias == from) op->bias = to;
  }
  if (plan->head == from) plan->head = to;
  if (plan->head_bias == from) plan->head_bias = to;
}

/* A trained bias is added by an operation of its own, so that the product stays unperturbed and shared
 * by all examples. */
static int separate_bias(struct zf_plan *plan, int32_t bias) {
  for (int64_t i = 0; i < plan->nop; i++) {
    struct zf_op *op = &plan->op[i];
    if (op->bias != bias || op->kind != ZF_OP_LINEAR) continue;
    struct zf_op shift = zf_attach_new_op(ZF_OP_COLUMNS, op->dst, op->dst, op->width, op);
    shift.src_col = shift.dst_col = op->dst_col;
    shift.bias = bias;
    op->bias = -1;
    return zf_edit_insert_after(plan, i, &shift);
  }
  return 0;
}

/* 1 where `name` is module + ending. */
static int is_tensor(const char *name, const char *module, const char *ending) {
  size_t len = strlen(module);
  return !strncmp(name, module, len) && !strcmp(name + len, ending);
}

/* A tied head of which the adapter has a copy: the embedding stays. */
static int attach_own_head(struct attachment *attachment, const struct zf_adapter_tensor *tensor) {
  const struct zf_config *config = &attachment->model->config;
  if (tensor->count != config->outputs * config->embed_dim)
    return zf_attach_shape_error(attachment, tensor, config->outputs, config->embed_dim);
  return zf_attach_param(attachment, tensor, 1, &attachment->model->plan.head);
}

int zf_attach_only_whole(const struct attachment *attachment,
                         const struct zf_adapter_tensor *tensor) {
  if (attachment->weight == 1) return 0;
  return zf_error(ZF_EUSAGE,
                  "%s: '%s' of %s is applied with weight 1 alone: it replaces or multiplies",
                  attachment->file->path, tensor->part, tensor->module);
}

int64_t zf_attach_replaced(const struct zf_model *model, const struct zf_adapter_tensor *tensor) {
  const char *ending = !strcmp(tensor->part, "bias") ? ".bias" : ".weight";
  const struct zf_head_names *tail = zf_config_tail(&model->config);
  int64_t wanted = zf_attach_wanted(model, tensor->module, ending);
  if (wanted >= 0 || !tail->bias_copy || !is_tensor(tail->bias_copy, tensor->module, ending))
    return wanted;
  for (int64_t i = 0; i < model->plan.wanted_count; i++)
    if (!strcmp(model->plan.wanted[i].name, tail->bias)) return i;
  return -1;
}

static int attach_replaced(struct attachment *attachment, const struct zf_adapter_tensor *tensor) {
  struct zf_model *model = attachment->model;
  const char *ending = !strcmp(tensor->part, "bias") ? ".bias" : ".weight";
  int64_t wanted = zf_attach_replaced(model, tensor);
  int second_name = wanted != zf_attach_wanted(model, tensor->module, ending);
  if (second_name && model->plan.head_bias >= model->plan.wanted_count) return 0;
  int rc = zf_attach_only_whole(attachment, tensor);
  if (rc) return rc;
  if (wanted < 0 && !strcmp(tensor->part, "weight") &&
      zf_attach_is_head(attachment, tensor->module))
    return attach_own_head(attachment, tensor);
  if (wanted < 0)
    return zf_error(ZF_EINVALID, "%s: the base model has no tensor '%s%s'", attachment->file->path,
                    tensor->module, ending);
  const struct zf_param *base = &model->params.param[wanted];
  if (tensor->count != base->count)
    return zf_attach_shape_error(attachment, tensor, base->shape[0],
                                 base->ndim > 1 ? base->shape[1] : 1);
  int32_t number;
  /* PEFT saves an embedding beside its LoRA where it was resized; that copy is not trained. */
  int copy = !strcmp(tensor->part, "weight") && (zf_attach_part(attachment, "lora_A") ||
                                                 zf_attach_part(attachment, "lora_embedding_A"));
  rc = zf_attach_param(attachment, tensor, !copy, &number);
  if (rc) return rc;
  struct zf_param *param = &model->params.param[number];
  base = &model->params.param[wanted];
  param->plus = base->plus;
  param->transposed = base->transposed;
  param->decayed = base->decayed;
  replace(&model->plan, (int32_t)wanted, number);
  return param->trained ? separate_bias(&model->plan, number) : 0;
}

/* --- the table --- */

static const struct {
  const char *part;
  int (*attach)(struct attachment *attachment, const struct zf_adapter_tensor *tensor);
} parts[] = {
    {"lora_A", zf_attach_lora},
    {"lora_B", NULL},
    {"lora_magnitude_vector", NULL},
    {"lora_embedding_A", zf_attach_embedding},
    {"lora_embedding_B", NULL},
    {"ia3_l", zf_attach_ia3},
    {"vera_lambda_b", zf_attach_vera},
    {"vera_lambda_d", NULL},
    {"vera_A", zf_attach_shared},
    {"vera_B", zf_attach_shared},
    {"prompt_embeddings", zf_attach_prompt},
    {"trainable_tokens_delta", zf_attach_tokens},
    {"weight", attach_replaced},
    {"bias", attach_replaced},
};

static int attach_tensor(struct attachment *attachment, const struct zf_adapter_tensor *tensor) {
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    if (!strcmp(parts[i].part, tensor->part))
      return parts[i].attach ? parts[i].attach(attachment, tensor) : 0;
  return zf_error(ZF_EUSAGE, "%s: adapters with '%s' cannot be applied yet", attachment->file->path,
                  tensor->part);
}

/* Attaches the tensors [first, end) of one module. */
static int attach_module(struct attachment *attachment) {
  const char *module = attachment->file->tensor[attachment->first].module;
  attachment->wanted = *module ? zf_adapter_module(attachment->model, module) : -1;
  for (int64_t i = attachment->first; i < attachment->end; i++) {
    int rc = attach_tensor(attachment, &attachment->file->tensor[i]);
    if (rc) return rc;
  }
  return 0;
}

int zf_adapter_attach(struct zf_model *model, struct zf_adapter_file *file, double weight,
                      enum zf_adapter_train train) {
  struct attachment attachment = {
      .model = model, .file = file, .weight = weight, .train = train, .shared = {-1, -1}};
  file->weight = weight;
  while (attachment.first < file->count) {
    attachment.end = attachment.first + 1;
    while (attachment.end < file->count &&
           !strcmp(file->tensor[attachment.end].module, file->tensor[attachment.first].module))
      attachment.end++;
    int rc = attach_module(&attachment);
    if (rc) return rc;
    attachment.first = attachment.end;
  }
  zf_plan_finish(&model->plan);
  zf_model_place_params(model);
  return 0;
}
