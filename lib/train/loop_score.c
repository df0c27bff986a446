/* Dev and test scores between steps. */
#include "base/buf.h"
#include "base/cpu.h"
#include "train/loop_internal.h"

static double metric_of(const struct loop *loop, const struct zf_metrics *metrics) {
  switch (loop->best_metric) {
    case ZF_BEST_ACCURACY:
      return metrics->accuracy;
    case ZF_BEST_F1:
      return metrics->f1;
    default:
      return -metrics->loss;
  }
}

/* Better by the metric; of equal ones the lower loss. */
static int better(const struct loop *loop, const struct zf_metrics *metrics,
                  const struct zf_metrics *b) {
  double x = metric_of(loop, metrics), y = metric_of(loop, b);
  return x > y || (x == y && metrics->loss < b->loss);
}

/* Seconds of this process' steps so far, scores left out. */
static double trained_for(const struct loop *loop) {
  if (loop->step == 0 || loop->first_time == 0) return 0;
  return zf_now() - loop->first_time - (loop->score_time - loop->start_score);
}

static int score(struct loop *loop, const char *what, const struct zf_dataset *dataset,
                 struct zf_metrics *metrics) {
  double seconds = trained_for(loop), before = zf_energy_read(&loop->energy);
  double joules = before < 0 ? -1 : loop->step ? before - loop->other_joules : 0;
  int rc =
      zf_evaluate(metrics, loop->run->scorer, dataset, 0, loop->events->stopped, loop->events->ctx);
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

static void report_eval(struct loop *loop, const char *what, const struct zf_metrics *metrics,
                        int best) {
  struct zf_eval_report report = {loop->step, loop->run->steps, what, *metrics, best};
  if (loop->events->eval) loop->events->eval(loop->events->ctx, &report);
}

int64_t zf_loop_devs_left(const struct loop *loop, int64_t from) {
  if (!loop->run->data.dev || loop->eval_every <= 0) return 0;
  return (loop->run->steps + loop->eval_every - 1) / loop->eval_every - from / loop->eval_every;
}

int zf_loop_take_dev(struct loop *loop, const struct zf_metrics *metrics) {
  int best = !loop->out->best.examples || better(loop, metrics, &loop->out->best);
  if (loop->step == 0) loop->out->start = *metrics;
  loop->out->end = *metrics;
  loop->stale = best ? 0 : loop->stale + 1;
  if (!best) return 0;
  loop->out->best = *metrics;
  loop->out->best_step = loop->step;
  return 1;
}

int zf_loop_dev(struct loop *loop) {
  struct zf_metrics metrics;
  if (!loop->run->data.dev) return 0;
  double start = zf_now();
  int rc = score(loop, "dev", loop->run->data.dev, &metrics);
  if (rc) return rc;
  loop->score_time += zf_now() - start;
  loop->last_time += zf_now() - start;
  loop->scored++;
  int best = zf_loop_take_dev(loop, &metrics);
  report_eval(loop, "dev", &metrics, best);
  /* At step 0 the best weights are the base model's, which are on disk already. */
  if (!best || !loop->run->set.load_best || loop->step == 0) return 0;
  return zf_loop_keep_best(loop, loop->step);
}

int zf_loop_test(struct loop *loop, struct zf_metrics *metrics) {
  if (!loop->run->data.test) return 0;
  int rc = score(loop, "test", loop->run->data.test, metrics);
  if (!rc) report_eval(loop, "test", metrics, 0);
  return rc;
}
