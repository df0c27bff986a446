/* What the readers of a GGUF model's keys and of its tensors share. */
#ifndef ZF_MODEL_GGUF_MODEL_INTERNAL_H
#define ZF_MODEL_GGUF_MODEL_INTERNAL_H

#include "model/gguf_model.h"

/* Names without .weight or .bias; "#" stands for the layer number. */
struct zf_gguf_pair {
  const char *gguf, *checkpoint;
};

/* What llama.cpp makes of attention.sliding_window. */
enum zf_gguf_window {
  ZF_GGUF_WINDOW_NONE, /* the architecture does not read it */
  ZF_GGUF_WINDOW_OFF,  /* it is read, warned about, and not applied */
  ZF_GGUF_WINDOW_ON,   /* applied, with a default size */
  ZF_GGUF_WINDOW_KEY,  /* applied when the key is there */
};

struct zf_gguf_arch {
  const char *name, *model_type, *class; /* class: config.json's "architectures" */
  const struct zf_gguf_pair *names;      /* that differ from the common ones; NULL: none */
  int paired;                            /* rows of q and k lie in rotary pairs */
  int plus;                              /* norms are stored with 1 added */
  int wide_layers; /* a model of so many layers scales scores by hidden / heads: it has no key for it */
  int partial;     /* a part of a head may be rotated */
  int freqs;       /* reads rope_freqs.weight, or the two tables below where the type is longrope */
  int tables;      /* reads rope_factors_short.weight and rope_factors_long.weight */
  enum zf_gguf_window window;
  int64_t period; /* of blocks without a window, where no key says so */
  double
      theta_local; /* base of the blocks with windows, where it is not that of the others; 0: it is */
};

struct zf_gguf_source {
  struct zf_gguf gguf;
  const struct zf_gguf_arch *arch;
  const char *path;
};

/* The value of ARCH.key, or NULL. */
json_t *zf_gguf_value(const struct zf_gguf_source *source, const char *key);

/* *out stays as it is where ARCH.key is absent; ZF_EINVALID unless it is a finite number. */
int zf_gguf_number(double *out, const struct zf_gguf_source *source, const char *key);

/* rope_scaling, rope_theta and what else keys say of rotary embeddings (gguf_rope.c).  `config`
 * holds head_dim and the sizes. */
int zf_gguf_rope(json_t *config, const struct zf_gguf_source *source);

/* ZF_EINVALID where a key that changes a forward pass has a value that the architecture's plan does not
 * express (gguf_check.c). */
int zf_gguf_check(const struct zf_gguf_source *source);

/* The keys in the terms of config.json (gguf_config.c). */
int zf_gguf_describe(json_t *config, const struct zf_gguf_source *source);

#endif
