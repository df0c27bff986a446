/* Compares two models window by window: both passes run, then the logits of some positions at a time. */
#include "eval/divergence.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/util.h"

enum { LOGITS = 1 << 21 }; /* logits of a model that exist at a time, where a row has fewer */

const double zf_quantiles[ZF_QUANTILES] = {0, 0.01, 0.05, 0.5, 0.95, 0.99, 1};

/* --- windows --- */

int zf_windows_new(struct zf_windows *windows, const struct zf_tok *tok, const char *text,
                   size_t len, int64_t length, int64_t limit) {
  struct zf_ids ids = {0}, empty = {0};
  *windows = (struct zf_windows){0};
  int rc = zf_tok_encode(tok, &ids, text, len, ZF_ENC_SPECIAL);
  if (!rc) rc = zf_tok_encode(tok, &empty, "", 0, ZF_ENC_SPECIAL);
  int begins = empty.count && empty.id[0] == zf_tok_bos(tok);
  if (!rc && ids.count < 4)
    rc = zf_error(ZF_EINVALID, "expected a text of 4 tokens or more, found %lld",
                  (long long)ids.count);
  if (!rc) {
    windows->length = zf_min64(length, ids.count);
    windows->count = ids.count / windows->length;
    if (limit) windows->count = zf_min64(windows->count, limit);
    windows->id = zf_calloc(windows->count * windows->length, sizeof *windows->id);
    rc = windows->id ? 0 : ZF_ENOMEM;
  }
  if (!rc) memcpy(windows->id, ids.id, (size_t)(windows->count * windows->length) * sizeof *ids.id);
  for (int64_t i = 0; !rc && begins && i < windows->count; i++)
    windows->id[i * windows->length] = zf_tok_bos(tok);
  zf_ids_free(&ids);
  zf_ids_free(&empty);
  return rc;
}

void zf_windows_free(struct zf_windows *windows) {
  free(windows->id);
  *windows = (struct zf_windows){0};
}

/* --- passes --- */

/* A model and the memory of a pass over one window. */
struct side {
  const struct zf_model *model;
  struct zf_forward *forward;
  float *logits; /* [chunk][vocabulary] */
  double *lse, *logit;
};

struct comparison {
  struct side side[2]; /* the reference, the model */
  int sides;
  const struct zf_windows *windows;
  int64_t context, rows,
      chunk;      /* tokens of a window that are context alone; predicted positions of a
                                 * window, and of a chunk of logits */
  int32_t *place; /* [length] 0, 1, ... */
  float *nll[2], *kl, *change; /* [positions] */
  char *same;
};

static int check_model(const struct zf_model *model, const struct zf_windows *windows) {
  if (windows->length > model->config.context)
    return zf_error(ZF_EUSAGE, "%s: a window of %lld tokens is longer than the context of %lld",
                    model->dir, (long long)windows->length, (long long)model->config.context);
  if (!model->plan.causal || model->config.classify)
    return zf_error(ZF_EUSAGE, "%s: expected a model that predicts the next token", model->dir);
  for (int64_t i = 0; i < windows->count * windows->length; i++)
    if (windows->id[i] < 0 || windows->id[i] >= model->config.vocab)
      return zf_error(ZF_EINVALID, "%s: token id %d is outside the vocabulary of %lld", model->dir,
                      windows->id[i], (long long)model->config.vocab);
  return 0;
}

static int open_side(struct side *side, const struct zf_model *model,
                     const struct comparison *comparison, enum zf_compute compute) {
  int64_t length = comparison->windows->length;
  struct zf_limits limits = {.tokens = length,
                             .rows = length,
                             .segments = 1,
                             .length = length,
                             .ids = 1,
                             .streams = 1,
                             .compute = compute};
  *side = (struct side){.model = model};
  int rc = check_model(model, comparison->windows);
  if (rc) return rc;
  if (comparison->sides == 2)
    side->logits = zf_calloc(comparison->chunk * model->config.outputs, sizeof *side->logits);
  side->lse = zf_calloc(length, sizeof *side->lse);
  side->logit = zf_calloc(length, sizeof *side->logit);
  if ((comparison->sides == 2 && !side->logits) || !side->lse || !side->logit) return ZF_ENOMEM;
  return zf_forward_new(&side->forward, model, &limits);
}

static void close_comparison(struct comparison *comparison) {
  for (int i = 0; i < 2; i++) {
    zf_forward_free(comparison->side[i].forward);
    free(comparison->side[i].logits);
    free(comparison->side[i].lse);
    free(comparison->side[i].logit);
    free(comparison->nll[i]);
  }
  free(comparison->place);
  free(comparison->kl);
  free(comparison->change);
  free(comparison->same);
}

