/* The watchdog: stops a run that diverges or learns nothing. */
#include <math.h>

#include "base/err.h"
#include "train/loop_internal.h"

enum { FIRST_STEPS = 10 }; /* without a setting, the limit is four times their mean loss */

/* Losses that jump are often equal on both sides, and a share of wrong answers has no size from which it
 * counts as exploded. */
static int is_piecewise(const struct zf_settings *settings) {
  return settings->objective.kind && settings->objective.kind->piecewise;
}

enum { PIECEWISE_PATIENCE = 10 }; /* times as many steps */

int zf_loop_watch(struct train_loop *loop, double loss, double square) {
  const struct zf_settings *settings = &loop->run->settings;
  if (!isfinite(loss) || !isfinite(square))
    return zf_error(ZF_EDIVERGED,
                    "step %lld: the loss is not a finite number: a smaller learning_rate "
                    "%smay help",
                    (long long)loop->step, loop->run->backprop ? "" : "or zo_eps ");
  /* Weights beyond the range of floats can leave a model whose outputs ignore its input. */
  loop->watchdog.zero_gradients = square == 0 ? loop->watchdog.zero_gradients + 1 : 0;
  int64_t patience =
      settings->watchdog_patience * (is_piecewise(settings) ? PIECEWISE_PATIENCE : 1);
  if (loop->watchdog.zero_gradients >= patience)
    return zf_error(
        ZF_EDIVERGED,
        "step %lld: %s for %lld steps: nothing is learned; a smaller learning_rate%s may help",
        (long long)loop->step,
        loop->run->backprop ? "the gradient is zero" : "the losses on both sides are equal",
        (long long)loop->watchdog.zero_gradients, loop->run->backprop ? "" : " or a larger zo_eps");
  if (loop->step <= FIRST_STEPS) loop->watchdog.first_losses += loss;
  double limit = settings->watchdog;
  if (limit == 0 && loop->step > FIRST_STEPS && !is_piecewise(settings))
    limit = 4 * loop->watchdog.first_losses / FIRST_STEPS;
  loop->watchdog.above = limit > 0 && loss > limit ? loop->watchdog.above + 1 : 0;
  if (loop->watchdog.above < settings->watchdog_patience) return 0;
  return zf_error(ZF_EDIVERGED,
                  "step %lld: the loss is %.4g, above %.4g for %lld steps: a smaller learning_rate "
                  "may help",
                  (long long)loop->step, loss, limit, (long long)loop->watchdog.above);
}
