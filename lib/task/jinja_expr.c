/* Expressions of a template, from tokens to nodes: a recursive descent in Jinja's order of
 * operators, conditional < or < and < not < comparisons < + - < ~ < * / // % < ** < unary < | and
 * is */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "jinja_parse_internal.h"

int zj_p_fail(const struct zj_parser *parser, const char *what) {
  const struct zj_token *token = parser->at;
  static const char *const kind[] = {"text", "'{{'", "a tag", "the end of the tag"};
  if (token->kind == ZJ_EOF)
    return zf_error(ZF_EINVALID, "%s:%d: expected %s, found the end of the template",
                    parser->jinja->name, token->line, what);
  if (token->kind < ZJ_NAME)
    return zf_error(ZF_EINVALID, "%s:%d: expected %s, found %s", parser->jinja->name, token->line,
                    what, kind[token->kind]);
  return zf_error(ZF_EINVALID, "%s:%d: expected %s, found '%.*s'", parser->jinja->name, token->line,
                  what, (int)(token->len < 40 ? token->len : 40), token->text);
}

int zj_p_unsupported(const struct zj_parser *parser, const char *what) {
  return zf_error(ZF_EINVALID, "%s:%d: %s '%.*s' is not supported", parser->jinja->name,
                  parser->at->line, what, (int)(parser->at->len < 40 ? parser->at->len : 40),
                  parser->at->text);
}

int zj_p_is_op(const struct zj_parser *parser, const char *op) {
  return parser->at->kind == ZJ_OP && (size_t)parser->at->len == strlen(op) &&
         !memcmp(parser->at->text, op, (size_t)parser->at->len);
}

int zj_p_is_word(const struct zj_parser *parser, const char *word) {
  return parser->at->kind == ZJ_NAME && (size_t)parser->at->len == strlen(word) &&
         !memcmp(parser->at->text, word, (size_t)parser->at->len);
}

int zj_p_accept(struct zj_parser *parser, const char *op) {
  int yes = zj_p_is_op(parser, op);
  parser->at += yes;
  return yes;
}

int zj_p_expect(struct zj_parser *parser, const char *op) {
  char what[8] = "'";
  if (zj_p_accept(parser, op)) return 0;
  strcat(strcat(what, op), "'");
  return zj_p_fail(parser, what);
}

int zj_p_expect_end(struct zj_parser *parser) {
  if (parser->at->kind != ZJ_END) return zj_p_fail(parser, "the end of the tag");
  parser->at++;
  return 0;
}

int zj_p_make(struct zj_parser *parser, struct zj_node **out, enum zj_node_kind kind) {
  struct zj_node *node = zf_calloc(1, sizeof *node);
  if (!node) return ZF_ENOMEM;
  node->kind = kind;
  node->line = parser->at->line;
  node->all = parser->jinja->all;
  parser->jinja->all = node;
  *out = node;
  return 0;
}

int zj_p_take_name(struct zj_parser *parser, struct zj_node *node) {
  if (parser->at->kind != ZJ_NAME) return zj_p_fail(parser, "a name");
  node->name = zf_strndup(parser->at->text, (size_t)parser->at->len);
  parser->at++;
  return node->name ? 0 : ZF_ENOMEM;
}

static int parse_unary(struct zj_parser *parser, struct zj_node **out, int filters);

int zj_p_enter(struct zj_parser *parser) {
  if (++parser->depth <= ZF_JINJA_DEPTH) return 0;
  return zf_error(ZF_EINVALID, "%s:%d: nested more than %d deep", parser->jinja->name,
                  parser->at->line, ZF_JINJA_DEPTH);
}

/* --- literals ------------------------------------------------------------------------------ */

