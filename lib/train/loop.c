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

void zf_loop_say(const struct loop *loop, const char *text) {
  if (loop->events->message) loop->events->message(loop->events->ctx, text);
}

/* --- one step --- */

int zf_loop_watch(struct loop *loop, double loss, double square) {
  const struct zf_settings *settings = &loop->run->set;
  if (!isfinite(loss) || !isfinite(square))
    return zf_error(ZF_EDIVERGED,
                    "step %lld: the loss is not a finite number: a smaller learning_rate "
                    "%smay help",
                    (long long)loop->step, loop->run->backprop ? "" : "or zo_eps ");
  /* Weights beyond the range of floats can leave a model that answers the same to everything. */
  loop->dead = square == 0 ? loop->dead + 1 : 0;
  if (loop->dead >= settings->watchdog_patience)
    return zf_error(
        ZF_EDIVERGED,
        "step %lld: %s for %lld steps: nothing is learned; a smaller learning_rate%s may help",
        (long long)loop->step,
        loop->run->backprop ? "the gradient is zero" : "the losses on both sides are equal",
        (long long)loop->dead, loop->run->backprop ? "" : " or a larger zo_eps");
  if (loop->step <= FIRST_STEPS) loop->first_sum += loss;
  double limit = settings->watchdog;
  if (limit == 0 && loop->step > FIRST_STEPS) limit = 4 * loop->first_sum / FIRST_STEPS;
  loop->above = limit > 0 && loss > limit ? loop->above + 1 : 0;
  if (loop->above < settings->watchdog_patience) return 0;
  return zf_error(ZF_EDIVERGED,
                  "step %lld: the loss is %.4g, above %.4g for %lld steps: a smaller learning_rate "
                  "may help",
                  (long long)loop->step, loss, limit, (long long)loop->above);
}

static int64_t batch_tokens(struct loop *loop) {
  int64_t n = zf_measure_tokens(loop->run, loop->step);
  return loop->run->backprop ? n : 2 * n * loop->run->set.zo.probes;
}

static int log_metrics(struct loop *loop, const struct zf_step_report *report) {
  char line[320];
  snprintf(line, sizeof line,
           "{\"step\": %lld, \"set\": \"train\", \"loss\": %.17g, \"g\": %.17g, \"lr\": %.17g, "
           "\"seconds\": %.3f, \"tokens_per_s\": %.1f, \"rss_bytes\": %lld}",
           (long long)report->step, report->loss, report->projected_gradient, report->lr,
           report->seconds, report->tokens_per_s, (long long)zf_rss());
  return zf_rundir_metrics(&loop->dir, line);
}

static int report_step(struct loop *loop, double loss, double g, double lr) {
  double now = zf_now();
  double training = now - loop->first_time - (loop->score_time - loop->start_score);
  struct zf_step_report report = {.step = loop->step,
                                  .steps = loop->run->steps,
                                  .loss = loss,
                                  .projected_gradient = g,
                                  .lr = lr,
                                  .seconds = now - loop->began};
  report.left =
      training / (double)(loop->step - loop->first_step) * (double)(loop->run->steps - loop->step);
  if (loop->scored)
    report.left +=
        loop->score_time / (double)loop->scored * (double)zf_loop_devs_left(loop, loop->step);
  if (now > loop->last_time)
    report.tokens_per_s = (double)(loop->tokens - loop->last_tokens) / (now - loop->last_time);
  int rc = 0;
  if (loop->step % loop->run->set.logging_steps == 0 || loop->step == loop->run->steps ||
      loop->step == 1) {
    rc = log_metrics(loop, &report);
    loop->last_time = now;
    loop->last_tokens = loop->tokens;
  }
  if (loop->events->step) loop->events->step(loop->events->ctx, &report);
  return rc;
}

void zf_loop_sums(const struct loop *loop, const struct zf_zo_probe *probe, double *loss,
                  double *square) {
  int q = loop->run->set.zo.probes;
  *loss = *square = 0;
  for (int p = 0; p < q; p++) {
    *loss += 0.5 * (probe[p].plus + probe[p].minus) / q;
    *square += probe[p].projected_gradient * probe[p].projected_gradient / q;
  }
}

