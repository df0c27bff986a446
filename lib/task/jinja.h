/* Jinja templates, as far as chat templates use them.
 *
 * Understood: if/elif/else; for with a condition, else, unpacking, loop.*, break and
 * continue; set, also as a block and into a namespace(); macro; filter blocks; raw;
 * generation blocks; comments; white-space control with - and +; trim_blocks and
 * lstrip_blocks are on and auto-escaping is off, as in Transformers.  Expressions with
 * Python's operators, slices, conditionals; methods of texts and mappings; the filters
 * and tests of zf_jinja_filters().  Anything else is an error that names the line and
 * the construct.
 *
 * A template cannot run away: a rendering has at most ZF_JINJA_STEPS steps, makes at
 * most ZF_JINJA_BYTES of text and nests at most ZF_JINJA_DEPTH deep. */
#ifndef ZF_TASK_JINJA_H
#define ZF_TASK_JINJA_H

#include <jansson.h>
#include <stdint.h>

#include "base/buf.h"

enum { ZF_JINJA_STEPS = 5000000, ZF_JINJA_BYTES = 64 << 20, ZF_JINJA_DEPTH = 120 };

struct zf_jinja;

enum zf_jinja_flags {
  ZF_JINJA_STRICT = 1, /* what is undefined may be asked for (is defined, default), not used */
  ZF_JINJA_PLAIN = 2,  /* white space as written: no trim_blocks, no lstrip_blocks, and a newline
                          at the end stays */
};

/* Stretches of the output that generation blocks marked. */
struct zf_text_spans {
  struct zf_span {
    int64_t from, to;
  } * at;
  int64_t count, cap;
};

/* `name` is for messages: "NAME:LINE: ...".  ZF_EINVALID. */
int zf_jinja_parse(struct zf_jinja **out, const char *text, const char *name);
int zf_jinja_parse_as(struct zf_jinja **out, const char *text, const char *name, unsigned flags);
void zf_jinja_free(struct zf_jinja *jinja); /* takes NULL */

/* Appends the text for `vars`, an object whose keys are the variables.  `now` is what
 * strftime_now() shows (seconds since 1970).  spans may be NULL.  ZF_EINVALID, also for
 * the template's own raise_exception(). */
int zf_jinja_render(const struct zf_jinja *jinja, const json_t *vars, int64_t now,
                    struct zf_buf *out, struct zf_text_spans *spans);

/* Of a template that is one {{ expression }}: its value, with the kind it has (the caller
 * releases it).  ZF_EINVALID, also for a template that is something else. */
int zf_jinja_value(const struct zf_jinja *jinja, const json_t *vars, json_t **out);

int zf_jinja_marks(const struct zf_jinja *jinja); /* has generation blocks */

/* The names of all filters and tests, one line. */
const char *zf_jinja_filters(void);

#endif
