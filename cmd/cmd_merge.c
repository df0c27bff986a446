/* zoft merge: folds adapters into the weights of their base, and compares the result with them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "eval/export.h"
#include "load.h"
#include "merge_verify.h"
#include "peft/merge.h"
#include "train/states.h"
#include "text_windows.h"
#include "ui.h"

static const char *dtype, *verify;
static double max_diff;
static int max_diff_given;

static const struct zc_opt options[] = {
    ZC_ADAPTER_OPTION,
    {"dtype", 0, ZC_STR, "TYPE", "f32, bf16 or f16 (as stored; f32 of a GGUF file)", &dtype},
    {"verify", 0, ZC_STR, "FILE|none", "the text on which the result is compared (a built-in one)",
     &verify},
    {"max-diff", 0, ZC_NUM, "X", "exit 5 and write nothing if a log-probability differs by more",
     &max_diff, .max = 1e30, .given = &max_diff_given},
    {0},
};

enum { ADAPTERS = sizeof zc_adapters.item / sizeof *zc_adapters.item + 1 };

struct merge_job {
  const char *base; /* as the command line has it */
  char *out, *tmp;  /* the directory, and its name while it is written */
  const char *word[ADAPTERS];
  int count;
  int type;                  /* enum zf_dtype, -1: as stored */
  struct zf_model_opts opts; /* of the base */
  struct zf_model *model;
  struct zf_tok *tok;
  struct zf_adapter_file *file[ADAPTERS];
  char *adapters; /* for display */
  const char *family;
  int64_t tensors, changed;
  int unties;
  char *text; /* NULL: no comparison */
  size_t text_len;
  struct zc_predictions plain, attached, merged;
};

/* --- what is asked for --- */

static char *without_slash(const char *path) {
  size_t len = strlen(path);
  while (len > 1 && path[len - 1] == '/') len--;
  return zf_strndup(path, len);
}

static int read_words(struct merge_job *job, const struct zc_args *args) {
  if (args->nset)
    return zf_error(ZF_EUSAGE, "'%s': NAME=PATH is written as --adapter NAME=PATH", args->set[0]);
  if (args->nword < 2 || args->nword > 3 || (args->nword == 2 && !zc_adapters.count))
    return zf_error(ZF_EUSAGE, "expected: zoft merge BASE ADAPTER OUT, or BASE OUT and --adapter");
  job->base = args->word[0];
  if (args->nword == 3) job->word[job->count++] = args->word[1];
  for (int i = 0; i < zc_adapters.count; i++) job->word[job->count++] = zc_adapters.item[i];
  job->out = without_slash(args->word[args->nword - 1]);
  job->tmp = job->out ? zf_asprintf("%s.merging-%d", job->out, (int)getpid()) : NULL;
  zc_adapters.count = 0; /* the base is opened without them first */
  return job->tmp ? 0 : ZF_ENOMEM;
}

static int read_type(struct merge_job *job) {
  job->type = dtype ? zf_dtype_by_name(dtype) : -1;
  if (!dtype || job->type == ZF_F32 || job->type == ZF_BF16 || job->type == ZF_F16) return 0;
  return zf_error(ZF_EUSAGE, "--dtype: expected f32, bf16 or f16, found '%s'", dtype);
}

static int read_text(struct merge_job *job) {
  if (verify && !strcmp(verify, "none")) {
    if (max_diff_given)
      return zf_error(ZF_EUSAGE, "--max-diff needs the comparison that --verify none leaves out");
    return 0;
  }
  if (verify) return zf_read_file(&job->text, &job->text_len, verify, (size_t)1 << 30);
  job->text = zf_strdup(zc_sample_text);
  job->text_len = strlen(zc_sample_text);
  return job->text ? 0 : ZF_ENOMEM;
}

static int read_job(struct merge_job *job, const struct zc_args *args) {
  int rc = read_words(job, args);
  if (!rc) rc = read_type(job);
  if (!rc && zf_adapter_probe(job->base))
    rc = zf_error(ZF_EUSAGE, "%s: is an adapter: name its base model first, then the adapter",
                  job->base);
  if (!rc && zf_exists(job->out) && zf_dir_empty(job->out) != 1)
    rc = zf_error(ZF_EUSAGE, "%s is not empty: name a directory that is, or none", job->out);
  return rc ? rc : read_text(job);
}

