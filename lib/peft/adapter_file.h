/* Adapters on disk: PEFT's directories, MLX's directories, and LoRA adapters of llama.cpp.
 *
 *   PEFT   adapter_config.json, adapter_model.safetensors   "base_model.model." + path + ".lora_A.weight"
 *   MLX    adapter_config.json, adapters.safetensors        path + ".lora_a" [in,r], ".lora_b" [r,out]
 *   GGUF   general.type = adapter                           "blk.0.attn_q.weight.lora_a" [r,in], .lora_b
 *
 * All three become the same list: tensors in PEFT's words, layout and orientation, in f32, and a
 * zf_peft_config.  The factors of MLX (scale) and GGUF (adapter.lora.alpha) become config.alpha. */
#ifndef ZF_PEFT_ADAPTER_FILE_H
#define ZF_PEFT_ADAPTER_FILE_H

#include "base/cplusplus.h"
#include "model/model.h"
#include "peft/peft_config.h"

ZF_BEGIN_DECLS

/* Shapes of the parts, and their formulas (x [in], y [out] of the module):
 *
 *   lora_A [r,in], lora_B [out,r]                    y += s B A x, s of zf_peft_scale
 *   lora_embedding_A [r,V], lora_embedding_B [C,r]   row of token v: += s B A[:,v]
 *   lora_magnitude_vector [out]                      DoRA: norms of the rows of W + s B A; [C] of an
 *                                                    embedding: norms of the columns
 *   ia3_l [out,1], or [1,in] of a feedforward module y *= l, or x *= l
 *   vera_A [r,most in], vera_B [most out,r]          one pair for the model, module ""
 *   vera_lambda_d [r], vera_lambda_b [out]           y += b * (B (d * (A x))), leading columns and rows
 *   prompt_embeddings [n,C] (prompt), [n, layers 2 KV] (prefix: key, value of each layer), module ""
 *   trainable_tokens_delta [n,C]                     rows that replace those of tokens.index
 *   weight, bias                                     a tensor that replaces the base's */
struct zf_adapter_tensor {
  char *module; /* path of the module in Transformers' model: "model.layers.0.self_attn.q_proj" */
  char *part;
  int ndim; /* 1 or 2 */
  int64_t shape[2], count;
  float *data;
};

struct zf_adapter_file {
  struct zf_peft_config config;
  struct zf_adapter_tensor *tensor; /* sorted by module, then part */
  int64_t count, cap;
  char *path;    /* for messages */
  double weight; /* of its contribution to the model it is attached to; 0 before */
};

/* Name of the format of the adapter at `path` ("PEFT", "MLX", "GGUF"), or NULL: no adapter.  A
 * directory with adapter files and without a whole model is an adapter, and so is a .gguf file whose
 * general.type is adapter. */
const char *zf_adapter_probe(const char *path);

/* Reads an adapter; the caller frees *out.  `base` may be NULL, except for a GGUF adapter of the llama
 * architecture, whose rows of q and k are in another order, and an MLX adapter of the embedding, whose
 * meaning depends on a tied head.  Its weights are not read.
 *
 * ZF_EUSAGE: no such adapter, or `base` is needed, or it is a torch pickle.  ZF_EINVALID names file
 * and key or tensor: it is unknown, has a wrong shape or dtype, lacks its partner, holds a value that
 * is not finite; or a setting that changes results has no support. */
int zf_adapter_file_read(struct zf_adapter_file **out, const char *path,
                         const struct zf_model *base);
void zf_adapter_file_free(struct zf_adapter_file *file); /* takes NULL */

/* A PEFT adapter from memory, for fuzzing and tests: the two files, `name` stands for the directory. */
int zf_adapter_file_parse(struct zf_adapter_file **out, const char *config, size_t config_len,
                          const void *tensors, size_t tensors_len, const char *name);
/* The same for MLX and GGUF. */
int zf_adapter_file_parse_mlx(struct zf_adapter_file **out, const char *config, size_t config_len,
                              const void *tensors, size_t tensors_len, const char *name,
                              const struct zf_model *base);
int zf_adapter_file_parse_gguf(struct zf_adapter_file **out, const void *data, size_t len,
                               const char *name, const struct zf_model *base);

/* A file without tensors, whose config is zeroed; `path` is for messages.  ZF_ENOMEM. */
int zf_adapter_file_new(struct zf_adapter_file **out, const char *path);

/* Adds a tensor to a file in memory: copies of `module`, `part` and of the product of shape values of
 * `data`, which may be NULL: zeros.  ZF_ENOMEM.  zf_adapter_file_check sorts the tensors and checks
 * what a reader checks: names, partners, shapes, finite values. */
int zf_adapter_file_add(struct zf_adapter_file *file, const char *module, const char *part,
                        int ndim, const int64_t *shape, const float *data);
int zf_adapter_file_check(struct zf_adapter_file *file);

/* The tensor, or NULL.  The file is sorted. */
const struct zf_adapter_tensor *zf_adapter_file_find(const struct zf_adapter_file *file,
                                                     const char *module, const char *part);

/* PEFT's name of a tensor of the file; the caller frees it.  NULL: out of memory, or the kind has no such
 * part. */
char *zf_adapter_tensor_key(const struct zf_adapter_file *file,
                            const struct zf_adapter_tensor *tensor);

/* The writers take files that zf_adapter_file_check accepts: it has sorted them.
 *
 * Writes adapter_model.safetensors (f32) with `nmetadata` pairs of metadata, adapter_config.json and
 * README.md to the directory `dir`, which is created.  Files are replaced one by one, each by rename. */
int zf_adapter_file_write_peft(const struct zf_adapter_file *file, const char *dir,
                               const char *const *metadata, int64_t nmetadata);

/* LoRA and DoRA alone: adapters.safetensors and adapter_config.json as mlx-lm writes them.  Where
 * modules differ in rank, the smaller ones get zeros; where they differ in scale, lora_b holds the
 * quotient.  ZF_EUSAGE: the adapter has something that the format cannot hold. */
int zf_adapter_file_write_mlx(const struct zf_adapter_file *file, const char *dir);

/* LoRA alone: a GGUF adapter (f32) for llama.cpp over a base whose names and heads `base` tells.
 * llama.cpp multiplies by adapter.lora.alpha / (rank of the tensor); where that is not the module's
 * scale, lora_b holds the quotient.  ZF_EUSAGE as above, or the architecture has no GGUF names. */
int zf_adapter_file_write_gguf(const struct zf_adapter_file *file, const char *path,
                               const struct zf_model *base);

ZF_END_DECLS

#endif
