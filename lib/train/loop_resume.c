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

static char *run_path(const struct loop *l, const char *name) {
  return zf_path_join(l->run->set.output_dir, name);
}

/* --- is it the same run? --- */

/* Names the first setting that differs from those of OUT/config.yaml. */
static int explain_config(const struct loop *l) {
  const struct zf_conf_key *const tables[] = {zf_train_keys};
  struct zf_conf *old = NULL;
  struct zf_buf was = {0}, is = {0};
  const char *key = NULL;
  char *path = run_path(l, "config.yaml");
  int rc = path ? zf_conf_new(&old, tables, 1) : ZF_ENOMEM;
  if (!rc) rc = zf_conf_file(old, path);
  if (!rc) key = zf_conf_differs(old, l->run->conf, &was, &is);
  if (rc) {
    zf_error_prefix(ZF_EUSAGE, "the settings are not those of the run in %s",
                    l->run->set.output_dir);
  } else if (key) {
    zf_conf_error(l->run->conf, key,
                  "'%s' was %s when the run began and is %s: a run goes on with what it has ('zoft "
                  "validate --keys' marks what may change)",
                  key, was.data, is.data);
  } else {
    int64_t batch = zf_conf_int(old, "micro_batch_size", 16) *
                    zf_conf_int(old, "gradient_accumulation_steps", 1);
    zf_conf_error(l->run->conf, "micro_batch_size",
                  "micro_batch_size times gradient_accumulation_steps was %lld when the run began "
                  "and is %lld: the product stays",
                  (long long)batch, (long long)l->run->batch);
  }
  zf_buf_free(&was);
  zf_buf_free(&is);
  zf_conf_free(old);
  free(path);
  return ZF_EUSAGE;
}

static int differs(const struct zf_history *h, int code, const char *what, const char *was,
                   const char *is) {
  return zf_error(code, "%s: the run began with %s %s, and now there is %s", h->path, what, was,
                  is);
}

/* The base's hash, or why it is another one where its head was made from a seed. */
static int base_differs(const struct zf_history *h, const struct zf_log_head *now) {
  const struct zf_log_head *was = &h->head;
  if (was->labels && (was->labels != now->labels || was->head_seed != now->head_seed))
    return zf_error(
        ZF_EINVALID,
        "%s: the run began with a new head of %lld labels made from seed %llu: keep both", h->path,
        (long long)was->labels, (unsigned long long)was->head_seed);
  return differs(h, ZF_EINVALID, "base model weights of hash", was->base, now->base);
}

static int check_same(const struct loop *l, const struct zf_log_head *now) {
  const struct zf_history *h = &l->past;
  const struct zf_log_head *was = &h->head;
  if (strcmp(was->kernels, now->kernels) != 0)
    return differs(h, ZF_EUSAGE, "compute", was->kernels, now->kernels);
  if (strcmp(was->config, now->config) != 0) return explain_config(l);
  if (strcmp(was->base, now->base) != 0) return base_differs(h, now);
  if (strcmp(was->tok, now->tok) != 0)
    return differs(h, ZF_EINVALID, "config.json and tokenizer files of hash", was->tok, now->tok);
  if (strcmp(was->data, now->data) != 0)
    return differs(h, ZF_EINVALID, "data files of hash", was->data, now->data);
  if (h->id != zf_log_head_id(now))
    return zf_error(ZF_EINVALID, "%s: the header is not this run's", h->path);
  if (l->run->steps < h->count)
    return zf_conf_error(l->run->conf, "max_steps",
                         "the run has taken %lld steps: %lld are too few", (long long)h->count,
                         (long long)l->run->steps);
  return 0;
}

/* --- metrics.jsonl --- */

/* What one line says; nonzero: it is not a line of ours. */
struct line {
  int64_t step;
  const char *set;
  double seconds;
  struct zf_metrics m;
};

static int read_line(json_t **obj, struct line *x, const char *text, size_t len) {
  const char *name = "metrics.jsonl";
  *obj = NULL;
  *x = (struct line){.step = -1,
                     .set = "",
                     .m = {.loss = INFINITY,
                           .perplexity = NAN,
                           .accuracy = NAN,
                           .f1 = NAN,
                           .f1_micro = NAN,
                           .pearson = NAN,
                           .spearman = NAN}};
  int rc = zf_json_parse(obj, text, len, name);
  if (!rc) rc = zf_json_int(&x->step, *obj, "step", name);
  if (!rc) rc = zf_json_str(&x->set, *obj, "set", name);
  if (!rc) rc = zf_json_num(&x->seconds, *obj, "seconds", name);
  if (!rc) rc = zf_json_int(&x->m.examples, *obj, "examples", name);
  if (!rc) rc = zf_json_int(&x->m.targets, *obj, "targets", name);
  if (!rc) rc = zf_json_num(&x->m.loss, *obj, "loss", name);
  if (!rc) rc = zf_json_num(&x->m.perplexity, *obj, "perplexity", name);
  if (!rc) rc = zf_json_num(&x->m.accuracy, *obj, "accuracy", name);
  if (!rc) rc = zf_json_num(&x->m.f1, *obj, "f1", name);
  if (!rc) rc = zf_json_num(&x->m.f1_micro, *obj, "f1_micro", name);
  if (!rc) rc = zf_json_num(&x->m.pearson, *obj, "pearson", name);
  if (!rc) rc = zf_json_num(&x->m.spearman, *obj, "spearman", name);
  return rc;
}