/* --- writing --- */

static int interrupted(void *ctx) {
  (void)ctx;
  return zc_signal();
}

static int attach_all(struct merge_job *job) {
  for (int i = 0; i < job->count; i++) {
    int rc = zf_adapter_use(job->model, job->word[i], &job->file[i]);
    if (rc) return rc;
  }
  job->adapters = zf_strdup(job->model->adapters);
  return job->adapters ? 0 : ZF_ENOMEM;
}

static int save(struct merge_job *job, struct zf_adapter_merge *merge) {
  static const char *const metadata[] = {"format", "pt"};
  const struct zf_save_values *values = zf_merge_values(merge, interrupted, NULL);
  job->family = job->model->config.family->model_type;
  job->tensors = job->model->plan.wanted_count;
  job->changed = zf_merge_count(merge, &job->unties);
  if (job->model->gguf)
    return zf_export_gguf(job->tmp, job->model, job->tok,
                          job->type < 0 ? ZF_F32 : (enum zf_dtype)job->type, values);
  return zf_model_save_values(job->model, job->tmp, job->type, values, metadata, 1);
}

static void close_model(struct merge_job *job) {
  zf_model_free(job->model);
  zf_tok_free(job->tok);
  job->model = NULL;
  job->tok = NULL;
}

/* An adapter may hold a head of labels, which its base lacks. */
static int read_labels(struct merge_job *job) {
  int rc = 0;
  for (int i = 0; i < job->count && !rc && !job->opts.labels; i++)
    rc = zf_adapter_labels(&job->opts.labels, job->word[i]);
  return rc;
}

static int write_merged(struct merge_job *job) {
  struct zf_adapter_merge *merge = NULL;
  int rc = read_labels(job);
  if (!rc) rc = zc_open_model_as(&job->model, &job->tok, job->base, &job->opts);
  if (!rc) rc = attach_all(job);
  if (!rc) rc = zf_merge_new(&merge, job->model, job->file, job->count);
  if (!rc) rc = save(job, merge);
  if (!rc && job->text)
    rc = zc_predictions_of(&job->attached, job->model, job->tok, job->text, job->text_len);
  zf_merge_free(merge);
  close_model(job);
  return rc;
}

/* --- comparison --- */

static int predict(struct merge_job *job, struct zc_predictions *out, const char *path) {
  int rc = zf_model_open(&job->model, path, &job->opts);
  if (!rc) rc = zf_tok_open(&job->tok, path);
  if (!rc) rc = zc_predictions_of(out, job->model, job->tok, job->text, job->text_len);
  close_model(job);
  return rc;
}

/* One model is open at a time. */
static int compare(struct merge_job *job) {
  char *dir = NULL;
  if (!job->text) return 0;
  int rc = zf_model_find(&dir, job->base);
  if (!rc) rc = predict(job, &job->plain, dir);
  if (!rc) rc = predict(job, &job->merged, job->tmp);
  free(dir);
  if (rc || !max_diff_given) return rc;
  double largest = zc_distance_of(&job->merged, &job->attached).largest;
  if (largest <= max_diff) return 0;
  return zf_error(
      ZF_EGATE,
      "a log-probability of the merged model differs by %.3g from that with the adapter, "
      "more than --max-diff %g: nothing is written",
      largest, max_diff);
}

/* --- the report --- */

static void json_distance(struct zf_buf *buf, const char *name, struct zc_distance distance) {
  zf_buf_printf(buf, ", \"%s\": {\"largest\": %.6g, \"mean\": %.6g}", name, distance.largest,
                distance.mean);
}