/* A step that is in the log already. */
static int logged_step(struct loop *loop) {
  const struct zf_zo_probe *probe = loop->past.probe + (loop->step - 1) * loop->past.head.zo.probes;
  double loss, square;
  zf_loop_sums(loop, probe, &loss, &square);
  int rc = zf_loop_watch(loop, loss, square);
  if (!rc) rc = zf_replay_steps(loop->run->model, &loop->past, loop->step - 1, loop->step, NULL);
  return rc ? rc : report_step(loop, loss, sqrt(square), loop->past.step[loop->step - 1].lr);
}

static int backprop_step(struct loop *loop) {
  double loss, norm, lr = zf_lr_at(&loop->run->set, loop->step, loop->run->steps);
  int rc = zf_backprop_gradient(loop->run, loop->step, &loss, &norm);
  if (rc) return rc;
  loop->tokens += batch_tokens(loop);
  if ((rc = zf_loop_watch(loop, loss, norm))) return rc;
  zf_backprop_update(loop->run, loop->step, lr);
  return report_step(loop, loss, norm, lr);
}

static int one_step(struct loop *loop) {
  if (loop->run->backprop) return backprop_step(loop);
  const struct zf_settings *settings = &loop->run->set;
  if (loop->step <= loop->past.count) return logged_step(loop);
  int rc = zf_run_estimate(loop->run, loop->step, loop->probe);
  if (rc) return rc;
  double loss, square, lr = zf_lr_at(settings, loop->step, loop->run->steps);
  zf_loop_sums(loop, loop->probe, &loss, &square);
  loop->tokens += batch_tokens(loop);
  if ((rc = zf_loop_watch(loop, loss, square))) return rc;
  struct zf_log_rec rec = {.step = (uint32_t)loop->step,
                           .seed = settings->zo.seed,
                           .lr = lr,
                           .batch = (uint64_t)((loop->step - 1) * loop->run->batch)};
  if ((rc = zf_log_append(loop->log, &rec, loop->probe))) return rc;
  if ((rc = zf_log_sync_maybe(loop->log))) return rc;
  zf_run_update(loop->run, loop->step, loop->probe, lr);
  return report_step(loop, loss, sqrt(square), lr);
}

/* threads: auto.  On a machine that others use as well, threads that wait for each other can be
 * slower than one alone; results are the same bits for any number.  So a few steps in every
 * TUNE_STEPS are taken with all threads, a few with one, and the faster way is kept. */
static int timed_step(struct loop *loop) {
  int64_t k = (loop->step - 1) % TUNE_STEPS;
  if (loop->team < 2 || k > 2 * TRIES) return one_step(loop);
  int alone = k > TRIES;
  if (k == 0) loop->best_time[0] = loop->best_time[1] = INFINITY;
  zf_kern_threads(alone ? 1 : loop->team);
  double start = zf_now();
  int rc = one_step(loop);
  double took = zf_now() - start;
  if (k > 0 && took < loop->best_time[alone]) loop->best_time[alone] = took; /* k = 0 warms up */
  if (k == 2 * TRIES) zf_kern_threads(loop->best_time[1] < loop->best_time[0] ? 1 : loop->team);
  return rc;
}

/* --- between steps --- */

static int stamp_of(struct loop *loop, struct zf_provenance *stamp) {
  *stamp = (struct zf_provenance){.log = loop->log_id, .step = loop->step};
  return zf_model_hash(loop->run->model, stamp->hash);
}

int zf_loop_keep_best(struct loop *loop, int64_t step) {
  struct zf_provenance stamp;
  int rc = stamp_of(loop, &stamp);
  stamp.step = step;
  return rc ? rc : zf_rundir_checkpoint(&loop->dir, loop->run, "best", &stamp);
}

/* The hash of the weights goes into the log at keyframes and at the end: at steps that do not
 * depend on whether a run was interrupted. */
static int mark(struct loop *loop, const struct zf_provenance *stamp, uint64_t result) {
  struct zf_log_rec rec = {.kind = ZF_LOG_MARK, .step = (uint32_t)loop->step, .result = result};
  memcpy(rec.hash, stamp->hash, sizeof rec.hash);
  int rc = zf_log_append(loop->log, &rec, NULL);
  return rc ? rc : zf_log_sync(loop->log);
}

static int keyframe(struct loop *loop) {
  struct zf_provenance stamp;
  if (loop->step < loop->past.count)
    return 0; /* its mark is in the log; the next keyframe is near */
  int rc = stamp_of(loop, &stamp);
  if (!rc) rc = mark(loop, &stamp, 0);
  if (!rc) rc = zf_rundir_keyframe(&loop->dir, loop->run, &stamp);
  return rc ? rc : zf_rundir_prune(&loop->dir, loop->run->set.save_total_limit);
}

