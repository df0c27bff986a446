/* The config.yaml in a run directory: the resolved settings of the run.
 *
 * It can be read from anywhere, also after the run directory has moved: `output_dir: .` is the
 * directory of the file, base_model and data_dir are absolute. */
#ifndef ZF_TRAIN_RUN_CONFIG_H
#define ZF_TRAIN_RUN_CONFIG_H

#include "base/cplusplus.h"
#include "conf/conf.h"

ZF_BEGIN_DECLS

/* *dir: the run directory whose config.yaml gave the value of `key`, the caller's to free; NULL: the
 * value comes from elsewhere.  ZF_ENOMEM. */
int zf_run_config_dir(char **dir, const struct zf_conf *conf, const char *key);

/* Writes the settings to `run`/config.yaml. */
int zf_run_config_write(const struct zf_conf *conf, const char *run);

/* Writes the settings to the file `path` for a run in `output_dir`; base_model and data_dir are
 * absolute. */
int zf_run_config_save(const struct zf_conf *conf, const char *path, const char *output_dir);

ZF_END_DECLS

#endif