/* Takes a line up; 0: it does not belong there, and nothing after it does. */
static int take_line(struct loop *l, const struct line *x) {
  int dev = !strcmp(x->set, "dev"), test = !strcmp(x->set, "test");
  if (x->step < l->step || x->step > l->past.count) return 0;
  if (test && x->step) return 0; /* the score of the result: made anew at the end */
  if (!dev && !test && strcmp(x->set, "train") != 0) return 0;
  if (x->step != l->step) l->dev_known = l->test_known = 0;
  l->step = x->step;
  if (dev) zf_loop_take_dev(l, &x->m);
  if (test) l->out->test_start = x->m;
  l->dev_known |= dev;
  l->test_known |= test;
  if (!dev && !test) l->began = zf_now() - x->seconds;
  return 1;
}

/* Returns the length of what is kept: whole lines that the log covers. */
static size_t take_lines(struct loop *l, const char *text, size_t len) {
  size_t at = 0;
  while (at < len) {
    const char *end = memchr(text + at, '\n', len - at);
    struct line x;
    json_t *obj = NULL;
    int good =
        end && !read_line(&obj, &x, text + at, (size_t)(end - text) - at) && take_line(l, &x);
    json_decref(obj);
    if (!good) break;
    at = (size_t)(end - text) + 1;
  }
  zf_error_clear();
  return at;
}

/* --- the state after l->step --- */

static void replay_watch(struct loop *l) {
  int64_t upto = l->step;
  for (l->step = 1; l->step <= upto; l->step++) {
    double loss, square;
    zf_loop_sums(l, l->past.probe + (l->step - 1) * l->past.head.zo.probes, &loss, &square);
    zf_loop_watch(l, loss, square); /* it went on then, so it does now */
  }
  l->step = upto;
  zf_error_clear();
}

static void say_state(void *ctx, const char *text) {
  struct zf_buf b = {0};
  zf_buf_printf(&b, "%s; an earlier state or the base model is used", text);
  zf_loop_say(ctx, b.data ? b.data : text);
  zf_buf_free(&b);
}

/* The best dev score's weights are in checkpoints/best, or are made again. */
static int mend_best(struct loop *l) {
  int64_t best = l->out->best_step;
  if (!l->run->set.load_best || best <= 0) return 0;
  char *path = run_path(l, "checkpoints/best");
  int rc = path ? zf_provenance_load(l->run->model, path, &l->past, best) : ZF_ENOMEM;
  free(path);
  if (!rc || rc == ZF_ENOMEM) return rc;
  zf_error_clear();
  rc = zf_replay_to(l->run->model, &l->past, l->run->set.output_dir, best, NULL, say_state, l);
  return rc ? rc : zf_loop_keep_best(l, best);
}

static int restore(struct loop *l) {
  int64_t from = 0;
  replay_watch(l);
  int rc = mend_best(l);
  if (!rc)
    rc =
        zf_replay_to(l->run->model, &l->past, l->run->set.output_dir, l->step, &from, say_state, l);
  if (rc) return rc;
  struct zf_buf b = {0};
  zf_buf_printf(&b, "resuming after step %lld: weights of step %lld by replay from %s%lld",
                (long long)l->past.count, (long long)l->step,
                from ? "the state saved at step " : "step ", (long long)from);
  zf_loop_say(l, b.data ? b.data : "resuming");
  zf_buf_free(&b);
  return 0;
}

/* --- opening --- */

static int nothing_there(const struct loop *l, int *nothing) {
  struct zf_map m;
  char *path = run_path(l, "metrics.jsonl");
  *nothing = !zf_rundir_has_log(l->run->set.output_dir);
  int rc = path ? 0 : ZF_ENOMEM;
  if (!rc && *nothing && zf_exists(path) && !(rc = zf_map_open(&m, path))) {
    if (m.len)
      rc = zf_error(ZF_EINVALID, "%s: has lines, but there is no steps.log beside it", path);
    zf_map_close(&m);
  }
  free(path);
  return rc;
}

/* Damage is an error; a torn tail is cut. */
static int check_end(const struct loop *l) {
  const struct zf_history *h = &l->past;
  if (h->end == ZF_LOG_DAMAGED)
    return zf_error(ZF_EINVALID,
                    "%s, and whole records follow: the file was changed. 'zoft train CONFIG --fork "
                    "RUN@%lld' goes on from the %lld steps before it in another directory",
                    h->problem, (long long)h->count, (long long)h->count);
  if (h->end == ZF_LOG_TORN) {
    struct zf_buf b = {0};
    zf_buf_printf(&b, "%s: cut off; %lld steps are whole", h->problem, (long long)h->count);
    zf_loop_say(l, b.data ? b.data : h->problem);
    zf_buf_free(&b);
  }
  return 0;
}

