#include "train/auto_rate.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/err.h"
#include "train/run_internal.h"

enum {
  EXAMPLES = 32,  /* least examples of the test */
  DIRECTIONS = 3, /* of the test */
  ESTIMATES = 4,  /* steps whose estimates are measured */
  TRIES = 6,      /* distances */
  STRETCH = 100   /* steps whose mean loss is watched */
};

#define CHANGE 0.1
#define SHARE 0.7
/* A walk of SHARE times the reach costs SHARE^2 of the change.  A divergence of D can fall by D at most: a
 * change of D / 4 costs an eighth of it. */
#define CHANGE_OF_DIVERGENCE 0.25
#define FIRST_DISTANCE 4e-3
#define LEAST_NOISE 0.05 /* of the slope that changes a loss by CHANGE at the reach */

/* Losses of the examples of the first batches. */
struct rate_test {
  struct zf_run *run;
  int64_t count;
  double *now;  /* [streams][count] mean losses of the pass */
  double *base; /* [count] without noise */
  double *plus; /* [count] */
  int64_t passes;
};

/* Variances of one distance. */
struct moments {
  double change; /* mean square of what an example's loss changes beyond the first order */
  double spread; /* variance over examples of the first order */
  double slope;  /* square of its mean */
};

/* The number of an example that the run minimises. */
static double loss_of(const struct zf_run *run, int64_t slot) {
  const struct zf_score *score = &run->score[slot];
  double weight = (double)score->weight, loss = score->loss / (weight > 0 ? weight : 1);
  return run->objective ? zf_run_mix(run, run->value[slot], loss) : loss;
}

static void take_losses(struct rate_test *test, int64_t done, int64_t count, int streams) {
  for (int s = 0; s < streams; s++)
    for (int64_t i = 0; i < count && done + i < test->count; i++)
      test->now[s * test->count + done + i] = loss_of(test->run, s * count + i);
}

/* A zf_zo_loss: the mean over the test's examples. */
static int test_loss(void *ctx, const struct zf_perturb *perturb, int wide,
                     struct zf_zo_losses *losses) {
  struct rate_test *test = ctx;
  struct zf_run *run = test->run;
  struct zf_perturb shared = *perturb;
  int64_t done = 0, count;
  (void)wide;
  shared.by_example = 0;
  for (int64_t place = 0; done < test->count; place += run->settings.micro_batch) {
    int rc = zf_run_data_batch(&run->data, place, run->settings.micro_batch, run->index, &count);
    if (rc || !count) return rc;
    rc = zf_score_examples(run->scorer, run->data.train, run->index, count, 0, &shared, run->score);
    if (!rc && run->objective) rc = zf_run_objective_values(run, count, &shared);
    if (rc) return rc;
    take_losses(test, done, count, perturb->streams.count);
    done += count;
  }
  test->passes += perturb->streams.count * (test->count + run->batch - 1) / run->batch;
  for (int s = 0; s < perturb->streams.count; s++) losses->batch[s] = test->now[s * test->count];
  return 0;
}

static int scan(struct rate_test *test, uint32_t step, double distance, double *to) {
  double loss;
  int rc = zf_zo_scan(&test->run->model->params, step, &distance, 1, test_loss, test, &loss);
  for (int64_t i = 0; i < (rc ? 0 : test->count); i++) to[i] = test->now[i];
  return rc;
}

static int measure(struct rate_test *test, double distance, struct moments *out) {
  double n = (double)test->count, *minus = test->now;
  *out = (struct moments){0};
  for (uint32_t step = 1; step <= DIRECTIONS; step++) {
    double mean = 0;
    int rc = scan(test, step, distance, test->plus);
    if (!rc) rc = scan(test, step, -distance, minus);
    if (rc) return rc;
    for (int64_t i = 0; i < test->count; i++)
      mean += (test->plus[i] - minus[i]) / (2 * distance) / n;
    for (int64_t i = 0; i < test->count; i++) {
      double second = 0.5 * (test->plus[i] + minus[i]) - test->base[i],
             first = (test->plus[i] - minus[i]) / (2 * distance) - mean;
      out->change += second * second / (n * DIRECTIONS);
      out->spread += first * first / (n * DIRECTIONS);
    }
    out->slope += mean * mean / DIRECTIONS;
  }
  return 0;
}

