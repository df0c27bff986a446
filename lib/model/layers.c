/* Reads which blocks have sliding windows, and which have no rotary embedding. */
#include <string.h>

#include "base/err.h"
#include "fmt/json.h"
#include "model/config_internal.h"

/* The list `key` of config.json with an entry for each block; NULL: there is none. */
static int block_list(const json_t **out, const struct zf_config *config,
                      const struct zf_config_reader *reader, const char *key) {
  const json_t *list = key ? json_object_get(reader->obj, key) : NULL;
  *out = NULL;
  if (!list || json_is_null(list)) return 0;
  if (!json_is_array(list) || (int64_t)json_array_size(list) < config->layers)
    return zf_error(ZF_EINVALID,
                    "%s: key '%s': expected a list with an entry for each of %lld blocks",
                    reader->name, key, (long long)config->layers);
  *out = list;
  return 0;
}

static int read_nope(struct zf_config *config, const struct zf_config_reader *reader) {
  const struct zf_family *family = config->family;
  const json_t *list;
  int64_t period = family->nope_period;
  int rc;
  if (!family->k_nope) return 0;
  if ((rc = block_list(&list, config, reader, family->k_nope))) return rc;
  if (family->k_nope_period &&
      (rc = zf_json_int(&period, reader->obj, family->k_nope_period, reader->name)))
    return rc;
  if (period < 1)
    return zf_error(ZF_EINVALID, "%s: key '%s': expected 1 or more, found %lld", reader->name,
                    family->k_nope_period, (long long)period);
  for (int64_t i = 0; i < config->layers; i++) {
    const json_t *value = json_array_get(list, (size_t)i);
    if (list && !json_is_integer(value))
      return zf_error(ZF_EINVALID, "%s: key '%s': entry %lld is %s, not 0 or 1", reader->name,
                      family->k_nope, (long long)i, zf_json_kind(value));
    if (list ? json_integer_value(value) == 0 : (i + 1) % period == 0)
      config->layer[i] |= ZF_LAYER_NOPE;
  }
  return 0;
}

/* Windows by the family's rule, where config.json has no layer_types. */
static int place_windows(struct zf_config *config, const struct zf_config_reader *reader) {
  const struct zf_family *family = config->family;
  int64_t number = family->local_def; /* a period or the first block with a window */
  int rc = family->k_local ? zf_json_int(&number, reader->obj, family->k_local, reader->name) : 0;
  if (rc) return rc;
  if (family->local == ZF_LOCAL_PERIOD && number < 1)
    return zf_error(ZF_EINVALID, "%s: key '%s': expected 1 or more, found %lld", reader->name,
                    family->k_local, (long long)number);
  for (int64_t i = 0; i < config->layers; i++) {
    int local = 1;
    if (family->local == ZF_LOCAL_PERIOD) local = (i + family->local_phase) % number != 0;
    if (family->local == ZF_LOCAL_FROM) local = i >= number;
    if (family->local == ZF_LOCAL_NOPE) local = config->layer[i] & ZF_LAYER_NOPE;
    if (local) config->layer[i] |= ZF_LAYER_LOCAL;
  }
  return 0;
}

static int read_types(struct zf_config *config, const struct zf_config_reader *reader,
                      const json_t *list) {
  for (int64_t i = 0; i < config->layers; i++) {
    const char *type = json_string_value(json_array_get(list, (size_t)i));
    if (!type || (strcmp(type, "sliding_attention") != 0 && strcmp(type, "full_attention") != 0))
      return zf_error(ZF_EINVALID,
                      "%s: key 'layer_types': entry %lld: expected full_attention or "
                      "sliding_attention, found '%s'",
                      reader->name, (long long)i, type ? type : "?");
    if (type[0] == 's') config->layer[i] |= ZF_LAYER_LOCAL;
  }
  return 0;
}

static int read_window(struct zf_config *config, const struct zf_config_reader *reader) {
  const struct zf_family *family = config->family;
  const json_t *list, *value = json_object_get(reader->obj, family->k_window);
  int64_t window = family->window_size;
  int rc;
  if (json_is_null(value)) return 0;
  if ((rc = zf_json_int(&window, reader->obj, family->k_window, reader->name))) return rc;
  if (!value && !window) return 0;
  if (window < 1)
    return zf_error(ZF_EINVALID, "%s: key '%s': expected 1 or more, found %lld", reader->name,
                    family->k_window, (long long)window);
  config->window = family->window_half ? window / 2 + 1 : window;
  if ((rc = block_list(&list, config, reader, "layer_types"))) return rc;
  return list ? read_types(config, reader, list) : place_windows(config, reader);
}

int zf_layers_read(struct zf_config *config, const struct zf_config_reader *reader) {
  int windowed = 0, rc;
  if ((rc = read_nope(config, reader))) return rc;
  if ((rc = zf_config_rule(&windowed, reader, &config->family->window))) return rc;
  if (config->family->window_listed && json_is_array(json_object_get(reader->obj, "layer_types")))
    windowed = 1;
  return windowed ? read_window(config, reader) : 0;
}