static int open_log(struct loop *l) {
  struct zf_log_head now;
  char *path = run_path(l, "steps.log");
  int rc = path ? zf_history_load(&l->past, path) : ZF_ENOMEM;
  if (!rc) rc = zf_loop_head(l, &now);
  if (!rc) rc = check_same(l, &now);
  if (!rc) rc = check_end(l);
  if (!rc) rc = zf_log_reopen(&l->log, path, &now, l->past.size);
  l->log_id = l->past.id;
  free(path);
  return rc;
}

int zf_loop_resume(struct loop *l, int *found) {
  char *text = NULL, *path = run_path(l, "metrics.jsonl");
  size_t len = 0;
  int nothing = 0, rc = path ? nothing_there(l, &nothing) : ZF_ENOMEM;
  *found = 0;
  if (!rc && !nothing) rc = open_log(l);
  if (!rc && !nothing && zf_exists(path)) rc = zf_read_file(&text, &len, path, METRICS_LIMIT);
  if (!rc && !nothing)
    rc = zf_rundir_reopen(&l->dir, l->run, text ? text : "", take_lines(l, text, len));
  if (!rc && !nothing) {
    l->out->step = l->step;
    rc = restore(l);
    *found = 1;
  }
  free(text);
  free(path);
  return rc;
}

/* --- a branch --- */

static int check_branch(const struct loop *l, const struct zf_history *h,
                        const struct zf_log_head *now, int64_t step) {
  const struct zf_log_head *was = &h->head;
  int rc = zf_history_reach(h, step);
  if (rc) return rc;
  if (l->run->steps < step)
    return zf_conf_error(l->run->conf, "max_steps",
                         "%lld is less than the %lld steps of the branch", (long long)l->run->steps,
                         (long long)step);
  if (strcmp(was->base, now->base) != 0) return base_differs(h, now);
  int same = was->zo.probes == now->zo.probes && was->zo.direction == now->zo.direction &&
             was->decay == now->decay && was->trained == now->trained &&
             was->others == now->others && !strcmp(was->globs, now->globs);
  if (same) return 0;
  return zf_error(ZF_EUSAGE,
                  "%s: a branch keeps zo_probes, zo_direction, weight_decay, trainable, dtype and "
                  "trained_dtype of its run",
                  h->path);
}

/* The records of the first `step` steps, and marks between them, under the branch's own header. */
static int copy_log(const struct zf_history *h, const struct zf_log_head *now, int64_t step,
                    const char *path) {
  struct zf_log *log = NULL;
  int rc = zf_log_create(&log, path, now);
  for (int64_t i = 0, m = 0; !rc && i < step; i++) {
    rc = zf_log_append(log, &h->step[i], h->probe + i * now->zo.probes);
    while (m < h->nmark && h->mark[m].step <= i) m++;
    if (rc || i + 1 == step || m == h->nmark || h->mark[m].step != i + 1) continue;
    struct zf_log_rec rec = {.kind = ZF_LOG_MARK, .step = (uint32_t)(i + 1)};
    memcpy(rec.hash, h->mark[m].hash, sizeof rec.hash);
    rc = zf_log_append(log, &rec, NULL);
  }
  int late = zf_log_close(log);
  return rc ? rc : late;
}

/* metrics.jsonl of the run, beside its log; lines beyond the branch are cut when it is resumed. */
static int copy_metrics(const struct loop *l, const struct zf_history *h) {
  const char *slash = strrchr(h->path, '/');
  char *from = slash ? zf_asprintf("%.*s/metrics.jsonl", (int)(slash - h->path), h->path)
                     : zf_strdup("metrics.jsonl");
  char *to = run_path(l, "metrics.jsonl");
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
static int make_branch(struct loop *l, const struct zf_history *h, const struct zf_log_head *now,
                       int64_t step) {
  char *fresh = run_path(l, "steps.log.new"), *path = run_path(l, "steps.log");
  int rc =
      fresh && path ? zf_rundir_open(&l->dir, l->run, l->out, l->run->set.overwrite) : ZF_ENOMEM;
  zf_rundir_close(&l->dir);
  if (!rc) rc = copy_metrics(l, h);
  if (!rc) rc = copy_log(h, now, step, fresh);
  if (!rc && rename(fresh, path))
    rc = zf_error(ZF_EIO, "%s: cannot rename: %s", path, strerror(errno));
  if (!rc) rc = zf_sync_dir(l->run->set.output_dir);
  free(fresh);
  free(path);
  return rc;
}

int zf_loop_fork(struct loop *l, const struct zf_train_start *start) {
  struct zf_history h = {0};
  struct zf_log_head now;
  char *own = run_path(l, "steps.log");
  int rc = own ? zf_history_load(&h, start->fork) : ZF_ENOMEM;
  if (!rc) rc = zf_loop_head(l, &now);
  if (!rc) rc = check_branch(l, &h, &now, start->fork_step);
  if (!rc && same_place(own, start->fork))
    rc = zf_conf_error(l->run->conf, "output_dir", "a branch needs a directory of its own");
  if (!rc) rc = make_branch(l, &h, &now, start->fork_step);
  free(own);
  zf_history_free(&h);
  return rc;
}
