#include "eval/metrics.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/err.h"
#include "eval/labels.h"

/* Counts of each label, [options]: chosen rightly, chosen, present. */
struct label_counts {
  int64_t *hit, *chosen, *present;
};

/* Sums over examples in their order, as zf_score_mean adds them. */
struct metric_sums {
  double loss, weight;
  int64_t examples, targets, right, options;
  struct label_counts labels; /* NULL inside: the type of data has no choices */
  enum zf_problem problem;
  double *value; /* regression: [cap] outputs, [cap] targets */
  int64_t nvalue, cap;
  int failed;                    /* out of memory for value */
  int64_t *confusion;            /* [options][options], or NULL */
  struct zf_option_scores *kept; /* whose labels are filled; NULL: none */
  int64_t labelled;              /* rows of it that have their label */
};

static const struct zf_metrics no_metrics = {.objective = NAN,
                                             .perplexity = NAN,
                                             .accuracy = NAN,
                                             .f1 = NAN,
                                             .f1_micro = NAN,
                                             .pearson = NAN,
                                             .spearman = NAN};

/* The mean over the labels that occur or are chosen. */
static double macro_f1(const struct label_counts *labels, int64_t count) {
  double sum = 0;
  int64_t seen = 0;
  for (int64_t i = 0; i < count; i++) {
    int64_t both = labels->chosen[i] + labels->present[i];
    if (both == 0) continue;
    sum += 2.0 * (double)labels->hit[i] / (double)both;
    seen++;
  }
  return seen ? sum / (double)seen : NAN;
}

static int sums_init(struct metric_sums *sums, const struct zf_dataset *dataset) {
  *sums = (struct metric_sums){.options = dataset->options,
                               .problem = dataset->type == ZF_TASK_LABELS ? dataset->problem
                                                                          : ZF_PROBLEM_SINGLE};
  if (!zf_task_has_options(dataset->type)) return 0;
  int64_t *counts = zf_calloc(3 * dataset->options, sizeof *counts);
  if (!counts) return ZF_ENOMEM;
  sums->labels =
      (struct label_counts){counts, counts + dataset->options, counts + 2 * dataset->options};
  return 0;
}

static void sums_free(struct metric_sums *sums) {
  free(sums->labels.hit);
  free(sums->value);
}

static void add_score(struct metric_sums *sums, const struct zf_score *score, int32_t label) {
  int32_t choice = score->choice;
  sums->examples++;
  sums->loss += score->loss;
  sums->weight += (double)score->weight;
  if (!sums->labels.hit || sums->problem) return;
  sums->labels.chosen[choice]++;
  sums->labels.present[label]++;
  sums->labels.hit[label] += choice == label;
  sums->right += choice == label;
  if (sums->confusion) sums->confusion[label * sums->options + choice]++;
}

/* Adds the scores of examples from .. from + count. */
static void sums_add(struct metric_sums *sums, const struct zf_dataset *dataset, int64_t from,
                     int64_t count, const struct zf_score *score) {
  for (int64_t i = 0; i < count; i++) {
    int32_t label = dataset->example[from + i].label;
    add_score(sums, &score[i], label);
    if (sums->kept && sums->labelled < sums->kept->count)
      sums->kept->label[sums->labelled++] = label;
  }
}

/* Doubles the capacity; the targets lie behind the outputs and move. */
static int grow_values(struct metric_sums *sums) {
  int64_t cap = sums->cap ? 2 * sums->cap : 256;
  double *grown = zf_calloc(2 * cap, sizeof *grown);
  if (!grown) return ZF_ENOMEM;
  for (int64_t i = 0; i < sums->nvalue; i++) {
    grown[i] = sums->value[i];
    grown[cap + i] = sums->value[sums->cap + i];
  }
  free(sums->value);
  sums->value = grown;
  sums->cap = cap;
  return 0;
}

/* A head of several labels chooses those whose sigmoid is above a half. */
static void add_labels(struct metric_sums *sums, const double *logit, const double *gold,
                       int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    int chosen = logit[i] > 0, present = gold[i] > 0.5;
    sums->labels.hit[i] += chosen && present;
    sums->labels.chosen[i] += chosen;
    sums->labels.present[i] += present;
  }
}

static void add_values(struct metric_sums *sums, const double *logit, const double *gold,
                       int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    if (sums->nvalue == sums->cap && (sums->failed || grow_values(sums))) {
      sums->failed = 1;
      return;
    }
    sums->value[sums->nvalue] = logit[i];
    sums->value[sums->cap + sums->nvalue++] = gold[i];
  }
}

/* A zf_score_watch. */
static void watch(void *ctx, const double *logit, const double *gold, int64_t count) {
  struct metric_sums *sums = ctx;
  if (sums->problem == ZF_PROBLEM_MULTI) add_labels(sums, logit, gold, count);
  if (sums->problem == ZF_PROBLEM_REGRESSION) add_values(sums, logit, gold, count);
}

