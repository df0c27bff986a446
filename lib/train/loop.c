/* A step: draw the batch, run both sides of each probe in one forward pass, append to the log,
 * update.
 *
 * The record is written before a weight changes, so that the log is never behind the weights.
 * Scores, checkpoints and requests of the user come between steps. */
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
#include "model/gguf_result.h"
#include "train/backprop.h"
#include "train/measure.h"
#include "train/probe.h"

enum { TUNE_STEPS = 256, TRIES = 3 };

void zf_loop_say(const struct train_loop *loop, const char *text) {
  if (loop->events->message) loop->events->message(loop->events->ctx, text);
}

static int logs(const struct train_loop *loop) {
  return zf_method_info(loop->run->settings.method)->logs;
}

/* --- one step --- */

/* Tokens of the step, in all streams. */
static int64_t step_tokens(struct train_loop *loop) {
  if (loop->run->backprop) return zf_measure_tokens(loop->run, loop->step);
  int64_t tokens = loop->run->tokens;
  loop->run->tokens = 0;
  return tokens;
}

static int log_metrics(struct train_loop *loop, const struct zf_step_report *report) {
  char line[320];
  snprintf(line, sizeof line,
           "{\"step\": %lld, \"set\": \"train\", \"loss\": %.17g, \"g\": %.17g, \"lr\": %.17g, "
           "\"seconds\": %.3f, \"tokens_per_s\": %.1f, \"rss_bytes\": %lld}",
           (long long)report->step, report->loss, report->projected_gradient, report->lr,
           report->seconds, report->tokens_per_s, (long long)zf_rss());
  return zf_rundir_metrics(&loop->dir, line);
}

/* Estimated seconds of the remaining steps and dev scores. */
static double remaining_seconds(const struct train_loop *loop, double now) {
  double training = now - loop->steps_time - (loop->scores.seconds - loop->scores.start_seconds);
  double remaining =
      training / (double)(loop->step - loop->first_step) * (double)(loop->run->steps - loop->step);
  if (loop->scores.count)
    remaining += loop->scores.seconds / (double)loop->scores.count *
                 (double)zf_loop_devs_left(loop, loop->step);
  return remaining;
}

static int report_step(struct train_loop *loop, double loss, double projected_gradient, double lr) {
  double now = zf_now();
  struct zf_step_report report = {.step = loop->step,
                                  .steps = loop->run->steps,
                                  .loss = loss,
                                  .projected_gradient = projected_gradient,
                                  .lr = lr,
                                  .seconds = now - loop->start_time,
                                  .remaining_seconds = remaining_seconds(loop, now)};
  if (now > loop->report_time)
    report.tokens_per_s =
        (double)(loop->tokens - loop->reported_tokens) / (now - loop->report_time);
  int rc = 0;
  if (loop->step % loop->run->settings.logging_steps == 0 || loop->step == loop->run->steps ||
      loop->step == 1) {
    rc = log_metrics(loop, &report);
    loop->report_time = now;
    loop->reported_tokens = loop->tokens;
  }
  if (loop->events->step) loop->events->step(loop->events->ctx, &report);
  return rc;
}

/* Enters a step's loss; says where the rate is halved. */
static void control_rate(struct train_loop *loop, double loss) {
  char text[160];
  if (!loop->run->settings.auto_lr || !zf_rate_control_add(&loop->control, loss)) return;
  snprintf(text, sizeof text, "step %lld: the loss has risen: learning rate %.3g from here on",
           (long long)loop->step, loop->run->settings.lr * zf_rate_control_factor(&loop->control));
  zf_loop_say(loop, text);
}

/* Takes a step that the log has already. */
static int logged_step(struct train_loop *loop) {
  struct zf_zo_estimate estimate = zf_history_estimate(&loop->history, loop->step);
  double loss, square;
  zf_zo_summary(&loop->history.head.zo, &estimate, &loss, &square);
  int rc = zf_loop_watch(loop, loss, square);
  if (rc) return rc;
  rc = zf_replay_steps(loop->run->model, &loop->history, loop->step - 1, loop->step, NULL);
  if (rc) return rc;
  control_rate(loop, loss);
  zf_loop_advise(loop, loss, square, loop->history.step[loop->step - 1].lr);
  return report_step(loop, loss, sqrt(square), loop->history.step[loop->step - 1].lr);
}

