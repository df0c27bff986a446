/* A step: draw the batch, two forward passes at once for each probe, append to the log, update.
 *
 * The record is on its way to the disk before a weight changes, so the log is never behind the
 * weights.  Scores, checkpoints and requests come between steps. */
#include "train/loop.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/cpu.h"
#include "base/err.h"
#include "base/hash.h"
#include "train/steplog.h"

enum { FIRST_STEPS = 10, SYNC_STEPS = 100, TUNE_STEPS = 256, TRIES = 3 };

struct loop {
  struct zf_run *r;
  const struct zf_train_events *ev;
  struct zf_outcome *out;
  struct zf_rundir dir;
  struct zf_log *log;
  struct zf_zo_probe probe[ZF_ZO_MAXPROBES];
  int64_t step, eval_every;
  double began, first_time, last_time; /* last_time moves on over scoring, which is no training */
  double score_time;                   /* spent on dev scores so far, and */
  double start_score;                  /* of it before the first step */
  int64_t scored;                      /* how many */
  int64_t tokens, last_tokens;         /* run so far, both streams */
  double first_sum;                    /* of the first steps' losses: the watchdog's measure */
  int64_t above, dead,
      stale; /* steps above the watchdog, steps with g = 0, dev scores without a gain */
  int best_metric;
  int team;            /* threads that `auto` may use; 1: nothing to choose */
  double best_time[2]; /* of a step with all threads, with one */
};

static void say(const struct loop *l, const char *text) {
  if (l->ev->message) l->ev->message(l->ev->ctx, text);
}

/* --- scores --- */

static double metric_of(const struct loop *l, const struct zf_metrics *m) {
  switch (l->best_metric) {
    case ZF_BEST_ACCURACY:
      return m->accuracy;
    case ZF_BEST_F1:
      return m->f1;
    default:
      return -m->loss;
  }
}

/* Better by the metric; of equal ones the lower loss. */
static int better(const struct loop *l, const struct zf_metrics *a, const struct zf_metrics *b) {
  double x = metric_of(l, a), y = metric_of(l, b);
  return x > y || (x == y && a->loss < b->loss);
}

static int score(struct loop *l, const char *what, const struct zf_dataset *d,
                 struct zf_metrics *m) {
  int rc = zf_evaluate(m, l->r->scorer, d, 0, l->ev->stopped, l->ev->ctx);
  if (rc) return rc;
  struct zf_buf b = {0};
  zf_buf_printf(&b, "{\"step\": %lld, \"set\": \"%s\", ", (long long)l->step, what);
  zf_metrics_json(&b, m);
  zf_buf_puts(&b, "}");
  rc = zf_buf_ok(&b);
  if (!rc) rc = zf_rundir_metrics(&l->dir, b.data);
  zf_buf_free(&b);
  return rc;
}

static void report_eval(struct loop *l, const char *what, const struct zf_metrics *m, int best) {
  struct zf_eval_report e = {l->step, l->r->steps, what, *m, best};
  if (l->ev->eval) l->ev->eval(l->ev->ctx, &e);
}

static int64_t dev_scores(const struct loop *l, int64_t from) {
  if (!l->r->data.dev || l->eval_every <= 0) return 0;
  return (l->r->steps + l->eval_every - 1) / l->eval_every - from / l->eval_every;
}

/* Scores the dev set; keeps the weights when they are the best so far. */
static int score_dev(struct loop *l) {
  struct zf_metrics m;
  if (!l->r->data.dev) return 0;
  double start = zf_now();
  int rc = score(l, "dev", l->r->data.dev, &m);
  if (rc) return rc;
  l->score_time += zf_now() - start;
  l->last_time += zf_now() - start;
  l->scored++;
  int best = !l->out->best.examples || better(l, &m, &l->out->best);
  if (l->step == 0) l->out->start = m;
  l->out->end = m;
  l->stale = best ? 0 : l->stale + 1;
  if (best) {
    l->out->best = m;
    l->out->best_step = l->step;
  }
  report_eval(l, "dev", &m, best);
  /* At step 0 the best weights are the base model's, which are on disk already. */
  if (!best || !l->r->set.load_best || l->step == 0) return 0;
  return zf_rundir_checkpoint(&l->dir, l->r, "best");
}

