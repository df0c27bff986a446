/* A step: draw the batch, two forward passes at once for each probe, append to the log, update.
 *
 * The record is on its way to the disk before a weight changes, so the log is never behind the
 * weights.  Scores, checkpoints and requests come between steps. */
#include "train/loop_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cpu.h"
#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "train/backprop.h"
#include "train/measure.h"

enum { FIRST_STEPS = 10, TUNE_STEPS = 256, TRIES = 3 };

void zf_loop_say(const struct loop *l, const char *text) {
  if (l->events->message) l->events->message(l->events->ctx, text);
}

/* --- one step --- */

int zf_loop_watch(struct loop *l, double loss, double square) {
  const struct zf_settings *s = &l->run->set;
  if (!isfinite(loss) || !isfinite(square))
    return zf_error(ZF_EDIVERGED,
                    "step %lld: the loss is not a finite number: a smaller learning_rate "
                    "%smay help",
                    (long long)l->step, l->run->backprop ? "" : "or zo_eps ");
  /* Weights beyond the range of floats can leave a model that answers the same to everything. */
  l->dead = square == 0 ? l->dead + 1 : 0;
  if (l->dead >= s->watchdog_patience)
    return zf_error(
        ZF_EDIVERGED,
        "step %lld: %s for %lld steps: nothing is learned; a smaller learning_rate%s may help",
        (long long)l->step,
        l->run->backprop ? "the gradient is zero" : "the losses on both sides are equal",
        (long long)l->dead, l->run->backprop ? "" : " or a larger zo_eps");
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
  int64_t n = zf_measure_tokens(l->run, l->step);
  return l->run->backprop ? n : 2 * n * l->run->set.zo.probes;
}

static int log_metrics(struct loop *l, const struct zf_step_report *s) {
  char line[320];
  snprintf(line, sizeof line,
           "{\"step\": %lld, \"set\": \"train\", \"loss\": %.17g, \"g\": %.17g, \"lr\": %.17g, "
           "\"seconds\": %.3f, \"tokens_per_s\": %.1f, \"rss_bytes\": %lld}",
           (long long)s->step, s->loss, s->projected_gradient, s->lr, s->seconds, s->tokens_per_s,
           (long long)zf_rss());
  return zf_rundir_metrics(&l->dir, line);
}

static int report_step(struct loop *l, double loss, double g, double lr) {
  double now = zf_now();
  double training = now - l->first_time - (l->score_time - l->start_score);
  struct zf_step_report s = {.step = l->step,
                             .steps = l->run->steps,
                             .loss = loss,
                             .projected_gradient = g,
                             .lr = lr,
                             .seconds = now - l->began};
  s.left = training / (double)(l->step - l->first_step) * (double)(l->run->steps - l->step);
  if (l->scored)
    s.left += l->score_time / (double)l->scored * (double)zf_loop_devs_left(l, l->step);
  if (now > l->last_time)
    s.tokens_per_s = (double)(l->tokens - l->last_tokens) / (now - l->last_time);
  int rc = 0;
  if (l->step % l->run->set.logging_steps == 0 || l->step == l->run->steps || l->step == 1) {
    rc = log_metrics(l, &s);
    l->last_time = now;
    l->last_tokens = l->tokens;
  }
  if (l->events->step) l->events->step(l->events->ctx, &s);
  return rc;
}

void zf_loop_sums(const struct loop *l, const struct zf_zo_probe *probe, double *loss,
                  double *square) {
  int q = l->run->set.zo.probes;
  *loss = *square = 0;
  for (int p = 0; p < q; p++) {
    *loss += 0.5 * (probe[p].plus + probe[p].minus) / q;
    *square += probe[p].projected_gradient * probe[p].projected_gradient / q;
  }
}

/* A step that is in the log already. */
static int logged_step(struct loop *l) {
  const struct zf_zo_probe *probe = l->past.probe + (l->step - 1) * l->past.head.zo.probes;
  double loss, square;
  zf_loop_sums(l, probe, &loss, &square);
  int rc = zf_loop_watch(l, loss, square);
  if (!rc) rc = zf_replay_steps(l->run->model, &l->past, l->step - 1, l->step, NULL);
  return rc ? rc : report_step(l, loss, sqrt(square), l->past.step[l->step - 1].lr);
}

static int backprop_step(struct loop *l) {
  double loss, norm, lr = zf_lr_at(&l->run->set, l->step, l->run->steps);
  int rc = zf_backprop_gradient(l->run, l->step, &loss, &norm);
  if (rc) return rc;
  l->tokens += batch_tokens(l);
  if ((rc = zf_loop_watch(l, loss, norm))) return rc;
  zf_backprop_update(l->run, l->step, lr);
  return report_step(l, loss, norm, lr);
}

