#include "compress/assign.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/util.h"
#include "compress/layer.h"
#include "compress/mix.h"
#include "compress/quantizer_internal.h"
#include "eval/divergence.h"

/* Types by size, of rows of 256 values and of others. */
static const enum zf_dtype large_blocks[] = {ZF_Q2_K, ZF_Q3_K, ZF_IQ4_NL,
                                             ZF_Q5_K, ZF_Q6_K, ZF_Q8_0},
                           small_blocks[] = {ZF_IQ4_NL, ZF_Q5_0, ZF_Q5_1, ZF_Q8_0};
enum { TYPES = 6, PROBE_ROWS = 256 };

/* A matrix and what its types cost. */
struct candidate {
  int32_t param;
  int types, chosen, probe;
  enum zf_dtype type[TYPES];
  double error[TYPES]; /* sum of squared errors on a sample of rows */
};

struct assigner {
  const struct zf_quantization *job;
  const struct zf_model *reference;
  struct zf_assignment *out;
  struct candidate *candidate;
  int64_t count;
};

void zf_assignment_free(struct zf_assignment *assignment) {
  free(assignment->type);
  free(assignment->sensitivity);
  *assignment = (struct zf_assignment){0};
}

static void list_types(struct candidate *candidate, const struct zf_param *param) {
  int64_t columns = zf_matrix_columns(param);
  int large = columns % 256 == 0;
  const enum zf_dtype *types = large ? large_blocks : small_blocks;
  int count = large ? (int)(sizeof large_blocks / sizeof *types)
                    : (int)(sizeof small_blocks / sizeof *types);
  if (columns % 32) {
    candidate->type[candidate->types++] = ZF_F16;
    return;
  }
  for (int i = 0; i < count; i++) candidate->type[candidate->types++] = types[i];
  candidate->probe = large ? 1 : 0;
}

/* Squared errors of every type on rows spread over the matrix. */
static int measure_errors(const struct assigner *assigner, struct candidate *candidate) {
  const struct zf_param *param = &assigner->job->model->params.param[candidate->param];
  int64_t in = zf_matrix_columns(param), out = zf_matrix_rows(param),
          rows = zf_min64(out, PROBE_ROWS), step = out / rows;
  float *w = zf_calloc(rows * in, sizeof *w), *decoded = zf_calloc(rows * in, sizeof *w);
  void *encoded = zf_calloc(rows * in, sizeof *w);
  int rc = w && decoded && encoded ? 0 : ZF_ENOMEM;
  for (int64_t i = 0; i < rows && !rc; i++) zf_matrix_read(w + i * in, param, i * step, 1);
  for (int k = 0; k < candidate->types && !rc; k++) {
    enum zf_dtype type = candidate->type[k];
    zf_quantize_rows(encoded, type, w, 0, rows, in, NULL);
    zf_to_f32(decoded, encoded, type, rows * in);
    for (int64_t i = 0; i < rows * in; i++)
      candidate->error[k] +=
          ((double)w[i] - (double)decoded[i]) * ((double)w[i] - (double)decoded[i]);
  }
  free(w);
  free(decoded);
  free(encoded);
  return rc;
}

/* KL of the model with this matrix alone at its probe type. */
static int measure_sensitivity(struct assigner *assigner, const struct candidate *candidate) {
  const struct zf_quantization *job = assigner->job;
  struct zf_divergence result;
  assigner->out->type[candidate->param] = candidate->type[candidate->probe];
  int rc = zf_quantize_param(job, candidate->param, NULL);
  if (!rc)
    rc = zf_divergence(&result, assigner->reference, job->model, job->windows, job->compute, NULL,
                       NULL);
  zf_overlay_revert(job->overlay, candidate->param);
  if (!rc) assigner->out->sensitivity[candidate->param] = result.kl.value;
  return rc;
}

