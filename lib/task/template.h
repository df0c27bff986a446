/* Prompt templates: text with {field} in it.
 *
 *   {text}                     the field's value; numbers and booleans as JSON prints them
 *   {premise|strip|rstrip:.}   the value behind filters, applied from left to right
 *   {{ and }}                  a brace
 *
 * Filters: strip, lower, upper, capitalize (first letter up), lower_first (first letter down,
 * but not the word "I"), rstrip:CHARS, replace:FROM=TO, map:A=X,B=Y (value A becomes X; any
 * other value is an error).  Filters change the case of ASCII letters alone. */
#ifndef ZF_TASK_TEMPLATE_H
#define ZF_TASK_TEMPLATE_H

#include <jansson.h>

#include "base/cplusplus.h"
#include "base/buf.h"

ZF_BEGIN_DECLS

struct zf_template;

/* The caller frees *out.  ZF_EUSAGE: the message names the character (from 1) of the mistake. */
int zf_template_parse(struct zf_template **out, const char *text);
void zf_template_free(struct zf_template *parsed);

/* Does the template use the field? */
int zf_template_has(const struct zf_template *parsed, const char *field);

/* The name of field 0, 1, ... in the order of the text, with repetitions; NULL: there are fewer. */
const char *zf_template_field(const struct zf_template *parsed, int64_t index);

/* Appends the text for one row.  ZF_EINVALID: a field is missing or no scalar. */
int zf_template_apply(const struct zf_template *parsed, const json_t *row, struct zf_buf *out);

/* The names of all filters, one line, for help. */
const char *zf_template_filters(void);

ZF_END_DECLS

#endif
