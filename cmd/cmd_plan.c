/* zoft plan: forecasts memory and time of a run before it starts. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "bench_internal.h"
#include "export_job.h"
#include "model/gguf_result.h"
#include "report.h"
#include "train/probe.h"
#include "train/step_bench.h"
#include "train/projection.h"
#include "ui.h"

static const char *fit, *output = "table";

static const struct zc_opt options[] = {
    {"fit", 0, ZC_STR, "BYTES", "show what fits into this much memory, and what to choose (8G)",
     &fit},
    {"output", 'o', ZC_STR, "FORMAT", "table, md, csv, json or html", &output},
    {0},
};

static const struct plan_method {
  const char *name;
  enum zf_method method;
  int checkpoint;
} methods[] = {
    {"inference", ZF_METHOD_INFERENCE, 0},
    {"mezo", ZF_METHOD_MEZO, 0},
    {"sgd", ZF_METHOD_SGD, 0},
    {"sgd_momentum", ZF_METHOD_MOMENTUM, 0},
    {"adamw", ZF_METHOD_ADAMW, 0},
    {"adamw_checkpoint", ZF_METHOD_ADAMW, 1},
    {"probe", ZF_METHOD_PROBE, 0}, /* where the data suit it */
};
enum { METHODS = sizeof methods / sizeof *methods };

static int write_out(struct zc_report *report) {
  struct zf_buf buf = {0};
  zc_report_write(report, zc_common.json ? "json" : output, &buf);
  zc_report_free(report);
  int rc = zf_buf_ok(&buf);
  if (!rc) fputs(buf.data, stdout);
  zf_buf_free(&buf);
  return rc;
}

/* How often a run scores its dev set: before, between and at the end. */
static double dev_scores(const struct zf_run *run, enum zf_method method) {
  if (method == ZF_METHOD_PROBE) return run->settings.eval_steps < 0 ? 1 : 2;
  if (run->settings.eval_steps < 0) return 1;
  if (run->settings.eval_steps == 0) return 6;
  return (double)(run->steps / run->settings.eval_steps + 1);
}

