/* A loaded checkpoint: configuration, plan and weights.
 *
 * Weights that are not trained stay in the mapped file.  Weights that are trained, or held in
 * another dtype than the file's, are copied to memory chunk by chunk.  The pages of the file are
 * released behind each chunk, so that a copy never doubles the resident size. */
#ifndef ZF_MODEL_MODEL_H
#define ZF_MODEL_MODEL_H

#include "base/cplusplus.h"
#include "base/arena.h"
#include "base/buf.h"
#include "fmt/safetensors.h"
#include "model/sidecars.h"
#include "model/gguf_model.h"
#include "model/plan.h"

ZF_BEGIN_DECLS

struct zf_model {
  struct zf_config config;
  struct zf_plan plan;
  struct zf_params params;     /* one for each plan.wanted, in order; then those of adapters, or the
                                * NAME.scales of a GGUF file's matrices */
  char *dir;                   /* of the checkpoint */
  char *config_text;           /* contents of config.json; NULL: a GGUF file */
  struct zf_sidecars sidecars; /* tokenizer and other files of the checkpoint */
  struct zf_st *st;
  const struct zf_gguf_arch *gguf; /* NULL: the file is no GGUF */
  struct zf_arena copies;
  int64_t mapped, copied;           /* bytes of weights in the file's mapping, in `copies` */
  const struct zf_st_tensor **from; /* source tensor of each parameter; NULL: a new head's tensor */
  char **param_names;        /* names of the parameters where a head is new: those of Transformers'
                              * class; NULL: the file's names are used */
  int64_t nnew;              /* number of tensors of the new head that the file lacks */
  uint64_t head_seed;        /* seed of their values */
  int64_t ignored;           /* tensors of the file that the plan does not use and a save does not
                              * carry over, without constants and duplicates */
  const char *first_ignored; /* name of the first of them */
  char *adapters;            /* paths of the attached adapters, "A + B"; owned; NULL: none */
  struct zf_owned *owned;    /* freed with the model */
  int untied_head;           /* config.json ties the head to the embedding, but the file's head
                              * differs and is used */
};

/* Something that lives as long as the model. */
struct zf_owned {
  void *data;
  void (*free)(void *data);
  struct zf_owned *next;
};

/* What of a GGUF file's matrices in blocks is trained. */
enum zf_blocks {
  ZF_BLOCKS_FROZEN,  /* nothing: weights of a GGUF file cannot be trained */
  ZF_BLOCKS_SCALES,  /* their scales (QZO, Shang et al. 2025, arXiv 2505.13430) */
  ZF_BLOCKS_INTEGERS /* the integers of Q8_0 (QuZO, Zhou et al. 2025, arXiv 2502.12346) */
};

struct zf_model_opts {
  int dtype;                    /* enum zf_dtype of weights that are not trained; -1: as stored */
  enum zf_dtype trained;        /* dtype of trained weights */
  const char *const *trainable; /* globs over tensor names; NULL: nothing is trained */
  int64_t ntrainable;
  enum zf_blocks blocks;   /* of a GGUF file; others have none */
  int64_t labels;          /* > 0: a head of this number of labels; it is created where the file
                            * has none */
  enum zf_problem problem; /* of that head */
  uint64_t head_seed;      /* a new head's values are a function of this, the tensor, the element */
  int headless;            /* a file without a head is opened without one */
  int shapes;              /* weights are neither read nor held: data of parameters stays NULL */
};

/* Finds the model that `base_model` names: a directory, a .safetensors file (its directory), a .gguf
 * file (itself), or ORG/NAME in the local Hugging Face cache (HF_HUB_CACHE, HF_HOME/hub,
 * ~/.cache/huggingface/hub).  *dir is the caller's to free.  ZF_EUSAGE. */
int zf_model_find(char **dir, const char *base_model);

/* `dir`: a directory, or a GGUF file, whose weights stay in blocks; opts->blocks says what is trained.
 * ZF_EINVALID names file and tensor: it is missing, has a wrong shape, a dtype that is not supported,
 * or a value that is not finite.  ZF_EUSAGE: a glob matches no tensor. */
int zf_model_open(struct zf_model **out, const char *dir, const struct zf_model_opts *opts);
/* Appends a line for each remark about the opened model that a user should read. */
void zf_model_notes(const struct zf_model *model, struct zf_buf *buf);

/* 0, or ZF_EUSAGE where the weights of this kind of file cannot be trained by methods that need them in
 * f32. */
int zf_model_trainable(const char *dir);
void zf_model_free(struct zf_model *model); /* takes NULL */

/* Appends a parameter that is not of the base.  *number: its index.  The plan's operations may name it.
 * ZF_ENOMEM. */
int zf_model_add_param(struct zf_model *model, const struct zf_param *param, int32_t *number);

/* Sets the block of every parameter, and whether directions may lie beside it, from the plan. */
void zf_model_place_params(struct zf_model *model);

/* Hands `data` to the model, which calls free_data(data) when it is freed; after a failure, ZF_ENOMEM,
 * it has done so already. */
