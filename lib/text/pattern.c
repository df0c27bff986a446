/* Patterns: a literal string or a regular expression, and the segments into which it splits a text.
 *
 * Expressions are written for Oniguruma; pattern_ruby.c rewrites them for PCRE2.  Every match is
 * limited in steps and memory, so that a hostile pattern is an error instead of a hang. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fmt/json.h"
#include "text_internal.h"

enum { MATCH_STEPS = 10000000, HEAP_KB = 65536 };

struct zf_pattern {
  char *literal; /* NULL: code is used */
  int64_t literal_len;
  pcre2_code *code;
  pcre2_match_context *context;
  int jit;
  char *where;
};

static int compile(struct zf_pattern *pattern, const char *text, size_t len) {
  int error = 0;
  size_t at = 0;
  char reason[160];
  pcre2_compile_context *compile_context = pcre2_compile_context_create(NULL);
  pattern->context = pcre2_match_context_create(NULL);
  if (compile_context && pattern->context) {
    pcre2_set_newline(compile_context, PCRE2_NEWLINE_LF);
    pattern->code = pcre2_compile((PCRE2_SPTR)text, len,
                                  PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                                  &error, &at, compile_context);
  }
  pcre2_compile_context_free(compile_context);
  if (!compile_context || !pattern->context || (!pattern->code && error == PCRE2_ERROR_HEAP_FAILED))
    return zf_error(ZF_ENOMEM, "%s: out of memory for a pattern", pattern->where);
  if (!pattern->code) {
    pcre2_get_error_message(error, (PCRE2_UCHAR *)reason, sizeof reason);
    return zf_error(ZF_EINVALID, "%s: pattern '%s': at byte %zu: %s", pattern->where, text, at,
                    reason);
  }
  pcre2_set_match_limit(pattern->context, MATCH_STEPS);
  pcre2_set_heap_limit(pattern->context, HEAP_KB);
  /* If the system forbids generated code, the interpreter is used. */
  pattern->jit = pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE) == 0;
  return 0;
}

int zf_pattern_new(struct zf_pattern **out, const char *text, int literal, const char *where) {
  struct zf_buf regex = {0};
  int rc = 0;
  *out = NULL;
  struct zf_pattern *pattern = zf_calloc(1, sizeof *pattern);
  if (!pattern) return ZF_ENOMEM;
  pattern->where = zf_strdup(where);
  if (!pattern->where) {
    rc = ZF_ENOMEM;
  } else if (literal && *text) {
    pattern->literal = zf_strdup(text);
    pattern->literal_len = (int64_t)strlen(text);
    if (!pattern->literal) rc = ZF_ENOMEM;
  } else {
    /* The empty literal matches between any two characters, as the expression does. */
    rc = zf_pattern_translate(&regex, text, where);
    if (!rc) rc = compile(pattern, regex.data ? regex.data : "", regex.len);
  }
  zf_buf_free(&regex);
  if (rc) {
    zf_pattern_free(pattern);
    return rc;
  }
  *out = pattern;
  return 0;
}

int zf_pattern_parse(struct zf_pattern **out, const json_t *def, const char *where) {
  const json_t *value = json_object_get(def, "pattern");
  const char *text = NULL;
  *out = NULL;
  int rc = zf_json_str(&text, value, "String", where);
  if (!rc && text) return zf_pattern_new(out, text, 1, where);
  if (!rc) rc = zf_json_str(&text, value, "Regex", where);
  if (!rc && text) return zf_pattern_new(out, text, 0, where);
  if (!rc)
    rc = zf_error(ZF_EINVALID, "%s: key 'pattern': expected {\"String\": ...} or {\"Regex\": ...}",
                  where);
  return rc;
}

void zf_pattern_free(struct zf_pattern *pattern) {
  if (!pattern) return;
  free(pattern->literal);
  free(pattern->where);
  pcre2_code_free(pattern->code);
  pcre2_match_context_free(pattern->context);
  free(pattern);
}

