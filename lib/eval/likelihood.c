/* Packs examples as the scorer does, runs them, and sums row by row in the order of the sequences. */
#include "eval/likelihood.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"

struct likelihood_pass {
  struct zf_forward *forward;
  struct zf_scorer *scorer;
  const struct zf_dataset *dataset;
  float *logits; /* [rows][V], or NULL */
  int64_t V;     /* vocabulary */
};

/* 1 where `id` is the first of the largest logits of a row. */
static int is_first(const float *logits, int64_t V, int32_t id) {
  for (int64_t i = 0; i < V; i++) {
    if (logits[i] > logits[id]) return 0;
    if (i < id && logits[i] == logits[id]) return 0;
  }
  return 1;
}

/* Reduces sequence `index`, whose rows begin at `row`; returns the number of its rows. */
static int64_t reduce(const struct likelihood_pass *pass, int64_t index, int64_t row,
                      struct zf_likelihood *out) {
  const struct zf_packed *packed = zf_score_packed(pass->scorer);
  int64_t rows = zf_seq_targets(pass->dataset, &pass->dataset->seq[index]);
  *out = (struct zf_likelihood){.greedy = pass->logits ? 1 : -1};
  for (int64_t i = row; i < row + rows; i++) {
    out->sum += packed->logit[i] - packed->lse[i];
    if (pass->logits && out->greedy)
      out->greedy = is_first(pass->logits + i * pass->V, pass->V, packed->target[i]);
  }
  return rows;
}

/* Runs the examples from `from` on that fit one pass; *to: the first that did not. */
static int run_pass(struct likelihood_pass *pass, struct zf_likelihood *out, int64_t from,
                    int64_t *to) {
  struct zf_perturb none = zf_perturb_none();
  struct zf_packed *packed = zf_score_packed(pass->scorer);
  int64_t row = 0;
  *to = zf_score_pack(pass->scorer, pass->dataset, NULL, from, pass->dataset->count, 0, 1);
  packed->batch.unread = 0; /* lm-evaluation-harness passes sequences without their last token */
  int rc = zf_forward_run(pass->forward, &packed->batch, &none);
  if (rc) return rc;
  zf_forward_lse(pass->forward, packed->target, packed->lse, packed->logit);
  if (pass->logits) zf_forward_logits(pass->forward, pass->logits);
  for (int64_t i = from; i < *to; i++) {
    const struct zf_example *example = &pass->dataset->example[i];
    for (int64_t j = example->seq; j < example->seq + example->nseq; j++)
      row += reduce(pass, j, row, &out[j]);
  }
  return 0;
}

static int run_all(struct likelihood_pass *pass, struct zf_likelihood *out,
                   int (*tick)(void *ctx, int64_t done), void *ctx) {
  for (int64_t from = 0, to; from < pass->dataset->count; from = to) {
    int rc = run_pass(pass, out, from, &to);
    if (rc) return rc;
    if (tick && tick(ctx, to)) return zf_error(ZF_ESTOPPED, "interrupted while scoring");
  }
  return 0;
}

int zf_likelihoods(struct zf_likelihood *out, struct zf_forward *forward,
                   const struct zf_limits *limits, const struct zf_dataset *dataset, int greedy,
                   int (*tick)(void *ctx, int64_t done), void *ctx) {
  struct likelihood_pass pass = {
      .forward = forward, .dataset = dataset, .V = zf_forward_model(forward)->config.outputs};
  int64_t floats = 0;
  int rc = zf_scorer_new(&pass.scorer, forward, limits);
  if (!rc && greedy &&
      (zf_mul_checked(limits->rows, pass.V, &floats) ||
       !(pass.logits = zf_calloc(floats, sizeof *pass.logits))))
    rc = zf_error(ZF_ENOMEM, "out of memory for the logits of %lld rows", (long long)limits->rows);
  if (!rc) rc = run_all(&pass, out, tick, ctx);
  free(pass.logits);
  zf_scorer_free(pass.scorer);
  return rc;
}
