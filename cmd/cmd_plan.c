/* zoft plan: memory and time of a run before anything runs. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "bench_internal.h"
#include "report.h"
#include "train/step_bench.h"
#include "train/projection.h"
#include "ui.h"

static const char *fit, *output = "table";

static const struct zc_opt options[] = {
    {"fit", 0, ZC_STR, "BYTES", "what fits into so much memory, and what to choose (8G)", &fit},
    {"output", 'o', ZC_STR, "FORMAT", "table, md, csv, json or html", &output},
    {0},
};

static const struct way {
  const char *name;
  enum zf_method method;
  int checkpoint;
} ways[] = {
    {"inference", ZF_METHOD_INFERENCE, 0},
    {"mezo", ZF_METHOD_MEZO, 0},
    {"sgd", ZF_METHOD_SGD, 0},
    {"sgd_momentum", ZF_METHOD_MOMENTUM, 0},
    {"adamw", ZF_METHOD_ADAMW, 0},
    {"adamw_checkpoint", ZF_METHOD_ADAMW, 1},
};
enum { WAYS = sizeof ways / sizeof *ways };

static int write_out(struct zc_report *r) {
  struct zf_buf b = {0};
  zc_report_write(r, zc_common.json ? "json" : output, &b);
  zc_report_free(r);
  int rc = zf_buf_ok(&b);
  if (!rc) fputs(b.data, stdout);
  zf_buf_free(&b);
  return rc;
}

static double whole_run(const struct zf_calibration *c, const struct zf_run *r, double step) {
  double evals = 0;
  if (r->data.dev) /* before, between and at the end */
    evals = zf_projection_score(c, r, r->data.dev) *
            (r->set.eval_steps < 0 ? 1
             : r->set.eval_steps   ? (double)(r->steps / r->set.eval_steps + 1)
                                   : 6);
  if (r->data.test) evals += 2 * zf_projection_score(c, r, r->data.test);
  return step * (double)r->steps + evals;
}

static const struct zc_column columns[] = {
    {"method", "method", ZC_TEXT},
    {"forecast_bytes", "peak", ZC_BYTES},
    {"before_bytes", "program, data", ZC_BYTES},
    {"weights_bytes", "weights", ZC_BYTES},
    {"adapter_bytes", "adapters", ZC_BYTES},
    {"gradient_bytes", "gradients", ZC_BYTES},
    {"optimizer_bytes", "optimizer", ZC_BYTES},
    {"activation_bytes", "activations", ZC_BYTES},
    {"seconds", "s a step", ZC_NUMBER},
    {"run_seconds", "whole run", ZC_NUMBER},
};

static int forecast(struct zf_run *r) {
  struct zc_report rep = {.title = "Plan of a run", .column = columns};
  struct zf_calibration c;
  char what[256];
  rep.columns = sizeof columns / sizeof *columns;
  int rc = zf_calibrate(&c, r);
  for (int i = 0; !rc && i < WAYS; i++) {
    struct zf_forecast f;
    rc = zf_run_forecast(&f, r, ways[i].method, ways[i].checkpoint);
    struct zc_cell *x = rc ? NULL : zc_report_row(&rep);
    if (!x) break;
    double step = zf_projection_step(&c, r, ways[i].method, ways[i].checkpoint);
    const double v[] = {(double)f.total,     (double)f.before,    (double)f.weights,     0,
                        (double)f.gradients, (double)f.optimizer, (double)f.activations, step};
    snprintf(x[0].text, sizeof x[0].text, "%s", ways[i].name);
    for (int k = 0; k < 8; k++) x[1 + k].value = v[k];
    if (ways[i].method == ZF_METHOD_INFERENCE) continue;
    x[9].value = whole_run(&c, r, step);
    if (!strcmp(output, "table") || !strcmp(output, "md")) zc_duration(x[9].text, x[9].value);
  }
  snprintf(what, sizeof what,
           "%lld steps of %lld examples, %lld at once; products in %s at %.3g GFLOP/s, noise at "
           "%.3g values/ns, memory at %.3g GB/s, measured now on %d threads.",
           (long long)r->steps, (long long)r->batch, (long long)r->set.micro_batch,
           zf_compute_name(r->set.compute), c.product * 1e-9, c.noise * 1e-9, c.bytes * 1e-9,
           zf_kern_nthreads());
  rep.note[rep.notes++] = what;
  return rc ? rc : write_out(&rep);
}

/* --- what fits --- */

static const struct zc_column fit_columns[] = {
    {"method", "method", ZC_TEXT},
    {"dtype", "weights in", ZC_TEXT},
    {"forecast_bytes", "as configured", ZC_BYTES},
    {"fits", "fits", ZC_TEXT},
    {"largest_batch", "largest batch", ZC_COUNT},
    {"longest_sequence", "longest sequence", ZC_COUNT},
};

/* The first of the ways, in the order of what they give, that fits. */
struct choice {
  const char *method;
  enum zf_dtype dtype;
  int checkpoint;
  int64_t batch;
};