static int score_test(struct loop *l, struct zf_metrics *m) {
  if (!l->r->data.test) return 0;
  int rc = score(l, "test", l->r->data.test, m);
  if (!rc) report_eval(l, "test", m, 0);
  return rc;
}

/* --- one step --- */

/* Mean loss of the step, or ZF_EDIVERGED. */
static int watch(struct loop *l, double loss, double square) {
  const struct zf_settings *s = &l->r->set;
  if (!isfinite(loss))
    return zf_error(ZF_EDIVERGED,
                    "step %lld: the loss is not a finite number: a smaller learning_rate "
                    "or zo_eps may help",
                    (long long)l->step);
  /* Weights beyond the range of floats can leave a model that answers the same to everything. */
  l->dead = square == 0 ? l->dead + 1 : 0;
  if (l->dead >= s->watchdog_patience)
    return zf_error(
        ZF_EDIVERGED,
        "step %lld: the losses on both sides are equal for %lld steps: nothing is learned; "
        "a smaller learning_rate or a larger zo_eps may help",
        (long long)l->step, (long long)l->dead);
  if (l->step <= FIRST_STEPS) l->first_sum += loss;
  double limit = s->watchdog;
  if (limit == 0 && l->step > FIRST_STEPS) limit = 4 * l->first_sum / FIRST_STEPS;
  l->above = limit > 0 && loss > limit ? l->above + 1 : 0;
  if (l->above < s->watchdog_patience) return 0;
  return zf_error(ZF_EDIVERGED,
                  "step %lld: the loss is %.4g, above %.4g for %lld steps: a smaller learning_rate "
                  "may help",
                  (long long)l->step, loss, limit, (long long)l->above);
}

static int64_t batch_tokens(struct loop *l) {
  int64_t n = 0, index;
  for (int64_t i = 0; i < l->r->batch; i++) {
    zf_run_data_batch(&l->r->data, (l->step - 1) * l->r->batch + i, 1, &index);
    n += zf_example_tokens(l->r->data.train, index);
  }
  return 2 * n * l->r->set.zo.probes;
}

static int log_metrics(struct loop *l, const struct zf_step_report *s) {
  char line[320];
  snprintf(line, sizeof line,
           "{\"step\": %lld, \"set\": \"train\", \"loss\": %.17g, \"g\": %.17g, \"lr\": %.17g, "
           "\"seconds\": %.3f, \"tokens_per_s\": %.1f, \"rss_bytes\": %lld}",
           (long long)s->step, s->loss, s->g, s->lr, s->seconds, s->tokens_per_s,
           (long long)zf_rss());
  return zf_rundir_metrics(&l->dir, line);
}

static int report_step(struct loop *l, double loss, double g, double lr) {
  double now = zf_now();
  double training = now - l->first_time - (l->score_time - l->start_score);
  struct zf_step_report s = {.step = l->step,
                             .steps = l->r->steps,
                             .loss = loss,
                             .g = g,
                             .lr = lr,
                             .seconds = now - l->began};
  s.left = training / (double)l->step * (double)(l->r->steps - l->step);
  if (l->scored) s.left += l->score_time / (double)l->scored * (double)dev_scores(l, l->step);
  if (now > l->last_time)
    s.tokens_per_s = (double)(l->tokens - l->last_tokens) / (now - l->last_time);
  int rc = 0;
  if (l->step % l->r->set.logging_steps == 0 || l->step == l->r->steps || l->step == 1) {
    rc = log_metrics(l, &s);
    l->last_time = now;
    l->last_tokens = l->tokens;
  }
  if (l->ev->step) l->ev->step(l->ev->ctx, &s);
  return rc;
}