static void put_utf8(struct zf_buf *buf, uint32_t code) {
  if (code < 0x80) {
    zf_buf_putc(buf, (char)code);
    return;
  }
  if (code >= 0x10000) {
    zf_buf_putc(buf, (char)(0xF0 | code >> 18));
    zf_buf_putc(buf, (char)(0x80 | (code >> 12 & 63)));
  } else if (code >= 0x800) {
    zf_buf_putc(buf, (char)(0xE0 | code >> 12));
  }
  if (code >= 0x800)
    zf_buf_putc(buf, (char)(0x80 | (code >> 6 & 63)));
  else
    zf_buf_putc(buf, (char)(0xC0 | code >> 6));
  zf_buf_putc(buf, (char)(0x80 | (code & 63)));
}

/* Behind a backslash; returns how many bytes it took. */
static int64_t escape(struct zf_buf *buf, const char *escaped, int64_t len) {
  static const char from[] = "nrtbfva0\\'\"", to[] = "\n\r\t\b\f\v\a\0\\'\"";
  const char *hit = *escaped ? strchr(from, *escaped) : NULL;
  int digits = *escaped == 'x' ? 2 : *escaped == 'u' ? 4 : *escaped == 'U' ? 8 : 0;
  char hex[9] = {0}, *end;
  if (digits && len > digits) {
    memcpy(hex, escaped + 1, (size_t)digits);
    unsigned long code = strtoul(hex, &end, 16);
    if (end == hex + digits && code && code < 0x110000 && (code < 0xD800 || code > 0xDFFF)) {
      put_utf8(buf, (uint32_t)code);
      return 1 + digits;
    }
  }
  if (hit && to[hit - from]) {
    zf_buf_putc(buf, to[hit - from]);
  } else if (*escaped != '\n') { /* unknown: both stay, as in Python */
    zf_buf_putc(buf, '\\');
    zf_buf_putc(buf, *escaped);
  }
  return 1;
}

/* Strings side by side are one. */
static int parse_string(struct zj_parser *parser, struct zj_node **out) {
  struct zf_buf buf = {0};
  int rc = zj_p_make(parser, out, ZJ_N_CONST);
  zf_buf_puts(&buf, "");
  for (; parser->at->kind == ZJ_STRING; parser->at++) {
    const char *text = parser->at->text;
    for (int64_t i = 0, len = parser->at->len; i < len;) {
      if (text[i] == '\\' && i + 1 < len)
        i += 1 + escape(&buf, text + i + 1, len - i - 1);
      else
        zf_buf_putc(&buf, text[i++]);
    }
  }
  if (!rc) rc = zf_buf_ok(&buf);
  if (!rc && !((*out)->value = json_stringn(buf.data, buf.len))) {
    parser->at--;
    rc = zj_p_fail(parser, "UTF-8");
  }
  zf_buf_free(&buf);
  return rc;
}

static int parse_number(struct zj_parser *parser, struct zj_node **out) {
  char text[64];
  int rc = zj_p_make(parser, out, ZJ_N_CONST);
  if (rc || parser->at->len >= (int64_t)sizeof text)
    return rc ? rc : zj_p_unsupported(parser, "number");
  memcpy(text, parser->at->text, (size_t)parser->at->len);
  text[parser->at->len] = 0;
  errno = 0;
  (*out)->value = parser->at->kind == ZJ_INT ? json_integer(strtoll(text, NULL, 10))
                                             : json_real(strtod(text, NULL));
  if (errno || !(*out)->value) return zj_p_unsupported(parser, "number");
  parser->at++;
  return 0;
}

/* Items up to `close`, its opening behind us. */
static int parse_items(struct zj_parser *parser, struct zj_node **list, const char *close) {
  int rc = 0;
  while (!rc && !zj_p_is_op(parser, close)) {
    rc = zj_p_expression(parser, list);
    if (!rc) list = &(*list)->next;
    if (!rc && !zj_p_is_op(parser, close)) rc = zj_p_expect(parser, ",");
  }
  return rc ? rc : zj_p_expect(parser, close);
}

