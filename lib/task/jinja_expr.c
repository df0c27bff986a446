/* Expressions of a template, from tokens to nodes, by recursive descent.  Jinja's operators, from the
 * weakest to the strongest: conditional, or, and, not, comparisons, + -, ~, * / // %, **, unary, | and
 * is. */
#include <string.h>

#include "base/arena.h"
#include "jinja_parse_internal.h"

/* How much of a token a message shows. */
static int shown_len(const struct zj_token *token) {
  return (int)(token->len < 40 ? token->len : 40);
}

int zj_p_fail(const struct zj_parser *parser, const char *what) {
  static const char *const kind[] = {"text", "'{{'", "a tag", "the end of the tag"};
  const struct zj_token *token = parser->at;
  const char *name = parser->jinja->name;
  if (token->kind == ZJ_EOF)
    return zf_error(ZF_EINVALID, "%s:%d: expected %s, found the end of the template", name,
                    token->line, what);
  if (token->kind < ZJ_NAME)
    return zf_error(ZF_EINVALID, "%s:%d: expected %s, found %s", name, token->line, what,
                    kind[token->kind]);
  return zf_error(ZF_EINVALID, "%s:%d: expected %s, found '%.*s'", name, token->line, what,
                  shown_len(token), token->text);
}

int zj_p_unsupported(const struct zj_parser *parser, const char *what) {
  const struct zj_token *token = parser->at;
  return zf_error(ZF_EINVALID, "%s:%d: %s '%.*s' is not supported", parser->jinja->name,
                  token->line, what, shown_len(token), token->text);
}

static int is_token(const struct zj_token *token, enum zj_token_kind kind, const char *text) {
  return token->kind == kind && (size_t)token->len == strlen(text) &&
         !memcmp(token->text, text, (size_t)token->len);
}

int zj_p_is_op(const struct zj_parser *parser, const char *op) {
  return is_token(parser->at, ZJ_OP, op);
}

