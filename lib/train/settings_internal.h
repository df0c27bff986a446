/* Shared by the files of the settings. */
#ifndef ZF_TRAIN_SETTINGS_INTERNAL_H
#define ZF_TRAIN_SETTINGS_INTERNAL_H

#include "train/settings.h"

/* Keys of an entry of datasets, val_datasets, test_datasets. */
extern const struct zf_conf_key zf_data_keys[];

#define ZF_LORA_INITS "kaiming|gaussian|orthonormal|eva|pissa|olora"

/* Fills the settings of the adapter; the method is known. */
int zf_settings_fill_adapter(struct zf_settings *settings, const struct zf_conf *conf);

#define ZF_FORM_WORDS "dense|sphere|small|random|low_rank|subspace|blocks|cone|scaled"
#define ZF_DIFFERENCE_WORDS                                                                        \
  "central|one_sided|batched|curvature|bayes|anchor|population|conservative"
#define ZF_RULE_WORDS "sgd|adam|momentum|sign|adamm|muon|trust"
#define ZF_ZO_METHOD_WORDS                                                                         \
  "mezo|auto|mezo_momentum|mezo_adam|sign|conservative|adamm|one_sided|fzoo|spsa15|hizoo|bszo|"    \
  "svrg|es|"                                                                                       \
  "eggroll|lozo|lozo_momentum|subzero|muon|sparse|random_mask|blocks|sphere|conmezo|trust"

/* Fills the settings of zeroth-order steps; those of the adapter are known. */
int zf_settings_fill_zo(struct zf_settings *settings, const struct zf_conf *conf);

/* 1 where the value of `adapter` is a path and names no kind. */
int zf_settings_adapter_is_path(const char *word);

/* Fills the settings of the objective; data and method are known. */
int zf_settings_fill_objective(struct zf_settings *settings, const struct zf_conf *conf);

/* The position of a key's value in the choices "a|b|c"; -1: it is none of them. */
int zf_settings_choice(const struct zf_conf *conf, const char *key, const char *words);

/* Fills the data files and the settings of their encoding. */
int zf_settings_fill_data(struct zf_settings *settings, const struct zf_conf *conf);

#endif
