/* All settings of a fine-tuning run: the schema of config.yaml and its values. */
#ifndef ZF_TRAIN_SETTINGS_H
#define ZF_TRAIN_SETTINGS_H

#include "base/cplusplus.h"
#include "conf/conf.h"
#include "objective/objective.h"
#include "peft/adapter.h"
#include "task/dataset.h"
#include "train/method.h"
#include "zo/zo.h"

ZF_BEGIN_DECLS

enum zf_schedule { ZF_LR_CONSTANT, ZF_LR_LINEAR, ZF_LR_COSINE };
enum zf_best { ZF_BEST_LOSS, ZF_BEST_ACCURACY, ZF_BEST_F1, ZF_BEST_OBJECTIVE };
enum zf_best zf_best_of(const struct zf_data_spec *spec); /* the default of a type of data */

/* One file of a data set. */
struct zf_data_file {
  char *path;                  /* resolved against data_dir */
  enum zf_sample_by sample_by; /* rows of a .txt file */
  double weight;               /* of its examples; 0: no weights, every row once an epoch */
  struct zf_data_spec spec; /* zf_run_data_resolve fills the members that need model or tokenizer */
};

/* Settings of backpropagation. */
struct zf_first_order {
  double beta1, beta2, eps; /* adamw */
  double momentum;          /* sgd_momentum */
  double clip;              /* maximum norm of the gradient; 0: none */
  int checkpoint;           /* layers run again in the backward pass: their values are not kept */
};

/* Settings of an adapter over the frozen base. */
struct zf_adapter_settings {
  const char *word; /* the setting; NULL: none, the base's weights are trained */
  int kind;         /* enum zf_peft_kind of a new one; -1: none, or `word` is the path of one */
  int bitfit;       /* biases alone: a LoRA of rank 1 that stays 0, with bias "all" */
  struct zf_peft_config config; /* of a new one */
  enum zf_adapter_train train;
  int init;            /* position in the choices of init_lora_weights */
  int eva;             /* A from principal components of inputs */
  int64_t eva_batches; /* that they are computed from */
  int virtual_init;    /* virtual tokens begin as: 0 the vocabulary's, 1 a text's, 2 noise */
  const char *virtual_text;
  int by_example; /* a direction for every example */
};

struct zf_settings {
  const char *base_model, *output_dir, *data_dir;
  int dtype, save_dtype; /* enum zf_dtype, or -1: auto */
  int trained_dtype;     /* enum zf_dtype; auto is resolved */
  const char *const *trainable;
  int64_t ntrainable;
  enum zf_blocks blocks;   /* what of a GGUF base is trained */
  int blocks_given;        /* the key is set: an error where nothing reads it */
  enum zf_compute compute; /* auto is resolved */
  int threads;             /* 0: auto */
  int64_t memory_limit;    /* bytes; 0: none */

  struct zf_data_file *train, *val, *test;
  int64_t ntrain, nval, ntest;
  const char *chat_template;   /* NULL: the checkpoint's */
  struct zf_chat *chat;        /* opened with the model, for type chat */
  int64_t vocab;               /* the model's; 0: not known */
  double val_set_size;         /* >= 1: examples, < 1: share of the training rows */
  int64_t num_train, num_eval; /* maximum examples; 0: all */
  int deduplicate;      /* duplicate training examples, and those of dev and test, are removed */
  int streaming;        /* rows are encoded when they are needed */
  int64_t sequence_len; /* 0: the model's context */
  int add_eos;          /* 1, 0, or -1: where the tokenizer has one */

  struct zf_adapter_settings adapter;
  enum zf_method method;
  struct zf_zo zo;
  struct zf_first_order first;
  struct zf_objective_settings objective;
  double lr, weight_decay, warmup_ratio, epochs;
  int auto_lr; /* lr is found before the first step */
  enum zf_schedule schedule;
  int64_t warmup, max_steps;         /* max_steps 0: `epochs` decides */
  int64_t micro_batch, accumulation; /* their product is the batch */
  int64_t anchor_batches;            /* of an anchor's wide batch */
  uint64_t seed, split_seed;

  int64_t eval_steps; /* 0: a fifth of the run; -1: never between start and end */
  int eval_on_start;
  int64_t save_steps, keyframe_steps, save_total_limit, logging_steps, patience, watchdog_patience;
  double watchdog; /* 0: auto */
  int best;        /* enum zf_best, or -1: zf_best_of */
  int load_best, overwrite;

  /* Where the settings come from the config.yaml of a run directory; else NULL. */
  char *own_template; /* path of the directory's copy of chat_template */
  char *own_dir;      /* path of the directory */
};

/* The schema: a table for zf_conf_new. */
extern const struct zf_conf_key zf_train_keys[];

/* The arithmetic of `compute: auto` for a zo_eps: bf16 where the processor has it and eps is large
 * enough for it (INFINITY: eps is not set), else f32. */
enum zf_compute zf_compute_auto(double eps);

/* The value of `zo_eps: auto`.  In f32 it is the paper's; in coarser arithmetic the smallest distance
 * at which g follows g in f32 (correlation over 300 probes of the demo model, build/correlate: bf16
 * 0.973 at 1e-3, 0.997 at 3e-3; int8 0.900 at 1e-3, 0.984 at 3e-3, 0.999 at 1e-2). */
double zf_eps_default(enum zf_compute compute);

/* Where nothing sets data_dir: sets it to the first directory that has the first training file, of
 * `datasets`, the working directory, and both from the config's directory. */
int zf_settings_find_data(struct zf_conf *conf);

/* Where zo_method is set: sets the keys that it stands for, unless they are set. */
int zf_settings_apply_method(struct zf_conf *conf);

/* Fills the settings from a checked conf, which outlives them.  zf_settings_free frees them, also
 * after a failure.  ZF_EUSAGE names the key.  _step fills only model, arithmetic, batch and step: no
 * data, scores or output. */
int zf_settings_fill_step(struct zf_settings *settings, const struct zf_conf *conf);
int zf_settings_fill(struct zf_settings *settings, const struct zf_conf *conf);
void zf_settings_free(struct zf_settings *settings);

/* keys[max]: keys that a user has set and that the method does not read.  Returns their number, which
 * may exceed max. */
int zf_settings_unused(const struct zf_conf *conf, enum zf_method method, const char **keys,
                       int max);

ZF_END_DECLS

#endif
