/* The kinds of adapters and the fields of a zf_peft_config as tables: one row serves to read, write,
 * copy and free a field. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "peft/peft_internal.h"

const struct zf_peft_kind_info zf_peft_kinds[ZF_PEFT_KINDS] = {
    [ZF_PEFT_LORA] = {"lora", "LORA"},
    [ZF_PEFT_IA3] = {"ia3", "IA3"},
    [ZF_PEFT_PREFIX] = {"prefix", "PREFIX_TUNING"},
    [ZF_PEFT_PROMPT] = {"prompt", "PROMPT_TUNING"},
    [ZF_PEFT_LN] = {"ln", "LN_TUNING"},
    [ZF_PEFT_VERA] = {"vera", "VERA"},
    [ZF_PEFT_TOKENS] = {"tokens", "TRAINABLE_TOKENS"},
};

enum {
  LORA = 1 << ZF_PEFT_LORA,
  IA3 = 1 << ZF_PEFT_IA3,
  PREFIX = 1 << ZF_PEFT_PREFIX,
  PROMPT = 1 << ZF_PEFT_PROMPT,
  LN = 1 << ZF_PEFT_LN,
  VERA = 1 << ZF_PEFT_VERA,
  TOKENS = 1 << ZF_PEFT_TOKENS,
  VIRTUAL = PREFIX | PROMPT,
  EVERY = (1 << ZF_PEFT_KINDS) - 1,
};

#define FIELD(member) offsetof(struct zf_peft_config, member)
const struct zf_peft_field zf_peft_fields[] = {
    {"base_model_name_or_path", ZF_PEFT_TEXT, FIELD(base_model), EVERY},
    {"task_type", ZF_PEFT_TEXT, FIELD(task_type), EVERY},
    {"target_modules", ZF_PEFT_NAMES, FIELD(target), LORA | IA3 | LN | VERA | TOKENS},
    {"exclude_modules", ZF_PEFT_NAMES, FIELD(exclude), LORA | IA3 | LN},
    {"feedforward_modules", ZF_PEFT_NAMES, FIELD(feedforward), IA3},
    {"modules_to_save", ZF_PEFT_NAMES, FIELD(saved), EVERY & ~TOKENS},
    {"layers_to_transform", ZF_PEFT_INTS, FIELD(layer), LORA | VERA},
    {"layers_pattern", ZF_PEFT_NAMES, FIELD(layers_pattern), LORA | VERA},
    {"r", ZF_PEFT_INT, FIELD(r), LORA | VERA, 1, ZF_PEFT_MAXRANK},
    {"lora_alpha", ZF_PEFT_NUMBER, FIELD(alpha), LORA, -ZF_PEFT_MAXALPHA, ZF_PEFT_MAXALPHA},
    {"lora_dropout", ZF_PEFT_NUMBER, FIELD(dropout), LORA, 0, 1},
    {"vera_dropout", ZF_PEFT_NUMBER, FIELD(dropout), VERA, 0, 1},
    {"use_rslora", ZF_PEFT_BOOL, FIELD(rslora), LORA},
    {"use_dora", ZF_PEFT_BOOL, FIELD(dora), LORA},
    {"fan_in_fan_out", ZF_PEFT_BOOL, FIELD(fan_in_fan_out), LORA | IA3 | VERA},
    {"rank_pattern", ZF_PEFT_PATTERNS, FIELD(rank_by), LORA, 1, ZF_PEFT_MAXRANK},
    {"alpha_pattern", ZF_PEFT_PATTERNS, FIELD(alpha_by), LORA, -ZF_PEFT_MAXALPHA, ZF_PEFT_MAXALPHA},
    {"bias", ZF_PEFT_TEXT, FIELD(bias), LORA | VERA},
    {"init_lora_weights", ZF_PEFT_SWITCH, FIELD(init), LORA},
    {"trainable_token_indices", ZF_PEFT_TOKEN_SET, FIELD(tokens), LORA},
    {"token_indices", ZF_PEFT_TOKEN_SET, FIELD(tokens), TOKENS},
    {"projection_prng_key", ZF_PEFT_INT, FIELD(projection_key), VERA, -9e18, 9e18},
    {"d_initial", ZF_PEFT_NUMBER, FIELD(d_initial), VERA, -1e30, 1e30},
    {"save_projection", ZF_PEFT_BOOL, FIELD(save_projection), VERA},
    {"num_virtual_tokens", ZF_PEFT_INT, FIELD(virtual_tokens), VIRTUAL, 1, 1 << 24},
    {"token_dim", ZF_PEFT_INT, FIELD(token_dim), VIRTUAL, 1, 1 << 24},
    {"num_transformer_submodules", ZF_PEFT_INT, FIELD(submodules), VIRTUAL, 1, 2},
    {"num_attention_heads", ZF_PEFT_INT, FIELD(heads), VIRTUAL, 1, 1 << 24},
    {"num_layers", ZF_PEFT_INT, FIELD(layers), VIRTUAL, 1, ZF_MAX_LAYERS},
    {"prompt_tuning_init", ZF_PEFT_TEXT, FIELD(prompt_init), PROMPT},
    {"prompt_tuning_init_text", ZF_PEFT_TEXT, FIELD(prompt_text), PROMPT},
    {0},
};

const struct zf_peft_field *zf_peft_field_find(const char *key, enum zf_peft_kind kind) {
  for (const struct zf_peft_field *field = zf_peft_fields; field->key; field++)
    if (field->kinds >> kind & 1 && !strcmp(field->key, key)) return field;
  return NULL;
}

/* --- values that own memory --- */

