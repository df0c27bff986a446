/* The race of zoft tune.  A candidate is a run directory OUT/runs/NAME; every rung resumes it with a
 * larger max_steps, in this process.  The state is saved after every candidate, so that at most one
 * run is unfinished; that one is resumed by its own log. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "base/util.h"
#include "load.h"
#include "train/loop.h"
#include "train/measure.h"
#include "tune_internal.h"
#include "ui.h"

enum { TRIAL_STEPS = 2, WORDS = 12 };

/* --- the config of a candidate --- */

int zc_tune_conf(struct zf_conf **conf, const struct tune_race *race, int64_t index,
                 const char *const *words, int count) {
  const struct zc_args *args = race->args;
  int64_t axes = race->grid.count;
  char **own = zf_calloc(axes, sizeof *own);
  const char **all = zf_calloc(args->nset + axes + count, sizeof *all);
  int rc = own && all ? 0 : ZF_ENOMEM, sets = 0;
  *conf = NULL;
  for (int i = 0; !rc && i < args->nset; i++) all[sets++] = args->set[i];
  for (int64_t i = 0; !rc && i < axes; i++) {
    all[sets++] = own[i] = zf_tune_grid_word(&race->grid, index, i);
    if (!own[i]) rc = ZF_ENOMEM;
  }
  for (int i = 0; !rc && i < count; i++) all[sets++] = words[i];
  const struct zc_args with = {args->word, args->nword, all, sets};
  if (!rc) rc = zc_conf_load(conf, &with, zf_train_keys);
  for (int64_t i = 0; own && i < axes; i++) free(own[i]);
  free(own);
  free(all);
  return rc;
}

char *zc_tune_dir(const struct tune_race *race, const struct zf_tune_candidate *candidate) {
  return zf_asprintf("%s/runs/%s", race->out, candidate->name);
}

/* The config of a run of `steps` steps: it is scored, and keeps its weights, at its end alone. */
static int run_conf(struct zf_conf **conf, const struct tune_race *race, int64_t index,
                    int64_t steps, const char *dir) {
  char text[3][48], *output = zf_asprintf("output_dir=%s", dir);
  if (!output) return ZF_ENOMEM;
  static const char *const keys[] = {"max_steps", "eval_steps", "keyframe_steps"};
  for (int i = 0; i < 3; i++)
    snprintf(text[i], sizeof text[i], "%s=%lld", keys[i], (long long)steps);
  const char *const words[WORDS] = {output,
                                    text[0],
                                    text[1],
                                    text[2],
                                    "num_epochs=null",
                                    "eval_on_start=false",
                                    "load_best_model_at_end=false",
                                    "early_stopping_patience=null",
                                    "save_steps=null",
                                    "save_total_limit=1",
                                    "test_datasets=[]",
                                    "overwrite_output_dir=false"};
  int rc = zc_tune_conf(conf, race, index, words, WORDS);
  free(output);
  return rc;
}

/* --- one run --- */

struct run_display {
  const char *words;
  double done, share; /* of the rung, before this run; of this run */
  double first, last; /* when steps were reported */
  int64_t steps;      /* reported */
};

static void on_step(void *ctx, const struct zf_step_report *report) {
  struct run_display *display = ctx;
  char text[256];
  display->last = zf_now();
  if (!display->steps++) display->first = display->last;
  snprintf(text, sizeof text, "%s  step %lld/%lld  loss %.4f", display->words,
           (long long)report->step, (long long)report->steps, report->loss);
  zc_bar(display->done + display->share * (double)report->step / (double)report->steps, text, 0);
}

static void on_message(void *ctx, const char *text) {
  (void)ctx;
  if (zc_common.verbose) zc_info("%s", text);
}

static int on_stopped(void *ctx) {
  (void)ctx;
  return zc_signal();
}

/* Seconds of a step, and of the rest, from a run that took `seconds`. */
static struct zf_tune_cost cost_of(const struct run_display *display, double seconds) {
  struct zf_tune_cost cost = {.once = seconds};
  if (display->steps > 1)
    cost.step = (display->last - display->first) / (double)(display->steps - 1);
  else if (display->steps)
    cost.step = seconds;
  cost.once -= cost.step * (double)display->steps;
  if (cost.once < 0) cost.once = 0;
  return cost;
}

/* Warnings that all candidates share. */
static void warn_once(struct tune_race *race, const struct zf_run *run) {
  if (race->warned) return;
  race->warned = 1;
  zc_warn_model(run->model);
  zc_warn_run_compute(run);
  zc_warn_counts(run->data.train, "training");
  zc_warn_ends(run->data.train);
  if (run->data.dev) zc_warn_counts(run->data.dev, "dev");
  zc_warn_duplicates(run);
}

