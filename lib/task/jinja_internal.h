/* Tokens, nodes and values of the template interpreter. */
#ifndef ZF_TASK_JINJA_INTERNAL_H
#define ZF_TASK_JINJA_INTERNAL_H

#include "base/err.h"
#include "task/jinja.h"

/* --- tokens (jinja_lex.c) --- */

enum zj_token_kind {
  ZJ_DATA,
  ZJ_PRINT,
  ZJ_TAG,
  ZJ_END,
  ZJ_NAME,
  ZJ_STRING,
  ZJ_INT,
  ZJ_FLOAT,
  ZJ_OP,
  ZJ_EOF
};

struct zj_token {
  enum zj_token_kind kind;
  int line;
  const char *text; /* of the source; a string without its quotes */
  int64_t len;
};

struct zj_tokens {
  struct zj_token *token;
  int64_t count, cap;
};

/* Cuts the source into tokens, which point into it.  The caller frees out->at, also after an error. */
int zj_lex(struct zj_tokens *out, const char *text, const char *name, unsigned flags);

/* --- nodes (jinja_parse.c) --- */

enum zj_node_kind {
  ZJ_N_CONST,
  ZJ_N_NAME,
  ZJ_N_LIST,
  ZJ_N_DICT,
  ZJ_N_PAIR,
  ZJ_N_ATTR,
  ZJ_N_ITEM,
  ZJ_N_SLICE,
  ZJ_N_CALL,
  ZJ_N_ARG,
  ZJ_N_FILTER,
  ZJ_N_TEST,
  ZJ_N_BINARY,
  ZJ_N_NEGATE,
  ZJ_N_NOT,
  ZJ_N_AND,
  ZJ_N_OR,
  ZJ_N_COND,
  ZJ_N_COMPARE,
  ZJ_N_OPERAND,
  ZJ_N_DATA,
  ZJ_N_PRINT,
  ZJ_N_FOR,
  ZJ_N_IF,
  ZJ_N_SET,
  ZJ_N_SETBLOCK,
  ZJ_N_MACRO,
  ZJ_N_FILTERBLOCK,
  ZJ_N_BREAK,
  ZJ_N_CONTINUE,
  ZJ_N_GENERATION,
};

/* A node of the syntax tree.  Members of the union are named by kind; one that holds several nodes
 * (items, args, body, ...) points to the first of a list by `next`. */
struct zj_node {
  enum zj_node_kind kind;
  int line;
  char *name;           /* NAME, ATTR, FILTER, TEST, MACRO, ARG (NULL: by position) */
  json_t *constant;     /* CONST, DATA */
  struct zj_node *next; /* in a list */
  struct zj_node *all;  /* the node made before this one, for freeing */
  union {
    struct {
      struct zj_node *items;
      int is_tuple;
    } list; /* LIST; DICT: items are PAIR */
    struct {
      struct zj_node *key, *value;
    } pair;
    struct {
      struct zj_node *owner;
    } attribute;
    struct {
      struct zj_node *owner, *key;
    } item;
    struct {
      struct zj_node *owner, *start, *stop, *step; /* NULL: not written */
    } slice;
    struct {
      struct zj_node *callee, *args;
    } call;
    struct {
      struct zj_node *value; /* of a macro's parameter: its default, or NULL */
    } arg;
    struct {
      struct zj_node *input; /* NULL: the text of a block */
      struct zj_node *args;
    } filter;
    struct {
      struct zj_node *input, *args;
      int negated;
    } test;
    struct {
      struct zj_node *left, *right;
      char op[4];
    } binary; /* BINARY, AND, OR */
    struct {
      struct zj_node *value;
    } unary; /* NEGATE, NOT, PRINT */
    struct {
      struct zj_node *condition, *yes, *no; /* no: NULL without else */
    } conditional;
    struct {
      struct zj_node *first, *operands; /* each OPERAND is compared with the one before it */
    } compare;
    struct {
      struct zj_node *value;
      char op[4]; /* "ni": not in */
    } operand;
    struct {
      struct zj_node *targets, *iterable, *condition, *body, *else_body;
    } loop; /* FOR */
    struct {
      struct zj_node *condition, *body, *else_body;
    } branch; /* IF */
    struct {
      struct zj_node *targets, *value; /* SET */
      struct zj_node *filters, *body;  /* SETBLOCK; FILTERBLOCK, which has no targets */
    } set;
    struct {
      struct zj_node *parameters, *body;
    } macro;
    struct {
      struct zj_node *body;
    } generation;
  };
};

