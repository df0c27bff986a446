/* Dev and test scores between steps. */
#include "base/buf.h"
#include "base/cpu.h"
#include "train/loop_internal.h"

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

/* Seconds of this process' steps so far, scores left out. */
static double trained_for(const struct loop *l) {
  if (l->step == 0 || l->first_time == 0) return 0;
  return zf_now() - l->first_time - (l->score_time - l->start_score);
}

static int score(struct loop *l, const char *what, const struct zf_dataset *d,
                 struct zf_metrics *m) {
  double seconds = trained_for(l), before = zf_energy_read(&l->energy);
  double joules = before < 0 ? -1 : l->step ? before - l->other_joules : 0;
  int rc = zf_evaluate(m, l->run->scorer, d, 0, l->events->stopped, l->events->ctx);
  if (rc) return rc;
  double after = zf_energy_read(&l->energy);
  l->other_joules = l->step ? l->other_joules + after - before : after;
  struct zf_buf b = {0};
  zf_buf_printf(&b, "{\"step\": %lld, \"set\": \"%s\", \"seconds\": %.3f, ", (long long)l->step,
                what, seconds);
  if (joules >= 0) zf_buf_printf(&b, "\"joules\": %.3f, ", joules);
  zf_metrics_json(&b, m);
  zf_buf_puts(&b, "}");
  rc = zf_buf_ok(&b);
  if (!rc) rc = zf_rundir_metrics(&l->dir, b.data);
  zf_buf_free(&b);
  return rc;
}

static void report_eval(struct loop *l, const char *what, const struct zf_metrics *m, int best) {
  struct zf_eval_report e = {l->step, l->run->steps, what, *m, best};
  if (l->events->eval) l->events->eval(l->events->ctx, &e);
}

int64_t zf_loop_devs_left(const struct loop *l, int64_t from) {
  if (!l->run->data.dev || l->eval_every <= 0) return 0;
  return (l->run->steps + l->eval_every - 1) / l->eval_every - from / l->eval_every;
}

int zf_loop_take_dev(struct loop *l, const struct zf_metrics *m) {
  int best = !l->out->best.examples || better(l, m, &l->out->best);
  if (l->step == 0) l->out->start = *m;
  l->out->end = *m;
  l->stale = best ? 0 : l->stale + 1;
  if (!best) return 0;
  l->out->best = *m;
  l->out->best_step = l->step;
  return 1;
}

int zf_loop_dev(struct loop *l) {
  struct zf_metrics m;
  if (!l->run->data.dev) return 0;
  double start = zf_now();
  int rc = score(l, "dev", l->run->data.dev, &m);
  if (rc) return rc;
  l->score_time += zf_now() - start;
  l->last_time += zf_now() - start;
  l->scored++;
  int best = zf_loop_take_dev(l, &m);
  report_eval(l, "dev", &m, best);
  /* At step 0 the best weights are the base model's, which are on disk already. */
  if (!best || !l->run->set.load_best || l->step == 0) return 0;
  return zf_loop_keep_best(l, l->step);
}

int zf_loop_test(struct loop *l, struct zf_metrics *m) {
  if (!l->run->data.test) return 0;
  int rc = score(l, "test", l->run->data.test, m);
  if (!rc) report_eval(l, "test", m, 0);
  return rc;
}
