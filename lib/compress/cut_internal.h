/* Shared by the parts that cut a model. */
#ifndef ZF_COMPRESS_CUT_INTERNAL_H
#define ZF_COMPRESS_CUT_INTERNAL_H

#include <jansson.h>

#include "compress/cut.h"

/* Changes the tokenizer's files in `dir`, and ids in config, to the kept tokens. */
int zf_cut_tokenizer(const struct zf_cut *cut, const char *dir);
/* Replaces every token id under the keys *_token_id of an object, a number or a list. */
int zf_cut_ids(const struct zf_cut *cut, json_t *object);
/* The new id of a token; -1: it is gone. */
int32_t zf_cut_new_id(const struct zf_cut *cut, int64_t id);

#endif