struct zf_jinja {
  char *name, *text;
  struct zj_node *all, *body; /* every node; the first statement */
  int marks;                  /* has generation blocks */
  unsigned flags;
};

int zj_parse(struct zf_jinja *jinja, const struct zj_tokens *tokens);

/* --- values --- */

enum zj_kind { ZJ_UNDEF, ZJ_JSON, ZJ_NAMESPACE, ZJ_MACRO, ZJ_LOOP, ZJ_METHOD, ZJ_GLOBAL };

/* A loop that runs: the variable `loop`. */
struct zj_loop {
  int64_t index, count; /* index from 0 */
  int depth;            /* of loops, from 1 */
  const json_t *items;
};

struct zj_value {
  enum zj_kind kind;
  json_t *json;     /* JSON, NAMESPACE; METHOD: its owner.  Belongs to the rendering */
  const char *name; /* METHOD, GLOBAL; UNDEF: what is undefined */
  union {
    const struct zj_node *macro; /* MACRO */
    const struct zj_loop *loop;  /* LOOP */
  };
};

enum { ZJ_ARGS = 12 }; /* at most, of one call */

struct zj_args {
  struct zj_value value[ZJ_ARGS];
  const char *name[ZJ_ARGS]; /* NULL: by position */
  int count;
};

/* The variables of a scope. */
struct zj_frame {
  struct zj_var {
    const char *name;
    struct zj_value value;
  } * var;
  int count, cap;
  struct zj_frame *parent;
};

/* The state of a rendering. */
struct zj_env {
  const struct zf_jinja *jinja;
  struct zf_buf *out, *main; /* the current buffer; that of the rendering */
  struct zf_text_spans *spans;
  json_t **kept; /* every value of the rendering; released at its end */
  int64_t kept_count, kept_cap;
  int64_t steps, bytes;   /* so far: see ZF_JINJA_STEPS, ZF_JINJA_BYTES */
  int64_t now;            /* for strftime_now() */
  int depth, line, loops; /* of nesting; the current line; loops around it */
  enum { ZJ_GO, ZJ_BREAK, ZJ_CONTINUE } jump;
  struct zj_frame *frame, *root; /* the innermost scope, the outermost */
  struct zj_note *note;          /* jinja_note.c */
  int64_t note_count, note_cap;
};

/* "NAME:LINE: ...", by the current line. */
int zj_fail(const struct zj_env *env, const char *fmt, ...) ZF_PRINTF(2, 3);

/* jinja_value.c.  zj_keep takes over the reference `json`, and fails when it is NULL; `bytes` is the size
 * that it counts for. */
int zj_keep(struct zj_env *env, struct zj_value *out, json_t *json, int64_t bytes);
int zj_text(struct zj_env *env, struct zj_value *out, const char *text, size_t len);
int zj_bool(struct zj_env *env, struct zj_value *out, int truth);
int zj_int(struct zj_env *env, struct zj_value *out, int64_t number);
int zj_step(struct zj_env *env); /* counts a step; fails beyond ZF_JINJA_STEPS */
int zj_refuse(const struct zj_env *env, const struct zj_value *value); /* fails when undefined */
int zj_strict(const struct zj_env *env,
              const struct zj_value *value); /* the same, under ZF_JINJA_STRICT alone */
int zj_truth(const struct zj_value *value);
const char *zj_kind_name(const struct zj_value *value);
int zj_equal(struct zj_env *env, const json_t *left, const json_t *right, int *same);
/* -1, 0 or 1 into *order.  Texts compare with texts, numbers with numbers; ZF_EINVALID: others. */
int zj_order(struct zj_env *env, const json_t *left, const json_t *right, int *order);
int zj_str(struct zj_env *env, struct zf_buf *buf, const struct zj_value *value); /* as str() */
struct zj_dump {
  const char *comma, *colon;
  int64_t indent; /* -1: one line */
  int ascii, sort, python;
};
int zj_dump(struct zj_env *env, struct zf_buf *buf, const json_t *value,
            const struct zj_dump *style, int depth);
