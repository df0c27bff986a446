#include "eval/predict.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/util.h"

enum { EXAMPLES = 64 }; /* that are scored at once */

/* The scores of the examples that are scored at once, one row after another. */
struct prediction_rows {
  double *value; /* [EXAMPLES][options] */
  int64_t options, count;
};

static void keep_scores(void *ctx, const double *score, const double *gold, int64_t count) {
  struct prediction_rows *rows = ctx;
  (void)gold;
  for (int64_t o = 0; o < count; o++) rows->value[rows->count * rows->options + o] = score[o];
  rows->count++;
}

static void softmax(double *value, int64_t count) {
  double max = value[0], sum = 0;
  for (int64_t o = 1; o < count; o++)
    if (value[o] > max) max = value[o];
  for (int64_t o = 0; o < count; o++) sum += value[o] = exp(value[o] - max);
  for (int64_t o = 0; o < count; o++) value[o] /= sum;
}

static void finish_values(const struct zf_dataset *dataset, double *value, int64_t count) {
  if (dataset->type != ZF_TASK_LABELS || dataset->problem == ZF_PROBLEM_SINGLE)
    softmax(value, count);
  else if (dataset->problem == ZF_PROBLEM_MULTI)
    for (int64_t o = 0; o < count; o++) value[o] = 1 / (1 + exp(-value[o]));
}

static int predict_some(struct zf_scorer *scorer, const struct zf_dataset *dataset, int64_t first,
                        int64_t count, struct prediction_rows *rows, zf_predict_each each,
                        void *ctx) {
  struct zf_perturb none = zf_perturb_none();
  struct zf_score score[EXAMPLES];
  int64_t index[EXAMPLES] = {0};
  for (int64_t i = 0; i < count; i++) index[i] = first + i;
  rows->count = 0;
  int rc = zf_score_examples(scorer, dataset, index, count, 0, &none, score);
  if (rc) return rc;
  for (int64_t i = 0; i < count; i++) {
    double *value = rows->value + i * rows->options;
    int64_t options = dataset->example[first + i].nseq;
    finish_values(dataset, value, options);
    if ((rc = each(ctx, first + i, value, options, score[i].choice))) return rc;
  }
  return 0;
}

int zf_predict_check(enum zf_task_type type) {
  if (zf_task_has_options(type)) return 0;
  return zf_error(ZF_EUSAGE, "the data are texts without options: there is no label to predict");
}

int zf_predict(struct zf_scorer *scorer, const struct zf_dataset *dataset, zf_predict_each each,
               void *ctx) {
  struct prediction_rows rows = {.options = dataset->options};
  rows.value = zf_calloc(EXAMPLES * dataset->options, sizeof *rows.value);
  if (!rows.value) return ZF_ENOMEM;
  zf_scorer_watch(scorer, keep_scores, &rows);
  int rc = 0;
  for (int64_t first = 0; first < dataset->count; first += EXAMPLES) {
    int64_t count = zf_min64(dataset->count - first, EXAMPLES);
    if ((rc = predict_some(scorer, dataset, first, count, &rows, each, ctx))) break;
  }
  zf_scorer_watch(scorer, NULL, NULL);
  free(rows.value);
  return rc;
}

/* Scores the whole set; a row for each example. */
static int collect(struct zf_option_scores *scores, struct zf_scorer *scorer,
                   const struct zf_dataset *dataset) {
  struct zf_perturb none = zf_perturb_none();
  struct zf_score *score = zf_calloc(dataset->count, sizeof *score);
  if (!score) return ZF_ENOMEM;
  zf_scorer_watch(scorer, zf_option_scores_watch, scores);
  int rc = zf_score_examples(scorer, dataset, NULL, dataset->count, 0, &none, score);
  zf_scorer_watch(scorer, NULL, NULL);
  free(score);
  return rc ? rc : zf_option_scores_ok(scores);
}

int zf_predict_calibrated(struct zf_scorer *scorer, const struct zf_dataset *dataset,
                          enum zf_calibrate calibration, double *shift, zf_predict_each each,
                          void *ctx) {
  struct zf_option_scores scores = {.options = dataset->options};
  int64_t options = dataset->options;
  int rc = collect(&scores, scorer, dataset);
  if (!rc && calibration == ZF_CALIBRATE_BATCH)
    zf_calibrate_batch(shift, scores.score, scores.count, options);
  if (!rc) zf_calibrate_apply(scores.score, scores.count, options, shift);
  for (int64_t i = 0; !rc && i < scores.count; i++) {
    double *row = scores.score + i * options;
    struct zf_score score;
    zf_score_choose(&score, row, (int32_t)options, 0);
    softmax(row, options);
    rc = each(ctx, i, row, options, score.choice);
  }
  zf_option_scores_free(&scores);
  return rc;
}