static int open_comparison(struct comparison *comparison, const struct zf_model *const model[2],
                           int sides, const struct zf_windows *windows, enum zf_compute compute) {
  int64_t length = windows->length, positions;
  *comparison = (struct comparison){.windows = windows, .sides = sides};
  comparison->context = length / 2;
  comparison->rows = length - comparison->context - 1;
  comparison->chunk = zf_min64(comparison->rows, zf_max64(1, LOGITS / model[0]->config.outputs));
  positions = comparison->rows * windows->count;
  comparison->place = zf_calloc(length, sizeof *comparison->place);
  comparison->kl = zf_calloc(positions, sizeof *comparison->kl);
  comparison->change = zf_calloc(positions, sizeof *comparison->change);
  comparison->same = zf_calloc(positions, sizeof *comparison->same);
  if (!comparison->place || !comparison->kl || !comparison->change || !comparison->same)
    return ZF_ENOMEM;
  for (int64_t i = 0; i < length; i++) comparison->place[i] = (int32_t)i;
  for (int i = 0; i < sides; i++) {
    if (!(comparison->nll[i] = zf_calloc(positions, sizeof(float)))) return ZF_ENOMEM;
    int rc = open_side(&comparison->side[i], model[i], comparison, compute);
    if (rc) return rc;
  }
  return 0;
}

/* Runs a window, and writes -log p of its predicted tokens. */
static int run_window(struct comparison *comparison, int number, int64_t window) {
  struct side *side = &comparison->side[number];
  int64_t length = comparison->windows->length, rows = comparison->rows;
  int32_t *id = comparison->windows->id + window * length;
  struct zf_segment segment = {.len = length - 1};
  struct zf_perturb none = zf_perturb_none();
  struct zf_batch batch = {.T = length - 1,
                           .id = id,
                           .pos = comparison->place,
                           .segment_count = 1,
                           .segment = &segment,
                           .R = rows,
                           .row = comparison->place + comparison->context,
                           .unread = 1};
  int rc = zf_forward_run(side->forward, &batch, &none);
  if (rc) return rc;
  if (comparison->sides == 2)
    zf_model_drop_pages(side->model); /* one model is resident at a time */
  zf_forward_lse(side->forward, id + comparison->context + 1, side->lse, side->logit);
  for (int64_t i = 0; i < rows; i++)
    comparison->nll[number][window * rows + i] = (float)(side->lse[i] - side->logit[i]);
  return 0;
}

static int64_t likeliest(const float *logit, int64_t count) {
  int64_t best = 0;
  for (int64_t i = 1; i < count; i++)
    if (logit[i] > logit[best]) best = i;
  return best;
}

/* KL of two rows of logits.  The sum runs in a fixed order. */
static double divergence_of(const float *reference, double reference_lse, const float *model,
                            double model_lse, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; i++) {
    double log_p = (double)reference[i] - reference_lse;
    if (log_p < -60) continue; /* p < 1e-26: less than the rounding of the sum */
    sum += (double)expf((float)log_p) * (log_p - ((double)model[i] - model_lse));
  }
  return fmax(sum, 0);
}

/* Compares the predicted positions of the window that both sides ran. */
static void compare_window(struct comparison *comparison, int64_t window) {
  const struct side *left = &comparison->side[0], *right = &comparison->side[1];
  int64_t V = left->model->config.outputs, at = window * comparison->rows;
  for (int64_t first = 0; first < comparison->rows; first += comparison->chunk) {
    int64_t count = zf_min64(comparison->chunk, comparison->rows - first);
    zf_forward_logits_part(left->forward, first, count, left->logits);
    zf_forward_logits_part(right->forward, first, count, right->logits);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i++) {
      const float *p = left->logits + i * V, *q = right->logits + i * V;
      int64_t row = first + i;
      comparison->kl[at + row] = (float)divergence_of(p, left->lse[row], q, right->lse[row], V);
      comparison->same[at + row] = likeliest(p, V) == likeliest(q, V);
      comparison->change[at + row] = (float)(exp(right->logit[row] - right->lse[row]) -
                                             exp(left->logit[row] - left->lse[row]));
    }
  }
}

/* --- results --- */

/* The mean of `count` values f(i) and its standard error. */
static struct zf_mean mean_of(int64_t count, double (*value)(const struct comparison *, int64_t),
                              const struct comparison *comparison) {
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < count; i++) sum += value(comparison, i);
  struct zf_mean mean = {.value = sum / (double)count};
  for (int64_t i = 0; i < count; i++) {
    double distance = value(comparison, i) - mean.value;
    squares += distance * distance;
  }
  if (count > 1) mean.error = sqrt(squares / (double)(count - 1) / (double)count);
  return mean;
}

