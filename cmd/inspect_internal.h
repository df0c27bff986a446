/* What the kinds of `zoft inspect` share: properties as lines, or as members of one JSON object. */
#ifndef ZF_CMD_INSPECT_INTERNAL_H
#define ZF_CMD_INSPECT_INTERNAL_H

#include "base/buf.h"

struct inspect_output {
  struct zf_buf json;
};

void zc_put_text(struct inspect_output *out, const char *name, const char *value);
/* `text` is what a person reads in place of the value. */
void zc_put_number(struct inspect_output *out, const char *name, int64_t value, const char *text);
void zc_put_count(struct inspect_output *out, const char *name, int64_t value);
/* `text` as it is: of JSON, a number or null. */
void zc_put_value(struct inspect_output *out, const char *name, const char *text);
/* Prints the object and frees it. */
void zc_put_end(struct inspect_output *out);

/* The adapter at `path`; `base`: the word for its base model, NULL: the one it names; `all`: every tensor. */
int zc_inspect_adapter(const char *path, const char *base, int all);

#endif
