/* The result of training a GGUF file: a GGUF file of the same types. */
#ifndef ZF_MODEL_GGUF_RESULT_H
#define ZF_MODEL_GGUF_RESULT_H

#include "base/cplusplus.h"
#include "model/model.h"

ZF_BEGIN_DECLS

/* 1 where the model is a GGUF file whose own tensors, or scales, are trained. */
int zf_gguf_is_trained(const struct zf_model *model);

/* Writes such a model to `path`: the bytes of the base but for trained values, which are rounded once,
 * stochastically, to the type that they have in the file (a scale: f16).  The file appears when it is
 * complete (struct zf_out); the base stays as it is.  ZF_EDIVERGED: a trained value is not finite;
 * ZF_EUSAGE: one is out of the range of its type; in both cases nothing is written. */
int zf_gguf_save(const struct zf_model *model, const char *path);

ZF_END_DECLS

#endif
