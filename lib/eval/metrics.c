#include "eval/metrics.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/err.h"
#include "eval/labels.h"

/* Macro F1 from counts: hit, chosen and present of each label. */
static double macro_f1(const int64_t *hit, const int64_t *chosen, const int64_t *present,
                       int64_t count) {
  double sum = 0;
  int64_t seen = 0;
  for (int64_t k = 0; k < count; k++) {
    if (chosen[k] + present[k] == 0) continue;
    sum += 2.0 * (double)hit[k] / (double)(chosen[k] + present[k]);
    seen++;
  }
  return seen ? sum / (double)seen : NAN;
}

/* Sums over examples in their order, as zf_score_mean adds them. */
struct tally {
  double loss, weight;
  int64_t examples, targets, right, options;
  int64_t *label_counts; /* [3][options]: hit, chosen, present; NULL: nothing is chosen */
  enum zf_problem problem;
  double *value; /* regression: [cap] outputs, [cap] what they should be */
  int64_t nvalue, cap;
  int failed; /* no memory for them */
};

/* The measures that nothing of a set has. */
static const struct zf_metrics no_measure = {.perplexity = NAN,
                                             .accuracy = NAN,
                                             .f1 = NAN,
                                             .f1_micro = NAN,
                                             .pearson = NAN,
                                             .spearman = NAN};

static int tally_new(struct tally *tally, const struct zf_dataset *dataset) {
  *tally = (struct tally){.options = dataset->options,
                          .problem = dataset->type == ZF_TASK_LABELS ? dataset->problem
                                                                     : ZF_PROBLEM_SINGLE};
  if (!zf_task_chooses(dataset->type)) return 0;
  tally->label_counts = zf_calloc(3 * dataset->options, sizeof *tally->label_counts);
  return tally->label_counts ? 0 : ZF_ENOMEM;
}

/* Adds examples from..from+n of `d`. */
static void tally_add(struct tally *tally, const struct zf_dataset *dataset, int64_t from,
                      int64_t n, const struct zf_score *score) {
  for (int64_t i = 0; i < n; i++) {
    tally->loss += score[i].loss;
    tally->weight += (double)score[i].weight;
    if (!tally->label_counts || tally->problem) continue;
    int64_t *hit = tally->label_counts, *chosen = hit + tally->options,
            *present = chosen + tally->options;
    int32_t want = dataset->ex[from + i].label, got = score[i].choice;
    chosen[got]++;
    present[want]++;
    hit[want] += got == want;
    tally->right += got == want;
  }
  tally->examples += n;
}

/* Twice the room: the golds behind the outputs move. */
static int grow_values(struct tally *tally) {
  int64_t cap = tally->cap ? 2 * tally->cap : 256;
  double *more = zf_calloc(2 * cap, sizeof *more);
  if (!more) return ZF_ENOMEM;
  for (int64_t i = 0; i < tally->nvalue; i++) {
    more[i] = tally->value[i];
    more[cap + i] = tally->value[tally->cap + i];
  }
  free(tally->value);
  tally->value = more;
  tally->cap = cap;
  return 0;
}

/* A label holds by a head when its sigmoid is above a half. */
static void watch(void *ctx, const double *logit, const double *gold, int64_t count) {
  struct tally *tally = ctx;
  for (int64_t i = 0; tally->problem == ZF_PROBLEM_MULTI && i < count; i++) {
    int64_t *hit = tally->label_counts, *chosen = hit + tally->options,
            *present = chosen + tally->options;
    int said = logit[i] > 0, is = gold[i] > 0.5;
    hit[i] += said && is;
    chosen[i] += said;
    present[i] += is;
  }
  for (int64_t i = 0; tally->problem == ZF_PROBLEM_REGRESSION && i < count; i++) {
    if (tally->nvalue == tally->cap && (tally->failed || grow_values(tally))) {
      tally->failed = 1;
      return;
    }
    tally->value[tally->nvalue] = logit[i];
    tally->value[tally->cap + tally->nvalue++] = gold[i];
  }
}

static void many_labels(struct zf_metrics *out, const struct tally *tally) {
  const int64_t *hit = tally->label_counts, *chosen = hit + tally->options,
                *present = chosen + tally->options;
  double hits = 0, all = 0, sum = 0;
  for (int64_t k = 0; k < tally->options; k++) {
    double both = (double)(chosen[k] + present[k]);
    hits += (double)hit[k];
    all += both;
    if (both > 0) sum += 2 * (double)hit[k] / both;
  }
  out->f1_micro = all > 0 ? 2 * hits / all : 0;
  out->f1 = sum / (double)tally->options;
}

