/* Encodes all rows into one set, runs it in passes of about PASS_TOKENS tokens, and reduces the
 * likelihoods to an answer for each row. */
#include "eval/task.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/err.h"

enum { PASS_TOKENS = 4096, PASS_EXAMPLES = 8 };

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

/* The choices behind their context as one example; then, where a metric needs them, each choice
 * without context. */
static int encode_pairs(struct zf_task *task, int64_t line) {
  struct zf_recipe_row *row = &task->row;
  int rc;
  for (int32_t i = 0; i < row->count; i++) {
    const char *context = row->context[row->own_contexts ? i : 0].data;
    if ((rc = zf_pairs_add(&task->pairs, task->set, context, row->continuation[i].data))) return rc;
  }
  if ((rc = zf_pairs_example(task->set, row->count, line))) return rc;
  if (!task->needs.alone) return 0;
  for (int32_t i = 0; i < row->count; i++) {
    if ((rc = zf_pairs_add(&task->pairs, task->set, "", row->alone[i].data))) return rc;
    if ((rc = zf_pairs_example(task->set, 1, line))) return rc;
  }
  return 0;
}

static int encode_record(struct zf_task *task, const json_t *record, int64_t line) {
  int64_t windows;
  int rc = record ? zf_recipe_apply(task->recipe, record, &task->row) : ZF_ENOMEM;
  if (rc) return rc;
  if (zf_recipe_output(task->recipe) != ZF_RECIPE_ROLLING) return encode_pairs(task, line);
  return zf_pairs_roll(&task->pairs, task->set, task->row.continuation[0].data, line, &windows);
}

static int encode_row(struct zf_task *task, int64_t index) {
  int64_t line = zf_records_line(task->rec, index);
  task->seq[index] = task->set->nseq;
  int rc = encode_record(task, zf_records_row(task->rec, index), line);
  if (rc) return zf_error_prefix(rc, "%s:%lld", task->rec->path, (long long)line);
  task->answer[index] = (struct zf_answer){.count = 1,
                                           .gold = -1,
                                           .choice = -1,
                                           .greedy = -1,
                                           .words = task->row.words,
                                           .size = task->row.size};
  task->seq[index + 1] = task->set->nseq;
  return 0;
}

static int encode_all(struct zf_task *task, const struct zf_tok *tok, int64_t length) {
  int rc;
  if ((rc = zf_task_needs(&task->needs, task->recipe))) return rc;
  if (task->count < 1) return zf_error(ZF_EINVALID, "%s has no rows", task->rec->path);
  if ((rc = zf_pairs_init(&task->pairs, tok, length))) return rc;
  if ((rc = zf_dataset_new(&task->set, ZF_TASK_COMPLETION))) return rc;
  task->seq = zf_calloc(task->count + 1, sizeof *task->seq);
  task->answer = zf_calloc(task->count, sizeof *task->answer);
  if (!task->seq || !task->answer) return ZF_ENOMEM;
  for (int64_t i = 0; i < task->count; i++)
    if ((rc = encode_row(task, i))) return rc;
  return 0;
}

int zf_task_new(struct zf_task **out, struct zf_recipe *recipe, struct zf_records *rec,
                int64_t limit, const struct zf_tok *tok, int64_t length) {
  struct zf_task *task = *out = zf_calloc(1, sizeof *task);
  if (!task) return ZF_ENOMEM;
  task->recipe = recipe;
  task->rec = rec;
  task->count = limit && limit < rec->count ? limit : rec->count;
  int rc = encode_all(task, tok, length);
  if (!rc) return 0;
  zf_task_free(task);
  *out = NULL;
  return rc;
}

/* --- sequences to answers --- */

/* Number of examples in a pass. */
static int64_t batch_size(const struct zf_dataset *dataset) {
  int64_t longest = 1;
  for (int64_t i = 0; i < dataset->count; i++)
    if (zf_example_tokens(dataset, i) > longest) longest = zf_example_tokens(dataset, i);
  int64_t size = PASS_TOKENS / longest;
  if (size < 1) return 1;
  return size > PASS_EXAMPLES ? PASS_EXAMPLES : size;
}

static int run_model(struct zf_task *task, const struct zf_model *model, enum zf_compute compute,
                     int (*tick)(void *ctx, int64_t done), void *ctx) {
  const struct zf_dataset *const set[] = {task->set};
  struct zf_limits limits = zf_score_limits(set, 1, batch_size(task->set), 1);
  struct zf_forward *forward = NULL;
  limits.compute = compute;
  free(task->ll);
  task->ll = zf_calloc(task->set->nseq + 1, sizeof *task->ll);
  if (!task->ll) return ZF_ENOMEM;
  if (!task->set->count) return 0; /* rolling texts without a token */
  int rc = zf_forward_new(&forward, model, &limits);
  if (!rc)
    rc = zf_likelihoods(task->ll, forward, &limits, task->set, task->needs.greedy, tick, ctx);
  zf_forward_free(forward);
  return rc;
}

/* The lengths of choices are not stored for all rows: the row is read again. */
static int answer_choices(struct zf_task *task, int64_t index) {
  const struct zf_likelihood *likelihood = task->ll + task->seq[index];
  int64_t count = task->seq[index + 1] - task->seq[index];
  struct zf_answer *answer = &task->answer[index];
  const json_t *row = zf_records_row(task->rec, index);
  int rc = row ? zf_recipe_apply(task->recipe, row, &task->row) : ZF_ENOMEM;
  if (rc) return rc;
  double *sum = zf_calloc(count, sizeof *sum);
  if (!sum) return ZF_ENOMEM;
  for (int64_t i = 0; i < count; i++) sum[i] = likelihood[i].sum;
  zf_answer_choose(answer, sum, task->needs.alone ? sum + task->row.count : NULL, &task->row);
  answer->greedy = likelihood[answer->gold].greedy;
  free(sum);
  return 0;
}

static int answer_row(struct zf_task *task, int64_t index) {
  struct zf_answer *answer = &task->answer[index];
  if (zf_recipe_output(task->recipe) == ZF_RECIPE_CHOICE) return answer_choices(task, index);
  answer->ll = 0;
  for (int64_t i = task->seq[index]; i < task->seq[index + 1]; i++) answer->ll += task->ll[i].sum;
  if (zf_recipe_output(task->recipe) == ZF_RECIPE_LIKELIHOOD)
    answer->greedy = task->ll[task->seq[index]].greedy;
  return 0;
}

int zf_task_run(struct zf_task *task, const struct zf_model *model, enum zf_compute compute,
                int (*tick)(void *ctx, int64_t done), void *ctx) {
  int rc = run_model(task, model, compute, tick, ctx);
  if (rc) return rc;
  for (int64_t i = 0; i < task->count; i++)
    if ((rc = answer_row(task, i))) return rc;
  return zf_task_metrics(&task->result, task->recipe, task->answer, task->count);
}
