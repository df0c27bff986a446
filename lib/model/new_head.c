/* Creates a head of labels for a checkpoint that has none: an encoder, a masked or a causal language
 * model.
 *
 * As in Transformers, matrices are normal with the configuration's initializer_range, biases are 0,
 * weights of norms 1.  Each value is a function of (seed, number of the parameter, element), so that
 * a run can be rebuilt from its log alone. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "kern/kern.h"
#include "model/model_internal.h"

int zf_model_has_head(const struct zf_model *model) {
  const struct zf_head_names *tail = zf_config_tail(&model->config);
  return model->config.tied ? !tail->dense || zf_model_tensor(model, tail->dense) != NULL
                            : zf_model_tensor(model, tail->head) != NULL;
}

int zf_model_may_create(const struct zf_model *model, const struct zf_wanted_tensor *wanted,
                        const struct zf_model_opts *opts) {
  return opts->labels && model->config.classify && wanted->outside_prefix;
}

int zf_model_name_head(struct zf_model *model, const struct zf_model_opts *opts) {
  const struct zf_plan *plan = &model->plan;
  for (int64_t i = 0; i < plan->wanted_count; i++)
    model->nnew += !model->from[i] && zf_model_may_create(model, &plan->wanted[i], opts);
  model->head_seed = opts->head_seed;
  if (!model->nnew) return 0;
  model->param_names = zf_calloc(plan->wanted_count, sizeof *model->param_names);
  if (!model->param_names) return ZF_ENOMEM;
  for (int64_t i = 0; i < plan->wanted_count; i++) {
    const struct zf_wanted_tensor *wanted = &plan->wanted[i];
    model->param_names[i] = zf_asprintf(
        "%s%s", wanted->outside_prefix ? "" : model->config.family->prefix[0], wanted->name);
    if (!model->param_names[i]) return ZF_ENOMEM;
  }
  return 0;
}

static int is_bias(const char *name) {
  size_t len = strlen(name);
  return len > 5 && !strcmp(name + len - 5, ".bias");
}

void zf_model_create_values(const struct zf_model *model, int64_t number) {
  enum { CHUNK = 4096 };
  const struct zf_wanted_tensor *wanted = &model->plan.wanted[number];
  const struct zf_param *param = &model->params.param[number];
  struct zf_noise key = {.seed = model->head_seed, .use = ZF_USE_INIT, .param = (uint32_t)number};
  float value[CHUNK], constant = is_bias(wanted->name) ? 0.0f : 1.0f - wanted->plus;
  for (int64_t i = 0; i < param->count; i += CHUNK) {
    int64_t count = param->count - i < CHUNK ? param->count - i : CHUNK;
    if (wanted->ndim == 2) zf_noise_fill(value, &key, i, count);
    for (int64_t j = 0; j < count; j++)
      value[j] = wanted->ndim == 2 ? (float)model->config.init_range * value[j] : constant;
    zf_from_f32((char *)param->data + zf_dtype_bytes(param->type, i), value, param->type, count);
  }
}
