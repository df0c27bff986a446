#include "train/forecast.h"

#include "back/optim.h"
#include "base/cpu.h"
#include "eval/score.h"
#include "train/backprop.h"

/* Bytes of kernel code and thread stacks, resident from the first step on: 0.3 to 0.5 MB, measured
 * over models of 0.3 to 135 M parameters and all methods. */
enum { FIRST_STEP = 400000 };

static const struct zf_method_info methods[ZF_METHODS] = {
    [ZF_METHOD_MEZO] = {"mezo", 2, 1, -1, 1},
    [ZF_METHOD_SGD] = {"sgd", 1, 1, ZF_OPTIM_SGD, 0},
    [ZF_METHOD_MOMENTUM] = {"sgd_momentum", 1, 1, ZF_OPTIM_MOMENTUM, 0},
    [ZF_METHOD_ADAMW] = {"adamw", 1, 1, ZF_OPTIM_ADAMW, 0},
    [ZF_METHOD_PROBE] = {"probe", 1, 1, -1, 0},
    [ZF_METHOD_INFERENCE] = {"inference", 1, 0, -1, 0},
};

const struct zf_method_info *zf_method_info(enum zf_method method) {
  return &methods[method];
}

void zf_forecast_limits(struct zf_limits *limits, const struct zf_model *model,
                        enum zf_method method) {
  limits->keeps_values = 0;
  limits->cell_bytes = 0;
  if (methods[method].rule >= 0) zf_back_limits(limits, model);
}

/* The base's trained weights are f32 under backpropagation; without training all keep the file's dtype. */
static int64_t base_bytes(const struct zf_model *model, const struct zf_param *param,
                          enum zf_method method) {
  enum zf_dtype type = param->type;
  if (param->trained && methods[method].rule >= 0) type = ZF_F32;
  const struct zf_st_tensor *file = zf_st_find(model->st, param->name); /* NULL: a new head's */
  if (param->trained && !methods[method].trains && file) type = (enum zf_dtype)file->type;
  return (int64_t)zf_dtype_bytes(type, param->count);
}

/* An adapter's trained weights have a copy of their values before training. */
static int64_t adapter_bytes(const struct zf_param *param) {
  return (int64_t)zf_dtype_bytes(param->type, param->count) * (param->start ? 2 : 1);
}

int64_t zf_forecast_weights(const struct zf_model *model, enum zf_method method) {
  int64_t bytes = 0;
  for (int64_t i = 0; i < model->params.count; i++) {
    const struct zf_param *param = &model->params.param[i];
    int scales = i >= model->plan.wanted_count && param->origin == ZF_ORIGIN_BASE;
    if (scales && !methods[method].trains) continue;
    bytes += param->origin == ZF_ORIGIN_ADAPTER ? adapter_bytes(param)
                                                : base_bytes(model, param, method);
  }
  return bytes;
}

/* Bytes of the adapters' parameters alone. */
static int64_t all_adapters(const struct zf_model *model) {
  int64_t base = model->plan.wanted_count;
  struct zf_params added = {model->params.param + base, model->params.count - base};
  return zf_model_has_adapter(model) ? zf_params_bytes(&added, 0) : 0;
}

int zf_forecast_make(struct zf_forecast *forecast, const struct zf_model *model,
                     const struct zf_limits *limits, enum zf_method method, int checkpoint,
                     int scores, int64_t before) {
  *forecast = (struct zf_forecast){.resident_before = before,
                                   .weights = zf_forecast_weights(model, method),
                                   .adapters = all_adapters(model)};
  if (methods[method].trains) forecast->trained = zf_params_bytes(&model->params, 1);
  forecast->activations = zf_forward_bytes(model, limits) - zf_forward_untouched(model, limits) +
                          zf_scorer_bytes(limits);
  if (methods[method].rule >= 0) {
    struct zf_back_bytes back_bytes;
    int rc = zf_back_bytes(&back_bytes, model, limits, checkpoint);
    if (rc) return rc;
    forecast->trained = 4 * zf_params_count(&model->params, 1);
    forecast->gradients = back_bytes.gradients;
    forecast->optimizer = zf_optim_bytes(model, (enum zf_optim_rule)methods[method].rule);
    forecast->activations += back_bytes.values + back_bytes.scratch + zf_backprop_bytes(limits) -
                             (scores ? 0 : back_bytes.untouched);
  }
  forecast->total = before + FIRST_STEP + forecast->weights + forecast->gradients +
                    forecast->optimizer + forecast->activations;
  return 0;
}
