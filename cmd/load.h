/* Loads what the words of a command line name, and warns about it. */
#ifndef ZF_CMD_LOAD_H
#define ZF_CMD_LOAD_H

#include "conf/conf.h"
#include "opt.h"
#include "train/run.h"

/* Reads the config file, or the config.yaml of the run directory, that the only word of `args` names (no word:
 * settings come from key=value alone), then the key=value words, and checks required keys, by the schema
 * `keys` (zf_train_keys).  The caller frees *out. */
int zc_conf_load(struct zf_conf **out, const struct zc_args *args, const struct zf_conf_key *keys);

/* When the base model is named by the config.yaml of a run, the model to score is the run's result instead.
 * Then applies --adapter.  ZF_EUSAGE: the run has no result; more than one adapter. */
int zc_conf_use_result(struct zf_conf *conf);

/* Names the model of a score: a line above a table, the first member of an object. */
void zc_print_model(const struct zf_model *model);
void zc_json_model(struct zf_buf *buf, const struct zf_model *model);

/* The metric with this name as text for a table, "-" when it is not defined; returns out. */
char *zc_metric(char out[32], const struct zf_metrics *metrics, const char *name);

/* Warns about completions or chats without a target at which generation stops. */
void zc_warn_ends(const struct zf_dataset *dataset);
int zc_learns_ends(const struct zf_dataset *dataset); /* does its type have such targets? */
/* Warns about options or completions whose first letter follows a letter of the prompt. */
void zc_warn_joined(const struct zf_dataset *dataset, const char *what);

/* Warns about examples of a set that were truncated, dropped, split or masked. */
void zc_warn_counts(const struct zf_dataset *dataset, const char *what);

/* Warns about training examples that are duplicates of each other or of a dev or test example. */
void zc_warn_duplicates(const struct zf_run *run);

/* A size such as 90M of option --NAME, in bytes.  ZF_EUSAGE. */
int zc_bytes(int64_t *bytes, const char *name, const char *word);

/* A number with four digits at most, as "4.58 M"; returns out. */
char *zc_count(char out[32], double number);

/* The arithmetic of --compute NAME; NULL: f32.  ZF_EUSAGE. */
int zc_compute(enum zf_compute *out, const char *name);

/* Warns when products run emulated. */
void zc_warn_compute(const struct zf_model *model, enum zf_compute compute);

/* Warns about each note of the model (zf_model_notes). */
void zc_warn_model(const struct zf_model *model);
/* zc_warn_compute for a run, and a warning when zo_eps is too small for its arithmetic. */
void zc_warn_run_compute(const struct zf_run *run);

/* *log = PATH, or PATH/steps.log when PATH is a directory; the caller frees it. */
int zc_log_path(char **log, const char *path);

/* Adapters that --adapter names; zc_open_model attaches them. */
extern struct zc_list zc_adapters;
#define ZC_ADAPTER_OPTION                                                                          \
  {                                                                                                \
    "adapter", 0, ZC_LIST, "[NAME=]PATH[:WEIGHT]",                                                 \
        "apply an adapter (PEFT, MLX, GGUF); several add up", &zc_adapters                         \
  }

/* Opens the model and tokenizer that a path or ORG/NAME names, read only; the caller frees both.  The
 * path may be that of an adapter, which names its base. */
int zc_open_model(struct zf_model **model, struct zf_tok **tok, const char *base_model);
int zc_open_model_as(struct zf_model **model, struct zf_tok **tok, const char *base_model,
                     const struct zf_model_opts *opts);

/* What a person calls option o: its label or text without the blanks around it, else its number. */
void zc_option_name(char out[64], const struct zf_data_spec *spec, int64_t o);

#endif
