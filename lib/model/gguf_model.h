/* A GGUF file in the terms of a model directory, config.json and model.safetensors.
 *
 * Keys become the config.json of the family, names of tensors become those of the checkpoint from
 * which the file was converted.  zf_gguf_change tells which values the converter changed. */
#ifndef ZF_MODEL_GGUF_MODEL_H
#define ZF_MODEL_GGUF_MODEL_H

#include <jansson.h>

#include "base/cplusplus.h"
#include "fmt/gguf.h"
#include "model/family.h"

ZF_BEGIN_DECLS

struct zf_gguf_arch; /* a row of the table of architectures */

/* The row with this general.architecture, or of the family of a config; NULL: there is none. */
const struct zf_gguf_arch *zf_gguf_arch_find(const char *name);
const struct zf_gguf_arch *zf_gguf_arch_of(const struct zf_config *config);
const char *zf_gguf_arch_name(const struct zf_gguf_arch *arch);

/* The checkpoint's name of a tensor of a GGUF file, and back: "blk.0.attn_q.weight" and
 * "model.layers.0.self_attn.q_proj.weight".  The caller frees; NULL: the tables have none. */
char *zf_gguf_checkpoint_name(const struct zf_gguf_arch *arch, const char *name);
char *zf_gguf_tensor_name(const struct zf_gguf_arch *arch, const char *name);

/* The config.json of a GGUF file; the caller frees it by json_decref.  ZF_EINVALID names the key, or
 * lists the supported architectures. */
int zf_gguf_config(json_t **config, const char *path);

/* *st: the tensors under the checkpoint's names, the caller's to free.  *arch: a static row. */
int zf_gguf_weights(struct zf_st **st, const struct zf_gguf_arch **arch, const char *path);

/* 1 where the architecture reads the tensor `name`, divisors of rotary frequencies, as settings. */
int zf_gguf_reads(const struct zf_gguf_arch *arch, const char *name);

/* The change that the converter made to a tensor. */
struct zf_gguf_change {
  int64_t heads;  /* > 0: the rows are `heads` heads, in each of which the two rows of a rotary pair
                  * are neighbours; in the checkpoint the first rows of all pairs come before the
                  * second ones */
  float subtract; /* added to every value: subtract it */
};

/* The change of the tensor `name` of the checkpoint; all zero where arch is NULL. */
struct zf_gguf_change zf_gguf_change(const struct zf_gguf_arch *arch,
                                     const struct zf_config *config, const char *name);

ZF_END_DECLS

#endif
