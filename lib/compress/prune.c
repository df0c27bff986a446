#include "compress/prune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/util.h"
#include "compress/inverse.h"
#include "compress/prune_internal.h"

/* --- masks --- */

static int ascending(const void *left, const void *right) {
  float x = *(const float *)left, y = *(const float *)right;
  return (x > y) - (x < y);
}

/* Zeros the `zeros` values with the smallest scores; of equal scores the first. */
static void zero_smallest(float *w, const float *score, float *sorted, int64_t count,
                          int64_t zeros) {
  if (!zeros) return;
  memcpy(sorted, score, (size_t)count * sizeof *sorted);
  qsort(sorted, (size_t)count, sizeof *sorted, ascending);
  float limit = sorted[zeros - 1];
  int64_t equal = zeros;
  for (int64_t i = 0; i < count; i++) equal -= score[i] < limit;
  for (int64_t i = 0; i < count; i++)
    if (score[i] < limit || (score[i] == limit && equal-- > 0)) w[i] = 0;
}

void zf_prune_smallest(float *w, const float *score, float *sorted, int64_t count,
                       const struct zf_pruning *job) {
  if (!job->of) {
    zero_smallest(w, score, sorted, count, (int64_t)(job->sparsity * (double)count));
    return;
  }
  for (int64_t i = 0; i < count; i += job->of)
    zero_smallest(w + i, score + i, sorted + i, job->of, job->of - job->keep);
}

/* --- by magnitude, and by magnitude times input --- */

static void prune_magnitude(struct zf_pruned_matrix *matrix) {
  int64_t count = matrix->out * matrix->in;
  for (int64_t i = 0; i < count; i++) matrix->score[i] = fabsf(matrix->w[i]);
  zf_prune_smallest(matrix->w, matrix->score, matrix->sorted, count, matrix->job);
}

static void prune_wanda(struct zf_pruned_matrix *matrix) {
  int64_t in = matrix->in;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < matrix->out; i++) {
    float *w = matrix->w + i * in, *score = matrix->score + i * in;
    for (int64_t j = 0; j < in; j++)
      score[j] = fabsf(w[j]) * (float)sqrt(matrix->moments->square[j]);
    zf_prune_smallest(w, score, matrix->sorted + i * in, in, matrix->job);
  }
}

/* --- layers --- */

static const struct zf_pruner pruners[] = {
    {"magnitude", 0, 0, prune_magnitude},
    {"wanda", 1, 0, prune_wanda},
    {"sparsegpt", 1, 1, zf_prune_feedback},
};

const struct zf_pruner *zf_pruner_find(const char *name) {
  for (size_t i = 0; i < sizeof pruners / sizeof *pruners; i++)
    if (!strcmp(pruners[i].name, name)) return &pruners[i];
  return NULL;
}

int zf_pruner_calibrates(const struct zf_pruner *pruner) {
  return pruner->calibrates;
}

static int stopped(const struct zf_pruning *job) {
  return job->tick && job->tick(job->ctx) ? zf_error(ZF_ESTOPPED, "interrupted while pruning") : 0;
}

/* What a layer needs for all its matrices. */
struct prune_layer {
  const struct zf_pruner *pruner;
  const struct zf_pruning *job;
  struct zf_layer layer;
  int64_t zeros, values;
};

/* The factor of an input's moments, the caller's to free; the moments stay as they are. */
static int factor_of(float **out, const struct zf_pruning *job, const struct zf_moments *moments) {
  size_t bytes = (size_t)(moments->width * moments->width) * sizeof **out;
  *out = zf_malloc(bytes);
  if (!*out) return ZF_ENOMEM;
  memcpy(*out, moments->full, bytes);
  return zf_inverse_upper(*out, moments->width, job->penalty);
}

static int store(struct prune_layer *state, int32_t number, const float *w, int64_t out) {
  const struct zf_param *param = &state->job->model->params.param[number];
  void *data;
  int rc = zf_overlay_reserve(state->job->overlay, number, ZF_F32, &data);
  if (rc) return rc;
  zf_matrix_write(data, param, w, 0, out);
  zf_overlay_use(state->job->overlay, number);
  return 0;
}

