/* Reads adapter_config.json. */
#include "peft/peft_config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "fmt/json.h"
#include "peft/peft_internal.h"

/* Keys that change nothing in a forward pass of a stored adapter: remarks, and settings of its
 * initialization or training. */
static const char
    *const informative[] =
        {
            "peft_type",         "auto_mapping",
            "peft_version",      "revision",
            "inference_mode",    "runtime_config",
            "eva_config",        "megatron_core",
            "corda_config",      "lora_ga_config",
            "qalora_group_size", "init_ia3_weights",
            "init_weights",      "loftq_config",
            "velora_config",     "tokenizer_name_or_path",
            "tokenizer_kwargs",  "encoder_hidden_size",
            "prefix_projection", /* the file holds the projected embeddings */
};

/* Values of init_lora_weights that leave the base as it is.  The others (pissa, olora, corda, loftq,
 * lora_ga) subtract the first B A from the base when PEFT loads the adapter. */
static const char *const inits[] = {"true", "false", "gaussian", "eva", "orthogonal"};

struct peft_reader {
  struct zf_peft_config *config;
  const json_t *obj;
  const char *name;
};

static int mismatch(const struct peft_reader *reader, const char *key, const char *expected,
                    const json_t *found) {
  return zf_error(ZF_EINVALID, "%s: key '%s': expected %s, found %s", reader->name, key, expected,
                  zf_json_kind(found));
}

/* --- one value --- */

static int check_range(const struct peft_reader *reader, const struct zf_peft_field *field,
                       double value) {
  if (value >= field->least && value <= field->most) return 0;
  if (field->least == 0 && field->most == 0) return 0;
  return zf_error(ZF_EINVALID, "%s: key '%s' is %g: expected %g to %g", reader->name, field->key,
                  value, field->least, field->most);
}

static int read_int(const struct peft_reader *reader, const struct zf_peft_field *field,
                    int64_t *to) {
  int rc = zf_json_int(to, reader->obj, field->key, reader->name);
  return rc ? rc : check_range(reader, field, (double)*to);
}

static int read_number(const struct peft_reader *reader, const struct zf_peft_field *field,
                       double *to) {
  int rc = zf_json_num(to, reader->obj, field->key, reader->name);
  return rc ? rc : check_range(reader, field, *to);
}

static int read_text(const json_t *value, char **to) {
  char *copy = zf_strdup(json_string_value(value));
  if (!copy) return ZF_ENOMEM;
  free(*to);
  *to = copy;
  return 0;
}

static int read_switch(const struct peft_reader *reader, const struct zf_peft_field *field,
                       const json_t *value, char **to) {
  if (!json_is_boolean(value) && !json_is_string(value))
    return mismatch(reader, field->key, "true, false or a string", value);
  const char *text = json_string_value(value);
  if (!text) text = json_is_true(value) ? "true" : "false";
  char *copy = zf_strdup(text);
  if (!copy) return ZF_ENOMEM;
  free(*to);
  *to = copy;
  return 0;
}

static int read_names(const struct peft_reader *reader, const struct zf_peft_field *field,
                      const json_t *value, struct zf_peft_names *to) {
  if (json_is_string(value)) return zf_peft_names_set(to, NULL, 0, json_string_value(value));
  if (!json_is_array(value)) return mismatch(reader, field->key, "a list of strings", value);
  int64_t count = (int64_t)json_array_size(value);
  const char **name = zf_calloc(count + 1, sizeof *name);
  int rc = name ? 0 : ZF_ENOMEM;
  for (int64_t i = 0; i < count; i++) {
    const json_t *item = json_array_get(value, (size_t)i);
    if (rc) break;
    name[i] = json_string_value(item);
    if (!name[i] || !*name[i]) rc = mismatch(reader, field->key, "a list of strings", item);
  }
  if (!rc) rc = zf_peft_names_set(to, name, count, NULL);
  free(name);
  return rc;
}

