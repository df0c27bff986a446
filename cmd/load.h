/* From the words of a command line to a resolved configuration. */
#ifndef ZF_CMD_LOAD_H
#define ZF_CMD_LOAD_H

#include "conf/conf.h"
#include "opt.h"
#include "train/run.h"

/* Reads the config file, or the config.yaml of the run directory, that is the only word of `a` (none: settings come from key=value alone),
 * then the key=value words, and checks required keys, all by the schema `keys` (zf_train_keys).
 * The caller frees *out. */
int zc_conf_load(struct zf_conf **out, const struct zc_args *args, const struct zf_conf_key *keys);

/* Where a run's own config.yaml names the base model, the model is the run's result instead: scores of
 * a run are of what it made.  ZF_EUSAGE: it has made none. */
int zc_conf_take_result(struct zf_conf *conf);

/* Every score names its model: a line above a table, the first member of an object. */
void zc_print_model(const struct zf_model *model);
void zc_json_model(struct zf_buf *buf, const struct zf_model *model);

/* Appends `"key": value` pairs of a metrics object as cells: the display of one number. */
char *zc_metric(char out[32], const struct zf_metrics *metrics, const char *name);

/* Training data of completions or chats in which nothing teaches a model to stop. */
void zc_warn_ends(const struct zf_dataset *dataset);
int zc_learns_ends(const struct zf_dataset *dataset); /* is that asked of data of its type? */
/* A warning where options or completions meet their prompt letter to letter. */
void zc_warn_joined(const struct zf_dataset *dataset, const char *what);

/* The sentence about what was truncated, dropped, split or masked in a set; nothing when nothing
 * was. */
void zc_warn_counts(const struct zf_dataset *dataset, const char *what);

/* Warnings about training examples that are copies, of each other or of a dev or test set's. */
void zc_warn_duplicates(const struct zf_run *run);

/* Tensor data and sizes: "4.58 M". */
char *zc_count(char out[32], double number);

/* --compute NAME of commands that take a bare model; NULL: f32.  ZF_EUSAGE. */
int zc_compute(enum zf_compute *out, const char *name);

/* Warns where products run emulated. */
void zc_warn_compute(const struct zf_model *model, enum zf_compute compute);

/* The same for a run, and about a zo_eps that its arithmetic is too coarse for. */
/* What a person should know about a model, a warning each. */
void zc_warn_model(const struct zf_model *model);
void zc_warn_run_compute(const struct zf_run *run);

/* *log = PATH, or PATH/steps.log where PATH is a directory; the caller frees. */
int zc_log_path(char **log, const char *path);

/* Opens the model and tokenizer that a path or ORG/NAME names, for reading alone. */
int zc_open_model(struct zf_model **model, struct zf_tok **tok, const char *base_model);
int zc_open_model_as(struct zf_model **model, struct zf_tok **tok, const char *base_model,
                     const struct zf_model_opts *opts);

#endif
