/* Recipes of standard tasks: how a row of a file becomes texts whose likelihoods are its answer.
 *
 * A recipe is a YAML file.  Its keys have the names and the meaning of lm-evaluation-harness 0.4.13 (Gao
 * et al., doi:10.5281/zenodo.10256836), so that its documentation of a task holds here:
 *
 *   task, output_type            a name; multiple_choice, loglikelihood or loglikelihood_rolling
 *   doc_to_text                  the context
 *   doc_to_choice                the choices: a list, or a template or field whose value is one
 *   doc_to_target                the right choice (index or text), the continuation, or the text
 *   target_delimiter " "         between a context and a choice
 *   fewshot_delimiter "\n\n"     behind an example
 *   description                  before all else
 *   num_fewshot                  how many examples stand before the question
 *   metric_list                  metric, aggregation (lib/eval/taskmetrics.h)
 *
 * Three keys are zoft's own: fields (the fields that a row must have), process_docs (the name of a step in
 * recipe_docs.c), count_in (the field whose words and bytes are counted; default: the text).  Keys that
 * say where the harness finds its data are accepted without effect (zf_recipe_unused).
 *
 * A value that is the name of a field of the row means that field, unchanged.  Any other value is a Jinja
 * template over the row (jinja.h; ZF_JINJA_STRICT and ZF_JINJA_PLAIN).  With choices, a rendered text of
 * digits alone is a number.  When doc_to_text is a number, the choices are contexts, the number is the
 * right one, and the target is scored behind each. */
#ifndef ZF_TASK_RECIPE_H
#define ZF_TASK_RECIPE_H

#include "base/cplusplus.h"
#include "fmt/records.h"

ZF_BEGIN_DECLS

/* The recipes of configs/tasks, which the build makes part of the program; ends with a NULL name. */
struct zf_recipe_text {
  const char *name, *text;
};
extern const struct zf_recipe_text zf_recipe_texts[];

enum zf_recipe_output { ZF_RECIPE_CHOICE, ZF_RECIPE_LIKELIHOOD, ZF_RECIPE_ROLLING };

struct zf_recipe;

/* name: one of zf_recipe_texts, or a file whose name ends in .yaml or .yml.  The caller frees *out.
 * ZF_EUSAGE, with file, line and column, or with the nearest name. */
int zf_recipe_open(struct zf_recipe **out, const char *name);
int zf_recipe_parse(struct zf_recipe **out, const char *text, size_t len, const char *name);
void zf_recipe_free(struct zf_recipe *recipe); /* takes NULL */

const char *zf_recipe_name(const struct zf_recipe *recipe);
const char *zf_recipe_version(const struct zf_recipe *recipe); /* NULL: none */
enum zf_recipe_output zf_recipe_output(const struct zf_recipe *recipe);
int64_t zf_recipe_fields(const struct zf_recipe *recipe, const char *const **out);
/* Appends the names of the keys that are set without effect, separated by ", ". */
void zf_recipe_unused(const struct zf_recipe *recipe, struct zf_buf *out);

/* Metric `index`: 1, or 0 past the last.  *aggregation NULL: the metric's default. */
int zf_recipe_metric(const struct zf_recipe *recipe, int64_t index, const char **metric,
                     const char **aggregation);

/* Puts the first `count` rows of `records`, answered, before every question (the sampler first_n of the
 * harness); count < 0: as many as the recipe says.  ZF_EUSAGE: there are fewer rows, or `records` is NULL
 * and examples are needed. */
int zf_recipe_fewshot(struct zf_recipe *recipe, struct zf_records *records, int64_t count);

/* The texts of one row: a pair for each choice; one pair for loglikelihood and loglikelihood_rolling, which
 * has no context. */
struct zf_recipe_row {
  int32_t count, gold;         /* the right pair; -1: no choices */
  int own_contexts;            /* each pair has a context of its own; else all have context[0] */
  struct zf_buf *context;      /* [own ? count : 1] */
  struct zf_buf *continuation; /* [count] with the delimiter */
  struct zf_buf *alone;        /* choices: [count] delimiter and choice, for acc_mutual_info */
  int64_t *chars, *bytes;      /* [count] of each choice, without the delimiter */
  int64_t words, size;         /* rolling: words and bytes counted */
  int32_t cap;
};

/* Fills *out, which is zeroed before its first use; its buffers are reused.  ZF_EINVALID: a field is
 * missing, a template fails, the target is no choice. */
int zf_recipe_apply(struct zf_recipe *recipe, const json_t *row, struct zf_recipe_row *out);
void zf_recipe_row_free(struct zf_recipe_row *row);

ZF_END_DECLS

#endif
