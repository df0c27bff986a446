/* zoft prune: sets weights to zero, or cuts parts of a model off. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "base/util.h"
#include "compress/copy_verify.h"
#include "compress/cut.h"
#include "compress/prune.h"
#include "compress_job.h"
#include "eval/export.h"
#include "train/states.h"
#include "ui.h"

static const char *method_name, *pattern, *dtype_name, *vocabulary;
static double sparsity = 0.5, mlp, heads, penalty = 0.01, max_kld;
static int64_t repair, layers;
static int sparsity_given, mlp_given, heads_given, layers_given, repair_given, max_kld_given;

static const struct zc_opt options[] = {
    {"sparsity", 0, ZC_NUM, "X", "share of each matrix that becomes zero (0.5)", &sparsity,
     .max = 1, .given = &sparsity_given},
    {"pattern", 0, ZC_STR, "N:M", "instead: N of each M neighbours stay, such as 2:4", &pattern},
    {"method", 0, ZC_STR, "NAME", "magnitude, wanda or sparsegpt (wanda)", &method_name},
    {"repair", 0, ZC_INT, "N", "iterations of ADMM on what is kept (none)", &repair, .min = 1,
     .max = 1000, .given = &repair_given},
    {"mlp", 0, ZC_NUM, "X", "cut: the share of MLP columns that stays", &mlp, .max = 1, .above = 1,
     .given = &mlp_given},
    {"heads", 0, ZC_NUM, "X", "cut: the share of key/value heads that stays", &heads, .max = 1,
     .above = 1, .given = &heads_given},
    {"layers", 0, ZC_INT, "N", "cut: remove the N layers of least influence", &layers, .min = 1,
     .max = ZC_UNBOUNDED, .given = &layers_given},
    {"vocabulary", 0, ZC_STR, "FILE", "cut: keep the tokens that this text uses", &vocabulary},
    ZC_COMPRESS_OPTIONS,
    {"damp", 0, ZC_NUM, "X", "added to the diagonal of the moments (0.01)", &penalty, .max = 10,
     .above = 1},
    {"dtype", 0, ZC_STR, "TYPE", "of the result: f32, bf16 or f16 (f32)", &dtype_name},
    {"max-kld", 0, ZC_NUM, "X", "exit 5 and write nothing if the mean KL is above X nats", &max_kld,
     .max = 1e30, .given = &max_kld_given},
    {0},
};

struct prune_job {
  struct zc_compress common;
  char *out, *tmp;
  const struct zf_pruner *pruner; /* NULL: parts are cut off */
  int keep, of;
  enum zf_dtype type;
  struct zf_cut *cut;
  int64_t zeros, values;   /* of the pruned matrices */
  int64_t parameters, was; /* after and before a cut */
};

/* --- options --- */

static int read_pattern(struct prune_job *job) {
  int end = 0;
  if (!pattern) return 0;
  if (sscanf(pattern, "%d:%d%n", &job->keep, &job->of, &end) == 2 && !pattern[end] &&
      job->keep >= 1 && job->keep < job->of && job->of <= 64)
    return 0;
  return zf_error(
      ZF_EUSAGE, "--pattern: expected N:M with 1 <= N < M <= 64, such as 2:4, found '%s'", pattern);
}

static int is_cut(void) {
  return mlp_given || heads_given || layers_given || vocabulary != NULL;
}

static int read_options(struct prune_job *job, const struct zc_args *args) {
  const char *method = method_name ? method_name : "wanda";
  int type = dtype_name ? zf_dtype_by_name(dtype_name) : ZF_F32;
  if (args->nword != 2 || args->nset)
    return zf_error(ZF_EUSAGE, "expected: zoft prune MODEL OUT [options]");
  if (type != ZF_F32 && type != ZF_BF16 && type != ZF_F16)
    return zf_error(ZF_EUSAGE, "--dtype: expected f32, bf16 or f16, found '%s'", dtype_name);
  if (is_cut() && (sparsity_given || pattern || method_name || repair_given))
    return zf_error(ZF_EUSAGE,
                    "zeros (--sparsity, --pattern, --method, --repair) and cuts (--mlp, "
                    "--heads, --layers, --vocabulary) are two runs: prune the result again");
  if (sparsity_given && pattern)
    return zf_error(ZF_EUSAGE, "--sparsity and --pattern exclude each other");
  job->type = (enum zf_dtype)type;
  job->pruner = is_cut() ? NULL : zf_pruner_find(method);
  if (!is_cut() && !job->pruner)
    return zf_error(ZF_EUSAGE, "--method: expected magnitude, wanda or sparsegpt, found '%s'",
                    method);
  int needs = is_cut() ? mlp_given || heads_given || layers_given
                       : zf_pruner_calibrates(job->pruner) || repair_given;
  if (needs && !zc_compress_options.text)
    return zf_error(ZF_EUSAGE, "%s needs a calibration text: --text FILE",
                    is_cut()       ? "a cut"
                    : repair_given ? "--repair"
                                   : method);
  return read_pattern(job);
}