static void several_labels(struct zf_metrics *metrics, const struct metric_sums *sums) {
  const struct label_counts *labels = &sums->labels;
  double hits = 0, all = 0, sum = 0;
  for (int64_t i = 0; i < sums->options; i++) {
    double both = (double)(labels->chosen[i] + labels->present[i]);
    hits += (double)labels->hit[i];
    all += both;
    if (both > 0) sum += 2 * (double)labels->hit[i] / both;
  }
  metrics->f1_micro = all > 0 ? 2 * hits / all : 0;
  metrics->f1 = sum / (double)sums->options;
}

static int sums_reduce(struct zf_metrics *metrics, const struct metric_sums *sums) {
  *metrics = no_metrics;
  metrics->examples = sums->examples;
  metrics->targets = sums->targets;
  metrics->loss = sums->weight > 0 ? sums->loss / sums->weight : 0;
  if (sums->problem == ZF_PROBLEM_MULTI) {
    several_labels(metrics, sums);
  } else if (sums->problem == ZF_PROBLEM_REGRESSION) {
    const double *output = sums->value, *gold = sums->value + sums->cap;
    if (sums->failed)
      return zf_error(ZF_ENOMEM, "out of memory for %lld outputs", (long long)sums->nvalue);
    metrics->pearson = zf_pearson(output, gold, sums->nvalue);
    return zf_spearman(&metrics->spearman, output, gold, sums->nvalue);
  } else if (sums->labels.hit) {
    metrics->accuracy = (double)sums->right / (double)sums->examples;
    metrics->f1 = macro_f1(&sums->labels, sums->options);
  } else {
    metrics->perplexity = exp(metrics->loss);
  }
  return 0;
}

int zf_metrics_make(struct zf_metrics *metrics, const struct zf_dataset *dataset,
                    const struct zf_score *score) {
  struct metric_sums sums;
  int rc = sums_init(&sums, dataset);
  if (rc) return rc;
  sums_add(&sums, dataset, 0, dataset->count, score);
  sums.targets = dataset->counts.targets;
  rc = sums_reduce(metrics, &sums);
  sums_free(&sums);
  return rc;
}

enum { CHUNK = 64 }; /* examples */

/* The examples of the chunk from `first` on, in memory or read from a stream: index[0..*count). */
static int next_chunk(const struct zf_dataset *dataset, int64_t first, int64_t size, int64_t *index,
                      int64_t *count) {
  *count = size - first < CHUNK ? size - first : CHUNK;
  for (int64_t i = 0; i < *count; i++) index[i] = first + i;
  if (!dataset->stream) return 0;
  int rc = zf_row_reader_load(dataset->stream, index, *count, NULL);
  *count = dataset->count;
  for (int64_t i = 0; i < *count; i++) index[i] = i;
  return rc;
}

static int score_chunk(struct metric_sums *sums, struct zf_scorer *scorer,
                       const struct zf_dataset *dataset, int64_t max, const int64_t *index,
                       int64_t count) {
  struct zf_score score[CHUNK];
  struct zf_perturb none = zf_perturb_none();
  if (!count) return 0;
  int rc = zf_score_examples(scorer, dataset, index, count, max, &none, score);
  if (rc) return rc;
  sums_add(sums, dataset, index[0], count, score);
  for (int64_t i = 0; i < count; i++) sums->targets += zf_example_targets(dataset, index[i]);
  return 0;
}

static int score_all(struct metric_sums *sums, struct zf_scorer *scorer,
                     const struct zf_dataset *dataset, int64_t max, int (*stopped)(void *ctx),
                     void *ctx) {
  int64_t index[CHUNK], count, size = zf_dataset_size(dataset);
  int rc;
  for (int64_t i = 0; i < size; i += CHUNK) {
    if ((rc = next_chunk(dataset, i, size, index, &count))) return rc;
    if ((rc = score_chunk(sums, scorer, dataset, max, index, count))) return rc;
    if (stopped && stopped(ctx)) return zf_error(ZF_ESTOPPED, "interrupted while scoring");
  }
  if (!sums->examples) return zf_error(ZF_EINVALID, "no row of the set gives an example to score");
  return 0;
}

int zf_evaluate(struct zf_metrics *metrics, struct zf_scorer *scorer,
                const struct zf_dataset *dataset, int64_t max, int (*stopped)(void *ctx),
                void *ctx) {
  return zf_evaluate_choices(metrics, NULL, scorer, dataset, max, stopped, ctx);
}

static int new_confusion(struct zf_confusion *confusion, const struct zf_dataset *dataset) {
  *confusion = (struct zf_confusion){.options = dataset->options};
  if (!zf_dataset_has_options(dataset)) return 0;
  confusion->count = zf_calloc(dataset->options * dataset->options, sizeof(int64_t));
  return confusion->count ? 0 : ZF_ENOMEM;
}

static void free_confusion(struct zf_confusion *confusion) {
  free(confusion->count);
  confusion->count = NULL;
}

