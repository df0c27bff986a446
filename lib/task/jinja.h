/* Jinja templates, as far as chat templates use them.
 *
 * Supported: if/elif/else; for with a condition, else, unpacking, loop.*, break and
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

#include "base/cplusplus.h"
#include "base/buf.h"

ZF_BEGIN_DECLS

enum { ZF_JINJA_STEPS = 5000000, ZF_JINJA_BYTES = 64 << 20, ZF_JINJA_DEPTH = 120 };

struct zf_jinja;

enum zf_jinja_flags {
  ZF_JINJA_STRICT =
      1,              /* an undefined value may only be tested (is defined) or replaced (default) */
  ZF_JINJA_PLAIN = 2, /* white space as written: no trim_blocks, no lstrip_blocks, and a newline
                          at the end stays */
};

/* Parts of the output, in bytes from..to: those inside generation blocks. */
struct zf_text_spans {
  struct zf_text_span {
    int64_t from, to;
  } * span;
  int64_t count, cap;
};

/* `name` is for messages: "NAME:LINE: ...".  flags: enum zf_jinja_flags.  The caller frees *out.
 * ZF_EINVALID. */
int zf_jinja_parse(struct zf_jinja **out, const char *text, const char *name);
int zf_jinja_parse_as(struct zf_jinja **out, const char *text, const char *name, unsigned flags);
void zf_jinja_free(struct zf_jinja *jinja); /* takes NULL */

/* Appends the rendered text to `out`, and the generation blocks to `spans` (may be NULL).  vars: an object
 * whose keys are the variables.  now: the time of strftime_now(), seconds since 1970.  ZF_EINVALID, also
 * for the template's own raise_exception(); `out` then has its old length. */
int zf_jinja_render(const struct zf_jinja *jinja, const json_t *vars, int64_t now,
                    struct zf_buf *out, struct zf_text_spans *spans);

/* The value of a template that is one {{ expression }}, of any JSON type; the caller releases *out.
 * ZF_EINVALID, also when the template is something else. */
int zf_jinja_value(const struct zf_jinja *jinja, const json_t *vars, json_t **out);

int zf_jinja_has_generation(const struct zf_jinja *jinja); /* does it have generation blocks? */

/* The names of all filters and tests, one line. */
const char *zf_jinja_filters(void);

ZF_END_DECLS

#endif
