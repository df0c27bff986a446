#include "train/measure.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "base/err.h"
#include "train/backprop.h"

int64_t zf_measure_tokens(struct zf_run *r, int64_t step) {
  int64_t n = 0, index, m;
  for (int64_t i = 0; i < r->batch; i++)
    if (!zf_run_data_batch(&r->data, (step - 1) * r->batch + i, 1, &index, &m) && m)
      n += zf_example_tokens(r->data.train, index);
  return n;
}

static int mezo_step(struct zf_run *r, int64_t step, double lr, double *loss) {
  struct zf_zo_probe probe[ZF_ZO_MAXPROBES];
  int rc = zf_run_estimate(r, step, probe);
  if (rc) return rc;
  zf_run_update(r, step, probe, lr);
  *loss = 0;
  for (int p = 0; p < r->set.zo.probes; p++)
    *loss += 0.5 * (probe[p].plus + probe[p].minus) / r->set.zo.probes;
  return 0;
}

int zf_measure_step(struct zf_run *r, int64_t step, double *loss) {
  double norm, lr = zf_lr_at(&r->set, step, r->steps);
  if (!zf_method_info(r->set.method)->trains) {
    struct zf_perturb none = zf_perturb_none();
    return zf_run_batch_loss(r, (step - 1) * r->batch, &none, loss);
  }
  if (!r->backprop) return mezo_step(r, step, lr, loss);
  int rc = zf_backprop_gradient(r, step, loss, &norm);
  if (!rc) zf_backprop_update(r, step, lr);
  return rc;
}

static struct zf_spread spread(const double *v, int64_t n) {
  struct zf_spread s = {0, 0};
  for (int64_t i = 0; i < n; i++) s.mean += v[i] / (double)n;
  for (int64_t i = 0; i < n; i++) s.deviation += (v[i] - s.mean) * (v[i] - s.mean);
  s.deviation = n > 1 ? sqrt(s.deviation / (double)(n - 1)) : 0;
  return s;
}

int zf_measure_run(struct zf_measure *out, struct zf_run *r, int64_t steps,
                   int (*stopped)(void *ctx), void *ctx) {
  double *seconds = zf_calloc(2 * steps, sizeof *seconds), *joules = seconds + steps;
  struct zf_energy e;
  *out = (struct zf_measure){.steps = steps};
  if (!seconds) return ZF_ENOMEM;
  zf_energy_init(&e);
  int rc = zf_measure_step(r, 1, &out->loss);
  for (int64_t i = 0; !rc && i < steps; i++) {
    double before = zf_energy_read(&e), start = zf_now();
    rc = zf_measure_step(r, i + 2, &out->loss);
    seconds[i] = zf_now() - start;
    joules[i] = zf_energy_read(&e) - before;
    out->tokens += (double)zf_measure_tokens(r, i + 2) / (double)steps;
    if (!rc && stopped && stopped(ctx)) rc = zf_error(ZF_ESTOPPED, "interrupted");
  }
  for (int k = 0; !rc && k < 2; k++) { /* so that the peak is that of the whole run's steps */
    double ignored;
    if (r->heaviest[k]) rc = zf_measure_step(r, r->heaviest[k], &ignored);
  }
  out->seconds = spread(seconds, steps);
  out->joules = e.count ? spread(joules, steps) : (struct zf_spread){-1, 0};
  snprintf(out->why, sizeof out->why, "%s", e.why);
  free(seconds);
  return rc;
}
