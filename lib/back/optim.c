#include "back/optim.h"

#include <math.h>
#include <stdlib.h>

#include "back/back_internal.h"
#include "base/err.h"
#include "kern/tile.h"

static const struct zf_optim_kind kinds[ZF_OPTIMS] = {
    [ZF_OPTIM_SGD] = {"sgd", 0},
    [ZF_OPTIM_MOMENTUM] = {"sgd_momentum", 1},
    [ZF_OPTIM_ADAMW] = {"adamw", 2},
};

struct zf_optim {
  struct zf_back *back;
  enum zf_optim_rule rule;
  struct zf_arena arena;
  float *first_moment, *second_moment;
};

const struct zf_optim_kind *zf_optim_kind(enum zf_optim_rule rule) {
  return &kinds[rule];
}

int64_t zf_optim_bytes(const struct zf_model *model, enum zf_optim_rule rule) {
  int64_t count = 0;
  for (int64_t i = 0; i < model->params.count; i++)
    if (model->params.param[i].trained) count += (model->params.param[i].count + 15) / 16 * 16;
  return kinds[rule].slots * (int64_t)zf_arena_cost((size_t)count * sizeof(float));
}

int zf_optim_new(struct zf_optim **out, struct zf_back *back, enum zf_optim_rule rule) {
  *out = NULL;
  struct zf_optim *optim = zf_calloc(1, sizeof *optim);
  if (!optim) return ZF_ENOMEM;
  optim->back = back;
  optim->rule = rule;
  int rc = zf_arena_init(&optim->arena, (size_t)zf_optim_bytes(back->model, rule));
  if (!rc && kinds[rule].slots > 0)
    optim->first_moment = zf_arena_array(&optim->arena, back->gradient_floats, sizeof(float));
  if (!rc && kinds[rule].slots > 1)
    optim->second_moment = zf_arena_array(&optim->arena, back->gradient_floats, sizeof(float));
  if (rc) {
    zf_optim_free(optim);
    return rc;
  }
  *out = optim;
  return 0;
}

void zf_optim_free(struct zf_optim *optim) {
  if (!optim) return;
  zf_arena_free(&optim->arena);
  free(optim);
}

void zf_optim_update(struct zf_optim *optim, int64_t step, double norm,
                     const struct zf_optim_conf *conf) {
  enum { CHUNK = 1 << 12 };
  struct zf_back *back = optim->back;
  struct zf_optim_step factors = {.lr = (float)conf->lr,
                                  .beta1 = (float)conf->beta1,
                                  .beta2 = (float)conf->beta2,
                                  .eps = (float)conf->eps};
  factors.scale = conf->clip > 0 && norm > conf->clip ? (float)(conf->clip / norm) : 1;
  factors.fix1 = (float)(1 / (1 - pow(conf->beta1, (double)step)));
  factors.fix2 = (float)(1 / (1 - pow(conf->beta2, (double)step)));
  for (int64_t i = 0; i < back->model->params.count; i++) {
    const struct zf_param *param = &back->model->params.param[i];
    if (!param->trained) continue;
    float *weights = param->data, *gradients = back->gradients + back->gradient_start[i];
    float *first_moment =
              optim->first_moment ? optim->first_moment + back->gradient_start[i] : NULL,
          *second_moment =
              optim->second_moment ? optim->second_moment + back->gradient_start[i] : NULL;
    factors.decay = param->decayed ? (float)conf->decay : 0;
    int team = zf_tile_team(param->count * 8);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
    for (int64_t first = 0; first < param->count; first += CHUNK)
      back->rows->update[optim->rule](weights + first, gradients + first,
                                      first_moment ? first_moment + first : NULL,
                                      second_moment ? second_moment + first : NULL, &factors,
                                      zf_min64(param->count - first, CHUNK));
  }
}
