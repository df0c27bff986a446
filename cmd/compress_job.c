#include "compress_job.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cpu.h"
#include "base/err.h"
#include "base/util.h"
#include "ui.h"

struct zc_compress_options zc_compress_options = {.window = 512, .windows = 128};

enum { CHECK_WINDOWS = 8 };

static char *directory_of(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? zf_strndup(path, slash == path ? 1 : (size_t)(slash - path)) : zf_strdup(".");
}

static int open_windows(struct zc_compress *job) {
  int64_t length = zf_min64(zc_compress_options.window, job->model->config.context);
  if (!zc_compress_options.text) return 0;
  return zc_windows_open(&job->windows, job->tok, zc_compress_options.text, length,
                         zc_compress_options.windows);
}

int zc_compress_open(struct zc_compress *job, const char *source, const char *out) {
  struct zf_tok *tok = NULL;
  *job = (struct zc_compress){.source = source, .out = out, .directory = directory_of(out)};
  zc_catch_signals();
  int rc = job->directory ? zc_compute(&job->compute, zc_compress_options.compute) : ZF_ENOMEM;
  if (!rc && !zf_is_dir(job->directory))
    rc = zf_error(ZF_EUSAGE, "%s: the directory %s does not exist", out, job->directory);
  if (!rc) rc = zc_open_model(&job->model, &job->tok, source);
  if (!rc && job->model->adapters)
    rc =
        zf_error(ZF_EUSAGE, "%s: is an adapter: 'zoft merge' folds it into its base model", source);
  if (!rc) zf_model_drop_pages(job->model); /* opening read them all, to check the values */
  if (!rc) rc = zc_open_model(&job->reference, &tok, source);
  if (!rc) zf_model_drop_pages(job->reference);
  zf_tok_free(tok);
  if (!rc) zc_warn_compute(job->model, job->compute);
  if (!rc) rc = open_windows(job);
  if (!rc) rc = zf_overlay_new(&job->overlay, job->model, job->directory);
  return rc;
}

void zc_compress_close(struct zc_compress *job) {
  zf_windows_free(&job->windows);
  zf_model_free(job->model);
  zf_model_free(job->reference);
  zf_tok_free(job->tok);
  free(job->directory);
}

/* --- progress --- */

void zc_compress_begin(struct zc_compress *job, const char *label, int64_t total) {
  job->label = label;
  job->total = total;
  job->done = 0;
  job->start = zf_now();
}

int zc_compress_tick(void *ctx) {
  struct zc_compress *job = ctx;
  struct zc_progress progress = {job->label, job->total, job->start};
  job->done = zf_min64(job->done + 1, job->total);
  return zc_progress_tick(&progress, job->done);
}

/* --- comparison --- */

static int check_windows(struct zf_windows *windows, const struct zc_compress *job) {
  int64_t length = zf_min64(512, job->model->config.context);
  if (zc_compress_options.check)
    return zc_windows_open(windows, job->tok, zc_compress_options.check, length, CHECK_WINDOWS);
  return zf_windows_new(windows, job->tok, zc_sample_text, strlen(zc_sample_text), length, 1);
}

/* Between windows nothing of the changed model stays in memory: the reference needs the room. */
static int compare_tick(void *ctx, int64_t done) {
  struct zc_compress *job = ctx;
  struct zc_progress progress = {job->label, job->total, job->start};
  zf_overlay_drop(job->overlay);
  return zc_progress_tick(&progress, done);
}

int zc_compress_compare(struct zc_compress *job) {
  struct zf_windows windows = {0};
  if (zc_compress_options.check && !strcmp(zc_compress_options.check, "none")) return 0;
  if (!job->model->plan.causal || job->model->config.classify) {
    zc_warn("%s: predicts no next token: the result is not compared on a text", job->source);
    return 0;
  }
  int rc = check_windows(&windows, job);
  if (!rc) {
    zc_compress_begin(job, "comparing", windows.count);
    zf_overlay_drop(job->overlay);
    zf_model_drop_pages(job->model);
    rc = zf_divergence(&job->divergence, job->reference, job->model, &windows, job->compute,
                       compare_tick, job);
  }
  job->compared = !rc;
  zf_windows_free(&windows);
  return rc;
}

void zc_compress_report(const struct zc_compress *job) {
  const struct zf_divergence *result = &job->divergence;
  if (!job->compared) return;
  double before = exp(result->nll[0].value), after = exp(result->nll[1].value);
  printf("compared on %lld tokens of %s: perplexity %.4g, was %.4g (ratio %.4f \xc2\xb1 %.4f)\n"
         "KL divergence mean %.5f \xc2\xb1 %.5f, largest %.4f nats; same top token %.1f %%\n",
         (long long)result->positions,
         zc_compress_options.check ? zc_compress_options.check : "a built-in text", after, before,
         exp(result->log_ratio.value), exp(result->log_ratio.value) * result->log_ratio.error,
         result->kl.value, result->kl.error, result->kl_quantile[ZF_QUANTILES - 1],
         100 * result->same_top.value);
}

void zc_compress_json(struct zf_buf *buf, const struct zc_compress *job) {
  const struct zf_divergence *result = &job->divergence;
  if (!job->compared) return;
  zf_buf_printf(buf,
                ", \"perplexity_reference\": %.9g, \"perplexity\": %.9g, \"kl\": %.9g, "
                "\"kl_error\": %.3g, \"kl_max\": %.6g, \"same_top\": %.6g, \"positions\": %lld",
                exp(result->nll[0].value), exp(result->nll[1].value), result->kl.value,
                result->kl.error, result->kl_quantile[ZF_QUANTILES - 1], result->same_top.value,
                (long long)result->positions);
}

int zc_compress_gate(const struct zc_compress *job, double limit) {
  if (!job->compared)
    return zf_error(ZF_EUSAGE, "--max-kld needs the comparison that --check none leaves out");
  if (job->divergence.kl.value <= limit) return 0;
  return zf_error(ZF_EGATE,
                  "the mean KL divergence is %.6g, above --max-kld %g: nothing is written",
                  job->divergence.kl.value, limit);
}
