/* Chooses what is cut off, layer by layer. */
#include "compress/cut.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/util.h"
#include "compress/inverse.h"
#include "compress/layer.h"
#include "compress/walk.h"
#include "kern/kern.h"

/* --- life --- */

static void fill(int32_t *list, int64_t layers, int64_t count) {
  for (int64_t i = 0; i < layers * count; i++) list[i] = (int32_t)(i % count);
}

int zf_cut_new(struct zf_cut **out, struct zf_model *model) {
  const struct zf_config *config = &model->config;
  int64_t layers = config->layers;
  struct zf_cut *cut = *out = zf_calloc(1, sizeof *cut);
  if (!cut) return ZF_ENOMEM;
  *cut = (struct zf_cut){.model = model,
                         .layer = zf_calloc(layers, 1),
                         .influence = zf_calloc(layers, sizeof *cut->influence),
                         .columns = config->ffn,
                         .groups = config->kv_heads,
                         .column = zf_calloc(layers * config->ffn, sizeof *cut->column),
                         .group = zf_calloc(layers * config->kv_heads, sizeof *cut->group),
                         .tokens = config->vocab};
  if (!cut->layer || !cut->influence || !cut->column || !cut->group) {
    zf_cut_free(cut);
    *out = NULL;
    return ZF_ENOMEM;
  }
  memset(cut->layer, 1, (size_t)layers);
  for (int64_t i = 0; i < layers; i++) cut->influence[i] = NAN;
  fill(cut->column, layers, cut->columns);
  fill(cut->group, layers, cut->groups);
  return 0;
}

void zf_cut_free(struct zf_cut *cut) {
  if (!cut) return;
  free(cut->layer);
  free(cut->influence);
  free(cut->column);
  free(cut->group);
  free(cut->token);
  free(cut);
}

/* --- what a family allows --- */

static int check_job(const struct zf_cut *cut, const struct zf_cutting *job) {
  const struct zf_family *family = cut->model->config.family;
  if (job->groups && (!family->k_head_dim || family->wide_norm || family->qkv == ZF_QKV_HEADS))
    return zf_error(ZF_EUSAGE, "heads of the family %s cannot be cut: its config.json %s",
                    family->model_type,
                    family->k_head_dim ? "or its norms tie heads together"
                                       : "has no key for the width of a head");
  int64_t shared = cut->model->config.heads / cut->model->config.kv_heads;
  if (job->groups && cut->model->config.hidden % (job->groups * shared))
    return zf_error(ZF_EUSAGE,
                    "%lld heads do not divide the hidden size %lld, as Transformers wants it",
                    (long long)(job->groups * shared), (long long)cut->model->config.hidden);
  if (job->layers && cut->model->config.inverse_layer_scale)
    return zf_error(ZF_EUSAGE, "layers cannot be cut: scores are scaled by the layer's number");
  if (job->layers && cut->model->config.post_norm)
    return zf_error(ZF_EUSAGE,
                    "layers cannot be cut: each one norms what the layers before it put out");
  if (job->layers >= cut->model->config.layers)
    return zf_error(ZF_EUSAGE, "expected to remove fewer than the %lld layers, found %lld",
                    (long long)cut->model->config.layers, (long long)job->layers);
  return 0;
}

/* --- layers --- */

/* The layers with the least influence go. */
static void remove_layers(struct zf_cut *cut, int64_t count) {
  for (; count > 0; count--) {
    int64_t least = -1;
    for (int64_t i = 0; i < cut->model->config.layers; i++)
      if (cut->layer[i] && (least < 0 || cut->influence[i] < cut->influence[least])) least = i;
    cut->layer[least] = 0;
  }
}

/* Values of 0 for a parameter; -1: none. */
static int zero_param(const struct zf_cutting *job, int32_t number) {
  void *data;
  int rc = number < 0 ? 0 : zf_overlay_reserve(job->overlay, number, ZF_F32, &data);
  if (!rc && number >= 0) zf_overlay_use(job->overlay, number);
  return rc;
}

/* A removed layer adds zeros to the residual stream. */
static int silence_layer(const struct zf_cut *cut, const struct zf_cutting *job, int64_t layer) {
  const struct zf_plan *plan = &cut->model->plan;
  int rc = 0;
  for (int64_t i = 0; i < plan->body && !rc; i++) {
    const struct zf_op *op = &plan->op[i];
    int is_last = op->role == ZF_ROLE_OUTPUT || op->role == ZF_ROLE_DOWN;
    if (op->layer != layer || op->kind != ZF_OP_LINEAR || !is_last) continue;
    rc = zero_param(job, op->weight);
    if (!rc) rc = zero_param(job, op->bias);
  }
  return rc;
}

static int choose_layers(struct zf_cut *cut, const struct zf_cutting *job) {
  struct zf_walk *walk = NULL;
  int rc = zf_walk_new(&walk, cut->model, job->windows, job->directory, job->compute);
  for (int64_t i = 0; i < cut->model->config.layers && !rc; i++)
    rc = zf_walk_influence(walk, i, &cut->influence[i], job->tick, job->ctx);
  zf_walk_free(walk);
  if (rc) return rc;
  remove_layers(cut, job->layers);
  for (int64_t i = 0; i < cut->model->config.layers && !rc; i++)
    if (!cut->layer[i]) rc = silence_layer(cut, job, i);
  return rc;
}

