/* Statements of a template, from tokens to nodes. */
#include <string.h>

#include "jinja_parse_internal.h"

static int body(struct zj_parser *parser, node *list, const char *const *stop);

/* Names, separated by commas, perhaps in parentheses. */
static int targets(struct zj_parser *parser, node *list) {
  int closed = zj_p_accept(parser, "("), rc = 0;
  do {
    rc = zj_p_make(parser, list, ZJ_N_NAME);
    if (!rc) rc = zj_p_take_name(parser, *list);
    if (!rc) list = &(*list)->next;
  } while (!rc && zj_p_accept(parser, ","));
  return !rc && closed ? zj_p_expect(parser, ")") : rc;
}

static int end_word(struct zj_parser *parser, const char *word) {
  if (!zj_p_is_word(parser, word)) return zj_p_fail(parser, word);
  parser->at++;
  return 0;
}

static int parse_for(struct zj_parser *parser, node *out) {
  node targets_ = NULL, n;
  int rc = zj_p_make(parser, out, ZJ_N_FOR);
  if (!rc) rc = targets(parser, &targets_);
  if (rc) return rc;
  n = *out;
  n->fourth = targets_;
  if (!zj_p_is_word(parser, "in")) return zj_p_fail(parser, "'in'");
  parser->at++;
  rc = zj_p_disjunction(parser, &n->first);
  if (!rc && zj_p_is_op(parser, ","))
    return zj_p_unsupported(parser, "a loop over several values:");
  if (!rc && zj_p_is_word(parser, "if")) {
    parser->at++;
    rc = zj_p_expression(parser, &n->second);
  }
  if (!rc && zj_p_is_word(parser, "recursive")) return zj_p_unsupported(parser, "loop option");
  if (!rc) rc = zj_p_expect_end(parser);
  parser->loops++;
  if (!rc) rc = body(parser, &n->list, (const char *const[]){"endfor", "else", NULL});
  parser->loops--;
  if (!rc && zj_p_is_word(parser, "else")) {
    parser->at++;
    rc = zj_p_expect_end(parser);
    if (!rc) rc = body(parser, &n->other, (const char *const[]){"endfor", NULL});
  }
  return rc ? rc : end_word(parser, "endfor");
}

/* Behind "if" or "elif". */
static int parse_if(struct zj_parser *parser, node *out) {
  int rc = zj_p_enter(parser);
  if (!rc) rc = zj_p_make(parser, out, ZJ_N_IF);
  if (!rc) rc = zj_p_expression(parser, &(*out)->first);
  if (!rc) rc = zj_p_expect_end(parser);
  if (!rc) rc = body(parser, &(*out)->list, (const char *const[]){"elif", "else", "endif", NULL});
  if (!rc && zj_p_is_word(parser, "elif")) {
    parser->at++;
    rc = parse_if(parser, &(*out)->other);
    parser->depth--;
    return rc;
  }
  if (!rc && zj_p_is_word(parser, "else")) {
    parser->at++;
    rc = zj_p_expect_end(parser);
    if (!rc) rc = body(parser, &(*out)->other, (const char *const[]){"endif", NULL});
  }
  parser->depth--;
  return rc ? rc : end_word(parser, "endif");
}

static int filter_chain(struct zj_parser *parser, node *out) {
  int rc = zj_p_filter(parser, out);
  while (!rc && zj_p_accept(parser, "|")) rc = zj_p_filter(parser, out);
  return rc;
}

static int parse_set(struct zj_parser *parser, node *out) {
  int rc = zj_p_make(parser, out, ZJ_N_SET);
  if (!rc) rc = targets(parser, &(*out)->fourth);
  node n = rc ? NULL : *out;
  if (!rc && zj_p_is_op(parser, ".") && !n->fourth->next) { /* namespace.name */
    node owner = n->fourth;
    parser->at++;
    rc = zj_p_attribute(parser, &n->fourth, owner);
  }
  if (!rc && zj_p_accept(parser, "=")) return zj_p_tuple(parser, &n->first);
  if (rc || n->fourth->next || n->fourth->kind != ZJ_N_NAME)
    return rc ? rc : zj_p_fail(parser, "'='");
  n->kind = ZJ_N_SETBLOCK;
  if (zj_p_accept(parser, "|")) rc = filter_chain(parser, &n->second);
  if (!rc) rc = zj_p_expect_end(parser);
  if (!rc) rc = body(parser, &n->list, (const char *const[]){"endset", NULL});
  return rc ? rc : end_word(parser, "endset");
}

