/* The files beside the weights without which a model directory does not load as its base did:
 * tokenizers, chat templates, settings of generation and of processors, and the folders of
 * sentence-transformers' modules.
 *
 * They are listed and hashed when a model is opened, and hashed again on their way into a copy, so
 * that what was changed meanwhile never gets into a result unnoticed. */
#ifndef ZF_MODEL_SIDECARS_H
#define ZF_MODEL_SIDECARS_H

#include <stddef.h>

struct zf_sidecar {
  char *name;    /* in its directory; FOLDER/FILE where it lies in a folder */
  char hash[33]; /* of its bytes */
  char *text;    /* written in place of the file; NULL: the file is copied */
};

struct zf_sidecars {
  char *dir;               /* where the files are; NULL: there is none */
  char *kept_dir;          /* a copy of them, which is read first; NULL: none was made */
  struct zf_sidecar *file; /* by name */
  int count;
};

/* Is it the name of such a file, or of a folder that holds some? */
int zf_sidecars_is(const char *name);
int zf_sidecars_is_folder(const char *name);

/* Lists what the directory `dir` has of such files. */
int zf_sidecars_open(struct zf_sidecars *sidecars, const char *dir);
void zf_sidecars_close(struct zf_sidecars *sidecars); /* takes a zeroed one */

/* From now on `name` is a file with this text, whatever the directory has. */
int zf_sidecars_set(struct zf_sidecars *sidecars, const char *name, const char *text);

/* Writes all of them to the directory `to`, which exists; `tokenizer`: those of a tokenizer alone.
 * ZF_EINVALID: a file is not what it was when the list was made, and so is its kept copy. */
int zf_sidecars_copy(const struct zf_sidecars *sidecars, const char *to, int tokenizer);

/* After a copy to `dir`: what is copied from now on comes from there. */
int zf_sidecars_keep(struct zf_sidecars *sidecars, const char *dir);

/* Identity of what the tokenizer in `dir` is read from, and of config.json. */
int zf_sidecars_hash(char out[33], const char *dir);

#endif
