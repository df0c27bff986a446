/* A loaded checkpoint: configuration, plan and weights.
 *
 * Weights that are not trained stay in the mapped file; those that are trained, or that are
 * wanted in another dtype, are copied to memory of our own, tensor by tensor, and the file's
 * pages are let go at once, so that a copy never doubles the resident size. */
#ifndef ZF_MODEL_MODEL_H
#define ZF_MODEL_MODEL_H

#include "base/arena.h"
#include "base/buf.h"
#include "fmt/safetensors.h"
#include "model/sidecars.h"
#include "model/gguf_model.h"
#include "model/plan.h"

struct zf_model {
  struct zf_config config;
  struct zf_plan plan;
  struct zf_params params;   /* one for each plan.want, in order */
  char *dir;                 /* of the checkpoint */
  char *config_text;         /* of config.json as it was read; NULL: a GGUF file */
  struct zf_sidecars beside; /* tokenizer and other files of the checkpoint */
  struct zf_st *st;
  const struct zf_gguf_arch *gguf; /* NULL: the file is no GGUF */
  struct zf_arena copies;
  int64_t mapped, copied;           /* bytes of weights in the file's mapping, in own memory */
  const struct zf_st_tensor **from; /* of each parameter: the tensor it was read from */
  char **
      made; /* names of parameters where a head is new: those of Transformers' class; NULL: the file's */
  int64_t nmade;      /* of these, tensors that the file lacks: `from` is NULL */
  uint64_t head_seed; /* they are made from */
  int64_t
      ignored; /* tensors of the file that are neither used nor carried over by a save; constants
                       * and equal copies are not among them */
  const char *unused; /* the name of the first of them */
  int own_head; /* config.json ties the head to the embedding, but the file's head differs: it counts */
};

struct zf_model_opts {
  int dtype;                    /* enum zf_dtype of weights that are not trained; -1: as stored */
  enum zf_dtype trained;        /* of those that are */
  const char *const *trainable; /* globs over tensor names; NULL: nothing is trained */
  int64_t ntrainable;
  int64_t
      labels; /* a head of so many labels is wanted: where the file has none, a new one is made ... */
  enum zf_problem problem; /* that it is for */
  uint64_t
      head_seed; /* ... of values that are a function of this seed, the tensor and the element */
  int headless;  /* a file without a head is opened without one */
  int shapes;    /* no weight is read and none is held: data of parameters stays NULL */
};

/* Finds what `base_model` names: a directory, a .safetensors file (its directory), a .gguf file (itself), or
 * ORG/NAME in the local Hugging Face cache (HF_HUB_CACHE, HF_HOME/hub,
 * ~/.cache/huggingface/hub).  *dir is the caller's to free.  ZF_EUSAGE. */
int zf_model_find(char **dir, const char *base_model);

/* `dir`: a directory, or a GGUF file, whose blocks stay as they are: no weight of it is trained
 * (ZF_EUSAGE).  ZF_EINVALID names file and tensor: missing, wrong shape, dtype without a kernel, a value
 * that is not finite.  A glob that matches no tensor is ZF_EUSAGE. */
int zf_model_open(struct zf_model **out, const char *dir, const struct zf_model_opts *opts);
/* Appends a line for each thing that a person should know about the model as it was opened. */
void zf_model_notes(const struct zf_model *model, struct zf_buf *out);

/* 0, or ZF_EUSAGE where weights of that kind of file are not trained. */
int zf_model_trainable(const char *dir);
void zf_model_free(struct zf_model *model); /* takes NULL */

/* Identity of the checkpoint's weights as opened (before training): hash of all values. */
int zf_model_hash(const struct zf_model *model, char out[33]);

/* Writes a full model directory: model.safetensors (dtype: of each parameter as it is held, or
 * converted to `dtype` when >= 0; what safetensors has no name for as f32, which holds it), with
 * `nmetadata` pairs of metadata, config.json with torch_dtype set to match, and copies of the files of
 * sidecars.h.  Existing files are replaced one by one, each by rename, the weights first, so that they
 * are safe whatever becomes of the rest.  Tensor names are those of the checkpoint.  ZF_EINVALID: a
 * file was changed since the model was opened.  ZF_EDIVERGED: a weight is not finite; ZF_EUSAGE: it is
 * not in `dtype`; then nothing is written. */
int zf_model_save(const struct zf_model *model, const char *dir, int dtype,
                  const char *const *metadata, int64_t nmetadata);

/* The trained parameters alone, as they are held, into one safetensors file. */
int zf_model_save_trained(const struct zf_model *model, const char *path,
                          const char *const *metadata, int64_t nmetadata);

/* ZF_EDIVERGED when a trained weight is not a finite number; `name` is where they come from. */
int zf_model_finite(const struct zf_model *model, const char *name);

/* config.json and the files beside alone, as a later zf_model_save with this dtype writes them to
 * `dir`, which exists; what is saved from then on are copies of these. */
int zf_model_save_sidecars(struct zf_model *model, const char *dir, int dtype);

/* A model directory of random weights for the config.json at `config`, which is copied: matrices
 * normal with its initializer_range, by the counter of (seed, tensor, element), norms 1, biases 0.
 */
int zf_model_init(const char *config, const char *dir, uint64_t seed, enum zf_dtype dtype);

/* Trained parameters back to the checkpoint's values. */
void zf_model_reset(struct zf_model *model);

/* Reads the trained parameters back from what one of the two above wrote from this model, with
 * dtype -1.  ZF_EINVALID when they are not there as they were saved; some may be read by then. */
int zf_model_reload(struct zf_model *model, const struct zf_st *from);

#endif
