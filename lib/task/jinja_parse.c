/* Statements of a template, from tokens to nodes. */
#include <string.h>

#include "jinja_parse_internal.h"

static int parse_body(struct zj_parser *parser, struct zj_node **list, const char *const *stop);

/* Names separated by commas, with or without parentheses around them. */
static int parse_targets(struct zj_parser *parser, struct zj_node **list) {
  int parenthesised = zj_p_accept(parser, "(");
  do {
    int rc = zj_p_make(parser, list, ZJ_N_NAME);
    if (!rc) rc = zj_p_name(parser, *list);
    if (rc) return rc;
    list = &(*list)->next;
  } while (zj_p_accept(parser, ","));
  return parenthesised ? zj_p_expect(parser, ")") : 0;
}

static int end_word(struct zj_parser *parser, const char *word) {
  if (!zj_p_is_word(parser, word)) return zj_p_fail(parser, word);
  parser->at++;
  return 0;
}

/* TARGETS in ITERABLE [if CONDITION], and the end of the tag. */
static int parse_for_tag(struct zj_parser *parser, struct zj_node *node) {
  int rc = parse_targets(parser, &node->loop.targets);
  if (rc) return rc;
  if (!zj_p_is_word(parser, "in")) return zj_p_fail(parser, "'in'");
  parser->at++;
  if ((rc = zj_p_disjunction(parser, &node->loop.iterable))) return rc;
  if (zj_p_is_op(parser, ",")) return zj_p_unsupported(parser, "a loop over several values:");
  if (zj_p_is_word(parser, "if")) {
    parser->at++;
    if ((rc = zj_p_expression(parser, &node->loop.condition))) return rc;
  }
  if (zj_p_is_word(parser, "recursive")) return zj_p_unsupported(parser, "loop option");
  return zj_p_expect_end(parser);
}

static int parse_for(struct zj_parser *parser, struct zj_node **out) {
  int rc = zj_p_make(parser, out, ZJ_N_FOR);
  if (!rc) rc = parse_for_tag(parser, *out);
  if (rc) return rc;
  struct zj_node *node = *out;
  parser->loops++;
  rc = parse_body(parser, &node->loop.body, (const char *const[]){"endfor", "else", NULL});
  parser->loops--;
  if (!rc && zj_p_is_word(parser, "else")) {
    parser->at++;
    rc = zj_p_expect_end(parser);
    if (!rc) rc = parse_body(parser, &node->loop.else_body, (const char *const[]){"endfor", NULL});
  }
  return rc ? rc : end_word(parser, "endfor");
}

/* Behind "if" or "elif". */
static int parse_if(struct zj_parser *parser, struct zj_node **out) {
  int rc = zj_p_enter(parser);
  if (!rc) rc = zj_p_make(parser, out, ZJ_N_IF);
  if (!rc) rc = zj_p_expression(parser, &(*out)->branch.condition);
  if (!rc) rc = zj_p_expect_end(parser);
  if (!rc)
    rc = parse_body(parser, &(*out)->branch.body,
                    (const char *const[]){"elif", "else", "endif", NULL});
  if (!rc && zj_p_is_word(parser, "elif")) {
    parser->at++;
    rc = parse_if(parser, &(*out)->branch.else_body);
    parser->depth--;
    return rc;
  }
  if (!rc && zj_p_is_word(parser, "else")) {
    parser->at++;
    rc = zj_p_expect_end(parser);
    if (!rc)
      rc = parse_body(parser, &(*out)->branch.else_body, (const char *const[]){"endif", NULL});
  }
  parser->depth--;
  return rc ? rc : end_word(parser, "endif");
}

static int parse_filter_chain(struct zj_parser *parser, struct zj_node **out) {
  int rc = zj_p_filter(parser, out);
  while (!rc && zj_p_accept(parser, "|")) rc = zj_p_filter(parser, out);
  return rc;
}

/* The targets of a set: names, or NAMESPACE.NAME. */
static int parse_set_targets(struct zj_parser *parser, struct zj_node **targets) {
  int rc = parse_targets(parser, targets);
  if (rc || !zj_p_is_op(parser, ".") || (*targets)->next) return rc;
  struct zj_node *owner = *targets;
  parser->at++;
  return zj_p_attribute(parser, targets, owner);
}

