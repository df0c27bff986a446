/* zoft eval --task: likelihoods of the rows of files by a recipe, and their metrics. */
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

struct task_job {
  struct zf_recipe *recipe;
  struct zf_records *records, *shots;
  struct zf_task *task;
};

static void free_job(struct task_job *job) {
  zf_task_free(job->task);
  zf_recipe_free(job->recipe);
  zf_records_free(job->records);
  zf_records_free(job->shots);
}

static const char *name_of(const struct task_job *job) {
  return zf_recipe_name(job->recipe);
}

static void warn_unused(const struct task_job *job, const char *name) {
  struct zf_buf buf = {0};
  zf_recipe_unused(job->recipe, &buf);
  if (buf.len) zc_warn("%s: keys without effect here: %s", name, buf.data);
  zf_buf_free(&buf);
}

/* A token that the model does not know is an error in its row. */
static int check_tokens(const struct task_job *job, const struct zf_model *model,
                        const struct zf_tok *tok) {
  const struct zf_dataset *dataset = job->task->set;
  for (int64_t i = 0; i < dataset->count; i++)
    for (int32_t option = 0; option < dataset->example[i].nseq; option++) {
      const struct zf_seq *seq = &dataset->seq[dataset->example[i].seq + option];
      int rc = zf_tok_check_ids(tok, dataset->pool.id + seq->at, seq->len, model->config.vocab);
      if (rc)
        return zf_error_prefix(rc, "%s:%lld", job->records->path,
                               (long long)dataset->example[i].line);
    }
  return 0;
}

static int open_job(struct task_job *job, const struct zc_eval_tasks *tasks, int index,
                    const struct zf_model *model, const struct zf_tok *tok) {
  int rc = zf_recipe_open(&job->recipe, tasks->task.item[index]);
  if (!rc) warn_unused(job, tasks->task.item[index]);
  if (!rc) rc = zf_records_open(&job->records, tasks->data.item[index]);
  if (!rc && index < tasks->shots.count)
    rc = zf_records_open(&job->shots, tasks->shots.item[index]);
  if (!rc) rc = zf_recipe_fewshot(job->recipe, job->shots, tasks->nshot_given ? tasks->nshot : -1);
  if (!rc)
    rc = zf_task_new(&job->task, job->recipe, job->records, tasks->limit_given ? tasks->limit : 0,
                     tok, tasks->length_given ? tasks->length : model->config.context);
  if (!rc) rc = check_tokens(job, model, tok);
  if (!rc && isfinite(tasks->fail_under) && !job->task->needs.acc)
    rc = zf_error(ZF_EUSAGE, "--fail-under: task '%s' has no metric acc", name_of(job));
  if (!rc && job->task->pairs.truncated)
    zc_warn("%s: %lld of %lld texts lose their beginning: the model reads %lld tokens",
            name_of(job), (long long)job->task->pairs.truncated, (long long)job->task->set->nseq,
            (long long)job->task->pairs.length);
  return rc;
}

static int on_progress(void *ctx, int64_t done) {
  const struct task_job *job = ctx;
  zc_bar((double)done / (double)job->task->set->count, name_of(job), 0);
  return zc_signal() != 0;
}

static int run_job(struct task_job *job, const struct zf_model *model, enum zf_compute compute) {
  int rc = zf_task_run(job->task, model, compute, on_progress, job);
  zc_bar_clear();
  return rc;
}

/* --- samples --- */

static void put_sample(const struct task_job *job, int64_t row, struct zf_buf *buf) {
  const struct zf_answer *answer = &job->task->answer[row];
  enum zf_recipe_output output = zf_recipe_output(job->recipe);
  zf_buf_clear(buf);
  zf_buf_puts(buf, "{\"task\": ");
  zc_json_text(buf, name_of(job), strlen(name_of(job)));
  zf_buf_printf(buf, ", \"line\": %lld, ", (long long)zf_records_line(job->records, row));
  if (output != ZF_RECIPE_CHOICE) {
    zf_buf_printf(buf, "\"loglikelihood\": %.9g", answer->ll);
    if (output == ZF_RECIPE_ROLLING)
      zf_buf_printf(buf, ", \"words\": %lld, \"bytes\": %lld", (long long)answer->words,
                    (long long)answer->size);
    else if (answer->greedy >= 0)
      zf_buf_printf(buf, ", \"greedy\": %s", answer->greedy ? "true" : "false");
    zf_buf_puts(buf, "}\n");
    return;
  }
  zf_buf_puts(buf, "\"loglikelihoods\": [");
  for (int64_t seq = job->task->seq[row]; seq < job->task->seq[row + 1]; seq++)
    zf_buf_printf(buf, "%s%.9g", seq > job->task->seq[row] ? ", " : "", job->task->ll[seq].sum);
  zf_buf_printf(buf, "], \"choice\": %d, \"choice_norm\": %d, \"target\": %d}\n", answer->choice,
                answer->norm, answer->gold);
}

