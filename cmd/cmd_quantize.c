/* zoft quantize: writes a model as a GGUF file of fewer bits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/cpu.h"
#include "base/err.h"
#include "base/util.h"
#include "compress/assign.h"
#include "compress/image.h"
#include "compress/mix.h"
#include "compress/quantizer.h"
#include "compress_job.h"
#include "ui.h"

static const char *type_name, *method_name, *imatrix_word, *save_imatrix, *size_word;
static double bits_per_weight, penalty = 0.01, max_kld;
static int bits_given, max_kld_given;

static const struct zc_opt options[] = {
    {"type", 0, ZC_STR, "TYPE",
     "q8_0, q6_k, q5_k_m, q4_k_m, q4_0, iq4_nl, q3_k_m, q2_k, ... (q4_k_m)", &type_name},
    {"bpw", 0, ZC_NUM, "X", "instead: types by measured sensitivity, X bits a weight",
     &bits_per_weight, .max = 32, .above = 1, .given = &bits_given},
    {"size", 0, ZC_STR, "SIZE", "instead: the same for a file size, such as 90M", &size_word},
    {"method", 0, ZC_STR, "NAME", "rtn, gptq or awq (rtn)", &method_name},
    {"imatrix", 0, ZC_STR, "auto|FILE", "importance of columns: from --text, or a file of it",
     &imatrix_word},
    {"save-imatrix", 0, ZC_STR, "FILE", "write the importance as llama-imatrix does",
     &save_imatrix},
    ZC_COMPRESS_OPTIONS,
    {"damp", 0, ZC_NUM, "X", "of gptq: added to the diagonal of the moments (0.01)", &penalty,
     .max = 10, .above = 1},
    {"max-kld", 0, ZC_NUM, "X", "exit 5 and write nothing if the mean KL is above X nats", &max_kld,
     .max = 1e30, .given = &max_kld_given},
    {0},
};

struct quantize_job {
  struct zc_compress common;
  const struct zf_quantize_method *quantizer;
  const struct zf_mix *mix; /* NULL: types by sensitivity */
  struct zf_imatrix imatrix;
  struct zf_assignment assignment;
  enum zf_dtype *type; /* [params.count] */
  struct zf_buf types; /* of the written matrices, for display */
  int64_t values, bytes;
};

/* --- options --- */

static int unknown(const char *option, const char *known, const char *found) {
  return zf_error(ZF_EUSAGE, "--%s: expected %s, found '%s'", option, known, found);
}

static int read_options(struct quantize_job *job, const struct zc_args *args) {
  const char *name = type_name ? type_name : "q4_k_m", *method = method_name ? method_name : "rtn";
  struct zf_buf names = {0};
  if (args->nword != 2 || args->nset)
    return zf_error(ZF_EUSAGE, "expected: zoft quantize MODEL OUT.gguf [--type TYPE]");
  if (!zf_is_gguf_path(args->word[1]))
    return zf_error(ZF_EUSAGE, "%s: expected a name that ends in .gguf", args->word[1]);
  if (!!type_name + bits_given + !!size_word > 1)
    return zf_error(ZF_EUSAGE, "--type, --bpw and --size exclude each other: give one");
  zf_mix_names(&names);
  job->mix = zf_mix_find(name);
  job->quantizer = zf_quantize_method_find(method);
  int rc = 0;
  if (!job->mix) rc = unknown("type", names.data ? names.data : "?", name);
  if (!rc && !job->quantizer) rc = unknown("method", "rtn, gptq or awq", method);
  zf_buf_free(&names);
  if (rc) return rc;
  if (bits_given || size_word) job->mix = NULL;
  int needs = zf_quantize_method_calibrates(job->quantizer) || !job->mix ||
              (imatrix_word && !strcmp(imatrix_word, "auto"));
  if (needs && !zc_compress_options.text)
    return zf_error(ZF_EUSAGE, "%s needs a calibration text: --text FILE",
                    !job->mix ? "a choice of types by sensitivity"
                    : zf_quantize_method_calibrates(job->quantizer) ? method
                                                                    : "--imatrix auto");
  if (save_imatrix && (!imatrix_word || strcmp(imatrix_word, "auto") != 0))
    return zf_error(ZF_EUSAGE, "--save-imatrix needs --imatrix auto");
  if (imatrix_word && zf_quantize_method_calibrates(job->quantizer))
    return zf_error(ZF_EUSAGE, "--imatrix is for rtn: %s sees the inputs themselves", method);
  return 0;
}