int zf_evaluate_choices(struct zf_metrics *metrics, struct zf_confusion *confusion,
                        struct zf_scorer *scorer, const struct zf_dataset *dataset, int64_t max,
                        int (*stopped)(void *ctx), void *ctx) {
  struct metric_sums sums;
  int rc = sums_init(&sums, dataset);
  if (rc) return rc;
  if (confusion) {
    rc = new_confusion(confusion, dataset);
    sums.confusion = confusion->count;
  }
  if (sums.problem) zf_scorer_watch(scorer, watch, &sums);
  if (!rc) rc = score_all(&sums, scorer, dataset, max, stopped, ctx);
  zf_scorer_watch(scorer, NULL, NULL);
  if (!rc) rc = sums_reduce(metrics, &sums);
  sums_free(&sums);
  if (rc && confusion) free_confusion(confusion);
  return rc;
}

/* Scores the set; its metrics, and in `scores` a row and a label for each example. */
static int keep_scores(struct zf_metrics *plain, struct zf_option_scores *scores,
                       struct zf_scorer *scorer, const struct zf_dataset *dataset, int64_t max) {
  struct metric_sums sums;
  int rc = sums_init(&sums, dataset);
  if (rc) return rc;
  sums.kept = scores;
  zf_scorer_watch(scorer, zf_option_scores_watch, scores);
  rc = score_all(&sums, scorer, dataset, max, NULL, NULL);
  zf_scorer_watch(scorer, NULL, NULL);
  if (!rc) rc = zf_option_scores_ok(scores);
  if (!rc) rc = sums_reduce(plain, &sums);
  sums_free(&sums);
  return rc;
}

static int calibrated_metrics(struct zf_metrics *metrics, const struct zf_metrics *plain,
                              int64_t *confusion, const struct zf_option_scores *scores,
                              const struct zf_dataset *dataset) {
  struct metric_sums sums;
  int rc = sums_init(&sums, dataset);
  if (rc) return rc;
  sums.confusion = confusion;
  sums.targets = plain->targets;
  for (int64_t i = 0; i < scores->count; i++) {
    struct zf_score score;
    const double *row = scores->score + i * scores->options;
    zf_score_choose(&score, row, (int32_t)scores->options, scores->label[i]);
    add_score(&sums, &score, scores->label[i]);
  }
  rc = sums_reduce(metrics, &sums);
  sums_free(&sums);
  return rc;
}

int zf_evaluate_calibrated(struct zf_metrics *metrics, struct zf_metrics *plain,
                           struct zf_confusion *confusion, enum zf_calibrate calibration,
                           double *shift, struct zf_scorer *scorer,
                           const struct zf_dataset *dataset, int64_t max) {
  struct zf_option_scores scores = {.options = dataset->options};
  int rc = new_confusion(confusion, dataset);
  if (!rc) rc = keep_scores(plain, &scores, scorer, dataset, max);
  if (!rc && calibration == ZF_CALIBRATE_BATCH)
    zf_calibrate_batch(shift, scores.score, scores.count, scores.options);
  if (!rc) zf_calibrate_apply(scores.score, scores.count, scores.options, shift);
  if (!rc) rc = calibrated_metrics(metrics, plain, confusion->count, &scores, dataset);
  zf_option_scores_free(&scores);
  if (rc) free_confusion(confusion);
  return rc;
}

static double ratio(int64_t part, int64_t whole) {
  return whole ? (double)part / (double)whole : NAN;
}

struct zf_label_metrics zf_label_metrics(const struct zf_confusion *confusion, int64_t label) {
  int64_t options = confusion->options, chosen = 0, present = 0;
  int64_t hit = confusion->count[label * options + label];
  for (int64_t i = 0; i < options; i++) {
    chosen += confusion->count[i * options + label];
    present += confusion->count[label * options + i];
  }
  return (struct zf_label_metrics){.examples = present,
                                   .precision = ratio(hit, chosen),
                                   .recall = ratio(hit, present),
                                   .f1 = ratio(2 * hit, chosen + present)};
}

/* JSON has no NaN: such a member is left out. */
static void member(struct zf_buf *buf, const char *name, double value) {
  if (isfinite(value)) zf_buf_printf(buf, ", \"%s\": %.17g", name, value);
}

void zf_metrics_json(struct zf_buf *buf, const struct zf_metrics *metrics) {
  zf_buf_printf(buf, "\"examples\": %lld, \"targets\": %lld", (long long)metrics->examples,
                (long long)metrics->targets);
  member(buf, "loss", metrics->loss);
  member(buf, "objective", metrics->objective);
  member(buf, "perplexity", metrics->perplexity);
  member(buf, "accuracy", metrics->accuracy);
  member(buf, "f1", metrics->f1);
  member(buf, "f1_micro", metrics->f1_micro);
  member(buf, "pearson", metrics->pearson);
  member(buf, "spearman", metrics->spearman);
}
