/* The settings of an adapter. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "train/settings_internal.h"

enum {
  LORA = 1 << ZF_PEFT_LORA,
  VERA = 1 << ZF_PEFT_VERA,
  VIRTUAL = 1 << ZF_PEFT_PREFIX | 1 << ZF_PEFT_PROMPT,
  TOKENS = 1 << ZF_PEFT_TOKENS,
  MODULES = LORA | VERA | 1 << ZF_PEFT_IA3 | 1 << ZF_PEFT_LN,
  EXISTING = 1 << ZF_PEFT_KINDS, /* an adapter from a path */
  BIASES = 2 << ZF_PEFT_KINDS,   /* bitfit */
  ANY = (4 << ZF_PEFT_KINDS) - 1
};

/* Keys that only an adapter reads, and the kinds that read them. */
static const struct {
  const char *key;
  unsigned kinds;
} keys[] = {{"lora_r", LORA | VERA},
            {"lora_alpha", LORA},
            {"use_rslora", LORA},
            {"use_dora", LORA},
            {"lora_target_modules", MODULES},
            {"layers_to_transform", LORA | VERA},
            {"rank_pattern", LORA},
            {"alpha_pattern", LORA},
            {"init_lora_weights", LORA},
            {"eva_batches", LORA},
            {"lora_train", LORA | EXISTING},
            {"num_virtual_tokens", VIRTUAL},
            {"prompt_tuning_init", VIRTUAL},
            {"prompt_tuning_init_text", VIRTUAL},
            {"token_indices", TOKENS},
            {"zo_directions", ANY}};

static const char *const inits[] = {"true", "gaussian", "orthogonal", "eva", "pissa", "olora"};

static int duplicate(char **to, const char *text) {
  *to = zf_strdup(text);
  return *to ? 0 : ZF_ENOMEM;
}

/* A name of a module holds none of these. */
static int is_pattern(const char *text) {
  return !strcmp(text, "all-linear") || strpbrk(text, "*+?[](){}|^$\\") != NULL;
}

static int fill_targets(struct zf_peft_config *config, const struct zf_conf *conf) {
  const char *const *names;
  int64_t count = zf_conf_strs(conf, "lora_target_modules", &names);
  for (int64_t i = 0; i < count; i++)
    if (is_pattern(names[i]) && count > 1)
      return zf_conf_error(
          conf, "lora_target_modules",
          "'%s' is a regular expression or all-linear, which stands alone: expected "
          "names, or one of these",
          names[i]);
  if (!count) return 0;
  return is_pattern(names[0]) ? zf_peft_names_set(&config->target, NULL, 0, names[0])
                              : zf_peft_names_set(&config->target, names, count, NULL);
}

/* A list of whole numbers from 0 on. */
static int fill_ints(struct zf_peft_ints *ints, const struct zf_conf *conf, const char *key) {
  const char *const *words;
  int64_t count = zf_conf_strs(conf, key, &words);
  if (!count) return 0;
  if (!(ints->value = zf_calloc(count, sizeof *ints->value))) return ZF_ENOMEM;
  for (int64_t i = 0; i < count; i++) {
    char *end;
    ints->value[i] = strtoll(words[i], &end, 10);
    if (*end || end == words[i] || ints->value[i] < 0)
      return zf_conf_error(conf, key, "expected whole numbers from 0 on, found '%s'", words[i]);
  }
  ints->count = count;
  return 0;
}

/* PATTERN=VALUE */
static int fill_patterns(struct zf_peft_patterns *patterns, const struct zf_conf *conf,
                         const char *key) {
  const char *const *words;
  int64_t count = zf_conf_strs(conf, key, &words);
  if (!count) return 0;
  if (!(patterns->pattern = zf_calloc(count, sizeof *patterns->pattern))) return ZF_ENOMEM;
  for (int64_t i = 0; i < count; i++) {
    const char *equals = strrchr(words[i], '=');
    char *end = NULL;
    double value = equals ? strtod(equals + 1, &end) : 0;
    if (!equals || *end || !(value > 0))
      return zf_conf_error(conf, key, "expected PATTERN=NUMBER, found '%s'", words[i]);
    patterns->pattern[i].value = value;
    patterns->pattern[i].pattern = zf_strndup(words[i], (size_t)(equals - words[i]));
    if (!patterns->pattern[i].pattern) return ZF_ENOMEM;
    patterns->count = i + 1;
  }
  return 0;
}

/* A base that is a path is named by its absolute one, so that the adapter can be used from anywhere; else it
 * is ORG/NAME. */
static int fill_base(struct zf_peft_config *config, const struct zf_conf *conf) {
  const char *word = zf_conf_str(conf, "base_model");
  free(config->base_model);
  config->base_model = word ? realpath(word, NULL) : NULL;
  return config->base_model || !word ? 0 : duplicate(&config->base_model, word);
}