static int parse_dict(struct zj_parser *parser, struct zj_node **out) {
  int rc = zj_p_make(parser, out, ZJ_N_DICT);
  struct zj_node **list = rc ? NULL : &(*out)->list;
  while (!rc && !zj_p_is_op(parser, "}")) {
    rc = zj_p_make(parser, list, ZJ_N_PAIR);
    if (!rc) rc = zj_p_expression(parser, &(*list)->first);
    if (!rc) rc = zj_p_expect(parser, ":");
    if (!rc) rc = zj_p_expression(parser, &(*list)->second);
    if (!rc) list = &(*list)->next;
    if (!rc && !zj_p_is_op(parser, "}")) rc = zj_p_expect(parser, ",");
  }
  return rc ? rc : zj_p_expect(parser, "}");
}

/* "(a)" is a; "(a, b)" and "()" are tuples. */
static int parse_parenthesis(struct zj_parser *parser, struct zj_node **out) {
  struct zj_node *first = NULL;
  int rc = zj_p_is_op(parser, ")") ? 0 : zj_p_expression(parser, &first);
  if (rc) return rc;
  if (first && zj_p_accept(parser, ")")) {
    *out = first;
    return 0;
  }
  rc = zj_p_make(parser, out, ZJ_N_LIST);
  if (rc) return rc;
  (*out)->list = first;
  (*out)->negated = 1;
  if (first) rc = zj_p_expect(parser, ",");
  return rc ? rc : parse_items(parser, first ? &first->next : &(*out)->list, ")");
}

static int parse_word(struct zj_parser *parser, struct zj_node **out) {
  static const struct {
    const char *name;
    int value;
  } constant[] = {{"true", 1}, {"True", 1}, {"false", 0}, {"False", 0}, {"none", -1}, {"None", -1}};
  for (int i = 0; i < 6; i++) {
    if (!zj_p_is_word(parser, constant[i].name)) continue;
    int rc = zj_p_make(parser, out, ZJ_N_CONST);
    if (!rc) (*out)->value = constant[i].value < 0 ? json_null() : json_boolean(constant[i].value);
    parser->at++;
    return rc;
  }
  int rc = zj_p_make(parser, out, ZJ_N_NAME);
  return rc ? rc : zj_p_take_name(parser, *out);
}

static int parse_primary(struct zj_parser *parser, struct zj_node **out) {
  if (parser->at->kind == ZJ_STRING) return parse_string(parser, out);
  if (parser->at->kind == ZJ_INT || parser->at->kind == ZJ_FLOAT) return parse_number(parser, out);
  if (parser->at->kind == ZJ_NAME) return parse_word(parser, out);
  if (zj_p_accept(parser, "(")) return parse_parenthesis(parser, out);
  if (zj_p_accept(parser, "{")) return parse_dict(parser, out);
  if (!zj_p_accept(parser, "[")) return zj_p_fail(parser, "a value");
  int rc = zj_p_make(parser, out, ZJ_N_LIST);
  return rc ? rc : parse_items(parser, &(*out)->list, "]");
}

/* --- what follows a value -------------------------------------------------------------------- */

/* Arguments behind "(". */
static int parse_arguments(struct zj_parser *parser, struct zj_node **list) {
  int rc = 0;
  while (!rc && !zj_p_is_op(parser, ")")) {
    if (zj_p_is_op(parser, "*") || zj_p_is_op(parser, "**"))
      return zj_p_unsupported(parser, "argument");
    rc = zj_p_make(parser, list, ZJ_N_ARG);
    if (!rc && parser->at->kind == ZJ_NAME && parser->at[1].kind == ZJ_OP &&
        parser->at[1].len == 1 && *parser->at[1].text == '=') {
      rc = zj_p_take_name(parser, *list);
      parser->at++;
    }
    if (!rc) rc = zj_p_expression(parser, &(*list)->first);
    if (!rc) list = &(*list)->next;
    if (!rc && !zj_p_is_op(parser, ")")) rc = zj_p_expect(parser, ",");
  }
  return rc ? rc : zj_p_expect(parser, ")");
}

