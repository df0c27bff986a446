/* Statements of a template, from tokens to nodes. */
#include <string.h>

#include "jinja_parse_internal.h"

static int parse_body(struct zj_parser *parser, struct zj_node **list, const char *const *stop);

/* Names, separated by commas, perhaps in parentheses. */
static int parse_targets(struct zj_parser *parser, struct zj_node **list) {
  int parenthesised = zj_p_accept(parser, "("), rc = 0;
  do {
    rc = zj_p_make(parser, list, ZJ_N_NAME);
    if (!rc) rc = zj_p_take_name(parser, *list);
    if (!rc) list = &(*list)->next;
  } while (!rc && zj_p_accept(parser, ","));
  return !rc && parenthesised ? zj_p_expect(parser, ")") : rc;
}

static int end_word(struct zj_parser *parser, const char *word) {
  if (!zj_p_is_word(parser, word)) return zj_p_fail(parser, word);
  parser->at++;
  return 0;
}

static int parse_for(struct zj_parser *parser, struct zj_node **out) {
  struct zj_node *targets = NULL, *node;
  int rc = zj_p_make(parser, out, ZJ_N_FOR);
  if (!rc) rc = parse_targets(parser, &targets);
  if (rc) return rc;
  node = *out;
  node->fourth = targets;
  if (!zj_p_is_word(parser, "in")) return zj_p_fail(parser, "'in'");
  parser->at++;
  rc = zj_p_disjunction(parser, &node->first);
  if (!rc && zj_p_is_op(parser, ","))
    return zj_p_unsupported(parser, "a loop over several values:");
  if (!rc && zj_p_is_word(parser, "if")) {
    parser->at++;
    rc = zj_p_expression(parser, &node->second);
  }
  if (!rc && zj_p_is_word(parser, "recursive")) return zj_p_unsupported(parser, "loop option");
  if (!rc) rc = zj_p_expect_end(parser);
  parser->loops++;
  if (!rc) rc = parse_body(parser, &node->list, (const char *const[]){"endfor", "else", NULL});
  parser->loops--;
  if (!rc && zj_p_is_word(parser, "else")) {
    parser->at++;
    rc = zj_p_expect_end(parser);
    if (!rc) rc = parse_body(parser, &node->other, (const char *const[]){"endfor", NULL});
  }
  return rc ? rc : end_word(parser, "endfor");
}

/* Behind "if" or "elif". */
static int parse_if(struct zj_parser *parser, struct zj_node **out) {
  int rc = zj_p_enter(parser);
  if (!rc) rc = zj_p_make(parser, out, ZJ_N_IF);
  if (!rc) rc = zj_p_expression(parser, &(*out)->first);
  if (!rc) rc = zj_p_expect_end(parser);
  if (!rc)
    rc = parse_body(parser, &(*out)->list, (const char *const[]){"elif", "else", "endif", NULL});
  if (!rc && zj_p_is_word(parser, "elif")) {
    parser->at++;
    rc = parse_if(parser, &(*out)->other);
    parser->depth--;
    return rc;
  }
  if (!rc && zj_p_is_word(parser, "else")) {
    parser->at++;
    rc = zj_p_expect_end(parser);
    if (!rc) rc = parse_body(parser, &(*out)->other, (const char *const[]){"endif", NULL});
  }
  parser->depth--;
  return rc ? rc : end_word(parser, "endif");
}

static int parse_filter_chain(struct zj_parser *parser, struct zj_node **out) {
  int rc = zj_p_filter(parser, out);
  while (!rc && zj_p_accept(parser, "|")) rc = zj_p_filter(parser, out);
  return rc;
}

static int parse_set(struct zj_parser *parser, struct zj_node **out) {
  int rc = zj_p_make(parser, out, ZJ_N_SET);
  if (!rc) rc = parse_targets(parser, &(*out)->fourth);
  struct zj_node *node = rc ? NULL : *out;
  if (!rc && zj_p_is_op(parser, ".") && !node->fourth->next) { /* namespace.name */
    struct zj_node *owner = node->fourth;
    parser->at++;
    rc = zj_p_attribute(parser, &node->fourth, owner);
  }
  if (!rc && zj_p_accept(parser, "=")) return zj_p_tuple(parser, &node->first);
  if (rc || node->fourth->next || node->fourth->kind != ZJ_N_NAME)
    return rc ? rc : zj_p_fail(parser, "'='");
  node->kind = ZJ_N_SETBLOCK;
  if (zj_p_accept(parser, "|")) rc = parse_filter_chain(parser, &node->second);
  if (!rc) rc = zj_p_expect_end(parser);
  if (!rc) rc = parse_body(parser, &node->list, (const char *const[]){"endset", NULL});
  return rc ? rc : end_word(parser, "endset");
}

