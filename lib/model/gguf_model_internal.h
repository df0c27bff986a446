/* Shared by the readers of a GGUF model's keys and tensors. */
#ifndef ZF_MODEL_GGUF_MODEL_INTERNAL_H
#define ZF_MODEL_GGUF_MODEL_INTERNAL_H

#include "model/gguf_model.h"

/* Names without .weight or .bias; "#" stands for the layer number. */
struct zf_gguf_pair {
  const char *gguf, *checkpoint;
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
  const struct zf_gguf_pair *names;      /* names that differ from the common ones; NULL: none */
  int paired;      /* the two rows of a rotary pair are neighbours in q and k */
  int plus;        /* norms are stored with 1 added */
  int wide_layers; /* a model with this number of layers scales scores by hidden / heads; no key
                    * says so */
  int partial;     /* only a part of a head may be rotated */
  int freqs;       /* reads rope_freqs.weight, or the two tables below where the type is longrope */
  int tables;      /* reads rope_factors_short.weight and rope_factors_long.weight */
  enum zf_gguf_window window;
  int64_t period;     /* default period of the blocks without a window */
  double theta_local; /* base of the blocks with windows; 0: the base of all blocks */
};

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

/* Sets rope_scaling, rope_theta and the other keys of rotary embeddings (gguf_rope.c).  `config`
 * already has head_dim and the sizes. */
int zf_gguf_rope(json_t *config, const struct zf_gguf_source *source);

/* ZF_EINVALID where a key has a value that changes the forward pass in a way that the plan cannot
 * express (gguf_check.c). */
int zf_gguf_check(const struct zf_gguf_source *source);

/* Sets all other keys of config.json (gguf_config.c). */
int zf_gguf_describe(json_t *config, const struct zf_gguf_source *source);

#endif