static int one_step(struct loop *l) {
  const struct zf_settings *s = &l->r->set;
  int rc = zf_run_estimate(l->r, l->step, l->probe);
  if (rc) return rc;
  double loss = 0, square = 0, lr = zf_lr_at(s, l->step, l->r->steps);
  for (int p = 0; p < s->zo.probes; p++) {
    loss += 0.5 * (l->probe[p].plus + l->probe[p].minus) / s->zo.probes;
    square += l->probe[p].g * l->probe[p].g / s->zo.probes;
  }
  l->tokens += batch_tokens(l);
  if ((rc = watch(l, loss, square))) return rc;
  struct zf_log_step rec = {(uint32_t)l->step, lr, (uint64_t)((l->step - 1) * l->r->batch)};
  if ((rc = zf_log_append(l->log, &rec, l->probe))) return rc;
  if (l->step % SYNC_STEPS == 0 && (rc = zf_log_sync(l->log))) return rc;
  zf_run_update(l->r, l->step, l->probe, lr);
  return report_step(l, loss, sqrt(square), lr);
}

/* threads: auto.  On a machine that others use as well, threads that wait for each other can be
 * slower than one alone; results are the same bits for any number.  So a few steps in every
 * TUNE_STEPS are taken with all threads, a few with one, and the faster way is kept. */
static int timed_step(struct loop *l) {
  int64_t k = (l->step - 1) % TUNE_STEPS;
  if (l->team < 2 || k > 2 * TRIES) return one_step(l);
  int alone = k > TRIES;
  if (k == 0) l->best_time[0] = l->best_time[1] = INFINITY;
  zf_kern_threads(alone ? 1 : l->team);
  double start = zf_now();
  int rc = one_step(l);
  double took = zf_now() - start;
  if (k > 0 && took < l->best_time[alone]) l->best_time[alone] = took; /* k = 0 warms up */
  if (k == 2 * TRIES) zf_kern_threads(l->best_time[1] < l->best_time[0] ? 1 : l->team);
  return rc;
}

/* --- between steps --- */

static int checkpoint(struct loop *l) {
  char name[64];
  int rc = zf_log_sync(l->log);
  snprintf(name, sizeof name, "step-%lld", (long long)l->step);
  if (!rc) rc = zf_rundir_checkpoint(&l->dir, l->r, name);
  if (!rc) rc = zf_rundir_prune(&l->dir, l->r->set.save_total_limit);
  l->out->step = l->step;
  if (!rc) rc = zf_rundir_status(&l->dir, l->r, l->out);
  return rc;
}

/* A signal came, between steps or while scoring. */
static int interrupted(struct loop *l) {
  l->out->status = "interrupted";
  int rc = checkpoint(l);
  if (rc) return rc;
  return zf_error(ZF_ESTOPPED,
                  "interrupted after step %lld; checkpoint in %s/checkpoints/step-%lld",
                  (long long)l->step, l->dir.path, (long long)l->step);
}

/* Files that a user touches, and signals.  *end: leave the loop. */
static int requests(struct loop *l, int *end) {
  if (l->ev->stopped && l->ev->stopped(l->ev->ctx))
    return zf_error(ZF_ESTOPPED, "interrupted between steps");
  if (zf_rundir_asked(&l->dir, "save")) {
    int rc = checkpoint(l);
    if (rc) return rc;
    say(l, "checkpoint written, as asked by the file 'save'");
  }
  if (zf_rundir_asked(&l->dir, "stop")) {
    say(l, "stopping, as asked by the file 'stop'");
    l->out->status = "stopped early";
    *end = 1;
  }
  return 0;
}

static int between(struct loop *l, int *end) {
  const struct zf_settings *s = &l->r->set;
  int rc = 0, last = l->step == l->r->steps;
  if (l->eval_every > 0 && (l->step % l->eval_every == 0 || last)) rc = score_dev(l);
  if (!rc && s->save_steps && l->step % s->save_steps == 0) rc = checkpoint(l);
  if (!rc && s->patience && l->stale >= s->patience && !last) {
    char text[96];
    snprintf(text, sizeof text, "no gain on the dev set in %lld scores: stopping early",
             (long long)l->stale);
    say(l, text);
    l->out->status = "stopped early";
    *end = 1;
  }
  return rc ? rc : requests(l, end);
}

static int steps(struct loop *l) {
  int end = 0, rc = requests(l, &end);
  while (!rc && !end && l->step < l->r->steps) {
    l->step++;
    rc = timed_step(l);
    l->out->step = rc ? l->step - 1 : l->step;
    if (!rc) rc = between(l, &end);
  }
  return rc;
}