static int check_pattern(const struct zf_pruning *job, const struct zf_param *param, int64_t in) {
  if (!job->of || in % job->of == 0) return 0;
  return zf_error(ZF_EUSAGE, "'%s': rows of %lld values are no multiple of the pattern %d:%d",
                  param->name, (long long)in, job->keep, job->of);
}

static int prune_matrix(struct prune_layer *state, const struct zf_layer_matrix *place,
                        const struct zf_moments *moments, const float *factor) {
  const struct zf_pruning *job = state->job;
  const struct zf_param *param = &job->model->params.param[place->param];
  int64_t count = place->out * place->in;
  struct zf_pruned_matrix matrix = {.job = job,
                                    .moments = moments,
                                    .factor = factor,
                                    .out = place->out,
                                    .in = place->in,
                                    .w = zf_calloc(count, sizeof(float)),
                                    .score = zf_calloc(count, sizeof(float)),
                                    .sorted = zf_calloc(count, sizeof(float))};
  int rc =
      matrix.w && matrix.score && matrix.sorted ? check_pattern(job, param, place->in) : ZF_ENOMEM;
  if (!rc) {
    zf_matrix_read(matrix.w, param, 0, place->out);
    state->pruner->prune(&matrix);
    if (job->repair_iterations) {
      zf_matrix_read(matrix.score, param, 0, place->out);
      rc = zf_prune_repair(matrix.w, matrix.score, place->out, place->in, moments->full,
                           job->penalty, job->repair_iterations);
    }
  }
  for (int64_t i = 0; i < count && !rc; i++) state->zeros += matrix.w[i] == 0;
  state->values += count;
  if (!rc) rc = store(state, place->param, matrix.w, place->out);
  free(matrix.w);
  free(matrix.score);
  free(matrix.sorted);
  return rc ? rc : stopped(job);
}

/* Prunes the matrices that read one input. */
static int prune_input(struct prune_layer *state, int input) {
  struct zf_moments *moments = &state->layer.input[input].moments;
  float *factor = NULL;
  int rc = 0;
  if (moments->full) zf_moments_mirror(moments);
  if (state->pruner->feedback) rc = factor_of(&factor, state->job, moments);
  for (int i = 0; i < state->layer.matrices && !rc; i++)
    if (state->layer.matrix[i].input == input)
      rc = prune_matrix(state, &state->layer.matrix[i], moments, factor);
  free(factor);
  return rc ? zf_error_prefix(rc, "layer %lld", (long long)state->layer.number) : 0;
}

static int prune_layer(struct prune_layer *state, struct zf_walk *walk, int64_t number) {
  const struct zf_pruning *job = state->job;
  int full = state->pruner->feedback || job->repair_iterations;
  int rc = zf_layer_open(&state->layer, job->model, number, full,
                         job->windows ? job->windows->length : 1);
  if (!rc && walk)
    rc = zf_walk_layer(walk, number, 0, zf_layer_watch, &state->layer, job->tick, job->ctx);
  for (int i = 0; i < state->layer.inputs && !rc; i++) rc = prune_input(state, i);
  if (!rc && walk) rc = zf_walk_layer(walk, number, 1, NULL, NULL, job->tick, job->ctx);
  zf_layer_close(&state->layer);
  zf_overlay_drop(job->overlay);
  zf_model_drop_pages(job->model);
  return rc;
}

int zf_prune_layers(const struct zf_pruner *pruner, const struct zf_pruning *job, int64_t *zeros,
                    int64_t *values) {
  struct prune_layer state = {.pruner = pruner, .job = job};
  struct zf_walk *walk = NULL;
  int needs_text = pruner->calibrates || job->repair_iterations, rc = 0;
  if (needs_text && !job->windows)
    return zf_error(ZF_EUSAGE, "%s needs a calibration text",
                    pruner->calibrates ? pruner->name : "repair");
  if (needs_text) rc = zf_walk_new(&walk, job->model, job->windows, job->directory, job->compute);
  for (int64_t i = 0; i < job->model->config.layers && !rc; i++) rc = prune_layer(&state, walk, i);
  zf_walk_free(walk);
  *zeros = state.zeros;
  *values = state.values;
  return rc;
}
