/* Cuts the source of a template into tokens.
 *
 *   text {% if x -%}  y{{ z }}   ->   DATA TAG name name END DATA PRINT name END
 *
 * White space around a tag: "-" removes all of it on its side.  Without a sign a tag removes the blanks
 * before it on its line (lstrip_blocks) and the newline behind it (trim_blocks); "+" forbids that.  One
 * newline at the end of the source is dropped.  ZF_JINJA_PLAIN keeps the white space where no "-"
 * stands, and the last newline. */
#include <stdlib.h>
#include <string.h>

#include "jinja_internal.h"

enum { MAX_SOURCE = 4 << 20, MAX_TOKENS = 1 << 20 };

struct jinja_lexer {
  const char *name, *at, *end;
  int line, plain;
  int at_line; /* a line begins here */
  struct zj_tokens *out;
};

static int add_token(struct jinja_lexer *lexer, enum zj_token_kind kind, int line, const char *text,
                     int64_t len) {
  struct zj_tokens *tokens = lexer->out;
  if (tokens->count == tokens->cap) {
    int64_t cap = tokens->cap ? 2 * tokens->cap : 256;
    if (cap > MAX_TOKENS)
      return zf_error(ZF_EINVALID, "%s:%d: the template has more than %d tokens", lexer->name, line,
                      MAX_TOKENS);
    struct zj_token *tokens_at = realloc(tokens->token, (size_t)cap * sizeof *tokens_at);
    if (!tokens_at) return zf_error(ZF_ENOMEM, "%s: out of memory", lexer->name);
    tokens->token = tokens_at;
    tokens->cap = cap;
  }
  tokens->token[tokens->count++] = (struct zj_token){kind, line, text, len};
  return 0;
}

static void advance(struct jinja_lexer *lexer, const char *to) {
  for (; lexer->at < to; lexer->at++) lexer->line += *lexer->at == '\n';
}

static int is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static const char *skip_blanks(const struct jinja_lexer *lexer, const char *at) {
  while (at < lexer->end && is_blank(*at)) at++;
  return at;
}

/* The end of the text before the tag at `open`, after white-space control. */
static const char *data_end(const struct jinja_lexer *lexer, const char *open, int variable) {
  const char *from = open;
  char sign = open + 2 < lexer->end ? open[2] : 0;
  if (sign == '-') {
    while (from > lexer->at && is_blank(from[-1])) from--;
    return from;
  }
  if (sign == '+' || variable || lexer->plain) return open;
  while (from > lexer->at && is_blank(from[-1]) && from[-1] != '\n') from--;
  return (from > lexer->at ? from[-1] == '\n' : lexer->at_line) ? from : open;
}

/* Moves behind the end of a tag, "%}" with its sign, and behind the white space that it removes. */
static void after_end(struct jinja_lexer *lexer, const char *end, int sign, int variable) {
  int trim = sign != '+' && !variable && !lexer->plain; /* trim_blocks */
  if (sign == '-')
    end = skip_blanks(lexer, end);
  else if (trim && end < lexer->end && *end == '\n')
    end++;
  advance(lexer, end);
  lexer->at_line = end[-1] == '\n';
}

static int is_name(char c, int first) {
  return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (!first && c >= '0' && c <= '9');
}

static int lex_string(struct jinja_lexer *lexer) {
  const char *end = lexer->at + 1;
  int line = lexer->line;
  while (end < lexer->end && *end != *lexer->at)
    end += *end == '\\' && end + 1 < lexer->end ? 2 : 1;
  if (end >= lexer->end)
    return zf_error(ZF_EINVALID, "%s:%d: a string has no end", lexer->name, line);
  int rc = add_token(lexer, ZJ_STRING, line, lexer->at + 1, end - lexer->at - 1);
  advance(lexer, end + 1);
  return rc;
}

static int is_digit_at(const struct jinja_lexer *lexer, const char *at) {
  return at < lexer->end && *at >= '0' && *at <= '9';
}