static int put_samples(const struct task_job *job, FILE *file) {
  struct zf_buf buf = {0};
  int rc = 0;
  for (int64_t i = 0; i < job->task->count; i++) {
    put_sample(job, i, &buf);
    rc = zf_buf_ok(&buf);
    if (!rc && fwrite(buf.data, 1, buf.len, file) != buf.len)
      rc = zf_error(ZF_EIO, "--log-samples: cannot write");
    if (rc) break;
  }
  zf_buf_free(&buf);
  return rc;
}

/* --- results --- */

static void json_task(struct zf_buf *buf, const struct task_job *job) {
  const char *version = zf_recipe_version(job->recipe), *name = name_of(job);
  zf_buf_puts(buf, "{\"task\": ");
  zc_json_text(buf, name, strlen(name));
  if (version) {
    zf_buf_puts(buf, ", \"version\": ");
    zc_json_text(buf, version, strlen(version));
  }
  zf_buf_printf(buf, ", \"n\": %lld, \"truncated\": %lld, \"metrics\": {",
                (long long)job->task->count, (long long)job->task->pairs.truncated);
  for (int i = 0; i < job->task->result.count; i++) {
    const struct zf_task_value *value = &job->task->result.value[i];
    zf_buf_printf(buf, "%s\"%s\": {\"value\": ", i ? ", " : "", value->metric);
    zf_buf_printf(buf, isfinite(value->value) ? "%.12g" : "null", value->value);
    zf_buf_puts(buf, ", \"stderr\": ");
    zf_buf_printf(buf, isfinite(value->stderr_) ? "%.12g}" : "null}", value->stderr_);
  }
  zf_buf_puts(buf, "}}");
}

static void print_json(const struct zf_model *model, const struct task_job *jobs, int count) {
  struct zf_buf buf = {0};
  zf_buf_puts(&buf, "{");
  zc_json_model(&buf, model);
  zf_buf_puts(&buf, "\"tasks\": [");
  for (int i = 0; i < count; i++) {
    if (i) zf_buf_puts(&buf, ", ");
    json_task(&buf, &jobs[i]);
  }
  printf("%s], \"peak_rss_bytes\": %lld}\n", buf.data, (long long)zf_peak_rss());
  zf_buf_free(&buf);
}

static void value_row(struct zc_table *table, const char *task, const struct zf_task_value *value,
                      int64_t count) {
  char number[32], error[40] = "-", rows[32];
  snprintf(number, sizeof number, fabs(value->value) < 1e6 ? "%.4f" : "%.4e", value->value);
  if (isfinite(value->stderr_))
    snprintf(error, sizeof error, value->stderr_ < 1e6 ? "± %.4f" : "± %.4e", value->stderr_);
  snprintf(rows, sizeof rows, "%lld", (long long)count);
  zc_table_row(table, (const char *const[]){task, value->metric, number, error, rows});
}

static void print_table(const struct zf_model *model, const struct task_job *jobs, int count) {
  struct zc_table *table = zc_table_new("llrlr");
  zc_print_model(model);
  zc_table_row(table, (const char *const[]){"task", "metric", "value", "stderr", "rows"});
  for (int i = 0; i < count; i++)
    for (int j = 0; j < jobs[i].task->result.count; j++)
      value_row(table, j ? "" : name_of(&jobs[i]), &jobs[i].task->result.value[j],
                jobs[i].task->count);
  zc_table_print(table, 1);
}

static const struct zf_task_value *find_metric(const struct task_job *job, const char *name) {
  const struct zf_task_value *found = NULL;
  for (int i = 0; i < job->task->result.count; i++)
    if (!strcmp(job->task->result.value[i].metric, name)) found = &job->task->result.value[i];
  return found;
}

/* ZF_EGATE: an accuracy is below `min`, in percent; NaN: no gate. */
static int check_gate(const struct task_job *jobs, int count, double min) {
  if (!isfinite(min)) return 0;
  for (int i = 0; i < count; i++) {
    const struct zf_task_value *acc = find_metric(&jobs[i], "acc");
    if (acc && 100 * acc->value < min)
      return zf_error(ZF_EGATE, "%s acc %.1f %% is below --fail-under %g", name_of(&jobs[i]),
                      100 * acc->value, min);
  }
  return 0;
}

static int check_args(const struct zc_eval_tasks *tasks, const struct zf_model *model) {
  if (tasks->task.count != tasks->data.count)
    return zf_error(ZF_EUSAGE, "expected a --data FILE for each --task: %d tasks, %d files",
                    tasks->task.count, tasks->data.count);
  if (tasks->shots.count && tasks->shots.count != tasks->task.count)
    return zf_error(ZF_EUSAGE, "expected a --fewshot-data FILE for each --task: %d tasks, %d files",
                    tasks->task.count, tasks->shots.count);
  if (tasks->length_given && tasks->length > model->config.context)
    return zf_error(ZF_EUSAGE, "--max-length expects 1 to %lld, the model's context",
                    (long long)model->config.context);
  return zf_score_causal(model);
}

