/* Importance matrices: for each matrix the mean square of every input over a calibration text, as
 * llama.cpp's llama-imatrix gathers them.
 *
 * Files in two formats are read and written: GGUF (general.type "imatrix"; tensors NAME.in_sum2 and
 * NAME.counts) and the older one, by the ending .dat. */
#ifndef ZF_COMPRESS_IMATRIX_H
#define ZF_COMPRESS_IMATRIX_H

#include <stddef.h>

#include "base/cplusplus.h"
#include "eval/divergence.h"
#include "model/model.h"

ZF_BEGIN_DECLS

struct zf_imatrix_entry {
  char *name; /* of the GGUF tensor: "blk.0.attn_q.weight" */
  int64_t width;
  float *sum;  /* [width] sums of squares */
  float count; /* of rows */
};

struct zf_imatrix {
  struct zf_imatrix_entry *entry;
  int64_t count, cap;
  int64_t chunks, chunk_size; /* windows of the text, tokens of a window */
};
void zf_imatrix_free(struct zf_imatrix *imatrix); /* takes a zeroed one */

/* Appends a copy.  ZF_ENOMEM. */
int zf_imatrix_add(struct zf_imatrix *imatrix, const char *name, int64_t width,
                   const double *square, int64_t rows);

/* The entry of a tensor, or NULL. */
const struct zf_imatrix_entry *zf_imatrix_find(const struct zf_imatrix *imatrix, const char *name);

/* out[entry->width]: mean squares. */
void zf_imatrix_importance(const struct zf_imatrix_entry *entry, float *out);

/* Reads a file of either format.  ZF_EINVALID names file and entry. */
int zf_imatrix_read(struct zf_imatrix *imatrix, const char *path);
/* The same from memory; `name` is for messages. */
int zf_imatrix_parse(struct zf_imatrix *imatrix, const void *data, size_t len, const char *name);
/* `text`: the name of the calibration text, which the file keeps. */
int zf_imatrix_write(const struct zf_imatrix *imatrix, const char *path, const char *text);

/* Gathers the importance of every matrix of the layers. */
int zf_imatrix_gather(struct zf_imatrix *imatrix, const struct zf_model *model,
                      const struct zf_windows *windows, const char *directory,
                      enum zf_compute compute, int (*tick)(void *ctx), void *ctx);

ZF_END_DECLS

#endif
