/* Statements of a template, from tokens to nodes. */
#include <string.h>

#include "jinja_parse_internal.h"

static int body(struct zj_parser *p, node *list, const char *const *stop);

/* Names, separated by commas, perhaps in parentheses. */
static int targets(struct zj_parser *p, node *list) {
  int closed = zj_p_accept(p, "("), rc = 0;
  do {
    rc = zj_p_make(p, list, ZJ_N_NAME);
    if (!rc) rc = zj_p_take_name(p, *list);
    if (!rc) list = &(*list)->next;
  } while (!rc && zj_p_accept(p, ","));
  return !rc && closed ? zj_p_expect(p, ")") : rc;
}

static int end_word(struct zj_parser *p, const char *word) {
  if (!zj_p_is_word(p, word)) return zj_p_fail(p, word);
  p->at++;
  return 0;
}

static int parse_for(struct zj_parser *p, node *out) {
  node targets_ = NULL, n;
  int rc = zj_p_make(p, out, ZJ_N_FOR);
  if (!rc) rc = targets(p, &targets_);
  if (rc) return rc;
  n = *out;
  n->fourth = targets_;
  if (!zj_p_is_word(p, "in")) return zj_p_fail(p, "'in'");
  p->at++;
  rc = zj_p_disjunction(p, &n->first);
  if (!rc && zj_p_is_op(p, ",")) return zj_p_unsupported(p, "a loop over several values:");
  if (!rc && zj_p_is_word(p, "if")) {
    p->at++;
    rc = zj_p_expression(p, &n->second);
  }
  if (!rc && zj_p_is_word(p, "recursive")) return zj_p_unsupported(p, "loop option");
  if (!rc) rc = zj_p_expect_end(p);
  p->loops++;
  if (!rc) rc = body(p, &n->list, (const char *const[]){"endfor", "else", NULL});
  p->loops--;
  if (!rc && zj_p_is_word(p, "else")) {
    p->at++;
    rc = zj_p_expect_end(p);
    if (!rc) rc = body(p, &n->other, (const char *const[]){"endfor", NULL});
  }
  return rc ? rc : end_word(p, "endfor");
}

/* Behind "if" or "elif". */
static int parse_if(struct zj_parser *p, node *out) {
  int rc = zj_p_enter(p);
  if (!rc) rc = zj_p_make(p, out, ZJ_N_IF);
  if (!rc) rc = zj_p_expression(p, &(*out)->first);
  if (!rc) rc = zj_p_expect_end(p);
  if (!rc) rc = body(p, &(*out)->list, (const char *const[]){"elif", "else", "endif", NULL});
  if (!rc && zj_p_is_word(p, "elif")) {
    p->at++;
    rc = parse_if(p, &(*out)->other);
    p->depth--;
    return rc;
  }
  if (!rc && zj_p_is_word(p, "else")) {
    p->at++;
    rc = zj_p_expect_end(p);
    if (!rc) rc = body(p, &(*out)->other, (const char *const[]){"endif", NULL});
  }
  p->depth--;
  return rc ? rc : end_word(p, "endif");
}

static int filter_chain(struct zj_parser *p, node *out) {
  int rc = zj_p_filter(p, out);
  while (!rc && zj_p_accept(p, "|")) rc = zj_p_filter(p, out);
  return rc;
}

static int parse_set(struct zj_parser *p, node *out) {
  int rc = zj_p_make(p, out, ZJ_N_SET);
  if (!rc) rc = targets(p, &(*out)->fourth);
  node n = rc ? NULL : *out;
  if (!rc && zj_p_is_op(p, ".") && !n->fourth->next) { /* namespace.name */
    node owner = n->fourth;
    p->at++;
    rc = zj_p_attribute(p, &n->fourth, owner);
  }
  if (!rc && zj_p_accept(p, "=")) return zj_p_tuple(p, &n->first);
  if (rc || n->fourth->next || n->fourth->kind != ZJ_N_NAME) return rc ? rc : zj_p_fail(p, "'='");
  n->kind = ZJ_N_SETBLOCK;
  if (zj_p_accept(p, "|")) rc = filter_chain(p, &n->second);
  if (!rc) rc = zj_p_expect_end(p);
  if (!rc) rc = body(p, &n->list, (const char *const[]){"endset", NULL});
  return rc ? rc : end_word(p, "endset");
}

