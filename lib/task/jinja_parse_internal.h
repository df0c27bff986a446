/* What the parsers of expressions and of statements share: their position, and the steps of reading. */
#ifndef ZF_TASK_JINJA_PARSE_INTERNAL_H
#define ZF_TASK_JINJA_PARSE_INTERNAL_H

#include "jinja_internal.h"

struct zj_parser {
  struct zf_jinja *jinja;
  const struct zj_token *at;
  int depth, loops; /* of nesting; loops around the current place */
};

typedef int (*parse_fn)(struct zj_parser *parser, struct zj_node **out);

/* Each function moves parser->at behind the tokens that it reads.  A mistake is ZF_EINVALID, "NAME:LINE:
 * ...".  Nodes belong to the template. */
int zj_p_accept(struct zj_parser *parser, const char *op);
int zj_p_attribute(struct zj_parser *parser, struct zj_node **out, struct zj_node *owner);
int zj_p_disjunction(struct zj_parser *parser, struct zj_node **out);
int zj_p_enter(struct zj_parser *parser);
int zj_p_expect(struct zj_parser *parser, const char *op);
int zj_p_expect_end(struct zj_parser *parser);
int zj_p_expression(struct zj_parser *parser, struct zj_node **out);
int zj_p_fail(const struct zj_parser *parser, const char *what);
int zj_p_filter(struct zj_parser *parser, struct zj_node **out);
int zj_p_is_op(const struct zj_parser *parser, const char *op);
int zj_p_is_word(const struct zj_parser *parser, const char *word);
int zj_p_make(struct zj_parser *parser, struct zj_node **out, enum zj_node_kind kind);
int zj_p_number(struct zj_parser *parser, struct zj_node **out);
int zj_p_string(struct zj_parser *parser, struct zj_node **out); /* strings side by side are one */
int zj_p_name(struct zj_parser *parser, struct zj_node *node);
int zj_p_tuple(struct zj_parser *parser, struct zj_node **out);
int zj_p_unsupported(const struct zj_parser *parser, const char *what);

#endif
