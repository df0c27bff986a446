/* Packs as the scorer does, runs, and sums row by row in the order of the sequences. */
#include "eval/likelihood.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"

struct pass {
  struct zf_forward *f;
  struct zf_scorer *s;
  const struct zf_dataset *d;
  float *all; /* [rows][vocabulary], or NULL */
  int64_t V;
};

/* Is `id` the first of the largest of y[0..V)? */
static int is_first(const float *y, int64_t V, int32_t id) {
  for (int64_t i = 0; i < V; i++)
    if (y[i] > y[id] || (y[i] == y[id] && i < id)) return 0;
  return 1;
}

/* Sequence q, whose rows begin at `row`; returns the rows it took. */
static int64_t reduce(const struct pass *p, int64_t q, int64_t row, struct zf_likelihood *out) {
  const struct zf_packed *k = zf_score_packed(p->s);
  int64_t n = zf_seq_targets(p->d, &p->d->seq[q]);
  *out = (struct zf_likelihood){.greedy = p->all ? 1 : -1};
  for (int64_t r = row; r < row + n; r++) {
    out->sum += k->logit[r] - k->lse[r];
    if (p->all && out->greedy) out->greedy = is_first(p->all + r * p->V, p->V, k->target[r]);
  }
  return n;
}

static int run(struct pass *p, struct zf_likelihood *out, int64_t from, int64_t *to) {
  struct zf_perturb none = zf_perturb_none();
  struct zf_packed *k = zf_score_packed(p->s);
  int64_t row = 0;
  *to = zf_score_pack(p->s, p->d, NULL, from, p->d->count, 0, 1);
  k->batch.unread = 0; /* lm-evaluation-harness hands a sequence without its last token over */
  int rc = zf_forward_run(p->f, &k->batch, &none);
  if (rc) return rc;
  zf_forward_lse(p->f, k->target, k->lse, k->logit);
  if (p->all) zf_forward_logits(p->f, p->all);
  for (int64_t i = from; i < *to; i++)
    for (int32_t o = 0; o < p->d->ex[i].nseq; o++)
      row += reduce(p, p->d->ex[i].seq + o, row, &out[p->d->ex[i].seq + o]);
  return 0;
}

int zf_likelihoods(struct zf_likelihood *out, struct zf_forward *f, const struct zf_limits *lim,
                   const struct zf_dataset *d, int greedy, int (*tick)(void *ctx, int64_t done),
                   void *ctx) {
  struct pass p = {.f = f, .d = d, .V = zf_forward_model(f)->config.outputs};
  int64_t n = 0;
  int rc = zf_scorer_new(&p.s, f, lim);
  if (!rc && greedy && (zf_mul(lim->rows, p.V, &n) || !(p.all = zf_calloc(n, sizeof *p.all))))
    rc = zf_error(ZF_ENOMEM, "out of memory for the logits of %lld rows", (long long)lim->rows);
  for (int64_t from = 0, to; !rc && from < d->count; from = to) {
    rc = run(&p, out, from, &to);
    if (!rc && tick && tick(ctx, to)) rc = zf_error(ZF_ESTOPPED, "interrupted while scoring");
  }
  free(p.all);
  zf_scorer_free(p.s);
  return rc;
}
