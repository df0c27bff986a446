#include "zo/zo.h"

#include <assert.h>
#include <stdlib.h>

#include "base/err.h"

int zf_zo_estimate(struct zf_zo_probe *probe, const struct zf_zo *zo, uint32_t step,
                   zf_zo_loss loss, void *ctx) {
  assert(zo->probes >= 1 && zo->probes <= ZF_ZO_MAXPROBES);
  for (int probe_index = 0; probe_index < zo->probes; probe_index++) {
    struct zf_perturb perturb =
        zf_perturb_spsa(zo->seed, step, (uint16_t)probe_index, zo->direction, (float)zo->eps);
    double losses[ZF_MAXSTREAM];
    int rc = loss(ctx, &perturb, losses);
    if (rc) return rc;
    /* The kernels perturb by eps rounded to float. */
    double eps = (double)perturb.streams.eps[0];
    probe[probe_index] =
        (struct zf_zo_probe){losses[0], losses[1], (losses[0] - losses[1]) / (2 * eps)};
  }
  return 0;
}

/* Steps in the form that the kernels take: each has q noise keys and q coefficients. */
struct prepared_steps {
  struct zf_update_step *step;
  struct zf_noise *dir;
  float *coefficient;
};

static void prepare(const struct prepared_steps *prepared, int64_t index, const struct zf_zo *zo,
                    const struct zf_zo_step *step) {
  int probes = zo->probes;
  struct zf_noise *dir = prepared->dir + index * probes;
  float *coefficient = prepared->coefficient + index * probes;
  for (int i = 0; i < probes; i++) {
    dir[i] = zf_perturb_spsa(step->seed, step->step, (uint16_t)i, zo->direction, 0).direction;
    coefficient[i] = (float)(-step->lr * step->probe[i].projected_gradient / probes);
  }
  prepared->step[index] = (struct zf_update_step){
      .probe = dir,
      .coefficient = coefficient,
      .probes = probes,
      .round = {.seed = step->seed, .step = step->step, .use = ZF_USE_ROUNDING},
      .keep = step->keep,
      .add = step->add,
  };
}

/* Sets the parameter's number and decay in every prepared step. */
static void set_param(const struct prepared_steps *prepared, const struct zf_zo_step *step,
                      int64_t count, int probes, const struct zf_param *param, double decay) {
  for (int64_t i = 0; i < count * probes; i++) prepared->dir[i].param = param->id;
  for (int64_t i = 0; i < count; i++) {
    prepared->step[i].round.param = param->id;
    prepared->step[i].decay = param->decayed ? (float)(step[i].lr * decay) : 0.0f;
  }
}

static void apply(const struct zf_params *params, const struct prepared_steps *prepared,
                  const struct zf_zo *zo, const struct zf_zo_step *step, int64_t count,
                  double decay, const double *mean) {
  struct zf_update update = {
      .step = prepared->step, .steps = count, .mean = mean != NULL, .start = mean ? *mean : 0};
  for (int64_t i = 0; i < count; i++) prepare(prepared, i, zo, step + i);
  for (int64_t i = 0; i < params->count; i++) {
    const struct zf_param *param = &params->param[i];
    if (!param->trained) continue;
    set_param(prepared, step, count, zo->probes, param, decay);
    zf_update(param->data, param->type, param->count, &update);
  }
}

void zf_zo_update(const struct zf_params *params, const struct zf_zo *zo, uint32_t step,
                  const struct zf_zo_probe *probe, double lr, double decay) {
  struct zf_noise dir[ZF_ZO_MAXPROBES];
  float coefficient[ZF_ZO_MAXPROBES];
  struct zf_update_step prepared;
  struct zf_zo_step recorded = {
      .step = step, .seed = zo->seed, .lr = lr, .probe = probe, .keep = 1};
  apply(params, &(struct prepared_steps){&prepared, dir, coefficient}, zo, &recorded, 1, decay,
        NULL);
}

int zf_zo_replay(const struct zf_params *params, const struct zf_zo *zo,
                 const struct zf_zo_step *step, int64_t count, double decay, const double *mean) {
  struct prepared_steps prepared = {
      calloc((size_t)count + 1, sizeof *prepared.step),
      calloc((size_t)count * (size_t)zo->probes + 1, sizeof *prepared.dir),
      calloc((size_t)count * (size_t)zo->probes + 1, sizeof *prepared.coefficient)};
  int rc = prepared.step && prepared.dir && prepared.coefficient ? 0 : ZF_ENOMEM;
  if (rc)
    zf_error(rc, "out of memory for a replay of %lld steps", (long long)count);
  else
    apply(params, &prepared, zo, step, count, decay, mean);
  free(prepared.step);
  free(prepared.dir);
  free(prepared.coefficient);
  return rc;
}