static double whole_run(const struct zf_calibration *calibration, const struct zf_run *run,
                        enum zf_method method, double step) {
  double evals = 0;
  if (run->data.dev)
    evals = zf_projection_score(calibration, run, run->data.dev) * dev_scores(run, method);
  if (run->data.test) evals += 2 * zf_projection_score(calibration, run, run->data.test);
  return step * (double)zf_run_steps(run, method) + evals;
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

static int forecast_row(struct zc_report *report, struct zf_run *run,
                        const struct zf_calibration *calibration,
                        const struct plan_method *method) {
  struct zf_forecast forecast;
  int rc = zf_run_forecast(&forecast, run, method->method, method->checkpoint);
  struct zc_cell *cell = rc ? NULL : zc_report_row(report);
  if (!cell) return rc ? rc : zf_error(ZF_ENOMEM, "out of memory for a report");
  double step = zf_projection_step(calibration, run, method->method, method->checkpoint);
  const double values[] = {(double)forecast.total,
                           (double)forecast.resident_before,
                           (double)(forecast.weights - forecast.adapters),
                           (double)forecast.adapters,
                           (double)forecast.gradients,
                           (double)forecast.optimizer,
                           (double)forecast.activations,
                           step};
  snprintf(cell[0].text, sizeof cell[0].text, "%s", method->name);
  for (int i = 0; i < 8; i++) cell[1 + i].value = values[i];
  if (method->method == ZF_METHOD_INFERENCE) return 0;
  cell[9].value = whole_run(calibration, run, method->method, step);
  if (!strcmp(output, "table") || !strcmp(output, "md")) zc_duration(cell[9].text, cell[9].value);
  return 0;
}

static int is_suited(const struct zf_run *run, enum zf_method method) {
  if (zf_method_info(method)->rule >= 0) return !zf_gguf_is_trained(run->model);
  return method != ZF_METHOD_PROBE || !zf_probe_check(run);
}

static int plan_forecast(struct zf_run *run) {
  struct zc_report report = {.title = "Plan of a run", .column = columns};
  struct zf_calibration calibration;
  char note[256];
  report.columns = sizeof columns / sizeof *columns;
  int rc = zf_calibrate(&calibration, run);
  for (int i = 0; i < METHODS; i++)
    if (!rc && is_suited(run, methods[i].method))
      rc = forecast_row(&report, run, &calibration, &methods[i]);
  if (rc) {
    zc_report_free(&report);
    return rc;
  }
  snprintf(note, sizeof note,
           "%lld steps of %lld examples, %lld at once; products in %s at %.3g GFLOP/s, noise at "
           "%.3g values/ns, memory at %.3g GB/s, measured now on %d threads.",
           (long long)run->steps, (long long)run->batch, (long long)run->settings.micro_batch,
           zf_compute_name(run->settings.compute), calibration.product * 1e-9,
           calibration.noise * 1e-9, calibration.bytes * 1e-9, zf_kern_nthreads());
  report.note[report.notes++] = note;
  const struct zf_objective_kind *kind = run->settings.objective.kind;
  if (kind && (kind->needs & ZF_NEEDS_TEXT))
    report.note[report.notes++] = "The time of generating texts for the objective is not counted.";
  return write_out(&report);
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

/* The best method that fits. */
struct plan_choice {
  const char *method;
  enum zf_dtype dtype;
  int checkpoint;
  int64_t batch;
};

static int fit_row(struct zc_report *report, struct zf_run *run, const struct plan_method *method,
                   enum zf_dtype dtype, int64_t bytes, struct plan_choice *best) {
  struct zf_forecast forecast;
  int64_t length = run->limits.length;
  int rc = zf_projection_shape(&forecast, run, method->method, method->checkpoint,
                               run->settings.micro_batch, length, dtype);
  struct zc_cell *cell = rc ? NULL : zc_report_row(report);
  if (!cell) return rc ? rc : zf_error(ZF_ENOMEM, "out of memory for a report");
  int64_t batch =
      zf_projection_batch(run, method->method, method->checkpoint, length, dtype, bytes);
  snprintf(cell[0].text, sizeof cell[0].text, "%s", method->name);
  snprintf(cell[1].text, sizeof cell[1].text, "%s", zf_dtype_info(dtype)->name);
  cell[2].value = (double)forecast.total;
  snprintf(cell[3].text, sizeof cell[3].text, "%s", forecast.total <= bytes ? "yes" : "no");
  cell[4].value = (double)batch;
  cell[5].value = (double)zf_projection_length(run, method->method, method->checkpoint,
                                               run->settings.micro_batch, dtype, bytes);
  if (batch && !best->method)
    *best = (struct plan_choice){zf_method_info(method->method)->name, dtype, method->checkpoint,
                                 batch};
  return 0;
}

static const char *reason(const struct plan_choice *choice) {
  if (!strcmp(choice->method, "adamw"))
    return choice->checkpoint ? "the gradient by backpropagation learns most a step, and fits with "
                                "layers run twice"
                              : "the gradient by backpropagation learns most a step, and fits";
  if (choice->dtype == ZF_F32)
    return "backpropagation does not fit, two forward passes do, and f32 loses no update";
  return "only 16-bit weights fit; their updates are rounded stochastically, which costs some "
         "accuracy";
}

/* The largest micro-batch that fits and divides the batch, at most what the config says. */
static int64_t micro_batch_of(const struct plan_choice *choice, const struct zf_run *run) {
  int64_t micro = run->batch;
  if (run->settings.micro_batch <= choice->batch) return run->settings.micro_batch;
  while (micro > 1 && (micro > choice->batch || run->batch % micro)) micro--;
  return micro;
}

static void recommend(char out[400], const struct plan_choice *choice, const struct zf_run *run,
                      const char *limit) {
  if (!choice->method) {
    snprintf(out, 400,
             "Nothing fits %s: not even one sequence with weights in bf16. A shorter sequence_len, "
             "fewer trained tensors (trainable) or a smaller model would.",
             limit);
    return;
  }
  int64_t micro = micro_batch_of(choice, run);
  snprintf(out, 400,
           "Recommended for %s: method=%s%s dtype=%s micro_batch_size=%lld "
           "gradient_accumulation_steps=%lld, because %s.",
           limit, choice->method, choice->checkpoint ? " gradient_checkpointing=true" : "",
           choice->dtype == ZF_F32 ? "auto" : zf_dtype_info(choice->dtype)->name, (long long)micro,
           (long long)(run->batch / (micro ? micro : 1)), reason(choice));
}

static int fit_rows(struct zc_report *report, struct zf_run *run, int64_t bytes,
                    struct plan_choice *best) {
  static const int order[] = {4, 5, 1, 2, 3}; /* of `methods`: the best one first */
  for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
    const struct plan_method *method = &methods[order[i]];
    if (!is_suited(run, method->method)) continue;
    int rc = fit_row(report, run, method, ZF_F32, bytes, best);
    if (!rc && method->method == ZF_METHOD_MEZO && !zf_model_has_adapter(run->model) &&
        !zf_gguf_is_trained(run->model))
      rc = fit_row(report, run, method, ZF_BF16, bytes, best);
    if (rc) return rc;
  }
  return 0;
}

static int plan_fit(struct zf_run *run, int64_t bytes) {
  struct zc_report report = {.title = "What fits", .column = fit_columns, .columns = 6};
  struct plan_choice best = {0};
  char text[400], note[200], limit[32];
  int rc = fit_rows(&report, run, bytes, &best);
  if (rc) {
    zc_report_free(&report);
    return rc;
  }
  snprintf(note, sizeof note,
           "Largest batch at sequences of %lld tokens (4096 at most), longest sequence at "
           "micro_batch_size %lld (the model's context of %lld at most).",
           (long long)run->limits.length, (long long)run->settings.micro_batch,
           (long long)run->model->config.context);
  recommend(text, &best, run, zf_human_bytes(limit, (double)bytes));
  report.note[report.notes++] = note;
  report.note[report.notes++] = text;
  return write_out(&report);
}

/* A size as "8G", by the rules of memory_limit. */
static int bytes_of(int64_t *out, const char *text) {
  static const struct zf_conf_key key[] = {
      {"fit", ZF_CONF_BYTES, NULL, "memory", .min = 1, .max = 1e15}, {0}};
  const struct zf_conf_key *const tables[] = {key};
  struct zf_conf *conf;
  char word[64];
  int rc = zf_conf_new(&conf, tables, 1);
  snprintf(word, sizeof word, "fit=%s", text);
  if (!rc) rc = zf_conf_word(conf, word);
  if (!rc) *out = zf_conf_bytes(conf, "fit", 0);
  zf_conf_free(conf);
  return rc;
}

static int run_plan(const struct zc_args *args) {
  struct zf_conf *conf = NULL;
  struct zf_run *run = NULL;
  int64_t bytes = 0;
  if (args->nword == 0 && args->nset == 0)
    return zf_error(ZF_EUSAGE, "a config file or base_model=DIR is needed: zoft plan CONFIG");
  int rc = zc_report_check(output);
  if (!rc && !strcmp(output, "svg"))
    rc = zf_error(ZF_EUSAGE, "-o svg: a plan has no plot; 'zoft bench memory' does");
  if (!rc && fit) rc = bytes_of(&bytes, fit);
  if (!rc) rc = zc_conf_load(&conf, args, zf_bench_keys());
  if (!rc) rc = zf_bench_open_shapes(&run, conf);
  if (!rc) rc = zc_export_check_run(conf, run);
  if (!rc) zc_warn_model(run->model);
  if (!rc) rc = fit ? plan_fit(run, bytes) : plan_forecast(run);
  zf_run_free(run);
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
    "recommends one. With memory_limit in a config, a run whose forecast is larger does not "
    "start.\n\n"
    "Examples:\n"
    "  zoft plan configs/sst2.yaml base_model=DIR\n"
    "  zoft plan configs/sst2.yaml base_model=model.gguf adapter=lora lora_r=16\n"
    "  zoft plan base_model=DIR micro_batch_size=16 sequence_len=256 --fit 8G\n",
    options,
    run_plan,
};