static int parse_macro(struct zj_parser *p, node *out) {
  int rc = zj_p_make(p, out, ZJ_N_MACRO), loops = p->loops;
  if (!rc) rc = zj_p_take_name(p, *out);
  if (!rc) rc = zj_p_expect(p, "(");
  node n = rc ? NULL : *out, *list = rc ? NULL : &n->fourth;
  while (!rc && !zj_p_is_op(p, ")")) {
    rc = zj_p_make(p, list, ZJ_N_ARG);
    if (!rc) rc = zj_p_take_name(p, *list);
    if (!rc && zj_p_accept(p, "=")) rc = zj_p_expression(p, &(*list)->first);
    if (!rc) list = &(*list)->next;
    if (!rc && !zj_p_is_op(p, ")")) rc = zj_p_expect(p, ",");
  }
  if (!rc) rc = zj_p_expect(p, ")");
  if (!rc) rc = zj_p_expect_end(p);
  p->loops = 0;
  if (!rc) rc = body(p, &n->list, (const char *const[]){"endmacro", NULL});
  p->loops = loops;
  return rc ? rc : end_word(p, "endmacro");
}

static int parse_filter_block(struct zj_parser *p, node *out) {
  int rc = zj_p_make(p, out, ZJ_N_FILTERBLOCK);
  if (!rc) rc = filter_chain(p, &(*out)->second);
  if (!rc) rc = zj_p_expect_end(p);
  if (!rc) rc = body(p, &(*out)->list, (const char *const[]){"endfilter", NULL});
  return rc ? rc : end_word(p, "endfilter");
}

static int parse_generation(struct zj_parser *p, node *out) {
  int rc = zj_p_make(p, out, ZJ_N_GENERATION);
  p->jinja->marks = 1;
  if (!rc) rc = zj_p_expect_end(p);
  if (!rc) rc = body(p, &(*out)->list, (const char *const[]){"endgeneration", NULL});
  return rc ? rc : end_word(p, "endgeneration");
}

static int parse_jump(struct zj_parser *p, node *out) {
  p->at--;
  if (!p->loops) return zj_p_fail(p, "a loop around it");
  int rc = zj_p_make(p, out, zj_p_is_word(p, "break") ? ZJ_N_BREAK : ZJ_N_CONTINUE);
  p->at++;
  return rc;
}

/* A tag, its word at hand. */
static int statement(struct zj_parser *p, node *out) {
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
  if (p->at->kind != ZJ_NAME) return zj_p_fail(p, "a tag's name");
  for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
    if (!zj_p_is_word(p, row[i].word)) continue;
    p->at++;
    int rc = row[i].parse(p, out);
    return rc ? rc : zj_p_expect_end(p);
  }
  return zj_p_unsupported(p, "tag");
}

static int is_stop(const struct zj_parser *p, const char *const *stop) {
  for (; *stop; stop++)
    if (zj_p_is_word(p, *stop)) return 1;
  return 0;
}

static int data(struct zj_parser *p, node *out) {
  int rc = zj_p_make(p, out, ZJ_N_DATA);
  if (!rc && !((*out)->value = json_stringn(p->at->text, (size_t)p->at->len)))
    return zj_p_fail(p, "UTF-8");
  p->at++;
  return rc;
}

static int print(struct zj_parser *p, node *out) {
  p->at++;
  int rc = zj_p_make(p, out, ZJ_N_PRINT);
  if (!rc) rc = zj_p_tuple(p, &(*out)->first);
  return rc ? rc : zj_p_expect_end(p);
}

/* Up to a tag of `stop`, whose word is then at hand; NULL: up to the end. */
static int body(struct zj_parser *p, node *list, const char *const *stop) {
  int rc = zj_p_enter(p);
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
  if (!rc && stop && p->at->kind == ZJ_EOF) return zj_p_fail(p, stop[0]);
  return rc;
}

int zj_parse(struct zf_jinja *t, const struct zj_tokens *tokens) {
  struct zj_parser p = {.jinja = t, .at = tokens->at};
  return body(&p, &t->body, NULL);
}