static void report_json(const struct merge_job *job) {
  struct zf_buf buf = {0};
  zf_buf_puts(&buf, "{\"directory\": ");
  zc_json_text(&buf, job->out, strlen(job->out));
  zf_buf_puts(&buf, ", \"base\": ");
  zc_json_text(&buf, job->base, strlen(job->base));
  zf_buf_puts(&buf, ", \"adapter\": ");
  zc_json_text(&buf, job->adapters, strlen(job->adapters));
  zf_buf_printf(&buf, ", \"family\": \"%s\", \"tensors\": %lld, \"changed\": %lld, \"untied\": %s",
                job->family, (long long)(job->tensors + job->unties), (long long)job->changed,
                job->unties ? "true" : "false");
  if (job->text) {
    zf_buf_printf(&buf, ", \"predictions\": %lld", (long long)job->merged.count);
    json_distance(&buf, "merged_from_adapter", zc_distance_of(&job->merged, &job->attached));
    json_distance(&buf, "merged_from_base", zc_distance_of(&job->merged, &job->plain));
    json_distance(&buf, "adapter_from_base", zc_distance_of(&job->attached, &job->plain));
  }
  printf("%s}\n", buf.data ? buf.data : "{");
  zf_buf_free(&buf);
}

static void distance_row(struct zc_table *table, const char *name, struct zc_distance distance) {
  char largest[32], mean[32];
  snprintf(largest, sizeof largest, "%.2e", distance.largest);
  snprintf(mean, sizeof mean, "%.2e", distance.mean);
  zc_table_row(table, (const char *const[]){name, largest, mean});
}

static void report(const struct merge_job *job) {
  if (zc_common.json) {
    report_json(job);
    return;
  }
  printf("%s: %s, %lld of %lld tensors changed by %s\n", job->out, job->family,
         (long long)job->changed, (long long)(job->tensors + job->unties), job->adapters);
  if (job->unties)
    printf("the head was tied to the embedding; one of the two changed, so it is a tensor of its "
           "own now\n");
  if (!job->text) return;
  printf("\nlog-probabilities of %lld predictions, differences in nats\n\n",
         (long long)job->merged.count);
  struct zc_table *table = zc_table_new("lrr");
  zc_table_row(table, (const char *const[]){"", "largest", "mean"});
  distance_row(table, "merged, from base + adapter", zc_distance_of(&job->merged, &job->attached));
  distance_row(table, "merged, from base", zc_distance_of(&job->merged, &job->plain));
  distance_row(table, "base + adapter, from base", zc_distance_of(&job->attached, &job->plain));
  zc_table_print(table, 1);
}

static void release(struct merge_job *job) {
  zc_predictions_free(&job->plain);
  zc_predictions_free(&job->attached);
  zc_predictions_free(&job->merged);
  free(job->adapters);
  free(job->text);
  free(job->tmp);
  free(job->out);
}

static int run(const struct zc_args *args) {
  struct merge_job job = {.opts = {.dtype = -1}};
  int rc = read_job(&job, args);
  zc_catch_signals();
  if (!rc) rc = write_merged(&job);
  if (!rc) rc = compare(&job);
  if (!rc) rc = zf_state_replace_dir(job.tmp, job.out);
  if (!rc) report(&job);
  if (rc && job.tmp) {
    struct zf_buf said = {0};
    zf_buf_puts(&said, zf_error_message());
    zf_state_remove_dir(job.tmp);
    rc = zf_error(rc, "%s", said.data ? said.data : "");
    zf_buf_free(&said);
  }
  release(&job);
  return rc;
}

const struct zc_command zc_merge = {
    "merge",
    "fold an adapter into its base model",
    "zoft merge BASE ADAPTER OUT [--adapter [NAME=]PATH[:WEIGHT]] [--dtype TYPE]",
    "Writes a model directory whose weights are those of the base with the adapter applied: LoRA,\n"
    "DoRA, IA3, VeRA, trainable tokens, norms, biases, saved modules. Several adapters add up, "
    "each\n"
    "times its weight. A prompt or prefix has no weights to go to. Sums are rounded once, to "
    "bf16 and\n"
    "f16 at random by a fixed key, because a small change is less than their spacing.\n\n"
    "The result is read back and compared with the base and its adapter on a text.\n\n"
    "Examples:\n"
    "  zoft merge models/base out/lora out/merged\n"
    "  zoft merge model.gguf out/lora out/merged --dtype bf16 --verify reviews.txt\n"
    "  zoft merge models/base out/both --adapter out/a:0.7 --adapter out/b:0.3\n",
    options,
    run,
};
