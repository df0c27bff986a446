/* Shared by the parts of an image. */
#ifndef ZF_COMPRESS_IMAGE_INTERNAL_H
#define ZF_COMPRESS_IMAGE_INTERNAL_H

#include "compress/image.h"

/* ZF_EUSAGE where the keys, read as a file's, do not describe the model's configuration.  Sets the note. */
int zf_image_check_config(struct zf_image *image);

/* 1 where the tensor has other values than the model's. */
int zf_image_changed(const struct zf_image_tensor *tensor, const struct zf_save_values *values);

/* The parameter of a tensor that has one. */
const struct zf_param *zf_image_param(const struct zf_image *image,
                                      const struct zf_image_tensor *tensor);

/* ZF_EFAIL unless found[0..count), elements `first` .. of a tensor as a file holds them in `type`, lie within
 * the type's rounding of expected[0..count). */
int zf_image_compare(const char *path, const char *name, enum zf_dtype type, int64_t first,
                     int64_t count, const float *expected, const float *found);

/* ZF_EFAIL where two tokenizers give other ids for a text that is hard to tokenize. */
int zf_image_same_tokens(const struct zf_tok *tok, const struct zf_tok *found, const char *path);

/* Rows of a chunk: about a million values. */
int64_t zf_image_step(const struct zf_image_tensor *tensor);

/* 1 where the model holds the rows in blocks of the wanted type: they are copied. */
int zf_image_is_held(const struct zf_image *image, const struct zf_image_tensor *tensor,
                     const struct zf_save_values *values);

/* The row of the parameter that becomes row `row` of the file: the inverse of zf_image_row. */
int64_t zf_image_held_row(const struct zf_image *image, int64_t tensor, int64_t row);

#endif