static int backprop_step(struct train_loop *loop) {
  double loss, norm, lr = zf_lr_at(&loop->run->settings, loop->step, loop->run->steps);
  int rc = zf_backprop_gradient(loop->run, loop->step, &loss, &norm);
  if (rc) return rc;
  loop->tokens += step_tokens(loop);
  if ((rc = zf_loop_watch(loop, loss, norm))) return rc;
  zf_backprop_update(loop->run, loop->step, lr);
  return report_step(loop, loss, norm, lr);
}

static int one_step(struct train_loop *loop) {
  if (loop->run->backprop) return backprop_step(loop);
  const struct zf_settings *settings = &loop->run->settings;
  if (loop->step <= loop->history.count) return logged_step(loop);
  double loss, square, lr = zf_lr_at(settings, loop->step, loop->run->steps);
  if (settings->auto_lr) lr *= zf_rate_control_factor(&loop->control);
  int rc = zf_run_estimate(loop->run, loop->step, lr);
  if (rc) return rc;
  zf_zo_summary(&settings->zo, &loop->run->estimate, &loss, &square);
  loop->tokens += step_tokens(loop);
  if ((rc = zf_loop_watch(loop, loss, square))) return rc;
  struct zf_log_rec rec = {.step = (uint32_t)loop->step,
                           .seed = settings->zo.seed,
                           .lr = lr,
                           .batch = (uint64_t)((loop->step - 1) * loop->run->batch)};
  if ((rc = zf_log_append(loop->log, &rec, &loop->run->estimate))) return rc;
  if ((rc = zf_log_sync_maybe(loop->log))) return rc;
  zf_run_update(loop->run, loop->step, lr);
  control_rate(loop, loss);
  zf_loop_advise(loop, loss, square, lr);
  return report_step(loop, loss, sqrt(square), lr);
}

/* threads: auto.  On a machine with other work, several threads that wait for each other can be
 * slower than one.  Results have the same bits for any number.  In every TUNE_STEPS steps, TRIES are
 * taken with all threads and TRIES with one; the faster choice is used for the others. */
static int timed_step(struct train_loop *loop) {
  int64_t number = (loop->step - 1) % TUNE_STEPS;
  if (loop->tuner.threads < 2 || number > 2 * TRIES) return one_step(loop);
  int single = number > TRIES;
  if (number == 0) loop->tuner.fastest[0] = loop->tuner.fastest[1] = INFINITY;
  zf_kern_threads(single ? 1 : loop->tuner.threads);
  double start = zf_now();
  int rc = one_step(loop);
  double seconds = zf_now() - start;
  /* Step 0 warms up. */
  if (number > 0 && seconds < loop->tuner.fastest[single]) loop->tuner.fastest[single] = seconds;
  if (number == 2 * TRIES)
    zf_kern_threads(loop->tuner.fastest[1] < loop->tuner.fastest[0] ? 1 : loop->tuner.threads);
  return rc;
}

/* --- between steps --- */

/* The provenance of the current weights. */
static int provenance_of(struct train_loop *loop, struct zf_provenance *provenance) {
  *provenance = (struct zf_provenance){.log = loop->log_id, .step = loop->step};
  return zf_model_hash(loop->run->model, provenance->hash);
}

int zf_loop_keep_best(struct train_loop *loop, int64_t step) {
  struct zf_provenance provenance;
  int rc = provenance_of(loop, &provenance);
  provenance.step = step;
  return rc ? rc : zf_rundir_checkpoint(&loop->dir, loop->run, "best", &provenance);
}

/* Appends the hash of the weights to the log.  This happens at keyframes and at the end, so that the
 * log does not depend on whether a run was interrupted. */
static int append_mark(struct train_loop *loop, const struct zf_provenance *provenance,
                       uint64_t result) {
  struct zf_log_rec rec = {.kind = ZF_LOG_MARK, .step = (uint32_t)loop->step, .result = result};
  memcpy(rec.hash, provenance->hash, sizeof rec.hash);
  int rc = zf_log_append(loop->log, &rec, NULL);
  return rc ? rc : zf_log_sync(loop->log);
}

static int keyframe(struct train_loop *loop) {
  struct zf_provenance provenance;
  int rc;
  if (loop->step < loop->history.count)
    return 0; /* the log has its mark; a later step writes the next keyframe */
  if ((rc = provenance_of(loop, &provenance))) return rc;
  if ((rc = append_mark(loop, &provenance, 0))) return rc;
  if ((rc = zf_rundir_keyframe(&loop->dir, loop->run, &provenance))) return rc;
  return zf_rundir_prune(&loop->dir, loop->run->settings.save_total_limit);
}

