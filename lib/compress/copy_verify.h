/* Reads back a model directory that was written from a model. */
#ifndef ZF_COMPRESS_COPY_VERIFY_H
#define ZF_COMPRESS_COPY_VERIFY_H

#include "base/cplusplus.h"
#include "model/model.h"
#include "text/tokenizer.h"

ZF_BEGIN_DECLS

/* Opens the directory `dir` and compares it with `model` and its tokenizer (NULL: left out): the
 * configuration, the ids of a text that is hard to tokenize, and every value, which lies within the rounding
 * of the type that it is stored in.  values: as for zf_model_save_values.  ZF_EFAIL: they differ; else the
 * error of opening. */
int zf_copy_verify(const struct zf_model *model, const struct zf_tok *tok, const char *dir,
                   const struct zf_save_values *values);

ZF_END_DECLS

#endif
