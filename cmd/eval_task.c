/* zoft eval --task: rows of files to likelihoods by a recipe, and what they come to. */
#include "eval_task.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "base/file.h"
#include "eval/task.h"
#include "load.h"
#include "ui.h"

struct job {
  struct zf_recipe *recipe;
  struct zf_records *rec, *shots;
  struct zf_task *t;
};

static void free_job(struct job *j) {
  zf_task_free(j->t);
  zf_recipe_free(j->recipe);
  zf_records_free(j->rec);
  zf_records_free(j->shots);
}

static const char *name_of(const struct job *j) {
  return zf_recipe_name(j->recipe);
}

static void say_unused(const struct job *j, const char *name) {
  struct zf_buf b = {0};
  zf_recipe_unused(j->recipe, &b);
  if (b.len) zc_warn("%s: keys without effect here: %s", name, b.data);
  zf_buf_free(&b);
}

/* Tokens that the model does not know are an error of their row. */
static int check_tokens(const struct job *j, const struct zf_model *m, const struct zf_tok *tok) {
  const struct zf_dataset *d = j->t->set;
  for (int64_t i = 0; i < d->count; i++)
    for (int32_t o = 0; o < d->ex[i].nseq; o++) {
      const struct zf_seq *s = &d->seq[d->ex[i].seq + o];
      int rc = zf_tok_check(tok, d->pool.id + s->at, s->len, m->config.vocab);
      if (rc) return zf_error_prefix(rc, "%s:%lld", j->rec->path, (long long)d->ex[i].line);
    }
  return 0;
}

static int open_job(struct job *j, const struct zc_eval_tasks *a, int k, const struct zf_model *m,
                    const struct zf_tok *tok) {
  int rc = zf_recipe_open(&j->recipe, a->task.item[k]);
  if (!rc) say_unused(j, a->task.item[k]);
  if (!rc) rc = zf_records_open(&j->rec, a->data.item[k]);
  if (!rc && k < a->shots.count) rc = zf_records_open(&j->shots, a->shots.item[k]);
  if (!rc) rc = zf_recipe_fewshot(j->recipe, j->shots, a->nshot_given ? a->nshot : -1);
  if (!rc)
    rc = zf_task_new(&j->t, j->recipe, j->rec, a->limit_given ? a->limit : 0, tok,
                     a->length_given ? a->length : m->config.context);
  if (!rc) rc = check_tokens(j, m, tok);
  if (!rc && isfinite(a->fail_under) && !j->t->needs.acc)
    rc = zf_error(ZF_EUSAGE, "--fail-under: task '%s' has no metric acc", name_of(j));
  if (!rc && j->t->pairs.truncated)
    zc_warn("%s: %lld of %lld texts lose their beginning: the model reads %lld tokens", name_of(j),
            (long long)j->t->pairs.truncated, (long long)j->t->set->nseq,
            (long long)j->t->pairs.length);
  return rc;
}

static int tick(void *ctx, int64_t done) {
  const struct job *j = ctx;
  zc_bar((double)done / (double)j->t->set->count, name_of(j), 0);
  return zc_signal() != 0;
}

static int run_job(struct job *j, const struct zf_model *m, enum zf_compute c) {
  int rc = zf_task_run(j->t, m, c, tick, j);
  zc_bar_clear();
  return rc;
}

/* --- samples --- */

static void sample(const struct job *j, int64_t i, struct zf_buf *b) {
  const struct zf_answer *a = &j->t->answer[i];
  enum zf_recipe_output output = zf_recipe_output(j->recipe);
  zf_buf_clear(b);
  zf_buf_puts(b, "{\"task\": ");
  zc_json_text(b, name_of(j), strlen(name_of(j)));
  zf_buf_printf(b, ", \"line\": %lld, ", (long long)zf_records_line(j->rec, i));
  if (output != ZF_RECIPE_CHOICE) {
    zf_buf_printf(b, "\"loglikelihood\": %.9g", a->ll);
    if (output == ZF_RECIPE_ROLLING)
      zf_buf_printf(b, ", \"words\": %lld, \"bytes\": %lld", (long long)a->words,
                    (long long)a->size);
    else if (a->greedy >= 0)
      zf_buf_printf(b, ", \"greedy\": %s", a->greedy ? "true" : "false");
    zf_buf_puts(b, "}\n");
    return;
  }
  zf_buf_puts(b, "\"loglikelihoods\": [");
  for (int64_t k = j->t->seq[i]; k < j->t->seq[i + 1]; k++)
    zf_buf_printf(b, "%s%.9g", k > j->t->seq[i] ? ", " : "", j->t->ll[k].sum);
  zf_buf_printf(b, "], \"choice\": %d, \"choice_norm\": %d, \"target\": %d}\n", a->choice, a->norm,
                a->gold);
}

