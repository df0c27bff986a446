#include "train/probe.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "base/err.h"
#include "train/ridge.h"
#include "train/run.h"

/* Where the head keeps the row of an option. */
struct option_row {
  int32_t param;
  int64_t row;
};

struct probe {
  struct zf_run *run;
  int64_t classes, width;
  int32_t *id;             /* [classes] the options' rows of the head */
  struct option_row *head; /* [classes] */
  double *own_weight;      /* [classes][width] before the fit */
  double *own_bias;        /* [classes] 0 where the head has none */
  struct zf_ridge *ridge;
  struct zf_probe_report *report;
};

static void close_probe(struct probe *probe) {
  zf_ridge_free(probe->ridge);
  free(probe->id);
  free(probe->head);
  free(probe->own_weight);
  free(probe->own_bias);
}

/* --- what a probe can be fitted to --- */

static int check_data(const struct zf_dataset *dataset) {
  static const char *const lead = "method probe fits the head's rows of options";
  if (!dataset) return zf_error(ZF_EUSAGE, "%s: there are no training data", lead);
  if (!zf_task_has_options(dataset->type))
    return zf_error(ZF_EUSAGE,
                    "%s: the data are of another type; expected classification, masked or labels",
                    lead);
  if (dataset->type == ZF_TASK_LABELS && dataset->problem != ZF_PROBLEM_SINGLE)
    return zf_error(ZF_EUSAGE, "%s, of which one is right: problem_type is %s", lead,
                    zf_problem_names[dataset->problem]);
  return 0;
}

static int32_t option_id(const struct zf_dataset *dataset, const struct zf_example *example,
                         int64_t option) {
  const struct zf_seq *seq = &dataset->seq[example->seq + option];
  return dataset->pool.id[seq->at + seq->target];
}

/* Options are single tokens, the same in every example. */
static int check_example(const struct probe *probe, const struct zf_dataset *dataset,
                         int64_t index) {
  const struct zf_example *example = &dataset->example[index];
  const char *path = dataset->nfile ? dataset->path[example->file] : "data";
  if (!example->single)
    return zf_error(
        ZF_EUSAGE,
        "%s:%lld: method probe needs options of one token each behind one prompt; one of "
        "these has several, or changes the prompt's last token",
        path, (long long)example->line);
  int same = example->nseq == probe->classes;
  for (int64_t i = 0; same && i < probe->classes; i++)
    same = option_id(dataset, example, i) == probe->id[i];
  if (!same)
    return zf_error(ZF_EUSAGE, "%s:%lld: method probe needs the same options in every example",
                    path, (long long)example->line);
  if (example->label >= 0) return 0;
  return zf_error(ZF_EUSAGE, "%s:%lld: method probe needs the label of every example", path,
                  (long long)example->line);
}

static int check_trained(const struct zf_model *model, int32_t number) {
  const struct zf_param *param = &model->params.param[number];
  if (param->trained) return 0;
  return zf_error(ZF_EUSAGE,
                  "method probe writes rows of the output head, and '%s' is not trained: add it to "
                  "'trainable', or use 'adapter: tokens' with the ids of the options",
                  param->name);
}

/* Finds the head's row of one option: an adapter's, where that replaces it. */
static int find_row(struct option_row *out, const struct zf_model *model, int32_t id) {
  const struct zf_plan *plan = &model->plan;
  *out = (struct option_row){plan->head, id};
  if (plan->head_outer >= 0)
    return zf_error(ZF_EUSAGE,
                    "method probe writes rows of the output head, which this adapter changes as a "
                    "whole: leave the head out of lora_target_modules");
  for (int64_t i = 0; plan->head_rows >= 0 && i < plan->head_row_count; i++)
    if (plan->head_ids[i] == id) *out = (struct option_row){plan->head_rows, i};
  int rc = check_trained(model, out->param);
  return rc || plan->head_bias < 0 ? rc : check_trained(model, plan->head_bias);
}

static int find_options(struct probe *probe, const struct zf_dataset *dataset, int64_t index) {
  const struct zf_example *example = &dataset->example[index];
  if (!example->single) return check_example(probe, dataset, index);
  probe->classes = example->nseq;
  if (probe->classes < 2)
    return zf_error(ZF_EUSAGE, "method probe needs 2 options or more, found %lld",
                    (long long)probe->classes);
  probe->id = zf_calloc(probe->classes, sizeof *probe->id);
  probe->head = zf_calloc(probe->classes, sizeof *probe->head);
  if (!probe->id || !probe->head) return ZF_ENOMEM;
  for (int64_t i = 0; i < probe->classes; i++) {
    probe->id[i] = option_id(dataset, example, i);
    for (int64_t j = 0; j < i; j++)
      if (probe->id[i] == probe->id[j])
        return zf_error(ZF_EUSAGE, "method probe: options %lld and %lld are the same token",
                        (long long)j, (long long)i);
    int rc = find_row(&probe->head[i], probe->run->model, probe->id[i]);
    if (rc) return rc;
  }
  return 0;
}