/* --- steps --- */

static int64_t ticks(const struct quantize_job *job, int64_t passes) {
  return passes * job->common.windows.count * job->common.model->config.layers;
}

static int get_importance(struct quantize_job *job) {
  struct zc_compress *common = &job->common;
  if (!imatrix_word) return 0;
  if (strcmp(imatrix_word, "auto") != 0) return zf_imatrix_read(&job->imatrix, imatrix_word);
  zc_compress_begin(common, "importance", ticks(job, 1));
  int rc = zf_imatrix_gather(&job->imatrix, common->model, &common->windows, common->directory,
                             common->compute, zc_compress_tick, common);
  if (!rc && save_imatrix)
    rc = zf_imatrix_write(&job->imatrix, save_imatrix, zc_compress_options.text);
  return rc;
}

static struct zf_quantization quantization(struct quantize_job *job) {
  struct zc_compress *common = &job->common;
  return (struct zf_quantization){.model = common->model,
                                  .overlay = common->overlay,
                                  .type = job->type,
                                  .imatrix = job->imatrix.count ? &job->imatrix : NULL,
                                  .windows = common->windows.count ? &common->windows : NULL,
                                  .directory = common->directory,
                                  .compute = common->compute,
                                  .penalty = penalty,
                                  .tick = zc_compress_tick,
                                  .ctx = common};
}

/* Bytes of the weights that are asked for.  Of a file's size, 64 bytes a token are left for the tokenizer:
 * its text, score and type, and merges. */
static int wanted_bytes(int64_t *bytes, const struct quantize_job *job) {
  const struct zf_model *model = job->common.model;
  *bytes = (int64_t)(bits_per_weight / 8 * (double)zf_params_count(&model->params, 0));
  if (!size_word) return 0;
  int rc = zc_bytes(bytes, "size", size_word);
  *bytes -= 64 * model->config.vocab;
  return rc;
}

static int assign_types(struct quantize_job *job) {
  struct zc_compress *common = &job->common;
  struct zf_quantization work = quantization(job);
  struct zf_windows first = common->windows;
  int64_t bytes, matrices = 0;
  if (job->mix) return zf_mix_assign(job->mix, common->model, job->imatrix.count > 0, job->type);
  for (int32_t i = 0; i < common->model->params.count; i++)
    matrices += zf_mix_is_matrix(common->model, i);
  first.count = 1;
  work.windows = &first;
  zc_compress_begin(common, "sensitivity", matrices);
  int rc = wanted_bytes(&bytes, job);
  if (!rc) rc = zf_assign_types(&job->assignment, &work, common->reference, bytes);
  if (!rc)
    memcpy(job->type, job->assignment.type,
           (size_t)common->model->params.count * sizeof *job->type);
  return rc;
}

/* Matrices outside of the layers, and those that the method left alone. */
static int quantize_rest(const struct quantize_job *job, const struct zf_quantization *work) {
  const struct zf_model *model = job->common.model;
  for (int32_t i = 0; i < model->params.count; i++) {
    int rc = zf_mix_is_matrix(model, i) ? zf_quantize_param(work, i, NULL) : 0;
    if (rc) return rc;
  }
  return 0;
}

static int quantize(struct quantize_job *job) {
  int calibrates = zf_quantize_method_calibrates(job->quantizer);
  int64_t matrices = 0;
  for (int32_t i = 0; i < job->common.model->params.count; i++)
    matrices += zf_mix_is_matrix(job->common.model, i);
  zc_compress_begin(&job->common, "quantising", matrices + (calibrates ? ticks(job, 2) : 0));
  struct zf_quantization work = quantization(job);
  int rc = zf_quantize_layers(job->quantizer, &work);
  return rc ? rc : quantize_rest(job, &work);
}

