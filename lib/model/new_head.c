/* A head of labels for a checkpoint that has none: an encoder, a masked or a causal language model.
 *
 * Matrices are normal with the configuration's initializer_range, biases 0, norms 1, as Transformers
 * makes them; each value is a function of (seed, number of the parameter, element), so that a run is
 * rebuilt from its log alone. */
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

int zf_model_may_make(const struct zf_model *model, const struct zf_wanted_tensor *wanted,
                      const struct zf_model_opts *opts) {
  return opts->labels && model->config.classify && wanted->outside_prefix;
}

int zf_model_name_head(struct zf_model *model, const struct zf_model_opts *opts) {
  const struct zf_plan *plan = &model->plan;
  for (int64_t i = 0; i < plan->nwant; i++)
    model->nmade += !model->from[i] && zf_model_may_make(model, &plan->want[i], opts);
  model->head_seed = opts->head_seed;
  if (!model->nmade) return 0;
  model->made = zf_calloc(plan->nwant, sizeof *model->made);
  int rc = model->made ? 0 : ZF_ENOMEM;
  for (int64_t i = 0; !rc && i < plan->nwant; i++) {
    const struct zf_wanted_tensor *wanted = &plan->want[i];
    model->made[i] = zf_asprintf(
        "%s%s", wanted->outside_prefix ? "" : model->config.family->prefix[0], wanted->name);
    if (!model->made[i]) rc = ZF_ENOMEM;
  }
  return rc;
}

static int is_bias(const char *name) {
  size_t n = strlen(name);
  return n > 5 && !strcmp(name + n - 5, ".bias");
}

void zf_model_make(const struct zf_model *model, int64_t i) {
  enum { PIECE = 4096 };
  const struct zf_wanted_tensor *wanted = &model->plan.want[i];
  const struct zf_param *param = &model->params.param[i];
  struct zf_noise key = {.seed = model->head_seed, .use = ZF_USE_INIT, .param = (uint32_t)i};
  float value[PIECE], other = is_bias(wanted->name) ? 0.0f : 1.0f - wanted->plus;
  for (int64_t at = 0; at < param->count; at += PIECE) {
    int64_t n = param->count - at < PIECE ? param->count - at : PIECE;
    if (wanted->ndim == 2) zf_noise_fill(value, &key, at, n);
    for (int64_t e = 0; e < n; e++)
      value[e] = wanted->ndim == 2 ? (float)model->config.init_range * value[e] : other;
    zf_from_f32((char *)param->data + zf_dtype_bytes(param->type, at), value, param->type, n);
  }
}
