#include "train/measure.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "base/err.h"
#include "train/backprop.h"

int64_t zf_measure_tokens(struct zf_run *run, int64_t step) {
  int64_t n = 0, index, m;
  for (int64_t i = 0; i < run->batch; i++)
    if (!zf_run_data_batch(&run->data, (step - 1) * run->batch + i, 1, &index, &m) && m)
      n += zf_example_tokens(run->data.train, index);
  return n;
}

static int mezo_step(struct zf_run *run, int64_t step, double lr, double *loss) {
  struct zf_zo_probe probe[ZF_ZO_MAXPROBES];
  int rc = zf_run_estimate(run, step, probe);
  if (rc) return rc;
  zf_run_update(run, step, probe, lr);
  *loss = 0;
  for (int p = 0; p < run->set.zo.probes; p++)
    *loss += 0.5 * (probe[p].plus + probe[p].minus) / run->set.zo.probes;
  return 0;
}

int zf_measure_step(struct zf_run *run, int64_t step, double *loss) {
  double norm, lr = zf_lr_at(&run->set, step, run->steps);
  if (!zf_method_info(run->set.method)->trains) {
    struct zf_perturb none = zf_perturb_none();
    return zf_run_batch_loss(run, (step - 1) * run->batch, &none, loss);
  }
  if (!run->backprop) return mezo_step(run, step, lr, loss);
  int rc = zf_backprop_gradient(run, step, loss, &norm);
  if (!rc) zf_backprop_update(run, step, lr);
  return rc;
}

static struct zf_spread spread(const double *v, int64_t count) {
  struct zf_spread s = {0, 0};
  for (int64_t i = 0; i < count; i++) s.mean += v[i] / (double)count;
  for (int64_t i = 0; i < count; i++) s.deviation += (v[i] - s.mean) * (v[i] - s.mean);
  s.deviation = count > 1 ? sqrt(s.deviation / (double)(count - 1)) : 0;
  return s;
}

int zf_measure_run(struct zf_measure *out, struct zf_run *run, int64_t steps,
                   int (*stopped)(void *ctx), void *ctx) {
  double *seconds = zf_calloc(2 * steps, sizeof *seconds), *joules = seconds + steps;
  struct zf_energy energy;
  *out = (struct zf_measure){.steps = steps};
  if (!seconds) return ZF_ENOMEM;
  zf_energy_init(&energy);
  int rc = zf_measure_step(run, 1, &out->loss);
  for (int64_t i = 0; !rc && i < steps; i++) {
    double before = zf_energy_read(&energy), start = zf_now();
    rc = zf_measure_step(run, i + 2, &out->loss);
    seconds[i] = zf_now() - start;
    joules[i] = zf_energy_read(&energy) - before;
    out->tokens += (double)zf_measure_tokens(run, i + 2) / (double)steps;
    if (!rc && stopped && stopped(ctx)) rc = zf_error(ZF_ESTOPPED, "interrupted");
  }
  for (int k = 0; !rc && k < 2; k++) { /* so that the peak is that of the whole run's steps */
    double ignored;
    if (run->heaviest[k]) rc = zf_measure_step(run, run->heaviest[k], &ignored);
  }
  out->seconds = spread(seconds, steps);
  out->joules = energy.count ? spread(joules, steps) : (struct zf_spread){-1, 0};
  snprintf(out->why, sizeof out->why, "%s", energy.why);
  free(seconds);
  return rc;
}
