/* Resumes a run, and branches off one.
 *
 *   steps.log       gives the weights of any step and the counters of the watchdog
 *   metrics.jsonl   gives the scores: the best so far, scores without a gain
 *
 * The loop resumes after the last step in metrics.jsonl.  Later steps of the log are taken from it,
 * so that their lines, scores and keyframes are those of an uninterrupted run.  Lines of later steps
 * than the log's last are cut off. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/cpu.h"
#include "base/err.h"
#include "base/file.h"
#include "fmt/json.h"
#include "train/loop_internal.h"

enum { METRICS_LIMIT = 1 << 30 };

static char *run_path(const struct train_loop *loop, const char *name) {
  return zf_path_join(loop->run->settings.output_dir, name);
}

/* --- check that it is the same run --- */

/* Examples of a step, by the settings alone. */
static int64_t batch_of(const struct zf_conf *conf) {
  return zf_conf_int(conf, "micro_batch_size", 16) *
         zf_conf_int(conf, "gradient_accumulation_steps", 1);
}

/* The error names the first setting that differs from OUT/config.yaml. */
static int explain_config(const struct train_loop *loop) {
  const struct zf_conf_key *const tables[] = {zf_train_keys};
  struct zf_conf *old = NULL;
  struct zf_buf was = {0}, is = {0};
  const char *key = NULL;
  char *path = run_path(loop, "config.yaml");
  int rc = path ? zf_conf_new(&old, tables, 1) : ZF_ENOMEM;
  if (!rc) rc = zf_conf_file(old, path);
  if (!rc) key = zf_conf_differs(old, loop->run->conf, &was, &is);
  if (rc) {
    zf_error_prefix(ZF_EUSAGE, "the settings are not those of the run in %s",
                    loop->run->settings.output_dir);
  } else if (key) {
    zf_conf_error(loop->run->conf, key,
                  "cannot resume: '%s' was %s when the run began and is %s ('zoft validate --keys' "
                  "marks the settings that may change)",
                  key, was.data, is.data);
  } else if (batch_of(old) == loop->run->batch) {
    zf_error(ZF_EUSAGE,
             "cannot resume: the settings are those of the run in %s, but another version of zoft "
             "began it, whose log names them differently",
             loop->run->settings.output_dir);
  } else {
    zf_conf_error(loop->run->conf, "micro_batch_size",
                  "cannot resume: micro_batch_size times gradient_accumulation_steps was %lld when "
                  "the run began and is %lld: keep the product",
                  (long long)batch_of(old), (long long)loop->run->batch);
  }
  zf_buf_free(&was);
  zf_buf_free(&is);
  zf_conf_free(old);
  free(path);
  return ZF_EUSAGE;
}

static int differs(const struct zf_history *history, int code, const char *what, const char *was,
                   const char *is) {
  return zf_error(code, "%s: the run began with %s %s, and now there is %s", history->path, what,
                  was, is);
}

/* The error names another new head, or another hash of the base model. */
static int base_differs(const struct zf_history *history, const struct zf_log_head *now) {
  const struct zf_log_head *was = &history->head;
  if (was->labels && (was->labels != now->labels || was->head_seed != now->head_seed))
    return zf_error(
        ZF_EINVALID,
        "%s: the run began with a new head of %lld labels made from seed %llu: keep both",
        history->path, (long long)was->labels, (unsigned long long)was->head_seed);
  return differs(history, ZF_EINVALID, "base model weights of hash", was->base, now->base);
}