int zf_probe_check(const struct zf_run *run) {
  const struct zf_dataset *dataset = run->data.train;
  struct probe probe = {.run = (struct zf_run *)run};
  int rc = check_data(dataset);
  if (rc || dataset->stream || !dataset->count) return rc;
  rc = find_options(&probe, dataset, 0);
  for (int64_t i = 0; i < dataset->count && !rc; i++) rc = check_example(&probe, dataset, i);
  close_probe(&probe);
  return rc;
}

int64_t zf_probe_bytes(const struct zf_run *run) {
  const struct zf_dataset *dataset = run->data.train;
  if (!dataset || !zf_task_has_options(dataset->type)) return 0;
  int64_t options = dataset->stream ? dataset->stream->options : dataset->options;
  return zf_ridge_bytes(zf_dataset_size(dataset), run->model->config.embed_dim, options);
}

/* --- weights --- */

static void *row_data(const struct zf_param *param, int64_t row, int64_t width) {
  return (char *)param->data + zf_dtype_bytes(param->type, row * width);
}

static int read_head(struct probe *probe) {
  const struct zf_model *model = probe->run->model;
  int32_t bias = model->plan.head_bias;
  float *row = zf_calloc(probe->width, sizeof *row), value;
  probe->own_weight = zf_calloc(probe->classes * probe->width, sizeof *probe->own_weight);
  probe->own_bias = zf_calloc(probe->classes, sizeof *probe->own_bias);
  int rc = row && probe->own_weight && probe->own_bias ? 0 : ZF_ENOMEM;
  for (int64_t c = 0; c < probe->classes && !rc; c++) {
    const struct zf_param *param = &model->params.param[probe->head[c].param];
    zf_to_f32(row, row_data(param, probe->head[c].row, probe->width), param->type, probe->width);
    for (int64_t i = 0; i < probe->width; i++)
      probe->own_weight[c * probe->width + i] = (double)row[i];
    if (bias < 0) continue;
    param = &model->params.param[bias];
    zf_to_f32(&value, row_data(param, probe->id[c], 1), param->type, 1);
    probe->own_bias[c] = (double)value;
  }
  free(row);
  return rc;
}

/* m + a (w - m) + s r, with m = the mean over the classes of w [classes], at a distance of `stride`. */
static double blended(const struct probe *probe, const double *own, const double *ridge, int64_t c,
                      int64_t stride) {
  double mean = 0;
  for (int64_t k = 0; k < probe->classes; k++) mean += own[k * stride];
  mean /= (double)probe->classes;
  return mean + probe->report->own * (own[c * stride] - mean) +
         probe->report->ridge * ridge[c * stride];
}

static int write_head(struct probe *probe) {
  const struct zf_model *model = probe->run->model;
  int64_t width = probe->width;
  int32_t bias = model->plan.head_bias;
  float *row = zf_calloc(width, sizeof *row);
  if (!row) return ZF_ENOMEM;
  for (int64_t c = 0; c < probe->classes; c++) {
    const struct zf_param *param = &model->params.param[probe->head[c].param];
    for (int64_t i = 0; i < width; i++)
      row[i] = (float)blended(probe, probe->own_weight + i, probe->ridge->weight + i, c, width);
    zf_from_f32(row_data(param, probe->head[c].row, width), row, param->type, width);
    if (bias < 0) continue;
    float value = (float)blended(probe, probe->own_bias, probe->ridge->offset, c, 1);
    param = &model->params.param[bias];
    zf_from_f32(row_data(param, probe->id[c], 1), &value, param->type, 1);
  }
  free(row);
  return 0;
}

/* --- the pass over the examples --- */

/* Hands the rows of the packed examples index[from..to) to the ridge regression. */
static void take_rows(struct probe *probe, const int64_t *index, int64_t from, int64_t to) {
  const struct zf_dataset *dataset = probe->run->data.train;
  const struct zf_plan *plan = &probe->run->model->plan;
  enum zf_reg reg = plan->width[ZF_REG_G] ? ZF_REG_G : ZF_REG_F;
  const float *row = zf_forward_register(probe->run->forward, reg);
  for (int64_t i = from; i < to; i++, row += plan->width[reg])
    zf_ridge_add(probe->ridge, row, dataset->example[index[i]].label);
  probe->report->passes++;
}