/* The items that a loop over the value visits, as an array. */
int zj_items(struct zj_env *env, json_t **out, const struct zj_value *value);
int64_t zj_chars(const char *text);                   /* its characters */
const char *zj_skip(const char *text, int64_t count); /* behind `count` characters */
int zj_is_space(int32_t code);
int zj_space_at(const char *text); /* does it begin with white space? */

/* jinja_note.c: lists that Python prints in another form, and the depth of values that have a name. */
enum zj_shape { ZJ_LIST, ZJ_TUPLE, ZJ_ITEMS, ZJ_KEYS, ZJ_VALUES };
enum { ZJ_VALUE_DEPTH = 2048 }; /* as Jansson's */
int zj_set_shape(struct zj_env *env, const json_t *value, enum zj_shape shape);
enum zj_shape zj_shape_of(const struct zj_env *env, const json_t *value);
int zj_check_depth(struct zj_env *env, const struct zj_value *value);

/* jinja_filter.c, jinja_args.c, jinja_is.c */
int zj_filter(struct zj_env *env, struct zj_value *out, const char *name, const struct zj_value *in,
              const struct zj_args *args);
int zj_test(struct zj_env *env, int *out, const char *name, const struct zj_value *in,
            const struct zj_args *args);
const char *zj_test_name(int index); /* NULL behind the last */
/* str() of the value. */
int zj_text_of(struct zj_env *env, struct zj_value *out, const struct zj_value *value);
/* The argument at a position (from 0), or with a name; NULL: it is not given. */
const struct zj_value *zj_arg(const struct zj_args *args, int position, const char *name);
/* Leave *out as it is when the argument is not given or none; ZF_EINVALID: another type. */
int zj_arg_text(struct zj_env *env, const char **out, const struct zj_args *args, int position,
                const char *name);
int zj_arg_int(struct zj_env *env, int64_t *out, const struct zj_args *args, int position,
               const char *name);
int zj_arg_true(const struct zj_args *args, int position, const char *name);
int zj_is_none(const struct zj_value *value); /* NULL or none */
int zj_is_filter(const char *name);
int zj_is_test(const char *name);

/* jinja_arith.c */
int zj_concat(struct zj_env *env, struct zj_value *out, const struct zj_value *left,
              const struct zj_value *right); /* str() of both */
int zj_arithmetic(struct zj_env *env, struct zj_value *out, const char *op, const json_t *left,
                  const json_t *right);

/* jinja_eval.c */
int zj_set_var(struct zj_env *env, struct zj_frame *frame, const char *name,
               const struct zj_value *value);
void zj_push(struct zj_env *env, struct zj_frame *frame, struct zj_frame *parent);
void zj_pop(struct zj_env *env, struct zj_frame *frame, struct zj_frame *previous);
int zj_arguments(struct zj_env *env, struct zj_args *args, const struct zj_node *list);
/* Runs statements into a buffer of their own; *out is its text. */
int zj_capture(struct zj_env *env, struct zj_value *out, const struct zj_node *list);
int zj_eval(struct zj_env *env, struct zj_value *out, const struct zj_node *node);

/* jinja_exec.c */
int zj_exec(struct zj_env *env, const struct zj_node *list);

/* jinja_method.c */
int zj_has_method(const json_t *owner, const char *name);
int zj_method(struct zj_env *env, struct zj_value *out, const struct zj_value *value,
              const struct zj_args *args);
/* sides: 1 left, 2 right, 3 both; chars NULL: white space. */
int zj_strip(struct zj_env *env, struct zj_value *out, const char *text, const char *chars,
             int sides);
int zj_replace(struct zj_env *env, struct zj_value *out, const char *text, const char *from,
               const char *to, int64_t max_count);
enum zj_case { ZJ_LOWER, ZJ_UPPER, ZJ_TITLE, ZJ_CAPITAL };
int zj_case(struct zj_env *env, struct zj_value *out, const char *text, enum zj_case letter_case);
int zj_is_global(const char *name);
int zj_global(struct zj_env *env, struct zj_value *out, const char *name,
              const struct zj_args *args);

#endif