static const char *skip_digits(const struct jinja_lexer *lexer, const char *at) {
  while (is_digit_at(lexer, at)) at++;
  return at;
}

static int lex_number(struct jinja_lexer *lexer) {
  const char *end = skip_digits(lexer, lexer->at);
  enum zj_token_kind kind = ZJ_INT;
  if (end < lexer->end && *end == '.' && is_digit_at(lexer, end + 1)) {
    kind = ZJ_FLOAT;
    end = skip_digits(lexer, end + 1);
  }
  if (end + 1 < lexer->end && (*end == 'e' || *end == 'E')) {
    const char *exponent = end + 1 + (end[1] == '+' || end[1] == '-');
    if (is_digit_at(lexer, exponent)) {
      kind = ZJ_FLOAT;
      end = skip_digits(lexer, exponent);
    }
  }
  int rc = add_token(lexer, kind, lexer->line, lexer->at, end - lexer->at);
  lexer->at = end;
  return rc;
}

static int lex_operator(struct jinja_lexer *lexer, int *nested) {
  static const char *const two[] = {"==", "!=", ">=", "<=", "//", "**"};
  int len = strchr("+-/*%~[](){}<>=.:|,", *lexer->at) ? 1 : 0;
  for (int i = 0; i < 6; i++)
    if (lexer->at + 1 < lexer->end && !memcmp(lexer->at, two[i], 2)) len = 2;
  if (!len || !*lexer->at)
    return zf_error(ZF_EINVALID, "%s:%d: unexpected '%.*s'", lexer->name, lexer->line,
                    *lexer->at & 0x80 ? 0 : 1, lexer->at);
  if (len == 1 && strchr("([{", *lexer->at)) ++*nested;
  if (len == 1 && strchr(")]}", *lexer->at)) --*nested;
  int rc = add_token(lexer, ZJ_OP, lexer->line, lexer->at, len);
  lexer->at += len;
  return rc;
}

/* The length of `close` ("%}" or "}}") at `at`, with its sign; 0: something else is there. */
static int ends_here(const struct jinja_lexer *lexer, const char *at, const char *close,
                     int *sign) {
  *sign = *at == '-' || *at == '+' ? *at : 0;
  const char *brackets = at + (*sign != 0);
  return lexer->end - brackets >= 2 && !memcmp(brackets, close, 2) ? 2 + (*sign != 0) : 0;
}

/* One token of a tag, neither its end nor white space. */
static int lex_token(struct jinja_lexer *lexer, int *nested) {
  const char *end = lexer->at;
  if (is_name(*end, 1)) {
    while (end < lexer->end && is_name(*end, 0)) end++;
    int rc = add_token(lexer, ZJ_NAME, lexer->line, lexer->at, end - lexer->at);
    lexer->at = end;
    return rc;
  }
  if (*end == '\'' || *end == '"') return lex_string(lexer);
  if (*end >= '0' && *end <= '9') return lex_number(lexer);
  return lex_operator(lexer, nested);
}

/* The tokens of a tag, up to and with its end. */
static int lex_tag(struct jinja_lexer *lexer, const char *close) {
  int nested = 0, sign, open = lexer->line;
  for (;;) {
    advance(lexer, skip_blanks(lexer, lexer->at));
    if (lexer->at >= lexer->end)
      return zf_error(ZF_EINVALID, "%s:%d: the tag has no '%s'", lexer->name, open, close);
    int len = nested <= 0 ? ends_here(lexer, lexer->at, close, &sign) : 0;
    if (len) {
      int rc = add_token(lexer, ZJ_END, lexer->line, lexer->at, len);
      after_end(lexer, lexer->at + len, sign, *close == '}');
      return rc;
    }
    int rc = lex_token(lexer, &nested);
    if (rc) return rc;
  }
}

static const char *find(const char *from, const char *end, const char *what) {
  return from < end ? memmem(from, (size_t)(end - from), what, strlen(what)) : NULL;
}