/* a[b], a[b:c:d] behind "[". */
static int parse_subscript(struct zj_parser *parser, struct zj_node **out, struct zj_node *owner) {
  struct zj_node *part[3] = {0};
  int count = 0, rc = 0, colons = 0;
  while (!rc && !zj_p_is_op(parser, "]") && count < 3) {
    if (!zj_p_is_op(parser, ":")) rc = zj_p_expression(parser, &part[count]);
    if (rc || !zj_p_accept(parser, ":")) break;
    count++;
    colons++;
  }
  if (!rc) rc = zj_p_make(parser, out, colons ? ZJ_N_SLICE : ZJ_N_ITEM);
  if (rc) return rc;
  (*out)->first = owner;
  (*out)->second = part[0];
  (*out)->third = part[1];
  (*out)->fourth = part[2];
  if (!colons && !part[0]) return zj_p_fail(parser, "an index");
  return zj_p_expect(parser, "]");
}

int zj_p_attribute(struct zj_parser *parser, struct zj_node **out, struct zj_node *owner) {
  int rc;
  if (parser->at->kind == ZJ_INT) { /* a.0 is a[0] */
    if ((rc = zj_p_make(parser, out, ZJ_N_ITEM))) return rc;
    (*out)->first = owner;
    return parse_number(parser, &(*out)->second);
  }
  if ((rc = zj_p_make(parser, out, ZJ_N_ATTR))) return rc;
  (*out)->first = owner;
  return zj_p_take_name(parser, *out);
}

static int parse_call(struct zj_parser *parser, struct zj_node **out, struct zj_node *owner) {
  int rc = zj_p_make(parser, out, ZJ_N_CALL);
  if (rc) return rc;
  (*out)->first = owner;
  return parse_arguments(parser, &(*out)->list);
}

static int parse_postfix(struct zj_parser *parser, struct zj_node **out) {
  int rc = 0, links = 0;
  while (!rc) {
    struct zj_node *owner = *out;
    if (++links > ZF_JINJA_DEPTH) return zj_p_unsupported(parser, "so long a chain at");
    if (zj_p_accept(parser, "."))
      rc = zj_p_attribute(parser, out, owner);
    else if (zj_p_accept(parser, "["))
      rc = parse_subscript(parser, out, owner);
    else if (zj_p_accept(parser, "("))
      rc = parse_call(parser, out, owner);
    else
      break;
  }
  return rc;
}

int zj_p_filter(struct zj_parser *parser, struct zj_node **out) {
  struct zj_node *input = *out;
  if (parser->at->kind != ZJ_NAME) return zj_p_fail(parser, "a filter");
  const struct zj_token *name = parser->at;
  int rc = zj_p_make(parser, out, ZJ_N_FILTER);
  if (!rc) rc = zj_p_take_name(parser, *out);
  if (rc) return rc;
  if (!zj_is_filter((*out)->name)) {
    parser->at = name;
    return zj_p_unsupported(parser, "filter");
  }
  (*out)->first = input;
  return zj_p_accept(parser, "(") ? parse_arguments(parser, &(*out)->list) : 0;
}

/* Behind "is": [not] NAME [argument]. */
static int parse_test(struct zj_parser *parser, struct zj_node **out) {
  struct zj_node *input = *out;
  int rc = zj_p_make(parser, out, ZJ_N_TEST);
  if (rc) return rc;
  (*out)->first = input;
  (*out)->negated = zj_p_is_word(parser, "not");
  parser->at += (*out)->negated;
  const struct zj_token *name = parser->at;
  if ((rc = zj_p_take_name(parser, *out))) return rc;
  if (!zj_is_test((*out)->name)) {
    parser->at = name;
    return zj_p_unsupported(parser, "test");
  }
  if (zj_p_accept(parser, "(")) return parse_arguments(parser, &(*out)->list);
  int has_argument = parser->at->kind == ZJ_STRING || parser->at->kind == ZJ_INT ||
                     parser->at->kind == ZJ_FLOAT || zj_p_is_op(parser, "[") ||
                     zj_p_is_op(parser, "{") ||
                     (parser->at->kind == ZJ_NAME && !zj_p_is_word(parser, "else") &&
                      !zj_p_is_word(parser, "or") && !zj_p_is_word(parser, "and") &&
                      !zj_p_is_word(parser, "is") && !zj_p_is_word(parser, "if"));
  if (!has_argument) return 0;
  rc = zj_p_make(parser, &(*out)->list, ZJ_N_ARG);
  if (!rc) rc = parse_primary(parser, &(*out)->list->first);
  return rc ? rc : parse_postfix(parser, &(*out)->list->first);
}

