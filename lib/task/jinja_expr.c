/* Expressions of a template, from tokens to nodes: a recursive descent in Jinja's order of
 * operators, conditional < or < and < not < comparisons < + - < ~ < * / // % < ** < unary < | and
 * is */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "jinja_parse_internal.h"

int zj_p_fail(const struct zj_parser *p, const char *what) {
  const struct zj_token *k = p->at;
  static const char *const kind[] = {"text", "'{{'", "a tag", "the end of the tag"};
  if (k->kind == ZJ_EOF)
    return zf_error(ZF_EINVALID, "%s:%d: expected %s, found the end of the template",
                    p->jinja->name, k->line, what);
  if (k->kind < ZJ_NAME)
    return zf_error(ZF_EINVALID, "%s:%d: expected %s, found %s", p->jinja->name, k->line, what,
                    kind[k->kind]);
  return zf_error(ZF_EINVALID, "%s:%d: expected %s, found '%.*s'", p->jinja->name, k->line, what,
                  (int)(k->len < 40 ? k->len : 40), k->text);
}

int zj_p_unsupported(const struct zj_parser *p, const char *what) {
  return zf_error(ZF_EINVALID, "%s:%d: %s '%.*s' is not supported", p->jinja->name, p->at->line,
                  what, (int)(p->at->len < 40 ? p->at->len : 40), p->at->text);
}

int zj_p_is_op(const struct zj_parser *p, const char *op) {
  return p->at->kind == ZJ_OP && (size_t)p->at->len == strlen(op) &&
         !memcmp(p->at->text, op, (size_t)p->at->len);
}

int zj_p_is_word(const struct zj_parser *p, const char *word) {
  return p->at->kind == ZJ_NAME && (size_t)p->at->len == strlen(word) &&
         !memcmp(p->at->text, word, (size_t)p->at->len);
}

int zj_p_accept(struct zj_parser *p, const char *op) {
  int yes = zj_p_is_op(p, op);
  p->at += yes;
  return yes;
}

int zj_p_expect(struct zj_parser *p, const char *op) {
  char what[8] = "'";
  if (zj_p_accept(p, op)) return 0;
  strcat(strcat(what, op), "'");
  return zj_p_fail(p, what);
}

int zj_p_expect_end(struct zj_parser *p) {
  if (p->at->kind != ZJ_END) return zj_p_fail(p, "the end of the tag");
  p->at++;
  return 0;
}

int zj_p_make(struct zj_parser *p, node *out, enum zj_node_kind kind) {
  node n = zf_calloc(1, sizeof *n);
  if (!n) return ZF_ENOMEM;
  n->kind = kind;
  n->line = p->at->line;
  n->all = p->jinja->all;
  p->jinja->all = n;
  *out = n;
  return 0;
}

int zj_p_take_name(struct zj_parser *p, node n) {
  if (p->at->kind != ZJ_NAME) return zj_p_fail(p, "a name");
  n->name = zf_strndup(p->at->text, (size_t)p->at->len);
  p->at++;
  return n->name ? 0 : ZF_ENOMEM;
}

static int unary(struct zj_parser *p, node *out, int filters);

int zj_p_enter(struct zj_parser *p) {
  if (++p->depth <= ZF_JINJA_DEPTH) return 0;
  return zf_error(ZF_EINVALID, "%s:%d: nested more than %d deep", p->jinja->name, p->at->line,
                  ZF_JINJA_DEPTH);
}

/* --- literals ------------------------------------------------------------------------------ */

static void put_code(struct zf_buf *b, uint32_t c) {
  if (c < 0x80) {
    zf_buf_putc(b, (char)c);
    return;
  }
  if (c >= 0x10000) {
    zf_buf_putc(b, (char)(0xF0 | c >> 18));
    zf_buf_putc(b, (char)(0x80 | (c >> 12 & 63)));
  } else if (c >= 0x800) {
    zf_buf_putc(b, (char)(0xE0 | c >> 12));
  }
  if (c >= 0x800)
    zf_buf_putc(b, (char)(0x80 | (c >> 6 & 63)));
  else
    zf_buf_putc(b, (char)(0xC0 | c >> 6));
  zf_buf_putc(b, (char)(0x80 | (c & 63)));
}

