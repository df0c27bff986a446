#include "train/measure.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "base/err.h"
#include "train/backprop.h"

int64_t zf_measure_tokens(struct zf_run *run, int64_t step) {
  int64_t tokens = 0, index, count;
  for (int64_t i = 0; i < run->batch; i++)
    if (!zf_run_data_batch(&run->data, (step - 1) * run->batch + i, 1, &index, &count) && count)
      tokens += zf_example_tokens(run->data.train, index);
  return tokens;
}

static int mezo_step(struct zf_run *run, int64_t step, double lr, double *loss) {
  double square;
  int rc = zf_run_estimate(run, step, lr);
  if (rc) return rc;
  zf_run_update(run, step, lr);
  zf_zo_summary(&run->settings.zo, &run->estimate, loss, &square);
  return 0;
}

int zf_measure_step(struct zf_run *run, int64_t step, double *loss) {
  double norm, lr = zf_lr_at(&run->settings, step, run->steps);
  if (!zf_method_info(run->settings.method)->trains || run->settings.method == ZF_METHOD_PROBE) {
    struct zf_perturb none = zf_perturb_none();
    return zf_run_batch_loss(run, (step - 1) * run->batch, &none, loss);
  }
  if (!run->backprop) return mezo_step(run, step, lr, loss);
  int rc = zf_backprop_gradient(run, step, loss, &norm);
  if (!rc) zf_backprop_update(run, step, lr);
  return rc;
}

static struct zf_spread spread_of(const double *value, int64_t count) {
  double mean = 0, squares = 0;
  for (int64_t i = 0; i < count; i++) mean += value[i] / (double)count;
  for (int64_t i = 0; i < count; i++) squares += (value[i] - mean) * (value[i] - mean);
  return (struct zf_spread){mean, count > 1 ? sqrt(squares / (double)(count - 1)) : 0};
}

struct measured_steps {
  struct zf_energy energy;
  double *seconds, *joules; /* [steps] */
};

/* Measures steps 2 .. steps + 1. */
static int measure_steps(struct zf_measure *measure, struct measured_steps *measured,
                         struct zf_run *run, int (*stopped)(void *ctx), void *ctx) {
  for (int64_t i = 0; i < measure->steps; i++) {
    double before = zf_energy_read(&measured->energy), start = zf_now();
    int rc = zf_measure_step(run, i + 2, &measure->loss);
    measured->seconds[i] = zf_now() - start;
    measured->joules[i] = zf_energy_read(&measured->energy) - before;
    measure->tokens += (double)zf_measure_tokens(run, i + 2) / (double)measure->steps;
    if (rc) return rc;
    if (stopped && stopped(ctx)) return zf_error(ZF_ESTOPPED, "interrupted");
  }
  return 0;
}

/* Takes the run's largest steps, so that the peak of memory is that of the whole run. */
static int take_largest_steps(struct zf_run *run) {
  for (int i = 0; i < 2; i++) {
    double ignored;
    int rc = run->largest_steps[i] ? zf_measure_step(run, run->largest_steps[i], &ignored) : 0;
    if (rc) return rc;
  }
  return 0;
}

int zf_measure_run(struct zf_measure *measure, struct zf_run *run, int64_t steps,
                   int (*stopped)(void *ctx), void *ctx) {
  struct measured_steps measured = {.seconds = zf_calloc(2 * steps, sizeof(double))};
  *measure = (struct zf_measure){.steps = steps};
  if (!measured.seconds) return ZF_ENOMEM;
  measured.joules = measured.seconds + steps;
  zf_energy_init(&measured.energy);
  int rc = zf_measure_step(run, 1, &measure->loss);
  if (!rc) rc = measure_steps(measure, &measured, run, stopped, ctx);
  if (!rc) rc = take_largest_steps(run);
  measure->seconds = spread_of(measured.seconds, steps);
  measure->joules =
      measured.energy.count ? spread_of(measured.joules, steps) : (struct zf_spread){-1, 0};
  snprintf(measure->why, sizeof measure->why, "%s", measured.energy.reason);
  free(measured.seconds);
  return rc;
}
