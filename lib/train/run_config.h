/* A run's own config.yaml: the resolved settings, beside run.json.
 *
 * It serves wherever it is read from and wherever the run directory is moved to: `output_dir: .` is the
 * directory in which it lies, base_model and data_dir are absolute. */
#ifndef ZF_TRAIN_RUN_CONFIG_H
#define ZF_TRAIN_RUN_CONFIG_H

#include "conf/conf.h"

/* The run directory whose own config.yaml gave the value of `key`, into *dir for the caller to free;
 * NULL: the value is from elsewhere.  ZF_ENOMEM. */
int zf_run_config_dir(char **dir, const struct zf_conf *conf, const char *key);

/* Writes the settings to `run`/config.yaml. */
int zf_run_config_write(const struct zf_conf *conf, const char *run);

#endif