static int checkpoint(struct loop *loop) {
  char name[64];
  struct zf_provenance stamp;
  int rc = loop->log ? zf_log_sync(loop->log) : 0;
  snprintf(name, sizeof name, "step-%lld", (long long)loop->step);
  if (!rc) rc = stamp_of(loop, &stamp);
  if (!rc) rc = zf_rundir_checkpoint(&loop->dir, loop->run, name, &stamp);
  if (!rc) rc = zf_rundir_prune(&loop->dir, loop->run->set.save_total_limit);
  loop->out->step = loop->step;
  if (!rc) rc = zf_rundir_status(&loop->dir, loop->run, loop->out);
  return rc;
}

/* A signal came, between steps or while scoring. */
static int interrupted(struct loop *loop) {
  loop->out->status = "interrupted";
  int rc = checkpoint(loop);
  if (rc) return rc;
  return zf_error(ZF_ESTOPPED,
                  "interrupted after step %lld; checkpoint in %s/checkpoints/step-%lld%s",
                  (long long)loop->step, loop->dir.path, (long long)loop->step,
                  loop->run->backprop ? "" : "; --resume goes on");
}

/* Files that a user touches, and signals.  *end: leave the loop. */
static int requests(struct loop *loop, int *end) {
  if (loop->events->stopped && loop->events->stopped(loop->events->ctx))
    return zf_error(ZF_ESTOPPED, "interrupted between steps");
  if (zf_rundir_asked(&loop->dir, "save")) {
    int rc = checkpoint(loop);
    if (rc) return rc;
    zf_loop_say(loop, "checkpoint written, as asked by the file 'save'");
  }
  if (loop->step >= loop->past.count && zf_rundir_asked(&loop->dir, "stop")) {
    zf_loop_say(loop, "stopping, as asked by the file 'stop'");
    loop->out->status = "stopped early";
    *end = 1;
  }
  return 0;
}

/* A limit holds while the run goes on, should the forecast have been wrong. */
static int check_memory(const struct loop *loop) {
  char have[32], limit[32];
  int64_t most = loop->run->set.memory_limit, peak = most ? zf_peak_rss() : 0;
  if (peak <= most) return 0;
  return zf_error(ZF_EMEMLIMIT, "step %lld: %s are resident, and memory_limit is %s",
                  (long long)loop->step, zf_human_bytes(have, (double)peak),
                  zf_human_bytes(limit, (double)most));
}

static int between(struct loop *loop, int *end) {
  const struct zf_settings *settings = &loop->run->set;
  int rc = 0, last = loop->step == loop->run->steps;
  int due = loop->eval_every > 0 && (loop->step % loop->eval_every == 0 || last);
  if (due && !loop->dev_known) rc = zf_loop_dev(loop);
  loop->dev_known = 0;
  if (!rc && loop->log && settings->keyframe_steps && loop->step % settings->keyframe_steps == 0)
    rc = keyframe(loop);
  if (!rc && settings->save_steps && loop->step % settings->save_steps == 0) rc = checkpoint(loop);
  if (!rc && settings->patience && loop->stale >= settings->patience && !last &&
      loop->step >= loop->past.count) {
    char text[96];
    snprintf(text, sizeof text, "no gain on the dev set in %lld scores: stopping early",
             (long long)loop->stale);
    zf_loop_say(loop, text);
    loop->out->status = "stopped early";
    *end = 1;
  }
  if (!rc) rc = check_memory(loop);
  return rc ? rc : requests(loop, end);
}

static int steps(struct loop *loop) {
  int end = 0, rc = loop->step ? between(loop, &end) : requests(loop, &end);
  while (!rc && !end && loop->step < loop->run->steps) {
    loop->step++;
    rc = timed_step(loop);
    loop->out->step = rc ? loop->step - 1 : loop->step;
    if (!rc) rc = between(loop, &end);
  }
  return rc;
}

/* --- start and end --- */

/* What the run is: the settings that it keeps, and examples a step. */
static int hash_config(const struct loop *loop, char out[33]) {
  struct zf_buf text = {0};
  struct zf_hash *hash = NULL;
  int rc = zf_conf_dump_kept(loop->run->conf, &text);
  zf_buf_printf(&text, " batch %lld", (long long)loop->run->batch);
  if (!rc) rc = zf_buf_ok(&text);
  if (!rc) rc = zf_hash_new(&hash);
  if (!rc) {
    zf_hash_add(hash, text.data, text.len);
    zf_hash_hex(hash, out);
    zf_hash_free(hash);
  }
  zf_buf_free(&text);
  return rc;
}

