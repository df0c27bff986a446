/* A GGUF file as a model directory: what config.json and model.safetensors would say.
 *
 * Keys become a config.json of the family of the same name, names of tensors become those of the
 * checkpoint that was converted; what the converter did to values is told by zf_gguf_change. */
#ifndef ZF_MODEL_GGUF_MODEL_H
#define ZF_MODEL_GGUF_MODEL_H

#include <jansson.h>

#include "fmt/gguf.h"
#include "model/family.h"

struct zf_gguf_arch; /* a row of the table of architectures */

/* The config.json of a GGUF file (json_decref by the caller).  ZF_EINVALID names the key, or lists
 * the architectures there are. */
int zf_gguf_config(json_t **out, const char *path);

/* The tensors by the checkpoint's names, and the architecture, which is static. */
int zf_gguf_weights(struct zf_st **out, const struct zf_gguf_arch **arch, const char *path);

/* What must be undone for the tensor `name` of the checkpoint.  heads: its rows are `heads` heads,
 * in each of which the rows of a rotary pair are neighbours; the checkpoint has the first ones of
 * all pairs, then the second ones; 0: rows lie as they should.  less: to be subtracted. */
struct zf_gguf_change {
  int64_t heads;
  float less;
};
/* Does the architecture read the tensor `name` of the file, which is no weight (divisors of rotary
 * frequencies)? */
int zf_gguf_reads(const struct zf_gguf_arch *arch, const char *name);

struct zf_gguf_change zf_gguf_change(const struct zf_gguf_arch *arch,
                                     const struct zf_config *config, const char *name);

#endif
