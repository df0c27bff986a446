/* Export of a model for other tools. */
#ifndef ZF_EVAL_EXPORT_H
#define ZF_EVAL_EXPORT_H

#include "base/cplusplus.h"
#include "model/model.h"
#include "text/tokenizer.h"

ZF_BEGIN_DECLS

/* Writes a model that was opened from a GGUF file, and its tokenizer, as a model directory that
 * Transformers loads: config.json, generation_config.json, tokenizer.json, tokenizer_config.json and
 * model.safetensors.  Its values are those of the file's blocks, rounded once to `dtype` (F32, F16,
 * BF16).  `dir` is empty or does not exist, and is left so after a failure.  ZF_EUSAGE: the model
 * is not a GGUF file, or a value is out of the range of `dtype`.  ZF_EIO.
 * values: what zf_model_save_values takes, NULL: the file's. */
int zf_export_gguf(const char *dir, const struct zf_model *model, const struct zf_tok *tok,
                   enum zf_dtype dtype, const struct zf_save_values *values);

/* The same in shards: limit as for zf_model_save_shards. */
int zf_export_gguf_shards(const char *dir, const struct zf_model *model, const struct zf_tok *tok,
                          enum zf_dtype dtype, const struct zf_save_values *values, int64_t limit);

/* Writes what a model directory has besides weights and config.json: the tokenizer and settings of
 * generation; of a directory all its sidecar files. */
int zf_export_sidecars(const char *dir, const struct zf_model *model, const struct zf_tok *tok);

ZF_END_DECLS

#endif
