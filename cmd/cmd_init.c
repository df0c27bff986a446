/* zoft init: writes a model of random weights, for pretraining. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "load.h"
#include "model/model.h"
#include "ui.h"

static const char *out, *tokenizer, *dtype = "f32";
static int64_t seed = 42;

static const struct zc_opt options[] = {
    {"out", 0, ZC_STR, "DIR", "the model directory that is written", &out},
    {"tokenizer", 0, ZC_STR, "DIR", "copy the tokenizer files of this directory", &tokenizer},
    {"dtype", 0, ZC_STR, "TYPE", "f32, f16 or bf16 (f32)", &dtype},
    {"seed", 0, ZC_INT, "N", "seed of the weights (42)", &seed, .max = 9007199254740991.0},
    {0},
};

static int copy_tokenizer(void) {
  struct zf_sidecars sidecars = {0};
  if (!tokenizer) return 0;
  int rc = zf_sidecars_open(&sidecars, tokenizer);
  if (!rc && !sidecars.count)
    rc = zf_error(ZF_EUSAGE, "--tokenizer: %s has no file of a tokenizer", tokenizer);
  if (!rc) rc = zf_sidecars_copy(&sidecars, out, 1);
  zf_sidecars_close(&sidecars);
  return rc;
}

static int run(const struct zc_args *args) {
  struct zf_model *model = NULL;
  struct zf_model_opts opts = {.dtype = -1};
  int type = zf_dtype_by_name(dtype);
  if (args->nword != 1 || args->nset)
    return zf_error(ZF_EUSAGE, "expected a config.json: zoft init CONFIG.json --out DIR");
  if (!out) return zf_error(ZF_EUSAGE, "--out: name the directory to write");
  if (type < 0) return zf_error(ZF_EUSAGE, "--dtype: expected f32, f16 or bf16, found '%s'", dtype);
  if (zf_exists(out) && zf_dir_empty(out) != 1)
    return zf_error(ZF_EUSAGE, "%s is not empty: name a directory that is, or none", out);
  int rc = zf_model_init(args->word[0], out, (uint64_t)seed, (enum zf_dtype)type);
  if (!rc) rc = copy_tokenizer();
  if (!rc) rc = zf_model_open(&model, out, &opts);
  if (!rc && zc_common.json)
    printf("{\"parameters\": %lld, \"tensors\": %lld}\n",
           (long long)zf_params_count(&model->params, 0), (long long)model->params.count);
  else if (!rc)
    printf("%s: %s, %lld parameters in %lld tensors\n", out, model->config.family->model_type,
           (long long)zf_params_count(&model->params, 0), (long long)model->params.count);
  zf_model_free(model);
  return rc;
}

const struct zc_command zc_init = {
    "init",
    "write a model of random weights from a config.json",
    "zoft init CONFIG.json --out DIR [options]",
    "Matrices are normal with the config's initializer_range, norms 1, biases 0: a start for\n"
    "pretraining with 'zoft train' and method: adamw. The same seed gives the same weights.\n\n"
    "Examples:\n"
    "  zoft init config.json --out models/new --tokenizer models/old\n"
    "  zoft train configs/lm.yaml base_model=models/new method=adamw learning_rate=1e-3\n",
    options,
    run,
};
