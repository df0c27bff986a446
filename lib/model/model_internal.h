/* Shared by the parts of opening a model. */
#ifndef ZF_MODEL_MODEL_INTERNAL_H
#define ZF_MODEL_MODEL_INTERNAL_H

#include "model/model.h"

/* The tensor with this name of the plan, with one of the family's prefixes or none; NULL: none. */
const struct zf_st_tensor *zf_model_tensor(const struct zf_model *model, const char *name);

/* 1 where two tensors are equal, value for value. */
int zf_model_equal(const struct zf_st_tensor *first, const struct zf_st_tensor *second);

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

/* --- values (model_values.c) --- */

/* The change that a GGUF converter made to the tensor; all zero in other files. */
struct zf_gguf_change zf_model_change(const struct zf_model *model, const char *name);

/* Converts `total` values chunk by chunk through a small buffer, so that no second copy of a tensor is
 * needed.  Equal types are copied. */
void zf_model_convert(void *dst, enum zf_dtype to, const unsigned char *src, enum zf_dtype from,
                      int64_t total);

/* Copies a matrix whose rows, or both dimensions, have another order in the GGUF file. */
int zf_model_copy_rows(struct zf_param *param, const struct zf_st_tensor *tensor,
                       struct zf_gguf_change change);

/* Subtracts the number from every value of an f32 parameter; 0: nothing is touched. */
void zf_model_subtract(struct zf_param *param, float number);

/* --- training a GGUF file (train_blocks.c) --- */

/* 1 where the options name the tensor as trained. */
int zf_model_is_named(const struct zf_model_opts *opts, const char *name);

/* 0 where what the options name of a GGUF file can be trained, else ZF_EUSAGE; of the file, and of one
 * tensor that they name. */
int zf_blocks_check(const struct zf_model *model, const struct zf_model_opts *opts);
int zf_blocks_check_tensor(const struct zf_model *model, const struct zf_param *param,
                           const struct zf_model_opts *opts);

/* 1 where a trained tensor of this type is copied and trained itself; 0: its scales are. */
int zf_blocks_train_whole(enum zf_dtype type, const struct zf_model_opts *opts);

/* Bytes of the arena for the changes of a matrix' scales. */
size_t zf_blocks_cost(const struct zf_param *param);

/* Appends NAME.scales for each matrix whose scales are trained.  The values are in model->copies. */
int zf_blocks_add(struct zf_model *model, const struct zf_model_opts *opts);

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
