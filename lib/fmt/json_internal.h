/* Text with wide numbers rewritten so that Jansson reads it (json_wide.c). */
#ifndef ZF_FMT_JSON_INTERNAL_H
#define ZF_FMT_JSON_INTERNAL_H

#include "base/buf.h"
#include "fmt/json.h"

#define ZF_JSON_WIDE "\x01wide" /* the key of the object that stands for such a number */

struct zf_json_edit {
  size_t offset; /* in the rewritten text */
  size_t added;  /* bytes by which this edit makes the text longer */
};

struct zf_json_rewritten {
  struct zf_buf text;
  struct zf_json_edit *edits; /* ascending */
  size_t edit_count, cap;
};

/* Rewrites text[0..len), or, with `one`, its first object or array.  *rewritten is zeroed before
 * the call and freed after it, also on failure. */
int zf_json_rewrite(struct zf_json_rewritten *rewritten, const char *text, size_t len, int one);
void zf_json_rewritten_free(struct zf_json_rewritten *rewritten);

/* Bytes that the edits within [from,to) of the rewritten text have added. */
size_t zf_json_added(const struct zf_json_rewritten *rewritten, size_t from, size_t to);

#endif
