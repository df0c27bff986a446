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

static int classify(struct zf_metrics *out, const struct zf_dataset *d,
                    const struct zf_score *score) {
  int64_t *count = zf_calloc(3 * d->options, sizeof *count), right = 0;
  if (!count) return ZF_ENOMEM;
  int64_t *hit = count, *chosen = count + d->options, *present = count + 2 * d->options;
  for (int64_t i = 0; i < d->n; i++) {
    int32_t want = d->ex[i].label, got = score[i].choice;
    chosen[got]++;
    present[want]++;
    hit[want] += got == want;
    right += got == want;
  }
  out->accuracy = (double)right / (double)d->n;
  out->f1 = macro_f1(hit, chosen, present, d->options);
  free(count);
  return 0;
}

int zf_metrics_make(struct zf_metrics *out, const struct zf_dataset *d,
                    const struct zf_score *score) {
  *out = (struct zf_metrics){
      .examples = d->n, .targets = d->count.targets, .perplexity = NAN, .accuracy = NAN, .f1 = NAN};
  out->loss = zf_score_mean(score, d->n);
  if (zf_task_chooses(d->type)) return classify(out, d, score);
  out->perplexity = exp(out->loss);
  return 0;
}

int zf_evaluate(struct zf_metrics *out, struct zf_scorer *s, const struct zf_dataset *d,
                int64_t most, int (*stopped)(void *ctx), void *ctx) {
  enum { PIECE = 64 };
  struct zf_score *score = zf_calloc(d->n, sizeof *score);
  struct zf_perturb none = zf_perturb_none();
  int64_t index[PIECE];
  int rc = score ? 0 : ZF_ENOMEM;
  for (int64_t i = 0, n; !rc && i < d->n; i += n) {
    n = d->n - i < PIECE ? d->n - i : PIECE;
    for (int64_t k = 0; k < n; k++) index[k] = i + k;
    rc = zf_score_examples(s, d, index, n, most, &none, score + i);
    if (!rc && stopped && stopped(ctx)) rc = zf_error(ZF_ESTOPPED, "interrupted while scoring");
  }
  if (!rc) rc = zf_metrics_make(out, d, score);
  free(score);
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
