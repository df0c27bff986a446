/* The source of a template cut into tokens.
 *
 *   text {% if x -%}  y{{ z }}   ->   DATA TAG name name END DATA PRINT name END
 *
 * Around tags: "-" takes the white space on its side; without it a tag takes the blanks
 * before it on its line and the newline behind it (lstrip_blocks, trim_blocks), which
 * "+" forbids.  One newline at the end of the source is dropped.  ZF_JINJA_PLAIN leaves
 * both as they are. */
#include <stdlib.h>
#include <string.h>

#include "jinja_internal.h"

enum { SOURCE = 4 << 20, TOKENS = 1 << 20 };

struct lexer {
  const char *name, *p, *end;
  int line, plain;
  int at_line; /* what came before ended in a newline, or nothing did */
  struct zj_tokens *out;
};

static int add(struct lexer *l, enum zj_token_kind kind, int line, const char *p, int64_t n) {
  struct zj_tokens *t = l->out;
  if (t->count == t->cap) {
    int64_t cap = t->cap ? 2 * t->cap : 256;
    if (cap > TOKENS)
      return zf_error(ZF_EINVALID, "%s:%d: the template has more than %d tokens", l->name, line,
                      TOKENS);
    struct zj_token *at = realloc(t->at, (size_t)cap * sizeof *at);
    if (!at) return zf_error(ZF_ENOMEM, "%s: out of memory", l->name);
    t->at = at;
    t->cap = cap;
  }
  t->at[t->count++] = (struct zj_token){kind, line, p, n};
  return 0;
}

static void advance(struct lexer *l, const char *to) {
  for (; l->p < to; l->p++) l->line += *l->p == '\n';
}

static int is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

/* Text before a tag that opens at `open`: what of it stays. */
static const char *data_end(const struct lexer *l, const char *open, int variable) {
  const char *from = open;
  char sign = open + 2 < l->end ? open[2] : 0;
  if (sign == '-') {
    while (from > l->p && is_blank(from[-1])) from--;
    return from;
  }
  if (sign == '+' || variable || l->plain) return open;
  while (from > l->p && is_blank(from[-1]) && from[-1] != '\n') from--;
  return (from > l->p ? from[-1] == '\n' : l->at_line) ? from : open;
}

/* Behind the end of a tag at p, "%}" with its sign: what it takes along. */
static void after_end(struct lexer *l, const char *p, int sign, int variable) {
  if (sign == '-')
    while (p < l->end && is_blank(*p)) p++;
  else if (sign != '+' && !variable && !l->plain && p < l->end && *p == '\n')
    p++;
  advance(l, p);
  l->at_line = p[-1] == '\n';
}

static int is_name(char c, int first) {
  return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (!first && c >= '0' && c <= '9');
}

static int lex_string(struct lexer *l) {
  const char *p = l->p + 1;
  int line = l->line;
  while (p < l->end && *p != *l->p) p += *p == '\\' && p + 1 < l->end ? 2 : 1;
  if (p >= l->end) return zf_error(ZF_EINVALID, "%s:%d: a string has no end", l->name, line);
  int rc = add(l, ZJ_STRING, line, l->p + 1, p - l->p - 1);
  advance(l, p + 1);
  return rc;
}

static int lex_number(struct lexer *l) {
  const char *p = l->p;
  enum zj_token_kind kind = ZJ_INT;
  while (p < l->end && *p >= '0' && *p <= '9') p++;
  if (p + 1 < l->end && *p == '.' && p[1] >= '0' && p[1] <= '9') {
    kind = ZJ_FLOAT;
    for (p++; p < l->end && *p >= '0' && *p <= '9';) p++;
  }
  if (p + 1 < l->end && (*p == 'e' || *p == 'E')) {
    const char *q = p + 1 + (p[1] == '+' || p[1] == '-');
    if (q < l->end && *q >= '0' && *q <= '9') {
      kind = ZJ_FLOAT;
      for (p = q; p < l->end && *p >= '0' && *p <= '9';) p++;
    }
  }
  int rc = add(l, kind, l->line, l->p, p - l->p);
  l->p = p;
  return rc;
}

static int lex_operator(struct lexer *l, int *nested) {
  static const char *const two[] = {"==", "!=", ">=", "<=", "//", "**"};
  int n = strchr("+-/*%~[](){}<>=.:|,", *l->p) ? 1 : 0;
  for (int i = 0; i < 6; i++)
    if (l->p + 1 < l->end && !memcmp(l->p, two[i], 2)) n = 2;
  if (!n || !*l->p)
    return zf_error(ZF_EINVALID, "%s:%d: unexpected '%.*s'", l->name, l->line, *l->p & 0x80 ? 0 : 1,
                    l->p);
  *nested += n == 1 && strchr("([{", *l->p) ? 1 : n == 1 && strchr(")]}", *l->p) ? -1 : 0;
  int rc = add(l, ZJ_OP, l->line, l->p, n);
  l->p += n;
  return rc;
}