static int tally_end(struct zf_metrics *out, struct tally *tally) {
  int rc = tally->failed
               ? zf_error(ZF_ENOMEM, "out of memory for %lld outputs", (long long)tally->nvalue)
               : 0;
  *out = no_measure;
  out->examples = tally->examples;
  out->targets = tally->targets;
  out->loss = tally->weight > 0 ? tally->loss / tally->weight : 0;
  if (tally->problem == ZF_PROBLEM_MULTI) {
    many_labels(out, tally);
  } else if (tally->problem == ZF_PROBLEM_REGRESSION) {
    out->pearson = zf_pearson(tally->value, tally->value + tally->cap, tally->nvalue);
    if (!rc)
      rc = zf_spearman(&out->spearman, tally->value, tally->value + tally->cap, tally->nvalue);
  } else if (tally->label_counts) {
    out->accuracy = (double)tally->right / (double)tally->examples;
    out->f1 = macro_f1(tally->label_counts, tally->label_counts + tally->options,
                       tally->label_counts + 2 * tally->options, tally->options);
  } else {
    out->perplexity = exp(out->loss);
  }
  free(tally->label_counts);
  free(tally->value);
  return rc;
}

int zf_metrics_make(struct zf_metrics *out, const struct zf_dataset *dataset,
                    const struct zf_score *score) {
  struct tally tally;
  int rc = tally_new(&tally, dataset);
  if (rc) return rc;
  tally_add(&tally, dataset, 0, dataset->count, score);
  tally.targets = dataset->counts.targets;
  return tally_end(out, &tally);
}

enum { PIECE = 64 };

/* The next examples, held or from a stream: index[0..*n) of `d`; at most PIECE from `at` on. */
static int next_piece(const struct zf_dataset *dataset, int64_t at, int64_t size, int64_t *index,
                      int64_t *count) {
  *count = size - at < PIECE ? size - at : PIECE;
  for (int64_t k = 0; k < *count; k++) index[k] = at + k;
  if (!dataset->stream) return 0;
  int rc = zf_row_reader_load(dataset->stream, index, *count, NULL);
  *count = dataset->count;
  for (int64_t k = 0; k < *count; k++) index[k] = k;
  return rc;
}

int zf_evaluate(struct zf_metrics *out, struct zf_scorer *scorer, const struct zf_dataset *dataset,
                int64_t most, int (*stopped)(void *ctx), void *ctx) {
  struct zf_score score[PIECE];
  struct zf_perturb none = zf_perturb_none();
  struct tally tally;
  int64_t index[PIECE], n, size = zf_dataset_size(dataset);
  int rc = tally_new(&tally, dataset);
  if (!rc && tally.problem) zf_scorer_watch(scorer, watch, &tally);
  for (int64_t at = 0; !rc && at < size; at += PIECE) {
    if ((rc = next_piece(dataset, at, size, index, &n))) break;
    if (n) rc = zf_score_examples(scorer, dataset, index, n, most, &none, score);
    if (!rc && n) tally_add(&tally, dataset, index[0], n, score);
    for (int64_t k = 0; k < n; k++) tally.targets += zf_example_targets(dataset, index[k]);
    if (!rc && stopped && stopped(ctx)) rc = zf_error(ZF_ESTOPPED, "interrupted while scoring");
  }
  zf_scorer_watch(scorer, NULL, NULL);
  if (!rc && !tally.examples)
    rc = zf_error(ZF_EINVALID, "no row of the set gives an example to score");
  if (!rc) return tally_end(out, &tally);
  free(tally.label_counts);
  free(tally.value);
  return rc;
}

/* JSON has no NaN: such a member is left out. */
static void member(struct zf_buf *buf, const char *name, double v) {
  if (isfinite(v)) zf_buf_printf(buf, ", \"%s\": %.17g", name, v);
}

void zf_metrics_json(struct zf_buf *buf, const struct zf_metrics *metrics) {
  zf_buf_printf(buf, "\"examples\": %lld, \"targets\": %lld", (long long)metrics->examples,
                (long long)metrics->targets);
  member(buf, "loss", metrics->loss);
  member(buf, "perplexity", metrics->perplexity);
  member(buf, "accuracy", metrics->accuracy);
  member(buf, "f1", metrics->f1);
  member(buf, "f1_micro", metrics->f1_micro);
  member(buf, "pearson", metrics->pearson);
  member(buf, "spearman", metrics->spearman);
}