/* Behind a backslash; returns how many bytes it took. */
static int64_t escape(struct zf_buf *b, const char *s, int64_t n) {
  static const char from[] = "nrtbfva0\\'\"", to[] = "\n\r\t\b\f\v\a\0\\'\"";
  const char *hit = *s ? strchr(from, *s) : NULL;
  int digits = *s == 'x' ? 2 : *s == 'u' ? 4 : *s == 'U' ? 8 : 0;
  char hex[9] = {0}, *end;
  if (digits && n > digits) {
    memcpy(hex, s + 1, (size_t)digits);
    unsigned long c = strtoul(hex, &end, 16);
    if (end == hex + digits && c && c < 0x110000 && (c < 0xD800 || c > 0xDFFF)) {
      put_code(b, (uint32_t)c);
      return 1 + digits;
    }
  }
  if (hit && to[hit - from]) {
    zf_buf_putc(b, to[hit - from]);
  } else if (*s != '\n') { /* unknown: both stay, as in Python */
    zf_buf_putc(b, '\\');
    zf_buf_putc(b, *s);
  }
  return 1;
}

/* Strings side by side are one. */
static int string(struct zj_parser *p, node *out) {
  struct zf_buf b = {0};
  int rc = zj_p_make(p, out, ZJ_N_CONST);
  zf_buf_puts(&b, "");
  for (; p->at->kind == ZJ_STRING; p->at++) {
    const char *s = p->at->text;
    for (int64_t i = 0, n = p->at->len; i < n;) {
      if (s[i] == '\\' && i + 1 < n)
        i += 1 + escape(&b, s + i + 1, n - i - 1);
      else
        zf_buf_putc(&b, s[i++]);
    }
  }
  if (!rc) rc = zf_buf_ok(&b);
  if (!rc && !((*out)->value = json_stringn(b.data, b.len))) {
    p->at--;
    rc = zj_p_fail(p, "UTF-8");
  }
  zf_buf_free(&b);
  return rc;
}

static int number(struct zj_parser *p, node *out) {
  char text[64];
  int rc = zj_p_make(p, out, ZJ_N_CONST);
  if (rc || p->at->len >= (int64_t)sizeof text) return rc ? rc : zj_p_unsupported(p, "number");
  memcpy(text, p->at->text, (size_t)p->at->len);
  text[p->at->len] = 0;
  errno = 0;
  (*out)->value =
      p->at->kind == ZJ_INT ? json_integer(strtoll(text, NULL, 10)) : json_real(strtod(text, NULL));
  if (errno || !(*out)->value) return zj_p_unsupported(p, "number");
  p->at++;
  return 0;
}

/* Items up to `close`, its opening behind us. */
static int items(struct zj_parser *p, node *list, const char *close) {
  int rc = 0;
  while (!rc && !zj_p_is_op(p, close)) {
    rc = zj_p_expression(p, list);
    if (!rc) list = &(*list)->next;
    if (!rc && !zj_p_is_op(p, close)) rc = zj_p_expect(p, ",");
  }
  return rc ? rc : zj_p_expect(p, close);
}

static int dictionary(struct zj_parser *p, node *out) {
  int rc = zj_p_make(p, out, ZJ_N_DICT);
  node *list = rc ? NULL : &(*out)->list;
  while (!rc && !zj_p_is_op(p, "}")) {
    rc = zj_p_make(p, list, ZJ_N_PAIR);
    if (!rc) rc = zj_p_expression(p, &(*list)->first);
    if (!rc) rc = zj_p_expect(p, ":");
    if (!rc) rc = zj_p_expression(p, &(*list)->second);
    if (!rc) list = &(*list)->next;
    if (!rc && !zj_p_is_op(p, "}")) rc = zj_p_expect(p, ",");
  }
  return rc ? rc : zj_p_expect(p, "}");
}

/* "(a)" is a; "(a, b)" and "()" are tuples. */
static int parenthesis(struct zj_parser *p, node *out) {
  node first = NULL;
  int rc = zj_p_is_op(p, ")") ? 0 : zj_p_expression(p, &first);
  if (rc) return rc;
  if (first && zj_p_accept(p, ")")) {
    *out = first;
    return 0;
  }
  rc = zj_p_make(p, out, ZJ_N_LIST);
  if (rc) return rc;
  (*out)->list = first;
  (*out)->negated = 1;
  if (first) rc = zj_p_expect(p, ",");
  return rc ? rc : items(p, first ? &first->next : &(*out)->list, ")");
}