static int join_globs(const struct loop *loop, char out[ZF_LOG_GLOBS]) {
  const struct zf_settings *settings = &loop->run->set;
  size_t n = 0;
  out[0] = 0;
  for (int64_t i = 0; i < settings->ntrainable; i++) {
    size_t len = strlen(settings->trainable[i]);
    if (strchr(settings->trainable[i], '\n') || n + len + 2 > ZF_LOG_GLOBS)
      return zf_conf_error(loop->run->conf, "trainable",
                           "'trainable' does not fit the step log: %d bytes of globs without line "
                           "breaks do",
                           ZF_LOG_GLOBS - 1);
    if (i) out[n++] = '\n';
    memcpy(out + n, settings->trainable[i], len + 1);
    n += len;
  }
  return 0;
}

int zf_loop_head(const struct loop *loop, struct zf_log_head *head) {
  const struct zf_settings *settings = &loop->run->set;
  *head = (struct zf_log_head){.zo = settings->zo,
                               .decay = settings->weight_decay,
                               .trained = settings->trained_dtype,
                               .others = settings->dtype};
  if (loop->run->model->nnew ||
      loop->run->model->config.problem) { /* or a head is used otherwise than config.json says */
    head->labels = loop->run->model->config.outputs;
    head->problem = (int)loop->run->model->config.problem;
    head->head_seed = loop->run->model->head_seed;
  }
  snprintf(head->kernels, sizeof head->kernels, "%s", zf_compute_name(settings->compute));
  memcpy(head->base, loop->run->base_hash, sizeof head->base);
  memcpy(head->data, loop->run->data.hash, sizeof head->data);
  memcpy(head->tok, loop->run->files_hash, sizeof head->tok);
  int rc = hash_config(loop, head->config);
  return rc ? rc : join_globs(loop, head->globs);
}

static int make_log(struct loop *loop) {
  struct zf_log_head head;
  char *path = zf_rundir_path(&loop->dir, "steps.log");
  int rc = path ? zf_loop_head(loop, &head) : ZF_ENOMEM;
  if (!rc) rc = zf_log_create(&loop->log, path, &head);
  loop->log_id = zf_log_head_id(&head);
  free(path);
  return rc;
}

/* The result is the best dev score's weights, when there are any better than the base model's. */
static int64_t result_step(const struct loop *loop) {
  return loop->run->set.load_best && loop->out->best_step >= 0 ? loop->out->best_step : loop->step;
}

/* The file may have been written over while it was mapped. */
static int reset_to_base(struct loop *loop) {
  char now[33];
  zf_model_reset(loop->run->model);
  int rc = zf_model_hash(loop->run->model, now);
  if (rc || !strcmp(now, loop->run->base_hash)) return rc;
  return zf_error(ZF_EINVALID,
                  "%s: its weights were changed while the run went on: hash %s, at the start %s",
                  loop->run->model->dir, now, loop->run->base_hash);
}

static int take_best(struct loop *loop) {
  if (result_step(loop) == loop->step) return 0;
  if (loop->out->best_step == 0) {
    zf_loop_say(loop,
                "no dev score was better than the base model's: the result is the base model");
    return reset_to_base(loop);
  }
  char *path = zf_rundir_path(&loop->dir, "checkpoints/best");
  struct zf_st *st = NULL;
  int rc = path ? zf_st_open(&st, path) : ZF_ENOMEM;
  if (!rc) rc = zf_model_reload(loop->run->model, st);
  zf_st_free(st);
  free(path);
  return rc;
}

static int finish(struct loop *loop) {
  struct zf_provenance stamp;
  int rc = stamp_of(loop, &stamp);
  if (!rc && loop->log) rc = mark(loop, &stamp, 1 + (uint64_t)result_step(loop));
  if (!rc) rc = take_best(loop);
  if (!rc) rc = zf_loop_test(loop, &loop->out->test_end);
  if (!rc) rc = zf_model_save(loop->run->model, loop->dir.path, loop->run->set.save_dtype, NULL, 0);
  return rc;
}

/* The scores of the base model, where metrics.jsonl does not have them. */
static int score_start(struct loop *loop) {
  int rc = 0;
  if (loop->step || !loop->run->set.eval_on_start) return 0;
  if (loop->eval_every >= 0 && !loop->dev_known) rc = zf_loop_dev(loop);
  if (!rc && !loop->test_known) rc = zf_loop_test(loop, &loop->out->test_start);
  loop->dev_known = 0;
  return rc;
}

