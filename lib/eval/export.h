/* Handing a model over to other tools. */
#ifndef ZF_EVAL_EXPORT_H
#define ZF_EVAL_EXPORT_H

#include "tensor/dtype.h"

/* Writes the GGUF file `path` as a model directory that Transformers loads: config.json,
 * generation_config.json, tokenizer.json, tokenizer_config.json and model.safetensors, whose values are
 * those of the blocks, rounded once where `dtype` (F32, F16, BF16) is narrower.  config.json comes
 * last, so that a directory without it is incomplete.  `dir` is made where it does not exist.
 * ZF_EUSAGE: `path` is no GGUF file.  ZF_EINVALID: as zf_model_open and zf_tok_open.  ZF_EIO. */
int zf_export_gguf(const char *dir, const char *path, enum zf_dtype dtype);

#endif