/* Options, head and memory, when the first example is known. */
static int begin(struct probe *probe, int64_t index) {
  struct zf_run *run = probe->run;
  const struct zf_dataset *dataset = run->data.train;
  int rc = find_options(probe, dataset, index);
  if (!rc) rc = read_head(probe);
  return rc ? rc
            : zf_ridge_new(&probe->ridge, zf_dataset_size(dataset), probe->width, probe->classes,
                           run->model->plan.head_bias >= 0);
}

static int run_examples(struct probe *probe, int64_t count) {
  struct zf_run *run = probe->run;
  const struct zf_dataset *dataset = run->data.train;
  struct zf_perturb none = zf_perturb_none();
  int rc = count && !probe->ridge ? begin(probe, run->index[0]) : 0;
  for (int64_t i = 0; i < count && !rc; i++) rc = check_example(probe, dataset, run->index[i]);
  for (int64_t from = 0, to; from < count && !rc; from = to) {
    to = zf_score_pack(run->scorer, dataset, run->index, from, count, 0, 1);
    rc = zf_forward_run(run->forward, &zf_score_packed(run->scorer)->batch, &none);
    if (!rc) take_rows(probe, run->index, from, to);
  }
  return rc;
}

static int read_examples(struct probe *probe, int (*stopped)(void *ctx), void *ctx) {
  struct zf_run *run = probe->run;
  int64_t size = zf_dataset_size(run->data.train), micro_batch = run->settings.micro_batch;
  for (int64_t place = 0; place < size; place += micro_batch) {
    int64_t want = size - place < micro_batch ? size - place : micro_batch, count;
    int rc = zf_run_data_batch(&run->data, place, want, run->index, &count);
    if (!rc) rc = run_examples(probe, count);
    if (rc) return rc;
    if (stopped && stopped(ctx)) return zf_error(ZF_ESTOPPED, "interrupted");
  }
  if (probe->ridge) return 0;
  return zf_error(ZF_EUSAGE, "method probe: the training data have no example");
}

/* --- the factors --- */

/* The model's own logits of the held rows. */
static void own_logits(const struct probe *probe, double *out) {
  const struct zf_ridge *ridge = probe->ridge;
  for (int64_t i = 0; i < ridge->held; i++)
    for (int64_t c = 0; c < probe->classes; c++) {
      const float *row = ridge->row + i * probe->width;
      const double *weight = probe->own_weight + c * probe->width;
      double sum = probe->own_bias[c];
      for (int64_t k = 0; k < probe->width; k++) sum += (double)row[k] * weight[k];
      out[i * probe->classes + c] = sum;
    }
}

static int fit(struct probe *probe) {
  struct zf_probe_report *report = probe->report;
  struct zf_ridge *ridge = probe->ridge;
  struct zf_blend blend;
  int rc = zf_ridge_fit(ridge);
  if (rc) return rc;
  double *own = zf_calloc(ridge->held * probe->classes, sizeof *own);
  if (!own) return ZF_ENOMEM;
  own_logits(probe, own);
  zf_blend_fit(&blend, own, ridge->prediction, ridge->label, ridge->held, probe->classes);
  free(own);
  report->examples = ridge->count;
  report->held = ridge->held;
  report->penalty = ridge->penalty;
  report->relative = ridge->relative;
  report->own = blend.own;
  report->ridge = blend.other;
  report->loss = blend.loss;
  report->loss_before = blend.loss_before;
  report->accuracy = blend.accuracy;
  report->accuracy_before = blend.accuracy_before;
  return 0;
}

int zf_probe_fit_while(struct zf_run *run, struct zf_probe_report *report,
                       int (*stopped)(void *ctx), void *ctx) {
  struct probe probe = {.run = run, .width = run->model->config.embed_dim, .report = report};
  double start = zf_now();
  *report = (struct zf_probe_report){0};
  int rc = check_data(run->data.train);
  if (!rc) rc = read_examples(&probe, stopped, ctx);
  if (!rc) rc = fit(&probe);
  if (!rc) rc = write_head(&probe);
  if (!rc) report->tied = zf_edit_find_weight(&run->model->plan, probe.head[0].param, 0) >= 0;
  report->seconds = zf_now() - start;
  close_probe(&probe);
  if (rc) report->examples = 0;
  return rc;
}

int zf_probe_fit(struct zf_run *run, struct zf_probe_report *report) {
  return zf_probe_fit_while(run, report, NULL, NULL);
}

void zf_probe_describe(const struct zf_probe_report *report, char *out, size_t size) {
  snprintf(
      out, size,
      "leave-one-out accuracy %.1f to %.1f %%, loss %.4f to %.4f; penalty %.3g, logits %.3g own "
      "+ %.3g ridge; %lld examples in %lld passes",
      100 * report->accuracy_before, 100 * report->accuracy, report->loss_before, report->loss,
      report->relative, report->own, report->ridge, (long long)report->examples,
      (long long)report->passes);
}
