/* Recipes of standard tasks: how a row of a file becomes texts whose likelihoods answer it.
 *
 * A recipe is a YAML file.  Its keys are named as lm-evaluation-harness names them, and mean the
 * same (read in version 0.4.13, Gao et al., doi:10.5281/zenodo.10256836), so that what is known of a
 * task there holds here:
 *
 *   task, output_type            a name; multiple_choice, loglikelihood or loglikelihood_rolling
 *   doc_to_text                  the context
 *   doc_to_choice                the choices: a list, or a template or field that gives one
 *   doc_to_target                the right choice (index or text), or the continuation, or the text
 *   target_delimiter " "         between a context and a choice
 *   fewshot_delimiter "\n\n"     behind an example
 *   description                  before everything; num_fewshot: examples before the question
 *   metric_list                  metric, aggregation (lib/eval/taskmetrics.h)
 *
 * Three keys are ours: fields (what a row must have), process_docs (a step of recipe_docs.c by its
 * name), count_in (the field whose words and bytes are counted; default: the text).  Keys that say
 * where the harness finds data are accepted and have no effect (zf_recipe_unused).
 *
 * A value that is the name of a field is that field as it is; another is a Jinja template (jinja.h,
 * strict and with white space as written) over the row.  A rendering of digits alone is a number
 * where there are choices.  A context that is a number says that the choices are contexts, the
 * number which is right, and the target what is scored after each. */
#ifndef ZF_TASK_RECIPE_H
#define ZF_TASK_RECIPE_H

#include "fmt/records.h"

/* Recipes that are part of the program; ends with a NULL name.  Made from configs/tasks by the
 * build. */
struct zf_recipe_text {
  const char *name, *text;
};
extern const struct zf_recipe_text zf_recipe_texts[];

enum zf_recipe_output { ZF_RECIPE_CHOICE, ZF_RECIPE_LIKELIHOOD, ZF_RECIPE_ROLLING };

struct zf_recipe;

/* `name` is one of zf_recipe_texts, or a file: ends in .yaml or .yml.  ZF_EUSAGE with
 * file, line and column, or with the nearest name. */
int zf_recipe_open(struct zf_recipe **out, const char *name);
int zf_recipe_parse(struct zf_recipe **out, const char *text, size_t len, const char *name);
void zf_recipe_free(struct zf_recipe *recipe); /* takes NULL */

const char *zf_recipe_name(const struct zf_recipe *recipe);
const char *zf_recipe_version(const struct zf_recipe *recipe); /* NULL: none */
enum zf_recipe_output zf_recipe_output(const struct zf_recipe *recipe);
int64_t zf_recipe_fields(const struct zf_recipe *recipe, const char *const **out);
/* Appends the names of keys that are set and have no effect, ", " between. */
void zf_recipe_unused(const struct zf_recipe *recipe, struct zf_buf *out);

/* Metric i: 0 past the last.  *aggregation NULL: the metric's own. */
int zf_recipe_metric(const struct zf_recipe *recipe, int64_t index, const char **metric,
                     const char **aggregation);

/* Examples before every question: the first `n` rows of `r`, answered (what the harness calls
 * first_n); n < 0: as many as the recipe says.  ZF_EUSAGE when there are fewer, or none are named
 * (rec NULL) where some are wanted. */
int zf_recipe_fewshot(struct zf_recipe *recipe, struct zf_records *rec, int64_t count);

/* One row's texts: `n` pairs for choices, one for a likelihood or a rolling one (context unused).
 * Contexts are one for all pairs, or one each (`own`). */
struct zf_recipe_row {
  int32_t count, gold; /* the right pair; -1: no choices */
  int own;
  struct zf_buf *context;      /* [own ? n : 1] */
  struct zf_buf *continuation; /* [n] with the delimiter */
  struct zf_buf *alone;        /* choices: [n] delimiter and choice, for acc_mutual_info */
  int64_t *chars, *bytes;      /* [n] of each choice, without the delimiter */
  int64_t words, size;         /* rolling: words and bytes counted */
  int32_t cap;
};

/* Fills `out` (zeroed before first use; buffers are used again).  ZF_EINVALID: a field is missing,
 * a template fails, the target is no choice. */
int zf_recipe_apply(struct zf_recipe *recipe, const json_t *row, struct zf_recipe_row *out);
void zf_recipe_row_free(struct zf_recipe_row *row);

#endif