int zj_p_is_word(const struct zj_parser *parser, const char *word) {
  return is_token(parser->at, ZJ_NAME, word);
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

int zj_p_name(struct zj_parser *parser, struct zj_node *node) {
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

/* --- values --- */

/* Items up to and with `close`; the opening bracket is read already. */
static int parse_items(struct zj_parser *parser, struct zj_node **list, const char *close) {
  while (!zj_p_is_op(parser, close)) {
    int rc = zj_p_expression(parser, list);
    if (rc) return rc;
    list = &(*list)->next;
    if (!zj_p_is_op(parser, close) && (rc = zj_p_expect(parser, ","))) return rc;
  }
  return zj_p_expect(parser, close);
}

static int parse_pair(struct zj_parser *parser, struct zj_node **out) {
  int rc = zj_p_make(parser, out, ZJ_N_PAIR);
  if (!rc) rc = zj_p_expression(parser, &(*out)->pair.key);
  if (!rc) rc = zj_p_expect(parser, ":");
  return rc ? rc : zj_p_expression(parser, &(*out)->pair.value);
}

static int parse_dict(struct zj_parser *parser, struct zj_node **out) {
  int rc = zj_p_make(parser, out, ZJ_N_DICT);
  if (rc) return rc;
  struct zj_node **list = &(*out)->list.items;
  while (!zj_p_is_op(parser, "}")) {
    if ((rc = parse_pair(parser, list))) return rc;
    list = &(*list)->next;
    if (!zj_p_is_op(parser, "}") && (rc = zj_p_expect(parser, ","))) return rc;
  }
  return zj_p_expect(parser, "}");
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
  (*out)->list.items = first;
  (*out)->list.is_tuple = 1;
  if (first) rc = zj_p_expect(parser, ",");
  if (rc) return rc;
  return parse_items(parser, first ? &first->next : &(*out)->list.items, ")");
}

static int parse_word(struct zj_parser *parser, struct zj_node **out) {
  static const struct {
    const char *name;
    int value;
  } constant[] = {{"true", 1}, {"True", 1}, {"false", 0}, {"False", 0}, {"none", -1}, {"None", -1}};
  for (int i = 0; i < 6; i++) {
    if (!zj_p_is_word(parser, constant[i].name)) continue;
    int rc = zj_p_make(parser, out, ZJ_N_CONST);
    if (!rc)
      (*out)->constant = constant[i].value < 0 ? json_null() : json_boolean(constant[i].value);
    parser->at++;
    return rc;
  }
  int rc = zj_p_make(parser, out, ZJ_N_NAME);
  return rc ? rc : zj_p_name(parser, *out);
}

static int parse_primary(struct zj_parser *parser, struct zj_node **out) {
  if (parser->at->kind == ZJ_STRING) return zj_p_string(parser, out);
  if (parser->at->kind == ZJ_INT || parser->at->kind == ZJ_FLOAT) return zj_p_number(parser, out);
  if (parser->at->kind == ZJ_NAME) return parse_word(parser, out);
  if (zj_p_accept(parser, "(")) return parse_parenthesis(parser, out);
  if (zj_p_accept(parser, "{")) return parse_dict(parser, out);
  if (!zj_p_accept(parser, "[")) return zj_p_fail(parser, "a value");
  int rc = zj_p_make(parser, out, ZJ_N_LIST);
  return rc ? rc : parse_items(parser, &(*out)->list.items, "]");
}

/* --- what follows a value --- */

static int parse_argument(struct zj_parser *parser, struct zj_node **out) {
  if (zj_p_is_op(parser, "*") || zj_p_is_op(parser, "**"))
    return zj_p_unsupported(parser, "argument");
  int rc = zj_p_make(parser, out, ZJ_N_ARG);
  if (rc) return rc;
  if (parser->at->kind == ZJ_NAME && is_token(parser->at + 1, ZJ_OP, "=")) {
    if ((rc = zj_p_name(parser, *out))) return rc;
    parser->at++;
  }
  return zj_p_expression(parser, &(*out)->arg.value);
}

/* The arguments of a call, behind "(". */
static int parse_arguments(struct zj_parser *parser, struct zj_node **list) {
  while (!zj_p_is_op(parser, ")")) {
    int rc = parse_argument(parser, list);
    if (rc) return rc;
    list = &(*list)->next;
    if (!zj_p_is_op(parser, ")") && (rc = zj_p_expect(parser, ","))) return rc;
  }
  return zj_p_expect(parser, ")");
}

/* a[b] or a[b:c:d], behind "[". */
static int parse_subscript(struct zj_parser *parser, struct zj_node **out, struct zj_node *owner) {
  struct zj_node *part[3] = {0};
  int colons = 0;
  while (!zj_p_is_op(parser, "]") && colons < 3) {
    int rc = zj_p_is_op(parser, ":") ? 0 : zj_p_expression(parser, &part[colons]);
    if (rc) return rc;
    if (!zj_p_accept(parser, ":")) break;
    colons++;
  }
  int rc = zj_p_make(parser, out, colons ? ZJ_N_SLICE : ZJ_N_ITEM);
  if (rc) return rc;
  if (colons) {
    (*out)->slice.owner = owner;
    (*out)->slice.start = part[0];
    (*out)->slice.stop = part[1];
    (*out)->slice.step = part[2];
    return zj_p_expect(parser, "]");
  }
  (*out)->item.owner = owner;
  (*out)->item.key = part[0];
  return part[0] ? zj_p_expect(parser, "]") : zj_p_fail(parser, "an index");
}

int zj_p_attribute(struct zj_parser *parser, struct zj_node **out, struct zj_node *owner) {
  int rc;
  if (parser->at->kind == ZJ_INT) { /* a.0 is a[0] */
    if ((rc = zj_p_make(parser, out, ZJ_N_ITEM))) return rc;
    (*out)->item.owner = owner;
    return zj_p_number(parser, &(*out)->item.key);
  }
  if ((rc = zj_p_make(parser, out, ZJ_N_ATTR))) return rc;
  (*out)->attribute.owner = owner;
  return zj_p_name(parser, *out);
}

static int parse_call(struct zj_parser *parser, struct zj_node **out, struct zj_node *owner) {
  int rc = zj_p_make(parser, out, ZJ_N_CALL);
  if (rc) return rc;
  (*out)->call.callee = owner;
  return parse_arguments(parser, &(*out)->call.args);
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
  if (!rc) rc = zj_p_name(parser, *out);
  if (rc) return rc;
  if (!zj_is_filter((*out)->name)) {
    parser->at = name;
    return zj_p_unsupported(parser, "filter");
  }
  (*out)->filter.input = input;
  return zj_p_accept(parser, "(") ? parse_arguments(parser, &(*out)->filter.args) : 0;
}

/* May an argument begin here that a test takes without parentheses? */
static int begins_argument(const struct zj_parser *parser) {
  static const char *const keywords[] = {"else", "or", "and", "is", "if"};
  enum zj_token_kind kind = parser->at->kind;
  if (kind == ZJ_STRING || kind == ZJ_INT || kind == ZJ_FLOAT) return 1;
  if (zj_p_is_op(parser, "[") || zj_p_is_op(parser, "{")) return 1;
  for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
    if (zj_p_is_word(parser, keywords[i])) return 0;
  return kind == ZJ_NAME;
}

/* Behind "is": [not] NAME [argument]. */
static int parse_test(struct zj_parser *parser, struct zj_node **out) {
  struct zj_node *input = *out;
  int rc = zj_p_make(parser, out, ZJ_N_TEST);
  if (rc) return rc;
  (*out)->test.input = input;
  (*out)->test.negated = zj_p_is_word(parser, "not");
  parser->at += (*out)->test.negated;
  const struct zj_token *name = parser->at;
  if ((rc = zj_p_name(parser, *out))) return rc;
  if (!zj_is_test((*out)->name)) {
    parser->at = name;
    return zj_p_unsupported(parser, "test");
  }
  if (zj_p_accept(parser, "(")) return parse_arguments(parser, &(*out)->test.args);
  if (!begins_argument(parser)) return 0;
  rc = zj_p_make(parser, &(*out)->test.args, ZJ_N_ARG);
  if (!rc) rc = parse_primary(parser, &(*out)->test.args->arg.value);
  return rc ? rc : parse_postfix(parser, &(*out)->test.args->arg.value);
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

/* --- operators --- */

static int parse_unary(struct zj_parser *parser, struct zj_node **out, int filters) {
  int rc = zj_p_enter(parser);
  if (rc) return rc;
  if (zj_p_is_op(parser, "-") || zj_p_is_op(parser, "+")) {
    int minus = *parser->at->text == '-';
    parser->at++;
    if (minus) {
      rc = zj_p_make(parser, out, ZJ_N_NEGATE);
      if (!rc) rc = parse_unary(parser, &(*out)->unary.value, 0);
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

/* A chain of left-associative operators of one rank; ops ends with NULL. */
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
    strcpy((*out)->binary.op, *op);
    (*out)->binary.left = left;
    parser->at++;
    rc = next(parser, &(*out)->binary.right);
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

/* a < b < c: the first operand, and a list of those that follow. */
static int parse_compare(struct zj_parser *parser, struct zj_node **out) {
  int rc = parse_sum(parser, out);
  const char *op = rc ? NULL : accept_comparison(parser);
  if (!op) return rc;
  struct zj_node *first = *out;
  if ((rc = zj_p_make(parser, out, ZJ_N_COMPARE))) return rc;
  (*out)->compare.first = first;
  for (struct zj_node **list = &(*out)->compare.operands; op; list = &(*list)->next) {
    if ((rc = zj_p_make(parser, list, ZJ_N_OPERAND))) return rc;
    strcpy((*list)->operand.op, op);
    if ((rc = parse_sum(parser, &(*list)->operand.value))) return rc;
    op = accept_comparison(parser);
  }
  return 0;
}

static int parse_not(struct zj_parser *parser, struct zj_node **out) {
  if (!zj_p_is_word(parser, "not")) return parse_compare(parser, out);
  parser->at++;
  int rc = zj_p_enter(parser);
  if (!rc) rc = zj_p_make(parser, out, ZJ_N_NOT);
  if (!rc) rc = parse_not(parser, &(*out)->unary.value);
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
    (*out)->binary.left = left;
    rc = next(parser, &(*out)->binary.right);
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
    (*out)->conditional.yes = value;
    rc = zj_p_disjunction(parser, &(*out)->conditional.condition);
    if (rc || !zj_p_is_word(parser, "else")) continue;
    parser->at++;
    rc = zj_p_expression(parser, &(*out)->conditional.no);
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
  (*out)->list.items = first;
  (*out)->list.is_tuple = 1;
  while (!rc && zj_p_accept(parser, ",") && parser->at->kind != ZJ_END) {
    rc = zj_p_expression(parser, list);
    if (!rc) list = &(*list)->next;
  }
  return rc;
}
