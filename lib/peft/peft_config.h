/* adapter_config.json of PEFT: the settings of a parameter-efficient adapter.
 *
 * The struct holds the keys of all supported kinds; a table (peft_fields.c) says which kind has
 * which key.  All text and all arrays belong to the struct.
 *
 * Papers: LoRA (Hu et al. 2021), rsLoRA (Kalajdzievski 2023), DoRA (Liu et al. 2024), IA3 (Liu et al.
 * 2022), prefix tuning (Li and Liang 2021), prompt tuning (Lester et al. 2021), LN tuning (Zhao et
 * al. 2023), VeRA (Kopiczko et al. 2023). */
#ifndef ZF_PEFT_PEFT_CONFIG_H
#define ZF_PEFT_PEFT_CONFIG_H

#include <jansson.h>
#include <stdint.h>

#include "base/cplusplus.h"

ZF_BEGIN_DECLS

enum zf_peft_kind {
  ZF_PEFT_LORA,
  ZF_PEFT_IA3,
  ZF_PEFT_PREFIX,
  ZF_PEFT_PROMPT,
  ZF_PEFT_LN,
  ZF_PEFT_VERA,
  ZF_PEFT_TOKENS,
  ZF_PEFT_KINDS
};

struct zf_peft_kind_info {
  const char *name;      /* zoft's word: "lora" */
  const char *peft_type; /* PEFT's: "LORA" */
};
extern const struct zf_peft_kind_info zf_peft_kinds[ZF_PEFT_KINDS];

/* Names of modules: a list, or one pattern; neither: the key is null.  A name N of a list stands for
 * the modules whose path is N or ends in .N; a pattern is a regular expression over the whole path,
 * or "all-linear". */
struct zf_peft_names {
  char **name;
  int64_t count;
  char *pattern; /* NULL: a list */
};

struct zf_peft_ints {
  int64_t *value;
  int64_t count;
};

/* A value for the modules whose path matches (.*\.)?(pattern); the first match counts. */
struct zf_peft_pattern {
  char *pattern;
  double value;
};

struct zf_peft_patterns {
  struct zf_peft_pattern *pattern;
  int64_t count;
};

/* Trainable rows of an embedding. */
struct zf_peft_tokens {
  struct zf_peft_ints index;
  char *module; /* name of the embedding; NULL: the model's input embedding */
};

struct zf_peft_config {
  enum zf_peft_kind kind;
  char *base_model; /* base_model_name_or_path; NULL */
  char *task_type;  /* "CAUSAL_LM", "SEQ_CLS", ...; NULL */

  /* which modules */
  struct zf_peft_names target, exclude; /* target_modules, exclude_modules */
  struct zf_peft_names feedforward;     /* feedforward_modules of IA3 */
  struct zf_peft_names saved;           /* modules_to_save: trained as a whole */
  struct zf_peft_ints layer;            /* layers_to_transform; empty: all */
  struct zf_peft_names layers_pattern;

  /* LoRA, VeRA */
  int64_t r;
  double alpha, dropout;
  int rslora, dora, fan_in_fan_out;
  struct zf_peft_patterns rank_by, alpha_by; /* rank_pattern, alpha_pattern */
  char *bias;                                /* "none", "all", "lora_only" (LoRA), "vera_only" */
  char *init; /* init_lora_weights as text: "true", "false", "gaussian", "eva", "orthogonal" */
  struct zf_peft_tokens tokens; /* trainable_token_indices; token_indices of TOKENS */
  int64_t projection_key;       /* projection_prng_key */
  double d_initial;
  int save_projection;

  /* prefix and prompt */
  int64_t virtual_tokens, token_dim, submodules, heads, layers;
  char *prompt_init, *prompt_text; /* prompt_tuning_init, prompt_tuning_init_text; informative */
};

/* Sets every field to the default that PEFT has for the kind; text fields become NULL, except bias
 * "none", init "true" and prompt_init "RANDOM".  ZF_ENOMEM. */
int zf_peft_config_init(struct zf_peft_config *config, enum zf_peft_kind kind);

/* Frees the contents and zeroes the struct; takes a zeroed one. */
void zf_peft_config_free(struct zf_peft_config *config);

/* *copy is overwritten.  ZF_ENOMEM. */
int zf_peft_config_copy(struct zf_peft_config *copy, const struct zf_peft_config *config);

/* Reads the object of an adapter_config.json; `name` is its file in messages.  ZF_EINVALID names the
 * key: an unknown peft_type, a value of a wrong type or range, a key that would change results and
 * that zoft does not support. *config is zeroed after an error. */
int zf_peft_config_read(struct zf_peft_config *config, const json_t *obj, const char *name);

/* The object of an adapter_config.json; the caller frees it.  NULL: out of memory, with the sentence
 * set. */
json_t *zf_peft_config_json(const struct zf_peft_config *config);

/* Sets a field by hand: copies of `count` names replace a list of names or, with a NULL `name`,
 * `pattern` replaces it.  ZF_ENOMEM. */
int zf_peft_names_set(struct zf_peft_names *names, const char *const *name, int64_t count,
                      const char *pattern);

/* *yes: 1 where the names hold the module with this path.  "all-linear" holds every module.
 * ZF_EINVALID: the pattern is no regular expression, or takes too long. */
int zf_peft_names_match(int *yes, const struct zf_peft_names *names, const char *module);

/* *yes: 1 where target_modules, exclude_modules, modules_to_save, layers_to_transform and
 * layers_pattern together name the module.  Whether an "all-linear" module is linear is left to the
 * caller. */
int zf_peft_targets(int *yes, const struct zf_peft_config *config, const char *module);

/* *yes: 1 where feedforward_modules of IA3 holds the module: its vector scales the input.  PEFT compares
 * a name of that list with the end of the path, whether or not a dot stands before. */
int zf_peft_is_feedforward(int *yes, const struct zf_peft_config *config, const char *module);

/* *rank: the rank of the module, from rank_pattern or r.  *scale: the factor of B A x,
 * alpha / r, or alpha / sqrt(r) with rslora, where alpha comes from alpha_pattern or alpha. */
int zf_peft_rank(int64_t *rank, const struct zf_peft_config *config, const char *module);
int zf_peft_scale(double *scale, const struct zf_peft_config *config, const char *module);

ZF_END_DECLS

#endif
