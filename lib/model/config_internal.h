/* What the readers of config.json share. */
#ifndef ZF_MODEL_CONFIG_INTERNAL_H
#define ZF_MODEL_CONFIG_INTERNAL_H

#include <jansson.h>

#include "model/family.h"

struct zf_config_reader {
  const json_t *obj;
  const char *name; /* of the file, for messages */
  int64_t labels;   /* of the classifier that is wanted; 0: the file's own head */
};

/* Window, layer types and blocks without rotary embedding (layers.c). */
int zf_layers_read(struct zf_config *config, const struct zf_config_reader *reader);

/* ZF_EINVALID unless v is finite and above 0. */
int zf_config_positive(const struct zf_config_reader *reader, const char *key, double v);

/* ZF_EINVALID where config.json says that the weights are another tool's blocks (foreign.c). */
int zf_config_foreign(const struct zf_config_reader *reader);

/* "!key" reads a key of the opposite sense. */
int zf_config_rule(int *out, const struct zf_config_reader *reader, const struct zf_rule *rule);

#endif
