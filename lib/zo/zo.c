#include "zo/zo.h"

#include <assert.h>
#include <stdlib.h>

#include "base/err.h"

int zf_zo_estimate(struct zf_zo_probe *probe, const struct zf_zo *zo, uint32_t step,
                   zf_zo_loss loss, void *ctx) {
  assert(zo->probes >= 1 && zo->probes <= ZF_ZO_MAXPROBES);
  for (int p = 0; p < zo->probes; p++) {
    struct zf_perturb pt =
        zf_perturb_spsa(zo->seed, step, (uint16_t)p, zo->direction, (float)zo->eps);
    double l[ZF_MAXSTREAM];
    int rc = loss(ctx, &pt, l);
    if (rc) return rc;
    /* The distance really gone is the float's, not the double's. */
    double eps = (double)pt.st.eps[0];
    probe[p] = (struct zf_zo_probe){l[0], l[1], (l[0] - l[1]) / (2 * eps)};
  }
  return 0;
}

/* Steps as the kernels take them: n steps of q keys and coefficients each. */
struct prepared {
  struct zf_update_step *step;
  struct zf_noise *dir;
  float *c;
};

static void prepare(const struct prepared *to, int64_t i, const struct zf_zo *zo,
                    const struct zf_zo_step *step) {
  int q = zo->probes;
  struct zf_noise *dir = to->dir + i * q;
  float *c = to->c + i * q;
  for (int p = 0; p < q; p++) {
    dir[p] = zf_perturb_spsa(step->seed, step->step, (uint16_t)p, zo->direction, 0).dir;
    c[p] = (float)(-step->lr * step->probe[p].projected_gradient / q);
  }
  to->step[i] = (struct zf_update_step){
      .probe = dir,
      .coefficient = c,
      .probes = q,
      .round = {.seed = step->seed, .step = step->step, .use = ZF_USE_ROUNDING},
      .keep = step->keep,
      .add = step->add,
  };
}

/* Puts the parameter's number and decay in. */
static void aim(const struct prepared *to, const struct zf_zo_step *step, int64_t count, int q,
                const struct zf_param *param, double decay) {
  for (int64_t i = 0; i < count * q; i++) to->dir[i].param = param->id;
  for (int64_t i = 0; i < count; i++) {
    to->step[i].round.param = param->id;
    to->step[i].decay = param->decayed ? (float)(step[i].lr * decay) : 0.0f;
  }
}

static void apply(const struct zf_params *ps, const struct prepared *to, const struct zf_zo *zo,
                  const struct zf_zo_step *step, int64_t count, double decay, const double *mean) {
  struct zf_update update = {
      .step = to->step, .steps = count, .mean = mean != NULL, .start = mean ? *mean : 0};
  for (int64_t i = 0; i < count; i++) prepare(to, i, zo, step + i);
  for (int64_t i = 0; i < ps->count; i++) {
    const struct zf_param *param = &ps->param[i];
    if (!param->trained) continue;
    aim(to, step, count, zo->probes, param, decay);
    zf_update(param->data, param->type, param->count, &update);
  }
}

void zf_zo_update(const struct zf_params *ps, const struct zf_zo *zo, uint32_t step,
                  const struct zf_zo_probe *probe, double lr, double decay) {
  struct zf_noise dir[ZF_ZO_MAXPROBES];
  float c[ZF_ZO_MAXPROBES];
  struct zf_update_step one;
  struct zf_zo_step taken = {.step = step, .seed = zo->seed, .lr = lr, .probe = probe, .keep = 1};
  apply(ps, &(struct prepared){&one, dir, c}, zo, &taken, 1, decay, NULL);
}

int zf_zo_replay(const struct zf_params *ps, const struct zf_zo *zo, const struct zf_zo_step *step,
                 int64_t count, double decay, const double *mean) {
  struct prepared to = {calloc((size_t)count + 1, sizeof *to.step),
                        calloc((size_t)count * (size_t)zo->probes + 1, sizeof *to.dir),
                        calloc((size_t)count * (size_t)zo->probes + 1, sizeof *to.c)};
  int rc = to.step && to.dir && to.c ? 0 : ZF_ENOMEM;
  if (rc)
    zf_error(rc, "out of memory for a replay of %lld steps", (long long)count);
  else
    apply(ps, &to, zo, step, count, decay, mean);
  free(to.step);
  free(to.dir);
  free(to.c);
  return rc;
}
