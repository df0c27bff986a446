/* What the first steps say about the learning rate, told once.
 *
 * Too small: to first order a step gains lr |grad|^2 on average, and |grad|^2 <= E g^2; so a run of T steps gains
 * at most lr T E g^2.  Too large: the losses of the second half of these steps lie above those of the first by
 * more than three standard errors. */
#include <math.h>

#include "train/loop_internal.h"

enum { STEPS = 50 };

#define LEAST_GAIN 0.01 /* of the loss, over the whole run */

static void say_too_small(const struct train_loop *loop, double gain, double loss) {
  char text[240];
  snprintf(text, sizeof text,
           "at this learning rate %lld steps gain at most %.2g of a loss of %.4g: a rate %.1g "
           "times as large, or learning_rate auto, would learn more",
           (long long)loop->run->steps, gain, loss, LEAST_GAIN * 10 * loss / gain);
  zf_loop_say(loop, text);
}

static void say_too_large(const struct train_loop *loop, double first, double second) {
  char text[200];
  snprintf(
      text, sizeof text,
      "the loss rises at this learning rate: %.4g over the first %d steps, %.4g over the next: "
      "a smaller rate, or learning_rate auto, may learn",
      first, STEPS / 2, second);
  zf_loop_say(loop, text);
}

void zf_loop_advise(struct train_loop *loop, double loss, double square, double lr) {
  struct rate_advice *advice = &loop->advice;
  const struct zf_zo *zo = &loop->run->settings.zo;
  if (loop->step > STEPS || loop->run->settings.auto_lr) return;
  int half = loop->step > STEPS / 2;
  advice->loss[half] += loss / (STEPS / 2.0);
  advice->squares[half] += loss * loss / (STEPS / 2.0);
  advice->gain += lr * square;
  if (loop->step < STEPS) return;
  double variance = 0, first = advice->loss[0], second = advice->loss[1];
  for (int i = 0; i < 2; i++)
    variance += (advice->squares[i] - advice->loss[i] * advice->loss[i]) / (STEPS / 2.0 - 1);
  double gain = advice->gain / STEPS * (double)loop->run->steps;
  int plain = zf_zo_is_smooth(zo) && !zf_zo_is_normalized(zo) && !zo->examples;
  if (second - first > 3 * sqrt(variance > 0 ? variance : 0))
    say_too_large(loop, first, second);
  else if (plain && gain > 0 && gain < LEAST_GAIN * first)
    say_too_small(loop, gain, first);
}