static int open_and_train(struct tune_race *race, struct zf_outcome *outcome,
                          const struct zf_conf *conf, const char *dir,
                          struct run_display *display) {
  struct zf_train_events events = {display, on_step, NULL, on_message, on_stopped};
  struct zf_train_start start = {.resume = zf_rundir_has_log(dir) || zf_rundir_begun(dir)};
  struct zf_run *run = NULL;
  unsigned resumed = start.resume ? ZF_WANT_RESUMED : 0;
  int rc = zf_run_open(&run, conf, ZF_WANT_TRAIN | ZF_WANT_DEV | resumed);
  if (!rc) {
    warn_once(race, run);
    rc = zf_train(run, &start, &events, outcome);
  }
  zc_bar_clear();
  zf_run_free(run);
  return rc;
}

static void say_score(const struct tune_race *race, const struct zf_tune_candidate *candidate) {
  char metric[32], loss[32];
  double value = candidate->score.metric;
  zc_tune_value(metric, race->metric, value);
  zc_tune_value(loss, ZF_BEST_LOSS, candidate->score.loss);
  if (race->metric == ZF_BEST_LOSS)
    zc_info("  %s  dev loss %s", candidate->words, loss);
  else
    zc_info("  %s  dev %s %s  loss %s", candidate->words, zc_tune_metric(race->metric), metric,
            loss);
}

/* Enters how a run ended, and returns what is no end of a candidate. */
static int take_outcome(struct tune_race *race, struct zf_tune_candidate *candidate, int rc,
                        const struct zf_outcome *outcome, int64_t steps) {
  if (rc == ZF_EDIVERGED) {
    candidate->fate = ZF_TUNE_DIVERGED;
    candidate->steps = outcome->step;
    zc_info("  %s  diverged: %s", candidate->words, zf_error_message());
    return 0;
  }
  if (rc == ZF_ESTOPPED)
    return zf_error(rc, "interrupted in rung %d, %s after step %lld: the same command goes on",
                    race->tune.rung + 1, candidate->words, (long long)outcome->step);
  if (rc) return zf_error_prefix(rc, "%s", candidate->words);
  if (outcome->step < steps)
    return zf_error(ZF_EFAIL, "%s: the run was stopped after step %lld: the same command goes on",
                    candidate->words, (long long)outcome->step);
  zf_tune_enter(&race->tune, candidate - race->tune.candidate, &outcome->end, race->metric,
                outcome->step);
  if (candidate->fate == ZF_TUNE_DIVERGED)
    zc_info("  %s  diverged: the dev loss is not a finite number", candidate->words);
  else
    say_score(race, candidate);
  return 0;
}

static int run_candidate(struct tune_race *race, int64_t index, int64_t steps,
                         struct run_display *display) {
  struct zf_tune_candidate *candidate = &race->tune.candidate[index];
  struct zf_outcome outcome = {0};
  struct zf_conf *conf = NULL;
  char *dir = zc_tune_dir(race, candidate);
  double start = zf_now();
  int rc = dir ? run_conf(&conf, race, index, steps, dir) : ZF_ENOMEM;
  display->words = candidate->words;
  if (!rc) rc = open_and_train(race, &outcome, conf, dir, display);
  double seconds = zf_now() - start;
  rc = take_outcome(race, candidate, rc, &outcome, steps);
  if (!rc) candidate->cost = cost_of(display, seconds);
  candidate->seconds += seconds;
  race->tune.seconds += seconds;
  zf_conf_free(conf);
  free(dir);
  if (rc && rc != ZF_ESTOPPED) return rc;
  if (rc) { /* the time counts, whatever becomes of the file */
    char message[512];
    snprintf(message, sizeof message, "%s", zf_error_message());
    zf_tune_save(&race->tune, race->state);
    return zf_error(rc, "%s", message);
  }
  return zf_tune_save(&race->tune, race->state);
}

/* --- planning by time --- */

/* What the first candidate would cost: a few steps and a dev score that leave no trace. */
static int try_first(struct tune_race *race, struct zf_tune_cost *cost) {
  struct zf_conf *conf = NULL;
  struct zf_run *run = NULL;
  struct zf_measure measure = {0};
  struct zf_metrics metrics;
  double start = zf_now(), opened = 0, measured = 0;
  int rc = run_conf(&conf, race, 0, 1 + TRIAL_STEPS, race->out);
  if (!rc) rc = zf_run_open(&run, conf, ZF_WANT_TRAIN | ZF_WANT_DEV);
  opened = zf_now() - start;
  if (!rc) {
    warn_once(race, run);
    rc = zf_measure_run(&measure, run, TRIAL_STEPS, on_stopped, NULL);
  }
  measured = zf_now();
  if (!rc && run->data.dev) rc = zf_run_evaluate(&metrics, run, run->data.dev, on_stopped, NULL);
  *cost = (struct zf_tune_cost){measure.seconds.mean, opened + zf_now() - measured};
  zf_run_free(run);
  zf_conf_free(conf);
  race->tune.seconds += zf_now() - start;
  return rc;
}

/* The steps to add to the *before that the candidates have, so that this rung takes an even share of
 * the seconds that are left for `rungs` rungs; 0: there is no time.  first: the cost of a candidate
 * that has not run yet. */