static int checkpoint(struct train_loop *loop) {
  char name[64];
  struct zf_provenance provenance;
  int rc;
  loop->outcome->step = loop->step;
  snprintf(name, sizeof name, "step-%lld", (long long)loop->step);
  if (loop->log && (rc = zf_log_sync(loop->log))) return rc;
  if ((rc = provenance_of(loop, &provenance))) return rc;
  if ((rc = zf_rundir_checkpoint(&loop->dir, loop->run, name, &provenance))) return rc;
  if ((rc = zf_rundir_prune(&loop->dir, loop->run->settings.save_total_limit))) return rc;
  return zf_rundir_status(&loop->dir, loop->run, loop->outcome);
}

/* A signal arrived, between steps or while scoring. */
static int interrupted(struct train_loop *loop) {
  loop->outcome->status = "interrupted";
  if (loop->run->settings.method == ZF_METHOD_PROBE)
    return zf_error(ZF_ESTOPPED, "interrupted: a probe has no checkpoint, and begins anew");
  int rc = checkpoint(loop);
  if (rc) return rc;
  return zf_error(ZF_ESTOPPED,
                  "interrupted after step %lld; checkpoint in %s/checkpoints/step-%lld%s",
                  (long long)loop->step, loop->dir.path, (long long)loop->step,
                  loop->run->backprop ? "" : "; --resume continues the run");
}

/* Signals, and files that a user creates to request something.  *end: leave the loop. */
static int requests(struct train_loop *loop, int *end) {
  if (loop->events->stopped && loop->events->stopped(loop->events->ctx))
    return zf_error(ZF_ESTOPPED, "interrupted between steps");
  if (zf_rundir_requested(&loop->dir, "save")) {
    int rc = checkpoint(loop);
    if (rc) return rc;
    zf_loop_say(loop, "checkpoint written, as requested by the file 'save'");
  }
  if (loop->step >= loop->history.count && zf_rundir_requested(&loop->dir, "stop")) {
    zf_loop_say(loop, "stopping, as requested by the file 'stop'");
    loop->outcome->status = "stopped early";
    *end = 1;
  }
  return 0;
}

/* Enforces memory_limit during the run, in case the forecast was too low. */
static int check_memory(const struct train_loop *loop) {
  char have[32], limit[32];
  int64_t max = loop->run->settings.memory_limit, peak = max ? zf_peak_rss() : 0;
  if (peak <= max) return 0;
  return zf_error(ZF_EMEMLIMIT, "step %lld: %s are resident, and memory_limit is %s",
                  (long long)loop->step, zf_human_bytes(have, (double)peak),
                  zf_human_bytes(limit, (double)max));
}

static int is_due(const struct train_loop *loop, int64_t every) {
  return every > 0 && loop->step % every == 0;
}

/* Early stopping: *end is set after too many dev scores without a gain. */
static void check_patience(struct train_loop *loop, int *end) {
  int64_t patience = loop->run->settings.patience;
  char text[96];
  if (!patience || loop->scores_without_gain < patience || loop->step == loop->run->steps ||
      loop->step < loop->history.count)
    return;
  snprintf(text, sizeof text, "no gain on the dev set in %lld scores: stopping early",
           (long long)loop->scores_without_gain);
  zf_loop_say(loop, text);
  loop->outcome->status = "stopped early";
  *end = 1;
}

static int between_steps(struct train_loop *loop, int *end) {
  const struct zf_settings *settings = &loop->run->settings;
  int rc, last = loop->step == loop->run->steps;
  int score = loop->eval_every > 0 && (last || is_due(loop, loop->eval_every));
  if (score && !loop->dev_known && (rc = zf_loop_dev(loop))) return rc;
  loop->dev_known = 0;
  if (loop->log && is_due(loop, settings->keyframe_steps) && (rc = keyframe(loop))) return rc;
  if (is_due(loop, settings->save_steps) && (rc = checkpoint(loop))) return rc;
  check_patience(loop, end);
  if ((rc = check_memory(loop))) return rc;
  return requests(loop, end);
}