static int fill_config(struct zf_adapter_settings *adapter, const struct zf_conf *conf) {
  struct zf_peft_config *config = &adapter->config;
  int rc = zf_peft_config_init(config, (enum zf_peft_kind)adapter->kind);
  if (rc) return rc;
  config->r = zf_conf_int(conf, "lora_r", 8);
  config->alpha = zf_conf_num(conf, "lora_alpha", 2 * (double)config->r);
  config->rslora = zf_conf_bool(conf, "use_rslora");
  free(config->init);
  config->init = NULL;
  if ((rc = duplicate(&config->init, inits[adapter->init]))) return rc;
  if ((rc = fill_base(config, conf))) return rc;
  config->dora = zf_conf_bool(conf, "use_dora");
  config->virtual_tokens = zf_conf_int(conf, "num_virtual_tokens", 5);
  config->save_projection = 1;
  if (adapter->bitfit) {
    config->r = 1;
    free(config->bias);
    if ((rc = duplicate(&config->bias, "all"))) return rc;
  }
  if ((rc = fill_ints(&config->tokens.index, conf, "token_indices"))) return rc;
  if (adapter->kind == ZF_PEFT_TOKENS && !config->tokens.index.count)
    return zf_conf_error(conf, "adapter", "tokens needs 'token_indices': the ids to train");
  if ((rc = fill_targets(config, conf))) return rc;
  if ((rc = fill_ints(&config->layer, conf, "layers_to_transform"))) return rc;
  if ((rc = fill_patterns(&config->rank_by, conf, "rank_pattern"))) return rc;
  return fill_patterns(&config->alpha_by, conf, "alpha_pattern");
}

/* The kind that the word names; -1: it is a path. */
static int kind_of(const char *word) {
  for (int i = 0; i < ZF_PEFT_KINDS; i++)
    if (!strcmp(word, zf_peft_kinds[i].name)) return i;
  return -1;
}

/* A key that has no effect is an error.  word: the setting `adapter`, NULL: none. */
static int check_keys(const struct zf_conf *conf, const char *word, unsigned kind) {
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    if (!zf_conf_has(conf, keys[i].key) || (word && keys[i].kinds & kind)) continue;
    if (!word)
      return zf_conf_error(conf, keys[i].key, "'%s' has no effect without 'adapter'", keys[i].key);
    return zf_conf_error(conf, keys[i].key, "'%s' has no effect: adapter is %s", keys[i].key, word);
  }
  const char *init = zf_conf_str(conf, "init_lora_weights");
  if (zf_conf_has(conf, "eva_batches") && (!init || strcmp(init, "eva") != 0))
    return zf_conf_error(conf, "eva_batches",
                         "'eva_batches' has no effect without "
                         "'init_lora_weights: eva'");
  return 0;
}

int zf_settings_adapter_is_path(const char *word) {
  return kind_of(word) < 0 && strcmp(word, "bitfit") != 0 && strcmp(word, "none") != 0;
}

int zf_settings_fill_adapter(struct zf_settings *settings, const struct zf_conf *conf) {
  struct zf_adapter_settings *adapter = &settings->adapter;
  const char *word = zf_conf_str(conf, "adapter");
  adapter->kind = -1;
  if (!word) return check_keys(conf, NULL, 0);
  if (!strcmp(word, "none")) return 0; /* its keys may stay in the config */
  adapter->word = word;
  adapter->bitfit = !strcmp(word, "bitfit");
  adapter->kind = adapter->bitfit ? ZF_PEFT_LORA : kind_of(word);
  unsigned kind = adapter->kind < 0 ? EXISTING : 1u << adapter->kind;
  int rc = check_keys(conf, word, adapter->bitfit ? BIASES : kind);
  if (rc) return rc;
  adapter->init = zf_conf_has(conf, "init_lora_weights")
                      ? zf_settings_choice(conf, "init_lora_weights", ZF_LORA_INITS)
                      : 0;
  adapter->eva = adapter->init == 3;
  adapter->eva_batches = zf_conf_int(conf, "eva_batches", 4);
  int all = zf_conf_has(conf, "lora_train") ? zf_settings_choice(conf, "lora_train", "b|ab")
                                            : settings->method != ZF_METHOD_MEZO;
  adapter->train = all ? ZF_TRAIN_ALL : ZF_TRAIN_B;
  if (adapter->bitfit) adapter->train = ZF_TRAIN_BIASES;
  if (adapter->init > 3 && adapter->train == ZF_TRAIN_ALL)
    return zf_conf_error(
        conf, "init_lora_weights",
        "pissa and olora with 'lora_train: ab' take a part of the weights out of the base, "
        "which stays the file it is: use lora_train b, or another start");
  adapter->virtual_text = zf_conf_str(conf, "prompt_tuning_init_text");
  adapter->virtual_init = zf_conf_has(conf, "prompt_tuning_init")
                              ? zf_settings_choice(conf, "prompt_tuning_init", "vocab|text|random")
                              : adapter->virtual_text != NULL;
  if ((adapter->virtual_init == 1) != (adapter->virtual_text != NULL))
    return zf_conf_error(conf,
                         adapter->virtual_text ? "prompt_tuning_init_text" : "prompt_tuning_init",
                         "'prompt_tuning_init: text' and 'prompt_tuning_init_text' go together");
  adapter->by_example = zf_conf_has(conf, "zo_directions")
                            ? zf_settings_choice(conf, "zo_directions", "batch|example")
                            : -1;
  return adapter->kind < 0 ? 0 : fill_config(adapter, conf);
}
