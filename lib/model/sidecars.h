/* Sidecar files: the files of a model directory, besides weights and config.json, that a copy needs
 * in order to load like the original: tokenizers, chat templates, settings of generation and of
 * processors, and the folders of sentence-transformers' modules.
 *
 * They are listed and hashed when a model is opened, and hashed again when they are copied, so that
 * a file that changed in between is noticed. */
#ifndef ZF_MODEL_SIDECARS_H
#define ZF_MODEL_SIDECARS_H

#include <stddef.h>

#include "base/cplusplus.h"

ZF_BEGIN_DECLS

struct zf_sidecar {
  char *name;    /* FILE, or FOLDER/FILE */
  char hash[33]; /* of its bytes */
  char *text;    /* written in place of the file; NULL: the file is copied */
};

struct zf_sidecars {
  char *dir;               /* of the files; NULL: there is none */
  char *kept_dir;          /* directory of copies, which are read first; NULL: none */
  struct zf_sidecar *file; /* [count], sorted by name */
  int count;
};

/* 1 for the name of a sidecar file, or of a folder that holds some. */
int zf_sidecars_is(const char *name);
int zf_sidecars_is_folder(const char *name);

/* Lists and hashes the sidecar files of the directory `dir`; zf_sidecars_close frees the list. */
int zf_sidecars_open(struct zf_sidecars *sidecars, const char *dir);
void zf_sidecars_close(struct zf_sidecars *sidecars); /* takes a zeroed one */

/* Gives the file `name` this text, whether or not the directory has the file. */
int zf_sidecars_set(struct zf_sidecars *sidecars, const char *name, const char *text);

/* Writes all files to the directory `to`, which exists; `tokenizer`: only those of a tokenizer.
 * ZF_EINVALID: a file and its copy in kept_dir have changed since the list was made. */
int zf_sidecars_copy(const struct zf_sidecars *sidecars, const char *to, int tokenizer);

/* Call after a copy to `dir`: later copies read the files there. */
int zf_sidecars_keep(struct zf_sidecars *sidecars, const char *dir);

/* Hash of config.json and the files that make the tokenizer in `dir`, in hexadecimal with its 0. */
int zf_sidecars_hash(char hex[33], const char *dir);

ZF_END_DECLS

#endif