static int check_same(const struct train_loop *loop, const struct zf_log_head *now) {
  const struct zf_history *history = &loop->history;
  const struct zf_log_head *was = &history->head;
  if (strcmp(was->kernels, now->kernels) != 0)
    return differs(history, ZF_EUSAGE, "compute", was->kernels, now->kernels);
  if (strcmp(was->config, now->config) != 0) return explain_config(loop);
  if (strcmp(was->base, now->base) != 0) return base_differs(history, now);
  if (strcmp(was->adapter, now->adapter) != 0)
    return differs(history, ZF_EINVALID, "an adapter of hash", was->adapter, now->adapter);
  if (strcmp(was->tok, now->tok) != 0)
    return differs(history, ZF_EINVALID, "config.json and tokenizer files of hash", was->tok,
                   now->tok);
  if (strcmp(was->data, now->data) != 0)
    return differs(history, ZF_EINVALID,
                   loop->run->teacher ? "data files and a teacher's predictions of hash"
                                      : "data files of hash",
                   was->data, now->data);
  if (history->id != zf_log_head_id(now))
    return zf_error(ZF_EINVALID, "%s: the header is not this run's", history->path);
  if (loop->run->steps < history->count)
    return zf_conf_error(loop->run->conf, "max_steps",
                         "the run has taken %lld steps: %lld are too few",
                         (long long)history->count, (long long)loop->run->steps);
  return 0;
}

/* --- metrics.jsonl --- */

struct metrics_line {
  int64_t step;
  const char *set; /* owned by the line's JSON object */
  double seconds;
  struct zf_metrics metrics;
};

/* Reads a line; *obj is the caller's.  Nonzero: it is no line of a run. */
static int read_line(json_t **obj, struct metrics_line *line, const char *text, size_t len) {
  const char *name = "metrics.jsonl";
  struct zf_metrics *metrics = &line->metrics;
  int rc;
  *obj = NULL;
  *line = (struct metrics_line){.step = -1,
                                .set = "",
                                .metrics = {.loss = INFINITY,
                                            .objective = NAN,
                                            .perplexity = NAN,
                                            .accuracy = NAN,
                                            .f1 = NAN,
                                            .f1_micro = NAN,
                                            .pearson = NAN,
                                            .spearman = NAN}};
  if ((rc = zf_json_parse(obj, text, len, name))) return rc;
  if ((rc = zf_json_int(&line->step, *obj, "step", name))) return rc;
  if ((rc = zf_json_str(&line->set, *obj, "set", name))) return rc;
  if ((rc = zf_json_num(&line->seconds, *obj, "seconds", name))) return rc;
  if ((rc = zf_json_int(&metrics->examples, *obj, "examples", name))) return rc;
  if ((rc = zf_json_int(&metrics->targets, *obj, "targets", name))) return rc;
  if ((rc = zf_json_num(&metrics->loss, *obj, "loss", name))) return rc;
  if ((rc = zf_json_num(&metrics->objective, *obj, "objective", name))) return rc;
  if ((rc = zf_json_num(&metrics->perplexity, *obj, "perplexity", name))) return rc;
  if ((rc = zf_json_num(&metrics->accuracy, *obj, "accuracy", name))) return rc;
  if ((rc = zf_json_num(&metrics->f1, *obj, "f1", name))) return rc;
  if ((rc = zf_json_num(&metrics->f1_micro, *obj, "f1_micro", name))) return rc;
  if ((rc = zf_json_num(&metrics->pearson, *obj, "pearson", name))) return rc;
  return zf_json_num(&metrics->spearman, *obj, "spearman", name);
}

/* Restores the loop's state from a line.  0: neither this line nor a later one belongs to the run. */
static int take_line(struct train_loop *loop, const struct metrics_line *line) {
  int dev = !strcmp(line->set, "dev"), test = !strcmp(line->set, "test");
  if (line->step < loop->step || line->step > loop->history.count) return 0;
  if (test && line->step) return 0; /* the score of the result, which is computed at the end */
  if (!dev && !test && strcmp(line->set, "train") != 0) return 0;
  if (line->step != loop->step) loop->dev_known = loop->test_known = 0;
  loop->step = line->step;
  if (dev) zf_loop_add_dev(loop, &line->metrics);
  if (test) loop->outcome->test_start = line->metrics;
  loop->dev_known |= dev;
  loop->test_known |= test;
  if (!dev && !test) loop->start_time = zf_now() - line->seconds;
  return 1;
}