static int word(struct zj_parser *p, node *out) {
  static const struct {
    const char *name;
    int value;
  } constant[] = {{"true", 1}, {"True", 1}, {"false", 0}, {"False", 0}, {"none", -1}, {"None", -1}};
  for (int i = 0; i < 6; i++) {
    if (!zj_p_is_word(p, constant[i].name)) continue;
    int rc = zj_p_make(p, out, ZJ_N_CONST);
    if (!rc) (*out)->value = constant[i].value < 0 ? json_null() : json_boolean(constant[i].value);
    p->at++;
    return rc;
  }
  int rc = zj_p_make(p, out, ZJ_N_NAME);
  return rc ? rc : zj_p_take_name(p, *out);
}

static int primary(struct zj_parser *p, node *out) {
  if (p->at->kind == ZJ_STRING) return string(p, out);
  if (p->at->kind == ZJ_INT || p->at->kind == ZJ_FLOAT) return number(p, out);
  if (p->at->kind == ZJ_NAME) return word(p, out);
  if (zj_p_accept(p, "(")) return parenthesis(p, out);
  if (zj_p_accept(p, "{")) return dictionary(p, out);
  if (!zj_p_accept(p, "[")) return zj_p_fail(p, "a value");
  int rc = zj_p_make(p, out, ZJ_N_LIST);
  return rc ? rc : items(p, &(*out)->list, "]");
}

/* --- what follows a value -------------------------------------------------------------------- */

/* Arguments behind "(". */
static int arguments(struct zj_parser *p, node *list) {
  int rc = 0;
  while (!rc && !zj_p_is_op(p, ")")) {
    if (zj_p_is_op(p, "*") || zj_p_is_op(p, "**")) return zj_p_unsupported(p, "argument");
    rc = zj_p_make(p, list, ZJ_N_ARG);
    if (!rc && p->at->kind == ZJ_NAME && p->at[1].kind == ZJ_OP && p->at[1].len == 1 &&
        *p->at[1].text == '=') {
      rc = zj_p_take_name(p, *list);
      p->at++;
    }
    if (!rc) rc = zj_p_expression(p, &(*list)->first);
    if (!rc) list = &(*list)->next;
    if (!rc && !zj_p_is_op(p, ")")) rc = zj_p_expect(p, ",");
  }
  return rc ? rc : zj_p_expect(p, ")");
}

/* a[b], a[b:c:d] behind "[". */
static int subscript(struct zj_parser *p, node *out, node owner) {
  node part[3] = {0};
  int n = 0, rc = 0, colons = 0;
  while (!rc && !zj_p_is_op(p, "]") && n < 3) {
    if (!zj_p_is_op(p, ":")) rc = zj_p_expression(p, &part[n]);
    if (rc || !zj_p_accept(p, ":")) break;
    n++;
    colons++;
  }
  if (!rc) rc = zj_p_make(p, out, colons ? ZJ_N_SLICE : ZJ_N_ITEM);
  if (rc) return rc;
  (*out)->first = owner;
  (*out)->second = part[0];
  (*out)->third = part[1];
  (*out)->fourth = part[2];
  if (!colons && !part[0]) return zj_p_fail(p, "an index");
  return zj_p_expect(p, "]");
}

int zj_p_attribute(struct zj_parser *p, node *out, node owner) {
  int rc;
  if (p->at->kind == ZJ_INT) { /* a.0 is a[0] */
    if ((rc = zj_p_make(p, out, ZJ_N_ITEM))) return rc;
    (*out)->first = owner;
    return number(p, &(*out)->second);
  }
  if ((rc = zj_p_make(p, out, ZJ_N_ATTR))) return rc;
  (*out)->first = owner;
  return zj_p_take_name(p, *out);
}

static int call(struct zj_parser *p, node *out, node owner) {
  int rc = zj_p_make(p, out, ZJ_N_CALL);
  if (rc) return rc;
  (*out)->first = owner;
  return arguments(p, &(*out)->list);
}

static int postfix(struct zj_parser *p, node *out) {
  int rc = 0, n = 0;
  while (!rc) {
    node owner = *out;
    if (++n > ZF_JINJA_DEPTH) return zj_p_unsupported(p, "so long a chain at");
    if (zj_p_accept(p, "."))
      rc = zj_p_attribute(p, out, owner);
    else if (zj_p_accept(p, "["))
      rc = subscript(p, out, owner);
    else if (zj_p_accept(p, "("))
      rc = call(p, out, owner);
    else
      break;
  }
  return rc;
}

