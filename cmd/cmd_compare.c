/* zoft compare: how far a model's predictions are from those of a reference. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "base/util.h"
#include "load.h"
#include "text_windows.h"
#include "ui.h"

static const char *text_file, *compute_name;
static int64_t window = 512, windows_limit;
static double max_kl, max_ratio;
static int max_kl_given, max_ratio_given;

static const struct zc_opt options[] = {
    {"text", 0, ZC_STR, "FILE", "the text that is predicted", &text_file},
    {"window", 0, ZC_INT, "N", "tokens of a window; the second half is predicted (512)", &window,
     .min = 4, .max = 1 << 20},
    {"windows", 0, ZC_INT, "N", "windows at most (all)", &windows_limit, .min = 1,
     .max = ZC_UNBOUNDED},
    {"compute", 0, ZC_STR, "NAME", "products in f32 (default) or bf16", &compute_name},
    {"max-kld", 0, ZC_NUM, "X", "exit 5 if the mean KL divergence is above X nats", &max_kl,
     .max = 1e30, .given = &max_kl_given},
    {"max-ratio", 0, ZC_NUM, "X", "exit 5 if the ratio of perplexities is above X", &max_ratio,
     .max = 1e30, .given = &max_ratio_given},
    {0},
};

struct comparison_job {
  const char *name[2];
  struct zf_model *model[2];
  struct zf_tok *tok[2];
  struct zf_windows windows;
  struct zf_divergence result;
};

static int open_all(struct comparison_job *job) {
  int rc = 0;
  for (int i = 0; i < 2 && !rc; i++) rc = zc_open_model(&job->model[i], &job->tok[i], job->name[i]);
  if (!rc)
    rc = zc_windows_open(&job->windows, job->tok[0], text_file,
                         zf_min64(window, job->model[0]->config.context), windows_limit);
  if (!rc) rc = zc_windows_check(&job->windows, job->tok[1], text_file, job->name[1]);
  return rc;
}

static void close_all(struct comparison_job *job) {
  for (int i = 0; i < 2; i++) {
    zf_model_free(job->model[i]);
    zf_tok_free(job->tok[i]);
  }
  zf_windows_free(&job->windows);
}

/* --- the report --- */

static void row(struct zc_table *table, const char *name, double value, double error,
                const char *format) {
  char text[32], spread[32] = "";
  snprintf(text, sizeof text, format, value);
  if (error >= 0) snprintf(spread, sizeof spread, format, error);
  zc_table_row(table, (const char *const[]){name, text, error >= 0 ? "\xc2\xb1" : "", spread});
}

static void report_table(const struct comparison_job *job) {
  const struct zf_divergence *result = &job->result;
  double ratio = exp(result->log_ratio.value);
  printf("%s against the reference %s\n%lld positions in %lld windows of %lld tokens of %s\n\n",
         job->name[1], job->name[0], (long long)result->positions, (long long)result->windows,
         (long long)job->windows.length, text_file);
  struct zc_table *table = zc_table_new("lrlr");
  for (int i = 0; i < 2; i++) {
    double perplexity = exp(result->nll[i].value);
    row(table, i ? "perplexity, model" : "perplexity, reference", perplexity,
        perplexity * result->nll[i].error, "%.4f");
  }
  row(table, "ratio of perplexities", ratio, ratio * result->log_ratio.error, "%.5f");
  row(table, "KL divergence, mean", result->kl.value, result->kl.error, "%.6f");
  static const struct {
    const char *name;
    int quantile;
  } rows[] = {
      {"KL divergence, median", 3}, {"KL divergence, 99 %", 5}, {"KL divergence, largest", 6}};
  for (int i = 0; i < 3; i++)
    row(table, rows[i].name, result->kl_quantile[rows[i].quantile], -1, "%.6f");
  row(table, "change of p, mean (%)", 100 * result->change.value, 100 * result->change.error,
      "%.3f");
  row(table, "change of p, root mean square (%)", 100 * result->change_rms, -1, "%.3f");
  row(table, "change of p, 5 % (%)", 100 * result->change_quantile[2], -1, "%.3f");
  row(table, "change of p, 95 % (%)", 100 * result->change_quantile[4], -1, "%.3f");
  row(table, "same top token (%)", 100 * result->same_top.value, 100 * result->same_top.error,
      "%.3f");
  zc_table_print(table, 0);
}

