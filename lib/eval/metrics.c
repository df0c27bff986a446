#include "eval/metrics.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/err.h"

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
};

static int tally_new(struct tally *t, const struct zf_dataset *d) {
  *t = (struct tally){.options = d->options};
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
    if (!t->count) continue;
    int64_t *hit = t->count, *chosen = hit + t->options, *present = chosen + t->options;
    int32_t want = d->ex[from + i].label, got = score[i].choice;
    chosen[got]++;
    present[want]++;
    hit[want] += got == want;
    t->right += got == want;
  }
  t->n += n;
}

static void tally_end(struct zf_metrics *out, struct tally *t) {
  *out = (struct zf_metrics){.examples = t->n,
                             .targets = t->targets,
                             .loss = t->weight > 0 ? t->loss / t->weight : 0,
                             .perplexity = NAN,
                             .accuracy = NAN,
                             .f1 = NAN};
  if (t->count) {
    out->accuracy = (double)t->right / (double)t->n;
    out->f1 = macro_f1(t->count, t->count + t->options, t->count + 2 * t->options, t->options);
  } else {
    out->perplexity = exp(out->loss);
  }
  free(t->count);
}

int zf_metrics_make(struct zf_metrics *out, const struct zf_dataset *d,
                    const struct zf_score *score) {
  struct tally t;
  int rc = tally_new(&t, d);
  if (rc) return rc;
  tally_add(&t, d, 0, d->n, score);
  t.targets = d->count.targets;
  tally_end(out, &t);
  return 0;
}

enum { PIECE = 64 };

/* The next examples, held or from a stream: index[0..*n) of `d`; at most PIECE from `at` on. */
static int next_piece(const struct zf_dataset *d, int64_t at, int64_t size, int64_t *index,
                      int64_t *n) {
  *n = size - at < PIECE ? size - at : PIECE;
  for (int64_t k = 0; k < *n; k++) index[k] = at + k;
  if (!d->stream) return 0;
  int rc = zf_stream_load(d->stream, index, *n, NULL);
  *n = d->n;
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
  for (int64_t at = 0; !rc && at < size; at += PIECE) {
    if ((rc = next_piece(d, at, size, index, &n))) break;
    if (n) rc = zf_score_examples(s, d, index, n, most, &none, score);
    if (!rc && n) tally_add(&t, d, index[0], n, score);
    for (int64_t k = 0; k < n; k++) t.targets += zf_example_targets(d, index[k]);
    if (!rc && stopped && stopped(ctx)) rc = zf_error(ZF_ESTOPPED, "interrupted while scoring");
  }
  if (!rc && !t.n) rc = zf_error(ZF_EINVALID, "no row of the set gives an example to score");
  if (rc)
    free(t.count);
  else
    tally_end(out, &t);
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
}