static int put_samples(const struct job *j, FILE *f) {
  struct zf_buf b = {0};
  int rc = 0;
  for (int64_t i = 0; !rc && i < j->t->count; i++) {
    sample(j, i, &b);
    rc = zf_buf_ok(&b);
    if (!rc && fwrite(b.data, 1, b.len, f) != b.len)
      rc = zf_error(ZF_EIO, "--log-samples: cannot write");
  }
  zf_buf_free(&b);
  return rc;
}

/* --- results --- */

static void json_task(struct zf_buf *b, const struct job *j) {
  const char *version = zf_recipe_version(j->recipe), *name = name_of(j);
  zf_buf_puts(b, "{\"task\": ");
  zc_json_text(b, name, strlen(name));
  if (version) {
    zf_buf_puts(b, ", \"version\": ");
    zc_json_text(b, version, strlen(version));
  }
  zf_buf_printf(b, ", \"n\": %lld, \"truncated\": %lld, \"metrics\": {", (long long)j->t->count,
                (long long)j->t->pairs.truncated);
  for (int i = 0; i < j->t->result.count; i++) {
    const struct zf_task_value *v = &j->t->result.value[i];
    zf_buf_printf(b, "%s\"%s\": {\"value\": ", i ? ", " : "", v->metric);
    zf_buf_printf(b, isfinite(v->value) ? "%.12g" : "null", v->value);
    zf_buf_puts(b, ", \"stderr\": ");
    zf_buf_printf(b, isfinite(v->stderr_) ? "%.12g}" : "null}", v->stderr_);
  }
  zf_buf_puts(b, "}}");
}

static void print_json(const struct zf_model *m, const struct job *job, int n) {
  struct zf_buf b = {0};
  zf_buf_puts(&b, "{");
  zc_json_model(&b, m);
  zf_buf_puts(&b, "\"tasks\": [");
  for (int k = 0; k < n; k++) {
    if (k) zf_buf_puts(&b, ", ");
    json_task(&b, &job[k]);
  }
  printf("%s], \"peak_rss_bytes\": %lld}\n", b.data, (long long)zf_peak_rss());
  zf_buf_free(&b);
}

static void print_table(const struct zf_model *m, const struct job *job, int n) {
  struct zc_table *t = zc_table_new("llrlr");
  zc_print_model(m);
  zc_table_row(t, (const char *const[]){"task", "metric", "value", "stderr", "rows"});
  for (int k = 0; k < n; k++)
    for (int i = 0; i < job[k].t->result.count; i++) {
      const struct zf_task_value *v = &job[k].t->result.value[i];
      char value[32], err[40], rows[32];
      snprintf(value, sizeof value, fabs(v->value) < 1e6 ? "%.4f" : "%.4e", v->value);
      snprintf(err, sizeof err,
               !isfinite(v->stderr_) ? "-"
               : v->stderr_ < 1e6    ? "± %.4f"
                                     : "± %.4e",
               v->stderr_);
      snprintf(rows, sizeof rows, "%lld", (long long)job[k].t->count);
      zc_table_row(t,
                   (const char *const[]){i ? "" : name_of(&job[k]), v->metric, value, err, rows});
    }
  zc_table_print(t, 1);
}

static int gate(const struct job *job, int n, double least) {
  for (int k = 0; isfinite(least) && k < n; k++) {
    const struct zf_task_value *acc = NULL;
    for (int i = 0; i < job[k].t->result.count; i++)
      if (!strcmp(job[k].t->result.value[i].metric, "acc")) acc = &job[k].t->result.value[i];
    if (acc && 100 * acc->value < least)
      return zf_error(ZF_EGATE, "%s acc %.1f %% is below --fail-under %g", name_of(&job[k]),
                      100 * acc->value, least);
  }
  return 0;
}

