/* The GGUF file of a model before it is written: its keys, and its tensors in the file's terms.
 *
 * The model comes from a directory, whose config.json and tokenizer become keys, or from a GGUF file, whose
 * keys are carried over with their types.  A tensor of the image is a parameter of the model with its rows in
 * the order of llama.cpp (rotary pairs side by side), 1 added to the norms of Gemma, matrices as [out,in]; or
 * a constant, such as the divisors of rotary frequencies.  A tied head has no tensor of its own, except where
 * llama.cpp wants one. */
#ifndef ZF_COMPRESS_IMAGE_H
#define ZF_COMPRESS_IMAGE_H

#include "base/cplusplus.h"
#include "fmt/gguf_write.h"
#include "model/model.h"
#include "text/tokenizer.h"

ZF_BEGIN_DECLS

struct zf_image_tensor {
  const char *name; /* "blk.0.attn_q.weight" */
  int ndim;
  int64_t shape[4];      /* outermost dimension first */
  int64_t rows, columns; /* columns: the innermost dimension */
  int64_t skip;          /* rows of the parameter in front of the first row of the file */
  int32_t param; /* number of the model's parameter; plan.wanted_count: an output head of its own
                          * (zf_image_untie); -1: a constant.  A matrix of which the model has a vector
                          * for each row: the first one, others follow */
  enum zf_dtype type; /* in which it is written; the caller may change it before zf_image_begin */
  int is_matrix; /* may be written in blocks; 0: vectors, norms, tables that llama.cpp wants in f32 */
  const struct zf_st_tensor
      *stored;     /* the tensor of the GGUF file that the model came from, or NULL */
  float *constant; /* [columns] values of a constant, owned, or NULL */
};

struct zf_image {
  const struct zf_model *model;
  struct zf_image_tensor *tensor;
  int64_t count;
  const struct zf_gguf_arch *arch;
  struct zf_gguf_values keys; /* all but general.file_type and general.quantization_version */
  const char *note;           /* what a user should know of the file, or NULL */
  float *scratch;             /* a row of the widest tensor that is stored [in,out] */
};

/* Describes the file of `model`, whose tokenizer is `tok`; both outlive *out.  Matrices get the type
 * `matrices`, or, where their columns are no whole blocks of it, Q8_0 or F16; all else gets F32.
 * ZF_EUSAGE: llama.cpp has no such model or tokenizer; the message names what it lacks. */
int zf_image_open(struct zf_image **out, const struct zf_model *model, const struct zf_tok *tok,
                  enum zf_dtype matrices);
void zf_image_free(struct zf_image *image); /* takes NULL */

/* Gives every matrix the type in which the model holds it, where a GGUF file has that type. */
void zf_image_keep_types(struct zf_image *image);

/* The parameters of a model that came from a GGUF file hold other values than the file (an overlay): rows are
 * read from them. */
void zf_image_take_params(struct zf_image *image);

/* Appends the types of the matrices, that of most values first: "q4_k, q6_k". */
void zf_image_list_types(const struct zf_image *image, struct zf_buf *buf);

/* ZF_EUSAGE, as of zf_image_open, where a GGUF file cannot hold the model or the tokenizer (NULL: the
 * model alone).  Weights are not read: the model may be opened with `shapes`. */
int zf_image_check(const struct zf_model *model, const struct zf_tok *tok);

/* Gives the image a tensor output.weight of its own: needed where values->own_head is set, and done
 * by zf_image_write. */
int zf_image_untie(struct zf_image *image);

/* Values of `rows` rows of tensor number `tensor` in the file's terms, from row `first` on, out f32
 * [rows, columns].  values: as for zf_model_save_values, or NULL: the model's own.  One call at a time. */
void zf_image_read(const struct zf_image *image, const struct zf_save_values *values,
                   int64_t tensor, int64_t first, int64_t rows, float *out);

/* The row of the file that holds row `row` of the parameter as a product sees it ([out,in]); below 0: none. */
int64_t zf_image_row(const struct zf_image *image, int64_t tensor, int64_t row);

/* Begins the file: its keys, with general.file_type from the tensors' types, and its tensor table.  Rows
 * follow by zf_gguf_out_rows, tensor numbers as in the image.  zf_image_begin_parts: in parts of at most
 * `limit` bytes (zf_gguf_out_open_parts). */
int zf_image_begin(struct zf_gguf_out **out, const struct zf_image *image, const char *path);
int zf_image_begin_parts(struct zf_gguf_out **out, const struct zf_image *image, const char *path,
                         int64_t limit);

/* Writes the rows of all tensors, each in its type, in memory of a few rows.  Values that `values` changed
 * are rounded to f16 and bf16 stochastically, as zf_model_save_values rounds them.  Rows that the model
 * holds in the wanted type are copied byte for byte.  ZF_ESTOPPED, ZF_EDIVERGED, ZF_EUSAGE as of
 * zf_model_save_values. */
int zf_image_fill(struct zf_gguf_out *out, const struct zf_image *image,
                  const struct zf_save_values *values);

/* Compares the file `path`, read back, with the model: its configuration, its token ids of a text that is
 * hard to tokenize, and the values of every tensor, which for f32, f16 and bf16 lie within their type's
 * rounding.  tok: the source's tokenizer.  ZF_EFAIL: they differ. */
int zf_image_verify(const struct zf_image *image, const struct zf_tok *tok, const char *path,
                    const struct zf_save_values *values);

/* All of it: begins, fills, verifies under the temporary name, and gives the file its name.  `tok` NULL: the
 * tokenizer is not compared. */
int zf_image_write_checked(const struct zf_image *image, const struct zf_tok *tok, const char *path,
                           const struct zf_save_values *values);
/* The same without a tokenizer to compare with. */
int zf_image_write(const struct zf_image *image, const char *path,
                   const struct zf_save_values *values);

ZF_END_DECLS

#endif
