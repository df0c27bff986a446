/* Prompt templates: text with {field} in it.
 *
 *   {text}                     the field's value; numbers and booleans as JSON prints them
 *   {premise|strip|rstrip:.}   through filters, left to right
 *   {{ and }}                  a brace
 *
 * Filters: strip, lower, upper, capitalize (first letter up), lower_first (first letter down,
 * but not the word "I"), rstrip:CHARS, replace:FROM=TO, map:A=X,B=Y (value A becomes X; any
 * other value is an error).  Letters are ASCII letters there; other text is left as it is. */
#ifndef ZF_TASK_TEMPLATE_H
#define ZF_TASK_TEMPLATE_H

#include <jansson.h>

#include "base/buf.h"

struct zf_template;

/* ZF_EUSAGE names the place (1-based character) of a mistake. */
int zf_template_parse(struct zf_template **out, const char *text);
void zf_template_free(struct zf_template *template);

/* Is the field in it? */
int zf_template_has(const struct zf_template *template, const char *field);

/* Appends the text for one record.  ZF_EINVALID when a field is missing or not a scalar. */
int zf_template_apply(const struct zf_template *template, const json_t *row, struct zf_buf *out);

/* The names of all filters, one line, for help. */
const char *zf_template_filters(void);

#endif
