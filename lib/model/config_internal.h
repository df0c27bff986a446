/* Shared by the readers of config.json. */
#ifndef ZF_MODEL_CONFIG_INTERNAL_H
#define ZF_MODEL_CONFIG_INTERNAL_H

#include <jansson.h>

#include "model/family.h"

struct zf_config_reader {
  const json_t *obj;
  const char *name; /* of the file, for messages */
  int64_t labels;   /* of the classifier that the caller asks for; 0: the file's own head */
};

/* Window, layer types and blocks without rotary embedding (layers.c). */
int zf_layers_read(struct zf_config *config, const struct zf_config_reader *reader);

/* ZF_EINVALID unless the value is finite and above 0. */
int zf_config_positive(const struct zf_config_reader *reader, const char *key, double value);

/* ZF_EINVALID where config.json says that another tool quantised the weights (foreign.c). */
int zf_config_foreign(const struct zf_config_reader *reader);

/* *value: the rule's yes or no in this config.json.  A rule's "!key" is the opposite of `key`. */
int zf_config_rule(int *value, const struct zf_config_reader *reader, const struct zf_rule *rule);

#endif
