/* What the files of the safetensors reader share. */
#ifndef ZF_FMT_ST_INTERNAL_H
#define ZF_FMT_ST_INTERNAL_H

#include "fmt/safetensors.h"

/* Appends the tensors of one file, data[0..len), to the store; they belong to the file of the last
 * zf_st_add_slot.  `name` is for messages.  ZF_EINVALID. */
int zf_st_add(struct zf_st *store, const unsigned char *data, size_t len, const char *name);

/* Appends a file to the store: its path `name` and an empty map. */
int zf_st_add_slot(struct zf_st *store, const char *name);

/* Maps a file and adds it. */
int zf_st_add_file(struct zf_st *store, const char *path);

/* Adds all shards that the index file `path` names, from its directory `dir`. */
int zf_st_add_index(struct zf_st *store, const char *path, const char *dir);

#endif