/* Restores the loop's state from the lines.  Returns the length of the lines that stay: complete
 * lines of steps in the log. */
static size_t take_lines(struct train_loop *loop, const char *text, size_t len) {
  size_t kept = 0;
  while (kept < len) {
    const char *end = memchr(text + kept, '\n', len - kept);
    struct metrics_line line;
    json_t *obj = NULL;
    int good = end && !read_line(&obj, &line, text + kept, (size_t)(end - text) - kept) &&
               take_line(loop, &line);
    json_decref(obj);
    if (!good) break;
    kept = (size_t)(end - text) + 1;
  }
  zf_error_clear();
  return kept;
}

/* --- the state after loop->step --- */

static void replay_watch(struct train_loop *loop) {
  int64_t last = loop->step;
  for (loop->step = 1; loop->step <= last; loop->step++) {
    double loss, square;
    struct zf_zo_estimate estimate = zf_history_estimate(&loop->history, loop->step);
    zf_zo_summary(&loop->history.head.zo, &estimate, &loss, &square);
    zf_loop_watch(loop, loss, square); /* the run continued after this step */
    zf_rate_control_add(&loop->control, loss);
  }
  loop->step = last;
  zf_error_clear();
}

static void say_state(void *ctx, const char *text) {
  struct zf_buf buf = {0};
  zf_buf_printf(&buf, "%s; an earlier state or the base model is used", text);
  zf_loop_say(ctx, buf.data ? buf.data : text);
  zf_buf_free(&buf);
}

/* Makes checkpoints/best hold the weights of the best dev score, by replay where it does not. */
static int restore_best(struct train_loop *loop) {
  int64_t best = loop->outcome->best_step;
  if (!loop->run->settings.load_best || best <= 0) return 0;
  char *path = run_path(loop, "checkpoints/best");
  /* Fails with a rule that has a state: the checkpoint holds weights alone. */
  int rc = path ? zf_provenance_load(loop->run->model, path, &loop->history, best) : ZF_ENOMEM;
  free(path);
  if (!rc || rc == ZF_ENOMEM) return rc;
  zf_error_clear();
  rc = zf_replay_to(loop->run->model, &loop->history, loop->run->settings.output_dir, best, NULL,
                    say_state, loop);
  return rc ? rc : zf_loop_keep_best(loop, best);
}

static int restore(struct train_loop *loop) {
  int64_t from = 0;
  replay_watch(loop);
  int rc = restore_best(loop);
  if (rc) return rc;
  rc = zf_replay_to(loop->run->model, &loop->history, loop->run->settings.output_dir, loop->step,
                    &from, say_state, loop);
  if (rc) return rc;
  struct zf_buf buf = {0};
  zf_buf_printf(&buf, "resuming after step %lld: weights of step %lld by replay from %s%lld",
                (long long)loop->history.count, (long long)loop->step,
                from ? "the state saved at step " : "step ", (long long)from);
  zf_loop_say(loop, buf.data ? buf.data : "resuming");
  zf_buf_free(&buf);
  return 0;
}

/* --- opening --- */

/* Without a steps.log, metrics.jsonl is absent or empty. */
static int check_no_metrics(const char *path) {
  struct zf_map map;
  if (!zf_exists(path)) return 0;
  int rc = zf_map_open(&map, path);
  if (rc) return rc;
  if (map.len)
    rc = zf_error(ZF_EINVALID, "%s: has lines, but there is no steps.log in its directory", path);
  zf_map_close(&map);
  return rc;
}