static int lex_comment(struct jinja_lexer *lexer) {
  const char *close = find(lexer->at, lexer->end, "#}");
  if (!close)
    return zf_error(ZF_EINVALID, "%s:%d: a comment has no '#}'", lexer->name, lexer->line);
  int sign = close > lexer->at && (close[-1] == '-' || close[-1] == '+') ? close[-1] : 0;
  advance(lexer, close + 2);
  after_end(lexer, close + 2, sign, 0);
  return 0;
}

/* The end of the tag at `at` when it is `word` ("raw", "endraw") and nothing else; else NULL. */
static const char *raw_tag(const struct jinja_lexer *lexer, const char *at, const char *word,
                           int *sign) {
  size_t word_len = strlen(word);
  at += 2 + (at + 2 < lexer->end && (at[2] == '-' || at[2] == '+'));
  at = skip_blanks(lexer, at);
  if ((size_t)(lexer->end - at) < word_len || memcmp(at, word, word_len)) return NULL;
  at = skip_blanks(lexer, at + word_len);
  int len = at < lexer->end ? ends_here(lexer, at, "%}", sign) : 0;
  return len ? at + len : NULL;
}

static int lex_raw(struct jinja_lexer *lexer, const char *from, int sign) {
  after_end(lexer, from, sign, 0);
  for (const char *tag = lexer->at; (tag = find(tag, lexer->end, "{%")); tag += 2) {
    const char *close = raw_tag(lexer, tag, "endraw", &sign);
    if (!close) continue;
    const char *stop = data_end(lexer, tag, 0);
    int rc = add_token(lexer, ZJ_DATA, lexer->line, lexer->at, stop - lexer->at);
    advance(lexer, close);
    after_end(lexer, close, sign, 0);
    return rc;
  }
  return zf_error(ZF_EINVALID, "%s:%d: 'raw' has no 'endraw'", lexer->name, lexer->line);
}

/* The text up to the next tag, and that tag. */
static int lex_part(struct jinja_lexer *lexer) {
  const char *open = lexer->at;
  int sign, rc = 0;
  while (open < lexer->end && !(*open == '{' && open + 1 < lexer->end && strchr("{%#", open[1])))
    open++;
  const char *stop = open < lexer->end ? data_end(lexer, open, open[1] == '{') : open;
  if (stop > lexer->at) rc = add_token(lexer, ZJ_DATA, lexer->line, lexer->at, stop - lexer->at);
  advance(lexer, open);
  if (rc || open == lexer->end) return rc;
  const char *raw = open[1] == '%' ? raw_tag(lexer, open, "raw", &sign) : NULL;
  if (raw) {
    advance(lexer, raw);
    return lex_raw(lexer, raw, sign);
  }
  lexer->at += 2;
  if (open[1] == '#') return lex_comment(lexer);
  if (lexer->at < lexer->end && (*lexer->at == '-' || *lexer->at == '+')) lexer->at++;
  rc = add_token(lexer, open[1] == '{' ? ZJ_PRINT : ZJ_TAG, lexer->line, open, 2);
  if (rc) return rc;
  return lex_tag(lexer, open[1] == '{' ? "}}" : "%}");
}

int zj_lex(struct zj_tokens *out, const char *text, const char *name, unsigned flags) {
  size_t len = strlen(text);
  if (len > MAX_SOURCE)
    return zf_error(ZF_EINVALID, "%s: the template has %zu bytes; at most %d", name, len,
                    MAX_SOURCE);
  struct jinja_lexer lexer = {
      .name = name, .at = text, .end = text + len, .line = 1, .at_line = 1, .out = out};
  lexer.plain = (flags & ZF_JINJA_PLAIN) != 0;
  if (len && text[len - 1] == '\n' && !lexer.plain) lexer.end--;
  int rc = 0;
  while (!rc && lexer.at < lexer.end) rc = lex_part(&lexer);
  return rc ? rc : add_token(&lexer, ZJ_EOF, lexer.line, lexer.end, 0);
}
