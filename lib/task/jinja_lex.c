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

static int add(struct lexer *lexer, enum zj_token_kind kind, int line, const char *p, int64_t len) {
  struct zj_tokens *tokens = lexer->out;
  if (tokens->count == tokens->cap) {
    int64_t cap = tokens->cap ? 2 * tokens->cap : 256;
    if (cap > TOKENS)
      return zf_error(ZF_EINVALID, "%s:%d: the template has more than %d tokens", lexer->name, line,
                      TOKENS);
    struct zj_token *at = realloc(tokens->at, (size_t)cap * sizeof *at);
    if (!at) return zf_error(ZF_ENOMEM, "%s: out of memory", lexer->name);
    tokens->at = at;
    tokens->cap = cap;
  }
  tokens->at[tokens->count++] = (struct zj_token){kind, line, p, len};
  return 0;
}

static void advance(struct lexer *lexer, const char *to) {
  for (; lexer->p < to; lexer->p++) lexer->line += *lexer->p == '\n';
}

static int is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

/* Text before a tag that opens at `open`: what of it stays. */
static const char *data_end(const struct lexer *lexer, const char *open, int variable) {
  const char *from = open;
  char sign = open + 2 < lexer->end ? open[2] : 0;
  if (sign == '-') {
    while (from > lexer->p && is_blank(from[-1])) from--;
    return from;
  }
  if (sign == '+' || variable || lexer->plain) return open;
  while (from > lexer->p && is_blank(from[-1]) && from[-1] != '\n') from--;
  return (from > lexer->p ? from[-1] == '\n' : lexer->at_line) ? from : open;
}

/* Behind the end of a tag at p, "%}" with its sign: what it takes along. */
static void after_end(struct lexer *lexer, const char *p, int sign, int variable) {
  if (sign == '-')
    while (p < lexer->end && is_blank(*p)) p++;
  else if (sign != '+' && !variable && !lexer->plain && p < lexer->end && *p == '\n')
    p++;
  advance(lexer, p);
  lexer->at_line = p[-1] == '\n';
}

static int is_name(char c, int first) {
  return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (!first && c >= '0' && c <= '9');
}

static int lex_string(struct lexer *lexer) {
  const char *p = lexer->p + 1;
  int line = lexer->line;
  while (p < lexer->end && *p != *lexer->p) p += *p == '\\' && p + 1 < lexer->end ? 2 : 1;
  if (p >= lexer->end)
    return zf_error(ZF_EINVALID, "%s:%d: a string has no end", lexer->name, line);
  int rc = add(lexer, ZJ_STRING, line, lexer->p + 1, p - lexer->p - 1);
  advance(lexer, p + 1);
  return rc;
}

static int lex_number(struct lexer *lexer) {
  const char *p = lexer->p;
  enum zj_token_kind kind = ZJ_INT;
  while (p < lexer->end && *p >= '0' && *p <= '9') p++;
  if (p + 1 < lexer->end && *p == '.' && p[1] >= '0' && p[1] <= '9') {
    kind = ZJ_FLOAT;
    for (p++; p < lexer->end && *p >= '0' && *p <= '9';) p++;
  }
  if (p + 1 < lexer->end && (*p == 'e' || *p == 'E')) {
    const char *q = p + 1 + (p[1] == '+' || p[1] == '-');
    if (q < lexer->end && *q >= '0' && *q <= '9') {
      kind = ZJ_FLOAT;
      for (p = q; p < lexer->end && *p >= '0' && *p <= '9';) p++;
    }
  }
  int rc = add(lexer, kind, lexer->line, lexer->p, p - lexer->p);
  lexer->p = p;
  return rc;
}

static int lex_operator(struct lexer *lexer, int *nested) {
  static const char *const two[] = {"==", "!=", ">=", "<=", "//", "**"};
  int n = strchr("+-/*%~[](){}<>=.:|,", *lexer->p) ? 1 : 0;
  for (int i = 0; i < 6; i++)
    if (lexer->p + 1 < lexer->end && !memcmp(lexer->p, two[i], 2)) n = 2;
  if (!n || !*lexer->p)
    return zf_error(ZF_EINVALID, "%s:%d: unexpected '%.*s'", lexer->name, lexer->line,
                    *lexer->p & 0x80 ? 0 : 1, lexer->p);
  *nested += n == 1 && strchr("([{", *lexer->p) ? 1 : n == 1 && strchr(")]}", *lexer->p) ? -1 : 0;
  int rc = add(lexer, ZJ_OP, lexer->line, lexer->p, n);
  lexer->p += n;
  return rc;
}

/* Does "%}" or "}}" stand at p, with its sign?  Its length. */
static int ends_here(const struct lexer *lexer, const char *p, const char *close, int *sign) {
  *sign = *p == '-' || *p == '+' ? *p : 0;
  const char *q = p + (*sign != 0);
  return lexer->end - q >= 2 && !memcmp(q, close, 2) ? 2 + (*sign != 0) : 0;
}

