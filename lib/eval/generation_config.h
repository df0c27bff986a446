/* What generation_config.json says of how to sample, beside the tokens that end a text
 * (zf_tok_ends). */
#ifndef ZF_EVAL_GENERATION_CONFIG_H
#define ZF_EVAL_GENERATION_CONFIG_H

#include <jansson.h>
#include <stdint.h>

#include "base/buf.h"

struct zf_generation_config {
  int sample;                                   /* do_sample; -1: not said */
  double temperature, top_p, min_p, repetition; /* NAN: not said */
  int64_t top_k, max_new;                       /* -1: not said */
  json_t *stop;                                 /* stop_strings, a list; or NULL */
  struct zf_buf applied,
      ignored; /* "temperature 0.6, ..."; keys with an effect that zoft does not have */
};

/* Of a model directory or a GGUF file; all is "not said" where there is no such file.  ZF_EINVALID:
 * a value of the wrong kind or out of range. */
int zf_generation_config_read(struct zf_generation_config *config, const char *dir);
void zf_generation_config_free(struct zf_generation_config *config);

#endif
