/* Dev and test scores between steps. */
#include "base/buf.h"
#include "base/cpu.h"
#include "train/loop_internal.h"

static double metric_of(const struct train_loop *loop, const struct zf_metrics *metrics) {
  switch (loop->best_metric) {
    case ZF_BEST_OBJECTIVE:
      return -metrics->objective;
    case ZF_BEST_ACCURACY:
      return metrics->accuracy;
    case ZF_BEST_F1:
      return metrics->f1;
    default:
      return -metrics->loss;
  }
}

/* 1 where the metrics are better than the best ones: by the metric, then by the loss. */
static int is_better(const struct train_loop *loop, const struct zf_metrics *metrics,
                     const struct zf_metrics *best) {
  double x = metric_of(loop, metrics), y = metric_of(loop, best);
  return x > y || (x == y && metrics->loss < best->loss);
}

/* Seconds of this process' steps so far, without scoring. */
static double training_seconds(const struct train_loop *loop) {
  if (loop->step == 0 || loop->steps_time == 0) return 0;
  return zf_now() - loop->steps_time - (loop->scores.seconds - loop->scores.start_seconds);
}

/* Joules of this process' steps so far; -1: not measurable. */
static double training_joules(const struct train_loop *loop, double reading) {
  if (reading < 0) return -1;
  return loop->step ? reading - loop->other_joules : 0;
}

static int score(struct train_loop *loop, const char *what, const struct zf_dataset *dataset,
                 struct zf_metrics *metrics) {
  double seconds = training_seconds(loop), before = zf_energy_read(&loop->energy);
  double joules = training_joules(loop, before);
  int rc = zf_run_evaluate(metrics, loop->run, dataset, loop->events->stopped, loop->events->ctx);
  if (rc) return rc;
  double after = zf_energy_read(&loop->energy);
  loop->other_joules = loop->step ? loop->other_joules + after - before : after;
  struct zf_buf buf = {0};
  zf_buf_printf(&buf, "{\"step\": %lld, \"set\": \"%s\", \"seconds\": %.3f, ",
                (long long)loop->step, what, seconds);
  if (joules >= 0) zf_buf_printf(&buf, "\"joules\": %.3f, ", joules);
  zf_metrics_json(&buf, metrics);
  zf_buf_puts(&buf, "}");
  rc = zf_buf_ok(&buf);
  if (!rc) rc = zf_rundir_metrics(&loop->dir, buf.data);
  zf_buf_free(&buf);
  return rc;
}

static void report_eval(struct train_loop *loop, const char *what, const struct zf_metrics *metrics,
                        int best) {
  struct zf_eval_report report = {loop->step, loop->run->steps, what, *metrics, best};
  if (loop->events->eval) loop->events->eval(loop->events->ctx, &report);
}

int64_t zf_loop_devs_left(const struct train_loop *loop, int64_t from) {
  if (!loop->run->data.dev || loop->eval_every <= 0) return 0;
  return (loop->run->steps + loop->eval_every - 1) / loop->eval_every - from / loop->eval_every;
}

int zf_loop_add_dev(struct train_loop *loop, const struct zf_metrics *metrics) {
  int best = !loop->outcome->best.examples || is_better(loop, metrics, &loop->outcome->best);
  if (loop->step == 0) loop->outcome->start = *metrics;
  loop->outcome->end = *metrics;
  loop->scores_without_gain = best ? 0 : loop->scores_without_gain + 1;
  if (!best) return 0;
  loop->outcome->best = *metrics;
  loop->outcome->best_step = loop->step;
  return 1;
}

int zf_loop_dev(struct train_loop *loop) {
  struct zf_metrics metrics;
  if (!loop->run->data.dev) return 0;
  double start = zf_now();
  int rc = score(loop, "dev", loop->run->data.dev, &metrics);
  if (rc) return rc;
  loop->scores.seconds += zf_now() - start;
  loop->report_time += zf_now() - start;
  loop->scores.count++;
  int best = zf_loop_add_dev(loop, &metrics);
  report_eval(loop, "dev", &metrics, best);
  /* The weights of step 0 are the base model's, which are on disk already. */
  if (!best || !loop->run->settings.load_best || loop->step == 0) return 0;
  return zf_loop_keep_best(loop, loop->step);
}

int zf_loop_test(struct train_loop *loop, struct zf_metrics *metrics) {
  if (!loop->run->data.test) return 0;
  int rc = score(loop, "test", loop->run->data.test, metrics);
  if (!rc) report_eval(loop, "test", metrics, 0);
  return rc;
}
