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
  struct zf_back *k;
  enum zf_optim_rule rule;
  struct zf_arena arena;
  float *m, *v;
};

const struct zf_optim_kind *zf_optim_kind(enum zf_optim_rule rule) {
  return &kinds[rule];
}

int64_t zf_optim_bytes(const struct zf_model *m, enum zf_optim_rule rule) {
  int64_t n = 0;
  for (int64_t i = 0; i < m->params.count; i++)
    if (m->params.param[i].trained) n += (m->params.param[i].count + 15) / 16 * 16;
  return kinds[rule].slots * (int64_t)zf_arena_cost((size_t)n * sizeof(float));
}

int zf_optim_new(struct zf_optim **out, struct zf_back *k, enum zf_optim_rule rule) {
  *out = NULL;
  struct zf_optim *o = zf_calloc(1, sizeof *o);
  if (!o) return ZF_ENOMEM;
  o->k = k;
  o->rule = rule;
  int rc = zf_arena_init(&o->arena, (size_t)zf_optim_bytes(k->model, rule));
  if (!rc && kinds[rule].slots > 0) o->m = zf_arena_array(&o->arena, k->ngrad, sizeof(float));
  if (!rc && kinds[rule].slots > 1) o->v = zf_arena_array(&o->arena, k->ngrad, sizeof(float));
  if (rc) {
    zf_optim_free(o);
    return rc;
  }
  *out = o;
  return 0;
}

void zf_optim_free(struct zf_optim *o) {
  if (!o) return;
  zf_arena_free(&o->arena);
  free(o);
}

void zf_optim_update(struct zf_optim *o, int64_t step, double norm,
                     const struct zf_optim_conf *conf) {
  enum { PIECE = 1 << 12 };
  struct zf_back *k = o->k;
  struct zf_optim_step s = {.lr = (float)conf->lr,
                            .beta1 = (float)conf->beta1,
                            .beta2 = (float)conf->beta2,
                            .eps = (float)conf->eps};
  s.scale = conf->clip > 0 && norm > conf->clip ? (float)(conf->clip / norm) : 1;
  s.fix1 = (float)(1 / (1 - pow(conf->beta1, (double)step)));
  s.fix2 = (float)(1 / (1 - pow(conf->beta2, (double)step)));
  for (int64_t i = 0; i < k->model->params.count; i++) {
    const struct zf_param *p = &k->model->params.param[i];
    if (!p->trained) continue;
    float *w = p->data, *g = k->grad + k->at[i];
    float *m = o->m ? o->m + k->at[i] : NULL, *v = o->v ? o->v + k->at[i] : NULL;
    s.decay = p->decayed ? (float)conf->decay : 0;
    int team = zf_tile_team(p->count * 8);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
    for (int64_t at = 0; at < p->count; at += PIECE)
      k->rows->update[o->rule](w + at, g + at, m ? m + at : NULL, v ? v + at : NULL, &s,
                               zf_back_min(p->count - at, PIECE));
  }
}