static int parse_set(struct zj_parser *parser, struct zj_node **out) {
  int rc = zj_p_make(parser, out, ZJ_N_SET);
  if (rc) return rc;
  struct zj_node *node = *out;
  if ((rc = parse_set_targets(parser, &node->set.targets))) return rc;
  if (zj_p_accept(parser, "=")) return zj_p_tuple(parser, &node->set.value);
  if (node->set.targets->next || node->set.targets->kind != ZJ_N_NAME)
    return zj_p_fail(parser, "'='");
  node->kind = ZJ_N_SETBLOCK;
  if (zj_p_accept(parser, "|")) rc = parse_filter_chain(parser, &node->set.filters);
  if (!rc) rc = zj_p_expect_end(parser);
  if (!rc) rc = parse_body(parser, &node->set.body, (const char *const[]){"endset", NULL});
  return rc ? rc : end_word(parser, "endset");
}

/* A macro's parameters, NAME or NAME=DEFAULT, up to and with ")". */
static int parse_parameters(struct zj_parser *parser, struct zj_node **list) {
  while (!zj_p_is_op(parser, ")")) {
    int rc = zj_p_make(parser, list, ZJ_N_ARG);
    if (!rc) rc = zj_p_name(parser, *list);
    if (!rc && zj_p_accept(parser, "=")) rc = zj_p_expression(parser, &(*list)->arg.value);
    if (rc) return rc;
    list = &(*list)->next;
    if (!zj_p_is_op(parser, ")") && (rc = zj_p_expect(parser, ","))) return rc;
  }
  return zj_p_expect(parser, ")");
}

static int parse_macro(struct zj_parser *parser, struct zj_node **out) {
  int rc = zj_p_make(parser, out, ZJ_N_MACRO), loops = parser->loops;
  if (!rc) rc = zj_p_name(parser, *out);
  if (!rc) rc = zj_p_expect(parser, "(");
  if (!rc) rc = parse_parameters(parser, &(*out)->macro.parameters);
  if (!rc) rc = zj_p_expect_end(parser);
  if (rc) return rc;
  parser->loops = 0;
  rc = parse_body(parser, &(*out)->macro.body, (const char *const[]){"endmacro", NULL});
  parser->loops = loops;
  return rc ? rc : end_word(parser, "endmacro");
}

static int parse_filter_block(struct zj_parser *parser, struct zj_node **out) {
  int rc = zj_p_make(parser, out, ZJ_N_FILTERBLOCK);
  if (!rc) rc = parse_filter_chain(parser, &(*out)->set.filters);
  if (!rc) rc = zj_p_expect_end(parser);
  if (!rc) rc = parse_body(parser, &(*out)->set.body, (const char *const[]){"endfilter", NULL});
  return rc ? rc : end_word(parser, "endfilter");
}

static int parse_generation(struct zj_parser *parser, struct zj_node **out) {
  int rc = zj_p_make(parser, out, ZJ_N_GENERATION);
  parser->jinja->marks = 1;
  if (!rc) rc = zj_p_expect_end(parser);
  if (!rc)
    rc = parse_body(parser, &(*out)->generation.body, (const char *const[]){"endgeneration", NULL});
  return rc ? rc : end_word(parser, "endgeneration");
}

static int parse_jump(struct zj_parser *parser, struct zj_node **out) {
  parser->at--;
  if (!parser->loops) return zj_p_fail(parser, "a loop around it");
  int rc = zj_p_make(parser, out, zj_p_is_word(parser, "break") ? ZJ_N_BREAK : ZJ_N_CONTINUE);
  parser->at++;
  return rc;
}

/* A tag, from its word on. */
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
  if (rc) return rc;
  (*out)->constant = json_stringn(parser->at->text, (size_t)parser->at->len);
  if (!(*out)->constant) return zj_p_fail(parser, "UTF-8");
  parser->at++;
  return 0;
}

static int parse_print(struct zj_parser *parser, struct zj_node **out) {
  parser->at++;
  int rc = zj_p_make(parser, out, ZJ_N_PRINT);
  if (!rc) rc = zj_p_tuple(parser, &(*out)->unary.value);
  return rc ? rc : zj_p_expect_end(parser);
}

/* Text and tags up to a tag whose word is in `stop`, where the parser stops; NULL: up to the end. */
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
  struct zj_parser parser = {.jinja = jinja, .at = tokens->token};
  return parse_body(&parser, &jinja->body, NULL);
}
