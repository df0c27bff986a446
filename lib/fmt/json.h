/* JSON by way of Jansson: duplicates rejected, positions in messages. */
#ifndef ZF_FMT_JSON_H
#define ZF_FMT_JSON_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* Parses a text or a file into *out (json_decref by the caller).  ZF_EINVALID as
 * "NAME:LINE:COLUMN: reason"; ZF_EUSAGE when there is no such file. */
int zf_json_parse(json_t **out, const char *text, size_t len, const char *name);
int zf_json_load(json_t **out, const char *path);

/* A number that Python writes and Jansson does not hold (NaN, Infinity, an integer beyond 64 bits, a real
 * beyond a double) is read as an object of its own kind.  zf_json_wide gives its text, or NULL for any
 * other value; zf_json_kind names it by that text; zf_json_dump is json_dumps with those numbers as
 * they were (free the result). */
const char *zf_json_wide(const json_t *value);
char *zf_json_dump(const json_t *value, size_t flags);

/* What zf_json_parse is made of, for readers of many values in one text: `flags` are Jansson's.
 * ZF_EINVALID, with the reason alone as the message, or ZF_ENOMEM; position: bytes read, or where the
 * fault is. */
struct zf_json_fault {
  int line, column;
  size_t position;
};
int zf_json_read(json_t **out, const char *text, size_t len, size_t flags,
                 struct zf_json_fault *fault);

/* Allocations of Jansson's that failed in this thread so far, for code that builds values and checks once:
 * zf_json_checked(rc, before, NAME) is rc, or ZF_ENOMEM where one failed since `before`, whatever the
 * code made of it. */
int64_t zf_json_failures(void);
int zf_json_checked(int rc, int64_t before, const char *name);

/* Typed lookups in an object.  A missing key (or null) leaves *out as it was and
 * returns 0; a value of another type is ZF_EINVALID "NAME: key 'k': expected an
 * integer, found a string".  Strings are borrowed from the object.
 * zf_json_num accepts integers, of any size, and reals. */
int zf_json_int(int64_t *out, const json_t *obj, const char *key, const char *name);
int zf_json_num(double *out, const json_t *obj, const char *key, const char *name);
int zf_json_bool(int *out, const json_t *obj, const char *key, const char *name);
int zf_json_str(const char **out, const json_t *obj, const char *key, const char *name);

/* "an object", "a string", ...: for messages. */
const char *zf_json_kind(const json_t *value);

#endif
