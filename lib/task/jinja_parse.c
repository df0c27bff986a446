/* Tokens to nodes: a recursive descent in Jinja's order of operators,
 *   conditional < or < and < not < comparisons < + - < ~ < * / // % < ** < unary < | and is */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "jinja_internal.h"

struct parser {
  struct zf_jinja *t;
  const struct zj_token *at;
  int depth, loops;
};

typedef struct zj_node *node;

static int fail(const struct parser *p, const char *what) {
  const struct zj_token *k = p->at;
  static const char *const kind[] = {"text", "'{{'", "a tag", "the end of the tag"};
  if (k->kind == ZJ_EOF)
    return zf_error(ZF_EINVALID, "%s:%d: expected %s, found the end of the template", p->t->name,
                    k->line, what);
  if (k->kind < ZJ_NAME)
    return zf_error(ZF_EINVALID, "%s:%d: expected %s, found %s", p->t->name, k->line, what,
                    kind[k->kind]);
  return zf_error(ZF_EINVALID, "%s:%d: expected %s, found '%.*s'", p->t->name, k->line, what,
                  (int)(k->n < 40 ? k->n : 40), k->p);
}

static int unsupported(const struct parser *p, const char *what) {
  return zf_error(ZF_EINVALID, "%s:%d: %s '%.*s' is not supported", p->t->name, p->at->line, what,
                  (int)(p->at->n < 40 ? p->at->n : 40), p->at->p);
}

static int is_op(const struct parser *p, const char *op) {
  return p->at->kind == ZJ_OP && (size_t)p->at->n == strlen(op) &&
         !memcmp(p->at->p, op, (size_t)p->at->n);
}

static int is_word(const struct parser *p, const char *word) {
  return p->at->kind == ZJ_NAME && (size_t)p->at->n == strlen(word) &&
         !memcmp(p->at->p, word, (size_t)p->at->n);
}

static int accept(struct parser *p, const char *op) {
  int yes = is_op(p, op);
  p->at += yes;
  return yes;
}

static int expect(struct parser *p, const char *op) {
  char what[8] = "'";
  if (accept(p, op)) return 0;
  strcat(strcat(what, op), "'");
  return fail(p, what);
}

static int expect_end(struct parser *p) {
  if (p->at->kind != ZJ_END) return fail(p, "the end of the tag");
  p->at++;
  return 0;
}

static int make(struct parser *p, node *out, enum zj_node_kind kind) {
  node n = zf_calloc(1, sizeof *n);
  if (!n) return ZF_ENOMEM;
  n->kind = kind;
  n->line = p->at->line;
  n->all = p->t->all;
  p->t->all = n;
  *out = n;
  return 0;
}

static int take_name(struct parser *p, node n) {
  if (p->at->kind != ZJ_NAME) return fail(p, "a name");
  n->name = zf_strndup(p->at->p, (size_t)p->at->n);
  p->at++;
  return n->name ? 0 : ZF_ENOMEM;
}

static int expression(struct parser *p, node *out);
static int unary(struct parser *p, node *out, int filters);