static void json_mean(struct zf_buf *buf, const char *name, double value, double error) {
  zf_buf_printf(buf, ", \"%s\": %.9g, \"%s_error\": %.3g", name, value, name, error);
}

static void json_quantiles(struct zf_buf *buf, const char *name, const double *value) {
  zf_buf_printf(buf, ", \"%s\": {", name);
  for (int i = 0; i < ZF_QUANTILES; i++)
    zf_buf_printf(buf, "%s\"%g\": %.6g", i ? ", " : "", zf_quantiles[i], value[i]);
  zf_buf_puts(buf, "}");
}

static void report_json(const struct comparison_job *job) {
  const struct zf_divergence *result = &job->result;
  struct zf_buf buf = {0};
  zf_buf_puts(&buf, "{\"reference\": ");
  zc_json_text(&buf, job->name[0], strlen(job->name[0]));
  zf_buf_puts(&buf, ", \"model\": ");
  zc_json_text(&buf, job->name[1], strlen(job->name[1]));
  zf_buf_printf(&buf, ", \"windows\": %lld, \"window\": %lld, \"positions\": %lld",
                (long long)result->windows, (long long)job->windows.length,
                (long long)result->positions);
  static const char *const names[2] = {"perplexity_reference", "perplexity"};
  for (int i = 0; i < 2; i++) {
    double perplexity = exp(result->nll[i].value);
    json_mean(&buf, names[i], perplexity, perplexity * result->nll[i].error);
  }
  double ratio = exp(result->log_ratio.value);
  json_mean(&buf, "ratio", ratio, ratio * result->log_ratio.error);
  json_mean(&buf, "kl", result->kl.value, result->kl.error);
  json_quantiles(&buf, "kl_quantiles", result->kl_quantile);
  json_mean(&buf, "change", result->change.value, result->change.error);
  zf_buf_printf(&buf, ", \"change_rms\": %.6g", result->change_rms);
  json_quantiles(&buf, "change_quantiles", result->change_quantile);
  json_mean(&buf, "same_top", result->same_top.value, result->same_top.error);
  printf("%s}\n", buf.data ? buf.data : "{");
  zf_buf_free(&buf);
}

static int check_gates(const struct zf_divergence *result) {
  double ratio = exp(result->log_ratio.value);
  if (max_kl_given && !(result->kl.value <= max_kl))
    return zf_error(ZF_EGATE, "the mean KL divergence is %.6g, above --max-kld %g",
                    result->kl.value, max_kl);
  if (max_ratio_given && !(ratio <= max_ratio))
    return zf_error(ZF_EGATE, "the ratio of perplexities is %.6g, above --max-ratio %g", ratio,
                    max_ratio);
  return 0;
}

static int run(const struct zc_args *args) {
  struct comparison_job job = {0};
  enum zf_compute compute;
  if (args->nword != 2 || args->nset || !text_file)
    return zf_error(ZF_EUSAGE, "expected: zoft compare REFERENCE MODEL --text FILE");
  job.name[0] = args->word[0];
  job.name[1] = args->word[1];
  zc_catch_signals();
  int rc = zc_compute(&compute, compute_name);
  if (!rc) rc = open_all(&job);
  if (!rc) {
    struct zc_progress progress = {"comparing", job.windows.count, zf_now()};
    rc = zf_divergence(&job.result, job.model[0], job.model[1], &job.windows, compute,
                       zc_progress_tick, &progress);
  }
  if (!rc) (zc_common.json ? report_json : report_table)(&job);
  if (!rc) rc = check_gates(&job.result);
  close_all(&job);
  return rc;
}

const struct zc_command zc_compare = {
    "compare",
    "how far a compressed or tuned model is from a reference",
    "zoft compare REFERENCE MODEL --text FILE [--max-kld X] [options]",
    "Runs both models over the same text and compares what they predict: perplexity of both and "
    "its\n"
    "ratio, KL divergence of the model from the reference (nats), the change of the right token's\n"
    "probability, and the share of positions with the same likeliest token; each with its "
    "standard\n"
    "error. The text is cut into windows as llama-perplexity cuts it.\n\n"
    "Examples:\n"
    "  zoft compare models/base model-q4_k_m.gguf --text wiki.txt\n"
    "  zoft compare f16.gguf q4.gguf --text wiki.txt --max-kld 0.05 --json\n",
    options,
    run,
};
