/* JSON by way of Jansson.
 *
 * Jansson checks UTF-8, refuses numbers that do not fit and nests at most 2048
 * deep, so that neither parsing nor freeing recurses without bound.  A text of
 * any kind is accepted at the top ("null", a number): the callers say what they
 * expect there. */
#include "fmt/json.h"

#include "base/err.h"
#include "base/file.h"

int zf_json_parse(json_t **out, const char *text, size_t len, const char *name) {
  json_error_t e;
  *out = json_loadb(len ? text : "", len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
  if (*out) return 0;
  if (!e.text[0]) /* Jansson has no words for it */
    return zf_error(ZF_ENOMEM, "%s: out of memory for its JSON", name);
  return zf_error(ZF_EINVALID, "%s:%d:%d: %s", name, e.line, e.column, e.text);
}

int zf_json_load(json_t **out, const char *path) {
  struct zf_map m;
  *out = NULL;
  int rc = zf_map_open(&m, path);
  if (rc) return rc;
  rc = zf_json_parse(out, (const char *)m.data, m.len, path);
  zf_map_close(&m);
  return rc;
}

/* The value of a key, or NULL when it is absent or null. */
static const json_t *present(const json_t *obj, const char *key) {
  const json_t *v = json_object_get(obj, key);
  return json_is_null(v) ? NULL : v;
}

static int mismatch(const json_t *v, const char *key, const char *name, const char *expected) {
  return zf_error(ZF_EINVALID, "%s: key '%s': expected %s, found %s", name, key, expected,
                  zf_json_kind(v));
}

int zf_json_int(int64_t *out, const json_t *obj, const char *key, const char *name) {
  const json_t *v = present(obj, key);
  if (!v) return 0;
  if (!json_is_integer(v)) return mismatch(v, key, name, "an integer");
  *out = json_integer_value(v);
  return 0;
}

int zf_json_num(double *out, const json_t *obj, const char *key, const char *name) {
  const json_t *v = present(obj, key);
  if (!v) return 0;
  if (!json_is_number(v)) return mismatch(v, key, name, "a number");
  *out = json_number_value(v);
  return 0;
}

int zf_json_bool(int *out, const json_t *obj, const char *key, const char *name) {
  const json_t *v = present(obj, key);
  if (!v) return 0;
  if (!json_is_boolean(v)) return mismatch(v, key, name, "true or false");
  *out = json_is_true(v);
  return 0;
}

int zf_json_str(const char **out, const json_t *obj, const char *key, const char *name) {
  const json_t *v = present(obj, key);
  if (!v) return 0;
  if (!json_is_string(v)) return mismatch(v, key, name, "a string");
  *out = json_string_value(v);
  return 0;
}

const char *zf_json_kind(const json_t *v) {
  static const char *const kind[] = {
      [JSON_OBJECT] = "an object",   [JSON_ARRAY] = "an array",     [JSON_STRING] = "a string",
      [JSON_INTEGER] = "an integer", [JSON_REAL] = "a real number", [JSON_TRUE] = "true",
      [JSON_FALSE] = "false",        [JSON_NULL] = "null",
  };
  return v ? kind[json_typeof(v)] : "nothing";
}
