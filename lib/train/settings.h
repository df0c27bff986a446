/* All settings of a fine-tuning run: the schema of config.yaml and its values. */
#ifndef ZF_TRAIN_SETTINGS_H
#define ZF_TRAIN_SETTINGS_H

#include "conf/conf.h"
#include "task/dataset.h"
#include "train/method.h"
#include "zo/zo.h"

enum zf_schedule { ZF_LR_CONSTANT, ZF_LR_LINEAR, ZF_LR_COSINE };
enum zf_best { ZF_BEST_LOSS, ZF_BEST_ACCURACY, ZF_BEST_F1 };
enum zf_best zf_best_of(const struct zf_data_spec *spec); /* where the config names none */

/* One file of a data set, its path resolved. */
struct zf_data_file {
  char *path;
  double weight;            /* of the examples' shares; 0: all rows once */
  struct zf_data_spec spec; /* sequence_len and eos are filled when model and tokenizer are known */
};

/* Of backpropagation. */
struct zf_first_order {
  double beta1, beta2, eps; /* adamw */
  double momentum;          /* sgd_momentum */
  double clip;              /* norm of the gradient at most; 0: any */
  int checkpoint;           /* layers are run again instead of kept */
};

struct zf_settings {
  const char *base_model, *output_dir, *data_dir;
  int dtype, save_dtype; /* enum zf_dtype, or -1: auto */
  int trained_dtype;     /* enum zf_dtype; auto is resolved */
  const char *const *trainable;
  int64_t ntrainable;
  enum zf_compute compute; /* auto is resolved */
  int threads;             /* 0: auto */
  int64_t memory_limit;    /* bytes; 0: none */

  struct zf_data_file *train, *val, *test;
  int64_t ntrain, nval, ntest;
  const char *chat_template;   /* NULL: the checkpoint's */
  struct zf_chat *chat;        /* opened with the model, for type chat */
  int64_t vocab;               /* the model's; 0: not known */
  double val_set_size;         /* >= 1: examples, < 1: share of the training rows */
  int64_t num_train, num_eval; /* most examples; 0: all */
  int deduplicate;             /* training examples that are there twice, or in dev or test, go */
  int streaming;               /* rows are encoded when they are needed */
  int64_t sequence_len;        /* 0: the model's context */
  int add_eos;                 /* 1, 0, or -1: where the tokenizer has one */

  enum zf_method method;
  struct zf_zo zo;
  struct zf_first_order first;
  double lr, weight_decay, warmup_ratio, epochs;
  enum zf_schedule schedule;
  int64_t warmup, max_steps;         /* max_steps 0: by epochs */
  int64_t micro_batch, accumulation; /* their product is the batch */
  uint64_t seed, split_seed;

  int64_t eval_steps; /* 0: a fifth of the run; -1: never between start and end */
  int eval_on_start;
  int64_t save_steps, keyframe_steps, save_total_limit, logging_steps, patience, watchdog_patience;
  double watchdog; /* 0: auto */
  int best;        /* enum zf_best, or -1: by the task */
  int load_best, overwrite;

  char
      *own_template; /* chat_template as the run directory has it, whose own config.yaml names it */
  char *own_dir; /* the run directory whose own config.yaml names output_dir; NULL: another does */
};

/* The schema: a table for zf_conf_new. */
extern const struct zf_conf_key zf_train_keys[];

/* What `compute: auto` means at a distance: bf16 where the processor has it and the distance is far
 * enough for it (INFINITY: it may follow), else f32. */
enum zf_compute zf_compute_auto(double eps);

/* zo_eps: auto.  In f32 that of the paper; in what is coarser the least distance from which on g
 * follows g in f32 (correlation of 300 probes, build/correlate: of the demo model, bf16 0.973 at
 * 1e-3, 0.997 at 3e-3; int8 0.900 at 1e-3, 0.984 at 3e-3, 0.999 at 1e-2). */
double zf_eps_least(enum zf_compute compute);

/* Fills `s` from a checked conf, which outlives it.  ZF_EUSAGE names the key.  _step fills model,
 * arithmetic, batch and step alone: no data, scores or output. */
int zf_settings_fill_step(struct zf_settings *settings, const struct zf_conf *conf);
int zf_settings_fill(struct zf_settings *settings, const struct zf_conf *conf);
void zf_settings_free(struct zf_settings *settings);

/* Keys that were set and that the method does not read, into out[most]; how many there are. */
int zf_settings_unused(const struct zf_conf *conf, enum zf_method method, const char **out,
                       int most);

#endif