static int list_candidates(struct assigner *assigner) {
  const struct zf_model *model = assigner->job->model;
  for (int32_t i = 0; i < model->params.count; i++) {
    assigner->out->type[i] = ZF_F32;
    if (!zf_mix_is_matrix(model, i)) continue;
    struct candidate *candidate = &assigner->candidate[assigner->count++];
    candidate->param = i;
    list_types(candidate, &model->params.param[i]);
    int rc = measure_errors(assigner, candidate);
    if (!rc) rc = measure_sensitivity(assigner, candidate);
    if (rc) return rc;
  }
  return 0;
}

/* --- the choice --- */

static int64_t bytes_at(const struct assigner *assigner, const struct candidate *candidate,
                        int at) {
  int64_t count = assigner->job->model->params.param[candidate->param].count;
  return (int64_t)zf_dtype_bytes(candidate->type[at], count);
}

static double divergence_at(const struct assigner *assigner, const struct candidate *candidate,
                            int at) {
  double probe = candidate->error[candidate->probe];
  if (!(probe > 0)) return 0;
  return assigner->out->sensitivity[candidate->param] * candidate->error[at] / probe;
}

/* The step to a larger type that saves most divergence for each byte and fits; NULL: none. */
static struct candidate *best_step(const struct assigner *assigner, int64_t left, int *to) {
  struct candidate *best = NULL;
  double most = 0;
  for (int64_t i = 0; i < assigner->count; i++) {
    struct candidate *candidate = &assigner->candidate[i];
    for (int at = candidate->chosen + 1; at < candidate->types; at++) {
      int64_t bytes =
          bytes_at(assigner, candidate, at) - bytes_at(assigner, candidate, candidate->chosen);
      double saved = divergence_at(assigner, candidate, candidate->chosen) -
                     divergence_at(assigner, candidate, at);
      if (bytes > left || saved / (double)zf_max64(1, bytes) <= most) continue;
      most = saved / (double)zf_max64(1, bytes);
      best = candidate;
      *to = at;
    }
  }
  return best;
}

static int choose(struct assigner *assigner, int64_t bytes) {
  const struct zf_model *model = assigner->job->model;
  struct zf_assignment *out = assigner->out;
  struct candidate *step;
  int to = 0;
  out->bytes = 0;
  for (int64_t i = 0; i < model->params.count; i++)
    if (!zf_mix_is_matrix(model, (int32_t)i)) out->bytes += 4 * model->params.param[i].count;
  for (int64_t i = 0; i < assigner->count; i++)
    out->bytes += bytes_at(assigner, &assigner->candidate[i], 0);
  if (out->bytes > bytes)
    return zf_error(ZF_EUSAGE,
                    "%s: the smallest types take %.1f MB, more than the %.1f MB that are asked for",
                    model->dir, (double)out->bytes / 1e6, (double)bytes / 1e6);
  while ((step = best_step(assigner, bytes - out->bytes, &to))) {
    out->bytes += bytes_at(assigner, step, to) - bytes_at(assigner, step, step->chosen);
    step->chosen = to;
  }
  out->divergence = 0;
  for (int64_t i = 0; i < assigner->count; i++) {
    const struct candidate *candidate = &assigner->candidate[i];
    out->type[candidate->param] = candidate->type[candidate->chosen];
    out->divergence += divergence_at(assigner, candidate, candidate->chosen);
  }
  return 0;
}

int zf_assign_types(struct zf_assignment *out, const struct zf_quantization *asked,
                    const struct zf_model *reference, int64_t bytes) {
  int64_t count = asked->model->params.count;
  struct zf_quantization job = *asked;
  struct assigner assigner = {.job = &job, .reference = reference, .out = out};
  *out = (struct zf_assignment){.type = zf_calloc(count, sizeof *out->type),
                                .sensitivity = zf_calloc(count, sizeof *out->sensitivity)};
  assigner.candidate = zf_calloc(count, sizeof *assigner.candidate);
  job.type = out->type;
  int rc =
      out->type && out->sensitivity && assigner.candidate ? list_candidates(&assigner) : ZF_ENOMEM;
  if (!rc) rc = choose(&assigner, bytes);
  free(assigner.candidate);
  if (rc) zf_assignment_free(out);
  return rc;
}
