#include "eval/metrics.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/err.h"
#include "eval/labels.h"

/* Macro F1 from counts: hit, chosen and present of each label. */
static double macro_f1(const int64_t *hit, const int64_t *chosen, const int64_t *present,
                       int64_t n) {
  double sum = 0;
  int64_t seen = 0;
  for (int64_t k = 0; k < n; k++) {
    if (chosen[k] + present[k] == 0) continue;
    sum += 2.0 * (double)hit[k] / (double)(chosen[k] + present[k]);
    seen++;
  }
  return seen ? sum / (double)seen : NAN;
}

/* Sums over examples in their order, as zf_score_mean adds them. */
struct tally {
  double loss, weight;
  int64_t n, targets, right, options;
  int64_t *count; /* [3][options]: hit, chosen, present; NULL: nothing is chosen */
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

static int tally_new(struct tally *t, const struct zf_dataset *d) {
  *t = (struct tally){.options = d->options,
                      .problem = d->type == ZF_TASK_LABELS ? d->problem : ZF_PROBLEM_SINGLE};
  if (!zf_task_chooses(d->type)) return 0;
  t->count = zf_calloc(3 * d->options, sizeof *t->count);
  return t->count ? 0 : ZF_ENOMEM;
}

/* Adds examples from..from+n of `d`. */
static void tally_add(struct tally *t, const struct zf_dataset *d, int64_t from, int64_t n,
                      const struct zf_score *score) {
  for (int64_t i = 0; i < n; i++) {
    t->loss += score[i].loss;
    t->weight += (double)score[i].weight;
    if (!t->count || t->problem) continue;
    int64_t *hit = t->count, *chosen = hit + t->options, *present = chosen + t->options;
    int32_t want = d->ex[from + i].label, got = score[i].choice;
    chosen[got]++;
    present[want]++;
    hit[want] += got == want;
    t->right += got == want;
  }
  t->n += n;
}

/* Twice the room: the golds behind the outputs move. */
static int grow_values(struct tally *t) {
  int64_t cap = t->cap ? 2 * t->cap : 256;
  double *more = zf_calloc(2 * cap, sizeof *more);
  if (!more) return ZF_ENOMEM;
  for (int64_t i = 0; i < t->nvalue; i++) {
    more[i] = t->value[i];
    more[cap + i] = t->value[t->cap + i];
  }
  free(t->value);
  t->value = more;
  t->cap = cap;
  return 0;
}

/* A label holds by a head when its sigmoid is above a half. */
static void watch(void *ctx, const double *logit, const double *gold, int64_t n) {
  struct tally *t = ctx;
  for (int64_t i = 0; t->problem == ZF_PROBLEM_MULTI && i < n; i++) {
    int64_t *hit = t->count, *chosen = hit + t->options, *present = chosen + t->options;
    int said = logit[i] > 0, is = gold[i] > 0.5;
    hit[i] += said && is;
    chosen[i] += said;
    present[i] += is;
  }
  for (int64_t i = 0; t->problem == ZF_PROBLEM_REGRESSION && i < n; i++) {
    if (t->nvalue == t->cap && (t->failed || grow_values(t))) {
      t->failed = 1;
      return;
    }
    t->value[t->nvalue] = logit[i];
    t->value[t->cap + t->nvalue++] = gold[i];
  }
}

static void many_labels(struct zf_metrics *out, const struct tally *t) {
  const int64_t *hit = t->count, *chosen = hit + t->options, *present = chosen + t->options;
  double hits = 0, all = 0, sum = 0;
  for (int64_t k = 0; k < t->options; k++) {
    double both = (double)(chosen[k] + present[k]);
    hits += (double)hit[k];
    all += both;
    if (both > 0) sum += 2 * (double)hit[k] / both;
  }
  out->f1_micro = all > 0 ? 2 * hits / all : 0;
  out->f1 = sum / (double)t->options;
}

static int tally_end(struct zf_metrics *out, struct tally *t) {
  int rc =
      t->failed ? zf_error(ZF_ENOMEM, "out of memory for %lld outputs", (long long)t->nvalue) : 0;
  *out = no_measure;
  out->examples = t->n;
  out->targets = t->targets;
  out->loss = t->weight > 0 ? t->loss / t->weight : 0;
  if (t->problem == ZF_PROBLEM_MULTI) {
    many_labels(out, t);
  } else if (t->problem == ZF_PROBLEM_REGRESSION) {
    out->pearson = zf_pearson(t->value, t->value + t->cap, t->nvalue);
    if (!rc) rc = zf_spearman(&out->spearman, t->value, t->value + t->cap, t->nvalue);
  } else if (t->count) {
    out->accuracy = (double)t->right / (double)t->n;
    out->f1 = macro_f1(t->count, t->count + t->options, t->count + 2 * t->options, t->options);
  } else {
    out->perplexity = exp(out->loss);
  }
  free(t->count);
  free(t->value);
  return rc;
}

int zf_metrics_make(struct zf_metrics *out, const struct zf_dataset *d,
                    const struct zf_score *score) {
  struct tally t;
  int rc = tally_new(&t, d);
  if (rc) return rc;
  tally_add(&t, d, 0, d->count, score);
  t.targets = d->counts.targets;
  return tally_end(out, &t);
}

enum { PIECE = 64 };

/* The next examples, held or from a stream: index[0..*n) of `d`; at most PIECE from `at` on. */
static int next_piece(const struct zf_dataset *d, int64_t at, int64_t size, int64_t *index,
                      int64_t *n) {
  *n = size - at < PIECE ? size - at : PIECE;
  for (int64_t k = 0; k < *n; k++) index[k] = at + k;
  if (!d->stream) return 0;
  int rc = zf_row_reader_load(d->stream, index, *n, NULL);
  *n = d->count;
  for (int64_t k = 0; k < *n; k++) index[k] = k;
  return rc;
}

int zf_evaluate(struct zf_metrics *out, struct zf_scorer *s, const struct zf_dataset *d,
                int64_t most, int (*stopped)(void *ctx), void *ctx) {
  struct zf_score score[PIECE];
  struct zf_perturb none = zf_perturb_none();
  struct tally t;
  int64_t index[PIECE], n, size = zf_dataset_size(d);
  int rc = tally_new(&t, d);
  if (!rc && t.problem) zf_scorer_watch(s, watch, &t);
  for (int64_t at = 0; !rc && at < size; at += PIECE) {
    if ((rc = next_piece(d, at, size, index, &n))) break;
    if (n) rc = zf_score_examples(s, d, index, n, most, &none, score);
    if (!rc && n) tally_add(&t, d, index[0], n, score);
    for (int64_t k = 0; k < n; k++) t.targets += zf_example_targets(d, index[k]);
    if (!rc && stopped && stopped(ctx)) rc = zf_error(ZF_ESTOPPED, "interrupted while scoring");
  }
  zf_scorer_watch(s, NULL, NULL);
  if (!rc && !t.n) rc = zf_error(ZF_EINVALID, "no row of the set gives an example to score");
  if (!rc) return tally_end(out, &t);
  free(t.count);
  free(t.value);
  return rc;
}

/* JSON has no NaN: such a member is left out. */
static void member(struct zf_buf *b, const char *name, double v) {
  if (isfinite(v)) zf_buf_printf(b, ", \"%s\": %.17g", name, v);
}

void zf_metrics_json(struct zf_buf *b, const struct zf_metrics *m) {
  zf_buf_printf(b, "\"examples\": %lld, \"targets\": %lld", (long long)m->examples,
                (long long)m->targets);
  member(b, "loss", m->loss);
  member(b, "perplexity", m->perplexity);
  member(b, "accuracy", m->accuracy);
  member(b, "f1", m->f1);
  member(b, "f1_micro", m->f1_micro);
  member(b, "pearson", m->pearson);
  member(b, "spearman", m->spearman);
}
