/* Steps that prepare the rows of some data sets for a template. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "task/jinja.h"
#include "task/jinja_internal.h"
#include "task/recipe_internal.h"

enum { MATCH_STEPS = 50000000, HEAP_KB = 65536 };

/* White space by the rule of Python's \s and str.strip(). */
#define SPACE                                                                                      \
  "[\\x09-\\x0d\\x1c-\\x20\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"   \
  "\\x{205f}\\x{3000}]"

/* Replaces every match of `pattern`.  ZF_EINVALID: matching takes too many steps. */
static int substitute(struct zf_buf *buf, const char *pattern, const char *replacement) {
  int error, matches = 0;
  PCRE2_SIZE error_at, result_len = 2 * buf->len + 64;
  pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                   PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C, &error, &error_at, NULL);
  pcre2_match_context *limits = pcre2_match_context_create(NULL);
  char *result = zf_malloc(result_len);
  int rc = code && limits && result ? 0 : zf_error(ZF_ENOMEM, "out of memory for a pattern");
  if (!rc) {
    pcre2_set_match_limit(limits, MATCH_STEPS);
    pcre2_set_heap_limit(limits, HEAP_KB);
    matches = pcre2_substitute(code, (PCRE2_SPTR)buf->data, buf->len, 0, PCRE2_SUBSTITUTE_GLOBAL,
                               NULL, limits, (PCRE2_SPTR)replacement, PCRE2_ZERO_TERMINATED,
                               (PCRE2_UCHAR *)result, &result_len);
    if (matches < 0)
      rc = zf_error(ZF_EINVALID, "the pattern %s takes too many steps on the text (PCRE2 %d)",
                    pattern, matches);
  }
  if (!rc) {
    zf_buf_clear(buf);
    zf_buf_add(buf, result, result_len);
    rc = zf_buf_ok(buf);
  }
  free(result);
  pcre2_match_context_free(limits);
  pcre2_code_free(code);
  return rc;
}

static int replace(struct zf_buf *buf, const char *from, const char *to) {
  struct zf_buf result = {0};
  const char *rest = buf->data;
  size_t len = strlen(from);
  for (const char *hit; (hit = strstr(rest, from)); rest = hit + len) {
    zf_buf_add(&result, rest, (size_t)(hit - rest));
    zf_buf_puts(&result, to);
  }
  zf_buf_puts(&result, rest);
  int rc = zf_buf_ok(&result);
  zf_buf_free(buf);
  *buf = result;
  return rc;
}

static int set_text(json_t *row, const char *key, const struct zf_buf *buf) {
  if (json_object_set_new(row, key, json_stringn(buf->data, buf->len)))
    return zf_error(ZF_ENOMEM, "out of memory for a text");
  return 0;
}

/* --- HellaSwag: removes the marks of WikiHow's headings and texts in brackets --- */

static int clean(struct zf_buf *buf, const char *text) {
  zf_buf_clear(buf);
  zf_buf_puts(buf, text);
  int rc = zf_buf_ok(buf);
  if (!rc) rc = substitute(buf, "\\A" SPACE "+|" SPACE "+\\z", "");
  if (!rc) rc = replace(buf, " [title]", ". ");
  if (!rc) rc = substitute(buf, "\\[[^\\n]*?\\]", "");
  return rc ? rc : replace(buf, "  ", " ");
}

static int clean_endings(json_t *choices, const json_t *endings, struct zf_buf *cleaned) {
  const json_t *item;
  size_t i;
  if (!json_is_array(endings)) return zf_error(ZF_EINVALID, "field 'endings': expected a list");
  json_array_foreach(endings, i, item) {
    if (!json_is_string(item))
      return zf_error(ZF_EINVALID, "field 'endings': item %zu is no text", i);
    int rc = clean(cleaned, json_string_value(item));
    if (rc) return rc;
    json_array_append_new(choices, json_stringn(cleaned->data, cleaned->len));
  }
  return 0;
}