static int read_paths(struct prune_job *job, const char *word) {
  size_t len = strlen(word);
  while (len > 1 && word[len - 1] == '/') len--;
  job->out = zf_strndup(word, len);
  job->tmp = job->out ? zf_asprintf("%s.pruning-%d", job->out, (int)getpid()) : NULL;
  if (!job->tmp) return ZF_ENOMEM;
  if (zf_exists(job->out) && zf_dir_empty(job->out) != 1)
    return zf_error(ZF_EUSAGE, "%s is not empty: name a directory that is, or none", job->out);
  return 0;
}

/* --- zeros --- */

static int prune(struct prune_job *job) {
  struct zc_compress *common = &job->common;
  int64_t matrices = 0, count = common->model->config.layers;
  for (int64_t i = 0; i < common->model->plan.nop; i++)
    matrices +=
        common->model->plan.op[i].kind == ZF_OP_LINEAR && common->model->plan.op[i].layer >= 0;
  struct zf_pruning work = {.model = common->model,
                            .overlay = common->overlay,
                            .sparsity = sparsity,
                            .keep = job->keep,
                            .of = job->of,
                            .repair_iterations = (int)repair,
                            .windows = common->windows.count ? &common->windows : NULL,
                            .directory = common->directory,
                            .compute = common->compute,
                            .penalty = penalty,
                            .tick = zc_compress_tick,
                            .ctx = common};
  zc_compress_begin(common, "pruning", matrices + 2 * count * common->windows.count);
  return zf_prune_layers(job->pruner, &work, &job->zeros, &job->values);
}

/* --- cuts --- */

/* A share of `count` as a number of at least 1, a multiple of `unit` where that fits. */
static int64_t share_of(double share, int64_t count, int64_t unit) {
  int64_t number = (int64_t)llround(share * (double)count / (double)unit) * unit;
  return zf_min64(count, zf_max64(number, zf_min64(unit, count)));
}

/* Transformers loads a Llama only if its heads divide the hidden size: the nearest such number. */
static int64_t groups_of(double share, const struct zf_config *config) {
  int64_t shared = config->heads / config->kv_heads, best = config->kv_heads;
  double wanted = share * (double)config->kv_heads;
  for (int64_t i = config->kv_heads; i > 0; i--)
    if (config->hidden % (i * shared) == 0 &&
        fabs((double)i - wanted) < fabs((double)best - wanted))
      best = i;
  return best;
}

static int cut_vocabulary(struct prune_job *job) {
  char *text = NULL;
  size_t len = 0;
  if (!vocabulary) return 0;
  int rc = zf_read_file(&text, &len, vocabulary, (size_t)1 << 30);
  if (!rc) rc = zf_cut_vocabulary(job->cut, job->common.tok, text, len);
  free(text);
  return rc;
}

static int cut(struct prune_job *job) {
  struct zc_compress *common = &job->common;
  const struct zf_config *config = &common->model->config;
  int64_t passes = (layers_given ? 1 : 0) + (mlp_given || heads_given ? 2 : 0);
  struct zf_cutting work = {.overlay = common->overlay,
                            .windows = &common->windows,
                            .directory = common->directory,
                            .compute = common->compute,
                            .penalty = penalty,
                            .columns = mlp_given ? share_of(mlp, config->ffn, 32) : 0,
                            .groups = heads_given ? groups_of(heads, config) : 0,
                            .layers = layers,
                            .tick = zc_compress_tick,
                            .ctx = common};
  zc_compress_begin(common, "cutting", passes * config->layers * common->windows.count + 1);
  int rc = zf_cut_new(&job->cut, common->model);
  if (!rc) rc = zf_cut_choose(job->cut, &work);
  return rc ? rc : cut_vocabulary(job);
}

