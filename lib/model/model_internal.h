/* Shared by the parts of opening a model. */
#ifndef ZF_MODEL_MODEL_INTERNAL_H
#define ZF_MODEL_MODEL_INTERNAL_H

#include "model/model.h"

/* The tensor with this name of the plan, with one of the family's prefixes or none; NULL: none. */
const struct zf_st_tensor *zf_model_tensor(const struct zf_model *model, const char *name);

/* 1 where two tensors are equal, value for value. */
int zf_model_equal(const struct zf_st_tensor *first, const struct zf_st_tensor *second);

/* dst[0..total) <- src, chunk by chunk through a small buffer, so that no second copy of a tensor is needed;
 * src need not be aligned (convert.c). */
void zf_model_convert(void *dst, enum zf_dtype to, const unsigned char *src, enum zf_dtype from,
                      int64_t total);

/* Fills a parameter from a tensor of a GGUF file whose rows, or rows and columns, are in another order. */
int zf_gguf_copy_rows(struct zf_param *param, const struct zf_st_tensor *tensor,
                      struct zf_gguf_change change);

/* Call before the plan is built.  Where config.json ties the head to the embedding, but the file
 * holds a head that differs, unties them (unused.c). */
void zf_model_untie(struct zf_model *model);

/* Returns ZF_EINVALID: the plan wants a tensor that the file lacks.  The message gives a possible
 * reason. */
int zf_model_missing(const struct zf_model *model, const struct zf_wanted_tensor *wanted);

/* Counts the tensors that are not used.  ZF_EINVALID where such a tensor would have changed the
 * result: one of an adapter, or any of a GGUF file (llama.cpp refuses it as well). */
int zf_model_check_unused(struct zf_model *model);

void zf_model_free_owned(struct zf_model *model);

/* --- a new head (new_head.c) --- */

/* 1 where the wanted tensor may be created: the options ask for a head of labels, and it belongs to
 * that. */
int zf_model_may_create(const struct zf_model *model, const struct zf_wanted_tensor *wanted,
                        const struct zf_model_opts *opts);

/* Counts the tensors to create; where there are any, names all parameters as Transformers' class
 * does.  ZF_ENOMEM. */
int zf_model_name_head(struct zf_model *model, const struct zf_model_opts *opts);

/* Fills parameter `number`, which the file lacks. */
void zf_model_create_values(const struct zf_model *model, int64_t number);

/* 1 where the file holds the head's rows. */
int zf_model_has_head(const struct zf_model *model);

/* ZF_EUSAGE where a directory or a file belongs to another tool; the message says what to do.  Else
 * 0 (foreign.c). */
int zf_model_foreign(const char *dir);
int zf_model_foreign_file(const char *path);

#endif