static int read_ints(const struct peft_reader *reader, const struct zf_peft_field *field,
                     const json_t *value, struct zf_peft_ints *to) {
  if (!json_is_array(value) && !json_is_integer(value))
    return mismatch(reader, field->key, "a list of integers", value);
  int64_t count = json_is_array(value) ? (int64_t)json_array_size(value) : 1;
  if (!(to->value = zf_calloc(count + 1, sizeof *to->value))) return ZF_ENOMEM;
  for (; to->count < count; to->count++) {
    const json_t *item = json_is_array(value) ? json_array_get(value, (size_t)to->count) : value;
    if (!json_is_integer(item) || json_integer_value(item) < 0)
      return mismatch(reader, field->key, "integers that are not negative", item);
    to->value[to->count] = json_integer_value(item);
  }
  return 0;
}

static int read_patterns(const struct peft_reader *reader, const struct zf_peft_field *field,
                         const json_t *value, struct zf_peft_patterns *to) {
  const char *key;
  json_t *item;
  if (!json_is_object(value)) return mismatch(reader, field->key, "an object of numbers", value);
  to->pattern = zf_calloc((int64_t)json_object_size(value) + 1, sizeof *to->pattern);
  if (!to->pattern) return ZF_ENOMEM;
  json_object_foreach((json_t *)value, key, item) {
    int integer = field->least >= 1; /* of ranks */
    if (integer ? !json_is_integer(item) : !json_is_number(item))
      return mismatch(reader, field->key, integer ? "integers" : "numbers", item);
    int rc = check_range(reader, field, json_number_value(item));
    if (rc) return rc;
    struct zf_peft_pattern *pattern = &to->pattern[to->count];
    if (!(pattern->pattern = zf_strdup(key))) return ZF_ENOMEM;
    pattern->value = json_number_value(item);
    to->count++;
  }
  return 0;
}

static int read_tokens(const struct peft_reader *reader, const struct zf_peft_field *field,
                       const json_t *value, struct zf_peft_tokens *to) {
  if (!json_is_object(value)) return read_ints(reader, field, value, &to->index);
  if (!json_object_size(value)) return 0;
  if (json_object_size(value) > 1)
    return zf_error(ZF_EINVALID, "%s: key '%s' names %zu embeddings: zoft supports one",
                    reader->name, field->key, json_object_size(value));
  void *first = json_object_iter((json_t *)value);
  if (!(to->module = zf_strdup(json_object_iter_key(first)))) return ZF_ENOMEM;
  return read_ints(reader, field, json_object_iter_value(first), &to->index);
}

static int read_field(const struct peft_reader *reader, const struct zf_peft_field *field,
                      const json_t *value) {
  void *to = zf_peft_field_at(field, reader->config);
  switch (field->type) {
    case ZF_PEFT_TEXT:
      if (!json_is_string(value)) return mismatch(reader, field->key, "a string", value);
      return read_text(value, to);
    case ZF_PEFT_INT:
      return read_int(reader, field, to);
    case ZF_PEFT_NUMBER:
      return read_number(reader, field, to);
    case ZF_PEFT_BOOL:
      return zf_json_bool(to, reader->obj, field->key, reader->name);
    case ZF_PEFT_NAMES:
      return read_names(reader, field, value, to);
    case ZF_PEFT_INTS:
      return read_ints(reader, field, value, to);
    case ZF_PEFT_PATTERNS:
      return read_patterns(reader, field, value, to);
    case ZF_PEFT_SWITCH:
      return read_switch(reader, field, value, to);
    case ZF_PEFT_TOKEN_SET:
      return read_tokens(reader, field, value, to);
  }
  return 0;
}

/* --- all keys --- */

static int is_informative(const char *key) {
  for (size_t i = 0; i < sizeof informative / sizeof *informative; i++)
    if (!strcmp(informative[i], key)) return 1;
  return 0;
}

/* null, false, 0, "", [] and {} turn an option off. */
static int is_off(const json_t *value) {
  if (json_is_string(value)) return !*json_string_value(value);
  if (json_is_array(value)) return !json_array_size(value);
  if (json_is_object(value)) return !json_object_size(value) && !zf_json_wide(value);
  return json_is_null(value) || json_is_false(value) ||
         (json_is_integer(value) && !json_integer_value(value));
}

