/* Packs as the scorer does, runs, and sums row by row in the order of the sequences. */
#include "eval/likelihood.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"

struct pass {
  struct zf_forward *forward;
  struct zf_scorer *scorer;
  const struct zf_dataset *dataset;
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
static int64_t reduce(const struct pass *pass, int64_t q, int64_t row, struct zf_likelihood *out) {
  const struct zf_packed *packed = zf_score_packed(pass->scorer);
  int64_t n = zf_seq_targets(pass->dataset, &pass->dataset->seq[q]);
  *out = (struct zf_likelihood){.greedy = pass->all ? 1 : -1};
  for (int64_t r = row; r < row + n; r++) {
    out->sum += packed->logit[r] - packed->lse[r];
    if (pass->all && out->greedy)
      out->greedy = is_first(pass->all + r * pass->V, pass->V, packed->target[r]);
  }
  return n;
}

static int run(struct pass *pass, struct zf_likelihood *out, int64_t from, int64_t *to) {
  struct zf_perturb none = zf_perturb_none();
  struct zf_packed *packed = zf_score_packed(pass->scorer);
  int64_t row = 0;
  *to = zf_score_pack(pass->scorer, pass->dataset, NULL, from, pass->dataset->count, 0, 1);
  packed->batch.unread = 0; /* lm-evaluation-harness hands a sequence without its last token over */
  int rc = zf_forward_run(pass->forward, &packed->batch, &none);
  if (rc) return rc;
  zf_forward_lse(pass->forward, packed->target, packed->lse, packed->logit);
  if (pass->all) zf_forward_logits(pass->forward, pass->all);
  for (int64_t i = from; i < *to; i++)
    for (int32_t o = 0; o < pass->dataset->ex[i].nseq; o++)
      row += reduce(pass, pass->dataset->ex[i].seq + o, row, &out[pass->dataset->ex[i].seq + o]);
  return 0;
}

int zf_likelihoods(struct zf_likelihood *out, struct zf_forward *forward,
                   const struct zf_limits *lim, const struct zf_dataset *dataset, int greedy,
                   int (*tick)(void *ctx, int64_t done), void *ctx) {
  struct pass pass = {
      .forward = forward, .dataset = dataset, .V = zf_forward_model(forward)->config.outputs};
  int64_t n = 0;
  int rc = zf_scorer_new(&pass.scorer, forward, lim);
  if (!rc && greedy &&
      (zf_mul(lim->rows, pass.V, &n) || !(pass.all = zf_calloc(n, sizeof *pass.all))))
    rc = zf_error(ZF_ENOMEM, "out of memory for the logits of %lld rows", (long long)lim->rows);
  for (int64_t from = 0, to; !rc && from < dataset->count; from = to) {
    rc = run(&pass, out, from, &to);
    if (!rc && tick && tick(ctx, to)) rc = zf_error(ZF_ESTOPPED, "interrupted while scoring");
  }
  free(pass.all);
  zf_scorer_free(pass.scorer);
  return rc;
}