static int run_all(struct loop *loop) {
  int rc =
      loop->log || loop->run->backprop ? 0 : make_log(loop); /* the log holds projected gradients */
  if (!rc) rc = zf_rundir_status(&loop->dir, loop->run, loop->out);
  if (!rc) rc = score_start(loop);
  loop->first_time = loop->last_time = zf_now();
  loop->start_score = loop->score_time;
  loop->first_step = loop->step;
  if (!rc) rc = steps(loop);
  if (!rc) rc = finish(loop);
  return rc == ZF_ESTOPPED ? interrupted(loop) : rc;
}

/* Leaves the cause of the end in run.json, and in the error slot. */
static int close_all(struct loop *loop, int rc) {
  char said[1024];
  snprintf(said, sizeof said, "%s", zf_error_message());
  int late = zf_log_close(loop->log);
  if (rc == ZF_EDIVERGED)
    loop->out->status = "diverged";
  else if (rc && rc != ZF_ESTOPPED)
    loop->out->status = "failed";
  else if (!rc && !strcmp(loop->out->status, "running"))
    loop->out->status = "finished";
  loop->out->seconds = zf_now() - loop->began;
  if (late && !rc) loop->out->status = "failed";
  int told = zf_rundir_status(&loop->dir, loop->run, loop->out);
  if (!late) late = told;
  zf_rundir_close(&loop->dir);
  zf_history_free(&loop->past);
  if (!rc) return late;
  return zf_error(rc, "%s", said);
}

/* A run that was killed before its first step has a run.json and no log: it begins again. */
static int check_resumable(const struct loop *loop) {
  const char *dir = loop->run->set.output_dir;
  if (zf_rundir_has_log(dir) || zf_rundir_begun(dir)) return 0;
  return zf_conf_error(
      loop->run->conf, "output_dir",
      "there is no run to resume in %s: name the run's directory, or leave --resume out "
      "to begin one",
      dir);
}

/* Opens the directory: a new run, one to go on with, or a branch. */
static int open_run(struct loop *loop, const struct zf_train_start *start) {
  int found = 0, rc = 0;
  if (loop->run->backprop && (start->resume || start->fork))
    return zf_error(
        ZF_EUSAGE,
        "method %s writes no step log, so that there is nothing to go on from: only mezo "
        "resumes and forks",
        zf_method_info(loop->run->set.method)->name);
  rc = zf_rundir_apart(loop->run);
  if (!rc && start->resume) rc = check_resumable(loop);
  loop->made = !zf_exists(loop->run->set.output_dir);
  if (!rc) rc = zf_rundir_lock(&loop->lock, loop->run->set.output_dir);
  if (!rc && start->fork) rc = zf_loop_fork(loop, start);
  if (!rc && (start->resume || start->fork)) rc = zf_loop_resume(loop, &found);
  if (rc || found) return rc;
  if (start->resume) zf_loop_say(loop, "the run has taken no step yet: it begins");
  return zf_rundir_open(&loop->dir, loop->run, loop->out,
                        start->resume || loop->run->set.overwrite);
}

int zf_train(struct zf_run *run, const struct zf_train_start *start,
             const struct zf_train_events *ev, struct zf_outcome *out) {
  struct loop loop = {
      .run = run, .events = ev, .out = out, .began = zf_now(), .lock = -1, .dir = {.metrics = -1}};
  *out = (struct zf_outcome){.status = "running", .best_step = -1};
  loop.best_metric =
      run->set.best >= 0 ? (enum zf_best)run->set.best : zf_best_of(&run->set.train[0].spec);
  zf_energy_init(&loop.energy);
  loop.team = run->set.threads ? 1 : zf_kern_nthreads();
  loop.eval_every = run->set.eval_steps ? run->set.eval_steps : (run->steps + 4) / 5;
  int rc = open_run(&loop, start);
  if (rc) {
    zf_log_close(loop.log);
    zf_rundir_close(&loop.dir);
    zf_history_free(&loop.past);
    zf_rundir_unlock(&loop.lock);
    if (loop.made) rmdir(run->set.output_dir); /* which fails when something is in it */
    return rc;
  }
  rc = close_all(&loop, run_all(&loop));
  zf_rundir_unlock(&loop.lock);
  return rc;
}
