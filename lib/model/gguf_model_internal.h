/* Shared by the readers of a GGUF model's keys and tensors. */
#ifndef ZF_MODEL_GGUF_MODEL_INTERNAL_H
#define ZF_MODEL_GGUF_MODEL_INTERNAL_H

#include "model/gguf_model.h"

/* The name in GGUF files of a part of a block, without .weight or .bias; "#" stands for the layer
 * number. */
enum zf_gguf_part_kind { ZF_GGUF_TABLE, ZF_GGUF_NORM, ZF_GGUF_LINEAR };
struct zf_gguf_part {
  const char *gguf;
  size_t part; /* offset in struct zf_names */
  enum zf_gguf_part_kind kind;
};

/* llama.cpp's treatment of attention.sliding_window. */
enum zf_gguf_window {
  ZF_GGUF_WINDOW_NONE, /* the architecture does not read it */
  ZF_GGUF_WINDOW_OFF,  /* it is read, warned about, and not applied */
  ZF_GGUF_WINDOW_ON,   /* applied, with a default size */
  ZF_GGUF_WINDOW_KEY,  /* applied when the key exists */
};

struct zf_gguf_arch {
  const char *name, *model_type, *class; /* class: config.json's "architectures" */
  const char *also;                 /* another model_type that is written as this; NULL: none */
  const struct zf_gguf_part *names; /* names that differ from the common ones; NULL: none */
  int paired;                       /* the two rows of a rotary pair are neighbours in q and k */
  int plus;                         /* norms are stored with 1 added */
  int parallel_key; /* reads use_parallel_residual; else a block without ffn_norm is parallel */
  int labels;       /* a file has a head of labels, and none of the vocabulary */
  int head;         /* a file has an output head, tied or not */
  int wide_layers;  /* a model with this number of layers scales scores by hidden / heads; no key
                    * says so */
  int partial;      /* only a part of a head may be rotated */
  int freqs;  /* reads rope_freqs.weight, or the two tables below where the type is longrope */
  int tables; /* reads rope_factors_short.weight and rope_factors_long.weight */
  enum zf_gguf_window window;
  int64_t period;     /* default period of the blocks without a window */
  int full_first;     /* the first block of a period has none; else the last */
  const char *body;   /* class of a file without a head of labels, where `labels` is set */
  double theta_local; /* base of the blocks with windows; 0: the base of all blocks */
};

extern const struct zf_gguf_part zf_gguf_post_norms[]; /* names where a norm follows its part */

/* The row of `model_type` in the table of families. */
const struct zf_family *zf_gguf_family(const struct zf_gguf_arch *arch);

struct zf_gguf_source {
  struct zf_gguf gguf;
  const struct zf_gguf_arch *arch;
  const char *path;
};

/* The value of ARCH.key, or NULL. */
json_t *zf_gguf_value(const struct zf_gguf_source *source, const char *key);

/* Reads the number ARCH.key; *value is unchanged where the key is absent.  ZF_EINVALID: it is not a
 * number. */
int zf_gguf_number(double *value, const struct zf_gguf_source *source, const char *key);

/* Columns of a head. */
int64_t zf_gguf_head_dim(const json_t *config, const struct zf_gguf_source *source);

/* A number that has a key in GGUF files, behind "ARCH.", and one in config.json: read by one table and
 * written by the same. */
enum zf_gguf_norm { ZF_GGUF_ANY_NORM, ZF_GGUF_ONLY_RMS, ZF_GGUF_ONLY_LAYER };
struct zf_gguf_config_key {
  const char *gguf;
  size_t name;            /* offset in struct zf_family of the name of config.json's key */
  size_t value;           /* offset in struct zf_config: an int64_t, or with `real` a double */
  int required;           /* in GGUF files */
  int real;               /* 0 stands for none */
  enum zf_gguf_norm norm; /* of the families that have the key */
};
extern const struct zf_gguf_config_key zf_gguf_config_keys[]; /* ends with a row without names */
/* The name in config.json; NULL: the family has no such key. */
const char *zf_gguf_config_name(const struct zf_gguf_config_key *key,
                                const struct zf_family *family);

/* Sets rope_scaling, rope_theta and the other keys of rotary embeddings (gguf_rope.c).  `config`
 * already has head_dim and the sizes. */
int zf_gguf_rope(json_t *config, const struct zf_gguf_source *source);

/* 1 where a block has a window by a period of the architecture. */
int zf_gguf_is_local(const struct zf_gguf_arch *arch, int64_t period, int64_t layer);

/* The inverse of zf_gguf_rope (gguf_rope_keys.c). */
int zf_gguf_rope_keys(struct zf_gguf_values *values, const struct zf_gguf_arch *arch,
                      const struct zf_config *config, const char *name);

/* Sets the key "ARCH.key" to a number of this type. */
int zf_gguf_set(struct zf_gguf_values *values, const struct zf_gguf_arch *arch, const char *key,
                enum zf_gguf_value_type type, double number);

/* ZF_EINVALID where a key has a value that changes the forward pass in a way that the plan cannot
 * express (gguf_check.c). */
int zf_gguf_check(const struct zf_gguf_source *source);

/* Sets all other keys of config.json (gguf_config.c). */
int zf_gguf_describe(json_t *config, const struct zf_gguf_source *source);

#endif
