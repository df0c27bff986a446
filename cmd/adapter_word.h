/* An adapter that a word names, for commands that read it without its base's weights. */
#ifndef ZF_CMD_ADAPTER_WORD_H
#define ZF_CMD_ADAPTER_WORD_H

#include "peft/adapter.h"

struct zc_adapter {
  struct zf_adapter_file *file;
  const char *format;    /* "PEFT", "MLX", "GGUF" */
  char *base_dir;        /* where its base is; NULL: not found */
  struct zf_model *base; /* the base's shapes; NULL: not found */
  char *missing;         /* why there is no base; NULL: there is one */
};

/* Opens the adapter at `path`; its base is what `base_word` names, or, where that is NULL, what the adapter
 * names.  An adapter that names no base, or one that is not there, opens without it where its format allows.
 * zc_adapter_close takes a zeroed one. */
int zc_adapter_open(struct zc_adapter *adapter, const char *path, const char *base_word);
void zc_adapter_close(struct zc_adapter *adapter);

int64_t zc_adapter_values(const struct zf_adapter_file *file); /* of all its tensors */

#endif