static int parse_macro(struct zj_parser *parser, node *out) {
  int rc = zj_p_make(parser, out, ZJ_N_MACRO), loops = parser->loops;
  if (!rc) rc = zj_p_take_name(parser, *out);
  if (!rc) rc = zj_p_expect(parser, "(");
  node n = rc ? NULL : *out, *list = rc ? NULL : &n->fourth;
  while (!rc && !zj_p_is_op(parser, ")")) {
    rc = zj_p_make(parser, list, ZJ_N_ARG);
    if (!rc) rc = zj_p_take_name(parser, *list);
    if (!rc && zj_p_accept(parser, "=")) rc = zj_p_expression(parser, &(*list)->first);
    if (!rc) list = &(*list)->next;
    if (!rc && !zj_p_is_op(parser, ")")) rc = zj_p_expect(parser, ",");
  }
  if (!rc) rc = zj_p_expect(parser, ")");
  if (!rc) rc = zj_p_expect_end(parser);
  parser->loops = 0;
  if (!rc) rc = body(parser, &n->list, (const char *const[]){"endmacro", NULL});
  parser->loops = loops;
  return rc ? rc : end_word(parser, "endmacro");
}

static int parse_filter_block(struct zj_parser *parser, node *out) {
  int rc = zj_p_make(parser, out, ZJ_N_FILTERBLOCK);
  if (!rc) rc = filter_chain(parser, &(*out)->second);
  if (!rc) rc = zj_p_expect_end(parser);
  if (!rc) rc = body(parser, &(*out)->list, (const char *const[]){"endfilter", NULL});
  return rc ? rc : end_word(parser, "endfilter");
}

static int parse_generation(struct zj_parser *parser, node *out) {
  int rc = zj_p_make(parser, out, ZJ_N_GENERATION);
  parser->jinja->marks = 1;
  if (!rc) rc = zj_p_expect_end(parser);
  if (!rc) rc = body(parser, &(*out)->list, (const char *const[]){"endgeneration", NULL});
  return rc ? rc : end_word(parser, "endgeneration");
}

static int parse_jump(struct zj_parser *parser, node *out) {
  parser->at--;
  if (!parser->loops) return zj_p_fail(parser, "a loop around it");
  int rc = zj_p_make(parser, out, zj_p_is_word(parser, "break") ? ZJ_N_BREAK : ZJ_N_CONTINUE);
  parser->at++;
  return rc;
}

/* A tag, its word at hand. */
static int statement(struct zj_parser *parser, node *out) {
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
  if (parser->at->kind != ZJ_NAME) return zj_p_fail(parser, "a tag's name");
  for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
    if (!zj_p_is_word(parser, row[i].word)) continue;
    parser->at++;
    int rc = row[i].parse(parser, out);
    return rc ? rc : zj_p_expect_end(parser);
  }
  return zj_p_unsupported(parser, "tag");
}

static int is_stop(const struct zj_parser *parser, const char *const *stop) {
  for (; *stop; stop++)
    if (zj_p_is_word(parser, *stop)) return 1;
  return 0;
}

static int data(struct zj_parser *parser, node *out) {
  int rc = zj_p_make(parser, out, ZJ_N_DATA);
  if (!rc && !((*out)->value = json_stringn(parser->at->text, (size_t)parser->at->len)))
    return zj_p_fail(parser, "UTF-8");
  parser->at++;
  return rc;
}

static int print(struct zj_parser *parser, node *out) {
  parser->at++;
  int rc = zj_p_make(parser, out, ZJ_N_PRINT);
  if (!rc) rc = zj_p_tuple(parser, &(*out)->first);
  return rc ? rc : zj_p_expect_end(parser);
}

/* Up to a tag of `stop`, whose word is then at hand; NULL: up to the end. */
static int body(struct zj_parser *parser, node *list, const char *const *stop) {
  int rc = zj_p_enter(parser);
  while (!rc && parser->at->kind != ZJ_EOF) {
    if (parser->at->kind == ZJ_DATA) {
      rc = data(parser, list);
    } else if (parser->at->kind == ZJ_PRINT) {
      rc = print(parser, list);
    } else {
      parser->at++;
      if (stop && is_stop(parser, stop)) break;
      rc = statement(parser, list);
    }
    if (!rc) list = &(*list)->next;
  }
  parser->depth--;
  if (!rc && stop && parser->at->kind == ZJ_EOF) return zj_p_fail(parser, stop[0]);
  return rc;
}

int zj_parse(struct zf_jinja *jinja, const struct zj_tokens *tokens) {
  struct zj_parser parser = {.jinja = jinja, .at = tokens->at};
  return body(&parser, &jinja->body, NULL);
}
