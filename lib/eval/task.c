/* Rows are encoded one after the other into one set, run in passes of about TOKENS tokens, and
 * answered row by row. */
#include "eval/task.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/err.h"

enum { TOKENS = 4096, EXAMPLES = 8 }; /* of a pass */

void zf_task_free(struct zf_task *task) {
  if (!task) return;
  zf_dataset_free(task->set);
  zf_pairs_free(&task->pairs);
  zf_recipe_row_free(&task->row);
  free(task->seq);
  free(task->answer);
  free(task->ll);
  free(task);
}

/* --- rows to sequences --- */

static int encode_pairs(struct zf_task *task, int64_t line) {
  struct zf_recipe_row *row = &task->row;
  int rc = 0;
  for (int32_t i = 0; !rc && i < row->count; i++)
    rc = zf_pairs_add(&task->pairs, task->set, row->context[row->own ? i : 0].data,
                      row->continuation[i].data);
  if (!rc) rc = zf_pairs_example(task->set, row->count, line);
  for (int32_t i = 0; !rc && task->needs.alone && i < row->count; i++) {
    rc = zf_pairs_add(&task->pairs, task->set, "", row->alone[i].data);
    if (!rc) rc = zf_pairs_example(task->set, 1, line);
  }
  return rc;
}

static int encode_row(struct zf_task *task, int64_t i) {
  const json_t *row = zf_records_row(task->rec, i);
  int64_t windows, line = zf_records_line(task->rec, i);
  task->seq[i] = task->set->nseq;
  int rc = row ? zf_recipe_apply(task->recipe, row, &task->row) : ZF_ENOMEM;
  if (!rc && zf_recipe_output(task->recipe) == ZF_RECIPE_ROLLING)
    rc = zf_pairs_roll(&task->pairs, task->set, task->row.continuation[0].data, line, &windows);
  else if (!rc)
    rc = encode_pairs(task, line);
  task->answer[i] = (struct zf_answer){.count = 1,
                                       .gold = -1,
                                       .choice = -1,
                                       .greedy = -1,
                                       .words = task->row.words,
                                       .size = task->row.size};
  task->seq[i + 1] = task->set->nseq;
  return rc ? zf_error_prefix(rc, "%s:%lld", task->rec->path, (long long)line) : 0;
}

int zf_task_new(struct zf_task **out, struct zf_recipe *recipe, struct zf_records *rec,
                int64_t limit, const struct zf_tok *tok, int64_t length) {
  struct zf_task *task = *out = zf_calloc(1, sizeof *task);
  if (!task) return ZF_ENOMEM;
  task->recipe = recipe;
  task->rec = rec;
  task->count = limit && limit < rec->count ? limit : rec->count;
  int rc = zf_task_needs(&task->needs, recipe);
  if (!rc && task->count < 1) rc = zf_error(ZF_EINVALID, "%s has no rows", rec->path);
  if (!rc) rc = zf_pairs_init(&task->pairs, tok, length);
  if (!rc) rc = zf_dataset_new(&task->set, ZF_TASK_COMPLETION);
  if (!rc) {
    task->seq = zf_calloc(task->count + 1, sizeof *task->seq);
    task->answer = zf_calloc(task->count, sizeof *task->answer);
    if (!task->seq || !task->answer) rc = ZF_ENOMEM;
  }
  for (int64_t i = 0; !rc && i < task->count; i++) rc = encode_row(task, i);
  if (!rc) return 0;
  zf_task_free(task);
  *out = NULL;
  return rc;
}

/* --- sequences to answers --- */

/* Examples of a pass: few where they are long. */
static int64_t batch_of(const struct zf_dataset *dataset) {
  int64_t longest = 1;
  for (int64_t i = 0; i < dataset->count; i++)
    if (zf_example_tokens(dataset, i) > longest) longest = zf_example_tokens(dataset, i);
  int64_t n = TOKENS / longest;
  return n < 1 ? 1 : n > EXAMPLES ? EXAMPLES : n;
}

static int run_model(struct zf_task *task, const struct zf_model *model, enum zf_compute compute,
                     int (*tick)(void *ctx, int64_t done), void *ctx) {
  const struct zf_dataset *const set[] = {task->set};
  struct zf_limits lim = zf_score_limits(set, 1, batch_of(task->set), 1);
  struct zf_forward *forward = NULL;
  lim.compute = compute;
  free(task->ll);
  task->ll = zf_calloc(task->set->nseq + 1, sizeof *task->ll);
  if (!task->ll) return ZF_ENOMEM;
  if (!task->set->count) return 0; /* rolling texts without a token */
  int rc = zf_forward_new(&forward, model, &lim);
  if (!rc) rc = zf_likelihoods(task->ll, forward, &lim, task->set, task->needs.greedy, tick, ctx);
  zf_forward_free(forward);
  return rc;
}

/* The lengths of choices are not kept for all rows: the row is read once more. */
static int answer_choices(struct zf_task *task, int64_t i) {
  const struct zf_likelihood *ll = task->ll + task->seq[i];
  int64_t n = task->seq[i + 1] - task->seq[i];
  struct zf_answer *answer = &task->answer[i];
  const json_t *row = zf_records_row(task->rec, i);
  int rc = row ? zf_recipe_apply(task->recipe, row, &task->row) : ZF_ENOMEM;
  double *v = rc ? NULL : zf_calloc(n, sizeof *v);
  if (!v) return rc ? rc : ZF_ENOMEM;
  for (int64_t k = 0; k < n; k++) v[k] = ll[k].sum;
  zf_answer_choose(answer, v, task->needs.alone ? v + task->row.count : NULL, &task->row);
  answer->greedy = ll[answer->gold].greedy;
  free(v);
  return 0;
}

static int answer_row(struct zf_task *task, int64_t i) {
  struct zf_answer *answer = &task->answer[i];
  if (zf_recipe_output(task->recipe) == ZF_RECIPE_CHOICE) return answer_choices(task, i);
  answer->ll = 0;
  for (int64_t k = task->seq[i]; k < task->seq[i + 1]; k++) answer->ll += task->ll[k].sum;
  if (zf_recipe_output(task->recipe) == ZF_RECIPE_LIKELIHOOD)
    answer->greedy = task->ll[task->seq[i]].greedy;
  return 0;
}

int zf_task_run(struct zf_task *task, const struct zf_model *model, enum zf_compute compute,
                int (*tick)(void *ctx, int64_t done), void *ctx) {
  int rc = run_model(task, model, compute, tick, ctx);
  for (int64_t i = 0; !rc && i < task->count; i++) rc = answer_row(task, i);
  return rc ? rc : zf_task_metrics(&task->result, task->recipe, task->answer, task->count);
}