/* --- columns --- */

/* The input columns of one product: `groups` groups of `size` columns, of which `keep` stay. */
struct column_choice {
  const struct zf_layer_matrix *matrix;
  const struct zf_moments *moments;
  int64_t groups, size, keep;
  int32_t *kept;  /* [keep] ascending groups */
  double *cost;   /* [groups] */
  float *w;       /* [out][in] */
  float *factor;  /* [in][in] */
  int64_t *index; /* [keep * size] kept columns */
  char *stays;    /* [groups] */
};

static int open_choice(struct column_choice *choice) {
  int64_t in = choice->matrix->in;
  choice->cost = zf_calloc(choice->groups, sizeof *choice->cost);
  choice->stays = zf_calloc(choice->groups, 1);
  choice->w = zf_calloc(choice->matrix->out * in, sizeof *choice->w);
  choice->factor = zf_malloc((size_t)(in * in) * sizeof *choice->factor);
  choice->index = zf_calloc(choice->keep * choice->size, sizeof *choice->index);
  return choice->cost && choice->stays && choice->w && choice->factor && choice->index ? 0
                                                                                       : ZF_ENOMEM;
}

static void close_choice(struct column_choice *choice) {
  free(choice->cost);
  free(choice->stays);
  free(choice->w);
  free(choice->factor);
  free(choice->index);
}

/* |W_j|^2 / (H^-1)_jj of each column, summed over its group. */
static int measure_costs(struct column_choice *choice, double penalty) {
  int64_t in = choice->matrix->in;
  memcpy(choice->factor, choice->moments->full, (size_t)(in * in) * sizeof *choice->factor);
  int rc = zf_inverse_factor(choice->factor, in, penalty);
  if (rc) return rc;
  for (int64_t j = 0; j < in; j++) {
    double square = 0, inverse = 0;
    for (int64_t i = 0; i < choice->matrix->out; i++)
      square += (double)choice->w[i * in + j] * (double)choice->w[i * in + j];
    for (int64_t k = j; k < in; k++)
      inverse += (double)choice->factor[k * in + j] * (double)choice->factor[k * in + j];
    choice->cost[j / choice->size] += square / inverse;
  }
  return 0;
}

static void keep_dearest(struct column_choice *choice) {
  for (int64_t n = 0; n < choice->keep; n++) {
    int64_t best = -1;
    for (int64_t i = 0; i < choice->groups; i++)
      if (!choice->stays[i] && (best < 0 || choice->cost[i] > choice->cost[best])) best = i;
    choice->stays[best] = 1;
  }
  int64_t kept = 0;
  for (int64_t i = 0; i < choice->groups; i++)
    if (choice->stays[i]) choice->kept[kept++] = (int32_t)i;
  for (int64_t i = 0; i < choice->keep * choice->size; i++)
    choice->index[i] = choice->kept[i / choice->size] * choice->size + i % choice->size;
}

static struct zf_weight matrix_of(const float *data, int64_t out, int64_t in, int turned) {
  return (struct zf_weight){.data = data,
                            .type = ZF_F32,
                            .out = out,
                            .in = in,
                            .output_stride = turned ? 1 : in,
                            .input_stride = turned ? out : 1,
                            .compute = ZF_COMPUTE_F32};
}

static void product(float *y, const float *x, int64_t rows, struct zf_weight weight) {
  struct zf_streams stream = {.count = 1};
  struct zf_rows left = zf_rows_of(x, weight.in, weight.in, ZF_COMPUTE_F32, NULL);
  zf_gemm(y, weight.out, &left, rows, &weight, &stream, NULL, 0, 0);
}

/* The lower triangle of (H_KK + penalty)^-1's factor; zeros above. */
static int factor_kept(float *factor, const struct column_choice *choice, double penalty) {
  int64_t in = choice->matrix->in, count = choice->keep * choice->size;
  for (int64_t i = 0; i < count; i++)
    for (int64_t j = 0; j < count; j++)
      factor[i * count + j] = choice->moments->full[choice->index[i] * in + choice->index[j]];
  int rc = zf_inverse_factor(factor, count, penalty);
  for (int64_t i = 0; i < count && !rc; i++)
    for (int64_t j = i + 1; j < count; j++) factor[i * count + j] = 0;
  return rc;
}

