/* zoft export: writes a model, a run or an adapter in the form that other tools load. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "conf/conf.h"
#include "export_adapter.h"
#include "export_job.h"
#include "peft/adapter.h"
#include "tensor/quantize.h"
#include "train/rundir.h"
#include "ui.h"

static const char *to, *dtype, *type, *format, *base, *shard, *verify_with;

static const struct zc_opt options[] = {
    {"to", 0, ZC_STR, "PATH", "the directory or .gguf file that is written", &to},
    {"format", 0, ZC_STR, "NAME",
     "of a model safetensors, gguf or ollama, of an adapter peft, mlx or lora-gguf (by --to)",
     &format},
    {"type", 0, ZC_STR, "TYPE",
     "of a model's matrices: f32, f16, bf16, in GGUF q8_0, q4_k, ... too", &type},
    {"dtype", 0, ZC_STR, "TYPE", "the same as --type", &dtype},
    ZC_ADAPTER_OPTION,
    {"base", 0, ZC_STR, "MODEL", "an adapter's base model (the one it names)", &base},
    {"shard", 0, ZC_STR, "SIZE", "files of at most this size, such as 2G", &shard},
    {"verify-with", 0, ZC_STR, "llama-cpp", "compare a GGUF file with llama.cpp's results",
     &verify_with},
    {0},
};

/* --- options --- */

static int read_shard(int64_t *bytes) {
  return shard ? zc_bytes(bytes, "shard", shard) : 0;
}

static int read_type(int *number) {
  const char *name = type ? type : dtype;
  struct zf_buf known = {0};
  *number = name ? zc_export_type(name) : -1;
  if (type && dtype) return zf_error(ZF_EUSAGE, "--type and --dtype are the same: give one");
  for (int i = 0; i < ZF_DTYPES_READ && name; i++) {
    const char *other = zf_dtype_info((enum zf_dtype)i)->name;
    if (!zf_can_quantize((enum zf_dtype)i)) continue;
    zf_buf_printf(&known, "%s%s", known.len ? ", " : "", other);
  }
  int rc = name && *number < 0
               ? zf_error(ZF_EUSAGE, "--%s: expected one of %s, found '%s'",
                          type ? "type" : "dtype", known.data ? known.data : "?", name)
               : 0;
  zf_buf_free(&known);
  return rc;
}

/* 1 where an adapter is written as an adapter. */
static int stays_adapter(const char *word) {
  static const char *const names[] = {"peft", "mlx", "gguf", "lora-gguf"};
  if (!zf_adapter_probe(word) || zc_adapters.count) return 0;
  for (int i = 0; i < 4; i++)
    if (format && !strcmp(format, names[i])) return 1;
  return !format;
}

static int export_adapter(const char *word) {
  const char *name = format && !strcmp(format, "lora-gguf") ? "gguf" : format;
  if (type || dtype)
    return zf_error(ZF_EUSAGE, "--%s: adapters are written in f32", type ? "type" : "dtype");
  if (shard || verify_with)
    return zf_error(ZF_EUSAGE, "--%s is for models, and %s is an adapter",
                    shard ? "shard" : "verify-with", word);
  int rc = zc_export_adapter(word, to, name, base);
  return !rc && zf_is_dir(to) ? zc_export_card(word, to) : rc;
}

/* A run without a result has neither a model nor an adapter yet. */
static int check_run(const char *word) {
  static const char *const results[] = {"model.safetensors", "model.safetensors.index.json",
                                        "adapter_model.safetensors", "model.gguf"};
  int found = !zf_is_dir(word) || !zf_rundir_begun(word);
  for (int i = 0; i < 4 && !found; i++) {
    char *path = zf_path_join(word, results[i]);
    found = path && zf_exists(path);
    free(path);
  }
  return found ? 0 : zf_error(ZF_EUSAGE, "%s: the run has no result yet", word);
}

static int run(const struct zc_args *args) {
  struct zc_export job = {.to = to, .format = format, .base = base, .bytes = -1};
  if (args->nword != 1 || args->nset)
    return zf_error(ZF_EUSAGE,
                    "expected a model, a run or an adapter: zoft export MODEL --to PATH");
  job.source = args->word[0];
  if (!to) return zf_error(ZF_EUSAGE, "--to: name the directory or file to write");
  if (verify_with && strcmp(verify_with, "llama-cpp") != 0)
    return zf_error(ZF_EUSAGE, "--verify-with: expected llama-cpp, found '%s'", verify_with);
  int rc = check_run(job.source);
  if (!rc && stays_adapter(job.source)) return export_adapter(job.source);
  if (!rc && base && !zf_adapter_probe(job.source))
    rc = zf_error(ZF_EUSAGE, "--base is for adapters, and %s is none", job.source);
  if (!rc) rc = read_type(&job.type);
  if (!rc) rc = read_shard(&job.shard);
  job.verify_llama = verify_with != NULL;
  return rc ? rc : zc_export_model(&job);
}

const struct zc_command zc_export = {
    "export",
    "write a model, run or adapter for other tools: GGUF, safetensors, Ollama, PEFT, MLX",
    "zoft export RUN|MODEL|ADAPTER --to PATH [options]",
    "Of a model (a directory, a GGUF file or a run): a model directory that Transformers loads, a "
    "GGUF\n"
    "file that llama.cpp loads, or a directory for Ollama. Matrices keep their type unless --type "
    "names\n"
    "another (a GGUF file becomes an f32 directory, which is exact). --adapter is merged in.\n"
    "Of an adapter (PEFT, MLX or GGUF): the same adapter for PEFT, MLX or llama.cpp; with "
    "--format\n"
    "safetensors or ollama, its base with the adapter merged in. GGUF and MLX hold LoRA alone, "
    "MLX\n"
    "DoRA too. What is written is read back, scored and compared with the source before it gets "
    "its "
    "name.\n\n"
    "Examples:\n"
    "  zoft export model.gguf --to models/base\n"
    "  zoft train configs/sst2.yaml base_model=models/base\n"
    "  zoft export out/sst2 --to sst2.gguf --type q8_0\n"
    "  zoft export models/base --adapter out/lora --to merged.gguf --type f16\n"
    "  zoft export out/lora --to lora.gguf --base model.gguf\n"
    "  zoft export out/sst2 --to ollama/sst2 --format ollama\n",
    options,
    run,
};