static int enter(struct parser *p) {
  if (++p->depth <= ZF_JINJA_DEPTH) return 0;
  return zf_error(ZF_EINVALID, "%s:%d: nested more than %d deep", p->t->name, p->at->line,
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
static int string(struct parser *p, node *out) {
  struct zf_buf b = {0};
  int rc = make(p, out, ZJ_N_CONST);
  zf_buf_puts(&b, "");
  for (; p->at->kind == ZJ_STRING; p->at++) {
    const char *s = p->at->p;
    for (int64_t i = 0, n = p->at->n; i < n;) {
      if (s[i] == '\\' && i + 1 < n)
        i += 1 + escape(&b, s + i + 1, n - i - 1);
      else
        zf_buf_putc(&b, s[i++]);
    }
  }
  if (!rc) rc = zf_buf_ok(&b);
  if (!rc && !((*out)->value = json_stringn(b.data, b.len))) {
    p->at--;
    rc = fail(p, "UTF-8");
  }
  zf_buf_free(&b);
  return rc;
}

static int number(struct parser *p, node *out) {
  char text[64];
  int rc = make(p, out, ZJ_N_CONST);
  if (rc || p->at->n >= (int64_t)sizeof text) return rc ? rc : unsupported(p, "number");
  memcpy(text, p->at->p, (size_t)p->at->n);
  text[p->at->n] = 0;
  errno = 0;
  (*out)->value = p->at->kind == ZJ_INT ? json_integer(strtoll(text, NULL, 10))
                                        : json_real(strtod(text, NULL));
  if (errno || !(*out)->value) return unsupported(p, "number");
  p->at++;
  return 0;
}

/* Items up to `close`, its opening behind us. */
static int items(struct parser *p, node *list, const char *close) {
  int rc = 0;
  while (!rc && !is_op(p, close)) {
    rc = expression(p, list);
    if (!rc) list = &(*list)->next;
    if (!rc && !is_op(p, close)) rc = expect(p, ",");
  }
  return rc ? rc : expect(p, close);
}

static int dictionary(struct parser *p, node *out) {
  int rc = make(p, out, ZJ_N_DICT);
  node *list = rc ? NULL : &(*out)->list;
  while (!rc && !is_op(p, "}")) {
    rc = make(p, list, ZJ_N_PAIR);
    if (!rc) rc = expression(p, &(*list)->a);
    if (!rc) rc = expect(p, ":");
    if (!rc) rc = expression(p, &(*list)->b);
    if (!rc) list = &(*list)->next;
    if (!rc && !is_op(p, "}")) rc = expect(p, ",");
  }
  return rc ? rc : expect(p, "}");
}

/* "(a)" is a; "(a, b)" and "()" are lists. */
static int parenthesis(struct parser *p, node *out) {
  node first = NULL;
  int rc = is_op(p, ")") ? 0 : expression(p, &first);
  if (rc) return rc;
  if (first && accept(p, ")")) {
    *out = first;
    return 0;
  }
  rc = make(p, out, ZJ_N_LIST);
  if (rc) return rc;
  (*out)->list = first;
  if (first) rc = expect(p, ",");
  return rc ? rc : items(p, first ? &first->next : &(*out)->list, ")");
}

static int word(struct parser *p, node *out) {
  static const struct {
    const char *name;
    int value;
  } constant[] = {{"true", 1},  {"True", 1},  {"false", 0},
                  {"False", 0}, {"none", -1}, {"None", -1}};
  for (int i = 0; i < 6; i++) {
    if (!is_word(p, constant[i].name)) continue;
    int rc = make(p, out, ZJ_N_CONST);
    if (!rc) (*out)->value = constant[i].value < 0 ? json_null() : json_boolean(constant[i].value);
    p->at++;
    return rc;
  }
  int rc = make(p, out, ZJ_N_NAME);
  return rc ? rc : take_name(p, *out);
}

static int primary(struct parser *p, node *out) {
  if (p->at->kind == ZJ_STRING) return string(p, out);
  if (p->at->kind == ZJ_INT || p->at->kind == ZJ_FLOAT) return number(p, out);
  if (p->at->kind == ZJ_NAME) return word(p, out);
  if (accept(p, "(")) return parenthesis(p, out);
  if (accept(p, "{")) return dictionary(p, out);
  if (!accept(p, "[")) return fail(p, "a value");
  int rc = make(p, out, ZJ_N_LIST);
  return rc ? rc : items(p, &(*out)->list, "]");
}

/* --- what follows a value -------------------------------------------------------------------- */

/* Arguments behind "(". */
static int arguments(struct parser *p, node *list) {
  int rc = 0;
  while (!rc && !is_op(p, ")")) {
    if (is_op(p, "*") || is_op(p, "**")) return unsupported(p, "argument");
    rc = make(p, list, ZJ_N_ARG);
    if (!rc && p->at->kind == ZJ_NAME && p->at[1].kind == ZJ_OP && p->at[1].n == 1 &&
        *p->at[1].p == '=') {
      rc = take_name(p, *list);
      p->at++;
    }
    if (!rc) rc = expression(p, &(*list)->a);
    if (!rc) list = &(*list)->next;
    if (!rc && !is_op(p, ")")) rc = expect(p, ",");
  }
  return rc ? rc : expect(p, ")");
}

/* a[b], a[b:c:d] behind "[". */
static int subscript(struct parser *p, node *out, node owner) {
  node part[3] = {0};
  int n = 0, rc = 0, colons = 0;
  while (!rc && !is_op(p, "]") && n < 3) {
    if (!is_op(p, ":")) rc = expression(p, &part[n]);
    if (rc || !accept(p, ":")) break;
    n++;
    colons++;
  }
  if (!rc) rc = make(p, out, colons ? ZJ_N_SLICE : ZJ_N_ITEM);
  if (rc) return rc;
  (*out)->a = owner;
  (*out)->b = part[0];
  (*out)->c = part[1];
  (*out)->d = part[2];
  if (!colons && !part[0]) return fail(p, "an index");
  return expect(p, "]");
}

static int attribute(struct parser *p, node *out, node owner) {
  int rc;
  if (p->at->kind == ZJ_INT) { /* a.0 is a[0] */
    if ((rc = make(p, out, ZJ_N_ITEM))) return rc;
    (*out)->a = owner;
    return number(p, &(*out)->b);
  }
  if ((rc = make(p, out, ZJ_N_ATTR))) return rc;
  (*out)->a = owner;
  return take_name(p, *out);
}

static int call(struct parser *p, node *out, node owner) {
  int rc = make(p, out, ZJ_N_CALL);
  if (rc) return rc;
  (*out)->a = owner;
  return arguments(p, &(*out)->list);
}

static int postfix(struct parser *p, node *out) {
  int rc = 0, n = 0;
  while (!rc) {
    node owner = *out;
    if (++n > ZF_JINJA_DEPTH) return unsupported(p, "so long a chain at");
    if (accept(p, "."))
      rc = attribute(p, out, owner);
    else if (accept(p, "["))
      rc = subscript(p, out, owner);
    else if (accept(p, "("))
      rc = call(p, out, owner);
    else
      break;
  }
  return rc;
}

static int filter(struct parser *p, node *out) {
  node in = *out;
  if (p->at->kind != ZJ_NAME) return fail(p, "a filter");
  const struct zj_token *name = p->at;
  int rc = make(p, out, ZJ_N_FILTER);
  if (!rc) rc = take_name(p, *out);
  if (rc) return rc;
  if (!zj_is_filter((*out)->name)) {
    p->at = name;
    return unsupported(p, "filter");
  }
  (*out)->a = in;
  return accept(p, "(") ? arguments(p, &(*out)->list) : 0;
}

/* Behind "is": [not] NAME [argument]. */
static int test(struct parser *p, node *out) {
  node in = *out;
  int rc = make(p, out, ZJ_N_TEST);
  if (rc) return rc;
  (*out)->a = in;
  (*out)->negated = is_word(p, "not");
  p->at += (*out)->negated;
  const struct zj_token *name = p->at;
  if ((rc = take_name(p, *out))) return rc;
  if (!zj_is_test((*out)->name)) {
    p->at = name;
    return unsupported(p, "test");
  }
  if (accept(p, "(")) return arguments(p, &(*out)->list);
  int more = p->at->kind == ZJ_STRING || p->at->kind == ZJ_INT || p->at->kind == ZJ_FLOAT ||
             is_op(p, "[") || is_op(p, "{") ||
             (p->at->kind == ZJ_NAME && !is_word(p, "else") && !is_word(p, "or") &&
              !is_word(p, "and") && !is_word(p, "is") && !is_word(p, "if"));
  if (!more) return 0;
  rc = make(p, &(*out)->list, ZJ_N_ARG);
  if (!rc) rc = primary(p, &(*out)->list->a);
  return rc ? rc : postfix(p, &(*out)->list->a);
}

static int filters_and_tests(struct parser *p, node *out) {
  int rc = 0, n = 0;
  while (!rc) {
    if (++n > ZF_JINJA_DEPTH) return unsupported(p, "so long a chain at");
    if (accept(p, "|")) {
      rc = filter(p, out);
    } else if (is_word(p, "is")) {
      p->at++;
      rc = test(p, out);
    } else if (accept(p, "(")) {
      node owner = *out;
      rc = call(p, out, owner);
    } else {
      break;
    }
  }
  return rc;
}

/* --- operators ------------------------------------------------------------------------------ */

static int unary(struct parser *p, node *out, int filters) {
  int rc = enter(p);
  if (rc) return rc;
  if (is_op(p, "-") || is_op(p, "+")) {
    int minus = *p->at->p == '-';
    p->at++;
    if (minus) {
      rc = make(p, out, ZJ_N_NEGATE);
      if (!rc) rc = unary(p, &(*out)->a, 0);
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

typedef int (*parse_fn)(struct parser *p, node *out);

static int operand(struct parser *p, node *out) {
  return unary(p, out, 1);
}

/* Left-associative operators of one rank; ops ends with NULL. */
static int rank(struct parser *p, node *out, parse_fn next, const char *const *ops) {
  int rc = next(p, out), n = 0;
  while (!rc) {
    const char *const *op = ops;
    while (*op && !is_op(p, *op)) op++;
    if (!*op) break;
    if (++n > ZF_JINJA_DEPTH) return unsupported(p, "so long a chain at");
    node left = *out;
    rc = make(p, out, ZJ_N_BINARY);
    if (rc) return rc;
    strcpy((*out)->op, *op);
    (*out)->a = left;
    p->at++;
    rc = next(p, &(*out)->b);
  }
  return rc;
}

static int power(struct parser *p, node *out) {
  return rank(p, out, operand, (const char *const[]){"**", NULL});
}

static int product(struct parser *p, node *out) {
  return rank(p, out, power, (const char *const[]){"*", "/", "//", "%", NULL});
}

static int join(struct parser *p, node *out) {
  return rank(p, out, product, (const char *const[]){"~", NULL});
}

static int sum(struct parser *p, node *out) {
  return rank(p, out, join, (const char *const[]){"+", "-", NULL});
}

static const char *comparison(struct parser *p) {
  static const char *const ops[] = {"==", "!=", "<=", ">=", "<", ">"};
  for (int i = 0; i < 6; i++)
    if (accept(p, ops[i])) return ops[i];
  if (is_word(p, "in")) {
    p->at++;
    return "in";
  }
  if (is_word(p, "not") && p->at[1].kind == ZJ_NAME && p->at[1].n == 2 &&
      !memcmp(p->at[1].p, "in", 2)) {
    p->at += 2;
    return "ni";
  }
  return NULL;
}

/* a < b < c: the first operand and a list of what it is compared with. */
static int compare(struct parser *p, node *out) {
  int rc = sum(p, out);
  const char *op = rc ? NULL : comparison(p);
  if (!op) return rc;
  node first = *out;
  if ((rc = make(p, out, ZJ_N_COMPARE))) return rc;
  (*out)->a = first;
  for (node *list = &(*out)->list; !rc && op; list = &(*list)->next) {
    rc = make(p, list, ZJ_N_PAIR);
    if (rc) break;
    strcpy((*list)->op, op);
    rc = sum(p, &(*list)->b);
    op = rc ? NULL : comparison(p);
  }
  return rc;
}

static int negation(struct parser *p, node *out) {
  if (!is_word(p, "not")) return compare(p, out);
  p->at++;
  int rc = enter(p);
  if (!rc) rc = make(p, out, ZJ_N_NOT);
  if (!rc) rc = negation(p, &(*out)->a);
  p->depth--;
  return rc;
}

static int logic(struct parser *p, node *out, parse_fn next, const char *op,
                 enum zj_node_kind kind) {
  int rc = next(p, out), n = 0;
  while (!rc && is_word(p, op)) {
    node left = *out;
    if (++n > ZF_JINJA_DEPTH) return unsupported(p, "so long a chain at");
    if ((rc = make(p, out, kind))) return rc;
    p->at++;
    (*out)->a = left;
    rc = next(p, &(*out)->b);
  }
  return rc;
}

static int conjunction(struct parser *p, node *out) {
  return logic(p, out, negation, "and", ZJ_N_AND);
}

static int disjunction(struct parser *p, node *out) {
  return logic(p, out, conjunction, "or", ZJ_N_OR);
}

static int expression(struct parser *p, node *out) {
  int rc = enter(p);
  if (!rc) rc = disjunction(p, out);
  while (!rc && is_word(p, "if")) {
    node value = *out;
    p->at++;
    rc = make(p, out, ZJ_N_COND);
    if (rc) break;
    (*out)->b = value;
    rc = disjunction(p, &(*out)->a);
    if (rc || !is_word(p, "else")) continue;
    p->at++;
    rc = expression(p, &(*out)->c);
  }
  p->depth--;
  return rc;
}

/* "a, b" without parentheses is a list. */
static int tuple(struct parser *p, node *out) {
  int rc = expression(p, out);
  if (rc || !is_op(p, ",")) return rc;
  node first = *out, *list = &first->next;
  if ((rc = make(p, out, ZJ_N_LIST))) return rc;
  (*out)->list = first;
  while (!rc && accept(p, ",") && p->at->kind != ZJ_END) {
    rc = expression(p, list);
    if (!rc) list = &(*list)->next;
  }
  return rc;
}

/* --- statements ---------------------------------------------------------------------------- */

static int body(struct parser *p, node *list, const char *const *stop);

/* Names, separated by commas, perhaps in parentheses. */
static int targets(struct parser *p, node *list) {
  int closed = accept(p, "("), rc = 0;
  do {
    rc = make(p, list, ZJ_N_NAME);
    if (!rc) rc = take_name(p, *list);
    if (!rc) list = &(*list)->next;
  } while (!rc && accept(p, ","));
  return !rc && closed ? expect(p, ")") : rc;
}

static int end_word(struct parser *p, const char *word) {
  if (!is_word(p, word)) return fail(p, word);
  p->at++;
  return 0;
}

static int parse_for(struct parser *p, node *out) {
  node targets_ = NULL, n;
  int rc = make(p, out, ZJ_N_FOR);
  if (!rc) rc = targets(p, &targets_);
  if (rc) return rc;
  n = *out;
  n->d = targets_;
  if (!is_word(p, "in")) return fail(p, "'in'");
  p->at++;
  rc = disjunction(p, &n->a);
  if (!rc && is_op(p, ",")) return unsupported(p, "a loop over several values:");
  if (!rc && is_word(p, "if")) {
    p->at++;
    rc = expression(p, &n->b);
  }
  if (!rc && is_word(p, "recursive")) return unsupported(p, "loop option");
  if (!rc) rc = expect_end(p);
  p->loops++;
  if (!rc) rc = body(p, &n->list, (const char *const[]){"endfor", "else", NULL});
  p->loops--;
  if (!rc && is_word(p, "else")) {
    p->at++;
    rc = expect_end(p);
    if (!rc) rc = body(p, &n->other, (const char *const[]){"endfor", NULL});
  }
  return rc ? rc : end_word(p, "endfor");
}

/* Behind "if" or "elif". */
static int parse_if(struct parser *p, node *out) {
  int rc = enter(p);
  if (!rc) rc = make(p, out, ZJ_N_IF);
  if (!rc) rc = expression(p, &(*out)->a);
  if (!rc) rc = expect_end(p);
  if (!rc) rc = body(p, &(*out)->list, (const char *const[]){"elif", "else", "endif", NULL});
  if (!rc && is_word(p, "elif")) {
    p->at++;
    rc = parse_if(p, &(*out)->other);
    p->depth--;
    return rc;
  }
  if (!rc && is_word(p, "else")) {
    p->at++;
    rc = expect_end(p);
    if (!rc) rc = body(p, &(*out)->other, (const char *const[]){"endif", NULL});
  }
  p->depth--;
  return rc ? rc : end_word(p, "endif");
}

static int filter_chain(struct parser *p, node *out) {
  int rc = filter(p, out);
  while (!rc && accept(p, "|")) rc = filter(p, out);
  return rc;
}

static int parse_set(struct parser *p, node *out) {
  int rc = make(p, out, ZJ_N_SET);
  if (!rc) rc = targets(p, &(*out)->d);
  node n = rc ? NULL : *out;
  if (!rc && is_op(p, ".") && !n->d->next) { /* namespace.name */
    node owner = n->d;
    p->at++;
    rc = attribute(p, &n->d, owner);
  }
  if (!rc && accept(p, "=")) return tuple(p, &n->a);
  if (rc || n->d->next || n->d->kind != ZJ_N_NAME) return rc ? rc : fail(p, "'='");
  n->kind = ZJ_N_SETBLOCK;
  if (accept(p, "|")) rc = filter_chain(p, &n->b);
  if (!rc) rc = expect_end(p);
  if (!rc) rc = body(p, &n->list, (const char *const[]){"endset", NULL});
  return rc ? rc : end_word(p, "endset");
}

static int parse_macro(struct parser *p, node *out) {
  int rc = make(p, out, ZJ_N_MACRO), loops = p->loops;
  if (!rc) rc = take_name(p, *out);
  if (!rc) rc = expect(p, "(");
  node n = rc ? NULL : *out, *list = rc ? NULL : &n->d;
  while (!rc && !is_op(p, ")")) {
    rc = make(p, list, ZJ_N_ARG);
    if (!rc) rc = take_name(p, *list);
    if (!rc && accept(p, "=")) rc = expression(p, &(*list)->a);
    if (!rc) list = &(*list)->next;
    if (!rc && !is_op(p, ")")) rc = expect(p, ",");
  }
  if (!rc) rc = expect(p, ")");
  if (!rc) rc = expect_end(p);
  p->loops = 0;
  if (!rc) rc = body(p, &n->list, (const char *const[]){"endmacro", NULL});
  p->loops = loops;
  return rc ? rc : end_word(p, "endmacro");
}

static int parse_filter_block(struct parser *p, node *out) {
  int rc = make(p, out, ZJ_N_FILTERBLOCK);
  if (!rc) rc = filter_chain(p, &(*out)->b);
  if (!rc) rc = expect_end(p);
  if (!rc) rc = body(p, &(*out)->list, (const char *const[]){"endfilter", NULL});
  return rc ? rc : end_word(p, "endfilter");
}

static int parse_generation(struct parser *p, node *out) {
  int rc = make(p, out, ZJ_N_GENERATION);
  p->t->marks = 1;
  if (!rc) rc = expect_end(p);
  if (!rc) rc = body(p, &(*out)->list, (const char *const[]){"endgeneration", NULL});
  return rc ? rc : end_word(p, "endgeneration");
}

static int parse_jump(struct parser *p, node *out) {
  p->at--;
  if (!p->loops) return fail(p, "a loop around it");
  int rc = make(p, out, is_word(p, "break") ? ZJ_N_BREAK : ZJ_N_CONTINUE);
  p->at++;
  return rc;
}

/* A tag, its word at hand. */
static int statement(struct parser *p, node *out) {
  static const struct {
    const char *word;
    parse_fn parse;
  } row[] = {{"for", parse_for},
             {"if", parse_if},
             {"set", parse_set},
             {"macro", parse_macro},
             {"filter", parse_filter_block},
             {"generation", parse_generation},
             {"break", parse_jump},
             {"continue", parse_jump}};
  if (p->at->kind != ZJ_NAME) return fail(p, "a tag's name");
  for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
    if (!is_word(p, row[i].word)) continue;
    p->at++;
    int rc = row[i].parse(p, out);
    return rc ? rc : expect_end(p);
  }
  return unsupported(p, "tag");
}

static int is_stop(const struct parser *p, const char *const *stop) {
  for (; *stop; stop++)
    if (is_word(p, *stop)) return 1;
  return 0;
}

static int data(struct parser *p, node *out) {
  int rc = make(p, out, ZJ_N_DATA);
  if (!rc && !((*out)->value = json_stringn(p->at->p, (size_t)p->at->n))) return fail(p, "UTF-8");
  p->at++;
  return rc;
}

static int print(struct parser *p, node *out) {
  p->at++;
  int rc = make(p, out, ZJ_N_PRINT);
  if (!rc) rc = tuple(p, &(*out)->a);
  return rc ? rc : expect_end(p);
}

/* Up to a tag of `stop`, whose word is then at hand; NULL: up to the end. */
static int body(struct parser *p, node *list, const char *const *stop) {
  int rc = enter(p);
  while (!rc && p->at->kind != ZJ_EOF) {
    if (p->at->kind == ZJ_DATA) {
      rc = data(p, list);
    } else if (p->at->kind == ZJ_PRINT) {
      rc = print(p, list);
    } else {
      p->at++;
      if (stop && is_stop(p, stop)) break;
      rc = statement(p, list);
    }
    if (!rc) list = &(*list)->next;
  }
  p->depth--;
  if (!rc && stop && p->at->kind == ZJ_EOF) return fail(p, stop[0]);
  return rc;
}

int zj_parse(struct zf_jinja *t, const struct zj_tokens *tokens) {
  struct parser p = {.t = t, .at = tokens->at};
  return body(&p, &t->body, NULL);
}
