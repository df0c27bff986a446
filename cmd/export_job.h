/* What `zoft export` writes a model from, shared by its formats. */
#ifndef ZF_CMD_EXPORT_JOB_H
#define ZF_CMD_EXPORT_JOB_H

#include "compress/image.h"
#include "load.h"
#include "peft/merge.h"

struct zc_export {
  const char *source; /* the word of the command line */
  const char *base;   /* base model of an adapter; NULL: the one it names */
  const char *to;
  const char *format; /* NULL: by the name of `to` */
  int type;           /* enum zf_dtype, -1: as stored */
  int64_t shard;      /* bytes of a file; 0: one file */
  int verify_llama;   /* compare with llama.cpp */
  int replace;        /* an older file of the same name is replaced, and nothing is printed */

  struct zf_model *model;
  struct zf_tok *tok;
  struct zf_adapter_file *file[65];
  int64_t count; /* adapters that are merged */
  struct zf_adapter_merge *merge;
  const struct zf_save_values *values; /* NULL: nothing is merged */
  char *tmp;                           /* the directory while it is written; NULL: none */
  char types[96];                      /* of the written matrices, for display */
  int64_t tensors, bytes;              /* written; bytes -1: not counted */
};

/* enum zf_dtype of a name that matrices can be written in; -1: none. */
int zc_export_type(const char *name);

/* ZF_EUSAGE where the settings ask for an export that cannot hold the run's model. */
int zc_export_check_run(const struct zf_conf *conf, const struct zf_run *run);
/* Writes the export that the settings ask for into `dir`, the directory of the finished run. */
int zc_export_run(const struct zf_conf *conf, const char *dir);

/* Writes the source, a model, a run, or an adapter merged into its base, and reports. */
int zc_export_model(struct zc_export *job);

/* The image of the job's model with the wanted types. */
int zc_export_image(struct zf_image **image, const struct zc_export *job);

/* Writes the job's GGUF file as `path`, read back and compared. */
int zc_export_gguf(struct zc_export *job, const char *path);

/* Writes Modelfile beside model.gguf in `dir`. */
int zc_export_modelfile(const struct zc_export *job, const char *dir);

/* Writes README.md into `dir` where the source is a run directory. */
int zc_export_card(const char *source, const char *dir);

/* Compares the GGUF file `path` with llama.cpp's results.  ZF_EUSAGE: llama.cpp is not there; ZF_EGATE: they
 * differ. */
int zc_export_ask_llama(const struct zc_export *job, const char *path);

#endif