static int64_t steps_in_time(const struct tune_race *race, double seconds, int rungs,
                             struct zf_tune_cost first, int64_t *before) {
  const struct zf_tune *tune = &race->tune;
  struct zf_tune_cost cost[ZF_TUNE_MAX];
  int64_t index[ZF_TUNE_MAX], count = zf_tune_left(index, tune);
  *before = tune->rung ? tune->steps[tune->rung - 1] : 0;
  for (int64_t i = 0; i < count; i++) *before = zf_max64(*before, tune->candidate[index[i]].steps);
  for (int64_t i = 0; i < count; i++) {
    const struct zf_tune_candidate *candidate = &tune->candidate[index[i]];
    cost[i] = candidate->steps ? candidate->cost : first;
    cost[i].once += cost[i].step * (double)(*before - candidate->steps); /* it is behind */
  }
  return zf_tune_more_steps(seconds, rungs, cost, count);
}

/* *end: there is no time for a step. */
static int plan_rung(struct tune_race *race, int *end) {
  struct zf_tune *tune = &race->tune;
  struct zf_tune_cost first = {0};
  int64_t before;
  int rc = tune->rung ? 0 : try_first(race, &first);
  if (rc) return rc;
  int64_t more =
      steps_in_time(race, race->budget - tune->seconds, tune->rungs - tune->rung, first, &before);
  if (!more && !tune->rung) more = 1; /* the first rung is always run */
  tune->steps[tune->rung] = more ? before + more : 0;
  *end = !more;
  return *end ? 0 : zf_tune_save(tune, race->state);
}

/* A rung that took less than its time goes on where that doubles its steps; *more: it does. */
static int extend_rung(struct tune_race *race, int *more) {
  struct zf_tune *tune = &race->tune;
  const struct zf_tune_cost none = {0};
  int64_t before, start = tune->rung ? tune->steps[tune->rung - 1] : 0;
  double share = race->budget * (tune->rung + 1) / tune->rungs - tune->seconds;
  int64_t steps = steps_in_time(race, share, 1, none, &before);
  *more = steps >= tune->steps[tune->rung] - start;
  if (!*more) return 0;
  tune->steps[tune->rung] += steps;
  return zf_tune_save(tune, race->state);
}

/* --- the race --- */

static int run_rung(struct tune_race *race) {
  struct zf_tune *tune = &race->tune;
  int64_t index[ZF_TUNE_MAX], count = zf_tune_left(index, tune);
  int64_t steps = tune->steps[tune->rung];
  zc_info("rung %d of %d: %lld candidate%s to step %lld", tune->rung + 1, tune->rungs,
          (long long)count, count == 1 ? "" : "s", (long long)steps);
  for (int64_t i = 0; i < count; i++) {
    const struct zf_tune_candidate *candidate = &tune->candidate[index[i]];
    struct run_display display = {.done = (double)i / (double)count, .share = 1 / (double)count};
    if (candidate->rung > tune->rung && candidate->steps >= steps) continue;
    int rc = run_candidate(race, index[i], steps, &display);
    if (rc) return rc;
  }
  return 0;
}

/* Where all have diverged, others come back, and time is shared anew. */
static int bring_back(struct tune_race *race) {
  struct zf_tune *tune = &race->tune;
  int64_t count = zf_tune_revive(tune);
  if (!count) return zf_error(ZF_EDIVERGED, "every candidate diverged: try smaller learning rates");
  zc_info("rung %d of %d: all diverged: the best of those that were out come back", tune->rung + 1,
          tune->rungs);
  if (race->budget > 0) tune->steps[tune->rung] = 0;
  return zf_tune_save(tune, race->state);
}

/* One rung, or the part of it up to where all have diverged; *end: the race is over. */
static int next_rung(struct tune_race *race, int *end) {
  struct zf_tune *tune = &race->tune;
  int64_t left[ZF_TUNE_MAX];
  int more = 1, rc = zf_tune_left(left, tune) ? 0 : bring_back(race);
  if (!rc && !tune->steps[tune->rung]) rc = plan_rung(race, end);
  if (!rc && *end)
    zc_info("rung %d of %d: no time is left for a step of %lld candidate%s", tune->rung + 1,
            tune->rungs, (long long)zf_tune_left(left, tune),
            zf_tune_left(left, tune) == 1 ? "" : "s");
  if (rc || *end) return rc;
  while (!rc && more) {
    rc = run_rung(race);
    if (rc || !zf_tune_left(left, tune)) return rc;
    more = 0;
    if (race->budget > 0) rc = extend_rung(race, &more);
  }
  if (rc) return rc;
  zf_tune_end_rung(tune);
  return zf_tune_save(tune, race->state);
}

int zc_tune_race(struct tune_race *race) {
  int end = 0;
  while (!end && race->tune.rung < race->tune.rungs) {
    int rc = next_rung(race, &end);
    if (rc) return rc;
  }
  return 0;
}