static int fit_row(struct zc_report *rep, struct zf_run *r, const struct way *w,
                   enum zf_dtype dtype, int64_t bytes, struct choice *best) {
  struct zf_forecast f;
  int64_t length = r->lim.length;
  int rc = zf_projection_shape(&f, r, w->method, w->checkpoint, r->set.micro_batch, length, dtype);
  struct zc_cell *x = rc ? NULL : zc_report_row(rep);
  if (!x) return rc ? rc : ZF_ENOMEM;
  int64_t batch = zf_projection_batch(r, w->method, w->checkpoint, length, dtype, bytes);
  snprintf(x[0].text, sizeof x[0].text, "%s", w->name);
  snprintf(x[1].text, sizeof x[1].text, "%s", zf_dtype_info(dtype)->name);
  x[2].value = (double)f.total;
  snprintf(x[3].text, sizeof x[3].text, "%s", f.total <= bytes ? "yes" : "no");
  x[4].value = (double)batch;
  x[5].value =
      (double)zf_projection_length(r, w->method, w->checkpoint, r->set.micro_batch, dtype, bytes);
  if (batch && !best->method)
    *best = (struct choice){zf_method_info(w->method)->name, dtype, w->checkpoint, batch};
  return 0;
}

static void recommend(char out[400], const struct choice *c, const struct zf_run *r,
                      const char *limit) {
  if (!c->method) {
    snprintf(out, 400,
             "Nothing fits %s: not even one sequence with weights in bf16. A shorter sequence_len, "
             "fewer trained tensors (trainable) or a smaller model would.",
             limit);
    return;
  }
  int64_t micro = r->set.micro_batch, half = r->batch;
  while (half > 1 && (half > c->batch || r->batch % half)) half--;
  if (micro > c->batch) micro = half;
  const char *why =
      !strcmp(c->method, "adamw")
          ? c->checkpoint ? "the gradient by backpropagation learns most a step, and fits with "
                            "layers run twice"
                          : "the gradient by backpropagation learns most a step, and fits"
      : c->dtype == ZF_F32
          ? "backpropagation does not fit, two forward passes do, and f32 loses no update"
          : "only halved weights fit; their updates are rounded by chance, which costs some "
            "accuracy";
  snprintf(out, 400,
           "Recommended for %s: method=%s%s dtype=%s micro_batch_size=%lld "
           "gradient_accumulation_steps=%lld, because %s.",
           limit, c->method, c->checkpoint ? " gradient_checkpointing=true" : "",
           c->dtype == ZF_F32 ? "auto" : zf_dtype_info(c->dtype)->name, (long long)micro,
           (long long)(r->batch / (micro ? micro : 1)), why);
}

static int fitting(struct zf_run *r, int64_t bytes) {
  static const int order[] = {4, 5, 1, 2, 3}; /* adamw first: see `recommend` */
  struct zc_report rep = {.title = "What fits", .column = fit_columns, .columns = 6};
  struct choice best = {0};
  char text[400], what[200], limit[32];
  int rc = 0;
  for (size_t i = 0; !rc && i < sizeof order / sizeof *order; i++) {
    const struct way *w = &ways[order[i]];
    rc = fit_row(&rep, r, w, ZF_F32, bytes, &best);
    if (!rc && w->method == ZF_METHOD_MEZO) rc = fit_row(&rep, r, w, ZF_BF16, bytes, &best);
  }
  snprintf(what, sizeof what,
           "Largest batch at sequences of %lld tokens (4096 at most), longest sequence at "
           "micro_batch_size %lld (the model's context of %lld at most).",
           (long long)r->lim.length, (long long)r->set.micro_batch,
           (long long)r->model->config.context);
  recommend(text, &best, r, zf_human_bytes(limit, (double)bytes));
  rep.note[rep.notes++] = what;
  rep.note[rep.notes++] = text;
  return rc ? rc : write_out(&rep);
}

/* "8G" as memory_limit would be read. */
static int bytes_of(int64_t *out, const char *text) {
  static const struct zf_conf_key key[] = {
      {"fit", ZF_CONF_BYTES, NULL, "memory", .min = 1, .max = 1e15}, {0}};
  const struct zf_conf_key *const tables[] = {key};
  struct zf_conf *c;
  char word[64];
  int rc = zf_conf_new(&c, tables, 1);
  snprintf(word, sizeof word, "fit=%s", text);
  if (!rc) rc = zf_conf_word(c, word);
  if (!rc) *out = zf_conf_bytes(c, "fit", 0);
  zf_conf_free(c);
  return rc;
}

static int run(const struct zc_args *a) {
  struct zf_conf *conf = NULL;
  struct zf_run *r = NULL;
  int64_t bytes = 0;
  if (a->nword == 0 && a->nset == 0)
    return zf_error(ZF_EUSAGE, "a config file or base_model=DIR is needed: zoft plan CONFIG");
  int rc = zc_report_check(output);
  if (!rc && !strcmp(output, "svg"))
    rc = zf_error(ZF_EUSAGE, "-o svg: a plan has no plot; 'zoft bench memory' does");
  if (!rc && fit) rc = bytes_of(&bytes, fit);
  if (!rc) rc = zc_conf_load(&conf, a, zf_bench_keys());
  if (!rc) rc = zf_bench_open_shapes(&r, conf);
  if (!rc) zc_say_model(r->model);
  if (!rc) rc = fit ? fitting(r, bytes) : forecast(r);
  zf_run_free(r);
  zf_conf_free(conf);
  return rc;
}

const struct zc_command zc_plan = {
    "plan",
    "memory and time of a run before it starts, and what fits",
    "zoft plan [config.yaml] [key=value ...] [options]",
    "Bytes by kind for zoft and for backpropagation on the same model and batch, seconds a step\n"
    "from a short calibration of this machine, and the time of the whole run. No weight is read.\n"
    "--fit BYTES shows the largest batch and sequence of each method within that memory and\n"
    "recommends one. memory_limit in a config refuses to start above the forecast.\n\n"
    "Examples:\n"
    "  zoft plan configs/sst2.yaml base_model=DIR\n"
    "  zoft plan base_model=DIR micro_batch_size=16 sequence_len=256 --fit 8G\n",
    options,
    run,
};
