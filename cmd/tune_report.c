/* The end of zoft tune: a table, or an object. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "train/settings.h"
#include "tune_internal.h"
#include "ui.h"

const char *zc_tune_metric(int metric) {
  static const char *const names[] = {[ZF_BEST_LOSS] = "loss",
                                      [ZF_BEST_ACCURACY] = "accuracy",
                                      [ZF_BEST_F1] = "F1",
                                      [ZF_BEST_OBJECTIVE] = "objective"};
  return names[metric];
}

char *zc_tune_value(char out[32], int metric, double value) {
  if (!isfinite(value))
    snprintf(out, 32, "-");
  else if (metric == ZF_BEST_LOSS || metric == ZF_BEST_OBJECTIVE)
    snprintf(out, 32, "%.4f", value);
  else
    snprintf(out, 32, "%.1f %%", 100 * value);
  return out;
}

/* Where a candidate ended; place 0 is the winner's. */
static void describe_end(char out[32], const struct tune_race *race, int64_t place,
                         const struct zf_tune_candidate *candidate) {
  if (candidate->fate == ZF_TUNE_DIVERGED)
    snprintf(out, 32, "diverged");
  else if (place == 0)
    snprintf(out, 32, "winner");
  else if (candidate->fate == ZF_TUNE_IN)
    snprintf(out, 32, "time");
  else
    snprintf(out, 32, "rung %d of %d", candidate->rung, race->tune.rungs);
}

/* Loss and objective are kept as metrics of which more is better. */
static double metric_value(const struct tune_race *race, const struct zf_tune_score *score) {
  if (race->metric == ZF_BEST_OBJECTIVE) return -score->metric;
  return race->metric == ZF_BEST_LOSS ? score->loss : score->metric;
}

static void candidate_row(struct zc_table *table, const struct tune_race *race, int64_t place,
                          const struct zf_tune_candidate *candidate) {
  char steps[32], metric[32], loss[32], best[64] = "-", value[32], seconds[32], end[32];
  int scored = candidate->rung > 0;
  snprintf(steps, sizeof steps, "%lld", (long long)candidate->steps);
  zc_tune_value(metric, race->metric, scored ? metric_value(race, &candidate->score) : NAN);
  zc_tune_value(loss, ZF_BEST_LOSS, scored ? candidate->score.loss : NAN);
  zc_tune_value(value, race->metric, metric_value(race, &candidate->best));
  if (scored) snprintf(best, sizeof best, "%s at %lld", value, (long long)candidate->best_step);
  snprintf(seconds, sizeof seconds, "%.1f", candidate->seconds);
  describe_end(end, race, place, candidate);
  if (race->metric == ZF_BEST_LOSS)
    zc_table_row(table, (const char *const[]){candidate->words, steps, loss, best, seconds, end});
  else
    zc_table_row(table,
                 (const char *const[]){candidate->words, steps, metric, loss, best, seconds, end});
}

static void print_table(const struct tune_race *race, const int64_t *standing, const char *config) {
  int loss_alone = race->metric == ZF_BEST_LOSS;
  struct zc_table *table = zc_table_new(loss_alone ? "lrrrrl" : "lrrrrrl");
  char metric[32];
  snprintf(metric, sizeof metric, "dev %s", zc_tune_metric(race->metric));
  if (loss_alone)
    zc_table_row(table,
                 (const char *const[]){"candidate", "steps", metric, "best", "seconds", "out"});
  else
    zc_table_row(table, (const char *const[]){"candidate", "steps", metric, "dev loss", "best",
                                              "seconds", "out"});
  for (int64_t i = 0; i < race->tune.count; i++)
    candidate_row(table, race, i, &race->tune.candidate[standing[i]]);
  zc_table_print(table, 1);
  char *word = config ? zf_shell_word(config) : NULL;
  if (word) printf("\nThe winner's config is %s. Next:\n  zoft train %s\n", config, word);
  free(word);
}

static void json_number(struct zf_buf *buf, const char *name, double value) {
  zf_buf_printf(buf, isfinite(value) ? ", \"%s\": %.17g" : ", \"%s\": null", name, value);
}

static void json_text(struct zf_buf *buf, const char *name, const char *text) {
  zf_buf_printf(buf, ", \"%s\": ", name);
  zc_json_text(buf, text, strlen(text));
}

/* {"KEY": "VALUE", ...} of a candidate. */
static void json_settings(struct zf_buf *buf, const struct zf_tune_grid *grid, int64_t index) {
  zf_buf_puts(buf, "{\"settings\": {");
  for (int64_t axis = 0; axis < grid->count; axis++) {
    char *word = zf_tune_grid_word(grid, index, axis), *equals = word ? strchr(word, '=') : NULL;
    if (axis) zf_buf_puts(buf, ", ");
    if (equals) {
      zc_json_text(buf, word, (size_t)(equals - word));
      zf_buf_puts(buf, ": ");
      zc_json_text(buf, equals + 1, strlen(equals + 1));
    }
    free(word);
  }
  zf_buf_puts(buf, "}");
}

static void json_candidate(struct zf_buf *buf, const struct tune_race *race, int64_t place,
                           int64_t index) {
  const struct zf_tune_candidate *candidate = &race->tune.candidate[index];
  char end[32], *dir = zc_tune_dir(race, candidate);
  json_settings(buf, &race->grid, index);
  json_text(buf, "run", dir ? dir : "");
  free(dir);
  zf_buf_printf(buf, ", \"steps\": %lld, \"rungs\": %d", (long long)candidate->steps,
                candidate->rung);
  describe_end(end, race, place, candidate);
  json_text(buf, "end", end);
  json_number(buf, "seconds", candidate->seconds);
  if (candidate->rung) {
    json_number(buf, "loss", candidate->score.loss);
    if (isfinite(candidate->accuracy)) json_number(buf, "accuracy", candidate->accuracy);
    if (isfinite(candidate->f1)) json_number(buf, "f1", candidate->f1);
    json_number(buf, "best", metric_value(race, &candidate->best));
    zf_buf_printf(buf, ", \"best_step\": %lld", (long long)candidate->best_step);
  }
  zf_buf_puts(buf, "}");
}

static int print_json(const struct tune_race *race, const int64_t *standing, const char *config) {
  struct zf_buf buf = {0};
  zf_buf_printf(&buf, "{\"metric\": \"%s\", \"factor\": %lld, \"steps\": [",
                zc_tune_metric(race->metric), (long long)race->tune.factor);
  for (int i = 0; i < race->tune.rung; i++)
    zf_buf_printf(&buf, "%s%lld", i ? ", " : "", (long long)race->tune.steps[i]);
  zf_buf_puts(&buf, "]");
  if (config) json_text(&buf, "config", config);
  json_number(&buf, "seconds", race->tune.seconds);
  zf_buf_puts(&buf, ", \"candidates\": [");
  for (int64_t i = 0; i < race->tune.count; i++) {
    if (i) zf_buf_puts(&buf, ", ");
    json_candidate(&buf, race, i, standing[i]);
  }
  zf_buf_puts(&buf, "]}\n");
  int rc = zf_buf_ok(&buf);
  if (!rc) fputs(buf.data, stdout);
  zf_buf_free(&buf);
  return rc;
}

int zc_tune_report(const struct tune_race *race, const char *config) {
  int64_t *standing = zf_calloc(race->tune.count, sizeof *standing);
  int rc = 0;
  if (!standing) return ZF_ENOMEM;
  zf_tune_standing(standing, &race->tune);
  if (zc_common.json)
    rc = print_json(race, standing, config);
  else
    print_table(race, standing, config);
  free(standing);
  return rc;
}
