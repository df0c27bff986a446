/* Going on with a run, and branching off one.
 *
 *   steps.log       gives the weights of any step and what the watchdog has seen
 *   metrics.jsonl   gives the scores: the best so far, scores without a gain
 *
 * The loop goes on from the last step that metrics.jsonl tells of.  Log steps after it are taken
 * from the log, so that their lines, scores and keyframes are made as they would have been;
 * lines beyond the log's end are cut. */
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

static char *run_path(const struct loop *loop, const char *name) {
  return zf_path_join(loop->run->set.output_dir, name);
}

/* --- is it the same run? --- */

/* Names the first setting that differs from those of OUT/config.yaml. */
static int explain_config(const struct loop *loop) {
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
                    loop->run->set.output_dir);
  } else if (key) {
    zf_conf_error(loop->run->conf, key,
                  "'%s' was %s when the run began and is %s: a run goes on with what it has ('zoft "
                  "validate --keys' marks what may change)",
                  key, was.data, is.data);
  } else {
    int64_t batch = zf_conf_int(old, "micro_batch_size", 16) *
                    zf_conf_int(old, "gradient_accumulation_steps", 1);
    zf_conf_error(loop->run->conf, "micro_batch_size",
                  "micro_batch_size times gradient_accumulation_steps was %lld when the run began "
                  "and is %lld: the product stays",
                  (long long)batch, (long long)loop->run->batch);
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

/* The base's hash, or why it is another one where its head was made from a seed. */
static int base_differs(const struct zf_history *history, const struct zf_log_head *now) {
  const struct zf_log_head *was = &history->head;
  if (was->labels && (was->labels != now->labels || was->head_seed != now->head_seed))
    return zf_error(
        ZF_EINVALID,
        "%s: the run began with a new head of %lld labels made from seed %llu: keep both",
        history->path, (long long)was->labels, (unsigned long long)was->head_seed);
  return differs(history, ZF_EINVALID, "base model weights of hash", was->base, now->base);
}

static int check_same(const struct loop *loop, const struct zf_log_head *now) {
  const struct zf_history *history = &loop->past;
  const struct zf_log_head *was = &history->head;
  if (strcmp(was->kernels, now->kernels) != 0)
    return differs(history, ZF_EUSAGE, "compute", was->kernels, now->kernels);
  if (strcmp(was->config, now->config) != 0) return explain_config(loop);
  if (strcmp(was->base, now->base) != 0) return base_differs(history, now);
  if (strcmp(was->tok, now->tok) != 0)
    return differs(history, ZF_EINVALID, "config.json and tokenizer files of hash", was->tok,
                   now->tok);
  if (strcmp(was->data, now->data) != 0)
    return differs(history, ZF_EINVALID, "data files of hash", was->data, now->data);
  if (history->id != zf_log_head_id(now))
    return zf_error(ZF_EINVALID, "%s: the header is not this run's", history->path);
  if (loop->run->steps < history->count)
    return zf_conf_error(loop->run->conf, "max_steps",
                         "the run has taken %lld steps: %lld are too few",
                         (long long)history->count, (long long)loop->run->steps);
  return 0;
}

/* --- metrics.jsonl --- */

/* What one line says; nonzero: it is not a line of ours. */
struct line {
  int64_t step;
  const char *set;
  double seconds;
  struct zf_metrics metrics;
};

static int read_line(json_t **obj, struct line *line, const char *text, size_t len) {
  const char *name = "metrics.jsonl";
  *obj = NULL;
  *line = (struct line){.step = -1,
                        .set = "",
                        .metrics = {.loss = INFINITY,
                                    .perplexity = NAN,
                                    .accuracy = NAN,
                                    .f1 = NAN,
                                    .f1_micro = NAN,
                                    .pearson = NAN,
                                    .spearman = NAN}};
  int rc = zf_json_parse(obj, text, len, name);
  if (!rc) rc = zf_json_int(&line->step, *obj, "step", name);
  if (!rc) rc = zf_json_str(&line->set, *obj, "set", name);
  if (!rc) rc = zf_json_num(&line->seconds, *obj, "seconds", name);
  if (!rc) rc = zf_json_int(&line->metrics.examples, *obj, "examples", name);
  if (!rc) rc = zf_json_int(&line->metrics.targets, *obj, "targets", name);
  if (!rc) rc = zf_json_num(&line->metrics.loss, *obj, "loss", name);
  if (!rc) rc = zf_json_num(&line->metrics.perplexity, *obj, "perplexity", name);
  if (!rc) rc = zf_json_num(&line->metrics.accuracy, *obj, "accuracy", name);
  if (!rc) rc = zf_json_num(&line->metrics.f1, *obj, "f1", name);
  if (!rc) rc = zf_json_num(&line->metrics.f1_micro, *obj, "f1_micro", name);
  if (!rc) rc = zf_json_num(&line->metrics.pearson, *obj, "pearson", name);
  if (!rc) rc = zf_json_num(&line->metrics.spearman, *obj, "spearman", name);
  return rc;
}

/* Takes a line up; 0: it does not belong there, and nothing after it does. */
static int take_line(struct loop *loop, const struct line *line) {
  int dev = !strcmp(line->set, "dev"), test = !strcmp(line->set, "test");
  if (line->step < loop->step || line->step > loop->past.count) return 0;
  if (test && line->step) return 0; /* the score of the result: made anew at the end */
  if (!dev && !test && strcmp(line->set, "train") != 0) return 0;
  if (line->step != loop->step) loop->dev_known = loop->test_known = 0;
  loop->step = line->step;
  if (dev) zf_loop_take_dev(loop, &line->metrics);
  if (test) loop->out->test_start = line->metrics;
  loop->dev_known |= dev;
  loop->test_known |= test;
  if (!dev && !test) loop->began = zf_now() - line->seconds;
  return 1;
}

/* Returns the length of what is kept: whole lines that the log covers. */
static size_t take_lines(struct loop *loop, const char *text, size_t len) {
  size_t at = 0;
  while (at < len) {
    const char *end = memchr(text + at, '\n', len - at);
    struct line line;
    json_t *obj = NULL;
    int good = end && !read_line(&obj, &line, text + at, (size_t)(end - text) - at) &&
               take_line(loop, &line);
    json_decref(obj);
    if (!good) break;
    at = (size_t)(end - text) + 1;
  }
  zf_error_clear();
  return at;
}

/* --- the state after l->step --- */

static void replay_watch(struct loop *loop) {
  int64_t upto = loop->step;
  for (loop->step = 1; loop->step <= upto; loop->step++) {
    double loss, square;
    zf_loop_sums(loop, loop->past.probe + (loop->step - 1) * loop->past.head.zo.probes, &loss,
                 &square);
    zf_loop_watch(loop, loss, square); /* it went on then, so it does now */
  }
  loop->step = upto;
  zf_error_clear();
}

static void say_state(void *ctx, const char *text) {
  struct zf_buf buf = {0};
  zf_buf_printf(&buf, "%s; an earlier state or the base model is used", text);
  zf_loop_say(ctx, buf.data ? buf.data : text);
  zf_buf_free(&buf);
}

/* The best dev score's weights are in checkpoints/best, or are made again. */
static int mend_best(struct loop *loop) {
  int64_t best = loop->out->best_step;
  if (!loop->run->set.load_best || best <= 0) return 0;
  char *path = run_path(loop, "checkpoints/best");
  int rc = path ? zf_provenance_load(loop->run->model, path, &loop->past, best) : ZF_ENOMEM;
  free(path);
  if (!rc || rc == ZF_ENOMEM) return rc;
  zf_error_clear();
  rc = zf_replay_to(loop->run->model, &loop->past, loop->run->set.output_dir, best, NULL, say_state,
                    loop);
  return rc ? rc : zf_loop_keep_best(loop, best);
}

static int restore(struct loop *loop) {
  int64_t from = 0;
  replay_watch(loop);
  int rc = mend_best(loop);
  if (!rc)
    rc = zf_replay_to(loop->run->model, &loop->past, loop->run->set.output_dir, loop->step, &from,
                      say_state, loop);
  if (rc) return rc;
  struct zf_buf buf = {0};
  zf_buf_printf(&buf, "resuming after step %lld: weights of step %lld by replay from %s%lld",
                (long long)loop->past.count, (long long)loop->step,
                from ? "the state saved at step " : "step ", (long long)from);
  zf_loop_say(loop, buf.data ? buf.data : "resuming");
  zf_buf_free(&buf);
  return 0;
}

/* --- opening --- */

static int nothing_there(const struct loop *loop, int *nothing) {
  struct zf_map map;
  char *path = run_path(loop, "metrics.jsonl");
  *nothing = !zf_rundir_has_log(loop->run->set.output_dir);
  int rc = path ? 0 : ZF_ENOMEM;
  if (!rc && *nothing && zf_exists(path) && !(rc = zf_map_open(&map, path))) {
    if (map.len)
      rc = zf_error(ZF_EINVALID, "%s: has lines, but there is no steps.log beside it", path);
    zf_map_close(&map);
  }
  free(path);
  return rc;
}

/* Damage is an error; a torn tail is cut. */
static int check_end(const struct loop *loop) {
  const struct zf_history *history = &loop->past;
  if (history->end == ZF_LOG_DAMAGED)
    return zf_error(ZF_EINVALID,
                    "%s, and whole records follow: the file was changed. 'zoft train CONFIG --fork "
                    "RUN@%lld' goes on from the %lld steps before it in another directory",
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

static int open_log(struct loop *loop) {
  struct zf_log_head now;
  char *path = run_path(loop, "steps.log");
  int rc = path ? zf_history_load(&loop->past, path) : ZF_ENOMEM;
  if (!rc) rc = zf_loop_head(loop, &now);
  if (!rc) rc = check_same(loop, &now);
  if (!rc) rc = check_end(loop);
  if (!rc) rc = zf_log_reopen(&loop->log, path, &now, loop->past.size);
  loop->log_id = loop->past.id;
  free(path);
  return rc;
}

int zf_loop_resume(struct loop *loop, int *found) {
  char *text = NULL, *path = run_path(loop, "metrics.jsonl");
  size_t len = 0;
  int nothing = 0, rc = path ? nothing_there(loop, &nothing) : ZF_ENOMEM;
  *found = 0;
  if (!rc && !nothing) rc = open_log(loop);
  if (!rc && !nothing && zf_exists(path)) rc = zf_read_file(&text, &len, path, METRICS_LIMIT);
  if (!rc && !nothing)
    rc = zf_rundir_reopen(&loop->dir, loop->run, text ? text : "", take_lines(loop, text, len));
  if (!rc && !nothing) {
    loop->out->step = loop->step;
    rc = restore(loop);
    *found = 1;
  }
  free(text);
  free(path);
  return rc;
}

/* --- a branch --- */

static int check_branch(const struct loop *loop, const struct zf_history *history,
                        const struct zf_log_head *now, int64_t step) {
  const struct zf_log_head *was = &history->head;
  int rc = zf_history_reach(history, step);
  if (rc) return rc;
  if (loop->run->steps < step)
    return zf_conf_error(loop->run->conf, "max_steps",
                         "%lld is less than the %lld steps of the branch",
                         (long long)loop->run->steps, (long long)step);
  if (strcmp(was->base, now->base) != 0) return base_differs(history, now);
  int same = was->zo.probes == now->zo.probes && was->zo.direction == now->zo.direction &&
             was->decay == now->decay && was->trained == now->trained &&
             was->others == now->others && !strcmp(was->globs, now->globs);
  if (same) return 0;
  return zf_error(ZF_EUSAGE,
                  "%s: a branch keeps zo_probes, zo_direction, weight_decay, trainable, dtype and "
                  "trained_dtype of its run",
                  history->path);
}

/* The records of the first `step` steps, and marks between them, under the branch's own header. */
static int copy_log(const struct zf_history *history, const struct zf_log_head *now, int64_t step,
                    const char *path) {
  struct zf_log *log = NULL;
  int rc = zf_log_create(&log, path, now);
  for (int64_t i = 0, m = 0; !rc && i < step; i++) {
    rc = zf_log_append(log, &history->step[i], history->probe + i * now->zo.probes);
    while (m < history->nmark && history->mark[m].step <= i) m++;
    if (rc || i + 1 == step || m == history->nmark || history->mark[m].step != i + 1) continue;
    struct zf_log_rec rec = {.kind = ZF_LOG_MARK, .step = (uint32_t)(i + 1)};
    memcpy(rec.hash, history->mark[m].hash, sizeof rec.hash);
    rc = zf_log_append(log, &rec, NULL);
  }
  int late = zf_log_close(log);
  return rc ? rc : late;
}

/* metrics.jsonl of the run, beside its log; lines beyond the branch are cut when it is resumed. */
static int copy_metrics(const struct loop *loop, const struct zf_history *history) {
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

static int same_place(const char *a, const char *b) {
  struct stat x, y;
  return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* The log appears last, by rename: a branch is whole or not begun. */
static int make_branch(struct loop *loop, const struct zf_history *history,
                       const struct zf_log_head *now, int64_t step) {
  char *fresh = run_path(loop, "steps.log.new"), *path = run_path(loop, "steps.log");
  int rc = fresh && path
               ? zf_rundir_open(&loop->dir, loop->run, loop->out, loop->run->set.overwrite)
               : ZF_ENOMEM;
  zf_rundir_close(&loop->dir);
  if (!rc) rc = copy_metrics(loop, history);
  if (!rc) rc = copy_log(history, now, step, fresh);
  if (!rc && rename(fresh, path))
    rc = zf_error(ZF_EIO, "%s: cannot rename: %s", path, strerror(errno));
  if (!rc) rc = zf_sync_dir(loop->run->set.output_dir);
  free(fresh);
  free(path);
  return rc;
}

int zf_loop_fork(struct loop *loop, const struct zf_train_start *start) {
  struct zf_history history = {0};
  struct zf_log_head now;
  char *own = run_path(loop, "steps.log");
  int rc = own ? zf_history_load(&history, start->fork) : ZF_ENOMEM;
  if (!rc) rc = zf_loop_head(loop, &now);
  if (!rc) rc = check_branch(loop, &history, &now, start->fork_step);
  if (!rc && same_place(own, start->fork))
    rc = zf_conf_error(loop->run->conf, "output_dir", "a branch needs a directory of its own");
  if (!rc) rc = make_branch(loop, &history, &now, start->fork_step);
  free(own);
  zf_history_free(&history);
  return rc;
}
