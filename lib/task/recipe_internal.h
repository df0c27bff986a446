/* What the files of recipes share. */
#ifndef ZF_TASK_RECIPE_INTERNAL_H
#define ZF_TASK_RECIPE_INTERNAL_H

#include "conf/conf.h"
#include "task/jinja.h"
#include "task/recipe.h"

enum { ZF_RECIPE_SHOTS = 1000 /* at most, before a question */ };

/* --- steps that prepare a row where a template cannot (recipe_docs.c) --- */

struct zf_doc_step {
  const char *name;
  /* Adds fields to `row`, a copy of the caller's.  ZF_EINVALID. */
  int (*run)(json_t *row);
};

/* The step with this name, or NULL. */
const struct zf_doc_step *zf_doc_step(const char *name);
const char *zf_doc_step_near(const char *name); /* the nearest name, or NULL */

/* Words by splitting at white space: one more than there are runs of it. */
int64_t zf_doc_words(const char *text);

/* --- a recipe ---------------------------------------------------------------------------- */

/* A value of a recipe: the field of the row with this name, else a template. */
struct zf_recipe_part {
  const char *text;
  int names_field; /* the text looks like the name of a field: a row without that field is an error */
  struct zf_jinja *jinja;
};

struct zf_recipe {
  struct zf_conf *conf;
  enum zf_recipe_output output;
  const struct zf_doc_step *step;
  struct zf_recipe_part text, choice, target, description;
  const char *const *fixed; /* choices that are the same for every row */
  int64_t nfixed;
  const char *delimiter, *shot_delimiter;
  struct zf_buf shots; /* the examples, rendered */
  int choices_are_contexts; /* 1: choices are contexts; 0: they are not; -1: unknown before the first row */
};

#endif