static int hellaswag(json_t *row) {
  struct zf_jinja *jinja;
  struct zf_buf buf = {0}, cleaned = {0};
  json_t *choices = json_array();
  int rc = zf_jinja_parse_as(&jinja, "{{activity_label}}: {{ctx_a}} {{ctx_b.capitalize()}}",
                             "hellaswag", ZF_JINJA_STRICT | ZF_JINJA_PLAIN);
  if (!rc) rc = zf_jinja_render(jinja, row, 0, &buf, NULL);
  if (!rc) rc = clean(&cleaned, buf.data);
  if (!rc) rc = set_text(row, "query", &cleaned);
  if (!rc) rc = clean_endings(choices, json_object_get(row, "endings"), &cleaned);
  if (!rc) json_object_set(row, "choices", choices);
  json_decref(choices);
  zf_buf_free(&buf);
  zf_buf_free(&cleaned);
  zf_jinja_free(jinja);
  return rc;
}

/* --- WikiText: removes the marks of its tokenization --- */

/* The order matters.  The row of  /' [0-9]/  replaces a match by the text  /'[0-9]/ , as the harness does,
 * since its numbers are to be reproduced. */
static const struct {
  int pattern;
  const char *from, *to;
} wikitext_steps[] = {
    {0, "s '", "s'"},
    {1, "/' [0-9]/", "/'[0-9]/"},
    {0, " @-@ ", "-"},
    {0, " @,@ ", ","},
    {0, " @.@ ", "."},
    {0, " : ", ": "},
    {0, " ; ", "; "},
    {0, " . ", ". "},
    {0, " ! ", "! "},
    {0, " ? ", "? "},
    {0, " , ", ", "},
    {1, "\\(" SPACE "*([^)]*?)" SPACE "*\\)", "($1)"},
    {1, "\\[" SPACE "*([^\\]]*?)" SPACE "*\\]", "[$1]"},
    {1, "\\{" SPACE "*([^}]*?)" SPACE "*\\}", "{$1}"},
    {1, "\"" SPACE "*([^\"]*?)" SPACE "*\"", "\"$1\""},
    {1, "'" SPACE "*([^']*?)" SPACE "*'", "'$1'"},
    {0, "= = = =", "===="},
    {0, "= = =", "==="},
    {0, "= =", "=="},
    {0, " \xC2\xB0 ", "\xC2\xB0"},
    {0, " \n", "\n"},
    {0, "\n ", "\n"},
    {0, " N ", " 1 "},
    {0, " 's", "'s"},
};

static int wikitext(json_t *row) {
  enum { COUNT = sizeof wikitext_steps / sizeof *wikitext_steps };
  const char *page = json_string_value(json_object_get(row, "page"));
  struct zf_buf buf = {0};
  if (!page) return zf_error(ZF_EINVALID, "field 'page': expected a text");
  zf_buf_puts(&buf, page);
  int rc = zf_buf_ok(&buf);
  for (int i = 0; i < COUNT; i++) {
    if (rc) break;
    rc = (wikitext_steps[i].pattern ? substitute : replace)(&buf, wikitext_steps[i].from,
                                                            wikitext_steps[i].to);
  }
  if (!rc) rc = set_text(row, "text", &buf);
  zf_buf_free(&buf);
  return rc;
}

/* --- the table --- */

static const struct zf_doc_step steps[] = {{"hellaswag", hellaswag}, {"wikitext", wikitext}};

enum { STEPS = sizeof steps / sizeof *steps };

const struct zf_doc_step *zf_doc_step(const char *name) {
  for (int i = 0; i < STEPS; i++)
    if (!strcmp(steps[i].name, name)) return &steps[i];
  return NULL;
}

const char *zf_doc_step_near(const char *name) {
  const char *names[STEPS];
  for (int i = 0; i < STEPS; i++) names[i] = steps[i].name;
  return zf_nearest(name, names, STEPS);
}

int64_t zf_doc_words(const char *text) {
  int64_t words = 1;
  int after_space = 0;
  for (const char *c = text; *c; c = zj_skip(c, 1)) {
    int space = zj_space_at(c);
    words += space && !after_space;
    after_space = space;
  }
  return words;
}