/* The distance whose change is the sought one.  Changes grow with the square of the distance. */
static int find_reach(struct rate_test *test, double sought, double *reach,
                      struct moments *moments) {
  double distance = FIRST_DISTANCE;
  for (int i = 0; i < TRIES; i++) {
    int rc = measure(test, distance, moments);
    if (rc) return rc;
    double change = sqrt(moments->change), factor = change > 0 ? sqrt(sought / change) : 8;
    if (!isfinite(change)) factor = 0.125;
    factor = factor > 8 ? 8 : factor < 0.125 ? 0.125 : factor;
    *reach = distance * factor;
    if (factor > 0.7 && factor < 1.4) return 0;
    distance = *reach;
  }
  if (moments->change > 0 && isfinite(moments->change)) return 0;
  return zf_error(ZF_EUSAGE,
                  "learning_rate: auto: the loss does not change along random directions: set a "
                  "learning rate");
}

/* 1 where a divergence from a teacher is minimised, and nothing else. */
static int is_divergence(const struct zf_run *run) {
  const struct zf_objective_settings *objective = &run->settings.objective;
  return objective->kind && objective->weight == 1;
}

/* Mean square length of the estimates of the first steps. */
static int measure_estimates(struct zf_run *run, double *square) {
  const struct zf_zo *zo = &run->settings.zo;
  int64_t terms = zf_zo_terms(zo);
  *square = 0;
  for (int64_t step = 1; step <= ESTIMATES; step++) {
    int rc = zf_run_estimate(run, step, 0);
    if (rc) return rc;
    for (int64_t i = 0; i < terms; i++) {
      double part = run->estimate.term[i].coefficient / zo->probes;
      *square += part * part / ESTIMATES;
    }
  }
  return 0;
}

/* The noise of an estimate: of a smooth difference from the examples' slopes, which are many; of another
 * one the length of its estimates. */
static void find_noise(struct zf_auto_rate *out, const struct zf_run *run,
                       const struct moments *moments, double square) {
  const struct zf_zo *zo = &run->settings.zo;
  double estimates = (double)(run->batch * zo->probes),
         all = moments->spread + (zo->examples ? moments->slope : 0);
  double whole = is_divergence(run) && !zo->examples ? moments->slope / zo->probes : 0;
  out->noise = sqrt(zf_zo_is_smooth(zo) ? all / estimates + whole : square);
  if (zf_zo_is_normalized(zo)) out->noise = 1;
  double least = LEAST_NOISE * out->change / out->reach;
  if (zf_zo_is_smooth(zo) && out->noise < least) out->noise = least;
}

/* The change of a loss that is sought. */
static double change_of(const struct rate_test *test) {
  double mean = 0;
  if (!is_divergence(test->run)) return CHANGE;
  for (int64_t i = 0; i < test->count; i++) mean += test->base[i] / (double)test->count;
  double change = CHANGE_OF_DIVERGENCE * mean;
  return change > 0 && change < CHANGE ? change : CHANGE;
}

int zf_auto_rate(struct zf_auto_rate *out, struct zf_run *run) {
  int64_t size = zf_dataset_size(run->data.train), streams = zf_zo_streams(&run->settings.zo);
  struct rate_test test = {.run = run, .count = run->batch < EXAMPLES ? EXAMPLES : run->batch};
  struct moments moments = {0};
  double square = 0;
  *out = (struct zf_auto_rate){0};
  if (test.count > size) test.count = size;
  test.now = zf_calloc((streams + 2) * test.count, sizeof *test.now);
  if (!test.now) return ZF_ENOMEM;
  test.base = test.now + streams * test.count;
  test.plus = test.base + test.count;
  int rc = scan(&test, 1, 0, test.base);
  if (!rc) out->change = change_of(&test);
  if (!rc) rc = find_reach(&test, out->change, &out->reach, &moments);
  if (!rc && !zf_zo_is_smooth(&run->settings.zo)) rc = measure_estimates(run, &square);
  if (!rc) find_noise(out, run, &moments, square);
  out->passes = test.passes + run->passes;
  if (!rc) out->rate = SHARE * out->reach / (out->noise * sqrt((double)run->steps));
  if (!rc && !(out->rate > 0 && isfinite(out->rate)))
    rc = zf_error(ZF_EUSAGE, "learning_rate: auto: found no rate: set one");
  free(test.now);
  return rc;
}

int zf_rate_control_add(struct zf_rate_control *control, double loss) {
  control->steps++;
  control->sum += loss;
  control->squares += loss * loss;
  if (control->steps < STRETCH) return 0;
  double mean = control->sum / STRETCH,
         variance = (control->squares - STRETCH * mean * mean) / (STRETCH - 1),
         error = sqrt(variance > 0 ? variance / STRETCH : 0);
  int rises = control->has_lowest && mean > control->lowest + 2 * error;
  if (!control->has_lowest || mean < control->lowest) control->lowest = mean;
  control->has_lowest = 1;
  control->halvings += rises;
  control->steps = 0;
  control->sum = control->squares = 0;
  return rises;
}

double zf_rate_control_factor(const struct zf_rate_control *control) {
  return ldexp(1, -control->halvings);
}
