/* A run: settings, tokenizer, data, model, and the memory of its passes. */
#ifndef ZF_TRAIN_RUN_H
#define ZF_TRAIN_RUN_H

#include "base/cplusplus.h"
#include "eval/metrics.h"
#include "train/run_data.h"
#include "train/forecast.h"

ZF_BEGIN_DECLS

struct zf_backprop;

struct zf_run {
  struct zf_settings settings;
  const struct zf_conf *conf;
  struct zf_tok *tok;
  struct zf_model *model;
  struct zf_run_data data;
  struct zf_limits limits;
  struct zf_batch_load load; /* maximum over the run's micro-batches; tokens = 0: not known */
  int64_t largest_steps
      [2]; /* steps whose micro-batch has the most tokens, the most rows; 0: not known */
  struct zf_adapter_file *adapter; /* that is trained or applied; the model owns it; NULL: none */
  struct zf_forward *forward;
  struct zf_scorer *scorer;
  struct zf_backprop *backprop; /* NULL: mezo, or no training */
  struct zf_forecast forecast;
  const char *over;               /* an adapter that base_model names; NULL: none */
  char base_hash[33];             /* of the base's weights at the start */
  char start_hash[33];            /* of what the run changes: those weights, or the adapter's */
  char files_hash[33];            /* of config.json and the tokenizer's files */
  int64_t steps;                  /* number of steps of the run */
  int64_t batch;                  /* examples a step */
  int64_t *index;                 /* [micro_batch] examples of the current micro-batch */
  struct zf_score *score;         /* [streams][micro_batch] */
  struct zf_zo_estimate estimate; /* of the last zf_run_estimate; mezo alone */
  int64_t passes; /* forward passes of a batch by estimates so far: one for each stream */
  int64_t tokens; /* and their tokens */
  struct zf_objective *objective; /* NULL: the task's own loss, or no memory for passes */
  int referred;                   /* its references are known */
  struct zf_teacher *teacher;     /* NULL: the objective has none, or nothing is trained */
  char *teacher_made;    /* a new file of its predictions that no directory keeps yet; NULL */
  double *value;         /* [streams][micro_batch] of the objective */
  double *example_value; /* [streams][batch] of the objective, where `example` is set */
  double *example;       /* [streams][batch] losses of examples; NULL: one direction a batch */
};

/* Opens everything that the data sets in `want` (enum zf_data_want) need.  Without ZF_WANT_TRAIN
 * nothing is trained and weights stay in their file.  `conf` outlives the run.  ZF_EMEMLIMIT: the
 * forecast exceeds memory_limit. */
int zf_run_open(struct zf_run **out, const struct zf_conf *conf, unsigned want);

/* The same; `teacher` is called while the teacher of the objective distill reads the examples: not 0 ends
 * that with ZF_ESTOPPED. */
struct zf_run_progress {
  int (*teacher)(void *ctx, int64_t done, int64_t total);
  void *ctx;
};
int zf_run_open_watched(struct zf_run **out, const struct zf_conf *conf, unsigned want,
                        const struct zf_run_progress *progress);

/* The same with training data that `make` puts into data->train.  Reads only the settings of the step
 * (zf_settings_fill_step) and the model's configuration: no tokenizer, no data files, no hashes. */
typedef int (*zf_run_maker)(void *ctx, struct zf_run_data *data, const struct zf_settings *settings,
                            const struct zf_config *config);
int zf_run_open_made(struct zf_run **out, const struct zf_conf *conf, zf_run_maker make, void *ctx);

/* The same without weights and memory for passes, for forecasts: no pass can be run.  make NULL: data
 * from files.  memory_limit is ignored. */
int zf_run_open_shapes(struct zf_run **out, const struct zf_conf *conf, zf_run_maker make,
                       void *ctx);
void zf_run_free(struct zf_run *run); /* takes NULL */

/* The directory in output_dir that holds the adapter with which a run began; the caller frees it. */
char *zf_run_adapter_start(const char *output_dir);

/* The memory forecast of `method` with this run's model, data and batch.  ZF_EUSAGE: the method cannot train
 * the GGUF file that the run trains. */
int zf_run_forecast(struct zf_forecast *forecast, const struct zf_run *run, enum zf_method method,
                    int checkpoint);

/* The steps of a run by `method` with this run's data and settings; those of a probe are its batches. */
int64_t zf_run_steps(const struct zf_run *run, enum zf_method method);

/* The learning rate of step 1, 2, ...: warm-up, then constant, linear or cosine to 0. */
double zf_lr_at(const struct zf_settings *settings, int64_t step, int64_t steps);

/* loss[s]: mean loss over the training batch that begins at `place` of the sequence of examples, on
 * stream s of `perturb`; one micro-batch after another.  Where perturb->by_example is set, also
 * fills run->example: the losses of the examples, divided by the weight of the batch. */
int zf_run_batch_loss(struct zf_run *run, int64_t place, const struct zf_perturb *perturb,
                      double *loss);

/* The estimate of step 1, 2, ... on its batch at a learning rate: fills run->estimate and changes no
 * weight. */
int zf_run_estimate(struct zf_run *run, int64_t step, double lr);

/* Takes the references of the objective, if it needs any, from the weights as they are: those at the start
 * of the run.  The first batch does it, too; nothing happens at a second call. */
int zf_run_refer(struct zf_run *run);

/* `stopped` ends an objective's wait for a process with ZF_ESTOPPED. */
void zf_run_watch(struct zf_run *run, int (*stopped)(void *ctx), void *ctx);

/* zf_evaluate, and the mean of the objective where one is set. */
int zf_run_evaluate(struct zf_metrics *metrics, struct zf_run *run,
                    const struct zf_dataset *dataset, int (*stopped)(void *ctx), void *ctx);

/* Moves a new file of the teacher's predictions into the run directory `dir`. */
int zf_run_keep_teacher(struct zf_run *run, const char *dir);

/* Saves what the run changes to the directory `dir`: the adapter, or the whole model with its weights
 * in `dtype` (zf_model_save), or, of a GGUF base, model.gguf. */
int zf_run_save(const struct zf_run *run, const char *dir, int dtype, const char *const *metadata,
                int64_t nmetadata);

/* Saves it as a checkpoint from which the run reads exactly these weights again.  Of a GGUF base these are
 * the trained values alone; zf_run_save writes the file. */
int zf_run_checkpoint(const struct zf_run *run, const char *dir, const char *const *metadata,
                      int64_t nmetadata);

/* The update of the step with run->estimate. */
void zf_run_update(struct zf_run *run, int64_t step, double lr);

ZF_END_DECLS

#endif