static double reference_nll(const struct comparison *comparison, int64_t i) {
  return (double)comparison->nll[0][i];
}

static double model_nll(const struct comparison *comparison, int64_t i) {
  return (double)comparison->nll[1][i];
}

static double log_ratio(const struct comparison *comparison, int64_t i) {
  return (double)comparison->nll[1][i] - (double)comparison->nll[0][i];
}

static double kl(const struct comparison *comparison, int64_t i) {
  return (double)comparison->kl[i];
}

static double change(const struct comparison *comparison, int64_t i) {
  return (double)comparison->change[i];
}

static double change_square(const struct comparison *comparison, int64_t i) {
  return (double)comparison->change[i] * (double)comparison->change[i];
}

static double same_top(const struct comparison *comparison, int64_t i) {
  return comparison->same[i];
}

static int ascending(const void *left, const void *right) {
  float x = *(const float *)left, y = *(const float *)right;
  return (x > y) - (x < y);
}

/* Sorts the values; a quantile between two of them is interpolated. */
static void quantiles_of(double out[ZF_QUANTILES], float *value, int64_t count) {
  qsort(value, (size_t)count, sizeof *value, ascending);
  for (int i = 0; i < ZF_QUANTILES; i++) {
    double at = zf_quantiles[i] * (double)(count - 1);
    int64_t low = (int64_t)at, high = zf_min64(low + 1, count - 1);
    out[i] = (double)value[low] + (at - (double)low) * ((double)value[high] - (double)value[low]);
  }
}

static void reduce(struct zf_divergence *out, struct comparison *comparison) {
  int64_t count = comparison->rows * comparison->windows->count;
  *out = (struct zf_divergence){.windows = comparison->windows->count, .positions = count};
  out->nll[0] = mean_of(count, reference_nll, comparison);
  out->nll[1] = mean_of(count, model_nll, comparison);
  out->log_ratio = mean_of(count, log_ratio, comparison);
  out->kl = mean_of(count, kl, comparison);
  out->change = mean_of(count, change, comparison);
  out->change_rms = sqrt(mean_of(count, change_square, comparison).value);
  out->same_top = mean_of(count, same_top, comparison);
  quantiles_of(out->kl_quantile, comparison->kl, count);
  quantiles_of(out->change_quantile, comparison->change, count);
}

static int run_all(struct comparison *comparison, int (*tick)(void *ctx, int64_t done), void *ctx) {
  for (int64_t i = 0; i < comparison->windows->count; i++) {
    for (int side = 0; side < comparison->sides; side++) {
      int rc = run_window(comparison, side, i);
      if (rc) return rc;
    }
    if (comparison->sides == 2) compare_window(comparison, i);
    if (tick && tick(ctx, i + 1)) return zf_error(ZF_ESTOPPED, "interrupted while comparing");
  }
  return 0;
}

int zf_divergence(struct zf_divergence *out, const struct zf_model *reference,
                  const struct zf_model *model, const struct zf_windows *windows,
                  enum zf_compute compute, int (*tick)(void *ctx, int64_t done), void *ctx) {
  const struct zf_model *const models[2] = {reference, model};
  struct comparison comparison;
  if (reference->config.outputs != model->config.outputs)
    return zf_error(ZF_EUSAGE,
                    "%s has a vocabulary of %lld tokens, %s one of %lld: their predictions "
                    "cannot be compared",
                    reference->dir, (long long)reference->config.outputs, model->dir,
                    (long long)model->config.outputs);
  int rc = open_comparison(&comparison, models, 2, windows, compute);
  if (!rc) rc = run_all(&comparison, tick, ctx);
  if (!rc) reduce(out, &comparison);
  close_comparison(&comparison);
  return rc;
}

int zf_perplexity(struct zf_mean *nll, const struct zf_model *model,
                  const struct zf_windows *windows, enum zf_compute compute,
                  int (*tick)(void *ctx, int64_t done), void *ctx) {
  const struct zf_model *const models[2] = {model, NULL};
  struct comparison comparison;
  int rc = open_comparison(&comparison, models, 1, windows, compute);
  if (!rc) rc = run_all(&comparison, tick, ctx);
  if (!rc) *nll = mean_of(comparison.rows * windows->count, reference_nll, &comparison);
  close_comparison(&comparison);
  return rc;
}