static int check_args(const struct zc_eval_tasks *a, const struct zf_model *m) {
  if (a->task.count != a->data.count)
    return zf_error(ZF_EUSAGE, "expected a --data FILE for each --task: %d tasks, %d files",
                    a->task.count, a->data.count);
  if (a->shots.count && a->shots.count != a->task.count)
    return zf_error(ZF_EUSAGE, "expected a --fewshot-data FILE for each --task: %d tasks, %d files",
                    a->task.count, a->shots.count);
  if (a->length_given && a->length > m->config.context)
    return zf_error(ZF_EUSAGE, "--max-length expects 1 to %lld, the model's context",
                    (long long)m->config.context);
  return zf_score_causal(m);
}

int zc_run_tasks(const struct zc_eval_tasks *a, const char *base_model) {
  struct zf_model *m = NULL;
  struct zf_tok *tok = NULL;
  struct zf_out out = {0};
  enum zf_compute c;
  struct job *job = zf_calloc(a->task.count, sizeof *job);
  int rc = job ? zc_compute(&c, a->compute) : ZF_ENOMEM;
  if (!rc) rc = zc_open_model(&m, &tok, base_model);
  if (!rc) rc = check_args(a, m);
  if (!rc) zc_say_compute(m, c);
  for (int k = 0; !rc && k < a->task.count; k++) rc = open_job(&job[k], a, k, m, tok);
  if (!rc && a->samples) rc = zf_out_open(&out, a->samples);
  zc_catch_signals();
  for (int k = 0; !rc && k < a->task.count; k++) {
    rc = run_job(&job[k], m, c);
    if (!rc && a->samples) rc = put_samples(&job[k], out.file);
  }
  if (!rc && a->samples) rc = zf_out_commit(&out);
  if (rc) zf_out_abort(&out);
  if (!rc) (zc_common.json ? print_json : print_table)(m, job, a->task.count);
  if (!rc) rc = gate(job, a->task.count, a->fail_under);
  for (int k = 0; job && k < a->task.count; k++) free_job(&job[k]);
  free(job);
  zf_tok_free(tok);
  zf_model_free(m);
  return rc;
}

/* --- the list --- */

static void join(struct zf_buf *b, const char *const *v, int64_t n, const char *quote) {
  for (int64_t i = 0; i < n; i++) zf_buf_printf(b, "%s%s%s%s", i ? ", " : "", quote, v[i], quote);
}

static int list_one(const char *name, struct zc_table *t, struct zf_buf *json) {
  static const char *const output[] = {"multiple_choice", "loglikelihood", "loglikelihood_rolling"};
  struct zf_recipe *r;
  struct zf_buf b = {0}, metrics = {0};
  const char *const *field, *metric, *aggregation;
  int rc = zf_recipe_open(&r, name);
  if (rc) return rc;
  join(&b, field, zf_recipe_fields(r, &field), json ? "\"" : "");
  for (int64_t i = 0; zf_recipe_metric(r, i, &metric, &aggregation); i++)
    zf_buf_printf(&metrics, "%s%s%s%s", i ? ", " : "", json ? "\"" : "", metric, json ? "\"" : "");
  const char *kind = output[zf_recipe_output(r)];
  if (json)
    zf_buf_printf(
        json, "%s{\"task\": \"%s\", \"output_type\": \"%s\", \"metrics\": [%s], \"fields\": [%s]}",
        json->data[json->len - 1] == '[' ? "" : ", ", name, kind, metrics.data, b.data);
  else
    zc_table_row(t, (const char *const[]){name, kind, metrics.data, b.data});
  zf_buf_free(&b);
  zf_buf_free(&metrics);
  zf_recipe_free(r);
  return 0;
}

int zc_list_tasks(void) {
  struct zf_buf json = {0};
  struct zc_table *t = zc_common.json ? NULL : zc_table_new("llll");
  int rc = 0;
  if (t)
    zc_table_row(t, (const char *const[]){"task", "output_type", "metrics", "fields of a row"});
  zf_buf_puts(&json, "{\"tasks\": [");
  for (const struct zf_recipe_text *x = zf_recipe_texts; !rc && x->name; x++)
    rc = list_one(x->name, t, t ? NULL : &json);
  if (t)
    zc_table_print(t, 1);
  else
    printf("%s]}\n", json.data);
  zf_buf_free(&json);
  return rc;
}