int zf_model_own(struct zf_model *model, void *data, void (*free_data)(void *data));

/* Releases the resident pages of the checkpoint's files; reading weights brings them back from the
 * system's cache. */
void zf_model_drop_pages(const struct zf_model *model);

/* 1 where an adapter's parameters are attached. */
int zf_model_has_adapter(const struct zf_model *model);

/* Identity of the base's weights: hash of all values, in hexadecimal with its 0. */
int zf_model_base_hash(const struct zf_model *model, char hex[33]);
/* Identity of what a run changes: with an adapter, the hash of the adapter's values; else that of all
 * weights. */
int zf_model_hash(const struct zf_model *model, char hex[33]);

/* Writes a full model directory: model.safetensors with `nmetadata` pairs of metadata, config.json
 * with torch_dtype set to match, and copies of the sidecar files (sidecars.h).  dtype: -1, each
 * parameter keeps the dtype it is held in, or becomes f32 where safetensors has no name for that; else
 * the enum zf_dtype of all.  Existing files are replaced one by one, each by rename, the weights
 * first: they are complete even if a later file fails.  Tensor names are those of the checkpoint.
 * ZF_EINVALID: a sidecar file has changed since the model was opened.  ZF_EDIVERGED: a weight is not
 * finite; ZF_EUSAGE: a weight is out of the range of `dtype`; in both cases nothing is written. */
int zf_model_save(const struct zf_model *model, const char *dir, int dtype,
                  const char *const *metadata, int64_t nmetadata);

/* Values that a saved model has in place of the parameters' own.  `number` is that of a wanted tensor,
 * or, for a model whose head is tied, plan.wanted_count: an output head of its own. */
struct zf_save_values {
  void *ctx;
  int own_head; /* the head is written as a tensor of its own, and config.json unties it */
  int (*changed)(void *ctx, int64_t number); /* 1 where the tensor has other values */
  /* Writes the values of `rows` rows of the tensor from row `first` on; a row is one value of a
   * vector.  Called twice for each row: the first time to check. */
  void (*read)(void *ctx, int64_t number, int64_t first, int64_t rows, float *value);
  int (*tick)(void *ctx); /* called often; not 0: the save stops with ZF_ESTOPPED.  NULL: none */
};

/* As zf_model_save, with `values` (NULL: none).  Values of a changed tensor are rounded once: to f32 by
 * the caller, to a narrower dtype stochastically, as zf_update rounds, with the noise of seed 0, the
 * tensor's number and the element.  Rounding to nearest would lose most of a change that is below the
 * spacing of the dtype: of a small change to a bf16 weight nothing would be left; stochastic rounding
 * keeps its mean. */
int zf_model_save_values(const struct zf_model *model, const char *dir, int dtype,
                         const struct zf_save_values *values, const char *const *metadata,
                         int64_t nmetadata);

/* The same in files of at most `limit` bytes of tensors each, a tensor at least:
 * model-00001-of-0000N.safetensors and their index.  limit 0: one file, model.safetensors. */
int zf_model_save_shards(const struct zf_model *model, const char *dir, int dtype,
                         const struct zf_save_values *values, const char *const *metadata,
                         int64_t nmetadata, int64_t limit);

/* The config.json that zf_model_save with this dtype writes; the caller frees it by json_decref. */
int zf_model_config_json(json_t **out, const struct zf_model *model, int dtype);

/* The parameter that holds the input embedding. */
const struct zf_param *zf_model_embedding(const struct zf_model *model);

/* Writes only the trained parameters, in the dtype they are held in, to one safetensors file, with
 * their state where they have one (NAME.exp_avg, NAME.exp_avg_sq). */
int zf_model_save_trained(const struct zf_model *model, const char *path,
                          const char *const *metadata, int64_t nmetadata);

/* ZF_EDIVERGED when a trained weight is not a finite number; `name` is their origin in the
 * message. */
int zf_model_finite(const struct zf_model *model, const char *name);

/* Writes config.json, as zf_model_save with this dtype writes it, and the sidecar files to `dir`,
 * which exists.  Later saves copy the sidecar files from there. */
int zf_model_save_sidecars(struct zf_model *model, const char *dir, int dtype);

/* Writes a model directory of random weights for the config.json at path `config`, which is copied.
 * Matrices are normal with its initializer_range, each value a function of (seed, tensor, element);
 * weights of norms are 1, biases 0. */
int zf_model_init(const char *config, const char *dir, uint64_t seed, enum zf_dtype dtype);

/* Sets the trained parameters back to the checkpoint's values, and their state to zeros. */
void zf_model_reset(struct zf_model *model);

/* Reads the trained parameters from a file that zf_model_save (with dtype -1) or
 * zf_model_save_trained wrote from this model; where they have a state, that too, which only
 * zf_model_save_trained writes.  ZF_EINVALID: a parameter is missing there or differs
 * in dtype or size; the ones before it are read then. */
int zf_model_reload(struct zf_model *model, const struct zf_st *from);

ZF_END_DECLS

#endif