/* The smaller model must predict what the model with zeros predicts, but for the order of sums and the
 * rounding to its type. */
static int check_cut(struct prune_job *job, const struct zf_model *small) {
  struct zf_windows windows;
  struct zf_divergence result;
  if (job->cut->token || !small->plan.causal || small->config.classify) return 0;
  int rc = zf_windows_new(&windows, job->common.tok, zc_sample_text, strlen(zc_sample_text), 64, 1);
  if (!rc)
    rc = zf_divergence(&result, job->common.model, small, &windows, ZF_COMPUTE_F32, NULL, NULL);
  zf_windows_free(&windows);
  if (!rc && !(result.kl_quantile[ZF_QUANTILES - 1] < (job->type == ZF_F32 ? 1e-4 : 0.1)))
    rc = zf_error(ZF_EFAIL, "%s: the written model predicts other tokens than the cut one",
                  job->out);
  return rc;
}

/* The kept tokens must spell the text as before. */
static int check_tokens(const struct prune_job *job) {
  struct zf_tok *tok = NULL;
  struct zf_ids before = {0}, after = {0};
  char *text = NULL;
  size_t len = 0;
  if (!job->cut->token) return 0;
  int rc = zf_read_file(&text, &len, vocabulary, (size_t)1 << 30);
  if (!rc) rc = zf_tok_open(&tok, job->tmp);
  if (!rc) rc = zf_tok_encode(job->common.tok, &before, text, len, ZF_ENC_SPECIAL);
  if (!rc) rc = zf_tok_encode(tok, &after, text, len, ZF_ENC_SPECIAL);
  int same = before.count == after.count;
  for (int64_t i = 0; i < before.count && same && !rc; i++)
    same = job->cut->token[after.id[i]] == before.id[i];
  if (!rc && !same)
    rc = zf_error(ZF_EFAIL, "%s: the smaller vocabulary cuts %s into other tokens: not written",
                  job->out, vocabulary);
  zf_ids_free(&before);
  zf_ids_free(&after);
  zf_tok_free(tok);
  free(text);
  return rc;
}

static int verify_cut(struct prune_job *job) {
  struct zf_model_opts opts = {.dtype = -1};
  struct zf_model *small = NULL;
  int rc = zf_model_open(&small, job->tmp, &opts);
  if (!rc) {
    job->parameters = zf_params_count(&small->params, 0);
    job->was = zf_params_count(&job->common.reference->params, 0);
    rc = check_cut(job, small);
  }
  zf_model_free(small);
  return rc ? rc : check_tokens(job);
}

/* --- writing --- */

static int save_zeros(struct prune_job *job) {
  static const char *const metadata[] = {"format", "pt"};
  struct zc_compress *common = &job->common;
  int rc = zf_model_save_values(common->model, job->tmp, (int)job->type, NULL, metadata, 1);
  if (!rc) rc = zf_export_sidecars(job->tmp, common->model, common->tok);
  return rc ? rc : zf_copy_verify(common->model, common->tok, job->tmp, NULL);
}

static int save(struct prune_job *job) {
  int rc;
  if (job->pruner) {
    rc = save_zeros(job);
  } else {
    rc = zf_cut_save(job->cut, job->common.tok, job->tmp, job->type);
    if (!rc) rc = verify_cut(job);
  }
  if (!rc) rc = zf_state_replace_dir(job->tmp, job->out);
  if (!rc) return 0;
  struct zf_buf said = {0};
  zf_buf_puts(&said, zf_error_message());
  zf_state_remove_dir(job->tmp);
  rc = zf_error(rc, "%s", said.data ? said.data : "");
  zf_buf_free(&said);
  return rc;
}

/* --- the report --- */

static void list_removed(struct zf_buf *buf, const struct zf_cut *cut, const char *separator) {
  int64_t listed = 0;
  for (int64_t i = 0; i < cut->model->config.layers; i++)
    if (!cut->layer[i]) zf_buf_printf(buf, "%s%lld", listed++ ? separator : "", (long long)i);
}

