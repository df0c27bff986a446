/* The list of keys that a GGUF file gets. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "fmt/gguf_internal.h"

static struct zf_gguf_value *find(const struct zf_gguf_values *values, const char *key) {
  for (int64_t i = 0; i < values->count; i++)
    if (!strcmp(values->value[i].key, key)) return &values->value[i];
  return NULL;
}

static struct zf_gguf_value *add(struct zf_gguf_values *values, const char *key) {
  struct zf_gguf_value *grown =
      zf_grow(values->value, values->count, &values->cap, sizeof *values->value);
  if (!grown) return NULL;
  values->value = grown;
  struct zf_gguf_value *value = &grown[values->count];
  *value = (struct zf_gguf_value){.key = zf_strdup(key)};
  if (value->key) values->count++;
  return value->key ? value : NULL;
}

int zf_gguf_values_set(struct zf_gguf_values *values, const char *key, enum zf_gguf_value_type type,
                       json_t *json) {
  struct zf_gguf_value *value = json ? find(values, key) : NULL;
  if (json && !value) value = add(values, key);
  if (!value) {
    json_decref(json);
    return zf_error(ZF_ENOMEM, "out of memory for the key '%s'", key);
  }
  json_decref(value->json);
  value->json = json;
  value->type = type;
  return 0;
}

int zf_gguf_values_text(struct zf_gguf_values *values, const char *key, const char *text) {
  return zf_gguf_values_set(values, key, ZF_GGUF_TEXT, json_string(text));
}

int zf_gguf_values_u32(struct zf_gguf_values *values, const char *key, int64_t number) {
  return zf_gguf_values_set(values, key, ZF_GGUF_U32, json_integer(number));
}

int zf_gguf_values_f32(struct zf_gguf_values *values, const char *key, double number) {
  return zf_gguf_values_set(values, key, ZF_GGUF_F32, json_real(number));
}

int zf_gguf_values_bool(struct zf_gguf_values *values, const char *key, int yes) {
  return zf_gguf_values_set(values, key, ZF_GGUF_BOOL, json_boolean(yes));
}

const struct zf_gguf_value *zf_gguf_values_find(const struct zf_gguf_values *values,
                                                const char *key) {
  return find(values, key);
}

void zf_gguf_values_free(struct zf_gguf_values *values) {
  for (int64_t i = 0; i < values->count; i++) {
    free((char *)values->value[i].key);
    json_decref(values->value[i].json);
  }
  free(values->value);
  memset(values, 0, sizeof *values);
}