void zf_pattern_free_match(void *match_data) {
  pcre2_match_data_free(match_data);
}

static int find_literal(const struct zf_pattern *pattern, struct zf_encoding *encoding,
                        const char *text, int64_t len) {
  int64_t done = 0;
  for (;;) {
    const char *at =
        memmem(text + done, (size_t)(len - done), pattern->literal, (size_t)pattern->literal_len);
    if (!at) break;
    int64_t from = at - text, to = from + pattern->literal_len;
    int rc = from > done ? zf_encoding_add_segment(encoding, done, from, 0) : 0;
    if (!rc) rc = zf_encoding_add_segment(encoding, from, to, 1);
    if (rc) return rc;
    done = to;
  }
  return done < len ? zf_encoding_add_segment(encoding, done, len, 0) : 0;
}

/* The first match at or after byte `at`: 1 with its range, 0 for none, or a code. */
static int find_match(const struct zf_pattern *pattern, struct zf_encoding *encoding,
                      const char *text, int64_t len, int64_t at, int64_t range[2]) {
  pcre2_match_data *data = encoding->match_data;
  int rc = PCRE2_ERROR_JIT_STACKLIMIT;
  if (pattern->jit)
    rc = pcre2_jit_match(pattern->code, (PCRE2_SPTR)text, (size_t)len, (size_t)at, 0, data,
                         pattern->context);
  if (rc == PCRE2_ERROR_JIT_STACKLIMIT) /* the interpreter keeps its stack in the heap */
    rc = pcre2_match(pattern->code, (PCRE2_SPTR)text, (size_t)len, (size_t)at,
                     PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data, pattern->context);
  if (rc == PCRE2_ERROR_NOMATCH) return 0;
  if (rc == PCRE2_ERROR_NOMEMORY) return zf_error(ZF_ENOMEM, "%s: out of memory", pattern->where);
  if (rc < 0) {
    char reason[160];
    pcre2_get_error_message(rc, (PCRE2_UCHAR *)reason, sizeof reason);
    return zf_error(ZF_EINVALID,
                    "%s: matching the pattern failed at byte %lld of a text of %lld: %s",
                    pattern->where, (long long)at, (long long)len, reason);
  }
  const size_t *offsets = pcre2_get_ovector_pointer(data);
  range[0] = (int64_t)offsets[0];
  range[1] = (int64_t)offsets[1];
  if (range[0] < at || range[1] < range[0])
    return zf_error(ZF_EINVALID, "%s: the pattern matches text before the place that is searched",
                    pattern->where);
  return 1;
}

int zf_pattern_find(const struct zf_pattern *pattern, struct zf_encoding *encoding,
                    const char *text, int64_t len) {
  if (len == 0) return zf_encoding_add_segment(encoding, 0, 0, 0);
  if (pattern->literal) return find_literal(pattern, encoding, text, len);
  if (!encoding->match_data) encoding->match_data = pcre2_match_data_create(1, NULL);
  if (!encoding->match_data) return zf_error(ZF_ENOMEM, "%s: out of memory", pattern->where);
  int64_t at = 0, done = 0, last = -1, range[2] = {0, 0};
  while (at <= len) {
    int rc = find_match(pattern, encoding, text, len, at, range);
    if (rc < 0) return rc;
    if (!rc) break;
    if (range[0] == range[1] && range[1] == last) { /* an empty match at the end of the last one */
      uint32_t c;
      at += at < len ? zf_char_next(&c, text + at, len - at) : 1;
      continue;
    }
    at = last = range[1];
    rc = range[0] > done ? zf_encoding_add_segment(encoding, done, range[0], 0) : 0;
    if (!rc) rc = zf_encoding_add_segment(encoding, range[0], range[1], 1);
    if (rc) return rc;
    done = range[1];
  }
  return done < len ? zf_encoding_add_segment(encoding, done, len, 0) : 0;
}