static int filters_and_tests(struct zj_parser *parser, struct zj_node **out) {
  int rc = 0, links = 0;
  while (!rc) {
    if (++links > ZF_JINJA_DEPTH) return zj_p_unsupported(parser, "so long a chain at");
    if (zj_p_accept(parser, "|")) {
      rc = zj_p_filter(parser, out);
    } else if (zj_p_is_word(parser, "is")) {
      parser->at++;
      rc = parse_test(parser, out);
    } else if (zj_p_accept(parser, "(")) {
      struct zj_node *owner = *out;
      rc = parse_call(parser, out, owner);
    } else {
      break;
    }
  }
  return rc;
}

/* --- operators ------------------------------------------------------------------------------ */

static int parse_unary(struct zj_parser *parser, struct zj_node **out, int filters) {
  int rc = zj_p_enter(parser);
  if (rc) return rc;
  if (zj_p_is_op(parser, "-") || zj_p_is_op(parser, "+")) {
    int minus = *parser->at->text == '-';
    parser->at++;
    if (minus) {
      rc = zj_p_make(parser, out, ZJ_N_NEGATE);
      if (!rc) rc = parse_unary(parser, &(*out)->first, 0);
    } else {
      rc = parse_unary(parser, out, 0);
    }
  } else {
    rc = parse_primary(parser, out);
  }
  if (!rc) rc = parse_postfix(parser, out);
  if (!rc && filters) rc = filters_and_tests(parser, out);
  parser->depth--;
  return rc;
}

static int parse_operand(struct zj_parser *parser, struct zj_node **out) {
  return parse_unary(parser, out, 1);
}

/* Left-associative operators of one rank; ops ends with NULL. */
static int left_associative(struct zj_parser *parser, struct zj_node **out, parse_fn next,
                            const char *const *ops) {
  int rc = next(parser, out), links = 0;
  while (!rc) {
    const char *const *op = ops;
    while (*op && !zj_p_is_op(parser, *op)) op++;
    if (!*op) break;
    if (++links > ZF_JINJA_DEPTH) return zj_p_unsupported(parser, "so long a chain at");
    struct zj_node *left = *out;
    rc = zj_p_make(parser, out, ZJ_N_BINARY);
    if (rc) return rc;
    strcpy((*out)->op, *op);
    (*out)->first = left;
    parser->at++;
    rc = next(parser, &(*out)->second);
  }
  return rc;
}

static int parse_power(struct zj_parser *parser, struct zj_node **out) {
  return left_associative(parser, out, parse_operand, (const char *const[]){"**", NULL});
}

static int parse_product(struct zj_parser *parser, struct zj_node **out) {
  return left_associative(parser, out, parse_power,
                          (const char *const[]){"*", "/", "//", "%", NULL});
}

static int parse_concat(struct zj_parser *parser, struct zj_node **out) {
  return left_associative(parser, out, parse_product, (const char *const[]){"~", NULL});
}

static int parse_sum(struct zj_parser *parser, struct zj_node **out) {
  return left_associative(parser, out, parse_concat, (const char *const[]){"+", "-", NULL});
}