static void free_names(struct zf_peft_names *names) {
  for (int64_t i = 0; i < names->count; i++) free(names->name[i]);
  free(names->name);
  free(names->pattern);
  *names = (struct zf_peft_names){0};
}

static void free_patterns(struct zf_peft_patterns *patterns) {
  for (int64_t i = 0; i < patterns->count; i++) free(patterns->pattern[i].pattern);
  free(patterns->pattern);
}

static void free_field(const struct zf_peft_field *field, struct zf_peft_config *config) {
  void *at = zf_peft_field_at(field, config);
  if (field->type == ZF_PEFT_TEXT || field->type == ZF_PEFT_SWITCH) {
    free(*(char **)at);
    *(char **)at = NULL;
  }
  if (field->type == ZF_PEFT_NAMES) free_names(at);
  if (field->type == ZF_PEFT_INTS) free(((struct zf_peft_ints *)at)->value);
  if (field->type == ZF_PEFT_PATTERNS) free_patterns(at);
}

void zf_peft_config_free(struct zf_peft_config *config) {
  for (const struct zf_peft_field *field = zf_peft_fields; field->key; field++)
    if (field->type != ZF_PEFT_TOKEN_SET) free_field(field, config);
  free(config->tokens.index.value);
  free(config->tokens.module);
  memset(config, 0, sizeof *config);
}

int zf_peft_names_set(struct zf_peft_names *names, const char *const *name, int64_t count,
                      const char *pattern) {
  struct zf_peft_names made = {.name = name ? zf_calloc(count, sizeof *made.name) : NULL};
  int failed = name && !made.name;
  if (made.name)
    for (int64_t i = 0; i < count; i++) {
      made.name[made.count++] = zf_strdup(name[i]);
      failed |= !made.name[i];
    }
  if (!name && pattern) failed |= !(made.pattern = zf_strdup(pattern));
  if (failed) {
    free_names(&made);
    return ZF_ENOMEM;
  }
  free_names(names);
  *names = made;
  return 0;
}

/* --- copies --- */

static int copy_text(char **copy, const char *text) {
  *copy = text ? zf_strdup(text) : NULL;
  return text && !*copy ? ZF_ENOMEM : 0;
}

static int copy_names(struct zf_peft_names *copy, const struct zf_peft_names *names) {
  *copy = (struct zf_peft_names){0};
  return zf_peft_names_set(copy, (const char *const *)names->name, names->count, names->pattern);
}

static int copy_ints(struct zf_peft_ints *copy, const struct zf_peft_ints *ints) {
  *copy = (struct zf_peft_ints){0};
  if (!ints->count) return 0;
  if (!(copy->value = zf_calloc(ints->count, sizeof *copy->value))) return ZF_ENOMEM;
  memcpy(copy->value, ints->value, (size_t)ints->count * sizeof *copy->value);
  copy->count = ints->count;
  return 0;
}

static int copy_patterns(struct zf_peft_patterns *copy, const struct zf_peft_patterns *patterns) {
  *copy = (struct zf_peft_patterns){0};
  if (!patterns->count) return 0;
  if (!(copy->pattern = zf_calloc(patterns->count, sizeof *copy->pattern))) return ZF_ENOMEM;
  for (; copy->count < patterns->count; copy->count++) {
    struct zf_peft_pattern *to = &copy->pattern[copy->count];
    to->value = patterns->pattern[copy->count].value;
    if (copy_text(&to->pattern, patterns->pattern[copy->count].pattern)) return ZF_ENOMEM;
  }
  return 0;
}

/* Replaces the pointers of *copy, which are the original's, by copies: also after a failure, so that
 * the copy can be freed. */
static int copy_field(const struct zf_peft_field *field, struct zf_peft_config *copy,
                      const struct zf_peft_config *config) {
  void *to = zf_peft_field_at(field, copy);
  const void *from = zf_peft_field_at(field, config);
  switch (field->type) {
    case ZF_PEFT_TEXT:
    case ZF_PEFT_SWITCH:
      return copy_text(to, *(char *const *)from);
    case ZF_PEFT_NAMES:
      return copy_names(to, from);
    case ZF_PEFT_INTS:
      return copy_ints(to, from);
    case ZF_PEFT_PATTERNS:
      return copy_patterns(to, from);
    default:
      return 0;
  }
}

int zf_peft_config_copy(struct zf_peft_config *copy, const struct zf_peft_config *config) {
  int rc = 0;
  *copy = *config;
  for (const struct zf_peft_field *field = zf_peft_fields; field->key; field++) {
    int failed = copy_field(field, copy, config);
    if (failed) rc = failed;
  }
  int ints = copy_ints(&copy->tokens.index, &config->tokens.index),
      text = copy_text(&copy->tokens.module, config->tokens.module);
  if (ints || text) rc = ZF_ENOMEM;
  if (rc) zf_peft_config_free(copy);
  return rc;
}

/* --- defaults --- */

int zf_peft_config_init(struct zf_peft_config *config, enum zf_peft_kind kind) {
  *config = (struct zf_peft_config){.kind = kind,
                                    .r = kind == ZF_PEFT_VERA ? 256 : 8,
                                    .alpha = 8,
                                    .d_initial = 0.1,
                                    .save_projection = 1,
                                    .submodules = 1};
  int rc = copy_text(&config->bias, "none");
  if (!rc) rc = copy_text(&config->init, "true");
  if (!rc) rc = copy_text(&config->prompt_init, "RANDOM");
  if (rc) zf_peft_config_free(config);
  return rc;
}