static int read_key(const struct peft_reader *reader, const char *key, const json_t *value) {
  const struct zf_peft_field *field = zf_peft_field_find(key, reader->config->kind);
  if (json_is_null(value)) return 0;
  if (field) return read_field(reader, field, value);
  if (is_informative(key) || is_off(value)) return 0;
  return zf_error(ZF_EINVALID,
                  "%s: key '%.60s' is set: zoft does not support this option of %s adapters, and "
                  "it may change results",
                  reader->name, key, zf_peft_kinds[reader->config->kind].peft_type);
}

static int read_kind(enum zf_peft_kind *kind, const json_t *obj, const char *name) {
  const char *type = NULL;
  struct zf_buf list = {0};
  int rc = zf_json_str(&type, obj, "peft_type", name);
  if (rc) return rc;
  for (int i = 0; i < ZF_PEFT_KINDS; i++) {
    zf_buf_printf(&list, "%s%s", i ? ", " : "", zf_peft_kinds[i].peft_type);
    if (!type || strcmp(type, zf_peft_kinds[i].peft_type) != 0) continue;
    *kind = (enum zf_peft_kind)i;
    zf_buf_free(&list);
    return 0;
  }
  rc = type ? zf_error(ZF_EINVALID, "%s: peft_type '%.60s' is not supported; supported are %s",
                       name, type, list.failed ? "?" : list.data)
            : zf_error(ZF_EINVALID, "%s: key 'peft_type' is missing", name);
  zf_buf_free(&list);
  return rc;
}

/* --- what values may be --- */

static int check_bias(const struct zf_peft_config *config, const char *name) {
  const char *only = config->kind == ZF_PEFT_VERA ? "vera_only" : "lora_only";
  if (!strcmp(config->bias, "none") || !strcmp(config->bias, "all") || !strcmp(config->bias, only))
    return 0;
  return zf_error(ZF_EINVALID, "%s: key 'bias' is '%.60s': expected none, all or %s", name,
                  config->bias, only);
}

static int check_init(const struct zf_peft_config *config, const char *name) {
  for (size_t i = 0; i < sizeof inits / sizeof *inits; i++)
    if (!strcmp(inits[i], config->init)) return 0;
  return zf_error(ZF_EINVALID,
                  "%s: init_lora_weights is '%.60s', which may change the base's weights when PEFT "
                  "loads the adapter: save it with path_initial_model_for_weight_conversion",
                  name, config->init);
}

static int check_values(const struct zf_peft_config *config, const char *name) {
  int rc = check_bias(config, name);
  if (!rc) rc = check_init(config, name);
  if (rc) return rc;
  if (config->saved.pattern)
    return zf_error(ZF_EINVALID, "%s: key 'modules_to_save': expected a list of strings", name);
  if (config->kind == ZF_PEFT_VERA && !config->save_projection)
    return zf_error(ZF_EINVALID,
                    "%s: save_projection is false: the projections are not in the file; save the "
                    "adapter with save_projection=True",
                    name);
  int is_virtual = config->kind == ZF_PEFT_PREFIX || config->kind == ZF_PEFT_PROMPT;
  if (is_virtual && !config->virtual_tokens)
    return zf_error(ZF_EINVALID, "%s: key 'num_virtual_tokens' is missing", name);
  if (is_virtual && config->submodules != 1)
    return zf_error(ZF_EINVALID, "%s: num_transformer_submodules is %lld: zoft supports 1", name,
                    (long long)config->submodules);
  if (config->kind == ZF_PEFT_TOKENS && !config->tokens.index.count)
    return zf_error(ZF_EINVALID, "%s: key 'token_indices' is missing or empty", name);
  return 0;
}

int zf_peft_config_read(struct zf_peft_config *config, const json_t *obj, const char *name) {
  enum zf_peft_kind kind = ZF_PEFT_LORA;
  const char *key;
  json_t *value;
  memset(config, 0, sizeof *config);
  if (!json_is_object(obj))
    return zf_error(ZF_EINVALID, "%s: expected an object, found %s", name, zf_json_kind(obj));
  int rc = read_kind(&kind, obj, name);
  if (!rc) rc = zf_peft_config_init(config, kind);
  if (rc) return rc;
  struct peft_reader reader = {config, obj, name};
  json_object_foreach((json_t *)obj, key, value) {
    if ((rc = read_key(&reader, key, value))) break;
  }
  if (!rc) rc = check_values(config, name);
  if (rc) zf_peft_config_free(config);
  return rc;
}