/* Writes what a probe found to metrics.jsonl. */
static int log_probe(struct train_loop *loop) {
  struct zf_buf buf = {0};
  zf_buf_printf(&buf, "{\"step\": %lld, \"set\": \"leave-one-out\", ", (long long)loop->step);
  zf_rundir_probe_json(&buf, &loop->outcome->probe);
  zf_buf_puts(&buf, "}");
  int rc = zf_buf_ok(&buf);
  if (!rc) rc = zf_rundir_metrics(&loop->dir, buf.data);
  zf_buf_free(&buf);
  return rc;
}

/* All of a probe's run between the scores. */
static int take_probe(struct train_loop *loop) {
  char text[320] = "probe      ";
  size_t label = strlen(text);
  struct zf_probe_report *report = &loop->outcome->probe;
  int rc = zf_probe_fit_while(loop->run, report, loop->events->stopped, loop->events->ctx);
  if (rc) return rc;
  loop->step = loop->outcome->step = loop->run->steps;
  zf_probe_describe(report, text + label, sizeof text - label);
  zf_loop_say(loop, text);
  if (report->tied)
    zf_loop_say(
        loop, "           the head shares its rows with the input embedding: those of the options "
              "changed there too");
  if ((rc = log_probe(loop)) || (rc = check_memory(loop))) return rc;
  return loop->eval_every > 0 ? zf_loop_dev(loop) : 0;
}

static int take_steps(struct train_loop *loop) {
  int end = 0, rc = loop->step ? between_steps(loop, &end) : requests(loop, &end);
  if (rc) return rc;
  while (!end && loop->step < loop->run->steps) {
    loop->step++;
    rc = timed_step(loop);
    if (rc == ZF_ESTOPPED) loop->step--; /* in the middle of a step, which has changed nothing */
    loop->outcome->step = rc && rc != ZF_ESTOPPED ? loop->step - 1 : loop->step;
    if (rc) return rc;
    if ((rc = between_steps(loop, &end))) return rc;
  }
  return 0;
}

/* --- start and end --- */

