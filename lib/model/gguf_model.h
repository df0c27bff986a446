/* A GGUF file in the terms of a model directory, config.json and model.safetensors.
 *
 * Keys become the config.json of the family, names of tensors become those of the checkpoint from
 * which the file was converted.  zf_gguf_change tells which values the converter changed. */
#ifndef ZF_MODEL_GGUF_MODEL_H
#define ZF_MODEL_GGUF_MODEL_H

#include <jansson.h>

#include "base/cplusplus.h"
#include "base/buf.h"
#include "fmt/gguf.h"
#include "fmt/gguf_write.h"
#include "model/family.h"
#include "model/plan.h"

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

/* The name that a tensor of a plan has in checkpoints of the architecture's family; the caller frees. */
char *zf_gguf_wanted_name(const struct zf_gguf_arch *arch, const struct zf_config *config,
                          const struct zf_wanted_tensor *wanted);

/* 1 where files of the architecture have a head of labels, and none of the vocabulary. */
int zf_gguf_has_labels(const struct zf_gguf_arch *arch);

/* The architectures' names for messages: "llama, qwen2, ..." */
void zf_gguf_list_archs(struct zf_buf *buf);

/* The config.json that keys and shapes of tensors of an opened file describe; `path` is for messages. */
int zf_gguf_config_of(json_t **config, const struct zf_gguf *gguf, const char *path);

/* The config.json of a GGUF file; the caller frees it by json_decref.  ZF_EINVALID names the key, or
 * lists the supported architectures. */
int zf_gguf_config(json_t **config, const char *path);

/* --- the way back --- */

/* Sets the keys "ARCH. ..." of a model of this configuration.  `outputs`: rows of the embedding.
 * ZF_EUSAGE: a setting that llama.cpp does not have, by its name; `name` is the model's in messages. */
int zf_gguf_keys(struct zf_gguf_values *values, const struct zf_gguf_arch *arch,
                 const struct zf_config *config, const char *name);

/* A tensor of the file that is no parameter: a divisor of each rotary frequency. */
struct zf_gguf_constant {
  const char *name;
  int far; /* for sequences beyond the original length */
};
/* Fills constant[0..2).  Returns their number. */
int zf_gguf_constants(struct zf_gguf_constant constant[2], const struct zf_gguf_arch *arch,
                      const struct zf_config *config);
/* divisor [zf_config_rot(config) / 2]. */
void zf_gguf_divisors(float *divisor, const struct zf_config *config, int far);

/* Whether the file has an output head although it is tied to the embedding. */
int zf_gguf_wants_head(const struct zf_gguf_arch *arch);

/* *st: the tensors under the checkpoint's names, the caller's to free.  *arch: a static row. */
int zf_gguf_weights(struct zf_st **st, const struct zf_gguf_arch **arch, const char *path);

/* 1 where the architecture reads the tensor `name`, divisors of rotary frequencies, as settings. */
int zf_gguf_reads(const struct zf_gguf_arch *arch, const char *name);

/* The change that the converter made to a tensor. */
struct zf_gguf_change {
  int64_t heads; /* > 0: the rows are `heads` heads, whose order differs (zf_gguf_file_row) */
  int parts; /* 0: the two rows of a rotary pair are neighbours in the file; in the checkpoint the
                   * first rows of all pairs of a head come before the second ones.  3: the file has all
                   * queries, all keys, all values; the checkpoint has those of one head together */
  int transposed; /* the checkpoint has the matrix as [in,out] */
  float subtract; /* added to every value: subtract it */
};

/* The change of the tensor `name` of the checkpoint; all zero where arch is NULL. */
struct zf_gguf_change zf_gguf_change(const struct zf_gguf_arch *arch,
                                     const struct zf_config *config, const char *name);

/* The row of the file that holds row `row` of the checkpoint's tensor of `rows` rows, and back. */
int64_t zf_gguf_file_row(struct zf_gguf_change change, int64_t rows, int64_t row);
int64_t zf_gguf_checkpoint_row(struct zf_gguf_change change, int64_t rows, int64_t row);

ZF_END_DECLS

#endif