static int run_jobs(struct task_job *jobs, int count, const struct zf_model *model,
                    enum zf_compute compute, FILE *samples) {
  for (int i = 0; i < count; i++) {
    int rc = run_job(&jobs[i], model, compute);
    if (!rc && samples) rc = put_samples(&jobs[i], samples);
    if (rc) return rc;
  }
  return 0;
}

/* Runs the jobs, with the file of --log-samples. */
static int run_logged(struct task_job *jobs, const struct zc_eval_tasks *tasks,
                      const struct zf_model *model, enum zf_compute compute) {
  struct zf_out out = {0};
  int rc = tasks->samples ? zf_out_open(&out, tasks->samples) : 0;
  zc_catch_signals();
  if (!rc) rc = run_jobs(jobs, tasks->task.count, model, compute, out.file);
  if (!rc && tasks->samples) rc = zf_out_commit(&out);
  if (rc) zf_out_abort(&out);
  return rc;
}

static int eval_jobs(struct task_job *jobs, const struct zc_eval_tasks *tasks,
                     const struct zf_model *model, const struct zf_tok *tok,
                     enum zf_compute compute) {
  int count = tasks->task.count, rc = check_args(tasks, model);
  if (rc) return rc;
  zc_warn_compute(model, compute);
  for (int i = 0; i < count; i++)
    if ((rc = open_job(&jobs[i], tasks, i, model, tok))) return rc;
  if ((rc = run_logged(jobs, tasks, model, compute))) return rc;
  (zc_common.json ? print_json : print_table)(model, jobs, count);
  return check_gate(jobs, count, tasks->fail_under);
}

int zc_run_tasks(const struct zc_eval_tasks *tasks, const char *base_model) {
  struct zf_model *model = NULL;
  struct zf_tok *tok = NULL;
  enum zf_compute compute;
  struct task_job *jobs = zf_calloc(tasks->task.count, sizeof *jobs);
  if (!jobs) return ZF_ENOMEM;
  int rc = zc_compute(&compute, tasks->compute);
  if (!rc) rc = zc_open_model(&model, &tok, base_model);
  if (!rc) rc = eval_jobs(jobs, tasks, model, tok, compute);
  for (int i = 0; i < tasks->task.count; i++) free_job(&jobs[i]);
  free(jobs);
  zf_tok_free(tok);
  zf_model_free(model);
  return rc;
}

/* --- the list --- */

static void join(struct zf_buf *buf, const char *const *texts, int64_t count, const char *quote) {
  for (int64_t i = 0; i < count; i++)
    zf_buf_printf(buf, "%s%s%s%s", i ? ", " : "", quote, texts[i], quote);
}

static int list_one(const char *name, struct zc_table *table, struct zf_buf *json) {
  static const char *const output[] = {"multiple_choice", "loglikelihood", "loglikelihood_rolling"};
  struct zf_recipe *recipe;
  struct zf_buf buf = {0}, metrics = {0};
  const char *const *field, *metric, *aggregation;
  int rc = zf_recipe_open(&recipe, name);
  if (rc) return rc;
  join(&buf, field, zf_recipe_fields(recipe, &field), json ? "\"" : "");
  for (int64_t i = 0; zf_recipe_metric(recipe, i, &metric, &aggregation); i++)
    zf_buf_printf(&metrics, "%s%s%s%s", i ? ", " : "", json ? "\"" : "", metric, json ? "\"" : "");
  const char *kind = output[zf_recipe_output(recipe)];
  if (json)
    zf_buf_printf(
        json, "%s{\"task\": \"%s\", \"output_type\": \"%s\", \"metrics\": [%s], \"fields\": [%s]}",
        json->data[json->len - 1] == '[' ? "" : ", ", name, kind, metrics.data, buf.data);
  else
    zc_table_row(table, (const char *const[]){name, kind, metrics.data, buf.data});
  zf_buf_free(&buf);
  zf_buf_free(&metrics);
  zf_recipe_free(recipe);
  return 0;
}

int zc_list_tasks(void) {
  struct zf_buf json = {0};
  struct zc_table *table = zc_common.json ? NULL : zc_table_new("llll");
  const struct zf_recipe_text *recipe_text = zf_recipe_texts;
  int rc = 0;
  if (table)
    zc_table_row(table, (const char *const[]){"task", "output_type", "metrics", "fields of a row"});
  zf_buf_puts(&json, "{\"tasks\": [");
  for (; recipe_text->name; recipe_text++)
    if ((rc = list_one(recipe_text->name, table, table ? NULL : &json))) break;
  if (table)
    zc_table_print(table, 1);
  else
    printf("%s]}\n", json.data);
  zf_buf_free(&json);
  return rc;
}