/* w = W_K + W_C H_CK (H_KK + penalty)^-1 in the kept columns, zeros in the others. */
static int repair_columns(struct column_choice *choice, double penalty) {
  int64_t in = choice->matrix->in, out = choice->matrix->out, count = choice->keep * choice->size;
  float *lost = zf_calloc(out * in, sizeof *lost), *rows = zf_calloc(count * in, sizeof *rows),
        *factor = zf_calloc(count * count, sizeof *factor),
        *half = zf_calloc(out * count, sizeof *half), *gain = zf_calloc(out * count, sizeof *gain);
  int rc =
      lost && rows && factor && half && gain ? factor_kept(factor, choice, penalty) : ZF_ENOMEM;
  if (!rc) {
    memcpy(lost, choice->w, (size_t)(out * in) * sizeof *lost);
    for (int64_t i = 0; i < out * in; i++)
      (choice->stays[i % in / choice->size] ? lost : choice->w)[i] = 0;
    for (int64_t k = 0; k < count; k++)
      memcpy(rows + k * in, choice->moments->full + choice->index[k] * in,
             (size_t)in * sizeof *rows);
    product(gain, lost, out, matrix_of(rows, count, in, 0));
    product(half, gain, out, matrix_of(factor, count, count, 0));
    product(gain, half, out, matrix_of(factor, count, count, 1));
    for (int64_t i = 0; i < out; i++)
      for (int64_t k = 0; k < count; k++)
        choice->w[i * in + choice->index[k]] += gain[i * count + k];
  }
  free(lost);
  free(rows);
  free(factor);
  free(half);
  free(gain);
  return rc;
}

static int store(const struct zf_cut *cut, const struct zf_cutting *job,
                 const struct column_choice *choice) {
  const struct zf_param *param = &cut->model->params.param[choice->matrix->param];
  void *data;
  int rc = zf_overlay_reserve(job->overlay, choice->matrix->param, ZF_F32, &data);
  if (rc) return rc;
  zf_matrix_write(data, param, choice->w, 0, choice->matrix->out);
  zf_overlay_use(job->overlay, choice->matrix->param);
  return 0;
}

static int choose_columns(const struct zf_cut *cut, const struct zf_cutting *job,
                          struct zf_layer *layer, struct column_choice *choice) {
  const struct zf_param *param = &cut->model->params.param[choice->matrix->param];
  struct zf_moments *moments = &layer->input[choice->matrix->input].moments;
  zf_moments_mirror(moments);
  choice->moments = moments;
  int rc = open_choice(choice);
  if (!rc) {
    zf_matrix_read(choice->w, param, 0, choice->matrix->out);
    rc = measure_costs(choice, job->penalty);
  }
  if (!rc) {
    keep_dearest(choice);
    rc = repair_columns(choice, job->penalty);
  }
  if (!rc) rc = store(cut, job, choice);
  close_choice(choice);
  return rc;
}

static const struct zf_layer_matrix *find_matrix(const struct zf_layer *layer, enum zf_role role) {
  for (int i = 0; i < layer->matrices; i++)
    if (layer->model->plan.op[layer->matrix[i].op].role == role) return &layer->matrix[i];
  return NULL;
}

/* Columns of the MLP, and heads, of one layer whose moments are complete. */
static int choose_of_layer(struct zf_cut *cut, const struct zf_cutting *job,
                           struct zf_layer *layer) {
  const struct zf_config *config = &cut->model->config;
  struct column_choice columns = {.matrix = find_matrix(layer, ZF_ROLE_DOWN),
                                  .groups = config->ffn,
                                  .size = 1,
                                  .keep = cut->columns,
                                  .kept = cut->column + layer->number * cut->columns};
  struct column_choice heads = {.matrix = find_matrix(layer, ZF_ROLE_OUTPUT),
                                .groups = config->kv_heads,
                                .size = config->heads / config->kv_heads * config->head_dim,
                                .keep = cut->groups,
                                .kept = cut->group + layer->number * cut->groups};
  int rc = 0;
  if (job->columns && columns.matrix) rc = choose_columns(cut, job, layer, &columns);
  if (!rc && job->groups && heads.matrix) rc = choose_columns(cut, job, layer, &heads);
  return rc;
}

static int run_layer(struct zf_cut *cut, const struct zf_cutting *job, struct zf_walk *walk,
                     int64_t number) {
  struct zf_layer layer;
  int rc = zf_layer_open(&layer, cut->model, number, 1, job->windows->length);
  if (!rc) rc = zf_walk_layer(walk, number, 0, zf_layer_watch, &layer, job->tick, job->ctx);
  if (!rc) rc = choose_of_layer(cut, job, &layer);
  if (!rc) rc = zf_walk_layer(walk, number, 1, NULL, NULL, job->tick, job->ctx);
  zf_layer_close(&layer);
  zf_overlay_drop(job->overlay);
  zf_model_drop_pages(cut->model);
  return rc;
}

int zf_cut_choose(struct zf_cut *cut, const struct zf_cutting *job) {
  struct zf_walk *walk = NULL;
  int rc = check_job(cut, job);
  if (!rc && job->layers) rc = choose_layers(cut, job);
  if (job->columns) cut->columns = job->columns;
  if (job->groups) cut->groups = job->groups;
  if (job->columns) fill(cut->column, cut->model->config.layers, cut->columns);
  if (job->groups) fill(cut->group, cut->model->config.layers, cut->groups);
  if (rc || (!job->columns && !job->groups)) return rc;
  rc = zf_walk_new(&walk, cut->model, job->windows, job->directory, job->compute);
  for (int64_t i = 0; i < cut->model->config.layers && !rc; i++)
    if (cut->layer[i]) rc = run_layer(cut, job, walk, i);
  zf_walk_free(walk);
  return rc;
}