/* The inside of a tag, up to and with its end. */
static int lex_tag(struct lexer *lexer, const char *close) {
  int nested = 0, rc = 0, sign, open = lexer->line;
  while (!rc) {
    while (lexer->p < lexer->end && is_blank(*lexer->p)) advance(lexer, lexer->p + 1);
    if (lexer->p >= lexer->end)
      return zf_error(ZF_EINVALID, "%s:%d: the tag has no '%s'", lexer->name, open, close);
    int n = nested <= 0 ? ends_here(lexer, lexer->p, close, &sign) : 0;
    if (n) {
      rc = add(lexer, ZJ_END, lexer->line, lexer->p, n);
      after_end(lexer, lexer->p + n, sign, *close == '}');
      return rc;
    }
    const char *p = lexer->p;
    if (is_name(*p, 1)) {
      while (p < lexer->end && is_name(*p, 0)) p++;
      rc = add(lexer, ZJ_NAME, lexer->line, lexer->p, p - lexer->p);
      lexer->p = p;
    } else if (*p == '\'' || *p == '"') {
      rc = lex_string(lexer);
    } else if (*p >= '0' && *p <= '9') {
      rc = lex_number(lexer);
    } else {
      rc = lex_operator(lexer, &nested);
    }
  }
  return rc;
}

static const char *find(const char *p, const char *end, const char *what) {
  return p < end ? memmem(p, (size_t)(end - p), what, strlen(what)) : NULL;
}

static int lex_comment(struct lexer *lexer) {
  const char *close = find(lexer->p, lexer->end, "#}");
  if (!close)
    return zf_error(ZF_EINVALID, "%s:%d: a comment has no '#}'", lexer->name, lexer->line);
  int sign = close > lexer->p && (close[-1] == '-' || close[-1] == '+') ? close[-1] : 0;
  advance(lexer, close + 2);
  after_end(lexer, close + 2, sign, 0);
  return 0;
}

/* Is the tag at p "raw", or "endraw"?  Where it ends, or NULL. */
static const char *raw_tag(const struct lexer *lexer, const char *p, const char *word, int *sign) {
  size_t n = strlen(word);
  p += 2 + (p + 2 < lexer->end && (p[2] == '-' || p[2] == '+'));
  while (p < lexer->end && is_blank(*p)) p++;
  if ((size_t)(lexer->end - p) < n || memcmp(p, word, n)) return NULL;
  for (p += n; p < lexer->end && is_blank(*p);) p++;
  int k = p < lexer->end ? ends_here(lexer, p, "%}", sign) : 0;
  return k ? p + k : NULL;
}

static int lex_raw(struct lexer *lexer, const char *from, int sign) {
  after_end(lexer, from, sign, 0);
  for (const char *p = lexer->p; (p = find(p, lexer->end, "{%")); p += 2) {
    const char *close = raw_tag(lexer, p, "endraw", &sign);
    if (!close) continue;
    const char *stop = data_end(lexer, p, 0);
    int rc = add(lexer, ZJ_DATA, lexer->line, lexer->p, stop - lexer->p);
    advance(lexer, close);
    after_end(lexer, close, sign, 0);
    return rc;
  }
  return zf_error(ZF_EINVALID, "%s:%d: 'raw' has no 'endraw'", lexer->name, lexer->line);
}

/* One stretch of text and the tag behind it. */
static int lex_part(struct lexer *lexer) {
  const char *open = lexer->p;
  int sign, rc = 0;
  while (open < lexer->end && !(*open == '{' && open + 1 < lexer->end && strchr("{%#", open[1])))
    open++;
  const char *stop = open < lexer->end ? data_end(lexer, open, open[1] == '{') : open;
  if (stop > lexer->p) rc = add(lexer, ZJ_DATA, lexer->line, lexer->p, stop - lexer->p);
  advance(lexer, open);
  if (rc || open == lexer->end) return rc;
  const char *raw = open[1] == '%' ? raw_tag(lexer, open, "raw", &sign) : NULL;
  if (raw) {
    advance(lexer, raw);
    return lex_raw(lexer, raw, sign);
  }
  lexer->p += 2;
  if (open[1] == '#') return lex_comment(lexer);
  if (lexer->p < lexer->end && (*lexer->p == '-' || *lexer->p == '+')) lexer->p++;
  rc = add(lexer, open[1] == '{' ? ZJ_PRINT : ZJ_TAG, lexer->line, open, 2);
  return rc ? rc : lex_tag(lexer, open[1] == '{' ? "}}" : "%}");
}

int zj_lex(struct zj_tokens *out, const char *text, const char *name, unsigned flags) {
  size_t n = strlen(text);
  if (n > SOURCE)
    return zf_error(ZF_EINVALID, "%s: the template has %zu bytes; at most %d", name, n, SOURCE);
  struct lexer lexer = {
      .name = name, .p = text, .end = text + n, .line = 1, .at_line = 1, .out = out};
  lexer.plain = (flags & ZF_JINJA_PLAIN) != 0;
  if (n && text[n - 1] == '\n' && !lexer.plain) lexer.end--;
  int rc = 0;
  while (!rc && lexer.p < lexer.end) rc = lex_part(&lexer);
  return rc ? rc : add(&lexer, ZJ_EOF, lexer.line, lexer.end, 0);
}
