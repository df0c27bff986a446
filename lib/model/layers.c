/* Blocks that differ from their neighbours: which have sliding windows, which no rotary
 * embedding. */
#include <string.h>

#include "base/err.h"
#include "fmt/json.h"
#include "model/config_internal.h"

/* The list `key` of config.json with an entry for each block; NULL: there is none. */
static int block_list(const json_t **out, const struct zf_config *c,
                      const struct zf_config_reader *r, const char *key) {
  const json_t *list = key ? json_object_get(r->obj, key) : NULL;
  *out = NULL;
  if (!list || json_is_null(list)) return 0;
  if (!json_is_array(list) || (int64_t)json_array_size(list) < c->layers)
    return zf_error(ZF_EINVALID,
                    "%s: key '%s': expected a list with an entry for each of %lld blocks", r->name,
                    key, (long long)c->layers);
  *out = list;
  return 0;
}

static int read_nope(struct zf_config *c, const struct zf_config_reader *r) {
  const struct zf_family *f = c->family;
  const json_t *list;
  int64_t period = f->nope_period;
  int rc = block_list(&list, c, r, f->k_nope);
  if (!rc && f->k_nope_period) rc = zf_json_int(&period, r->obj, f->k_nope_period, r->name);
  if (!rc && f->k_nope && period < 1)
    rc = zf_error(ZF_EINVALID, "%s: key '%s': expected 1 or more, found %lld", r->name,
                  f->k_nope_period, (long long)period);
  for (int64_t i = 0; !rc && f->k_nope && i < c->layers; i++) {
    const json_t *v = json_array_get(list, (size_t)i);
    if (list && !json_is_integer(v))
      return zf_error(ZF_EINVALID, "%s: key '%s': entry %lld is %s, not 0 or 1", r->name, f->k_nope,
                      (long long)i, zf_json_kind(v));
    if (list ? json_integer_value(v) == 0 : (i + 1) % period == 0) c->layer[i] |= ZF_LAYER_NOPE;
  }
  return rc;
}

/* Windows by the family's own rule. */
static int place_windows(struct zf_config *c, const struct zf_config_reader *r) {
  const struct zf_family *f = c->family;
  int64_t n = f->local_def;
  int rc = f->k_local ? zf_json_int(&n, r->obj, f->k_local, r->name) : 0;
  if (rc) return rc;
  if (f->local == ZF_LOCAL_PERIOD && n < 1)
    return zf_error(ZF_EINVALID, "%s: key '%s': expected 1 or more, found %lld", r->name,
                    f->k_local, (long long)n);
  for (int64_t i = 0; i < c->layers; i++) {
    int local = 1;
    if (f->local == ZF_LOCAL_PERIOD) local = (i + f->local_phase) % n != 0;
    if (f->local == ZF_LOCAL_FROM) local = i >= n;
    if (f->local == ZF_LOCAL_NOPE) local = c->layer[i] & ZF_LAYER_NOPE;
    if (local) c->layer[i] |= ZF_LAYER_LOCAL;
  }
  return 0;
}

static int take_types(struct zf_config *c, const struct zf_config_reader *r, const json_t *list) {
  for (int64_t i = 0; i < c->layers; i++) {
    const char *s = json_string_value(json_array_get(list, (size_t)i));
    if (!s || (strcmp(s, "sliding_attention") != 0 && strcmp(s, "full_attention") != 0))
      return zf_error(ZF_EINVALID,
                      "%s: key 'layer_types': entry %lld: expected full_attention or "
                      "sliding_attention, found '%s'",
                      r->name, (long long)i, s ? s : "?");
    if (s[0] == 's') c->layer[i] |= ZF_LAYER_LOCAL;
  }
  return 0;
}

static int read_window(struct zf_config *c, const struct zf_config_reader *r) {
  const struct zf_family *f = c->family;
  const json_t *list, *v = json_object_get(r->obj, f->k_window);
  int64_t window = f->window_size;
  int rc;
  if (json_is_null(v)) return 0;
  if ((rc = zf_json_int(&window, r->obj, f->k_window, r->name))) return rc;
  if (!v && !window) return 0;
  if (window < 1)
    return zf_error(ZF_EINVALID, "%s: key '%s': expected 1 or more, found %lld", r->name,
                    f->k_window, (long long)window);
  c->window = f->window_half ? window / 2 + 1 : window;
  if ((rc = block_list(&list, c, r, "layer_types"))) return rc;
  return list ? take_types(c, r, list) : place_windows(c, r);
}

int zf_layers_read(struct zf_config *c, const struct zf_config_reader *r) {
  int windowed = 0;
  int rc = read_nope(c, r);
  if (!rc) rc = zf_config_rule(&windowed, r, &c->family->window);
  if (c->family->window_listed && json_is_array(json_object_get(r->obj, "layer_types")))
    windowed = 1;
  return rc || !windowed ? rc : read_window(c, r);
}
