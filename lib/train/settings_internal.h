/* What the files of the settings share. */
#ifndef ZF_TRAIN_SETTINGS_INTERNAL_H
#define ZF_TRAIN_SETTINGS_INTERNAL_H

#include "train/settings.h"

/* Of an entry of datasets, val_datasets, test_datasets. */
extern const struct zf_conf_key zf_data_keys[];

/* The number of a key's word in "a|b|c". */
int zf_settings_choice(const struct zf_conf *conf, const char *key, const char *words);

/* Files, and how their rows become examples. */
int zf_settings_fill_data(struct zf_settings *settings, const struct zf_conf *conf);

#endif