/* --- start and end --- */

static int make_log(struct loop *l) {
  struct zf_log_head head = {.zo = l->r->set.zo, .decay = l->r->set.weight_decay};
  struct zf_buf text = {0};
  struct zf_hash *h = NULL;
  int rc = zf_conf_dump(l->r->conf, &text, 0);
  if (!rc) rc = zf_hash_new(&h);
  if (!rc) {
    zf_hash_add(h, text.data, text.len);
    zf_hash_hex(h, head.config);
    zf_hash_free(h);
    snprintf(head.kernels, sizeof head.kernels, "%s", zf_compute_name(l->r->set.compute));
    memcpy(head.base, l->r->base_hash, sizeof head.base);
    memcpy(head.data, l->r->data.hash, sizeof head.data);
    char *path = zf_rundir_path(&l->dir, "steps.log");
    rc = path ? zf_log_create(&l->log, path, &head) : ZF_ENOMEM;
    free(path);
  }
  zf_buf_free(&text);
  return rc;
}

/* The result is the best dev score's weights, when there are any better than the base model's. */
static int take_best(struct loop *l) {
  if (!l->r->set.load_best || l->out->best_step < 0 || l->out->best_step == l->step) return 0;
  if (l->out->best_step == 0) {
    say(l, "no dev score was better than the base model's: the result is the base model");
    zf_model_reset(l->r->model);
    return 0;
  }
  char *path = zf_rundir_path(&l->dir, "checkpoints/best");
  int rc = path ? zf_model_reload(l->r->model, path) : ZF_ENOMEM;
  free(path);
  return rc;
}

static int finish(struct loop *l) {
  int rc = zf_log_sync(l->log);
  if (!rc) rc = take_best(l);
  if (!rc) rc = score_test(l, &l->out->test_end);
  if (!rc) rc = zf_model_save(l->r->model, l->dir.path, l->r->set.save_dtype);
  return rc;
}

static int run_all(struct loop *l) {
  int rc = make_log(l);
  if (!rc) rc = zf_rundir_status(&l->dir, l->r, l->out);
  if (!rc && l->r->set.eval_on_start && l->eval_every >= 0) rc = score_dev(l);
  if (!rc && l->r->set.eval_on_start) rc = score_test(l, &l->out->test_start);
  l->first_time = l->last_time = zf_now();
  l->start_score = l->score_time;
  if (!rc) rc = steps(l);
  if (!rc) rc = finish(l);
  return rc == ZF_ESTOPPED ? interrupted(l) : rc;
}

/* Leaves the cause of the end in run.json, and in the error slot. */
static int close_all(struct loop *l, int rc) {
  char said[1024];
  snprintf(said, sizeof said, "%s", zf_error_message());
  int late = zf_log_close(l->log);
  if (rc == ZF_EDIVERGED)
    l->out->status = "diverged";
  else if (rc && rc != ZF_ESTOPPED)
    l->out->status = "failed";
  else if (!rc && !strcmp(l->out->status, "running"))
    l->out->status = "finished";
  l->out->seconds = zf_now() - l->began;
  if (!late) late = zf_rundir_status(&l->dir, l->r, l->out);
  zf_rundir_close(&l->dir);
  if (!rc) return late;
  return zf_error(rc, "%s", said);
}

int zf_train(struct zf_run *r, const struct zf_train_events *ev, struct zf_outcome *out) {
  struct loop l = {.r = r, .ev = ev, .out = out, .began = zf_now()};
  *out = (struct zf_outcome){.status = "running", .best_step = -1};
  l.best_metric = r->set.best >= 0                                      ? r->set.best
                  : r->set.train[0].spec.type == ZF_TASK_CLASSIFICATION ? ZF_BEST_ACCURACY
                                                                        : ZF_BEST_LOSS;
  l.team = r->set.threads ? 1 : zf_kern_nthreads();
  l.eval_every = r->set.eval_steps ? r->set.eval_steps : (r->steps + 4) / 5;
  int rc = zf_rundir_open(&l.dir, r);
  if (rc) return rc;
  return close_all(&l, run_all(&l));
}
