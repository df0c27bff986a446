/* JSON, parsed by Jansson: duplicate keys are errors, messages have positions. */
#ifndef ZF_FMT_JSON_H
#define ZF_FMT_JSON_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cplusplus.h"

ZF_BEGIN_DECLS

/* Parses a text or a file into *out, which the caller releases with json_decref.  ZF_EINVALID as
 * "NAME:LINE:COLUMN: reason"; ZF_EUSAGE if there is no such file. */
int zf_json_parse(json_t **out, const char *text, size_t len, const char *name);
int zf_json_load(json_t **out, const char *path);

/* A number that Python writes and Jansson cannot hold (NaN, Infinity, an integer beyond 64 bits, a
 * real beyond a double) is read as a special object.  zf_json_wide gives its text, or NULL for any
 * other value; zf_json_kind names it by that text; zf_json_dump is json_dumps with those numbers
 * written as they were read.  The caller frees the result. */
const char *zf_json_wide(const json_t *value);
char *zf_json_dump(const json_t *value, size_t flags);

/* The same for readers of many values in one text: `flags` are Jansson's.  ZF_EINVALID, with the
 * reason alone as the message, or ZF_ENOMEM.  fault->position is the number of bytes read, or the
 * byte of the error. */
struct zf_json_fault {
  int line, column;
  size_t position;
};
int zf_json_read(json_t **out, const char *text, size_t len, size_t flags,
                 struct zf_json_fault *fault);

/* For code that builds many values and checks for memory once: the number of Jansson's allocations
 * that have failed in this thread.  zf_json_check_memory(rc, before, NAME) is rc, or ZF_ENOMEM if the
 * number has grown since `before`. */
int64_t zf_json_failures(void);
int zf_json_check_memory(int rc, int64_t before, const char *name);

/* Typed lookups in an object.  If the key is missing or null, *out stays as it was and the result
 * is 0; a value of another type is ZF_EINVALID "NAME: key 'k': expected an integer, found a
 * string". Strings are borrowed from the object.  zf_json_num accepts integers of any size and
 * reals. */
int zf_json_int(int64_t *out, const json_t *obj, const char *key, const char *name);
int zf_json_num(double *out, const json_t *obj, const char *key, const char *name);
int zf_json_bool(int *out, const json_t *obj, const char *key, const char *name);
int zf_json_str(const char **out, const json_t *obj, const char *key, const char *name);

/* "an object", "a string", ..., for messages. */
const char *zf_json_kind(const json_t *value);

ZF_END_DECLS

#endif
