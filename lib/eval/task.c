/* Rows are encoded one after the other into one set, run in passes of about TOKENS tokens, and
 * answered row by row. */
#include "eval/task.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/err.h"

enum { TOKENS = 4096, EXAMPLES = 8 }; /* of a pass */

void zf_task_free(struct zf_task *t) {
  if (!t) return;
  zf_dataset_free(t->set);
  zf_pairs_free(&t->pairs);
  zf_recipe_row_free(&t->row);
  free(t->seq);
  free(t->answer);
  free(t->ll);
  free(t);
}

/* --- rows to sequences --- */

static int encode_pairs(struct zf_task *t, int64_t line) {
  struct zf_recipe_row *x = &t->row;
  int rc = 0;
  for (int32_t i = 0; !rc && i < x->count; i++)
    rc = zf_pairs_add(&t->pairs, t->set, x->context[x->own ? i : 0].data, x->continuation[i].data);
  if (!rc) rc = zf_pairs_example(t->set, x->count, line);
  for (int32_t i = 0; !rc && t->needs.alone && i < x->count; i++) {
    rc = zf_pairs_add(&t->pairs, t->set, "", x->alone[i].data);
    if (!rc) rc = zf_pairs_example(t->set, 1, line);
  }
  return rc;
}

static int encode_row(struct zf_task *t, int64_t i) {
  const json_t *row = zf_records_row(t->rec, i);
  int64_t windows, line = zf_records_line(t->rec, i);
  t->seq[i] = t->set->nseq;
  int rc = row ? zf_recipe_apply(t->recipe, row, &t->row) : ZF_ENOMEM;
  if (!rc && zf_recipe_output(t->recipe) == ZF_RECIPE_ROLLING)
    rc = zf_pairs_roll(&t->pairs, t->set, t->row.continuation[0].data, line, &windows);
  else if (!rc)
    rc = encode_pairs(t, line);
  t->answer[i] = (struct zf_answer){.count = 1,
                                    .gold = -1,
                                    .choice = -1,
                                    .greedy = -1,
                                    .words = t->row.words,
                                    .size = t->row.size};
  t->seq[i + 1] = t->set->nseq;
  return rc ? zf_error_prefix(rc, "%s:%lld", t->rec->path, (long long)line) : 0;
}

int zf_task_new(struct zf_task **out, struct zf_recipe *recipe, struct zf_records *rec,
                int64_t limit, const struct zf_tok *tok, int64_t length) {
  struct zf_task *t = *out = zf_calloc(1, sizeof *t);
  if (!t) return ZF_ENOMEM;
  t->recipe = recipe;
  t->rec = rec;
  t->count = limit && limit < rec->count ? limit : rec->count;
  int rc = zf_task_needs(&t->needs, recipe);
  if (!rc && t->count < 1) rc = zf_error(ZF_EINVALID, "%s has no rows", rec->path);
  if (!rc) rc = zf_pairs_init(&t->pairs, tok, length);
  if (!rc) rc = zf_dataset_new(&t->set, ZF_TASK_COMPLETION);
  if (!rc) {
    t->seq = zf_calloc(t->count + 1, sizeof *t->seq);
    t->answer = zf_calloc(t->count, sizeof *t->answer);
    if (!t->seq || !t->answer) rc = ZF_ENOMEM;
  }
  for (int64_t i = 0; !rc && i < t->count; i++) rc = encode_row(t, i);
  if (!rc) return 0;
  zf_task_free(t);
  *out = NULL;
  return rc;
}

/* --- sequences to answers --- */

/* Examples of a pass: few where they are long. */
static int64_t batch_of(const struct zf_dataset *d) {
  int64_t longest = 1;
  for (int64_t i = 0; i < d->count; i++)
    if (zf_example_tokens(d, i) > longest) longest = zf_example_tokens(d, i);
  int64_t n = TOKENS / longest;
  return n < 1 ? 1 : n > EXAMPLES ? EXAMPLES : n;
}

static int run_model(struct zf_task *t, const struct zf_model *m, enum zf_compute c,
                     int (*tick)(void *ctx, int64_t done), void *ctx) {
  const struct zf_dataset *const set[] = {t->set};
  struct zf_limits lim = zf_score_limits(set, 1, batch_of(t->set), 1);
  struct zf_forward *f = NULL;
  lim.compute = c;
  free(t->ll);
  t->ll = zf_calloc(t->set->nseq + 1, sizeof *t->ll);
  if (!t->ll) return ZF_ENOMEM;
  if (!t->set->count) return 0; /* rolling texts without a token */
  int rc = zf_forward_new(&f, m, &lim);
  if (!rc) rc = zf_likelihoods(t->ll, f, &lim, t->set, t->needs.greedy, tick, ctx);
  zf_forward_free(f);
  return rc;
}

/* The lengths of choices are not kept for all rows: the row is read once more. */
static int answer_choices(struct zf_task *t, int64_t i) {
  const struct zf_likelihood *ll = t->ll + t->seq[i];
  int64_t n = t->seq[i + 1] - t->seq[i];
  struct zf_answer *a = &t->answer[i];
  const json_t *row = zf_records_row(t->rec, i);
  int rc = row ? zf_recipe_apply(t->recipe, row, &t->row) : ZF_ENOMEM;
  double *v = rc ? NULL : zf_calloc(n, sizeof *v);
  if (!v) return rc ? rc : ZF_ENOMEM;
  for (int64_t k = 0; k < n; k++) v[k] = ll[k].sum;
  zf_answer_choose(a, v, t->needs.alone ? v + t->row.count : NULL, &t->row);
  a->greedy = ll[a->gold].greedy;
  free(v);
  return 0;
}

static int answer_row(struct zf_task *t, int64_t i) {
  struct zf_answer *a = &t->answer[i];
  if (zf_recipe_output(t->recipe) == ZF_RECIPE_CHOICE) return answer_choices(t, i);
  a->ll = 0;
  for (int64_t k = t->seq[i]; k < t->seq[i + 1]; k++) a->ll += t->ll[k].sum;
  if (zf_recipe_output(t->recipe) == ZF_RECIPE_LIKELIHOOD) a->greedy = t->ll[t->seq[i]].greedy;
  return 0;
}

int zf_task_run(struct zf_task *t, const struct zf_model *m, enum zf_compute c,
                int (*tick)(void *ctx, int64_t done), void *ctx) {
  int rc = run_model(t, m, c, tick, ctx);
  for (int64_t i = 0; !rc && i < t->count; i++) rc = answer_row(t, i);
  return rc ? rc : zf_task_metrics(&t->result, t->recipe, t->answer, t->count);
}