/* Identity of the run: hash of the settings that a resumed run keeps, and of the examples a step. */
static int hash_config(const struct train_loop *loop, char out[33]) {
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

static int join_globs(const struct train_loop *loop, char out[ZF_LOG_GLOBS]) {
  const struct zf_settings *settings = &loop->run->settings;
  size_t total = 0;
  out[0] = 0;
  for (int64_t i = 0; i < settings->ntrainable; i++) {
    size_t len = strlen(settings->trainable[i]);
    if (strchr(settings->trainable[i], '\n') || total + len + 2 > ZF_LOG_GLOBS)
      return zf_conf_error(loop->run->conf, "trainable",
                           "'trainable' does not fit the step log: expected at most %d bytes of "
                           "globs, without line breaks",
                           ZF_LOG_GLOBS - 1);
    if (i) out[total++] = '\n';
    memcpy(out + total, settings->trainable[i], len + 1);
    total += len;
  }
  return 0;
}

int zf_loop_head(const struct train_loop *loop, struct zf_log_head *head) {
  const struct zf_settings *settings = &loop->run->settings;
  *head = (struct zf_log_head){.zo = settings->zo,
                               .decay = settings->weight_decay,
                               .trained = settings->trained_dtype,
                               .others = settings->dtype,
                               .blocks = zf_gguf_is_trained(loop->run->model) ? settings->blocks
                                                                              : ZF_BLOCKS_FROZEN};
  /* A new head, or a head for another problem than config.json says. */
  if (loop->run->model->nnew || loop->run->model->config.problem) {
    head->labels = loop->run->model->config.outputs;
    head->problem = (int)loop->run->model->config.problem;
    head->head_seed = loop->run->model->head_seed;
  }
  snprintf(head->kernels, sizeof head->kernels, "%s", zf_compute_name(settings->compute));
  memcpy(head->base, loop->run->base_hash, sizeof head->base);
  if (loop->run->adapter) {
    memcpy(head->adapter, loop->run->start_hash, sizeof head->adapter);
    head->adapter_train = (int)settings->adapter.train;
  }
  memcpy(head->data, loop->run->data.hash, sizeof head->data);
  memcpy(head->tok, loop->run->files_hash, sizeof head->tok);
  int rc = hash_config(loop, head->config);
  return rc || loop->run->adapter ? rc : join_globs(loop, head->globs);
}

static int create_log(struct train_loop *loop) {
  struct zf_log_head head;
  char *path = zf_rundir_path(&loop->dir, "steps.log");
  int rc = path ? zf_loop_head(loop, &head) : ZF_ENOMEM;
  if (!rc) rc = zf_log_create(&loop->log, path, &head);
  loop->log_id = zf_log_head_id(&head);
  free(path);
  return rc;
}

/* The result has the weights of the best dev score; step 0 stands for the base model. */
static int64_t result_step(const struct train_loop *loop) {
  return loop->run->settings.load_best && loop->outcome->best_step >= 0 ? loop->outcome->best_step
                                                                        : loop->step;
}

/* Fails where the file was overwritten while it was mapped. */
static int reset_to_base(struct train_loop *loop) {
  char now[33];
  zf_model_reset(loop->run->model);
  int rc = zf_model_hash(loop->run->model, now);
  if (rc || !strcmp(now, loop->run->start_hash)) return rc;
  return zf_error(ZF_EINVALID,
                  "%s: the weights have changed during the run: hash %s, at the start %s",
                  loop->run->model->dir, now, loop->run->start_hash);
}

/* Loads the weights of the result. */
static int load_best(struct train_loop *loop) {
  if (result_step(loop) == loop->step) return 0;
  if (loop->outcome->best_step == 0) {
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

static int finish(struct train_loop *loop) {
  struct zf_provenance provenance;
  int rc;
  if ((rc = provenance_of(loop, &provenance))) return rc;
  if (loop->log && (rc = append_mark(loop, &provenance, 1 + (uint64_t)result_step(loop))))
    return rc;
  zf_params_free_state(&loop->run->model->params); /* the result is weights alone */
  if ((rc = load_best(loop))) return rc;
  if ((rc = zf_loop_test(loop, &loop->outcome->test_end))) return rc;
  return zf_run_save(loop->run, loop->dir.path, loop->run->settings.save_dtype, NULL, 0);
}

/* Scores the base model where metrics.jsonl has no scores of it. */
static int score_start(struct train_loop *loop) {
  int rc = 0;
  if (loop->step || !loop->run->settings.eval_on_start) return 0;
  if (loop->eval_every >= 0 && !loop->dev_known) rc = zf_loop_dev(loop);
  if (!rc && !loop->test_known) rc = zf_loop_test(loop, &loop->outcome->test_start);
  loop->dev_known = 0;
  return rc;
}

/* The rate with which a logged run began: times the schedule's factor of step 1 it is that step's. */
static double logged_rate(const struct train_loop *loop) {
  struct zf_settings unit = loop->run->settings;
  double first = loop->history.step[0].lr;
  unit.lr = 1;
  double factor = zf_lr_at(&unit, 1, loop->run->steps), rate = first / factor;
  if (rate * factor < first) rate = nextafter(rate, INFINITY);
  if (rate * factor > first) rate = nextafter(rate, 0);
  return rate;
}

/* The rate of `learning_rate: auto`: that of the log, or a test on the weights with which the run begins. */
static int find_rate(struct train_loop *loop) {
  struct zf_auto_rate rate;
  char text[240];
  if (!loop->run->settings.auto_lr || !logs(loop)) return 0;
  if (loop->history.count) {
    loop->run->settings.lr = logged_rate(loop);
    return 0;
  }
  int rc = zf_auto_rate(&rate, loop->run);
  if (rc) return rc;
  loop->run->settings.lr = rate.rate;
  loop->run->tokens = 0; /* the first step's speed is its own */
  snprintf(
      text, sizeof text,
      "learning rate %.3g, from %lld forward passes: losses change by %.2g at a distance of %.2g, "
      "and %lld steps walk 0.7 of it (noise %.3g a step)",
      rate.rate, (long long)rate.passes, rate.change, rate.reach, (long long)loop->run->steps,
      rate.noise);
  zf_loop_say(loop, text);
  return 0;
}

static int run_loop(struct train_loop *loop) {
  int rc;
  /* A log holds projected gradients. */
  if (!loop->log && logs(loop) && (rc = create_log(loop))) return rc;
  if ((rc = zf_rundir_status(&loop->dir, loop->run, loop->outcome))) return rc;
  if ((rc = score_start(loop))) return rc;
  if ((rc = find_rate(loop))) return rc;
  loop->steps_time = loop->report_time = zf_now();
  loop->scores.start_seconds = loop->scores.seconds;
  loop->first_step = loop->step;
  int probe = loop->run->settings.method == ZF_METHOD_PROBE;
  if ((rc = probe ? take_probe(loop) : take_steps(loop))) return rc;
  return finish(loop);
}

static const char *final_status(const char *status, int rc) {
  if (rc == ZF_EDIVERGED) return "diverged";
  if (rc == ZF_ESTOPPED) return status;
  if (rc) return "failed";
  return strcmp(status, "running") ? status : "finished";
}

/* Writes the outcome `rc` to run.json and closes the run.  Returns rc, with its message, or the first
 * failure of closing. */
static int close_run(struct train_loop *loop, int rc) {
  char message[1024];
  snprintf(message, sizeof message, "%s", zf_error_message());
  int close_rc = zf_log_close(loop->log);
  loop->outcome->status = final_status(loop->outcome->status, rc ? rc : close_rc);
  loop->outcome->seconds = zf_now() - loop->start_time;
  int status_rc = zf_rundir_status(&loop->dir, loop->run, loop->outcome);
  if (!close_rc) close_rc = status_rc;
  zf_rundir_close(&loop->dir);
  zf_history_free(&loop->history);
  if (!rc) return close_rc;
  return zf_error(rc, "%s", message);
}

/* A run that was killed before its first step has a run.json and no log: it starts again. */
static int check_resumable(const struct train_loop *loop) {
  const char *dir = loop->run->settings.output_dir;
  if (zf_rundir_has_log(dir) || zf_rundir_begun(dir)) return 0;
  return zf_conf_error(
      loop->run->conf, "output_dir",
      "there is no run to resume in %s: name the run's directory, or leave --resume out "
      "to begin one",
      dir);
}

/* Opens the directory of a new run, a resumed run, or a branch. */
static int open_run(struct train_loop *loop, const struct zf_train_start *start) {
  int found = 0, rc;
  if (!logs(loop) && (start->resume || start->fork))
    return zf_error(
        ZF_EUSAGE,
        "method %s writes no step log from which a run could be resumed or forked: only mezo does",
        zf_method_info(loop->run->settings.method)->name);
  if ((rc = zf_rundir_check_base(loop->run))) return rc;
  if (start->resume && (rc = check_resumable(loop))) return rc;
  loop->created_dir = !zf_exists(loop->run->settings.output_dir);
  if ((rc = zf_rundir_lock(&loop->lock, loop->run->settings.output_dir))) return rc;
  if (start->fork && (rc = zf_loop_fork(loop, start))) return rc;
  if (start->resume || start->fork) {
    rc = zf_loop_resume(loop, &found);
    if (rc || found) return rc;
  }
  if (start->resume) zf_loop_say(loop, "the run has taken no step yet: it starts");
  return zf_rundir_open(&loop->dir, loop->run, loop->outcome,
                        start->resume || loop->run->settings.overwrite);
}

int zf_train(struct zf_run *run, const struct zf_train_start *start,
             const struct zf_train_events *events, struct zf_outcome *outcome) {
  struct train_loop loop = {.run = run,
                            .events = events,
                            .outcome = outcome,
                            .start_time = zf_now(),
                            .lock = -1,
                            .dir = {.metrics = -1}};
  *outcome = (struct zf_outcome){.status = "running", .best_step = -1};
  loop.best_metric = run->settings.best >= 0 ? (enum zf_best)run->settings.best
                                             : zf_best_of(&run->settings.train[0].spec);
  zf_energy_init(&loop.energy);
  loop.tuner.threads = run->settings.threads ? 1 : zf_kern_nthreads();
  loop.eval_every = run->settings.eval_steps ? run->settings.eval_steps : (run->steps + 4) / 5;
  zf_run_watch(run, events->stopped, events->ctx);
  int rc = zf_run_refer(run);
  if (!rc) rc = open_run(&loop, start);
  if (rc) {
    zf_log_close(loop.log);
    zf_rundir_close(&loop.dir);
    zf_history_free(&loop.history);
    zf_rundir_unlock(&loop.lock);
    if (loop.created_dir) rmdir(run->settings.output_dir); /* fails where it is not empty */
    return rc;
  }
  rc = run_loop(&loop);
  if (rc == ZF_ESTOPPED) rc = interrupted(&loop);
  rc = close_run(&loop, rc);
  zf_rundir_unlock(&loop.lock);
  return rc;
}
