/* Handing a model over to other tools. */
#ifndef ZF_EVAL_EXPORT_H
#define ZF_EVAL_EXPORT_H

#include "model/model.h"
#include "text/tokenizer.h"

/* Writes a model that was opened from a GGUF file, weights in their blocks, and its tokenizer as a
 * model directory that Transformers loads: config.json, generation_config.json, tokenizer.json,
 * tokenizer_config.json and model.safetensors, whose values are those of the blocks, rounded once
 * where `dtype` (F32, F16, BF16) is narrower.  `dir` is empty or does not exist; on failure that is
 * how it is left.  ZF_EUSAGE: the model is no GGUF file's, or a value does not fit `dtype`.  ZF_EIO. */
int zf_export_gguf(const char *dir, const struct zf_model *model, const struct zf_tok *tok,
                   enum zf_dtype dtype);

#endif