/* Does "%}" or "}}" stand at p, with its sign?  Its length. */
static int ends_here(const struct lexer *l, const char *p, const char *close, int *sign) {
  *sign = *p == '-' || *p == '+' ? *p : 0;
  const char *q = p + (*sign != 0);
  return l->end - q >= 2 && !memcmp(q, close, 2) ? 2 + (*sign != 0) : 0;
}

/* The inside of a tag, up to and with its end. */
static int lex_tag(struct lexer *l, const char *close) {
  int nested = 0, rc = 0, sign, open = l->line;
  while (!rc) {
    while (l->p < l->end && is_blank(*l->p)) advance(l, l->p + 1);
    if (l->p >= l->end)
      return zf_error(ZF_EINVALID, "%s:%d: the tag has no '%s'", l->name, open, close);
    int n = nested <= 0 ? ends_here(l, l->p, close, &sign) : 0;
    if (n) {
      rc = add(l, ZJ_END, l->line, l->p, n);
      after_end(l, l->p + n, sign, *close == '}');
      return rc;
    }
    const char *p = l->p;
    if (is_name(*p, 1)) {
      while (p < l->end && is_name(*p, 0)) p++;
      rc = add(l, ZJ_NAME, l->line, l->p, p - l->p);
      l->p = p;
    } else if (*p == '\'' || *p == '"') {
      rc = lex_string(l);
    } else if (*p >= '0' && *p <= '9') {
      rc = lex_number(l);
    } else {
      rc = lex_operator(l, &nested);
    }
  }
  return rc;
}

static const char *find(const char *p, const char *end, const char *what) {
  return p < end ? memmem(p, (size_t)(end - p), what, strlen(what)) : NULL;
}

static int lex_comment(struct lexer *l) {
  const char *close = find(l->p, l->end, "#}");
  if (!close) return zf_error(ZF_EINVALID, "%s:%d: a comment has no '#}'", l->name, l->line);
  int sign = close > l->p && (close[-1] == '-' || close[-1] == '+') ? close[-1] : 0;
  advance(l, close + 2);
  after_end(l, close + 2, sign, 0);
  return 0;
}

/* Is the tag at p "raw", or "endraw"?  Where it ends, or NULL. */
static const char *raw_tag(const struct lexer *l, const char *p, const char *word, int *sign) {
  size_t n = strlen(word);
  p += 2 + (p + 2 < l->end && (p[2] == '-' || p[2] == '+'));
  while (p < l->end && is_blank(*p)) p++;
  if ((size_t)(l->end - p) < n || memcmp(p, word, n)) return NULL;
  for (p += n; p < l->end && is_blank(*p);) p++;
  int k = p < l->end ? ends_here(l, p, "%}", sign) : 0;
  return k ? p + k : NULL;
}

static int lex_raw(struct lexer *l, const char *from, int sign) {
  after_end(l, from, sign, 0);
  for (const char *p = l->p; (p = find(p, l->end, "{%")); p += 2) {
    const char *close = raw_tag(l, p, "endraw", &sign);
    if (!close) continue;
    const char *stop = data_end(l, p, 0);
    int rc = add(l, ZJ_DATA, l->line, l->p, stop - l->p);
    advance(l, close);
    after_end(l, close, sign, 0);
    return rc;
  }
  return zf_error(ZF_EINVALID, "%s:%d: 'raw' has no 'endraw'", l->name, l->line);
}

/* One stretch of text and the tag behind it. */
static int lex_part(struct lexer *l) {
  const char *open = l->p;
  int sign, rc = 0;
  while (open < l->end && !(*open == '{' && open + 1 < l->end && strchr("{%#", open[1]))) open++;
  const char *stop = open < l->end ? data_end(l, open, open[1] == '{') : open;
  if (stop > l->p) rc = add(l, ZJ_DATA, l->line, l->p, stop - l->p);
  advance(l, open);
  if (rc || open == l->end) return rc;
  const char *raw = open[1] == '%' ? raw_tag(l, open, "raw", &sign) : NULL;
  if (raw) {
    advance(l, raw);
    return lex_raw(l, raw, sign);
  }
  l->p += 2;
  if (open[1] == '#') return lex_comment(l);
  if (l->p < l->end && (*l->p == '-' || *l->p == '+')) l->p++;
  rc = add(l, open[1] == '{' ? ZJ_PRINT : ZJ_TAG, l->line, open, 2);
  return rc ? rc : lex_tag(l, open[1] == '{' ? "}}" : "%}");
}

int zj_lex(struct zj_tokens *out, const char *text, const char *name, unsigned flags) {
  size_t n = strlen(text);
  if (n > SOURCE)
    return zf_error(ZF_EINVALID, "%s: the template has %zu bytes; at most %d", name, n, SOURCE);
  struct lexer l = {.name = name, .p = text, .end = text + n, .line = 1, .at_line = 1, .out = out};
  l.plain = (flags & ZF_JINJA_PLAIN) != 0;
  if (n && text[n - 1] == '\n' && !l.plain) l.end--;
  int rc = 0;
  while (!rc && l.p < l.end) rc = lex_part(&l);
  return rc ? rc : add(&l, ZJ_EOF, l.line, l.end, 0);
}
