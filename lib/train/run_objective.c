/* The objective of a run: its memory, its values, and the mix with the task's own loss. */
#include <stdlib.h>

#include "base/arena.h"
#include "base/err.h"
#include "train/run.h"
#include "train/run_internal.h"

/* The sets of a run; `set` has three places. */
static struct zf_objective_room room_of(const struct zf_run *run, const struct zf_dataset **set) {
  set[0] = run->data.train;
  set[1] = run->data.dev;
  set[2] = run->data.test;
  return (struct zf_objective_room){.set = set,
                                    .sets = 3,
                                    .slots = run->settings.micro_batch,
                                    .rows = run->limits.rows,
                                    .compute = run->settings.compute,
                                    .teacher = run->teacher};
}

int64_t zf_run_objective_bytes(const struct zf_run *run) {
  const struct zf_dataset *set[3];
  struct zf_objective_room room = room_of(run, set);
  return zf_objective_bytes(&run->settings.objective, run->model, &room);
}

int zf_run_open_objective(struct zf_run *run) {
  const struct zf_dataset *set[3];
  struct zf_objective_room room = room_of(run, set);
  if (!run->settings.objective.kind) return 0;
  run->value = zf_calloc(ZF_MAXSTREAM * run->settings.micro_batch, sizeof *run->value);
  if (!run->value) return ZF_ENOMEM;
  if (run->settings.zo.examples) {
    run->example_value = zf_calloc(ZF_MAXSTREAM * run->batch, sizeof *run->example_value);
    if (!run->example_value) return ZF_ENOMEM;
  }
  int rc =
      zf_objective_open(&run->objective, &run->settings.objective, run->model, run->tok, &room);
  if (!rc) zf_scorer_distill(run->scorer, zf_objective_distill(run->objective));
  return rc;
}

void zf_run_close_objective(struct zf_run *run) {
  zf_objective_free(run->objective);
  free(run->value);
  free(run->example_value);
}

int zf_run_refer(struct zf_run *run) {
  const struct zf_dataset *set[3];
  int rc = 0;
  if (!run->objective || run->referred || !run->data.train) return 0;
  room_of(run, set);
  for (int i = 0; i < 3; i++)
    if (!rc && set[i]) rc = zf_objective_refer(run->objective, run->scorer, set[i]);
  run->referred = !rc;
  return rc;
}

void zf_run_watch(struct zf_run *run, int (*stopped)(void *ctx), void *ctx) {
  if (run->objective) zf_objective_watch(run->objective, stopped, ctx);
}

int zf_run_evaluate(struct zf_metrics *metrics, struct zf_run *run,
                    const struct zf_dataset *dataset, int (*stopped)(void *ctx), void *ctx) {
  int rc = zf_run_refer(run);
  if (!rc) rc = zf_evaluate(metrics, run->scorer, dataset, 0, stopped, ctx);
  if (rc || !run->objective) return rc;
  return zf_objective_mean(&metrics->objective, run->objective, run->scorer, dataset);
}

int zf_run_needs_scores(const struct zf_run *run) {
  const struct zf_objective_settings *settings = &run->settings.objective;
  return !settings->kind || settings->weight < 1 || (settings->kind->needs & ZF_NEEDS_SCORES);
}

int zf_run_objective_values(struct zf_run *run, int64_t count, const struct zf_perturb *perturb) {
  int64_t before = zf_objective_tokens(run->objective);
  int rc = zf_objective_values(run->objective, run->data.train, run->index, count, perturb,
                               run->score, run->value);
  run->tokens += zf_objective_tokens(run->objective) - before;
  return rc;
}

double zf_run_mix(const struct zf_run *run, double value, double loss) {
  double weight = run->settings.objective.weight;
  return weight < 1 ? weight * value + (1 - weight) * loss : value;
}
