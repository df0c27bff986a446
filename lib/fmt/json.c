/* JSON by way of Jansson.
 *
 * Jansson checks UTF-8 and accepts at most 2048 levels, so that neither parsing nor freeing
 * recurses without bound.  The top may be a value of any kind ("null", a number): callers check
 * what they expect. If Jansson refuses a text, numbers that it cannot hold are rewritten
 * (json_wide.c) and it tries again. */
#include "fmt/json.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "fmt/json_internal.h"

/* --- memory ---
 *
 * Jansson reports a string for which there was no memory as an invalid token.  Its allocations are
 * watched to tell the two apart. */

static json_malloc_t default_malloc;
static _Thread_local int ran_out;
static _Thread_local int64_t failures;

static void *watched_malloc(size_t size) {
  void *memory = default_malloc(size);
  if (!memory) {
    ran_out = 1;
    failures++;
  }
  return memory;
}

static void watch(void) {
  json_free_t default_free;
  json_get_alloc_funcs(&default_malloc, &default_free);
  json_set_alloc_funcs(watched_malloc, default_free);
}

int64_t zf_json_failures(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, watch);
  return failures;
}

int zf_json_check_memory(int rc, int64_t before, const char *name) {
  if (failures == before || rc == ZF_ENOMEM) return rc;
  return zf_error(ZF_ENOMEM, "%s: out of memory", name);
}

/* --- parsing --- */

static json_t *parse(const char *text, size_t len, size_t flags, json_error_t *error) {
  memset(error, 0, sizeof *error);
  ran_out = 0;
  return json_loadb(len ? text : "", len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | flags, error);
}

/* Converts the position of an error in the rewritten text to one in the original text; 0 if it lies
 * in a rewritten number. */
static int map_position(json_error_t *error, const struct zf_json_rewritten *rewritten) {
  size_t at = error->position > 0 ? (size_t)error->position : 0;
  size_t line_begin = at < rewritten->text.len ? at : rewritten->text.len;
  for (size_t i = 0; i < rewritten->edit_count; i++) {
    const struct zf_json_edit *edit = &rewritten->edits[i];
    if (at > edit->offset && at <= edit->offset + edit->added) return 0;
  }
  while (line_begin && rewritten->text.data[line_begin - 1] != '\n') line_begin--;
  error->column -= (int)zf_json_added(rewritten, line_begin, at);
  error->position -= (int)zf_json_added(rewritten, 0, at);
  return 1;
}

/* Parses the text again with wide numbers rewritten; NULL if it has none. */
static json_t *parse_rewritten(const char *text, size_t len, size_t flags, json_error_t *error) {
  struct zf_json_rewritten rewritten = {0};
  json_error_t second_error;
  json_t *value = NULL;
  int rc = zf_json_rewrite(&rewritten, text, len, (flags & JSON_DISABLE_EOF_CHECK) != 0);
  if (!rc && rewritten.edit_count) {
    value = parse(rewritten.text.data, rewritten.text.len, flags, &second_error);
    if (map_position(&second_error, &rewritten)) *error = second_error;
  }
  if (rc) ran_out = 1;
  zf_json_rewritten_free(&rewritten);
  return value;
}

int zf_json_read(json_t **out, const char *text, size_t len, size_t flags,
                 struct zf_json_fault *fault) {
  json_error_t error;
  zf_json_failures(); /* from now on they are counted */
  *out = parse(text, len, flags, &error);
  if (!*out && !ran_out) *out = parse_rewritten(text, len, flags, &error);
  fault->line = error.line;
  fault->column = error.column;
  fault->position = error.position > 0 ? (size_t)error.position : 0;
  if (*out) return 0;
  if (ran_out || !error.text[0]) return zf_error(ZF_ENOMEM, "out of memory for its JSON");
  int zero = strstr(error.text, "JSON_ALLOW_NUL") != NULL;
  return zf_error(
      ZF_EINVALID, "%s",
      zero ? "a string holds \\u0000, the zero character, which zoft's texts cannot hold: "
             "remove it or write another character for it"
           : error.text);
}

int zf_json_parse(json_t **out, const char *text, size_t len, const char *name) {
  struct zf_json_fault fault;
  int rc = zf_json_read(out, text, len, 0, &fault);
  if (rc == ZF_EINVALID) return zf_error_prefix(rc, "%s:%d:%d", name, fault.line, fault.column);
  return rc ? zf_error_prefix(rc, "%s", name) : 0;
}

int zf_json_load(json_t **out, const char *path) {
  struct zf_map map;
  *out = NULL;
  int rc = zf_map_open(&map, path);
  if (rc) return rc;
  rc = zf_json_parse(out, (const char *)map.data, map.len, path);
  zf_map_close(&map);
  return rc;
}

/* The value of a key, or NULL if it is absent or null. */
static const json_t *present(const json_t *obj, const char *key) {
  const json_t *value = json_object_get(obj, key);
  return json_is_null(value) ? NULL : value;
}

static int mismatch(const json_t *value, const char *key, const char *name, const char *expected) {
  return zf_error(ZF_EINVALID, "%s: key '%s': expected %s, found %s", name, key, expected,
                  zf_json_kind(value));
}

int zf_json_int(int64_t *out, const json_t *obj, const char *key, const char *name) {
  const json_t *value = present(obj, key);
  if (!value) return 0;
  if (!json_is_integer(value)) return mismatch(value, key, name, "an integer");
  *out = json_integer_value(value);
  return 0;
}

int zf_json_num(double *out, const json_t *obj, const char *key, const char *name) {
  const json_t *value = present(obj, key);
  if (!value) return 0;
  const char *wide = zf_json_wide(value);
  if (!json_is_number(value) && !(wide && strspn(wide, "-0123456789") == strlen(wide)))
    return mismatch(value, key, name, "a number");
  *out = wide ? strtod(wide, NULL) : json_number_value(value);
  return 0;
}

int zf_json_bool(int *out, const json_t *obj, const char *key, const char *name) {
  const json_t *value = present(obj, key);
  if (!value) return 0;
  if (!json_is_boolean(value)) return mismatch(value, key, name, "true or false");
  *out = json_is_true(value);
  return 0;
}

int zf_json_str(const char **out, const json_t *obj, const char *key, const char *name) {
  const json_t *value = present(obj, key);
  if (!value) return 0;
  if (!json_is_string(value)) return mismatch(value, key, name, "a string");
  *out = json_string_value(value);
  return 0;
}

const char *zf_json_kind(const json_t *value) {
  static const char *const kind[] = {
      [JSON_OBJECT] = "an object",   [JSON_ARRAY] = "an array",     [JSON_STRING] = "a string",
      [JSON_INTEGER] = "an integer", [JSON_REAL] = "a real number", [JSON_TRUE] = "true",
      [JSON_FALSE] = "false",        [JSON_NULL] = "null",
  };
  const char *wide = zf_json_wide(value);
  if (wide) return wide;
  return value ? kind[json_typeof(value)] : "nothing";
}
