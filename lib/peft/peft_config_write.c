/* Makes adapter_config.json, with the keys that PEFT's own files have. */
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "fmt/json.h"
#include "peft/peft_internal.h"

static json_t *text_value(const char *text) {
  return text ? json_string(text) : json_null();
}

/* Whole numbers are written as integers. */
static json_t *number_value(double value) {
  if (value == floor(value) && fabs(value) < 1e15) return json_integer((json_int_t)value);
  return json_real(value);
}

static json_t *switch_value(const char *text) {
  if (text && !strcmp(text, "true")) return json_true();
  if (text && !strcmp(text, "false")) return json_false();
  return text_value(text);
}

static json_t *names_value(const struct zf_peft_names *names) {
  if (names->pattern || !names->count) return text_value(names->pattern);
  json_t *list = json_array();
  for (int64_t i = 0; i < names->count; i++)
    json_array_append_new(list, json_string(names->name[i]));
  return list;
}

static json_t *ints_value(const struct zf_peft_ints *ints) {
  if (!ints->count) return json_null();
  json_t *list = json_array();
  for (int64_t i = 0; i < ints->count; i++)
    json_array_append_new(list, json_integer(ints->value[i]));
  return list;
}

static json_t *patterns_value(const struct zf_peft_patterns *patterns) {
  json_t *obj = json_object();
  for (int64_t i = 0; i < patterns->count; i++)
    json_object_set_new(obj, patterns->pattern[i].pattern,
                        number_value(patterns->pattern[i].value));
  return obj;
}

static json_t *tokens_value(const struct zf_peft_tokens *tokens) {
  json_t *list = ints_value(&tokens->index);
  return tokens->module && tokens->index.count ? json_pack("{s:o}", tokens->module, list) : list;
}

static json_t *positive_value(int64_t value) {
  return value ? json_integer(value) : json_null();
}

static json_t *field_value(const struct zf_peft_field *field, const struct zf_peft_config *config) {
  const void *at = zf_peft_field_at(field, config);
  switch (field->type) {
    case ZF_PEFT_TEXT:
      return text_value(*(char *const *)at);
    case ZF_PEFT_INT:
      return field->least >= 1 ? positive_value(*(const int64_t *)at)
                               : json_integer(*(const int64_t *)at);
    case ZF_PEFT_NUMBER:
      return number_value(*(const double *)at);
    case ZF_PEFT_BOOL:
      return json_boolean(*(const int *)at);
    case ZF_PEFT_NAMES:
      return names_value(at);
    case ZF_PEFT_INTS:
      return ints_value(at);
    case ZF_PEFT_PATTERNS:
      return patterns_value(at);
    case ZF_PEFT_SWITCH:
      return switch_value(*(char *const *)at);
    case ZF_PEFT_TOKEN_SET:
      return tokens_value(at);
  }
  return NULL;
}

json_t *zf_peft_config_json(const struct zf_peft_config *config) {
  int64_t before = zf_json_failures();
  json_t *obj = json_object();
  json_object_set_new(obj, "peft_type", json_string(zf_peft_kinds[config->kind].peft_type));
  json_object_set_new(obj, "auto_mapping", json_null());
  json_object_set_new(obj, "inference_mode", json_true());
  json_object_set_new(obj, "revision", json_null());
  for (const struct zf_peft_field *field = zf_peft_fields; field->key; field++)
    if (field->kinds >> config->kind & 1)
      json_object_set_new(obj, field->key, field_value(field, config));
  if (!zf_json_check_memory(0, before, "adapter_config.json")) return obj;
  json_decref(obj);
  return NULL;
}