/* Damage is an error; an incomplete last record is cut off. */
static int check_end(const struct train_loop *loop) {
  const struct zf_history *history = &loop->history;
  if (history->end == ZF_LOG_DAMAGED)
    return zf_error(ZF_EINVALID,
                    "%s, and whole records follow: the file was changed. 'zoft train CONFIG --fork "
                    "RUN@%lld' continues from the %lld steps before it in another directory",
                    history->problem, (long long)history->count, (long long)history->count);
  if (history->end == ZF_LOG_TORN) {
    struct zf_buf buf = {0};
    zf_buf_printf(&buf, "%s: cut off; %lld steps are whole", history->problem,
                  (long long)history->count);
    zf_loop_say(loop, buf.data ? buf.data : history->problem);
    zf_buf_free(&buf);
  }
  return 0;
}

static int open_log(struct train_loop *loop) {
  struct zf_log_head now;
  char *path = run_path(loop, "steps.log");
  int rc = path ? zf_history_load(&loop->history, path) : ZF_ENOMEM;
  if (!rc) rc = zf_loop_head(loop, &now);
  if (!rc) rc = check_same(loop, &now);
  if (!rc) rc = check_end(loop);
  if (!rc) rc = zf_log_reopen(&loop->log, path, &now, loop->history.size);
  loop->log_id = loop->history.id;
  free(path);
  return rc;
}

/* Resumes from the log and the lines of metrics.jsonl at `path`. */
static int resume_log(struct train_loop *loop, const char *path) {
  char *text = NULL;
  size_t len = 0;
  int rc = open_log(loop);
  if (rc) return rc;
  if (zf_exists(path) && (rc = zf_read_file(&text, &len, path, METRICS_LIMIT))) return rc;
  size_t kept = take_lines(loop, text, len);
  rc = zf_rundir_reopen(&loop->dir, loop->run, text ? text : "", kept);
  free(text);
  if (rc) return rc;
  loop->outcome->step = loop->step;
  return restore(loop);
}

int zf_loop_resume(struct train_loop *loop, int *found) {
  char *path = run_path(loop, "metrics.jsonl");
  if (!path) return ZF_ENOMEM;
  *found = zf_rundir_has_log(loop->run->settings.output_dir);
  int rc = *found ? resume_log(loop, path) : check_no_metrics(path);
  free(path);
  return rc;
}

/* --- a branch --- */

static int same_method(const struct zf_zo *was, const struct zf_zo *now) {
  if (was->rule != now->rule || was->form != now->form || was->difference != now->difference ||
      was->window != now->window || was->clip != now->clip || was->rank != now->rank ||
      was->refresh != now->refresh || was->keep != now->keep || was->alpha != now->alpha ||
      was->cone != now->cone || was->trust != now->trust)
    return 0;
  return was->rule == ZF_RULE_SGD ||
         (was->beta1 == now->beta1 && was->beta2 == now->beta2 && was->adam_eps == now->adam_eps);
}

static int check_branch(const struct train_loop *loop, const struct zf_history *history,
                        const struct zf_log_head *now, int64_t step) {
  const struct zf_log_head *was = &history->head;
  int rc = zf_history_reach(history, step);
  if (rc) return rc;
  if (loop->run->steps < step)
    return zf_conf_error(loop->run->conf, "max_steps",
                         "%lld is less than the %lld steps of the branch",
                         (long long)loop->run->steps, (long long)step);
  if (strcmp(was->base, now->base) != 0) return base_differs(history, now);
  if (strcmp(was->adapter, now->adapter) != 0 || was->adapter_train != now->adapter_train)
    return zf_error(ZF_EUSAGE, "%s: a branch begins with the adapter with which its run began",
                    history->path);
  int same = was->zo.probes == now->zo.probes && was->zo.direction == now->zo.direction &&
             was->decay == now->decay && was->trained == now->trained &&
             was->blocks == now->blocks && was->others == now->others &&
             !strcmp(was->globs, now->globs);
  if (!same)
    return zf_error(
        ZF_EUSAGE,
        "%s: a branch keeps zo_probes, zo_direction, weight_decay, trainable, dtype, trained_dtype "
        "and train_blocks of its run",
        history->path);
  if (was->zo.examples == now->zo.examples && same_method(&was->zo, &now->zo)) return 0;
  return zf_error(ZF_EUSAGE,
                  "%s: a branch keeps the method: directions, difference and update rule",
                  history->path);
}

