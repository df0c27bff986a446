/* The types that the tensors of a quantised GGUF file get: llama.cpp's mixes, as a table. */
#ifndef ZF_COMPRESS_MIX_H
#define ZF_COMPRESS_MIX_H

#include "base/cplusplus.h"
#include "model/model.h"

ZF_BEGIN_DECLS

struct zf_mix; /* a row */

/* The row of a name in lower case, "q4_k_m"; NULL: there is none. */
const struct zf_mix *zf_mix_find(const char *name);
/* Appends all names, separated by ", ". */
void zf_mix_names(struct zf_buf *buf);
const char *zf_mix_name(const struct zf_mix *mix);
enum zf_dtype zf_mix_type(const struct zf_mix *mix); /* of most tensors */

/* The type of the tensor with the GGUF name `name` and rows of `columns` values.  A block that does not divide
 * the columns gives way to a smaller one.  has_importance: an importance matrix is used. */
enum zf_dtype zf_mix_choose(const struct zf_mix *mix, const struct zf_model *model,
                            const char *name, int64_t columns, int has_importance);

/* type[params.count]: that of each parameter; a vector, a table of positions or types and what is no GGUF
 * tensor is f32.  Names of tensors are those of llama.cpp where it has the architecture. */
int zf_mix_assign(const struct zf_mix *mix, const struct zf_model *model, int has_importance,
                  enum zf_dtype *type);

/* 1 where a product or a lookup of tokens reads the parameter as a matrix. */
int zf_mix_is_matrix(const struct zf_model *model, int32_t number);

ZF_END_DECLS

#endif