static int one_step(struct loop *l) {
  if (l->run->backprop) return backprop_step(l);
  const struct zf_settings *s = &l->run->set;
  if (l->step <= l->past.count) return logged_step(l);
  int rc = zf_run_estimate(l->run, l->step, l->probe);
  if (rc) return rc;
  double loss, square, lr = zf_lr_at(s, l->step, l->run->steps);
  zf_loop_sums(l, l->probe, &loss, &square);
  l->tokens += batch_tokens(l);
  if ((rc = zf_loop_watch(l, loss, square))) return rc;
  struct zf_log_rec rec = {.step = (uint32_t)l->step,
                           .seed = s->zo.seed,
                           .lr = lr,
                           .batch = (uint64_t)((l->step - 1) * l->run->batch)};
  if ((rc = zf_log_append(l->log, &rec, l->probe))) return rc;
  if ((rc = zf_log_sync_maybe(l->log))) return rc;
  zf_run_update(l->run, l->step, l->probe, lr);
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

static int stamp_of(struct loop *l, struct zf_provenance *stamp) {
  *stamp = (struct zf_provenance){.log = l->log_id, .step = l->step};
  return zf_model_hash(l->run->model, stamp->hash);
}

int zf_loop_keep_best(struct loop *l, int64_t step) {
  struct zf_provenance stamp;
  int rc = stamp_of(l, &stamp);
  stamp.step = step;
  return rc ? rc : zf_rundir_checkpoint(&l->dir, l->run, "best", &stamp);
}

/* The hash of the weights goes into the log at keyframes and at the end: at steps that do not
 * depend on whether a run was interrupted. */
static int mark(struct loop *l, const struct zf_provenance *stamp, uint64_t result) {
  struct zf_log_rec rec = {.kind = ZF_LOG_MARK, .step = (uint32_t)l->step, .result = result};
  memcpy(rec.hash, stamp->hash, sizeof rec.hash);
  int rc = zf_log_append(l->log, &rec, NULL);
  return rc ? rc : zf_log_sync(l->log);
}

static int keyframe(struct loop *l) {
  struct zf_provenance stamp;
  if (l->step < l->past.count) return 0; /* its mark is in the log; the next keyframe is near */
  int rc = stamp_of(l, &stamp);
  if (!rc) rc = mark(l, &stamp, 0);
  if (!rc) rc = zf_rundir_keyframe(&l->dir, l->run, &stamp);
  return rc ? rc : zf_rundir_prune(&l->dir, l->run->set.save_total_limit);
}

static int checkpoint(struct loop *l) {
  char name[64];
  struct zf_provenance stamp;
  int rc = l->log ? zf_log_sync(l->log) : 0;
  snprintf(name, sizeof name, "step-%lld", (long long)l->step);
  if (!rc) rc = stamp_of(l, &stamp);
  if (!rc) rc = zf_rundir_checkpoint(&l->dir, l->run, name, &stamp);
  if (!rc) rc = zf_rundir_prune(&l->dir, l->run->set.save_total_limit);
  l->out->step = l->step;
  if (!rc) rc = zf_rundir_status(&l->dir, l->run, l->out);
  return rc;
}

/* A signal came, between steps or while scoring. */
static int interrupted(struct loop *l) {
  l->out->status = "interrupted";
  int rc = checkpoint(l);
  if (rc) return rc;
  return zf_error(ZF_ESTOPPED,
                  "interrupted after step %lld; checkpoint in %s/checkpoints/step-%lld%s",
                  (long long)l->step, l->dir.path, (long long)l->step,
                  l->run->backprop ? "" : "; --resume goes on");
}

/* Files that a user touches, and signals.  *end: leave the loop. */
static int requests(struct loop *l, int *end) {
  if (l->events->stopped && l->events->stopped(l->events->ctx))
    return zf_error(ZF_ESTOPPED, "interrupted between steps");
  if (zf_rundir_asked(&l->dir, "save")) {
    int rc = checkpoint(l);
    if (rc) return rc;
    zf_loop_say(l, "checkpoint written, as asked by the file 'save'");
  }
  if (l->step >= l->past.count && zf_rundir_asked(&l->dir, "stop")) {
    zf_loop_say(l, "stopping, as asked by the file 'stop'");
    l->out->status = "stopped early";
    *end = 1;
  }
  return 0;
}

/* A limit holds while the run goes on, should the forecast have been wrong. */
static int check_memory(const struct loop *l) {
  char have[32], limit[32];
  int64_t most = l->run->set.memory_limit, peak = most ? zf_peak_rss() : 0;
  if (peak <= most) return 0;
  return zf_error(ZF_EMEMLIMIT, "step %lld: %s are resident, and memory_limit is %s",
                  (long long)l->step, zf_human_bytes(have, (double)peak),
                  zf_human_bytes(limit, (double)most));
}

static int between(struct loop *l, int *end) {
  const struct zf_settings *s = &l->run->set;
  int rc = 0, last = l->step == l->run->steps;
  int due = l->eval_every > 0 && (l->step % l->eval_every == 0 || last);
  if (due && !l->dev_known) rc = zf_loop_dev(l);
  l->dev_known = 0;
  if (!rc && l->log && s->keyframe_steps && l->step % s->keyframe_steps == 0) rc = keyframe(l);
  if (!rc && s->save_steps && l->step % s->save_steps == 0) rc = checkpoint(l);
  if (!rc && s->patience && l->stale >= s->patience && !last && l->step >= l->past.count) {
    char text[96];
    snprintf(text, sizeof text, "no gain on the dev set in %lld scores: stopping early",
             (long long)l->stale);
    zf_loop_say(l, text);
    l->out->status = "stopped early";
    *end = 1;
  }
  if (!rc) rc = check_memory(l);
  return rc ? rc : requests(l, end);
}

static int steps(struct loop *l) {
  int end = 0, rc = l->step ? between(l, &end) : requests(l, &end);
  while (!rc && !end && l->step < l->run->steps) {
    l->step++;
    rc = timed_step(l);
    l->out->step = rc ? l->step - 1 : l->step;
    if (!rc) rc = between(l, &end);
  }
  return rc;
}

/* --- start and end --- */

/* What the run is: the settings that it keeps, and examples a step. */
static int hash_config(const struct loop *l, char out[33]) {
  struct zf_buf text = {0};
  struct zf_hash *h = NULL;
  int rc = zf_conf_dump_kept(l->run->conf, &text);
  zf_buf_printf(&text, " batch %lld", (long long)l->run->batch);
  if (!rc) rc = zf_buf_ok(&text);
  if (!rc) rc = zf_hash_new(&h);
  if (!rc) {
    zf_hash_add(h, text.data, text.len);
    zf_hash_hex(h, out);
    zf_hash_free(h);
  }
  zf_buf_free(&text);
  return rc;
}

static int join_globs(const struct loop *l, char out[ZF_LOG_GLOBS]) {
  const struct zf_settings *s = &l->run->set;
  size_t n = 0;
  out[0] = 0;
  for (int64_t i = 0; i < s->ntrainable; i++) {
    size_t len = strlen(s->trainable[i]);
    if (strchr(s->trainable[i], '\n') || n + len + 2 > ZF_LOG_GLOBS)
      return zf_conf_error(l->run->conf, "trainable",
                           "'trainable' does not fit the step log: %d bytes of globs without line "
                           "breaks do",
                           ZF_LOG_GLOBS - 1);
    if (i) out[n++] = '\n';
    memcpy(out + n, s->trainable[i], len + 1);
    n += len;
  }
  return 0;
}

int zf_loop_head(const struct loop *l, struct zf_log_head *head) {
  const struct zf_settings *s = &l->run->set;
  *head = (struct zf_log_head){
      .zo = s->zo, .decay = s->weight_decay, .trained = s->trained_dtype, .others = s->dtype};
  if (l->run->model->nmade ||
      l->run->model->config.problem) { /* or a head is used otherwise than config.json says */
    head->labels = l->run->model->config.outputs;
    head->problem = (int)l->run->model->config.problem;
    head->head_seed = l->run->model->head_seed;
  }
  snprintf(head->kernels, sizeof head->kernels, "%s", zf_compute_name(s->compute));
  memcpy(head->base, l->run->base_hash, sizeof head->base);
  memcpy(head->data, l->run->data.hash, sizeof head->data);
  memcpy(head->tok, l->run->files_hash, sizeof head->tok);
  int rc = hash_config(l, head->config);
  return rc ? rc : join_globs(l, head->globs);
}

static int make_log(struct loop *l) {
  struct zf_log_head head;
  char *path = zf_rundir_path(&l->dir, "steps.log");
  int rc = path ? zf_loop_head(l, &head) : ZF_ENOMEM;
  if (!rc) rc = zf_log_create(&l->log, path, &head);
  l->log_id = zf_log_head_id(&head);
  free(path);
  return rc;
}

/* The result is the best dev score's weights, when there are any better than the base model's. */
static int64_t result_step(const struct loop *l) {
  return l->run->set.load_best && l->out->best_step >= 0 ? l->out->best_step : l->step;
}

/* The file may have been written over while it was mapped. */
static int reset_to_base(struct loop *l) {
  char now[33];
  zf_model_reset(l->run->model);
  int rc = zf_model_hash(l->run->model, now);
  if (rc || !strcmp(now, l->run->base_hash)) return rc;
  return zf_error(ZF_EINVALID,
                  "%s: its weights were changed while the run went on: hash %s, at the start %s",
                  l->run->model->dir, now, l->run->base_hash);
}

static int take_best(struct loop *l) {
  if (result_step(l) == l->step) return 0;
  if (l->out->best_step == 0) {
    zf_loop_say(l, "no dev score was better than the base model's: the result is the base model");
    return reset_to_base(l);
  }
  char *path = zf_rundir_path(&l->dir, "checkpoints/best");
  struct zf_st *st = NULL;
  int rc = path ? zf_st_open(&st, path) : ZF_ENOMEM;
  if (!rc) rc = zf_model_reload(l->run->model, st);
  zf_st_free(st);
  free(path);
  return rc;
}

static int finish(struct loop *l) {
  struct zf_provenance stamp;
  int rc = stamp_of(l, &stamp);
  if (!rc && l->log) rc = mark(l, &stamp, 1 + (uint64_t)result_step(l));
  if (!rc) rc = take_best(l);
  if (!rc) rc = zf_loop_test(l, &l->out->test_end);
  if (!rc) rc = zf_model_save(l->run->model, l->dir.path, l->run->set.save_dtype, NULL, 0);
  return rc;
}

/* The scores of the base model, where metrics.jsonl does not have them. */
static int score_start(struct loop *l) {
  int rc = 0;
  if (l->step || !l->run->set.eval_on_start) return 0;
  if (l->eval_every >= 0 && !l->dev_known) rc = zf_loop_dev(l);
  if (!rc && !l->test_known) rc = zf_loop_test(l, &l->out->test_start);
  l->dev_known = 0;
  return rc;
}

static int run_all(struct loop *l) {
  int rc = l->log || l->run->backprop ? 0 : make_log(l); /* the log holds projected gradients */
  if (!rc) rc = zf_rundir_status(&l->dir, l->run, l->out);
  if (!rc) rc = score_start(l);
  l->first_time = l->last_time = zf_now();
  l->start_score = l->score_time;
  l->first_step = l->step;
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
  if (late && !rc) l->out->status = "failed";
  int told = zf_rundir_status(&l->dir, l->run, l->out);
  if (!late) late = told;
  zf_rundir_close(&l->dir);
  zf_history_free(&l->past);
  if (!rc) return late;
  return zf_error(rc, "%s", said);
}

/* A run that was killed before its first step has a run.json and no log: it begins again. */
static int check_resumable(const struct loop *l) {
  const char *dir = l->run->set.output_dir;
  if (zf_rundir_has_log(dir) || zf_rundir_begun(dir)) return 0;
  return zf_conf_error(
      l->run->conf, "output_dir",
      "there is no run to resume in %s: name the run's directory, or leave --resume out "
      "to begin one",
      dir);
}

/* Opens the directory: a new run, one to go on with, or a branch. */
static int open_run(struct loop *l, const struct zf_train_start *start) {
  int found = 0, rc = 0;
  if (l->run->backprop && (start->resume || start->fork))
    return zf_error(
        ZF_EUSAGE,
        "method %s writes no step log, so that there is nothing to go on from: only mezo "
        "resumes and forks",
        zf_method_info(l->run->set.method)->name);
  rc = zf_rundir_apart(l->run);
  if (!rc && start->resume) rc = check_resumable(l);
  l->made = !zf_exists(l->run->set.output_dir);
  if (!rc) rc = zf_rundir_lock(&l->lock, l->run->set.output_dir);
  if (!rc && start->fork) rc = zf_loop_fork(l, start);
  if (!rc && (start->resume || start->fork)) rc = zf_loop_resume(l, &found);
  if (rc || found) return rc;
  if (start->resume) zf_loop_say(l, "the run has taken no step yet: it begins");
  return zf_rundir_open(&l->dir, l->run, l->out, start->resume || l->run->set.overwrite);
}

int zf_train(struct zf_run *r, const struct zf_train_start *start, const struct zf_train_events *ev,
             struct zf_outcome *out) {
  struct loop l = {
      .run = r, .events = ev, .out = out, .began = zf_now(), .lock = -1, .dir = {.metrics = -1}};
  *out = (struct zf_outcome){.status = "running", .best_step = -1};
  l.best_metric = r->set.best >= 0 ? (enum zf_best)r->set.best : zf_best_of(&r->set.train[0].spec);
  zf_energy_init(&l.energy);
  l.team = r->set.threads ? 1 : zf_kern_nthreads();
  l.eval_every = r->set.eval_steps ? r->set.eval_steps : (r->steps + 4) / 5;
  int rc = open_run(&l, start);
  if (rc) {
    zf_log_close(l.log);
    zf_rundir_close(&l.dir);
    zf_history_free(&l.past);
    zf_rundir_unlock(&l.lock);
    if (l.made) rmdir(r->set.output_dir); /* which fails when something is in it */
    return rc;
  }
  rc = close_all(&l, run_all(&l));
  zf_rundir_unlock(&l.lock);
  return rc;
}