/* Appends the records of the first `step` steps, and the marks between them. */
static int copy_records(struct zf_log *log, const struct zf_history *history, int64_t step) {
  int64_t mark = 0;
  for (int64_t i = 0; i < step; i++) {
    struct zf_zo_estimate estimate = zf_history_estimate(history, i + 1);
    int rc = zf_log_append(log, &history->step[i], &estimate);
    if (rc) return rc;
    while (mark < history->nmark && history->mark[mark].step <= i) mark++;
    if (i + 1 == step || mark == history->nmark || history->mark[mark].step != i + 1) continue;
    struct zf_log_rec rec = {.kind = ZF_LOG_MARK, .step = (uint32_t)(i + 1)};
    memcpy(rec.hash, history->mark[mark].hash, sizeof rec.hash);
    if ((rc = zf_log_append(log, &rec, NULL))) return rc;
  }
  return 0;
}

/* Writes the log of the branch: its own header, and the first steps of the run. */
static int copy_log(const struct zf_history *history, const struct zf_log_head *head, int64_t step,
                    const char *path) {
  struct zf_log *log = NULL;
  int rc = zf_log_create(&log, path, head);
  if (!rc) rc = copy_records(log, history, step);
  int close_rc = zf_log_close(log);
  return rc ? rc : close_rc;
}

/* Copies metrics.jsonl from the directory of the run's log.  Lines of later steps are cut off when
 * the branch is resumed. */
static int copy_metrics(const struct train_loop *loop, const struct zf_history *history) {
  const char *slash = strrchr(history->path, '/');
  char *from = slash
                   ? zf_asprintf("%.*s/metrics.jsonl", (int)(slash - history->path), history->path)
                   : zf_strdup("metrics.jsonl");
  char *to = run_path(loop, "metrics.jsonl");
  int rc = from && to ? 0 : ZF_ENOMEM;
  if (!rc && zf_exists(from)) rc = zf_copy_file(from, to);
  free(from);
  free(to);
  return rc;
}

static int is_same_file(const char *left, const char *right) {
  struct stat x, y;
  return !stat(left, &x) && !stat(right, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* The log is written last and renamed, so that a branch exists completely or not at all. */
static int create_branch(struct train_loop *loop, const struct zf_history *history,
                         const struct zf_log_head *now, int64_t step) {
  char *fresh = run_path(loop, "steps.log.new"), *path = run_path(loop, "steps.log");
  int rc = fresh && path
               ? zf_rundir_open(&loop->dir, loop->run, loop->outcome, loop->run->settings.overwrite)
               : ZF_ENOMEM;
  zf_rundir_close(&loop->dir);
  if (!rc) rc = copy_metrics(loop, history);
  if (!rc) rc = copy_log(history, now, step, fresh);
  if (!rc && rename(fresh, path))
    rc = zf_error(ZF_EIO, "%s: cannot rename: %s", path, strerror(errno));
  if (!rc) rc = zf_sync_dir(loop->run->settings.output_dir);
  free(fresh);
  free(path);
  return rc;
}

int zf_loop_fork(struct train_loop *loop, const struct zf_train_start *start) {
  struct zf_history history = {0};
  struct zf_log_head now;
  char *path = run_path(loop, "steps.log");
  int rc = path ? zf_history_load(&history, start->fork) : ZF_ENOMEM;
  if (!rc) rc = zf_loop_head(loop, &now);
  if (!rc) rc = check_branch(loop, &history, &now, start->fork_step);
  if (!rc && is_same_file(path, start->fork))
    rc = zf_conf_error(loop->run->conf, "output_dir", "a branch needs a directory of its own");
  if (!rc) rc = create_branch(loop, &history, &now, start->fork_step);
  free(path);
  zf_history_free(&history);
  return rc;
}