int zj_p_filter(struct zj_parser *p, node *out) {
  node in = *out;
  if (p->at->kind != ZJ_NAME) return zj_p_fail(p, "a filter");
  const struct zj_token *name = p->at;
  int rc = zj_p_make(p, out, ZJ_N_FILTER);
  if (!rc) rc = zj_p_take_name(p, *out);
  if (rc) return rc;
  if (!zj_is_filter((*out)->name)) {
    p->at = name;
    return zj_p_unsupported(p, "filter");
  }
  (*out)->first = in;
  return zj_p_accept(p, "(") ? arguments(p, &(*out)->list) : 0;
}

/* Behind "is": [not] NAME [argument]. */
static int test(struct zj_parser *p, node *out) {
  node in = *out;
  int rc = zj_p_make(p, out, ZJ_N_TEST);
  if (rc) return rc;
  (*out)->first = in;
  (*out)->negated = zj_p_is_word(p, "not");
  p->at += (*out)->negated;
  const struct zj_token *name = p->at;
  if ((rc = zj_p_take_name(p, *out))) return rc;
  if (!zj_is_test((*out)->name)) {
    p->at = name;
    return zj_p_unsupported(p, "test");
  }
  if (zj_p_accept(p, "(")) return arguments(p, &(*out)->list);
  int more = p->at->kind == ZJ_STRING || p->at->kind == ZJ_INT || p->at->kind == ZJ_FLOAT ||
             zj_p_is_op(p, "[") || zj_p_is_op(p, "{") ||
             (p->at->kind == ZJ_NAME && !zj_p_is_word(p, "else") && !zj_p_is_word(p, "or") &&
              !zj_p_is_word(p, "and") && !zj_p_is_word(p, "is") && !zj_p_is_word(p, "if"));
  if (!more) return 0;
  rc = zj_p_make(p, &(*out)->list, ZJ_N_ARG);
  if (!rc) rc = primary(p, &(*out)->list->first);
  return rc ? rc : postfix(p, &(*out)->list->first);
}

static int filters_and_tests(struct zj_parser *p, node *out) {
  int rc = 0, n = 0;
  while (!rc) {
    if (++n > ZF_JINJA_DEPTH) return zj_p_unsupported(p, "so long a chain at");
    if (zj_p_accept(p, "|")) {
      rc = zj_p_filter(p, out);
    } else if (zj_p_is_word(p, "is")) {
      p->at++;
      rc = test(p, out);
    } else if (zj_p_accept(p, "(")) {
      node owner = *out;
      rc = call(p, out, owner);
    } else {
      break;
    }
  }
  return rc;
}

/* --- operators ------------------------------------------------------------------------------ */

static int unary(struct zj_parser *p, node *out, int filters) {
  int rc = zj_p_enter(p);
  if (rc) return rc;
  if (zj_p_is_op(p, "-") || zj_p_is_op(p, "+")) {
    int minus = *p->at->text == '-';
    p->at++;
    if (minus) {
      rc = zj_p_make(p, out, ZJ_N_NEGATE);
      if (!rc) rc = unary(p, &(*out)->first, 0);
    } else {
      rc = unary(p, out, 0);
    }
  } else {
    rc = primary(p, out);
  }
  if (!rc) rc = postfix(p, out);
  if (!rc && filters) rc = filters_and_tests(p, out);
  p->depth--;
  return rc;
}

static int operand(struct zj_parser *p, node *out) {
  return unary(p, out, 1);
}

/* Left-associative operators of one rank; ops ends with NULL. */
static int rank(struct zj_parser *p, node *out, parse_fn next, const char *const *ops) {
  int rc = next(p, out), n = 0;
  while (!rc) {
    const char *const *op = ops;
    while (*op && !zj_p_is_op(p, *op)) op++;
    if (!*op) break;
    if (++n > ZF_JINJA_DEPTH) return zj_p_unsupported(p, "so long a chain at");
    node left = *out;
    rc = zj_p_make(p, out, ZJ_N_BINARY);
    if (rc) return rc;
    strcpy((*out)->op, *op);
    (*out)->first = left;
    p->at++;
    rc = next(p, &(*out)->second);
  }
  return rc;
}