static const char *accept_comparison(struct zj_parser *parser) {
  static const char *const ops[] = {"==", "!=", "<=", ">=", "<", ">"};
  for (int i = 0; i < 6; i++)
    if (zj_p_accept(parser, ops[i])) return ops[i];
  if (zj_p_is_word(parser, "in")) {
    parser->at++;
    return "in";
  }
  if (zj_p_is_word(parser, "not") && parser->at[1].kind == ZJ_NAME && parser->at[1].len == 2 &&
      !memcmp(parser->at[1].text, "in", 2)) {
    parser->at += 2;
    return "ni";
  }
  return NULL;
}

/* a < b < c: the first operand and a list of what it is compared with. */
static int parse_compare(struct zj_parser *parser, struct zj_node **out) {
  int rc = parse_sum(parser, out);
  const char *op = rc ? NULL : accept_comparison(parser);
  if (!op) return rc;
  struct zj_node *first = *out;
  if ((rc = zj_p_make(parser, out, ZJ_N_COMPARE))) return rc;
  (*out)->first = first;
  for (struct zj_node **list = &(*out)->list; !rc && op; list = &(*list)->next) {
    rc = zj_p_make(parser, list, ZJ_N_PAIR);
    if (rc) break;
    strcpy((*list)->op, op);
    rc = parse_sum(parser, &(*list)->second);
    op = rc ? NULL : accept_comparison(parser);
  }
  return rc;
}

static int parse_not(struct zj_parser *parser, struct zj_node **out) {
  if (!zj_p_is_word(parser, "not")) return parse_compare(parser, out);
  parser->at++;
  int rc = zj_p_enter(parser);
  if (!rc) rc = zj_p_make(parser, out, ZJ_N_NOT);
  if (!rc) rc = parse_not(parser, &(*out)->first);
  parser->depth--;
  return rc;
}

static int parse_logic(struct zj_parser *parser, struct zj_node **out, parse_fn next,
                       const char *op, enum zj_node_kind kind) {
  int rc = next(parser, out), links = 0;
  while (!rc && zj_p_is_word(parser, op)) {
    struct zj_node *left = *out;
    if (++links > ZF_JINJA_DEPTH) return zj_p_unsupported(parser, "so long a chain at");
    if ((rc = zj_p_make(parser, out, kind))) return rc;
    parser->at++;
    (*out)->first = left;
    rc = next(parser, &(*out)->second);
  }
  return rc;
}

static int parse_and(struct zj_parser *parser, struct zj_node **out) {
  return parse_logic(parser, out, parse_not, "and", ZJ_N_AND);
}

int zj_p_disjunction(struct zj_parser *parser, struct zj_node **out) {
  return parse_logic(parser, out, parse_and, "or", ZJ_N_OR);
}

int zj_p_expression(struct zj_parser *parser, struct zj_node **out) {
  int rc = zj_p_enter(parser);
  if (!rc) rc = zj_p_disjunction(parser, out);
  while (!rc && zj_p_is_word(parser, "if")) {
    struct zj_node *value = *out;
    parser->at++;
    rc = zj_p_make(parser, out, ZJ_N_COND);
    if (rc) break;
    (*out)->second = value;
    rc = zj_p_disjunction(parser, &(*out)->first);
    if (rc || !zj_p_is_word(parser, "else")) continue;
    parser->at++;
    rc = zj_p_expression(parser, &(*out)->third);
  }
  parser->depth--;
  return rc;
}

/* "a, b" without parentheses is a tuple. */
int zj_p_tuple(struct zj_parser *parser, struct zj_node **out) {
  int rc = zj_p_expression(parser, out);
  if (rc || !zj_p_is_op(parser, ",")) return rc;
  struct zj_node *first = *out, **list = &first->next;
  if ((rc = zj_p_make(parser, out, ZJ_N_LIST))) return rc;
  (*out)->list = first;
  (*out)->negated = 1;
  while (!rc && zj_p_accept(parser, ",") && parser->at->kind != ZJ_END) {
    rc = zj_p_expression(parser, list);
    if (!rc) list = &(*list)->next;
  }
  return rc;
}
