/* GGUF files (version 3, little endian), mapped: keys and tensors.
 *
 *   "GGUF" | version u32 | tensors u64 | keys u64 | key, type, value ... | tensor table | pad | data
 *
 * Every rule is checked at open, so that a reader may index what it got: limits, names that come
 * twice, shapes against blocks, offsets that run on without hole to the end of the last tensor. */
#ifndef ZF_FMT_GGUF_H
#define ZF_FMT_GGUF_H

#include <jansson.h>

#include "fmt/safetensors.h"

enum {
  ZF_GGUF_MAXNAME = 64, /* bytes of a tensor's name, its end included */
  ZF_GGUF_MAXDIM = 4,
  ZF_GGUF_MAXCOUNT = 1 << 20, /* keys, tensors */
  ZF_GGUF_MAXARRAY = 1 << 24, /* elements: each is held, so fewer than the 2^30 of the format */
  ZF_GGUF_FEW = 1024,         /* elements of an array that is always kept: one for each layer */
  ZF_GGUF_MAXSTRING = 1 << 30 /* bytes */
};

struct zf_gguf {
  json_t *keys;     /* {key: value}; strings are UTF-8 */
  struct zf_st *st; /* tensors by the file's names, shapes outermost first, dtype "Q4_K", ...; its
                     * metadata are the keys that are no arrays, as text, none above 200 bytes */
};

/* The first part of a split file, NAME-00001-of-0000N.gguf, stands for the whole; another part is
 * ZF_EUSAGE.  `arrays`: keep all arrays; else those above ZF_GGUF_FEW are checked and left out of `keys` (null).  ZF_EUSAGE when nothing
 * is there, else ZF_EINVALID "FILE: byte N: ...". */
int zf_gguf_open(struct zf_gguf *out, const char *path, int arrays);

/* From memory, for fuzzing and tests: the tensors point into data. */
int zf_gguf_parse(struct zf_gguf *out, const void *data, size_t len, const char *name, int arrays);
void zf_gguf_free(struct zf_gguf *gguf); /* takes a zeroed one */

/* Does the path end in .gguf? */
int zf_gguf_named(const char *path);

#endif
