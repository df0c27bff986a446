/* zoft export: writes a model or an adapter in the form that other tools load. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "compress/image.h"
#include "eval/export.h"
#include "export_adapter.h"
#include "load.h"
#include "peft/adapter.h"
#include "tensor/quantize.h"
#include "ui.h"

static const char *to, *dtype, *type, *format, *base;

static const struct zc_opt options[] = {
    {"to", 0, ZC_STR, "PATH", "the directory, or an adapter's .gguf file, that is written", &to},
    {"dtype", 0, ZC_STR, "TYPE", "of a model's weights: f32, bf16 or f16 (f32)", &dtype},
    {"type", 0, ZC_STR, "TYPE", "the same, also of a .gguf file: f32, f16, bf16 (f16)", &type},
    {"format", 0, ZC_STR, "NAME", "of an adapter: peft, mlx or gguf (by the name of --to)",
     &format},
    {"base", 0, ZC_STR, "MODEL", "an adapter's base model (the one it names)", &base},
    {0},
};

/* Opens the directory again: every tensor must be there with the right shape. */
static int report(void) {
  struct zf_model_opts shapes = {.dtype = -1, .shapes = 1};
  struct zf_model *model = NULL;
  struct zf_tok *tok = NULL;
  int rc = zf_model_open(&model, to, &shapes);
  if (!rc) rc = zf_tok_open(&tok, to);
  if (rc) {
    zf_model_free(model);
    return rc;
  }
  long long parameters = zf_params_count(&model->params, 0), tensors = model->params.count;
  if (zc_common.json) {
    struct zf_buf name = {0};
    zc_json_text(&name, to, strlen(to));
    printf("{\"directory\": %s, \"family\": \"%s\", \"parameters\": %lld, \"tensors\": %lld, "
           "\"dtype\": \"%s\"}\n",
           name.failed ? "null" : name.data, model->config.family->model_type, parameters, tensors,
           dtype);
    zf_buf_free(&name);
  } else
    printf("%s: %s, %lld parameters in %lld tensors, %s\n", to, model->config.family->model_type,
           parameters, tensors, dtype);
  zf_tok_free(tok);
  zf_model_free(model);
  return 0;
}

/* Writes a model as the GGUF file `to`. */
static int export_gguf(const char *word) {
  struct zf_model *model = NULL;
  struct zf_tok *tok = NULL;
  struct zf_image *image = NULL;
  int number = -1;
  for (int i = 0; i < ZF_DTYPES_READ; i++)
    if (!strcmp(zf_dtype_info((enum zf_dtype)i)->name, type ? type : "f16")) number = i;
  if (number < 0 || !zf_can_quantize((enum zf_dtype)number)) return ZF_EUSAGE;
  int rc = zc_open_model(&model, &tok, word);
  if (!rc) rc = zf_image_open(&image, model, tok, (enum zf_dtype)number);
  if (!rc) rc = zf_image_write_checked(image, tok, to, NULL);
  zf_image_free(image);
  zf_tok_free(tok);
  zf_model_free(model);
  return rc;
}

static int export_model(const char *word) {
  if (zf_is_gguf_path(to)) return export_gguf(word);
  if (!dtype) dtype = "f32";
  int number = zf_dtype_by_name(dtype);
  if (format || base)
    return zf_error(ZF_EUSAGE, "--%s is for adapters, and %s is none", format ? "format" : "base",
                    word);
  if (number != ZF_F32 && number != ZF_BF16 && number != ZF_F16)
    return zf_error(ZF_EUSAGE, "--dtype: expected f32, bf16 or f16, found '%s'", dtype);
  if (zf_exists(to) && zf_dir_empty(to) != 1)
    return zf_error(ZF_EUSAGE, "%s is not empty: name a directory that is, or none", to);
  struct zf_model *model = NULL;
  struct zf_tok *tok = NULL;
  int rc = zc_open_model(&model, &tok, word);
  if (!rc) rc = zf_export_gguf(to, model, tok, (enum zf_dtype)number, NULL);
  zf_tok_free(tok);
  zf_model_free(model);
  return rc ? rc : report();
}

static int run(const struct zc_args *args) {
  if (args->nword != 1 || args->nset)
    return zf_error(ZF_EUSAGE,
                    "expected a GGUF file or an adapter: zoft export FILE.gguf --to DIR");
  if (!to) return zf_error(ZF_EUSAGE, "--to: name the directory to write");
  if (!zf_adapter_probe(args->word[0])) return export_model(args->word[0]);
  if (dtype) return zf_error(ZF_EUSAGE, "--dtype: adapters are written in f32");
  return zc_export_adapter(args->word[0], to, format, base);
}

const struct zc_command zc_export = {
    "export",
    "write a GGUF file as a model directory, an adapter in another format",
    "zoft export FILE.gguf|ADAPTER --to PATH [options]",
    "Of a GGUF model: a directory that Transformers and every zoft command load, to be trained in\n"
    "full: config, tokenizer, chat template, and the values of the file's blocks in f32 (exact) "
    "or\n"
    "narrower. Of an adapter (PEFT, MLX or GGUF): the same adapter for PEFT, MLX or llama.cpp. "
    "GGUF\n"
    "and MLX hold LoRA alone, MLX DoRA too.\n\n"
    "Examples:\n"
    "  zoft export model.gguf --to models/base\n"
    "  zoft train configs/sst2.yaml base_model=models/base\n"
    "  zoft export out/lora --to lora.gguf --base model.gguf\n"
    "  zoft export out/lora --to lora-mlx --format mlx\n",
    options,
    run,
};