static int parse_macro(struct zj_parser *parser, struct zj_node **out) {
  int rc = zj_p_make(parser, out, ZJ_N_MACRO), loops = parser->loops;
  if (!rc) rc = zj_p_take_name(parser, *out);
  if (!rc) rc = zj_p_expect(parser, "(");
  struct zj_node *node = rc ? NULL : *out, **list = rc ? NULL : &node->fourth;
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
  if (!rc) rc = parse_body(parser, &node->list, (const char *const[]){"endmacro", NULL});
  parser->loops = loops;
  return rc ? rc : end_word(parser, "endmacro");
}

static int parse_filter_block(struct zj_parser *parser, struct zj_node **out) {
  int rc = zj_p_make(parser, out, ZJ_N_FILTERBLOCK);
  if (!rc) rc = parse_filter_chain(parser, &(*out)->second);
  if (!rc) rc = zj_p_expect_end(parser);
  if (!rc) rc = parse_body(parser, &(*out)->list, (const char *const[]){"endfilter", NULL});
  return rc ? rc : end_word(parser, "endfilter");
}

static int parse_generation(struct zj_parser *parser, struct zj_node **out) {
  int rc = zj_p_make(parser, out, ZJ_N_GENERATION);
  parser->jinja->marks = 1;
  if (!rc) rc = zj_p_expect_end(parser);
  if (!rc) rc = parse_body(parser, &(*out)->list, (const char *const[]){"endgeneration", NULL});
  return rc ? rc : end_word(parser, "endgeneration");
}

static int parse_jump(struct zj_parser *parser, struct zj_node **out) {
  parser->at--;
  if (!parser->loops) return zj_p_fail(parser, "a loop around it");
  int rc = zj_p_make(parser, out, zj_p_is_word(parser, "break") ? ZJ_N_BREAK : ZJ_N_CONTINUE);
  parser->at++;
  return rc;
}

/* A tag, its word at hand. */
static int parse_statement(struct zj_parser *parser, struct zj_node **out) {
  static const struct {
    const char *word;
    parse_fn parse;
  } statements[] = {{"for", parse_for},
                    {"if", parse_if},
                    {"set", parse_set},
                    {"macro", parse_macro},
                    {"filter", parse_filter_block},
                    {"generation", parse_generation},
                    {"break", parse_jump},
                    {"continue", parse_jump}};
  if (parser->at->kind != ZJ_NAME) return zj_p_fail(parser, "a tag's name");
  for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
    if (!zj_p_is_word(parser, statements[i].word)) continue;
    parser->at++;
    int rc = statements[i].parse(parser, out);
    return rc ? rc : zj_p_expect_end(parser);
  }
  return zj_p_unsupported(parser, "tag");
}

static int is_stop(const struct zj_parser *parser, const char *const *stop) {
  for (; *stop; stop++)
    if (zj_p_is_word(parser, *stop)) return 1;
  return 0;
}

static int parse_data(struct zj_parser *parser, struct zj_node **out) {
  int rc = zj_p_make(parser, out, ZJ_N_DATA);
  if (!rc && !((*out)->value = json_stringn(parser->at->text, (size_t)parser->at->len)))
    return zj_p_fail(parser, "UTF-8");
  parser->at++;
  return rc;
}

static int parse_print(struct zj_parser *parser, struct zj_node **out) {
  parser->at++;
  int rc = zj_p_make(parser, out, ZJ_N_PRINT);
  if (!rc) rc = zj_p_tuple(parser, &(*out)->first);
  return rc ? rc : zj_p_expect_end(parser);
}

/* Up to a tag of `stop`, whose word is then at hand; NULL: up to the end. */
static int parse_body(struct zj_parser *parser, struct zj_node **list, const char *const *stop) {
  int rc = zj_p_enter(parser);
  while (!rc && parser->at->kind != ZJ_EOF) {
    if (parser->at->kind == ZJ_DATA) {
      rc = parse_data(parser, list);
    } else if (parser->at->kind == ZJ_PRINT) {
      rc = parse_print(parser, list);
    } else {
      parser->at++;
      if (stop && is_stop(parser, stop)) break;
      rc = parse_statement(parser, list);
    }
    if (!rc) list = &(*list)->next;
  }
  parser->depth--;
  if (!rc && stop && parser->at->kind == ZJ_EOF) return zj_p_fail(parser, stop[0]);
  return rc;
}

int zj_parse(struct zf_jinja *jinja, const struct zj_tokens *tokens) {
  struct zj_parser parser = {.jinja = jinja, .at = tokens->at};
  return parse_body(&parser, &jinja->body, NULL);
}
