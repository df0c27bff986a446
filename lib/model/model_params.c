/* The list of a model's parameters, base and adapters, and their identity. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/util.h"
#include "model/model_internal.h"

int zf_model_add_param(struct zf_model *model, const struct zf_param *param, int32_t *number) {
  struct zf_params *params = &model->params;
  struct zf_param *grown =
      realloc(params->param, (size_t)(params->count + 1) * sizeof *params->param);
  if (!grown) return zf_error(ZF_ENOMEM, "out of memory for parameter '%s'", param->name);
  params->param = grown;
  params->param[params->count] = *param;
  *number = (int32_t)params->count++;
  if (param->ndim == 1) model->plan.vec = zf_max64(model->plan.vec, param->count);
  return 0;
}

const struct zf_param *zf_model_embedding(const struct zf_model *model) {
  for (int64_t i = 0; i < model->plan.wanted_count; i++)
    if (!strcmp(model->plan.wanted[i].name, model->config.family->names.embed))
      return &model->params.param[i];
  return NULL;
}

int zf_model_own(struct zf_model *model, void *data, void (*free_data)(void *data)) {
  struct zf_owned *owned = zf_calloc(1, sizeof *owned);
  if (!owned) {
    free_data(data);
    return ZF_ENOMEM;
  }
  *owned = (struct zf_owned){data, free_data, model->owned};
  model->owned = owned;
  return 0;
}

void zf_model_free_owned(struct zf_model *model) {
  struct zf_owned *owned = model->owned;
  while (owned) {
    struct zf_owned *next = owned->next;
    owned->free(owned->data);
    free(owned);
    owned = next;
  }
}

int zf_model_has_adapter(const struct zf_model *model) {
  const struct zf_params *params = &model->params;
  return params->count && params->param[params->count - 1].origin == ZF_ORIGIN_ADAPTER;
}

int zf_model_base_hash(const struct zf_model *model, char hex[33]) {
  struct zf_params base = {model->params.param, model->plan.wanted_count};
  return zf_params_hash(&base, hex);
}

int zf_model_hash(const struct zf_model *model, char hex[33]) {
  int64_t base = model->plan.wanted_count;
  struct zf_params added = {model->params.param + base, model->params.count - base};
  return zf_params_hash(zf_model_has_adapter(model) ? &added : &model->params, hex);
}

static void place(struct zf_model *model, int32_t number, const struct zf_op *op) {
  if (number < 0) return;
  struct zf_param *param = &model->params.param[number];
  if (!param->block) param->block = (int)(op->layer < 0 ? model->config.layers : op->layer) + 1;
}

/* A direction may lie beside a matrix that is multiplied, or whose rows are gathered. */
static int suits(const struct zf_param *param, const struct zf_op *op) {
  return op->kind == ZF_OP_LINEAR || (op->kind == ZF_OP_EMBED && !param->transposed);
}

void zf_model_place_params(struct zf_model *model) {
  for (int64_t i = 0; i < model->params.count; i++) {
    struct zf_param *param = &model->params.param[i];
    param->block = 0;
    param->is_operand =
        i < model->plan.wanted_count && param->origin == ZF_ORIGIN_BASE && param->ndim == 2;
  }
  for (int64_t i = 0; i < model->plan.nop; i++) {
    const struct zf_op *op = &model->plan.op[i];
    place(model, op->weight, op);
    place(model, op->bias, op);
    if (op->kind == ZF_OP_DORA) {
      place(model, op->norm_inner, op);
      place(model, op->norm_outer, op);
      if (op->norm_base >= 0) model->params.param[op->norm_base].is_operand = 0;
    }
    if (op->weight >= 0 && !suits(&model->params.param[op->weight], op))
      model->params.param[op->weight].is_operand = 0;
  }
  for (int64_t i = 0; i < model->params.count; i++)
    if (!model->params.param[i].block) model->params.param[i].block = (int)model->config.layers + 1;
  for (int64_t i = 0; i < model->plan.wanted_count; i++) {
    const struct zf_param *param = &model->params.param[i];
    if (param->scales) model->params.param[param->scales].block = param->block;
  }
}

void zf_model_drop_pages(const struct zf_model *model) {
  for (int i = 0; i < model->st->file_count; i++)
    zf_map_drop(&model->st->map[i], 0, model->st->map[i].len);
}