static void report_json(const struct prune_job *job) {
  struct zf_buf buf = {0};
  zf_buf_puts(&buf, "{\"directory\": ");
  zc_json_text(&buf, job->out, strlen(job->out));
  if (job->pruner) {
    zf_buf_printf(&buf, ", \"zeros\": %lld, \"values\": %lld", (long long)job->zeros,
                  (long long)job->values);
  } else {
    zf_buf_printf(&buf,
                  ", \"parameters\": %lld, \"parameters_before\": %lld, \"mlp_columns\": %lld, "
                  "\"kv_heads\": %lld, \"vocabulary\": %lld, \"removed_layers\": [",
                  (long long)job->parameters, (long long)job->was, (long long)job->cut->columns,
                  (long long)job->cut->groups, (long long)job->cut->tokens);
    list_removed(&buf, job->cut, ", ");
    zf_buf_puts(&buf, "]");
  }
  zc_compress_json(&buf, &job->common);
  printf("%s}\n", buf.data ? buf.data : "{");
  zf_buf_free(&buf);
}

static void report_cut(const struct prune_job *job) {
  const struct zf_config *config = &job->common.model->config;
  struct zf_buf removed = {0};
  char before[32], after[32];
  list_removed(&removed, job->cut, ", ");
  printf("%s: %s parameters, were %s", job->out, zc_count(after, (double)job->parameters),
         zc_count(before, (double)job->was));
  if (job->cut->columns != config->ffn)
    printf("; %lld of %lld MLP columns", (long long)job->cut->columns, (long long)config->ffn);
  if (job->cut->groups != config->kv_heads)
    printf("; %lld of %lld key/value heads", (long long)job->cut->groups,
           (long long)config->kv_heads);
  if (removed.len) printf("; without layers %s", removed.data);
  if (job->cut->token)
    printf("; %lld of %lld tokens", (long long)job->cut->tokens, (long long)config->vocab);
  printf("\n");
  zf_buf_free(&removed);
}

static void report(const struct prune_job *job) {
  if (zc_common.json) {
    report_json(job);
    return;
  }
  if (job->pruner)
    printf("%s: %.2f %% of %lld values in the layers' matrices are zero\n", job->out,
           100 * (double)job->zeros / (double)job->values, (long long)job->values);
  else
    report_cut(job);
  zc_compress_report(&job->common);
}

static int run(const struct zc_args *args) {
  struct prune_job job = {0};
  int rc = read_options(&job, args);
  if (!rc) rc = read_paths(&job, args->word[1]);
  if (!rc) rc = zc_compress_open(&job.common, args->word[0], job.out);
  if (!rc) rc = job.pruner ? prune(&job) : cut(&job);
  if (!rc) rc = zc_compress_compare(&job.common);
  if (!rc && max_kld_given) rc = zc_compress_gate(&job.common, max_kld);
  if (!rc) rc = save(&job);
  if (!rc) report(&job);
  zf_cut_free(job.cut);
  zc_compress_close(&job.common);
  free(job.tmp);
  free(job.out);
  return rc;
}

const struct zc_command zc_prune = {
    "prune",
    "set weights to zero, or cut parts of a model off",
    "zoft prune MODEL OUT [--sparsity X | --pattern N:M | --mlp X --heads X --layers N] [options]",
    "Zeros: of each matrix in the layers a share, or all but N of each M neighbours, by magnitude, "
    "by\n"
    "magnitude times input (wanda), or with error feedback (sparsegpt); --repair finds new values "
    "of\n"
    "what is kept. Cuts: MLP columns, heads with their key/value head, layers, tokens; what is "
    "left "
    "is a\n"
    "smaller model of the same family that Transformers loads, repaired by least squares on the "
    "text.\n"
    "OUT is a model directory; it is read back before it gets its name.\n\n"
    "Examples:\n"
    "  zoft prune models/base out/half --text wiki.txt --repair 20\n"
    "  zoft prune models/base out/2of4 --pattern 2:4 --method sparsegpt --text wiki.txt\n"
    "  zoft prune models/base out/small --mlp 0.75 --heads 0.67 --text wiki.txt\n"
    "  zoft prune models/base out/short --layers 4 --vocabulary reviews.txt --text reviews.txt\n",
    options,
    run,
};
