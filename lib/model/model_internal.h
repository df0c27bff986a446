/* What the parts of opening a model share. */
#ifndef ZF_MODEL_MODEL_INTERNAL_H
#define ZF_MODEL_MODEL_INTERNAL_H

#include "model/model.h"

/* The tensor of a name of the plan, under one of the family's prefixes or bare; NULL: none. */
const struct zf_st_tensor *zf_model_tensor(const struct zf_model *model, const char *name);

/* Are two tensors equal, value for value? */
int zf_model_equal(const struct zf_st_tensor *tensor, const struct zf_st_tensor *b);

/* Before the plan is built: a head in the file that differs from the embedding which config.json says
 * it is, is used (unused.c). */
void zf_model_untie(struct zf_model *model);

/* ZF_EINVALID about a tensor that the plan wants and the file lacks, with what may be the reason. */
int zf_model_missing(const struct zf_model *model, const struct zf_wanted_tensor *wanted);

/* Counts what is not used.  ZF_EINVALID where a tensor that is not used would have changed the
 * result: of an adapter; of a GGUF file, for llama.cpp refuses it as well. */
int zf_model_check_unused(struct zf_model *model);

/* --- a new head (new_head.c) --- */

/* May the want be made new: is it of a head of labels that was asked for? */
int zf_model_may_make(const struct zf_model *model, const struct zf_wanted_tensor *wanted,
                      const struct zf_model_opts *opts);

/* Counts what has to be made and names all parameters as Transformers' class does, where there is
 * something.  ZF_ENOMEM. */
int zf_model_name_head(struct zf_model *model, const struct zf_model_opts *opts);

/* Fills parameter i, which the file lacks. */
void zf_model_make(const struct zf_model *model, int64_t i);

/* Does the file hold the head's rows? */
int zf_model_has_head(const struct zf_model *model);

/* ZF_EUSAGE where a directory or a file is another tool's, with the cure; else 0 (foreign.c). */
int zf_model_foreign(const char *dir);
int zf_model_foreign_file(const char *path);

#endif