/* The image's types are those that the model now holds. */
static int write_file(struct quantize_job *job) {
  struct zc_compress *common = &job->common;
  struct zf_image *image = NULL;
  int rc = zf_image_open(&image, common->model, common->tok, ZF_F32);
  if (rc) return rc;
  zf_image_take_params(image);
  zf_image_keep_types(image);
  zf_image_list_types(image, &job->types);
  for (int64_t i = 0; i < image->count; i++) {
    job->values += image->tensor[i].rows * image->tensor[i].columns;
    job->bytes += (int64_t)zf_dtype_bytes(image->tensor[i].type,
                                          image->tensor[i].rows * image->tensor[i].columns);
  }
  rc = zf_image_write_checked(image, common->tok, common->out, NULL);
  zf_image_free(image);
  return rc;
}

/* --- the report --- */

static int64_t file_bytes(const char *path) {
  struct stat st;
  return stat(path, &st) ? -1 : (int64_t)st.st_size;
}

static void report_json(const struct quantize_job *job) {
  struct zf_buf buf = {0};
  zf_buf_puts(&buf, "{\"file\": ");
  zc_json_text(&buf, job->common.out, strlen(job->common.out));
  zf_buf_printf(&buf, ", \"bytes\": %lld, \"bits_per_weight\": %.6g, \"types\": \"%s\"",
                (long long)file_bytes(job->common.out),
                8 * (double)job->bytes / (double)job->values,
                job->types.data ? job->types.data : "");
  zc_compress_json(&buf, &job->common);
  printf("%s}\n", buf.data ? buf.data : "{");
  zf_buf_free(&buf);
}

static void report(const struct quantize_job *job) {
  if (zc_common.json) {
    report_json(job);
    return;
  }
  printf("%s: %.1f MB, %.2f bits a weight, matrices in %s; read back and compared with what was "
         "quantised\n",
         job->common.out, (double)file_bytes(job->common.out) / 1e6,
         8 * (double)job->bytes / (double)job->values, job->types.data ? job->types.data : "?");
  zc_compress_report(&job->common);
}

static int run(const struct zc_args *args) {
  struct quantize_job job = {0};
  int rc = read_options(&job, args);
  if (!rc) rc = zc_compress_open(&job.common, args->word[0], args->word[1]);
  if (!rc) rc = zf_image_check(job.common.model, job.common.tok);
  if (!rc) {
    job.type = zf_calloc(job.common.model->params.count, sizeof *job.type);
    rc = job.type ? get_importance(&job) : ZF_ENOMEM;
  }
  if (!rc) rc = assign_types(&job);
  if (!rc) rc = quantize(&job);
  if (!rc) rc = zc_compress_compare(&job.common);
  if (!rc && max_kld_given) rc = zc_compress_gate(&job.common, max_kld);
  if (!rc) rc = write_file(&job);
  if (!rc) report(&job);
  zf_imatrix_free(&job.imatrix);
  zf_assignment_free(&job.assignment);
  zf_buf_free(&job.types);
  free(job.type);
  zc_compress_close(&job.common);
  return rc;
}

const struct zc_command zc_quantize = {
    "quantize",
    "write a model as a GGUF file of fewer bits",
    "zoft quantize MODEL OUT.gguf [--type TYPE | --bpw X | --size SIZE] [options]",
    "Quantises a model (a directory, a GGUF file or a run) to blocks that llama.cpp loads. A type "
    "of\n"
    "llama.cpp's, such as q4_k_m, gives each tensor the type that llama.cpp's mix gives it; --bpw "
    "and\n"
    "--size choose each tensor's type by how much its rounding changes the predictions on the "
    "text.\n"
    "rtn rounds to the nearest, with --imatrix for the columns that matter; awq scales columns "
    "with\n"
    "large inputs; gptq lets later columns make good for earlier errors, layer after layer. The "
    "file is\n"
    "read back, and the result is compared with the original, before it gets its name.\n\n"
    "Examples:\n"
    "  zoft quantize models/base base-q4_k_m.gguf\n"
    "  zoft quantize models/base base-q4_0.gguf --type q4_0 --method gptq --text wiki.txt\n"
    "  zoft quantize out/sst2 small.gguf --size 60M --text reviews.txt --check dev.txt\n",
    options,
    run,
};
