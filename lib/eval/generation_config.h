/* The sampling settings of generation_config.json.  zf_tok_end_ids reads its tokens that end a text. */
#ifndef ZF_EVAL_GENERATION_CONFIG_H
#define ZF_EVAL_GENERATION_CONFIG_H

#include <jansson.h>
#include <stdint.h>

#include "base/cplusplus.h"
#include "base/buf.h"

ZF_BEGIN_DECLS

struct zf_generation_config {
  int sample;                                   /* do_sample; -1: absent */
  double temperature, top_p, min_p, repetition; /* NAN: absent */
  int64_t top_k, max_new;                       /* -1: absent */
  json_t *stop;                                 /* stop_strings, a list; NULL: absent */
  struct zf_buf applied;                        /* the settings as text: "temperature 0.6, ..." */
  struct zf_buf ignored;                        /* keys whose effect zoft does not support */
};

/* Reads the file of the model directory `dir`.  All settings are absent where there is no such file,
 * or `dir` is a GGUF file.  ZF_EINVALID: a value has the wrong kind or is out of range. */
int zf_generation_config_read(struct zf_generation_config *config, const char *dir);
void zf_generation_config_free(struct zf_generation_config *config);

ZF_END_DECLS

#endif
