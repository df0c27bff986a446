/* A run: settings, tokenizer, data, model and the memory of its passes, ready to go. */
#ifndef ZF_TRAIN_RUN_H
#define ZF_TRAIN_RUN_H

#include "eval/metrics.h"
#include "train/run_data.h"
#include "train/forecast.h"

struct zf_backprop;

struct zf_run {
  struct zf_settings set;
  const struct zf_conf *conf;
  struct zf_tok *tok;
  struct zf_model *model;
  struct zf_run_data data;
  struct zf_limits lim;
  struct zf_batch_load load; /* that no micro-batch of the run exceeds; tokens = 0: not known */
  int64_t heaviest[2]; /* the steps with the most tokens, and the most rows, in a micro-batch */
  struct zf_forward *fwd;
  struct zf_scorer *scorer;
  struct zf_backprop *backprop; /* NULL: mezo, or no training */
  struct zf_forecast forecast;
  char base_hash[33];     /* of the weights as they are held at the start */
  char files_hash[33];    /* of config.json and the tokenizer's files */
  int64_t steps;          /* that the run takes */
  int64_t batch;          /* examples a step */
  int64_t *index;         /* [micro_batch] examples of the micro-batch at hand */
  struct zf_score *score; /* [streams][micro_batch] */
};

/* Opens all that `want` (enum zf_data_want) needs; without ZF_WANT_TRAIN nothing is trained and
 * weights stay in their file.  ZF_EMEMLIMIT when the forecast exceeds memory_limit. */
int zf_run_open(struct zf_run **out, const struct zf_conf *conf, unsigned want);

/* The same on training data that `make` puts into out->train, from settings of the step alone
 * (zf_settings_fill_step) and the model's configuration: no tokenizer, no files, no hashes. */
typedef int (*zf_run_maker)(void *ctx, struct zf_run_data *out, const struct zf_settings *s,
                            const struct zf_config *c);
int zf_run_open_made(struct zf_run **out, const struct zf_conf *conf, zf_run_maker make, void *ctx);

/* The same without weights and memory for passes, to forecast from: nothing can be run.  `make`
 * NULL: data from files.  memory_limit is not looked at. */
int zf_run_open_shapes(struct zf_run **out, const struct zf_conf *conf, zf_run_maker make,
                       void *ctx);
void zf_run_free(struct zf_run *run); /* takes NULL */

/* What another method would need on this run's model, data and batch. */
int zf_run_forecast(struct zf_forecast *out, const struct zf_run *run, enum zf_method method,
                    int checkpoint);

/* The learning rate of step 1, 2, ...: warm-up, then constant, linear or cosine to 0. */
double zf_lr_at(const struct zf_settings *settings, int64_t step, int64_t steps);

/* Mean loss over the training batch that begins at `place` of the sequence of examples, for each
 * stream of `pt`; micro-batch after micro-batch. */
int zf_run_batch_loss(struct zf_run *run, int64_t place, const struct zf_perturb *pt, double *loss);

/* The estimate of step 1, 2, ... on its batch: fills probe[0..q), changes no weight. */
int zf_run_estimate(struct zf_run *run, int64_t step, struct zf_zo_probe *probe);

/* The update of that step. */
void zf_run_update(struct zf_run *run, int64_t step, const struct zf_zo_probe *probe, double lr);

#endif
