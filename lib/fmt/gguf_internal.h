/* What the files of the GGUF reader share. */
#ifndef ZF_FMT_GGUF_INTERNAL_H
#define ZF_FMT_GGUF_INTERNAL_H

#include "fmt/gguf.h"

/* One file, whole or a part. */
int zf_gguf_open_part(struct zf_gguf *out, const char *path, int arrays);

/* Adds the tensors of the other parts where the keys say that `path` is the first of several. */
int zf_gguf_add_parts(struct zf_gguf *gguf, const char *path);

#endif