static int power(struct zj_parser *p, node *out) {
  return rank(p, out, operand, (const char *const[]){"**", NULL});
}

static int product(struct zj_parser *p, node *out) {
  return rank(p, out, power, (const char *const[]){"*", "/", "//", "%", NULL});
}

static int join(struct zj_parser *p, node *out) {
  return rank(p, out, product, (const char *const[]){"~", NULL});
}

static int sum(struct zj_parser *p, node *out) {
  return rank(p, out, join, (const char *const[]){"+", "-", NULL});
}

static const char *comparison(struct zj_parser *p) {
  static const char *const ops[] = {"==", "!=", "<=", ">=", "<", ">"};
  for (int i = 0; i < 6; i++)
    if (zj_p_accept(p, ops[i])) return ops[i];
  if (zj_p_is_word(p, "in")) {
    p->at++;
    return "in";
  }
  if (zj_p_is_word(p, "not") && p->at[1].kind == ZJ_NAME && p->at[1].len == 2 &&
      !memcmp(p->at[1].text, "in", 2)) {
    p->at += 2;
    return "ni";
  }
  return NULL;
}

/* a < b < c: the first operand and a list of what it is compared with. */
static int compare(struct zj_parser *p, node *out) {
  int rc = sum(p, out);
  const char *op = rc ? NULL : comparison(p);
  if (!op) return rc;
  node first = *out;
  if ((rc = zj_p_make(p, out, ZJ_N_COMPARE))) return rc;
  (*out)->first = first;
  for (node *list = &(*out)->list; !rc && op; list = &(*list)->next) {
    rc = zj_p_make(p, list, ZJ_N_PAIR);
    if (rc) break;
    strcpy((*list)->op, op);
    rc = sum(p, &(*list)->second);
    op = rc ? NULL : comparison(p);
  }
  return rc;
}

static int negation(struct zj_parser *p, node *out) {
  if (!zj_p_is_word(p, "not")) return compare(p, out);
  p->at++;
  int rc = zj_p_enter(p);
  if (!rc) rc = zj_p_make(p, out, ZJ_N_NOT);
  if (!rc) rc = negation(p, &(*out)->first);
  p->depth--;
  return rc;
}

static int logic(struct zj_parser *p, node *out, parse_fn next, const char *op,
                 enum zj_node_kind kind) {
  int rc = next(p, out), n = 0;
  while (!rc && zj_p_is_word(p, op)) {
    node left = *out;
    if (++n > ZF_JINJA_DEPTH) return zj_p_unsupported(p, "so long a chain at");
    if ((rc = zj_p_make(p, out, kind))) return rc;
    p->at++;
    (*out)->first = left;
    rc = next(p, &(*out)->second);
  }
  return rc;
}

static int conjunction(struct zj_parser *p, node *out) {
  return logic(p, out, negation, "and", ZJ_N_AND);
}

int zj_p_disjunction(struct zj_parser *p, node *out) {
  return logic(p, out, conjunction, "or", ZJ_N_OR);
}

int zj_p_expression(struct zj_parser *p, node *out) {
  int rc = zj_p_enter(p);
  if (!rc) rc = zj_p_disjunction(p, out);
  while (!rc && zj_p_is_word(p, "if")) {
    node value = *out;
    p->at++;
    rc = zj_p_make(p, out, ZJ_N_COND);
    if (rc) break;
    (*out)->second = value;
    rc = zj_p_disjunction(p, &(*out)->first);
    if (rc || !zj_p_is_word(p, "else")) continue;
    p->at++;
    rc = zj_p_expression(p, &(*out)->third);
  }
  p->depth--;
  return rc;
}

/* "a, b" without parentheses is a tuple. */
int zj_p_tuple(struct zj_parser *p, node *out) {
  int rc = zj_p_expression(p, out);
  if (rc || !zj_p_is_op(p, ",")) return rc;
  node first = *out, *list = &first->next;
  if ((rc = zj_p_make(p, out, ZJ_N_LIST))) return rc;
  (*out)->list = first;
  (*out)->negated = 1;
  while (!rc && zj_p_accept(p, ",") && p->at->kind != ZJ_END) {
    rc = zj_p_expression(p, list);
    if (!rc) list = &(*list)->next;
  }
  return rc;
}
