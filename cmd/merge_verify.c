#include "merge_verify.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/util.h"
#include "model/forward.h"
#include "ui.h"

enum { WINDOW = 256 };

/* A model and the memory for windows of a text. */
struct prediction_pass {
  const struct zf_model *model;
  struct zf_forward *forward;
  int64_t length; /* tokens of a window at most */
  int32_t *place;
  double *lse, *logit;
  float *labels; /* a head of labels: their logits; NULL: a language model */
};

static int begin(struct prediction_pass *pass, const struct zf_model *model) {
  const struct zf_config *config = &model->config;
  int64_t length = zf_min64(WINDOW, config->context);
  struct zf_limits limits = {
      .tokens = length, .rows = length, .segments = 1, .length = length, .ids = 1, .streams = 1};
  *pass = (struct prediction_pass){.model = model, .length = length};
  pass->place = zf_calloc(length, sizeof *pass->place);
  pass->lse = zf_calloc(length, sizeof *pass->lse);
  pass->logit = zf_calloc(length, sizeof *pass->logit);
  if (config->classify) pass->labels = zf_calloc(config->outputs, sizeof *pass->labels);
  if (!pass->place || !pass->lse || !pass->logit || (config->classify && !pass->labels))
    return ZF_ENOMEM;
  for (int64_t i = 0; i < length; i++) pass->place[i] = (int32_t)i;
  return zf_forward_new(&pass->forward, model, &limits);
}

static void end(struct prediction_pass *pass) {
  zf_forward_free(pass->forward);
  free(pass->place);
  free(pass->lse);
  free(pass->logit);
  free(pass->labels);
}

/* Log-probabilities of the labels, from the row that the head reads. */
static int64_t predict_labels(struct prediction_pass *pass, double *out) {
  int64_t count = pass->model->config.outputs;
  double largest = -INFINITY, sum = 0;
  zf_forward_logits(pass->forward, pass->labels);
  for (int64_t i = 0; i < count; i++) largest = fmax(largest, (double)pass->labels[i]);
  for (int64_t i = 0; i < count; i++) sum += exp((double)pass->labels[i] - largest);
  for (int64_t i = 0; i < count; i++) out[i] = (double)pass->labels[i] - largest - log(sum);
  return count;
}

static int64_t predict_tokens(struct prediction_pass *pass, const int32_t *target, int64_t rows,
                              double *out) {
  zf_forward_lse(pass->forward, target, pass->lse, pass->logit);
  for (int64_t i = 0; i < rows; i++) out[i] = pass->logit[i] - pass->lse[i];
  return rows;
}

/* Writes the predictions of one window to `out`; returns their number, or a code. */
static int64_t predict_window(struct prediction_pass *pass, int32_t *id, int64_t count,
                              double *out) {
  struct zf_segment segment = {.len = count};
  struct zf_perturb none = zf_perturb_none();
  const struct zf_config *config = &pass->model->config;
  int64_t shift = pass->model->plan.causal, rows = count - shift;
  int32_t label_row = zf_config_tail(config)->first ? 0 : (int32_t)count - 1;
  struct zf_batch batch = {.T = count,
                           .id = id,
                           .pos = pass->place,
                           .segment_count = 1,
                           .segment = &segment,
                           .R = config->classify ? 1 : rows,
                           .row = config->classify ? &label_row : pass->place};
  if (!batch.R) return 0;
  int rc = zf_forward_run(pass->forward, &batch, &none);
  if (rc) return rc;
  return config->classify ? predict_labels(pass, out) : predict_tokens(pass, id + shift, rows, out);
}

/* Values of all windows at most. */
static int64_t most_values(const struct prediction_pass *pass, int64_t tokens) {
  int64_t windows = (tokens + pass->length - 1) / pass->length;
  return pass->labels ? windows * pass->model->config.outputs : tokens;
}

static int predict_all(struct zc_predictions *out, struct prediction_pass *pass,
                       struct zf_ids *ids) {
  out->value = zf_calloc(most_values(pass, ids->count) + 1, sizeof *out->value);
  if (!out->value) return ZF_ENOMEM;
  for (int64_t i = 0; i < ids->count; i += pass->length) {
    int64_t count = zf_min64(pass->length, ids->count - i);
    if (zc_signal()) return zf_error(ZF_ESTOPPED, "interrupted while comparing");
    count = predict_window(pass, ids->id + i, count, out->value + out->count);
    if (count < 0) return (int)count;
    out->count += count;
  }
  return out->count ? 0 : zf_error(ZF_EUSAGE, "--verify: the text has no token to predict");
}

int zc_predictions_of(struct zc_predictions *out, const struct zf_model *model,
                      const struct zf_tok *tok, const char *text, size_t len) {
  struct prediction_pass pass;
  struct zf_ids ids = {0};
  *out = (struct zc_predictions){0};
  int rc = begin(&pass, model);
  if (!rc) rc = zf_tok_encode(tok, &ids, text, len, ZF_ENC_SPECIAL);
  if (!rc) rc = predict_all(out, &pass, &ids);
  if (rc) zc_predictions_free(out);
  zf_ids_free(&ids);
  end(&pass);
  return rc;
}

void zc_predictions_free(struct zc_predictions *predictions) {
  free(predictions->value);
  *predictions = (struct zc_predictions){0};
}

struct zc_distance zc_distance_of(const struct zc_predictions *left,
                                  const struct zc_predictions *right) {
  struct zc_distance distance = {0};
  for (int64_t i = 0; i < left->count; i++) {
    double difference = fabs(left->value[i] - right->value[i]);
    distance.largest = fmax(distance.largest, difference);
    distance.mean += difference / (double)left->count;
  }
  return distance;
}
