#include "zo/zo.h"

#include <assert.h>

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

void zf_zo_update(const struct zf_params *ps, const struct zf_zo *zo, uint32_t step,
                  const struct zf_zo_probe *probe, double lr, double decay) {
  struct zf_noise dir[ZF_ZO_MAXPROBES];
  float c[ZF_ZO_MAXPROBES];
  for (int64_t i = 0; i < ps->n; i++) {
    const struct zf_param *w = &ps->p[i];
    if (!w->trained) continue;
    for (int p = 0; p < zo->probes; p++) {
      dir[p] = zf_perturb_spsa(zo->seed, step, (uint16_t)p, zo->direction, 0).dir;
      dir[p].param = w->id;
      c[p] = (float)(-lr * probe[p].g / zo->probes);
    }
    struct zf_noise rounding = {
        .seed = zo->seed, .step = step, .use = ZF_USE_ROUNDING, .param = w->id};
    zf_update(w->data, w->type, w->n, dir, c, zo->probes, w->decayed ? (float)(lr * decay) : 0.0f,
              &rounding);
  }
}
